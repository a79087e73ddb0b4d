//! Where a checkpoint's pin and what it names are kept beside the repository: a folder, which is an OCI image layout, or
//! an OCI registry.
//!
//! Blobs go first and the name last, so that whatever has a name is whole. Nothing that comes back is believed: sizes are
//! bounded by what the pin says, and bytes become visible in the store only under the digest that was asked for.

mod artifact;
mod challenge;
mod client;
mod folder;
mod login;
mod partial;
mod reference;
mod registry;
mod token;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use self::partial::Partial;
use crate::digest::Digest;
use crate::pack::{Blob, Image};
use crate::progress::Progress;
use crate::store::Store;
pub use artifact::{Artifact, MANIFEST_LIMIT, Part, Subject};
pub use folder::Folder;
pub use reference::{Origin, check_tag};

/// Where pins are kept beside the repository.
#[derive(Debug, Clone)]
pub enum Remote {
    /// An OCI image layout, shared by many pins.
    Folder(Folder),
    /// A repository of a registry.
    Registry(Registry),
}

/// A repository of a registry.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Whom to ask.
    pub origin: Origin,
    /// Whether plain HTTP was asked for, also to other machines.
    pub plain_http: bool,
    /// What for.
    pub repository: String,
    /// The tag that was written with it.
    pub tag: Option<String>,
    /// How to ask.
    pub settings: Settings,
}

/// How a registry is asked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long.
    pub limits: Limits,
    /// The environment's word on logins and certificates: paths by the variable's name.
    pub variables: BTreeMap<&'static str, PathBuf>,
}

/// The tool's own limits for a registry.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Until there is a connection, with TLS.
    pub connect: Duration,
    /// Between two bytes; before the answer to a PUT, which ends an upload, it is `request`.
    pub stall: Duration,
    /// For a request that moves next to nothing.
    pub request: Duration,
    /// What a transfer moves in a second at least: a registry that sends a byte now and then does not stall.
    pub slowest: u64,
    /// How often the same is tried.
    pub attempts: u32,
    /// Between the first two tries; it doubles.
    pub pause: Duration,
    /// How much of a blob goes in one request.
    pub chunk: u64,
    /// How many blobs are moved at a time.
    pub workers: usize,
}

impl Limits {
    fn request(&self, bytes: u64) -> Duration {
        self.request + Duration::from_secs(bytes / self.slowest.max(1))
    }

    fn stall(&self, method: &ureq::http::Method) -> Duration {
        // What ends an upload is answered when the registry has put it where it belongs, which may mean a copy of it.
        if *method == ureq::http::Method::PUT { self.stall.max(self.request) } else { self.stall }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            request: Duration::from_secs(120),
            slowest: 32 << 10,
            attempts: 5,
            pause: Duration::from_millis(500),
            chunk: 16 << 20,
            workers: 4,
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        let names = login::VARIABLES.into_iter().chain(["SSL_CERT_FILE", "SSL_CERT_DIR"]);
        // An empty one is as good as none, as everywhere.
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let variables = names.filter_map(|name| Some((name, PathBuf::from(set(name)?)))).collect();
        Settings { limits: Limits::default(), variables }
    }
}

/// What a push did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest: the name of what was pushed, for ever.
    pub manifest: Blob,
    /// Blobs that were sent; the manifest is not counted.
    pub sent: usize,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Blobs that were there.
    pub present: usize,
}

/// What a pull did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Pulled {
    /// Blobs that were fetched.
    pub fetched: usize,
    /// Bytes that arrived for them: fewer than they have, where an earlier pull had begun with one.
    pub fetched_bytes: u64,
    /// Blobs that the store had.
    pub present: usize,
}

impl Remote {
    /// The tag that was written with it.
    pub fn tag(&self) -> Option<&str> {
        match self {
            Remote::Folder(_) => None,
            Remote::Registry(registry) => registry.tag.as_deref(),
        }
    }

    /// As a person would write it, without a tag.
    pub fn name(&self) -> String {
        match self {
            Remote::Folder(folder) => folder.path().display().to_string(),
            Remote::Registry(registry) => format!("{}/{}", registry.origin.authority, registry.repository),
        }
    }
}

