//! The part of threads' stacks that nothing lies in.
//!
//! A stack grows down. What lies below a thread's stack pointer is what calls left there that have returned: nobody reads it
//! before it is written, as the kernel itself writes there for any signal. So it need not be dumped, and should not be:
//! it may hold what the program thinks gone (Zipkin: 2.1 of 95.7 MiB, from 27 threads).
//!
//! A mapping is taken for a thread's stack where one stack pointer points into it, and memory that may not be touched ends
//! where it begins, as HotSpot has it for every thread that runs Java. A stack that a program has made in the midst of other
//! memory, as coroutines may have it, is left alone, and so are one that grows, and one whose guard is a part of it (glibc's,
//! from 2.42 on).

use std::collections::BTreeMap;
use std::ops::Range;

use super::images::Mapping;
use super::kinds::MAP_GROWSDOWN;

/// Bytes below the stack pointer that belong to the function that runs (System V ABI for x86-64, "The Stack Frame"; there
/// are none on arm64).
const RED_ZONE: u64 = 128;
/// CRIU's `VMA_AREA_REGULAR | VMA_ANON_PRIVATE`: plain memory of the process's own.
const PLAIN: u32 = 1 << 0 | 1 << 9;

/// Addresses below the stack pointers, each from where its stack can end.
pub(super) fn unused(mappings: &[Mapping], stack_pointers: &[u64]) -> Vec<Range<u64>> {
    let mut sorted: Vec<&Mapping> = mappings.iter().collect();
    sorted.sort_by_key(|mapping| mapping.start);
    let mut stacks: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for pointer in stack_pointers {
        let after = sorted.partition_point(|mapping| mapping.start <= *pointer);
        let next = sorted.get(after);
        if let Some([guard, stack]) = after.checked_sub(2).and_then(|from| sorted.get(from..after))
            && *pointer < stack.end
            && stack.status == PLAIN
            && stack.flags & MAP_GROWSDOWN == 0
            && guard.end == stack.start
            && guard.status == PLAIN
            && guard.protection == 0
            // Linux knows no overlap but that of a part that may not be touched.
            && next.is_none_or(|next| stack.end <= next.start)
        {
            stacks.entry(stack.start).or_default().push(*pointer);
        }
    }
    let below = |(start, pointers): (u64, Vec<u64>)| match pointers[..] {
        [pointer] => Some(start..pointer.saturating_sub(RED_ZONE).max(start)),
        _ => None,
    };
    stacks.into_iter().filter_map(below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUARD: Mapping =
        Mapping { start: 0x1000, end: 0x5000, offset: 0, file: 0, protection: 0, flags: 0x22, status: PLAIN };
    const STACK: Mapping = Mapping { start: 0x5000, end: 0x10_0000, protection: 3, ..GUARD };

    #[track_caller]
    fn check(mappings: &[Mapping], stack_pointers: &[u64], expected: &[(u64, u64)]) {
        let found: Vec<_> =
            unused(mappings, stack_pointers).into_iter().map(|range| (range.start, range.end)).collect();
        assert_eq!(found, expected, "{mappings:x?} {stack_pointers:x?}");
    }

    #[test]
    fn what_lies_below_a_stack_pointer_is_unused() {
        let all = [STACK, GUARD];
        check(&all, &[0x9_0000], &[(0x5000, 0x9_0000 - RED_ZONE)]);
        check(&all, &[0x5000 + RED_ZONE], &[(0x5000, 0x5000)]);
        check(&all, &[0x5001], &[(0x5000, 0x5000)]);
        check(&all, &[], &[]);
        let second = [(0x10_0000, 0x10_4000, 0), (0x10_4000, 0x20_0000, 3)]
            .map(|(start, end, protection)| Mapping { start, end, protection, ..GUARD });
        let both = [&all[..], &second].concat();
        let expected = [(0x5000, 0x9_0000 - RED_ZONE), (0x10_4000, 0x18_0000 - RED_ZONE)];
        check(&both, &[0x18_0000, 0x9_0000], &expected);
    }

    #[test]
    fn what_may_be_no_stack_is_left_alone() {
        let at = [0x9_0000];
        // Without a guard, with one that can be read, with one that ends elsewhere.
        check(&[STACK], &at, &[]);
        check(&[Mapping { protection: 1, ..GUARD }, STACK], &at, &[]);
        check(&[Mapping { end: 0x4000, ..GUARD }, STACK], &at, &[]);
        // Of a file, of malloc's heap, shared, growing, guarded by a part of it.
        for status in [0x41, 0x221, 0x101, 0x1_0201] {
            check(&[GUARD, Mapping { status, ..STACK }], &at, &[]);
        }
        check(&[GUARD, Mapping { flags: 0x122, ..STACK }], &at, &[]);
        let part = Mapping { end: 0x6000, status: 1 << 16, ..STACK };
        check(&[GUARD, STACK, part], &at, &[]);
        // Two threads on it.
        check(&[GUARD, STACK], &[0x9_0000, 0x8_0000], &[]);
    }
}
