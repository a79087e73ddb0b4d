//! A process whose memory was remapped reads the same at every address as the one that was dumped.

use std::collections::BTreeMap;
use std::ops::Range;

use super::*;
use crate::wire::{Field, Value, fields, message, number};

const SIZE: u64 = PAGE;
const REGULAR: u64 = 1;
const ANON: u64 = 0x200 | REGULAR;
const OF_FILE: u64 = 0x40 | REGULAR;
const NONE: u64 = 0;

/// A mapping of some pages, and what was dumped of it: nothing, zeros, or a page of these bytes.
#[derive(Debug, Clone)]
struct Made {
    start: u64,
    protection: u64,
    status: u64,
    flags: u64,
    advice: u64,
    pages: Vec<Option<u8>>,
}

fn field(number: u64, value: u64) -> Field {
    Field { number, value: Value::Number(value) }
}

impl Made {
    fn new(start: u64, status: u64, pages: &[(Option<u8>, usize)]) -> Made {
        let pages = pages.iter().flat_map(|(page, times)| vec![*page; *times]).collect();
        let flags = if status == OF_FILE { 2 } else { 0x22 };
        Made { start, protection: 3, status, flags, advice: 0, pages }
    }

    fn end(&self) -> u64 {
        self.start + self.pages.len() as u64 * SIZE
    }

    fn fields(&self) -> Vec<Field> {
        // Its file's offset, its file, what CRIU keeps beside it.
        let all = [self.start, self.end(), 5 * SIZE, 1, self.protection, self.flags, self.status];
        let mut fields: Vec<Field> = (1..).zip(all).map(|(number, value)| field(number, value)).collect();
        fields.extend([field(8, u64::MAX), field(9, self.advice), field(77, 7)]);
        fields
    }
}

/// The images of a process with these mappings.
fn images_of(all: &[Made]) -> Dump {
    let mut mm = vec![field(1, 0xcafe), field(11, 5)];
    // Neighbours are one entry, whatever they belong to.
    let (mut entries, mut pages): (Vec<Range<u64>>, _) = (Vec::new(), Vec::new());
    for made in all {
        mm.push(Field { number: 14, value: Value::Bytes(message(&made.fields())) });
        let at = (made.start..).step_by(SIZE as usize);
        for (address, page) in at.zip(&made.pages).filter_map(|(at, page)| page.map(|page| (at, page))) {
            match entries.last_mut().filter(|last| last.end == address) {
                Some(last) => last.end += SIZE,
                None => entries.push(address..address + SIZE),
            }
            pages.extend([page; SIZE as usize]);
        }
    }
    let entries = entries.iter().map(|at| dumped(at.start, (at.end - at.start) / SIZE));
    let pagemap: Vec<_> = [vec![8, 1]].into_iter().chain(entries).collect();
    let mut images = dump(&[], &[], 0);
    let mut put = |name: &str, bytes| {
        images.iter_mut().find(|(found, _)| *found == name).unwrap().1 = bytes;
    };
    put("mm-7.img", image(MM_MAGIC, &[message(&mm)]));
    put("pagemap-7.img", image(PAGEMAP_MAGIC, &pagemap));
    put("pages-1.img", pages);
    put("files.img", image(FILES_MAGIC, &[file(1, "/usr/bin/java")]));
    images
}

/// A regular file as `files.img` has it.
fn file(id: u64, path: &str) -> Vec<u8> {
    let regular =
        [field(1, id), field(2, 0o2), field(3, 9), field(8, 4711), field(10, 0o100_755), field(11, 5)];
    let name = Field { number: 6, value: Value::Bytes(path.into()) };
    let regular = message(&[&regular[..3], &[name], &regular[3..]].concat());
    message(&[field(1, 1), field(2, id), Field { number: 3, value: Value::Bytes(regular) }])
}

/// What an address holds: bytes, or a page of a file that was not written to.
#[derive(Debug, Clone, PartialEq)]
enum Content {
    Bytes(u8),
    File(u64, u64),
}

/// Images by name, as a restore reads them.
struct Restored<'a> {
    store: &'a Store,
    files: &'a [DataFile],
}

