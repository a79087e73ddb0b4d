//! Rendered files: how they look, that rendering is pure, and that no value of app.toml escapes from its place.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_yaml_ng::Value as Yaml;
use tempfile::TempDir;
use xtask::app::{App, Source};
use xtask::engine::Engine;
use xtask::lock::Lock;
use xtask::plan::Packer;
use xtask::render::{Files, native_files, render, rock_name};
use xtask::rock::Role;

mod support {
    pub mod apps;
    pub mod script;
}

use support::apps::{TEMPLATES, app, rendered, samples};
use support::script::{bash, output, start, stubs};

/// Every file with its path; one that is equal to an earlier one is only named.
fn shown(files: &Files) -> String {
    let mut seen: BTreeMap<&[u8], &Path> = BTreeMap::new();
    let mut text = String::new();
    for (path, file) in files {
        let mode = if file.executable { " (executable)" } else { "" };
        let _ = writeln!(text, "=== {}{mode}", path.display());
        match seen.get(file.bytes.as_slice()) {
            Some(earlier) => {
                let _ = writeln!(text, "equal to {}", earlier.display());
            }
            None => text.push_str(std::str::from_utf8(&file.bytes).expect("rendered files are UTF-8")),
        }
        seen.entry(&file.bytes).or_insert(path);
    }
    text
}

#[test]
fn every_file() {
    for (name, app) in samples() {
        insta::assert_snapshot!(name, shown(&rendered(&app)));
    }
}

#[test]
fn rendering_is_pure() {
    for (name, app) in samples() {
        assert_eq!(rendered(&app), rendered(&app.clone()), "{name}");
    }
}

#[test]
fn files_end_in_one_line_break() {
    for (name, app) in samples() {
        for (path, file) in rendered(&app) {
            let text = String::from_utf8(file.bytes).unwrap();
            let place = format!("{name}: {}", path.display());
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{place}");
            assert!(text.lines().all(|line| line.trim_end() == line), "{place}");
            assert!(text.lines().take(2).any(|line| line.contains("@generated")), "{place}");
        }
    }
}

/// A pin changes the manifest of the data, and the digest of a jar that app.toml does not name; nothing else.
#[test]
fn what_a_pin_changes() {
    let jar = app("local", "source.jar = \"app.jar\"\n");
    for (name, app) in samples().into_iter().chain([("local", jar)]) {
        let mut pin = Lock::parse(include_str!("support/sample.lock")).unwrap();
        pin.engine = Engine::choose(app.engine, Packer::Rockcraft);
        let (before, after) = (rendered(&app), render(&TEMPLATES, &app, Some(&pin)).unwrap());
        let changed: Vec<&str> = after
            .iter()
            .filter(|(path, file)| before.get(*path) != Some(*file))
            .map(|(path, _)| path.to_str().unwrap())
            .collect();
        let expected: &[&str] = match app.source {
            Source::Jar { .. } => &["checkpoint/rockcraft.yaml", "restore/data.sha256"],
            _ => &["restore/data.sha256"],
        };
        assert_eq!(changed, expected, "{name}");
        assert!(before.keys().all(|path| after.contains_key(path)), "{name}");
        let manifest = std::str::from_utf8(&after[Path::new("restore/data.sha256")].bytes).unwrap();
        let sum = pin.data.files[1].sha256.unwrap().hex();
        assert_eq!(manifest, format!("{sum}  checkpoint-data/core-1.img\n"));
        let rock = text(&after, "checkpoint/rockcraft.yaml");
        let pinned = rock.contains(&pin.source.jar.hex());
        assert_eq!(pinned, matches!(app.source, Source::Jar { .. }), "{name}");
        // Data that the other engine dumped is nothing to this rock.
        pin.engine = if pin.engine == Engine::Criu { Engine::Crac } else { Engine::Criu };
        let other = render(&TEMPLATES, &app, Some(&pin)).unwrap();
        assert!(!other.contains_key(Path::new("restore/data.sha256")), "{name}");
    }
}

fn text<'f>(files: &'f Files, path: &str) -> &'f str {
    std::str::from_utf8(&files[Path::new(path)].bytes).unwrap()
}

