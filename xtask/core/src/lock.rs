//! The pin: `apps/<app>/checkpoint.lock`, which says by digest what the restore rock is made of.
//!
//! Written by the tool alone, in one rename, after everything it names is in the store.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::engine::Engine;
use crate::files::{DataFile, check_files, check_path};
use crate::fresh::Fresh;
use crate::privileges::Capability;
use crate::seccomp::Family;
use crate::signature;
use crate::way::{Packer, Way};
use crate::workspace::{open_file, write_whole};

/// Version of the lock's form; a reader refuses any other.
pub const SCHEMA: u32 = 2;

/// A pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lock {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The application's name.
    pub app: String,
    /// When the dump was made, RFC 3339, UTC.
    pub created: String,
    /// Who dumped.
    pub engine: Engine,
    /// The version of the package it comes in, where the rock's list of packages names it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub engine_version: Option<String>,
    /// PID of the dumped JVM, which the restored one has again.
    pub pid: u32,
    /// Digests of the answers to `http.verify`, before the dump and after the restore alike.
    pub answers: Vec<Digest>,
    /// Whether a restore needs a root that it can write to: the process has written outside of /tmp before the dump, or its
    /// proof on a read-only root failed.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub writable_root: bool,
    /// What the pin was made from, by name of the input: what differs now is why it is stale.
    pub inputs: BTreeMap<String, Digest>,
    /// Who packed the rocks.
    pub packer: LockedPacker,
    /// The jar.
    pub source: LockedSource,
    /// The base layer of natively packed rocks.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub base: Option<LockedBase>,
    /// Pebble in natively packed rocks.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pebble: Option<LockedPebble>,
    /// The archive of the application's classes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub class_archive: Option<LockedArchive>,
    /// The provider of random numbers in natively packed rocks.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fresh_random: Option<Fresh>,
    /// What the restoring machine must agree with.
    pub host: Host,
    /// What the restored process took when it was proven. Pins of earlier versions of this tool do not say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memory: Option<LockedMemory>,
    /// Which capabilities were granted, and sufficed.
    pub capabilities: LockedCapabilities,
    /// What the restore's filter refuses besides. Nothing, unless somebody asked for it.
    #[serde(skip_serializing_if = "LockedSystemCalls::is_empty", default)]
    pub system_calls: LockedSystemCalls,
    /// Manifest digests of the rocks.
    pub rocks: LockedRocks,
    /// The checkpoint data.
    pub data: Data,
}

/// The packer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedPacker {
    /// Its name.
    pub name: Packer,
    /// rockcraft's version, or this tool's.
    pub version: String,
}

/// The jar and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedSource {
    /// The source in one line: `git https://… at 9a22…`.
    pub from: String,
    /// Whether it was a folder or jar of this machine (`--source`), which no other machine can fetch.
    pub local: bool,
    /// SHA-256 of the jar.
    pub jar: Digest,
    /// Its size in bytes.
    pub jar_size: u64,
}

/// The base layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedBase {
    /// Debian suite.
    pub suite: String,
    /// Digest of the layer.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    /// `name=version` of every package, sorted.
    pub packages: Vec<String>,
}

/// Pebble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedPebble {
    /// Version of the Go module.
    pub version: String,
    /// SHA-256 of the program.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
}

/// The archive of the application's classes, which the process maps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedArchive {
    /// SHA-256 of the archive.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
}

/// Memory of the restored process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedMemory {
    /// What it had in memory after the answers that prove it (`Rss` of smaps_rollup).
    pub resident: u64,
    /// Its part of that, where pages that several processes have count as one (`Pss`).
    pub proportional: u64,
    /// The largest heap that the JVM will make (`MaxHeapSize`), which it fixed before the dump; none where it did not say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_heap: Option<u64>,
}

/// Granted at the dump and at the restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedCapabilities {
    /// At the dump.
    pub checkpoint: Vec<Capability>,
    /// At the restore.
    pub restore: Vec<Capability>,
}