impl Restored<'_> {
    fn bytes(&self, name: &str) -> Vec<u8> {
        let path = format!("/checkpoint-data/{name}");
        let file = self.files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{name}"));
        fs_err::read(self.store.path(&file.sha256.unwrap())).unwrap()
    }

    fn messages(&self, name: &str) -> Vec<Vec<Field>> {
        let bytes = self.bytes(name);
        messages(name, &bytes[8..]).unwrap().into_iter().map(|message| fields(message).unwrap()).collect()
    }

    /// Each mapping with the content of its pages, as CRIU would make it; neighbours that differ in nothing but
    /// where their bytes come from are one.
    fn memory(&self) -> BTreeMap<u64, (Vec<u64>, Content)> {
        let mut dumped = BTreeMap::new();
        let pages = self.bytes("pages-1.img");
        let mut pages = pages.chunks(SIZE as usize);
        for entry in &self.messages("pagemap-7.img")[1..] {
            for page in 0..number(entry, 5).unwrap() {
                let bytes = pages.next().expect("a page of every entry");
                assert!(bytes.iter().all(|byte| *byte == bytes[0]));
                dumped.insert(number(entry, 1).unwrap() + page * SIZE, bytes[0]);
            }
        }
        assert_eq!(pages.next(), None, "a page without an entry");
        let name = |file: u64| {
            let listed = self.messages("files.img");
            let entry = listed.iter().find(|entry| number(entry, 2) == Some(file)).expect("a listed file");
            let Value::Bytes(regular) = &entry.iter().find(|field| field.number == 3).unwrap().value else {
                panic!("no file")
            };
            let regular = fields(regular).unwrap();
            let Value::Bytes(name) = &regular.iter().find(|field| field.number == 6).unwrap().value else {
                panic!("no name")
            };
            (String::from_utf8(name.clone()).unwrap(), regular)
        };
        let mut memory = BTreeMap::new();
        let mm = self.messages("mm-7.img").remove(0);
        assert_eq!((number(&mm, 1), number(&mm, 11)), (Some(0xcafe), Some(5)));
        for entry in mm.iter().filter(|field| field.number == 14) {
            let Value::Bytes(mapping) = &entry.value else { panic!("no mapping") };
            let mapping = fields(mapping).unwrap();
            let of = |field| number(&mapping, field).unwrap();
            assert!(of(1) < of(2), "an empty mapping");
            let file = if of(7) & 0x40 != 0 { Some((of(4), name(of(4)))) } else { None };
            for address in (of(1)..of(2)).step_by(SIZE as usize) {
                let offset = of(3) + (address - of(1));
                let content = match (dumped.remove(&address), &file) {
                    (Some(byte), _) => Content::Bytes(byte),
                    (None, Some((_, (name, regular)))) if name == MEMORY => {
                        let bytes = self.bytes("memory.img");
                        assert_eq!(number(regular, 8), Some(bytes.len() as u64), "CRIU compares the size");
                        assert_eq!(
                            (number(regular, 2), number(regular, 3), number(regular, 11)),
                            (Some(0), Some(0), None)
                        );
                        assert_eq!(of(6) & 0x20, 0, "no anonymous memory");
                        Content::Bytes(bytes[usize::try_from(offset).unwrap()])
                    }
                    (None, Some((file, _))) => Content::File(*file, offset),
                    (None, None) => Content::Bytes(0),
                };
                let protection = vec![of(5), of(6) & !0x20, of(9), of(77)];
                assert_eq!(memory.insert(address, (protection, content)), None, "mapped twice");
            }
        }
        assert_eq!(dumped.len(), 0, "dumped pages of no mapping");
        memory
    }
}

/// Remaps and compares; returns bytes that are mapped, read and dropped.
fn check_same(all: &[Made]) -> [u64; 3] {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let files = stored(&store, &images_of(all));
    let before = Restored { store: &store, files: &files }.memory();
    let Remapped { files, mapped, read, dropped, .. } = remap(&store, files.clone(), None).unwrap();
    crate::files::check_files(&files).unwrap();
    assert_eq!(Restored { store: &store, files: &files }.memory(), before);
    // What the process was can still be told.
    let told: u64 = regions(&store, &files).unwrap().iter().map(|region| region.bytes).sum();
    let dumped: usize = all.iter().map(|made| made.pages.iter().flatten().count()).sum();
    assert_eq!(told, dumped as u64 * SIZE);
    [mapped / SIZE, read / SIZE, dropped / SIZE]
}

