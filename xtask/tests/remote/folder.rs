//! A folder that is an OCI image layout.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use proptest::prelude::*;
use serde_json::{Value, json};
use xtask::remote::{self, Remote};

use crate::cases::cases;
use crate::{Fixture, quiet, says};

/// A fixture and the folder that it pushes to.
struct Shared {
    fixture: Fixture,
    path: PathBuf,
    remote: Remote,
}

impl Shared {
    fn new(sizes: &[usize]) -> Shared {
        let fixture = Fixture::with(sizes);
        let path = fixture.folder.path().join("shared/pins");
        let remote = Remote::parse(path.to_str().unwrap(), false).unwrap();
        Shared { fixture, path, remote }
    }

    fn pushed(sizes: &[usize]) -> Shared {
        let shared = Shared::new(sizes);
        shared.fixture.push(&shared.remote, "1").unwrap();
        shared
    }

    fn blob(&self, part: usize) -> PathBuf {
        self.path.join("blobs/sha256").join(self.fixture.artifact.parts[part].blob.digest.hex())
    }

    fn index(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path.join("index.json")).unwrap()).unwrap()
    }

    fn refuses_to_pull(&self, expected: &[&str]) {
        says(self.fixture.pull(&self.remote), expected);
        assert_eq!(self.fixture.arrived(), 0);
    }
}

#[test]
fn what_is_pushed_is_pulled_and_nothing_twice() {
    let shared = Shared::new(&[3 << 20, 10, 0]);
    let (fixture, there) = (&shared.fixture, &shared.remote);
    let pushed = fixture.push(there, "1").unwrap();
    assert_eq!((pushed.sent, pushed.sent_bytes, pushed.present), (4, fixture.size() + 2, 0));
    let index = shared.index();
    let repeated = fixture.push(there, "1").unwrap();
    assert_eq!((repeated.manifest, repeated.sent, repeated.present), (pushed.manifest, 0, 4));
    assert_eq!(shared.index(), index);
    assert_eq!(index["manifests"][0]["artifactType"], "application/vnd.example.pin");
    assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "1");

    let (digest, artifact) = remote::read(there, "1").unwrap();
    assert_eq!((digest, &artifact), (pushed.manifest.digest, &fixture.artifact));
    assert_eq!(remote::read(there, &digest.to_string()).unwrap().1, artifact);
    says(remote::read(there, "2"), &["cannot read 2", "has no `2`; it has: 1"]);
    assert_eq!(fixture.pull(there).unwrap().fetched, 3);
    assert!(fixture.is_whole());
    assert_eq!(fixture.pull(there).unwrap().present, 3);
}

#[test]
fn others_entries_stay() {
    let shared = Shared::pushed(&[10]);
    let mut index = shared.index();
    index["annotations"] = json!({ "example": "theirs" });
    let theirs = json!({ "mediaType": "x/y", "digest": "sha512:00", "size": 1, "of-theirs": [1, 2] });
    index["manifests"].as_array_mut().unwrap().push(theirs.clone());
    fs::write(shared.path.join("index.json"), index.to_string()).unwrap();
    shared.fixture.push(&shared.remote, "2").unwrap();
    shared.fixture.push(&shared.remote, "1").unwrap();
    let index = shared.index();
    let entries = index["manifests"].as_array().unwrap();
    assert!(entries.len() == 3 && entries.contains(&theirs), "{entries:?}");
    assert_eq!(index["annotations"]["example"], "theirs");
}

#[test]
fn pushes_at_the_same_time_lose_nothing() {
    let shared = Shared::new(&[10_000, 20_000]);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (fixture, there) = (&shared.fixture, &shared.remote);
            scope.spawn(move || {
                for turn in 0..5 {
                    let mut artifact = fixture.artifact.clone();
                    artifact.annotations.insert("example.number".into(), format!("{number}-{turn}"));
                    remote::push(&fixture.full, there, &artifact, &format!("{number}-{turn}"), &quiet())
                        .unwrap();
                }
            });
        }
    });
    for number in 0..8 {
        for turn in 0..5 {
            let (_, artifact) = remote::read(&shared.remote, &format!("{number}-{turn}")).unwrap();
            assert_eq!(artifact.annotations["example.number"], format!("{number}-{turn}"));
        }
    }
    assert_eq!(fs::read_dir(shared.path.join("partial")).unwrap().count(), 0);
}

