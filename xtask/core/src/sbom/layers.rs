//! Files out of the layers of an image, which are hashed while they are read.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;

use crate::digest::{Digest, Hasher};
use crate::pack::Image;
use crate::store::Store;

/// A jar or Pebble is read into memory whole; those that were seen have 10 to 25 MB.
const LIMIT: u64 = 1 << 30;

/// Those of the `wanted` regular files that the image has, each as the uppermost layer with it has it. Paths are
/// without the leading slash.
///
/// # Errors
/// A layer that is not in the store, is not what its digest says, or is no tar, plain or gzip.
pub fn files(store: &Store, image: &Image, wanted: &[&str]) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
    for layer in image.layers.iter().rev() {
        for (path, bytes) in layer_files(store, &layer.digest, wanted)? {
            found.entry(path).or_insert(bytes);
        }
    }
    Ok(found.into_iter().filter_map(|(path, bytes)| Some((path, bytes?))).collect())
}

/// Wanted files by path; None is one that the layer removes from those below.
type Found = BTreeMap<String, Option<Vec<u8>>>;

fn layer_files(store: &Store, layer: &Digest, wanted: &[&str]) -> Result<Found> {
    let hashing = Hashing { reader: store.open_object(layer)?, hasher: Hasher::new(io::sink()) };
    let mut reader = BufReader::with_capacity(1 << 20, hashing);
    let compressed = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let found = match compressed {
        true => entries(GzDecoder::new(&mut reader), wanted),
        false => entries(&mut reader, wanted),
    };
    // Whatever an altered layer holds, what is to be said of it is that it was altered.
    io::copy(&mut reader, &mut io::sink())?;
    let (_, digest, _) = reader.into_inner().hasher.finish();
    ensure!(
        digest == *layer,
        "{} was changed: expected {layer}, found {digest}; delete the file, then pack the rock again",
        store.path(layer).display()
    );
    found.with_context(|| format!("layer {layer} cannot be read; expected a tar, plain or gzip"))
}

fn entries(reader: impl Read, wanted: &[&str]) -> Result<Found> {
    let mut found = Found::new();
    for entry in tar::Archive::new(reader).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let path = path.strip_prefix("./").unwrap_or(&path);
        let Some(name) = wanted.iter().find(|name| path == Path::new(name) || removes(path, name)) else {
            continue;
        };
        if removes(path, name) {
            found.insert((*name).to_owned(), None);
        } else if entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.by_ref().take(LIMIT + 1).read_to_end(&mut bytes)?;
            ensure!(bytes.len() as u64 <= LIMIT, "/{name} is larger than a gibibyte");
            found.insert((*name).to_owned(), Some(bytes));
        }
    }
    Ok(found)
}

/// Whether this is OCI's mark that `name` of the layers below is gone.
fn removes(path: &Path, name: &str) -> bool {
    let marked = path.file_name().and_then(|file| file.to_str()).and_then(|file| file.strip_prefix(".wh."));
    marked.is_some_and(|gone| path.with_file_name(gone) == Path::new(name))
}

/// A reader that hashes what passes through it.
struct Hashing<R> {
    reader: R,
    hasher: Hasher<io::Sink>,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.hasher.write_all(&buffer[..read])?;
        Ok(read)
    }
}
