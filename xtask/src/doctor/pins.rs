//! One application on this machine: can its pin be restored here?

use bytesize::ByteSize;

use super::asked::Answer;
use super::containers::older;
use super::{Facts, Finding};
use crate::app::{App, EngineChoice, PackerChoice};
use crate::lock::Lock;
use crate::uptime;

/// An application, its pin, and what the store has of it.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// What app.toml says, or that it is wrong.
    pub app: Result<App, String>,
    /// The pin, none, or why it cannot be read.
    pub lock: Result<Option<Lock>, String>,
    /// How many objects the pin names, and how many of these the store has not.
    pub objects: (usize, usize),
    /// How long the machine of the dump had been up, in seconds, where the store has it.
    pub uptime: Option<u64>,
}

const CHECKS: [fn(&Facts, &Subject, &App) -> Finding; 7] = [packer, suite, pids, port, pin, timers, store];

/// What every check says of an application; its name goes before each.
pub fn of_app(facts: &Facts, subject: &Subject) -> Vec<Finding> {
    let findings = match &subject.app {
        Ok(app) => CHECKS.iter().map(|check| check(facts, subject, app)).collect(),
        Err(_) => vec![Finding::fail(
            "app.toml",
            format!("apps/{}/app.toml is not valid", subject.name),
            format!("`cargo xtask check {}` shows what is wrong", subject.name),
        )],
    };
    let named =
        |finding: Finding| Finding { check: format!("{}: {}", subject.name, finding.check), ..finding };
    findings.into_iter().map(named).collect()
}

/// What only rockcraft can pack.
fn packer(facts: &Facts, _: &Subject, app: &App) -> Finding {
    const CHECK: &str = "packer";
    let wants = match (app.packer, app.engine) {
        (PackerChoice::Rockcraft, _) => "packer = \"rockcraft\"",
        (PackerChoice::Auto, EngineChoice::Crac) => "engine = \"crac\"",
        _ => return Finding::pass(CHECK, "any"),
    };
    // rockcraft's own release notes.
    let least = match app.rock.base.as_str() {
        "ubuntu@26.04" => (1, 19),
        "ubuntu@25.10" => (1, 16),
        _ => (1, 7),
    };
    match &facts.asked.rockcraft {
        Answer::Said(version) if older(version, least) => Finding::fail(
            CHECK,
            format!("{} needs rockcraft {}.{}, and this is {version}", app.rock.base, least.0, least.1),
            "sudo snap refresh rockcraft",
        ),
        Answer::Said(version) => Finding::pass(CHECK, format!("rockcraft {version}")),
        Answer::Absent | Answer::Failed(_) => Finding::fail(
            CHECK,
            format!("{wants} needs rockcraft, which is not here: it can be restored, but not checkpointed"),
            "sudo snap install rockcraft --classic, or set engine = \"criu\" and packer = \"native\"",
        ),
    }
}

/// Kernels from 6.16 on refuse SO_PASSCRED on listening sockets, which Debian's CRIU before sid's 4.2.1 asks for.
fn suite(facts: &Facts, _: &Subject, app: &App) -> Finding {
    const CHECK: &str = "CRIU";
    let (suite, kernel) = (&app.rock.suite, facts.machine.host.as_ref().map(|host| host.kernel.as_str()));
    let native = app.packer != PackerChoice::Rockcraft && app.engine != EngineChoice::Crac;
    let old = ["bullseye", "bookworm", "trixie", "stable", "oldstable"].contains(&suite.as_str());
    match kernel {
        Ok(kernel) if native && old && !older(kernel, (6, 16)) => Finding::fail(
            CHECK,
            format!("the CRIU of {suite} fails on this kernel, {kernel}: it cannot dump a listening socket"),
            "set rock.suite = \"sid\", whose CRIU 4.2.1 works",
        ),
        _ if native => Finding::pass(CHECK, format!("from Debian {suite}")),
        _ => Finding::pass(CHECK, "as rockcraft's base has it"),
    }
}

