//! What a command needs of this machine, and how to get it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::app::Source;
use crate::plan::{Plan, Step};
use crate::process::{self, Limit};
use crate::progress::Progress;
use crate::rocks::Job;
use crate::runtime::{Kind, Runtime};
use crate::session::Session;
use crate::way::Packer;

/// A program and the Debian packages that bring it to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    program: &'static str,
    /// Arguments with which it succeeds if all of it is there; none: its being there is enough.
    probe: &'static [&'static str],
    packages: &'static [&'static str],
}

impl Need {
    fn is_met(&self) -> bool {
        let Some(program) = find(self.program) else { return false };
        let mut command = std::process::Command::new(program);
        command.args(self.probe);
        self.probe.is_empty() || process::run(command, &Limit::quick()).is_ok_and(|ran| ran.status.success())
    }
}

/// What a command needs, and why nothing else will do.
#[derive(Debug)]
pub struct Needs {
    programs: Vec<Need>,
    /// What Docker said where it was asked in place of podman.
    docker: Option<anyhow::Error>,
}

impl Needs {
    /// These, and one more.
    pub fn and(mut self, need: Need) -> Needs {
        self.programs.push(need);
        self
    }
}

impl<const N: usize> From<[Need; N]> for Needs {
    fn from(programs: [Need; N]) -> Needs {
        Needs { programs: programs.into(), docker: None }
    }
}

/// Runs containers. Its own package only recommends what a network and a runtime need.
pub const PODMAN: Need = Need {
    program: "podman",
    probe: &[],
    packages: &[
        "podman",
        "runc",
        "containernetworking-plugins",
        "netavark",
        "aardvark-dns",
        "uidmap",
        "ca-certificates",
    ],
};
/// Holds a Pod of podman's together, in tests; podman's own package only recommends it.
pub const CATATONIT: Need = Need { program: "catatonit", probe: &[], packages: &["catatonit"] };
/// Forwards ports to the containers of podman without root, in tests; podman's own package only recommends it.
pub const SLIRP4NETNS: Need = Need { program: "slirp4netns", probe: &[], packages: &["slirp4netns"] };
/// Maps the users of those containers, in tests; podman is on many machines without.
pub const NEWUIDMAP: Need = Need { program: "newuidmap", probe: &[], packages: &["uidmap"] };
/// Runs containers as well; its daemon is its administrator's to start.
pub const DOCKER: Need = Need { program: "docker", probe: &[], packages: &["docker.io"] };
/// Makes root file systems.
pub const MMDEBSTRAP: Need = Need { program: "mmdebstrap", probe: &[], packages: &["mmdebstrap"] };
/// Fetches sources.
pub const GIT: Need = Need { program: "git", probe: &[], packages: &["git"] };
/// Runs rockcraft's libraries, in tests.
pub const PYTHON: Need = Need {
    program: "python3",
    // Debian has it in a package of its own.
    probe: &["-c", "import ensurepip"],
    packages: &["python3", "python3-venv"],
};
/// Sets file capabilities in what the tests' stand-in for rockcraft packs.
pub const SETCAP: Need = Need { program: "setcap", probe: &[], packages: &["libcap2-bin"] };
/// Builds what rockcraft would build with a package of its own, in tests.
pub const JDK: Need = Need { program: "javac", probe: &[], packages: &["default-jdk-headless"] };
/// Checks rendered scripts, in tests.
pub const SHELLCHECK: Need = Need { program: "shellcheck", probe: &[], packages: &["shellcheck"] };
/// Lets a system call fail, or a process die at one, in tests.
pub const STRACE: Need = Need { program: "strace", probe: &[], packages: &["strace"] };
/// Makes and reads signatures, in tests.
pub const MINISIGN: Need = Need { program: "minisign", probe: &[], packages: &["minisign"] };
/// Compiles libFuzzer, in tests.
pub const CXX: Need = Need { program: "c++", probe: &[], packages: &["g++"] };
/// Packs what our packer packs, for comparison.
pub const UMOCI: Need = Need { program: "umoci", probe: &[], packages: &["umoci"] };
/// Makes certificates, in tests.
pub const OPENSSL: Need = Need { program: "openssl", probe: &[], packages: &["openssl"] };
/// The registry that tests push to and pull from.
pub const REGISTRY: Need = Need { program: "docker-registry", probe: &[], packages: &["docker-registry"] };

