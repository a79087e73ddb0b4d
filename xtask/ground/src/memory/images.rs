//! CRIU's images, as far as they tell of memory.
//!
//! An image is two magic numbers and then messages of Protocol Buffers, each behind its length (CRIU's wiki, "Images",
//! and the `.proto` files of its `images/`). The messages here have the few fields that are needed, with CRIU's
//! numbers. Nothing is allocated by a length that an image states: messages are pieces of what was read, and no more
//! than [`LIMIT`] is read of an image.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};

use crate::files::DataFile;
use crate::store::Store;
use crate::wire::{Field, Value, all, fields, number, number_at, numbers};

/// Where the images are in the rock.
pub(super) const FOLDER: &str = "/checkpoint-data/";
/// What begins the name of an image that CRIU does not read: the process as it was dumped, before
/// [`super::remap()`] changed what its memory is.
pub(super) const AS_DUMPED: &str = "as-dumped-";
/// The largest of a dump of 140 MB has 14 KiB.
pub(super) const LIMIT: u64 = 64 << 20;

/// What begins every image.
const COMMON_MAGIC: u32 = 0x5456_4319;
/// What a process's mappings begin with.
pub const MM_MAGIC: u32 = 0x5749_2820;
/// What a list of dumped pages begins with.
pub const PAGEMAP_MAGIC: u32 = 0x5608_4025;
/// What the list of open and mapped files begins with.
pub const FILES_MAGIC: u32 = 0x5630_3138;
/// What a thread's registers begin with.
pub const CORE_MAGIC: u32 = 0x5505_3847;
/// What the list of processes begins with.
pub const PSTREE_MAGIC: u32 = 0x5027_3030;
pub(super) const REMAP_MAGIC: u32 = 0x5913_3954;
pub(super) const GHOST_MAGIC: u32 = 0x5258_3605;

/// These pages are in the dump (`PE_PRESENT`), and not in an earlier one (`PE_PARENT`).
const PRESENT: u64 = 1 << 2;

/// `mm_entry`.
pub(super) struct Mm {
    /// Addresses of the environment that the process was started with.
    pub environment: Range<u64>,
    pub mappings: Vec<Mapping>,
}

/// `vma_entry`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Mapping {
    pub start: u64,
    pub end: u64,
    /// Of a mapped file, where in it the mapping begins, and its number in `files.img`.
    pub offset: u64,
    pub file: u64,
    pub protection: u32,
    pub flags: u32,
    pub status: u32,
}

impl Mm {
    fn of(message: &[u8]) -> Result<Mm> {
        let message = fields(message)?;
        let [start, end] = numbers(&message, [10, 11]);
        let mappings = all(&message, 14).map(Mapping::of).collect::<Result<Vec<_>>>()?;
        Ok(Mm { environment: start..end, mappings })
    }
}

impl Mapping {
    fn of(message: &[u8]) -> Result<Mapping> {
        let [start, end, offset, file, protection, flags, status] =
            numbers(&fields(message)?, [1, 2, 3, 4, 5, 6, 7]);
        // Of these three the .proto file says 32 bits.
        let [protection, flags, status] = [protection, flags, status].map(|number| number as u32);
        Ok(Mapping { start, end, offset, file, protection, flags, status })
    }
}

/// `core_entry`, whose registers stand under another number for each architecture: `thread_info_x86` and its
/// `user_x86_regs_entry`, `thread_info_aarch64` and its `user_aarch64_regs_entry`.
fn stack_pointer(core: &[u8]) -> Result<Option<u64>> {
    Ok(number_at(core, &[2, 2, 20])?.or(number_at(core, &[8, 3, 2])?))
}

/// `file_entry` with a `reg_file_entry`: its number, and its name, which is bytes, since Linux wants no UTF-8.
fn regular_file(message: &[u8]) -> Result<Option<(u64, Vec<u8>)>> {
    let message = fields(message)?;
    let Some(file) = all(&message, 3).next() else { return Ok(None) };
    let file = fields(file)?;
    let name = all(&file, 6).next().unwrap_or_default();
    Ok(Some((numbers(&file, [1])[0], name.to_vec())))
}

/// Pages that were dumped, from this address on.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageRange {
    pub start: u64,
    pub pages: u64,
}

