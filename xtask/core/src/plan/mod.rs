//! What a command is going to do, decided before it does anything.
//!
//! A plan is data: `--plan` prints it, a test compares it, and one exhaustive `match` in
//! `xtask/src/commands/checkpoint/work.rs` carries it out. This file is pure; what is there is looked at in `inputs`.

use std::collections::BTreeMap;
use std::fmt;

use crate::digest::Digest;
use crate::lock::ObjectKind;

mod drift;
mod inputs;

pub use drift::Drift;
pub use inputs::{Archive, archive, archive_memo, base, inputs, inputs_beside, lost, state, wants_archive};

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
    /// Compile the provider of random numbers.
    Fresh,
    /// Fetch or build the jar.
    Jar,
    /// Record the archive of the application's classes.
    Train,
    /// Pack the checkpoint rock.
    PackCheckpoint,
    /// Load and run it, warm it up, dump it, collect the data.
    Dump,
    /// Search what was dumped for secrets.
    Scan,
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
            Step::Fresh => "compile the random numbers",
            Step::Jar => "get the jar",
            Step::Train => "record the class archive",
            Step::PackCheckpoint => "pack the checkpoint rock",
            Step::Dump => "run, warm up and dump",
            Step::Scan => "search for secrets",
            Step::PackRestore => "pack the restore rock",
            Step::Prove => "restore and compare",
            Step::Pin => "pin the checkpoint",
        })
    }
}

/// Digests of everything a pin is made from, by name. Names and meaning are part of checkpoint.lock.
pub type Inputs = BTreeMap<String, Digest>;

/// Inputs that only the restore rock depends on: what was dumped stays good when they change.
const RESTORE_ONLY: [&str; 3] = ["labels", "restore-files", "secrets"];

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
    Missing(ObjectKind),
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
    pub missing: Option<ObjectKind>,
    /// Why the restore rock must be packed again though no input has changed.
    pub repack: Option<Reason>,
    /// Whether the base layer is in the store.
    pub base: bool,
    /// Whether Pebble is.
    pub pebble: bool,
    /// Whether the provider of random numbers is, or none is wanted.
    pub fresh: bool,
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
        changed.or(state.repack.clone())
    });
    let mut steps = vec![(Step::Render, Reason::Always)];
    if let Some(reason) = dump {
        steps.extend(parts(state));
        steps.extend(train(state));
        steps.push((Step::PackCheckpoint, Reason::Needed));
        steps.push((Step::Dump, reason));
    }
    if let Some(reason) = repack {
        // The labels are the checkpoint rock's, too.
        if let Reason::Changed(names) = &reason
            && names.iter().any(|name| name == "labels")
        {
            steps.push((Step::PackCheckpoint, Reason::Needed));
        }
        steps.push((Step::Scan, Reason::Needed));
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
    steps.extend(train(state));
    steps.push((Step::PackCheckpoint, Reason::Always));
    Plan(steps)
}

/// What both rocks are made of, where it is not made yet.
fn parts(state: &State) -> Vec<(Step, Reason)> {
    let toolchain = !state.pebble || !state.fresh || (!state.jar && state.jar_needs_toolchain);
    let steps = [
        (Step::Base, !state.base),
        (Step::Toolchain, toolchain),
        (Step::Pebble, !state.pebble),
        (Step::Fresh, !state.fresh),
        (Step::Jar, !state.jar),
    ];
    steps.into_iter().filter(|(_, needed)| *needed).map(|(step, _)| (step, Reason::NotMade)).collect()
}

fn train(state: &State) -> Option<(Step, Reason)> {
    (!state.archive).then_some((Step::Train, Reason::NotMade))
}

/// An input that is not as it was pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// What the pin was made from; none if it did not know this input.
    pub pinned: Option<Digest>,
    /// What it would be made from now.
    pub now: Option<Digest>,
}

/// The inputs that differ.
pub fn differences(now: &Inputs, pinned: &Inputs) -> Vec<Difference> {
    let names = now.keys().chain(pinned.keys().filter(|name| !now.contains_key(*name)));
    names
        .map(|name| Difference {
            name: name.clone(),
            pinned: pinned.get(name).copied(),
            now: now.get(name).copied(),
        })
        .filter(|difference| difference.pinned != difference.now)
        .collect()
}

/// The inputs that `which` selects and that differ, as a reason.
pub fn changed(now: &Inputs, pinned: &Inputs, which: impl Fn(&str) -> bool) -> Option<Reason> {
    let names: Vec<String> =
        differences(now, pinned).into_iter().map(|difference| difference.name).filter(|n| which(n)).collect();
    (!names.is_empty()).then_some(Reason::Changed(names))
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
            repack: None,
            base: true,
            pebble: true,
            fresh: true,
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
        let whole = [Render, PackCheckpoint, Dump, Scan, PackRestore, Prove, Pin];
        check(&now, state(), true, &whole);
        check(&[("source", "2"), now[1], now[2]], state(), false, &whole);
        check(
            &[now[0], now[1], ("restore-files", "2")],
            state(),
            false,
            &[Render, Scan, PackRestore, Prove, Pin],
        );
        check(
            &[now[0], now[1], now[2], ("labels", "2")],
            state(),
            false,
            &[Render, PackCheckpoint, Scan, PackRestore, Prove, Pin],
        );
        // What was dumped stays, and is searched again.
        let scanned = [Render, Scan, PackRestore, Prove, Pin];
        check(&[now[0], now[1], now[2], ("secrets", "1")], state(), false, &scanned);
        // An input that an older tool did not know of.
        check(&[now[0], now[1], now[2], ("new", "1")], state(), false, &whole);
        check(&now, State { missing: Some(ObjectKind::Jar), ..state() }, false, &whole);
        check(
            &now,
            State { repack: Some(Reason::Drifted), ..state() },
            false,
            &[Render, Scan, PackRestore, Prove, Pin],
        );
        check(&now, State { pinned: None, ..state() }, false, &whole);
        let empty = State {
            pinned: None,
            base: false,
            pebble: false,
            fresh: false,
            jar: false,
            archive: false,
            ..state()
        };
        let all = [
            Render,
            Base,
            Toolchain,
            Pebble,
            Fresh,
            Jar,
            Train,
            PackCheckpoint,
            Dump,
            Scan,
            PackRestore,
            Prove,
            Pin,
        ];
        check(&now, empty.clone(), false, &all);
        let local = State { pebble: true, fresh: true, jar_needs_toolchain: false, ..empty };
        check(
            &now,
            local,
            false,
            &[Render, Base, Jar, Train, PackCheckpoint, Dump, Scan, PackRestore, Prove, Pin],
        );
    }

    #[test]
    fn a_reason_names_the_inputs() {
        let now = inputs(&[("source", "2"), ("requests", "2"), ("restore-files", "1")]);
        let plan = checkpoint(&now, &state(), false);
        assert!(plan.to_string().contains("changed since the pin: requests, source"), "{plan}");
    }
}
