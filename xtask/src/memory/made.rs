//! Images of a process that never ran, for tests of what reads dumped memory.

use prost::Message;

use super::images::{
    self, CORE_MAGIC, FILES_MAGIC, File, MM_MAGIC, PAGEMAP_MAGIC, PSTREE_MAGIC, Pagemap, Process, RegularFile,
};
use super::remap::MEMORY;
use super::wire::{Field, Value, message};
use crate::lock::DataFile;
use crate::store::Store;

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;

/// Where the dump keeps a page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Page {
    /// In CRIU's own pages.
    Read,
    /// In the file that is mapped.
    Mapped,
    /// Nowhere.
    Absent,
}

/// The files of a dumped process with these pages from `start` on, which hold `planted` at offsets and 0xa5 elsewhere. Its
/// environment is said to be the first planted bytes.
pub(crate) fn process(
    store: &Store,
    start: u64,
    pages: &[Page],
    planted: &[(usize, &[u8])],
) -> Vec<DataFile> {
    let mut memory = vec![0xa5; pages.len() * PAGE as usize];
    for (offset, bytes) in planted {
        memory[*offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    let number = |number, value| Field { number, value: Value::Number(value) };
    let environment = planted.first().map_or(0, |(_, bytes)| bytes.len() as u64);
    let mut mm = vec![number(10, start), number(11, start + environment)];
    let (mut pagemap, mut read, mut mapped) = (vec![vec![8, 1]], Vec::new(), Vec::new());
    for (page, bytes) in pages.iter().zip(memory.chunks(PAGE as usize)).enumerate() {
        let at = start + page as u64 * PAGE;
        let (offset, file, status) = match bytes {
            (Page::Mapped, _) => (mapped.len() as u64, 9, 0x41),
            _ => (0, 0, 0x201),
        };
        let fields = [at, at + PAGE, offset, file, 3, 0x22, status];
        let fields: Vec<Field> = (1..).zip(fields).map(|(name, value)| number(name, value)).collect();
        mm.push(Field { number: 14, value: Value::Bytes(message(&fields)) });
        match bytes {
            (Page::Mapped, bytes) => mapped.extend(bytes),
            (Page::Read, bytes) => {
                read.extend(bytes);
                let entry = Pagemap { start: at, pages_32: 0, in_parent: false, flags: Some(4), pages: 1 };
                pagemap.push(entry.encode_to_vec());
            }
            (Page::Absent, _) => {}
        }
    }
    let file = |number, name: &str| {
        File { regular: Some(RegularFile { number, name: name.into() }) }.encode_to_vec()
    };
    let mut made = vec![
        ("core-7.img", images::image(CORE_MAGIC, &[Vec::new()])),
        ("files.img", images::image(FILES_MAGIC, &[file(1, "/usr/bin/java"), file(9, MEMORY)])),
        ("mm-7.img", images::image(MM_MAGIC, &[message(&mm)])),
        ("pagemap-7.img", images::image(PAGEMAP_MAGIC, &pagemap)),
        ("pages-1.img", read),
        ("pstree.img", images::image(PSTREE_MAGIC, &[Process { pid: 7, threads: vec![7] }.encode_to_vec()])),
    ];
    if !mapped.is_empty() {
        // The process as it was dumped had the mapped pages in its own memory.
        let mut all = vec![vec![8, 1]];
        for page in (0..pages.len()).filter(|page| pages[*page] != Page::Absent) {
            let start = start + page as u64 * PAGE;
            all.push(
                Pagemap { start, pages_32: 0, in_parent: false, flags: Some(4), pages: 1 }.encode_to_vec(),
            );
        }
        made.push(("as-dumped-pagemap-7.img", images::image(PAGEMAP_MAGIC, &all)));
        made.push(("memory.img", mapped));
    }
    let stored = |(name, bytes): (&str, Vec<u8>)| {
        let (digest, size) = store.add_bytes(&bytes).expect("a store that can be written to");
        let (mode, owner) = ("0644".into(), "1:1".into());
        DataFile {
            path: format!("/checkpoint-data/{name}"),
            mode,
            owner,
            size,
            sha256: Some(digest),
            link: None,
        }
    };
    made.into_iter().map(stored).collect()
}
