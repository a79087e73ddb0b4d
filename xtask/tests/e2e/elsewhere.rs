//! A checkpoint on its way to another machine: pushed to a real registry, pulled into an empty store, packed to the very
//! same rock, and restored from there.

use crate::registry::{Demands, DockerRegistry};
use crate::support::{PORT, Workspace, get, podman, sample};

const APP: &str = "e2e-elsewhere";

#[test]
#[ignore = "needs podman and docker-registry; run by cargo xtask test"]
fn another_machine_restores_what_was_pushed() {
    let workspace = Workspace::new(
        APP,
        &sample(
            "[http]\nwarm-up = [{ path = \"/counter\", method = \"POST\", repeat = 3 }]\nverify = [\"/identity\"]\n",
        ),
    );
    workspace.checkpoint(&[]);
    let lock = workspace.lock();
    let registry = DockerRegistry::start(&Demands::default());
    let pins = format!("127.0.0.1:{}/pins", registry.port);
    let rocks = format!("127.0.0.1:{}/rocks/sample:1", registry.port);

    println!("  push");
    let pushed = workspace.succeed(&["push", APP, &pins, "--rock", &rocks]);
    assert!(pushed.stdout.contains(&lock.rocks.restore.to_string()), "{pushed}");
    let again = workspace.succeed(&["push", APP, &pins]);
    assert!(again.stdout.contains("nothing was sent"), "{again}");

    println!("  pull and pack on another machine");
    let state = tempfile::tempdir().unwrap();
    let elsewhere = |arguments: &[&str]| {
        let output =
            workspace.start_with_state(arguments, state.path()).finish(std::time::Duration::from_secs(300));
        assert_eq!(output.code, Some(0), "{output}");
        output
    };
    let pulled = elsewhere(&["pull", APP, &pins, "--locked"]);
    assert!(pulled.stdout.contains("; 0 were there"), "{pulled}");
    let packed = elsewhere(&["pack", APP, "restore", "--locked"]);
    assert!(packed.stdout.contains(&lock.rocks.restore.to_string()), "{packed}");

    println!("  restore there");
    let port = xtask::runtime::free_port().unwrap();
    let publish = format!("{port}:{PORT}");
    let up = elsewhere(&["restore", APP, "--locked", "--detach", "--publish", &publish]);
    assert_eq!(get(port, "/counter"), "3", "{up}");
    podman(&["rm", "--force", "--time", "0", up.stdout.trim()]);

    println!("  the rock, as container engines pull it");
    podman(&["pull", "--quiet", "--tls-verify=false", &rocks]);
    let digest = podman(&["image", "inspect", "--format", "{{.Digest}}", &rocks]);
    assert_eq!(digest.trim(), lock.rocks.restore.to_string());
    podman(&["rmi", &rocks]);
    workspace.assert_nothing_left();
}