/// Room above `checkpoint.min-pid` for the JVM's threads.
fn pids(facts: &Facts, _: &Subject, app: &App) -> Finding {
    const CHECK: &str = "PIDs";
    let least = app.checkpoint.min_pid;
    match facts.machine.pid_max {
        Some(most) if most < least + 1000 => Finding::fail(
            CHECK,
            format!("the JVM's are above {least} (checkpoint.min-pid), and this machine's end at {most}"),
            "sudo sysctl kernel.pid_max=32768, or a lower checkpoint.min-pid",
        ),
        _ => Finding::pass(CHECK, format!("above {least}")),
    }
}

fn port(facts: &Facts, _: &Subject, app: &App) -> Finding {
    const CHECK: &str = "port";
    let port = app.http.port;
    match facts.machine.listening.contains(&port) {
        false => Finding::pass(CHECK, format!("{port} is free")),
        true => Finding::warn(
            CHECK,
            format!("somebody listens on {port}, where `restore` would publish it"),
            format!(
                "end it (`ss -ltnp` names it), or take another port: `cargo xtask restore {} --publish {}:{port}`",
                app.name,
                if port < u16::MAX { port + 1 } else { 8080 }
            ),
        ),
    }
}

/// Whether the dumped process can run on this CPU and kernel.
fn pin(facts: &Facts, subject: &Subject, _: &App) -> Finding {
    const CHECK: &str = "pin";
    let name = &subject.name;
    let lock = match &subject.lock {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            let remedy =
                format!("`cargo xtask checkpoint {name}` makes one, `cargo xtask pull {name}` fetches one");
            return Finding::not_tried(CHECK, "there is none yet", remedy);
        }
        Err(why) => {
            let remedy =
                format!("`git checkout apps/{name}/checkpoint.lock`, or `cargo xtask checkpoint {name}`");
            return Finding::fail(CHECK, why, remedy);
        }
    };
    let host = match &facts.machine.host {
        Ok(host) => host,
        Err(why) => return Finding::fail(CHECK, format!("this machine is not known: {why}"), "mount /proc"),
    };
    let size: u64 = lock.data.files.iter().map(|file| file.size).sum();
    let size = ByteSize(size);
    match (lock.host.refuses(host), facts.machine.memory) {
        (Some(why), _) => Finding::fail(
            CHECK,
            format!("it cannot be restored here: {why}"),
            format!(
                "restore it on a machine like the one it was dumped on, or make a pin for this one: `cargo xtask \
                 checkpoint {name} --force`"
            ),
        ),
        (None, Some(memory)) if memory < size.as_u64() * 3 / 2 => Finding::warn(
            CHECK,
            format!(
                "it can be restored here, but {} of memory is little for a process of {size}",
                ByteSize(memory)
            ),
            "end other programs",
        ),
        (None, _) => {
            let version =
                lock.engine_version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
            let by = format!("{}{version}", lock.engine);
            Finding::pass(
                CHECK,
                format!("fits this machine: {size}, dumped on Linux {} by {by}", lock.host.kernel),
            )
        }
    }
}

/// Whether what the restored process waits for comes.
fn timers(facts: &Facts, subject: &Subject, _: &App) -> Finding {
    const CHECK: &str = "timers";
    match (subject.uptime, facts.machine.uptime) {
        (Some(dumped), Some(here)) => match uptime::behind(dumped, here) {
            Some(why) => Finding::warn(CHECK, why, uptime::REMEDY),
            None => Finding::pass(CHECK, "go on: this machine has been up for longer than that of the dump"),
        },
        _ => Finding::not_tried(CHECK, "there is no dump to compare clocks with", ""),
    }
}

/// Whether what the pin names is on this machine.
fn store(_: &Facts, subject: &Subject, _: &App) -> Finding {
    const CHECK: &str = "store";
    let (all, missing) = subject.objects;
    match (&subject.lock, missing) {
        (Ok(Some(_)), 0) => Finding::pass(CHECK, format!("has all {all} objects of the pin")),
        (Ok(Some(_)), _) => Finding::warn(
            CHECK,
            format!("lacks {missing} of the pin's {all} objects"),
            format!("cargo xtask pull {} [REMOTE], or `checkpoint` again", subject.name),
        ),
        _ => Finding::not_tried(CHECK, "there is no pin to look for", ""),
    }
}
