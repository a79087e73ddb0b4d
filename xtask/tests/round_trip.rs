//! No value of app.toml escapes from its place: what is rendered is read back, by YAML, by bash and by rockcraft's own
//! libraries, and says what app.toml says.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_yaml_ng::Value as Yaml;
use tempfile::TempDir;
use xtask::app::{App, Source};
use xtask::engine::Engine;
use xtask::render::{native_files, rock_name};
use xtask::rock::Role;
use xtask::way::Way;

mod support {
    pub mod any_app;
    pub mod apps;
    pub mod cases;
    pub mod script;
}

use support::any_app::any_app;
use support::apps::{TEMPLATES, app, rendered, text};
use support::cases::cases;
use support::script::{bash, output, start, stubs};

fn parsed(text: &str) -> Result<Yaml, TestCaseError> {
    let wrong = |error: serde_yaml_ng::Error| TestCaseError::fail(format!("{error}\n{text}"));
    serde_yaml_ng::from_str(text).map_err(wrong)
}

fn strings(yaml: &Yaml) -> Vec<&str> {
    yaml.as_sequence().into_iter().flatten().map(|item| item.as_str().expect("a string")).collect()
}

fn keys(yaml: &Yaml) -> Vec<&str> {
    yaml.as_mapping().into_iter().flatten().map(|(key, _)| key.as_str().expect("a string")).collect()
}

/// What the services and checks of a rendered file say, compared with the model.
fn check_services(app: &App, engine: Engine, role: Role, file: &Yaml) -> Result<(), TestCaseError> {
    let services = &file["services"];
    let name = app.name.as_str();
    let (dumps, restores) = (format!("{name}-checkpoint"), format!("{name}-restore"));
    if role == Role::Restore {
        prop_assert_eq!(keys(services), [&restores]);
        let service = &services[&restores];
        let command = engine.restore_command(app);
        prop_assert_eq!(service["command"].as_str(), Some(command.as_str()));
        let summary = format!("Restores {name}");
        prop_assert_eq!(service["summary"].as_str(), Some(summary.as_str()));
        let ready = format!("{name}-ready");
        prop_assert_eq!(keys(&file["checks"]), [&ready]);
        let url = format!("http://127.0.0.1:{}{}", app.http.port, app.http.ready);
        prop_assert_eq!(file["checks"][&ready]["http"]["url"].as_str(), Some(url.as_str()));
        return Ok(());
    }
    prop_assert_eq!(keys(services), [name, &dumps]);
    prop_assert_eq!(services[&dumps]["command"].as_str(), Some("/scripts/checkpoint.sh"));
    prop_assert_eq!(services[name]["command"].as_str(), Some("/scripts/start.sh"));
    let summary = format!("Runs {name}");
    prop_assert_eq!(services[name]["summary"].as_str(), Some(summary.as_str()));
    for service in [&services[&dumps], &services[name]] {
        prop_assert_eq!(service["on-success"].as_str(), Some("ignore"));
        prop_assert_eq!(service["on-failure"].as_str(), Some("ignore"));
    }
    let expected = engine.environment(app);
    let found: BTreeMap<String, String> = match &services[name].get("environment") {
        Some(map) => serde_yaml_ng::from_value((*map).clone()).expect("a map of strings"),
        None => BTreeMap::new(),
    };
    prop_assert_eq!(found, expected);
    Ok(())
}

