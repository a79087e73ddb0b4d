//! `test`: every test there is, cheapest first.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::cli::{Global, Test};
use crate::host;
use crate::process::{self, Limit};
use crate::runtime::{Kind, Runtime};
use crate::session::Session;

/// A kind of tests.
struct Step {
    name: &'static str,
    words: &'static [&'static str],
    /// How many cases each property is tried with, where it is more than by hand.
    cases: Option<u32>,
    /// Whether it needs more than Rust.
    slow: bool,
}

const fn fast(name: &'static str, words: &'static [&'static str]) -> Step {
    Step { name, words, cases: None, slow: false }
}

const fn slow(name: &'static str, words: &'static [&'static str]) -> Step {
    Step { name, words, cases: None, slow: true }
}

const STEPS: [Step; 15] = [
    fast("formatting", &["fmt", "--all", "--check"]),
    fast("lints", &["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"]),
    fast("unit, snapshot and property tests", &["test", "--quiet"]),
    fast("rendered files are fresh", &["xtask", "render", "--check"]),
    Step {
        cases: Some(10_000),
        ..slow("10,000 configurations read back", &["test", "--quiet", "--test", "round_trip", "yaml_says"])
    },
    Step {
        cases: Some(1_000),
        ..slow(
            "1,000 mutations of data, lock and rocks",
            &["test", "--test", "install_data", "--test", "pin", "--", "--nocapture"],
        )
    },
    Step {
        cases: Some(10_000),
        ..slow("10,000 hostile values", &["test", "--test", "hostile_values", "--", "--nocapture"])
    },
    Step {
        cases: Some(100),
        ..slow("8 processes, 100 rounds each", &["test", "--test", "crowd", "--", "--nocapture"])
    },
    slow(
        "a real registry",
        &["test", "--test", "remote", "--test", "pipelines", "--", "--include-ignored", "--nocapture"],
    ),
    slow(
        "a fault at every system call that changes something",
        &[
            "test",
            "--test",
            "crash",
            "--",
            "--ignored",
            "--test-threads=1",
            "--nocapture",
            // It is what the faults hit.
            "--skip",
            "pin_here",
        ],
    ),
    slow("libFuzzer, 20 s a reader", &["test", "--test", "fuzz", "--", "--ignored", "--nocapture"]),
    slow("speed, beside openssl and umoci", &["test", "--bench", "pin"]),
    slow("speed of the search for secrets", &["test", "--bench", "scan"]),
    slow(
        "shellcheck, minisign, mkdocs, rockcraft's own libraries, Kubernetes' schemas",
        &[
            "test",
            "--lib",
            "--test",
            "docs",
            "--test",
            "locked",
            "--test",
            "scripts",
            "--test",
            "build_scripts",
            "--test",
            "round_trip",
            "--test",
            "schema",
            "--test",
            "kubernetes",
            "--",
            "--ignored",
            "--nocapture",
        ],
    ),
    slow(
        "end to end, in containers",
        &["test", "--test", "e2e", "--", "--ignored", "--test-threads=1", "--nocapture"],
    ),
];

/// Stops at the first that fails.
pub fn run(session: &Session, arguments: &Test, global: &Global) -> Result<()> {
    let steps: Vec<&Step> = STEPS.iter().filter(|step| !step.slow || !arguments.fast).collect();
    if global.plan {
        super::print_plan(&steps.iter().map(|step| step.name).collect::<Vec<_>>());
        return Ok(());
    }
    let mut engine = None;
    if !arguments.fast {
        let needs = [
            host::PODMAN,
            host::CATATONIT,
            host::SLIRP4NETNS,
            host::NEWUIDMAP,
            host::MMDEBSTRAP,
            host::GIT,
            host::SHELLCHECK,
            host::PYTHON,
            host::JDK,
            host::SETCAP,
            host::STRACE,
            host::REGISTRY,
            host::OPENSSL,
            host::MINISIGN,
            host::CXX,
            host::UMOCI,
        ];
        host::ensure(&needs.into(), global.install, &session.progress)?;
        engine = DockerEngine::start(session)?;
    }
    let limit = Limit::new("the tool's own limit for one kind of tests", Duration::from_secs(4200));
    for step in steps {
        session.progress.step(step.name, || {
            let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            command.args(step.words).current_dir(&session.workspace.root);
            command.envs(step.cases.map(|cases| ("XTASK_CASES", cases.to_string())));
            if let Some(engine) = &engine {
                engine.offer(&mut command);
            }
            let status = process::stream(command, &limit, |line| println!("{line}"))?;
            if !status.success() {
                bail!("{}: `cargo {}` failed ({status})", step.name, step.words.join(" "));
            }
            Ok(())
        })?;
    }
    println!("\nAll tests passed.\n{}", session.progress.times());
    Ok(())
}

/// A Docker Engine of the tests' own, for machines that have none or an old one. It ends with its value.
struct DockerEngine {
    script: PathBuf,
    folder: PathBuf,
}

impl DockerEngine {
    /// None where a Docker Engine with compose answers already.
    fn start(session: &Session) -> Result<Option<DockerEngine>> {
        let mut compose = Command::new("docker");
        compose.args(["compose", "version"]);
        let has_compose = || process::run(compose, &Limit::quick()).is_ok_and(|ran| ran.status.success());
        if Runtime::connect(Some(Kind::Docker)).is_ok() && has_compose() {
            return Ok(None);
        }
        let engine = DockerEngine {
            script: session.workspace.root.join(".ci/docker"),
            folder: session.workspace.state_folder("cache/docker")?,
        };
        session.progress.step("start a Docker Engine for the tests", || {
            let limit = Limit::new("the tool's own limit for a Docker Engine", Duration::from_secs(600));
            process::read(engine.command("start"), &limit)
        })?;
        Ok(Some(engine))
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.script);
        command.arg(verb).arg(&self.folder);
        command
    }

    /// Lets a command find it, as the lines that `.ci/docker start` prints would.
    fn offer(&self, command: &mut Command) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.folder.join("bin")).chain(std::env::split_paths(&path));
        let socket: &Path = &self.folder.join("run/docker.sock");
        command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        if let Ok(path) = std::env::join_paths(folders) {
            command.env("PATH", path);
        }
    }
}

impl Drop for DockerEngine {
    fn drop(&mut self) {
        process::clean_up(self.command("stop"));
    }
}
