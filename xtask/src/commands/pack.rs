//! `pack`: one rock of the pair, as an OCI archive.

use anyhow::{Result, ensure};

use crate::app::{self, App, Source};
use crate::cli::{Global, Pack};
use crate::debian::Root;
use crate::lock::Lock;
use crate::pack::{Blob, Image};
use crate::pebble::Pebble;
use crate::plan;
use crate::render::Templates;
use crate::rock::Role;
use crate::rocks::{self, Parts};
use crate::session::Session;
use crate::source::Jar;

/// Packs the checkpoint rock from app.toml, or the restore rock from the pin.
pub fn run(session: &Session, arguments: &Pack, global: &Global) -> Result<()> {
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    super::native_only(&app)?;
    let image = match arguments.role {
        Role::Checkpoint => {
            let source = super::source_of(&app, arguments.source.as_deref())?;
            match super::checkpoint::pack(session, &app, &source, global)? {
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
            from_pin(session, &app, &super::pin(session, &app)?)?
        }
    };
    let path = session
        .progress
        .step("write the rock", || super::write_rock(session, &app, arguments.role, &image))?;
    println!("{}  {}", session.workspace.relative(&path), image.manifest);
    Ok(())
}

/// The restore rock, from nothing but the pin and the store; an error unless it is the very rock that was pinned.
pub fn from_pin(session: &Session, app: &App, lock: &Lock) -> Result<Image> {
    if let Some(missing) = plan::missing(session, lock) {
        anyhow::bail!(
            "the store has lost {missing}, which the pin of {0} names; run `cargo xtask checkpoint {0}`",
            app.name
        );
    }
    let parts = parts_of(lock);
    let templates = Templates::read(&session.workspace.templates())?;
    // The labels of a rock made from a local source name none, and so must those of its second packing.
    let source =
        if lock.source.local { Source::Jar { path: Default::default() } } else { app.source.clone() };
    let image = rocks::restore(session, &templates, app, &source, &parts, &lock.data.files)?;
    ensure!(
        image.manifest == lock.rocks.restore,
        "the restore rock of {0} would be {1}, but the pin says {2}; {3}; \
         run `cargo xtask checkpoint {0}`, which redoes only what depends on it",
        app.name,
        image.manifest,
        lock.rocks.restore,
        changed(session, app, lock, &templates)
    );
    Ok(image)
}

/// Which inputs differ from the pin's, as far as this machine can tell.
fn changed(session: &Session, app: &App, lock: &Lock, templates: &Templates) -> String {
    let differing = plan::inputs(session, app, &app.source, templates).ok().and_then(|mut inputs| {
        if let (true, Some(pinned)) = (lock.source.local, lock.inputs.get("source")) {
            inputs.insert("source".into(), *pinned);
        }
        plan::changed(&inputs, &lock.inputs, |_| true)
    });
    match differing {
        Some(reason) => reason.to_string(),
        None => "it was made by another version of this tool".to_owned(),
    }
}

/// What the pinned rocks are made of.
pub fn parts_of(lock: &Lock) -> Parts {
    Parts {
        base: Root {
            blob: Blob { digest: lock.base.digest, size: lock.base.size },
            packages: lock.base.packages.clone(),
        },
        pebble: Pebble {
            version: lock.pebble.version.clone(),
            digest: lock.pebble.digest,
            size: lock.pebble.size,
        },
        jar: Jar { digest: lock.source.jar, size: lock.source.jar_size },
        archive: lock.class_archive.as_ref().map(|archive| (archive.digest, archive.size)),
    }
}
