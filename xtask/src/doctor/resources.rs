//! Disk, memory, time and trust.

use std::time::{Duration, SystemTime};

use bytesize::ByteSize;

use super::{Facts, Finding};

/// Below this a first checkpoint does not end: two build images, a base and two rocks of half a gigabyte each, the
/// engine's copies of them (measured: 6 GB for one application, 16 GB after many).
const LITTLE_DISK: u64 = 8 << 30;
const NO_DISK: u64 = 2 << 30;
/// Maven and a JVM side by side.
const LITTLE_MEMORY: u64 = 2 << 30;
const NO_MEMORY: u64 = 512 << 20;

/// Room for what is made at run time, and for the engine's images.
pub fn disk(facts: &Facts) -> Finding {
    const CHECK: &str = "disk";
    let Some(least) = facts.asked.disks.iter().min_by_key(|disk| disk.free) else {
        return Finding::not_tried(CHECK, "no disk says how much is free", "");
    };
    let free = ByteSize(least.free);
    let all: Vec<String> = facts
        .asked
        .disks
        .iter()
        .map(|disk| format!("{} free for {} in {}", ByteSize(disk.free), disk.what, disk.path.display()))
        .collect();
    let remedy = "free some (`cargo xtask gc`, `podman image prune`), or name a folder on a larger disk in XTASK_STATE";
    match least.free {
        ..NO_DISK => Finding::fail(
            CHECK,
            format!("only {free} free for {} in {}", least.what, least.path.display()),
            remedy,
        ),
        NO_DISK..LITTLE_DISK => {
            let found = format!(
                "{free} free for {} in {}; a first checkpoint takes about {}",
                least.what,
                least.path.display(),
                ByteSize(LITTLE_DISK)
            );
            Finding::warn(CHECK, found, remedy)
        }
        _ => Finding::pass(CHECK, all.join(", ")),
    }
}

/// Memory for a build and a JVM.
pub fn memory(facts: &Facts) -> Finding {
    const CHECK: &str = "memory";
    let Some(bytes) = facts.machine.memory else {
        return Finding::not_tried(CHECK, "/proc/meminfo does not say what is available", "");
    };
    let found = format!("{} available", ByteSize(bytes));
    match bytes {
        ..NO_MEMORY => Finding::fail(CHECK, found, "end other programs: a JVM alone takes more"),
        NO_MEMORY..LITTLE_MEMORY => {
            let remedy =
                "end other programs, or set -Xmx in java.options; a machine that only restores needs less";
            Finding::warn(CHECK, format!("{found}: little for a build and a JVM"), remedy)
        }
        _ => Finding::pass(CHECK, found),
    }
}

/// Certificates and Debian's lists are dated: with a clock that is wrong, every download fails.
pub fn clock(facts: &Facts) -> Finding {
    const CHECK: &str = "clock";
    // Ten years on, this is no machine's tool any more.
    const LONG: Duration = Duration::from_secs(10 * 365 * 86_400);
    let (now, built) = (facts.asked.now, facts.asked.built);
    let shown = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string();
    let remedy = "sudo timedatectl set-ntp true";
    match (now.duration_since(built), built + LONG < now) {
        (Err(_), _) => Finding::fail(
            CHECK,
            format!(
                "{} is before this tool was compiled, {}: certificates will not be valid yet",
                shown(now),
                shown(built)
            ),
            remedy,
        ),
        (Ok(_), true) => Finding::warn(
            CHECK,
            format!("{} is years after this tool was compiled, {}", shown(now), shown(built)),
            remedy,
        ),
        (Ok(_), false) if facts.asked.synchronised == Some(false) => {
            Finding::warn(CHECK, format!("{}, and nothing sets it (NTP)", shown(now)), remedy)
        }
        (Ok(_), false) => Finding::pass(CHECK, shown(now)),
    }
}

/// What every look at the time costs: a JVM looks often, and the figures of `bench` are differences of two looks.
pub fn clock_source(facts: &Facts) -> Finding {
    const CHECK: &str = "clock source";
    // Those that the kernel can read without leaving the process (vDSO).
    const FAST: [&str; 5] =
        ["tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "hyperv_clocksource"];
    match facts.machine.clock_source.as_deref() {
        Some(name) if FAST.contains(&name) => Finding::pass(CHECK, name),
        Some(name) => Finding::warn(
            CHECK,
            format!(
                "{name}: each look at the time is a system call, so applications and `bench` are slower than they need be"
            ),
            "see what /sys/devices/system/clocksource/clocksource0/available_clocksource offers; tsc is fastest",
        ),
        None => Finding::not_tried(CHECK, "the kernel does not say", ""),
    }
}

/// They are handed to the build image, for git, Maven and Go.
pub fn certificates(facts: &Facts) -> Finding {
    const CHECK: &str = "CA certificates";
    let remedy = "sudo apt-get install ca-certificates, or name a file in SSL_CERT_FILE";
    let named = facts.asked.certificate_file.as_ref();
    match (&facts.machine.certificates, named) {
        (found, Some(named)) if found.as_ref().is_none_or(|(path, _)| path != named) => Finding::fail(
            CHECK,
            format!("SSL_CERT_FILE names {}, which is no file", named.display()),
            "name the file, or unset SSL_CERT_FILE",
        ),
        (Some((path, count @ 1..)), _) => Finding::pass(CHECK, format!("{count} in {}", path.display())),
        (Some((path, 0)), _) => Finding::fail(
            CHECK,
            format!("{} holds none: every download by TLS fails", path.display()),
            remedy,
        ),
        (None, _) => Finding::fail(CHECK, "none found: every download by TLS fails", remedy),
    }
}

/// Memory is given out 64 KiB at a time: a sixteenth of the page faults by which CRIU fills a process. Measured where it
/// does (shared facts: 95-115 ms without, 69-84 ms with); memory that is mapped, as by default, is not filled, and there
/// it made no difference (docs/performance.md). So this never is a warning.
pub fn folios(facts: &Facts) -> Finding {
    const CHECK: &str = "64 KiB folios";
    const FILE: &str = "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled";
    const USE: &str = "with checkpoint.memory = \"read\" they take a third off a restore";
    let chosen = |text: &Option<String>| {
        let text = text.as_deref()?;
        Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
    };
    let own = chosen(&facts.machine.folios);
    let effective = match own.as_deref() {
        Some("inherit") => chosen(&facts.machine.huge_pages),
        _ => own.clone(),
    };
    match (own, effective.as_deref()) {
        (_, Some("always")) => Finding::pass(CHECK, "always"),
        (None, _) => Finding::pass(CHECK, format!("none in this kernel; {USE} (Linux 6.8 has them)")),
        (Some(own), _) => Finding::pass(CHECK, format!("{own}; {USE} (echo always | sudo tee {FILE})")),
    }
}
