//! A rock that somebody else packed: its blobs into the store, each checked against its digest, and what little is
//! added to it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use bytesize::ByteSize;
use flate2::read::MultiGzDecoder;
use serde_json::Value;

use super::foreign::{
    DOCUMENT_LIMIT, blob_name, each_file, find_manifest, parse_manifest, read_manifest_digest,
};
use super::image::Image;
use super::layer::Blob;
use super::metered::{Meter, Metered};
use super::oci::{self, Descriptor, Manifest, canonical_json};
use crate::digest::Digest;
use crate::store::Store;

/// Bytes of a file that is taken out of a rock: a program has some megabytes.
const FILE_LIMIT: u64 = 256 << 20;
/// Headers, names and PAX records of one entry of a layer.
const ENTRY_LIMIT: u64 = 1 << 20;
/// How many bytes a compressed layer may unpack to for each of its own: a bomb has 1032, memory pages have 5.
const RATIO_LIMIT: u64 = 100;
/// What a compressed layer may unpack to whatever its size: a few empty files shrink a thousandfold.
const UNPACKED_LEAST: u64 = 64 << 20;

/// How OCI marks that a file of the layers below is gone.
const WHITEOUT: &[u8] = b".wh.";

/// Takes every blob that the manifest of an OCI archive names into the store; others stay where they are.
///
/// # Errors
/// Where a blob is not what its name says or has not the size that the manifest says, or is missing.
pub fn read_archive(store: &Store, archive: &Path) -> Result<Image> {
    let image = find_manifest(archive, &read_manifest_digest(archive)?)?;
    let wanted = image.blobs();
    each_file(archive, |name, entry| {
        let Some(expected) = blob_name(name) else { return Ok(()) };
        let Some(size) = wanted.get(&expected) else { return Ok(()) };
        ensure!(
            entry.size() == *size,
            "the blob {expected} has {} bytes, and should have {size}",
            entry.size()
        );
        let mut writer = store.writer()?;
        std::io::copy(entry, &mut writer)?;
        writer.commit_as(&expected, *size)
    })?;
    read_image(store, &image.manifest).with_context(|| format!("{} is not complete", archive.display()))
}

/// An image of the store by its manifest.
pub fn read_image(store: &Store, manifest: &Digest) -> Result<Image> {
    let image = parse_manifest(&document(store, manifest)?, *manifest)?;
    let blobs = image.layers.iter().map(|layer| (layer.digest, layer.size));
    for (digest, size) in blobs.chain([(image.config, image.config_size)]) {
        store.ensure_has(&digest, size)?;
    }
    Ok(image)
}

/// The blobs that a manifest of the store names, itself among them; they need not be there.
pub fn named_by(store: &Store, manifest: &Digest) -> Result<BTreeMap<Digest, u64>> {
    Ok(parse_manifest(&document(store, manifest)?, *manifest)?.blobs())
}

fn document(store: &Store, digest: &Digest) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    store.open_object(digest)?.take(DOCUMENT_LIMIT).read_to_end(&mut bytes)?;
    ensure!(
        Digest::of(&bytes) == *digest,
        "{digest} in the store {} was changed, or is too large for a manifest or config",
        store.root().display()
    );
    Ok(bytes)
}

/// One file of an image, as an object of the store.
pub fn read_file(store: &Store, image: &Image, path: &str) -> Result<(Digest, u64)> {
    for layer in image.layers.iter().rev() {
        match look_into(store, &layer.digest, path)? {
            Seen::File(digest, size) => return Ok((digest, size)),
            Seen::Nothing => {}
            Seen::Hidden => break,
        }
    }
    bail!("the rock has no {path}")
}

/// One file of a layer, if it has it, as an object of the store.
pub fn read_layer_file(store: &Store, layer: &Digest, path: &str) -> Result<Option<(Digest, u64)>> {
    Ok(match look_into(store, layer, path)? {
        Seen::File(digest, size) => Some((digest, size)),
        Seen::Nothing | Seen::Hidden => None,
    })
}

/// What a layer does to a path.
enum Seen {
    File(Digest, u64),
    /// It is no file any more, whatever the layers below have.
    Hidden,
    Nothing,
}

