//! A running container: its log, its end, programs inside it.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use super::{Kind, Runtime};
use crate::process::{self, Limit, Ran};

/// A container of ours.
#[derive(Debug)]
pub struct Container<'a> {
    pub(super) runtime: &'a Runtime,
    /// Its name.
    pub name: String,
    pub(super) remove: bool,
}

impl Container<'_> {
    /// When the engine started its first process.
    pub fn started_at(&self) -> Result<SystemTime> {
        let json = self.inspect("{{json .State.StartedAt}}")?;
        let text: String = serde_json::from_str(&json)?;
        // humantime takes only UTC's `Z`; podman writes the machine's own offset.
        parse_time(&text).with_context(|| format!("the start time {text:?} of {}", self.name))
    }

    fn inspect(&self, format: &str) -> Result<String> {
        process::read(self.runtime.command(["inspect", "--format", format, &self.name]), &Limit::quick())
    }

    /// The exit code, once it has ended.
    pub fn exit_code(&self) -> Result<Option<i32>> {
        let state = self.inspect("{{.State.Running}} {{.State.ExitCode}}")?;
        match state.split_once(' ') {
            Some(("false", code)) => Ok(Some(code.trim().parse().unwrap_or(-1))),
            _ => Ok(None),
        }
    }

    /// Runs a program inside, whatever its exit code.
    pub fn exec(&self, words: &[&str], limit: &Limit) -> Result<Ran> {
        let arguments = ["exec", &self.name].into_iter().chain(words.iter().copied());
        process::run(self.runtime.command(arguments), limit)
    }

    /// Runs a program inside and lets `consume` read its output as bytes.
    pub fn exec_pipe<T>(
        &self,
        words: &[&str],
        limit: &Limit,
        consume: impl FnOnce(&mut dyn Read) -> Result<T>,
    ) -> Result<T> {
        let arguments = ["exec", &self.name].into_iter().chain(words.iter().copied());
        process::pipe(self.runtime.command(arguments), limit, consume)
    }

    /// Follows the log until the container has ended, or until it is `enough`.
    pub fn follow(&self, enough: &AtomicBool, on_line: impl FnMut(&str)) -> Result<()> {
        let read = |words: &[&str], on_line: &mut dyn FnMut(&str)| {
            let mut command = self.runtime.command(["logs"]);
            command.args(words).arg(&self.name);
            process::follow(command, enough, on_line).map(drop)
        };
        let ended = || !matches!(self.exit_code(), Ok(None));
        follow_on(read, ended, enough, on_line)
    }

    /// An error once it has ended, or is gone.
    pub fn alive(&self) -> Result<()> {
        match self.exit_code() {
            Ok(Some(code)) => bail!("the container ended with exit code {code}"),
            Ok(None) => Ok(()),
            Err(error) => Err(error.context("the container is gone; has the container engine died?")),
        }
    }

    /// What it has said so far.
    pub fn log(&self) -> Result<String> {
        let ran = process::run(self.runtime.command(["logs", &self.name]), &Limit::quick())?;
        Ok(ran.stdout + &ran.stderr)
    }

    /// The last lines of that, at most so many.
    pub fn log_end(&self, lines: usize) -> Result<String> {
        let command = self.runtime.command(["logs", "--tail", &lines.to_string(), &self.name]);
        let ran = process::run(command, &Limit::quick())?;
        Ok(ran.stdout + &ran.stderr)
    }

    /// Lets `consume` read one of its files, also once it has ended.
    pub fn copy<T>(&self, file: &str, consume: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<T> {
        let from = format!("{}:{file}", self.name);
        process::pipe(self.runtime.command(["cp", &from, "-"]), &Limit::quick(), |tar| {
            let mut archive = tar::Archive::new(tar);
            let mut entry = archive.entries()?.next().with_context(|| format!("{file} is not there"))??;
            consume(&mut entry)
        })
    }

    /// The engine's own name for it, which its mounts and control groups bear.
    pub fn id(&self) -> Result<String> {
        self.inspect("{{.Id}}")
    }

    /// The last lines of its log, for an error.
    pub fn tail(&self) -> String {
        let command = self.runtime.command(["logs", "--tail", "25", &self.name]);
        match process::run(command, &Limit::quick()) {
            Ok(ran) => {
                let lines = ran.stdout.lines().chain(ran.stderr.lines()).map(crate::progress::printable);
                let text: String = lines.map(|line| format!("\n  {line}")).collect();
                format!("the last lines of its log:{text}")
            }
            Err(error) => format!("its log cannot be read: {error:#}"),
        }
    }

    /// Ends the application the ordinary way: SIGTERM, then SIGKILL after `grace`.
    pub fn stop(&self, grace: Duration) {
        let seconds = grace.as_secs().max(1).to_string();
        process::clean_up(self.runtime.command(["stop", "-t", &seconds, &self.name]));
    }

    /// Leaves the container running.
    pub fn keep(mut self) -> String {
        self.remove = false;
        std::mem::take(&mut self.name)
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if self.remove {
            // Nobody asks it any more: as Docker does, podman kills it at once.
            let own: &[&str] = match self.runtime.kind {
                Kind::Podman => &["--ignore", "--time", "0"],
                Kind::Docker => &[],
            };
            let arguments = ["rm", "--force", "--volumes"].iter().chain(own).copied();
            process::clean_up(self.runtime.command(arguments.chain([self.name.as_str()])));
        }
    }
}

