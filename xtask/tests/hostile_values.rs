//! Hostile values of app.toml: each is refused at load, or comes back the same from everything it is written into; and
//! a command within it is never run.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::path::Component;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::app::{App, Request, Source, load_text};
use xtask::engine::Engine;
use xtask::http::Client;
use xtask::pack::image::write_image;
use xtask::pack::layer::write_layer;
use xtask::render::{native_files, own_files, rock_name};
use xtask::rock::{Entry, EntryKind, Rock, Role};
use xtask::rocks::labels;
use xtask::runtime::{ContainerSpec, Kind};
use xtask::seccomp::without_breakpoints;
use xtask::store::Store;
use xtask::way::Way;

mod support {
    pub mod apps;
    pub mod cases;
    pub mod hostile_strings;
    pub mod read_back;
    pub mod script;
}

use support::apps::{TEMPLATES, rendered, text};
use support::cases::cases;
use support::hostile_strings::{FIELDS, any_case, app_toml, sound};
use support::read_back::{check_yaml, java_words, parsed};
use support::script::output;

type Checked = Result<(), TestCaseError>;

/// What the model has of this field; none where it is no text there.
fn loaded(app: &App, field: &str) -> Option<String> {
    let (http, rock) = (&app.http, &app.rock);
    let only = |list: &[String]| list.first().cloned();
    let git = |part: fn(&Source) -> Option<&String>| part(&app.source).cloned();
    let request = |of: fn(&Request) -> Option<String>| http.warm_up.get(1).and_then(of);
    match field {
        "~name" => Some(app.name.clone()),
        "/summary" => Some(app.summary.clone()),
        "/version" => Some(app.version.clone()),
        "/source/git" => git(|s| if let Source::Git { url, .. } = s { Some(url) } else { None }),
        "/source/commit" => git(|s| if let Source::Git { commit, .. } = s { Some(commit) } else { None }),
        "/source/build" => {
            git(|s| if let Source::Git { build, .. } = s { Some(&build.command) } else { None })
        }
        "/source/jar" => git(|s| if let Source::Git { build, .. } = s { Some(&build.jar) } else { None }),
        "/source/sha256" => git(|s| if let Source::Maven { sha256, .. } = s { Some(sha256) } else { None }),
        "/source/maven" => app.source.title().strip_prefix("maven ").map(String::from),
        "/java/options/0" => only(&app.java.options),
        "/java/arguments/0" => only(&app.java.arguments),
        "/http/ready" => Some(http.ready.clone()),
        "/http/warm-up/0" => Some(http.warm_up[0].path.clone()),
        "/http/warm-up/1/path" => request(|r| Some(r.path.clone())),
        "/http/warm-up/1/method" => request(|r| Some(r.method.clone())),
        "/http/warm-up/1/headers/X-Name" => request(|r| r.headers.values().next().cloned()),
        "/http/warm-up/1/headers/~" => request(|r| r.headers.keys().next().cloned()),
        "/http/warm-up/1/body" => request(|r| r.body.clone()),
        "/http/verify/0" => Some(http.verify[0].path.clone()),
        "/environment/NAME" => app.environment.values().next().cloned(),
        "/environment/~" => app.environment.keys().next().cloned(),
        "/rock/checkpoint-name" => Some(rock.checkpoint_name.clone()),
        "/rock/restore-name" => Some(rock.restore_name.clone()),
        "/rock/base" => Some(rock.base.clone()),
        "/rock/suite" => Some(rock.suite.clone()),
        "/rock/run-user" => Some(rock.run_user.clone()),
        "/rock/platforms/0" => only(&rock.platforms),
        "/rock/packages/0" => only(&rock.packages),
        "/rock/build-packages/0" => only(&rock.build_packages),
        "/rock/slices/0" => only(&rock.slices),
        "/rock/files/~" => rock.files.keys().next().cloned(),
        "/crac/cpu-features" => app.crac.cpu_features.clone(),
        "/crac/ignored-descriptors/0" => only(&app.crac.ignored_descriptors),
        _ => None,
    }
}

