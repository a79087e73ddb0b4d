//! How long a machine has been up. The timers of a JVM go by it, so a restored one waits where a machine is younger than
//! that of the dump was (docs/guide/safety.md, Clocks).

use std::io::Read;
use std::path::Path;

use crate::lock::Lock;
use crate::store::Store;

/// Where a dump of CRIU's notes it, in seconds (templates/scripts/dump-criu.sh.j2).
pub const NOTED: &str = "/checkpoint-data/uptime";

/// How long the machine below `root` has been up, in seconds. None where /proc does not say.
pub fn here(root: &Path) -> Option<u64> {
    seconds(&std::fs::read_to_string(root.join("proc/uptime")).ok()?)
}

/// How long the dump's machine had been up, in seconds. None where it was not noted, or the store does not have it.
pub fn of_dump(store: &Store, lock: &Lock) -> Option<u64> {
    let noted = lock.data.files.iter().find(|file| file.path == NOTED)?.sha256?;
    let mut text = String::new();
    store.open_object(&noted).ok()?.take(64).read_to_string(&mut text).ok()?;
    seconds(&text)
}

fn seconds(text: &str) -> Option<u64> {
    text.split(['.', ' ', '\n']).next()?.parse().ok()
}

/// What is the matter with timers on a machine that has been up for `here` seconds.
pub fn behind(dumped: u64, here: u64) -> Option<String> {
    let missing = dumped.checked_sub(here).filter(|missing| *missing > 0)?;
    let text = |seconds| humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string();
    Some(format!(
        "timers of the application stand still for {}: this machine has been up for {}, that of the dump had for {}",
        text(missing),
        text(here),
        text(dumped)
    ))
}

/// What helps.
pub const REMEDY: &str =
    "restore it on a machine that has been up for longer, or dump on one that was just started";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_younger_machine_is_behind() {
        let check = |dumped, here, expected: Option<&str>| match (behind(dumped, here), expected) {
            (Some(found), Some(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => assert_eq!(found.as_deref(), expected, "{dumped} {here}"),
        };
        check(100, 100, None);
        check(100, 86_400, None);
        check(
            90_000,
            3_600,
            Some("stand still for 1day: this machine has been up for 1h, that of the dump had for 1day 1h"),
        );
        check(u64::MAX, 0, Some("stand still for"));
    }

    #[test]
    fn seconds_are_read_as_the_kernel_and_the_dump_write_them() {
        let check = |text, expected| assert_eq!(seconds(text), expected, "{text}");
        check("65432.10 120000.00\n", Some(65_432));
        check("65432\n", Some(65_432));
        check("", None);
        check("-1", None);
    }
}
