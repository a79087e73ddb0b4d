//! `capabilities`: what a restore needs, found by taking it away.

use anyhow::{Context, Result, bail, ensure};
use comfy_table::{Table, presets};

use crate::app::{self, App};
use crate::checkpoint::{Running, prove_same, start_restored};
use crate::cli::{Capabilities, Global};
use crate::diagnostic::causes;
use crate::interrupt;
use crate::lock::{Lock, LockedCapabilities, LockedRocks, LockedSystemCalls};
use crate::privileges::Capability;
use crate::render::Templates;
use crate::rock::Role;
use crate::rocks::Job;
use crate::runtime::{Kind, Runtime};
use crate::seccomp::Family;
use crate::session::Session;

mod system_calls;

/// Restores without one capability after the other, and without families of system calls where that is asked for; writes
/// what was found into the pin.
pub fn run(session: &Session, arguments: &Capabilities, global: &Global) -> Result<()> {
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    if global.plan {
        let all = plan();
        let steps = match (arguments.system_calls, arguments.all_system_calls) {
            (_, true) => vec!["write into the pin that the restore's filter refuses nothing besides"],
            (true, _) => all.to_vec(),
            _ => [&all[..2], &all[4..]].concat(),
        };
        super::print_plan(&steps);
        return Ok(());
    }
    let lock = super::pin(session, &app)?;
    let templates = Templates::read(&session.workspace.templates())?;
    if arguments.all_system_calls {
        let _alone = session.workspace.exclusive(&app.name)?;
        return system_calls::give_back(
            &super::pinned_job(session, &app, &templates, &lock, global)?,
            &lock,
            global,
        );
    }
    let (_alone, runtime) = super::ready_to_restore(session, &app, &lock, global)?;
    let job = super::pinned_job(session, &app, &templates, &lock, global)?;
    // What the pin refuses is found anew.
    let job = if arguments.system_calls { Job { refused: &[], ..job } } else { job };
    // Nothing is taken away from what does not work as it is.
    super::pack::from_pin(&job, &lock)?;
    let pinned = lock.capabilities.restore.as_slice();
    if let Err(error) = restored(&job, &runtime, &lock) {
        bail!("{} is not restored with what its pin grants: {}", app.name, causes(&error));
    }
    let mut needed = pinned.to_vec();
    let mut rows = Vec::new();
    for capability in pinned {
        interrupt::check()?;
        let fewer: Vec<Capability> = needed.iter().filter(|other| *other != capability).copied().collect();
        let without = match restored(&Job { granted: Some(&fewer), ..job }, &runtime, &lock) {
            Ok(()) => {
                needed = fewer;
                "restored, and answers as before".to_owned()
            }
            Err(error) if interrupt::received().is_some() => return Err(error),
            Err(error) => evidence(&causes(&error)),
        };
        let kept = if needed.contains(capability) { "needed" } else { "not needed" };
        rows.push([capability.to_string(), kept.to_owned(), capability.purpose().to_owned(), without]);
    }
    println!("{}", table("capability", &rows));
    say_rest(&job, runtime.kind);
    let refused = if arguments.system_calls {
        system_calls::found(&Job { granted: Some(&needed), ..job }, &runtime, &lock)?
    } else {
        lock.system_calls.refused.clone()
    };
    if needed == pinned && refused == lock.system_calls.refused {
        println!("\nNo fewer will do; the pin grants these.");
        return Ok(());
    }
    ensure!(
        !global.locked,
        "--locked: the pin grants more than a restore needs, or refuses other system calls"
    );
    record(&job, &runtime, &lock, needed, refused)
}

fn plan() -> [&'static str; 5] {
    [
        "restore with what the pin grants, and compare the answers to http.verify",
        "restore without one capability after the other, of the container and of its CRIU",
        "restore without one family of system calls after the other, compare, and send the requests of http.warm-up",
        "the same with all that can go gone at once; where restore.fallback is `cold`, start it cold as well",
        "write the smallest set that worked, and the rock that has it, into the pin",
    ]
}

/// Whether the process comes back with what the job grants alone: the container's capabilities, and those of its CRIU, since
/// a program whose file has one that its container has not cannot be run at all.
fn restored(job: &Job<'_>, runtime: &Runtime, lock: &Lock) -> Result<()> {
    let name = loaded(job, runtime, lock)?;
    let worked = restored_as(job, runtime, lock, &name).map(drop);
    runtime.forget(&name);
    worked
}

