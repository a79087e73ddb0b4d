//! How fast a dump is searched for secrets, beside reading it, hashing it and one `grep -F`.
//!
//! `cargo bench --bench scan`, in the profile that users run (`cargo xtask` builds `dev`, and so does this). `-- FILE` searches
//! that file, `memory.img` of a real dump say, in place of made pages. Each figure is the best of rounds in which all take
//! turns: what else the machine does only ever adds. The goal is held against the time that the cores have worked, over
//! their number: what the search takes where nobody else wants them. A missed goal is an error at the end.
//!
//! `cargo test --bench scan`, a step of `cargo xtask test`, is shorter and fails only below a part of the goal: it finds what
//! makes the search several times as slow, on whichever machine.

use std::fs;
use std::hint::black_box;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use xtask::app::{SecretFrom, load_text};
use xtask::files::DataFile;
use xtask::scan::{self, Secret, Target};
use xtask::store::Store;

const MB: usize = 1_000_000;
/// Rounds and bytes: between PetClinic's dump and twice that of Zipkin.
const BENCH: (usize, usize) = (7, 256 * MB);
/// As a test, and the part of the goal that must be met there.
const TEST: (usize, usize) = (3, 96 * MB);
const PART: f64 = 0.5;
/// Bytes a second, of all cores together.
const GOAL: f64 = 1e9;

fn main() {
    // cargo says which it is.
    let is_test = !std::env::args().any(|argument| argument == "--bench");
    let ((rounds, size), part) = if is_test { (TEST, PART) } else { (BENCH, 1.0) };
    let goal = part * GOAL;
    let folder =
        tempfile::Builder::new().prefix("xtask-bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let given = std::env::args().nth(1).filter(|argument| !argument.starts_with("--"));
    let bytes = given.map_or_else(|| pages(size), |file| fs::read(file).unwrap());
    let store = Store::open(&folder.path().join("store")).unwrap();
    let (digest, size) = store.add_bytes(&bytes).unwrap();
    let path = store.path(&digest);
    let (mode, owner) = ("0644".into(), "1:1".into());
    let file = DataFile { path: "/data".into(), mode, owner, size, sha256: Some(digest), link: None };
    drop(bytes);

    let search = |secrets: &[Secret]| {
        let app = load_text("a", Path::new("/a"), "app.toml", "source.jar = \"a.jar\"").unwrap().app;
        let files = std::slice::from_ref(&file);
        let target = Target { app: &app, files, archive: None, texts: Vec::new() };
        let found = scan::scan(&store, &target, secrets).unwrap();
        assert_eq!(found.bytes, size);
        black_box(found);
    };
    let sets = [0, 1, 10, 50, 200].map(|number| (number, secrets(number, folder.path())));
    // Of each: by the clock, and worked by the cores.
    let mut best = vec![(f64::MAX, f64::MAX); sets.len() + 3];
    for _ in 0..rounds {
        let mut take = |number: usize, work: &dyn Fn()| {
            let (started, worked) = (Instant::now(), worked());
            work();
            let of: &mut (f64, f64) = &mut best[number];
            *of = (of.0.min(started.elapsed().as_secs_f64()), of.1.min(self::worked() - worked));
        };
        for (number, (_, secrets)) in sets.iter().enumerate() {
            take(number, &|| search(secrets));
        }
        take(sets.len(), &|| read(&path));
        take(sets.len() + 1, &|| run(Command::new("sha256sum").arg(&path), 0));
        // What it does not find: the whole file is read.
        let grep = || run(Command::new("grep").args(["-c", "-a", "-F", "Tr0ub4dor-and-3"]).arg(&path), 1);
        take(sets.len() + 2, &grep);
    }
    let cores = std::thread::available_parallelism().unwrap().get();
    println!("{} MB, warm; the best of {rounds} rounds; {cores} cores", size / MB as u64);
    let speed = |seconds: f64| size as f64 / seconds.max(1e-9) / 1e9;
    let mut missed = Vec::new();
    for ((number, _), (clock, work)) in sets.iter().zip(&best) {
        let alone = speed(work / cores as f64);
        // People have a handful of secrets; two hundred are told, without a goal.
        let late = *number <= 50 && alone < goal / 1e9;
        missed.extend(late.then_some(*number));
        println!(
            "scan, {number:>3} secrets and known formats {:>6.2} GB/s, {alone:>5.2} GB/s with the cores to itself{}",
            speed(*clock),
            if late { "  MISSED" } else { "" }
        );
    }
    for (name, (clock, _)) in
        ["read, one core", "sha256sum", "grep -F, one word"].iter().zip(&best[sets.len()..])
    {
        println!("{name:<35} {:>6.2} GB/s", speed(*clock));
    }
    assert!(missed.is_empty(), "slower than {} GB/s with {missed:?} secrets", goal / 1e9);
}

/// Seconds that the threads of this process have worked, those that have ended among them (proc(5), in hundredths).
fn worked() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

/// Reads a file from end to end, as the scan does.
fn read(path: &Path) {
    let mut file = fs::File::open(path).unwrap();
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer).unwrap() > 0 {
        black_box(&buffer);
    }
}

fn run(command: &mut Command, expected: i32) {
    let ran = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert_eq!(ran.status.code(), Some(expected), "{command:?}");
}

/// Secrets as people have them, from files.
fn secrets(number: usize, folder: &Path) -> Vec<Secret> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut drawn = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-/+&"[state as usize % 66])
    };
    let named = (0..number).map(|number| {
        let file = folder.join(format!("secret-{number}"));
        fs::write(&file, (0..20).map(|_| drawn()).collect::<String>()).unwrap();
        (format!("s{number}"), SecretFrom::File(file))
    });
    scan::read(&named.collect(), folder).unwrap()
}

/// Bytes like a JVM's: headers, small numbers, pointers, words in both encodings, and pages of zeros. Zipkin's dump has a URL
/// for every 90 KB; these have four.
fn pages(length: usize) -> Vec<u8> {
    let words = [
        "org/springframework/beans/factory/",
        "java.lang.String",
        "getMessage",
        "http://www.w3.org/2001/XMLSchema",
    ];
    let word = |random: u64| words[if random >> 8 & 0x1ff == 0 { 3 } else { (random >> 17) as usize % 3 }];
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    // Names that nobody has listed: letters as often as text has them.
    let letters = b"eeeeeettttaaaaooooiiiinnnnssshhhrrrdddllluuccmmffwyppvbgkjqxzEATSRCMF0123456789/.;$_";
    let name = |random: u64| -> Vec<u8> {
        let mut left = random;
        let mut letter = || {
            left = left.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            letters[(left >> 33) as usize % letters.len()]
        };
        (0..12).map(|_| letter()).collect()
    };
    let text = |random: u64| if random >> 41 & 1 == 0 { word(random).into() } else { name(random) };
    let mut bytes = Vec::with_capacity(length + 4096);
    while bytes.len() < length {
        let random = next();
        match random % 8 {
            0 | 1 => bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]),
            2 => bytes.extend(((random >> 40) as u32 & 0xff).to_le_bytes()),
            3 | 4 => bytes.extend((0xf600_0000_u32 | (random >> 32) as u32 & 0xff_fff8).to_le_bytes()),
            5 => bytes.extend(text(random)),
            6 => bytes.extend(text(random).into_iter().flat_map(|byte| [byte, 0])),
            _ => bytes.extend(random.to_le_bytes()),
        }
        if random >> 54 == 0 {
            bytes.extend([0; 4096]);
        }
    }
    bytes.truncate(length);
    bytes
}
