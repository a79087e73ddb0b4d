//! The machine a process was dumped on, and whether it can run on another.

use std::path::Path;

use anyhow::Result;
use fs_err as fs;
use serde::{Deserialize, Serialize};

/// What a restore depends on in the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Host {
    /// `x86_64` or `aarch64`.
    pub architecture: String,
    /// `uname -r`.
    pub kernel: String,
    /// `vendor_id` of /proc/cpuinfo.
    pub cpu_vendor: String,
    /// The CPU's feature flags, sorted.
    pub cpu_flags: Vec<String>,
}

/// Flags that the kernel makes up or that no program can use: another kernel may show others on the same CPU.
const NO_INSTRUCTIONS: [&str; 22] = [
    "arch_capabilities",
    "arch_perfmon",
    "bts",
    "constant_tsc",
    "cpuid",
    "flush_l1d",
    "hypervisor",
    "ibpb",
    "ibrs",
    "ibrs_enhanced",
    "md_clear",
    "nonstop_tsc",
    "nopl",
    "pebs",
    "pti",
    "rep_good",
    "ssbd",
    "stibp",
    "tsc_adjust",
    "tsc_deadline_timer",
    "tsc_known_freq",
    "xtopology",
];

impl Host {
    /// This machine.
    pub fn this() -> Result<Host> {
        Host::below("/".as_ref())
    }

    /// The machine whose /proc is below `root`.
    pub fn below(root: &Path) -> Result<Host> {
        let cpuinfo = fs::read_to_string(root.join("proc/cpuinfo"))?;
        let field = |name: &str| {
            let line =
                cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
            line.and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let flags =
            Some(field("flags")).filter(|flags| !flags.is_empty()).unwrap_or_else(|| field("Features"));
        let mut cpu_flags: Vec<String> = flags.split_whitespace().map(String::from).collect();
        cpu_flags.sort();
        let kernel = fs::read_to_string(root.join("proc/sys/kernel/osrelease"))?.trim().to_owned();
        Ok(Host {
            architecture: std::env::consts::ARCH.to_owned(),
            kernel,
            cpu_vendor: field("vendor_id"),
            cpu_flags,
        })
    }

    /// Why a process dumped on this host cannot run on `other`, if so.
    pub fn refuses(&self, other: &Host) -> Option<String> {
        if self.architecture != other.architecture {
            return Some(format!(
                "the checkpoint was made on {}, this machine is {}",
                self.architecture, other.architecture
            ));
        }
        if let (Some(dumped), Some(here)) = (self.release(), other.release())
            && here < dumped
        {
            return Some(format!(
                "its kernel is {}, older than {}, on which the checkpoint was made: it may lack what the process and \
                 CRIU found there",
                other.kernel, self.kernel
            ));
        }
        let missing: Vec<&str> = self
            .cpu_flags
            .iter()
            .filter(|flag| !other.cpu_flags.contains(flag))
            .map(String::as_str)
            .filter(|flag| !NO_INSTRUCTIONS.contains(flag))
            .collect();
        (!missing.is_empty()).then(|| {
            format!("this CPU lacks {}, which the JVM saw when it was dumped and may use", missing.join(", "))
        })
    }

    /// `6.12` of `6.12.9-amd64`: what a kernel can do changes with these two, and not with a distribution's own numbers.
    pub fn release(&self) -> Option<(u32, u32)> {
        let mut numbers = self.kernel.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    }
}
