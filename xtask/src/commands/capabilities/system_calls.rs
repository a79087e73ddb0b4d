//! `capabilities --system-calls`: which families of system calls a restored service does without.

use anyhow::{Result, bail, ensure};

use super::{evidence, loaded, restored_as, say_unsigned, table};
use crate::app::Fallback;
use crate::checkpoint::{self, CameUp, Outside, warm_up};
use crate::cli::Global;
use crate::commands::{checkpoint::pin, pack};
use crate::diagnostic::causes;
use crate::interrupt;
use crate::lock::{Lock, LockedSystemCalls};
use crate::rocks::Job;
use crate::runtime::Runtime;
use crate::seccomp::{FAMILIES, Family};

/// Restores without one family after the other, beginning with the ordinary filter; what can go, sorted, after a restore
/// without all of it.
pub fn found(job: &Job<'_>, runtime: &Runtime, lock: &Lock) -> Result<Vec<Family>> {
    let name = loaded(job, runtime, lock)?;
    let found = search(job, runtime, lock, &name);
    runtime.forget(&name);
    found
}

fn search(job: &Job<'_>, runtime: &Runtime, lock: &Lock, name: &str) -> Result<Vec<Family>> {
    // A request that is answered otherwise the second time would have every family seem needed.
    if let Err(error) = works(job, runtime, lock, name) {
        bail!(
            "{} does not answer a second warm-up as the first, with no system call taken away, so nothing is: {}",
            job.app.name,
            causes(&error)
        );
    }
    let mut refused = Vec::new();
    let mut rows = Vec::new();
    for row in FAMILIES {
        interrupt::check()?;
        let more: Vec<Family> = refused.iter().copied().chain([row.family]).collect();
        let (kept, without) = match works(&Job { refused: &more, ..*job }, runtime, lock, name) {
            Ok(()) => {
                refused = more;
                ("refused", format!("works; who asks is told {}", row.answer))
            }
            Err(error) if interrupt::received().is_some() => return Err(error),
            Err(error) => ("needed", evidence(&causes(&error))),
        };
        rows.push([row.name.to_owned(), kept.to_owned(), row.purpose.to_owned(), without]);
    }
    println!("\n{}", table("system calls", &rows));
    let job = Job { refused: &refused, ..*job };
    works(&job, runtime, lock, name).map_err(|error| {
        error.context("it came back without each of them, and does not without all; nothing is recorded")
    })?;
    if job.app.restore.fallback == Fallback::Cold {
        starts_cold(&job, runtime, lock, name)?;
        println!("\nIt starts cold without them as well.");
    }
    println!(
        "\nWhat http.verify and http.warm-up do not ask for was not tried: docs/guide/privileges.md says how to notice, \
         and `cargo xtask capabilities {} --all-system-calls` undoes it.",
        job.app.name
    );
    Ok(refused)
}

/// Whether it is restored, answers as before, and does again what warmed it up.
fn works(job: &Job<'_>, runtime: &Runtime, lock: &Lock, name: &str) -> Result<()> {
    let running = restored_as(job, runtime, lock, name)?;
    warm_up(job.app, &running.client, |client, request| client.expect(request))
}

/// Whether the application starts under the filter where a restore fails, as it does without a capability.
fn starts_cold(job: &Job<'_>, runtime: &Runtime, lock: &Lock, name: &str) -> Result<()> {
    let job = Job { granted: Some(&[]), ..*job };
    let cold = || -> Result<()> {
        let running = checkpoint::start(&job, runtime, name, lock.pid, Outside::default())?;
        ensure!(matches!(running.came_up, CameUp::Cold(_)), "it was restored without a capability");
        warm_up(job.app, &running.client, |client, request| client.expect(request))
    };
    cold().map_err(|error| {
        error.context(
            "restore.fallback is `cold`, and it does not start cold without them; nothing is recorded",
        )
    })
}

/// The pin with the ordinary filter. Neither dump nor rock is another.
pub fn give_back(job: &Job<'_>, lock: &Lock, global: &Global) -> Result<()> {
    let name = &job.app.name;
    if lock.system_calls.refused.is_empty() {
        println!("The pin of {name} refuses no system call besides the ordinary filter.");
        return Ok(());
    }
    ensure!(!global.locked, "--locked: the pin refuses system calls");
    let image = pack::from_pin(job, lock)?;
    let new = Lock { system_calls: LockedSystemCalls::default(), ..lock.clone() };
    pin::write(job, &new, None, &image)?;
    println!("The pin of {name} has the ordinary filter again.");
    say_unsigned(job.app);
    Ok(())
}
