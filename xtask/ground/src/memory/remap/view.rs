//! What a process had in memory when it was dumped, as far as it has to do with its JVM.

use std::ops::Range;

use anyhow::Result;

use super::field;
use super::mapping::Mapping;
use super::pages::Dumped;
use crate::memory::heap::Memory;
use crate::wire::{Field, Value, fields, number};

/// Dumped pages, and a library's own where the process has not written to them.
pub(super) struct View<'a> {
    dumped: &'a Dumped,
    library: &'a [u8],
    /// Where the library is mapped, and which byte of it is the first one there.
    mapped: Vec<(Range<u64>, u64)>,
}

impl<'a> View<'a> {
    /// `None` where the process has not mapped the file of that number from its beginning on.
    pub fn new(
        dumped: &'a Dumped,
        process: &[Field],
        file: u64,
        library: &'a [u8],
    ) -> Result<Option<View<'a>>> {
        let mut mapped = Vec::new();
        for entry in process.iter().filter(|entry| entry.number == field::MAPPING) {
            let Value::Bytes(bytes) = &entry.value else { continue };
            let mapping = Mapping::new(fields(bytes)?);
            if mapping.is_private_file() && number(&mapping.fields, field::FILE) == Some(file) {
                let offset = number(&mapping.fields, field::OFFSET).unwrap_or_default();
                mapped.push((mapping.at, offset));
            }
        }
        mapped.sort_by_key(|(at, _)| at.start);
        Ok(mapped.first().is_some_and(|(_, offset)| *offset == 0).then_some(View { dumped, library, mapped }))
    }

    /// Where the library begins.
    pub fn start(&self) -> u64 {
        self.mapped[0].0.start
    }

    /// The part of `bytes` that the library's file has.
    fn of_library(&self, address: u64, bytes: &mut [u8]) -> Option<usize> {
        let (at, offset) = self.mapped.iter().find(|(at, _)| at.contains(&address))?;
        // No further than this page: the next one may have been written to.
        let end = at.end.min((address + 1).next_multiple_of(self.dumped.page()));
        let first = usize::try_from(address - at.start + offset).ok()?;
        let here = usize::try_from(end - address).ok()?.min(bytes.len());
        bytes[..here].copy_from_slice(self.library.get(first..first.checked_add(here)?)?);
        Some(here)
    }
}

impl Memory for View<'_> {
    fn part(&self, address: u64, bytes: &mut [u8]) -> Option<usize> {
        self.dumped.part(address, bytes).or_else(|| self.of_library(address, bytes))
    }
}
