//! The windows of inflaters that are at their beginning.
//!
//! zlib keeps the last 32 KiB of what it has inflated, for what follows to refer to. `inflateReset` forgets them and gives
//! back no memory. Java keeps such an inflater with each jar that is open, for the next class that is read of it, and Spring
//! Boot opens every jar within its jar: 138 windows in PetClinic's memory, 238 in Zipkin's. Nobody reads a window of no
//! size before it is written: what an inflater copies from it is bounded by what it holds (`inflate.c`), which is nothing.
//!
//! For a moment it may belong to somebody else: while `inflateInit2_` makes an inflater of memory that held one, and between
//! the two calls of `free` in `inflateEnd`. A dump would have to freeze a thread right there while another has taken that very
//! piece and filled it, and an application is idle when it is dumped.
//!
//! An inflater is told by the mode in which zlib (since 1.2.9; Java's own copy of it too) has one at its beginning, by
//! two structures that point to each other, and by the size that malloc of the GNU C library notes before the window.
//! Where one of these is not as it was with zlib 1.3.2 and glibc's malloc, nothing is known, and everything is kept.

use std::ops::Range;

use super::heap::Memory;

/// `inflate_mode` `HEAD` of zlib's `inflate.h`: waiting for the first byte.
pub(super) const BEGINNING: [u8; 4] = 16180_u32.to_le_bytes();

/// Of `struct inflate_state` (`inflate.h`), on 64 bits.
mod inflater {
    /// The stream that it inflates.
    pub const STREAM: u64 = 0;
    pub const MODE: u64 = 8;
    /// The logarithm of the size that its window will have, and the size it has: two halves of a word.
    pub const SIZES: u64 = 56;
    /// How many bytes are in the window, and where in it the next one goes: two halves of a word.
    pub const FILLED: u64 = 64;
    pub const WINDOW: u64 = 72;
}
/// Of `struct z_stream_s` (`zlib.h`), on 64 bits: its inflater.
const STATE: u64 = 56;
/// The logarithms of sizes that zlib allows (`inflateReset2`).
const LOGARITHMS: Range<u64> = 8..16;
/// What malloc adds to a piece at most: its own size, to a multiple of 16 (its `malloc.c`), and what is too little to be
/// a piece of its own.
const ADDED: Range<u64> = 8..49;

/// Whether an inflater can have its mode at this address: malloc gives out what is a multiple of 16.
pub(super) fn may_begin(address: &u64) -> bool {
    address % 16 == inflater::MODE
}

/// Addresses of windows that hold nothing, sorted. `beginnings`: where [`BEGINNING`] stands.
pub(super) fn unused(memory: &impl Memory, beginnings: &[u64]) -> Vec<Range<u64>> {
    let mut found: Vec<_> = beginnings.iter().filter_map(|beginning| window(memory, *beginning)).collect();
    found.sort_unstable_by_key(|window| window.start);
    // Two inflaters with one window are none.
    found.chunk_by(|a, b| a.start == b.start).filter(|same| same.len() == 1).flatten().cloned().collect()
}

fn window(memory: &impl Memory, beginning: u64) -> Option<Range<u64>> {
    let state = beginning.checked_sub(inflater::MODE)?;
    let of = |field: u64| memory.word(state.checked_add(field)?);
    let stream = of(inflater::STREAM)?;
    let back = memory.word(stream.checked_add(STATE)?)?;
    // The size is the upper half: with it at 0, the word is the logarithm.
    let logarithm = of(inflater::SIZES)?;
    if back != state || !LOGARITHMS.contains(&logarithm) || of(inflater::FILLED)? != 0 {
        return None;
    }
    let window = of(inflater::WINDOW)?;
    let size = 1 << logarithm;
    // Its three lowest bits are marks.
    let piece = memory.word(window.checked_sub(8)?)? & !7;
    let whole = ADDED.contains(&piece.checked_sub(size)?) && window.is_multiple_of(16);
    whole.then_some(window..window.checked_add(size)?)
}
