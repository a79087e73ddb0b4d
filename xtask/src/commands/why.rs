//! `why`: what `checkpoint` would do again, and which input of the pin is the reason. And `--locked`, which makes such
//! a reason an error.

use anyhow::{Result, bail};

use crate::app;
use crate::cli::{Global, Why};
use crate::lock::Lock;
use crate::plan::{self, Difference};
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
    let reasons = reasons(&job, &lock)?;
    if reasons.is_empty() {
        println!("{} is as it was pinned.", app.name);
        return Ok(());
    }
    reasons.iter().for_each(|reason| println!("{reason}"));
    let state = plan::state(&job, Some(&lock))?;
    print!("{}", plan::checkpoint(&plan::inputs(&job)?, &state, false));
    Ok(())
}

/// With `--locked`: an error unless everything is as it was pinned.
pub fn locked(job: &Job<'_>, lock: Option<&Lock>) -> Result<()> {
    let name = &job.app.name;
    let Some(lock) = lock else {
        bail!("--locked: {name} has no pin; `cargo xtask checkpoint {name}` makes one")
    };
    let reasons = reasons(job, lock)?;
    if !reasons.is_empty() {
        bail!(
            "--locked: {name} is not as it was pinned:\n  {}\n`cargo xtask checkpoint {name}` accepts it",
            reasons.join("\n  ")
        );
    }
    Ok(())
}

/// Every reason why the pin is not what would be made now.
fn reasons(job: &Job<'_>, lock: &Lock) -> Result<Vec<String>> {
    let inputs = plan::inputs_beside(job, lock)?;
    let mut reasons: Vec<String> =
        plan::differences(&inputs, &lock.inputs).iter().map(Difference::to_string).collect();
    reasons.extend(plan::missing(job.session, lock).map(|what| format!("the store has lost {what}")));
    let stale = super::render::stale(job.session, job.app, lock)?;
    reasons.extend(stale.iter().map(|path| format!("rocks/{}/{path} is not as rendered", job.app.name)));
    Ok(reasons)
}