#[test]
fn a_folder_of_something_else_is_not_written_to() {
    let shared = Shared::new(&[10]);
    fs::create_dir_all(&shared.path).unwrap();
    fs::write(shared.path.join("thesis.tex"), "").unwrap();
    says(shared.fixture.push(&shared.remote, "1"), &["is no OCI image layout and has other things in it"]);
    assert_eq!(fs::read_dir(&shared.path).unwrap().count(), 1);
    says(remote::read(&shared.remote, "1"), &["is no OCI image layout"]);
    shared.refuses_to_pull(&["is no OCI image layout"]);
    fs::write(shared.path.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    says(shared.fixture.push(&shared.remote, "1"), &["is not of the version"]);
}

#[test]
fn changed_blobs_are_refused() {
    let shared = Shared::pushed(&[10]);
    let blob = shared.blob(0);
    for (bytes, expected) in [
        ("0123456789", "was changed; push it again"),
        ("01", "has 2 bytes; expected 10"),
        ("", "has 0 bytes"),
    ] {
        fs::remove_file(&blob).unwrap();
        fs::write(&blob, bytes).unwrap();
        shared.refuses_to_pull(&[expected]);
    }
    fs::remove_file(&blob).unwrap();
    shared.refuses_to_pull(&["cannot open", "No such file"]);
    // What is damaged there is sent again, if its size tells.
    fs::write(&blob, "01").unwrap();
    assert_eq!(shared.fixture.push(&shared.remote, "1").unwrap().sent, 1);
    shared.fixture.pull(&shared.remote).unwrap();
    assert!(shared.fixture.is_whole());
}

#[test]
fn links_and_pipes_are_not_followed() {
    let shared = Shared::pushed(&[10]);
    let blob = shared.blob(0);
    let aside = shared.fixture.folder.path().join("aside");
    fs::rename(&blob, &aside).unwrap();
    symlink(&aside, &blob).unwrap();
    shared.refuses_to_pull(&["cannot open"]);
    fs::remove_file(&blob).unwrap();
    assert!(Command::new("mkfifo").arg(&blob).status().unwrap().success());
    shared.refuses_to_pull(&["is no regular file"]);

    let linked = |name: &str, read: &str, push: &str| {
        let shared = Shared::pushed(&[10]);
        let place = shared.path.join(name);
        let aside = shared.fixture.folder.path().join("aside");
        fs::rename(&place, &aside).unwrap();
        symlink(&aside, &place).unwrap();
        says(remote::read(&shared.remote, "1"), &[read]);
        let before = fs::read_dir(&aside).map_or(0, |entries| entries.count());
        says(shared.fixture.push(&shared.remote, "2"), &[push]);
        assert_eq!(fs::read_dir(&aside).map_or(0, |entries| entries.count()), before);
    };
    linked("blobs", "is no folder", "is no folder");
    linked("blobs/sha256", "is no folder", "is no folder");
    linked("partial", "is no folder", "is no folder");
    linked("index.json", "cannot open", "cannot open");
    linked("oci-layout", "is no OCI image layout", "is no OCI image layout");

    let shared = Shared::pushed(&[10]);
    fs::remove_file(shared.path.join("index.lock")).unwrap();
    symlink(&aside, shared.path.join("index.lock")).unwrap();
    says(shared.fixture.push(&shared.remote, "2"), &["cannot open", "index.lock"]);
}

#[test]
fn what_is_too_large_is_not_read() {
    let shared = Shared::pushed(&[10]);
    let (digest, _) = remote::read(&shared.remote, "1").unwrap();
    let grow = |name: PathBuf| {
        // Sparse: its size is what is looked at.
        fs::remove_file(&name).unwrap();
        fs::File::create(name).unwrap().set_len(1 << 40).unwrap();
    };
    grow(shared.path.join("blobs/sha256").join(digest.hex()));
    says(remote::read(&shared.remote, "1"), &["more than the 4194304 it may have"]);
    grow(shared.blob(0));
    shared.refuses_to_pull(&["has 1099511627776 bytes; expected 10"]);
    grow(shared.path.join("index.json"));
    says(remote::read(&shared.remote, "1"), &["more than the 4194304 it may have"]);
}

#[test]
fn an_index_of_any_other_form_is_an_error() {
    let shared = Shared::pushed(&[10]);
    let check = |index: Value, expected: &str| {
        fs::write(shared.path.join("index.json"), index.to_string()).unwrap();
        says(remote::read(&shared.remote, "1"), &[expected]);
    };
    let entry = |digest: &str| json!({ "digest": digest, "annotations": { "org.opencontainers.image.ref.name": "1" } });
    check(json!([]), "is no OCI index");
    check(json!({}), "no manifests");
    check(json!({ "manifests": {} }), "no manifests");
    check(json!({ "manifests": [1, null, "1", {}, { "annotations": 1 }] }), "has no `1`");
    check(json!({ "manifests": [entry("sha256:../../../etc/passwd")] }), "is no digest");
    let one = entry(&format!("sha256:{}", "0".repeat(64)));
    check(json!({ "manifests": [one] }), "cannot open");
    check(json!({ "manifests": [one, one] }), "more than one `1`");
    fs::write(shared.path.join("index.json"), "[".repeat(100_000)).unwrap();
    says(remote::read(&shared.remote, "1"), &["is no JSON"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(32)))]

    /// Whatever lies in the folder: no panic, and nothing is written but in the folder and the store.
    #[test]
    fn no_layout_does_harm(
        file in 0usize..4,
        edits in prop::collection::vec((any::<u16>(), any::<u8>(), 0u8..3), 1..6),
    ) {
        let shared = Shared::pushed(&[10, 20]);
        let (digest, _) = remote::read(&shared.remote, "1").unwrap();
        let manifest = shared.path.join("blobs/sha256").join(digest.hex());
        let files = [shared.path.join("index.json"), manifest, shared.blob(0), shared.path.join("oci-layout")];
        let mut bytes = fs::read(&files[file]).unwrap();
        let original = bytes.clone();
        for (at, byte, how) in edits {
            let at = usize::from(at) % bytes.len().max(1);
            match how {
                0 if !bytes.is_empty() => bytes[at] = byte,
                1 => bytes.truncate(at),
                _ => bytes.insert(at.min(bytes.len()), byte),
            }
        }
        fs::remove_file(&files[file]).unwrap();
        fs::write(&files[file], &bytes).unwrap();
        if let Ok((found, artifact)) = remote::read(&shared.remote, "1") {
            // Nothing else can have the digest.
            prop_assert_eq!((found, artifact), (digest, shared.fixture.artifact.clone()));
        }
        let _ = shared.fixture.push(&shared.remote, "2");
        let pulled = shared.fixture.pull(&shared.remote);
        prop_assert_eq!(pulled.is_ok() , shared.fixture.is_whole());
        prop_assert!(file != 2 || bytes == original || pulled.is_err() || bytes.len() != 10);
        let besides = fs::read_dir(shared.fixture.folder.path()).unwrap().count();
        prop_assert_eq!(besides, 3, "full, empty, shared");
    }
}
