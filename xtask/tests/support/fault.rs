//! A command, and a fault at one of the system calls by which it changes something, by strace's hand.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// System calls that change files or send bytes.
const CHANGING: [&str; 27] = [
    "chmod",
    "chown",
    "copy_file_range",
    "fallocate",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "fdatasync",
    "fsync",
    "ftruncate",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "openat",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendto",
    "symlink",
    "unlink",
    "unlinkat",
    "write",
    "writev",
];

/// What happens instead of the system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed.
    Kill,
    /// The disk is full.
    NoSpace,
    /// The disk is broken.
    Broken,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 3] = [Fault::Kill, Fault::NoSpace, Fault::Broken];

    fn injected(self) -> &'static str {
        match self {
            Fault::Kill => "signal=KILL",
            Fault::NoSpace => "error=ENOSPC",
            Fault::Broken => "error=EIO",
        }
    }
}

/// The n-th system call of this name that a thread of the command makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Counted from 1, in its thread.
    pub number: usize,
    /// As strace shows it.
    pub line: String,
}

/// Every system call by which the command changes something, in a run without a fault.
pub fn calls(command: &Command, scratch: &Path) -> Vec<Call> {
    let log = scratch.join("calls");
    let mut traced =
        strace(command, &["-f", "-o", log.to_str().unwrap(), "-e", &trace(), "-e", "signal=none"]);
    let ran = traced.output().expect("strace runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let mut numbers: HashMap<(String, String), usize> = HashMap::new();
    let mut calls: Vec<Call> = Vec::new();
    for line in fs::read_to_string(&log).unwrap().lines() {
        let (thread, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        // The rest of a call that another thread's came in between of, and how a thread ended.
        let Some((name, arguments)) = call.split_once('(').filter(|_| !call.starts_with(['<', '+', '-']))
        else {
            continue;
        };
        let number = numbers.entry((thread.to_owned(), name.to_owned())).or_default();
        *number += 1;
        let call = Call { name: name.to_owned(), number: *number, line: call.to_owned() };
        // What another thread calls as its n-th is hit along with it.
        let known = calls.iter().any(|known| (&known.name, known.number) == (&call.name, call.number));
        if changes(name, arguments) && !known {
            calls.push(call);
        }
    }
    calls
}

/// Opening for reading changes nothing, nor does talking to the terminal.
fn changes(name: &str, arguments: &str) -> bool {
    match name {
        "openat" => arguments.contains("O_CREAT") || arguments.contains("O_TMPFILE"),
        "write" | "writev" => !arguments.starts_with("1, ") && !arguments.starts_with("2, "),
        _ => true,
    }
}

/// Runs the command with a fault.
pub fn inject(command: &Command, call: &Call, fault: Fault) -> Output {
    let inject = format!("inject={}:{}:when={}", call.name, fault.injected(), call.number);
    strace(command, &["-f", "-o", "/dev/null", "-e", &trace(), "-e", &inject]).output().expect("strace runs")
}

fn trace() -> String {
    format!("trace={}", CHANGING.join(","))
}

fn strace(command: &Command, options: &[&str]) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-qq"]).args(options).arg("--").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        traced.current_dir(folder);
    }
    traced.stdin(Stdio::null());
    traced
}
