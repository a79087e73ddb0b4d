//! What a plan is made from: digests of the inputs, and what the store holds.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Inputs, Packer, State};
use crate::app::{App, Profile, Source};
use crate::debian::RootSpec;
use crate::digest::Digest;
use crate::engine::{CRIU_OPTIONS, Engine};
use crate::lock::Lock;
use crate::memo::Memo;
use crate::pebble;
use crate::render::{self, Templates};
use crate::rock::Role;
use crate::rocks;
use crate::session::Session;

/// Whether an archive of the application's classes goes into the rocks.
pub fn wants_archive(app: &App) -> bool {
    app.java.profile == Profile::Small && Engine::choose(app.engine, Packer::Native) == Engine::Criu
}

/// The class archive, an object of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive(pub Digest, pub u64);

/// Where the archive is remembered, by the bytes it was recorded from: the JVM refuses it over any others. None while
/// these are not made yet.
pub fn archive_memo(
    session: &Session,
    app: &App,
    source: &Source,
    templates: &Templates,
) -> Result<Option<Memo>> {
    let (Some(base), Some(jar)) = (base(app).cached(session)?, source.cached(app, session)?) else {
        return Ok(None);
    };
    let files = render::native_files(templates, app, Role::Checkpoint)?;
    let start = files.get(Path::new("scripts/start.sh")).map(|file| Digest::of(&file.bytes));
    let environment = Engine::choose(app.engine, Packer::Native).environment(app);
    let key = Digest::of_value(&(base.blob.digest, jar.digest, start, environment, &app.http.warm_up));
    Memo::of(&session.workspace, "archive", &key).map(Some)
}

/// The archive recorded earlier from the same, if one is wanted and it is still in the store.
pub fn archive(
    session: &Session,
    app: &App,
    source: &Source,
    templates: &Templates,
) -> Result<Option<Archive>> {
    if !wants_archive(app) {
        return Ok(None);
    }
    let remembered = archive_memo(session, app, source, templates)?.and_then(|memo| memo.get::<Archive>());
    Ok(remembered.filter(|archive| session.store.has(&archive.0, archive.1)))
}

/// The base layer of an application's rocks.
pub fn base(app: &App) -> RootSpec {
    let mut packages = Engine::choose(app.engine, Packer::Native).packages(app.java.version);
    packages.extend(app.rock.packages.iter().cloned());
    RootSpec::new(&app.rock.suite, packages)
}

/// Digests of everything a pin of `app` would be made from now.
pub fn inputs(session: &Session, app: &App, source: &Source, templates: &Templates) -> Result<Inputs> {
    let engine = Engine::choose(app.engine, Packer::Native);
    let files = |role| -> Result<Digest> {
        let files = render::native_files(templates, app, role)?;
        Ok(Digest::of_value(
            &files.iter().map(|(path, file)| (path, Digest::of(&file.bytes))).collect::<Vec<_>>(),
        ))
    };
    let run = (
        CRIU_OPTIONS,
        engine,
        engine.capabilities(Role::Checkpoint),
        engine.seccomp(Role::Checkpoint),
        // The version of the way a dump is made and its data laid out.
        1,
    );
    let labels = (
        [Role::Checkpoint, Role::Restore].map(|role| rocks::labels(app, source, role)),
        engine.capabilities(Role::Restore),
        rocks::PACKING,
    );
    Ok(Inputs::from([
        ("base".into(), base(app).digest()),
        ("pebble".into(), pebble::digest(&session.workspace.templates())?),
        ("source".into(), source.digest(app)?),
        ("checkpoint-files".into(), files(Role::Checkpoint)?),
        ("restore-files".into(), files(Role::Restore)?),
        ("requests".into(), Digest::of_value(&app.http)),
        ("engine".into(), Digest::of_value(&run)),
        ("labels".into(), Digest::of_value(&labels)),
    ]))
}

/// The first thing a pin names that the store has not.
pub fn missing(session: &Session, lock: &Lock) -> Option<&'static str> {
    let store = &session.store;
    let lost_data =
        lock.data.files.iter().any(|file| file.sha256.is_some_and(|sum| !store.has(&sum, file.size)));
    if lost_data {
        Some("the checkpoint data")
    } else if !store.has(&lock.source.jar, lock.source.jar_size) {
        Some("the jar")
    } else if !store.has(&lock.base.digest, lock.base.size) {
        Some("the base layer")
    } else if !store.has(&lock.pebble.digest, lock.pebble.size) {
        Some("Pebble")
    } else if lock.class_archive.as_ref().is_some_and(|archive| !store.has(&archive.digest, archive.size)) {
        Some("the class archive")
    } else {
        None
    }
}

/// Looks at what is there.
pub fn state(
    session: &Session,
    app: &App,
    source: &Source,
    templates: &Templates,
    lock: Option<&Lock>,
) -> Result<State> {
    Ok(State {
        pinned: lock.map(|lock| lock.inputs.clone()),
        missing: lock.and_then(|lock| missing(session, lock)),
        drifted: false,
        base: base(app).cached(session)?.is_some(),
        pebble: pebble::cached(session)?.is_some(),
        jar: source.cached(app, session)?.is_some(),
        archive: !wants_archive(app) || archive(session, app, source, templates)?.is_some(),
        jar_needs_toolchain: source.needs_toolchain(),
    })
}
