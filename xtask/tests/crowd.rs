//! Many commands side by side, on one repository: nothing is spoilt, nothing hangs, and whoever can't have his turn says
//! so.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

mod support {
    pub mod cases;
    pub mod shop;
}

use support::cases::cases;
use support::shop::{APP, Shop, prepare, said};

const PROCESSES: usize = 8;
/// Beside the repository, where commands are run.
const PINS: &str = "oci:pins";

/// What each process does in turn, each beginning elsewhere. `pin` is the last step of a checkpoint.
const COMMANDS: [&[&str]; 10] = [
    &["pack", APP, "restore", "--locked"],
    &["verify", APP],
    &["gc"],
    &["pin"],
    &["render", APP],
    &["verify", APP, "--deep"],
    &["why", APP, "--locked"],
    &["push", APP, PINS],
    &["pull", APP, PINS],
    &["sbom", APP],
];

/// Runs in a process of its own.
#[test]
#[ignore = "run by commands_side_by_side"]
fn pin_here() {
    let shop = Shop::at(std::path::Path::new(&std::env::var_os("SHOP").unwrap()));
    shop.with_job(|job| {
        let _alone = job.session.workspace.exclusive(APP).unwrap_or_else(|error| panic!("{error:#}"));
        xtask::commands::sweep(job.session).unwrap();
        let pin = prepare(job, 1);
        // What only this run names, and gc may take once it is over.
        job.session.store.add_bytes(std::process::id().to_string().as_bytes()).unwrap();
        let written =
            xtask::commands::checkpoint::pin::write(job, &pin.lock, Some(&pin.checkpoint), &pin.restore);
        written.unwrap_or_else(|error| panic!("{error:#}"));
    });
}

/// A command of ours, or the pin step in a process of its own.
fn command(shop: &Shop, words: &[&str]) -> std::process::Command {
    if words != ["pin"] {
        return shop.command(words);
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "pin_here", "--ignored", "--nocapture"])
        .env("SHOP", shop.top())
        .stdin(Stdio::null());
    command
}

/// As many rounds as `XTASK_CASES` says, or a few.
#[test]
fn commands_side_by_side() {
    let rounds = cases(3) as usize;
    let shop = Shop::new();
    shop.succeed(&["push", APP, PINS]);
    let (done, busy) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for process in 0..PROCESSES {
            let (shop, done, busy) = (&shop, &done, &busy);
            scope.spawn(move || {
                for round in 0..rounds {
                    let words = COMMANDS[(process + round) % COMMANDS.len()];
                    let ran = command(shop, words).output().unwrap();
                    let said = said(&ran);
                    // The one answer besides success: the others took too long.
                    let turned_away = said.contains("wait for it");
                    assert!(ran.status.success() || turned_away, "{words:?}: {said}");
                    let count = if ran.status.success() { done } else { busy };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(started.elapsed() < Duration::from_secs(5 * rounds as u64 + 30), "{:?}", started.elapsed());
    shop.succeed(&["verify", APP, "--deep"]);
    shop.succeed(&["gc"]);
    let mut named: Vec<String> = shop.lock().objects().iter().map(|object| object.digest.hex()).collect();
    named.push(shop.lock().data.digest.hex());
    assert!(shop.objects().iter().all(|object| named.contains(object)), "{:?}", shop.objects());
    shop.succeed(&["pack", APP, "restore", "--locked"]);
    let there = shop.elsewhere();
    there.succeed(&["pull", APP, &format!("oci:{}", shop.beside("pins").display())]);
    there.succeed(&["pack", APP, "restore", "--locked"]);
    println!(
        "{PROCESSES} processes, {rounds} rounds each: {} commands done, {} told to wait, in {:.1} s; nothing spoilt",
        done.into_inner(),
        busy.into_inner(),
        started.elapsed().as_secs_f64()
    );
}
