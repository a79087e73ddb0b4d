//! Files that the process had open and that had been deleted.
//!
//! netty and JNA unpack a library into /tmp, load it, and delete it. CRIU dumps such a file whole (a "ghost") and writes it
//! anew before each restore: time, and memory that no two containers share. A file that was opened for reading alone is
//! what it was, so it becomes one of the rock, and the images say that the process had opened that. Stock CRIU restores
//! it as any library.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::images::{self, FILES_MAGIC, FOLDER, GHOST_MAGIC, LIMIT, REMAP_MAGIC};
use crate::lock::DataFile;
use crate::store::Store;
use crate::wire::{Field, Value, all, fields, message, number, number_at, numbers};

/// `remap_file_path_entry` that says so of a file: `GHOST`, of `remap_type`.
const IS_GHOST: u64 = 1;
/// open(2)'s `O_ACCMODE`, of which 0 is for reading.
const ACCESS: u64 = 3;
/// stat(2)'s: what kind of file, and a regular one.
const KIND: u64 = 0o170_000;
const REGULAR: u64 = 0o100_000;
/// Numbers of fields of `file_entry` and its `reg_file_entry`.
const REGULAR_FILE: u64 = 3;
const NAME: u64 = 6;

/// Files of a dump, of which some were deleted and now have a name.
#[derive(Debug)]
pub struct Named {
    /// Every file of the checkpoint, in the store.
    pub files: Vec<DataFile>,
    /// Bytes of those that have one.
    pub bytes: u64,
}

/// Gives deleted files of a dump that the store has a name in the rock.
///
/// # Errors
/// Where an image cannot be understood, or the store cannot be written to.
pub fn deleted(store: &Store, mut files: Vec<DataFile>) -> Result<Named> {
    let images: BTreeMap<String, DataFile> =
        images::named(&files).map(|(name, file)| (name.to_owned(), file.clone())).collect();
    let mut bytes = 0;
    let Some(remaps) = images.get("remap-fpath.img") else { return Ok(Named { files, bytes }) };
    let read = |name: &str, file, magic| -> Result<Vec<Vec<u8>>> {
        let bytes = images::read_image(store, name, file, magic)?;
        Ok(images::messages(name, &bytes)?.into_iter().map(<[u8]>::to_vec).collect())
    };
    let mut remaps = read("remap-fpath.img", Some(remaps), REMAP_MAGIC)?;
    let mut listed = read("files.img", images.get("files.img"), FILES_MAGIC)?;
    let mut ghosts = BTreeMap::<u64, BTreeSet<u64>>::new();
    for remap in &remaps {
        let [file, ghost, kind] = numbers(&fields(remap)?, [1, 2, 3]);
        if kind == IS_GHOST {
            ghosts.entry(ghost).or_default().insert(file);
        }
    }
    for (ghost, opened) in ghosts {
        let name = format!("ghost-file-{ghost:x}.img");
        let Some(image) = images.get(&name).filter(|image| image.size <= LIMIT) else { continue };
        let dumped = images::read_image(store, &name, Some(image), GHOST_MAGIC)?;
        let Some(content) = content(&name, &dumped)? else { continue };
        let path = format!("{FOLDER}deleted-{ghost}");
        let Some(renamed) = rename(&listed, &opened, content.len() as u64, &path)? else { continue };
        listed = renamed;
        let of_it =
            |remap: &Vec<u8>| fields(remap).is_ok_and(|remap| numbers(&remap, [2, 3]) == [ghost, IS_GHOST]);
        remaps.retain(|remap| !of_it(remap));
        let (digest, size) = store.add_bytes(&content)?;
        bytes += size;
        let old = format!("{FOLDER}{name}");
        let file = files.iter_mut().find(|file| file.path == old).context("an image of the dump")?;
        *file = DataFile { path, sha256: Some(digest), size, ..file.clone() };
    }
    if bytes > 0 {
        for (name, bytes) in [
            ("files.img", images::image(FILES_MAGIC, &listed)),
            ("remap-fpath.img", images::image(REMAP_MAGIC, &remaps)),
        ] {
            let (digest, size) = store.add_bytes(&bytes)?;
            let path = format!("{FOLDER}{name}");
            let file = files.iter_mut().find(|file| file.path == path).context("an image of the dump")?;
            (file.sha256, file.size) = (Some(digest), size);
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
    }
    Ok(Named { files, bytes })
}

/// What a regular file held: behind a `ghost_file_entry`, its bytes, or those pieces that are no holes, each behind a
/// `ghost_chunk_entry`.
fn content(name: &str, image: &[u8]) -> Result<Option<Vec<u8>>> {
    let (entry, mut rest) = images::first_message(name, image)?;
    let [mode, chunks, size] = numbers(&fields(entry)?, [3, 9, 10]);
    if mode & KIND != REGULAR {
        return Ok(None);
    }
    if chunks == 0 {
        return Ok(Some(rest.to_vec()));
    }
    // Holes have no bytes in the image.
    let Some(size) = Some(size).filter(|size| *size <= LIMIT) else { return Ok(None) };
    let mut content = vec![0; size as usize];
    while !rest.is_empty() {
        let (chunk, behind) = images::first_message(name, rest)?;
        let [length, offset] = numbers(&fields(chunk)?, [1, 2]);
        let taken = usize::try_from(length).ok().and_then(|length| behind.split_at_checked(length));
        let (bytes, behind) = taken.with_context(|| format!("{name} is cut off"))?;
        let place =
            usize::try_from(offset).ok().and_then(|offset| content.get_mut(offset..)?.get_mut(..bytes.len()));
        place.with_context(|| format!("{name} has bytes behind its file's end"))?.copy_from_slice(bytes);
        rest = behind;
    }
    Ok(Some(content))
}

/// `files.img` with another path of these files, if each was opened for reading alone and has this size.
fn rename(listed: &[Vec<u8>], opened: &BTreeSet<u64>, size: u64, path: &str) -> Result<Option<Vec<Vec<u8>>>> {
    let mut found = 0;
    let mut renamed = listed.to_vec();
    for entry in &mut renamed {
        if !number_at(entry, &[REGULAR_FILE, 1])?.is_some_and(|number| opened.contains(&number)) {
            continue;
        }
        let mut whole = fields(entry)?;
        let mut file = all(&whole, REGULAR_FILE).next().map(fields).transpose()?.unwrap_or_default();
        let may_differ = number(&file, 2).unwrap_or_default() & ACCESS != 0
            || number(&file, 8).is_some_and(|stated| stated != size);
        if may_differ {
            return Ok(None);
        }
        put(&mut file, NAME, path.into());
        put(&mut whole, REGULAR_FILE, message(&file));
        *entry = message(&whole);
        found += 1;
    }
    Ok((found == opened.len()).then_some(renamed))
}

/// Puts other bytes in the place of a field's.
fn put(fields: &mut [Field], number: u64, bytes: Vec<u8>) {
    if let Some(field) = fields.iter_mut().find(|field| field.number == number) {
        field.value = Value::Bytes(bytes);
    }
}
