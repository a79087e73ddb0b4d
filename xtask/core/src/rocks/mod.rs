//! The two rocks of an application, by either packer.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::app::{App, Source};
use crate::digest::Digest;
use crate::files::DataFile;
use crate::lock::MappedFile;
use crate::pack::Image;
use crate::privileges::Capability;
use crate::render::{self, Templates};
use crate::rock::{Entry, EntryKind, Role};
use crate::seccomp::Family;
use crate::session::Session;
use crate::source::Jar;
use crate::way::Way;

pub mod native;
pub mod rockcraft;

/// One application on its way through the house, on this machine.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// Where things are.
    pub session: &'a Session,
    /// What is rendered from.
    pub templates: &'a Templates,
    /// The application.
    pub app: &'a App,
    /// Where its jar comes from in this run.
    pub source: &'a Source,
    /// Who packs and who checkpoints.
    pub way: Way,
    /// What a pin says its restore is granted; none where there is no pin, or a new dump comes in its place.
    pub granted: Option<&'a [Capability]>,
    /// What a pin says its restore is refused; nothing where there is no pin, or a new dump comes in its place.
    pub refused: &'a [Family],
}

impl<'a> Job<'a> {
    /// The capabilities of a container of this role, and of the CRIU in it.
    pub fn capabilities(&self, role: Role) -> &'a [Capability] {
        match (role, self.granted) {
            (Role::Restore, Some(granted)) => granted,
            _ => self.way.engine.capabilities(self.app, role),
        }
    }
}

/// What both rocks are made of, besides what is rendered.
#[derive(Debug, Clone)]
pub enum Parts {
    /// For the native packer: all of it.
    Native(native::Parts),
    /// For rockcraft, which makes the rest itself.
    Rockcraft(rockcraft::Parts),
}

impl Parts {
    /// The jar, as far as it is known before rockcraft has built it.
    pub fn jar(&self) -> Option<Jar> {
        match self {
            Parts::Native(parts) => Some(parts.jar.clone()),
            Parts::Rockcraft(parts) => parts.jar.clone(),
        }
    }

    /// The packer's version.
    pub fn version(&self) -> String {
        match self {
            Parts::Native(_) => env!("CARGO_PKG_VERSION").to_owned(),
            Parts::Rockcraft(parts) => parts.version.clone(),
        }
    }

    /// The native packer's.
    pub fn native(&self) -> Option<&native::Parts> {
        match self {
            Parts::Native(parts) => Some(parts),
            Parts::Rockcraft(_) => None,
        }
    }
}

/// The checkpoint rock.
pub fn checkpoint(job: &Job<'_>, parts: &Parts) -> Result<Image> {
    match parts {
        Parts::Native(parts) => native::checkpoint(job, parts),
        Parts::Rockcraft(parts) => rockcraft::checkpoint(job, parts),
    }
}

/// The restore rock, which holds the checkpoint data.
pub fn restore(job: &Job<'_>, parts: &Parts, data: &[DataFile], mapped: &[MappedFile]) -> Result<Image> {
    match parts {
        // Its base is pinned as a whole.
        Parts::Native(parts) => native::restore(job, parts, data, mapped),
        Parts::Rockcraft(parts) => rockcraft::restore(job, parts, data, mapped),
    }
}

/// CRIU in a Debian root and in Ubuntu's.
const CRIU: &str = "/usr/sbin/criu";

/// CRIU with the capabilities that a rock of this role grants it.
fn criu_entry(job: &Job<'_>, role: Role, (digest, size): (Digest, u64)) -> Entry {
    let capabilities = job.capabilities(role).to_vec();
    let kind = EntryKind::Object { digest, size };
    Entry { path: CRIU.into(), mode: 0o755, owner: 0, kind, capabilities }
}

/// What a rock says of itself, as OCI labels and annotations.
pub fn labels(app: &App, source: &Source, role: Role) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("org.opencontainers.image.title".to_owned(), render::rock_name(app, role).to_owned()),
        ("org.opencontainers.image.version".to_owned(), app.version.clone()),
        ("org.opencontainers.image.description".to_owned(), app.summary.clone()),
    ]);
    match source {
        Source::Git { url, commit, .. } => {
            labels.insert("org.opencontainers.image.source".into(), url.clone());
            labels.insert("org.opencontainers.image.revision".into(), commit.clone());
        }
        Source::Maven { .. } => {
            labels.insert("org.opencontainers.image.source".into(), source.title());
        }
        // The path of a local source is this machine's own business.
        Source::Directory { .. } | Source::Jar { .. } => {}
    }
    labels
}
