//! The memory of a dumped process in the order of its addresses, wherever the dump keeps it: what lies side by side in
//! the process may be half in [`MEMORY`] and half in CRIU's own pages.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result};

use super::images::{self, FILES_MAGIC, FOLDER, Images, MM_MAGIC, PAGEMAP_MAGIC, PageRange};
use super::remap::MEMORY;
use super::{Kind, kinds};
use crate::digest::Digest;
use crate::files::DataFile;
use crate::store::Store;

/// A process of the dump.
#[derive(Debug)]
pub struct Process {
    /// Its dumped memory, sorted and without overlap; pieces that touch follow each other.
    pub pieces: Vec<Piece>,
    /// Addresses of the environment that it was started with.
    pub environment: Range<u64>,
    /// What the mappings are, sorted.
    kinds: Vec<(Range<u64>, Kind)>,
}

/// Dumped memory that lies in one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Addresses.
    pub at: Range<u64>,
    /// The object, and where in it the first byte is.
    pub object: Digest,
    /// In bytes.
    pub offset: u64,
    /// The object's path in the rock.
    pub path: String,
}

impl Process {
    /// What the memory at an address is used for.
    pub fn kind(&self, address: u64) -> Kind {
        let after = self.kinds.partition_point(|(at, _)| at.end <= address);
        self.kinds.get(after).filter(|(at, _)| at.contains(&address)).map_or(Kind::Other, |(_, kind)| *kind)
    }
}

/// The processes of a dump whose files the store has.
///
/// # Errors
/// Where there is no dump of CRIU's, or an image cannot be understood.
pub fn processes(store: &Store, files: &[DataFile]) -> Result<Vec<Process>> {
    // What memory is used for is told by the process as it was dumped, where its bytes are by what CRIU reads.
    let Images { processes, files: paths, page, .. } = Images::read(store, files)?;
    let named: BTreeMap<&str, &DataFile> = images::named(files).collect();
    let read = |name: &str, magic| images::read_image(store, name, named.get(name).copied(), magic);
    // The number under which the file of mapped memory is known.
    let listed = images::number_of(images::messages("files.img", &read("files.img", FILES_MAGIC)?)?, MEMORY)?;
    let memory = listed.and_then(|number| {
        let name = MEMORY.strip_prefix(FOLDER)?;
        Some((number, *named.get(name)?))
    });
    let process = |told: &images::Memory| -> Result<Process> {
        let name = format!("mm-{}.img", told.pid);
        let mm = images::mm(&name, &read(&name, MM_MAGIC)?)?;
        let mut pieces = Vec::new();
        if let Some((number, file)) = memory {
            let object = file.sha256.context("a file without a digest")?;
            for mapping in mm.mappings.iter().filter(|mapping| mapping.file == number) {
                let there = file.size.saturating_sub(mapping.offset);
                let end = mapping.end.min(mapping.start.saturating_add(there));
                let at = mapping.start..end.max(mapping.start);
                pieces.push(Piece { at, object, offset: mapping.offset, path: file.path.clone() });
            }
        }
        pieces.extend(read_pages(&told.pid, &read, &named, page)?);
        pieces.retain(|piece| !piece.at.is_empty());
        pieces.sort_by_key(|piece| piece.at.start);
        let kinds = kinds::kinds(&told.mappings, &paths, &told.stack_pointers);
        let kinds = kinds.iter().map(|mapping| (mapping.start..mapping.end, mapping.kind)).collect();
        Ok(Process { pieces, environment: mm.environment, kinds })
    };
    processes.iter().map(process).collect()
}

/// The pages that CRIU reads.
fn read_pages(
    pid: &str,
    read: &impl Fn(&str, u32) -> Result<Vec<u8>>,
    named: &BTreeMap<&str, &DataFile>,
    page: u64,
) -> Result<Vec<Piece>> {
    let name = format!("pagemap-{pid}.img");
    let bytes = read(&name, PAGEMAP_MAGIC)?;
    let pages = images::pages_of(&name, images::messages(&name, &bytes)?.first().copied())?;
    let file = named.get(pages.as_str()).with_context(|| format!("{FOLDER}{pages} is missing"))?;
    let object = file.sha256.context("a file without a digest")?;
    let (mut pieces, mut offset) = (Vec::new(), 0_u64);
    for PageRange { start, pages: count } in images::page_ranges(&name, &bytes)? {
        let bytes = count.checked_mul(page).filter(|bytes| offset.saturating_add(*bytes) <= file.size);
        let bytes = bytes.with_context(|| format!("{pages} ends before what {name} says is in it"))?;
        let end = start.checked_add(bytes).context("pages beyond the end of memory")?;
        pieces.push(Piece { at: start..end, object, offset, path: file.path.clone() });
        offset += bytes;
    }
    Ok(pieces)
}
