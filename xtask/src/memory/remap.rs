//! Memory that is mapped at a restore, and not read.
//!
//! CRIU reads every dumped page into fresh memory before the process runs, and that is most of a restore's time. A
//! restored service touches a fifth of it before its first answer. So what the dump holds in long runs of private
//! pages moves to one file, [`MEMORY`], and the images say that the process had mapped it privately: the same bytes at
//! the same addresses, of which the kernel makes copies only where the process writes. Stock CRIU restores that as it
//! restores any library. All restores of a host share what they have not written to.
//!
//! Pages of zeros are dropped on the way: private anonymous memory that is not there reads as zeros.
//!
//! What a JVM and its C library do with memory holds for a private mapping of a file too: they never count on
//! `MADV_DONTNEED` to give zeros (HotSpot maps anew, glibc clears), and the rest of mmap(2) makes no difference.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};

use super::images::{self, AS_DUMPED, FILES_MAGIC, FOLDER, MM_MAGIC, PAGEMAP_MAGIC, PRESENT};
use super::wire::{Field, Value, fields, message, number, with_numbers};
use crate::lock::DataFile;
use crate::store::{Store, StoreWriter};

/// The file that holds the mapped pages, in the rock.
pub const MEMORY: &str = "/checkpoint-data/memory.img";

/// As many pages in a row are worth a mapping of their own, which costs as much as reading a few pages; and as many
/// pages without content may lie between two such runs. Measured in docs/performance.md.
const RUN: u64 = 16;

/// CRIU's `VMA_AREA_…`: what a mapping is.
const REGULAR: u64 = 1 << 0;
const HEAP: u64 = 1 << 5;
const FILE_PRIVATE: u64 = 1 << 6;
const ANON_PRIVATE: u64 = 1 << 9;
/// Not a mapping but a part of one that may not be touched.
const GUARD: u64 = 1 << 16;
/// mmap(2)'s.
const MAP_ANONYMOUS: u64 = 0x20;
/// Memory that grows, is locked, or has huge pages of its own is no file's.
const MAP_SPECIAL: u64 = 0x100 | 0x2000 | 0x40000;
/// The advice that files' mappings take as well (`1 << MADV_…`): not to fork, not to dump, huge pages or not.
const ADVICE: u64 = 1 << 10 | 1 << 14 | 1 << 15 | 1 << 16;

/// Numbers of fields: `vma_entry`, `mm_entry`, `pagemap_entry`, `file_entry` and `reg_file_entry`.
mod field {
    pub const START: u64 = 1;
    pub const END: u64 = 2;
    pub const OFFSET: u64 = 3;
    pub const FILE: u64 = 4;
    pub const FLAGS: u64 = 6;
    pub const STATUS: u64 = 7;
    pub const ADVICE: u64 = 9;
    pub const OPEN_FLAGS: u64 = 10;

    pub const MAPPING: u64 = 14;

    pub const PAGES_32: u64 = 2;
    pub const PAGES: u64 = 5;

    pub const FILE_NUMBER: u64 = 2;
    pub const REGULAR_FILE: u64 = 3;

    pub const NUMBER: u64 = 1;
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
    /// Zeros that are no longer there.
    pub dropped: u64,
}

