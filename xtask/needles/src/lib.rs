//! Many byte strings, the *needles*, found in one pass over a haystack, whatever their number.
//!
//! The haystack is looked at in every third byte only: four bytes from there on, a *window*. Of each needle three windows
//! in a row are known, so that wherever it lies, exactly one of them begins at a byte that is looked at. Whether a window
//! may be known is told by a table that the processor's first caches hold, of eight windows without a branch; what may be
//! is looked up, and what is known is compared with the needles that have it. So the price is that of the haystack, and
//! what its content makes of it: how often it has four bytes in common with a needle. The three windows are therefore
//! chosen to be rare in memory, where zeros and small numbers are everywhere.
//!
//! A crate of its own, since it is worth nothing unoptimised: the workspace builds this one optimised, and the tool not.

use std::ops::Range;

/// Bytes of a window.
const WINDOW: usize = 4;
/// Every which byte is looked at, and how many windows of each needle are known.
const STRIDE: usize = 3;
/// The fewest bytes that a needle can have: three windows in a row.
pub const LEAST: usize = WINDOW + STRIDE - 1;

/// Windows that are looked at without a branch between.
const BLOCK: usize = 8;
/// Entries of the table, by the number of windows: the fewer, the closer to the core, and the more often is told wrong.
const SMALL: usize = 1 << 15;
const MIDDLE: usize = 1 << 16;
const LARGE: usize = 1 << 17;
/// Entries of the table for each window, at least.
const SPARSE: usize = 32;
/// Lists of known windows, as a power of two.
const LISTS: u32 = 15;

/// Needles, ready to be found.
pub struct Needles {
    needles: Vec<Vec<u8>>,
    /// Not zero for each hash that a known window has.
    table: Table,
    /// The known windows, list by list.
    known: Vec<Known>,
    /// Where each list begins, and the end of the last.
    lists: Vec<u32>,
    /// The farthest that a known window begins from the beginning of its needle.
    farthest: usize,
}

enum Table {
    Small(Box<[u8; SMALL]>),
    Middle(Box<[u8; MIDDLE]>),
    Large(Box<[u8; LARGE]>),
}

/// A window of a needle.
#[derive(Clone, Copy)]
struct Known {
    window: u32,
    /// Where it begins in the needle.
    offset: u32,
    needle: u32,
}

impl Needles {
    /// Takes needles of [`LEAST`] and more bytes.
    ///
    /// # Errors
    /// The number of one that has fewer.
    pub fn new(needles: Vec<Vec<u8>>) -> Result<Needles, usize> {
        let mut known = Vec::new();
        for (number, needle) in needles.iter().enumerate() {
            if needle.len() < LEAST {
                return Err(number);
            }
            let first = rarest(needle);
            for offset in first..first + STRIDE {
                let window = window(&needle[offset..]);
                known.push(Known { window, offset: offset as u32, needle: number as u32 });
            }
        }
        known.sort_by_key(|known| list(known.window));
        // How many come before each list.
        let mut lists = vec![0; (1 << LISTS) + 1];
        known.iter().for_each(|known| lists[list(known.window) + 1] += 1);
        (1..lists.len()).for_each(|list| lists[list] += lists[list - 1]);
        let entries = known.len() * SPARSE;
        let table = if entries <= SMALL {
            Table::Small(table(&known))
        } else if entries <= MIDDLE {
            Table::Middle(table(&known))
        } else {
            Table::Large(table(&known))
        };
        let farthest = known.iter().map(|known| known.offset as usize).max().unwrap_or_default();
        Ok(Needles { needles, table, known, lists, farthest })
    }

    /// Tells of every needle that begins at one of these positions and ends within the haystack: its number, and where it
    /// begins. Each once, in no order.
    pub fn find(&self, haystack: &[u8], within: Range<usize>, found: &mut dyn FnMut(usize, usize)) {
        match &self.table {
            _ if self.needles.is_empty() || within.is_empty() => {}
            Table::Small(table) => self.sweep(table, haystack, within, found),
            Table::Middle(table) => self.sweep(table, haystack, within, found),
            Table::Large(table) => self.sweep(table, haystack, within, found),
        }
    }

