//! `why`: what `checkpoint` would do again, and which input of the pin is the reason. And `--locked`, which makes such
//! a reason an error.

use anyhow::{Result, bail};

use crate::app;
use crate::cli::{Global, Why};
use crate::lock::Lock;
use crate::plan::{self, Difference, Drift};
use crate::render::Templates;
use crate::rocks::Job;
use crate::session::Session;

/// Prints the differences and the plan.
pub fn run(session: &Session, arguments: &Why, global: &Global) -> Result<()> {
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    if global.plan {
        super::print_plan(&["read the pin", "digest its inputs as they are now", "print what differs"]);
        return Ok(());
    }
    let lock = super::pin(session, &app)?;
    let source = super::source_of(&app, arguments.source.as_deref())?;
    let templates = Templates::read(&session.workspace.templates())?;
    let job = super::job(session, &app, &source, &templates)?;
    let drift = drift(&job, Some(&lock))?;
    if drift.is_empty() {
        println!("{} is as it was pinned.", app.name);
        return Ok(());
    }
    drift.iter().for_each(|drift| println!("{drift}"));
    let state = plan::state(&job, Some(&lock))?;
    print!("{}", plan::checkpoint(&plan::inputs(&job)?, &state, false));
    Ok(())
}

/// With `--locked`: an error unless everything is as it was pinned.
pub fn locked(job: &Job<'_>, lock: Option<&Lock>) -> Result<()> {
    let drift = drift(job, lock)?;
    if !drift.is_empty() {
        bail!("{}", refusal(&job.app.name, &drift));
    }
    Ok(())
}

/// What `--locked` says: each respect by its name with the old and the new value, and the commands that settle them.
pub fn refusal(app: &str, drift: &[Drift]) -> String {
    let lines: Vec<String> = drift.iter().map(Drift::to_string).collect();
    let remedies: Vec<String> = drift.iter().map(|drift| drift.remedy(app)).collect();
    // A checkpoint renders and finds again whatever was lost.
    let best = remedies.iter().find(|remedy| remedy.contains(" checkpoint ")).or(remedies.first());
    let remedy = best.map_or("", String::as_str);
    format!("--locked: {app} is not as it was pinned:\n  {}\n`{remedy}` settles it", lines.join("\n  "))
}

/// Every respect in which the pin is not what would be made now.
fn drift(job: &Job<'_>, lock: Option<&Lock>) -> Result<Vec<Drift>> {
    let Some(lock) = lock else { return Ok(vec![Drift::NoPin]) };
    let inputs = plan::inputs_beside(job, lock)?;
    let differences = plan::differences(&inputs, &lock.inputs);
    let mut drift: Vec<Drift> = differences.into_iter().map(|one| in_words(job, lock, one)).collect();
    drift.extend(plan::lost(job.session, lock).into_iter().map(Drift::Lost));
    drift.extend(super::render::stale(job.session, job.app, lock)?);
    Ok(drift)
}

/// Where the pin keeps more than an input's digest, a person is told that.
fn in_words(job: &Job<'_>, lock: &Lock, difference: Difference) -> Drift {
    let (pinned, now) = match difference.name.as_str() {
        "source" => (lock.source.from.clone(), job.source.title()),
        "engine" => (
            format!("{} by {}", lock.engine, lock.packer.name),
            format!("{} by {}", job.way.engine, job.way.packer),
        ),
        _ => return Drift::input(difference),
    };
    match pinned == now {
        true => Drift::input(difference),
        false => Drift::Input { difference, pinned, now },
    }
}
