//! What is searched, as stretches of bytes that lie in a row: dumped memory by address, and files from end to end.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result};

use crate::digest::Digest;
use crate::files::DataFile;
use crate::memory::{self, MEMORY, Process};
use crate::store::Store;

/// Bytes that are searched at a time: what a core's cache holds besides tables.
pub(super) const UNIT: u64 = 1 << 20;
/// What a process was before its memory became a file's: nothing that the current images do not have.
const AS_DUMPED: &str = "/checkpoint-data/as-dumped-";

/// Bytes in a row.
pub(super) struct Stretch {
    pub place: Place,
    /// The first byte's address, or its offset in the file.
    pub start: u64,
    pub length: u64,
    pieces: Vec<Piece>,
}

/// What a stretch is a part of.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Memory of the process of this number.
    Memory(usize),
    /// A file, by its path in the rock or its name.
    File(String),
}

/// A part of a stretch.
struct Piece {
    length: u64,
    from: From,
}

enum From {
    Object { file: usize, offset: u64 },
    Text(Vec<u8>),
}

/// A part of a stretch that is searched at a time.
pub(super) struct Unit {
    pub stretch: usize,
    /// Positions in the stretch.
    pub at: Range<u64>,
}

/// Everything that is searched.
pub(super) struct Places {
    pub processes: Vec<Process>,
    pub stretches: Vec<Stretch>,
    /// Why memory is searched as files, where it is.
    pub unread: Option<String>,
    files: Vec<fs_err::File>,
}

impl Places {
    /// The files of a dump; the memory among them in the order of its addresses.
    pub fn of_dump(store: &Store, files: &[DataFile]) -> Result<Places> {
        let (processes, unread) = match memory::processes(store, files) {
            Ok(processes) => (processes, None),
            // As of a JVM that dumps by its own means: its files are searched as any others.
            Err(error) => (Vec::new(), Some(format!("{error:#}"))),
        };
        let mut places = Places { processes, stretches: Vec::new(), unread, files: Vec::new() };
        let mut opened: BTreeMap<Digest, usize> = BTreeMap::new();
        // Bytes of each file that are somebody's memory.
        let mut covered: BTreeMap<String, u64> = BTreeMap::new();
        let mut stretches: Vec<Stretch> = Vec::new();
        for (number, process) in places.processes.iter().enumerate() {
            for piece in &process.pieces {
                let file = match opened.get(&piece.object) {
                    Some(file) => *file,
                    None => {
                        places.files.push(store.open_object(&piece.object)?);
                        opened.insert(piece.object, places.files.len() - 1);
                        places.files.len() - 1
                    }
                };
                let length = piece.at.end - piece.at.start;
                *covered.entry(piece.path.clone()).or_default() += length;
                let part = Piece { length, from: From::Object { file, offset: piece.offset } };
                match stretches.last_mut() {
                    Some(Stretch { place: Place::Memory(process), start, length: so_far, pieces })
                        if *process == number && *start + *so_far == piece.at.start =>
                    {
                        *so_far += length;
                        pieces.push(part);
                    }
                    _ => stretches.push(Stretch {
                        place: Place::Memory(number),
                        start: piece.at.start,
                        length,
                        pieces: vec![part],
                    }),
                }
            }
        }
        places.stretches = stretches;
        for file in files.iter().filter(|file| !file.path.starts_with(AS_DUMPED)) {
            let Some(digest) = file.sha256 else { continue };
            // Memory that no process claims is searched all the same.
            let is_memory = file.path == MEMORY || file.path.starts_with("/checkpoint-data/pages-");
            if !(is_memory && covered.get(&file.path) == Some(&file.size)) {
                places.add_object(store, &file.path, &digest, file.size)?;
            }
        }
        Ok(places)
    }

    /// An object of the store.
    pub fn add_object(&mut self, store: &Store, name: &str, digest: &Digest, size: u64) -> Result<()> {
        let file = store.open_object(digest)?;
        self.files.push(file);
        let from = From::Object { file: self.files.len() - 1, offset: 0 };
        self.add(name, size, from);
        Ok(())
    }

    /// A text, or any other bytes.
    pub fn add_text(&mut self, name: &str, bytes: &[u8]) {
        self.add(name, bytes.len() as u64, From::Text(bytes.to_vec()));
    }

    fn add(&mut self, name: &str, length: u64, from: From) {
        if length > 0 {
            let pieces = vec![Piece { length, from }];
            self.stretches.push(Stretch { place: Place::File(name.to_owned()), start: 0, length, pieces });
        }
    }

    /// Pieces of work.
    pub fn units(&self) -> Vec<Unit> {
        let of = |(stretch, found): (usize, &Stretch)| {
            let length = found.length;
            let starts = (0..length).step_by(UNIT as usize);
            starts.map(move |start| Unit { stretch, at: start..length.min(start + UNIT) }).collect::<Vec<_>>()
        };
        self.stretches.iter().enumerate().flat_map(of).collect()
    }

    /// Reads a part of a stretch into `buffer`, whose length is the part's.
    pub fn read(&self, stretch: usize, from: u64, buffer: &mut [u8]) -> Result<()> {
        use std::os::unix::fs::FileExt;
        let (mut from, mut left) = (from, buffer);
        for piece in &self.stretches[stretch].pieces {
            if from >= piece.length {
                from -= piece.length;
                continue;
            }
            let length = usize::try_from(piece.length - from)?.min(left.len());
            let (now, rest) = left.split_at_mut(length);
            match &piece.from {
                From::Object { file, offset } => {
                    let file = &self.files[*file];
                    file.file().read_exact_at(now, offset + from).with_context(|| {
                        format!("{} is cut off, or cannot be read", file.path().display())
                    })?;
                }
                From::Text(bytes) => now.copy_from_slice(&bytes[usize::try_from(from)?..][..length]),
            }
            left = rest;
            if left.is_empty() {
                return Ok(());
            }
            from = 0;
        }
        anyhow::ensure!(left.is_empty(), "a part beyond the end of a stretch was asked for");
        Ok(())
    }

    /// What the processes were started with, as `NAME=VALUE`; and why that may not be all.
    pub fn environment(&self) -> Result<(Vec<Vec<u8>>, Option<String>)> {
        /// More than Linux hands a program.
        const MOST: u64 = 8 << 20;
        let mut variables = Vec::new();
        let mut unread = self.unread.as_ref().map(|_| "no image says where they are".to_owned());
        for (number, process) in self.processes.iter().enumerate() {
            let at = &process.environment;
            let is_there = |stretch: &&Stretch| {
                matches!(stretch.place, Place::Memory(of) if of == number)
                    && stretch.start <= at.start
                    && at.end <= stretch.start + stretch.length
            };
            let length = at.end.saturating_sub(at.start);
            if length == 0 {
                continue;
            }
            let stretch = self.stretches.iter().position(|stretch| is_there(&stretch));
            let (Some(stretch), true) = (stretch, length <= MOST) else {
                unread = Some(format!(
                    "the memory at {:#x} to {:#x}, where the process was given them, is not in the dump in one piece",
                    at.start, at.end
                ));
                continue;
            };
            let mut bytes = vec![0; usize::try_from(length)?];
            self.read(stretch, at.start - self.stretches[stretch].start, &mut bytes)?;
            variables.extend(bytes.split(|byte| *byte == 0).filter(|it| !it.is_empty()).map(<[u8]>::to_vec));
        }
        Ok((variables, unread))
    }
}
