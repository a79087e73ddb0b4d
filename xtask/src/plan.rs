//! What a command is going to do, decided before it does anything.
//!
//! A plan is data: `--plan` prints it, a test compares it, and one exhaustive `match` in
//! `commands/checkpoint.rs` carries it out.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::app::{App, PackerChoice, Profile, Source};
use crate::debian::RootSpec;
use crate::digest::Digest;
use crate::engine::{CRIU_OPTIONS, Engine};
use crate::lock::Lock;
use crate::memo::Memo;
use crate::pebble;
use crate::render::{self, Templates};
use crate::rock::Role;
use crate::session::Session;

/// Who makes a rock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packer {
    /// `rockcraft pack`.
    Rockcraft,
    /// This tool.
    Native,
}

impl Packer {
    /// The packer that the application asks for.
    pub fn choose(choice: PackerChoice) -> Packer {
        match choice {
            PackerChoice::Rockcraft => Packer::Rockcraft,
            PackerChoice::Native | PackerChoice::Auto => Packer::Native,
        }
    }
}

/// One step on the way from app.toml to a restored application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Write `rocks/<app>`.
    Render,
    /// Make the base layer.
    Base,
    /// Make and load the build image.
    Toolchain,
    /// Build Pebble.
    Pebble,
    /// Fetch or build the jar.
    Jar,
    /// Record the archive of the application's classes.
    Train,
    /// Pack the checkpoint rock.
    PackCheckpoint,
    /// Load and run it, warm it up, dump it, collect the data.
    Dump,
    /// Pack the restore rock.
    PackRestore,
    /// Run it and compare its answers with those before the dump.
    Prove,
    /// Write checkpoint.lock.
    Pin,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Render => "render the rocks",
            Step::Base => "make the base layer",
            Step::Toolchain => "make the build image",
            Step::Pebble => "build Pebble",
            Step::Jar => "get the jar",
            Step::Train => "record the class archive",
            Step::PackCheckpoint => "pack the checkpoint rock",
            Step::Dump => "run, warm up and dump",
            Step::PackRestore => "pack the restore rock",
            Step::Prove => "restore and compare",
            Step::Pin => "pin the checkpoint",
        })
    }
}

/// Digests of everything a pin is made from, by name. Names and meaning are part of checkpoint.lock.
pub type Inputs = BTreeMap<String, Digest>;

/// Inputs that only the restore rock depends on: what was dumped stays good when they change.
const RESTORE_ONLY: [&str; 2] = ["labels", "restore-files"];

/// Why a step is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Done on every run.
    Always,
    /// There is no pin.
    NoPin,
    /// These inputs differ from the pin's.
    Changed(Vec<String>),
    /// The pin names something the store has not.
    Missing(&'static str),
    /// Nothing of it is in the store yet.
    NotMade,
    /// The inputs are the pin's, but the restore rock would differ.
    Drifted,
    /// `--force`.
    Forced,
    /// Another step of this plan needs it.
    Needed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Always => f.write_str("always"),
            Reason::NoPin => f.write_str("there is no pin yet"),
            Reason::Changed(names) => write!(f, "changed since the pin: {}", names.join(", ")),
            Reason::Missing(what) => write!(f, "the store has lost {what}"),
            Reason::NotMade => f.write_str("not made yet"),
            Reason::Drifted => f.write_str("this version of the tool packs it otherwise"),
            Reason::Forced => f.write_str("--force"),
            Reason::Needed => f.write_str("a later step needs it"),
        }
    }
}

/// The steps, in order, each with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan(pub Vec<(Step, Reason)>);

impl Plan {
    /// Whether a step is part of it.
    pub fn has(&self, step: Step) -> bool {
        self.0.iter().any(|(planned, _)| *planned == step)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (step, reason)) in self.0.iter().enumerate() {
            writeln!(f, "{:>2}. {:<26} {reason}", number + 1, step.to_string())?;
        }
        Ok(())
    }
}

/// What is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What the pin was made from, if there is one.
    pub pinned: Option<Inputs>,
    /// The first thing the pin names and the store has not.
    pub missing: Option<&'static str>,
    /// Whether the pin's restore rock would be packed otherwise now, as by another version of this tool.
    pub drifted: bool,
    /// Whether the base layer is in the store.
    pub base: bool,
    /// Whether Pebble is.
    pub pebble: bool,
    /// Whether the jar is.
    pub jar: bool,
    /// Whether the class archive is, or none is wanted.
    pub archive: bool,
    /// Whether the jar must be built or fetched in the build image.
    pub jar_needs_toolchain: bool,
}

/// The plan of `checkpoint`.
pub fn checkpoint(inputs: &Inputs, state: &State, force: bool) -> Plan {
    let dump = match &state.pinned {
        _ if force => Some(Reason::Forced),
        None => Some(Reason::NoPin),
        Some(pinned) => changed(inputs, pinned, |name| !RESTORE_ONLY.contains(&name))
            .or(state.missing.map(Reason::Missing)),
    };
    let repack = dump.clone().map(|_| Reason::Needed).or_else(|| {
        let pinned = state.pinned.as_ref()?;
        let changed = changed(inputs, pinned, |name| RESTORE_ONLY.contains(&name));
        changed.or(state.drifted.then_some(Reason::Drifted))
    });
    let mut steps = vec![(Step::Render, Reason::Always)];
    if let Some(reason) = dump {
        steps.extend(parts(state));
        steps.extend(archive(state));
        steps.push((Step::PackCheckpoint, Reason::Needed));
        steps.push((Step::Dump, reason));
    }
    if let Some(reason) = repack {
        steps.push((Step::PackRestore, reason));
        steps.push((Step::Prove, Reason::Needed));
        steps.push((Step::Pin, Reason::Needed));
    }
    Plan(steps)
}

