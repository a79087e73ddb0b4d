//! The content-addressed store: every jar, layer, manifest and checkpoint once, under its SHA-256.
//!
//! Objects live at `blobs/sha256/<hex>`, as in an OCI image layout, so that a layout is hard links to them
//! ([`crate::pack::archive`]). An object appears complete or not at all: it is written to `partial/`, synced,
//! made read-only and renamed. What a killed process leaves in `partial/` is told from what a living one is
//! writing by its lock, which dies with the process ([`Store::sweep`]).

use std::error::Error;
use std::fmt;
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tempfile::TempPath;

use crate::digest::{Digest, Hasher};
use crate::workspace::{locked_temporary, remove_unlocked};

mod copy;
pub(crate) mod early;

use copy::{BUFFER, copy, copy_hashed};
use early::EarlySync;

/// A content-addressed store in a folder.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store in `root`, making its folders where they are missing.
    pub fn open(root: &Path) -> Result<Store> {
        let store = Store { root: root.to_owned() };
        for folder in [store.blobs(), store.partial()] {
            crate::workspace::create_folder(&folder)?;
        }
        Ok(store)
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the object is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Whether the object is there, as a regular file of `size` bytes. Its bytes are not read: whatever
    /// copies an object hashes it on the way ([`Store::copy_object`]).
    pub fn has(&self, digest: &Digest, size: u64) -> bool {
        self.path(digest).symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() == size)
    }

    /// An error that names the object, unless [`Store::has`] it.
    pub fn ensure_has(&self, digest: &Digest, size: u64) -> Result<()> {
        ensure!(
            self.has(digest, size),
            "{digest} ({size} bytes) is not in the store {}; build or pull it again",
            self.root.display()
        );
        Ok(())
    }

    /// Opens an object for reading, unverified.
    pub fn open_object(&self, digest: &Digest) -> Result<fs_err::File> {
        let path = self.path(digest);
        let options = std::fs::OpenOptions::new()
            .read(true)
            // A link in an object's place is none of ours.
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .clone();
        fs_err::OpenOptions::from_options(options)
            .open(path)
            .with_context(|| format!("{digest} is not in the store {}", self.root.display()))
    }

    /// A writer for a new object.
    pub fn writer(&self) -> Result<StoreWriter> {
        let named = locked_temporary(&self.partial(), "").map_err(|e| self.explain(e))?;
        let (file, path) = named.into_parts();
        Ok(StoreWriter::new(self.clone(), file, path))
    }

    /// Stores `bytes`.
    pub fn add_bytes(&self, bytes: &[u8]) -> Result<(Digest, u64)> {
        let mut writer = self.writer()?;
        writer.write_all(bytes)?;
        writer.commit()
    }

    /// Stores a copy of the file at `path`, hashed while it is copied.
    pub fn add_file(&self, path: &Path) -> Result<(Digest, u64)> {
        let mut file = crate::workspace::open_file(path)?;
        let mut writer = self.writer()?;
        copy(&mut file, &mut writer)?;
        writer.commit()
    }

    /// Copies an object of `size` bytes to `out`, hashing it on the way.
    ///
    /// # Errors
    /// Where its bytes are not those of `digest`, after they were written: the caller must then throw away
    /// what it has.
    pub fn copy_object(&self, digest: &Digest, size: u64, out: &mut impl Write) -> Result<()> {
        // Never more than `size`, which the caller has written into a header already.
        let mut object = self.open_object(digest)?.take(size);
        let (found, length) = copy_hashed(&mut object, size, out)?;
        let path = self.path(digest);
        ensure!(length == size, "{} is cut off: expected {size} bytes, found {length}", path.display());
        self.check(digest, &found)
    }

    /// Reads the whole object and compares its digest.
    pub fn verify(&self, digest: &Digest) -> Result<()> {
        let mut hasher = Hasher::new(io::sink());
        copy(&mut self.open_object(digest)?, &mut hasher)?;
        self.check(digest, &hasher.finish().1)
    }

    /// Removes what killed processes left half-written; files a living process writes are locked and stay.
    /// Returns how many were removed.
    pub fn sweep(&self) -> Result<usize> {
        let mut removed = 0;
        for entry in fs_err::read_dir(self.partial())? {
            let path = entry?.path();
            if remove_unlocked(&path)? {
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn check(&self, expected: &Digest, found: &Digest) -> Result<()> {
        ensure!(
            expected == found,
            "{} was changed: expected {expected}, found {found}; delete the file, then build or pull it again",
            self.path(expected).display()
        );
        Ok(())
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    fn partial(&self) -> PathBuf {
        self.root.join("partial")
    }

    fn explain(&self, source: io::Error) -> io::Error {
        io::Error::new(source.kind(), WriteError { root: self.root.clone(), source })
    }
}

/// Writes one object: hashes what it is given, and becomes visible at [`StoreWriter::commit`]. Dropped
/// without it, it leaves nothing.
pub struct StoreWriter {
    store: Store,
    out: BufWriter<Hasher<EarlySync>>,
    path: TempPath,
}

impl StoreWriter {
    fn new(store: Store, file: File, path: TempPath) -> StoreWriter {
        let out = Hasher::new(EarlySync::new(Arc::new(file)));
        StoreWriter { store, out: BufWriter::with_capacity(BUFFER, out), path }
    }

    /// Makes the object visible and durable; returns its digest and its size in bytes.
    pub fn commit(self) -> Result<(Digest, u64)> {
        self.commit_if(|_, _| Ok(()))
    }

    /// As [`StoreWriter::commit`], if it is the object that was asked for.
    ///
    /// # Errors
    /// Where it is another; nothing is left in the store then.
    pub fn commit_as(self, expected: &Digest, size: u64) -> Result<()> {
        let is_it = |found, length| {
            ensure!(length == size, "expected {size} bytes of {expected}, found {length}");
            ensure!(found == *expected, "expected {expected}, found {found}");
            Ok(())
        };
        self.commit_if(is_it).map(drop)
    }

    /// [`StoreWriter::commit`], unless `check` refuses the digest and size; nothing is left then.
    pub fn commit_if(mut self, check: impl FnOnce(Digest, u64) -> Result<()>) -> Result<(Digest, u64)> {
        self.flush()?;
        let StoreWriter { store, out, path } = self;
        let (file, digest, size) = out.into_parts().0.finish();
        check(digest, size)?;
        if !store.has(&digest, size) {
            let publish = || {
                let file = file.finish()?;
                // By descriptor, so that the umask has no say.
                file.set_permissions(Permissions::from_mode(0o444))?;
                file.sync_all()?;
                path.persist(store.path(&digest)).map_err(|e| e.error)
            };
            publish().map_err(|e| store.explain(e))?;
        }
        // Also where the object was there: whoever renamed it may not have come this far yet.
        sync_folder(&store.blobs())?;
        Ok((digest, size))
    }
}

impl Write for StoreWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(|e| self.store.explain(e))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush().map_err(|e| self.store.explain(e))
    }
}

/// Why the store could not be written. It travels inside an [`io::Error`], so that the explanation reaches
/// the user whichever way the bytes came (`tar`, [`io::copy`], …).
#[derive(Debug)]
struct WriteError {
    root: PathBuf,
    source: io::Error,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.root.display();
        match self.source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => write!(
                f,
                "no space for the store {root}; nothing was left half-written: free some space on its disk, \
                 or run `cargo xtask gc`"
            ),
            _ => write!(f, "cannot write to the store {root}"),
        }
    }
}

