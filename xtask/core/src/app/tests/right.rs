//! What is right, its defaults and origins; and what `load` and `names` find in folders.

use std::path::Path;

use super::super::*;
use super::{FULL, JAR, SHA, good};
use crate::diagnostic::InputError;
use crate::digest::Digest;

#[test]
fn names_of_applications() {
    let load = |name: &str| load_text(name, Path::new("/w/apps/x"), "apps/x/app.toml", JAR);
    for name in ["a", "pet-clinic-2", &"a".repeat(27)] {
        assert!(load(name).is_ok(), "{name}");
    }
    for (name, phrase) in [
        ("", "is not a valid name"),
        ("A", "is not a valid name"),
        ("a_b", "is not a valid name"),
        ("a-", "is not a valid name"),
        ("../x", "is not a valid name"),
        ("x-restore", "names a service"),
        ("x-checkpoint", "names a service"),
        (&"a".repeat(41), "at most 40"),
        (&"a".repeat(28), "set `checkpoint-name` below `[rock]`"),
    ] {
        let error = load(name).unwrap_err().to_string();
        assert!(error.contains(phrase), "{error}");
    }
}

#[test]
fn defaults_and_where_they_come_from() {
    let loaded = good(JAR);
    let app = &loaded.app;
    assert_eq!(app.summary, "petclinic, checkpointed");
    assert_eq!(app.source, Source::Jar { path: "/w/apps/petclinic/app.jar".into() });
    assert_eq!((app.java.version, app.http.port, app.http.ready.as_str()), (21, 8080, "/actuator/health"));
    assert_eq!(app.rock.restore_name, "petclinic-restorer");
    assert_eq!(app.limits.build, std::time::Duration::from_secs(1800));
    assert_eq!(loaded.digest, Digest::of(JAR));
    let setting = |key: &str| {
        let setting = loaded.settings.iter().find(|setting| setting.key == key).expect(key);
        (setting.value.as_str(), setting.origin.clone())
    };
    assert_eq!(setting("source.jar"), ("\"/w/apps/petclinic/app.jar\"", Origin::File { line: 1 }));
    assert_eq!(setting("java.version"), ("21", Origin::Default("a long-term release")));
    assert_eq!(setting("checkpoint.ghost-limit").0, "\"20 MiB\"");
    assert_eq!(setting("environment").0, "{}");
    let derived = Origin::Derived("from the name of the folder".to_owned());
    assert_eq!(setting("rock.checkpoint-name"), ("\"petclinic-checkpointer\"", derived));
}

#[test]
fn every_key_given() {
    // Files are read when app.toml is, from this crate's own folder.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = FULL
        .replace("[crac]", "files = { \"/etc/shop/a.toml\" = \"Cargo.toml\" }\n[crac]")
        .replace("[checkpoint]", "resource-policies = \"Cargo.toml\"\n[checkpoint]");
    let loaded = load_text("petclinic", folder, "app.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let manifest = std::fs::read(folder.join("Cargo.toml")).unwrap();
    assert_eq!(loaded.app.rock.files["/etc/shop/a.toml"].bytes, manifest);
    assert_eq!(loaded.app.crac.resource_policies.as_ref().unwrap().bytes, manifest);
    assert!(loaded.settings.iter().all(|setting| matches!(setting.origin, Origin::File { .. })));
    let line = |key: &str| loaded.settings.iter().find(|s| s.key == key).map(|s| s.origin.clone());
    assert_eq!(line("http.verify"), Some(Origin::File { line: 27 }));
    assert_eq!(line("environment.EMPTY"), Some(Origin::File { line: 31 }));
    let request = &loaded.app.http.warm_up[2];
    assert_eq!((request.method.as_str(), request.status, request.repeat), ("POST", 202, 3));
    assert_eq!(loaded.app.http.warm_up[1].path, "/owners?lastName=");
    let keys: Vec<&str> = loaded.settings.iter().map(|setting| setting.key.as_str()).collect();
    for (table, known) in keys::TABLES {
        for key in known.iter().filter(|key| !["maven", "sha256", "directory"].contains(key)) {
            assert!(
                keys.contains(&format!("{table}.{key}").as_str()),
                "{table}.{key} is listed, but never read"
            );
        }
    }
}

#[test]
fn other_sources() {
    for url in
        ["https://h:8443/r.git", "ssh://git@h/r", "ssh://h/r", "git@github.com:a/b.git", "file:///srv/r"]
    {
        good(&format!("[source]\ngit = \"{url}\"\ncommit = \"{SHA}\"\n"));
    }
    let loaded =
        good(&format!("source = {{ maven = \"io.zipkin:zipkin-server:3.5.1:exec\", sha256 = \"{SHA}\" }}"));
    assert!(matches!(loaded.app.source, Source::Maven { classifier: Some(exec), .. } if exec == "exec"));
    for (path, expected) in [(".", "/w/apps/petclinic"), ("./a//b/", "/w/apps/petclinic/a/b"), ("/x", "/x")] {
        let loaded = good(&format!("source.directory = \"{path}\""));
        let build = Build { command: "./mvnw package".into(), jar: "target/*.jar".into() };
        assert_eq!(loaded.app.source, Source::Directory { path: expected.into(), build });
    }
}

#[test]
fn folders() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let error = |name: &str| {
        let error = load(root, name).unwrap_err();
        error.downcast_ref::<InputError>().expect("an InputError").to_string()
    };
    assert!(names(root).unwrap().is_empty());
    assert!(error("x").contains("there is none at all yet"));
    for (name, bytes) in [("zipkin", JAR.as_bytes()), ("petclinic", JAR.as_bytes()), ("raw", b"a = \"\xff\"")]
    {
        fs_err::create_dir_all(root.join("apps").join(name)).unwrap();
        fs_err::write(root.join("apps").join(name).join("app.toml"), bytes).unwrap();
    }
    fs_err::create_dir_all(root.join("apps/empty")).unwrap();
    assert_eq!(names(root).unwrap(), ["petclinic", "raw", "zipkin"]);
    assert_eq!(load(root, "zipkin").unwrap().app.name, "zipkin");
    let shown = error("petclinc");
    assert!(
        shown.contains("no application `petclinc`") && shown.contains("did you mean `petclinic`?"),
        "{shown}"
    );
    assert!(error("../apps/zipkin").contains("`petclinic`, `raw`, `zipkin`"));
    assert!(error("raw").contains("not UTF-8"), "{}", error("raw"));
}
