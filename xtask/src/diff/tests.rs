use super::*;
use crate::lock::{LockedArchive, MappedFile};
use crate::seccomp::Family;

const SAMPLE: &str = include_str!("../../tests/support/sample.lock");

fn file(path: &str, size: u64) -> DataFile {
    DataFile {
        path: path.into(),
        mode: "0644".into(),
        owner: "584792:584792".into(),
        size,
        sha256: Some(Digest::of(format!("{path}{size}"))),
        link: None,
    }
}

/// A pin, and one that differs from it in everything.
fn pair() -> (Lock, Lock) {
    let mut before = Lock::parse(SAMPLE).unwrap();
    before.data.files.extend([
        file("/checkpoint-data/core-7.img", 800),
        file("/checkpoint-data/pages-1.img", 120 << 20),
        file("/checkpoint-data/pstree.img", 114),
        file("/tmp/libbrotli.so", 900_000),
    ]);
    let mut after = before.clone();
    after.created = "2026-02-01T00:00:00Z".into();
    after.pid = 346;
    after.answers.push(Digest::of("tea"));
    after.inputs.insert("source".into(), Digest::of("moved"));
    after.inputs.insert("jar".into(), Digest::of("new"));
    after.inputs.remove("base");
    after.packer.version = "0.2.0".into();
    after.source.from =
        "git https://git.example.com/shop.git at 9a22090d9e4f54de8bbef5b3b59806ee3a62ad9d".into();
    (after.source.jar, after.source.jar_size) = (Digest::of("jar 2"), 30 << 20);
    let base = after.base.as_mut().unwrap();
    base.digest = Digest::of("base 2");
    base.packages = ["bash=5.3-5", "openjdk-21-jre-headless=21.0.5+11-1"].map(String::from).into();
    after.pebble = None;
    after.class_archive = Some(LockedArchive { digest: Digest::of("jsa"), size: 54 << 20 });
    after.host.kernel = "6.18.2".into();
    after.host.cpu_flags = ["avx", "avx512f", "avx512vl", "sse"].map(String::from).into();
    after.capabilities.restore.push(Capability::Setpcap);
    after.system_calls.refused = vec![Family::Ptrace, Family::Splice];
    after.rocks.restore = Digest::of("rock 2");
    after.data.mapped = vec![MappedFile { path: "/usr/lib/libz.so.1".into(), sha256: Digest::of("z") }];
    after.data.files.retain(|file| !file.path.starts_with("/tmp/"));
    for changed in &mut after.data.files {
        match changed.path.as_str() {
            "/checkpoint-data/pages-1.img" => *changed = file(&changed.path, 100 << 20),
            "/checkpoint-data/core-7.img" => changed.sha256 = Some(Digest::of("other bytes")),
            "/checkpoint-data/pstree.img" => (changed.mode, changed.owner) = ("0600".into(), "0:0".into()),
            "/checkpoint-data/latest" => changed.link = Some("core-2.img".into()),
            _ => {}
        }
    }
    after
        .data
        .files
        .push(file("/tmp/libnetty_transport_native_epoll_x86_6415379723831411972844.so", 1 << 20));
    (before, after)
}

fn region(kind: Kind, bytes: u64) -> Region {
    Region { kind, path: None, bytes }
}

#[track_caller]
fn assert_narrow(table: &str) {
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
}

#[test]
fn everything_that_can_differ() {
    let (before, after) = pair();
    let mut rows = differences(&before, &after);
    let (old, new) =
        ([region(Kind::JavaHeap, 40 << 20), region(Kind::Stacks, 4096)], [region(Kind::JavaHeap, 35 << 20)]);
    rows.extend(memory(&old, &new));
    let table = table(&rows);
    assert_narrow(&table);
    insta::assert_snapshot!(table);
}

#[test]
fn nothing_differs_from_itself() {
    let (before, after) = pair();
    for pin in [&before, &after] {
        assert_eq!(differences(pin, pin), []);
    }
    // There and back again: the same rows, the other way round.
    let turned =
        |row: Row| Row { before: row.after, after: row.before, growth: row.growth.map(|by| -by), ..row };
    let back: Vec<Row> = differences(&after, &before).into_iter().map(turned).collect();
    assert_eq!(differences(&before, &after), back);
}

#[test]
fn a_single_difference_is_a_single_row() {
    let check = |change: &dyn Fn(&mut Lock), expected: [&str; 4]| {
        let (before, mut after) = (pair().0, pair().0);
        change(&mut after);
        let rows = differences(&before, &after);
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!([row.section, &row.what, &row.before, &row.after], expected);
    };
    check(&|lock| lock.pid = 7, ["pin", "PID", "345", "7"]);
    check(&|lock| lock.host.architecture = "aarch64".into(), ["host", "architecture", "x86_64", "aarch64"]);
    check(&|lock| lock.host.cpu_flags = vec!["sse".into()], ["host", "CPU flags", "only avx avx2", "-"]);
    check(&|lock| lock.source.local = false, ["source", "local", "true", "false"]);
    check(
        &|lock| lock.base.as_mut().unwrap().packages.push("tzdata=2026b-1".into()),
        ["packages", "tzdata", "-", "2026b-1"],
    );
}

#[test]
fn long_words_are_broken() {
    let (before, mut after) = pair();
    after.app = "x".repeat(300);
    after.data.files.push(file(&format!("/{}", "y".repeat(300)), u64::MAX));
    assert_narrow(&table(&differences(&before, &after)));
}
