//! `checkpoint`: all of the way, from app.toml to a restored application and its pin.
//!
//! This file plans, `work` carries the plan out, `pin` writes what came of it.

use std::cell::OnceCell;

use anyhow::Result;

use self::work::Work;
use crate::app;
use crate::cli::{Checkpoint, Global};
use crate::host;
use crate::lock::{Lock, ObjectKind};
use crate::pack::{Image, import};
use crate::plan::{self, Reason, Step};
use crate::render::Templates;
use crate::rocks::{self, Job};
use crate::scan;
use crate::session::Session;
use crate::way::Packer;

pub mod pin;
mod work;

/// Plans, then carries the plan out.
pub fn run(session: &Session, arguments: &Checkpoint, global: &Global) -> Result<()> {
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    let source = super::source_of(&app, arguments.source.as_deref())?;
    let templates = Templates::read(&session.workspace.templates())?;
    let job = super::job(session, &app, &source, &templates)?;
    let inputs = plan::inputs(&job)?;
    let _alone = if global.plan { None } else { Some(session.workspace.exclusive(&app.name)?) };
    // An unreadable pin is no pin, but nobody should wonder where it went.
    let lock = Lock::read(&session.workspace.lock(&app.name)).unwrap_or_else(|error| {
        session.progress.warn(&format!("{error:#}"));
        None
    });
    if global.locked {
        super::why::locked(&job, lock.as_ref())?;
    }
    let granted = lock.as_ref().map(|lock| lock.capabilities.restore.as_slice());
    let mut state = plan::state(&job, lock.as_ref())?;
    if let (Some(lock), None) = (&lock, state.missing)
        && plan::changed(&inputs, &lock.inputs, |_| true).is_none()
    {
        state.repack = repack(&Job { granted, ..job }, lock)?;
    }
    let plan = plan::checkpoint(&inputs, &state, arguments.force);
    // What a restore is granted and refused belongs to the dump that was proven with it.
    let job = match &lock {
        Some(lock) if !plan.has(Step::Dump) => Job { granted, refused: &lock.system_calls.refused, ..job },
        _ => job,
    };
    if global.plan {
        print!("{plan}");
        return Ok(());
    }
    if global.locked && (arguments.force || plan.0.len() > 1) {
        anyhow::bail!("--locked: this would be done:\n{plan}`cargo xtask checkpoint {}` does it", app.name);
    }
    crate::render::render(&templates, &app, lock.as_ref())?;
    if let (Some(lock), false, true) = (&lock, plan.has(Step::Dump), plan.has(Step::Prove)) {
        super::fits(session, lock, false)?;
    }
    if plan.0.len() > 1 {
        host::ensure(&host::for_checkpoint(&job, &plan), global.install, &session.progress)?;
    }
    // Before anything is built: a secret that is not to be had here ends it.
    let secrets = if plan.has(Step::Scan) { scan::given(&app, &session.workspace.root)? } else { Vec::new() };
    let dumps = plan.has(Step::Dump);
    let work = Work { secrets, job, inputs: &inputs, lock: lock.as_ref(), dumps, rockcraft: OnceCell::new() };
    work.carry_out(&plan)
}

/// Why the pinned restore rock must be packed again though nothing that it is made from has changed.
fn repack(job: &Job<'_>, lock: &Lock) -> Result<Option<Reason>> {
    let present = import::read_image(&job.session.store, &lock.rocks.restore).is_ok();
    match job.way.packer {
        // No two runs of rockcraft give the same bytes, so there is nothing to compare with.
        Packer::Rockcraft => Ok((!present).then_some(Reason::Missing(ObjectKind::Rock))),
        Packer::Native => {
            let parts = super::pack::parts_of(lock)?;
            let packed = rocks::restore(job, &parts, &lock.data.files, &lock.data.mapped)?;
            Ok((packed.manifest != lock.rocks.restore).then_some(Reason::Drifted))
        }
    }
}

/// Packs the checkpoint rock and stops there; nothing with `--plan`.
pub fn pack(job: &Job<'_>, global: &Global) -> Result<Option<Image>> {
    let Job { session, app, .. } = *job;
    let _alone = if global.plan { None } else { Some(session.workspace.exclusive(&app.name)?) };
    let inputs = plan::inputs(job)?;
    let plan = plan::pack_checkpoint(&plan::state(job, None)?);
    if global.plan {
        print!("{plan}");
        return Ok(None);
    }
    host::ensure(&host::for_checkpoint(job, &plan), global.install, &session.progress)?;
    let work = Work {
        secrets: Vec::new(),
        job: *job,
        inputs: &inputs,
        lock: None,
        dumps: true,
        rockcraft: OnceCell::new(),
    };
    Ok(work.make(&plan)?.checkpoint)
}
