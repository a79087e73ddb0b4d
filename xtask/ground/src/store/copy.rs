//! Copying large objects: with a buffer beside which system calls cost nothing, and hashed by a second core.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};

use crate::digest::{Digest, Hasher};

/// Bytes read and written at a time: system calls then cost nothing beside hashing.
pub const BUFFER: usize = 1 << 20;
/// From this size on a thread is worth its start.
const LARGE: u64 = 4 << 20;
/// Buffers that wait for the hashing thread.
const WAITING: usize = 4;

/// [`io::copy`] with the store's buffer size.
pub fn copy(reader: &mut impl Read, writer: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match fill(reader, &mut buffer)? {
            0 => return Ok(()),
            read => writer.write_all(&buffer[..read])?,
        }
    }
}

/// Copies and hashes `size` bytes; returns the digest and number of those that were there. The very bytes that are written
/// are hashed, by another core meanwhile: writing costs about as much as hashing does.
pub fn copy_hashed(reader: &mut impl Read, size: u64, out: &mut impl Write) -> io::Result<(Digest, u64)> {
    if size < LARGE {
        let mut hasher = Hasher::new(out);
        copy(reader, &mut hasher)?;
        let (_, digest, length) = hasher.finish();
        return Ok((digest, length));
    }
    std::thread::scope(|scope| {
        let (full, waiting) = sync_channel::<(Arc<Vec<u8>>, usize)>(WAITING);
        let (done, empty) = channel();
        let hashing = scope.spawn(move || {
            let mut hasher = Hasher::new(io::sink());
            for (buffer, read) in waiting {
                hasher.write_all(&buffer[..read])?;
                // Nobody wants it any more at the end.
                let _ = done.send(buffer);
            }
            let (_, digest, length) = hasher.finish();
            io::Result::Ok((digest, length))
        });
        let copied = loop {
            let used = empty.try_recv().ok().and_then(Arc::into_inner);
            let mut buffer = used.unwrap_or_else(|| vec![0; BUFFER]);
            let read = match fill(reader, &mut buffer) {
                Ok(0) => break Ok(()),
                Ok(read) => read,
                Err(error) => break Err(error),
            };
            let buffer = Arc::new(buffer);
            if full.send((buffer.clone(), read)).is_err() {
                break Err(io::Error::other("the thread that hashes is gone"));
            }
            if let Err(error) = out.write_all(&buffer[..read]) {
                break Err(error);
            }
        };
        drop(full);
        let hashed = hashing.join().map_err(|_| io::Error::other("the thread that hashes has panicked"))?;
        copied.and(hashed)
    })
}

/// Reads once; 0 at the end.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_was_hashed() {
        for length in [0, 1, BUFFER, LARGE as usize - 1, LARGE as usize, 9 * BUFFER + 7] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let mut copied = Vec::new();
            let (digest, found) = copy_hashed(&mut bytes.as_slice(), length as u64, &mut copied).unwrap();
            assert_eq!((digest, found), (Digest::of(&bytes), length as u64));
            assert!(copied == bytes, "{length}");
        }
    }

    #[test]
    fn errors_of_both_sides_arrive() {
        let full = &mut std::fs::File::options().write(true).open("/dev/full").unwrap();
        let bytes = vec![7; 2 * LARGE as usize];
        let error = copy_hashed(&mut bytes.as_slice(), bytes.len() as u64, full).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let error = copy_hashed(&mut Broken, LARGE, &mut io::sink()).unwrap_err();
        assert_eq!(error.to_string(), "broken");
    }
}
