//! The part of a dumped JVM's heap that holds no objects.
//!
//! The serial and the parallel collector give out memory of a space from its bottom up; what lies above its top is what an
//! earlier collection left there. Nobody reads it before it is written: objects are cleared when they are made. So it need
//! not be dumped, which a collection cannot bring about, as it moves objects and clears nothing (Zipkin: 9.6 of 107 MiB).
//!
//! Where the spaces are is told by the table that HotSpot keeps for debuggers (`vmStructs.hpp`, which `jhsdb` goes by):
//! names of fields, and where they are. A JVM that has no such fields, another collector, one that is in the midst of a
//! collection, or a number that does not fit its neighbours: then nothing is known, and everything is kept.

use std::collections::BTreeMap;
use std::ops::Range;

use elf::ElfBytes;
use elf::endian::AnyEndian;

/// More than any JVM's table has (826 in JDK 21).
const FIELDS: u64 = 10_000;
/// Longer than any name in it.
const NAME: usize = 256;

/// The memory of a process at the moment of its dump.
pub(super) trait Memory {
    /// As many of the bytes from an address on as lie in one place, and how many these are; `None` if the first is not known.
    fn part(&self, address: u64, bytes: &mut [u8]) -> Option<usize>;

    /// The bytes from an address on, if they are known.
    fn read(&self, mut address: u64, mut bytes: &mut [u8]) -> Option<()> {
        while !bytes.is_empty() {
            let here = self.part(address, bytes)?;
            address = address.checked_add(here as u64)?;
            bytes = &mut bytes[here..];
        }
        Some(())
    }

    /// A word, or an address.
    fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Some(u64::from_le_bytes(bytes))
    }
}

/// Addresses of memory that the heap has and does not use. `library` is the file of the JVM, which the process has mapped
/// from `start` on.
pub(super) fn unused(memory: &impl Memory, library: &[u8], start: u64) -> Option<Vec<Range<u64>>> {
    let fields = Fields::read(memory, library, start)?;
    let heap = memory.word(fields.at("Universe", "_collectedHeap")?)?;
    let collecting = fields.first(&["CollectedHeap"], &["_is_stw_gc_active", "_is_gc_active"])?;
    let mut active = [0];
    memory.read(heap.checked_add(collecting)?, &mut active)?;
    if active != [0] {
        return None;
    }
    let region = heap.checked_add(fields.first(&["CollectedHeap"], &["_reserved"])?)?;
    let reserved = memory.word(region.checked_add(fields.first(&["MemRegion"], &["_start"])?)?)?;
    let words = memory.word(region.checked_add(fields.first(&["MemRegion"], &["_word_size"])?)?)?;
    let reserved = reserved..reserved.checked_add(words.checked_mul(8)?)?;

    let mut spaces = fields.parallel(memory).or_else(|| fields.serial(memory, heap))?;
    spaces.sort_unstable();
    let ordered = spaces
        .iter()
        .all(|(bottom, top, end)| bottom <= top && top <= end && bottom < end && top.is_multiple_of(8));
    let apart = spaces.windows(2).all(|pair| pair[0].2 <= pair[1].0);
    let inside = spaces.iter().all(|(bottom, _, end)| reserved.contains(bottom) && *end <= reserved.end);
    (ordered && apart && inside).then(|| spaces.into_iter().map(|(_, top, end)| top..end).collect())
}

/// Bottom, top and end.
type Space = (u64, u64, u64);

/// HotSpot's table of its fields.
struct Fields(BTreeMap<(String, String), Field>);

struct Field {
    /// In an object of the type.
    offset: u64,
    /// Of a static field.
    address: u64,
}

impl Fields {
    fn read(memory: &impl Memory, library: &[u8], start: u64) -> Option<Fields> {
        let symbols = symbols(library)?;
        let variable =
            |name: &str| memory.word(start.checked_add(*symbols.get(&format!("gHotSpotVM{name}"))?)?);
        let entry = |name: &str| variable(&format!("StructEntry{name}"));
        let (table, stride) = (variable("Structs")?, entry("ArrayStride")?);
        let type_name = entry("TypeNameOffset")?;
        let field_name = entry("FieldNameOffset")?;
        let (offset, address) = (entry("OffsetOffset")?, entry("AddressOffset")?);
        let mut fields = BTreeMap::new();
        for number in 0..FIELDS {
            let at = table.checked_add(number.checked_mul(stride)?)?;
            let of = |offset: u64| memory.word(at.checked_add(offset)?);
            // The last one has no names.
            let name = of(type_name)?;
            if name == 0 {
                return Some(Fields(fields));
            }
            let names = (text(memory, name)?, text(memory, of(field_name)?)?);
            fields.insert(names, Field { offset: of(offset)?, address: of(address)? });
        }
        None
    }

