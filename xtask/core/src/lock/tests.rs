//! The pin: stable text, and no change by hand that goes unseen.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;

/// A pin as the tool wrote it under schema 2.
const SAMPLE: &str = include_str!("../../../tests/support/sample.lock");

fn sample() -> Lock {
    Lock::parse(SAMPLE).expect("the sample is valid")
}

#[track_caller]
fn refused(text: &str, phrase: &str) {
    let error = Lock::parse(text).expect_err("a changed lock");
    assert!(format!("{error:#}").contains(phrase), "{error:#}");
}

#[test]
fn the_text_is_stable() {
    assert_eq!(sample().text().unwrap(), SAMPLE);
    assert_eq!(Lock::parse(&sample().text().unwrap()).unwrap(), sample());
}

/// A lock without them is one of an earlier version, or of a pin that refuses nothing; there is one way to write each.
#[test]
fn refused_system_calls() {
    let mut lock = sample();
    assert!(lock.system_calls.refused.is_empty() && !SAMPLE.contains("system-calls"));
    lock.system_calls.refused = vec![Family::MessageQueues, Family::SystemVIpc];
    let text = lock.text().unwrap();
    assert!(text.contains("\n[system-calls]\nrefused = [\"message-queues\", \"system-v-ipc\"]\n\n[rocks]\n"));
    assert_eq!(Lock::parse(&text).unwrap(), lock);
    assert_eq!(Lock::parse(&text).unwrap().text().unwrap(), text);
    for (families, phrase) in [
        (vec![Family::SystemVIpc, Family::MessageQueues], "refused system calls is not sorted"),
        (vec![Family::Ptrace, Family::Ptrace], "refused system calls is not sorted"),
    ] {
        lock.system_calls.refused = families;
        refused(&lock.text().unwrap(), phrase);
    }
    refused(&text.replacen("message-queues", "message-queue", 1), "unknown variant `message-queue`");
    refused(&SAMPLE.replacen("\n[rocks]", "\n[system-calls]\nrefused = []\n\n[rocks]", 1), "changed by hand");
}

/// Only a pin that needs a writable root says anything about it.
#[test]
fn a_writable_root() {
    assert!(!sample().writable_root && !SAMPLE.contains("writable-root"));
    let lock = Lock { writable_root: true, ..sample() };
    let text = lock.text().unwrap();
    assert!(text.contains("\nwritable-root = true\n"), "{text}");
    assert_eq!(Lock::parse(&text).unwrap(), lock);
}

#[test]
fn what_was_inserted_in_any_order_is_sorted() {
    let mut lock = sample();
    lock.inputs = ["z", "a", "m"].map(|name| (name.to_owned(), Digest::of(name))).into();
    let text = lock.text().unwrap();
    let inputs = text.split("[inputs]\n").nth(1).unwrap().split("\n\n").next().unwrap();
    assert!(inputs.lines().is_sorted(), "{inputs}");
}

#[test]
fn an_equal_lock_is_left_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app/checkpoint.lock");
    assert_eq!(Lock::read(&path).unwrap(), None);
    sample().write(&path).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::OpenOptions::new().append(true).open(&path).unwrap().into_parts().0.set_modified(old).unwrap();
    let modified = || fs::metadata(&path).unwrap().modified().unwrap();
    sample().write(&path).unwrap();
    assert_eq!(modified(), old);
    let other = Lock { pid: 346, ..sample() };
    other.write(&path).unwrap();
    assert_ne!(modified(), old);
    assert_eq!(Lock::read(&path).unwrap(), Some(other));
    let names = fs::read_dir(path.parent().unwrap()).unwrap();
    assert_eq!(names.count(), 1, "nothing is left beside it");
}

#[test]
fn what_is_no_lock_of_this_schema() {
    refused("", "it names no schema");
    refused("not TOML", "it names no schema");
    refused("schema = \"1\"", "it names no schema");
    for schema in ["0", "1", "4294967295"] {
        let text = SAMPLE.replacen("schema = 2", &format!("schema = {schema}"), 1);
        refused(&text, &format!("its schema is {schema}; this version of the tool reads schema 2"));
    }
    refused("schema = 2", "missing field `app`");
    refused(&SAMPLE.replacen("pid = 345", "pid = 345\npids = 1", 1), "unknown field `pids`");
    refused(&SAMPLE.replacen("pid = 345", "pid = -1", 1), "invalid value");
    refused(&SAMPLE.replacen("\"SETGID\"", "\"SYS_ADMIN\"", 1), "SYS_ADMIN");
    refused(&SAMPLE.replacen("engine = \"criu\"", "engine = \"crio\"", 1), "crio");
}

#[test]
fn an_unreadable_lock_names_its_file_and_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.lock");
    fs::write(&path, "schema = 9").unwrap();
    let error = format!("{:#}", Lock::read(&path).unwrap_err());
    for phrase in [path.to_str().unwrap(), "`cargo xtask checkpoint`", "schema is 9"] {
        assert!(error.contains(phrase), "{error}");
    }
}