    fn sweep<const SIZE: usize>(
        &self,
        table: &[u8; SIZE],
        haystack: &[u8],
        within: Range<usize>,
        found: &mut dyn FnMut(usize, usize),
    ) {
        // A needle that begins at the last position has its last window there.
        let end = haystack.len().min(within.end + self.farthest + WINDOW);
        let mut at = within.start;
        // The last window of a block ends a byte behind it.
        let blocks =
            haystack.get(at..end).unwrap_or_default().windows(BLOCK * STRIDE + 1).step_by(BLOCK * STRIDE);
        for block in blocks {
            let may_be = |number: usize| table[entry::<SIZE>(window(&block[number * STRIDE..]))];
            if (0..BLOCK).fold(0, |any, number| any | may_be(number)) != 0 {
                for number in (0..BLOCK).filter(|number| may_be(*number) != 0) {
                    self.look(haystack, at + number * STRIDE, &within, found);
                }
            }
            at += BLOCK * STRIDE;
        }
        while at + WINDOW <= end {
            self.look(haystack, at, &within, found);
            at += STRIDE;
        }
    }

    /// Tells of the needles that have the window at `at` where they have it.
    fn look(&self, haystack: &[u8], at: usize, within: &Range<usize>, found: &mut dyn FnMut(usize, usize)) {
        let window = window(&haystack[at..]);
        let list = list(window);
        let (from, to) = (self.lists[list] as usize, self.lists[list + 1] as usize);
        for known in self.known[from..to].iter().filter(|known| known.window == window) {
            let start = at.checked_sub(known.offset as usize).filter(|start| within.contains(start));
            let needle = &self.needles[known.needle as usize];
            if let Some(start) = start
                && haystack[start..].starts_with(needle)
            {
                found(known.needle as usize, start);
            }
        }
    }
}

/// The first four bytes, as a number.
#[inline(always)]
fn window(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Spreads windows over the numbers of so many bits.
#[inline(always)]
fn hash(window: u32, bits: u32) -> usize {
    (window.wrapping_mul(0x9e37_79b1) >> (32 - bits)) as usize
}

#[inline(always)]
fn entry<const SIZE: usize>(window: u32) -> usize {
    // The rest says nothing but to the compiler, which then leaves out a check.
    hash(window, SIZE.trailing_zeros()) % SIZE
}

fn list(window: u32) -> usize {
    hash(window, LISTS)
}

fn table<const SIZE: usize>(known: &[Known]) -> Box<[u8; SIZE]> {
    let mut table = Box::new([0; SIZE]);
    known.iter().for_each(|known| table[entry::<SIZE>(known.window)] = 1);
    table
}

/// Where the three windows begin that are the rarest of a needle; the first of those that are equally rare.
fn rarest(needle: &[u8]) -> usize {
    let common = |place: &usize| {
        let windows = needle[*place..*place + LEAST].windows(WINDOW);
        windows.map(|window| window.iter().map(|byte| weight(*byte)).product::<f64>()).sum::<f64>()
    };
    (0..=needle.len() - LEAST).min_by(|a, b| common(a).total_cmp(&common(b))).unwrap_or_default()
}

/// How often a byte is met in the memory of a JVM, roughly, in thousandths: half of it is zeros, small numbers and bytes of
/// 0xff are a part of every object, and text has lower-case letters more than others.
fn weight(byte: u8) -> f64 {
    match byte {
        0 => 500.0,
        0xff => 20.0,
        b'a'..=b'z' | b'/' | b'.' => 8.0,
        1..=0x1f | 0xf0..=0xfe => 5.0,
        b'A'..=b'Z' | b'0'..=b'9' | b' ' | b'_' | b'$' | b'%' => 3.0,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests;
