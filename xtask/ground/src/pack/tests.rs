//! The packer as a whole, and properties of layers.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use proptest::prelude::*;

use super::archive::{read_manifest_digest, write_archive, write_layout};
use super::layer::{MTIME, file_capabilities, write_layer};
use super::{Blob, pack};
use crate::digest::Digest;
use crate::privileges::Capability;
use crate::rock::{Entry, EntryKind, Layer, LayerContent, Rock, Role};
use crate::store::Store;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry { path: path.into(), mode: 0o755, owner: 1000, kind, capabilities: Vec::new() }
}

fn file(path: &str) -> Entry {
    entry(path, EntryKind::Bytes(path.into()))
}

fn rock(layers: Vec<Layer>) -> Rock {
    let text = |text: &str| text.to_owned();
    Rock {
        role: Role::Restore,
        name: text("demo"),
        version: text("1"),
        summary: text("A demo"),
        architecture: text("amd64"),
        suite: text("sid"),
        packages: vec![],
        user: text("_daemon_"),
        uid: 1000,
        layers,
        entrypoint: vec![text("/bin/pebble"), text("enter")],
        command: vec![text("--verbose")],
        environment: BTreeMap::from([(text("Z"), text("1")), (text("A"), text("a b=c"))]),
        ports: vec![8080, 443],
        labels: (0..20).map(|n| (format!("label.{n}"), n.to_string())).collect(),
    }
}

/// A base and a rock with a layer of entries and a stored one.
fn sample(store: &Store) -> (Blob, Rock) {
    let base = write_layer(store, &[entry("/bin", EntryKind::Folder)]).unwrap();
    let stored = write_layer(store, &[file("/data")]).unwrap();
    let (digest, size) = store.add_bytes(b"a jar").unwrap();
    let jar = entry("/app.jar", EntryKind::Object { digest, size });
    let layers = vec![
        Layer { title: "jar".into(), content: LayerContent::Entries(vec![jar, file("/bin/pebble")]) },
        Layer {
            title: "checkpoint data".into(),
            content: LayerContent::Stored { digest: stored.digest, size: stored.size },
        },
    ];
    (base, rock(layers))
}

fn json(store: &Store, digest: &Digest) -> serde_json::Value {
    serde_json::from_reader(store.open_object(digest).unwrap()).unwrap()
}

#[test]
fn an_image_says_what_the_rock_says() {
    let (_folder, store) = store();
    let (base, rock) = sample(&store);
    let mut lines = Vec::new();
    let image = pack(&store, &rock, &base, &mut |line| lines.push(line.to_owned())).unwrap();
    assert_eq!(lines, ["packing layer `jar` of demo", "writing the manifest of demo"]);

    let config = json(&store, &image.config);
    assert_eq!(config["created"], "1980-01-01T00:00:00Z");
    assert_eq!((&config["architecture"], &config["os"]), (&"amd64".into(), &"linux".into()));
    assert_eq!(
        config["config"],
        serde_json::json!({
            "Cmd": ["--verbose"],
            "Entrypoint": ["/bin/pebble", "enter"],
            "Env": ["A=a b=c", format!("PATH={}", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), "Z=1"],
            "ExposedPorts": {"443/tcp": {}, "8080/tcp": {}},
            "Labels": rock.labels,
            "User": "1000:1000",
        })
    );
    let digests: Vec<_> = image.layers.iter().map(|layer| layer.digest.to_string()).collect();
    assert_eq!(config["rootfs"], serde_json::json!({"type": "layers", "diff_ids": digests}));
    let history: Vec<_> =
        config["history"].as_array().unwrap().iter().map(|h| h["created_by"].as_str().unwrap()).collect();
    assert_eq!(history, ["xtask: base", "xtask: jar", "xtask: checkpoint data"]);

    let manifest = json(&store, &image.manifest);
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(manifest["config"]["digest"], image.config.to_string());
    assert_eq!(manifest["annotations"], serde_json::json!(rock.labels));
    for (described, layer) in manifest["layers"].as_array().unwrap().iter().zip(&image.layers) {
        let wanted = serde_json::json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": layer.digest,
            "size": layer.size,
        });
        assert_eq!(*described, wanted);
    }
}

