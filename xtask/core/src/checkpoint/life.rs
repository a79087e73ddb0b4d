//! A checkpoint rock that runs: started, ready, warm. What is done with it then is its caller's.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};

use super::collect::{FILE_LIMIT, read_file};
use super::footprint::max_heap;
use super::{Log, Start, failed};
use crate::app::{App, Request};
use crate::diagnostic::causes;
use crate::digest::Digest;
use crate::http::{Answer, Client, get};
use crate::interrupt;
use crate::pebble;
use crate::process::{Limit, TimedOut};
use crate::rock::Role;
use crate::rocks::Job;
use crate::runtime::{Container, ContainerSpec, Publish, Published, Runtime};
use crate::store::Store;
use crate::workers::AtEnd;

/// How often what was asked before a collection is asked again after it, at most.
const SETTLED: u32 = 10;

/// A running application.
pub struct Life<'a> {
    /// Whose it is.
    pub app: &'a App,
    /// Where it runs.
    pub container: &'a Container<'a>,
    /// Asks it.
    pub client: Client,
    /// What it says.
    pub log: &'a Log,
    /// How long it took to be ready.
    pub start: Start,
}

/// Runs the checkpoint rock `image`, waits until it is ready, and removes it after `work`. An error shows the end
/// of the application's log. `extra` is environment that only this run has.
pub fn with_running<T>(
    job: &Job<'_>,
    runtime: &Runtime,
    image: &str,
    extra: &[(&str, String)],
    work: impl FnOnce(&Life<'_>) -> Result<T>,
) -> Result<T> {
    let Job { session, app, .. } = *job;
    let mut spec = spec(job, Role::Checkpoint, image)?;
    spec.environment = extra.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
    let Published { container, host, port, asked } =
        runtime.start_published(&spec, &Publish::anywhere(app.http.port))?;
    let log = Log::default();
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| log.follow(&container, &app.name, &session.progress));
        let client = Client::new(&host, port, app.limits.request);
        let worked = {
            // Ends the log, and with it the follower, for whom a panic in `work` would wait.
            let _stopped = AtEnd(|| container.stop(Duration::from_secs(1)));
            ready(app, &container, &log, &client, asked).and_then(|start| {
                session.progress.say(&format!(
                    "{} is up after {}",
                    app.name,
                    crate::progress::seconds(start.alone)
                ));
                work(&Life { app, container: &container, client, log: &log, start })
            })
        };
        log.finish(follower);
        worked.map_err(|error| match interrupt::received() {
            Some(_) => error,
            None => failed(job, Role::Checkpoint, &container, &causes(&error), &log.tail()),
        })
    })
}

/// A container of one of the two rocks, with the capabilities that its role needs and no more, under the filter that its
/// pin says.
pub fn spec(job: &Job<'_>, role: Role, image: &str) -> Result<ContainerSpec> {
    let session = job.session;
    let mut spec = described(job, role, image);
    if role == Role::Restore {
        // Not the rendered file, which anybody may have changed.
        let filter = job.templates.filter(job.way.engine, job.refused)?;
        let (filter, _) = session.store.add_bytes(filter.as_bytes())?;
        spec.profile = Some(session.store.path(&filter));
    }
    Ok(spec)
}

/// The same without the file of its filter.
pub fn described(job: &Job<'_>, role: Role, image: &str) -> ContainerSpec {
    let Job { app, way, .. } = *job;
    let mut spec = ContainerSpec::new(format!("{}-{}", app.name, role.folder()), image);
    spec.capabilities = job.capabilities(role).to_vec();
    spec.seccomp = way.engine.seccomp(role);
    spec.no_new_privileges = way.engine.gains_nothing();
    if role == Role::Restore {
        let (name, value) = pebble::PERSIST;
        spec.environment.insert(name.into(), value.into());
    }
    // The services' logs on the container's own output; rockcraft's rocks do not say so themselves.
    spec.words = vec!["--verbose".into()];
    spec
}