/// The plan of `pack APP checkpoint`.
pub fn pack_checkpoint(state: &State) -> Plan {
    let mut steps = vec![(Step::Render, Reason::Always)];
    steps.extend(parts(state));
    steps.extend(archive(state));
    steps.push((Step::PackCheckpoint, Reason::Always));
    Plan(steps)
}

/// What both rocks are made of, where it is not made yet.
fn parts(state: &State) -> Vec<(Step, Reason)> {
    let toolchain = !state.pebble || (!state.jar && state.jar_needs_toolchain);
    let steps = [
        (Step::Base, !state.base),
        (Step::Toolchain, toolchain),
        (Step::Pebble, !state.pebble),
        (Step::Jar, !state.jar),
    ];
    steps.into_iter().filter(|(_, needed)| *needed).map(|(step, _)| (step, Reason::NotMade)).collect()
}

fn archive(state: &State) -> Option<(Step, Reason)> {
    (!state.archive).then_some((Step::Train, Reason::NotMade))
}

/// The inputs that `which` selects and that differ, as a reason.
pub fn changed(now: &Inputs, pinned: &Inputs, which: impl Fn(&str) -> bool) -> Option<Reason> {
    let names: Vec<String> = now
        .keys()
        .chain(pinned.keys().filter(|name| !now.contains_key(*name)))
        .filter(|name| which(name) && now.get(*name) != pinned.get(*name))
        .cloned()
        .collect();
    (!names.is_empty()).then_some(Reason::Changed(names))
}

/// Whether an archive of the application's classes goes into the rocks.
pub fn wants_archive(app: &App) -> bool {
    app.java.profile == Profile::Small && Engine::choose(app.engine, Packer::Native) == Engine::Criu
}

/// The class archive: an object of the store, or the knowledge that the JVM writes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive(pub Option<(Digest, u64)>);

impl Archive {
    /// Whether it can be used.
    pub fn stored(&self, session: &Session) -> bool {
        self.0.is_none_or(|(digest, size)| session.store.has(&digest, size))
    }
}

/// Where the archive is remembered: what loads the classes is all that names it.
pub fn archive_memo(session: &Session, inputs: &Inputs) -> Result<Memo> {
    let named = ["base", "source", "checkpoint-files", "requests"].map(|name| inputs.get(name));
    Memo::of(&session.workspace, "archive", &Digest::of_value(&named))
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
    let labels =
        (&app.summary, &app.version, render::rock_name(app, Role::Restore), &app.rock.checkpoint_name);
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
    inputs: &Inputs,
    lock: Option<&Lock>,
) -> Result<State> {
    Ok(State {
        pinned: lock.map(|lock| lock.inputs.clone()),
        missing: lock.and_then(|lock| missing(session, lock)),
        drifted: false,
        base: base(app).cached(session)?.is_some(),
        pebble: pebble::cached(session)?.is_some(),
        jar: source.cached(app, session)?.is_some(),
        archive: !wants_archive(app)
            || archive_memo(session, inputs)?.get::<Archive>().is_some_and(|a| a.stored(session)),
        jar_needs_toolchain: source.needs_toolchain(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(names: &[(&str, &str)]) -> Inputs {
        names.iter().map(|(name, value)| (name.to_string(), Digest::of(value))).collect()
    }

    fn state() -> State {
        let pinned = Some(inputs(&[("source", "1"), ("requests", "1"), ("restore-files", "1")]));
        State {
            pinned,
            missing: None,
            drifted: false,
            base: true,
            pebble: true,
            jar: true,
            archive: true,
            jar_needs_toolchain: true,
        }
    }

    #[test]
    fn only_what_changed_is_redone() {
        use Step::*;
        let now = [("source", "1"), ("requests", "1"), ("restore-files", "1")];
        let check = |now: &[(&str, &str)], state: State, force, expected: &[Step]| {
            let plan = checkpoint(&inputs(now), &state, force);
            let steps: Vec<Step> = plan.0.iter().map(|(step, _)| *step).collect();
            assert_eq!(steps, expected, "{plan}");
        };
        check(&now, state(), false, &[Render]);
        let whole = [Render, PackCheckpoint, Dump, PackRestore, Prove, Pin];
        check(&now, state(), true, &whole);
        check(&[("source", "2"), now[1], now[2]], state(), false, &whole);
        check(&[now[0], now[1], ("restore-files", "2")], state(), false, &[Render, PackRestore, Prove, Pin]);
        // An input that an older tool did not know of.
        check(&[now[0], now[1], now[2], ("new", "1")], state(), false, &whole);
        check(&now, State { missing: Some("the jar"), ..state() }, false, &whole);
        check(&now, State { drifted: true, ..state() }, false, &[Render, PackRestore, Prove, Pin]);
        check(&now, State { pinned: None, ..state() }, false, &whole);
        let empty = State { pinned: None, base: false, pebble: false, jar: false, archive: false, ..state() };
        let all =
            [Render, Base, Toolchain, Pebble, Jar, Train, PackCheckpoint, Dump, PackRestore, Prove, Pin];
        check(&now, empty.clone(), false, &all);
        let local = State { pebble: true, jar_needs_toolchain: false, ..empty };
        check(&now, local, false, &[Render, Base, Jar, Train, PackCheckpoint, Dump, PackRestore, Prove, Pin]);
    }

    #[test]
    fn a_reason_names_the_inputs() {
        let now = inputs(&[("source", "2"), ("requests", "2"), ("restore-files", "1")]);
        let plan = checkpoint(&now, &state(), false);
        assert!(plan.to_string().contains("changed since the pin: requests, source"), "{plan}");
    }
}
