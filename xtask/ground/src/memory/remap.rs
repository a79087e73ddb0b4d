//! Memory that is mapped at a restore, and not read.
//!
//! CRIU reads every dumped page into fresh memory before the process runs, and that is most of a restore's time. A
//! restored service touches a fifth of it before its first answer. So what the dump holds in long runs of private
//! pages moves to one file, [`MEMORY`], and the images say that the process had mapped it privately: the same bytes at
//! the same addresses, of which the kernel makes copies only where the process writes. Stock CRIU restores that as it
//! restores any library. All restores of a host share what they have not written to.
//!
//! Pages of zeros are dropped on the way: private anonymous memory that is not there reads as zeros. So are those that the
//! Java heap ([`heap`]), threads' stacks ([`stacks`]) and inflaters ([`windows`]) do not use.
//!
//! What a JVM and its C library do with memory holds for a private mapping of a file too: they never count on
//! `MADV_DONTNEED` to give zeros (HotSpot maps anew, glibc clears), and they make no mapping larger but by `realloc`
//! ([`pieces`]). Other allocators do count on it ([`counts_on_zeros`]): after the same call, a file's pages are what they were
//! at the dump.

mod mapping;
mod pages;
mod pieces;
mod view;

use anyhow::{Context, Result};

use super::images::{self, AS_DUMPED, FILES_MAGIC, FOLDER, Images, MM_MAGIC, PAGEMAP_MAGIC};
use super::{heap, stacks, windows};
use crate::files::DataFile;
use crate::store::{Store, StoreWriter};
use crate::wire::{all, fields, message, number, put_bytes, with_numbers};
use pages::Dumped;
use view::View;

/// The file that holds the mapped pages, in the rock.
pub const MEMORY: &str = "/checkpoint-data/memory.img";

/// Numbers of fields: `vma_entry`, `mm_entry`, `pagemap_entry`, `file_entry` and `reg_file_entry`.
pub(super) mod field {
    pub const START: u64 = 1;
    pub const END: u64 = 2;
    pub const OFFSET: u64 = 3;
    pub const FILE: u64 = 4;
    pub const PROTECTION: u64 = 5;
    pub const FLAGS: u64 = 6;
    pub const STATUS: u64 = 7;
    pub const ADVICE: u64 = 9;
    pub const OPEN_FLAGS: u64 = 10;

    /// The number of the file that it runs.
    pub const PROGRAM: u64 = 12;
    pub const MAPPING: u64 = 14;

    pub const PAGES_32: u64 = 2;
    pub const PAGES: u64 = 5;

    pub const FILE_NUMBER: u64 = 2;
    pub const REGULAR_FILE: u64 = 3;

    pub const NUMBER: u64 = 1;
    /// How it was opened.
    pub const OPENED: u64 = 2;
    pub const NAME: u64 = 6;
    pub const SIZE: u64 = 8;
    /// The file's mode, which is the last that is not about a library's build.
    pub const MODE: u64 = 10;
}

/// Files of a dump, of which some may now be mapped. Bytes of pages.
#[derive(Debug)]
pub struct Remapped {
    /// Every file of the checkpoint, in the store.
    pub files: Vec<DataFile>,
    /// In [`MEMORY`].
    pub mapped: u64,
    /// In CRIU's own images still: short runs, stacks, memory that is shared.
    pub read: u64,
    /// Zeros, and what the Java heap, stacks and inflaters do not use, that are no longer there.
    pub dropped: u64,
    /// Of `dropped`, what the Java heap does not use.
    pub heap: u64,
    /// Of `dropped`, what threads' stacks do not use.
    pub stacks: u64,
    /// Of `dropped`, what inflaters do not use.
    pub windows: u64,
}

/// The JVM that a dumped process ran.
#[derive(Debug)]
pub struct Jvm {
    /// The path of its library, `libjvm.so`, in the rock.
    pub path: String,
    /// What is in it.
    pub library: Vec<u8>,
}

/// Allocators to whom memory that was given back with `MADV_DONTNEED` is zeros, by a part of their libraries' names.
const COUNT_ON_ZEROS: [&str; 3] = ["jemalloc", "tcmalloc", "mimalloc"];

/// The path of an allocator that a process has mapped and that a mapped file would not do for. One that is linked into
/// another program or library bears no name.
///
/// # Errors
/// Where an image is missing or cannot be understood.
pub fn counts_on_zeros(store: &Store, files: &[DataFile]) -> Result<Option<String>> {
    let images = Images::read(store, files)?;
    let mapped = images.processes.iter().flat_map(|process| &process.mappings);
    let mut paths = mapped.filter_map(|mapping| images.files.get(&mapping.file));
    let is_one = |path: &&String| {
        let name = path.rsplit('/').next().unwrap_or_default();
        COUNT_ON_ZEROS.iter().any(|part| name.contains(part))
    };
    Ok(paths.find(is_one).cloned())
}