/// Pushes an artifact, whose parts are in the store, under a tag.
///
/// # Errors
/// Where a part is missing from the store or is not what its digest says; nothing has a name then that it had not before.
pub fn push(
    store: &Store,
    remote: &Remote,
    artifact: &Artifact,
    tag: &str,
    progress: &Progress,
) -> Result<Pushed> {
    let (manifest, blobs) = artifact.store(store)?;
    push_blobs(store, remote, manifest, &blobs, tag, progress)
}

/// Pushes an image of the store under a tag, byte for byte.
pub fn push_image(
    store: &Store,
    remote: &Remote,
    image: &Image,
    tag: &str,
    progress: &Progress,
) -> Result<Pushed> {
    let manifest = Blob { digest: image.manifest, size: image.manifest_size };
    let config = Blob { digest: image.config, size: image.config_size };
    let blobs = [&[config], image.layers.as_slice()].concat();
    push_blobs(store, remote, manifest, &blobs, tag, progress)
}

fn push_blobs(
    store: &Store,
    remote: &Remote,
    manifest: Blob,
    blobs: &[Blob],
    tag: &str,
    progress: &Progress,
) -> Result<Pushed> {
    check_tag(tag)?;
    blobs.iter().try_for_each(|blob| store.ensure_has(&blob.digest, blob.size))?;
    ensure!(manifest.size <= MANIFEST_LIMIT, "the manifest has more than {MANIFEST_LIMIT} bytes");
    let mut bytes = Vec::new();
    store.copy_object(&manifest.digest, manifest.size, &mut bytes)?;
    let blobs = largest_first(blobs.iter().copied());
    let sent = match remote {
        Remote::Folder(folder) => folder.push(store, &blobs, &bytes, tag, progress),
        Remote::Registry(registry) => registry.push(store, &blobs, &bytes, tag, progress),
    };
    let sent = sent.with_context(|| format!("cannot push to {}", remote.name()))?;
    Ok(Pushed {
        manifest,
        sent: sent.len(),
        sent_bytes: sent.iter().map(|blob| blob.size).sum(),
        present: blobs.len() - sent.len(),
    })
}

/// Reads the artifact that has a tag or a digest. By digest, it is verified.
pub fn read(remote: &Remote, tag_or_digest: &str) -> Result<(Digest, Artifact)> {
    let wanted = tag_or_digest.parse::<Digest>().ok();
    if wanted.is_none() {
        check_tag(tag_or_digest)?;
    }
    let read = || -> Result<(Digest, Artifact)> {
        let bytes = match remote {
            Remote::Folder(folder) => folder.manifest(tag_or_digest)?,
            Remote::Registry(registry) => registry.manifest(tag_or_digest)?,
        };
        let digest = Digest::of(&bytes);
        ensure!(wanted.is_none_or(|wanted| wanted == digest), "its manifest was changed: it is {digest}");
        Ok((digest, Artifact::from_manifest(&bytes)?))
    };
    read().with_context(|| format!("cannot read {tag_or_digest} of {}", remote.name()))
}

/// Fetches the parts that the store lacks. `cache` is a folder for what arrives: what a registry has sent stays there
/// until all of it has, for this pull or the next.
///
/// # Errors
/// Where a part cannot be had or is not what its digest says: what has arrived of the others is in the store.
pub fn pull(
    store: &Store,
    remote: &Remote,
    parts: &[Part],
    cache: &Path,
    progress: &Progress,
) -> Result<Pulled> {
    let wanted = largest_first(parts.iter().map(|part| part.blob));
    let missing: Vec<Blob> =
        wanted.iter().copied().filter(|blob| !store.has(&blob.digest, blob.size)).collect();
    let arrived = match remote {
        _ if missing.is_empty() => Ok(0),
        Remote::Folder(folder) => folder.pull(store, &missing, progress),
        Remote::Registry(registry) => registry.pull(store, &missing, cache, progress),
    };
    let fetched_bytes = arrived.with_context(|| format!("cannot pull from {}", remote.name()))?;
    for blob in &wanted {
        Partial::forget(cache, blob)?;
    }
    Ok(Pulled { fetched: missing.len(), fetched_bytes, present: wanted.len() - missing.len() })
}

/// Each blob once; the largest first, so that all workers end at about the same time.
fn largest_first(blobs: impl Iterator<Item = Blob>) -> Vec<Blob> {
    let unique: BTreeMap<(Digest, u64), Blob> = blobs.map(|blob| ((blob.digest, blob.size), blob)).collect();
    let mut blobs: Vec<Blob> = unique.into_values().collect();
    blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size));
    blobs
}
