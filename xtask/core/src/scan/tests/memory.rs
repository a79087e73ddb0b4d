//! Values in dumped memory, wherever the dump keeps it.

use proptest::prelude::*;

use super::*;
use made::{PAGE, Page, process};

#[path = "../../../../tests/support/made.rs"]
mod made;

const VALUE: &[u8] = b"k7Rw-2mQx-of-the-database";

/// Memory of a process from `AT` on, with these bytes at an offset of it.
const AT: u64 = 0x7f00_0000_0000;

/// Pages with the value at `offset`; `kept` says of each page whether it is dropped, read, mapped or absent.
fn dump(pages: &[Page], planted: &[(usize, &[u8])]) -> Scan {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let files = process(&store, AT, pages, planted);
    let target = Target { app: &app(""), files: &files, archive: None, texts: Vec::new() };
    scan(&store, &target, &[secret("db", VALUE)]).unwrap()
}

const SIZE: usize = PAGE as usize;

#[test]
fn a_value_is_found_across_pages_and_files() {
    use Page::{Absent, Mapped, Read};
    let half = VALUE.len() / 2;
    let rows: &[(&str, &[Page], usize, bool)] = &[
        ("first byte of the memory", &[Read, Read], 0, true),
        ("last byte of the memory", &[Read, Read], 2 * SIZE - VALUE.len(), true),
        ("across two pages that are read", &[Read, Read], SIZE - half, true),
        ("across two pages that are mapped", &[Mapped, Mapped], SIZE - half, true),
        ("from a mapped page to one that is read", &[Mapped, Read], SIZE - half, true),
        ("from a page that is read to a mapped one", &[Read, Mapped], SIZE - half, true),
        ("one byte on the first page", &[Read, Mapped], SIZE - 1, true),
        ("one byte on the second page", &[Mapped, Read], SIZE - VALUE.len() + 1, true),
        ("at the end before a gap", &[Read, Absent, Read], SIZE - VALUE.len(), true),
        ("at the beginning after a gap", &[Read, Absent, Mapped], 2 * SIZE, true),
        // The other half was never dumped.
        ("into a gap", &[Read, Absent, Read], SIZE - half, false),
    ];
    let wrong: Vec<&str> = rows
        .iter()
        .filter(|(_, pages, offset, expected)| {
            let found = dump(pages, &[(*offset, VALUE)]);
            assert_eq!((found.processes, &found.unread), (1, &None));
            let at = AT + *offset as u64;
            let there = found.findings.iter().any(|f| f.places.iter().any(|seen| seen.first == at));
            there != *expected
        })
        .map(|(name, ..)| *name)
        .collect();
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn a_value_is_found_across_pieces_of_work() {
    // Pieces end at each mebibyte.
    let pages = vec![Page::Mapped; 600];
    for offset in [(1 << 20) - 7, 1 << 20, (1 << 20) - VALUE.len(), (2 << 20) - 1] {
        let found = dump(&pages, &[(offset, VALUE)]);
        assert_eq!(found.findings.len(), 1, "{offset}");
        assert_eq!((found.findings[0].count, found.findings[0].places[0].first), (1, AT + offset as u64));
    }
}

#[test]
fn every_other_file_is_searched_from_end_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut files = process(&store, AT, &[Page::Read], &[]);
    let rows = [
        "/checkpoint-data/ghost-file-1.img",
        "/checkpoint-data/pipes-data.img",
        "/checkpoint-data/sk-queues.img",
        "/checkpoint-data/core-99.img",
        "/checkpoint-data/pages-2.img",
        "/tmp/spring.log",
        "/var/lib/shop/session.ser",
    ];
    files.extend(rows.iter().map(|path| stored(&store, path, &[b"...", VALUE].concat())));
    let (digest, size) = store.add_bytes(&[VALUE, b"..."].concat()).unwrap();
    let app = app("");
    let texts = vec![("rocks/shop/start.sh".to_owned(), VALUE.to_vec())];
    let target = Target { app: &app, files: &files, archive: Some((digest, size)), texts };
    let found = scan(&store, &target, &[secret("db", VALUE)]).unwrap();
    let places: BTreeSet<&str> = found.findings[0].places.iter().map(|seen| seen.place.as_str()).collect();
    let expected = rows.into_iter().chain(["the class archive", "rocks/shop/start.sh"]);
    assert_eq!(places, expected.collect());
}

