//! A rock as a file: is it, byte for byte, what this tool wrote for a manifest?
//!
//! A digest in the index holds the manifest, the manifest its blobs; nothing holds the index, the tar's headers and what
//! lies between. So the file is not parsed and believed: it is compared, in one pass, with what would be written now.

use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::archive::{file_header, index_json, layout_json};
use super::foreign::find_manifest;
use super::image::Image;
use crate::digest::{Digest, Hasher};
use crate::workspace::open_file;

const BLOCK: usize = 512;

/// Compares the file with the archive of the image that has this manifest, under this reference.
///
/// # Errors
/// Names what differs first: the index, a header, the manifest, the config, or a layer by its number.
pub fn verify_archive(file: &Path, manifest: &Digest, reference: &str) -> Result<Image> {
    let image = find_manifest(file, manifest)?;
    let mut reader = BufReader::with_capacity(1 << 20, open_file(file)?);
    for (name, bytes) in [("oci-layout", layout_json()?), ("index.json", index_json(&image, reference)?)] {
        expect(
            &mut reader,
            file_header(name, bytes.len() as u64)?.as_bytes(),
            &format!("the header of {name}"),
        )?;
        expect(&mut reader, &bytes, name)?;
        padding(&mut reader, bytes.len() as u64, name)?;
    }
    for (digest, size) in image.blobs() {
        let name = name_of(&image, &digest);
        let header = file_header(&format!("blobs/sha256/{}", digest.hex()), size)?;
        expect(&mut reader, header.as_bytes(), &format!("the header of {name}"))?;
        let mut hasher = Hasher::new(std::io::sink());
        let length = std::io::copy(&mut (&mut reader).take(size), &mut hasher)?;
        ensure!(length == size, "{name} ends after {length} of {size} bytes");
        let (_, found, _) = hasher.finish();
        ensure!(found == digest, "{name} was changed: it is {found}, and should be {digest}");
        padding(&mut reader, size, &name)?;
    }
    expect(&mut reader, &[0; 2 * BLOCK], "the end of the archive")?;
    ensure!(reader.read(&mut [0])? == 0, "something follows the end of the archive");
    Ok(image)
}

fn name_of(image: &Image, digest: &Digest) -> String {
    match image.layers.iter().position(|layer| layer.digest == *digest) {
        Some(at) => format!("layer {} of {}", at + 1, image.layers.len()),
        None if image.config == *digest => "the config".to_owned(),
        None => "the manifest".to_owned(),
    }
}

fn expect(reader: &mut impl Read, expected: &[u8], what: &str) -> Result<()> {
    let mut found = vec![0; expected.len()];
    reader.read_exact(&mut found).with_context(|| format!("the file ends within {what}"))?;
    ensure!(found == expected, "{what} differs from what was written");
    Ok(())
}

fn padding(reader: &mut impl Read, size: u64, what: &str) -> Result<()> {
    let over = (size % BLOCK as u64) as usize;
    let missing = if over == 0 { 0 } else { BLOCK - over };
    expect(reader, &vec![0; missing], &format!("the padding after {what}"))
}