/// Reads the layer to its end: of two entries of one name, the later is what an engine would unpack.
fn look_into(store: &Store, layer: &Digest, path: &str) -> Result<Seen> {
    let wanted = Path::new(path.trim_start_matches('/'));
    let mut reader = BufReader::with_capacity(1 << 20, store.open_object(layer)?);
    let compressed = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let most = Meter::new(
        reader.get_ref().metadata()?.len().saturating_mul(RATIO_LIMIT).max(UNPACKED_LEAST),
        "the unpacked bytes of a layer",
    );
    let plain: Box<dyn Read> = match compressed {
        true => Box::new(Metered::new(MultiGzDecoder::new(reader), &most)),
        false => Box::new(reader),
    };
    let meter = Meter::new(ENTRY_LIMIT, "the header, name and PAX records of an entry");
    let mut tar = tar::Archive::new(Metered::new(plain, &meter));
    let (mut found, mut hidden) = (None, false);
    for entry in tar.entries()? {
        let mut entry = entry.with_context(|| format!("layer {layer} is no sound tar"))?;
        let name = entry.path_bytes().into_owned();
        let (kind, size) = (entry.header().entry_type(), entry.size());
        // Its zeros take no room in the layer, and for ever to read.
        ensure!(!kind.is_gnu_sparse(), "layer {layer} holds the sparse file {}", name.escape_ascii());
        let taken = kind.is_file() && plain_path(&name) == wanted;
        if taken {
            ensure!(
                size <= FILE_LIMIT,
                "{path} has {size} bytes, more than {}, which is this tool's limit",
                ByteSize(FILE_LIMIT).display().iec()
            );
            found = Some(store.writer()?);
        } else if hides(&name, kind, wanted) && !(is_whiteout(plain_path(&name)) && found.is_some()) {
            (found, hidden) = (None, true);
        }
        let copied = meter.beside(|| match &mut found {
            Some(writer) if taken => std::io::copy(&mut entry, writer),
            _ => std::io::copy(&mut entry, &mut std::io::sink()),
        });
        let copied = copied.with_context(|| format!("cannot read layer {layer}"))?;
        ensure!(copied == size, "{} ends after {copied} of {size} bytes", name.escape_ascii());
        meter.refill();
    }
    // What follows the last entry says whether the compressed bytes were sound.
    let mut rest = tar.into_inner();
    meter
        .beside(|| std::io::copy(&mut rest, &mut std::io::sink()))
        .with_context(|| format!("cannot read layer {layer}"))?;
    match found {
        Some(writer) => writer.commit().map(|(digest, size)| Seen::File(digest, size)),
        None if hidden => Ok(Seen::Hidden),
        None => Ok(Seen::Nothing),
    }
}

/// Whether after this entry the path is not what it was before: it is the path itself, a whiteout of it or of a
/// folder above it, or something other than a folder in such a folder's place.
fn hides(name: &[u8], kind: tar::EntryType, wanted: &Path) -> bool {
    let name = plain_path(name);
    if name == wanted {
        return true;
    }
    match name.file_name().unwrap_or_default().as_bytes().strip_prefix(WHITEOUT) {
        // The folder is emptied of what the layers below have.
        Some(b".wh..opq") => name.parent().is_some_and(|folder| wanted.starts_with(folder)),
        Some(gone) => wanted.starts_with(name.with_file_name(OsStr::from_bytes(gone))),
        None => !kind.is_dir() && !name.as_os_str().is_empty() && wanted.starts_with(name),
    }
}

/// A whiteout is about the layers below, not about what its own layer has.
fn is_whiteout(name: &Path) -> bool {
    name.file_name().is_some_and(|last| last.as_bytes().starts_with(WHITEOUT))
}

fn plain_path(name: &[u8]) -> &Path {
    let path = Path::new(OsStr::from_bytes(name));
    path.strip_prefix("/").or_else(|_| path.strip_prefix("./")).unwrap_or(path)
}

