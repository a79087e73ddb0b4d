//! Images of a process that never ran, for tests of what reads dumped memory: a module of the tests of either crate that does.

// Either crate's tests use a part of it.
#![allow(dead_code)]

use crate::files::DataFile;
use crate::memory::{CORE_MAGIC, FILES_MAGIC, MEMORY, MM_MAGIC, PAGEMAP_MAGIC, PSTREE_MAGIC, image};
use crate::store::Store;
use crate::wire::{Field, Value, message};

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// Where the dump keeps a page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Page {
    /// In CRIU's own pages.
    Read,
    /// In the file that is mapped.
    Mapped,
    /// Nowhere.
    Absent,
}

/// The message of these numbers, and of messages or strings.
pub fn message_of(numbers: &[(u64, u64)], others: &[(u64, &[u8])]) -> Vec<u8> {
    let numbers =
        numbers.iter().map(|(number, value)| Field { number: *number, value: Value::Number(*value) });
    let others =
        others.iter().map(|(number, bytes)| Field { number: *number, value: Value::Bytes(bytes.to_vec()) });
    message(&numbers.chain(others).collect::<Vec<_>>())
}

/// An entry of a pagemap: so many pages of this dump.
pub fn dumped(start: u64, pages: u64) -> Vec<u8> {
    message_of(&[(1, start), (2, 0), (4, 4), (5, pages)], &[])
}

/// The entry of a regular file.
pub fn file(number: u64, name: &str) -> Vec<u8> {
    message_of(&[], &[(3, &message_of(&[(1, number)], &[(6, name.as_bytes())]))])
}

/// The files of a dumped process with these pages from `start` on, which hold `planted` at offsets and 0xa5 elsewhere. Its
/// environment is said to be the first planted bytes.
pub fn process(store: &Store, start: u64, pages: &[Page], planted: &[(usize, &[u8])]) -> Vec<DataFile> {
    let mut memory = vec![0xa5; pages.len() * PAGE as usize];
    for (offset, bytes) in planted {
        memory[*offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    let environment = planted.first().map_or(0, |(_, bytes)| bytes.len() as u64);
    let (mut mappings, mut pagemap, mut read, mut mapped) =
        (Vec::new(), vec![vec![8, 1]], Vec::new(), Vec::new());
    for (page, bytes) in pages.iter().zip(memory.chunks(PAGE as usize)).enumerate() {
        let at = start + page as u64 * PAGE;
        let (offset, file, status) = match bytes {
            (Page::Mapped, _) => (mapped.len() as u64, 9, 0x41),
            _ => (0, 0, 0x201),
        };
        let fields = [at, at + PAGE, offset, file, 3, 0x22, status];
        mappings.push(message_of(&(1..).zip(fields).collect::<Vec<_>>(), &[]));
        match bytes {
            (Page::Mapped, bytes) => mapped.extend(bytes),
            (Page::Read, bytes) => {
                read.extend(bytes);
                pagemap.push(dumped(at, 1));
            }
            (Page::Absent, _) => {}
        }
    }
    let mappings: Vec<(u64, &[u8])> = mappings.iter().map(|mapping| (14, mapping.as_slice())).collect();
    let mm = message_of(&[(10, start), (11, start + environment)], &mappings);
    let mut made = vec![
        ("core-7.img", image(CORE_MAGIC, &[Vec::new()])),
        ("files.img", image(FILES_MAGIC, &[file(1, "/usr/bin/java"), file(9, MEMORY)])),
        ("mm-7.img", image(MM_MAGIC, &[mm])),
        ("pagemap-7.img", image(PAGEMAP_MAGIC, &pagemap)),
        ("pages-1.img", read),
        ("pstree.img", image(PSTREE_MAGIC, &[message_of(&[(1, 7), (5, 7)], &[])])),
    ];
    if !mapped.is_empty() {
        // The process as it was dumped had the mapped pages in its own memory.
        let mut all = vec![vec![8, 1]];
        for page in (0..pages.len()).filter(|page| pages[*page] != Page::Absent) {
            all.push(dumped(start + page as u64 * PAGE, 1));
        }
        made.push(("as-dumped-pagemap-7.img", image(PAGEMAP_MAGIC, &all)));
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
