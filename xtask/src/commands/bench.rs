//! `bench`: cold starts and restores, measured in one run and interleaved, so that the machine's noise hits both.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};

use crate::app;
use crate::bench::{Bench, SCHEMA, Series};
use crate::checkpoint::{Start, start_restored, with_running};
use crate::cli::{self, Global};
use crate::host;
use crate::interrupt;
use crate::lock::{Host, Lock};
use crate::memory;
use crate::pack::import;
use crate::render::Templates;
use crate::rock::Role;
use crate::rocks::Job;
use crate::runtime::{ContainerSpec, Runtime};
use crate::session::Session;
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
    // Read before half an hour is spent.
    let earlier = arguments.baseline.as_deref().map(Bench::read).transpose()?;
    let lock = super::pin(session, &app)?;
    super::fits(session, &lock, false)?;
    host::ensure(&host::for_restore(session), global.install, &session.progress)?;
    let _alone = session.workspace.exclusive(&app.name)?;
    let runtime = Runtime::connect(session.runtime)?;
    runtime.sweep()?;
    let templates = Templates::read(&session.workspace.templates())?;
    let job = super::pinned_job(session, &app, &templates, &lock, global)?;
    let restorer = super::pack::from_pin(&job, &lock)?;
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
        // An engine other than CRIU has images of its own form.
        memory: memory::regions(&session.store, &lock).map(|found| by_kind(&found)).unwrap_or_default(),
    };
    let file = session.workspace.state_folder("reports")?.join(format!("{}-bench.json", app.name));
    write_whole(&file, &serde_json::to_vec_pretty(&bench)?, 0o644)?;
    println!("{}\n", bench.table());
    if !bench.memory.is_empty() {
        println!("{}\n", bench.memory_table());
    }
    if let Some(earlier) = &earlier {
        println!("{}\n", bench.compared(earlier));
    }
    println!("Every figure: {}", session.workspace.relative(&file));
    if let (Some(cold), Some(restored)) = (bench.median(COLD), bench.median(RESTORED)) {
        let ratio = cold / restored;
        println!("{} is back {ratio:.1} times as fast (medians).", app.name);
        if let Some(least) = arguments.fail_below.filter(|least| ratio < *least) {
            bail!("{} is back {ratio:.1} times as fast, and --fail-below wants {least}", app.name);
        }
    }
    Ok(())
}

fn by_kind(regions: &[memory::Region]) -> BTreeMap<String, u64> {
    memory::by_kind(regions).into_iter().map(|(kind, bytes)| (kind.to_string(), bytes)).collect()
}

struct Figures<'a> {
    job: &'a Job<'a>,
    runtime: &'a Runtime,
    cold: Vec<Start>,
    restored: Vec<Start>,
    /// Of `http.verify`, sent to a restored application once `ready` has answered. A cold one has not had the requests
    /// that `verify` builds on.
    first: Series,
    empty: Series,
    read: Series,
}

impl<'a> Figures<'a> {
    fn new(job: &'a Job<'a>, runtime: &'a Runtime) -> Figures<'a> {
        let first = Series::new("first request after the restore");
        let empty = Series::new("floor: an empty container");
        let read = Series::new("floor: reading the same pages");
        Figures { job, runtime, cold: Vec::new(), restored: Vec::new(), first, empty, read }
    }

    fn cold(&mut self, image: &str) -> Result<()> {
        self.cold.push(with_running(self.job, self.runtime, image, &[], |life| Ok(life.start))?);
        Ok(())
    }

    fn restore(&mut self, image: &str) -> Result<()> {
        let running = start_restored(self.job, self.runtime, image, None, false)?;
        if let Some(request) = self.job.app.http.verify.iter().find(|request| request.method == "GET") {
            let asked = Instant::now();
            running.client.expect(request)?;
            self.first.add(asked.elapsed());
        }
        self.restored.push(running.start);
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
        let of = |name: &str, starts: &[Start], pick: fn(&Start) -> Duration| {
            let mut series = Series::new(name);
            starts.iter().map(pick).for_each(|duration| series.add(duration));
            series
        };
        vec![
            of(COLD, &self.cold, |start| start.alone),
            of("cold, container start included", &self.cold, |start| start.with_container),
            of(RESTORED, &self.restored, |start| start.alone),
            of("restored, container start included", &self.restored, |start| start.with_container),
            self.first,
            self.empty,
            self.read,
        ]
    }
}
