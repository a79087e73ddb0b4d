//! A repository with one application, pinned by the tool's own code without a container: small, whole, and good for
//! every command that works with a pin.

#![allow(dead_code, reason = "each file of tests uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use walkdir::WalkDir;
use xtask::app::{self, App};
use xtask::commands::checkpoint::pin;
use xtask::debian::Root;
use xtask::engine::Engine;
use xtask::files::DataFile;
use xtask::lock::{
    Data, Host, Lock, LockedBase, LockedCapabilities, LockedMemory, LockedPacker, LockedPebble, LockedRocks,
    LockedSource, SCHEMA,
};
use xtask::pack::Image;
use xtask::pack::layer::write_layer;
use xtask::pebble::Pebble;
use xtask::plan;
use xtask::progress::{Progress, Verbosity};
use xtask::render::Templates;
use xtask::rock::{Entry, EntryKind, Role};
use xtask::rocks::{self, Job, Parts, native};
use xtask::session::Session;
use xtask::source::Jar;
use xtask::store::Store;
use xtask::way::{Packer, Way};
use xtask::workspace::Workspace;

/// The application's name.
pub const APP: &str = "shop";

/// From Maven: a source that any machine has.
const TOML: &str = r#"source.maven = "com.example:shop:1.0"
source.sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
version = "1.0"
"#;

/// What `dpkg` would say in the base layer.
const STATUS: &str = "Package: criu\nStatus: install ok installed\nArchitecture: amd64\nVersion: 4.2.1-1\n\n\
                      Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.3-4\n";

/// A repository in a folder of its own.
pub struct Shop {
    /// Removed with the value.
    #[expect(dead_code, reason = "it is dropped, and does no more")]
    folder: Option<TempDir>,
    top: PathBuf,
}

/// A pin and the rocks it names, not written yet.
pub struct Pin {
    /// The lock.
    pub lock: Lock,
    /// The checkpoint rock.
    pub checkpoint: Image,
    /// The restore rock.
    pub restore: Image,
}

impl Shop {
    /// A repository whose application is pinned.
    pub fn new() -> Shop {
        let shop = Shop::unpinned();
        shop.pin(1);
        shop
    }

    /// A repository that was never worked in.
    pub fn unpinned() -> Shop {
        let shop = Shop::empty();
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates");
        copy(&templates, &shop.root().join("templates"));
        fs::create_dir_all(shop.root().join("apps").join(APP)).unwrap();
        fs::write(shop.toml(), TOML).unwrap();
        shop
    }

    /// What git would bring to another machine: everything but target/.
    pub fn elsewhere(&self) -> Shop {
        let shop = Shop::empty();
        for name in ["templates", "apps", "rocks"] {
            copy(&self.root().join(name), &shop.root().join(name));
        }
        shop
    }

    /// A whole copy, with what is beside the repository, to be spoilt.
    pub fn copy(&self) -> Shop {
        let shop = Shop::empty();
        copy(&self.top, &shop.top);
        shop
    }

    /// One that another process made.
    pub fn at(top: &Path) -> Shop {
        Shop { folder: None, top: top.to_owned() }
    }

    fn empty() -> Shop {
        let folder = tempfile::tempdir().unwrap();
        Shop { top: folder.path().to_owned(), folder: Some(folder) }
    }

    /// The folder that holds the repository.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// Top of the repository.
    pub fn root(&self) -> PathBuf {
        self.top.join("repository")
    }

    /// A folder beside the repository.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.top.join(name)
    }

    /// The application's app.toml.
    pub fn toml(&self) -> PathBuf {
        self.root().join("apps").join(APP).join("app.toml")
    }

    /// The application's lock.
    pub fn lock_path(&self) -> PathBuf {
        self.root().join("apps").join(APP).join("checkpoint.lock")
    }

    /// The lock as it is now.
    pub fn lock(&self) -> Lock {
        Lock::read(&self.lock_path()).unwrap().expect("a pin")
    }

    /// The store.
    pub fn store(&self) -> Store {
        Store::open(&self.root().join("target/xtask/store")).unwrap()
    }

    /// Objects of the store, by their names.
    pub fn objects(&self) -> Vec<String> {
        let folder = self.root().join("target/xtask/store/blobs/sha256");
        let entries = fs::read_dir(folder).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Pins a process of this generation: each has other memory.
    pub fn pin(&self, generation: u8) {
        self.with_job(|job| {
            let pin = prepare(job, generation);
            pin::write(job, &pin.lock, Some(&pin.checkpoint), &pin.restore).unwrap();
        });
    }

    /// Calls `work` with what the commands work with.
    pub fn with_job<T>(&self, work: impl FnOnce(&Job<'_>) -> T) -> T {
        let session = Session {
            workspace: Workspace::at(self.root()),
            store: self.store(),
            progress: Progress::new(Verbosity::Quiet),
            runtime: None,
            destructive: false,
        };
        let app = app::load(&self.root(), APP).unwrap().app;
        let templates = Templates::read(&session.workspace.templates()).unwrap();
        let way = Way { packer: Packer::Native, engine: Engine::Criu };
        work(&Job {
            session: &session,
            templates: &templates,
            app: &app,
            source: &app.source,
            way,
            granted: None,
            refused: &[],
        })
    }

    /// The tool with these words.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(words).current_dir(&self.top).stdin(Stdio::null());
        command.env("XTASK_ROOT", self.root()).env_remove("XTASK_STATE").env_remove("XTASK_RUNTIME");
        command
    }

    /// Runs it.
    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs it, and it must succeed; what it printed.
    #[track_caller]
    pub fn succeed(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert!(ran.status.success(), "{words:?}: {}", said(&ran));
        String::from_utf8(ran.stdout).unwrap()
    }

    /// Runs it, and it must fail with this phrase.
    #[track_caller]
    pub fn refused(&self, words: &[&str], phrase: &str) {
        let ran = self.run(words);
        assert!(!ran.status.success() && said(&ran).contains(phrase), "{words:?}: {}", said(&ran));
    }
}

