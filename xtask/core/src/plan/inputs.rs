//! What a plan is made from: digests of the inputs, and what the store holds.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Inputs, State};
use crate::app::{App, Profile, Secrets, Source};
use crate::debian::RootSpec;
use crate::digest::Digest;
use crate::engine::{CRIU_OPTIONS, Engine};
use crate::fresh;
use crate::lock::{Lock, Object};
use crate::memo::Memo;
use crate::pebble;
use crate::render;
use crate::rock::Role;
use crate::rocks::{self, Job};
use crate::session::Session;
use crate::way::Packer;

/// Whether an archive of the application's classes goes into the natively packed rocks.
pub fn wants_archive(app: &App) -> bool {
    app.java.profile != Profile::None
}

/// The class archive, an object of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive(pub Digest, pub u64);

/// Where the archive is remembered, by the bytes it was recorded from: the JVM refuses it over any others. None while
/// these are not made yet.
pub fn archive_memo(job: &Job<'_>) -> Result<Option<Memo>> {
    let Job { session, app, source, templates, way, .. } = *job;
    let (Some(base), Some(jar)) = (base(app).cached(session)?, source.cached(app, session)?) else {
        return Ok(None);
    };
    let files = render::native_files(templates, app, way.engine, Role::Checkpoint)?;
    let start = files.get(Path::new("scripts/start.sh")).map(|file| Digest::of(&file.bytes));
    let environment = way.engine.environment(app);
    let fresh = match fresh::wanted(app, way.engine) {
        true => match fresh::cached(session)? {
            Some(fresh) => Some(fresh.digest),
            None => return Ok(None),
        },
        false => None,
    };
    let key = Digest::of_value(&(base.blob.digest, jar.digest, fresh, start, environment, &app.http.warm_up));
    Memo::of(&session.workspace, "archive", &key).map(Some)
}

/// The archive recorded earlier from the same, if one is wanted and it is still in the store.
pub fn archive(job: &Job<'_>) -> Result<Option<Archive>> {
    if !wants_archive(job.app) {
        return Ok(None);
    }
    let remembered = archive_memo(job)?.and_then(|memo| memo.get::<Archive>());
    Ok(remembered.filter(|archive| job.session.store.has(&archive.0, archive.1)))
}

/// The base layer of an application's natively packed rocks.
pub fn base(app: &App) -> RootSpec {
    let mut packages = Engine::Criu.packages(app.java.version);
    packages.extend(app.rock.packages.iter().cloned());
    RootSpec::new(&app.rock.suite, packages)
}

/// Digests of everything a pin would be made from now.
pub fn inputs(job: &Job<'_>) -> Result<Inputs> {
    let Job { session, app, source, templates, way, .. } = *job;
    let engine = way.engine;
    let files = |role| -> Result<Digest> {
        let files = match way.packer {
            Packer::Native => render::native_files(templates, app, engine, role)?,
            Packer::Rockcraft => render::rockcraft_files(templates, app, role, None)?,
        };
        let own = render::own_files(app, engine);
        let own: Vec<_> =
            own.iter().map(|(path, file)| (path, file.executable, Digest::of(&file.bytes))).collect();
        let files: Vec<_> = files.iter().map(|(path, file)| (path, Digest::of(&file.bytes))).collect();
        Ok(Digest::of_value(&(files, own)))
    };
    let run = (
        CRIU_OPTIONS,
        way,
        engine.capabilities(app, Role::Checkpoint),
        engine.seccomp(Role::Checkpoint),
        app.checkpoint.memory,
        // The version of the way a dump is made and its data laid out.
        3,
    );
    let labels = (
        [Role::Checkpoint, Role::Restore].map(|role| rocks::labels(app, source, role)),
        engine.capabilities(app, Role::Restore),
        rocks::native::PACKING,
    );
    let mut inputs = Inputs::from([
        ("source".into(), source.digest(app)?),
        ("checkpoint-files".into(), files(Role::Checkpoint)?),
        ("restore-files".into(), files(Role::Restore)?),
        ("requests".into(), Digest::of_value(&app.http)),
        ("engine".into(), Digest::of_value(&run)),
        ("labels".into(), Digest::of_value(&labels)),
    ]);
    // A pin of an application without any is not stale for want of it.
    if app.secrets != Secrets::default() {
        inputs.insert("secrets".into(), Digest::of_value(&app.secrets));
    }
    // rockcraft comes with its own base and Pebble.
    if way.packer == Packer::Native {
        inputs.insert("base".into(), base(app).digest());
        inputs.insert("pebble".into(), pebble::digest(&session.workspace.templates())?);
        if fresh::wanted(app, engine) {
            inputs.insert("fresh-random".into(), fresh::digest(&session.workspace.templates())?);
        }
    }
    Ok(inputs)
}

/// The same, to be compared with a pin's. A source that only one machine had cannot be looked at on another, and that of
/// app.toml is not what was pinned then: it is taken to be as it was.
pub fn inputs_beside(job: &Job<'_>, lock: &Lock) -> Result<Inputs> {
    let mut inputs = inputs(job)?;
    if let (true, false, Some(pinned)) = (lock.source.local, job.source.is_local(), lock.inputs.get("source"))
    {
        inputs.insert("source".into(), *pinned);
    }
    Ok(inputs)
}

/// What a pin names and the store has not; nothing can be packed without it.
pub fn lost(session: &Session, lock: &Lock) -> Vec<Object> {
    lock.objects().into_iter().filter(|object| !session.store.has(&object.digest, object.size)).collect()
}

/// Looks at what is there.
pub fn state(job: &Job<'_>, lock: Option<&Lock>) -> Result<State> {
    let Job { session, app, source, way, .. } = *job;
    let native = way.packer == Packer::Native;
    Ok(State {
        pinned: lock.map(|lock| lock.inputs.clone()),
        missing: lock.and_then(|lock| lost(session, lock).first().map(|object| object.kind)),
        repack: None,
        base: !native || base(app).cached(session)?.is_some(),
        pebble: !native || pebble::cached(session)?.is_some(),
        fresh: !native || !fresh::wanted(app, way.engine) || fresh::cached(session)?.is_some(),
        jar: source.cached(app, session)?.is_some() || (!native && matches!(source, Source::Git { .. })),
        archive: !native || !wants_archive(app) || archive(job)?.is_some(),
        jar_needs_toolchain: source.needs_toolchain(),
    })
}
