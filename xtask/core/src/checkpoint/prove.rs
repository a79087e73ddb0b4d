//! A restored application, and the proof that it is the one that was dumped: its PID and its answers.

use anyhow::{Context, Result, ensure};

use super::life::spec;
use super::{CameUp, Memory, Start, came_up, failed, footprint};
use crate::app::{App, Fallback};
use crate::diagnostic::causes;
use crate::digest::Digest;
use crate::http::Client;
use crate::interrupt;
use crate::process::Limit;
use crate::rock::Role;
use crate::rocks::Job;
use crate::runtime::{Container, Mount, Publish, Published, Runtime};

/// What a container of a restore rock has to do with this machine.
#[derive(Default)]
pub struct Outside {
    /// Where it answers; any free port without it.
    pub publish: Option<Publish>,
    /// Whether it outlives this run.
    pub detached: bool,
    /// Folders of this machine that it sees.
    pub mounts: Vec<Mount>,
    /// Whether it is to be restored though this CPU lacks what that of the dump had.
    pub force_host: bool,
    /// What it may write to, each a copy of the image's folder; its whole root where there is none.
    pub scratch: Vec<String>,
}

/// By this variable restore.sh does not compare CPUs.
const FORCE_HOST: &str = "XTASK_FORCE_HOST";

/// An application of a restore rock that has answered.
pub struct Running<'a> {
    /// Its container.
    pub container: Container<'a>,
    /// Asks it.
    pub client: Client,
    /// How long it took.
    pub start: Start,
    /// Which way.
    pub came_up: CameUp,
}

/// Starts the restore rock `image`, whose dumped JVM had the PID `pid`, and waits for the first correct answer. An
/// application that was started cold in place of the restore is an error.
pub fn start_restored<'a>(job: &Job<'_>, runtime: &'a Runtime, image: &str, pid: u32) -> Result<Running<'a>> {
    restored(job, runtime, image, pid, Outside::default())
}

fn restored<'a>(
    job: &Job<'_>,
    runtime: &'a Runtime,
    image: &str,
    pid: u32,
    outside: Outside,
) -> Result<Running<'a>> {
    let limit = Limit::new("limits.restore", job.app.limits.restore);
    let running = start_within(job, runtime, image, pid, outside, &limit)?;
    must_be_restored(job, &running.container, &running.came_up)?;
    Ok(running)
}

/// An error, with the cause and the kept log, where an application was started cold in place of the restore.
pub fn must_be_restored(job: &Job<'_>, container: &Container<'_>, came_up: &CameUp) -> Result<()> {
    came_up
        .restored(&job.app.name)
        .map_err(|error| failed(job, Role::Restore, container, &causes(&error), &container.tail()))
}

/// The same, whichever way it comes up.
pub fn start<'a>(
    job: &Job<'_>,
    runtime: &'a Runtime,
    image: &str,
    pid: u32,
    outside: Outside,
) -> Result<Running<'a>> {
    let limits = &job.app.limits;
    let limit = match job.app.restore.fallback {
        Fallback::Fail => Limit::new("limits.restore", limits.restore),
        Fallback::Cold => Limit::new("limits.restore and limits.ready", limits.restore + limits.ready),
    };
    start_within(job, runtime, image, pid, outside, &limit)
}

fn start_within<'a>(
    job: &Job<'_>,
    runtime: &'a Runtime,
    image: &str,
    pid: u32,
    outside: Outside,
    limit: &Limit,
) -> Result<Running<'a>> {
    let app = job.app;
    let mut spec = spec(job, Role::Restore, image)?;
    spec.detached = outside.detached;
    spec.mounts = outside.mounts;
    spec.scratch = outside.scratch;
    if outside.force_host {
        spec.environment.insert(FORCE_HOST.into(), "1".into());
    }
    let publish = outside.publish.unwrap_or(Publish::anywhere(app.http.port));
    let Published { container, host, port, asked } = runtime.start_published(&spec, &publish)?;
    let client = Client::new(&host, port, app.limits.request);
    match client.wait_for(&app.http.ready, limit, || container.alive()) {
        Ok(up) => {
            let start = Start::until(up, asked, &container)?;
            let came_up = came_up(&container, pid)?;
            Ok(Running { container, client, start, came_up })
        }
        Err(error) if interrupt::received().is_some() => Err(error),
        Err(error) => {
            let why = first_error(&container, &app.name);
            let wrong = format!("{} was not restored{why}\n  because: {}", app.name, causes(&error));
            Err(failed(job, Role::Restore, &container, &wrong, &container.tail()))
        }
    }
}

