//! A rock that somebody else packed: its blobs into the store, each checked against its digest, and what little is
//! added to it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use oci_spec::image::{HistoryBuilder, ImageConfiguration, ImageManifest, MediaType};

use super::archive::read_manifest_digest;
use super::image::{CREATED, Image, canonical_json, descriptor};
use super::layer::Blob;
use crate::digest::Digest;
use crate::store::Store;

/// A manifest or config has a few kilobytes; nobody may make us read gigabytes of one.
pub(super) const DOCUMENT_LIMIT: u64 = 4 << 20;

/// Takes every blob of an OCI archive into the store.
///
/// # Errors
/// Where a blob is not what its name says, or one is missing that the manifest names.
pub fn read_archive(store: &Store, archive: &Path) -> Result<Image> {
    let manifest = read_manifest_digest(archive)?;
    let mut tar = tar::Archive::new(fs_err::File::open(archive)?);
    for entry in tar.entries_with_seek()? {
        let mut entry = entry.with_context(|| format!("{} is no tar", archive.display()))?;
        let path = entry.path()?.into_owned();
        let path = path.strip_prefix("./").unwrap_or(&path);
        let Ok(name) = path.strip_prefix("blobs/sha256") else { continue };
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = name.to_str().with_context(|| format!("a blob's name is UTF-8: {}", path.display()))?;
        let expected: Digest = format!("sha256:{name}").parse()?;
        let mut writer = store.writer()?;
        std::io::copy(&mut entry, &mut writer)?;
        let (found, _) = writer.commit()?;
        ensure!(found == expected, "{}: the blob {expected} is {found}", archive.display());
    }
    read_image(store, &manifest).with_context(|| format!("{} is not complete", archive.display()))
}

/// An image of the store by its manifest.
pub fn read_image(store: &Store, manifest: &Digest) -> Result<Image> {
    let bytes = document(store, manifest)?;
    let parsed = ImageManifest::from_reader(bytes.as_slice()).context("the manifest is none")?;
    let image = parse_manifest(&parsed, *manifest, bytes.len() as u64)?;
    for (digest, size) in image.blobs() {
        ensure!(store.has(&digest, size), "{digest} is not in the store {}", store.root().display());
    }
    Ok(image)
}

/// The blobs that a manifest of the store names, itself among them; they need not be there.
pub fn named_by(store: &Store, manifest: &Digest) -> Result<BTreeMap<Digest, u64>> {
    let bytes = document(store, manifest)?;
    let parsed = ImageManifest::from_reader(bytes.as_slice()).context("the manifest is none")?;
    Ok(parse_manifest(&parsed, *manifest, bytes.len() as u64)?.blobs())
}

/// What a manifest names.
pub(super) fn parse_manifest(parsed: &ImageManifest, manifest: Digest, manifest_size: u64) -> Result<Image> {
    let config: Digest = parsed.config().digest().as_ref().parse()?;
    let config_size = parsed.config().size();
    let layer = |layer: &oci_spec::image::Descriptor| -> Result<Blob> {
        Ok(Blob { digest: layer.digest().as_ref().parse()?, size: layer.size() })
    };
    let layers = parsed.layers().iter().map(layer).collect::<Result<Vec<_>>>()?;
    Ok(Image { manifest, manifest_size, config, config_size, layers })
}

fn document(store: &Store, digest: &Digest) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    store.open_object(digest)?.take(DOCUMENT_LIMIT).read_to_end(&mut bytes)?;
    ensure!(Digest::of(&bytes) == *digest, "{digest} in the store {} was changed", store.root().display());
    Ok(bytes)
}

/// One file of an image, from the uppermost layer that has it, as an object of the store.
pub fn read_file(store: &Store, image: &Image, path: &str) -> Result<(Digest, u64)> {
    for layer in image.layers.iter().rev() {
        if let Some(found) = read_layer_file(store, &layer.digest, path)? {
            return Ok(found);
        }
    }
    bail!("the rock has no {path}")
}

/// One file of a layer, if it has it, as an object of the store.
pub fn read_layer_file(store: &Store, layer: &Digest, path: &str) -> Result<Option<(Digest, u64)>> {
    let wanted = Path::new(path.trim_start_matches('/'));
    let mut reader = BufReader::with_capacity(1 << 20, store.open_object(layer)?);
    let compressed = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let plain: Box<dyn Read> = if compressed { Box::new(GzDecoder::new(reader)) } else { Box::new(reader) };
    let mut tar = tar::Archive::new(plain);
    for entry in tar.entries()? {
        let mut entry = entry.with_context(|| format!("layer {layer} is no tar"))?;
        let found = entry.path()?.strip_prefix("./").unwrap_or(&entry.path()?) == wanted;
        if found && entry.header().entry_type().is_file() {
            let mut writer = store.writer()?;
            std::io::copy(&mut entry, &mut writer)?;
            return writer.commit().map(Some);
        }
    }
    Ok(None)
}

/// The image with one more, uncompressed layer on top.
pub fn add_layer(store: &Store, image: &Image, layer: Blob, title: &str) -> Result<Image> {
    let mut config: ImageConfiguration = serde_json::from_slice(&document(store, &image.config)?)?;
    config.rootfs_mut().diff_ids_mut().push(layer.digest.to_string());
    let step = HistoryBuilder::default().created(CREATED).created_by(format!("xtask: {title}")).build()?;
    let mut history = config.history().clone().unwrap_or_default();
    history.push(step);
    config.set_history(Some(history));
    let (config, config_size) = store.add_bytes(&canonical_json(&config)?)?;

    let mut manifest = ImageManifest::from_reader(document(store, &image.manifest)?.as_slice())?;
    manifest.set_config(descriptor(MediaType::ImageConfig, config, config_size)?);
    manifest.layers_mut().push(descriptor(MediaType::ImageLayer, layer.digest, layer.size)?);
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
    use oci_spec::image::{ImageConfigurationBuilder, ImageManifestBuilder, RootFsBuilder, SCHEMA_VERSION};

    use super::super::{archive, layer};
    use super::*;
    use crate::engine::Capability;
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
        let rootfs = RootFsBuilder::default().typ("layers").diff_ids(diff_ids).build().unwrap();
        let config = ImageConfigurationBuilder::default().architecture("amd64").os("linux").rootfs(rootfs);
        let (config, config_size) =
            store.add_bytes(&canonical_json(&config.build().unwrap()).unwrap()).unwrap();
        let layers = vec![
            descriptor(MediaType::ImageLayerGzip, digest, size).unwrap(),
            descriptor(MediaType::ImageLayer, upper.digest, upper.size).unwrap(),
        ];
        let manifest = ImageManifestBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageManifest)
            .config(descriptor(MediaType::ImageConfig, config, config_size).unwrap())
            .layers(layers);
        let (manifest, _) = store.add_bytes(&canonical_json(&manifest.build().unwrap()).unwrap()).unwrap();
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
        refused(&|bytes| bytes[layer + 12] ^= 1, "the blob sha256:");
        refused(&|bytes| bytes.truncate(bytes.len() / 2), "");
        refused(&|bytes| bytes.clear(), "no index.json");
    }
}
