//! A restored application, and the proof that it is the one that was dumped: its PID and its answers.

use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, ensure};

use super::Start;
use super::life::spec;
use crate::diagnostic::causes;
use crate::digest::Digest;
use crate::http::Client;
use crate::interrupt;
use crate::process::Limit;
use crate::rock::Role;
use crate::rocks::Job;
use crate::runtime::{Container, Publish, Runtime};

/// A restored application that has answered.
pub struct Running<'a> {
    /// Its container.
    pub container: Container<'a>,
    /// Asks it.
    pub client: Client,
    /// How long it took.
    pub start: Start,
}

/// Starts the restore rock `image` and waits for the first correct answer. `log` is what was read of its log so
/// far, for an error.
pub fn start_restored<'a>(
    job: &Job<'_>,
    runtime: &'a Runtime,
    image: &str,
    publish: Option<Publish>,
    detached: bool,
) -> Result<Running<'a>> {
    let app = job.app;
    let mut spec = spec(job, Role::Restore, image);
    let publish = match publish {
        Some(publish) => publish,
        None => runtime.publish(app.http.port)?,
    };
    let port = publish.host.context("a port of this machine")?;
    let host = runtime.reach(&publish).to_owned();
    spec.publish = vec![publish];
    spec.detached = detached;
    let asked = SystemTime::now();
    let container = runtime.start(&spec)?;
    let limit = Limit::new("limits.restore", app.limits.restore);
    let client = Client::new(&host, port, app.limits.request);
    match client.wait_for(&app.http.ready, &limit, || container.alive()) {
        Ok(up) => {
            let start = Start::until(up, asked, &container)?;
            Ok(Running { container, client, start })
        }
        Err(error) if interrupt::received().is_some() => Err(error),
        Err(error) => {
            let why = first_error(&container, &app.name);
            Err(anyhow!(
                "{} was not restored{why}\n  because: {}\n{}",
                app.name,
                causes(&error),
                container.tail()
            ))
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

/// Restores and compares, several times: the PID is the old one, and every answer is the one given before the dump.
/// The median of the times.
pub fn prove(job: &Job<'_>, runtime: &Runtime, image: &str, pid: u32, answers: &[Digest]) -> Result<Start> {
    let Job { session, app, .. } = *job;
    let mut starts = Vec::new();
    for _ in 0..PROOFS {
        let running = start_restored(job, runtime, image, None, false)?;
        for (request, before) in app.http.verify.iter().zip(answers) {
            let after = running.client.expect(request).context("verify, after the restore")?;
            ensure!(
                after.digest() == *before,
                "{} {} (http.verify) answers otherwise than before the dump; now: {}",
                request.method,
                request.path,
                after.excerpt()
            );
        }
        let comm = running.container.exec(&["cat", &format!("/proc/{pid}/comm")], &Limit::quick())?;
        ensure!(
            comm.stdout.trim() == "java",
            "no JVM has PID {pid} after the restore: {}",
            comm.stderr.trim()
        );
        session.progress.say(&format!(
            "{} is back after {}",
            app.name,
            crate::progress::seconds(running.start.alone)
        ));
        starts.push(running.start);
    }
    starts.sort_by_key(|start| start.alone);
    Ok(starts[PROOFS / 2])
}
