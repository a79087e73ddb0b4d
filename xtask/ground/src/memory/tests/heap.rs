use std::collections::BTreeMap;

use proptest::prelude::*;

use super::Words;
use crate::memory::heap::unused;

/// Where the library is mapped, where its table, its names and its objects are.
const START: u64 = 0x7000_0000;
const TABLE: u64 = START + 0x1_0000;
const NAMES: u64 = START + 0x2_0000;
const HEAP: u64 = 0x5000_0000;
/// Where the parallel collector's generations are named.
const YOUNG: u64 = HEAP + 8;
const OLD: u64 = HEAP + 16;
/// What the table has of each field: two names, an offset, an address.
const STRIDE: u64 = 48;
const SYMBOLS: [(&str, u64); 7] = [
    ("gHotSpotVMStructs", TABLE),
    ("gHotSpotVMStructEntryArrayStride", STRIDE),
    ("gHotSpotVMStructEntryTypeNameOffset", 0),
    ("gHotSpotVMStructEntryFieldNameOffset", 8),
    ("gHotSpotVMStructEntryOffsetOffset", 32),
    ("gHotSpotVMStructEntryAddressOffset", 40),
    ("gHotSpotVMStructEntryIsStaticOffset", 24),
];

/// Type, field, offset; the address of the one that is static.
type Field = (&'static str, &'static str, u64);

/// As JDK 21 has them.
const JDK_21: [Field; 14] = [
    ("Universe", "_collectedHeap", HEAP),
    ("CollectedHeap", "_reserved", 32),
    ("CollectedHeap", "_is_stw_gc_active", 48),
    ("MemRegion", "_start", 0),
    ("MemRegion", "_word_size", 8),
    ("GenCollectedHeap", "_young_gen", 96),
    ("GenCollectedHeap", "_old_gen", 104),
    ("DefNewGeneration", "_eden_space", 736),
    ("DefNewGeneration", "_from_space", 744),
    ("DefNewGeneration", "_to_space", 752),
    ("TenuredGeneration", "_the_space", 256),
    ("Space", "_bottom", 8),
    ("Space", "_end", 16),
    ("ContiguousSpace", "_top", 48),
];

/// The same with the parallel collector.
const PARALLEL: [Field; 14] = [
    ("Universe", "_collectedHeap", HEAP),
    ("CollectedHeap", "_reserved", 32),
    ("CollectedHeap", "_is_stw_gc_active", 48),
    ("MemRegion", "_start", 0),
    ("MemRegion", "_word_size", 8),
    ("ParallelScavengeHeap", "_young_gen", YOUNG),
    ("ParallelScavengeHeap", "_old_gen", OLD),
    ("PSYoungGen", "_eden_space", 144),
    ("PSYoungGen", "_from_space", 152),
    ("PSYoungGen", "_to_space", 160),
    ("PSOldGen", "_object_space", 96),
    ("ImmutableSpace", "_bottom", 0),
    ("ImmutableSpace", "_end", 8),
    ("MutableSpace", "_top", 40),
];

/// Bottom, top and end of eden, from, to and old.
const SPACES: [[u64; 3]; 4] = [
    [0xf000_0000, 0xf010_0008, 0xf0a0_0000],
    [0xf0a0_0000, 0xf0a0_0000, 0xf0b0_0000],
    [0xf0b0_0000, 0xf0b0_4000, 0xf0c0_0000],
    [0xf500_0000, 0xf680_0000, 0xf6e0_0000],
];

/// A JVM with these fields and spaces, in the midst of a collection or not.
fn jvm(table: &[Field], spaces: [[u64; 3]; 4], collecting: u64) -> Words {
    let mut words = BTreeMap::new();
    for ((_, value), variable) in SYMBOLS.iter().zip(0..) {
        words.insert(START + 8 * variable, *value);
    }
    let mut end = NAMES;
    let mut name = |words: &mut BTreeMap<u64, u64>, text: &str| {
        let at = end;
        for bytes in [text.as_bytes(), &[0; 8]].concat().chunks_exact(8) {
            words.insert(end, u64::from_le_bytes(bytes.try_into().unwrap()));
            end += 8;
        }
        at
    };
    for ((kind, field, place), entry) in table.iter().zip(0..) {
        let at = TABLE + entry * STRIDE;
        let (kind, field) = (name(&mut words, kind), name(&mut words, field));
        words.extend([(at, kind), (at + 8, field), (at + 32, *place), (at + 40, *place)]);
    }
    words.insert(TABLE + table.len() as u64 * STRIDE, 0);

    let of = |name: &str| table.iter().find(|(_, field, _)| *field == name).map_or(0, |(_, _, place)| *place);
    let serial = table.iter().any(|(kind, ..)| *kind == "DefNewGeneration");
    let heap = HEAP + 0x1000;
    let generations = if serial { heap } else { 0 };
    words.insert(HEAP, heap);
    words.extend([(heap + 32, 0xf000_0000), (heap + 40, 0x1000_0000 / 8), (heap + 48, collecting)]);
    let (young, old) = (HEAP + 0x2000, HEAP + 0x3000);
    words.extend([(generations + of("_young_gen"), young), (generations + of("_old_gen"), old)]);
    let whole = if serial { "_the_space" } else { "_object_space" };
    let owners = [(young, "_eden_space"), (young, "_from_space"), (young, "_to_space"), (old, whole)];
    for (((generation, field), [bottom, top, end]), number) in owners.into_iter().zip(spaces).zip(4..) {
        let space = HEAP + number * 0x1000;
        words.insert(generation + of(field), space);
        words.extend([(space + of("_bottom"), bottom), (space + of("_top"), top), (space + of("_end"), end)]);
    }
    Words(words)
}

