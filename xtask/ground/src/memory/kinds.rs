//! What each mapping of a JVM is, told from its protection, flags, file and address. The first rule that fits decides:
//!
//! | kind | rule | not told apart |
//! | --- | --- | --- |
//! | class archive | pages of a `.jsa` file | |
//! | files | pages of any other file | libraries, jars, `modules` |
//! | native heap | the kernel's `[heap]` | |
//! | stacks | a thread's stack pointer is in it, or it grows down | a mapping that the kernel merged with a stack; stacks of threads that are gone |
//! | JIT code | anonymous and executable | the interpreter's code |
//! | metaspace | anonymous, from the end of an archive on without a gap, at most the gibibyte that is reserved for classes | |
//! | metaspace | above 32 GiB, 64 MiB without a gap from a multiple of 4 MiB, each piece either in use or reserved | |
//! | native heap | from a multiple of 64 MiB on, then up to the next one kept without MAP_NORESERVE, as glibc keeps an arena; the JVM reserves with it | an arena's heap that is full |
//! | native heap | in use with MAP_NORESERVE: older glibc's arenas, made usable by mprotect, where the JVM maps anew | |
//! | Java heap | anonymous and below 32 GiB, where compressed pointers reach | a heap without them is `other` |
//! | other | the rest | pieces that malloc maps one by one, card tables, the kernel's vdso |

use std::collections::BTreeMap;

use super::Kind;
use super::images;

const WRITABLE: u32 = 1 << 1;
const EXECUTABLE: u32 = 1 << 2;
/// mmap(2)'s, as Linux has them on x86-64 and arm64.
pub(super) const MAP_GROWSDOWN: u32 = 0x100;
const MAP_NORESERVE: u32 = 0x4000;
/// CRIU's (`VMA_…`, `VMA_AREA_…`).
const HEAP: u32 = 1 << 5;
const FILE: u32 = 1 << 6 | 1 << 7;
const PRIVATE: u32 = 1 << 9;
const KERNELS: u32 = 1 << 2 | 1 << 3 | 1 << 12;
/// Not a mapping but a part of one that may not be touched.
const GUARD: u32 = 1 << 16;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// As far as compressed pointers reach.
const COMPRESSED: u64 = 32 * GIB;
/// What is reserved for classes by default, and what that begins at a multiple of.
const CLASS_SPACE: (u64, u64) = (GIB, 16 * MIB);
/// What the JVM reserves for the rest of the metaspace at a time, and what that begins at a multiple of.
const METASPACE: (u64, u64) = (64 * MIB, 4 * MIB);
/// What glibc reserves for a heap of an arena, at a multiple of the same.
const ARENA: u64 = 64 * MIB;

/// A mapping and its kind.
pub(super) struct Mapping<'a> {
    pub start: u64,
    pub end: u64,
    pub kind: Kind,
    pub path: Option<&'a String>,
}

/// The mappings, sorted and without overlap, each with its kind.
pub(super) fn kinds<'a>(
    mappings: &[images::Mapping],
    files: &'a BTreeMap<u64, String>,
    stack_pointers: &[u64],
) -> Vec<Mapping<'a>> {
    let mut sorted: Vec<images::Mapping> =
        mappings.iter().filter(|mapping| mapping.status & GUARD == 0).cloned().collect();
    sorted.sort_by_key(|mapping| mapping.start);
    // Linux knows no overlap; an image that has one must not have its pages counted twice.
    let mut end = 0;
    for mapping in &mut sorted {
        mapping.start = mapping.start.max(end);
        end = end.max(mapping.end);
    }
    sorted.retain(|mapping| mapping.start < mapping.end);

    let mut stack_pointers = stack_pointers.to_vec();
    stack_pointers.sort_unstable();
    let view = View { mappings: &sorted, files, stack_pointers };
    let metaspace = view.metaspace();
    let described = sorted.iter().enumerate().zip(metaspace).map(|((position, mapping), metaspace)| {
        let path = view.path(mapping);
        let kind = view.kind(position, metaspace);
        Mapping { start: mapping.start, end: mapping.end, kind, path }
    });
    described.collect()
}

struct View<'a, 'b> {
    mappings: &'b [images::Mapping],
    files: &'a BTreeMap<u64, String>,
    stack_pointers: Vec<u64>,
}

