//! Our ends of the pipes to another program: read and written with limits, and never waited for once it was given up.

use std::fs::File;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::POLL;

/// Bytes that are read at once of what a program prints: what is asked for so is a few lines.
pub(super) const OUTPUT_LIMIT: u64 = 16 << 20;
/// Bytes of a line. The rest of a longer one is left out: as a line of its own it could pass for somebody else's.
const LINE_LIMIT: u64 = 64 << 10;
/// Bytes of the end of what a program said in files, for an error.
const SAID: u64 = 64 << 10;

/// An end of a pipe whose other end may be held by a process that outlives the program.
pub(super) struct Pipe<'a> {
    file: File,
    given_up: &'a AtomicBool,
}

impl<'a> Pipe<'a> {
    /// Every wait for `file` ends when it is `given_up`.
    pub fn new(file: impl Into<OwnedFd>, given_up: &'a AtomicBool) -> Result<Pipe<'a>> {
        let file = File::from(file.into());
        // Of this end alone: the two ends of a pipe are opened apart.
        fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::NONBLOCK)?;
        Ok(Pipe { file, given_up })
    }

    fn wait(&self, flags: PollFlags) -> Result<()> {
        if self.given_up.load(Ordering::Relaxed) {
            return Err(Error::new(
                ErrorKind::TimedOut,
                "the program has ended, and something holds its pipe",
            ));
        }
        let timeout = Timespec { tv_sec: 0, tv_nsec: POLL.subsec_nanos().into() };
        match poll(&mut [PollFd::from_borrowed_fd(self.file.as_fd(), flags)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::IN)?,
                read => return read,
            }
        }
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        loop {
            match self.file.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::OUT)?,
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Everything, or nothing if it is too much.
pub(super) fn read_all(reader: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(OUTPUT_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > OUTPUT_LIMIT {
        let limit = bytesize::ByteSize(OUTPUT_LIMIT).display().iec();
        return Err(Error::new(
            ErrorKind::FileTooLarge,
            format!("it prints more than {limit}, this tool's limit"),
        ));
    }
    Ok(bytes)
}

/// Hands over line by line, without their ends.
pub(super) fn lines(reader: impl Read, mut on_line: impl FnMut(&str)) -> Result<()> {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line)? > 0 {
        let ended = line.pop_if(|last| *last == b'\n').is_some();
        if !ended && line.len() as u64 == LINE_LIMIT {
            reader.skip_until(b'\n')?;
        }
        on_line(String::from_utf8_lossy(&line).trim_end_matches('\r'));
        line.clear();
    }
    Ok(())
}

/// The end of what was written to a file.
pub(super) fn read_back(mut file: File) -> String {
    let mut bytes = Vec::new();
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let _ = file.seek(SeekFrom::Start(length.saturating_sub(SAID)));
    let _ = file.take(SAID).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_is_cut_and_the_next_begins_after_it() {
        let check = |text: &str, expected: &[usize]| {
            let mut lengths = Vec::new();
            lines(text.as_bytes(), |line| lengths.push(line.len())).unwrap();
            assert_eq!(lengths, expected);
        };
        let limit = LINE_LIMIT as usize;
        let long = |length: usize| "x".repeat(length);
        check("", &[]);
        check("a\r\n\nbc", &[1, 0, 2]);
        check(&format!("{}\nab\n", long(limit - 1)), &[limit - 1, 2]);
        check(&format!("{}\nab\n", long(limit)), &[limit, 2]);
        check(&format!("{}\nab", long(3 * limit)), &[limit, 2]);
        check(&long(3 * limit), &[limit]);
    }

    #[test]
    fn what_is_too_much_is_refused_and_of_what_was_said_the_end_is_read() {
        assert_eq!(read_all(std::io::repeat(b'x').take(OUTPUT_LIMIT)).unwrap().len() as u64, OUTPUT_LIMIT);
        let error = read_all(std::io::repeat(b'x')).unwrap_err().to_string();
        assert_eq!(error, "it prints more than 16.0 MiB, this tool's limit");

        let mut file = tempfile::tempfile().unwrap();
        write!(file, "{}the end", "x".repeat(100_000)).unwrap();
        let said = read_back(file);
        assert!(said.ends_with("xthe end") && said.len() as u64 == SAID);
    }
}
