//! The container engine, podman or Docker, driven by its command line. Every call has a limit; every container this
//! tool starts is removed with its value, and those of a killed run are swept by the next.

use std::fmt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::process::{self, Limit};

mod arguments;
mod container;
mod copy;
mod image;
mod port;

pub use arguments::{ContainerSpec, Mount, Publish};
pub use container::Container;
pub use port::free_port;

/// Label of every container of ours: `PID-STARTTIME` of the run that removes it, or `detached`.
pub const OWNER: &str = "dev.xtask.owner";

/// The first Docker Engine whose `--cap-add` knows CHECKPOINT_RESTORE (its release notes, 23.0).
const FIRST_DOCKER: u32 = 23;

/// Which container engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// podman.
    Podman,
    /// Docker Engine 23 or later.
    Docker,
}

impl fmt::Display for Kind {
    /// The name of its program.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Podman => "podman",
            Kind::Docker => "docker",
        })
    }
}

/// A container engine that answers.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Which one.
    pub kind: Kind,
    /// Where a port that it publishes is reached: this machine, or that of a remote Docker.
    host: String,
}

/// A container that this machine reaches by a port.
#[derive(Debug)]
pub struct Published<'a> {
    /// It.
    pub container: Container<'a>,
    /// Where a client of this machine finds it.
    pub host: String,
    /// At which port.
    pub port: u16,
    /// When the engine was asked for it.
    pub asked: SystemTime,
}

impl Runtime {
    /// The engine that is asked for; without a choice podman, or Docker where podman does not answer.
    ///
    /// # Errors
    /// Where none answers, or Docker is too old.
    pub fn connect(choice: Option<Kind>) -> Result<Runtime> {
        match choice {
            Some(Kind::Podman) => Runtime::podman(),
            Some(Kind::Docker) => Runtime::docker(),
            None => Runtime::podman().or_else(|podman| {
                Runtime::docker()
                    .map_err(|docker| anyhow!("no container engine answers: {podman:#}; {docker:#}"))
            }),
        }
    }

    fn podman() -> Result<Runtime> {
        let runtime = Runtime { kind: Kind::Podman, host: "127.0.0.1".into() };
        process::read(runtime.command(["version", "--format", "{{.Client.Version}}"]), &Limit::quick())
            .context("podman does not answer; `podman info` says why, where it is installed")?;
        Ok(runtime)
    }

    fn docker() -> Result<Runtime> {
        let mut runtime = Runtime { kind: Kind::Docker, host: "127.0.0.1".into() };
        let version =
            process::read(runtime.command(["version", "--format", "{{.Server.Version}}"]), &Limit::quick())
                .context("Docker does not answer; `docker info` says why")?;
        new_enough(&version)?;
        // DOCKER_HOST goes before the context, as in Docker itself.
        let endpoint = match std::env::var("DOCKER_HOST") {
            Ok(host) if !host.is_empty() => host,
            _ => {
                let arguments = ["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"];
                process::read(runtime.command(arguments), &Limit::quick())?
            }
        };
        if let Some(host) = remote_host(&endpoint) {
            runtime.host = host;
        }
        Ok(runtime)
    }

    fn command<I, S>(&self, arguments: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut command = Command::new(self.kind.to_string());
        command.args(arguments);
        command
    }

    /// The host at which a client of this machine finds a published port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the engine's containers run on another machine.
    pub fn is_remote(&self) -> bool {
        self.host != "127.0.0.1"
    }