/// Moves what can be mapped out of the images of a dump that the store has. What the heap of its `jvm`, its threads'
/// stacks and its inflaters do not use is left out.
///
/// # Errors
/// Where an image is missing or cannot be understood, or the store cannot be written to.
pub fn remap(store: &Store, mut files: Vec<DataFile>, jvm: Option<&Jvm>) -> Result<Remapped> {
    let processes = Images::read(store, &files)?.processes;
    let images = images::owned(&files);
    let read = |name: &str, magic| images::read_messages(store, &images, name, magic);
    let mut listed = read("files.img", FILES_MAGIC)?;
    let mut memory = Memory { file: 1 + highest(&listed)?, out: store.writer()?, offset: 0 };
    let mut new = Vec::new();
    let (mut kept, mut dropped, mut heap, mut stacks, mut windows) = (0, 0, 0, 0, 0);
    for told in &processes {
        let pid = &told.pid;
        let (mm, pagemap) = (format!("mm-{pid}.img"), format!("pagemap-{pid}.img"));
        let maps = read(&pagemap, PAGEMAP_MAGIC)?;
        let head = maps.first().with_context(|| format!("{pagemap} is empty"))?;
        let pages = images::pages_of(&pagemap, Some(head))?;
        let image = images.get(&pages).with_context(|| format!("{FOLDER}{pages} is missing"))?;
        let digest = image.sha256.with_context(|| format!("{pages} is no file"))?;
        let entries = maps[1..].iter().map(|entry| fields(entry)).collect::<Result<Vec<_>>>()?;
        let mut dumped = Dumped::new(store.open_object(&digest)?, image.size, entries)
            .with_context(|| format!("{pagemap} and {pages}"))?;

        let process = read(&mm, MM_MAGIC)?;
        let process = fields(process.first().with_context(|| format!("{mm} is empty"))?)?;
        if let Some(jvm) = jvm
            && let Some(number) = images::number_of(listed.iter().map(Vec::as_slice), &jvm.path)?
            && let Some(view) = View::new(&dumped, &process, number, &jvm.library)?
            && let Some(ranges) = heap::unused(&view, &jvm.library, view.start())
        {
            heap += dumped.forget(&ranges);
        }
        stacks += dumped.forget(&stacks::unused(&told.mappings, &told.stack_pointers));
        windows +=
            dumped.forget(&windows::unused(&dumped, &dumped.find(&windows::BEGINNING, windows::may_begin)?));
        let process = dumped.remap(&process, &mut memory).with_context(|| mm.clone())?;
        let mut out = store.writer()?;
        let entries = dumped.keep(&mut out)?;
        let (digest, size) = out.commit()?;
        kept += size;
        dropped += dumped.dropped();
        let changed = DataFile { sha256: Some(digest), size, ..image.clone() };
        files.iter_mut().filter(|file| file.path == changed.path).for_each(|file| *file = changed.clone());
        let entries: Vec<Vec<u8>> = [head.clone()].into_iter().chain(entries).collect();
        new.push((mm.clone(), images::image(MM_MAGIC, &[message(&process)])));
        new.push((pagemap.clone(), images::image(PAGEMAP_MAGIC, &entries)));
        // What the process was is still told by these two: which memory is its heap, which its code.
        for name in [mm, pagemap] {
            let original = images.get(&name).with_context(|| format!("{name} is missing"))?;
            files.push(DataFile { path: format!("{FOLDER}{AS_DUMPED}{name}"), ..original.clone() });
        }
    }
    let mapped = memory.offset;
    if mapped > 0 {
        listed.push(memory.listed(&listed)?);
        new.push(("files.img".to_owned(), images::image(FILES_MAGIC, &listed)));
        let (digest, size) = memory.out.commit()?;
        let beside = images.get("files.img").context("files.img is missing")?;
        files.push(DataFile { path: MEMORY.to_owned(), sha256: Some(digest), size, ..beside.clone() });
    }
    for (name, bytes) in new {
        images::replace(store, &mut files, &name, &bytes)?;
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Remapped { files, mapped, read: kept, dropped, heap, stacks, windows })
}

/// The highest number of a file in `files.img`.
fn highest(listed: &[Vec<u8>]) -> Result<u64> {
    let numbers =
        listed.iter().map(|file| Ok(number(&fields(file)?, field::FILE_NUMBER).unwrap_or_default()));
    Ok(numbers.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or_default())
}

/// [`MEMORY`] while it is written.
struct Memory {
    /// Its number in `files.img`.
    file: u64,
    out: StoreWriter,
    /// Bytes so far.
    offset: u64,
}

impl Memory {
    /// Its entry in `files.img`, like that of another regular file, as which it is opened. What CRIU knows of a library
    /// beyond that is not said of it.
    fn listed(&self, listed: &[Vec<u8>]) -> Result<Vec<u8>> {
        for entry in listed {
            let mut entry = fields(entry)?;
            let Some(file) = all(&entry, field::REGULAR_FILE).next() else { continue };
            let mut file = fields(file)?;
            file.retain(|field| field.number <= field::MODE);
            if !put_bytes(&mut file, field::NAME, MEMORY.into()) {
                continue;
            }
            // O_RDONLY, at its beginning.
            let new = [(field::NUMBER, self.file), (field::OPENED, 0), (3, 0), (field::SIZE, self.offset)];
            put_bytes(&mut entry, field::REGULAR_FILE, message(&with_numbers(&file, &new)));
            return Ok(message(&with_numbers(&entry, &[(field::FILE_NUMBER, self.file)])));
        }
        anyhow::bail!("files.img names no regular file, not even the program that ran")
    }
}
