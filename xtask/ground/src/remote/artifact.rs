//! An artifact as its manifest: OCI 1.1's image manifest with an `artifactType`, an empty config and the parts as layers.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::digest::Digest;
use crate::pack::Blob;
use crate::pack::oci::{self, Descriptor, Manifest, SCHEMA_VERSION, TITLE, canonical_json};
use crate::store::Store;

/// A manifest has some kilobytes, and registries take no larger one; nobody may make us read gigabytes of one.
pub const MANIFEST_LIMIT: u64 = 4 << 20;

/// What OCI has in place of a config where there is none.
const EMPTY: &[u8] = b"{}";

/// A blob of the store and what it is to the artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name for people and for other tools, as `org.opencontainers.image.title`.
    pub title: String,
    /// What its bytes are.
    pub media_type: String,
    /// Its bytes.
    pub blob: Blob,
    /// What else is said of it; not the title.
    pub annotations: BTreeMap<String, String>,
}

/// The manifest that an artifact is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// What kind of manifest it is.
    pub media_type: String,
    /// Its bytes.
    pub blob: Blob,
}

/// Parts under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What it is: a media type.
    pub artifact_type: String,
    /// What is said of it as a whole.
    pub annotations: BTreeMap<String, String>,
    /// Its parts, in their order.
    pub parts: Vec<Part>,
    /// The manifest it is about, if it is about one.
    pub subject: Option<Subject>,
}

impl Artifact {
    /// The manifest: the same artifact gives the same bytes.
    pub fn manifest(&self) -> Result<Vec<u8>> {
        ensure!(!self.parts.is_empty(), "an artifact has one part at least");
        let subject = self.subject.as_ref();
        let manifest = Manifest {
            schema_version: SCHEMA_VERSION,
            media_type: Some(oci::MANIFEST.to_owned()),
            artifact_type: Some(self.artifact_type.clone()),
            config: Descriptor::new(oci::EMPTY, Digest::of(EMPTY), EMPTY.len() as u64),
            layers: self.parts.iter().map(describe).collect::<Result<Vec<_>>>()?,
            subject: subject
                .map(|about| Descriptor::new(&about.media_type, about.blob.digest, about.blob.size)),
            annotations: (!self.annotations.is_empty()).then(|| self.annotations.clone()),
        };
        let bytes = canonical_json(&manifest)?;
        ensure!(
            bytes.len() as u64 <= MANIFEST_LIMIT,
            "the manifest of {} parts has {} bytes, more than the {MANIFEST_LIMIT} that registries take",
            self.parts.len(),
            bytes.len()
        );
        Ok(bytes)
    }

    /// Reads a manifest that anybody may have written.
    ///
    /// # Errors
    /// Where it is no image manifest, or one whose blobs are not named by SHA-256.
    pub fn from_manifest(bytes: &[u8]) -> Result<Artifact> {
        ensure!(bytes.len() as u64 <= MANIFEST_LIMIT, "the manifest has more than {MANIFEST_LIMIT} bytes");
        let manifest: Manifest = serde_json::from_slice(bytes).context("it is no OCI image manifest")?;
        ensure!(manifest.schema_version == SCHEMA_VERSION, "its schemaVersion is not {SCHEMA_VERSION}");
        let kind = manifest.media_type.as_deref().unwrap_or(oci::MANIFEST);
        ensure!(kind == oci::MANIFEST, "it is no OCI image manifest, but `{}`", printable(kind));
        Ok(Artifact {
            artifact_type: manifest.artifact_type.unwrap_or(manifest.config.media_type),
            annotations: manifest.annotations.unwrap_or_default(),
            parts: manifest.layers.into_iter().map(part).collect(),
            subject: manifest
                .subject
                .map(|about| Subject { blob: blob(&about), media_type: about.media_type }),
        })
    }

    /// Puts the manifest and the empty config into the store, where the parts are; returns the manifest and all blobs
    /// that it names.
    pub(super) fn store(&self, store: &Store) -> Result<(Blob, Vec<Blob>)> {
        let (digest, size) = store.add_bytes(EMPTY)?;
        let mut blobs = vec![Blob { digest, size }];
        blobs.extend(self.parts.iter().map(|part| part.blob));
        let (digest, size) = store.add_bytes(&self.manifest()?)?;
        Ok((Blob { digest, size }, blobs))
    }
}

