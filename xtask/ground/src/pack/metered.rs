//! Reading archives that others wrote, with limits.
//!
//! The tar crate reads long names, PAX records and sparse maps into memory by itself, however long they say they are;
//! what it may read that way is limited here, beneath it, and an entry's own bytes are read beside the limit.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

use bytesize::ByteSize;

/// How many more bytes a [`Metered`] reader gives, kept by whoever handed it away.
#[derive(Clone)]
pub struct Meter {
    left: Rc<Cell<u64>>,
    limit: u64,
    what: &'static str,
}

impl Meter {
    /// Allows `limit` bytes of `what`, which names them in the error.
    pub fn new(limit: u64, what: &'static str) -> Meter {
        Meter { left: Rc::new(Cell::new(limit)), limit, what }
    }

    /// Allows the whole limit again.
    pub fn refill(&self) {
        self.left.set(self.limit);
    }

    /// Runs `read`, whose bytes do not count.
    pub fn beside<T>(&self, read: impl FnOnce() -> T) -> T {
        let left = self.left.replace(u64::MAX);
        let result = read();
        self.left.set(left);
        result
    }
}

/// A reader that fails once its [`Meter`] has run out.
pub struct Metered<R> {
    inner: R,
    meter: Meter,
}

impl<R> Metered<R> {
    /// Gives what `inner` gives, as long as `meter` allows.
    pub fn new(inner: R, meter: &Meter) -> Metered<R> {
        Metered { inner, meter: meter.clone() }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let Meter { left, limit, what } = &self.meter;
        let Some(rest) = left.get().checked_sub(read as u64) else {
            return Err(io::Error::other(format!(
                "{what} have more than {}, which is this tool's limit",
                ByteSize(*limit).display().iec()
            )));
        };
        left.set(rest);
        Ok(read)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.inner.seek(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_is_allowed_and_no_more() {
        let meter = Meter::new(4, "headers");
        let mut reader = Metered::new(&b"abcdefghijklmnop"[..], &meter);
        let mut take = |count: usize| reader.read_exact(&mut vec![0; count]).map_err(|e| e.to_string());
        assert_eq!(take(4), Ok(()));
        assert_eq!(take(1), Err("headers have more than 4 B, which is this tool's limit".into()));
        assert_eq!(meter.beside(|| take(6)), Ok(()));
        assert!(take(1).is_err());
        meter.refill();
        assert_eq!(take(4), Ok(()));
    }
}