#[test]
fn a_list_of_files_that_was_edited() {
    let core = Digest::of("core").to_string();
    for (from, to) in [
        ("core-1.img\"\nmode", "core-2.img\"\nmode"),
        ("mode = \"0644\"", "mode = \"4755\""),
        ("owner = \"584792:584792\"", "owner = \"0:0\""),
        ("size = 4\nsha256", "size = 5\nsha256"),
        (core.as_str(), Digest::of("other").to_string().as_str()),
        ("link = \"core-1.img\"", "link = \"/etc/passwd\""),
        ("link = \"core-1.img\"\n", ""),
        (&format!("sha256 = \"{core}\"\n"), ""),
        (&sample().data.tree.to_string(), &core),
    ] {
        assert!(SAMPLE.contains(from), "{from}");
        refused(&SAMPLE.replacen(from, to, 1), "its list of files was changed by hand");
    }
    let (head, tail) = SAMPLE.split_once("\n[[data.files]]").unwrap();
    let mut entries: Vec<&str> = tail.split("\n[[data.files]]").collect();
    entries.reverse();
    refused(&format!("{head}\n[[data.files]]{}", entries.join("\n[[data.files]]")), "by hand");
    refused(&format!("{head}\n[[data.files]]{}", entries[0]), "by hand");
    // Values that nothing else holds together.
    for (from, to) in [
        ("6.12.0", "6.13.0"),
        ("pid = 345", "pid = 346"),
        ("\n[host]", "\n\n[host]"),
        ("# sha256:", "#sha256:"),
    ] {
        assert!(SAMPLE.contains(from), "{from}");
        refused(&SAMPLE.replacen(from, to, 1), "changed by hand, or by a merge");
    }
}

/// Its digests are no secret: whoever sends a lock can make them right.
#[test]
fn a_path_that_leads_elsewhere() {
    let refused_path = |change: &dyn Fn(&mut Data), phrase: &str| {
        let mut lock = sample();
        change(&mut lock.data);
        lock.data.tree = Data::tree(&lock.data.files, &lock.data.mapped);
        refused(&lock.text().unwrap(), phrase);
    };
    refused_path(&|data| data.files[0].path = "/../../etc/cron.d/x".into(), "no plain path");
    refused_path(&|data| data.files[0].path = "etc/passwd".into(), "is not absolute");
    refused_path(&|data| data.files[0].path += "\n", "control character");
    refused_path(&|data| data.mapped[0].path = "/usr/../../x".into(), "no plain path");
    refused_path(
        &|data| {
            data.files[0] = DataFile { link: Some("/etc".into()), sha256: None, ..data.files[0].clone() };
            data.files[1].path = format!("{}/passwd", data.files[0].path);
        },
        "lies below the link",
    );
}

#[test]
fn hosts() {
    let host = |architecture: &str, flags: &[&str]| Host {
        architecture: architecture.into(),
        kernel: "6.12.0-13-amd64".into(),
        cpu_vendor: architecture.into(),
        cpu_flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
    };
    let dumped = host("x86_64", &["avx", "avx2", "sse"]);
    let check = |other: Host, expected: Option<&str>| match (dumped.refuses(&other), expected) {
        (None, None) => {}
        (Some(reason), Some(phrase)) if reason.contains(phrase) => {}
        (reason, _) => panic!("{reason:?}, expected {expected:?}"),
    };
    check(dumped.clone(), None);
    check(host("x86_64", &["avx", "avx2", "avx512f", "sse"]), None);
    check(host("x86_64", &["sse", "avx2", "avx"]), None);
    check(host("x86_64", &["avx", "sse"]), Some("this CPU lacks avx2, which"));
    check(host("x86_64", &["avx512f"]), Some("lacks avx, avx2, sse,"));
    // What another kernel does not show is no reason.
    let seen = Host { cpu_flags: ["avx", "nopl"].map(String::from).to_vec(), ..host("x86_64", &[]) };
    assert_eq!(seen.refuses(&host("x86_64", &["avx"])), None);
    // A newer kernel knows what an older one did, and a distribution's own number says nothing.
    for (kernel, expected) in [
        ("6.12.0", None),
        ("6.13.0-rc1", None),
        ("10.0.0", None),
        ("nonsense", None),
        ("6.9.12-amd64", Some("its kernel is 6.9.12-amd64, older than 6.12.0-13-amd64")),
        ("5.15.0", Some("older than 6.12.0")),
    ] {
        check(Host { kernel: kernel.into(), ..dumped.clone() }, expected);
    }
    check(host("aarch64", &["avx", "avx2", "sse"]), Some("made on x86_64, this machine is aarch64"));
    assert_eq!(Host::this().unwrap().refuses(&Host::this().unwrap()), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_survived(text in "(?s).{0,200}") {
        let _ = Lock::parse(&text);
    }

    /// No mutation is taken for a lock.
    #[test]
    fn a_mutation_is_refused(at in any::<prop::sample::Index>(), cut in 0..9usize, put in "(?s).{0,3}") {
        let mut text: Vec<char> = SAMPLE.chars().collect();
        let at = at.index(text.len());
        let end = (at + cut).min(text.len());
        text.splice(at..end, put.chars());
        let text: String = text.into_iter().collect();
        prop_assert_eq!(Lock::parse(&text).is_ok(), text == SAMPLE, "{}", text);
    }
}
