//! A folder that is an OCI image layout, shared by many pins and by other tools.
//!
//! Its blobs lie as a [`Store`]'s objects do, and are written as those are. `index.json` is changed under a lock, so that
//! pushes at the same time do not lose each other's entries. What lies there may be anybody's work: no link is followed,
//! nothing but regular files is read, and none beyond its limit.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::OFlags;
use serde_json::{Value, json};

use super::MANIFEST_LIMIT;
use crate::digest::Digest;
use crate::interrupt;
use crate::pack::Blob;
use crate::pack::oci::{self, REF_NAME, SCHEMA_VERSION, canonical_json};
use crate::process::Limit;
use crate::progress::Progress;
use crate::store::Store;
use crate::workers::{each, wait_for_lock};
use crate::workspace::{create_folder, write_whole};

/// An index has some hundred bytes an entry.
const INDEX_LIMIT: u64 = 4 << 20;
/// Held while the index is changed.
const LOCK: &str = "index.lock";
/// What is in a layout of ours.
const OURS: [&str; 5] = ["blobs", "partial", "index.json", LOCK, "oci-layout"];

/// An OCI image layout in a folder, or the place for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The layout at `path`.
    pub fn new(path: PathBuf) -> Folder {
        Folder { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Copies what is missing, then gives the manifest its tag; returns what was copied.
    pub(super) fn push(
        &self,
        store: &Store,
        blobs: &[Blob],
        manifest: &[u8],
        tag: &str,
        progress: &Progress,
    ) -> Result<Vec<Blob>> {
        self.begin()?;
        let there = Store::open(&self.path)?;
        there.sweep()?;
        let missing: Vec<Blob> =
            blobs.iter().copied().filter(|blob| !there.has(&blob.digest, blob.size)).collect();
        let copy = |blob: &Blob| -> Result<()> {
            interrupt::check()?;
            let mut writer = there.writer()?;
            store.copy_object(&blob.digest, blob.size, &mut writer)?;
            writer.commit_as(&blob.digest, blob.size)?;
            progress.detail("push", &format!("{} ({} bytes)", blob.digest, blob.size));
            Ok(())
        };
        each(&missing, std::thread::available_parallelism().map_or(1, usize::from).min(4), || (), copy)?;
        let (digest, size) = there.add_bytes(manifest)?;
        self.name(tag, &Blob { digest, size }, manifest)?;
        Ok(missing)
    }

    /// The bytes of the manifest with a tag or a digest, verified.
    pub(super) fn manifest(&self, tag_or_digest: &str) -> Result<Vec<u8>> {
        self.check()?;
        let digest = match tag_or_digest.parse::<Digest>() {
            Ok(digest) => digest,
            Err(_) => self.find(tag_or_digest)?,
        };
        let bytes = read_bounded(&self.blob(&digest), MANIFEST_LIMIT)?;
        let found = Digest::of(&bytes);
        ensure!(found == digest, "{} was changed: it is {found}", self.blob(&digest).display());
        Ok(bytes)
    }

    /// Copies blobs into the store, each verified before it is visible; returns how many bytes that were.
    pub(super) fn pull(&self, store: &Store, blobs: &[Blob], progress: &Progress) -> Result<u64> {
        self.check()?;
        let fetch = |blob: &Blob| -> Result<()> {
            let path = self.blob(&blob.digest);
            let (file, size) = open_regular(&path)?;
            ensure!(size == blob.size, "{} has {size} bytes; expected {}", path.display(), blob.size);
            let mut writer = store.writer()?;
            // Never more than was asked for, should the file grow meanwhile.
            let mut reader = Interruptible(file.take(blob.size));
            std::io::copy(&mut reader, &mut writer)
                .with_context(|| format!("cannot copy {}", path.display()))?;
            let committed = writer.commit_as(&blob.digest, blob.size);
            committed.with_context(|| format!("{} was changed; push it again", path.display()))?;
            progress.detail("pull", &format!("{} ({} bytes)", blob.digest, blob.size));
            Ok(())
        };
        each(blobs, std::thread::available_parallelism().map_or(1, usize::from).min(4), || (), fetch)?;
        Ok(blobs.iter().map(|blob| blob.size).sum())
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.hex())
    }

    /// Makes the layout, unless it is there. A folder with other things in it is not made one.
    fn begin(&self) -> Result<()> {
        create_folder(&std::path::absolute(&self.path)?)?;
        let marker = self.path.join("oci-layout");
        if marker.symlink_metadata().is_err() {
            for entry in fs_err::read_dir(&self.path)? {
                let name = entry?.file_name();
                let name = name.to_string_lossy();
                ensure!(
                    OURS.contains(&&*name) || name.starts_with(".partial-"),
                    "{} is no OCI image layout and has other things in it; name an empty folder or a new one",
                    self.path.display()
                );
            }
            write_whole(&marker, &crate::pack::archive::layout_json()?, 0o644)?;
        }
        self.check()
    }

    /// Whether it is a layout that does not lead elsewhere.
    fn check(&self) -> Result<()> {
        let marker = self.path.join("oci-layout");
        let text = read_bounded(&marker, INDEX_LIMIT)
            .with_context(|| format!("{} is no OCI image layout", self.path.display()))?;
        let layout: Value = serde_json::from_slice(&text).unwrap_or_default();
        ensure!(
            layout["imageLayoutVersion"] == oci::LAYOUT_VERSION,
            "{} is not of the version of OCI image layouts that is known here, {}",
            marker.display(),
            oci::LAYOUT_VERSION
        );
        for name in ["blobs", "blobs/sha256", "partial"] {
            let path = self.path.join(name);
            match path.symlink_metadata() {
                Ok(found) => ensure!(found.is_dir(), "{} is no folder", path.display()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot look at {}", path.display()));
                }
            }
        }
        Ok(())
    }

    /// Gives a manifest its name; other entries stay as they are, whoever wrote them.
    fn name(&self, tag: &str, manifest: &Blob, bytes: &[u8]) -> Result<()> {
        let path = self.path.join("index.json");
        let _lock = self.lock()?;
        let mut index = self.index()?.unwrap_or_else(|| {
            json!({
                "schemaVersion": SCHEMA_VERSION,
                "mediaType": oci::INDEX,
                "manifests": [],
            })
        });
        let manifest = entry(tag, manifest, bytes)?;
        let entries = entries_mut(&mut index)?;
        entries.retain(|entry| named(entry) != Some(tag));
        entries.push(manifest);
        write_whole(&path, &canonical_json(&index)?, 0o644)
    }

    fn lock(&self) -> Result<File> {
        let path = self.path.join(LOCK);
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o666)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let limit = Limit::new("the tool's own limit for a folder's index", Duration::from_secs(60));
        wait_for_lock(&file, &format!("changes the index of {}", self.path.display()), &limit)?;
        Ok(file)
    }

    fn find(&self, tag: &str) -> Result<Digest> {
        let mut index = self.index()?.with_context(|| format!("{} has no index", self.path.display()))?;
        let entries = entries_mut(&mut index)?;
        let mut found = entries.iter().filter(|entry| named(entry) == Some(tag));
        let Some(entry) = found.next() else {
            let shown = |name: &str| crate::progress::printable(&name.chars().take(128).collect::<String>());
            let mut names: Vec<String> = entries.iter().filter_map(named).map(shown).take(20).collect();
            names.sort();
            bail!("{} has no `{tag}`; it has: {}", self.path.display(), names.join(", "));
        };
        ensure!(found.next().is_none(), "{} has more than one `{tag}`", self.path.display());
        entry["digest"].as_str().unwrap_or_default().parse()
    }

    fn index(&self) -> Result<Option<Value>> {
        let path = self.path.join("index.json");
        if path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return Ok(None);
        }
        let index = serde_json::from_slice(&read_bounded(&path, INDEX_LIMIT)?);
        index.map(Some).with_context(|| format!("{} is no JSON", path.display()))
    }
}