    /// Starts a container; its value removes it.
    pub fn start(&self, spec: &ContainerSpec) -> Result<Container<'_>> {
        if self.kind == Kind::Docker && !spec.mounts.is_empty() {
            return self.start_with_copies(spec);
        }
        let container = self.named(spec)?;
        let arguments = spec.arguments(self.kind, &["run", "--detach"], &container.name, &owned(spec)?);
        process::read(self.command(arguments), &start_limit()).map_err(|error| self.explain(error, spec))?;
        Ok(container)
    }

    /// As [`Runtime::start`], with a port of this machine: without a wish a free one, on the loopback address unless the
    /// engine is on another machine.
    pub fn start_published(&self, spec: &ContainerSpec, publish: &Publish) -> Result<Published<'_>> {
        port::on_port(publish.host, |port| {
            let mut here = Publish { host: Some(port), ..publish.clone() };
            if publish.host.is_none() && self.is_remote() {
                here.address = "0.0.0.0".into();
            }
            let host = if self.is_remote() { &self.host } else { here.reachable() }.to_owned();
            let spec = ContainerSpec { publish: vec![here], ..spec.clone() };
            let asked = SystemTime::now();
            Ok(Published { container: self.start(&spec)?, host, port, asked })
        })
    }

    /// A container that is removed even where the engine fails after creating it.
    fn named(&self, spec: &ContainerSpec) -> Result<Container<'_>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("xtask-{}-{}-{number}", spec.title, owner(std::process::id())?);
        Ok(Container { runtime: self, name, remove: true })
    }

    /// Runs a one-shot container to its end, handing over its output line by line.
    pub fn run(&self, spec: &ContainerSpec, limit: &Limit, mut on_line: impl FnMut(&str)) -> Result<()> {
        let container = match self.kind {
            Kind::Podman => self.start(spec)?,
            // Docker's daemon may be on another machine or see another /tmp: nothing is mounted, files are sent.
            Kind::Docker => self.start_with_copies(spec)?,
        };
        let mut last = process::Tail::default();
        process::stream(self.command(["logs", "--follow", &container.name]), limit, |line| {
            on_line(line);
            last.push(line);
        })?;
        let wait = Limit::new("the tool's own limit for the end of a container", Duration::from_secs(30));
        let code = process::read(self.command(["wait", &container.name]), &wait)?;
        if code.trim() != "0" {
            bail!(
                "{} ended with exit code {}; its last lines:\n  {}",
                spec.title,
                code.trim(),
                last.lines().join("\n  ")
            );
        }
        match self.kind {
            Kind::Podman => Ok(()),
            Kind::Docker => self.fetch_copies(spec, &container.name),
        }
    }

    /// Removes what runs that were killed left behind.
    pub fn sweep(&self) -> Result<()> {
        let filter = format!("label={OWNER}");
        let format = match self.kind {
            Kind::Podman => format!("{{{{.ID}}}} {{{{index .Labels \"{OWNER}\"}}}}"),
            Kind::Docker => format!("{{{{.ID}}}} {{{{.Label \"{OWNER}\"}}}}"),
        };
        let arguments = ["ps", "--all", "--filter", &filter, "--format", &format];
        for line in process::read(self.command(arguments), &Limit::quick())?.lines() {
            let Some((id, label)) = line.split_once(' ') else { continue };
            let Some((pid, _)) = label.split_once('-') else { continue };
            let alive = pid.parse().is_ok_and(|pid| owner(pid).is_ok_and(|owner| owner == label));
            if !alive {
                drop(Container { runtime: self, name: id.to_owned(), remove: true });
            }
        }
        Ok(())
    }

    /// The containers that run an image of this repository, whoever made them; they stay as they are.
    pub fn running(&self, repository: &str) -> Result<Vec<Container<'_>>> {
        let arguments = ["ps", "--format", "{{.Names}} {{.Image}}"];
        let all = process::read(self.command(arguments), &Limit::quick())?;
        let ours = all.lines().filter_map(|line| {
            let (name, image) = line.split_once(' ')?;
            let (found, _tag) = image.rsplit_once(':')?;
            (found == repository).then(|| Container { runtime: self, name: name.to_owned(), remove: false })
        });
        Ok(ours.collect())
    }

    /// Names of all containers, whoever made them.
    pub fn container_names(&self) -> Result<Vec<String>> {
        let names = process::read(self.command(["ps", "--all", "--format", "{{.Names}}"]), &Limit::quick())?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    fn explain(&self, error: anyhow::Error, spec: &ContainerSpec) -> anyhow::Error {
        let text = format!("{error:#}");
        let ports: Vec<String> = spec.publish.iter().map(|publish| publish.to_string()).collect();
        if port::in_use(&text) {
            return anyhow!(
                "port {} of this machine is in use; choose another with `--publish PORT:{}`\n{text}",
                ports.join(", "),
                spec.publish.first().map_or(0, |publish| publish.container),
            );
        }
        if text.contains("rlimit") {
            return anyhow!(
                "{} may not raise resource limits here; set `default_ulimits` in containers.conf (docs/guide/first-checkpoint.md, \"Machines with limits\")\n{text}",
                self.kind
            );
        }
        error.context(format!("{} cannot start {}", self.kind, spec.title))
    }
}

