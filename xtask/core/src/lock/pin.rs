//! A pin as an artifact: the lock, its signature, the list of what is in the rock, and every object that the lock names.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::{Lock, Object};
use crate::digest::Digest;
use crate::pack::Blob;
use crate::remote::{Artifact, Part};
use crate::store::Store;

/// What a pin is called among artifacts.
pub const ARTIFACT: &str = "application/vnd.xtask.checkpoint.v1";
/// The lock.
pub const LOCK: &str = "application/vnd.xtask.checkpoint.lock.v2+toml";
/// Its signature.
pub const SIGNATURE: &str = "application/vnd.xtask.checkpoint.lock.minisig";
/// The list of what is in the restore rock.
pub const SBOM: &str = "application/vnd.cyclonedx+json";

/// The texts that travel with a pin.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a> {
    /// The lock's.
    pub lock: &'a str,
    /// Its signature's, if there is one.
    pub signature: Option<&'a str>,
    /// The list of what is in the restore rock.
    pub sbom: &'a [u8],
}

/// The artifact of a pin, with what is said of it. The texts go into the store, where the rest is.
pub fn artifact(
    store: &Store,
    lock: &Lock,
    texts: Texts<'_>,
    mut annotations: BTreeMap<String, String>,
) -> Result<Artifact> {
    annotations.insert("dev.xtask.lock".into(), Digest::of(texts.lock).to_string());
    annotations.insert("dev.xtask.restore-rock".into(), lock.rocks.restore.to_string());
    annotations.insert("org.opencontainers.image.created".into(), lock.created.clone());
    let mut parts = vec![text(store, "checkpoint.lock", LOCK, texts.lock.as_bytes())?];
    if let Some(signature) = texts.signature {
        parts.push(text(store, "checkpoint.lock.minisig", SIGNATURE, signature.as_bytes())?);
    }
    parts.push(text(store, "bom.cdx.json", SBOM, texts.sbom)?);
    let mut objects = lock.objects();
    objects.extend(lock.rock(store)?);
    parts.extend(objects.iter().map(part));
    Ok(Artifact { artifact_type: ARTIFACT.into(), annotations, parts, subject: None })
}

/// An object as a part.
pub fn part(object: &Object) -> Part {
    Part {
        title: object.name.clone(),
        media_type: object.kind.media_type().into(),
        blob: Blob { digest: object.digest, size: object.size },
        annotations: BTreeMap::new(),
    }
}

fn text(store: &Store, title: &str, media_type: &str, bytes: &[u8]) -> Result<Part> {
    let (digest, size) = store.add_bytes(bytes)?;
    let blob = Blob { digest, size };
    Ok(Part { title: title.into(), media_type: media_type.into(), blob, annotations: BTreeMap::new() })
}

/// The one part of this kind, or none.
pub fn find<'a>(artifact: &'a Artifact, media_type: &str) -> Result<Option<&'a Part>> {
    let mut found = artifact.parts.iter().filter(|part| part.media_type == media_type);
    let first = found.next();
    anyhow::ensure!(found.next().is_none(), "the artifact has more than one `{media_type}`");
    Ok(first)
}

/// The text of a part that was pulled.
pub fn read(store: &Store, part: &Part) -> Result<String> {
    let mut bytes = Vec::new();
    store.copy_object(&part.blob.digest, part.blob.size, &mut bytes)?;
    String::from_utf8(bytes).with_context(|| format!("`{}` is not UTF-8", part.title.escape_debug()))
}

/// The names under which a pin is found: the application's at this version, which moves to the newest, and the lock's
/// own, which does not, and keeps the registry from forgetting what older commits name.
pub fn tags(app: &str, version: &str, lock: &str) -> [String; 2] {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    [format!("{app}-{version}").chars().map(plain).collect(), format!("sha256-{}", Digest::of(lock).hex())]
}