/// Moves what can be mapped out of the images of a dump that the store has.
///
/// # Errors
/// Where an image is missing or cannot be understood, or the store cannot be written to.
pub fn remap(store: &Store, mut files: Vec<DataFile>) -> Result<Remapped> {
    let images: BTreeMap<String, DataFile> =
        images::named(&files).map(|(name, file)| (name.to_owned(), file.clone())).collect();
    let read = |name: &str, magic| -> Result<Vec<Vec<u8>>> {
        let bytes = images::read_image(store, name, images.get(name), magic)?;
        Ok(images::messages(name, &bytes)?.into_iter().map(<[u8]>::to_vec).collect())
    };
    let mut listed = read("files.img", FILES_MAGIC)?;
    let pids = images.keys().filter_map(|name| name.strip_prefix("mm-")?.strip_suffix(".img"));
    let mut memory = Memory { file: 1 + highest(&listed)?, out: store.writer()?, offset: 0 };
    let mut new = Vec::new();
    let (mut kept, mut dropped) = (0, 0);
    for pid in pids {
        let (mm, pagemap) = (format!("mm-{pid}.img"), format!("pagemap-{pid}.img"));
        let maps = read(&pagemap, PAGEMAP_MAGIC)?;
        let head = maps.first().with_context(|| format!("{pagemap} is empty"))?;
        let pages = format!("pages-{}.img", number(&fields(head)?, 1).unwrap_or_default());
        let image = images.get(&pages).with_context(|| format!("{FOLDER}{pages} is missing"))?;
        let digest = image.sha256.with_context(|| format!("{pages} is no file"))?;
        let entries = maps[1..].iter().map(|entry| fields(entry)).collect::<Result<Vec<_>>>()?;
        let mut dumped = Dumped::new(store.open_object(&digest)?, image.size, entries)
            .with_context(|| format!("{pagemap} and {pages}"))?;

        let process = read(&mm, MM_MAGIC)?;
        let process = fields(process.first().with_context(|| format!("{mm} is empty"))?)?;
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
        let (digest, size) = store.add_bytes(&bytes)?;
        let path = format!("{FOLDER}{name}");
        let file = files.iter_mut().find(|file| file.path == path).context("an image of the dump")?;
        (file.sha256, file.size) = (Some(digest), size);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Remapped { files, mapped, read: kept, dropped })
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
            let regular = |field: &&mut Field| field.number == field::REGULAR_FILE;
            let Some(Field { value: Value::Bytes(bytes), .. }) = entry.iter_mut().find(regular) else {
                continue;
            };
            let mut file = fields(bytes)?;
            file.retain(|field| field.number <= field::MODE);
            let Some(name) = file.iter_mut().find(|field| field.number == field::NAME) else { continue };
            name.value = Value::Bytes(MEMORY.into());
            // O_RDONLY, at its beginning.
            let new = [(field::NUMBER, self.file), (2, 0), (3, 0), (field::SIZE, self.offset)];
            *bytes = message(&with_numbers(&file, &new));
            return Ok(message(&with_numbers(&entry, &[(field::FILE_NUMBER, self.file)])));
        }
        anyhow::bail!("files.img names no regular file, not even the program that ran")
    }
}

/// What becomes of a dumped page.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Page {
    Kept,
    Mapped,
    Dropped,
}

/// The dumped pages of a process.
struct Dumped {
    image: fs_err::File,
    /// Bytes of a page.
    size: u64,
    /// As they stand in the pagemap; those that are not in this dump have no place in the image.
    entries: Vec<(Vec<Field>, Extent)>,
    /// Of each page of the image: whether it holds nothing but zeros, and what becomes of it.
    zero: Vec<bool>,
    pages: Vec<Page>,
}

/// Addresses of a pagemap's entry, and the position of its first page in the image.
#[derive(Debug, Clone, PartialEq)]
struct Extent {
    at: Range<u64>,
    position: Option<usize>,
}

impl Dumped {
    fn new(image: fs_err::File, bytes: u64, entries: Vec<Vec<Field>>) -> Result<Dumped> {
        let pages_of = |entry: &[Field]| {
            let pages = number(entry, field::PAGES).filter(|pages| *pages > 0);
            pages.or(number(entry, field::PAGES_32)).unwrap_or_default()
        };
        // CRIU's older versions had no flags, and `in_parent` in their place.
        let present = |entry: &[Field]| match number(entry, 4) {
            Some(flags) => flags & u64::from(PRESENT) != 0,
            None => number(entry, 3).unwrap_or_default() == 0,
        };
        let there = entries.iter().filter(|entry| present(entry)).map(|entry| pages_of(entry));
        let size = images::page_size(there.fold(0, u64::saturating_add), bytes)?;
        let mut position = 0_usize;
        let mut sorted = Vec::new();
        for entry in entries {
            let (start, pages) = (number(&entry, field::START).unwrap_or_default(), pages_of(&entry));
            let end = pages.checked_mul(size).and_then(|bytes| start.checked_add(bytes));
            let at = start..end.context("pages beyond the end of memory")?;
            let before = sorted.last().map_or(0, |(_, last): &(_, Extent)| last.at.end);
            ensure!(at.start >= before, "pages at {start:#x} are not in order");
            let there = present(&entry);
            sorted.push((entry, Extent { at, position: there.then_some(position) }));
            position += if there { usize::try_from(pages)? } else { 0 };
        }
        let zero = zeros(&image, bytes, size)?;
        let pages = vec![Page::Kept; zero.len()];
        Ok(Dumped { image, size, entries: sorted, zero, pages })
    }