#[test]
fn long_runs_are_mapped_and_zeros_dropped() {
    let check = |all: &[Made], expected: [u64; 3]| assert_eq!(check_same(all), expected, "{all:?}");
    let at = 0x10_0000;
    let (a, zero) = (Some(7), Some(0));
    check(&[Made::new(at, ANON, &[(a, 16)])], [16, 0, 0]);
    check(&[Made::new(at, ANON, &[(a, 15)])], [0, 15, 0]);
    check(&[Made::new(at, ANON, &[(zero, 40)])], [0, 0, 40]);
    check(&[Made::new(at, ANON, &[(None, 3), (a, 20), (None, 3)])], [20, 0, 0]);
    // A few zeros between two runs are a part of the file.
    check(&[Made::new(at, ANON, &[(a, 10), (zero, 6), (a, 10)])], [26, 0, 6]);
    check(&[Made::new(at, ANON, &[(a, 10), (None, 7), (a, 10)])], [0, 20, 0]);
    check(&[Made::new(at, ANON, &[(a, 20), (zero, 7), (a, 16)])], [36, 0, 7]);
    check(&[Made::new(at, ANON | 1 << 5, &[(a, 16)])], [16, 0, 0]);
    // A file's page that was overwritten with zeros is not the file's.
    check(&[Made::new(at, OF_FILE, &[(zero, 3), (None, 2), (a, 16), (zero, 4), (None, 9)])], [20, 3, 0]);
    // Stacks that grow, guards, advice that a file does not take, memory that is shared.
    check(&[Made { flags: 0x122, ..Made::new(at, ANON, &[(a, 16), (zero, 1)]) }], [0, 17, 0]);
    check(&[Made { advice: 1 << 18, ..Made::new(at, ANON, &[(a, 16), (zero, 1)]) }], [0, 17, 0]);
    check(&[Made { advice: 1 << 14, ..Made::new(at, ANON, &[(a, 16), (zero, 1)]) }], [16, 0, 1]);
    check(&[Made::new(at, 0x100 | REGULAR, &[(a, 16), (zero, 1)])], [0, 17, 0]);
    check(&[Made::new(at, ANON | 0x2, &[(a, 16), (zero, 1)])], [0, 17, 0]);
    check(&[Made::new(at, NONE, &[(None, 4)])], [0, 0, 0]);
    let two = [Made::new(at, ANON, &[(a, 20)]), Made::new(at + 0x10_0000, OF_FILE, &[(a, 30), (None, 2)])];
    check(&two, [50, 0, 0]);
}

#[test]
fn what_lies_below_a_stack_pointer_is_dropped() {
    // As the images of `dump` have it, of a thread in the ninth page of its stack.
    let (stack, pointer) = (0x7f10_0000_0000, 0x7f10_0000_8000);
    let guard = Made { protection: 0, ..Made::new(stack - 4 * SIZE, ANON, &[(None, 4)]) };
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let files = stored(&store, &images_of(&[guard, Made::new(stack, ANON, &[(Some(7), 40)])]));
    let mut before = Restored { store: &store, files: &files }.memory();
    let remapped = remap(&store, files.clone(), None).unwrap();
    let Remapped { mapped, read, dropped, stacks, .. } = remapped;
    // The red zone is a part of the eighth page.
    assert_eq!([mapped, read, dropped, stacks].map(|bytes| bytes / SIZE), [33, 0, 7, 7]);
    before.range_mut(stack..pointer - SIZE).for_each(|(_, (_, content))| *content = Content::Bytes(0));
    assert_eq!(Restored { store: &store, files: &remapped.files }.memory(), before);
}

#[test]
fn a_piece_of_mallocs_never_lies_whole_in_the_file() {
    let at = 0x7f00_0000_0000;
    // Pieces by their first page and what their headers say; pages that are mapped.
    let check = |pieces: &[(u64, u64)], expected: &[Range<u64>]| {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut images = images_of(&[Made::new(at, ANON, &[(Some(7), 60)])]);
        let pages = &mut images.iter_mut().find(|(name, _)| *name == "pages-1.img").unwrap().1;
        for (page, noted) in pieces {
            let start = (page * SIZE) as usize;
            pages[start..start + 16].copy_from_slice(&[0_u64.to_le_bytes(), noted.to_le_bytes()].concat());
        }
        let files = remap(&store, stored(&store, &images), None).unwrap().files;
        let mm = Restored { store: &store, files: &files }.messages("mm-7.img").remove(0);
        let mappings = mm.iter().filter(|field| field.number == 14).map(|mapping| {
            let Value::Bytes(mapping) = &mapping.value else { panic!("no mapping") };
            fields(mapping).unwrap()
        });
        let of_file = mappings.filter(|mapping| number(mapping, 7).unwrap() & 0x40 != 0);
        let page = |mapping: &[Field], field| (number(mapping, field).unwrap() - at) / SIZE;
        let mapped: Vec<_> = of_file.map(|mapping| page(&mapping, 1)..page(&mapping, 2)).collect();
        assert_eq!(mapped, expected, "{pieces:x?}");
    };
    let noted = |pages: u64| (pages * SIZE) | 2;
    let whole = [Range { start: 0, end: 60 }];
    check(&[], &whole);
    check(&[(0, noted(60))], &[Range { start: 0, end: 59 }]);
    check(&[(2, noted(20)), (22, noted(38))], &[0..21, 22..59]);
    check(&[(20, noted(20))], &[0..39, 40..60]);
    // What is left over is too short for a mapping of its own.
    check(&[(0, noted(50))], &[Range { start: 0, end: 49 }]);
    check(&[(30, noted(1))], &[0..30, 31..60]);
    // As newer versions of glibc note it.
    check(&[(0, noted(60) - 16)], &[Range { start: 0, end: 59 }]);
    check(&[(20, noted(20) - 16)], &[0..39, 40..60]);
    // It goes beyond, it is a piece of a heap, its size is none.
    for header in [
        noted(31),
        noted(20) | 1,
        noted(20) & !2,
        noted(20) + 8,
        noted(20) - 8,
        noted(20) - 32,
        noted(31) - 16,
        2,
        !5,
    ] {
        check(&[(30, header)], &whole);
    }
}

