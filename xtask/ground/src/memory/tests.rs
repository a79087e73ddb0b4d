use proptest::prelude::*;

use super::images::*;
use super::*;

mod deleted;
mod heap;
#[path = "../../../tests/support/made.rs"]
mod made;
mod remap;
mod windows;

use made::{PAGE, dumped, file, message_of};

const MIB: u64 = 1 << 20;
/// Anonymous and private; the same as the JVM reserves it.
const ANONYMOUS: u32 = 0x22;
const RESERVED: u32 = 0x4022;

/// Memory by words; what is not in it is not known.
#[derive(Debug, Clone, Default)]
struct Words(BTreeMap<u64, u64>);

impl super::heap::Memory for Words {
    fn part(&self, address: u64, bytes: &mut [u8]) -> Option<usize> {
        *bytes.first_mut()? = self.0.get(&(address / 8 * 8))?.to_le_bytes()[(address % 8) as usize];
        Some(1)
    }
}

/// A mapping of `size` bytes.
fn mapping(start: u64, size: u64, protection: u32, flags: u32) -> Mapping {
    Mapping { start, end: start + size, protection, flags, status: 0x201, ..Mapping::default() }
}

fn mapped(start: u64, size: u64, file: u64) -> Mapping {
    Mapping { file, status: 0x41, ..mapping(start, size, 3, 2) }
}

/// The images of a dump.
type Dump = Vec<(&'static str, Vec<u8>)>;

fn dump(mappings: &[Mapping], pages: &[Vec<u8>], bytes: u64) -> Dump {
    let magic = |name: &str| MAGICS.iter().find(|(prefix, _)| name.starts_with(prefix)).unwrap().1;
    let within = |number: u64, message: Vec<u8>| message_of(&[], &[(number, &message)]);
    let x86 = within(2, within(2, message_of(&[(20, 0x7f10_0000_8000)], &[])));
    let arm = within(8, within(3, message_of(&[(2, 0x7f20_0010_0000)], &[])));
    let entry = |Mapping { start, end, offset, file, protection, flags, status }: &Mapping| {
        let numbers = [*start, *end, *offset, *file, (*protection).into(), (*flags).into(), (*status).into()];
        message_of(&(1..).zip(numbers).collect::<Vec<_>>(), &[])
    };
    let mappings: Vec<Vec<u8>> = mappings.iter().map(entry).collect();
    let mappings: Vec<(u64, &[u8])> = mappings.iter().map(|mapping| (14, mapping.as_slice())).collect();
    let messages = [
        ("core-7.img", vec![x86]),
        ("core-8.img", vec![arm]),
        ("files.img", vec![file(1, "/usr/lib/libjvm.so"), file(2, "/jars/a.jsa"), Vec::new()]),
        ("mm-7.img", vec![message_of(&[], &mappings)]),
        ("pagemap-7.img", [&[vec![8, 1]], pages].concat()),
        ("pstree.img", vec![message_of(&[(1, 7), (5, 7), (5, 8)], &[])]),
    ];
    let mut dump: Dump =
        messages.into_iter().map(|(name, messages)| (name, image(magic(name), &messages))).collect();
    dump.push(("pages-1.img", vec![0; usize::try_from(bytes).unwrap()]));
    dump
}

fn read(dump: &Dump) -> Result<Vec<Region>> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let files = stored(&store, dump);
    assert!(are_there(&store, &files));
    regions(&store, &files)
}

/// The images as files of checkpoint data.
fn stored(store: &Store, dump: &Dump) -> Vec<DataFile> {
    let file = |(name, bytes): &(&str, Vec<u8>)| {
        let (digest, size) = store.add_bytes(bytes).unwrap();
        DataFile {
            path: format!("/checkpoint-data/{name}"),
            mode: "0644".into(),
            owner: "1:1".into(),
            size,
            sha256: Some(digest),
            link: None,
        }
    };
    dump.iter().map(file).collect()
}

/// These mappings, one page dumped of each, are of these kinds.
#[track_caller]
fn check(mappings: &[(Mapping, Kind)]) {
    let pages: Vec<Vec<u8>> = mappings.iter().map(|(mapping, _)| dumped(mapping.start, 1)).collect();
    let (given, expected): (Vec<_>, Vec<_>) = mappings.iter().cloned().unzip();
    let found = read(&dump(&given, &pages, pages.len() as u64 * PAGE)).unwrap();
    for (kind, bytes) in by_kind(&found) {
        let expected = expected.iter().filter(|expected| **expected == kind).count() as u64 * PAGE;
        assert_eq!(bytes, expected, "{kind}: {found:?}");
    }
}