    /// Bytes of zeros that are left out.
    fn dropped(&self) -> u64 {
        self.size * self.pages.iter().filter(|page| **page == Page::Dropped).count() as u64
    }

    /// The address and position of the dumped pages in a range; `None` where some of them are not in this dump.
    fn within(&self, range: &Range<u64>) -> Option<Vec<(u64, usize)>> {
        let first = self.entries.partition_point(|(_, extent)| extent.at.end <= range.start);
        let mut pages = Vec::new();
        for (_, extent) in self.entries[first..].iter().take_while(|(_, extent)| extent.at.start < range.end)
        {
            let position = extent.position?;
            for (page, address) in extent.at.clone().step_by(self.size as usize).enumerate() {
                if range.contains(&address) {
                    pages.push((address, position + page));
                }
            }
        }
        Some(pages)
    }

    /// The process with mappings of `memory`, which is given their pages.
    fn remap(&mut self, process: &[Field], memory: &mut Memory) -> Result<Vec<Field>> {
        let mut guards = Vec::new();
        let mut mappings = Vec::new();
        for entry in process.iter().filter(|entry| entry.number == field::MAPPING) {
            let Value::Bytes(bytes) = &entry.value else { anyhow::bail!("a mapping is no message") };
            let mapping = Mapping::new(fields(bytes)?);
            if mapping.status & GUARD != 0 {
                guards.push(mapping.at.clone());
            }
            mappings.push(mapping);
        }
        let guarded =
            |at: &Range<u64>| guards.iter().any(|guard| guard.start < at.end && at.start < guard.end);
        let mut pieces = Vec::new();
        for mapping in mappings {
            let pages =
                if mapping.can_move() && !guarded(&mapping.at) { self.within(&mapping.at) } else { None };
            match pages {
                Some(pages) => pieces.extend(self.split(&mapping, &pages, memory)?),
                None => pieces.push(mapping.fields),
            }
        }
        let pieces =
            pieces.iter().map(|piece| Field { number: field::MAPPING, value: Value::Bytes(message(piece)) });
        Ok(process.iter().filter(|entry| entry.number != field::MAPPING).cloned().chain(pieces).collect())
    }

    /// The pieces of a mapping with these dumped pages, some of which are now `memory`'s.
    fn split(
        &mut self,
        mapping: &Mapping,
        pages: &[(u64, usize)],
        memory: &mut Memory,
    ) -> Result<Vec<Vec<Field>>> {
        // A page of a file that holds zeros was written to: without it the file's own would be seen.
        let anonymous = mapping.status & ANON_PRIVATE != 0;
        let content: Vec<(u64, usize)> =
            pages.iter().copied().filter(|(_, page)| !anonymous || !self.zero[*page]).collect();
        for (_, page) in pages.iter().filter(|(_, page)| anonymous && self.zero[*page]) {
            self.pages[*page] = Page::Dropped;
        }
        // What lies between pages of a file is the file's.
        let gap = if anonymous { RUN * self.size } else { 0 };
        let runs = runs(content.iter().map(|(address, _)| *address), self.size, gap);
        let mut pieces = Vec::new();
        let mut at = mapping.at.start;
        let worth = RUN * self.size;
        for run in runs.into_iter().filter(|run| run.end - run.start >= worth) {
            if run.start > at {
                pieces.push(mapping.kept(at..run.start));
            }
            pieces.push(mapping.moved(&run, memory));
            at = run.end;
            self.copy(&content, run, memory)?;
        }
        if at < mapping.at.end {
            pieces.push(mapping.kept(at..mapping.at.end));
        }
        Ok(pieces)
    }

    /// Gives the pages of a run to `memory`, with zeros where none was dumped.
    fn copy(&mut self, content: &[(u64, usize)], run: Range<u64>, memory: &mut Memory) -> Result<()> {
        let mut page = vec![0; self.size as usize];
        let first = content.partition_point(|(address, _)| *address < run.start);
        let mut content = content[first..].iter().peekable();
        for address in run.clone().step_by(self.size as usize) {
            match content.next_if(|(next, _)| *next == address) {
                Some((_, position)) => {
                    self.image.file().read_exact_at(&mut page, *position as u64 * self.size)?;
                    self.pages[*position] = Page::Mapped;
                }
                None => page.fill(0),
            }
            memory.out.write_all(&page)?;
        }
        memory.offset += run.end - run.start;
        Ok(())
    }