/// Both streams of a command that ran.
pub fn said(ran: &Output) -> String {
    format!("{}{}{}", ran.status, String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr))
}

/// Everything of a generation, in the store; the lock is not written.
pub fn prepare(job: &Job<'_>, generation: u8) -> Pin {
    let Job { session, app, source, way, .. } = *job;
    let store = &session.store;
    let add = |bytes: &[u8]| store.add_bytes(bytes).unwrap();
    let base = write_layer(store, &base()).unwrap();
    let packages = vec!["bash=5.3-4".to_owned(), "criu=4.2.1-1".to_owned()];
    let (pebble, pebble_size) = add(b"Pebble itself");
    let (jar, jar_size) = add(b"abc");
    let version = "1.32.1".to_owned();
    let parts = native::Parts {
        base: Root { blob: base, packages: packages.clone() },
        pebble: Pebble { version: version.clone(), digest: pebble, size: pebble_size },
        jar: Jar { digest: jar, size: jar_size },
        archive: None,
        fresh: None,
    };
    let files = data(store, generation);
    let parts = Parts::Native(parts);
    let checkpoint = rocks::checkpoint(job, &parts).unwrap();
    let restore = rocks::restore(job, &parts, &files, &[]).unwrap();
    let layer = native::data_layer(session, &files).unwrap();
    let lock = Lock {
        schema: SCHEMA,
        app: app.name.clone(),
        created: "2026-01-01T00:00:00Z".into(),
        engine: Engine::Criu,
        engine_version: Engine::Criu.version(&packages),
        pid: 1000 + u32::from(generation),
        answers: Vec::new(),
        writable_root: false,
        inputs: plan::inputs(job).unwrap(),
        packer: LockedPacker { name: way.packer, version: parts.version() },
        source: LockedSource { from: source.title(), local: false, jar, jar_size },
        base: Some(LockedBase {
            suite: app.rock.suite.clone(),
            digest: base.digest,
            size: base.size,
            packages,
        }),
        pebble: Some(LockedPebble { version, digest: pebble, size: pebble_size }),
        class_archive: None,
        fresh_random: None,
        host: Host::this().unwrap(),
        memory: Some(LockedMemory {
            resident: 150 << 20,
            proportional: 100 << 20,
            max_heap: Some(128 << 20),
        }),
        capabilities: capabilities(app),
        system_calls: Default::default(),
        rocks: LockedRocks { checkpoint: checkpoint.manifest, restore: restore.manifest },
        data: Data {
            digest: layer.digest,
            size: layer.size,
            tree: Data::tree(&files, &[]),
            files,
            mapped: Vec::new(),
        },
    };
    Pin { lock, checkpoint, restore }
}

fn capabilities(app: &App) -> LockedCapabilities {
    let of = |role| Engine::Criu.capabilities(app, role).to_vec();
    LockedCapabilities { checkpoint: of(Role::Checkpoint), restore: of(Role::Restore) }
}

fn base() -> Vec<Entry> {
    let entry =
        |path: &str, kind| Entry { path: path.into(), mode: 0o755, owner: 0, kind, capabilities: Vec::new() };
    let mut entries: Vec<Entry> = ["/usr", "/usr/sbin", "/var", "/var/lib", "/var/lib/dpkg"]
        .map(|path| entry(path, EntryKind::Folder))
        .into();
    entries.push(entry("/etc", EntryKind::Folder));
    entries.push(entry("/etc/os-release", EntryKind::Bytes(b"ID=debian\nVERSION_CODENAME=sid\n".to_vec())));
    entries.push(entry("/usr/sbin/criu", EntryKind::Bytes(b"criu itself".to_vec())));
    entries.push(entry("/var/lib/dpkg/status", EntryKind::Bytes(STATUS.into())));
    entries
}

fn data(store: &Store, generation: u8) -> Vec<DataFile> {
    let file = |(path, size): (&str, usize)| {
        let bytes: Vec<u8> =
            (0..size).map(|n| (n / 7 + path.len() * usize::from(generation)) as u8).collect();
        let (digest, size) = store.add_bytes(&bytes).unwrap();
        let owner = "584792:584792".to_owned();
        DataFile { path: path.into(), mode: "0644".into(), owner, size, sha256: Some(digest), link: None }
    };
    [
        ("/checkpoint-data/core-1000.img", 700),
        ("/checkpoint-data/inventory.img", 40),
        ("/checkpoint-data/pages-1.img", 65_536),
        ("/tmp/lib.so", 513),
    ]
    .map(file)
    .into()
}

fn copy(from: &Path, to: &Path) {
    for entry in WalkDir::new(from).into_iter().map(Result::unwrap) {
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        match entry.file_type().is_dir() {
            true => fs::create_dir_all(target).unwrap(),
            false => fs::copy(entry.path(), target).map(drop).unwrap(),
        }
    }
}