/// A library that has nothing but its symbols: an ELF header, two sections, their contents.
fn library() -> Vec<u8> {
    let mut names = vec![0];
    let mut symbols = vec![0; 24];
    for ((name, _), variable) in SYMBOLS.iter().zip(0_u64..) {
        symbols.extend((names.len() as u32).to_le_bytes());
        // A global object of section 1.
        symbols.extend([0x11, 0, 1, 0]);
        symbols.extend([8 * variable, 8].map(u64::to_le_bytes).concat());
        names.extend([name.as_bytes(), &[0]].concat());
    }
    let header = 64_u64;
    let (symbols_at, names_at) = (header, header + symbols.len() as u64);
    let sections_at = names_at + names.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([3_u16, 62].map(u16::to_le_bytes).concat());
    elf.extend(1_u32.to_le_bytes());
    elf.extend([0, 0, sections_at].map(u64::to_le_bytes).concat());
    elf.extend(0_u32.to_le_bytes());
    elf.extend([64_u16, 56, 0, 64, 3, 2].map(u16::to_le_bytes).concat());
    elf.extend(symbols.iter().chain(&names));
    // Nothing, SHT_DYNSYM with the names in section 2, SHT_STRTAB.
    let section = |kind: u32, at: u64, size: usize, link: u32, entry: u64| {
        let mut bytes = [0_u32, kind].map(u32::to_le_bytes).concat();
        bytes.extend([0, 0, at, size as u64].map(u64::to_le_bytes).concat());
        bytes.extend([link, 1].map(u32::to_le_bytes).concat());
        bytes.extend([8, entry].map(u64::to_le_bytes).concat());
        bytes
    };
    elf.extend(section(0, 0, 0, 0, 0));
    elf.extend(section(11, symbols_at, symbols.len(), 2, 24));
    elf.extend(section(3, names_at, names.len(), 0, 0));
    elf
}

#[test]
fn what_lies_above_the_tops_is_unused() {
    let check = |memory: &Words, expected: Option<&[[u64; 3]]>| {
        let expected =
            expected.map(|spaces| spaces.iter().map(|[_, top, end]| *top..*end).collect::<Vec<_>>());
        assert_eq!(unused(memory, &library(), START), expected);
    };
    check(&jvm(&JDK_21, SPACES, 0), Some(&SPACES));
    // JDK 17 calls the flag otherwise, JDK 25 the heap and the fields' owner.
    let renamed = |old: &str, new: &'static str| {
        JDK_21.map(|(kind, field, place)| {
            let renamed = |name: &'static str| if name == old { new } else { name };
            (renamed(kind), renamed(field), place)
        })
    };
    check(&jvm(&renamed("_is_stw_gc_active", "_is_gc_active"), SPACES, 0), Some(&SPACES));
    check(&jvm(&renamed("GenCollectedHeap", "SerialHeap"), SPACES, 0), Some(&SPACES));
    check(&jvm(&renamed("Space", "ContiguousSpace"), SPACES, 0), Some(&SPACES));

    check(&jvm(&PARALLEL, SPACES, 0), Some(&SPACES));
    // A JVM has the fields of all its collectors.
    let all = [&JDK_21[..], &PARALLEL[5..]].concat();
    for absent in [[0, 0], [HEAP, 0], [0, HEAP]] {
        let mut memory = jvm(&all, SPACES, 0);
        memory.0.extend([(YOUNG, absent[0]), (OLD, absent[1])]);
        check(&memory, Some(&SPACES));
    }

    for table in [JDK_21, PARALLEL] {
        // In a collection, objects lie above tops.
        check(&jvm(&table, SPACES, 1), None);
        for missing in 0..table.len() {
            let mut table = table.to_vec();
            table.remove(missing);
            check(&jvm(&table, SPACES, 0), None);
        }
    }
    // Numbers of another collector, or of no heap at all: outside, upside down, in each other, crooked.
    for (space, part, wrong) in [
        (0, 0, 0xe000_0000),
        (3, 2, 0x1_0000_1000),
        (0, 1, 0xf0a0_0008),
        (1, 0, 0xf0b0_0000),
        (1, 2, 0xf0b0_1000),
        (2, 1, 0xf0b0_4004),
        (3, 1, 0),
    ] {
        let mut spaces = SPACES;
        spaces[space][part] = wrong;
        check(&jvm(&JDK_21, spaces, 0), None);
        check(&jvm(&PARALLEL, spaces, 0), None);
    }
    for cut in [0, 16, 63, 200, library().len() - 1] {
        assert_eq!(unused(&jvm(&JDK_21, SPACES, 0), &library()[..cut], START), None);
    }
}

proptest! {
    /// Whatever a dump says, nothing breaks, and nothing outside of the heap is called unused.
    #[test]
    fn any_word_may_be_wrong(
        parallel: bool,
        which in 0..500_usize,
        value in prop_oneof![any::<u64>(), 0x5000_0000..0x5001_0000_u64],
    ) {
        let mut memory = jvm(if parallel { &PARALLEL } else { &JDK_21 }, SPACES, 0);
        let which = which % memory.0.len();
        *memory.0.values_mut().nth(which).unwrap() = value;
        for range in unused(&memory, &library(), START).into_iter().flatten() {
            prop_assert!(range.start <= range.end);
        }
    }
}