fn describe(part: &Part) -> Result<Descriptor> {
    ensure!(!part.annotations.contains_key(TITLE), "`{}`: the title is no annotation here", part.title);
    let mut annotations = part.annotations.clone();
    annotations.insert(TITLE.to_owned(), part.title.clone());
    let layer = Descriptor::new(&part.media_type, part.blob.digest, part.blob.size);
    Ok(Descriptor { annotations: Some(annotations), ..layer })
}

fn part(layer: Descriptor) -> Part {
    let blob = blob(&layer);
    let mut annotations = layer.annotations.unwrap_or_default();
    let title = annotations.remove(TITLE).unwrap_or_default();
    Part { title, media_type: layer.media_type, blob, annotations }
}

fn blob(descriptor: &Descriptor) -> Blob {
    Blob { digest: descriptor.digest, size: descriptor.size }
}

fn printable(value: &str) -> String {
    crate::progress::printable(value).chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Artifact {
        let part = |title: &str, bytes: &str| Part {
            title: title.into(),
            media_type: "application/vnd.example.page".into(),
            blob: Blob { digest: Digest::of(bytes), size: bytes.len() as u64 },
            annotations: (0..8).map(|n| (format!("example.{n}"), n.to_string())).collect(),
        };
        Artifact {
            artifact_type: "application/vnd.example.pin".into(),
            annotations: (0..8).map(|n| (format!("example.{n}"), n.to_string())).collect(),
            parts: vec![part("checkpoint.lock", "pin"), part("run/pages-1.img", "pages")],
            subject: Some(Subject {
                media_type: oci::MANIFEST.into(),
                blob: Blob { digest: Digest::of("image"), size: 5 },
            }),
        }
    }

    #[test]
    fn the_same_artifact_is_the_same_bytes_and_reads_back() {
        let artifact = sample();
        let bytes = artifact.manifest().unwrap();
        assert!((0..20).all(|_| sample().manifest().unwrap() == bytes));
        assert_eq!(Artifact::from_manifest(&bytes).unwrap(), artifact);
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["artifactType"], "application/vnd.example.pin");
        assert_eq!(value["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
        let empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(value["config"]["digest"], empty);
        assert_eq!(value["layers"][1]["annotations"]["org.opencontainers.image.title"], "run/pages-1.img");
        let bare = Artifact { annotations: BTreeMap::new(), subject: None, ..sample() };
        assert_eq!(Artifact::from_manifest(&bare.manifest().unwrap()).unwrap(), bare);
    }

    #[test]
    fn what_is_no_artifact() {
        let good = String::from_utf8(sample().manifest().unwrap()).unwrap();
        let check = |from: &str, to: &str, expected: &str| {
            assert!(good.contains(from), "{from}");
            let error = Artifact::from_manifest(good.replace(from, to).as_bytes()).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains('\u{1b}'), "{error:?}");
        };
        check("{", "", "no OCI image manifest");
        check("\"schemaVersion\":2", "\"schemaVersion\":1", "schemaVersion");
        check(
            r#""mediaType":"application/vnd.oci.image.manifest.v1+json","s"#,
            r#""mediaType":"a\u001b","s"#,
            "but `a`",
        );
        check(&Digest::of("pin").to_string(), "sha512:00", "");
        check(&Digest::of("pin").to_string(), "sha256:../../etc/passwd", "");
        check("\"size\":3", "\"size\":-3", "");
        check("\"size\":3", "\"size\":99999999999999999999", "");
        let parts = Artifact { parts: Vec::new(), ..sample() }.manifest().unwrap_err().to_string();
        assert!(parts.contains("one part at least"), "{parts}");
        let mut twice = sample();
        twice.parts[0].annotations.insert(TITLE.into(), "x".into());
        assert!(twice.manifest().is_err());
        let mut long = sample();
        long.parts[0].title = "x".repeat(MANIFEST_LIMIT as usize);
        assert!(long.manifest().unwrap_err().to_string().contains("registries take"));
    }

    proptest! {
        #[test]
        fn no_manifest_makes_it_panic(at in 0usize..2000, byte: u8, cut in 0usize..2000, insert: bool) {
            let mut bytes = sample().manifest().unwrap();
            let at = at % bytes.len();
            if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
            bytes.truncate(bytes.len().saturating_sub(cut / 20));
            if let Ok(artifact) = Artifact::from_manifest(&bytes) {
                prop_assert!(artifact.parts.len() <= 2);
            }
        }
    }
}
