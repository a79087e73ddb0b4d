//! CRIU's images, as far as they tell of memory.
//!
//! An image is two magic numbers and then messages of Protocol Buffers, each behind its length (CRIU's wiki, "Images",
//! and the `.proto` files of its `images/`). The messages here have the few fields that are needed, with CRIU's
//! numbers. Nothing is allocated by a length that an image states: messages are pieces of what was read, and no more
//! than [`LIMIT`] is read of an image.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use prost::Message;

use crate::lock::{DataFile, Lock};
use crate::store::Store;

/// Where the images are in the rock.
pub(super) const FOLDER: &str = "/checkpoint-data/";
/// What begins the name of an image that CRIU does not read: the process as it was dumped, before
/// [`super::remap()`] changed what its memory is.
pub(super) const AS_DUMPED: &str = "as-dumped-";
/// The largest of a dump of 140 MB has 14 KiB.
const LIMIT: u64 = 64 << 20;

/// What begins every image.
const COMMON_MAGIC: u32 = 0x5456_4319;
pub(super) const MM_MAGIC: u32 = 0x5749_2820;
pub(super) const PAGEMAP_MAGIC: u32 = 0x5608_4025;
pub(super) const FILES_MAGIC: u32 = 0x5630_3138;
pub(super) const CORE_MAGIC: u32 = 0x5505_3847;
pub(super) const PSTREE_MAGIC: u32 = 0x5027_3030;

/// These pages are in the dump (`PE_PRESENT`), and not in an earlier one (`PE_PARENT`).
pub(super) const PRESENT: u32 = 1 << 2;

/// `mm_entry`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Mm {
    #[prost(uint64, tag = "10")]
    pub env_start: u64,
    #[prost(uint64, tag = "11")]
    pub env_end: u64,
    #[prost(message, repeated, tag = "14")]
    pub mappings: Vec<Mapping>,
}

/// `vma_entry`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Mapping {
    #[prost(uint64, tag = "1")]
    pub start: u64,
    #[prost(uint64, tag = "2")]
    pub end: u64,
    /// Of a mapped file, where in it the mapping begins, and its number in `files.img`.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    #[prost(uint64, tag = "4")]
    pub file: u64,
    #[prost(uint32, tag = "5")]
    pub protection: u32,
    #[prost(uint32, tag = "6")]
    pub flags: u32,
    #[prost(uint32, tag = "7")]
    pub status: u32,
}

/// `pagemap_head`: the number in the name of `pages-N.img`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PagemapHead {
    #[prost(uint32, tag = "1")]
    pub pages: u32,
}

/// `pagemap_entry`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Pagemap {
    #[prost(uint64, tag = "1")]
    pub start: u64,
    /// What older versions of CRIU wrote; 0 where the field of 64 bits stands.
    #[prost(uint32, tag = "2")]
    pub pages_32: u32,
    #[prost(bool, tag = "3")]
    pub in_parent: bool,
    /// Optional to CRIU, whose older versions had `in_parent` alone.
    #[prost(uint32, optional, tag = "4")]
    pub flags: Option<u32>,
    #[prost(uint64, tag = "5")]
    pub pages: u64,
}

/// `file_entry`, of a regular file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct File {
    #[prost(message, optional, tag = "3")]
    pub regular: Option<RegularFile>,
}

/// `reg_file_entry`. Its name is bytes: Linux wants no UTF-8.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RegularFile {
    #[prost(uint32, tag = "1")]
    pub number: u32,
    #[prost(bytes = "vec", tag = "6")]
    pub name: Vec<u8>,
}

/// `pstree_entry`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Process {
    #[prost(uint32, tag = "1")]
    pub pid: u32,
    #[prost(uint32, repeated, packed = "false", tag = "5")]
    pub threads: Vec<u32>,
}

/// `core_entry`, whose registers stand under another number for each architecture.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Core {
    #[prost(message, optional, tag = "2")]
    pub x86: Option<ThreadX86>,
    #[prost(message, optional, tag = "8")]
    pub aarch64: Option<ThreadAarch64>,
}

/// `thread_info_x86`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ThreadX86 {
    #[prost(message, optional, tag = "2")]
    pub registers: Option<RegistersX86>,
}

/// `user_x86_regs_entry`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RegistersX86 {
    #[prost(uint64, tag = "20")]
    pub sp: u64,
}

/// `thread_info_aarch64`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ThreadAarch64 {
    #[prost(message, optional, tag = "3")]
    pub registers: Option<RegistersAarch64>,
}

/// `user_aarch64_regs_entry`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RegistersAarch64 {
    #[prost(uint64, tag = "2")]
    pub sp: u64,
}

