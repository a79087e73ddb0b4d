//! `bench`: cold starts and restores, measured in one run and interleaved, so that the machine's noise hits both.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::app;
use crate::bench::{self, Bench, Machine, SCHEMA};
use crate::cli::{self, Global};
use crate::host;
use crate::interrupt;
use crate::lock::{Host, Lock};
use crate::memory;
use crate::pack::import;
use crate::render::Templates;
use crate::rock::Role;
use crate::runtime::Runtime;
use crate::session::Session;
use crate::workspace::write_whole;

mod figures;
mod instance;
mod observe;

use figures::{Figures, Images};

/// Measures, prints tables and keeps the figures, with a report for people.
pub fn run(session: &Session, arguments: &cli::Bench, global: &Global) -> Result<()> {
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    if global.plan {
        super::print_plan(&[
            "load the pinned rocks",
            "start and restore in turn; read the same pages, and start empty containers",
            "trace some restores; look at memory, requests a second and a dump",
            "print medians and ratios, keep every figure and a report",
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

    let mut figures = Figures::new(&job, &runtime, &lock, Images { checkpointer, restorer });
    let steps = arguments.restores.max(arguments.cold);
    for number in 0..steps {
        interrupt::check()?;
        // Spread evenly: as many restores lie between two cold starts as there are more of them.
        let due = |of: usize| (number + 1) * of / steps;
        for _ in figures.cold_starts()..due(arguments.cold) {
            figures.cold()?;
        }
        for _ in figures.restores()..due(arguments.restores) {
            figures.restore()?;
        }
        // And so are the floors and the restores that are traced.
        for _ in figures.floors()..due(arguments.restores.min(10)) {
            figures.floor()?;
        }
        for _ in figures.traces()..due(arguments.restores.min(5)) {
            figures.trace()?;
        }
        session.progress.say(&format!("{} of {steps}", number + 1));
    }
    let mut bench = Bench {
        schema: SCHEMA,
        app: app.name.clone(),
        measured: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        data: lock.data.tree.to_string(),
        data_bytes: lock.data.files.iter().map(|file| file.size).sum(),
        runtime: runtime.kind.to_string(),
        host: Host::this()?,
        machine: Machine::this(),
        series: Vec::new(),
        stages: Vec::new(),
        // An engine other than CRIU has images of its own form.
        memory: memory::regions(&session.store, &lock).map(|found| by_kind(&found)).unwrap_or_default(),
        resident: Vec::new(),
        rates: Vec::new(),
    };
    figures.into_bench(&mut bench);
    let kept = keep(session, &templates, &bench, earlier.as_ref())?;
    println!("{}\n", bench.markdown(earlier.as_ref()));
    for path in kept {
        println!("{}", session.workspace.relative(&path));
    }
    if let Some(ratio) = bench.headline() {
        println!("{} is back {ratio:.1} times as fast (medians).", bench.app);
    }
    arguments.fail_below.map_or(Ok(()), |least| bench.at_least(least).map(drop))
}

/// The figures for programs, and for people in three forms.
fn keep(
    session: &Session,
    templates: &Templates,
    bench: &Bench,
    earlier: Option<&Bench>,
) -> Result<Vec<PathBuf>> {
    let folder = session.workspace.state_folder("reports")?;
    let files = [
        ("json", serde_json::to_vec_pretty(bench)?),
        ("md", format!("{}\n", bench.markdown(earlier)).into_bytes()),
        ("svg", bench::svg(templates, bench)?.into_bytes()),
        ("html", bench::html(templates, bench, earlier)?.into_bytes()),
    ];
    let mut kept = Vec::new();
    for (kind, bytes) in files {
        let path = folder.join(format!("{}-bench.{kind}", bench.app));
        write_whole(&path, &bytes, 0o644)?;
        kept.push(fs::canonicalize(path)?);
    }
    Ok(kept)
}

fn by_kind(regions: &[memory::Region]) -> BTreeMap<String, u64> {
    memory::by_kind(regions).into_iter().map(|(kind, bytes)| (kind.to_string(), bytes)).collect()
}

/// The files of the data that a restore may read: pages, and memory that is mapped.
fn pages(lock: &Lock) -> impl Iterator<Item = &crate::lock::DataFile> {
    let is_memory = |path: &str| path == memory::MEMORY || path.starts_with("/checkpoint-data/pages-");
    lock.data.files.iter().filter(move |file| is_memory(&file.path))
}