fn entries_mut(index: &mut Value) -> Result<&mut Vec<Value>> {
    ensure!(index.is_object(), "index.json is no OCI index");
    index["manifests"].as_array_mut().context("index.json is no OCI index: it has no manifests")
}

fn named(entry: &Value) -> Option<&str> {
    entry["annotations"][REF_NAME].as_str()
}

/// The index's entry for a manifest, which says itself what it is.
fn entry(tag: &str, blob: &Blob, bytes: &[u8]) -> Result<Value> {
    let manifest: Value = serde_json::from_slice(bytes).context("the manifest is no JSON")?;
    let mut entry = json!({
        "mediaType": manifest["mediaType"].as_str().unwrap_or(oci::MANIFEST),
        "digest": blob.digest,
        "size": blob.size,
        "annotations": { REF_NAME: tag },
    });
    if let Some(kind) = manifest["artifactType"].as_str() {
        entry["artifactType"] = kind.into();
    }
    Ok(entry)
}

/// Opens a regular file, and nothing else: a link leads elsewhere, and a pipe's reader waits for ever.
fn open_regular(path: &Path) -> Result<(File, u64)> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let found = file.metadata()?;
    ensure!(found.is_file(), "{} is no regular file", path.display());
    Ok((file, found.len()))
}

fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let (file, size) = open_regular(path)?;
    ensure!(size <= limit, "{} has {size} bytes, more than the {limit} it may have", path.display());
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

/// Ends with a signal.
struct Interruptible<R>(R);

impl<R: Read> Read for Interruptible<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        interrupt::check().map_err(std::io::Error::other)?;
        self.0.read(buffer)
    }
}
