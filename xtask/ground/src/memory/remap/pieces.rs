//! Pieces that malloc has mapped by themselves, as it does with large ones.
//!
//! `realloc` has the kernel make such a piece larger (mremap(2)). What a file's mapping gains is what follows in the file, and
//! past the file's end there is nothing: whoever touches that dies of SIGBUS. The kernel refuses to enlarge what is more than
//! one mapping (EFAULT), and the GNU C library then takes a new piece and copies. So a piece that would lie in the file as a
//! whole keeps its last page out of it.

use std::ops::Range;

/// `IS_MMAPPED` of glibc's `malloc.c`, and all three of the marks that share a word with the size.
const MAPPED: u64 = 2;
const MARKS: u64 = 7;

/// What newer versions leave out of the length that they note: the two words themselves (seen with JDK 21's rock of 2026-11).
const HEAD: u64 = 16;

/// The length of the piece that begins with this page, which notes it in its second word; 0 where none does. What only looks
/// like one does no harm.
pub(super) fn length(page: &[u8]) -> u64 {
    let size = page.len() as u64;
    let noted = page.get(8..16).and_then(|word| word.try_into().ok()).map_or(0, u64::from_le_bytes);
    if page[..8] != [0; 8] || noted & MARKS != MAPPED {
        return 0;
    }
    let noted = noted & !MARKS;
    let lengths = [noted, noted.saturating_add(HEAD)];
    lengths.into_iter().find(|length| length.is_multiple_of(size)).unwrap_or_default()
}

/// Runs of pages without the last page of each piece that lies whole in one of them. Both are sorted.
pub(super) fn cut(
    runs: Vec<Range<u64>>,
    pieces: impl Iterator<Item = Range<u64>>,
    size: u64,
) -> Vec<Range<u64>> {
    let mut pieces = pieces.peekable();
    let mut cut = Vec::new();
    for mut run in runs {
        while let Some(piece) = pieces.next_if(|piece| piece.start < run.end) {
            if run.start <= piece.start && piece.end <= run.end {
                cut.push(run.start..piece.end - size);
                run.start = piece.end;
            }
        }
        cut.push(run);
    }
    cut.retain(|run| !run.is_empty());
    cut
}
