//! Rendered scripts: what linters say, and how `start.sh` and `restore.sh` behave with stubs for their programs.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

mod support {
    pub mod apps;
    pub mod script;
}

use support::apps::{ZIPKIN, app, rendered, samples};
use support::script::{alive, bash, output, program, spawn, start, stubs};

/// Every script of every sample, in a folder of its own; its path and whether it is for `bash`.
fn every_script() -> (TempDir, Vec<(String, bool)>) {
    let folder = tempfile::tempdir().unwrap();
    let mut scripts = Vec::new();
    for (name, app) in samples() {
        for (path, file) in rendered(&app).into_iter().filter(|(_, file)| file.executable) {
            let target = folder.path().join(name).join(path);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            let bash = file.bytes.starts_with(b"#!/bin/bash\n");
            assert!(bash || file.bytes.starts_with(b"#!/bin/sh\n"), "{}", target.display());
            fs::write(&target, file.bytes).unwrap();
            scripts.push((target.to_str().unwrap().to_owned(), bash));
        }
    }
    assert!(scripts.len() >= 12, "{scripts:?}");
    (folder, scripts)
}

#[test]
fn scripts_are_syntactically_right() {
    let (_folder, scripts) = every_script();
    for (path, bash) in scripts {
        let ran = output(Command::new(if bash { "bash" } else { "sh" }).args(["-n", &path]));
        assert!(ran.status.success() && ran.stderr.is_empty(), "{path}: {ran:?}");
    }
}

#[test]
#[ignore = "needs shellcheck; run by cargo xtask test"]
fn shellcheck_has_nothing_to_say() {
    let (_folder, scripts) = every_script();
    let paths = scripts.iter().map(|(path, _)| path);
    // SC2016 doubts every `$` in single quotes, where the values of the hostile sample have theirs.
    let ran = Command::new("shellcheck")
        .arg("--exclude=SC2016")
        .args(paths)
        .output()
        .expect("shellcheck is installed");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}

/// A script in a process group of its own, its standard output a pipe.
struct Running {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    group: Pid,
    _stubs: TempDir,
}

/// `start.sh` of zipkin, with this text as its JVM and without a PID to reach.
fn start_with(java: &str) -> Running {
    let stubs = stubs(java);
    let app = app("zipkin", ZIPKIN);
    let file = &rendered(&app)[Path::new("checkpoint/scripts/start.sh")];
    let text = start(&app, std::str::from_utf8(&file.bytes).unwrap(), stubs.path(), 0);
    running(&text, stubs)
}

fn running(text: &str, stubs: TempDir) -> Running {
    let script = stubs.path().join("script.sh");
    program(&script, text);
    let mut command = bash(stubs.path());
    let mut child = spawn(command.arg(script).process_group(0).stdout(Stdio::piped()));
    let output = BufReader::new(child.stdout.take().unwrap());
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    Running { child, output, group, _stubs: stubs }
}

