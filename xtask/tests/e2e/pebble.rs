//! The rendered layers, read by the real Pebble; and the dump as a person would start it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{
    PORT, Workspace, copy, first_answer, podman, repository, sample, try_podman, wait_until,
};

const APP: &str = "e2e-pebble";
const HTTP: &str = "[http]\nwarm-up = [\"/echo?q=warm\"]\nverify = [\"/identity\"]\n\
    [environment]\nQUOTES = \"it's \\\"so\\\": #no comment, $HOME\"\n";

#[test]
#[ignore = "needs podman; run by cargo xtask test"]
fn pebble_reads_every_layer_and_dumps_once() {
    let workspace = Workspace::new(APP, &sample(HTTP));
    workspace.checkpoint(&[]);
    for app in ["petclinic", "zipkin"] {
        copy(&repository().join("apps").join(app), &workspace.root().join("apps").join(app));
    }
    workspace.succeed(&["render"]);
    for app in ["petclinic", "zipkin", APP] {
        layers_are_read(&workspace, app);
    }
    dump_by_hand(&workspace);
    workspace.assert_nothing_left();
}

/// The plan that Pebble makes of a layer, in the form it prints.
fn plan(layer: &Path) -> String {
    let mount = format!("{}:/p/layers/001-layer.yaml:ro", layer.display());
    let image = format!("localhost/{APP}-checkpointer:0.0.1");
    let arguments =
        ["run", "--rm", "--cap-drop=all", "--user=0", "--tmpfs=/p", "--env=PEBBLE=/p", "--volume"];
    podman(&[&arguments[..], &[&mount, "--entrypoint=/usr/bin/pebble", &image, "enter", "plan"]].concat())
}

/// The services and checks of a rockcraft.yaml, which rockcraft makes a layer of.
fn rockcraft_layer(workspace: &Workspace, app: &str, role: &str) -> PathBuf {
    let folder = workspace.root().join(format!("rocks/{app}/{role}"));
    let text = fs_err::read_to_string(folder.join("rockcraft.yaml")).unwrap();
    let mut file: serde_yaml_ng::Mapping = serde_yaml_ng::from_str(&text).unwrap();
    file.retain(|key, _| ["services", "checks"].contains(&key.as_str().unwrap()));
    let layer = folder.join("rockcraft-layer.yaml");
    fs_err::write(&layer, serde_yaml_ng::to_string(&file).unwrap()).unwrap();
    layer
}

fn layers_are_read(workspace: &Workspace, app: &str) {
    let native = |role| workspace.root().join(format!("rocks/{app}/{role}/native/layer.yaml"));
    let rockcraft = |role| rockcraft_layer(workspace, app, role);
    for layer in [&native as &dyn Fn(&'static str) -> PathBuf, &rockcraft] {
        plans_are_right(app, &plan(&layer("checkpoint")), &plan(&layer("restore")));
    }
}

fn plans_are_right(app: &str, checkpoint: &str, restore: &str) {
    assert_eq!(
        services(checkpoint),
        [(app.to_owned(), "enabled".to_owned()), (format!("{app}-checkpoint"), "disabled".to_owned())],
        "{checkpoint}"
    );
    // Neither may run twice: a second instance would be dumped over the first.
    assert_eq!(checkpoint.matches("on-success: ignore").count(), 2, "{checkpoint}");
    assert_eq!(checkpoint.matches("on-failure: ignore").count(), 2, "{checkpoint}");
    assert_eq!(services(restore), [(format!("{app}-restore"), "enabled".to_owned())], "{restore}");
    assert!(
        restore.contains("on-success: shutdown") && restore.contains("on-failure: shutdown"),
        "{restore}"
    );
    assert!(restore.contains(&format!("{app}-ready:")) && restore.contains("level: ready"), "{restore}");
    if app == APP {
        assert!(checkpoint.contains("QUOTES: 'it''s \"so\": #no comment, $HOME'"), "{checkpoint}");
    }
}

/// Names and start-up of the services in a plan.
fn services(plan: &str) -> Vec<(String, String)> {
    let mut services: Vec<(String, String)> = Vec::new();
    for line in
        plan.lines().skip_while(|line| *line != "services:").skip(1).take_while(|l| l.starts_with(' '))
    {
        let name = line.strip_prefix("    ").and_then(|line| line.strip_suffix(':'));
        match (name, line.trim().strip_prefix("startup: ")) {
            (Some(name), _) if !name.starts_with(' ') => services.push((name.to_owned(), String::new())),
            (_, Some(startup)) => services.last_mut().unwrap().1 = startup.to_owned(),
            _ => {}
        }
    }
    services
}

/// What the tool does, typed: the layers alone must be right, without the tool's own care.
fn dump_by_hand(workspace: &Workspace) {
    let lock = workspace.lock();
    let name = format!("{}hand", workspace.prefix());
    let port = xtask::runtime::free_port().unwrap();
    let mut words: Vec<String> =
        ["run", "--detach", "--cap-drop=all", "--security-opt=seccomp=unconfined"].map(String::from).to_vec();
    words.extend(lock.capabilities.checkpoint.iter().map(|capability| format!("--cap-add={capability}")));
    words.push(format!("--name={name}"));
    words.push(format!("--publish=127.0.0.1:{port}:{PORT}"));
    words.push(format!("localhost/{APP}-checkpointer:0.0.1"));
    podman(&words.iter().map(String::as_str).collect::<Vec<_>>());
    first_answer(port, "/actuator/health", Duration::from_secs(60));
    let identity = first_answer(port, "/identity", Duration::from_secs(5));

    let service = format!("{APP}-checkpoint");
    let (_, said) = try_podman(&["exec", &name, "pebble", "start", &service]);
    let file = format!("/run/{APP}/dump");
    let dump = wait_until("a complete dump", Duration::from_secs(60), || {
        let (code, text) = try_podman(&["exec", &name, "cat", &file]);
        (code == Some(0)).then_some(text)
    })
    .unwrap_or_else(|what| panic!("{what}; `pebble start` said {said}"));
    let pid = identity.split(' ').next().unwrap();
    assert!(dump.starts_with(&format!("complete {pid} ")), "{dump}; `pebble start` said {said}");

    let listing = || podman(&["exec", &name, "ls", "-l", "--time-style=full-iso", "/checkpoint-data", &file]);
    let first = listing();
    for image in ["inventory.img", "pstree.img", "pages-1.img", "inherit-fd", &format!("core-{pid}.img")] {
        assert!(first.contains(image), "{image} is missing:\n{first}");
    }
    try_podman(&["exec", &name, "pebble", "start", &service]);
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(500));
        let running = podman(&["top", &name, "comm"]);
        assert!(!running.contains("java"), "a second instance was started:\n{running}");
    }
    assert_eq!(listing(), first, "the second `pebble start` has touched the dump");
    let services = podman(&["exec", &name, "pebble", "services"]);
    assert!(!services.contains(" active"), "{services}");
    podman(&["rm", "--force", "--time", "0", &name]);
}
