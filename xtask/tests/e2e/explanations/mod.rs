//! Failures that are provoked for real, small processes under the rock's own CRIU, and what `explain` says of their logs;
//! and a checkpoint that fails, which says the same by itself.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use xtask::process::{self, Limit};

use super::support::{Workspace, podman, repository, sample};

const APP: &str = "e2e-explain";
const DUMP: &str = "CHECKPOINT_RESTORE,NET_ADMIN,SETGID,SETPCAP,SYS_PTRACE";
const RESTORE: &str = "CHECKPOINT_RESTORE,SETGID,SETPCAP";

/// A filter of system calls that has no clone3, as Docker's.
const NO_CLONE3: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}"#;

/// Runs one of the scripts in the checkpoint rock, with no network and as its own user.
fn run(script: &str, names: &[&str], data: &Path, capabilities: &str, more: &[&str]) {
    let scripts = repository().join("xtask/tests/e2e/explanations");
    let mut command = Command::new("podman");
    command.args(["run", "--rm", "--network=none", "--cap-drop=all", "--entrypoint=/bin/bash"]);
    command.arg(format!("--name=xtask-{APP}-{}", names.first().unwrap_or(&script)));
    command.arg(format!("--volume={}:/data", data.display()));
    command.arg(format!("--volume={}:/scripts.test:ro", scripts.display()));
    command.arg(format!("--cap-add={capabilities}")).args(more);
    command.args([format!("localhost/{APP}-checkpointer:0.0.1"), format!("/scripts.test/{script}.sh")]);
    let limit = Limit::new("the tests' limit for provoking failures", Duration::from_secs(90));
    let ran = process::run(
        {
            command.args(names);
            command
        },
        &limit,
    )
    .unwrap();
    assert!(ran.status.code() != Some(125), "{}{}", ran.stdout, ran.stderr);
}

#[test]
#[ignore = "needs podman; run by cargo xtask test"]
fn explanations() {
    let environment = "[http]\nready = \"/actuator/health\"\n[environment]\nSAMPLE_FAULT = \"ghost\"\nSAMPLE_GHOST_BYTES = \"30000000\"\n";
    let workspace = Workspace::new(APP, &sample(environment));
    a_failed_checkpoint_says_why(&workspace);

    let data = tempfile::tempdir().unwrap();
    std::fs::set_permissions(data.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let filter = data.path().join("no-clone3.json");
    std::fs::write(&filter, NO_CLONE3).unwrap();
    let unconfined = "--security-opt=seccomp=unconfined";
    run("dump", &[], data.path(), DUMP, &[unconfined, "--tmpfs=/small:size=1m,mode=777"]);
    run("dump", &["seccomp"], data.path(), DUMP, &[]);
    run("restore", &[], data.path(), RESTORE, &[]);
    run("restore", &["setpcap"], data.path(), "CHECKPOINT_RESTORE,SETGID", &[]);
    run("restore", &["checkpoint-restore"], data.path(), "SETGID,SETPCAP", &[]);
    run("restore", &["criu-exec"], data.path(), RESTORE, &["--env=CRIU=/usr/sbin/criu"]);
    run(
        "restore",
        &["clone3"],
        data.path(),
        RESTORE,
        &[&format!("--security-opt=seccomp={}", filter.display())],
    );
    let read_only = ["--read-only", "--read-only-tmpfs=false", "--env=CRIU=/usr/sbin/criu"];
    run("restore", &["read-only-root"], data.path(), DUMP, &read_only);

    let provoked = [
        "ghost-file",
        "tcp-in-flight",
        "tcp-connected",
        "unix-socket-outside",
        "open-file-kind",
        "file-watch",
        "session-leader",
        "file-locks",
        "no-space",
        "dump-seccomp",
        "file-missing",
        "file-changed",
        "file-changed-build",
        "file-mode",
        "port-in-use",
        "more-capabilities",
        "attach-socket",
        "data-damaged",
        "pid-in-use",
        "setpcap",
        "checkpoint-restore",
        "criu-exec",
        "clone3",
        "read-only-root",
    ];
    let mut wrong = Vec::new();
    for id in provoked {
        let log = data.path().join(format!("{id}.log"));
        let said = workspace.run(&["explain", log.to_str().unwrap()]);
        let first = said.stdout.lines().find(|line| line.starts_with("why: ")).unwrap_or_default();
        let id = id.trim_end_matches("-build");
        if said.code != Some(0) || !first.ends_with(&format!("[{id}]")) {
            wrong.push(format!("{id}: {first}\n{}", std::fs::read_to_string(&log).unwrap_or_default()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    workspace.assert_nothing_left();
    podman(&["rmi", "--force", &format!("localhost/{APP}-checkpointer:0.0.1")]);
}

/// The error ends with the cause, the line and what to change, and `explain` finds the log that was kept.
fn a_failed_checkpoint_says_why(workspace: &Workspace) {
    let failed = workspace.run(&["checkpoint", APP]);
    assert_eq!(failed.code, Some(1), "{failed}");
    let place = format!("apps/{APP}/app.toml: add `[checkpoint]` and, say, `ghost-limit = \"128 MiB\"`");
    for phrase in
        ["\nwhy: ", "[ghost-file]\n  evidence: line ", "increase limit\n  remedy:   ", &place, "/logs/"]
    {
        assert!(failed.stderr.contains(phrase), "`{phrase}` is not in\n{failed}");
    }
    let why = failed.stderr.split_once("\nwhy: ").unwrap().1;
    assert!((3..=6).contains(&why.lines().count()), "{why}");
    let explained = workspace.succeed(&["explain"]);
    for phrase in ["[ghost-file]", &place, APP] {
        assert!(explained.stdout.contains(phrase), "`{phrase}` is not in\n{explained}");
    }
}
