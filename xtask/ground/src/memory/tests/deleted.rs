//! Deleted files of a process become files of the rock, with the bytes that CRIU dumped.

use super::*;
use crate::wire::{all, fields, number_at, numbers};

/// The entry of a file that was opened with these flags, and had this size.
fn opened(number: u64, name: &str, flags: u64, size: u64) -> Vec<u8> {
    let file = message_of(&[(1, number), (2, flags), (8, size), (11, 7), (11, 9)], &[(6, name.as_bytes())]);
    message_of(&[(1, 1), (2, number)], &[(3, &file)])
}

/// The image of a deleted file: its kind and mode, whether in pieces, its size, and what stands behind that.
fn ghost(mode: u64, chunks: bool, size: u64, rest: &[u8]) -> Vec<u8> {
    let entry = message_of(&[(1, 5), (2, 5), (3, mode), (9, chunks.into()), (10, size)], &[]);
    [image(GHOST_MAGIC, &[entry]), rest.to_vec()].concat()
}

/// Pieces of a file at their offsets.
fn pieces(all: &[(u64, &[u8])]) -> Vec<u8> {
    let piece = |(offset, bytes): &(u64, &[u8])| {
        let head = message_of(&[(1, bytes.len() as u64), (2, *offset)], &[]);
        [&(head.len() as u32).to_le_bytes(), head.as_slice(), bytes].concat()
    };
    all.iter().flat_map(piece).collect()
}

/// A file, the ghost that CRIU would put in its place, and of what kind that is: 1 is a ghost.
fn remap(file: u64, ghost: u64, kind: u64) -> Vec<u8> {
    message_of(&[(1, file), (2, ghost), (3, kind)], &[])
}

