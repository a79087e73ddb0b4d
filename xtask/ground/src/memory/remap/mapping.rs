//! Mappings as `mm-PID.img` lists them, and what may become of one.

use std::ops::Range;

use super::{Memory, field};
use crate::wire::{Field, number, with_numbers};

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

/// A mapping of the process.
pub(super) struct Mapping {
    pub fields: Vec<Field>,
    pub at: Range<u64>,
    pub status: u64,
}

impl Mapping {
    pub fn new(fields: Vec<Field>) -> Mapping {
        let of = |field| number(&fields, field).unwrap_or_default();
        let (at, status) = (of(field::START)..of(field::END), of(field::STATUS));
        Mapping { fields, at, status }
    }

    /// Whether it is memory of no file.
    pub fn is_anonymous(&self) -> bool {
        self.status & ANON_PRIVATE != 0
    }

    /// Whether it is memory of a file that others do not see change.
    pub fn is_private_file(&self) -> bool {
        self.status & FILE_PRIVATE != 0
    }

    /// Whether it is a part of another, which may not be touched.
    pub fn is_guard(&self) -> bool {
        self.status & GUARD != 0
    }

    fn of(&self, field: u64) -> u64 {
        number(&self.fields, field).unwrap_or_default()
    }

    /// Whether it is plain private memory, which is the same as a file's.
    pub fn can_move(&self) -> bool {
        let kind = self.status & !HEAP;
        (kind == REGULAR | ANON_PRIVATE || kind == REGULAR | FILE_PRIVATE)
            && self.of(field::FLAGS) & MAP_SPECIAL == 0
            && self.of(field::ADVICE) & !ADVICE == 0
    }

    /// A piece that stays what it is.
    pub fn kept(&self, at: Range<u64>) -> Vec<Field> {
        let mut new = vec![(field::START, at.start), (field::END, at.end)];
        if self.is_private_file() {
            new.push((field::OFFSET, self.of(field::OFFSET) + (at.start - self.at.start)));
        }
        with_numbers(&self.fields, &new)
    }

    /// A piece that is `memory`'s from now on, whose pages are written next.
    pub fn moved(&self, at: &Range<u64>, memory: &Memory) -> Vec<Field> {
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
