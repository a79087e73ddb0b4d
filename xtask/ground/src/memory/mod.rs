//! How many bytes of memory a dump holds, and of what kind they are.
//!
//! CRIU's `mm-PID.img` lists the mappings of a process, `pagemap-PID.img` the pages that were dumped, `files.img` the
//! files that are mapped, `core-TID.img` each thread's stack pointer. The dump says nothing of what the JVM calls a
//! mapping, so its kind is told from what it looks like ([`kinds`]). These rules were found on dumps of stock
//! JDK 17 and 21 with the serial collector on x86-64; where they do not hold, memory is counted as
//! [`Kind::Other`], and every page is counted once whatever the kind.

mod credentials;
mod deleted;
mod heap;
mod images;
mod kinds;
mod remap;
mod stacks;
#[cfg(test)]
mod tests;
mod whole;
mod windows;

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};

use crate::files::DataFile;
use crate::store::Store;
pub use credentials::unburden;
pub use deleted::{Named, deleted};
pub use images::{CORE_MAGIC, FILES_MAGIC, MM_MAGIC, PAGEMAP_MAGIC, PSTREE_MAGIC, are_there, image};
use images::{Images, PageRange};
pub use remap::{Jvm, MEMORY, Remapped, counts_on_zeros, remap};
pub use whole::{Piece, Process, processes};

/// What memory is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Objects of the application.
    JavaHeap,
    /// What the JIT compilers and the interpreter's generator wrote.
    Code,
    /// Pages of an archive of classes that the JVM has written to: those it has not are not dumped.
    ClassArchive,
    /// Classes that are in no archive: the class space and the rest of the metaspace.
    Metaspace,
    /// Threads' stacks.
    Stacks,
    /// What malloc handed out from its heap and its arenas.
    NativeHeap,
    /// Pages of libraries and other files that the process has written to, and whole files where CRIU dumped them.
    Files,
    /// Anything else: large pieces of malloc's, tables of the collector, the kernel's own pages.
    Other,
}

impl Kind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Kind; 8] = [
        Kind::JavaHeap,
        Kind::Code,
        Kind::ClassArchive,
        Kind::Metaspace,
        Kind::Stacks,
        Kind::NativeHeap,
        Kind::Files,
        Kind::Other,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::JavaHeap => "Java heap",
            Kind::Code => "JIT code",
            Kind::ClassArchive => "class archive",
            Kind::Metaspace => "metaspace",
            Kind::Stacks => "stacks",
            Kind::NativeHeap => "native heap",
            Kind::Files => "libraries and files",
            Kind::Other => "other",
        })
    }
}

/// Memory of one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Region {
    /// What it is used for.
    pub kind: Kind,
    /// The file whose pages they are, of mapped files.
    pub path: Option<String>,
    /// Bytes of pages that were dumped.
    pub bytes: u64,
}

/// The memory of a dump, by kind and file, sorted; what holds no page is left out. The bytes of all are those that
/// CRIU dumped, before some of them were moved to a file or left out ([`remap()`]).
///
/// # Errors
/// Where an image is missing in the store, was changed, or cannot be understood; where there is none, as of a JVM
/// that dumps by its own means.
pub fn regions(store: &Store, files: &[DataFile]) -> Result<Vec<Region>> {
    let images = Images::read(store, files)?;
    let page = images.page;
    let mut found: BTreeMap<(Kind, Option<String>), u64> = BTreeMap::new();
    let mut count = |kind: Kind, path: Option<&String>, bytes: u64| {
        if bytes > 0 {
            *found.entry((kind, path.cloned())).or_default() += bytes;
        }
    };
    for process in &images.processes {
        let mappings = kinds::kinds(&process.mappings, &images.files, &process.stack_pointers);
        for range in &process.pages {
            let (mut at, end) = bytes_of(range, page)?;
            let first = mappings.partition_point(|mapping| mapping.end <= at);
            for mapping in mappings[first..].iter().take_while(|mapping| mapping.start < end) {
                // Between two mappings: what is there belongs to none.
                count(Kind::Other, None, mapping.start.saturating_sub(at));
                let until = mapping.end.min(end);
                count(mapping.kind, mapping.path, until - mapping.start.max(at));
                at = until;
            }
            count(Kind::Other, None, end - at);
        }
    }
    for range in &images.shared {
        let (start, end) = bytes_of(range, page)?;
        count(Kind::Other, None, end - start);
    }
    Ok(found.into_iter().map(|((kind, path), bytes)| Region { kind, path, bytes }).collect())
}

/// Bytes of every kind, those of 0 too.
pub fn by_kind(regions: &[Region]) -> [(Kind, u64); 8] {
    Kind::ALL.map(|kind| (kind, regions.iter().filter(|r| r.kind == kind).map(|r| r.bytes).sum()))
}

/// The first byte of a range, and the one after its last.
fn bytes_of(range: &PageRange, page: u64) -> Result<(u64, u64)> {
    let end = range.pages.checked_mul(page).and_then(|bytes| range.start.checked_add(bytes));
    Ok((range.start, end.context("a range of dumped pages lies beyond the end of memory")?))
}