/// Reads a log, each time from its beginning, until it has `ended`. A `logs --follow` may end long before that: its file was
/// rotated away, or somebody killed it.
fn follow_on(
    read: impl Fn(&[&str], &mut dyn FnMut(&str)) -> Result<()>,
    ended: impl Fn() -> bool,
    enough: &AtomicBool,
    mut on_line: impl FnMut(&str),
) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(500);
    let mut seen = 0;
    let mut pass = |words: &[&str]| {
        let mut number = 0;
        read(words, &mut |line| {
            number += 1;
            if number > seen {
                seen = number;
                on_line(line);
            }
        })
    };
    loop {
        pass(&["--follow"])?;
        if enough.load(Ordering::Relaxed) || ended() {
            // podman 4.3.1 can end with its container before it has read the last lines.
            return pass(&[]);
        }
        std::thread::sleep(PAUSE);
    }
}

/// An RFC 3339 time with any offset.
fn parse_time(text: &str) -> Option<SystemTime> {
    let (date_time, zone) = match text.strip_suffix('Z') {
        Some(date_time) => (date_time, "+00:00"),
        None => text.split_at_checked(text.len().checked_sub(6)?)?,
    };
    let local = humantime::parse_rfc3339(&format!("{date_time}Z")).ok()?;
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let offset = Duration::from_secs(hours.parse::<u64>().ok()? * 3600 + minutes.parse::<u64>().ok()? * 60);
    match zone.as_bytes()[0] {
        b'+' => local.checked_sub(offset),
        b'-' => local.checked_add(offset),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_log_that_breaks_off_is_followed_again_and_no_line_comes_twice() {
        let passes = RefCell::new(Vec::new());
        let all = ["a", "b", "c", "d", "e"];
        let read = |words: &[&str], on_line: &mut dyn FnMut(&str)| {
            passes.borrow_mut().push(words.concat());
            let number = [2, 2, 4, 5][passes.borrow().len() - 1];
            all[..number].iter().for_each(|line| on_line(line));
            Ok(())
        };
        let ended = || passes.borrow().len() == 3;
        let mut lines = Vec::new();
        follow_on(read, ended, &AtomicBool::new(false), |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines, all);
        assert_eq!(passes.into_inner(), ["--follow", "--follow", "--follow", ""]);
    }

    #[test]
    fn reads_times_of_any_zone() {
        let utc = parse_time("2026-11-23T07:46:41.510526051Z").unwrap();
        for same in ["2026-11-23T08:46:41.510526051+01:00", "2026-11-23T02:16:41.510526051-05:30"] {
            assert_eq!(parse_time(same), Some(utc), "{same}");
        }
        for bad in ["", "Z", "yesterday", "2026-11-23T07:46:41é01:00"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }
}
