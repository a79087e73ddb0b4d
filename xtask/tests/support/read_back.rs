//! What is rendered, read back by programs that know nothing of this tool, and compared with the model.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_yaml_ng::Value as Yaml;
use tempfile::TempDir;
use xtask::app::{App, Source};
use xtask::engine::Engine;
use xtask::render::rock_name;
use xtask::rock::Role;
use xtask::way::Way;

use super::apps::{rendered, text};
use super::script::{bash, output, start, stubs};

/// YAML, or why it is none.
pub fn parsed(text: &str) -> Result<Yaml, TestCaseError> {
    let wrong = |error: serde_yaml_ng::Error| TestCaseError::fail(format!("{error}\n{text}"));
    serde_yaml_ng::from_str(text).map_err(wrong)
}

/// A list of strings.
pub fn strings(yaml: &Yaml) -> Vec<&str> {
    yaml.as_sequence().into_iter().flatten().map(|item| item.as_str().expect("a string")).collect()
}

/// The keys of a map, in their order.
pub fn keys(yaml: &Yaml) -> Vec<&str> {
    yaml.as_mapping().into_iter().flatten().map(|(key, _)| key.as_str().expect("a string")).collect()
}

/// What the services and checks of a rendered file say, compared with the model.
pub fn check_services(app: &App, engine: Engine, role: Role, file: &Yaml) -> Result<(), TestCaseError> {
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

/// What a rockcraft.yaml says, compared with the model.
pub fn check_rock(app: &App, engine: Engine, role: Role, file: &Yaml) -> Result<(), TestCaseError> {
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
    expected.extend((!engine.scripts(app, role).is_empty()).then_some("scripts"));
    let fresh = xtask::fresh::wanted(app, engine);
    expected.extend(fresh.then_some("fresh"));
    let files = !app.rock.files.is_empty() || app.crac.resource_policies.is_some();
    expected.extend(files.then_some("files"));
    expected.extend((!app.rock.slices.is_empty()).then_some("slices"));
    prop_assert_eq!(keys(parts), expected);
    let scripts = keys(&parts["scripts"]["organize"]);
    let list = xtask::fresh::listed(app, engine, role).then_some(xtask::fresh::LIST);
    prop_assert_eq!(scripts, engine.scripts(app, role).iter().copied().chain(list).collect::<Vec<_>>());
    prop_assert_eq!(strings(&parts["slices"]["stage-packages"]), app.rock.slices.clone());
    let mut packages = engine.packages(app.java.version);
    packages.extend(app.rock.packages.iter().cloned());
    packages.sort();
    packages.dedup();
    prop_assert_eq!(strings(&parts["java"]["overlay-packages"]), packages);
    let overlay = parts["java"]["overlay-script"].as_str().expect("a script");
    prop_assert_eq!(overlay.contains("chmod u+s \"$criu\""), engine == Engine::Crac);
    prop_assert_eq!(overlay.contains("setcap cap_checkpoint_restore"), engine == Engine::Criu);

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

/// Every rendered YAML file says what the model says, and every rendered file has a plain name.
pub fn check_yaml(app: &App) -> Result<(), TestCaseError> {
    let packed = Way::rockcraft(app).engine;
    let files = rendered(app);
    for role in [Role::Checkpoint, Role::Restore] {
        let rock = parsed(text(&files, &format!("{}/rockcraft.yaml", role.folder())))?;
        check_rock(app, packed, role, &rock)?;
        check_services(app, packed, role, &rock)?;
        if let Some(layer) = files.get(&Path::new(role.folder()).join("native/layer.yaml")) {
            check_services(app, Engine::Criu, role, &parsed(std::str::from_utf8(&layer.bytes).unwrap())?)?;
        }
    }
    let compose = &parsed(text(&files, "restore/compose.yaml"))?["services"][&app.name];
    let image = format!("localhost/{}:{}", rock_name(app, Role::Restore), app.version);
    prop_assert_eq!(compose["image"].as_str(), Some(image.as_str()));
    prop_assert_eq!(strings(&compose["cap_drop"]), ["ALL"]);
    check_kubernetes(app, packed, text(&files, "restore/kubernetes.yaml"))
}

/// What kubernetes.yaml says, compared with the model.
fn check_kubernetes(app: &App, engine: Engine, text: &str) -> Result<(), TestCaseError> {
    let objects: Result<Vec<Yaml>, _> = text.split("\n---\n").map(parsed).collect();
    let [deployment, service] = &objects?[..] else {
        return Err(TestCaseError::fail("expected a Deployment and a Service"));
    };
    prop_assert_eq!(deployment["kind"].as_str(), Some("Deployment"));
    prop_assert_eq!(service["kind"].as_str(), Some("Service"));
    let label = |labels: &Yaml| labels["app.kubernetes.io/name"].as_str().map(String::from);
    let spec = &deployment["spec"];
    for labels in [&spec["selector"]["matchLabels"], &spec["template"]["metadata"]["labels"]] {
        prop_assert_eq!(label(labels), Some(app.name.clone()));
    }
    prop_assert_eq!(label(&service["spec"]["selector"]), Some(app.name.clone()));
    prop_assert_eq!(service["spec"]["ports"][0]["port"].as_u64(), Some(app.http.port.into()));
    let pod = &spec["template"]["spec"];
    prop_assert_eq!(pod["securityContext"]["runAsNonRoot"].as_bool(), Some(true));
    prop_assert_eq!(pod["securityContext"]["seccompProfile"]["type"].as_str(), Some("Localhost"));
    let container = &pod["containers"][0];
    let image = format!("localhost/{}:{}", rock_name(app, Role::Restore), app.version);
    prop_assert_eq!(container["image"].as_str(), Some(image.as_str()));
    let ready = Some(app.http.ready.as_str());
    for probe in ["startupProbe", "readinessProbe"] {
        prop_assert_eq!(container[probe]["httpGet"]["path"].as_str(), ready);
    }
    let granted = &container["securityContext"]["capabilities"];
    prop_assert_eq!(strings(&granted["drop"]), ["ALL"]);
    let expected: Vec<String> =
        engine.capabilities(app, Role::Restore).iter().map(ToString::to_string).collect();
    prop_assert_eq!(strings(&granted["add"]), expected);
    Ok(())
}

/// The words that the JVM is started with.
pub fn java_words(app: &App, script: &str) -> Vec<String> {
    static STUBS: LazyLock<TempDir> = LazyLock::new(|| stubs("#!/bin/sh\nprintf '%s\\0' \"$@\"\n"));
    let script = start(app, script, STUBS.path(), 0);
    // By a file: a word of a command line has at most 128 KiB.
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &script).expect("a script");
    let ran = output(bash(STUBS.path()).arg(file.path()));
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}\n{script}");
    let printed = String::from_utf8(ran.stdout).expect("UTF-8");
    let words = printed.strip_suffix('\0').unwrap_or_else(|| panic!("{printed:?}"));
    words.split('\0').map(String::from).collect()
}
