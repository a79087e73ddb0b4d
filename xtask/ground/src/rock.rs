//! The model of a rock: everything that is in one, whoever packs it.
//!
//! Both packers read the same [`Rock`]: the native one turns it into OCI layers, the rockcraft one into
//! `rockcraft.yaml`. A reader finds here all that a rock holds: packages, files with owner and mode, services,
//! user, entry point and labels.

use std::collections::BTreeMap;

use serde::Serialize;

/// UID and GID of `_daemon_` in Ubuntu's rocks (rockcraft's documentation, "run-user").
pub const DAEMON_ID: u32 = 584_792;

/// Which of the pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs the application and dumps it.
    Checkpoint,
    /// Brings the dumped process back.
    Restore,
}

impl Role {
    /// The folder under `rocks/<app>/`.
    pub fn folder(self) -> &'static str {
        match self {
            Role::Checkpoint => "checkpoint",
            Role::Restore => "restore",
        }
    }
}

/// A rock.
#[derive(Debug, Clone, Serialize)]
pub struct Rock {
    /// Which of the pair.
    pub role: Role,
    /// Rock name: lowercase letters, digits and hyphens.
    pub name: String,
    /// Rock version.
    pub version: String,
    /// One line.
    pub summary: String,
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// Debian suite of the base layer.
    pub suite: String,
    /// Debian packages of the base layer, sorted.
    pub packages: Vec<String>,
    /// The user of every process.
    pub user: String,
    /// Its UID and GID.
    pub uid: u32,
    /// Files above the base, as OCI layers from the bottom up: what changes least comes first.
    pub layers: Vec<Layer>,
    /// Entry point: Pebble, as in Ubuntu's rocks.
    pub entrypoint: Vec<String>,
    /// Default arguments of the entry point.
    pub command: Vec<String>,
    /// Environment of the entry point.
    pub environment: BTreeMap<String, String>,
    /// TCP ports the rock listens on.
    pub ports: Vec<u16>,
    /// OCI labels and annotations.
    pub labels: BTreeMap<String, String>,
}

/// One OCI layer.
#[derive(Debug, Clone, Serialize)]
pub struct Layer {
    /// What it is, for people: `pebble`, `jar`, `checkpoint data`.
    pub title: String,
    /// Its entries; the packer sorts them by path.
    pub content: LayerContent,
}

/// Where a layer's bytes come from.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerContent {
    /// Entries packed into a new layer.
    Entries(Vec<Entry>),
    /// A layer that is already in the store: the checkpoint data, as it was collected.
    Stored {
        /// Digest of the uncompressed tar.
        digest: crate::digest::Digest,
        /// Its size in bytes.
        size: u64,
    },
}

/// One file or folder of a layer.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Absolute path inside the rock.
    pub path: String,
    /// Permission bits, such as 0o755.
    pub mode: u32,
    /// UID and GID.
    pub owner: u32,
    /// What it is.
    pub kind: EntryKind,
    /// File capabilities (`security.capability`): permitted, inheritable and effective. Empty: none.
    pub capabilities: Vec<crate::privileges::Capability>,
}

/// What an entry is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// A folder.
    Folder,
    /// A file with these bytes.
    Bytes(Vec<u8>),
    /// A file whose bytes are an object of the store.
    Object {
        /// Digest of the bytes.
        digest: crate::digest::Digest,
        /// Size in bytes.
        size: u64,
    },
    /// A symbolic link to this target.
    Link(String),
}