impl<'a> View<'a, '_> {
    fn kind(&self, position: usize, metaspace: bool) -> Kind {
        let mapping = &self.mappings[position];
        let is = |bits: u32| mapping.status & bits != 0;
        if is(FILE) {
            return if self.is_archive(mapping) { Kind::ClassArchive } else { Kind::Files };
        }
        if is(HEAP) {
            return Kind::NativeHeap;
        }
        if !self.is_anonymous(mapping) {
            return Kind::Other;
        }
        let without_swap = mapping.protection & WRITABLE != 0 && mapping.flags & MAP_NORESERVE != 0;
        if self.is_stack(mapping) {
            Kind::Stacks
        } else if mapping.protection & EXECUTABLE != 0 {
            Kind::Code
        } else if metaspace {
            Kind::Metaspace
        } else if without_swap || self.is_arena(position) {
            Kind::NativeHeap
        } else if mapping.end <= COMPRESSED {
            Kind::JavaHeap
        } else {
            Kind::Other
        }
    }

    fn path(&self, mapping: &images::Mapping) -> Option<&'a String> {
        (mapping.status & FILE != 0).then(|| self.files.get(&mapping.file)).flatten()
    }

    fn is_archive(&self, mapping: &images::Mapping) -> bool {
        self.path(mapping).is_some_and(|path| path.ends_with(".jsa"))
    }

    /// Of the process's own, and of no file's.
    fn is_anonymous(&self, mapping: &images::Mapping) -> bool {
        mapping.status & PRIVATE != 0 && mapping.status & (FILE | HEAP | KERNELS) == 0
    }

    fn is_stack(&self, mapping: &images::Mapping) -> bool {
        let after = self.stack_pointers.partition_point(|pointer| *pointer < mapping.start);
        let pointed_to = self.stack_pointers.get(after).is_some_and(|pointer| *pointer < mapping.end);
        pointed_to || mapping.flags & MAP_GROWSDOWN != 0
    }

    /// Data of the JVM's own: neither a stack nor code.
    fn is_data(&self, mapping: &images::Mapping) -> bool {
        self.is_anonymous(mapping) && mapping.protection & EXECUTABLE == 0 && !self.is_stack(mapping)
    }

    /// Whether glibc has a heap of an arena here, whose used part comes first.
    fn is_arena(&self, position: usize) -> bool {
        let Some([used, kept, ..]) = self.mappings.get(position..) else { return false };
        used.start.is_multiple_of(ARENA)
            && used.protection & WRITABLE != 0
            && kept.start == used.end
            && kept.end.saturating_sub(used.start) >= ARENA
            && self.is_data(kept)
            && kept.protection == 0
            && kept.flags & MAP_NORESERVE == 0
    }

    /// For each mapping, whether it is of the metaspace.
    fn metaspace(&self) -> Vec<bool> {
        let mut metaspace = vec![false; self.mappings.len()];
        let (size, multiple) = CLASS_SPACE;
        // The end of what has followed an archive so far, and how far that may go.
        let (mut end, mut limit) = (0, 0);
        for (position, mapping) in self.mappings.iter().enumerate() {
            if self.is_archive(mapping) {
                end = mapping.end;
                limit = end.checked_next_multiple_of(multiple).unwrap_or(end).saturating_add(size);
            } else if mapping.start == end && self.is_data(mapping) && mapping.start < limit {
                (metaspace[position], end) = (true, mapping.end);
            }
        }
        let mut position = 0;
        while position < self.mappings.len() {
            let length = self.metaspace_from(position);
            metaspace[position..position + length].fill(true);
            position += length.max(1);
        }
        metaspace
    }

    /// How many mappings from this one on are one reservation of the metaspace; 0 if it begins none.
    fn metaspace_from(&self, first: usize) -> usize {
        let (size, multiple) = METASPACE;
        let start = self.mappings[first].start;
        if !start.is_multiple_of(multiple)
            || start < COMPRESSED
            || self.mappings[first].protection & WRITABLE == 0
        {
            return 0;
        }
        let mut end = start;
        for (length, mapping) in self.mappings[first..].iter().enumerate() {
            if end - start >= size {
                return length;
            }
            let (in_use, reserved) = (mapping.protection & WRITABLE != 0, mapping.flags & MAP_NORESERVE != 0);
            if mapping.start != end || !self.is_data(mapping) || in_use == reserved {
                return 0;
            }
            end = mapping.end;
        }
        if end - start >= size { self.mappings.len() - first } else { 0 }
    }
}