#[test]
fn kinds_are_told_apart() {
    let heap = Mapping { status: 0x221, ..mapping(0x5555_0000_0000, MIB, 3, ANONYMOUS) };
    let vdso = Mapping { status: 0x209, ..mapping(0x7f40_0000_0000, PAGE, 5, ANONYMOUS) };
    let shared = Mapping { status: 0x101, ..mapping(0x7f50_0000_0000, PAGE, 3, 0x21) };
    check(&[
        (mapping(0xf000_0000, MIB, 3, ANONYMOUS), Kind::JavaHeap),
        (heap, Kind::NativeHeap),
        (mapping(0x7f00_0400_0000, MIB, 3, RESERVED), Kind::NativeHeap),
        (mapping(0x7f10_0000_0000, MIB, 3, ANONYMOUS), Kind::Stacks),
        (mapping(0x7f20_0000_0000, 2 * MIB, 3, ANONYMOUS), Kind::Stacks),
        (mapping(0x7f30_0000_0000, MIB, 7, ANONYMOUS), Kind::Code),
        (vdso, Kind::Other),
        (shared, Kind::Other),
        (mapped(0x7f60_0000_0000, MIB, 1), Kind::Files),
        (mapped(0x7f70_0000_0000, MIB, 2), Kind::ClassArchive),
        (mapped(0x7f80_0000_0000, MIB, 99), Kind::Files),
        (mapping(0x7f90_0000_1000, MIB, 3, ANONYMOUS), Kind::Other),
        (mapping(0x7ffc_0000_0000, MIB, 3, 0x122), Kind::Stacks),
    ]);
}

#[test]
fn what_follows_an_archive_is_the_class_space() {
    let at = 0x8_0000_0000;
    check(&[
        (mapped(at, MIB, 2), Kind::ClassArchive),
        (mapping(at + MIB, 15 * MIB, 0, RESERVED), Kind::Metaspace),
        (mapping(at + 16 * MIB, MIB, 3, ANONYMOUS), Kind::Metaspace),
        (mapping(at + 17 * MIB, 1023 * MIB, 0, RESERVED), Kind::Metaspace),
        // More than is reserved for it.
        (mapping(at + 1040 * MIB, MIB, 3, ANONYMOUS), Kind::Other),
    ]);
    check(&[
        (mapped(at, MIB, 2), Kind::ClassArchive),
        (mapping(at + MIB + PAGE, MIB, 3, ANONYMOUS), Kind::Other),
    ]);
    // A class space below 32 GiB is not taken for the heap.
    check(&[
        (mapped(MIB, MIB, 2), Kind::ClassArchive),
        (mapping(2 * MIB, MIB, 3, ANONYMOUS), Kind::Metaspace),
    ]);
}

#[test]
fn the_rest_of_the_metaspace_is_found_by_its_size() {
    let at = 0x7f00_0040_0000;
    let node = |at: u64, last: u64, kind: Kind| {
        [
            (mapping(at, 3 * MIB, 3, ANONYMOUS), kind),
            (mapping(at + 3 * MIB, MIB, 0, RESERVED), kind),
            (mapping(at + 4 * MIB, MIB, 3, ANONYMOUS), kind),
            (mapping(at + 5 * MIB, last, 0, RESERVED), kind),
        ]
    };
    check(&node(at, 59 * MIB, Kind::Metaspace));
    check(&node(at, 99 * MIB, Kind::Metaspace));
    check(&node(at, 59 * MIB - PAGE, Kind::Other));
    check(&node(at + MIB, 59 * MIB, Kind::Other));
    check(
        &[
            &node(at, 59 * MIB, Kind::Metaspace)[..],
            &[(mapping(at + 64 * MIB, MIB, 3, ANONYMOUS), Kind::Other)],
        ]
        .concat(),
    );
    // A stack ends it.
    let mut stack = node(at, 59 * MIB, Kind::Other);
    stack[1].0.flags = ANONYMOUS;
    check(&stack);
}

#[test]
fn arenas_are_found_by_what_is_kept_for_them() {
    let at = 0x7f00_0400_0000;
    let arena = |at: u64, kept: u64, flags: u32, kind: Kind| {
        [(mapping(at, MIB, 3, ANONYMOUS), kind), (mapping(at + MIB, kept, 0, flags), Kind::Other)]
    };
    check(&arena(at, 63 * MIB, ANONYMOUS, Kind::NativeHeap));
    // The kernel makes one mapping of it and of a guard page that follows.
    check(&arena(at, 63 * MIB + PAGE, ANONYMOUS, Kind::NativeHeap));
    check(&arena(at, 62 * MIB, ANONYMOUS, Kind::Other));
    check(&arena(at + MIB, 63 * MIB, ANONYMOUS, Kind::Other));
    check(&arena(at, 62 * MIB, RESERVED, Kind::Other));
}

