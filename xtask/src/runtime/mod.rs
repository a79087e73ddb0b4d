//! The container engine, driven by its command line. Every call has a limit; every container this tool starts
//! is removed with its value, and those of a killed run are swept by the next.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail};

use crate::digest::Digest;
use crate::process::{self, Limit, Ran};

mod arguments;

pub use arguments::{ContainerSpec, Mount, Publish};

/// Label of every container of ours: `PID-STARTTIME` of the run that removes it, or `detached`.
pub const OWNER: &str = "dev.xtask.owner";

/// A container engine that answers.
#[derive(Debug, Clone)]
pub struct Runtime {
    program: PathBuf,
}

/// Loading copies hundreds of megabytes, but no more.
fn load_limit() -> Limit {
    Limit::new("the tool's own limit for loading an image", Duration::from_secs(600))
}

impl Runtime {
    /// podman, if it is installed and answers.
    pub fn connect() -> Result<Runtime> {
        let program = PathBuf::from("podman");
        let mut command = Command::new(&program);
        command.args(["version", "--format", "{{.Client.Version}}"]);
        process::read(command, &Limit::quick())
            .context("podman does not answer; `podman info` says why (add `--install` to install it)")?;
        Ok(Runtime { program })
    }

    fn command<I, S>(&self, arguments: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut command = Command::new(&self.program);
        command.args(arguments);
        command
    }

    /// Whether an image with this ID (the digest of its config) is there.
    pub fn has_image(&self, id: &str) -> Result<bool> {
        Ok(process::run(self.command(["image", "exists", id]), &Limit::quick())?.status.success())
    }

    /// Loads an image from an OCI layout and gives it its name. The engine reads the layout's blobs themselves,
    /// so that the data is copied once. An image it has already is not read again.
    pub fn load(&self, layout: &Path, config: &Digest, name: &str) -> Result<()> {
        let id = config.hex();
        let previous = self.image_id(name)?;
        if !self.has_image(&id)? {
            // podman names what it reads from a layout after the path it is given, which must then be lowercase
            // and no path of this machine: a link beside it, named by its content.
            let folder = layout.parent().context("a layout lies in a folder")?;
            let link = format!("xtask-{id}");
            std::os::unix::fs::symlink(layout, folder.join(&link))?;
            let mut command = self.command(["pull", "--quiet", &format!("oci:{link}")]);
            command.current_dir(folder);
            process::read(command, &load_limit()).with_context(|| format!("podman cannot load {name}"))?;
        }
        process::read(self.command(["tag", &id, name]), &Limit::quick())?;
        for tag in self.tags(&id)?.iter().filter(|tag| tag.contains("/xtask-") && tag.contains(&id)) {
            process::clean_up(self.command(["untag", &id, tag]));
        }
        match previous {
            // In use by somebody's container: it stays, without a name.
            Some(previous) if previous != id => process::clean_up(self.command(["rmi", &previous])),
            _ => {}
        }
        Ok(())
    }

    fn image_id(&self, name: &str) -> Result<Option<String>> {
        let ran =
            process::run(self.command(["image", "inspect", "--format", "{{.Id}}", name]), &Limit::quick())?;
        Ok(ran.status.success().then(|| ran.stdout.trim().to_owned()))
    }

    fn tags(&self, id: &str) -> Result<Vec<String>> {
        let json = process::read(
            self.command(["image", "inspect", "--format", "{{json .RepoTags}}", id]),
            &Limit::quick(),
        )?;
        Ok(serde_json::from_str::<Option<Vec<String>>>(&json)?.unwrap_or_default())
    }

    /// Takes a name from an image; the image goes with its last name.
    pub fn forget(&self, name: &str) {
        process::clean_up(self.command(["rmi", name]));
    }