    /// Writes the pages that stay, and returns their pagemap.
    fn keep(&self, out: &mut StoreWriter) -> Result<Vec<Vec<u8>>> {
        let mut entries = Vec::new();
        let mut page = vec![0; self.size as usize];
        for (entry, extent) in &self.entries {
            let Some(position) = extent.position else {
                entries.push(message(entry));
                continue;
            };
            let addresses = extent.at.clone().step_by(self.size as usize).enumerate();
            let kept = addresses.filter(|(page, _)| self.pages[position + page] == Page::Kept);
            for run in runs(kept.map(|(_, address)| address), self.size, 0) {
                let pages = (run.end - run.start) / self.size;
                let old = number(entry, field::PAGES).is_none_or(|pages| pages == 0);
                let count = if old { field::PAGES_32 } else { field::PAGES };
                entries.push(message(&with_numbers(entry, &[(field::START, run.start), (count, pages)])));
                let first = position as u64 + (run.start - extent.at.start) / self.size;
                for position in first..first + pages {
                    self.image.file().read_exact_at(&mut page, position * self.size)?;
                    out.write_all(&page)?;
                }
            }
        }
        Ok(entries)
    }
}

/// Which pages of an image hold nothing but zeros.
fn zeros(image: &fs_err::File, bytes: u64, size: u64) -> Result<Vec<bool>> {
    let (mut page, nothing) = (vec![0; size as usize], vec![0; size as usize]);
    let is_zero = |at| {
        image.file().read_exact_at(&mut page, at)?;
        Ok(page == nothing)
    };
    (0..bytes).step_by(size as usize).map(is_zero).collect()
}

/// Addresses of pages as runs, of which those with no more than `gap` bytes between them are one.
fn runs(pages: impl Iterator<Item = u64>, size: u64, gap: u64) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for page in pages {
        match runs.last_mut() {
            Some(last) if page - last.end <= gap => last.end = page + size,
            _ => runs.push(page..page + size),
        }
    }
    runs
}

/// A mapping of the process.
struct Mapping {
    fields: Vec<Field>,
    at: Range<u64>,
    status: u64,
}

impl Mapping {
    fn new(fields: Vec<Field>) -> Mapping {
        let of = |field| number(&fields, field).unwrap_or_default();
        let (at, status) = (of(field::START)..of(field::END), of(field::STATUS));
        Mapping { fields, at, status }
    }

    fn of(&self, field: u64) -> u64 {
        number(&self.fields, field).unwrap_or_default()
    }

    /// Whether it is plain private memory, which is the same as a file's.
    fn can_move(&self) -> bool {
        let kind = self.status & !HEAP;
        (kind == REGULAR | ANON_PRIVATE || kind == REGULAR | FILE_PRIVATE)
            && self.of(field::FLAGS) & MAP_SPECIAL == 0
            && self.of(field::ADVICE) & !ADVICE == 0
    }

    /// A piece that stays what it is.
    fn kept(&self, at: Range<u64>) -> Vec<Field> {
        let mut new = vec![(field::START, at.start), (field::END, at.end)];
        if self.status & FILE_PRIVATE != 0 {
            new.push((field::OFFSET, self.of(field::OFFSET) + (at.start - self.at.start)));
        }
        with_numbers(&self.fields, &new)
    }

    /// A piece that is `memory`'s from now on, whose pages are written next.
    fn moved(&self, at: &Range<u64>, memory: &Memory) -> Vec<Field> {
        let new = [
            (field::START, at.start),
            (field::END, at.end),
            (field::OFFSET, memory.offset),
            (field::FILE, memory.file),
            (field::FLAGS, self.of(field::FLAGS) & !MAP_ANONYMOUS),
            (field::STATUS, REGULAR | FILE_PRIVATE),
        ];
        // As which it is opened: for reading, which is what a private mapping needs.
        let mut fields = with_numbers(&self.fields, &new);
        fields.retain(|field| field.number != field::OPEN_FLAGS);
        fields
    }
}
