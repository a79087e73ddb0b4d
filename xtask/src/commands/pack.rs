//! `pack`: one rock of the pair, as an OCI archive.

use anyhow::{Context, Result, ensure};

use crate::app::{self, App, Source};
use crate::cli::{Global, Pack};
use crate::debian::Root;
use crate::host;
use crate::lock::Lock;
use crate::pack::{Blob, Image};
use crate::pebble::{self, Pebble};
use crate::plan;
use crate::render::Templates;
use crate::rock::Role;
use crate::rocks::{self, Parts};
use crate::runtime::Runtime;
use crate::session::Session;
use crate::source::Jar;
use crate::toolchain::Toolchain;

/// Packs the checkpoint rock from app.toml, or the restore rock from the pin.
pub fn run(session: &Session, arguments: &Pack, global: &Global) -> Result<()> {
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    super::native_only(&app)?;
    if global.plan {
        super::print_plan(&match arguments.role {
            Role::Checkpoint => {
                ["make the base layer, Pebble and the jar, unless they are there", "pack", "write the rock"]
            }
            Role::Restore => ["read the pin", "pack from the store what it names", "write the rock"],
        });
        return Ok(());
    }
    let image = match arguments.role {
        Role::Checkpoint => {
            let source = super::source_of(&app, arguments.source.as_deref())?;
            host::ensure(&host::for_checkpoint(&source), global.install, &session.progress)?;
            checkpoint(session, &app, &source)?
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

fn checkpoint(session: &Session, app: &App, source: &Source) -> Result<Image> {
    let runtime = Runtime::connect()?;
    let spec = plan::base(app);
    let base = session.progress.step("make the base layer", || spec.make(session))?;
    let toolchain = match pebble::cached(session)?.is_none() || source.cached(app, session)?.is_none() {
        true => Some(
            session
                .progress
                .step("make the build image", || Toolchain::prepare(session, &runtime, app.java.version))?,
        ),
        false => None,
    };
    let pebble = match pebble::cached(session)? {
        Some(pebble) => pebble,
        None => session
            .progress
            .step("build Pebble", || pebble::build(session, toolchain.as_ref().context("a build image")?))?,
    };
    let jar = match source.cached(app, session)? {
        Some(jar) => jar,
        None => session.progress.step("get the jar", || source.jar(app, session, toolchain.as_ref()))?,
    };
    let templates = Templates::read(&session.workspace.templates())?;
    rocks::checkpoint(session, &templates, app, source, &Parts { base, pebble, jar })
}

/// The restore rock, from nothing but the pin and the store; an error unless it is the very rock that was pinned.
pub fn from_pin(session: &Session, app: &App, lock: &Lock) -> Result<Image> {
    let state = plan::state(session, app, &app.source, Some(lock))?;
    if let Some(missing) = state.missing {
        anyhow::bail!(
            "the store has lost {missing}, which the pin of {0} names; run `cargo xtask checkpoint {0}`",
            app.name
        );
    }
    let parts = Parts {
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
    };
    let templates = Templates::read(&session.workspace.templates())?;
    // The labels of a rock made from a local source name none, and so must those of its second packing.
    let source =
        if lock.source.local { Source::Jar { path: Default::default() } } else { app.source.clone() };
    let image = rocks::restore(session, &templates, app, &source, &parts, &lock.data.files)?;
    ensure!(
        image.manifest == lock.rocks.restore,
        "the restore rock of {0} would be {1}, but the pin says {2}: app.toml or a template has changed since; \
         run `cargo xtask checkpoint {0}`, which redoes only what depends on it",
        app.name,
        image.manifest,
        lock.rocks.restore
    );
    Ok(image)
}
