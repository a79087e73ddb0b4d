//! A rock that somebody else packed: its blobs into the store, each checked against its digest, and what little is
//! added to it.

use std::io::Read;
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
const DOCUMENT_LIMIT: u64 = 4 << 20;

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
    let wanted = Path::new(path.trim_start_matches('/'));
    for layer in image.layers.iter().rev() {
        let object = store.open_object(&layer.digest)?;
        let mut reader = std::io::BufReader::with_capacity(1 << 20, object);
        let compressed = std::io::BufRead::fill_buf(&mut reader)?.starts_with(&[0x1f, 0x8b]);
        let plain: Box<dyn Read> =
            if compressed { Box::new(GzDecoder::new(reader)) } else { Box::new(reader) };
        let mut tar = tar::Archive::new(plain);
        for entry in tar.entries()? {
            let mut entry = entry.with_context(|| format!("layer {} is no tar", layer.digest))?;
            let found = entry.path()?.strip_prefix("./").unwrap_or(&entry.path()?) == wanted;
            if found && entry.header().entry_type().is_file() {
                let mut writer = store.writer()?;
                std::io::copy(&mut entry, &mut writer)?;
                return writer.commit();
            }
        }
    }
    bail!("the rock has no {path}")
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