    /// Starts a container; its value removes it.
    pub fn start(&self, spec: &ContainerSpec) -> Result<Container<'_>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let this = owner(std::process::id())?;
        let name = format!("xtask-{}-{this}-{number}", spec.title);
        // Made first, so that the container is removed even where the engine fails after creating it.
        let container = Container { runtime: self, name: name.clone(), remove: true };
        let owner = if spec.detached { "detached".to_owned() } else { this };
        let arguments = spec.arguments(&name, &owner);
        let limit = Limit::new("the tool's own limit for starting a container", Duration::from_secs(120));
        process::read(self.command(arguments), &limit).map_err(|error| explain_start(error, spec))?;
        Ok(container)
    }

    /// Runs a one-shot container to its end, handing over its output line by line.
    pub fn run(&self, spec: &ContainerSpec, limit: &Limit, mut on_line: impl FnMut(&str)) -> Result<()> {
        let container = self.start(spec)?;
        let mut last = std::collections::VecDeque::new();
        process::stream(self.command(["logs", "--follow", &container.name]), limit, |line| {
            on_line(line);
            last.push_back(line.to_owned());
            if last.len() > 15 {
                last.pop_front();
            }
        })?;
        let wait = Limit::new("the tool's own limit for the end of a container", Duration::from_secs(30));
        let code = process::read(self.command(["wait", &container.name]), &wait)?;
        if code.trim() != "0" {
            let last: Vec<String> = last.into_iter().collect();
            bail!(
                "{} ended with exit code {}; its last lines:\n  {}",
                spec.title,
                code.trim(),
                last.join("\n  ")
            );
        }
        Ok(())
    }

    /// Removes what runs that were killed left behind.
    pub fn sweep(&self) -> Result<()> {
        let filter = format!("label={OWNER}");
        let format = format!("{{{{.ID}}}} {{{{index .Labels \"{OWNER}\"}}}}");
        let arguments = ["ps", "--all", "--filter", &filter, "--format", &format];
        for line in process::read(self.command(arguments), &Limit::quick())?.lines() {
            let Some((id, label)) = line.split_once(' ') else { continue };
            let Some((pid, _)) = label.split_once('-') else { continue };
            let alive = pid.parse().is_ok_and(|pid| owner(pid).is_ok_and(|owner| owner == label));
            if !alive {
                process::clean_up(self.command(["rm", "--force", "--time", "1", id]));
            }
        }
        Ok(())
    }
}

/// `PID-STARTTIME`: a PID alone may have been given to another process since.
fn owner(pid: u32) -> Result<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the command in parentheses and may hold blanks.
    let after = stat.rsplit_once(')').context("/proc/PID/stat has a command")?.1;
    let start = after.split_whitespace().nth(19).context("/proc/PID/stat has a start time")?;
    Ok(format!("{pid}-{start}"))
}

fn explain_start(error: anyhow::Error, spec: &ContainerSpec) -> anyhow::Error {
    let text = format!("{error:#}");
    let ports: Vec<String> = spec.publish.iter().map(|publish| publish.to_string()).collect();
    if text.contains("address already in use") || text.contains("port is already allocated") {
        return anyhow!(
            "port {} of this machine is in use; choose another with `--publish PORT:{}`\n{text}",
            ports.join(", "),
            spec.publish.first().map_or(0, |publish| publish.container),
        );
    }
    if text.contains("rlimit") {
        return anyhow!(
            "podman may not raise resource limits here; set `default_ulimits` in containers.conf (README, \"Machines with limits\")\n{text}"
        );
    }
    error.context(format!("podman cannot start {}", spec.title))
}

/// A container of ours.
#[derive(Debug)]
pub struct Container<'a> {
    runtime: &'a Runtime,
    /// Its name.
    pub name: String,
    remove: bool,
}

impl Container<'_> {
    /// When the engine started its first process.
    pub fn started_at(&self) -> Result<SystemTime> {
        let json = self.inspect("{{json .State.StartedAt}}")?;
        let text: String = serde_json::from_str(&json)?;
        // humantime takes only UTC's `Z`; podman writes the machine's own offset.
        parse_time(&text).with_context(|| format!("podman's start time {text:?}"))
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
        process::follow(self.runtime.command(["logs", "--follow", &self.name]), enough, on_line).map(drop)
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
        process::clean_up(self.runtime.command(["stop", "--time", &seconds, &self.name]));
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
            let arguments = ["rm", "--force", "--ignore", "--time", "1", "--volumes", &self.name];
            process::clean_up(self.runtime.command(arguments));
        }
    }
}

/// A port of the loopback address that nobody uses right now.
pub fn free_port() -> Result<u16> {
    let listener =
        std::net::TcpListener::bind(("127.0.0.1", 0)).context("no free port on the loopback address")?;
    Ok(listener.local_addr()?.port())
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
    use super::*;

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

    #[test]
    fn an_owner_is_a_process_and_its_start() {
        let mine = owner(std::process::id()).unwrap();
        assert!(mine.starts_with(&format!("{}-", std::process::id())));
        assert!(owner(u32::MAX).is_err());
    }
}
