//! What programs and system calls say of a machine. Each program has ten seconds, CRIU's own check a minute; none of
//! them changes anything or goes into the network.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::Result;

use crate::engine::Engine;
use crate::host;
use crate::privileges::{Capability, Seccomp};
use crate::process::{self, Limit};
use crate::rock::Role;
use crate::runtime::{ContainerSpec, Kind, Runtime};
use crate::session::Session;

/// What programs and system calls say.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The user's name.
    pub user: String,
    /// The container engine, or why there is none.
    pub engine: Result<EngineFacts, String>,
    /// Whether the clock is set by others, as far as systemd says.
    pub synchronised: Option<bool>,
    /// What forwards ports to the containers of an engine without root; or what it lacks, and the remedy.
    pub forwards: Result<&'static str, (String, &'static str)>,
    /// The version of rockcraft.
    pub rockcraft: Answer,
    /// Debian packages that the native packer needs and that are not here.
    pub missing: Vec<&'static str>,
    /// Where this tool and the engine write.
    pub disks: Vec<Disk>,
    /// The time.
    pub now: SystemTime,
    /// When this program was compiled.
    pub built: SystemTime,
    /// SSL_CERT_FILE.
    pub certificate_file: Option<PathBuf>,
    /// What CRIU says.
    pub criu: Criu,
}

/// A container engine that answers.
#[derive(Debug, Clone)]
pub struct EngineFacts {
    /// Which.
    pub kind: Kind,
    /// Its version.
    pub version: String,
    /// The machine its containers are on, if that is another.
    pub remote: Option<String>,
    /// Whether it has no root.
    pub rootless: bool,
    /// podman's runtime (`runc`, `crun`) and the version of cgroups (`v1`, `v2`).
    pub runtime: Option<(String, String)>,
    /// Where it has its images.
    pub storage: Option<PathBuf>,
    /// How podman keeps them (`overlay`, `vfs`).
    pub driver: Option<String>,
}

/// A program's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is not installed.
    Absent,
    /// This.
    Said(String),
    /// It is installed and does not answer.
    Failed(String),
}

/// Free space.
#[derive(Debug, Clone)]
pub struct Disk {
    /// Whose.
    pub what: &'static str,
    /// The folder.
    pub path: PathBuf,
    /// Bytes that an ordinary user can still write.
    pub free: u64,
}

/// CRIU's own check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Criu {
    /// It was not run.
    NotTried {
        /// Why.
        why: String,
        /// How it can be.
        remedy: String,
    },
    /// It is content.
    Passed {
        /// Where it ran.
        image: String,
    },
    /// The engine could not start its container.
    NoStart {
        /// Of which image.
        image: String,
        /// The engine's reason.
        why: String,
    },
    /// It is not.
    Failed {
        /// Where it ran.
        image: String,
        /// What it said.
        said: String,
    },
}

/// An image that may hold a CRIU to ask.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its name in the engine.
    pub image: String,
    /// What its containers are given.
    pub capabilities: &'static [Capability],
}

impl Asked {
    /// Asks everybody. `candidates` are images of rocks with the engine `criu`, best first.
    pub fn ask(session: &Session, candidates: &[Candidate]) -> Asked {
        let engine = engine(session.runtime).map_err(|error| format!("{error:#}"));
        let state = Disk::of("target/xtask", &session.workspace.state());
        let storage = engine.as_ref().ok().and_then(|engine| Disk::of("images", engine.storage.as_ref()?));
        Asked {
            user: user(),
            synchronised: synchronised(),
            forwards: forwards(),
            rockcraft: rockcraft(),
            missing: ["mmdebstrap", "git"].into_iter().filter(|name| host::find(name).is_none()).collect(),
            disks: state.into_iter().chain(storage).collect(),
            now: SystemTime::now(),
            built: built(),
            certificate_file: certificate_file(),
            criu: criu(&engine, candidates),
            engine,
        }
    }

    /// Which engine answers.
    pub fn kind(&self) -> Option<Kind> {
        self.engine.as_ref().ok().map(|engine| engine.kind)
    }

    /// podman's storage driver.
    pub fn driver(&self) -> Option<&str> {
        self.engine.as_ref().ok()?.driver.as_deref()
    }

    /// Whether containers are started without root.
    pub fn is_rootless(&self) -> bool {
        self.engine.as_ref().is_ok_and(|engine| engine.rootless)
    }
}