impl Running {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Waits until the script catches SIGTERM and SIGINT: its JVM may be faster than that.
    fn wait_for_traps(&self) {
        let path = format!("/proc/{}/status", self.group.as_raw_nonzero());
        let caught = || {
            let status = fs::read_to_string(&path).unwrap();
            let mask =
                status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim().to_owned();
            u64::from_str_radix(&mask, 16).unwrap()
        };
        let both = 1 << (15 - 1) | 1 << (2 - 1);
        let started = Instant::now();
        while caught() & both != both && started.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Reads to the end of standard output, which every process of the group must have let go of by then.
    fn end(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        let closed = Instant::now();
        let status = self.child.wait().unwrap();
        assert!(closed.elapsed() < Duration::from_secs(1), "the script outlived its output");
        assert_eq!(alive(self.group), Vec::<String>::new(), "left behind");
        (status, rest)
    }
}

#[test]
fn the_end_of_the_jvm_is_the_end_of_the_script() {
    let check = |java: &str, code: i32| {
        let started = Instant::now();
        let (status, printed) = start_with(&format!("#!/bin/sh\necho out\n{java}\n")).end();
        assert_eq!((status.code(), printed.as_str()), (Some(code), "out\n"), "{java}");
        assert!(started.elapsed() < Duration::from_secs(2), "{java}: {:?}", started.elapsed());
    };
    check("exit 0", 0);
    check("exit 7", 7);
    check("kill -KILL $$", 137);
    check("kill -SEGV $$", 139);
}

#[test]
fn a_signal_reaches_the_jvm() {
    // The JVM has a child of its own, and sees it end.
    let java = |code: u8| {
        format!(
            "#!/bin/bash\ntrap 'echo stopping; kill $!; wait $!; exit {code}' TERM\nsleep 60 >/dev/null 2>&1 &\necho ready\nwait\n"
        )
    };
    // Often: the JVM may end before the script has looked for it again.
    let ends = [(Signal::TERM, 143), (Signal::TERM, 0), (Signal::INT, 42)];
    for (signal, code) in ends.into_iter().cycle().take(15) {
        let mut script = start_with(&java(code));
        assert_eq!(script.line(), "ready");
        script.wait_for_traps();
        kill_process(script.group, signal).unwrap();
        let (status, printed) = script.end();
        assert_eq!((status.code(), printed.as_str()), (Some(i32::from(code)), "stopping\n"), "{signal:?}");
    }
}

#[test]
fn a_jvm_that_does_not_end_at_once_is_waited_for() {
    let java = "#!/bin/bash\ntrap 'n=$((n + 1)); echo $n; [ $n -lt 3 ] || exit 5' TERM\necho ready\n\
                while :; do read -r -t 0.01 <>/dev/null || :; sleep 0.01 >/dev/null; done\n";
    let mut script = start_with(java);
    assert_eq!(script.line(), "ready");
    script.wait_for_traps();
    for number in ["1", "2", "3"] {
        kill_process(script.group, Signal::TERM).unwrap();
        assert_eq!(script.line(), number);
    }
    assert_eq!(script.end().0.code(), Some(5));
}

#[test]
fn the_pid_is_written_down() {
    let script = "#!/bin/sh\nfor _ in 1 2 3 4 5 6 7 8 9; do [ -s \"${0%/*}/run/jvm.pid\" ] || sleep 0.1; done\n\
                  echo $$ $(cat \"${0%/*}/run/jvm.pid\")\n";
    let mut running = start_with(script);
    let line = running.line();
    let (own, written) = line.split_once(' ').unwrap();
    assert_eq!(own, written);
    running.end();
}

/// In a PID namespace, as in a container, the JVM's PID is above the least one, and not far above.
#[test]
fn the_pid_is_high() {
    let words = ["--pid", "--fork", "--mount-proc", "--user", "--map-root-user"];
    let probe = Command::new("unshare").args(words).arg("true").stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("skipped: this machine permits no PID namespace");
        return;
    }
    for least in [100, 1000] {
        let text = format!("{ZIPKIN}checkpoint.min-pid = {least}\n");
        let app = app("zipkin", &text);
        let stubs = stubs("#!/bin/sh\necho $$\n");
        let file = &rendered(&app)[Path::new("checkpoint/scripts/start.sh")];
        let text = start(&app, std::str::from_utf8(&file.bytes).unwrap(), stubs.path(), least);
        let script = stubs.path().join("script.sh");
        program(&script, &text);
        let path = bash(stubs.path());
        let mut command = Command::new("unshare");
        command.args(words).arg("bash").arg(&script).envs(path.get_envs().filter_map(|(k, v)| Some((k, v?))));
        let started = Instant::now();
        let ran = output(&mut command);
        let pid: u32 = String::from_utf8(ran.stdout).unwrap().trim().parse().unwrap();
        assert!(pid > least && pid <= least + 60, "{pid}, at least {least}");
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}

/// `restore.sh` of zipkin with this text as criu; `run` and the checkpoint data are below the stubs.
fn restore_with(criu: &str) -> (ExitStatus, String, String) {
    restore_after(criu, "5000.17 9000.00", "5000")
}

/// As [`restore_with`], on a machine that has been up for `up`, of a process dumped on one that had been for `dumped`.
fn restore_after(criu: &str, up: &str, dumped: &str) -> (ExitStatus, String, String) {
    let stubs = stubs("");
    let folder = stubs.path().display().to_string();
    program(&stubs.path().join("criu"), &criu.replace("$RUN", &format!("{folder}/run")));
    fs::write(stubs.path().join("inherit-fd"), "fd[1]:pipe:[11]\nfd[2]:pipe:[12]\n").unwrap();
    let app = app("zipkin", &format!("{ZIPKIN}limits.restore = \"1s\"\n"));
    let file = &rendered(&app)[Path::new("restore/scripts/restore.sh")];
    let text = String::from_utf8(file.bytes.clone()).unwrap();
    let text = text.replace("run=/run/zipkin", &format!("run={folder}/run"));
    let text = text.replace("/checkpoint-data/$file", &format!("{folder}/$file"));
    let text = text.replace("</checkpoint-data/inherit-fd", &format!("<{folder}/inherit-fd"));
    fs::write(stubs.path().join("up"), format!("{up}\n")).unwrap();
    fs::write(stubs.path().join("uptime"), format!("{dumped}\n")).unwrap();
    let text = text.replace("</proc/uptime", &format!("<{folder}/up"));
    let text = text.replace("</checkpoint-data/uptime", &format!("<{folder}/uptime"));
    let script = stubs.path().join("script.sh");
    program(&script, &text);
    let mut command = Command::new("sh");
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    let ran = output(command.arg(script).env("PATH", path).process_group(0));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ran.status, text(ran.stdout), text(ran.stderr))
}

