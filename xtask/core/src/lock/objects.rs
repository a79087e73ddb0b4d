//! What a pin names in the store: one list for everybody who looks for it, keeps it, sends it or fetches it.

use std::fmt;

use anyhow::{Context, Result};

use super::Lock;
use crate::digest::Digest;
use crate::pack::import;
use crate::store::Store;
use crate::way::Packer;

/// An object of the store, and what it is to its pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: ObjectKind,
    /// What a person calls it: a file's path inside the rock, or the kind.
    pub name: String,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
}

/// What an object is to its pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A file of the checkpoint data.
    Data,
    /// The application's jar.
    Jar,
    /// The base layer of a natively packed rock.
    Base,
    /// Pebble, in a natively packed rock.
    Pebble,
    /// The archive of the application's classes.
    ClassArchive,
    /// The provider of random numbers, in a natively packed rock.
    Fresh,
    /// A piece of a restore rock that can't be packed again, since rockcraft packed it.
    Rock,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ObjectKind {
    /// What a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            ObjectKind::Data => "the checkpoint data",
            ObjectKind::Jar => "the jar",
            ObjectKind::Base => "the base layer",
            ObjectKind::Pebble => "Pebble",
            ObjectKind::ClassArchive => "the class archive",
            ObjectKind::Fresh => "the provider of random numbers",
            ObjectKind::Rock => "the restore rock",
        }
    }

    /// What a script calls it.
    pub fn code(self) -> &'static str {
        match self {
            ObjectKind::Data => "data",
            ObjectKind::Jar => "jar",
            ObjectKind::Base => "base",
            ObjectKind::Pebble => "pebble",
            ObjectKind::ClassArchive => "class-archive",
            ObjectKind::Fresh => "fresh-random",
            ObjectKind::Rock => "rock",
        }
    }

    /// Its media type where it travels. The base is a layer as every image has them.
    pub fn media_type(self) -> &'static str {
        match self {
            ObjectKind::Data => "application/vnd.xtask.checkpoint.file",
            ObjectKind::Jar => "application/java-archive",
            ObjectKind::Base => "application/vnd.oci.image.layer.v1.tar",
            ObjectKind::Pebble => "application/vnd.xtask.pebble",
            ObjectKind::ClassArchive => "application/vnd.xtask.class-archive",
            ObjectKind::Fresh => "application/java-archive",
            ObjectKind::Rock => "application/vnd.xtask.rock.blob",
        }
    }
}

impl Lock {
    /// Everything that the restore rock is packed from.
    pub fn objects(&self) -> Vec<Object> {
        let object = |kind: ObjectKind, digest, size| Object { kind, name: kind.name().into(), digest, size };
        let file = |file: &super::DataFile| {
            Some(Object { name: file.path.clone(), ..object(ObjectKind::Data, file.sha256?, file.size) })
        };
        let mut objects: Vec<Object> = self.data.files.iter().filter_map(file).collect();
        objects.push(object(ObjectKind::Jar, self.source.jar, self.source.jar_size));
        objects.extend(self.base.as_ref().map(|base| object(ObjectKind::Base, base.digest, base.size)));
        objects.extend(
            self.pebble.as_ref().map(|pebble| object(ObjectKind::Pebble, pebble.digest, pebble.size)),
        );
        objects.extend(
            self.class_archive
                .as_ref()
                .map(|archive| object(ObjectKind::ClassArchive, archive.digest, archive.size)),
        );
        objects.extend(
            self.fresh_random.as_ref().map(|fresh| object(ObjectKind::Fresh, fresh.digest, fresh.size)),
        );
        objects
    }

    /// The restore rock that rockcraft packed, piece by piece: it would make other bytes of the same files, and these
    /// are the ones that were proven. Empty for a rock that can be packed again.
    ///
    /// # Errors
    /// Where the store lacks a piece.
    pub fn rock(&self, store: &Store) -> Result<Vec<Object>> {
        if self.packer.name != Packer::Rockcraft {
            return Ok(Vec::new());
        }
        let image = import::read_image(store, &self.rocks.restore)
            .with_context(|| format!("the restore rock of {} is not complete", self.app))?;
        let piece = |(digest, size): (Digest, u64)| {
            let name = format!("the restore rock's {}", digest.short());
            Object { kind: ObjectKind::Rock, name, digest, size }
        };
        Ok(image.blobs().into_iter().map(piece).collect())
    }
}