/// A dump with these files open, these of them deleted, and what was in those.
fn dump_of(open: &[Vec<u8>], remaps: &[Vec<u8>], ghosts: &[(&'static str, Vec<u8>)]) -> Dump {
    let mut dump = dump(&[mapping(0x10_0000, PAGE, 3, ANONYMOUS)], &[dumped(0x10_0000, 1)], PAGE);
    let listed = [&[file(1, "/usr/bin/java")], open].concat();
    dump.iter_mut().find(|(name, _)| *name == "files.img").unwrap().1 = image(FILES_MAGIC, &listed);
    dump.push(("remap-fpath.img", image(REMAP_MAGIC, remaps)));
    dump.extend(ghosts.iter().cloned());
    dump
}

const SO: u64 = 0o100_600;

#[test]
fn what_was_opened_for_reading_gets_a_name() {
    // Bytes that are expected in the rock, or none.
    let check = |dump: Dump, expected: Option<&[u8]>| {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let before = stored(&store, &dump);
        let Named { files, bytes } = deleted(&store, before.clone()).unwrap();
        let Some(expected) = expected else {
            assert_eq!((files, bytes), (before, 0));
            return;
        };
        assert_eq!(bytes, expected.len() as u64);
        crate::files::check_files(&files).unwrap();
        let content = |name: &str| {
            let path = format!("/checkpoint-data/{name}");
            let file = files.iter().find(|file| file.path == path)?;
            Some(fs_err::read(store.path(&file.sha256.unwrap())).unwrap())
        };
        assert_eq!(content("deleted-10").as_deref(), Some(expected));
        assert_eq!(content("ghost-file-a.img"), None);
        assert_eq!(content("remap-fpath.img").unwrap(), image(REMAP_MAGIC, &[]));
        // Nothing else of the file changes, and no other file.
        let bytes = content("files.img").unwrap();
        let listed = messages("files.img", &bytes[8..]).unwrap();
        let java = file(1, "/usr/bin/java");
        assert_eq!(listed[0], java);
        for entry in &listed[1..] {
            let number = number_at(entry, &[3, 1]).unwrap().unwrap();
            let as_it_was = opened(number, "/checkpoint-data/deleted-10", 0, expected.len() as u64);
            assert_eq!(fields(entry).unwrap(), fields(&as_it_was).unwrap());
        }
    };
    let one = |flags, size, image: Vec<u8>| {
        dump_of(&[opened(5, "/tmp/x.so", flags, size)], &[remap(5, 10, 1)], &[("ghost-file-a.img", image)])
    };
    check(one(0, 5, ghost(SO, false, 0, b"abcde")), Some(b"abcde"));
    check(one(0, 4, ghost(SO, true, 4, &pieces(&[(0, b"ab"), (2, b"cd")]))), Some(b"abcd"));
    check(one(0, 0, ghost(SO, false, 0, b"")), Some(b""));
    // One that was opened twice.
    let twice = |flags| {
        let open = [opened(5, "/tmp/x.so", 0, 2), opened(6, "/tmp/x.so", flags, 2)];
        dump_of(
            &open,
            &[remap(5, 10, 1), remap(6, 10, 1)],
            &[("ghost-file-a.img", ghost(SO, false, 0, b"ab"))],
        )
    };
    check(twice(0), Some(b"ab"));
    check(twice(2), None);
    // What can be written to, is no file, is of another size, is no ghost, or is not open.
    check(one(1, 5, ghost(SO, false, 0, b"abcde")), None);
    check(one(2, 5, ghost(SO, false, 0, b"abcde")), None);
    check(one(0, 5, ghost(0o010_600, false, 0, b"abcde")), None);
    check(one(0, 5, ghost(0o120_777, false, 0, b"abcde")), None);
    check(one(0, 4, ghost(SO, false, 0, b"abcde")), None);
    // Or has a bit that CRIU compares, or holes, of which the image has nothing.
    check(one(0, 5, ghost(0o104_755, false, 0, b"abcde")), None);
    check(one(0, 6, ghost(SO, true, 6, &pieces(&[(0, b"ab"), (4, b"cd")]))), None);
    check(one(0, 4, ghost(SO, true, 4, &pieces(&[(0, b"ab")]))), None);
    check(one(0, 4, ghost(SO, true, 4, &pieces(&[(1, b"abcd")]))), None);
    check(one(0, u64::MAX, ghost(SO, true, u64::MAX, b"")), None);
    // Is the program that runs, or mapped by one who had opened it for writing, which is said there.
    let process = |fields: &[(u64, u64)], mapping: &[(u64, u64)]| {
        let mut dump = one(0, 2, ghost(SO, false, 0, b"ab"));
        let mapping = message_of(&[&[(1, 0x10_0000), (2, 0x10_1000)], mapping].concat(), &[]);
        let process = image(MM_MAGIC, &[message_of(fields, &[(14, &mapping)])]);
        dump.iter_mut().find(|(name, _)| *name == "mm-7.img").unwrap().1 = process;
        dump
    };
    check(process(&[], &[(4, 5), (5, 5), (6, 2), (10, 0)]), Some(b"ab"));
    check(process(&[], &[(4, 5), (5, 5), (6, 2)]), Some(b"ab"));
    check(process(&[], &[(4, 5), (5, 1), (6, 1)]), Some(b"ab"));
    check(process(&[(12, 6)], &[(4, 6), (5, 3), (6, 1), (10, 2)]), Some(b"ab"));
    check(process(&[(12, 5)], &[(4, 6), (5, 3), (6, 2), (10, 0)]), None);
    check(process(&[], &[(4, 5), (5, 1), (6, 1), (10, 2)]), None);
    check(process(&[], &[(4, 5), (5, 3), (6, 2), (10, 0o100_002)]), None);
    check(process(&[], &[(4, 5), (5, 3), (6, 1)]), None);
    let image = ghost(SO, false, 0, b"ab");
    let open = [opened(5, "/tmp/x.so", 0, 2)];
    check(dump_of(&open, &[remap(5, 10, 0)], &[("ghost-file-a.img", image.clone())]), None);
    check(dump_of(&open, &[remap(4, 10, 1)], &[("ghost-file-a.img", image.clone())]), None);
    check(dump_of(&open, &[remap(5, 10, 1)], &[]), None);
    check(dump_of(&[], &[], &[]), None);
}

#[test]
fn one_that_stays_is_still_told_of() {
    let open = [opened(5, "/tmp/x.so", 0, 2), opened(6, "/tmp/y", 2, 2)];
    let ghosts =
        [("ghost-file-1.img", ghost(SO, false, 0, b"ab")), ("ghost-file-2.img", ghost(SO, false, 0, b"cd"))];
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let files = stored(&store, &dump_of(&open, &[remap(5, 1, 1), remap(6, 2, 1)], &ghosts));
    let Named { files, bytes } = deleted(&store, files).unwrap();
    assert_eq!(bytes, 2);
    let there = |name: &str| files.iter().find(|file| file.path == format!("/checkpoint-data/{name}"));
    assert!(there("deleted-1").is_some() && there("ghost-file-2.img").is_some());
    assert!(there("deleted-2").is_none() && there("ghost-file-1.img").is_none());
    let read = |name: &str| fs_err::read(store.path(&there(name).unwrap().sha256.unwrap())).unwrap();
    let remaps = read("remap-fpath.img");
    let remaps = messages("remap-fpath.img", &remaps[8..]).unwrap();
    assert_eq!(remaps.len(), 1);
    assert_eq!(numbers(&fields(remaps[0]).unwrap(), [1, 2, 3]), [6, 2, 1]);
    let listed = read("files.img");
    let names: Vec<Vec<u8>> = messages("files.img", &listed[8..])
        .unwrap()
        .into_iter()
        .map(|entry| {
            let entry = fields(entry).unwrap();
            all(&fields(all(&entry, 3).next().unwrap()).unwrap(), 6).next().unwrap().to_vec()
        })
        .collect();
    assert_eq!(names, [&b"/usr/bin/java"[..], b"/checkpoint-data/deleted-1", b"/tmp/y"]);
}

#[test]
fn a_broken_image_is_refused() {
    let check = |image: Vec<u8>, expected: &str| {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let open = [opened(5, "/tmp/x.so", 0, 4)];
        let files = stored(&store, &dump_of(&open, &[remap(5, 10, 1)], &[("ghost-file-a.img", image)]));
        let error = format!("{:#}", deleted(&store, files).unwrap_err());
        assert!(error.contains(expected), "{error}");
    };
    check(vec![1, 2, 3], "does not begin as CRIU's images do");
    check(image(GHOST_MAGIC, &[]), "ghost-file-a.img is cut off");
    let whole = pieces(&[(0, b"abcd")]);
    check(ghost(SO, true, 4, &whole[..whole.len() - 1]), "ghost-file-a.img is cut off");
}

proptest! {
    // Each case stores a dozen objects, durably.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_bytes_are_refused_or_read(
        of in 0..4_usize,
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let ghosts = [("ghost-file-a.img", ghost(SO, true, 4, &pieces(&[(0, b"ab"), (2, b"cd")])))];
        let mut dump = dump_of(&[opened(5, "/tmp/x.so", 0, 4)], &[remap(5, 10, 1)], &ghosts);
        let name = ["files.img", "remap-fpath.img", "ghost-file-a.img", "mm-7.img"][of];
        let bytes = &mut dump.iter_mut().find(|(found, _)| *found == name).unwrap().1;
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        // Neither a panic nor memory without end, whatever an image says.
        let _ = deleted(&store, stored(&store, &dump));
    }
}
