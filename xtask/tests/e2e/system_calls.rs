//! A filter without what a restored service does not need: found by taking it away, and in force wherever it is restored.

use std::time::Duration;

use fs_err as fs;
use xtask::seccomp::{Family, narrowed, without_breakpoints};

use xtask::runtime::free_port;

use crate::support::{PORT, Workspace, first_answer, podman, repository, try_podman};

/// Programs of the rock that need a refused call, and what they say of it.
const REFUSED: [(&str, &str); 2] =
    [("ipcmk --shmem 4096", "Function not implemented"), ("mknod /tmp/pipe p", "Operation not permitted")];

/// Takes away what can go from the application of a workspace, whose `restore.fallback` is `cold`, and gives it back.
pub fn taken_away(workspace: &Workspace, app: &str) {
    let ordinary = fs::read_to_string(workspace.lock_path()).unwrap();
    let folder = workspace.root().join("rocks").join(app).join("restore");
    let rendered = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let files = ["seccomp.json", "compose.yaml", "kubernetes.yaml"];
    let before = files.map(rendered);

    let output = workspace.succeed(&["capabilities", app, "--system-calls"]);
    println!("{}", output.stdout);
    let lock = workspace.lock();
    let refused = &lock.system_calls.refused;
    for family in
        [Family::MessageQueues, Family::OtherArchitectures, Family::SpecialFiles, Family::SystemVIpc]
    {
        assert!(refused.contains(&family), "{family}: {output}");
    }
    assert!(output.stdout.contains("It starts cold without them as well."), "{output}");
    // CRIU stops the process that it restores.
    assert!(!refused.contains(&Family::Ptrace), "{output}");
    assert!(output.stdout.contains("Its filter refuses "), "{output}");
    let template = fs::read_to_string(repository().join("templates/seccomp.json")).unwrap();
    let whole = without_breakpoints(&template).unwrap();
    assert_eq!(rendered("seccomp.json"), narrowed(&whole, refused).unwrap());
    assert!(rendered("compose.yaml").contains("system-v-ipc"));
    assert!(rendered("kubernetes.yaml").contains(&format!("localhostProfile: \"xtask/{app}-")));
    workspace.succeed(&["verify", app]);
    workspace.succeed(&["render", app, "--check"]);

    in_force(workspace, lock.pid);
    without_the_tool(app, folder.join("seccomp.json").to_str().unwrap(), lock.pid);

    let locked = workspace.run(&["capabilities", app, "--all-system-calls", "--locked"]);
    assert_eq!(locked.code, Some(1), "{locked}");
    workspace.succeed(&["capabilities", app, "--all-system-calls"]);
    assert_eq!(fs::read_to_string(workspace.lock_path()).unwrap(), ordinary);
    assert_eq!(files.map(rendered), before);
}

/// `restore` has it restored and at work, and what else runs in its container is refused the calls.
fn in_force(workspace: &Workspace, pid: u32) {
    let (name, port) = workspace.restore();
    let name = name.as_str();
    restored(port, pid);
    let image = podman(&["inspect", "--format", "{{.Image}}", name]);
    for (program, says) in REFUSED {
        let words: Vec<&str> = program.split(' ').collect();
        let (code, said) = try_podman(&[&["exec", name], &words[..]].concat());
        assert!(code != Some(0) && said.contains(says), "{program}: {code:?} {said}");
        // With podman's own filter it works.
        let entrypoint = format!("--entrypoint={}", words[0]);
        let run = ["run", "--rm", "--cap-drop=all", &entrypoint, &image];
        let (code, said) = try_podman(&[&run, &words[1..]].concat());
        assert_eq!(code, Some(0), "{program}: {said}");
    }
    podman(&["rm", "--force", "--time", "1", name]);
}

/// As compose and Kubernetes do, without `no_new_privs`: the engine becomes the user under the filter.
fn without_the_tool(app: &str, filter: &str, pid: u32) {
    let (name, port) = (format!("xtask-{app}-filter"), free_port().unwrap());
    let (publish, filter) =
        (format!("--publish=127.0.0.1:{port}:{PORT}"), format!("--security-opt=seccomp={filter}"));
    let image = format!("localhost/{app}-restorer:0.0.1");
    let mut words =
        vec!["run", "--detach", "--name", &name, "--cap-drop=all", "--cap-add=CHECKPOINT_RESTORE"];
    words.extend(["--env=PEBBLE_PERSIST=never", &filter, &publish, &image]);
    podman(&words);
    restored(port, pid);
    podman(&["rm", "--force", "--time", "0", &name]);
}

/// A cold start would have another PID.
fn restored(port: u16, pid: u32) {
    let identity = first_answer(port, "/identity", Duration::from_secs(10));
    assert!(identity.starts_with(&format!("{pid} ")), "{identity}");
}