#[test]
fn a_restore_ends_as_the_restored_process_does() {
    let (status, out, _) = restore_with("#!/bin/sh\n: >$RUN/stats-restore\nprintf '%s ' \"$@\"\nexit 9\n");
    assert_eq!(status.code(), Some(9));
    let (status, _, err) = restore_with("#!/bin/sh\n: >$RUN/stats-restore\n");
    assert_eq!((status.code(), err.as_str()), (Some(1), "restore: zipkin ended by itself\n"));
    assert!(out.contains("--inherit-fd fd[1]:pipe:[11] --inherit-fd fd[2]:pipe:[12] "), "{out}");
}

#[test]
fn a_machine_that_has_just_been_started_is_warned_of() {
    let check = |up: &str, dumped: &str, expected: &str| {
        let (status, _, err) = restore_after("#!/bin/sh\n: >$RUN/stats-restore\nexit 9\n", up, dumped);
        assert_eq!(status.code(), Some(9), "it is restored all the same: {err}");
        assert_eq!(err.lines().next().unwrap_or_default().split(':').nth(2).unwrap_or_default(), expected);
    };
    check("50000.99 1.00", "50000", "");
    check("864000.00 1.00", "50000", "");
    check("10000.50 1.00", "50000", " this machine was started 40000 s too late");
}

#[test]
fn a_restore_that_fails_says_why() {
    let (status, _, err) =
        restore_with("#!/bin/sh\necho 'x: Error (a.c:1): no such thing' >$RUN/restore.log\nexit 0\n");
    assert_eq!(status.code(), Some(1));
    assert!(err.contains("restore: failed (exit code 0): x: Error (a.c:1): no such thing"), "{err}");
    let (status, _, err) = restore_with("#!/bin/sh\nexit 3\n");
    assert_eq!(status.code(), Some(1));
    assert!(err.contains("failed (exit code 3): criu said nothing"), "{err}");
}

#[test]
fn a_restore_that_hangs_is_ended() {
    let started = Instant::now();
    let (status, _, err) = restore_with("#!/bin/sh\nexec sleep 60\n");
    assert_eq!(status.signal(), Some(9), "{err}");
    assert!(err.contains("restore: not restored within 1 s (limits.restore)"), "{err}");
    assert!(started.elapsed() < Duration::from_secs(5));
}
