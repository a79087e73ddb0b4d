//! The dumped pages of a process: which are mapped, which are read, which are dropped.

use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use memchr::memmem;

use super::super::{heap, images};
use super::mapping::Mapping;
use super::{Memory, field, pieces};
use crate::store::StoreWriter;
use crate::wire::{Field, Value, fields, message, number, with_numbers};

/// As many pages in a row are worth a mapping of their own, which costs as much as reading a few pages.
const RUN: u64 = 16;
/// As many pages without content may lie between two such runs, as zeros of the file. One less than lie whole within the
/// window of an inflater (`windows.rs`), which most of the longer ones are. Both measured in docs/guide/performance.md.
const GAP: u64 = 6;

/// What becomes of a dumped page.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Page {
    Kept,
    Mapped,
    Dropped,
}

/// The dumped pages of a process.
pub(super) struct Dumped {
    image: fs_err::File,
    /// Bytes of a page.
    size: u64,
    /// As they stand in the pagemap; those that are not in this dump have no place in the image.
    entries: Vec<(Vec<Field>, Extent)>,
    /// Of each page of the image: whether it may as well hold nothing but zeros, how long the piece of malloc's is that begins
    /// with it, and what becomes of it.
    zero: Vec<bool>,
    piece: Vec<u64>,
    pages: Vec<Page>,
}

/// Addresses of a pagemap's entry, and the position of its first page in the image.
#[derive(Debug, Clone, PartialEq)]
struct Extent {
    at: Range<u64>,
    position: Option<usize>,
}

impl Dumped {
    pub fn new(image: fs_err::File, bytes: u64, entries: Vec<Vec<Field>>) -> Result<Dumped> {
        let there = entries.iter().filter(|entry| images::present(entry)).map(|entry| images::pages(entry));
        let size = images::page_size(there.fold(0, u64::saturating_add), bytes)?;
        let mut position = 0_usize;
        let mut sorted = Vec::new();
        for entry in entries {
            let (start, pages) = (number(&entry, field::START).unwrap_or_default(), images::pages(&entry));
            let end = pages.checked_mul(size).and_then(|bytes| start.checked_add(bytes));
            let at = start..end.context("pages beyond the end of memory")?;
            let before = sorted.last().map_or(0, |(_, last): &(_, Extent)| last.at.end);
            ensure!(at.start >= before, "pages at {start:#x} are not in order");
            ensure!(start.is_multiple_of(size), "pages at {start:#x} are none");
            let there = images::present(&entry);
            sorted.push((entry, Extent { at, position: there.then_some(position) }));
            position += if there { usize::try_from(pages)? } else { 0 };
        }
        let (zero, piece) = look(&image, bytes, size)?;
        let pages = vec![Page::Kept; zero.len()];
        Ok(Dumped { image, size, entries: sorted, zero, piece, pages })
    }

    /// Bytes of a page.
    pub fn page(&self) -> u64 {
        self.size
    }

    /// Bytes of zeros that are left out.
    pub fn dropped(&self) -> u64 {
        self.size * self.pages.iter().filter(|page| **page == Page::Dropped).count() as u64
    }

    /// Takes the pages that lie whole in one of these ranges for zeros, whatever they hold; bytes of those that hold more.
    pub fn forget(&mut self, ranges: &[Range<u64>]) -> u64 {
        let mut forgotten = 0;
        for range in ranges {
            let Some(start) = range.start.checked_next_multiple_of(self.size) else { continue };
            for (_, position) in self.within(&(start..range.end - range.end % self.size)).unwrap_or_default()
            {
                forgotten += if self.zero[position] { 0 } else { self.size };
                self.zero[position] = true;
            }
        }
        forgotten
    }

