//! Values that are right alone and wrong together, and files of the application's folder.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::super::*;
use super::{JAR, check, good};

#[test]
fn what_does_not_go_together() {
    let two = |lines: &str, line, phrases: &[&str]| drop(check(&format!("{JAR}\n{lines}"), line, phrases));
    two(
        "engine = \"crac\"\npacker = \"native\"\n",
        3,
        &["Debian has no CRaC JDK and no PPA", "set engine = \"criu\"", "packer = \"rockcraft\""],
    );
    two(
        "engine = \"criu\"\n[crac]\nengine = \"warp\"\n",
        3,
        &["`[crac]` goes with the engine `crac` only", "set engine = \"crac\""],
    );
    two(
        "packer = \"native\"\nrock.slices = [\"a-b_c\"]\n",
        3,
        &["the packer `native` takes Debian's", "`rock.packages`"],
    );
    two(
        "engine = \"crac\"\njava.version = 25\n",
        3,
        &["ubuntu@24.04 has no OpenJDK 25 with CRaC; it has 17 and 21", "set rock.base = \"ubuntu@25.10\""],
    );
    two(
        "engine = \"crac\"\njava.version = 26\nrock.base = \"ubuntu@26.04\"\n",
        3,
        &["has 17 and 21 and 25", "set java.version = 25", "engine = \"criu\""],
    );
    two(
        "engine = \"crac\"\nrock.base = \"ubuntu@22.04\"\njava.version = 17\n",
        4,
        &["ubuntu@22.04 has no OpenJDK 17 with CRaC; it has none", "set rock.base = \"ubuntu@24.04\""],
    );
    two(
        "engine = \"crac\"\ncrac.engine = \"warp\"\nrock.platforms = [\"amd64\", \"arm64\"]\n",
        3,
        &["`warp` is made for x86-64 only", "remove `arm64`"],
    );
}

#[test]
fn what_goes_together() {
    for lines in [
        "engine = \"crac\"\njava.version = 25\nrock.base = \"ubuntu@26.04\"\n",
        // Left open, the engine follows what the base has.
        "java.version = 26\n",
        "java.version = 25\nrock.base = \"ubuntu@22.04\"\n",
        "crac.engine = \"warp\"\n",
        "engine = \"criu\"\npacker = \"rockcraft\"\nrock.slices = [\"a-b_c\"]\n",
    ] {
        good(&format!("{JAR}\n{lines}"));
    }
}

#[test]
fn a_file_of_the_rock_is_a_file_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join("app").join(name);
    std::fs::create_dir_all(path("folder")).unwrap();
    std::fs::write(path("run.sh"), "#!/bin/sh").unwrap();
    std::fs::set_permissions(path("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::File::create(path("large")).unwrap().set_len((1 << 20) + 1).unwrap();
    std::fs::write(folder.path().join("secret"), "s").unwrap();
    symlink("../secret", path("out")).unwrap();
    symlink("run.sh", path("in")).unwrap();
    let load = |place: &str, file: &str| {
        let text = format!("{JAR}\n[rock.files]\n{place:?} = {file:?}\n");
        load_text("app", &folder.path().join("app"), "app.toml", &text)
    };
    for file in ["run.sh", "./run.sh", "in"] {
        let app = load("/opt/x/run.sh", file).unwrap_or_else(|error| panic!("{error}")).app;
        let read = &app.rock.files["/opt/x/run.sh"];
        assert_eq!((read.bytes.as_slice(), read.executable), (&b"#!/bin/sh"[..], true), "{file}");
    }
    let refused = |place: &str, file: &str, phrase: &str| {
        let error = load(place, file).expect_err(place).to_string();
        assert!(error.contains(phrase), "{place} {file}: {error}");
    };
    refused("/opt/x", "missing", "is not there");
    refused("/opt/x", "large", "no file of 1 MiB or less");
    refused("/opt/x", "folder", "no file of 1 MiB or less");
    refused("/opt/x", "out", "leads out of it");
    refused("/opt/x", "../secret", "holds `..`");
    refused("/opt/x", "/etc/passwd", "is an absolute path");
    for place in ["opt/x", "/opt/../x", "/opt//x", "/opt/x/", "/", "/opt/$(id)", "/opt/a b", ""] {
        refused(place, "run.sh", "not a place in a rock");
    }
    for place in ["/scripts/start.sh", "/run/x/y", "/var/lib/pebble/default/layers/9.yaml", "/x", "/bin/sh"] {
        refused(place, "run.sh", "puts its own files there");
    }
}