fn start_limit() -> Limit {
    Limit::new("the tool's own limit for starting a container", Duration::from_secs(120))
}

/// The value of the label [`OWNER`].
fn owned(spec: &ContainerSpec) -> Result<String> {
    if spec.detached { Ok("detached".to_owned()) } else { owner(std::process::id()) }
}

/// `PID-STARTTIME`: a PID alone may have been given to another process since.
fn owner(pid: u32) -> Result<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the command in parentheses and may hold blanks.
    let after = stat.rsplit_once(')').context("/proc/PID/stat has a command")?.1;
    let start = after.split_whitespace().nth(19).context("/proc/PID/stat has a start time")?;
    Ok(format!("{pid}-{start}"))
}

fn new_enough(version: &str) -> Result<()> {
    let major: Option<u32> = version.split('.').next().and_then(|major| major.parse().ok());
    match major {
        Some(major) if major >= FIRST_DOCKER => Ok(()),
        _ => bail!(
            "this is Docker Engine {version}, which does not know the capability CHECKPOINT_RESTORE; \
             version {FIRST_DOCKER} or later does, and so does podman"
        ),
    }
}

/// The machine of a Docker endpoint that is not this one: `ssh://user@build.example.com`, `tcp://10.0.0.7:2376`.
fn remote_host(endpoint: &str) -> Option<String> {
    let (scheme, rest) = endpoint.split_once("://")?;
    if !["ssh", "tcp", "http", "https"].contains(&scheme) {
        return None;
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host_port.strip_prefix('[') {
        Some(six) => format!("[{}]", six.split(']').next().unwrap_or_default()),
        None => host_port.split(':').next().unwrap_or_default().to_owned(),
    };
    let here = ["", "localhost", "127.0.0.1", "[::1]"].contains(&host.as_str());
    (!here).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_a_process_and_its_start() {
        let mine = owner(std::process::id()).unwrap();
        assert!(mine.starts_with(&format!("{}-", std::process::id())));
        assert!(owner(u32::MAX).is_err());
    }

    #[test]
    fn an_old_docker_is_refused_with_its_version() {
        for good in ["23.0.0", "26.1.5+dfsg1", "28.2.2"] {
            new_enough(good).unwrap();
        }
        for bad in ["20.10.24+dfsg1", "19.03", "", "dev"] {
            let error = new_enough(bad).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("version 23 or later"), "{error}");
        }
    }

    #[test]
    fn a_remote_docker_is_known_by_its_endpoint() {
        let check = |endpoint, expected: Option<&str>| {
            assert_eq!(remote_host(endpoint).as_deref(), expected, "{endpoint}");
        };
        check("unix:///var/run/docker.sock", None);
        check("npipe:////./pipe/docker_engine", None);
        check("tcp://127.0.0.1:2375", None);
        check("tcp://10.0.0.7:2376", Some("10.0.0.7"));
        check("tcp://[fd00::7]:2376", Some("[fd00::7]"));
        check("ssh://me@build.example.com", Some("build.example.com"));
        check("ssh://build.example.com:22/x", Some("build.example.com"));
    }
}
