//! Files that the process had open and that had been deleted.
//!
//! netty and JNA unpack a library into /tmp, load it, and delete it. CRIU dumps such a file whole (a "ghost") and writes it
//! anew before each restore: time, and memory that no two containers share. A file that was opened for reading alone is
//! what it was, so it becomes one of the rock, and the images say that the process had opened that. Stock CRIU restores
//! it as any library.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::images::{self, FILES_MAGIC, FOLDER, GHOST_MAGIC, LIMIT, MM_MAGIC, REMAP_MAGIC};
use super::remap::field;
use crate::files::DataFile;
use crate::store::Store;
use crate::wire::{all, fields, message, number, number_at, numbers, put_bytes};

/// `remap_file_path_entry` that says so of a file: `GHOST`, of `remap_type`.
const IS_GHOST: u64 = 1;
/// open(2)'s `O_ACCMODE`, of which 0 is for reading.
const ACCESS: u64 = 3;
/// mmap(2)'s `PROT_WRITE` and `MAP_SHARED`.
const WRITE: u64 = 2;
const SHARED: u64 = 1;
/// stat(2)'s mode of a regular file with no bits but those that `--skip-file-rwx-check` lets differ.
const REGULAR: u64 = 0o100_000;
const PERMISSIONS: u64 = 0o777;

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
    let images = images::owned(&files);
    let mut bytes = 0;
    if !images.contains_key("remap-fpath.img") {
        return Ok(Named { files, bytes });
    }
    let read = |name: &str, magic| images::read_messages(store, &images, name, magic);
    let mut remaps = read("remap-fpath.img", REMAP_MAGIC)?;
    let mut listed = read("files.img", FILES_MAGIC)?;
    let mut busy = BTreeSet::new();
    for name in images.keys().filter(|name| name.starts_with("mm-")) {
        for process in read(name, MM_MAGIC)? {
            busy.extend(busy_files(&process).with_context(|| format!("{name} cannot be read"))?);
        }
    }
    let mut place = BTreeMap::new();
    for (at, entry) in listed.iter().enumerate() {
        if let Some(number) = number_at(entry, &[field::REGULAR_FILE, field::NUMBER])? {
            place.insert(number, at);
        }
    }
    let mut ghosts = BTreeMap::<u64, BTreeSet<u64>>::new();
    for remap in &remaps {
        let [file, ghost, kind] = numbers(&fields(remap)?, [1, 2, 3]);
        if kind == IS_GHOST {
            ghosts.entry(ghost).or_default().insert(file);
        }
    }
    let mut renamed = BTreeSet::new();
    for (ghost, opened) in ghosts {
        let name = format!("ghost-file-{ghost:x}.img");
        let Some(image) = images.get(&name).filter(|image| image.size <= LIMIT) else { continue };
        if !opened.is_disjoint(&busy) {
            continue;
        }
        let dumped = images::read_image(store, &name, Some(image), GHOST_MAGIC)?;
        let Some(content) = content(&name, &dumped)? else { continue };
        let path = format!("{FOLDER}deleted-{ghost}");
        let entry = |number| {
            let at = *place.get(number)?;
            Some((at, rename(&listed[at], content.len() as u64, &path)?))
        };
        let Some(entries) = opened.iter().map(entry).collect::<Option<Vec<_>>>() else { continue };
        for (at, entry) in entries {
            listed[at] = entry;
        }
        let (digest, size) = store.add_bytes(&content)?;
        bytes += size;
        renamed.insert(ghost);
        let old = format!("{FOLDER}{name}");
        let file = files.iter_mut().find(|file| file.path == old).context("an image of the dump")?;
        *file = DataFile { path, sha256: Some(digest), size, ..file.clone() };
    }
    if renamed.is_empty() {
        return Ok(Named { files, bytes });
    }
    remaps.retain(|remap| {
        let [ghost, kind] = fields(remap).map(|remap| numbers(&remap, [2, 3])).unwrap_or_default();
        kind != IS_GHOST || !renamed.contains(&ghost)
    });
    images::replace(store, &mut files, "files.img", &images::image(FILES_MAGIC, &listed))?;
    images::replace(store, &mut files, "remap-fpath.img", &images::image(REMAP_MAGIC, &remaps))?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Named { files, bytes })
}

/// Files that a process (`mm_entry`) does more with than to read them: it runs one, and maps others that it had opened for
/// writing, which is not said in `files.img` but of the mapping (CRIU's `dump_filemap`).
fn busy_files(process: &[u8]) -> Result<Vec<u64>> {
    let process = fields(process)?;
    let mut busy: Vec<u64> = number(&process, field::PROGRAM).into_iter().collect();
    for mapping in all(&process, field::MAPPING) {
        let mapping = fields(mapping)?;
        let [file, protection, flags] = numbers(&mapping, [field::FILE, field::PROTECTION, field::FLAGS]);
        let written = match number(&mapping, field::OPEN_FLAGS) {
            Some(opened) => opened & ACCESS != 0,
            // As CRIU has it then.
            None => flags & SHARED != 0 && protection & WRITE != 0,
        };
        if written {
            busy.push(file);
        }
    }
    Ok(busy)
}

/// What a regular file held: behind a `ghost_file_entry`, its bytes, or pieces of them, each behind a `ghost_chunk_entry`. A
/// file with holes may be larger than all that was dumped, and stays what it is.
fn content(name: &str, image: &[u8]) -> Result<Option<Vec<u8>>> {
    let (entry, mut rest) = images::first_message(name, image)?;
    let [mode, chunks, size] = numbers(&fields(entry)?, [3, 9, 10]);
    if mode & !PERMISSIONS != REGULAR {
        return Ok(None);
    }
    if chunks == 0 {
        return Ok(Some(rest.to_vec()));
    }
    let mut content = Vec::new();
    while !rest.is_empty() {
        let (chunk, behind) = images::first_message(name, rest)?;
        let [length, offset] = numbers(&fields(chunk)?, [1, 2]);
        let taken = usize::try_from(length).ok().and_then(|length| behind.split_at_checked(length));
        let (bytes, behind) = taken.with_context(|| format!("{name} is cut off"))?;
        if offset != content.len() as u64 {
            return Ok(None);
        }
        content.extend(bytes);
        rest = behind;
    }
    Ok((content.len() as u64 == size).then_some(content))
}

/// A `file_entry` with another path, if the file was opened for reading alone and has this size.
fn rename(entry: &[u8], size: u64, path: &str) -> Option<Vec<u8>> {
    let mut entry = fields(entry).ok()?;
    let mut file = fields(all(&entry, field::REGULAR_FILE).next()?).ok()?;
    let reads = number(&file, field::OPENED).unwrap_or_default() & ACCESS == 0;
    if !reads || number(&file, field::SIZE).is_some_and(|stated| stated != size) {
        return None;
    }
    put_bytes(&mut file, field::NAME, path.into());
    put_bytes(&mut entry, field::REGULAR_FILE, message(&file));
    Some(message(&entry))
}