    /// Addresses, of those that `may` be meant, at which the dumped pages hold these bytes. What goes from one page into the next
    /// is not found.
    pub fn find(&self, wanted: &[u8], may: impl Fn(&u64) -> bool) -> Result<Vec<u64>> {
        let finder = memmem::Finder::new(wanted);
        let mut found = Vec::new();
        let mut page = vec![0; self.size as usize];
        for (_, extent) in &self.entries {
            let Some(position) = extent.position else { continue };
            for (number, address) in extent.at.clone().step_by(self.size as usize).enumerate() {
                if !self.zero[position + number] {
                    self.image.file().read_exact_at(&mut page, (position + number) as u64 * self.size)?;
                    found.extend(finder.find_iter(&page).map(|offset| address + offset as u64).filter(&may));
                }
            }
        }
        Ok(found)
    }

    /// The address and position of the dumped pages in a range; `None` where some of them are not in this dump.
    fn within(&self, range: &Range<u64>) -> Option<Vec<(u64, usize)>> {
        let first = self.entries.partition_point(|(_, extent)| extent.at.end <= range.start);
        let mut pages = Vec::new();
        for (_, extent) in self.entries[first..].iter().take_while(|(_, extent)| extent.at.start < range.end)
        {
            let position = extent.position?;
            let first = range.start.saturating_sub(extent.at.start).div_ceil(self.size);
            let addresses =
                extent.at.clone().step_by(self.size as usize).enumerate().skip(usize::try_from(first).ok()?);
            let within = addresses.take_while(|(_, address)| *address < range.end);
            pages.extend(within.map(|(page, address)| (address, position + page)));
        }
        Some(pages)
    }

    /// The process with mappings of `memory`, which is given their pages.
    pub fn remap(&mut self, process: &[Field], memory: &mut Memory) -> Result<Vec<Field>> {
        let mut guards = Vec::new();
        let mut mappings = Vec::new();
        for entry in process.iter().filter(|entry| entry.number == field::MAPPING) {
            let Value::Bytes(bytes) = &entry.value else { anyhow::bail!("a mapping is no message") };
            let mapping = Mapping::new(fields(bytes)?);
            if mapping.is_guard() {
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
        let anonymous = mapping.is_anonymous();
        let content: Vec<(u64, usize)> =
            pages.iter().copied().filter(|(_, page)| !anonymous || !self.zero[*page]).collect();
        for (_, page) in pages.iter().filter(|(_, page)| anonymous && self.zero[*page]) {
            self.pages[*page] = Page::Dropped;
        }
        // What lies between pages of a file is the file's.
        let gap = if anonymous { GAP * self.size } else { 0 };
        let large = content.iter().filter(|(_, page)| self.piece[*page] > 0);
        let large = large.map(|(address, page)| *address..address.saturating_add(self.piece[*page]));
        let runs = runs(content.iter().map(|(address, _)| *address), self.size, gap);
        let runs = pieces::cut(runs, large, self.size);
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
    pub fn keep(&self, out: &mut StoreWriter) -> Result<Vec<Vec<u8>>> {
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

impl heap::Memory for Dumped {
    /// What was dumped with the page of the first byte.
    fn part(&self, address: u64, bytes: &mut [u8]) -> Option<usize> {
        let (_, extent) =
            &self.entries[self.entries.partition_point(|(_, extent)| extent.at.end <= address)..].first()?;
        let within = address.checked_sub(extent.at.start)?;
        let here = usize::try_from(extent.at.end - address).ok()?.min(bytes.len());
        let offset = extent.position? as u64 * self.size + within;
        self.image.file().read_exact_at(&mut bytes[..here], offset).ok()?;
        Some(here)
    }
}

/// Of each page of an image, whether it holds nothing but zeros, and how long the piece of malloc's is that begins with it.
fn look(image: &fs_err::File, bytes: u64, size: u64) -> Result<(Vec<bool>, Vec<u64>)> {
    let (mut page, nothing) = (vec![0; size as usize], vec![0; size as usize]);
    let look = |at| {
        image.file().read_exact_at(&mut page, at)?;
        Ok((page == nothing, pieces::length(&page)))
    };
    (0..bytes).step_by(size as usize).map(look).collect()
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
