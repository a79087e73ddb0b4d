//! Pins and data to a folder and to a registry, and back: whole, once, and never anything else than what was asked for.

#[path = "../support/cases.rs"]
mod cases;
mod fake;
mod faults;
mod folder;
mod logins;
#[path = "../support/proxy.rs"]
mod proxy;
mod real;
#[path = "../support/registry.rs"]
mod registry;
#[path = "../support/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;
use xtask::pack::Blob;
use xtask::progress::{Progress, Verbosity};
use xtask::remote::{self, Artifact, Limits, Part, Pulled, Pushed, Remote};
use xtask::store::Store;

/// A store with an artifact's parts, an empty one, and a cache.
struct Fixture {
    folder: TempDir,
    full: Store,
    empty: Store,
    artifact: Artifact,
}

impl Fixture {
    /// With parts of these sizes.
    fn with(sizes: &[usize]) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let full = Store::open(&folder.path().join("full")).unwrap();
        let empty = Store::open(&folder.path().join("empty")).unwrap();
        let parts = sizes.iter().enumerate().map(|(number, size)| {
            let (digest, size) = full.add_bytes(&noise(number, *size)).unwrap();
            Part {
                title: format!("run/pages-{number}.img"),
                media_type: "application/vnd.example.page".into(),
                blob: Blob { digest, size },
                annotations: BTreeMap::from([("example.mode".into(), "0644".into())]),
            }
        });
        let artifact = Artifact {
            artifact_type: "application/vnd.example.pin".into(),
            annotations: BTreeMap::from([("example.app".into(), "petclinic".into())]),
            parts: parts.collect(),
            subject: None,
        };
        Fixture { folder, full, empty, artifact }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache/pull")
    }

    /// Files in the cache.
    fn cached(&self) -> usize {
        std::fs::read_dir(self.cache()).map_or(0, |entries| entries.count())
    }

    fn push(&self, remote: &Remote, tag: &str) -> Result<Pushed> {
        remote::push(&self.full, remote, &self.artifact, tag, &quiet())
    }

    fn pull(&self, remote: &Remote) -> Result<Pulled> {
        remote::pull(&self.empty, remote, &self.artifact.parts, &self.cache(), &quiet())
    }

    /// The part's bytes in all.
    fn size(&self) -> u64 {
        self.artifact.parts.iter().map(|part| part.blob.size).sum()
    }

    /// Whether the store that was empty has all parts, unharmed.
    fn is_whole(&self) -> bool {
        self.artifact.parts.iter().all(|part| self.empty.verify(&part.blob.digest).is_ok())
    }

    /// How many objects the store that was empty has.
    fn arrived(&self) -> usize {
        std::fs::read_dir(self.empty.root().join("blobs/sha256")).unwrap().count()
    }
}

/// Bytes that differ from one number to the next and do not repeat soon.
fn noise(number: usize, size: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..size).map(|_| next()).collect()
}

fn quiet() -> Progress {
    Progress::new(Verbosity::Quiet)
}

/// A registry on this machine, with limits for tests and no login of whoever runs them.
fn local(port: u16) -> Remote {
    registry_at(&format!("127.0.0.1:{port}/team/petclinic"), |_| {})
}

fn registry_at(text: &str, change: impl FnOnce(&mut remote::Registry)) -> Remote {
    let Remote::Registry(mut registry) = Remote::parse(text, false).unwrap() else { panic!("{text}") };
    registry.settings.variables.clear();
    registry.settings.limits = Limits {
        stall: Duration::from_secs(10),
        pause: Duration::from_millis(10),
        attempts: 3,
        ..Limits::default()
    };
    change(&mut registry);
    Remote::Registry(registry)
}

/// An error as a person sees it, which has all of these in it.
fn says<T: std::fmt::Debug>(result: Result<T>, expected: &[&str]) -> String {
    let error = result.unwrap_err();
    let text = format!("{error:#}");
    for part in expected {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(!format!("{text} {error:?}").contains("hunter2"), "{text}");
    text
}
