//! Stopped in the middle: by Ctrl-C, by SIGTERM, by SIGKILL, by somebody who removes the container.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Output, Started, Workspace, get, podman, sample, wait_until};

const APP: &str = "e2e-interrupted";
const GOOD: &str = "[http]\nwarm-up = [\"/echo?q=warm\"]\nverify = [\"/identity\"]\n";
/// Lives, never listens; its log says when it has come that far.
const STARTING: &str = "[environment]\nSAMPLE_FAULT = \"hang-start\"\n";
/// A warm-up that would take minutes.
const WARMING: &str = "[http]\nwarm-up = [{ path = \"/log?line=warming-up\", repeat = 100000 }]\n";
/// Far more than a stop takes, far less than any limit of app.toml.
const SOON: Duration = Duration::from_secs(20);

#[test]
#[ignore = "needs podman; run by cargo xtask test"]
fn stopped_in_the_middle() {
    let workspace = Workspace::new(APP, &sample(GOOD));
    workspace.checkpoint(&[]);

    let interrupt = ("Ctrl-C", Signal::INT, 130);
    for (when, toml, line, says, signals) in [
        (
            "at its start",
            STARTING,
            "SAMPLE_FAULT=hang-start",
            "the container",
            [interrupt, ("SIGHUP", Signal::HUP, 129)],
        ),
        (
            "in its warm-up",
            WARMING,
            "warming-up",
            "http.warm-up",
            [interrupt, ("SIGTERM", Signal::TERM, 143)],
        ),
    ] {
        workspace.write(&sample(toml));
        for (name, signal, code) in signals {
            println!("  {name} {when}");
            let output = stopped(&workspace, line, |run| run.signal(signal));
            assert_eq!(output.code, Some(code), "{output}");
            output.assert_says(&[&format!("stopped by {name}")]);
        }
        for (name, arguments) in
            [("podman kill", &["kill"][..]), ("podman rm", &["rm", "--force", "--time", "0"][..])]
        {
            println!("  {name} {when}");
            let output = stopped(&workspace, line, |_| {
                let [container] = &workspace.containers()[..] else { panic!("one container") };
                podman(&[arguments, &[container]].concat());
            });
            assert_eq!(output.code, Some(1), "{output}");
            output.assert_says(&["cannot run, warm up and dump", "the last lines of its log", line, says]);
        }
    }

    println!("  SIGKILL");
    let before = workspace.pinned();
    workspace.write(&sample(WARMING));
    let mut run = workspace.start(&["checkpoint", APP]);
    run.wait_for("warming-up", Duration::from_secs(60));
    run.signal(Signal::KILL);
    let output = run.finish(SOON);
    assert_eq!(output.code, None, "{output}");
    assert_eq!(workspace.containers().len(), 1, "nobody was there to remove it");
    assert_eq!(workspace.pinned(), before, "the pin was touched");
    // The next run, which is about something else, removes it.
    workspace.write(&sample(GOOD));
    still_restores(&workspace);
    assert_no_helper_left(&workspace);
}

/// Runs `checkpoint`, does something to it once `line` is in the log, and waits for its end.
fn stopped(workspace: &Workspace, line: &str, act: impl FnOnce(&Started)) -> Output {
    let before = workspace.pinned();
    let mut run = workspace.start(&["checkpoint", APP]);
    run.wait_for(line, Duration::from_secs(60));
    act(&run);
    let output = run.finish(SOON);
    assert_eq!(workspace.pinned(), before, "the pin was touched");
    workspace.assert_nothing_left();
    assert_no_helper_left(workspace);
    output
}

fn still_restores(workspace: &Workspace) {
    let (name, port) = workspace.restore();
    assert!(get(port, "/identity").starts_with(&workspace.lock().pid.to_string()));
    assert_eq!(workspace.containers(), [name.as_str()], "the next run removes what a killed one left");
    podman(&["rm", "--force", "--time", "0", &name]);
    workspace.assert_nothing_left();
}

/// No `podman logs --follow` or `podman exec` outlives its container.
fn assert_no_helper_left(workspace: &Workspace) {
    let pattern = format!("podman .*{}", workspace.prefix());
    wait_until("the end of every podman that was started", Duration::from_secs(10), || {
        let found = Command::new("pgrep").args(["--full", "--list-full", &pattern]).output().unwrap();
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        (!found.lines().any(|line| !line.contains("conmon"))).then_some(())
    })
    .unwrap();
}
