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

/// How often a checkpoint is restored before it is pinned: one restore may be luck, and one time is noise.
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
    /// The median of the times.
    pub start: Start,
    /// The most that the process has had in memory.
    pub memory: Memory,
    /// Whether it came back on a read-only root, too.
    pub read_only: bool,
}

/// Restores and compares, several times: the PID is the old one, and every answer is the one given before the dump. Once
/// more on a read-only root, where what may be written to is no more than `scratch`, unless that is empty.
pub fn prove(
    job: &Job<'_>,
    runtime: &Runtime,
    image: &str,
    pid: u32,
    answers: &[Digest],
    scratch: Vec<String>,
) -> Result<Proven> {
    let Job { session, app, .. } = *job;
    let mut starts = Vec::new();
    let mut memory = Vec::new();
    for _ in 0..PROOFS {
        let running = start_restored(job, runtime, image, pid)?;
        prove_same(app, &running.client, answers).map_err(|error| match interrupt::received() {
            Some(_) => error,
            None => {
                failed(job, Role::Restore, &running.container, &causes(&error), &running.container.tail())
            }
        })?;
        session.progress.say(&format!(
            "{} is back after {}",
            app.name,
            crate::progress::seconds(running.start.alone)
        ));
        starts.push(running.start);
        memory.push(footprint(&running.container, pid)?);
    }
    starts.sort_by_key(|start| start.alone);
    let memory = memory.into_iter().max_by_key(|memory| memory.rss).context("a proof")?;
    let read_only = !scratch.is_empty() && {
        let outside = Outside { scratch, ..Outside::default() };
        let came_back = restored(job, runtime, image, pid, outside)
            .and_then(|running| prove_same(app, &running.client, answers));
        works_read_only(job, came_back)?
    };
    Ok(Proven { start: starts[PROOFS / 2], memory, read_only })
}

/// What the trial on a read-only root says: that it failed is no error, but a root that must be writable.
fn works_read_only(job: &Job<'_>, came_back: Result<()>) -> Result<bool> {
    match came_back {
        Err(error) if interrupt::received().is_some() => Err(error),
        Err(error) => {
            let why = causes(&error);
            job.session.progress.say(&format!("{} does not work on a read-only root: {why}", job.app.name));
            Ok(false)
        }
        Ok(()) => Ok(true),
    }
}
