//! The pin against every way to spoil what it names: data in the store, the lock's text, a packed rock. None is
//! accepted, each names what was spoilt, and nothing that is unchanged raises an alarm.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use xtask::digest::Digest;

mod support {
    pub mod cases;
    pub mod pinned;
}

use support::cases::cases;
use support::pinned::Pinned;

/// One way to spoil bytes.
#[derive(Debug, Clone)]
enum Bytes {
    Flip { at: usize, bit: u8 },
    Truncate { by: usize },
    Append { byte: u8 },
    Insert { at: usize, byte: u8 },
    Delete { at: usize },
    SwapBlocks { one: usize, other: usize },
    ZeroBlock { at: usize },
}

/// One way to spoil a file of the store.
#[derive(Debug, Clone)]
enum Object {
    Bytes(Bytes),
    Remove,
    Swap { other: usize },
    Symlink,
    HardLink,
    Folder,
    Writable,
}

#[derive(Debug, Clone)]
enum Mutation {
    Data { object: usize, how: Object },
    Lock(Bytes),
    Rock(Bytes),
}

fn bytes() -> impl Strategy<Value = Bytes> {
    let place = any::<usize>;
    prop_oneof![
        6 => (place(), 0..8u8).prop_map(|(at, bit)| Bytes::Flip { at, bit }),
        1 => (1..600usize).prop_map(|by| Bytes::Truncate { by }),
        1 => any::<u8>().prop_map(|byte| Bytes::Append { byte }),
        1 => (place(), any::<u8>()).prop_map(|(at, byte)| Bytes::Insert { at, byte }),
        1 => place().prop_map(|at| Bytes::Delete { at }),
        1 => (place(), place()).prop_map(|(one, other)| Bytes::SwapBlocks { one, other }),
        1 => place().prop_map(|at| Bytes::ZeroBlock { at }),
    ]
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let object = prop_oneof![
        6 => bytes().prop_map(Object::Bytes),
        1 => Just(Object::Remove),
        1 => (1..9usize).prop_map(|other| Object::Swap { other }),
        1 => Just(Object::Symlink),
        1 => Just(Object::HardLink),
        1 => Just(Object::Folder),
        1 => Just(Object::Writable),
    ];
    prop_oneof![
        (0..9usize, object).prop_map(|(object, how)| Mutation::Data { object, how }),
        bytes().prop_map(Mutation::Lock),
        bytes().prop_map(Mutation::Rock),
    ]
}

fn spoil(mut bytes: Vec<u8>, how: &Bytes) -> Vec<u8> {
    const BLOCK: usize = 512;
    let length = bytes.len();
    if length == 0 {
        return vec![0];
    }
    match how {
        Bytes::Flip { at, bit } => bytes[at % length] ^= 1 << bit,
        Bytes::Truncate { by } => bytes.truncate(length.saturating_sub(*by)),
        Bytes::Append { byte } => bytes.push(*byte),
        Bytes::Insert { at, byte } => bytes.insert(at % length, *byte),
        Bytes::Delete { at } => drop(bytes.remove(at % length)),
        Bytes::SwapBlocks { one, other } => {
            let blocks = length / BLOCK;
            if blocks > 1 {
                for n in 0..BLOCK {
                    bytes.swap((one % blocks) * BLOCK + n, (other % blocks) * BLOCK + n);
                }
            }
        }
        Bytes::ZeroBlock { at } => {
            let start = (at % length) / BLOCK * BLOCK;
            let end = (start + BLOCK).min(length);
            bytes[start..end].fill(0);
        }
    }
    bytes
}

fn replace(path: &Path, bytes: &[u8], mode: u32) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Spoils a copy. What a finding must say; none if nothing has changed.
fn apply(pinned: &Pinned, folder: &Path, mutation: &Mutation) -> Option<String> {
    let in_bytes = |name: &str, how: &Bytes| {
        let path = folder.join(name);
        let before = fs::read(&path).unwrap();
        let after = spoil(before.clone(), how);
        replace(&path, &after, 0o644);
        (before != after).then(|| format!("{name}: "))
    };
    match mutation {
        Mutation::Lock(how) => in_bytes("checkpoint.lock", how),
        Mutation::Rock(how) => in_bytes("demo.rock", how),
        Mutation::Data { object, how } => {
            let objects = pinned.objects();
            let place = |at: usize| -> PathBuf {
                folder.join("store/blobs/sha256").join(objects[at % objects.len()].1.hex())
            };
            let path = place(*object);
            let before = fs::read(&path).unwrap();
            match how {
                Object::Bytes(how) => {
                    let after = spoil(before.clone(), how);
                    replace(&path, &after, 0o444);
                    if before == after {
                        return None;
                    }
                }
                Object::Remove => fs::remove_file(&path).unwrap(),
                Object::Swap { other } => {
                    let other = place(object + other);
                    if other == path {
                        return None;
                    }
                    let bytes = fs::read(&other).unwrap();
                    replace(&path, &bytes, 0o444);
                    replace(&other, &before, 0o444);
                }
                Object::Symlink => {
                    fs::write(folder.join("same"), &before).unwrap();
                    fs::remove_file(&path).unwrap();
                    symlink(folder.join("same"), &path).unwrap();
                }
                Object::HardLink => {
                    fs::write(folder.join("planted"), [&before[..], b"x"].concat()).unwrap();
                    fs::remove_file(&path).unwrap();
                    fs::hard_link(folder.join("planted"), &path).unwrap();
                }
                Object::Folder => {
                    fs::remove_file(&path).unwrap();
                    fs::create_dir(&path).unwrap();
                }
                Object::Writable => {
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
                }
            }
            Some(format!("store: {}: ", objects[object % objects.len()].0))
        }
    }
}