/// The image with one more, uncompressed layer on top.
pub fn add_layer(store: &Store, image: &Image, layer: Blob, title: &str) -> Result<Image> {
    let mut config: Value = serde_json::from_slice(&document(store, &image.config)?)?;
    let diff_ids = config.pointer_mut("/rootfs/diff_ids").and_then(Value::as_array_mut);
    diff_ids.context("the rock's config names no layers")?.push(layer.digest.to_string().into());
    // A config need not have a history.
    if let Some(history) = config.get_mut("history").and_then(Value::as_array_mut) {
        history.push(super::image::history(title));
    }
    let (config, config_size) = store.add_bytes(&canonical_json(&config)?)?;

    let mut manifest: Manifest = serde_json::from_slice(&document(store, &image.manifest)?)?;
    manifest.config = Descriptor::new(oci::CONFIG, config, config_size);
    manifest.layers.push(Descriptor::new(oci::LAYER, layer.digest, layer.size));
    let (manifest, manifest_size) = store.add_bytes(&canonical_json(&manifest)?)?;
    let mut layers = image.layers.clone();
    layers.push(layer);
    Ok(Image { manifest, manifest_size, config, config_size, layers })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;

    use super::super::{archive, layer};
    use super::*;
    use crate::privileges::Capability;
    use crate::rock::{Entry, EntryKind};

    fn entry(path: &str, text: &str) -> Entry {
        let kind = EntryKind::Bytes(text.into());
        Entry { path: path.into(), mode: 0o755, owner: 0, kind, capabilities: Vec::new() }
    }

    /// An archive as rockcraft's tools write it: a compressed layer below one that is not.
    fn archive(folder: &Path) -> std::path::PathBuf {
        let store = Store::open(&folder.join("theirs")).unwrap();
        let plain =
            |text| layer::write_layer(&store, &[entry("/usr/sbin/criu", text), entry("/x", text)]).unwrap();
        let lower = plain("old");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        std::io::copy(&mut store.open_object(&lower.digest).unwrap(), &mut gzip).unwrap();
        let (digest, size) = store.add_bytes(&gzip.finish().unwrap()).unwrap();
        let upper = layer::write_layer(&store, &[entry("/y", "y")]).unwrap();
        let diff_ids = [lower, upper].map(|blob| blob.digest.to_string()).to_vec();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let (config, config_size) = store.add_bytes(config.to_string().as_bytes()).unwrap();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": Descriptor::new(oci::CONFIG, config, config_size),
            "layers": [
                Descriptor::new("application/vnd.oci.image.layer.v1.tar+gzip", digest, size),
                Descriptor::new(oci::LAYER, upper.digest, upper.size),
            ],
        });
        let (manifest, _) = store.add_bytes(manifest.to_string().as_bytes()).unwrap();
        let image = read_image(&store, &manifest).unwrap();
        let file = folder.join("their.rock");
        archive::write_archive(&store, &image, "1", &file).unwrap();
        file
    }

    #[test]
    fn a_rock_of_others_is_taken_in_and_added_to() {
        let folder = tempfile::tempdir().unwrap();
        let file = archive(folder.path());
        let store = Store::open(&folder.path().join("ours")).unwrap();
        let image = read_archive(&store, &file).unwrap();
        assert_eq!(image.layers.len(), 2);
        // From the compressed layer: the upper one has it not.
        let (criu, size) = read_file(&store, &image, "/usr/sbin/criu").unwrap();
        assert_eq!((criu, size), (Digest::of("old"), 3));
        let error = read_file(&store, &image, "/usr/sbin/cri").unwrap_err().to_string();
        assert!(error.contains("the rock has no /usr/sbin/cri"), "{error}");

        let mut capable = entry("/usr/sbin/criu", "");
        capable.kind = EntryKind::Object { digest: criu, size };
        capable.capabilities = vec![Capability::CheckpointRestore];
        let added = layer::write_layer(&store, &[capable]).unwrap();
        let more = add_layer(&store, &image, added, "file capabilities").unwrap();
        assert_eq!(more.layers, [image.layers.clone(), vec![added]].concat());
        let config: serde_json::Value =
            serde_json::from_slice(&document(&store, &more.config).unwrap()).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 3);
        // What was compressed stays so, and is still called so.
        let manifest: serde_json::Value =
            serde_json::from_slice(&document(&store, &more.manifest).unwrap()).unwrap();
        let kinds: Vec<&str> =
            manifest["layers"].as_array().unwrap().iter().map(|l| l["mediaType"].as_str().unwrap()).collect();
        let (tar, gzip) =
            ("application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip");
        assert_eq!(kinds, [gzip, tar, tar]);
        assert_eq!(read_image(&store, &more.manifest).unwrap(), more);
    }

    #[test]
    fn a_changed_rock_is_not_taken_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = archive(folder.path());
        let bytes = std::fs::read(&file).unwrap();
        let refused = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
            let mut bytes = bytes.clone();
            change(&mut bytes);
            std::fs::File::create(&file).unwrap().write_all(&bytes).unwrap();
            let store = Store::open(&folder.path().join("ours")).unwrap();
            let error = format!("{:#}", read_archive(&store, &file).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        let find = |text: &[u8]| bytes.windows(text.len()).position(|window| window == text).unwrap();
        let layer = find(&[0x1f, 0x8b, 8]);
        refused(&|bytes| bytes[layer + 12] ^= 1, "expected sha256:");
        refused(&|bytes| bytes.truncate(bytes.len() / 2), "");
        refused(&|bytes| bytes.clear(), "no index.json");
    }
}