#[test]
fn packing_again_gives_the_same() {
    let images: Vec<_> = (0..3)
        .map(|_| {
            let (folder, store) = store();
            let (base, rock) = sample(&store);
            let image = pack(&store, &rock, &base, &mut |_| {}).unwrap();
            let rock_file = folder.path().join("demo.rock");
            let size = write_archive(&store, &image, "localhost/demo:1", &rock_file).unwrap();
            let meta = fs_err::metadata(&rock_file).unwrap();
            assert_eq!((meta.len(), meta.mode() & 0o7777), (size, 0o644));
            assert_eq!(read_manifest_digest(&rock_file).unwrap(), image.manifest);
            assert_eq!(
                fs_err::read_dir(folder.path()).unwrap().count(),
                2,
                "store and rock, nothing partial"
            );
            (image, Digest::of(fs_err::read(rock_file).unwrap()))
        })
        .collect();
    assert!(images.iter().all(|image| *image == images[0]));
    // Known: a change here changes the digest of every rock, which a release note must say.
    insta::assert_snapshot!(images[0].0.manifest, @"sha256:04e60c6611acbb8717d5f628b14f8082755dcacd00e3da08910ddb8f6bd8f392");
}

#[test]
fn a_layout_is_links() {
    let (folder, store) = store();
    let (base, rock) = sample(&store);
    let image = pack(&store, &rock, &base, &mut |_| {}).unwrap();
    let dir = folder.path().join("layout");
    for _ in 0..2 {
        write_layout(&store, &image, "localhost/demo:1", &dir).unwrap();
    }
    for (digest, size) in image.blobs() {
        let blob = fs_err::metadata(dir.join("blobs/sha256").join(digest.hex())).unwrap();
        assert_eq!((blob.ino(), blob.len()), (fs_err::metadata(store.path(&digest)).unwrap().ino(), size));
    }
    let index: serde_json::Value =
        serde_json::from_slice(&fs_err::read(dir.join("index.json")).unwrap()).unwrap();
    let manifest = &index["manifests"][0];
    assert_eq!(manifest["digest"], image.manifest.to_string());
    assert_eq!(manifest["annotations"]["org.opencontainers.image.ref.name"], "localhost/demo:1");
}

#[test]
fn the_archive_holds_layout_index_and_sorted_blobs() {
    let (folder, store) = store();
    let (base, rock) = sample(&store);
    let image = pack(&store, &rock, &base, &mut |_| {}).unwrap();
    let path = folder.path().join("demo.rock");
    write_archive(&store, &image, "demo", &path).unwrap();
    let mut archive = tar::Archive::new(fs_err::File::open(path).unwrap());
    let names: Vec<_> =
        archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
    let blobs = image.blobs().into_keys().map(|digest| format!("blobs/sha256/{}", digest.hex()));
    let wanted: Vec<_> = ["oci-layout", "index.json"].map(String::from).into_iter().chain(blobs).collect();
    assert_eq!(names, wanted);
}

#[test]
fn nothing_unverified_is_packed() {
    let (folder, store) = store();
    let (base, rock) = sample(&store);
    let image = pack(&store, &rock, &base, &mut |_| {}).unwrap();
    let objects = || fs_err::read_dir(store.root().join("blobs/sha256")).unwrap().count();
    let (jar, stored) = (Digest::of("a jar"), image.layers[2]);
    for (bytes, wanted) in [("a jaR", "was changed"), ("a ja", "is cut off"), ("", "is cut off")] {
        fs_err::remove_file(store.path(&jar)).unwrap();
        fs_err::write(store.path(&jar), bytes).unwrap();
        let before = objects();
        let error = format!("{:#}", pack(&store, &rock, &base, &mut |_| {}).unwrap_err());
        for part in ["layer `jar`", &jar.hex(), wanted] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(objects(), before);
        assert_eq!(fs_err::read_dir(store.root().join("partial")).unwrap().count(), 0);
    }

    // A stored layer of the right size with other bytes: the archive notices and leaves nothing.
    let mut bytes = fs_err::read(store.path(&stored.digest)).unwrap();
    bytes[600] ^= 1;
    fs_err::remove_file(store.path(&stored.digest)).unwrap();
    fs_err::write(store.path(&stored.digest), &bytes).unwrap();
    let path = folder.path().join("demo.rock");
    let error = format!("{:#}", write_archive(&store, &image, "demo", &path).unwrap_err());
    assert!(error.contains("was changed") && error.contains(&stored.digest.hex()), "{error}");
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);

    fs_err::remove_file(store.path(&stored.digest)).unwrap();
    let error = format!("{:#}", write_layout(&store, &image, "demo", &folder.path().join("l")).unwrap_err());
    assert!(error.contains(&stored.digest.hex()), "{error}");
}