/// Files that are rendered or travel in a rock stay where they belong.
fn check_files(app: &App, store: &Store) -> Checked {
    let files = rendered(app);
    for path in files.keys() {
        prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
    }
    let filter: Value = serde_json::from_str(text(&files, "restore/seccomp.json")).expect("JSON");
    let template = include_str!("../../templates/seccomp.json");
    let template = match Way::rockcraft(app).engine {
        Engine::Criu => without_breakpoints(template).expect("the template"),
        Engine::Crac => template.to_owned(),
    };
    prop_assert_eq!(filter, serde_json::from_str::<Value>(&template).expect("JSON"));
    // Only what the model says, and no more: neither a second service nor a mount nor a privilege.
    let compose = parsed(text(&files, "restore/compose.yaml"))?;
    let services = compose["services"].as_mapping().expect("services");
    prop_assert_eq!(services.len(), 1);
    let service = &services[app.name.as_str()];
    for key in ["privileged", "volumes", "entrypoint", "network_mode", "pid", "devices"] {
        prop_assert!(service.get(key).is_none(), "{key}");
    }
    let environment = service["environment"].as_mapping().expect("an environment");
    prop_assert_eq!(environment.len(), 1);
    prop_assert_eq!(service["environment"]["PEBBLE_PERSIST"].as_str(), Some("never"));
    let own = own_files(app, Engine::Crac);
    let entry = |(path, file): (&String, &xtask::render::File)| Entry {
        path: path.clone(),
        mode: 0o644,
        owner: 0,
        kind: EntryKind::Bytes(file.bytes.clone()),
        capabilities: Vec::new(),
    };
    let entries: Vec<Entry> = own.iter().map(entry).collect();
    prop_assert!(write_layer(store, &entries).is_ok(), "{own:?}");
    Ok(())
}

/// What `sh` and bash make of the words in `line`, which calls `program`.
fn words_of(shell: &str, program: &str, line: &str) -> Vec<String> {
    let script = format!("{program}() {{ printf '%s\\0' \"$@\" >words; }}\n{line}\n");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &script).expect("a script");
    let ran = output(std::process::Command::new(shell).arg("-eu").arg(file.path()));
    assert!(ran.status.success() && ran.stderr.is_empty(), "{shell}: {ran:?}\n{script}");
    let words = std::fs::read_to_string("words").expect("words");
    std::fs::remove_file("words").expect("words");
    words.strip_suffix('\0').expect("words").split('\0').map(String::from).collect()
}

/// Scripts hand on the model's words, whichever shell reads them.
fn check_shells(app: &App, field: &str) -> Result<u32, TestCaseError> {
    if field == "/source/jar" {
        let rock = parsed(text(&rendered(app), "checkpoint/rockcraft.yaml"))?;
        let script = rock["parts"]["application"]["override-build"].as_str().expect("a script").to_owned();
        let line = script.lines().find(|line| line.starts_with("jars=$(find ")).expect("find");
        let jar = loaded(app, field).expect("a glob");
        for shell in ["sh", "bash"] {
            let found = words_of(shell, "find", line);
            prop_assert_eq!(&found[..3], [".", "-path", &format!("./{jar}")]);
        }
        return Ok(2);
    }
    if !field.starts_with("/java/") {
        return Ok(0);
    }
    let files = native_files(&TEMPLATES, app, Engine::Criu, Role::Checkpoint).expect("native files");
    let script = text(&files, "scripts/start.sh");
    let options = Engine::Criu.jvm_options(app, Role::Checkpoint);
    let mut expected = options.clone();
    expected.extend(["-jar".to_owned(), format!("/jars/{}.jar", app.name)]);
    expected.extend(app.java.arguments.iter().cloned());
    prop_assert_eq!(java_words(app, script), expected);
    let line = script.lines().find(|line| line.starts_with("    /usr/bin/java ")).expect("java");
    let line = line.trim_start_matches("    /usr/bin/").trim_end_matches('\\');
    prop_assert_eq!(words_of("sh", "java", line), options);
    Ok(2)
}