impl Core {
    fn stack_pointer(&self) -> Option<u64> {
        let x86 = || Some(self.x86.as_ref()?.registers.as_ref()?.sp);
        x86().or_else(|| Some(self.aarch64.as_ref()?.registers.as_ref()?.sp))
    }
}

/// Pages that were dumped, from this address on.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageRange {
    pub start: u64,
    pub pages: u64,
}

/// The memory of a process.
pub(super) struct Memory {
    pub mappings: Vec<Mapping>,
    pub pages: Vec<PageRange>,
    pub stack_pointers: Vec<u64>,
}

/// What the images of a dump say.
pub(super) struct Images {
    pub processes: Vec<Memory>,
    /// Of memory that several processes may share, which has a pagemap of its own.
    pub shared: Vec<PageRange>,
    /// Paths of mapped files by their numbers.
    pub files: BTreeMap<u64, String>,
    /// Bytes of a page.
    pub page: u64,
}

/// Whether the store has every image that [`super::regions`] reads.
pub fn are_there(store: &Store, lock: &Lock) -> bool {
    let wanted = ["mm-", "pagemap-", "core-", "files.img", "pstree.img"];
    named(&lock.data.files)
        .filter(|(name, _)| wanted.iter().any(|prefix| name.starts_with(prefix)))
        .all(|(_, file)| file.sha256.is_some_and(|digest| store.has(&digest, file.size)))
}

/// The dump's images by name.
pub(super) fn named(files: &[DataFile]) -> impl Iterator<Item = (&str, &DataFile)> {
    let image = |file: &'_ DataFile| file.sha256.is_some() && file.path.ends_with(".img");
    files.iter().filter(move |file| image(file)).filter_map(|file| {
        let name = file.path.strip_prefix(FOLDER)?;
        (!name.contains('/')).then_some((name, file))
    })
}

impl Images {
    pub(super) fn read(store: &Store, files: &[DataFile]) -> Result<Images> {
        let images: BTreeMap<&str, &DataFile> = named(files).collect();
        let of = |prefix: &str| {
            let names = images.keys().filter_map(|name| name.strip_prefix(prefix)?.strip_suffix(".img"));
            names.map(str::to_owned).collect::<Vec<_>>()
        };
        let read = |name: &str, magic| read_image(store, name, images.get(name).copied(), magic);

        let pids = of("mm-");
        ensure!(
            !pids.is_empty(),
            "the checkpoint data has no {FOLDER}mm-PID.img: it is no dump of CRIU's, whose images alone are read"
        );
        let mut listed = BTreeMap::new();
        for file in decode::<File>("files.img", &read("files.img", FILES_MAGIC)?)? {
            if let Some(RegularFile { number, name }) = file.regular {
                listed.insert(number.into(), String::from_utf8_lossy(&name).into_owned());
            }
        }
        let tree = decode::<Process>("pstree.img", &read("pstree.img", PSTREE_MAGIC)?)?;
        // Of the pages that CRIU reads.
        let mut there = 0_u64;
        let mut count = |ranges: &[PageRange]| {
            there = ranges.iter().fold(there, |sum, range| sum.saturating_add(range.pages));
        };
        let mut process = |pid: &String| -> Result<Memory> {
            let as_dumped = |name: String| {
                let before = format!("{AS_DUMPED}{name}");
                if images.contains_key(before.as_str()) { before } else { name }
            };
            let name = as_dumped(format!("mm-{pid}.img"));
            let mm: Mm = first(&name, &read(&name, MM_MAGIC)?)?;
            let pages = format!("pagemap-{pid}.img");
            count(&page_ranges(&pages, &read(&pages, PAGEMAP_MAGIC)?)?);
            let pages = as_dumped(pages);
            let pages = page_ranges(&pages, &read(&pages, PAGEMAP_MAGIC)?)?;
            let threads = tree.iter().filter(|process| process.pid.to_string() == *pid);
            let mut stack_pointers = Vec::new();
            for thread in threads.flat_map(|process| &process.threads) {
                let name = format!("core-{thread}.img");
                let core = decode::<Core>(&name, &read(&name, CORE_MAGIC)?)?;
                stack_pointers.extend(core.iter().filter_map(Core::stack_pointer));
            }
            Ok(Memory { mappings: mm.mappings, pages, stack_pointers })
        };
        let processes = pids.iter().map(&mut process).collect::<Result<Vec<_>>>()?;
        let mut shared = Vec::new();
        for number in of("pagemap-shmem-") {
            let name = format!("pagemap-shmem-{number}.img");
            let ranges = page_ranges(&name, &read(&name, PAGEMAP_MAGIC)?)?;
            count(&ranges);
            shared.extend(ranges);
        }
        let sizes = images.iter().filter(|(name, _)| name.starts_with("pages-")).map(|(_, file)| file.size);
        let page = page_size(there, sizes.fold(0_u64, u64::saturating_add))?;
        Ok(Images { processes, shared, files: listed, page })
    }
}

