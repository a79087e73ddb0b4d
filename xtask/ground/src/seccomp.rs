//! Families of system calls that a restored service may do without, and the filter without them.
//!
//! A family is what programs use together for one purpose, so that a trial of it says more than a trial of one call. What
//! a JVM makes only now and then (files, sockets, threads, memory, timers, signals, locks, watching folders) is in none:
//! a test that does not make a call says nothing of production. Nor is what the container engine does under the filter,
//! when `no_new_privs` is not set, before it starts the rock: it becomes the user and drops capabilities (runc,
//! `libcontainer/standard_init_linux.go`). That podman sets it and Kubernetes does not would make what one of them has
//! proven wrong under the other.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Calls of one purpose, by the name that the lock has. In the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// The kernel's own asynchronous I/O, which databases use.
    AsyncIo,
    /// Setting the clock.
    ClockSetting,
    /// Writing extended attributes.
    ExtendedAttributes,
    /// Watching whole file systems.
    Fanotify,
    /// File handles, as file servers have them.
    FileHandles,
    /// Calls that were replaced long ago.
    LegacyCalls,
    /// Files that are memory.
    MemoryFiles,
    /// Message queues of POSIX.
    MessageQueues,
    /// Programs of 32 bits.
    OtherArchitectures,
    /// Imitating other systems.
    Personality,
    /// Memory of other processes.
    ProcessMemory,
    /// Debugging.
    Ptrace,
    /// Programs that confine themselves.
    Sandboxes,
    /// Devices and named pipes.
    SpecialFiles,
    /// Moving bytes between pipes.
    Splice,
    /// Shared memory, semaphores and message queues of System V.
    SystemVIpc,
}

/// How the kernel answers a call that the filter refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// ENOSYS: kernels are built without such a call, or are older, so that programs know to do without.
    NoSuchCall,
    /// EPERM, the filter's own answer: what the kernel itself says to a process that may not.
    NotPermitted,
    /// SIGSYS: a program for another processor is ended by its first call.
    Killed,
}

/// What there is to say of a family.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Which.
    pub family: Family,
    /// Its name in the lock.
    pub name: &'static str,
    /// What its calls are for.
    pub purpose: &'static str,
    /// Its calls, by libseccomp's names.
    pub calls: &'static [&'static str],
    /// What who makes them is told.
    pub answer: Answer,
}

/// Every family, in the order of [`Family`].
pub const FAMILIES: [Row; 16] = [
    Row {
        family: Family::AsyncIo,
        name: "async-io",
        purpose: "asynchronous file I/O of the kernel (libaio), used by databases",
        calls: &[
            "io_cancel",
            "io_destroy",
            "io_getevents",
            "io_pgetevents",
            "io_pgetevents_time64",
            "io_setup",
            "io_submit",
        ],
        answer: Answer::NoSuchCall,
    },
    Row {
        family: Family::ClockSetting,
        name: "clock-setting",
        purpose: "steering the machine's clock, used by time daemons",
        calls: &["adjtimex", "clock_adjtime", "clock_adjtime64"],
        answer: Answer::NotPermitted,
    },
    Row {
        family: Family::ExtendedAttributes,
        name: "extended-attributes",
        purpose: "writing extended attributes and ACLs of files",
        calls: &["fremovexattr", "fsetxattr", "lremovexattr", "lsetxattr", "removexattr", "setxattr"],
        answer: Answer::NoSuchCall,
    },
    Row {
        family: Family::Fanotify,
        name: "fanotify",
        purpose: "watching whole file systems, used by virus scanners",
        calls: &["fanotify_mark"],
        answer: Answer::NoSuchCall,
    },
    Row {
        family: Family::FileHandles,
        name: "file-handles",
        purpose: "handles of files without their paths, used by file servers",
        calls: &["name_to_handle_at"],
        answer: Answer::NoSuchCall,
    },
    Row {
        family: Family::LegacyCalls,
        name: "legacy-calls",
        purpose: "segments of 16-bit programs, and calls that Linux has replaced",
        calls: &["epoll_ctl_old", "epoll_wait_old", "modify_ldt", "remap_file_pages"],
        answer: Answer::NoSuchCall,
    },
    Row {
        family: Family::MemoryFiles,
        name: "memory-files",
        purpose: "files without a name that are memory, and may be run",
        calls: &["memfd_create", "memfd_secret"],
        answer: Answer::NoSuchCall,
    },
    Row {
        family: Family::MessageQueues,
        name: "message-queues",
        purpose: "POSIX message queues between processes",
        calls: &[
            "mq_getsetattr",
            "mq_notify",
            "mq_open",
            "mq_timedreceive",
            "mq_timedreceive_time64",
            "mq_timedsend",
            "mq_timedsend_time64",
            "mq_unlink",
        ],
        answer: Answer::NoSuchCall,
    },
    Row {
        family: Family::OtherArchitectures,
        name: "other-architectures",
        purpose: "programs for 32-bit processors, and the kernel's entries for them",
        calls: &[],
        answer: Answer::Killed,
    },
    Row {
        family: Family::Personality,
        name: "personality",
        purpose: "imitating other systems, and memory at fixed places",
        calls: &["personality"],
        answer: Answer::NotPermitted,
    },
    Row {
        family: Family::ProcessMemory,
        name: "process-memory",
        purpose: "reading and writing the memory of other processes, used by debuggers and MPI",
        calls: &[
            "kcmp",
            "pidfd_getfd",
            "process_madvise",
            "process_mrelease",
            "process_vm_readv",
            "process_vm_writev",
        ],
        answer: Answer::NoSuchCall,
    },
    Row {
        family: Family::Ptrace,
        name: "ptrace",
        purpose: "stopping and steering other processes, used by debuggers and CRIU",
        calls: &["ptrace"],
        answer: Answer::NotPermitted,
    },
    Row {
        family: Family::Sandboxes,
        name: "sandboxes",
        purpose: "programs that confine themselves, as browsers do",
        calls: &["landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "seccomp"],
        answer: Answer::NoSuchCall,
    },
    Row {
        family: Family::SpecialFiles,
        name: "special-files",
        purpose: "making devices and named pipes",
        calls: &["mknod", "mknodat"],
        answer: Answer::NotPermitted,
    },
    Row {
        family: Family::Splice,
        name: "splice",
        purpose: "moving bytes between pipes and sockets without a copy",
        calls: &["splice", "tee", "vmsplice"],
        answer: Answer::NoSuchCall,
    },
    Row {
        family: Family::SystemVIpc,
        name: "system-v-ipc",
        purpose: "System V shared memory, semaphores and message queues, used by some database drivers",
        calls: &[
            "ipc",
            "msgctl",
            "msgget",
            "msgrcv",
            "msgsnd",
            "semctl",
            "semget",
            "semop",
            "semtimedop",
            "semtimedop_time64",
            "shmat",
            "shmctl",
            "shmdt",
            "shmget",
        ],
        answer: Answer::NoSuchCall,
    },
];

impl Family {
    /// Its row of the table.
    pub fn row(self) -> Row {
        FAMILIES[self as usize]
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().name)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Answer::NoSuchCall => "ENOSYS",
            Answer::NotPermitted => "EPERM",
            Answer::Killed => "SIGSYS",
        })
    }
}