/// What means something to a shell, to YAML, to a template or to a terminal.
#[rustfmt::skip]
const ODD: &[&str] = &[
    " ", " ", "a", "z", "0", "'", "\"", "$", "`", "\\", "#", ":", "&", "*", "!", "|", ">", "%", "@", "{", "}", "[", "]",
    ",", "?", "~", ";", "(", ")", "<", "=", "^", "/", ".", "_", "-", "é", "漢", "😀", "\u{301}", "¡", "$(id)", ": ", " #",
    "{{", "}}", "{%", "%}", "---", "''", "\\n", "${HOME}", "!!", "\u{7e}", "%s", "<<",
];
/// What only environment values may hold.
const UNPRINTABLE: &[&str] = &[
    "\n",
    "\r",
    "\t",
    "\u{1b}",
    "\u{85}",
    "\u{a0}",
    "\u{2028}",
    "\u{feff}",
    "\u{ffff}",
    "\u{10ffff}",
    "\u{7f}",
    "\u{1}",
];

/// One line that a person could have written.
fn line() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(ODD), 0..20).prop_map(|parts| parts.concat())
}

fn environment() -> impl Strategy<Value = BTreeMap<String, String>> {
    let pieces = [ODD, UNPRINTABLE].concat();
    let anything = prop_oneof![
        4 => prop::collection::vec(prop::sample::select(pieces), 0..20).prop_map(|parts| parts.concat()),
        1 => prop::sample::select(vec!["", "no", "~", "null", "1e3", "0x1f", "2001-01-01", "\n", " a\n b\n", "="])
            .prop_map(String::from),
    ];
    // YAML takes some words for truth values and null, and `<<` for a merge.
    let name = prop_oneof![3 => "[A-Z_][A-Z0-9_]{0,8}", 1 => "y|n|no|yes|on|off|null|true|NULL|_"];
    prop::collection::btree_map(name.prop_filter("may be set", |n| !n.starts_with("LD_")), anything, 0..5)
}

/// An application of hostile but valid values, through the very code that reads app.toml.
fn any_app() -> impl Strategy<Value = App> {
    let name = prop_oneof![
        3 => "[a-z][a-z0-9]{1,9}",
        // Names that the templates use for something else.
        1 => "java|scripts|checkpoint-data|application|e1|data|jars|native|app|started|environment",
    ];
    let summary =
        line().prop_filter("a summary", |text| !text.trim().is_empty() && text.chars().count() <= 78);
    let build = line().prop_filter("a command", |text| !text.trim().is_empty());
    let options = prop::collection::vec(line().prop_map(|text| format!("-{text}")), 0..4);
    let parts = (name, summary, build, options, prop::collection::vec(line(), 0..4), environment());
    let choices = (prop::sample::select(vec!["auto", "criu", "crac"]), any::<bool>());
    let named = parts.prop_filter("YAML's own words are refused", |parts| {
        !["true", "false", "yes", "no", "on", "off", "null"].contains(&parts.0.as_str())
    });
    (named, choices).prop_map(|((name, summary, build, options, arguments, environment), (engine, git))| {
        let source = match git {
            true => serde_json::json!({
                "git": "https://example.com/a.git", "commit": "1".repeat(40), "build": build,
            }),
            false => serde_json::json!({ "jar": "a.jar" }),
        };
        let table = serde_json::json!({
            "summary": summary, "engine": engine, "source": source, "environment": environment,
            "java": { "options": options, "arguments": arguments },
        });
        app(&name, &toml::to_string(&table).expect("TOML"))
    })
}

fn parsed(text: &str) -> Result<Yaml, TestCaseError> {
    let wrong = |error: serde_yaml_ng::Error| TestCaseError::fail(format!("{error}\n{text}"));
    serde_yaml_ng::from_str(text).map_err(wrong)
}

