use std::ops::Range;

use proptest::prelude::*;

use super::super::windows::{BEGINNING, may_begin, unused};
use super::super::{Remapped, processes, remap};
use super::Words;
use super::made::{PAGE, Page, process};
use crate::store::Store;

const STATE: u64 = 0x5000_0000;
const STREAM: u64 = 0x5000_8000;
const WINDOW: u64 = 0x5001_0000;
const SIZE: u64 = 32 << 10;

/// An inflater that `inflateReset` has left: addresses and the words there.
fn inflater() -> [(u64, u64); 6] {
    [
        (STATE, STREAM),
        (STATE + 8, 16180),
        (STREAM + 56, STATE),
        (STATE + 56, 15),
        (STATE + 64, 0),
        (STATE + 72, WINDOW),
    ]
}

fn words(changes: &[(u64, u64)]) -> Words {
    let piece = (WINDOW - 8, SIZE + 16 + 1);
    Words(inflater().into_iter().chain([piece]).chain(changes.iter().copied()).collect())
}

#[track_caller]
fn check(changes: &[(u64, u64)], expected: Option<Range<u64>>) {
    let found = unused(&words(changes), &[STATE + 8]);
    assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{changes:x?}");
}

#[test]
fn a_window_of_no_size_is_unused() {
    let whole = Some(WINDOW..WINDOW + SIZE);
    assert_eq!(u32::from_le_bytes(BEGINNING), 16180);
    check(&[], whole.clone());
    // What follows the mode is not asked for, nor are the marks of malloc, nor what it gave beyond.
    check(&[(STATE + 8, 16180 | 1 << 32)], whole.clone());
    for piece in [16, 16 | 7, 32, 32 | 1, 48] {
        check(&[(WINDOW - 8, SIZE + piece)], whole.clone());
    }
    check(&[(STATE + 56, 9), (WINDOW - 8, 512 + 17)], Some(WINDOW..WINDOW + 512));
    assert_eq!(unused(&words(&[]), &[]), []);
    let (two, other) = ([STATE + 8, STATE + 24], [STATE + 8 + 4, 0, 7, u64::MAX]);
    assert_eq!(unused(&words(&[]), &two), whole.into_iter().collect::<Vec<_>>());
    assert_eq!(unused(&words(&[]), &other), []);
    assert!(may_begin(&(STATE + 8)) && [0, 4, 12, 16, 24 + 4].iter().all(|part| !may_begin(&(STATE + part))));
}

#[test]
fn what_may_be_in_use_is_left_alone() {
    // A window that has a size, bytes, a place for the next one.
    for field in [(STATE + 56, 15 | 1 << 47), (STATE + 64, 1), (STATE + 64, 1 << 32)] {
        check(&[field], None);
    }
    // No window, one of another size than malloc has noted, one that is no piece of malloc's.
    for window in [0, 8, WINDOW + 8, u64::MAX - 7] {
        check(&[(STATE + 72, window), (WINDOW, SIZE + 17)], None);
    }
    for piece in [0, 7, SIZE, SIZE + 64, SIZE * 2 + 16, u64::MAX] {
        check(&[(WINDOW - 8, piece)], None);
    }
    for logarithm in [0, 7, 14, 16, 64] {
        check(&[(STATE + 56, logarithm)], None);
    }
    // Two that have one and the same.
    assert_eq!(unused(&words(&[]), &[STATE + 8, STATE + 8]), []);
    // Nothing that points back.
    for stream in [0, STATE, u64::MAX - 55] {
        check(&[(STATE, stream)], None);
    }
    for back in [0, STATE + 16] {
        check(&[(STREAM + 56, back)], None);
    }
    // Nothing known of one of them.
    for (address, _) in inflater().into_iter().filter(|(address, _)| *address != STATE + 8) {
        let mut words = words(&[]);
        words.0.remove(&address);
        assert_eq!(unused(&words, &[STATE + 8]), [], "{address:x}");
    }
}

#[test]
fn a_dump_has_no_pages_of_such_a_window() {
    // The inflater goes from one page into the next, its window begins in the third.
    let (start, state, window, stream) = (STATE - 0x1000, STATE - 64, STATE + 0x1010, STATE + 0xb000);
    let planted = |change: &[(u64, u64)]| {
        let words =
            [(state, stream), (state + 8, 16180), (state + 56, 15), (state + 64, 0), (state + 72, window)];
        let whole = [(stream + 56, state), (window - 8, SIZE + 17)];
        words.into_iter().chain(whole).chain(change.iter().copied()).collect::<Vec<_>>()
    };
    let check = |change: &[(u64, u64)], expected: &[u64]| {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let words = planted(change).into_iter().map(|(at, word)| ((at - start) as usize, word.to_le_bytes()));
        let words: Vec<_> = words.collect();
        let words: Vec<(usize, &[u8])> = words.iter().map(|(at, word)| (*at, &word[..])).collect();
        let files = process(&store, start, &[Page::Read; 16], &words);
        let Remapped { files, read, windows, .. } = remap(&store, files, None).unwrap();
        assert_eq!((windows, read), (expected.len() as u64 * PAGE, (16 - expected.len() as u64) * PAGE));
        let there = processes(&store, &files).unwrap().remove(0).pieces;
        let gone =
            (0..16).filter(|page| !there.iter().any(|piece| piece.at.contains(&(start + page * PAGE))));
        assert_eq!(gone.collect::<Vec<_>>(), expected);
    };
    check(&[], &[3, 4, 5, 6, 7, 8, 9]);
    check(&[(state + 64, 1)], &[]);
}

proptest! {
    /// Whatever a dump says, nothing breaks, and what is called unused lies where a window is said to be.
    #[test]
    fn any_word_may_be_wrong(which in 0..6_usize, value: u64, at in prop_oneof![Just(STATE + 8), any::<u64>()]) {
        let changed = words(&[(inflater()[which].0, value)]);
        for range in unused(&changed, &[at]) {
            prop_assert!(range.start == changed.0[&(STATE + 72)] && range.end - range.start <= SIZE);
        }
    }
}
