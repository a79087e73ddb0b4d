//! `bench`: cold starts and restores, measured in one run and interleaved, so that the machine's noise hits both.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Result;
use fs_err as fs;

use crate::app;
use crate::bench::{self, Bench, Machine, SCHEMA};
use crate::cli::{self, Global};
use crate::diagnostic::{InputError, causes};
use crate::interrupt;
use crate::lock::{Host, Lock};
use crate::memory;
use crate::render::Templates;
use crate::rock::Role;
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
    if let Some(earlier) = earlier.as_ref().filter(|earlier| earlier.app != app.name) {
        return Err(InputError::plain(
            format!("--baseline is a report of {}, not of {}", earlier.app, app.name),
            "compare an application with itself",
        )
        .into());
    }
    if let Some(source) = &arguments.source {
        let (app, source) = (app.name.clone(), Some(source.clone()));
        super::checkpoint::run(session, &cli::Checkpoint { app, force: false, source }, global)?;
    }
    let lock = super::pin(session, &app)?;
    let (_alone, runtime) = super::ready_to_restore(session, &app, &lock, global)?;
    let templates = Templates::read(&session.workspace.templates())?;
    let job = super::pinned_job(session, &app, &templates, &lock, global)?;
    let restorer = super::pack::from_pin(&job, &lock)?;
    let restorer = super::load(session, &runtime, &app, Role::Restore, &restorer)?;
    let checkpointer = super::pack::checkpoint_from_pin(&job, &lock)?;
    let checkpointer = super::load(session, &runtime, &app, Role::Checkpoint, &checkpointer)?;

    let mut figures = Figures::new(&job, &runtime, &lock, Images { checkpointer, restorer });
    let gathered = gather(session, arguments, &mut figures);
    let started = figures.cold_starts() + figures.restores();
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
        memory: memory::regions(&session.store, &lock.data.files)
            .map(|found| by_kind(&found))
            .unwrap_or_default(),
        resident: Vec::new(),
        rates: Vec::new(),
    };
    figures.into_bench(&mut bench);
    if let Err(error) = gathered {
        if started > 0 {
            let path = keep_incomplete(session, &bench, &error)?;
            let path = session.workspace.relative(&path);
            session.progress.warn(&format!("what was measured until then, {started} starts, is in {path}"));
        }
        return Err(error);
    }
    for other in earlier.iter().flat_map(|earlier| bench.elsewhere(earlier)) {
        session.progress.warn(&format!("--baseline was measured elsewhere: {other}"));
    }
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

/// Starts and restores in turn.
fn gather(session: &Session, arguments: &cli::Bench, figures: &mut Figures<'_>) -> Result<()> {
    if arguments.restores > 0 {
        figures.answers()?;
    }
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
    Ok(())
}

/// The figures of a run that broke off, under a name of their own: the last whole report stays what it is.
fn keep_incomplete(session: &Session, bench: &Bench, error: &anyhow::Error) -> Result<PathBuf> {
    let path = session.workspace.state_folder("reports")?.join(format!("{}-bench-incomplete.md", bench.app));
    write_whole(&path, incomplete(bench, error)?.as_bytes(), 0o644)?;
    Ok(path)
}

/// A page that says first that it is incomplete, and why; then the tables, and every figure.
fn incomplete(bench: &Bench, error: &anyhow::Error) -> Result<String> {
    let why = causes(error).replace('\n', "\n> ");
    let figures = serde_json::to_string(bench)?;
    Ok(format!(
        "> **Incomplete.** The run broke off: {why}\n\n{}\n\n```json\n{figures}\n```\n",
        bench.markdown(None)
    ))
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
fn pages(lock: &Lock) -> impl Iterator<Item = &crate::files::DataFile> {
    let is_memory = |path: &str| path == memory::MEMORY || path.starts_with("/checkpoint-data/pages-");
    lock.data.files.iter().filter(move |file| is_memory(&file.path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{COLD, Series};

    #[test]
    fn a_run_that_broke_off_keeps_its_figures_and_says_so() {
        let bench = Bench {
            schema: SCHEMA,
            app: "shop".into(),
            measured: "2026-11-28T01:00:00Z".into(),
            data: "sha256:0".into(),
            data_bytes: 1,
            runtime: "podman".into(),
            host: Host::this().unwrap(),
            machine: Machine::default(),
            series: vec![Series { name: COLD.into(), millis: vec![5000.0, 5200.0] }],
            stages: Vec::new(),
            memory: BTreeMap::new(),
            resident: Vec::new(),
            rates: Vec::new(),
        };
        let page = incomplete(&bench, &anyhow::anyhow!("shop was not restored\nits log is empty")).unwrap();
        let (head, rest) = page.split_once("\n\n").unwrap();
        assert_eq!(head, "> **Incomplete.** The run broke off: shop was not restored\n> its log is empty");
        assert!(rest.contains("| 2 | 5000 |"), "{page}");
        let figures = rest.split_once("```json\n").unwrap().1.trim_end_matches("\n```\n");
        assert_eq!(serde_json::from_str::<Bench>(figures).unwrap(), bench);
    }
}
