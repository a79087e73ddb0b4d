//! `soak`: restores again and again, to see that every one answers and that nothing is left behind.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::app::{self, Request};
use crate::bench::Series;
use crate::checkpoint::{Running, start_restored};
use crate::cli::{self, Global};
use crate::digest::Digest;
use crate::interrupt;
use crate::render::Templates;
use crate::rock::Role;
use crate::runtime::Runtime;
use crate::session::Session;
use crate::traces::Traces;

/// Stops at the first restore that does not answer, or answers otherwise than the first.
pub fn run(session: &Session, arguments: &cli::Soak, global: &Global) -> Result<()> {
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    if global.plan {
        super::print_plan(&[
            "load the pinned restore rock",
            "restore, compare the answers to http.verify, remove, and again",
            "count containers, mounts, processes and files before and after",
        ]);
        return Ok(());
    }
    let lock = super::pin(session, &app)?;
    let (_alone, runtime) = super::ready_to_restore(session, &app, &lock, global)?;
    let templates = Templates::read(&session.workspace.templates())?;
    let job = super::pinned_job(session, &app, &templates, &lock, global)?;
    let image = super::pack::from_pin(&job, &lock)?;
    let image = super::load(session, &runtime, &app, Role::Restore, &image)?;

    if let Some(most) = arguments.beside {
        return super::beside::run(&job, &runtime, &image, &lock, most.into());
    }
    let before = Traces::of(session, &runtime)?;
    let mut ids = Vec::new();
    let mut starts = Vec::new();
    let mut expected: Option<Vec<Digest>> = None;
    for number in 1..=arguments.restores {
        interrupt::check()?;
        let what = || format!("restore {number} of {}", arguments.restores);
        let running = start_restored(&job, &runtime, &image, lock.pid).with_context(what)?;
        let answers = answers(&running, &app.http.verify).with_context(what)?;
        let first = expected.get_or_insert_with(|| answers.clone());
        let differs = app.http.verify.iter().zip(first.iter().zip(&answers)).find(|(_, (a, b))| a != b);
        if let Some((request, _)) = differs {
            let line = format!("{} {} (http.verify)", request.method, request.path);
            bail!("{}: {line} answers otherwise than the first restore did", what());
        }
        ids.push(running.container.id().with_context(what)?);
        starts.push(running.start);
        if number % 50 == 0 {
            session.progress.say(&what());
        }
    }
    let names = format!("xtask-{}-", app.name);
    let (after, left) = settled(session, &runtime, |after| after.left(&before, &ids, &names))?;
    let series = Series::of("", starts.iter().map(|start| start.alone));
    let included = Series::of("", starts.iter().map(|start| start.with_container));
    println!("{} of {} restores of {} answered.", starts.len(), arguments.restores, app.name);
    if !starts.is_empty() {
        let line = |name: &str, series: &Series| {
            let (median, p95, most) = (series.median(), series.p95(), series.percentile(1.0));
            println!("  {name:<28} median {median:.0} ms, p95 {p95:.0} ms, max {most:.0} ms");
        };
        line("from the container's start", &series);
        line("container start included", &included);
    }
    println!("{}", after.beside(&before));
    ensure!(left.is_empty(), "{} restores left behind:\n  {}", starts.len(), left.join("\n  "));
    println!("Nothing was left behind.");
    Ok(())
}

/// What is there, and what of it is left behind, once the engine has cleaned up: it does so beside us, and says nothing.
fn settled(
    session: &Session,
    runtime: &Runtime,
    left: impl Fn(&Traces) -> Vec<String>,
) -> Result<(Traces, Vec<String>)> {
    let end = Instant::now() + Duration::from_secs(15);
    loop {
        let after = Traces::of(session, runtime)?;
        let found = left(&after);
        if found.is_empty() || Instant::now() > end {
            return Ok((after, found));
        }
        interrupt::sleep(Duration::from_millis(250))?;
    }
}

fn answers(running: &Running<'_>, verify: &[Request]) -> Result<Vec<Digest>> {
    verify.iter().map(|request| Ok(running.client.expect(request)?.digest())).collect()
}
