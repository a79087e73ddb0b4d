//! The scripts inside rockcraft.yaml, run by bash with stubs for what they call: rockcraft runs them with `bash -eux`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_yaml_ng::Value as Yaml;
use tempfile::TempDir;
use xtask::app::App;

mod support {
    pub mod apps;
    pub mod script;
}

use support::apps::{HOSTILE, PETCLINIC, ZIPKIN, app, rendered, samples, text};
use support::script::{output, program};

fn script(app: &App, role: &str, part: &str, key: &str) -> String {
    let files = rendered(app);
    let file: Yaml = serde_yaml_ng::from_str(text(&files, &format!("{role}/rockcraft.yaml"))).unwrap();
    file["parts"][part][key].as_str().unwrap_or_else(|| panic!("{part} has no {key}")).to_owned()
}

/// Runs a script as craft-parts does, in an empty folder; whether it succeeded, and what it said.
fn run(script: &str, prepare: impl FnOnce(&Path)) -> (TempDir, bool, String) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["stubs", "build", "install", "overlay"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    program(&folder.path().join("stubs/craftctl"), "#!/bin/sh\n");
    // Owners and capabilities are root's to give.
    for name in ["chown", "setcap"] {
        program(&folder.path().join("stubs").join(name), "#!/bin/sh\necho \"$0 $*\" >>\"${0%/*}/called\"\n");
    }
    prepare(folder.path());
    let path = format!("{}:{}", folder.path().join("stubs").display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(folder.path().join("build"));
    command.env("PATH", path).env("CRAFT_PART_INSTALL", folder.path().join("install"));
    command.env("CRAFT_OVERLAY", folder.path().join("overlay")).env("CRAFT_PROJECT_DIR", folder.path());
    command.env("CRAFT_ARCH_BUILD_FOR", "amd64").env("CRAFT_ARCH_BUILD_ON", "amd64");
    let ran = output(&mut command);
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    (folder, ran.status.success(), said)
}

#[test]
fn the_one_jar_of_a_build_is_installed() {
    let check = |toml: &str, jars: &[&str], expected: Result<(), &str>| {
        let app = app("shop", toml);
        let jars: Vec<String> = jars.iter().map(ToString::to_string).collect();
        let (folder, succeeded, said) =
            run(&script(&app, "checkpoint", "application", "override-build"), |folder| {
                // What the build would leave.
                program(&folder.join("build/mvnw"), "#!/bin/sh\n");
                fs::create_dir(folder.join("build/target")).unwrap();
                for jar in &jars {
                    fs::write(folder.join("build/target").join(jar), jar).unwrap();
                }
            });
        let jar = folder.path().join("install/jars/shop.jar");
        match expected {
            Ok(()) => {
                assert!(succeeded, "{said}");
                assert_eq!(fs::read_to_string(&jar).unwrap(), jars[0]);
                assert_eq!(fs::metadata(&jar).unwrap().permissions().mode() & 0o777, 0o644);
            }
            Err(phrase) => assert!(!succeeded && said.contains(phrase) && !jar.exists(), "{said}"),
        }
    };
    check(PETCLINIC, &["shop-1-SNAPSHOT.jar", "shop-1-SNAPSHOT.jar.original"], Ok(()));
    check(PETCLINIC, &[], Err("expected one jar, found: "));
    check(PETCLINIC, &["a-SNAPSHOT.jar", "b-SNAPSHOT.jar"], Err("expected one jar, found: ./target/"));
    // A glob and a command full of what a shell would take apart.
    check(HOSTILE, &["it's $(id) ab.jar"], Ok(()));
    check(HOSTILE, &["its.jar"], Err("expected one jar"));
}

#[test]
fn only_the_named_jar_is_taken() {
    let zipkin = app("zipkin", ZIPKIN);
    let script = script(&zipkin, "checkpoint", "application", "override-build");
    let (folder, succeeded, said) =
        run(&script, |folder| fs::write(folder.join("build/zipkin.jar"), "another").unwrap());
    assert!(!succeeded && said.contains("zipkin.jar: FAILED"), "{said}");
    assert!(!folder.path().join("install/jars").exists());
    let sum = xtask::digest::Digest::of("the jar").hex();
    let named = app(
        "zipkin",
        &ZIPKIN.replace("7ac633a6832647e71e50012a5e3e91fbc7054414955261724526030faf271d8d", &sum),
    );
    let script = self::script(&named, "checkpoint", "application", "override-build");
    let (folder, succeeded, said) =
        run(&script, |folder| fs::write(folder.join("build/zipkin.jar"), "the jar").unwrap());
    assert!(succeeded, "{said}");
    assert_eq!(fs::read_to_string(folder.path().join("install/jars/zipkin.jar")).unwrap(), "the jar");
}

#[test]
fn criu_is_given_what_it_needs() {
    let check = |toml: &str, role: &str, present: &[&str], expected: Result<&str, &str>| {
        let app = app("shop", toml);
        let (folder, succeeded, said) = run(&script(&app, role, "java", "overlay-script"), |folder| {
            for path in present {
                let file = folder.join("overlay").join(path);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, path).unwrap();
            }
            let sum = xtask::digest::Digest::of("usr/lib/libjvm.so").hex();
            fs::write(folder.join("mapped.sha256"), format!("# x\n{sum}  usr/lib/libjvm.so\n")).unwrap();
        });
        let called = fs::read_to_string(folder.path().join("stubs/called")).unwrap_or_default();
        match expected {
            Ok(phrase) => {
                assert!(succeeded && called.contains(phrase), "{said}\n{called}");
                // Everything that was touched is inside the overlay.
                let overlay = folder.path().join("overlay").display().to_string();
                assert!(called.lines().all(|line| line.contains(&overlay)), "{called}");
                for path in present.iter().filter(|path| path.ends_with("criu") && phrase.contains("root")) {
                    let mode =
                        fs::metadata(folder.path().join("overlay").join(path)).unwrap().permissions().mode();
                    assert_eq!(mode & 0o4000, 0o4000, "{path}");
                }
            }
            Err(phrase) => assert!(!succeeded && said.contains(phrase), "{said}"),
        }
    };
    let (old, new) = ("usr/lib/jvm/java-17-openjdk-crac-amd64/lib/criu", "usr/sbin/criu");
    let jvm = "usr/lib/libjvm.so";
    check(PETCLINIC, "checkpoint", &[old], Ok("chown root:root"));
    check(PETCLINIC, "checkpoint", &[new], Ok("chown root:root"));
    check(PETCLINIC, "checkpoint", &[old, new], Ok("chown root:root"));
    check(PETCLINIC, "checkpoint", &[], Err("openjdk-17-crac brings no criu"));
    check(PETCLINIC, "restore", &[old, jvm], Ok("chown root:root"));
    check(PETCLINIC, "restore", &[old], Err("the packages are no longer those of the dump"));
    check(ZIPKIN, "restore", &[new, jvm], Ok("setcap cap_checkpoint_restore+eip"));
    check(ZIPKIN, "checkpoint", &[new], Ok("cap_net_admin"));
}

#[test]
#[ignore = "needs shellcheck; run by cargo xtask test"]
fn shellcheck_has_nothing_to_say_of_build_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (name, app) in samples() {
        for (path, file) in rendered(&app).iter().filter(|(path, _)| path.ends_with("rockcraft.yaml")) {
            let file: Yaml = serde_yaml_ng::from_slice(&file.bytes).unwrap();
            for (part, value) in file["parts"].as_mapping().unwrap() {
                for key in ["override-build", "overlay-script"] {
                    let Some(script) = value.get(key).and_then(Yaml::as_str) else { continue };
                    let role = path.parent().unwrap().display();
                    let file =
                        folder.path().join(format!("{name}-{role}-{}-{key}.sh", part.as_str().unwrap()));
                    fs::write(&file, format!("#!/bin/bash\n{script}")).unwrap();
                    paths.push(file);
                }
            }
        }
    }
    assert!(paths.len() >= 16, "{paths:?}");
    // SC2016 and SC1083: the hostile sample's glob and command are the user's own. SC2164: rockcraft runs them with -e.
    let ran = Command::new("shellcheck").arg("--exclude=SC2016,SC1083,SC2164").args(&paths).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    println!("shellcheck: {} build scripts", paths.len());
}