/// The memory of a process.
pub(super) struct Memory {
    /// As the names of its images have it.
    pub pid: String,
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
pub fn are_there(store: &Store, files: &[DataFile]) -> bool {
    let wanted = ["mm-", "pagemap-", "core-", "files.img", "pstree.img"];
    named(files)
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
        for (number, name) in
            decode("files.img", &read("files.img", FILES_MAGIC)?, regular_file)?.into_iter().flatten()
        {
            listed.insert(number, String::from_utf8_lossy(&name).into_owned());
        }
        let tree = decode("pstree.img", &read("pstree.img", PSTREE_MAGIC)?, fields)?;
        // Of the pages that CRIU reads.
        let mut there = 0_u64;
        let mut count = |ranges: &[PageRange]| {
            there = ranges.iter().fold(there, |sum, range| sum.saturating_add(range.pages));
        };
        let mut process = |pid: String| -> Result<Memory> {
            let as_dumped = |name: String| {
                let before = format!("{AS_DUMPED}{name}");
                if images.contains_key(before.as_str()) { before } else { name }
            };
            let name = as_dumped(format!("mm-{pid}.img"));
            let mm = mm(&name, &read(&name, MM_MAGIC)?)?;
            let pages = format!("pagemap-{pid}.img");
            count(&page_ranges(&pages, &read(&pages, PAGEMAP_MAGIC)?)?);
            let pages = as_dumped(pages);
            let pages = page_ranges(&pages, &read(&pages, PAGEMAP_MAGIC)?)?;
            // `pstree_entry`: a process and its threads.
            let this = |process: &&Vec<Field>| numbers(process, [1])[0].to_string() == pid;
            let threads = tree.iter().filter(this).flatten().filter(|field| field.number == 5);
            let mut stack_pointers = Vec::new();
            for thread in threads {
                let Value::Number(thread) = thread.value else {
                    bail!("pstree.img has a thread without a number")
                };
                let name = format!("core-{thread}.img");
                let found = decode(&name, &read(&name, CORE_MAGIC)?, stack_pointer)?;
                stack_pointers.extend(found.into_iter().flatten());
            }
            Ok(Memory { pid, mappings: mm.mappings, pages, stack_pointers })
        };
        let processes = pids.into_iter().map(&mut process).collect::<Result<Vec<_>>>()?;
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

/// The dump's images by name, to be read while the list of files changes.
pub(super) fn owned(files: &[DataFile]) -> BTreeMap<String, DataFile> {
    named(files).map(|(name, file)| (name.to_owned(), file.clone())).collect()
}

/// The messages of the image of this name.
pub(super) fn read_messages(
    store: &Store,
    images: &BTreeMap<String, DataFile>,
    name: &str,
    magic: u32,
) -> Result<Vec<Vec<u8>>> {
    let bytes = read_image(store, name, images.get(name), magic)?;
    Ok(messages(name, &bytes)?.into_iter().map(<[u8]>::to_vec).collect())
}

/// Has the image of this name hold other bytes.
pub(super) fn replace(store: &Store, files: &mut [DataFile], name: &str, bytes: &[u8]) -> Result<()> {
    let (digest, size) = store.add_bytes(bytes)?;
    let path = format!("{FOLDER}{name}");
    let file = files.iter_mut().find(|file| file.path == path).context("an image of the dump")?;
    (file.sha256, file.size) = (Some(digest), size);
    Ok(())
}

/// The number of a regular file, of the messages of `files.img`.
pub(super) fn number_of<'a>(listed: impl IntoIterator<Item = &'a [u8]>, path: &str) -> Result<Option<u64>> {
    for file in listed {
        let file = regular_file(file).context("files.img cannot be read")?;
        if let Some((number, _)) = file.filter(|(_, name)| name == path.as_bytes()) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// The messages of an image.
pub(super) fn messages<'a>(name: &str, mut bytes: &'a [u8]) -> Result<Vec<&'a [u8]>> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let (message, rest) = first_message(name, bytes)?;
        messages.push(message);
        bytes = rest;
    }
    Ok(messages)
}

/// The first message of an image, and what stands behind it.
pub(super) fn first_message<'a>(name: &str, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8])> {
    let taken = bytes
        .split_first_chunk::<4>()
        .and_then(|(length, rest)| rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?));
    taken.with_context(|| format!("{name} is cut off"))
}

/// What `of` finds in each message of an image.
fn decode<T>(name: &str, bytes: &[u8], of: impl Fn(&[u8]) -> Result<T>) -> Result<Vec<T>> {
    let decode = |message: &[u8]| of(message).with_context(|| format!("{name} cannot be read"));
    messages(name, bytes)?.into_iter().map(decode).collect()
}

/// What an `mm-PID.img` says.
pub(super) fn mm(name: &str, bytes: &[u8]) -> Result<Mm> {
    decode(name, bytes, Mm::of)?.into_iter().next().with_context(|| format!("{name} is empty"))
}

/// The image with the pages of a pagemap, `pages-N.img`: its first message (`pagemap_head`) has the number.
pub(super) fn pages_of(name: &str, head: Option<&[u8]>) -> Result<String> {
    let head = head.with_context(|| format!("{name} is empty"))?;
    let head = fields(head).with_context(|| format!("{name} cannot be read"))?;
    Ok(format!("pages-{}.img", numbers(&head, [1])[0]))
}

/// The pages of a pagemap that are in this dump, in the order in which their bytes are.
pub(super) fn page_ranges(name: &str, bytes: &[u8]) -> Result<Vec<PageRange>> {
    let entries = decode(name, bytes, fields)?;
    let mut ranges = Vec::new();
    for entry in entries.iter().skip(1).filter(|entry| present(entry)) {
        ranges.push(PageRange { start: numbers(entry, [1])[0], pages: pages(entry) });
    }
    Ok(ranges)
}

/// Whether the pages of a `pagemap_entry` are in this dump. CRIU's older versions had no flags, and `in_parent` in their
/// place.
pub(super) fn present(entry: &[Field]) -> bool {
    match number(entry, 4) {
        Some(flags) => flags & PRESENT != 0,
        None => number(entry, 3).unwrap_or_default() == 0,
    }
}

/// How many pages a `pagemap_entry` has: 64 bits, or 32 by older versions of CRIU.
pub(super) fn pages(entry: &[Field]) -> u64 {
    let pages = number(entry, 5).filter(|pages| *pages > 0);
    pages.or(number(entry, 2)).unwrap_or_default()
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
pub fn image(magic: u32, messages: &[Vec<u8>]) -> Vec<u8> {
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
