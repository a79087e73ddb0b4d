//! The JSON Schema of app.toml: fresh, named by every app.toml, and of one mind with the code that reads them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xtask::app::{load_text, names, reference, schema};
use xtask::cli::page;

mod support {
    pub mod apps;
}

use support::apps::{HOSTILE, NEWEST, PETCLINIC, ZIPKIN};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What `#:schema PATH` is followed by in every app.toml of this repository.
fn texts() -> Vec<String> {
    let names = names(&root()).unwrap();
    assert!(names.len() >= 2, "{names:?}");
    let read =
        |name: &String| std::fs::read_to_string(root().join("apps").join(name).join("app.toml")).unwrap();
    names.iter().map(read).collect()
}

#[test]
fn it_is_fresh() {
    let text = std::fs::read_to_string(root().join("apps/app.schema.json")).unwrap_or_default();
    assert!(text == schema(), "apps/app.schema.json is not fresh; run `cargo xtask schema`");
    let page = std::fs::read_to_string(root().join("docs/guide/configuration.md")).unwrap_or_default();
    assert!(page == reference(), "docs/guide/configuration.md is not fresh; run `cargo xtask schema`");
    let page = std::fs::read_to_string(root().join(page::PAGE)).unwrap_or_default();
    assert!(page == page::markdown(), "{} is not fresh; run `cargo xtask schema`", page::PAGE);
}

#[test]
fn every_app_toml_names_it() {
    for text in texts() {
        assert!(text.starts_with("#:schema ../app.schema.json\n"), "{text}");
    }
}

/// Lines beside `[source]`, and whether they are right.
const LINES: &[(bool, &str)] = &[
    (true, ""),
    (true, "environment.ANY = \"thing\""),
    (
        true,
        "http.warm-up = [\"/\", { path = \"/a\", method = \"POST\", body = \"b\", status = 202, repeat = 9 }]",
    ),
    (true, "http.verify = [{ path = \"/a\", headers = { Accept = \"*/*\" } }]"),
    (true, "limits.dump = \"1m 30s\"\ncheckpoint.ghost-limit = \"1 GiB\""),
    (
        true,
        "secrets.db-password = { environment = \"DB_PASSWORD\" }\nsecrets.key = { file = \"/run/secrets/key\" }\n\
         secrets.allow = [{ id = \"secret/key:012\", reason = \"of the tests\" }]",
    ),
    (false, "secrets.db-password = \"hunter2\""),
    (false, "secrets.db-password = {}"),
    (false, "secrets.db-password = { environment = \"A\", file = \"/a\" }"),
    (false, "secrets.db-password = { value = \"hunter2\" }"),
    (false, "secrets.allow = [{ id = \"jwt:0123abcd\" }]"),
    (false, "secrets.allow = [{ id = \"jwt:0123abcd\", reason = \" \" }]"),
    (false, "secrets.allow = [{ id = \"jwt\", reason = \"a\" }]"),
    (true, "restore.fallback = \"cold\""),
    (false, "restore.fallback = \"warm\""),
    (true, "pin.remote = \"registry.example.com/team/pins\""),
    (false, "sumary = \"a\""),
    (false, "http.redy = \"/\""),
    (false, "http.warm-up = [{ path = \"/\", repeats = 1 }]"),
    (false, "http.warm-up = [{ method = \"GET\" }]"),
    (false, "http.warm-up = [{ path = \"/\", method = \"FETCH\" }]"),
    (false, "http.verify = [{ path = \"/\", repeat = 2 }]"),
    (false, "http.verify = \"/\""),
    (false, "http.port = \"8080\""),
    (false, "http.port = 65536"),
    (false, "http.ready = \"ready\""),
    (false, "engine = \"crui\""),
    (false, "packer = \"snap\""),
    (false, "java.version = 18"),
    (false, "java.profile = \"tiny\""),
    (false, "java.options = [\"Xmx1g\"]"),
    (false, "java.options = \"-Xmx1g\""),
    (false, "environment.A = 1"),
    (false, "rock.base = \"ubuntu@20.04\""),
    (false, "rock.platforms = []"),
    (false, "rock.platforms = [\"amd64\", \"amd64\"]"),
    (false, "rock.run-user = \"root\""),
    (false, "checkpoint.min-pid = 99"),
    (false, "limits.dump = 90"),
    (false, "summary = \"\""),
    (false, "version = \"-1\""),
];

/// Whole files.
const SOURCES: &[(bool, &str)] = &[
    (true, "source.jar = \"a.jar\""),
    (true, "source.directory = \"src\""),
    (true, "source.directory = \"src\"\nsource.build = \"make\"\nsource.jar = \"out/*.jar\""),
    (false, ""),
    (false, "source = {}"),
    (false, "source.build = \"make\""),
    (false, "source.jar = \"a.jar\"\nsource.build = \"make\""),
    (false, "source.git = \"https://a.example/b.git\""),
    (false, "source.git = \"https://a.example/b.git\"\nsource.commit = \"main\""),
    (false, "source.maven = \"a:b:1\""),
    (
        false,
        "source.maven = \"a:b\"\nsource.sha256 = \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"",
    ),
    (false, "source.directory = \"src\"\nsource.git = \"https://a.example/b.git\""),
    (false, "source.directory = \"src\"\nsource.sha256 = \"0\""),
];

fn cases() -> Vec<(bool, String)> {
    let whole = texts().into_iter().chain([PETCLINIC, ZIPKIN, HOSTILE, NEWEST].map(String::from));
    let lines = LINES.iter().map(|(right, line)| (*right, format!("source.jar = \"a.jar\"\n{line}\n")));
    let sources = SOURCES.iter().map(|(right, text)| (*right, (*text).to_owned()));
    whole.map(|text| (true, text)).chain(lines).chain(sources).collect()
}

#[test]
fn the_cases_are_what_they_say() {
    for (right, text) in cases() {
        let loaded = load_text("shop", Path::new("/apps/shop"), "app.toml", &text);
        assert_eq!(
            loaded.is_ok(),
            right,
            "{text}\n{}",
            loaded.err().map(|e| e.to_string()).unwrap_or_default()
        );
    }
}

#[test]
#[ignore = "it installs Python's validator; `cargo xtask test` runs it"]
fn a_validator_agrees() {
    let cases: Vec<(bool, serde_json::Value)> = cases()
        .into_iter()
        .map(|(right, text)| {
            (right, serde_json::to_value(toml::from_str::<toml::Table>(&text).unwrap()).unwrap())
        })
        .collect();
    let mut python = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rockcraft/python"));
    python.arg("schema.py").arg(root().join("apps/app.schema.json"));
    let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    python.stdin.take().unwrap().write_all(&serde_json::to_vec(&cases).unwrap()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    println!("{} cases", cases.len());
}
