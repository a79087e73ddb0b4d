use std::ops::Range;

use proptest::prelude::*;

use super::super::made::Words;
use super::super::windows::{BEGINNING, unused};

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
fn check(changes: &[(u64, u64)], expected: &[Range<u64>]) {
    assert_eq!(unused(&words(changes), &[STATE + 8]), expected, "{changes:x?}");
}

#[test]
fn a_window_of_no_size_is_unused() {
    let whole = [WINDOW..WINDOW + SIZE];
    assert_eq!(u32::from_le_bytes(BEGINNING), 16180);
    check(&[], &whole);
    // What follows the mode is not asked for, nor are the marks of malloc, nor what it gave beyond.
    check(&[(STATE + 8, 16180 | 1 << 32)], &whole);
    for piece in [16, 16 | 7, 32, 32 | 1, 48] {
        check(&[(WINDOW - 8, SIZE + piece)], &whole);
    }
    check(&[(STATE + 56, 9), (WINDOW - 8, 512 + 17)], &[WINDOW..WINDOW + 512]);
    assert_eq!(unused(&words(&[]), &[]), []);
    let (twice, other) = ([STATE + 8, STATE + 24], [STATE + 8 + 4, 0, 7, u64::MAX]);
    assert_eq!(unused(&words(&[]), &twice), whole);
    assert_eq!(unused(&words(&[]), &other), []);
}

#[test]
fn what_may_be_in_use_is_left_alone() {
    // A window that has a size, bytes, a place for the next one.
    for field in [(STATE + 56, 15 | 1 << 47), (STATE + 64, 1), (STATE + 64, 1 << 32)] {
        check(&[field], &[]);
    }
    // No window, one of another size than malloc has noted, one that is no piece of malloc's.
    for window in [0, 8, WINDOW + 8, u64::MAX - 7] {
        check(&[(STATE + 72, window), (WINDOW, SIZE + 17)], &[]);
    }
    for piece in [0, 7, SIZE, SIZE + 64, SIZE * 2 + 16, u64::MAX] {
        check(&[(WINDOW - 8, piece)], &[]);
    }
    for logarithm in [0, 7, 14, 16, 64] {
        check(&[(STATE + 56, logarithm)], &[]);
    }
    // Nothing that points back.
    for stream in [0, STATE, u64::MAX - 55] {
        check(&[(STATE, stream)], &[]);
    }
    for back in [0, STATE + 16] {
        check(&[(STREAM + 56, back)], &[]);
    }
    // Nothing known of one of them.
    for (address, _) in inflater().into_iter().filter(|(address, _)| *address != STATE + 8) {
        let mut words = words(&[]);
        words.0.remove(&address);
        assert_eq!(unused(&words, &[STATE + 8]), [], "{address:x}");
    }
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
