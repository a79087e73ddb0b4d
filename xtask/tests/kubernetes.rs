//! kubernetes.yaml: Kubernetes' own schemas take it, with a pin and without, whatever app.toml says.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::strategy::{Strategy, ValueTree};
use xtask::app::App;
use xtask::files::DataFile;
use xtask::lock::{Lock, LockedMemory};
use xtask::render::render;

mod support {
    pub mod any_app;
    pub mod apps;
}

use support::any_app::any_app;
use support::apps::{TEMPLATES, samples, text};

/// A pin whose process has made nothing but folders, so that the root can be read-only.
fn pin() -> Lock {
    let mut pin = Lock::parse(include_str!("support/sample.lock")).unwrap();
    let link = pin.data.files.pop().unwrap();
    let folder = |path: &str| DataFile { path: path.into(), link: None, ..link.clone() };
    pin.data.files.extend([folder("/tmp"), folder("/tmp/tomcat.1"), folder("/tmp/tomcat.1/work")]);
    pin.memory =
        Some(LockedMemory { resident: 100 << 20, proportional: 90 << 20, max_heap: Some(128 << 20) });
    pin
}

/// The same, with a library that the process has unpacked into /tmp.
fn pin_with_a_file() -> Lock {
    let mut pin = pin();
    let folder = pin.data.files.pop().unwrap();
    let file = |path: &str| DataFile { path: path.into(), sha256: Some(pin.data.tree), ..folder.clone() };
    let library = file("/tmp/brotli $(A)/lib\"x.so");
    pin.data.files.push(library);
    pin
}

fn rendered(app: &App, pin: Option<&Lock>) -> String {
    text(&render(&TEMPLATES, app, pin).unwrap(), "restore/kubernetes.yaml").to_owned()
}

/// What it says of nodes, memory and folders is the pin's.
#[test]
fn with_a_pin() {
    let app = support::apps::app("shop", "source.jar = \"app.jar\"\n");
    insta::assert_snapshot!(rendered(&app, Some(&pin())));
}

/// What the guide shows of it is that of [`with_a_pin`], but for what it leaves out.
#[test]
fn the_guide_shows_it() {
    let guide = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/fleet.md"))
        .unwrap();
    let shown = guide.split("```yaml\n# rocks/shop/restore/kubernetes.yaml\n").nth(1).expect("an excerpt");
    let shown = shown.split("```").next().unwrap();
    let app = support::apps::app("shop", "source.jar = \"app.jar\"\n");
    let whole = rendered(&app, Some(&pin()));
    let mut from = 0;
    let parts: Vec<&str> = shown.split("# …\n").collect();
    assert!(parts.len() > 3, "{parts:?}");
    for part in parts {
        let at = whole[from..]
            .find(part)
            .unwrap_or_else(|| panic!("not in kubernetes.yaml, or not there:\n{part}"));
        from += at + part.len();
    }
}

/// A volume over /tmp would hide what the process has unpacked there: it is copied into the volume first.
#[test]
fn what_lies_in_tmp_is_copied() {
    let app = support::apps::app("shop", "source.jar = \"app.jar\"\n");
    let (with, without) = (rendered(&app, Some(&pin_with_a_file())), rendered(&app, Some(&pin())));
    assert!(!without.contains("initContainers"), "{without}");
    let init = with
        .split("      initContainers:\n")
        .nth(1)
        .and_then(|rest| rest.split("      containers:\n").next());
    insta::assert_snapshot!(init.unwrap_or_else(|| panic!("{with}")));
    assert!(!with.contains("readOnlyRootFilesystem: false") && !with.contains("shop-tmp-1"), "{with}");
}

#[test]
#[ignore = "it installs Kubernetes' schemas from PyPI; `cargo xtask test` runs it"]
fn kubernetes_takes_it() {
    let mut apps: Vec<App> = samples().into_iter().map(|(_, app)| app).collect();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    apps.extend((0..20).map(|_| any_app().new_tree(&mut runner).unwrap().current()));
    let pin = pin();
    let mut cases: Vec<(bool, String)> = apps
        .iter()
        .flat_map(|app| [None, Some(&pin), Some(&pin_with_a_file())].map(|pin| rendered(app, pin)))
        .map(|it| (true, it))
        .collect();
    // It must be able to say no.
    let whole = cases[1].1.clone();
    for (right, wrong) in [
        ("runAsNonRoot: true", "runAsNonRoot: \"yes\""),
        ("readOnlyRootFilesystem:", "readOnlyRootFileSystem:"),
        ("containerPort: 8080", "containerPort: http"),
        ("values: [\"amd64\"]", "values: \"amd64\""),
        ("emptyDir: {}", "emptyDir: []"),
        ("        - name: \"petclinic\"\n", "        - called: \"petclinic\"\n"),
    ] {
        assert!(whole.contains(right), "{right} is not in\n{whole}");
        cases.push((false, whole.replacen(right, wrong, 1)));
    }
    let mut python = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rockcraft/python"));
    let mut python =
        python.arg("kubernetes.py").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    python.stdin.take().unwrap().write_all(&serde_json::to_vec(&cases).unwrap()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    println!("{} files, {}", cases.len(), String::from_utf8_lossy(&output.stdout).trim());
}