/// What the filter of the restore lacks of the ordinary one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedSystemCalls {
    /// Families, sorted.
    pub refused: Vec<Family>,
}

/// Manifest digests of the pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedRocks {
    /// The rock that was dumped.
    pub checkpoint: Digest,
    /// The rock that restores it.
    pub restore: Digest,
}

/// The checkpoint data: one layer, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Data {
    /// Digest of the layer.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Digest over the list of files.
    pub tree: Digest,
    /// Every file and folder, sorted by path.
    pub files: Vec<DataFile>,
    /// Files of the image that the process has mapped, sorted by path.
    pub mapped: Vec<MappedFile>,
}

/// A file that the dumped process has mapped, as a program or library.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MappedFile {
    /// Absolute path inside the rock.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

impl Data {
    /// Checks every path of both lists.
    fn check(&self) -> Result<()> {
        check_files(&self.files)?;
        self.mapped.iter().try_for_each(|file| check_path(&file.path))
    }
}

impl LockedSystemCalls {
    fn is_empty(&self) -> bool {
        self.refused.is_empty()
    }
}

impl Lock {
    /// Who packed and who dumped.
    pub fn way(&self) -> Way {
        Way { packer: self.packer.name, engine: self.engine }
    }

    /// What the process has made before the dump, where a restore may have a read-only root: that is what it writes to.
    pub fn read_only_root(&self) -> Option<&[DataFile]> {
        (!self.writable_root).then_some(&self.data.files)
    }
}

impl Data {
    /// The digest over both lists.
    pub fn tree(files: &[DataFile], mapped: &[MappedFile]) -> Digest {
        Digest::of_value(&(files, mapped))
    }
}

impl Lock {
    /// The pin of an application, if it has one.
    pub fn read(path: &Path) -> Result<Option<Lock>> {
        let text = match open_file(path).and_then(std::io::read_to_string) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Lock::parse(&text)
            .with_context(|| {
                format!("{} cannot be read; `cargo xtask checkpoint` writes a new one", path.display())
            })
            .map(Some)
    }

    /// Reads a lock's text and checks that it agrees with itself.
    pub fn parse(text: &str) -> Result<Lock> {
        #[derive(Deserialize)]
        struct Versioned {
            schema: u32,
        }
        let schema = toml::from_str::<Versioned>(text).context("it names no schema")?.schema;
        ensure!(schema == SCHEMA, "its schema is {schema}; this version of the tool reads schema {SCHEMA}");
        let lock: Lock = toml::from_str(text)?;
        ensure!(
            lock.data.tree == Data::tree(&lock.data.files, &lock.data.mapped),
            "its list of files was changed by hand"
        );
        ensure!(
            lock.system_calls.refused.is_sorted_by(|one, next| one < next),
            "its list of refused system calls is not sorted"
        );
        // Its digests are no secret: whoever changes it can write new ones, and its paths are unpacked.
        lock.data.check().context("its list of files")?;
        // The text carries its own digest: a merge that went wrong or a slip of the keyboard is seen wherever it is.
        ensure!(lock.text()? == text, "it was changed by hand, or by a merge");
        Ok(lock)
    }

    /// The lock's text.
    pub fn text(&self) -> Result<String> {
        let body = toml::to_string(self)?;
        Ok(format!(
            "# @generated by `cargo xtask checkpoint {}`; do not edit, commit it.\n# {}\n{body}",
            self.app,
            Digest::of(&body)
        ))
    }

    /// Writes the lock in one rename; an equal one is left untouched. A signature of the one before goes.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = self.text()?;
        if fs::read_to_string(path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        write_whole(path, text.as_bytes(), 0o644)?;
        match fs::remove_file(signature::path(path)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

mod host;
mod objects;
pub mod pin;
#[cfg(test)]
mod tests;

pub use host::Host;
pub use objects::{Object, ObjectKind};
