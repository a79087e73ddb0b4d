//! What is in a zip file, as much of the format as a jar needs: entries that are stored or deflated.
//!
//! `rawzip` finds the entries and believes no length; how much of one is read is the caller's to limit.

use std::collections::HashMap;
use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive, ZipArchiveEntryWayfinder, ZipSliceArchive};

/// A zip file in memory, whose list of entries is sound.
pub struct Zip<'a> {
    archive: ZipSliceArchive<&'a [u8]>,
    entries: Vec<Entry>,
}

struct Entry {
    name: String,
    method: CompressionMethod,
    encrypted: bool,
    place: ZipArchiveEntryWayfinder,
}

impl<'a> Zip<'a> {
    /// Reads the list of entries, none of which is read yet.
    ///
    /// # Errors
    /// Where it is no zip file, or its list is broken or longer or shorter than it says.
    pub fn new(bytes: &'a [u8]) -> Result<Zip<'a>> {
        let archive = ZipArchive::from_slice(bytes).context("it is no zip file")?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut known = HashMap::new();
        let mut count = 0;
        for header in archive.entries() {
            let header = header?;
            count += 1;
            let entry = Entry {
                // Java writes UTF-8; a name that is something else belongs to no file that is looked for.
                name: String::from_utf8_lossy(header.file_path().as_bytes()).into_owned(),
                method: header.compression_method(),
                encrypted: header.flags().is_encrypted(),
                place: header.wayfinder(),
            };
            // Of two with one name, the later is what a reader finds.
            let at = *known.entry(entry.name.clone()).or_insert(entries.len());
            match entries.get_mut(at) {
                Some(earlier) => *earlier = entry,
                None => entries.push(entry),
            }
        }
        let stated = archive.entries_hint();
        ensure!(count == stated, "it lists {count} entries, and should list {stated}");
        Ok(Zip { archive, entries })
    }

    /// The entries by number, each with its name.
    pub fn names(&self) -> impl Iterator<Item = (usize, &str)> {
        self.entries.iter().map(|entry| entry.name.as_str()).enumerate()
    }

    /// The number of the entry that has this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names().find(|(_, found)| *found == name).map(|(index, _)| index)
    }

    /// Unpacks an entry, whose checksum is compared when it has been read to its end.
    ///
    /// # Errors
    /// Where its header is broken, or it is encrypted or compressed in another way.
    pub fn read(&self, index: usize) -> Result<Box<dyn Read + '_>> {
        let entry = &self.entries[index];
        ensure!(!entry.encrypted, "it is encrypted");
        let packed = self.archive.get_entry(entry.place)?;
        Ok(match entry.method {
            CompressionMethod::STORE => Box::new(packed.verifying_reader(packed.data())),
            CompressionMethod::DEFLATE => {
                Box::new(packed.verifying_reader(DeflateDecoder::new(packed.data())))
            }
            other => bail!("it is compressed by method {other}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    use super::*;

    fn written(entries: &[(&str, &[u8], CompressionMethod)]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes, method) in entries {
            writer.start_file(*name, SimpleFileOptions::default().compression_method(*method)).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn read(zip: &Zip<'_>, name: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        zip.read(zip.find(name).unwrap())?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn what_another_program_wrote_is_read() {
        let long = b"abc".repeat(10_000);
        let bytes = written(&[
            ("stored", b"x", CompressionMethod::Stored),
            ("a/deflated", &long, CompressionMethod::Deflated),
            ("ö", b"", CompressionMethod::Deflated),
        ]);
        let zip = Zip::new(&bytes).unwrap();
        assert_eq!(zip.names().collect::<Vec<_>>(), [(0, "stored"), (1, "a/deflated"), (2, "ö")]);
        assert_eq!(read(&zip, "stored").unwrap(), b"x");
        assert_eq!(read(&zip, "a/deflated").unwrap(), long);
        assert_eq!(read(&zip, "ö").unwrap(), b"");
        assert_eq!(zip.find("a"), None);
    }

    #[test]
    fn of_two_with_one_name_the_later_counts() {
        let mut bytes =
            written(&[("one", b"1", CompressionMethod::Stored), ("two", b"2", CompressionMethod::Stored)]);
        let at = |bytes: &[u8]| bytes.windows(3).position(|window| window == b"two");
        while let Some(at) = at(&bytes) {
            bytes[at..at + 3].copy_from_slice(b"one");
        }
        let zip = Zip::new(&bytes).unwrap();
        assert_eq!(zip.names().collect::<Vec<_>>(), [(0, "one")]);
        assert_eq!(read(&zip, "one").unwrap(), b"2");
    }

    #[test]
    fn what_was_changed_is_not_read() {
        let good = written(&[("f", b"unmistakable", CompressionMethod::Stored)]);
        let changed = |from: &[u8], to: &[u8]| {
            let at = good.windows(from.len()).position(|window| window == from).unwrap();
            let mut bytes = good.clone();
            bytes[at..at + to.len()].copy_from_slice(to);
            bytes
        };
        assert!(read(&Zip::new(&changed(b"unmis", b"UNMIS")).unwrap(), "f").is_err(), "the checksum differs");
        // Flag 1 and method 12 in the list of entries: version made by, version needed, flags, method.
        let listed = b"PK\x01\x02".as_slice();
        let at = good.windows(4).position(|window| window == listed).unwrap();
        let with = |offset: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at + offset] = value;
            bytes
        };
        let said = |bytes: &[u8]| read(&Zip::new(bytes).unwrap(), "f").unwrap_err().to_string();
        assert_eq!(said(&with(8, 1)), "it is encrypted");
        assert!(said(&with(10, 12)).contains("method 12"));
        // The end says how many there are.
        let end = good.windows(4).position(|window| window == b"PK\x05\x06").unwrap();
        let mut more = good.clone();
        more[end + 10] = 2;
        assert!(Zip::new(&more).is_err());
        for cut in 0..good.len() {
            assert!(Zip::new(&good[..cut]).is_err());
        }
    }
}
