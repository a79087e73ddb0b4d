//! Which way an instance of the restore rock came up: brought back from the dump, or started cold in its place.

use anyhow::{Result, bail, ensure};

use crate::process::{Limit, Ran};
use crate::progress::printable;
use crate::runtime::Container;

/// Key of the notice that Pebble has where a restore rock started its application cold; its `reason` says why.
pub const COLD_START: &str = "dev.xtask/cold-start";

/// Which way an instance came up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameUp {
    /// It is the dumped process.
    Restored,
    /// It was started the ordinary way, for this reason.
    Cold(String),
}

impl CameUp {
    /// An error unless it is the dumped process: a cold start never counts as a restore.
    pub fn restored(&self, app: &str) -> Result<()> {
        match self {
            CameUp::Restored => Ok(()),
            CameUp::Cold(reason) => bail!("{app} was not restored, it was started cold: {reason}"),
        }
    }
}

/// Asks a container that has answered. Pebble's notice says that it was started cold; that it was not is believed only if
/// the JVM has the PID `pid`, which the dumped one had: a cold one has a far lower one.
pub fn came_up(container: &Container<'_>, pid: u32) -> Result<CameUp> {
    let script = "pebble notice custom \"$1\" && exit 0; cat \"/proc/$0/comm\"; exit 1";
    let words = ["sh", "-c", script, &pid.to_string(), COLD_START];
    read(&container.exec(&words, &Limit::quick())?, pid)
}

fn read(ran: &Ran, pid: u32) -> Result<CameUp> {
    if ran.status.success() {
        return Ok(CameUp::Cold(reason(&ran.stdout)));
    }
    ensure!(
        ran.stderr.contains("cannot find custom notice"),
        "Pebble does not say how it came up: {}",
        printable(ran.stderr.trim())
    );
    ensure!(
        ran.stdout.trim() == "java",
        "no JVM has PID {pid} after the restore: {}",
        printable(ran.stderr.trim())
    );
    Ok(CameUp::Restored)
}

/// The reason in what `pebble notice` prints, which is YAML.
fn reason(notice: &str) -> String {
    let value =
        notice.lines().find_map(|line| line.trim_start().strip_prefix("reason: ")).unwrap_or_default();
    let plain = match value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(quoted) => quoted.replace("''", "'"),
        None => value.trim_matches('"').to_owned(),
    };
    match plain.is_empty() {
        true => "its log says why".to_owned(),
        false => printable(&plain),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_restore_is_believed_only_with_the_dumped_pid() {
        let check = |code: i32, stdout: &str, stderr: &str, expected: Result<CameUp, &str>| {
            let status = std::process::ExitStatus::from_raw(code << 8);
            let ran = Ran { status, stdout: stdout.into(), stderr: stderr.into() };
            match (read(&ran, 1025), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{stdout} {stderr}"),
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
                (found, _) => panic!("{stdout} {stderr}: {found:?}"),
            }
        };
        let unknown = "error: cannot find custom notice with key \"dev.xtask/cold-start\"\n";
        check(1, "java\n", unknown, Ok(CameUp::Restored));
        check(1, "", &format!("{unknown}cat: /proc/1025/comm: No such file"), Err("no JVM has PID 1025"));
        check(1, "sleep\n", unknown, Err("no JVM has PID 1025"));
        check(1, "java\n", "error: cannot communicate with server", Err("does not say how it came up"));
        check(127, "java\n", "sh: 1: pebble: not found", Err("does not say how it came up"));
        let notice =
            |line: &str| format!("id: \"3\"\ntype: custom\nlast-data:\n    {line}\noccurrences: 1\n");
        let cold = |reason: &str| Ok(CameUp::Cold(reason.into()));
        check(0, &notice("reason: /run/shop is full"), "", cold("/run/shop is full"));
        check(0, &notice("reason: 'hangs: it''s (a.c:1): x'"), "", cold("hangs: it's (a.c:1): x"));
        check(0, &notice("reason: \"x: y\\u001b\""), "", cold("x: y\\u001b"));
        check(0, "id: \"3\"\n", "", cold("its log says why"));
        assert!(
            CameUp::Cold("x".into()).restored("shop").unwrap_err().to_string().contains("started cold: x")
        );
    }
}