    /// The spaces of the serial collector.
    fn serial(&self, memory: &impl Memory, heap: u64) -> Option<Vec<Space>> {
        let heaps = ["SerialHeap", "GenCollectedHeap"];
        let young = self.follow(memory, heap, &heaps, "_young_gen")?;
        let old = self.follow(memory, heap, &heaps, "_old_gen")?;
        let spaces = [
            (young, "DefNewGeneration", "_eden_space"),
            (young, "DefNewGeneration", "_from_space"),
            (young, "DefNewGeneration", "_to_space"),
            (old, "TenuredGeneration", "_the_space"),
        ];
        self.spaces(memory, spaces, &["ContiguousSpace", "Space"])
    }

    /// Those of the parallel collector, whose generations are static: null under any other.
    fn parallel(&self, memory: &impl Memory) -> Option<Vec<Space>> {
        let generation =
            |name| memory.word(self.at("ParallelScavengeHeap", name)?).filter(|generation| *generation != 0);
        let (young, old) = (generation("_young_gen")?, generation("_old_gen")?);
        let spaces = [
            (young, "PSYoungGen", "_eden_space"),
            (young, "PSYoungGen", "_from_space"),
            (young, "PSYoungGen", "_to_space"),
            (old, "PSOldGen", "_object_space"),
        ];
        self.spaces(memory, spaces, &["MutableSpace", "ImmutableSpace"])
    }

    /// Of each: its generation, the generation's type, the field that leads to it.
    fn spaces(
        &self,
        memory: &impl Memory,
        spaces: [(u64, &str, &str); 4],
        types: &[&str],
    ) -> Option<Vec<Space>> {
        let of = |(generation, name, field)| {
            let space = self.follow(memory, generation, &[name], field)?;
            let of = |name| self.follow(memory, space, types, name);
            Some((of("_bottom")?, of("_top")?, of("_end")?))
        };
        spaces.into_iter().map(of).collect()
    }

    /// What a field of an object points to.
    fn follow(&self, memory: &impl Memory, object: u64, types: &[&str], name: &str) -> Option<u64> {
        memory.word(object.checked_add(self.first(types, &[name])?)?).filter(|object| *object != 0)
    }

    fn get(&self, name: &str, field: &str) -> Option<&Field> {
        self.0.get(&(name.to_owned(), field.to_owned()))
    }

    /// Where a static field is.
    fn at(&self, name: &str, field: &str) -> Option<u64> {
        Some(self.get(name, field)?.address)
    }

    /// Where in an object a field is that has had several names, in several types.
    fn first(&self, types: &[&str], names: &[&str]) -> Option<u64> {
        let all = types.iter().flat_map(|of| names.iter().map(move |name| (of, name)));
        all.map(|(of, name)| self.get(of, name)).find_map(|field| Some(field?.offset))
    }
}

/// A string as C has it.
fn text(memory: &impl Memory, address: u64) -> Option<String> {
    let mut text = Vec::new();
    for address in address..address.checked_add(NAME as u64)? {
        let mut byte = [0];
        memory.read(address, &mut byte)?;
        if byte == [0] {
            return String::from_utf8(text).ok();
        }
        text.extend(byte);
    }
    None
}

/// What the library has for others to see.
fn symbols(library: &[u8]) -> Option<BTreeMap<String, u64>> {
    let file = ElfBytes::<AnyEndian>::minimal_parse(library).ok()?;
    let (symbols, names) = file.dynamic_symbol_table().ok()??;
    let named = symbols.iter().filter_map(|symbol| {
        Some((names.get(usize::try_from(symbol.st_name).ok()?).ok()?.to_owned(), symbol.st_value))
    });
    Some(named.collect())
}