#[test]
fn every_page_is_counted_once() {
    let at = 0x7f00_0000_1000;
    let mappings =
        [mapped(at, 2 * PAGE, 1), mapped(at + PAGE, 3 * PAGE, 2), mapping(at + 8 * PAGE, PAGE, 7, ANONYMOUS)];
    let check = |pages: &[Vec<u8>], bytes: u64, expected: &[(Kind, u64)]| {
        let found = read(&dump(&mappings, pages, bytes * PAGE)).unwrap();
        let found: Vec<_> = found.iter().map(|region| (region.kind, region.bytes / PAGE)).collect();
        assert_eq!(found, expected);
    };
    check(&[], 0, &[]);
    let all = [(Kind::Code, 1), (Kind::ClassArchive, 2), (Kind::Files, 2), (Kind::Other, 7)];
    check(&[dumped(at - 2 * PAGE, 12)], 12, &all);
    check(&[dumped(at, 2), dumped(at + 2 * PAGE, 2)], 4, &[(Kind::ClassArchive, 2), (Kind::Files, 2)]);
    // In an earlier dump, or from an older CRIU.
    let parent = message_of(&[(1, at), (4, 1), (5, 1)], &[]);
    let old = [(1, at), (2, 1)];
    let old_parent = message_of(&[&old[..], &[(3, 1)]].concat(), &[]);
    check(&[parent, message_of(&old, &[]), old_parent], 1, &[(Kind::Files, 1)]);
}

#[test]
fn pages_of_arm_may_be_larger() {
    let at = 0x7f00_0000_0000;
    let found = read(&dump(&[mapped(at, 65536, 1)], &[dumped(at, 1)], 65536)).unwrap();
    let path = Some("/usr/lib/libjvm.so".to_owned());
    assert_eq!(found, [Region { kind: Kind::Files, path, bytes: 65536 }]);
}

#[test]
fn images_that_do_not_fit_are_refused() {
    let at = 0x7f00_0000_0000;
    let whole = || dump(&[mapped(at, PAGE, 1)], &[dumped(at, 1)], PAGE);
    let refused = |dump: &Dump, expected: &str| {
        let error = format!("{:#}", read(dump).unwrap_err());
        assert!(error.contains(expected), "`{expected}` is not in {error}");
    };
    read(&whole()).unwrap();
    for (name, expected) in [
        ("mm-7.img", "no dump of CRIU's"),
        ("pagemap-7.img", "has no /checkpoint-data/pagemap-7.img"),
        ("core-8.img", "has no /checkpoint-data/core-8.img"),
        ("pages-1.img", "name 1 pages, but its pages-*.img hold 0 bytes"),
    ] {
        refused(&whole().into_iter().filter(|(other, _)| *other != name).collect(), expected);
    }
    let with = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut dump = whole();
        change(&mut dump.iter_mut().find(|(other, _)| *other == name).unwrap().1);
        dump
    };
    refused(&with("mm-7.img", &|bytes| bytes[5] ^= 1), "mm-7.img does not begin as CRIU's images do");
    refused(&with("mm-7.img", &|bytes| bytes.truncate(8)), "mm-7.img is empty");
    refused(&with("files.img", &|bytes| bytes.truncate(20)), "files.img is cut off");
    refused(&with("files.img", &|bytes| bytes[8..12].fill(0xff)), "files.img is cut off");
    refused(&with("pages-1.img", &|bytes| bytes.push(0)), "hold 4097 bytes");
    let pages = |pages: &[Vec<u8>]| dump(&[mapped(at, PAGE, 1)], pages, PAGE);
    refused(&pages(&[dumped(at, u64::MAX), dumped(at, 2)]), "pagemaps name 18446744073709551615 pages");
    refused(&pages(&[dumped(at, u64::MAX)]), "pages-*.img hold 4096 bytes");
    refused(&pages(&[dumped(u64::MAX - 100, 1)]), "beyond the end of memory");
}

proptest! {
    // Each case writes a store.
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is spoilt, nothing panics, and what is counted is what was dumped.
    #[test]
    fn spoilt_images_are_survived(which in 0..6_usize, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let start = 0x7f00_0040_0000;
        let mappings = [mapped(start, PAGE, 2), mapping(start + PAGE, 80 * MIB, 3, ANONYMOUS)];
        let mut dump = dump(&mappings, &[dumped(start, 3)], 3 * PAGE);
        let bytes = &mut dump[which].1;
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(regions) = read(&dump) {
            prop_assert_eq!(regions.iter().map(|region| region.bytes).sum::<u64>(), 3 * PAGE);
        }
    }

    /// Mappings from anywhere to anywhere.
    #[test]
    fn wild_mappings_are_survived(mappings in prop::collection::vec((any::<u64>(), any::<u64>(), 0..8_u32, any::<u32>(), any::<u32>()), 0..9)) {
        let files = BTreeMap::from([(2, "/jars/a.jsa".to_owned())]);
        let mapping = |(start, end, protection, flags, status)| Mapping { start, end, file: 2, protection, flags, status, ..Mapping::default() };
        let mappings: Vec<Mapping> = mappings.into_iter().map(mapping).collect();
        let found = kinds::kinds(&mappings, &files, &[1, u64::MAX]);
        prop_assert!(found.windows(2).all(|pair| pair[0].end <= pair[1].start));
    }
}
