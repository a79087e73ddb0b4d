//! What has arrived of a blob, kept until all of it has.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use rustix::fs::OFlags;

use crate::interrupt;
use crate::pack::Blob;
use crate::process::Limit;
use crate::store::Store;
use crate::workers::wait_for_lock;
use crate::workspace::{create_folder, remove_unlocked};

/// A file that is named by the blob's digest and locked: one process at a time writes it.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    blob: Blob,
    length: u64,
}

impl Partial {
    /// Opens what an earlier try left, or begins anew; waits for another process that is at it.
    pub(super) fn open(cache: &Path, blob: &Blob, limit: &Limit) -> Result<Partial> {
        create_folder(cache)?;
        let path = path(cache, blob);
        loop {
            let file = std::fs::OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
                .open(&path)
                .with_context(|| format!("cannot open {}", path.display()))?;
            wait_for_lock(&file, &format!("fetches {}", blob.digest), limit)?;
            let found = file.metadata()?;
            // Who held the lock has all of it and removed the file.
            if found.nlink() == 0 {
                continue;
            }
            let mut partial = Partial { file, path, blob: *blob, length: found.len() };
            if partial.length > blob.size {
                partial.begin_anew()?;
            }
            return Ok(partial);
        }
    }

    /// Removes what a killed process left of a blob that is in the store by now.
    pub(super) fn forget(cache: &Path, blob: &Blob) -> Result<()> {
        remove_unlocked(&path(cache, blob)).map(drop)
    }

    /// How many bytes have arrived.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Forgets what has arrived.
    pub(super) fn begin_anew(&mut self) -> Result<()> {
        self.file.set_len(0).with_context(|| format!("cannot write {}", self.path.display()))?;
        self.length = 0;
        Ok(())
    }

    /// Keeps what has arrived now.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all_at(bytes, self.length);
        written.with_context(|| {
            format!("cannot keep what arrives in {}; free some space on its disk", self.path.display())
        })?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Puts the whole into the store and removes the file.
    ///
    /// # Errors
    /// Where it is not what was asked for: the file is removed, too, and the store is as it was.
    pub(super) fn finish(self, store: &Store) -> Result<()> {
        let mut writer = store.writer()?;
        let mut at = At { file: &self.file, offset: 0 };
        io::copy(&mut at, &mut writer).with_context(|| format!("cannot copy {}", self.path.display()))?;
        let committed = writer.commit_as(&self.blob.digest, self.blob.size);
        // A full disk is not the fault of what arrived.
        let kept = committed.as_ref().is_err_and(|error| error.chain().any(|cause| cause.is::<io::Error>()));
        if !kept {
            self.remove()?;
        }
        committed.map_err(|error| if kept { error } else { anyhow!("{error}; what arrived is deleted") })
    }

    /// Removes the file.
    pub(super) fn remove(self) -> Result<()> {
        std::fs::remove_file(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))
    }
}

fn path(cache: &Path, blob: &Blob) -> PathBuf {
    cache.join(format!("{}.partial", blob.digest.hex()))
}

/// Reads a file from its beginning, whatever was done with it before.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        interrupt::check().map_err(io::Error::other)?;
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::digest::Digest;

    #[test]
    fn what_arrived_is_kept_until_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache/pull");
        let store = Store::open(&folder.path().join("store")).unwrap();
        let blob = Blob { digest: Digest::of("abcdef"), size: 6 };
        let limit = Limit::new("the limit of this test", Duration::from_millis(50));
        let open = || Partial::open(&cache, &blob, &limit);

        open().unwrap().append(b"abc").unwrap();
        let mut partial = open().unwrap();
        assert_eq!(partial.length(), 3);
        let error = open().err().unwrap().to_string();
        assert!(error.contains("another process that fetches sha256:") && error.contains("50ms"), "{error}");
        partial.append(b"def").unwrap();
        partial.finish(&store).unwrap();
        assert!(store.has(&blob.digest, 6));
        assert_eq!(fs_err::read_dir(&cache).unwrap().count(), 0);

        std::fs::remove_file(store.path(&blob.digest)).unwrap();
        let mut partial = open().unwrap();
        partial.append(b"abcdeX").unwrap();
        let error = partial.finish(&store).unwrap_err().to_string();
        assert!(error.contains("expected sha256:") && error.contains("what arrived is deleted"), "{error}");
        assert_eq!(fs_err::read_dir(&cache).unwrap().count(), 0);
        assert!(!store.has(&blob.digest, 6));

        std::fs::write(cache.join(format!("{}.partial", blob.digest.hex())), "more than all of it").unwrap();
        assert_eq!(open().unwrap().length(), 0);
        open().unwrap().remove().unwrap();
        let elsewhere = folder.path().join("elsewhere");
        let link = cache.join(format!("{}.partial", blob.digest.hex()));
        std::os::unix::fs::symlink(&elsewhere, link).unwrap();
        assert!(open().is_err() && !elsewhere.exists(), "a link is not followed");
    }
}