/// What the services of a rendered file say, compared with the model.
fn check_services(app: &App, engine: Engine, role: Role, file: &Yaml) -> Result<(), TestCaseError> {
    let services = file["services"].as_mapping().expect("services");
    let names: Vec<&str> = services.keys().map(|key| key.as_str().unwrap_or("no string")).collect();
    let name = &app.name;
    let (dump, restore) = (engine.checkpoint_command(app), engine.restore_command());
    if role == Role::Restore {
        let service = format!("{name}-restore");
        prop_assert_eq!(names, [service.as_str()]);
        prop_assert_eq!(services[&service]["command"].as_str(), Some(restore.as_str()));
        let summary = format!("Restores {name}");
        prop_assert_eq!(services[&service]["summary"].as_str(), Some(summary.as_str()));
        return Ok(());
    }
    let dumps = format!("{name}-checkpoint");
    prop_assert_eq!(names, [name.as_str(), dumps.as_str()]);
    prop_assert_eq!(services[&dumps]["command"].as_str(), Some(dump.as_str()));
    prop_assert_eq!(services[name]["command"].as_str(), Some("/scripts/start.sh"));
    let summary = format!("Runs {name}");
    prop_assert_eq!(services[name]["summary"].as_str(), Some(summary.as_str()));
    let expected = engine.environment(app);
    let found: BTreeMap<String, String> = match &services[name].get("environment") {
        Some(map) => serde_yaml_ng::from_value((*map).clone()).expect("a map of strings"),
        None => BTreeMap::new(),
    };
    prop_assert_eq!(found, expected);
    Ok(())
}

fn check_rock(app: &App, role: Role, file: &Yaml) -> Result<(), TestCaseError> {
    prop_assert_eq!(file["name"].as_str(), Some(rock_name(app, role)));
    prop_assert_eq!(file["version"].as_str(), Some(app.version.as_str()));
    prop_assert_eq!(file["summary"].as_str(), Some(app.summary.as_str()));
    let parts = file["parts"].as_mapping().expect("parts");
    prop_assert!(parts.keys().all(Yaml::is_string), "{:?}", parts);
    if role == Role::Checkpoint {
        // A part for each of Java, the jar and the scripts, whatever the application is called.
        prop_assert_eq!(parts.len(), 3, "{:?}", parts);
    }
    if let (Role::Checkpoint, Source::Git { build, .. }) = (role, &app.source) {
        let scripts = parts.values().filter_map(|part| part.get("override-build")?.as_str());
        let first: Vec<&str> = scripts.filter_map(|script| script.lines().next()).collect();
        prop_assert_eq!(first, [build.command.trim()]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every rendered YAML file is YAML, and says what app.toml says.
    #[test]
    fn yaml_says_what_app_toml_says(app in any_app()) {
        let packed = Engine::choose(app.engine, Packer::Rockcraft);
        let native = Engine::choose(app.engine, Packer::Native);
        let files = rendered(&app);
        for role in [Role::Checkpoint, Role::Restore] {
            let rock = parsed(text(&files, &format!("{}/rockcraft.yaml", role.folder())))?;
            check_rock(&app, role, &rock)?;
            check_services(&app, packed, role, &rock)?;
            if let Some(layer) = files.get(&Path::new(role.folder()).join("native/layer.yaml")) {
                check_services(&app, native, role, &parsed(std::str::from_utf8(&layer.bytes).unwrap())?)?;
            }
        }
    }
}

/// The words that the JVM is started with.
fn java_words(app: &App, script: &str) -> Vec<String> {
    static STUBS: LazyLock<TempDir> = LazyLock::new(|| stubs("#!/bin/sh\nprintf '%s\\0' \"$@\"\n"));
    let script = start(app, script, STUBS.path(), 0);
    let ran = output(bash(STUBS.path()).args(["-c", &script]));
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}\n{script}");
    let printed = String::from_utf8(ran.stdout).expect("UTF-8");
    let words = printed.strip_suffix('\0').unwrap_or_else(|| panic!("{printed:?}"));
    words.split('\0').map(String::from).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// A real shell hands the JVM exactly the model's words.
    #[test]
    fn start_hands_over_every_word(app in any_app()) {
        let engine = Engine::choose(app.engine, Packer::Native);
        let mut expected = engine.jvm_options(&app);
        expected.extend(["-jar".to_owned(), format!("/jars/{}.jar", app.name)]);
        expected.extend(app.java.arguments.iter().cloned());
        let files = native_files(&TEMPLATES, &app, Role::Checkpoint).expect("native files");
        prop_assert_eq!(java_words(&app, text(&files, "scripts/start.sh")), expected);
    }
}