/// An image without its magic numbers, hashed while it is read.
pub(super) fn read_image(store: &Store, name: &str, file: Option<&DataFile>, magic: u32) -> Result<Vec<u8>> {
    let file = file.with_context(|| format!("the checkpoint data has no {FOLDER}{name}"))?;
    ensure!(file.size <= LIMIT, "{name} has {} bytes; more than {LIMIT} are not read", file.size);
    let digest = file.sha256.with_context(|| format!("{name} is no file"))?;
    let mut bytes = Vec::new();
    store.copy_object(&digest, file.size, &mut bytes)?;
    let head = [COMMON_MAGIC.to_le_bytes(), magic.to_le_bytes()].concat();
    match bytes.strip_prefix(head.as_slice()) {
        Some(rest) => Ok(rest.to_vec()),
        None => bail!("{name} does not begin as CRIU's images do"),
    }
}

/// The number of a regular file, of the messages of `files.img`.
pub(super) fn number_of<'a>(listed: impl IntoIterator<Item = &'a [u8]>, path: &str) -> Result<Option<u64>> {
    for file in listed {
        let file = File::decode(file).context("files.img cannot be read")?;
        if let Some(file) = file.regular.filter(|file| file.name == path.as_bytes()) {
            return Ok(Some(file.number.into()));
        }
    }
    Ok(None)
}

/// The messages of an image.
pub(super) fn messages<'a>(name: &str, mut bytes: &'a [u8]) -> Result<Vec<&'a [u8]>> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let taken = bytes.split_first_chunk::<4>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
        });
        let (message, rest) = taken.with_context(|| format!("{name} is cut off"))?;
        messages.push(message);
        bytes = rest;
    }
    Ok(messages)
}

fn decode<M: Message + Default>(name: &str, bytes: &[u8]) -> Result<Vec<M>> {
    let decode = |message: &&[u8]| M::decode(*message).with_context(|| format!("{name} cannot be read"));
    messages(name, bytes)?.iter().map(decode).collect()
}

/// The first message of an image.
pub(super) fn first<M: Message + Default>(name: &str, bytes: &[u8]) -> Result<M> {
    let first = *messages(name, bytes)?.first().with_context(|| format!("{name} is empty"))?;
    M::decode(first).with_context(|| format!("{name} cannot be read"))
}

/// The pages of a pagemap that are in this dump, in the order in which their bytes are.
pub(super) fn page_ranges(name: &str, bytes: &[u8]) -> Result<Vec<PageRange>> {
    // The first message names the pages-N.img.
    let entries = messages(name, bytes)?.into_iter().skip(1);
    let mut ranges = Vec::new();
    for entry in entries {
        let entry = Pagemap::decode(entry).with_context(|| format!("{name} cannot be read"))?;
        let present = entry.flags.map_or(!entry.in_parent, |flags| flags & PRESENT != 0);
        let pages = if entry.pages > 0 { entry.pages } else { entry.pages_32.into() };
        if present {
            ranges.push(PageRange { start: entry.start, pages });
        }
    }
    Ok(ranges)
}

/// A page of the dumping machine, which no image states: bytes over pages. This also holds the images together, as
/// every page that is counted is one that was dumped.
pub(super) fn page_size(pages: u64, bytes: u64) -> Result<u64> {
    let page = bytes.checked_div(pages).unwrap_or(4096);
    ensure!(
        page.checked_mul(pages) == Some(bytes) && [4096, 16384, 65536].contains(&page),
        "the dump's pagemaps name {pages} pages, but its pages-*.img hold {bytes} bytes"
    );
    Ok(page)
}

/// An image that holds these messages.
pub(super) fn image(magic: u32, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = [COMMON_MAGIC.to_le_bytes(), magic.to_le_bytes()].concat();
    for message in messages {
        // As large as an image that was read, which LIMIT bounds.
        bytes.extend((message.len() as u32).to_le_bytes());
        bytes.extend(message);
    }
    bytes
}

#[cfg(test)]
pub(super) const MAGICS: [(&str, u32); 5] = [
    ("mm-", MM_MAGIC),
    ("pagemap-", PAGEMAP_MAGIC),
    ("files", FILES_MAGIC),
    ("core-", CORE_MAGIC),
    ("pstree", PSTREE_MAGIC),
];
