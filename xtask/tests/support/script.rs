//! Rendered scripts on this machine: what they find in a rock is replaced by stubs in a temporary folder.

#![allow(dead_code, reason = "each file of tests uses a part of it")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Pid;
use tempfile::TempDir;
use xtask::app::App;

/// Drops its own options and becomes what follows, as the real one does.
const SETPRIV: &str = "#!/bin/sh\nwhile case $1 in --*) ;; *) false ;; esac; do shift; done\nexec \"$@\"\n";

/// A folder of stubs: `java` with this text, `setpriv`, and `run` in place of `/run/<app>`.
pub fn stubs(java: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    program(&folder.path().join("java"), java);
    program(&folder.path().join("setpriv"), SETPRIV);
    std::fs::create_dir(folder.path().join("run")).expect("run");
    folder
}

/// A program that is open for writing cannot be started, and a process forked meanwhile has it open until its own
/// exec: nothing is written while another thread of this test starts something.
static QUIET: Mutex<()> = Mutex::new(());

fn quiet() -> MutexGuard<'static, ()> {
    QUIET.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a command.
pub fn spawn(command: &mut Command) -> Child {
    let _quiet = quiet();
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a command and returns what it printed.
pub fn output(command: &mut Command) -> Output {
    spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped())).wait_with_output().expect("its output")
}

/// Writes a program.
pub fn program(path: &Path, text: &str) {
    let _quiet = quiet();
    std::fs::write(path, text).expect("a script");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("its mode");
}

/// `start.sh` with every path of the rock replaced. The words of the JVM are not touched: only whole lines that
/// the template writes are.
pub fn start(app: &App, script: &str, stubs: &Path, min_pid: u32) -> String {
    let replaced = |text: String, from: &str, to: &str| {
        assert!(text.contains(from), "`{from}` is not in\n{script}");
        text.replacen(from, to, 1)
    };
    let stubs = stubs.display();
    let text =
        replaced(script.to_owned(), &format!("\nrun=/run/{}\n", app.name), &format!("\nrun={stubs}/run\n"));
    let text = replaced(text, "\n    /usr/bin/java ", &format!("\n    {stubs}/java "));
    let limit = format!("-lt {} ]", app.checkpoint.min_pid);
    replaced(text, &limit, &format!("-lt {min_pid} ]"))
}

/// `bash` with the stubs before everything else on PATH.
pub fn bash(stubs: &Path) -> Command {
    let mut command = Command::new("bash");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", stubs.display())).stdin(Stdio::null());
    command
}

/// The processes of a group. One that has ended and waits for PID 1 to bury it is none.
pub fn alive(group: Pid) -> Vec<String> {
    let stats = std::fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path().join("stat"));
    let stats = stats.filter_map(|path| std::fs::read_to_string(path).ok());
    let living = |stat: &String| {
        let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        let state = fields.next();
        state != Some("Z") && fields.nth(1) == Some(&group.as_raw_nonzero().to_string())
    };
    stats.filter(living).collect()
}
