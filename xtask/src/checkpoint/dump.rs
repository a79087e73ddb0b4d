//! From a checkpoint rock to checkpoint data in the store.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::life::{Life, with_running};
use super::{Dumped, collect, dump_service};
use crate::app::App;
use crate::digest::Digest;
use crate::process::Limit;
use crate::rocks::Job;
use crate::runtime::Runtime;
use crate::source::Jar;
use crate::store::Store;

/// Runs the checkpoint rock `image`, dumps the application and collects what it left; its jar too if only the rock has
/// it.
pub fn dump(job: &Job<'_>, runtime: &Runtime, image: &str, jar: Option<&Jar>) -> Result<Dumped> {
    let Job { session, app, way, .. } = *job;
    with_running(job, runtime, image, &[], |life| {
        life.warm_up()?;
        let answers = verify(life).context("http.verify, before the dump")?;
        let jar = match jar {
            Some(jar) => jar.clone(),
            None => life.jar(&session.store).context("the jar could not be collected")?,
        };
        life.trigger()?;
        let (pid, froze) = life.wait_for_dump()?;
        let files = collect::collect(&session.store, life.container, &app.name, way.engine.required(app))?;
        Ok(Dumped { pid, cold: life.start, froze, files, answers, jar })
    })
}

impl Life<'_> {
    /// The jar that runs, out of its container.
    fn jar(&self, store: &Store) -> Result<Jar> {
        let file = format!("/jars/{}.jar", self.app.name);
        let limit = Limit::new("the tool's own limit for collecting a jar", Duration::from_secs(120));
        self.container.exec_pipe(&["cat", &file], &limit, |reader| {
            let mut writer = store.writer()?;
            std::io::copy(reader, &mut writer)?;
            let (digest, size) = writer.commit()?;
            Ok(Jar { digest, size })
        })
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
fn verify(life: &Life<'_>) -> Result<Vec<Digest>> {
    life.app.http.verify.iter().map(|request| Ok(life.expect(&life.client, request)?.digest())).collect()
}