/// The name of the rock whose CRIU has what the job grants. Whoever asks for it forgets it.
fn loaded(job: &Job<'_>, runtime: &Runtime, lock: &Lock) -> Result<String> {
    let image = super::pack::granted(job, lock)?;
    super::load_as(job.session, runtime, &super::candidate(job.app), &image)
}

/// A restore of the rock with this name, which answers as before the dump.
fn restored_as<'a>(job: &Job<'_>, runtime: &'a Runtime, lock: &Lock, name: &str) -> Result<Running<'a>> {
    // What does not come back in many times its time does not come back; some failures never end.
    let seconds = std::time::Duration::from_secs(5);
    let mut app: App = job.app.clone();
    app.limits.restore = app.limits.restore.min(seconds);
    let running = start_restored(&Job { app: &app, ..*job }, runtime, name, lock.pid)?;
    prove_same(&app, &running.client, &lock.answers)?;
    Ok(running)
}

/// The line of an error that says what was missing.
fn evidence(error: &str) -> String {
    let of = |what: &str| error.lines().find(|line| line.contains(what));
    let line = of("CAP_").or_else(|| of("Error (")).or_else(|| of("Operation not permitted"));
    let line = line.or_else(|| error.lines().next()).unwrap_or_default();
    // Without what Pebble and CRIU put before it.
    let line =
        ["] ", "): "].iter().fold(line, |line, end| line.rsplit_once(end).map_or(line, |(_, rest)| rest));
    line.trim().chars().take(120).collect()
}

fn table(what: &str, rows: &[[String; 4]]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([what, "", "what for", "without it"]);
    table.add_rows(rows);
    table.trim_fmt()
}

/// What else a restore does without.
fn say_rest(job: &Job<'_>, kind: Kind) {
    println!(
        "\nEvery restore ran as a user, under a filter of system calls, without a privilege besides these."
    );
    if kind == Kind::Podman && job.way.engine.gains_nothing() {
        println!("no_new_privs was set: podman hands a user's process its container's capabilities.");
    }
}

fn names(capabilities: &[Capability]) -> String {
    let names: Vec<String> = capabilities.iter().map(Capability::to_string).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The pin with what was found, and the rock whose CRIU has no more, which was restored a moment ago.
fn record(
    job: &Job<'_>,
    runtime: &Runtime,
    lock: &Lock,
    needed: Vec<Capability>,
    refused: Vec<Family>,
) -> Result<()> {
    let Job { session, app, .. } = *job;
    let job = Job { granted: Some(&needed), ..*job };
    let image = super::pack::granted(&job, lock)?;
    let new = Lock {
        capabilities: LockedCapabilities { restore: needed.clone(), ..lock.capabilities.clone() },
        system_calls: LockedSystemCalls { refused },
        rocks: LockedRocks { restore: image.manifest, ..lock.rocks.clone() },
        ..lock.clone()
    };
    super::checkpoint::pin::write(&job, &new, None, &image).context("the pin")?;
    super::load(session, runtime, app, Role::Restore, &image)?;
    println!("\nThe pin now grants {}.", names(&needed));
    say_refused(&new);
    say_unsigned(app);
    Ok(())
}

/// What the filter of a pin refuses, if it does.
fn say_refused(lock: &Lock) {
    if !lock.system_calls.refused.is_empty() {
        let names: Vec<&str> = lock.system_calls.refused.iter().map(|family| family.row().name).collect();
        println!("Its filter refuses {}.", names.join(", "));
    }
}

fn say_unsigned(app: &App) {
    if !app.pin.signed_by.is_empty() {
        println!("Next: cargo xtask sign {}   (the pin is another, and unsigned)", app.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_says_what_was_missing() {
        let check = |error: &str, expected: &str| assert_eq!(evidence(error), expected);
        check(
            "shop was not restored; CRIU's first error: (00.058922) pie: 1041: Error (criu/pie/restorer.c:317): Unable \
             to drop capability 0: -1\n  because: timed out\nthe last lines of its log:\n",
            "Unable to drop capability 0: -1",
        );
        check(
            "shop was not restored\n  because: the container ended with exit code 10\nthe last lines of its log:\n  \
             2026-11-23T22:29:42.679Z [shop-restore] CRIU needs to have the CAP_SYS_ADMIN or the CAP_CHECKPOINT_RESTORE capability: ",
            "CRIU needs to have the CAP_SYS_ADMIN or the CAP_CHECKPOINT_RESTORE capability:",
        );
        check("no JVM has PID 7", "no JVM has PID 7");
    }
}