/// What systemd says of the clock, where there is systemd.
fn synchronised() -> Option<bool> {
    let words = ["show", "--property=NTPSynchronized", "--value"];
    match process::read(command("timedatectl", &words), &limit()).ok()?.as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// The programs that podman knows for that, and the device that they work with.
fn forwards() -> Result<&'static str, (String, &'static str)> {
    let Some(program) = ["slirp4netns", "pasta"].into_iter().find(|name| host::find(name).is_some()) else {
        return Err((
            "neither slirp4netns nor pasta is installed".into(),
            "sudo apt-get install slirp4netns",
        ));
    };
    match fs_err::OpenOptions::new().read(true).write(true).open("/dev/net/tun") {
        Ok(_) => Ok(program),
        Err(error) => Err((error.to_string(), "sudo chmod 666 /dev/net/tun")),
    }
}

/// SSL_CERT_FILE.
pub fn certificate_file() -> Option<PathBuf> {
    std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The user's name, as /etc/subuid has it.
pub fn user() -> String {
    let ran = process::read(command("id", &["-un"]), &limit());
    ran.unwrap_or_else(|_| rustix::process::geteuid().as_raw().to_string())
}

fn limit() -> Limit {
    Limit::new("the tool's own limit for a question of doctor", Duration::from_secs(10))
}

fn command(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words);
    command
}

/// The engine that commands would take. It is asked with a short limit before it is connected to with the usual one.
fn engine(choice: Option<Kind>) -> Result<EngineFacts> {
    let answers = |kind: Kind| match kind {
        Kind::Podman => ask(kind, &["version", "--format", "{{.Client.Version}}"]),
        Kind::Docker => ask(kind, &["version", "--format", "{{.Server.Version}}"]),
    };
    let (kind, version) = match choice {
        Some(kind) => (kind, answers(kind)?),
        None => match answers(Kind::Podman) {
            Ok(version) => (Kind::Podman, version),
            Err(podman) => match answers(Kind::Docker) {
                Ok(version) => (Kind::Docker, version),
                Err(docker) => anyhow::bail!("none answers: {podman:#}; {docker:#}"),
            },
        },
    };
    let runtime = Runtime::connect(Some(kind))?;
    let format = match kind {
        Kind::Podman => {
            "{{.Host.Security.Rootless}}\t{{.Store.GraphRoot}}\t{{.Host.OCIRuntime.Name}}\t{{.Host.CgroupsVersion}}\t{{.Store.GraphDriverName}}"
        }
        Kind::Docker => "{{.SecurityOptions}}\t{{.DockerRootDir}}",
    };
    // What it does not tell is told by nobody.
    let info = ask(kind, &["info", "--format", format]).unwrap_or_default();
    let mut fields = info.split('\t').map(str::to_owned);
    // Docker lists it among others: `[name=seccomp,profile=builtin name=rootless]`.
    let rootless = fields.next().is_some_and(|field| field == "true" || field.contains("name=rootless"));
    let storage = fields.next().filter(|path| !path.is_empty() && !runtime.is_remote()).map(PathBuf::from);
    let runs = fields.next().zip(fields.next());
    let driver = fields.next();
    let remote = runtime.is_remote().then(|| runtime.host().to_owned());
    Ok(EngineFacts { kind, version, remote, rootless, runtime: runs, storage, driver })
}

fn ask(kind: Kind, words: &[&str]) -> Result<String> {
    let program = kind.to_string();
    anyhow::ensure!(host::find(&program).is_some(), "{program} is not installed");
    process::read(command(&program, words), &limit())
}

fn rockcraft() -> Answer {
    if host::find("rockcraft").is_none() {
        return Answer::Absent;
    }
    match process::read(command("rockcraft", &["--version"]), &limit()) {
        // `rockcraft 1.20.0`
        Ok(line) => Answer::Said(line.split_whitespace().last().unwrap_or_default().to_owned()),
        Err(error) => Answer::Failed(format!("{error:#}")),
    }
}