/// Seeded, so that a failure comes again: 300 of them, or as many as `XTASK_CASES` says.
#[test]
fn no_mutation_is_accepted() {
    let cases = cases(300);
    let pinned = Pinned::new();
    let mut runner = TestRunner::deterministic();
    let (mut refused, mut unchanged) = (0, 0);
    while refused < cases {
        let mutation = mutation().new_tree(&mut runner).unwrap().current();
        let folder = pinned.copy();
        let expected = apply(&pinned, folder.path(), &mutation);
        let findings = pinned.findings(folder.path());
        match expected {
            None => {
                assert_eq!(findings, Vec::<String>::new(), "{mutation:?}");
                unchanged += 1;
            }
            Some(expected) => {
                assert!(
                    findings.iter().any(|found| found.starts_with(&expected)),
                    "{mutation:?}: {findings:?}"
                );
                refused += 1;
            }
        }
    }
    println!(
        "the pin: {refused} mutations of data, lock and rock refused, {unchanged} that change nothing accepted"
    );
}

#[test]
fn nothing_unchanged_raises_an_alarm() {
    let runs = cases(50);
    let pinned = Pinned::new();
    for _ in 0..runs {
        assert_eq!(pinned.findings(pinned.folder.path()), Vec::<String>::new());
    }
    println!("the pin: {runs} unchanged runs, no false alarm");
}

#[test]
fn what_differs_is_named() {
    let pinned = Pinned::new();
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let folder = pinned.copy();
        let path = folder.path().join("demo.rock");
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        replace(&path, &bytes, 0o644);
        let findings = pinned.findings(folder.path());
        assert!(findings.iter().any(|found| found.contains(expected)), "{findings:?}");
    };
    let find =
        |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).position(|window| window == text).unwrap();
    // The reference: neither the manifest nor any blob holds it.
    let reference = |bytes: &mut Vec<u8>| {
        let at = find(bytes, b"\"org.opencontainers.image.ref.name\":\"1\"");
        bytes[at + 37] = b'2';
    };
    check(&reference, "index.json differs");
    let padding = |bytes: &mut Vec<u8>| {
        let at = find(bytes, b"index.json") - 1;
        bytes[at] = 1;
    };
    check(&padding, "the padding after oci-layout differs");
    check(&|bytes| bytes.extend([0; 512]), "something follows the end");
    check(&|bytes| bytes.truncate(bytes.len() - 512), "the file ends within the end of the archive");
    let pages = |bytes: &mut Vec<u8>| {
        let at = find(bytes, b"checkpoint-data/pages-1.img") + 512;
        bytes[at] ^= 1;
    };
    check(&pages, "layer 2 of 2 was changed");
}

/// Packs in whatever environment it finds itself, and prints the digest of the file.
#[test]
#[ignore = "run by one_digest_everywhere"]
fn pack_here() {
    let pinned = Pinned::new();
    println!("ROCK {}", Digest::of(fs::read(pinned.folder.path().join("demo.rock")).unwrap()));
}

#[test]
fn one_digest_everywhere() {
    let zones = ["UTC", "Asia/Kathmandu", "America/St_Johns", "Pacific/Kiritimati"];
    let languages = ["C", "C.UTF-8", "de_DE.UTF-8", "tr_TR.UTF-8", "ar_EG"];
    let mut digests = Vec::new();
    for number in 0..20 {
        let folder = tempfile::Builder::new().prefix(&"x y".repeat(1 + number % 3)).tempdir().unwrap();
        let umask = ["000", "022", "077", "027"][number % 4];
        let mut command = std::process::Command::new("sh");
        let script = format!("umask {umask}; exec \"$0\" --exact pack_here --ignored --nocapture");
        command.args(["-c", &script]).arg(std::env::current_exe().unwrap()).current_dir(&folder);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("TMPDIR", folder.path());
        command.env("TZ", zones[number % zones.len()]).env("LC_ALL", languages[number % languages.len()]);
        command.env("HOME", folder.path()).env("USER", ["root", "ann", "x y"][number % 3]);
        command.env("SOURCE_DATE_EPOCH", (number * 1_000_003).to_string());
        let ran = command.output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        let digest =
            said.lines().find_map(|line| line.split_once("ROCK ")).map(|(_, digest)| digest.to_owned());
        digests.push(digest.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&ran.stderr))));
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "{digests:?}");
    println!("the pin: one digest in 20 environments");
}