/// CRIU's own first error, as long as the container can be asked.
fn first_error(container: &Container<'_>, app: &str) -> String {
    let file = format!("/run/{app}/restore.log");
    match container.exec(&["grep", "-m", "1", "Error", &file], &Limit::quick()) {
        Ok(ran) if ran.status.success() => format!("; CRIU's first error: {}", ran.stdout.trim()),
        _ => String::new(),
    }
}

/// How often a checkpoint comes back before it is pinned: one restore may be luck, and one time is noise.
const PROOFS: usize = 3;

/// Whether every answer is the one given before the dump.
pub fn prove_same(app: &App, client: &Client, answers: &[Digest]) -> Result<()> {
    for (request, before) in app.http.verify.iter().zip(answers) {
        let after = client.expect(request).context("verify, after the restore")?;
        ensure!(
            after.digest() == *before,
            "{} {} (http.verify) answers otherwise than before the dump; now: {}",
            request.method,
            request.path,
            after.excerpt()
        );
    }
    Ok(())
}

/// What the proof has shown.
#[derive(Debug, Clone, Copy)]
pub struct Proven {
    /// How long it took with a root that can be written, the slower of two and the second of three.
    pub start: Start,
    /// The most that the process has had in memory.
    pub memory: Memory,
    /// Whether it came back on a read-only root, too.
    pub read_only: bool,
}

/// The dump that has to prove itself.
struct Proof<'a> {
    job: &'a Job<'a>,
    runtime: &'a Runtime,
    image: &'a str,
    pid: u32,
    answers: &'a [Digest],
}

/// Restores and compares until it has come back three times: the PID is the old one, and every answer is the one given
/// before the dump. One of them is on a read-only root, where what may be written to is no more than `scratch`, unless that
/// is empty; what does not work there has to come back once more without.
pub fn prove(
    job: &Job<'_>,
    runtime: &Runtime,
    image: &str,
    pid: u32,
    answers: &[Digest],
    scratch: Vec<String>,
) -> Result<Proven> {
    let proof = Proof { job, runtime, image, pid, answers };
    // With a root that can be written first: what is wrong with the dump itself is not to be blamed on the root.
    let mut came_back = vec![proof.writable()?];
    let read_only = !scratch.is_empty() && proof.read_only(scratch)?;
    while came_back.len() + usize::from(read_only) < PROOFS {
        came_back.push(proof.writable()?);
    }
    came_back.sort_by_key(|(start, _)| start.alone);
    let (start, _) = came_back[came_back.len() / 2];
    let memory = came_back.iter().map(|(_, memory)| *memory).max_by_key(|memory| memory.rss);
    Ok(Proven { start, memory: memory.context("a proof")?, read_only })
}

impl<'a> Proof<'a> {
    fn restored(&self, outside: Outside) -> Result<Running<'a>> {
        restored(self.job, self.runtime, self.image, self.pid, outside)
    }

    fn say(&self, running: &Running<'_>, on: &str) {
        let took = crate::progress::seconds(running.start.alone);
        self.job.session.progress.say(&format!("{} is back after {took}{on}", self.job.app.name));
    }

    fn writable(&self) -> Result<(Start, Memory)> {
        let running = self.restored(Outside::default())?;
        let container = &running.container;
        prove_same(self.job.app, &running.client, self.answers).map_err(
            |error| match interrupt::received() {
                Some(_) => error,
                None => failed(self.job, Role::Restore, container, &causes(&error), &container.tail()),
            },
        )?;
        self.say(&running, "");
        Ok((running.start, footprint(container, self.pid)?))
    }

    /// Whether it comes back on a read-only root: that it does not is no error, but a root that must be writable.
    fn read_only(&self, scratch: Vec<String>) -> Result<bool> {
        let Job { session, app, .. } = *self.job;
        let came_back = self.restored(Outside { scratch, ..Outside::default() }).and_then(|running| {
            prove_same(app, &running.client, self.answers)?;
            self.say(&running, " on a read-only root");
            Ok(())
        });
        match came_back {
            Err(error) if interrupt::received().is_some() => Err(error),
            Err(error) => {
                let why = causes(&error);
                session.progress.say(&format!("{} does not work on a read-only root: {why}", app.name));
                Ok(false)
            }
            Ok(()) => Ok(true),
        }
    }
}
