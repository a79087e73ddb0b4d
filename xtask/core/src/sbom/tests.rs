use serde_json::Value;

use super::*;
use crate::lock::{LockedArchive, LockedSource};
use crate::pack::layer::write_layer;
use crate::pack::pack;
use crate::rock::{Entry, EntryKind, Layer, LayerContent, Rock, Role};

const SAMPLE: &str = include_str!("../../../tests/support/sample.lock");
const DEBIAN: &str = "ID=debian\nVERSION_CODENAME=forky\n";

fn entry(path: &str, bytes: &[u8]) -> Entry {
    let kind = EntryKind::Bytes(bytes.to_vec());
    Entry { path: path.into(), mode: 0o644, owner: 0, kind, capabilities: Vec::new() }
}

fn package(name: &str, version: &str) -> String {
    format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n")
}

/// A small Spring Boot jar with one library, a war's, and one that is none.
fn boot_jar() -> Vec<u8> {
    let pom = b"groupId=org.example\nartifactId=tea\nversion=1.0\n";
    let tea = jar::tests::jar(&[("META-INF/maven/org.example/tea/pom.properties", pom)]);
    jar::tests::jar(&[
        ("META-INF/MANIFEST.MF", b"Implementation-Title: shop\nImplementation-Version: 7\n"),
        ("BOOT-INF/lib/tea-1.0.jar", &tea),
        ("BOOT-INF/lib/spring-core-6.2.1.jar", &jar::tests::jar(&[])),
        ("BOOT-INF/lib/broken.jar", b"no zip"),
    ])
}

/// A store with the restore rock of a pin, its layers from the bottom up.
fn pinned(layers: &[&[Entry]]) -> (tempfile::TempDir, Store, Lock) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut lock = Lock::parse(SAMPLE).unwrap();
    let base = write_layer(&store, layers[0]).unwrap();
    let layer = |entries: &&[Entry]| Layer {
        title: "a layer".into(),
        content: LayerContent::Entries(entries.to_vec()),
    };
    let rock = Rock {
        role: Role::Restore,
        name: "sample-restorer".into(),
        version: "1.2".into(),
        summary: "A sample".into(),
        architecture: "amd64".into(),
        suite: "sid".into(),
        packages: Vec::new(),
        user: "_daemon_".into(),
        uid: 584_792,
        layers: layers[1..].iter().map(layer).collect(),
        entrypoint: vec!["/usr/bin/pebble".into()],
        command: Vec::new(),
        environment: Default::default(),
        ports: vec![8080],
        labels: [("title", "sample-restorer"), ("version", "1.2")]
            .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.to_owned()))
            .into(),
    };
    lock.rocks.restore = pack(&store, &rock, &base, &mut |_| {}).unwrap().manifest;
    lock.source = LockedSource { jar: Digest::of(boot_jar()), ..lock.source };
    lock.class_archive = Some(LockedArchive { digest: Digest::of("archive"), size: 7 });
    (folder, store, lock)
}

/// Every part that a restore rock has.
fn whole() -> (tempfile::TempDir, Store, Lock) {
    let old = package("bash", "5.3-4") + &package("criu", "4.2.1-1");
    let new = package("bash", "5.3-4+b1") + &package("libstdc++6", "15.2.0-8");
    let modules = "path\tgithub.com/canonical/pebble/cmd/pebble\nmod\tgithub.com/canonical/pebble\tv1.32.1\n\
                   dep\tgithub.com/GehirnInc/crypt\tv0.0.0-20230320061759-8cc1b52080c5\ndep\tgopkg.in/yaml.v3\tv3.0.1\n";
    pinned(&[
        &[entry("/usr/lib/os-release", DEBIAN.as_bytes()), entry("/var/lib/dpkg/status", old.as_bytes())],
        &[entry("/usr/bin/pebble", &go::program("go1.26.1", modules))],
        &[entry("/jars/sample.jar", &boot_jar()), entry("/var/lib/dpkg/status", new.as_bytes())],
    ])
}

#[test]
fn the_whole_rock_is_listed() {
    let (_folder, store, lock) = whole();
    let sbom = of_pin(&store, &lock).unwrap();
    let text = String::from_utf8(sbom.bytes.clone()).unwrap();
    assert!(text.ends_with("}\n"));
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["components"].as_array().unwrap().len(), sbom.components);
    insta::assert_snapshot!(text.replace(&lock.rocks.restore.hex(), "[the rock]"));
    assert_eq!(of_pin(&store, &lock).unwrap().bytes, sbom.bytes, "the same pin, the same bytes");
}

