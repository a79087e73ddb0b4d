//! What the kernel and its guards allow.

use super::{Facts, Finding};
use crate::privileges::Capability;
use crate::runtime::Kind;

/// What CRIU's own documentation (criu.org, "Linux kernel") asks for, as far as a JVM in a container needs it. Without
/// the first nothing works; of the others, CRIU's own check says more.
pub(super) const OPTIONS: [&str; 10] = [
    "CHECKPOINT_RESTORE",
    "EPOLL",
    "EVENTFD",
    "FHANDLE",
    "INET_DIAG",
    "NET_NS",
    "PID_NS",
    "PROC_CHILDREN",
    "PROC_PAGE_MONITOR",
    "UNIX_DIAG",
];

/// What the dump needs (`xtask/core/src/engine.rs`).
const DUMP: [Capability; 3] = [Capability::CheckpointRestore, Capability::NetAdmin, Capability::SysPtrace];

/// CAP_CHECKPOINT_RESTORE came with Linux 5.9.
pub fn capability(facts: &Facts) -> Finding {
    const CHECK: &str = "kernel";
    let known = facts.machine.last_capability;
    match (&facts.machine.host, known) {
        (Err(error), _) => Finding::fail(
            CHECK,
            format!("it is not Linux as we know it: {error}"),
            "run this on Linux, with /proc",
        ),
        (Ok(host), Some(last)) if last >= Capability::CheckpointRestore.number() => Finding::pass(
            CHECK,
            format!("{} on {}, knows CAP_CHECKPOINT_RESTORE", host.kernel, host.architecture),
        ),
        (Ok(host), _) => Finding::fail(
            CHECK,
            format!("{} does not know CAP_CHECKPOINT_RESTORE, by which a restore needs no root", host.kernel),
            "boot Linux 5.9 or later",
        ),
    }
}

/// What the kernel was built with: by its configuration, or else by files that are only there with it.
pub fn options(facts: &Facts) -> Finding {
    const CHECK: &str = "kernel options";
    const REMEDY: &str = "boot a kernel that was built with these (=y or =m)";
    let Some(text) = &facts.machine.options else {
        return match facts.machine.absent[..] {
            [] => Finding::pass(
                CHECK,
                "its configuration cannot be read, but what CRIU reads of /proc is there",
            ),
            ref absent => {
                let absent: Vec<String> = absent.iter().map(|path| format!("/{path}")).collect();
                let remedy = "boot a kernel with CONFIG_CHECKPOINT_RESTORE, CONFIG_PROC_CHILDREN and CONFIG_PROC_PAGE_MONITOR";
                Finding::fail(CHECK, format!("there is no {}", absent.join(", ")), remedy)
            }
        };
    };
    let is_set =
        |option: &&str| ["y", "m"].iter().any(|how| has_line(text, &format!("CONFIG_{option}={how}")));
    let missing: Vec<&str> = OPTIONS.iter().filter(|option| !is_set(option)).copied().collect();
    let list = missing.iter().map(|option| format!("CONFIG_{option}")).collect::<Vec<_>>().join(", ");
    match missing[..] {
        [] => Finding::pass(CHECK, format!("{} that CRIU needs are all set", OPTIONS.len())),
        ["CHECKPOINT_RESTORE", ..] => Finding::fail(CHECK, format!("not set: {list}"), REMEDY),
        _ => Finding::warn(CHECK, format!("not set: {list}; CRIU's own check says whether it minds"), REMEDY),
    }
}

fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|other| other == line)
}

/// PIDs of a JVM lie above `checkpoint.min-pid`, 1000 unless app.toml says else, and each of its threads takes one.
pub fn pids(facts: &Facts) -> Finding {
    const CHECK: &str = "PIDs";
    match facts.machine.pid_max {
        Some(most) if most >= 4096 => Finding::pass(CHECK, format!("below {most}")),
        Some(most) => Finding::fail(
            CHECK,
            format!("below {most}: too few for a JVM whose PIDs begin above 1000 (checkpoint.min-pid)"),
            "sudo sysctl kernel.pid_max=32768",
        ),
        None => Finding::not_tried(CHECK, "/proc/sys/kernel/pid_max cannot be read", ""),
    }
}