#[test]
fn invalid_entries_are_refused() {
    let (_folder, store) = store();
    let link = |path: &str, target: &str| entry(path, EntryKind::Link(target.into()));
    let capable = |kind| Entry { capabilities: vec![Capability::Setgid], ..entry("/a", kind) };
    let path_cases = [
        "",
        "/",
        "a",
        "a/b",
        "./a",
        "//a",
        "/a/",
        "/a//b",
        "/a/./b",
        "/..",
        "/../a",
        "/a/../../b",
        "/a\0b",
        "/a\nb",
        "/a/.wh.b",
        "/.wh..wh..opq",
    ];
    let mut cases: Vec<Vec<Entry>> = path_cases.iter().map(|path| vec![file(path)]).collect();
    cases.extend([
        vec![file("/a"), file("/a")],
        vec![entry("/a", EntryKind::Folder), file("/a")],
        vec![file("/a"), file("/a/b")],
        vec![link("/a", "/etc"), file("/a-b"), file("/a/b/c")],
        vec![link("/a", "")],
        vec![link("/a", "b\0c")],
        vec![Entry { mode: 0o100_644, ..file("/a") }],
        vec![capable(EntryKind::Folder)],
        vec![capable(EntryKind::Link("b".into()))],
        vec![entry("/a", EntryKind::Object { digest: Digest::of("missing"), size: 7 })],
    ]);
    for case in cases {
        let error = write_layer(&store, &case).map(|_| &case).unwrap_err();
        assert!(!error.to_string().contains('\0'), "{error}");
    }
    assert_eq!(fs_err::read_dir(store.root().join("blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn other_files_are_no_archives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.rock");
    for bytes in [&b""[..], b"hello", &[0; 2048]] {
        fs_err::write(&path, bytes).unwrap();
        let error = format!("{:#}", read_manifest_digest(&path).unwrap_err());
        assert!(error.contains("x.rock"), "{error}");
    }
}

/// What comes back out of a layer, by path: type, mode, owner, link target, capabilities, bytes.
type Seen = BTreeMap<String, (tar::EntryType, u32, u64, Option<String>, Option<Vec<u8>>, Vec<u8>)>;

fn read_layer(store: &Store, blob: &Blob) -> Seen {
    let mut archive = tar::Archive::new(store.open_object(&blob.digest).unwrap());
    let mut seen = Seen::new();
    let mut last = String::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = format!("/{}", String::from_utf8(entry.path_bytes().into_owned()).unwrap());
        let header = entry.header().clone();
        assert_eq!((header.mtime().unwrap(), header.username_bytes()), (MTIME, Some(&b""[..])));
        assert_eq!(header.uid().unwrap(), header.gid().unwrap());
        let link = entry.link_name_bytes().map(|bytes| String::from_utf8(bytes.into_owned()).unwrap());
        let mut capabilities = None;
        if let Some(records) = entry.pax_extensions().unwrap() {
            for record in records.map(Result::unwrap) {
                if record.key_bytes() == b"SCHILY.xattr.security.capability" {
                    capabilities = Some(record.value_bytes().to_vec());
                }
            }
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let facts =
            (header.entry_type(), header.mode().unwrap(), header.uid().unwrap(), link, capabilities, bytes);
        let name = path.strip_suffix('/').unwrap_or(&path).to_owned();
        assert!(name > last, "{name} after {last}");
        last.clone_from(&name);
        assert!(seen.insert(name, facts).is_none());
    }
    seen
}

fn expected(store: &Store, entries: &[Entry]) -> Seen {
    let facts = |entry: &Entry| {
        let (kind, mode, link, bytes) = match &entry.kind {
            EntryKind::Folder => (tar::EntryType::Directory, entry.mode, None, vec![]),
            EntryKind::Bytes(bytes) => (tar::EntryType::Regular, entry.mode, None, bytes.clone()),
            EntryKind::Object { digest, .. } => {
                (tar::EntryType::Regular, entry.mode, None, fs_err::read(store.path(digest)).unwrap())
            }
            EntryKind::Link(target) => (tar::EntryType::Symlink, 0o777, Some(target.clone()), vec![]),
        };
        let capabilities =
            (!entry.capabilities.is_empty()).then(|| file_capabilities(&entry.capabilities).to_vec());
        (entry.path.clone(), (kind, mode, entry.owner.into(), link, capabilities, bytes))
    };
    entries.iter().map(facts).collect()
}

fn any_capabilities() -> impl Strategy<Value = Vec<Capability>> {
    use Capability::{CheckpointRestore, NetAdmin, Setgid, Setpcap, SysPtrace};
    proptest::sample::subsequence(vec![CheckpointRestore, NetAdmin, Setgid, Setpcap, SysPtrace], 0..=5)
}

/// Entries with distinct, valid paths, none below a file: names may be long, foreign or look like options.
fn any_entries() -> impl Strategy<Value = Vec<(Entry, bool)>> {
    let part = "[-a-c0 =;$'ö日]{1,3}|[a-z]{40,120}";
    let path = prop::collection::vec(part, 1..4).prop_map(|parts| format!("/{}", parts.join("/")));
    let kind = prop_oneof![
        Just(EntryKind::Folder),
        prop::collection::vec(any::<u8>(), 0..1500).prop_map(EntryKind::Bytes),
        "[a-z/.ö]{1,150}".prop_map(EntryKind::Link),
    ];
    let one = (path, 0_u32..=0o7777, 0_u32..(1 << 21), kind, any_capabilities(), any::<bool>());
    prop::collection::vec(one, 0..12).prop_map(|all| {
        let mut chosen: BTreeMap<String, (Entry, bool)> = BTreeMap::new();
        for (path, mode, owner, kind, capabilities, stored) in all {
            let is_folder = |(entry, _): &(Entry, bool)| matches!(entry.kind, EntryKind::Folder);
            let below = chosen.values().any(|e| !is_folder(e) && path.starts_with(&format!("{}/", e.0.path)));
            let above = chosen.keys().any(|other| other.starts_with(&format!("{path}/")));
            let kind = if above { EntryKind::Folder } else { kind };
            let capabilities = if matches!(kind, EntryKind::Bytes(_)) { capabilities } else { Vec::new() };
            if !below {
                chosen.insert(path.clone(), (Entry { path, mode, owner, kind, capabilities }, stored));
            }
        }
        chosen.into_values().collect()
    })
}

/// Moves the bytes of the marked entries into the store.
fn place(store: &Store, entries: Vec<(Entry, bool)>) -> Vec<Entry> {
    let place = |(mut entry, stored): (Entry, bool)| {
        if let (EntryKind::Bytes(bytes), true) = (&entry.kind, stored) {
            let (digest, size) = store.add_bytes(bytes).unwrap();
            entry.kind = EntryKind::Object { digest, size };
        }
        entry
    };
    entries.into_iter().map(place).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_layer_holds_its_entries_in_any_order(
        entries in any_entries(),
        order in any::<prop::sample::Index>(),
    ) {
        let (_folder, store) = store();
        let inline: Vec<Entry> = entries.iter().map(|(entry, _)| entry.clone()).collect();
        let mut entries = place(&store, entries);
        let blob = write_layer(&store, &entries).unwrap();
        prop_assert_eq!(read_layer(&store, &blob), expected(&store, &entries));
        prop_assert_eq!(write_layer(&store, &inline).unwrap(), blob, "where the bytes come from is no difference");
        if !entries.is_empty() {
            let by = order.index(entries.len());
            entries.rotate_left(by);
            entries.reverse();
        }
        prop_assert_eq!(write_layer(&store, &entries).unwrap(), blob);
    }

    #[test]
    fn no_path_panics(path in "[/.a\0wh]{0,12}|\\PC{0,8}") {
        let (_folder, store) = store();
        if write_layer(&store, &[file(&path)]).is_ok() {
            prop_assert!(path.starts_with('/') && !path.split('/').any(|part| part == ".."));
        }
    }
}