fn built() -> SystemTime {
    let program = std::env::current_exe().and_then(std::fs::metadata);
    program.and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

impl Disk {
    /// The disk of a folder, or of the nearest one above it that is there.
    fn of(what: &'static str, folder: &Path) -> Option<Disk> {
        let there = folder.ancestors().find(|path| path.exists())?;
        let disk = rustix::fs::statvfs(there).ok()?;
        Some(Disk { what, path: folder.to_owned(), free: disk.f_bavail.saturating_mul(disk.f_frsize) })
    }
}

/// Runs `criu check` in the first image that the engine has.
fn criu(engine: &Result<EngineFacts, String>, candidates: &[Candidate]) -> Criu {
    let not_tried =
        |why: &str, remedy: &str| Criu::NotTried { why: why.to_owned(), remedy: remedy.to_owned() };
    let Ok(engine) = engine else { return not_tried("it runs in a container, and there is no engine", "") };
    let Ok(runtime) = Runtime::connect(Some(engine.kind)) else {
        return not_tried("the engine has stopped answering", "");
    };
    let Some(candidate) = candidates.iter().find(|one| runtime.has_image(&one.image).unwrap_or(false)) else {
        let names: Vec<&str> = candidates.iter().map(|one| one.image.as_str()).collect();
        return match names[..] {
            [] => not_tried("no application here has a rock with the engine `criu`", ""),
            [first, ..] => not_tried(
                &format!("{} has no image of a rock yet, such as {first}", engine.kind),
                "run doctor again after `checkpoint` or `restore`",
            ),
        };
    };
    check(&runtime, candidate)
}

fn check(runtime: &Runtime, candidate: &Candidate) -> Criu {
    let image = candidate.image.clone();
    let mut spec = ContainerSpec::new("doctor", &image);
    spec.capabilities = candidate.capabilities.to_vec();
    // With the engine's own filter Docker has no clone3, which is not what is asked here.
    spec.seccomp = Seccomp::Unconfined;
    spec.entrypoint = Some("/bin/sh".into());
    spec.words = ["-c", CHECK].map(String::from).to_vec();
    let limit = Limit::new("the tool's own limit for CRIU's check", Duration::from_secs(60));
    let mut lines = Vec::new();
    let ran = runtime.run(&spec, &limit, |line| lines.push(crate::progress::printable(line)));
    match (verdict(&lines), ran) {
        (None, _) => Criu::Passed { image },
        // CRIU has not said a word. The first line is the reason, what follows is the engine's own.
        (Some(_), Err(error)) if lines.is_empty() => {
            Criu::NoStart { image, why: error.to_string().lines().next().unwrap_or_default().to_owned() }
        }
        (Some(said), _) => Criu::Failed { image, said },
    }
}

/// The first asks for all that is needed, among it a writable ns_last_pid, which no container has without SYS_ADMIN. The
/// second asks for what takes its place.
const CHECK: &str = "criu check --unprivileged; criu check --unprivileged --feature clone3_set_tid";

/// What is wrong, by what [`CHECK`] printed.
fn verdict(lines: &[String]) -> Option<String> {
    let mut wrong: Vec<&str> = lines
        .iter()
        .filter(|line| line.starts_with("Error") && !line.contains("ns_last_pid"))
        .map(String::as_str)
        .collect();
    if !lines.iter().any(|line| line == "clone3_set_tid is supported") {
        wrong.push("a process cannot be given its old PID (clone3_set_tid)");
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

/// Images of an application's rocks that may be asked, the checkpoint rock first.
pub fn candidates(app: &crate::app::App, image: impl Fn(Role) -> String) -> Vec<Candidate> {
    let candidate =
        |role| Candidate { image: image(role), capabilities: Engine::Criu.capabilities(app, role) };
    [Role::Checkpoint, Role::Restore].map(candidate).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_criu_says() {
        let check = |text: &str, expected: Option<&str>| {
            let lines: Vec<String> = text.lines().map(String::from).collect();
            assert_eq!(verdict(&lines).as_deref(), expected, "{text}");
        };
        // Seen with CRIU 4.2.1 in a container without SYS_ADMIN.
        let seen = "Warn  (criu/kerndat.c:1200): $XDG_RUNTIME_DIR not set. Cannot find location for kerndat file\n\
            Error (criu/cr-check.c:160): sys/kernel/ns_last_pid sysctl is inaccessible: Read-only file system\n\
            Warn  (criu/cr-check.c:1674): Does not look good.\n";
        let no_pid = "a process cannot be given its old PID (clone3_set_tid)";
        check(&format!("{seen}clone3_set_tid is supported"), None);
        check("Looks good.\nclone3_set_tid is supported", None);
        check(seen, Some(no_pid));
        let other = "Error (criu/cr-check.c:9): no sock diag";
        check(&format!("{other}\nclone3_set_tid is supported"), Some(other));
        check("", Some(no_pid));
    }
}
