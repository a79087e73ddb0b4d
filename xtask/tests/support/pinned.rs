//! A store, a lock and a rock that belong together.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use xtask::digest::Digest;
use xtask::files::DataFile;
use xtask::lock::{Data, Lock};
use xtask::pack::archive::write_archive;
use xtask::pack::layer::write_layer;
use xtask::pack::verify::verify_archive;
use xtask::pack::{Blob, pack};
use xtask::rock::{Entry, EntryKind, Layer, LayerContent, Rock, Role};
use xtask::store::Store;
use xtask::verify;

const DATA: [(&str, usize); 5] = [
    ("/checkpoint-data/core-1.img", 700),
    ("/checkpoint-data/inventory.img", 0),
    ("/checkpoint-data/pages-1.img", 4096),
    ("/tmp/lib.so", 513),
    ("/tmp/x y", 1),
];

/// A store, a lock and a rock that belong together, as `checkpoint` leaves them.
pub struct Pinned {
    /// Where the three are.
    pub folder: TempDir,
    /// The lock.
    pub lock: Lock,
}

impl Pinned {
    /// Small, and packed by the packer itself.
    pub fn new() -> Pinned {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let add = |bytes: &[u8]| store.add_bytes(bytes).unwrap();
        let mut lock = Lock::parse(include_str!("sample.lock")).unwrap();
        let file = |(path, size): (&str, usize)| {
            let bytes: Vec<u8> = (0..size).map(|n| (n * 31 + path.len()) as u8).collect();
            let (digest, size) = add(&bytes);
            let owner = "584792:584792".to_owned();
            DataFile { path: path.into(), mode: "0644".into(), owner, size, sha256: Some(digest), link: None }
        };
        let files: Vec<DataFile> = DATA.map(file).into();
        let entry = |file: &DataFile| Entry {
            path: file.path.clone(),
            mode: 0o644,
            owner: 584_792,
            kind: EntryKind::Object { digest: file.sha256.unwrap(), size: file.size },
            capabilities: Vec::new(),
        };
        let data = write_layer(&store, &files.iter().map(entry).collect::<Vec<_>>()).unwrap();
        let folders = ["/checkpoint-data", "/tmp"].map(|path| Entry {
            path: path.into(),
            mode: 0o755,
            owner: 0,
            kind: EntryKind::Folder,
            capabilities: Vec::new(),
        });
        let base = write_layer(&store, &folders).unwrap();
        let image = pack(&store, &rock(&data), &base, &mut |_| {}).unwrap();
        write_archive(&store, &image, "1", &folder.path().join("demo.rock")).unwrap();
        lock.rocks.restore = image.manifest;
        (lock.source.jar, lock.source.jar_size) = add(b"the jar");
        if let Some(pebble) = &mut lock.pebble {
            (pebble.digest, pebble.size) = add(b"pebble itself");
        }
        if let Some(locked) = &mut lock.base {
            (locked.digest, locked.size) = (base.digest, base.size);
        }
        let mapped = lock.data.mapped.clone();
        let tree = Data::tree(&files, &mapped);
        lock.data = Data { digest: data.digest, size: data.size, tree, files, mapped };
        fs::write(folder.path().join("checkpoint.lock"), lock.text().unwrap()).unwrap();
        Pinned { folder, lock }
    }

    /// A copy, to be spoilt: objects keep their modes.
    pub fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        for entry in walkdir::WalkDir::new(self.folder.path()).min_depth(1) {
            let entry = entry.unwrap();
            let to = copy.path().join(entry.path().strip_prefix(self.folder.path()).unwrap());
            match entry.file_type().is_dir() {
                true => fs::create_dir(&to).unwrap(),
                false => drop(fs::copy(entry.path(), &to).unwrap()),
            }
        }
        copy
    }

    /// What `verify --deep` finds.
    pub fn findings(&self, folder: &Path) -> Vec<String> {
        let lock = match Lock::read(&folder.join("checkpoint.lock")) {
            Ok(Some(lock)) => lock,
            Ok(None) => return vec!["checkpoint.lock: missing".into()],
            Err(error) => return vec![format!("checkpoint.lock: {error:#}")],
        };
        let store = Store::open(&folder.join("store")).unwrap();
        let mut findings = verify::objects(&store, &lock, true).findings;
        if let Err(error) = verify_archive(&folder.join("demo.rock"), &lock.rocks.restore, "1") {
            findings.push(format!("demo.rock: {error:#}"));
        }
        findings
    }

    /// Objects of the store, and what a finding calls them.
    pub fn objects(&self) -> Vec<(String, Digest)> {
        let lock = &self.lock;
        let mut objects: Vec<(String, Digest)> =
            lock.data.files.iter().map(|file| (file.path.clone(), file.sha256.unwrap())).collect();
        objects.push(("the jar".into(), lock.source.jar));
        objects.push(("Pebble".into(), lock.pebble.as_ref().unwrap().digest));
        objects.push(("the base layer".into(), lock.base.as_ref().unwrap().digest));
        objects.push(("the data as a layer".into(), lock.data.digest));
        objects
    }
}

fn rock(data: &Blob) -> Rock {
    let content = LayerContent::Stored { digest: data.digest, size: data.size };
    Rock {
        role: Role::Restore,
        name: "demo".into(),
        version: "1".into(),
        summary: "A demo".into(),
        architecture: "amd64".into(),
        suite: "sid".into(),
        packages: Vec::new(),
        user: "_daemon_".into(),
        uid: 584_792,
        layers: vec![Layer { title: "checkpoint data".into(), content }],
        entrypoint: vec!["/usr/bin/pebble".into(), "enter".into()],
        command: Vec::new(),
        environment: Default::default(),
        ports: vec![8080],
        labels: Default::default(),
    }
}