#[test]
fn what_cannot_be_listed_is_an_error() {
    let refused = |store: &Store, lock: &Lock, expected: &str| {
        let error = format!("{:#}", of_pin(store, lock).unwrap_err());
        assert!(error.contains(expected), "`{expected}` is not in {error}");
    };
    let (_folder, store, lock) = whole();
    let other =
        Lock { source: LockedSource { jar: Digest::of("other"), ..lock.source.clone() }, ..lock.clone() };
    refused(&store, &other, "/jars/sample.jar of the rock is sha256:");
    let mut lost = lock.clone();
    lost.rocks.restore = Digest::of("lost");
    refused(&store, &lost, "run `cargo xtask pack sample restore`");

    let base = [entry("/usr/lib/os-release", DEBIAN.as_bytes())];
    let (_folder, bare, lock) = pinned(&[&base]);
    refused(&bare, &lock, "has no /var/lib/dpkg/status");
}

#[test]
fn an_altered_layer_is_an_error() {
    let (_folder, store, lock) = whole();
    let image = import::read_image(&store, &lock.rocks.restore).unwrap();
    for layer in image.layers.iter().map(|layer| layer.digest).chain([image.manifest]) {
        let bytes = fs_err::read(store.path(&layer)).unwrap();
        for at in [0, 300, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs_err::remove_file(store.path(&layer)).unwrap();
            fs_err::write(store.path(&layer), changed).unwrap();
            let error = format!("{:#}", of_pin(&store, &lock).unwrap_err());
            assert!(error.contains("was changed"), "{at}: {error}");
        }
        fs_err::write(store.path(&layer), bytes).unwrap();
    }
    of_pin(&store, &lock).unwrap();
}

/// OCI's mark of a file that is gone, which our own packer refuses to write, in a compressed layer of others.
#[test]
fn what_an_upper_layer_removed_is_gone() {
    let (_folder, store, _) = whole();
    let layer = |names: &[&str]| {
        let mut tar =
            tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for name in names {
            let mut header = tar::Header::new_ustar();
            header.set_size(1);
            tar.append_data(&mut header, name, &b"x"[..]).unwrap();
        }
        let (digest, size) = store.add_bytes(&tar.into_inner().unwrap().finish().unwrap()).unwrap();
        crate::pack::Blob { digest, size }
    };
    let lower = layer(&["./a/b", "./a/c", "a/d", "e"]);
    let upper = layer(&["a/.wh.b", "./a/.wh.cc", "d/.wh.d", ".wh.e", ".wh."]);
    let (digest, size) = (lower.digest, lower.size);
    let image = Image {
        manifest: digest,
        manifest_size: size,
        config: digest,
        config_size: size,
        layers: vec![lower, upper],
    };
    let found = layers::files(&store, &image, &["a/b", "a/c", "a/d", "e", "f"]).unwrap();
    assert_eq!(found.into_keys().collect::<Vec<_>>(), ["a/c", "a/d"]);
}

/// `tests/rockcraft/sbom.py` on a document: whether it is valid, and what was said.
fn validated(document: &[u8]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sbom.cdx.json");
    fs_err::write(&file, document).unwrap();
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/rockcraft/python");
    let ran = std::process::Command::new(python).arg("sbom.py").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    (ran.status.success(), said)
}

#[test]
#[ignore = "needs Python packages; run by cargo xtask test"]
fn the_official_schema_agrees() {
    let (_folder, store, lock) = whole();
    let bytes = of_pin(&store, &lock).unwrap().bytes;
    let (valid, said) = validated(&bytes);
    assert!(valid && said.contains("1 documents valid"), "{said}");

    // It must be able to say no.
    let text = String::from_utf8(bytes).unwrap();
    for (from, to, expected) in [
        ("\"type\": \"data\"", "\"type\": \"dada\"", "schema: "),
        ("\"content\": \"", "\"content\": \"x", "schema: "),
        ("urn:uuid:", "urn:uuid:x", "schema: "),
        ("\"timestamp\": \"2026-", "\"timestamp\": \"in 2026-", "schema: "),
        ("%2B%2B", "++", "packageurl writes pkg:deb/debian/libstdc%2B%2B6"),
        ("\"bom-ref\": \"pebble\"", "\"bom-ref\": \"peddle\"", "nothing is called {'pebble'}"),
    ] {
        assert!(text.contains(from), "{from}");
        let (valid, said) = validated(text.replacen(from, to, 1).as_bytes());
        assert!(!valid && said.contains(expected), "{from} -> {to}: {said}");
    }
}
