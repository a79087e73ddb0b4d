//! Against a search that compares every needle at every byte.

use proptest::prelude::*;

use super::*;

fn naive(needles: &[Vec<u8>], haystack: &[u8], within: Range<usize>) -> Vec<(usize, usize)> {
    let at = |start: usize| {
        needles
            .iter()
            .enumerate()
            .filter(move |(_, needle)| haystack[start..].starts_with(needle))
            .map(move |(number, _)| (number, start))
    };
    let mut found: Vec<(usize, usize)> =
        within.filter(|start| *start < haystack.len()).flat_map(at).collect();
    found.sort_unstable();
    found
}

fn found(needles: &[Vec<u8>], haystack: &[u8], within: Range<usize>) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let needles = Needles::new(needles.to_vec()).unwrap();
    needles.find(haystack, within, &mut |needle, at| found.push((needle, at)));
    found.sort_unstable();
    found
}

#[track_caller]
fn check(needles: &[&[u8]], haystack: &[u8], expected: &[(usize, usize)]) {
    let needles: Vec<Vec<u8>> = needles.iter().map(|needle| needle.to_vec()).collect();
    assert_eq!(found(&needles, haystack, 0..haystack.len()), expected);
}

#[test]
fn needles_are_found_where_they_are() {
    check(&[b"needle"], b"needle", &[(0, 0)]);
    check(&[b"needle"], b"needl", &[]);
    check(&[b"needle"], b"", &[]);
    check(&[], b"needle", &[]);
    check(&[b"needle"], b"a needle, needless", &[(0, 2), (0, 10)]);
    check(&[b"needle", b"needle"], b"a needle", &[(0, 2), (1, 2)]);
    check(&[b"needle", b"needles", b"edless"], b"needless", &[(0, 0), (1, 0), (2, 2)]);
    check(&[b"aaaaaa"], b"aaaaaaaa", &[(0, 0), (0, 1), (0, 2)]);
    check(&[&[0; 8]], &[0; 10], &[(0, 0), (0, 1), (0, 2)]);
    assert_eq!(Needles::new(vec![b"needle".to_vec(), b"short".to_vec()]).err(), Some(1));
}

/// At every alignment, and in every length of what is around it.
#[test]
fn a_needle_is_found_at_every_alignment() {
    for length in [LEAST, 7, 8, 9, 23, 24, 25, 26, 100] {
        let needle: Vec<u8> = (0..length).map(|at| (at * 37 + 11) as u8).collect();
        for before in 0..2 * BLOCK * STRIDE + 3 {
            for after in [0, 1, 2, 3, 25, 70] {
                let haystack = [&vec![0xa5; before][..], &needle, &vec![0x5a; after]].concat();
                check(&[&needle], &haystack, &[(0, before)]);
            }
        }
    }
}

/// A haystack that is searched in pieces gives every needle to the piece that it begins in.
#[test]
fn pieces_share_needles_out() {
    let needles: Vec<Vec<u8>> =
        vec![b"abcabcabcabc".to_vec(), b"bcabca".to_vec(), b"\0\0\0\0\0\0\0\0c".to_vec()];
    let haystack = [b"xabcabcabcabcabc".as_slice(), &[0; 30], b"cabcabcabcabc"].concat();
    let whole = naive(&needles, &haystack, 0..haystack.len());
    assert!(whole.len() > 5);
    for size in 1..haystack.len() {
        let mut pieces = Vec::new();
        for start in (0..haystack.len()).step_by(size) {
            pieces.extend(found(&needles, &haystack, start..haystack.len().min(start + size)));
        }
        pieces.sort_unstable();
        assert_eq!(pieces, whole, "pieces of {size}");
    }
}

/// What UTF-16 and UTF-32 make of a text: the windows that are known are not those of zeros alone.
#[test]
fn windows_are_chosen_to_be_rare() {
    let check = |needle: &[u8], expected: &[u8]| {
        let first = rarest(needle);
        assert_eq!(&needle[first..first + LEAST], expected, "{first}");
    };
    check(b"aaaaaa", b"aaaaaa");
    check(b"\0\0\0\0\0\0abcdef\0\0\0", b"abcdef");
    check(b"password#Q7~", b"rd#Q7~");
    check(&[1, 0, 0, 0, b'#', b'Q', b'7', b'~', b'#', b'Q', 0, 0], b"#Q7~#Q");
}

/// Bytes of few kinds, so that needles overlap and nearly match.
fn bytes(length: Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(0_u8..2, length.clone()),
        prop::collection::vec(prop_oneof![Just(0_u8), b'a'..b'd'], length.clone()),
        prop::collection::vec(any::<u8>(), length),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The same hits as the search that compares everything, whatever is planted where, in whichever piece.
    #[test]
    fn finds_what_a_naive_search_finds(
        mut needles in prop::collection::vec(bytes(LEAST..40), 0..40),
        mut haystack in bytes(0..600),
        planted in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..20),
        (from, to) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        wide in any::<bool>(),
    ) {
        if wide {
            let widen = |needle: Vec<u8>| needle.into_iter().flat_map(|byte| [byte, 0]).collect();
            needles = needles.into_iter().map(widen).collect();
        }
        for (which, at) in planted.iter().filter(|_| !needles.is_empty()) {
            let needle = which.get(&needles);
            let at = at.index(haystack.len() + 1);
            haystack.splice(at..haystack.len().min(at + needle.len()), needle.iter().copied());
        }
        let (from, to) = (from.index(haystack.len() + 1), to.index(haystack.len() + 1));
        for within in [0..haystack.len(), from.min(to)..from.max(to)] {
            prop_assert_eq!(found(&needles, &haystack, within.clone()), naive(&needles, &haystack, within));
        }
    }

    /// Thousands of needles, more than there are bits in the table.
    #[test]
    fn many_needles_are_found(seed in any::<u64>(), at in 0_usize..300) {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let needles: Vec<Vec<u8>> = (0..3000).map(|_| [next().to_le_bytes(), next().to_le_bytes()].concat()).collect();
        let mut haystack: Vec<u8> = (0..40).flat_map(|_| next().to_le_bytes()).collect();
        let needle = &needles[(seed % 3000) as usize];
        haystack.splice(at.min(haystack.len())..at.min(haystack.len()), needle.iter().copied());
        let all = 0..haystack.len();
        prop_assert_eq!(found(&needles, &haystack, all.clone()), naive(&needles, &haystack, all));
    }
}
