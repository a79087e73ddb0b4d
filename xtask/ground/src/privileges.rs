//! What a container may do: capabilities, and the filter of its system calls.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A Linux capability (capabilities(7)), by its name without `CAP_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Capability {
    /// clone3 with a chosen PID, `/proc/PID/map_files`.
    CheckpointRestore,
    /// A CRIU that is root by its setuid bit writes into the user's folders.
    DacOverride,
    /// The same CRIU ends the user's process once it is dumped.
    Kill,
    /// Repairing TCP sockets at the dump.
    NetAdmin,
    /// CRIU sets supplementary groups before it resumes a task.
    Setgid,
    /// CRIU drops from the bounding set what the dumped process did not have.
    Setpcap,
    /// A CRIU that is root by its setuid bit turns the restored process into the user's.
    Setuid,
    /// Seizing the process at the dump.
    SysPtrace,
}

impl Capability {
    /// The capability's number in `linux/capability.h`.
    pub fn number(self) -> u32 {
        match self {
            Capability::CheckpointRestore => 40,
            Capability::DacOverride => 1,
            Capability::Kill => 5,
            Capability::Setuid => 7,
            Capability::NetAdmin => 12,
            Capability::Setgid => 6,
            Capability::Setpcap => 8,
            Capability::SysPtrace => 19,
        }
    }

    /// What it is for, in a few words.
    pub fn purpose(self) -> &'static str {
        match self {
            Capability::CheckpointRestore => "clone3 with the PIDs of the dump; /proc/PID/map_files",
            Capability::DacOverride => "a CRIU that is root writes into the user's folders",
            Capability::Kill => "a CRIU that is root ends the user's process once it is dumped",
            Capability::NetAdmin => "repairs TCP sockets",
            Capability::Setgid => "gives the process its supplementary groups",
            Capability::Setpcap => "drops capabilities from the bounding set",
            Capability::Setuid => "a CRIU that is root turns the process into the user's",
            Capability::SysPtrace => "seizes the process",
        }
    }
}

impl fmt::Display for Capability {
    /// The name container engines take: `CHECKPOINT_RESTORE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Capability::CheckpointRestore => "CHECKPOINT_RESTORE",
            Capability::DacOverride => "DAC_OVERRIDE",
            Capability::Kill => "KILL",
            Capability::Setuid => "SETUID",
            Capability::NetAdmin => "NET_ADMIN",
            Capability::Setgid => "SETGID",
            Capability::Setpcap => "SETPCAP",
            Capability::SysPtrace => "SYS_PTRACE",
        })
    }
}

/// Whether a container's system calls are filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seccomp {
    /// By the filter that is rendered, for its pin; by the container engine's own where nothing is restored.
    Filtered,
    /// None: CRIU would have to suspend a filter, which needs SYS_ADMIN.
    Unconfined,
}
