//! Image -> something a container engine or registry client reads: an OCI image layout, as a folder or as one
//! tar (a `.rock`).

use std::fs::Permissions;
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::json;
use tar::EntryType;

pub use super::foreign::read_manifest_digest;
use super::image::Image;
use super::layer::{Blob, append_object, plain_header};
use super::oci::{self, Descriptor, Index, canonical_json};
use crate::digest::Digest;
use crate::store::early::EarlySync;
use crate::store::{Store, sync_folder};
use crate::workspace::partial;

/// Makes an OCI image layout in `dir`, whose blobs are hard links to the store's objects (copies, where `dir`
/// is on another file system): an engine that loads `oci:DIR` then copies the data once and checks it against
/// its digests while doing so.
///
/// podman (4.3.1, seen) names what it pulls from `oci:DIR` after the folder and ignores `reference`: tag the
/// image by its ID, which is [`Image::config`]. From an archive it takes the name.
///
/// The blobs share the store's inodes: whoever writes to them damages the store, so they are read-only.
pub fn write_layout(store: &Store, image: &Image, reference: &str, dir: &Path) -> Result<()> {
    let blobs = dir.join("blobs/sha256");
    fs_err::create_dir_all(&blobs)?;
    for (digest, size) in image.blobs() {
        store.ensure_has(&digest, size)?;
        link_or_copy(&store.path(&digest), &blobs.join(digest.hex()))?;
    }
    fs_err::write(dir.join("oci-layout"), layout_json()?)?;
    fs_err::write(dir.join("index.json"), index_json(image, reference)?)?;
    Ok(())
}

/// Writes the image as one OCI archive, readable by `podman load -i` and `oci-archive:`; returns its size in
/// bytes. Every blob is verified while it is copied. `file` appears complete or not at all.
pub fn write_archive(store: &Store, image: &Image, reference: &str, file: &Path) -> Result<u64> {
    prepare_archive(store, image, reference, file)?.place()
}

/// An OCI archive that is whole and on the disk, but not in its place yet. Dropped, it leaves nothing.
pub struct Prepared {
    partial: tempfile::NamedTempFile,
    file: PathBuf,
}

impl Prepared {
    /// Puts it in its place; returns its size in bytes.
    pub fn place(self) -> Result<u64> {
        let Prepared { partial, file } = self;
        let size = partial.as_file().metadata()?.len();
        partial.persist(&file).with_context(|| format!("cannot replace {}", file.display()))?;
        sync_folder(file.parent().unwrap_or(Path::new(".")))?;
        Ok(size)
    }
}

/// The long part of [`write_archive`]: everything but the last rename.
pub fn prepare_archive(store: &Store, image: &Image, reference: &str, file: &Path) -> Result<Prepared> {
    let name = file.file_name().with_context(|| format!("`{}` names no file", file.display()))?;
    let folder = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // Two processes may write the same archive, and each renames its own.
    let partial = partial(folder)?;
    let mut out = EarlySync::new(Arc::new(partial.as_file().try_clone()?));
    write_tar(store, image, reference, &mut out).and_then(|()| Ok(out.finish()?)).with_context(|| {
        format!("cannot write {}; is the disk full? `cargo xtask gc` frees space", file.display())
    })?;
    partial.as_file().set_permissions(Permissions::from_mode(0o644))?;
    partial.as_file().sync_all()?;
    Ok(Prepared { partial, file: folder.join(name) })
}

/// Writes the image as what `docker load` reads, of whatever version: an OCI archive that also has the `manifest.json`
/// of Docker's own form, without which engines before 25 find no image and later ones no name.
pub fn write_docker(store: &Store, image: &Image, name: &str, out: &mut dyn Write) -> Result<()> {
    let blob = |digest: Digest| format!("blobs/sha256/{}", digest.hex());
    let layers: Vec<String> = image.layers.iter().map(|layer| blob(layer.digest)).collect();
    let manifest = json!([{ "Config": blob(image.config), "RepoTags": [name], "Layers": layers }]);
    write_files(store, image, name, &[("manifest.json", serde_json::to_vec(&manifest)?)], out)
}

fn write_tar(store: &Store, image: &Image, reference: &str, out: &mut dyn Write) -> Result<()> {
    write_files(store, image, reference, &[], out)
}

fn write_files(
    store: &Store,
    image: &Image,
    reference: &str,
    more: &[(&str, Vec<u8>)],
    out: &mut dyn Write,
) -> Result<()> {
    let mut builder = tar::Builder::new(BufWriter::with_capacity(1 << 20, out));
    let own = [("oci-layout", layout_json()?), ("index.json", index_json(image, reference)?)];
    for (name, bytes) in own.iter().chain(more) {
        builder.append(&file_header(name, bytes.len() as u64)?, bytes.as_slice())?;
    }
    for (digest, size) in image.blobs() {
        let header = file_header(&format!("blobs/sha256/{}", digest.hex()), size)?;
        append_object(store, &Blob { digest, size }, &header, &mut builder)?;
    }
    builder.into_inner()?.flush()?;
    Ok(())
}

pub(super) fn file_header(name: &str, size: u64) -> Result<tar::Header> {
    let mut header = plain_header(EntryType::Regular, 0o644);
    header.set_path(name)?;
    // From 8 GiB on the tar crate writes a binary size, which every reader of OCI archives knows.
    header.set_size(size);
    header.set_cksum();
    Ok(header)
}

/// The file `oci-layout`, which says that a folder or an archive is one.
pub(crate) fn layout_json() -> Result<Vec<u8>> {
    canonical_json(&json!({ "imageLayoutVersion": oci::LAYOUT_VERSION }))
}

pub(super) fn index_json(image: &Image, reference: &str) -> Result<Vec<u8>> {
    let mut manifest = Descriptor::new(oci::MANIFEST, image.manifest, image.manifest_size);
    manifest.annotations = Some([(oci::REF_NAME.to_owned(), reference.to_owned())].into());
    canonical_json(&Index {
        schema_version: oci::SCHEMA_VERSION,
        media_type: Some(oci::INDEX.to_owned()),
        manifests: vec![manifest],
    })
}

/// A hard link, or a copy where the file system has none to give (another device, too many links).
fn link_or_copy(object: &Path, blob: &Path) -> Result<()> {
    // What is there may be a copy that was cut off: replaced, never trusted.
    match fs_err::remove_file(blob) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    if fs_err::hard_link(object, blob).is_err() {
        fs_err::copy(object, blob)?;
    }
    Ok(())
}