fn ready(
    app: &App,
    container: &Container<'_>,
    log: &Log,
    client: &Client,
    asked: SystemTime,
) -> Result<Start> {
    let limit = Limit::new("limits.ready", app.limits.ready);
    let mut looked = Instant::now();
    // To ask the engine takes a tenth of a core that the start could use, so the log is looked at first: it ends with its
    // container. What keeps it from ending is heard of a few seconds later.
    let alive = || {
        if log.ended().is_none() && !log.closed() && looked.elapsed() < Duration::from_secs(5) {
            return Ok(());
        }
        looked = Instant::now();
        log.alive(container, &app.name)
    };
    let up = client
        .wait_for(&app.http.ready, &limit, alive)
        .with_context(|| format!("{} is not ready (http.ready, http.port {})", app.name, app.http.port))?;
    Start::until(up, asked, container)
}

/// Sends the warm-up requests, each of which must be answered as it says. `ask` sends one.
pub fn warm_up(app: &App, client: &Client, ask: impl Fn(&Client, &Request) -> Result<Answer>) -> Result<()> {
    let limit = app.limits.warm_up;
    let started = Instant::now();
    for request in &app.http.warm_up {
        for _ in 0..request.repeat {
            interrupt::check()?;
            let sent = ask(&client.within(limit.saturating_sub(started.elapsed())), request);
            if sent.is_err() && started.elapsed() >= limit {
                let what = "the warm-up (http.warm-up)".to_owned();
                return Err(TimedOut { what, limit: Limit::new("limits.warm-up", limit) }.into());
            }
            sent.context("the warm-up (http.warm-up) failed")?;
        }
    }
    Ok(())
}

impl Life<'_> {
    /// Takes one file out of the container into the store.
    pub fn take_file(&self, store: &Store, file: &str, limit: &Limit) -> Result<(Digest, u64)> {
        self.container.exec_pipe(&["cat", file], limit, |reader| read_file(store, file, reader, FILE_LIMIT))
    }

    /// Sends the warm-up requests.
    pub fn warm_up(&self) -> Result<()> {
        warm_up(self.app, &self.client, |client, request| self.expect(client, request))
    }

    /// Makes the application small, and then warm once more: after a collection the next request of each kind pays
    /// for what the collection did to compiled code, and that is to be paid before the dump (Zipkin: 200 ms from its
    /// container's start to the first answer without it, 167 ms with it). Each request comes by a connection of its own, as the
    /// first one after a restore will. Returns the largest heap that the JVM will make, where it says so.
    pub fn settle(&self, script: &str) -> Result<Option<u64>> {
        let limit = Limit::new("limits.dump", self.app.limits.dump);
        // Every call of the engine takes a fifth of a second.
        let said = format!("/run/{}/jcmd.log", self.app.name);
        let ran = self
            .container
            .exec(&["sh", "-c", "\"$0\" && cat \"$1\"", script, &said], &limit)
            .context("the application cannot be made small")?;
        ensure!(ran.status.success(), "{script} failed: {}{}", ran.stdout.trim(), ran.stderr.trim());
        let ready = get(&self.app.http.ready);
        // What only asks, and so can be asked again without another answer.
        let asks = self.app.http.warm_up.iter().filter(|request| ["GET", "HEAD"].contains(&&*request.method));
        for request in [&ready].into_iter().chain(asks) {
            let times = if *request == ready { SETTLED } else { request.repeat.min(SETTLED) };
            for _ in 0..times {
                interrupt::check()?;
                self.expect(&self.client.anew(), request).context("a request after the collection failed")?;
            }
        }
        Ok(max_heap(&ran.stdout))
    }

    /// Sends a request whose answer is expected. A connection that breaks says little; that the application ended
    /// says more, and may be known a moment later.
    pub fn expect(&self, client: &Client, request: &Request) -> Result<Answer> {
        client.expect(request).map_err(|error| {
            for _ in 0..10 {
                if let Err(ended) = self.log.alive(self.container, &self.app.name) {
                    return ended.context(causes(&error));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            error
        })
    }
}
