//! OCI archives that somebody else may have written: what is read of one, and how much at most.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use bytesize::ByteSize;
use tar::Entry;

use super::image::Image;
use super::layer::Blob;
use super::metered::{Meter, Metered};
use super::oci::{Descriptor, Index, Manifest};
use crate::digest::Digest;
use crate::workspace::open_file;

/// An index of ours has a few hundred bytes; nobody may make us read gigabytes of one.
const INDEX_LIMIT: u64 = 1 << 20;
/// A manifest or config has a few kilobytes.
pub(super) const DOCUMENT_LIMIT: u64 = 4 << 20;
/// Headers, names and PAX records of an archive, which has a dozen entries.
const METADATA_LIMIT: u64 = 8 << 20;

/// Digest of the manifest that an OCI archive's index names.
///
/// # Errors
/// Where `archive` is no OCI archive or holds more than one image.
pub fn read_manifest_digest(archive: &Path) -> Result<Digest> {
    let mut found = None;
    each_file(archive, |name, entry| {
        if name != b"index.json" {
            return Ok(());
        }
        ensure!(found.is_none(), "it holds index.json twice");
        let bytes = small(entry, INDEX_LIMIT).context("index.json")?;
        let index: Index = serde_json::from_slice(&bytes).context("its index.json is no OCI index")?;
        let [manifest] = index.manifests.as_slice() else {
            bail!("it holds {} images; expected one", index.manifests.len());
        };
        found = Some(manifest.digest);
        Ok(())
    })?;
    found.with_context(|| format!("{} holds no index.json: it is no OCI archive", archive.display()))
}

/// Looks for the manifest among the blobs, wherever it is, and believes it only if it is the one.
pub(super) fn find_manifest(archive: &Path, manifest: &Digest) -> Result<Image> {
    let mut found = None;
    each_file(archive, |name, entry| {
        if blob_name(name) != Some(*manifest) || found.is_some() {
            return Ok(());
        }
        let bytes = small(entry, DOCUMENT_LIMIT).context("the manifest")?;
        let digest = Digest::of(&bytes);
        ensure!(digest == *manifest, "the manifest was changed: it is {digest}, and should be {manifest}");
        found = Some(parse_manifest(&bytes, *manifest)?);
        Ok(())
    })?;
    found.with_context(|| format!("{} does not hold the manifest {manifest}", archive.display()))
}

/// What a manifest's bytes name.
pub(super) fn parse_manifest(bytes: &[u8], manifest: Digest) -> Result<Image> {
    let parsed: Manifest =
        serde_json::from_slice(bytes).with_context(|| format!("{manifest} is no OCI image manifest"))?;
    let layer = |layer: &Descriptor| Blob { digest: layer.digest, size: layer.size };
    Ok(Image {
        manifest,
        manifest_size: bytes.len() as u64,
        config: parsed.config.digest,
        config_size: parsed.config.size,
        layers: parsed.layers.iter().map(layer).collect(),
    })
}

/// The digest that a blob of this name should have.
pub(super) fn blob_name(name: &[u8]) -> Option<Digest> {
    let hex = std::str::from_utf8(name.strip_prefix(b"blobs/sha256/")?).ok()?;
    format!("sha256:{hex}").parse().ok()
}

/// Calls `visit` for every regular file of an archive, with its name without the leading `./` that some writers put
/// there. Nothing else that a tar can hold means anything in an OCI archive.
pub(super) fn each_file(
    archive: &Path,
    mut visit: impl FnMut(&[u8], &mut Entry<'_, Metered<fs_err::File>>) -> Result<()>,
) -> Result<()> {
    let meter = Meter::new(METADATA_LIMIT, "its headers, names and PAX records");
    let mut tar = tar::Archive::new(Metered::new(open_file(archive)?, &meter));
    let mut read = || -> Result<()> {
        for entry in tar.entries_with_seek()? {
            let mut entry = entry.context("it is no tar, or its headers were changed")?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let name = entry.path_bytes().into_owned();
            let name = name.strip_prefix(b"./").unwrap_or(&name);
            meter.beside(|| visit(name, &mut entry))?;
        }
        Ok(())
    };
    read().with_context(|| format!("cannot read {}", archive.display()))
}

/// All bytes of something small.
fn small(reader: &mut impl Read, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() as u64 <= limit,
        "has more than {}, which is this tool's limit",
        ByteSize(limit).display().iec()
    );
    Ok(bytes)
}
