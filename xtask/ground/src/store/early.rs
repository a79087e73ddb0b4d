//! Writing a large file whose end must be on the disk: the disk begins while the rest is still being written.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Bytes after which the disk is asked to take what is there.
const PIECE: u64 = 32 << 20;

/// A file that is being written, and a thread that syncs it meanwhile. Whoever needs it durable syncs it at the end all
/// the same, and has less to wait for.
pub struct EarlySync {
    file: Arc<File>,
    written: u64,
    asked: u64,
    syncing: Option<(SyncSender<()>, JoinHandle<io::Result<()>>)>,
}

impl EarlySync {
    /// Writes to this file.
    pub fn new(file: Arc<File>) -> EarlySync {
        EarlySync { file, written: 0, asked: 0, syncing: None }
    }

    /// The file, which is still to be synced.
    ///
    /// # Errors
    /// Where the disk could not take what it was asked to: the kernel says so but once, and the sync at the end would
    /// not hear of it.
    pub fn finish(mut self) -> io::Result<Arc<File>> {
        self.join()?;
        Ok(self.file.clone())
    }

    /// Lets the disk begin, unless it is still at it.
    fn begin(&mut self) {
        let (ask, _) = self.syncing.get_or_insert_with(|| {
            let file = self.file.clone();
            let (ask, asked) = sync_channel::<()>(1);
            (ask, std::thread::spawn(move || asked.iter().try_for_each(|()| file.sync_data())))
        });
        let _ = ask.try_send(());
    }

    fn join(&mut self) -> io::Result<()> {
        let Some((ask, thread)) = self.syncing.take() else { return Ok(()) };
        drop(ask);
        thread.join().map_err(|_| io::Error::other("the thread that syncs has panicked"))?
    }
}

impl Write for EarlySync {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.as_ref().write(bytes)?;
        self.written += written as u64;
        if self.written - self.asked >= PIECE {
            self.asked = self.written;
            self.begin();
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_ref().flush()
    }
}

impl Drop for EarlySync {
    fn drop(&mut self) {
        // Dropped without `finish`, what was written is thrown away.
        let _ = self.join();
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn all_of_it_is_written() {
        let file = tempfile::tempfile().unwrap();
        let mut early = EarlySync::new(Arc::new(file.try_clone().unwrap()));
        let piece = vec![7; 5 << 20];
        for _ in 0..15 {
            early.write_all(&piece).unwrap();
        }
        early.finish().unwrap().sync_all().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 75 << 20);
    }

    #[test]
    fn an_error_of_the_disk_is_heard() {
        // A pipe takes bytes and cannot be synced.
        let (mut reader, writer) = io::pipe().unwrap();
        let drained = std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
        let mut early = EarlySync::new(Arc::new(File::from(OwnedFd::from(writer))));
        early.write_all(&vec![7; PIECE as usize + 1]).unwrap();
        assert!(early.finish().is_err());
        drained.join().unwrap().unwrap();
    }
}
