//! `bench`: cold starts and restores, measured in one run and interleaved, so that the machine's noise hits both.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};

use crate::app::{self, Request};
use crate::bench::{Bench, SCHEMA, Series};
use crate::checkpoint::{start_restored, with_running};
use crate::cli::{self, Global};
use crate::host;
use crate::http::Client;
use crate::interrupt;
use crate::lock::{Host, Lock};
use crate::pack::import;
use crate::render::Templates;
use crate::rock::Role;
use crate::rocks::Job;
use crate::runtime::{ContainerSpec, Runtime};
use crate::session::Session;
use crate::way::Way;
use crate::workspace::write_whole;

const COLD: &str = "cold, from its container's start";
const RESTORED: &str = "restored, from its container's start";

/// Measures, prints a table and keeps the figures.
pub fn run(session: &Session, arguments: &cli::Bench, global: &Global) -> Result<()> {
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    if global.plan {
        super::print_plan(&[
            "load the pinned rocks",
            "start and restore in turn",
            "read the same pages, and start an empty container",
            "print medians, keep every figure",
        ]);
        return Ok(());
    }
    let lock = super::pin(session, &app)?;
    host::ensure(&host::for_restore(session), global.install, &session.progress)?;
    let _alone = session.workspace.exclusive(&app.name)?;
    let runtime = Runtime::connect(session.runtime)?;
    runtime.sweep()?;
    let templates = Templates::read(&session.workspace.templates())?;
    let way = Way { packer: lock.packer.name, engine: lock.engine };
    let job = Job { session, templates: &templates, app: &app, source: &app.source, way };
    let restorer = super::pack::from_pin(session, &app, &lock)?;
    let restorer = super::load(session, &runtime, &app, Role::Restore, &restorer)?;
    let checkpointer = import::read_image(&session.store, &lock.rocks.checkpoint).with_context(|| {
        format!("the checkpoint rock is no longer in the store; run `cargo xtask checkpoint {}`", app.name)
    })?;
    let checkpointer = super::load(session, &runtime, &app, Role::Checkpoint, &checkpointer)?;

    let mut figures = Figures::new(&job, &runtime);
    for number in 0..arguments.restores.max(arguments.cold) {
        interrupt::check()?;
        // Spread evenly: as many restores lie between two cold starts as there are more of them.
        let due = |of: usize| (number + 1) * of / arguments.restores.max(arguments.cold);
        for _ in figures.cold.len()..due(arguments.cold) {
            figures.cold(&checkpointer)?;
        }
        for _ in figures.restored.len()..due(arguments.restores) {
            figures.restore(&restorer)?;
        }
        session.progress.say(&format!("{} of {}", number + 1, arguments.restores.max(arguments.cold)));
    }
    figures.floors(&lock, &restorer)?;
    let bench = Bench {
        schema: SCHEMA,
        app: app.name.clone(),
        data: lock.data.tree.to_string(),
        runtime: runtime.kind.to_string(),
        host: Host::this()?,
        series: figures.series(),
    };
    let file = session.workspace.state_folder("reports")?.join(format!("{}-bench.json", app.name));
    write_whole(&file, &serde_json::to_vec_pretty(&bench)?, 0o644)?;
    println!("{}\n", bench.table());
    if let (Some(cold), Some(restored)) = (bench.median(COLD), bench.median(RESTORED)) {
        println!("{} is back {:.1} times as fast (medians).", app.name, cold / restored);
    }
    println!("Every figure: {}", session.workspace.relative(&file));
    Ok(())
}

struct Figures<'a> {
    job: &'a Job<'a>,
    runtime: &'a Runtime,
    cold: Vec<Measured>,
    restored: Vec<Measured>,
    empty: Series,
    read: Series,
}

/// One start.
struct Measured {
    with_container: Duration,
    alone: Duration,
    /// Of `http.verify`, sent once `ready` has answered.
    first_request: Option<Duration>,
}

impl<'a> Figures<'a> {
    fn new(job: &'a Job<'a>, runtime: &'a Runtime) -> Figures<'a> {
        let empty = Series::new("floor: an empty container");
        let read = Series::new("floor: reading the same pages");
        Figures { job, runtime, cold: Vec::new(), restored: Vec::new(), empty, read }
    }

    /// The first request after the start, whose answer must be right.
    fn first_request(&self, client: &Client) -> Result<Option<Duration>> {
        let request: Option<&Request> =
            self.job.app.http.verify.iter().find(|request| request.method == "GET");
        let Some(request) = request else { return Ok(None) };
        let asked = Instant::now();
        client.expect(request)?;
        Ok(Some(asked.elapsed()))
    }

    fn cold(&mut self, image: &str) -> Result<()> {
        let measured = with_running(self.job, self.runtime, image, &[], |life| {
            let (with_container, alone) = (life.start.with_container, life.start.alone);
            // A cold application has not had the requests that `verify` builds on: it is only asked whether it is up.
            Ok(Measured { with_container, alone, first_request: None })
        })?;
        self.cold.push(measured);
        Ok(())
    }

    fn restore(&mut self, image: &str) -> Result<()> {
        let running = start_restored(self.job, self.runtime, image, None, false)?;
        let client = Client::new(self.runtime.host(), running.port, self.job.app.limits.request);
        let first_request = self.first_request(&client)?;
        let (with_container, alone) = (running.start.with_container, running.start.alone);
        self.restored.push(Measured { with_container, alone, first_request });
        Ok(())
    }

    /// What no restore can be faster than: a container that does nothing, and the pages read into fresh memory.
    fn floors(&mut self, lock: &Lock, image: &str) -> Result<()> {
        for _ in 0..self.restored.len().min(10) {
            interrupt::check()?;
            let mut spec = ContainerSpec::new(format!("{}-empty", self.job.app.name), image);
            spec.entrypoint = Some("/bin/sleep".into());
            spec.words = vec!["60".into()];
            let asked = SystemTime::now();
            let container = self.runtime.start(&spec)?;
            self.empty.add(asked.elapsed().unwrap_or_default());
            drop(container);
            let started = Instant::now();
            for file in lock.data.files.iter().filter(|file| file.path.contains("/pages-")) {
                let digest = file.sha256.context("pages are a file")?;
                std::hint::black_box(fs_err::read(self.job.session.store.path(&digest))?);
            }
            self.read.add(started.elapsed());
        }
        Ok(())
    }

    fn series(self) -> Vec<Series> {
        let of = |name: &str, starts: &[Measured], pick: &dyn Fn(&Measured) -> Option<Duration>| {
            let mut series = Series::new(name);
            starts.iter().filter_map(pick).for_each(|duration| series.add(duration));
            series
        };
        vec![
            of(COLD, &self.cold, &|start| Some(start.alone)),
            of("cold, container start included", &self.cold, &|start| Some(start.with_container)),
            of(RESTORED, &self.restored, &|start| Some(start.alone)),
            of("restored, container start included", &self.restored, &|start| Some(start.with_container)),
            of("first request after the restore", &self.restored, &|start| start.first_request),
            self.empty,
            self.read,
        ]
    }
}