fn check_rock(app: &App, engine: Engine, role: Role, file: &Yaml) -> Result<(), TestCaseError> {
    let text = |key: &str| file[key].as_str();
    prop_assert_eq!(text("name"), Some(rock_name(app, role)));
    prop_assert_eq!(text("version"), Some(app.version.as_str()));
    prop_assert_eq!(text("summary"), Some(app.summary.as_str()));
    prop_assert_eq!(text("base"), Some(app.rock.base.as_str()));
    prop_assert_eq!(text("run-user"), Some("_daemon_"));
    let platforms: Vec<&str> = app.rock.platforms.iter().map(String::as_str).collect();
    prop_assert_eq!(keys(&file["platforms"]), platforms);
    let ppas = file["package-repositories"].as_sequence().map_or(0, Vec::len);
    prop_assert_eq!(ppas, usize::from(engine == Engine::Criu || app.rock.base == "ubuntu@24.04"));

    let parts = &file["parts"];
    let mut expected = match role {
        Role::Checkpoint => vec!["application", "folders", "java"],
        Role::Restore => vec!["checkpoint-data", "folders", "java"],
    };
    expected.extend((!engine.scripts(role).is_empty()).then_some("scripts"));
    expected.extend((!app.rock.slices.is_empty()).then_some("slices"));
    prop_assert_eq!(keys(parts), expected);
    let scripts = keys(&parts["scripts"]["organize"]);
    prop_assert_eq!(scripts, engine.scripts(role).to_vec());
    prop_assert_eq!(strings(&parts["slices"]["stage-packages"]), app.rock.slices.clone());
    let mut packages = engine.packages(app.java.version);
    packages.extend(app.rock.packages.iter().cloned());
    packages.sort();
    packages.dedup();
    prop_assert_eq!(strings(&parts["java"]["overlay-packages"]), packages);
    let overlay = parts["java"]["overlay-script"].as_str().expect("a script");
    prop_assert_eq!(overlay.contains("chmod u+s \"$criu\""), engine == Engine::Crac);
    prop_assert_eq!(overlay.contains("setcap cap_checkpoint_restore,"), engine == Engine::Criu);

    let application = &parts["application"];
    if let (Role::Checkpoint, Source::Git { url, commit, build }) = (role, &app.source) {
        prop_assert_eq!(application["source"].as_str(), Some(url.as_str()));
        prop_assert_eq!(application["source-commit"].as_str(), Some(commit.as_str()));
        let script = application["override-build"].as_str().expect("a script");
        prop_assert_eq!(script.lines().next(), Some(build.command.trim()));
        let jdk = format!("openjdk-{}-jdk-headless", app.java.version);
        let packages: Vec<&str> =
            std::iter::once(jdk.as_str()).chain(app.rock.build_packages.iter().map(String::as_str)).collect();
        prop_assert_eq!(strings(&application["build-packages"]), packages);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(300), failure_persistence: None, ..ProptestConfig::default() })]

    /// Every rendered YAML file is YAML, and says what app.toml says.
    #[test]
    fn yaml_says_what_app_toml_says(app in any_app()) {
        let packed = Way::rockcraft(&app).engine;
        let files = rendered(&app);
        for role in [Role::Checkpoint, Role::Restore] {
            let rock = parsed(text(&files, &format!("{}/rockcraft.yaml", role.folder())))?;
            check_rock(&app, packed, role, &rock)?;
            check_services(&app, packed, role, &rock)?;
            if let Some(layer) = files.get(&Path::new(role.folder()).join("native/layer.yaml")) {
                check_services(&app, Engine::Criu, role, &parsed(std::str::from_utf8(&layer.bytes).unwrap())?)?;
            }
        }
        let compose = &parsed(text(&files, "restore/compose.yaml"))?["services"][&app.name];
        let image = format!("localhost/{}:{}", rock_name(&app, Role::Restore), app.version);
        prop_assert_eq!(compose["image"].as_str(), Some(image.as_str()));
        prop_assert_eq!(strings(&compose["cap_drop"]), ["ALL"]);
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
        let engine = Engine::Criu;
        let mut expected = engine.jvm_options(&app);
        expected.extend(["-jar".to_owned(), format!("/jars/{}.jar", app.name)]);
        expected.extend(app.java.arguments.iter().cloned());
        let files = native_files(&TEMPLATES, &app, engine, Role::Checkpoint).expect("native files");
        prop_assert_eq!(java_words(&app, text(&files, "scripts/start.sh")), expected);
    }
}

/// Every combination that a user can choose, and hostile values: rockcraft 1.20's JSON Schema and its own libraries
/// take all of them.
#[test]
#[ignore = "needs rockcraft's libraries from PyPI; run by cargo xtask test"]
fn rockcrafts_libraries_read_what_is_rendered() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    let mut write = |name: String, app: &App| {
        for (path, file) in rendered(app).iter().filter(|(path, _)| path.ends_with("rockcraft.yaml")) {
            let target = folder.path().join(&name).join(path);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::write(&target, &file.bytes).unwrap();
            files.push(target);
        }
    };
    let sources = [
        "source.git = \"https://git.example.com/a.git\"\nsource.commit = \"1111111111111111111111111111111111111111\"",
        "source.git = \"git@example.com:a.git\"\nsource.commit = \"1111111111111111111111111111111111111111\"",
        "source.maven = \"com.example:a:1\"\nsource.sha256 = \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"",
        "source.jar = \"a.jar\"",
        "source.directory = \"src\"",
    ];
    let mut combinations = 0;
    for engine in ["criu", "crac"] {
        for java in [17, 21, 25] {
            for base in ["ubuntu@22.04", "ubuntu@24.04", "ubuntu@25.10", "ubuntu@26.04"] {
                if engine == "crac" && !xtask::app::has_crac(base, java) {
                    continue;
                }
                for platforms in ["[\"amd64\"]", "[\"arm64\"]", "[\"amd64\", \"arm64\"]"] {
                    for source in sources {
                        let toml = format!(
                            "engine = {engine:?}\n{source}\njava.version = {java}\n\
                             rock.base = {base:?}\nrock.platforms = {platforms}\n"
                        );
                        combinations += 1;
                        write(format!("combination-{combinations}"), &app("a", &toml));
                    }
                }
            }
        }
    }
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for number in 0..200 {
        let tree = any_app().new_tree(&mut runner).unwrap();
        write(format!("hostile-{number}"), &proptest::strategy::ValueTree::current(&tree));
    }
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rockcraft/python");
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/rockcraft/rockcraft.schema.json");
    let schema = std::env::var_os("STAND_IN_SCHEMA").map_or(beside, std::path::PathBuf::from);
    let run = |arguments: &[&std::ffi::OsStr]| {
        let mut command = std::process::Command::new(&program);
        command.arg("validate.py").args(arguments);
        if schema.is_file() {
            command.arg("--schema").arg(&schema);
        }
        let ran = output(&mut command);
        let said =
            format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{said}");
        said
    };
    let paths: Vec<&std::ffi::OsStr> = files.iter().map(|path| path.as_os_str()).collect();
    let said = run(&paths);
    assert!(said.contains(&format!("{} files valid", files.len())), "{said}");
    // It must be able to say no.
    let refused = run(&["--self-test".as_ref()]);
    println!(
        "{combinations} combinations and 200 hostile configurations: {}; {}; with its JSON Schema: {}",
        said.trim(),
        refused.lines().last().unwrap_or_default(),
        schema.is_file()
    );
}