/// What the steps of a plan need.
pub fn for_checkpoint(job: &Job<'_>, plan: &Plan) -> Needs {
    let mut needs = for_restore(job.session);
    let native = job.way.packer == Packer::Native;
    // rockcraft is a snap, and says itself what it needs.
    if native || plan.has(Step::Toolchain) {
        needs = needs.and(MMDEBSTRAP);
    }
    if native && matches!(job.source, Source::Git { .. }) {
        needs = needs.and(GIT);
    }
    needs
}

/// The container engine: podman, unless Docker is asked for, or answers where podman is not installed. Many machines have
/// its program alone, whose daemon is elsewhere or nowhere.
pub fn for_restore(session: &Session) -> Needs {
    let docker = match session.runtime {
        Some(Kind::Docker) => return [DOCKER].into(),
        None if !PODMAN.is_met() && DOCKER.is_met() => match Runtime::connect(Some(Kind::Docker)) {
            Ok(_) => return [DOCKER].into(),
            Err(why) => Some(why),
        },
        _ => None,
    };
    Needs { programs: vec![PODMAN], docker }
}

/// Makes sure that every program is there: installs what is missing if `install`, else says how to.
pub fn ensure(needs: &Needs, install: bool, progress: &Progress) -> Result<()> {
    let missing: Vec<&Need> = needs.programs.iter().filter(|need| !need.is_met()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<&str> = missing.iter().map(|need| need.program).collect();
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.packages).copied().collect();
    if !install {
        let docker = needs.docker.as_ref().map(|why| format!("\nDocker will not do: {why:#}"));
        bail!(
            "this machine lacks {}; add --install to this command, or run\n  {}apt-get install --no-install-recommends {}{}",
            programs.join(", "),
            if is_root() { "" } else { "sudo " },
            packages.join(" "),
            docker.unwrap_or_default()
        );
    }
    progress.step(&format!("install {}", programs.join(", ")), || apt(&packages, progress))
}

fn apt(packages: &[&str], progress: &Progress) -> Result<()> {
    let Some(apt) = find("apt-get") else {
        bail!("--install needs apt; on this machine install by hand: {}", packages.join(" "));
    };
    let limit = Limit::new("the tool's own limit for apt", Duration::from_secs(1200));
    let shell = Shell::new()?;
    let mut prefix = vec!["env", "DEBIAN_FRONTEND=noninteractive"];
    if !is_root() {
        find("sudo").context("--install needs root or sudo")?;
        // `-n`: a password cannot be typed, the terminal belongs to another process group.
        prefix.splice(0..0, ["sudo", "-n"]);
    }
    let run = |arguments: &[&str]| -> Result<()> {
        let (program, first) = prefix.split_first().context("a prefix")?;
        let command =
            cmd!(shell, "{program} {first...} {apt} -o DPkg::Lock::Timeout=120 --yes {arguments...}");
        let mut said = Vec::new();
        let status = process::stream(command, &limit, |line| {
            progress.detail("apt", line);
            said.push(line.to_owned());
        })?;
        process::succeeded(&format!("apt-get {}", arguments.join(" ")), status, &said.join("\n"))
    };
    // Docker's own packages conflict with Debian's runc: better nothing is installed than a daemon removed.
    let mut install = vec!["install", "--no-install-recommends", "--no-remove"];
    install.extend(packages);
    // Package lists may be absent or old; only then are they worth a download.
    if run(&install).is_err() {
        run(&["update"])?;
        run(&install)?;
    }
    // Debian starts what it installs, now and at every boot; a test starts a registry of its own.
    for service in REGISTRY.packages.iter().filter(|package| packages.contains(package)) {
        let (program, first) = prefix.split_first().context("a prefix")?;
        // It fails where the service does not run, as in a container.
        process::clean_up(cmd!(shell, "{program} {first...} service {service} stop"));
        process::read(cmd!(shell, "{program} {first...} update-rc.d {service} disable"), &limit)?;
    }
    Ok(())
}

/// A program's place on PATH, or in the folders of administration which an ordinary user's PATH may lack.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