/// What podman and Docker take for options, read as their parser reads them.
fn check_arguments(app: &App) -> Checked {
    let mut spec = ContainerSpec::new(format!("{}-restore", app.name), format!("localhost/{}", app.name));
    spec.environment = app.environment.clone();
    spec.words = app.java.arguments.clone();
    for kind in [Kind::Podman, Kind::Docker] {
        let words = spec.arguments(kind, &["run", "--detach"], &format!("xtask-{}", app.name), "1-2");
        let mut environment = BTreeMap::new();
        let mut words = words.iter().skip(1);
        for word in words.by_ref().take_while(|word| *word != "--") {
            let option = word.strip_prefix("--").expect("an option");
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let known = ["detach", "pull", "name", "log-driver", "label", "cap-drop", "env"];
            prop_assert!(known.contains(&name), "{word}");
            if name == "env" {
                let (key, value) = value.split_once('=').expect("KEY=VALUE");
                environment.insert(key.to_owned(), value.to_owned());
            }
        }
        prop_assert_eq!(&environment, &app.environment);
        let rest: Vec<&String> = words.collect();
        prop_assert_eq!(rest[0], &spec.image);
        prop_assert!(rest[1..].iter().eq(&spec.words.iter().collect::<Vec<_>>()));
        prop_assert!(!spec.image.starts_with('-'));
    }
    Ok(())
}

/// Labels and annotations, as whoever pulls the rock reads them.
fn check_labels(app: &App, store: &Store) -> Checked {
    let labels = labels(app, &app.source, Role::Restore);
    let rock = Rock {
        role: Role::Restore,
        name: rock_name(app, Role::Restore).to_owned(),
        version: app.version.clone(),
        summary: app.summary.clone(),
        architecture: "amd64".into(),
        suite: app.rock.suite.clone(),
        packages: Vec::new(),
        user: app.rock.run_user.clone(),
        uid: 1000,
        layers: Vec::new(),
        entrypoint: app.java.options.clone(),
        command: app.java.arguments.clone(),
        environment: app.environment.clone(),
        ports: Vec::new(),
        labels: labels.clone(),
    };
    let image = write_image(store, &rock, &[]).expect("an image");
    let read =
        |digest| -> Value { serde_json::from_slice(&std::fs::read(store.path(digest)).unwrap()).unwrap() };
    let config = &read(&image.config)["config"];
    prop_assert_eq!(&config["Labels"], &json!(labels));
    prop_assert_eq!(&config["Entrypoint"], &json!(app.java.options));
    prop_assert_eq!(&config["Cmd"], &json!(app.java.arguments));
    for (key, value) in &app.environment {
        let pair = json!(format!("{key}={value}"));
        prop_assert!(config["Env"].as_array().unwrap().contains(&pair));
    }
    prop_assert_eq!(&read(&image.manifest)["annotations"], &json!(labels));
    prop_assert_eq!(&labels["org.opencontainers.image.version"], &app.version);
    Ok(())
}

/// Where the server listens. Not 127.0.0.1: whoever looks for a free port there, or for somebody else's server, sends
/// words of its own, and has done so in CI.
const SERVER: &str = "127.83.7.19";

/// A server that hands on each request as it came, byte by byte.
fn server() -> (u16, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind((SERVER, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let (send, requests) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
            let mut bytes = Vec::new();
            let mut buffer = [0; 65536];
            while !whole(&bytes) {
                match stream.read(&mut buffer) {
                    Ok(read) if read > 0 => bytes.extend(&buffer[..read]),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    _ => break,
                }
            }
            // What is no whole request gets no answer, so a client of ours that sent it fails.
            if !whole(&bytes) {
                eprintln!("no whole request: {}", bytes.escape_ascii());
                continue;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            if send.send(bytes).is_err() {
                return;
            }
        }
    });
    (port, requests)
}

/// The head of a request and its body, by the first empty line.
fn parts(bytes: &[u8]) -> Option<(Vec<String>, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    Some((head.split("\r\n").map(String::from).collect(), &bytes[end + 4..]))
}

fn whole(bytes: &[u8]) -> bool {
    let length = |line: &String| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok();
    parts(bytes).is_some_and(|(head, body)| body.len() >= head.iter().find_map(length).unwrap_or(0))
}