/// A dump runs without a filter: to suspend one, CRIU would need SYS_ADMIN. Podman's containers are children of this
/// process and inherit its filter; Docker's are its daemon's.
pub fn seccomp(facts: &Facts) -> Finding {
    const CHECK: &str = "seccomp";
    let ours = facts.asked.kind() != Some(Kind::Docker);
    match (&facts.machine.seccomp, facts.machine.own.seccomp) {
        (_, 2) if ours => Finding::fail(
            CHECK,
            "this shell is under a filter of system calls, which podman's containers inherit: CRIU cannot dump there",
            "run this outside of a container or a service with a filter, or let this container have none \
             (--security-opt seccomp=unconfined)",
        ),
        (Some(_), _) => Finding::pass(CHECK, "filters are known, and none is in the way"),
        (None, _) => Finding::warn(
            CHECK,
            "the kernel has no filters of system calls: restored applications run without one",
            "boot a kernel with CONFIG_SECCOMP_FILTER",
        ),
    }
}

/// What podman can hand to a container is what this process could have at most.
pub fn capabilities(facts: &Facts) -> Finding {
    const CHECK: &str = "capabilities";
    let own = &facts.machine.own;
    if facts.asked.kind() == Some(Kind::Docker) {
        return Finding::pass(CHECK, "its daemon's, not this shell's, are what Docker hands on");
    }
    let missing: Vec<String> = DUMP
        .iter()
        .filter(|capability| own.bounding >> capability.number() & 1 == 0)
        .map(|capability| capability.to_string())
        .collect();
    match (missing.is_empty(), own.no_new_privileges) {
        (true, false) => Finding::pass(CHECK, "all that a dump needs can be handed to a container"),
        (false, _) => Finding::fail(
            CHECK,
            format!("this shell cannot hand on {}, which a dump needs", missing.join(", ")),
            format!("run this outside of a container, or add to it: --cap-add={}", missing.join(",")),
        ),
        (true, true) => Finding::fail(
            CHECK,
            "this shell may not gain privileges (no_new_privs), so CRIU's file capabilities have no effect",
            "run this outside of a service with NoNewPrivileges=yes, or a container with no-new-privileges",
        ),
    }
}

/// Scope 2 wants CAP_SYS_PTRACE of whoever traces, which the dump has and the restore has not (ptrace(2)).
pub fn yama(facts: &Facts) -> Finding {
    const CHECK: &str = "Yama";
    match facts.machine.yama {
        None => Finding::pass(CHECK, "not there: nothing restricts ptrace"),
        Some(scope @ 0..=1) => Finding::pass(CHECK, format!("ptrace_scope is {scope}")),
        Some(2) => Finding::warn(
            CHECK,
            "ptrace_scope is 2: a restore, which has no SYS_PTRACE, may be refused; not tried",
            "sudo sysctl kernel.yama.ptrace_scope=1",
        ),
        Some(scope) => Finding::fail(
            CHECK,
            format!(
                "ptrace_scope is {scope}: nobody may trace, so nothing is dumped or restored until a reboot"
            ),
            "set kernel.yama.ptrace_scope=1 in /etc/sysctl.d, and reboot",
        ),
    }
}

/// Not to be had where this was written.
pub fn selinux(facts: &Facts) -> Finding {
    const CHECK: &str = "SELinux";
    match facts.machine.selinux {
        None => Finding::pass(CHECK, "not there"),
        Some(false) => Finding::pass(CHECK, "permissive"),
        Some(true) => Finding::warn(
            CHECK,
            "enforcing: whether its policy lets a container dump and restore was not tried",
            "if it says `Permission denied`, see `sudo ausearch -m avc -ts recent`",
        ),
    }
}

/// The engines' own profiles let the processes of a container trace each other (moby's docker-default,
/// containers/common's containers-default).
pub fn apparmor(facts: &Facts) -> Finding {
    const CHECK: &str = "AppArmor";
    let rootless = facts.asked.is_rootless();
    match (facts.machine.apparmor, facts.machine.apparmor_namespaces) {
        (false, _) => Finding::pass(CHECK, "not there, or off"),
        (true, true) if rootless => Finding::warn(
            CHECK,
            "on, and only programs with a profile may make user namespaces, which rootless podman needs",
            "take Ubuntu's own podman, which has a profile, or run this as root",
        ),
        (true, _) => {
            Finding::pass(CHECK, "on; the profiles of podman and Docker let a container trace its own")
        }
    }
}
