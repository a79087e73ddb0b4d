//! How fast the tool itself is, beside what cannot be avoided.
//!
//! `cargo bench --bench tool [-- build|idle|collect|load|full …]`, in the profile that users run; without words all of it.
//! `load` and `full` need podman, `full` the network as well where Zipkin's jar and the base layer are not there yet. Nothing
//! of the repository is touched: what is checkpointed is a copy of Zipkin under a name of its own, and it is removed.
//! Each line has a value, the goal in its name, and the figures it was made from; a missed goal is an error at the end.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, io};

use xtask::checkpoint::collect;
use xtask::digest::Digest;
use xtask::pack::{self, archive, layer};
use xtask::process::{self, Limit};
use xtask::progress::Verbosity;
use xtask::report::Report;
use xtask::rock::{Entry, EntryKind, Layer, LayerContent, Rock, Role};
use xtask::runtime::{Kind, Runtime};
use xtask::session::Session;
use xtask::store::Store;

#[path = "../tests/support/shop.rs"]
mod shop;
#[path = "../tests/e2e/support.rs"]
#[allow(dead_code, reason = "it is the tests' own")]
mod support;

const MB: usize = 1_000_000;
/// Zipkin's dump.
const DATA: usize = 137 * MB;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let mut missed = Vec::new();
    let mut goal = |name: &str, value: f64, met: bool, figures: String| {
        println!("{name:<52} {value:>7.2}  {figures}{}", if met { "" } else { "  MISSED" });
        if !met {
            missed.push(name.to_owned());
        }
    };
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    println!(
        "{} cores, load {}",
        std::thread::available_parallelism().unwrap(),
        load.split(' ').next().unwrap()
    );
    let all: [(&str, Bench); 5] =
        [("build", build), ("idle", idle), ("collect", collecting), ("load", loading), ("full", full)];
    for word in &words {
        assert!(all.iter().any(|(name, _)| name == word), "there is no `{word}` here");
    }
    for (name, run) in all {
        if words.is_empty() || words.iter().any(|word| word == name) {
            run(&mut goal);
        }
    }
    assert!(missed.is_empty(), "missed: {}", missed.join(", "));
}