/// ENOSYS of every architecture there is a rock for.
const ENOSYS: u32 = 38;

/// The filter `template`, as Docker and podman read it, without what `refused` has. Nothing refused: the template as it is.
///
/// # Errors
/// Where the template is no such filter.
pub fn narrowed(template: &str, refused: &[Family]) -> Result<String> {
    if refused.is_empty() {
        return Ok(template.to_owned());
    }
    let mut filter: Value = serde_json::from_str(template).context("the filter is no JSON")?;
    let calls = |of: &dyn Fn(Answer) -> bool| -> BTreeSet<&str> {
        let rows = refused.iter().map(|family| family.row()).filter(|row| of(row.answer));
        rows.flat_map(|row| row.calls.iter().copied()).collect()
    };
    let gone = calls(&|_| true);
    let unknown = calls(&|answer| answer == Answer::NoSuchCall);
    let rules = list(&mut filter, "syscalls")?;
    for rule in rules.iter_mut() {
        list(rule, "names")?.retain(|name| name.as_str().is_none_or(|name| !gone.contains(name)));
    }
    rules.retain(|rule| rule["names"].as_array().is_none_or(|names| !names.is_empty()));
    if !unknown.is_empty() {
        rules.push(json!({ "names": unknown, "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS }));
    }
    if refused.contains(&Family::OtherArchitectures) {
        for architecture in list(&mut filter, "archMap")? {
            list(architecture, "subArchitectures")?.clear();
        }
    }
    Ok(serde_json::to_string_pretty(&filter)? + "\n")
}

/// PTRACE_POKEUSER, by which a debugger writes to another process's registers (x86's alone: arm64 has another call for it).
const POKE_USER: u64 = 6;
/// Where the debug registers begin in the kernel's `struct user` of x86-64; nothing lies behind them.
const DEBUG_REGISTERS: u64 = 848;

/// The filter `template`, under which a hardware breakpoint can be set but is never met, as in virtual machines without
/// them.
///
/// CRIU 4.2 tries at every restore whether there are hardware breakpoints (its kerndat.c), and for the first one that
/// anybody on the machine sets the kernel waits for every CPU (`perf_event_open` and `synchronize_rcu` of its
/// kernel/events/core.c): 7 to 18 ms of a restore. Without an answer from the kernel CRIU takes them for broken and does
/// without. A refusal it would take for an error. Older ones do not try, and set them, but for what `restore.sh` tells
/// them.
///
/// # Errors
/// Where the template is no such filter.
pub fn without_breakpoints(template: &str) -> Result<String> {
    let mut filter: Value = serde_json::from_str(template).context("the filter is no JSON")?;
    let rules = list(&mut filter, "syscalls")?;
    for rule in rules.iter_mut() {
        list(rule, "names")?.retain(|name| name != "ptrace");
    }
    let is = |index: u64, value: u64, how: &str| json!({ "index": index, "value": value, "op": how });
    let poke = is(0, POKE_USER, "SCMP_CMP_EQ");
    rules.extend([
        json!({ "names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "args": [is(0, POKE_USER, "SCMP_CMP_NE")] }),
        json!({
            "names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "args": [poke, is(2, DEBUG_REGISTERS, "SCMP_CMP_LT")],
        }),
        // Nothing done, and no error.
        json!({
            "names": ["ptrace"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0,
            "args": [poke, is(2, DEBUG_REGISTERS, "SCMP_CMP_GE")],
        }),
    ]);
    Ok(serde_json::to_string_pretty(&filter)? + "\n")
}

fn list<'a>(value: &'a mut Value, key: &str) -> Result<&'a mut Vec<Value>> {
    let list = value.get_mut(key).and_then(Value::as_array_mut);
    list.with_context(|| format!("the filter of system calls has no list `{key}`"))
}

#[cfg(test)]
mod tests;