#[test]
fn memory_that_no_image_tells_of_is_searched_as_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let files = vec![stored(&store, "/checkpoint-data/core.img", &[b"...", VALUE].concat())];
    let app = app("");
    let target = Target { app: &app, files: &files, archive: None, texts: Vec::new() };
    let found = scan(&store, &target, &[secret("db", VALUE)]).unwrap();
    assert!(found.unread.as_ref().is_some_and(|why| why.contains("no dump of CRIU's")), "{found:?}");
    assert_eq!((found.findings.len(), found.processes), (1, 0));
    // A file that the store has lost is no clean scan.
    std::fs::remove_file(store.path(&files[0].sha256.unwrap())).unwrap();
    let error = scan(&store, &target, &[]).unwrap_err();
    assert!(format!("{error:#}").contains("is not in the store"), "{error:#}");
}

/// The variables that the process was started with are in its memory, under addresses that the dump tells.
#[test]
fn variables_of_the_container_are_read_from_the_dump() {
    let block = b"PATH=/usr/bin\0DB_PASSWORD=k7Rw-2mQx\0PIN=42\0URL=postgres://a:k7Rw3mQx@db/x\0";
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    // The made process has its environment at the beginning of its memory.
    let files = process(&store, AT, &[Page::Read, Page::Mapped], &[(0, block), (SIZE + 99, b"k7Rw-2mQx")]);
    let app = app("");
    let target = Target { app: &app, files: &files, archive: None, texts: Vec::new() };
    let found = scan(&store, &target, &[]).unwrap();
    assert_eq!(found.variables, ["DB_PASSWORD", "PATH", "PIN", "URL"]);
    assert_eq!(rules(&found), ["url-password", "variable/DB_PASSWORD", "variable/PIN", "variable/URL"]);
    assert_eq!((found.findings[1].count, found.noted().count()), (2, 1));
    assert_eq!(found.unread_variables, None);
}

/// A block of variables that is not there as a whole is no silence.
#[test]
fn variables_that_cannot_be_read_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let block = [b"PATH=/usr/bin\0DB_PASSWORD=".as_slice(), &[b'x'; SIZE], b"\0"].concat();
    let app = app("");
    let check = |files: &[DataFile], expected: &str| {
        let target = Target { app: &app, files, archive: None, texts: Vec::new() };
        let found = scan(&store, &target, &[]).unwrap();
        assert!(found.unread_variables.as_ref().is_some_and(|why| why.contains(expected)), "{found:?}");
        assert_eq!(found.variables, [""; 0]);
    };
    let files = process(&store, AT, &[Page::Read, Page::Absent], &[(0, &block)]);
    check(&files, "0x7f0000000000 to 0x7f000000101b");
    check(&[stored(&store, "/checkpoint-data/core.img", b"...")], "no image says where they are");
}

fn any_page() -> impl Strategy<Value = Page> {
    prop_oneof![Just(Page::Read), Just(Page::Mapped), Just(Page::Absent)]
}

proptest! {
    // Each case stores a dozen objects, durably.
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// A value anywhere in memory that was dumped is found where it is, whatever it is and however the dump is cut up.
    #[test]
    fn a_value_anywhere_is_found(
        value in prop::collection::vec(any::<u8>(), 6..300),
        pages in prop::collection::vec(any_page(), 1..40),
        at in any::<prop::sample::Index>(),
    ) {
        prop_assume!(super::super::given::unfit(&value).is_none());
        let offset = at.index(pages.len() * SIZE - value.len());
        let dumped = (offset / SIZE..=(offset + value.len() - 1) / SIZE).all(|page| pages[page] != Page::Absent);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let files = process(&store, AT, &pages, &[(offset, &value)]);
        let app = app("");
        let target = Target { app: &app, files: &files, archive: None, texts: Vec::new() };
        let found = scan(&store, &target, &[secret("it", &value)]).unwrap();
        let is_it = |seen: &Seen| seen.first == AT + offset as u64;
        let there = found.findings.iter().any(|f| f.id.starts_with("secret/it:") && f.places.iter().any(is_it));
        prop_assert_eq!(there, dumped);
    }

    /// Whatever is in memory, nothing panics, and what is searched is all of it.
    #[test]
    fn any_bytes_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        anchors in prop::collection::vec((prop::sample::select(RULES.iter().flat_map(|r| r.anchors).collect::<Vec<_>>()), any::<prop::sample::Index>(), any::<bool>()), 0..30),
    ) {
        let mut bytes = bytes;
        for (anchor, at, wide) in anchors {
            let at = at.index(bytes.len() + 1);
            let anchor: Vec<u8> = if wide { anchor.iter().flat_map(|byte| [*byte, 0]).collect() } else { anchor.to_vec() };
            bytes.splice(at..at, anchor);
        }
        let found = scan_texts(&app(""), &[("it", &bytes)], &[]);
        prop_assert_eq!(found.bytes, bytes.len() as u64);
    }
}