/// Takes a goal's name, the value, whether it meets the goal, and the figures.
type Goal<'a> = dyn FnMut(&str, f64, bool, String) + 'a;
type Bench = fn(&mut Goal<'_>);

fn median(rounds: usize, mut once: impl FnMut() -> Duration) -> f64 {
    let mut values: Vec<f64> = (0..rounds).map(|_| once().as_secs_f64()).collect();
    values.sort_by(f64::total_cmp);
    values[rounds / 2]
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn run(command: &mut Command) {
    let ran = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Seconds of processor time that children have taken which were waited for.
fn children() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // proc(5): the fields after the command begin with the third, and these are the 16th and 17th, in hundredths.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[13..15].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

/// A clean build, as the first `cargo xtask` of a fresh clone makes it.
fn build(goal: &mut Goal<'_>) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let before = children();
    let took = timed(|| {
        run(Command::new("cargo")
            .args(["build", "--quiet", "--package", "xtask", "--locked", "--jobs", "2", "--target-dir"])
            .arg(folder.path())
            .current_dir(env!("CARGO_MANIFEST_DIR")));
    });
    let took = took.as_secs_f64();
    let figures = format!("s, of two cores; {:.0} s of processor time", children() - before);
    goal("a clean build of xtask: at most 60", took, took <= 60.0, figures);
}

/// A pin of no size, and nothing to do.
fn idle(goal: &mut Goal<'_>) {
    let shop = shop::Shop::new();
    let program = || Command::new(env!("CARGO_BIN_EXE_xtask"));
    let help = median(21, || timed(|| run(program().arg("--help"))));
    // The first one writes what was rendered.
    let checkpoint = || timed(|| drop(shop.succeed(&["checkpoint", shop::APP])));
    checkpoint();
    let took = median(21, checkpoint);
    let cargo = median(5, || {
        timed(|| {
            run(Command::new("cargo").args(["xtask", "--help"]).current_dir(env!("CARGO_MANIFEST_DIR")));
        })
    });
    let figures = format!("s; `xtask --help` {help:.3} s, `cargo xtask --help` {cargo:.3} s");
    goal("checkpoint, nothing to do, a small pin: below 0.15", took, took < 0.15, figures);
}

/// Bytes that no two calls have in common: what podman has already is not loaded again.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    fs::File::open("/dev/urandom").unwrap().take(length as u64).read_to_end(&mut bytes).unwrap();
    bytes
}

/// What a container streams becomes objects of the store, beside the same stream written to one file as durably.
fn collecting(goal: &mut Goal<'_>) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let plain = folder.path().join("plain");
    let mut rounds: Vec<(f64, f64)> = (0..6)
        .map(|_| {
            let mut tar = tar::Builder::new(Vec::new());
            for (path, size) in [("a/pages-1.img", DATA - 9 * MB), ("a/core-1.img", 8 * MB), ("a/x.img", MB)]
            {
                let mut header = tar::Header::new_gnu();
                header.set_mode(0o640);
                header.set_uid(1);
                header.set_gid(1);
                header.set_size(size as u64);
                tar.append_data(&mut header, path, noise(size).as_slice()).unwrap();
            }
            let tar = tar.into_inner().unwrap();
            let through = |consume: &mut dyn FnMut(&mut dyn Read)| {
                let (mut from, mut to) = io::pipe().unwrap();
                std::thread::scope(|scope| {
                    let tar = &tar;
                    scope.spawn(move || to.write_all(tar).unwrap());
                    timed(|| consume(&mut from)).as_secs_f64()
                })
            };
            let collected = through(&mut |from| {
                assert_eq!(collect::read_tar(&store, from).unwrap().len(), 3);
            });
            let copied = through(&mut |from| {
                let mut file = fs::File::create(&plain).unwrap();
                io::copy(from, &mut file).unwrap();
                file.sync_all().unwrap();
            });
            (collected, copied)
        })
        .collect();
    rounds.sort_by(|one, other| (one.0 / one.1).total_cmp(&(other.0 / other.1)));
    let (collected, copied) = rounds[rounds.len() / 2];
    let ratio = collected / copied;
    let figures =
        format!("times as long: {collected:.2} s, the same stream to a file, synced, {copied:.2} s");
    goal("collecting 137 MB, hashed: at most 2.0", ratio, ratio <= 2.0, figures);
}

/// A rock whose layers podman has but for the data, beside `podman load` of the same rock.
fn loading(goal: &mut Goal<'_>) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut session = Session::open(Verbosity::Quiet, Some(Kind::Podman), false).unwrap();
    session.store = Store::open(&folder.path().join("store")).unwrap();
    let runtime = Runtime::connect(session.runtime).unwrap();
    let limit = Limit::new("the bench's limit for podman", Duration::from_secs(600));
    let mut rounds: Vec<(f64, f64)> = (0..5)
        .map(|_| {
            let image = |session: &Session| {
                let base = layer::write_layer(&session.store, &[]).unwrap();
                let (digest, size) = session.store.add_bytes(&noise(DATA)).unwrap();
                let data = entry(EntryKind::Object { digest, size });
                pack::pack(&session.store, &rock(data), &base, &mut |_| {}).unwrap()
            };
            let (ours, theirs) = (image(&session), image(&session));
            let file = folder.path().join("theirs.rock");
            archive::write_archive(&session.store, &theirs, "localhost/bench-load:theirs", &file).unwrap();
            let took = timed(|| runtime.load(&session, &ours, "localhost/bench-load:ours").unwrap());
            let beside = timed(|| {
                let mut load = Command::new("podman");
                load.args(["load", "--quiet", "--input"]).arg(&file);
                process::read(load, &limit).unwrap();
            });
            for name in [ours.config.hex(), theirs.config.hex()] {
                process::clean_up({
                    let mut remove = Command::new("podman");
                    remove.args(["rmi", "--force", &name]);
                    remove
                });
            }
            (took.as_secs_f64(), beside.as_secs_f64())
        })
        .collect();
    rounds.sort_by(|one, other| (one.0 / one.1).total_cmp(&(other.0 / other.1)));
    let (ours, theirs) = rounds[rounds.len() / 2];
    let figures = format!("times as long: {ours:.2} s, podman load of its archive {theirs:.2} s");
    goal("loading 137 MB of data: at most 1.1", ours / theirs, ours / theirs <= 1.1, figures);
}

fn entry(kind: EntryKind) -> Entry {
    Entry { path: "/data".into(), mode: 0o644, owner: 0, kind, capabilities: Vec::new() }
}

fn rock(entry: Entry) -> Rock {
    Rock {
        role: Role::Restore,
        name: "bench-load".into(),
        version: "1".into(),
        summary: Digest::of("bench").short(),
        architecture: xtask::toolchain::debian_architecture().into(),
        suite: "sid".into(),
        packages: Vec::new(),
        user: "root".into(),
        uid: 0,
        layers: vec![Layer { title: "data".into(), content: LayerContent::Entries(vec![entry]) }],
        entrypoint: Vec::new(),
        command: vec!["/data".into()],
        environment: Default::default(),
        ports: Vec::new(),
        labels: Default::default(),
    }
}

/// All of the way with everything but the dump made earlier, beside the application's own cold start and its dump.
fn full(goal: &mut Goal<'_>) {
    let app = "bench-zipkin";
    let toml = fs::read_to_string(support::repository().join("apps/zipkin/app.toml")).unwrap();
    let workspace = support::Workspace::new(app, &toml);
    workspace.checkpoint(&[]);
    let report = |state: &Path| -> Report {
        let file = state.join("reports").join(format!("{app}.json"));
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    };
    let mut rounds: Vec<(f64, f64, f64)> = (0..3)
        .map(|_| {
            let took = workspace.checkpoint(&["--force"]).elapsed.as_secs_f64();
            let Report { cold, froze, .. } = report(workspace.state());
            (took, cold.with_container.as_secs_f64(), froze.as_secs_f64())
        })
        .collect();
    rounds.sort_by(|one, other| (one.0 / (one.1 + one.2)).total_cmp(&(other.0 / (other.1 + other.2))));
    let (took, cold, froze) = rounds[rounds.len() / 2];
    let ratio = took / (cold + froze);
    let figures = format!("times cold start and dump: {took:.1} s, {cold:.1} s and {froze:.2} s");
    goal("checkpoint zipkin, caches warm: at most 3", ratio, ratio <= 3.0, figures);
    let idle = median(11, || workspace.checkpoint(&[]).elapsed);
    goal("checkpoint, nothing to do, Zipkin's pin: below 0.15", idle, idle < 0.15, "s".into());
}