#[test]
fn guarded_memory_stays() {
    let at = 0x10_0000;
    let guarded = Made::new(at, ANON, &[(Some(7), 32)]);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut images = images_of(std::slice::from_ref(&guarded));
    let guard = [field(1, at), field(2, at + SIZE), field(7, 1 << 16)];
    let mm = [guarded.fields(), guard.to_vec()]
        .map(|mapping| Field { number: 14, value: Value::Bytes(message(&mapping)) });
    images.iter_mut().find(|(name, _)| *name == "mm-7.img").unwrap().1 = image(MM_MAGIC, &[message(&mm)]);
    let remapped = remap(&store, stored(&store, &images), None).unwrap();
    assert_eq!((remapped.mapped, remapped.read, remapped.dropped), (0, 32 * SIZE, 0));
    assert!(!remapped.files.iter().any(|file| file.path == MEMORY));
}

#[test]
fn an_allocator_that_counts_on_zeros_is_found_where_it_is_mapped() {
    let check = |mapped: &str, open: &str, expected: Option<&str>| {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut images = images_of(&[Made::new(0x10_0000, OF_FILE, &[(Some(7), 20)])]);
        let listed = image(FILES_MAGIC, &[file(1, mapped), file(2, open)]);
        images.iter_mut().find(|(name, _)| *name == "files.img").unwrap().1 = listed;
        let found = counts_on_zeros(&store, &stored(&store, &images)).unwrap();
        assert_eq!(found.as_deref(), expected, "{mapped}");
    };
    let java = "/usr/bin/java";
    for library in ["/usr/lib/libjemalloc.so.2", "/opt/libtcmalloc_minimal.so.4", "/tmp/libmimalloc.so"] {
        check(library, java, Some(library));
        check(java, library, None);
    }
    check("/jemalloc/libz.so.1", java, None);
    check("/usr/lib/libmalloc.so", java, None);
}

fn any_made() -> impl Strategy<Value = Vec<Made>> {
    let page = prop_oneof![2 => Just(None), 1 => Just(Some(0)), 4 => (1..4_u8).prop_map(Some)];
    let pages = proptest::collection::vec((page, 1..40_usize), 1..8);
    let status = prop_oneof![4 => Just(ANON), 3 => Just(OF_FILE), 1 => Just(ANON | 1 << 5), 1 => Just(0x100 | REGULAR)];
    let one = (status, pages, 0..3_u64);
    proptest::collection::vec(one, 1..5).prop_map(|all| {
        let mut at = 0x10_0000;
        let place = |(status, pages, gap): (u64, Vec<_>, u64)| {
            let made = Made::new(at, status, &pages);
            at = made.end() + gap * SIZE;
            made
        };
        all.into_iter().map(place).collect()
    })
}

proptest! {
    // Each case stores two dozen objects, durably.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_remapped_process_reads_the_same(all in any_made()) {
        check_same(&all);
    }

    #[test]
    fn broken_images_are_refused_or_read(
        broken in 0..7_usize,
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut images = images_of(&[Made::new(0x10_0000, ANON, &[(Some(7), 20), (None, 3), (Some(0), 2)])]);
        let broken = broken % images.len();
        let bytes = &mut images[broken].1;
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // Neither a panic nor memory without end, whatever an image says.
        let _ = remap(&store, stored(&store, &images), None);
    }
}
