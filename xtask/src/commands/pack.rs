//! `pack`: one rock of the pair, as an OCI archive.

use anyhow::{Context, Result, ensure};

use crate::app::{self, Source};
use crate::cli::{Global, Pack};
use crate::debian::Root;
use crate::lock::Lock;
use crate::pack::{Blob, Image, import};
use crate::pebble::Pebble;
use crate::plan;
use crate::render::Templates;
use crate::rock::Role;
use crate::rocks::{self, Job, Parts, rockcraft};
use crate::session::Session;
use crate::source::Jar;
use crate::way::Packer;

/// Packs the checkpoint rock from app.toml, or the restore rock from the pin.
pub fn run(session: &Session, arguments: &Pack, global: &Global) -> Result<()> {
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    let templates = Templates::read(&session.workspace.templates())?;
    let _shared = if global.plan { None } else { Some(session.workspace.sharing()?) };
    let image = match arguments.role {
        Role::Checkpoint => {
            let source = super::source_of(&app, arguments.source.as_deref())?;
            ensure!(
                !global.locked,
                "--locked: a checkpoint rock is made anew, whatever is pinned; pack the restore rock"
            );
            match super::checkpoint::pack(&super::job(session, &app, &source, &templates)?, global)? {
                Some(image) => image,
                None => return Ok(()),
            }
        }
        Role::Restore if global.plan => {
            super::print_plan(&["read the pin", "pack from the store what it names", "write the rock"]);
            return Ok(());
        }
        Role::Restore => {
            ensure!(
                arguments.source.is_none(),
                "the restore rock is packed from the pin; --source is for the checkpoint rock"
            );
            let lock = super::pin(session, &app)?;
            let job = super::pinned_job(session, &app, &templates, &lock, global)?;
            from_pin(&job, &lock)?
        }
    };
    let path = session
        .progress
        .step("write the rock", || super::write_rock(session, &app, arguments.role, &image))?;
    println!("{}  {}", session.workspace.relative(&path), image.manifest);
    Ok(())
}

/// The restore rock, from nothing but the pin and the store; an error unless it is the very rock that was pinned.
pub fn from_pin(job: &Job<'_>, lock: &Lock) -> Result<Image> {
    let Job { session, app, .. } = *job;
    if let Some(lost) = plan::lost(session, lock).first() {
        anyhow::bail!(
            "the store has lost {}, which the pin of {1} names; run `cargo xtask pull {1}` where it was pushed, or \
             `cargo xtask checkpoint {1}`, which makes a new pin",
            lost.name,
            app.name
        );
    }
    if job.way.packer == Packer::Rockcraft {
        // rockcraft would make other bytes of the same files, and these are the ones that were proven.
        return import::read_image(&session.store, &lock.rocks.restore).with_context(|| {
            format!(
                "the restore rock is lost; run `cargo xtask checkpoint {}`, which packs it again",
                app.name
            )
        });
    }
    let image = native(job, lock)?;
    ensure!(
        image.manifest == lock.rocks.restore,
        "the restore rock of {0} would be {1}, but the pin says {2}; {3}; \
         run `cargo xtask checkpoint {0}`, which redoes only what depends on it",
        app.name,
        image.manifest,
        lock.rocks.restore,
        changed(job, lock)
    );
    Ok(image)
}

/// The checkpoint rock of a pin, which neither `gc` nor `pull` keeps where it can be packed again; an error unless it is the
/// very rock that was pinned.
pub fn checkpoint_from_pin(job: &Job<'_>, lock: &Lock) -> Result<Image> {
    let app = &job.app.name;
    if let Ok(image) = import::read_image(&job.session.store, &lock.rocks.checkpoint) {
        return Ok(image);
    }
    ensure!(
        job.way.packer == Packer::Native,
        "the checkpoint rock of {app} is lost, and rockcraft would make other bytes of the same files; run \
         `cargo xtask checkpoint {app} --force`, which makes a new pin"
    );
    let source = pinned_source(job, lock);
    let image = rocks::checkpoint(&Job { source: &source, ..*job }, &parts_of(lock)?)?;
    ensure!(
        image.manifest == lock.rocks.checkpoint,
        "the checkpoint rock of {app} would be {}, but the pin says {}; {}; run `cargo xtask checkpoint {app} --force`, which \
         makes a new pin",
        image.manifest,
        lock.rocks.checkpoint,
        changed(job, lock)
    );
    Ok(image)
}

/// The restore rock of a pin with a CRIU that has what the job grants, and no more.
pub fn granted(job: &Job<'_>, lock: &Lock) -> Result<Image> {
    match job.way.packer {
        Packer::Native => native(job, lock),
        Packer::Rockcraft => {
            rockcraft::granted(job, &import::read_image(&job.session.store, &lock.rocks.restore)?)
        }
    }
}

/// The restore rock of a pin, packed natively.
fn native(job: &Job<'_>, lock: &Lock) -> Result<Image> {
    let source = pinned_source(job, lock);
    let repacked = Job { source: &source, ..*job };
    rocks::restore(&repacked, &parts_of(lock)?, &lock.data.files, &lock.data.mapped)
}

/// The source of the pinned rocks. The labels of rocks made from a local source name none, and so must those of their second
/// packing.
fn pinned_source(job: &Job<'_>, lock: &Lock) -> Source {
    if lock.source.local { Source::Jar { path: Default::default() } } else { job.app.source.clone() }
}

/// Which inputs differ from the pin's, as far as this machine can tell.
fn changed(job: &Job<'_>, lock: &Lock) -> String {
    let inputs = plan::inputs_beside(job, lock).ok();
    let differing = inputs.and_then(|inputs| plan::changed(&inputs, &lock.inputs, |_| true));
    match differing {
        Some(reason) => reason.to_string(),
        None => "it was made by another version of this tool".to_owned(),
    }
}

/// What the pinned rocks are made of.
pub fn parts_of(lock: &Lock) -> Result<Parts> {
    let jar = Jar { digest: lock.source.jar, size: lock.source.jar_size };
    if lock.packer.name == Packer::Rockcraft {
        let version = lock.packer.version.clone();
        return Ok(Parts::Rockcraft(rockcraft::Parts { version, jar: Some(jar) }));
    }
    let (Some(base), Some(pebble)) = (&lock.base, &lock.pebble) else {
        anyhow::bail!("the pin of a natively packed rock names its base and Pebble");
    };
    Ok(Parts::Native(rocks::native::Parts {
        base: Root { blob: Blob { digest: base.digest, size: base.size }, packages: base.packages.clone() },
        pebble: Pebble { version: pebble.version.clone(), digest: pebble.digest, size: pebble.size },
        jar,
        archive: lock.class_archive.as_ref().map(|archive| (archive.digest, archive.size)),
        fresh: lock.fresh_random,
    }))
}
