//! From a checkpoint rock to checkpoint data in the store.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, bail};

use super::{Dumped, Log, Start, collect, dump_service};
use crate::app::{App, Request};
use crate::diagnostic::causes;
use crate::digest::Digest;
use crate::engine::Engine;
use crate::http::Client;
use crate::plan::Packer;
use crate::process::{Limit, TimedOut};
use crate::rock::Role;
use crate::runtime::{Container, ContainerSpec, Runtime};
use crate::session::Session;
use crate::{interrupt, runtime};

/// Runs the checkpoint rock `image`, dumps the application and collects what it left.
pub fn dump(session: &Session, runtime: &Runtime, app: &App, image: &str) -> Result<Dumped> {
    let engine = Engine::choose(app.engine, Packer::Native);
    let port = runtime::free_port()?;
    let mut spec = ContainerSpec::new(format!("{}-checkpoint", app.name), image);
    spec.capabilities = engine.capabilities(Role::Checkpoint).to_vec();
    spec.seccomp = engine.seccomp(Role::Checkpoint);
    spec.publish = vec![runtime::Publish { host: Some(port), ..runtime::Publish::anywhere(app.http.port) }];
    let asked = SystemTime::now();
    let container = runtime.start(&spec)?;
    let log = Log::default();
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| log.follow(&container, &app.name, &session.progress));
        let life = Life {
            session,
            app,
            container: &container,
            log: &log,
            client: Client::new(port, app.limits.request),
        };
        let dumped = life.run(asked);
        // Ends the log, and with it the follower.
        container.stop(Duration::from_secs(1));
        log.finish(follower);
        dumped.map_err(|error| match interrupt::received() {
            Some(_) => error,
            None => anyhow!("{}\n{}", causes(&error), log.tail()),
        })
    })
}

struct Life<'a> {
    session: &'a Session,
    app: &'a App,
    container: &'a Container<'a>,
    log: &'a Log,
    client: Client,
}

impl Life<'_> {
    fn run(&self, asked: SystemTime) -> Result<Dumped> {
        let Life { session, app, .. } = self;
        let started = self.container.started_at()?;
        let limit = Limit::new("limits.ready", app.limits.ready);
        let alive = || self.log.alive(self.container, &app.name);
        let up = self.client.wait_for(&app.http.ready, &limit, alive).with_context(|| {
            format!("{} is not ready (http.ready, http.port {})", app.name, app.http.port)
        })?;
        let since = |from: SystemTime| up.duration_since(from).unwrap_or_default();
        let cold = Start { with_container: since(asked), alone: since(started) };
        session.progress.say(&format!("{} is up after {}", app.name, crate::progress::seconds(cold.alone)));
        self.warm_up()?;
        let answers = verify(&self.client, &app.http.verify).context("verify, before the dump")?;
        self.trigger()?;
        let (pid, froze) = self.wait_for_dump()?;
        let files = collect::collect(&session.store, self.container, &app.name)?;
        Ok(Dumped { pid, cold, froze, files, answers })
    }

    fn warm_up(&self) -> Result<()> {
        let limit = self.app.limits.warm_up;
        let started = Instant::now();
        for request in &self.app.http.warm_up {
            for _ in 0..request.repeat {
                interrupt::check()?;
                if started.elapsed() > limit {
                    let what = "the warm-up (http.warm-up)".to_owned();
                    return Err(TimedOut { what, limit: Limit::new("limits.warm-up", limit) }.into());
                }
                self.client.expect(request).context("the warm-up (http.warm-up) failed")?;
            }
        }
        Ok(())
    }

    /// Starts the service that dumps, as a person would by hand. Pebble calls a service that ends within a
    /// second a failure, so its word is not asked: the dump's own is.
    fn trigger(&self) -> Result<()> {
        let service = dump_service(&self.app.name);
        let limit = Limit::new("limits.dump", self.app.limits.dump);
        let ran = self.container.exec(&["pebble", "start", &service], &limit)?;
        let said = format!("{}{}", ran.stdout, ran.stderr);
        if !ran.status.success() && !said.contains(&format!("Start service \"{service}\"")) {
            bail!("Pebble cannot start {service}: {}", said.trim());
        }
        Ok(())
    }

    /// Waits until the dump says that every file is there; that the JVM is dead says nothing.
    fn wait_for_dump(&self) -> Result<(u32, Duration)> {
        let file = format!("/run/{}/dump", self.app.name);
        let limit = Limit::new("limits.dump", self.app.limits.dump);
        let script = "until [ -e \"$0\" ]; do sleep 0.05; done; cat \"$0\"";
        let ran = self
            .container
            .exec(&["sh", "-c", script, &file], &limit)
            .context("waiting for a complete dump")?;
        let said = ran.stdout.trim();
        match said.split_once(' ') {
            Some(("complete", numbers)) => {
                let (pid, millis) = numbers.split_once(' ').context("the dump names PID and milliseconds")?;
                Ok((pid.parse()?, Duration::from_millis(millis.parse()?)))
            }
            Some(("failed", reason)) => bail!("the dump failed: {reason}{}", remedy(reason, self.app)),
            _ => bail!("the dump says neither `complete` nor `failed` but {said:?} ({})", ran.stderr.trim()),
        }
    }
}

/// What to do about CRIU's commonest complaints at a dump.
fn remedy(reason: &str, app: &App) -> String {
    if reason.contains("ghost file") {
        return format!(
            "\na file that was deleted while the application still uses it is larger than checkpoint.ghost-limit \
             ({}); raise it in apps/{}/app.toml",
            app.checkpoint.ghost_limit, app.name
        );
    }
    String::new()
}

/// Sends every request and returns the digests of the answers.
fn verify(client: &Client, requests: &[Request]) -> Result<Vec<Digest>> {
    requests.iter().map(|request| Ok(client.expect(request)?.digest())).collect()
}