/// A request arrives as one, with the model's words and nothing else.
fn check_request(request: &Request, port: u16, requests: &Receiver<Vec<u8>>) -> Checked {
    let answer = Client::new(SERVER, port, Duration::from_secs(20)).send(request);
    prop_assert!(answer.is_ok(), "{answer:?}");
    let bytes = requests.recv_timeout(Duration::from_secs(20)).expect("a request");
    let (head, body) = parts(&bytes).expect("a request");
    prop_assert_eq!(&head[0], &format!("{} {} HTTP/1.1", request.method, request.path));
    for (name, value) in &request.headers {
        let line = format!("{}: {value}", name.to_lowercase());
        let same = |found: &&String| match found.split_once(':') {
            Some((name, value)) => format!("{}:{value}", name.to_lowercase()) == line,
            None => false,
        };
        prop_assert_eq!(head.iter().filter(same).count(), 1, "{} in {:?}", line, head);
    }
    let known = ["host", "user-agent", "accept", "accept-encoding", "content-length", "content-type"];
    for line in &head[1..] {
        let name = line.split(':').next().expect("a name").to_lowercase();
        let ours = request.headers.keys().any(|header| header.to_lowercase() == name);
        prop_assert!(ours || known.contains(&name.as_str()), "{line}");
    }
    prop_assert_eq!(body, request.body.as_deref().unwrap_or_default().as_bytes());
    Ok(())
}

#[test]
fn hostile_values_stay_in_their_place() {
    let folder: TempDir = tempfile::tempdir().expect("a folder");
    let apps = folder.path().join("apps/a1");
    std::fs::create_dir_all(&apps).expect("a folder");
    std::fs::write(apps.join("a.txt"), "text").expect("a file");
    // Commands that get out of their quotes run here.
    let quarantine = folder.path().join("quarantine");
    std::fs::create_dir(&quarantine).expect("a folder");
    std::env::set_current_dir(&quarantine).expect("a folder");
    let store = Store::open(&folder.path().join("store")).expect("a store");
    for field in FIELDS {
        let (name, text) = app_toml(field, &sound(field));
        let app =
            load_text(&name, &apps, "apps/a1/app.toml", &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        check_yaml(&app.app).unwrap_or_else(|error| panic!("{error}"));
    }
    let (port, requests) = server();
    let [taken, refused, shells, sent] = [const { Cell::new(0_u32) }; 4];
    let count = |cell: &Cell<u32>, more| cell.set(cell.get() + more);
    let config = ProptestConfig { cases: cases(200), failure_persistence: None, ..Default::default() };
    let result = TestRunner::new(config).run(&any_case(), |(field, value)| {
        let (name, text) = app_toml(field, &value);
        let app = match load_text(&name, &apps, "apps/a1/app.toml", &text) {
            Ok(loaded) => loaded.app,
            Err(error) => {
                let shown = error.to_string();
                prop_assert!(!error.problems.is_empty() && !shown.is_empty(), "{field}");
                count(&refused, 1);
                return Ok(());
            }
        };
        count(&taken, 1);
        if let Some(found) = loaded(&app, field) {
            let expected = if field == "/source/build" { value.trim() } else { &value };
            prop_assert_eq!(&found, expected, "{}", field);
        }
        check_yaml(&app)?;
        check_files(&app, &store)?;
        check_arguments(&app)?;
        check_labels(&app, &store)?;
        count(&shells, check_shells(&app, field)?);
        if field.starts_with("/http/") {
            for request in app.http.warm_up.iter().chain(&app.http.verify) {
                check_request(request, port, &requests)?;
                count(&sent, 1);
            }
        }
        let left = std::fs::read_dir(&quarantine).expect("a folder").count();
        prop_assert_eq!(left, 0, "something was run: {:?}", quarantine);
        Ok(())
    });
    std::env::set_current_dir("/").expect("the root");
    result.unwrap_or_else(|error| panic!("{error}"));
    assert!(taken.get() > refused.get() / 20, "hardly anything is taken: the generator is too wild");
    println!(
        "{} values: {} taken and back from every place, {} refused; {} shells ran, {} requests were sent",
        taken.get() + refused.get(),
        taken.get(),
        refused.get(),
        shells.get(),
        sent.get()
    );
}
