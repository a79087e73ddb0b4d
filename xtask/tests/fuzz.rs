//! Bytes that others wrote, made up by libFuzzer with coverage as its guide; and, without it, what it was given to begin
//! with and what it found, in `fuzz/seeds/TARGET/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

mod support {
    pub mod readers;
}

use support::readers::READERS;

/// The compiler's own pass counts what was reached, libFuzzer links its `main`; no sanitizer, which would want a nightly
/// compiler, and there is no unsafe code of ours to watch. One unit of code: the pass makes one table for each.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];
/// Bytes of an input: some headers and bodies, or a large app.toml.
const LONGEST: u32 = 16 << 10;
/// For one kept seed, in a build without optimisation.
const MOST: Duration = Duration::from_secs(20);

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// What is kept of one target, sorted.
fn seeds(target: &str) -> Vec<PathBuf> {
    let folder = fuzz_folder().join("seeds").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_kept_seed_is_survived() {
    let mut count = 0;
    for (target, read) in READERS {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{target} has no seeds");
        for seed in seeds {
            let bytes = fs::read(&seed).unwrap();
            assert!(bytes.len() <= LONGEST as usize, "{} is larger than an input may be", seed.display());
            // A panic does not say which.
            println!("{}", seed.display());
            let started = Instant::now();
            read(&bytes);
            assert!(started.elapsed() < MOST, "{} took {:?}", seed.display(), started.elapsed());
            count += 1;
        }
    }
    println!("{count} seeds of {} targets", READERS.len());
}

/// What libFuzzer says at its end: `stat::NAME: VALUE`.
fn stat(log: &str, name: &str) -> u64 {
    let start = format!("stat::{name}:");
    let value = log.lines().find_map(|line| line.strip_prefix(&start));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{log}"))
}

/// The last `WORD: NUMBER` of its progress lines.
fn progress(log: &str, word: &str) -> u64 {
    let values = log.split_whitespace().collect::<Vec<_>>();
    let last = values.windows(2).rev().find(|pair| pair[0] == word);
    last.and_then(|pair| pair[1].parse().ok()).unwrap_or_else(|| panic!("no {word} in\n{log}"))
}

/// `-C` options count only for the target's own code with `--target`: build scripts and macros are spared.
fn build() -> PathBuf {
    let version = Command::new("rustc").arg("-vV").output().expect("rustc");
    let version = String::from_utf8(version.stdout).expect("UTF-8");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    // The tool's own versions of what both use; a lock of its own would have to follow each change of that one.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    fs::copy(lock, fuzz_folder().join("Cargo.lock")).expect("a writable checkout");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--target", host, "--manifest-path"])
        .arg(fuzz_folder().join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .status()
        .expect("cargo");
    assert!(
        status.success(),
        "the fuzz targets cannot be built; libFuzzer needs a C++ compiler (apt install g++)"
    );
    target.join(host).join("debug")
}

#[test]
#[ignore = "builds libFuzzer, which takes minutes the first time and needs g++; XTASK_FUZZ_SECONDS for each target"]
fn nothing_is_found_in_bounded_time() {
    let programs = build();
    let seconds =
        std::env::var("XTASK_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_u64);
    for (target, _) in READERS {
        // What is found to be new stays out of the repository; a crash is kept by whoever mends it.
        let folder = tempfile::tempdir().unwrap();
        let ran = Command::new(programs.join(target))
            .arg(folder.path())
            .arg(fuzz_folder().join("seeds").join(target))
            .args(["-seed=1", "-rss_limit_mb=1024", "-timeout=20", "-print_final_stats=1"])
            .arg(format!("-max_len={LONGEST}"))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/{target}-", env!("CARGO_TARGET_TMPDIR")))
            .output()
            .expect("a fuzz target");
        let log = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{target}: {log}");
        let (cov, ft) = (progress(&log, "cov:"), progress(&log, "ft:"));
        let counters = log.split_once("inline 8-bit counters").map_or(0, |(head, _)| {
            let number = head.rsplit('(').next().unwrap_or_default();
            number.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
        });
        assert!(cov > 500, "{target} reaches hardly anything: are the counters there?\n{log}");
        println!(
            "{target}: {} executions in {seconds} s, {cov} of {counters} edges, {ft} features, {} new inputs, at most {} MiB; \
             nothing crashed",
            stat(&log, "number_of_executed_units"),
            stat(&log, "new_units_added"),
            stat(&log, "peak_rss_mb"),
        );
    }
}