impl Error for WriteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Makes the names in `folder` durable: without this a crash can undo a rename.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    fs_err::File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        (folder, store)
    }

    fn partials(store: &Store) -> usize {
        fs_err::read_dir(store.partial()).unwrap().count()
    }

    #[test]
    fn keeps_what_it_is_given() {
        let (folder, store) = store();
        let big = vec![7; BUFFER * 2 + 1];
        let file = folder.path().join("big");
        fs_err::write(&file, &big).unwrap();
        for (bytes, added) in [
            (&b""[..], store.add_bytes(b"").unwrap()),
            (b"abc", store.add_bytes(b"abc").unwrap()),
            (&big, store.add_file(&file).unwrap()),
        ] {
            assert_eq!(added, (Digest::of(bytes), bytes.len() as u64));
            let (digest, size) = added;
            assert!(store.has(&digest, size) && !store.has(&digest, size + 1));
            store.verify(&digest).unwrap();
            let mut copied = Vec::new();
            store.copy_object(&digest, size, &mut copied).unwrap();
            assert!(copied == bytes);
            let mode = fs_err::metadata(store.path(&digest)).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o444);
        }
        assert_eq!(partials(&store), 0);
    }

    #[test]
    fn only_regular_files_are_objects() {
        let (folder, store) = store();
        let target = folder.path().join("target");
        fs_err::write(&target, "abc").unwrap();
        let digest = Digest::of("abc");
        fs_err::os::unix::fs::symlink(&target, store.path(&digest)).unwrap();
        assert!(!store.has(&digest, 3));
        store.add_bytes(b"abc").unwrap();
        assert!(store.has(&digest, 3), "the link is replaced");
    }

    #[test]
    fn dropped_writer_leaves_nothing() {
        let (_folder, store) = store();
        let mut writer = store.writer().unwrap();
        writer.write_all(&vec![1; BUFFER * 2]).unwrap();
        assert_eq!(partials(&store), 1);
        drop(writer);
        assert_eq!(partials(&store), 0);
        assert_eq!(fs_err::read_dir(store.blobs()).unwrap().count(), 0);
    }

    #[test]
    fn sweep_spares_the_living() {
        let (_folder, store) = store();
        fs_err::write(store.partial().join("left by a killed process"), "abc").unwrap();
        let mut writer = store.writer().unwrap();
        assert_eq!(store.sweep().unwrap(), 1);
        writer.write_all(b"abc").unwrap();
        let (digest, size) = writer.commit().unwrap();
        assert!(store.has(&digest, size));
        assert_eq!(store.sweep().unwrap(), 0);
    }

    #[test]
    fn threads_may_add_the_same_and_sweep_meanwhile() {
        let (_folder, store) = store();
        let bytes = vec![3; BUFFER + 5];
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let (digest, size) = store.add_bytes(&bytes).unwrap();
                        assert!(store.has(&digest, size));
                        store.sweep().unwrap();
                    }
                });
            }
        });
        store.verify(&Digest::of(&bytes)).unwrap();
        assert_eq!(partials(&store), 0);
    }

    #[test]
    fn changed_objects_are_found() {
        let (_folder, store) = store();
        let (digest, size) = store.add_bytes(b"abc").unwrap();
        let path = store.path(&digest);
        for (bytes, wanted) in [("abd", "was changed"), ("ab", "is cut off")] {
            fs_err::remove_file(&path).unwrap();
            fs_err::write(&path, bytes).unwrap();
            let error = store.copy_object(&digest, size, &mut io::sink()).unwrap_err().to_string();
            assert!(error.contains(wanted) && error.contains(&digest.hex()), "{error}");
            let error = store.verify(&digest).unwrap_err().to_string();
            let found = Digest::of(bytes).to_string();
            for part in [path.to_str().unwrap(), &digest.to_string(), &found] {
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn a_full_disk_says_what_to_do() {
        let (_folder, store) = store();
        // /dev/full answers every write with ENOSPC.
        let path = tempfile::NamedTempFile::new_in(store.partial()).unwrap().into_temp_path();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut writer = StoreWriter::new(store.clone(), full, path);
        writer.write_all(b"abc").unwrap();
        let error = writer.commit().unwrap_err();
        let text = format!("{error:#}");
        for part in [store.root().to_str().unwrap(), "cargo xtask gc", "No space left on device"] {
            assert!(text.contains(part), "{text}");
        }
        let cause = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).next_back().unwrap();
        assert_eq!(cause.raw_os_error(), Some(28));
        assert_eq!(partials(&store), 0);
    }
}
