//! Where things are: the folders of the repository and of `target/`.

use std::os::unix::fs::{self as unix, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use fs_err as fs;
use rustix::fs::FlockOperation;
use tempfile::NamedTempFile;

use crate::workers::lock_within;

/// The repository, and what is made at run time below `target/xtask`.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Top of the repository.
    pub root: PathBuf,
    state: PathBuf,
}

impl Workspace {
    /// A repository with everything made at run time below it.
    pub fn at(root: PathBuf) -> Workspace {
        let state = root.join("target/xtask");
        Workspace { root, state }
    }

    /// The repository this tool was compiled in, or the one `XTASK_ROOT` names (tests use a copy). `XTASK_STATE` moves what
    /// is made at run time, as to a larger disk.
    pub fn find() -> Result<Workspace> {
        let root = match std::env::var_os("XTASK_ROOT") {
            Some(root) => PathBuf::from(root),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
        };
        let root = fs::canonicalize(&root).context("the repository this tool belongs to is gone")?;
        let here = Workspace::at(root);
        let moved = std::env::var_os("XTASK_STATE").and_then(|path| std::path::absolute(path).ok());
        Ok(Workspace { state: moved.unwrap_or(here.state), ..here })
    }

    /// `apps/<app>`.
    pub fn app(&self, app: &str) -> PathBuf {
        self.root.join("apps").join(app)
    }

    /// `apps/<app>/checkpoint.lock`.
    pub fn lock(&self, app: &str) -> PathBuf {
        self.app(app).join("checkpoint.lock")
    }

    /// `templates`.
    pub fn templates(&self) -> PathBuf {
        self.root.join("templates")
    }

    /// What is in [`Workspace::state`].
    pub const STATE: [&str; 12] = [
        "cache",
        "guide",
        "logs",
        "man",
        "memo",
        "reports",
        "rockcraft",
        "rocks",
        "store",
        "tmp",
        "locks",
        "CACHEDIR.TAG",
    ];

    /// Everything made at run time.
    pub fn state(&self) -> PathBuf {
        self.state.clone()
    }

    /// A folder below [`Workspace::state`], created if need be.
    pub fn state_folder(&self, name: &str) -> Result<PathBuf> {
        let state = self.state();
        let folder = state.join(name);
        create_private_folder(&state)?;
        create_folder(&folder)?;
        let tag = state.join("CACHEDIR.TAG");
        if !tag.exists() {
            fs::write(
                tag,
                "Signature: 8a477f597d28d172789f06886806bc55\n# Made by cargo xtask; safe to delete.\n",
            )?;
        }
        Ok(folder)
    }

    /// A temporary folder that disappears with its value; those of killed runs are swept by the next.
    pub fn temporary(&self) -> Result<Temporary> {
        let above = self.state_folder("tmp")?;
        loop {
            let folder = tempfile::tempdir_in(&above)?;
            let lock = std::fs::File::open(folder.path());
            // As with files: a sweep in another process may come between creation and lock.
            if let Ok(lock) = lock
                && rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
                && folder.path().exists()
            {
                return Ok(Temporary { folder, _lock: lock });
            }
        }
    }

    /// Removes the temporary folders whose locks died with their processes.
    pub fn sweep_temporary(&self) -> Result<()> {
        for entry in fs::read_dir(self.state_folder("tmp")?)? {
            let path = entry?.path();
            // What can't be opened is gone, or somebody else's.
            let Ok(lock) = std::fs::File::open(&path) else { continue };
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let _ = std::fs::remove_dir_all(&path);
            }
        }
        Ok(())
    }

    /// Nobody else works on the application, and nobody cleans. The locks die with their process.
    pub fn exclusive(&self, app: &str) -> Result<[std::fs::File; 2]> {
        let shared = self.sharing()?;
        let busy = format!("another `cargo xtask` is working on {app}");
        Ok([shared, self.flock(app, FlockOperation::NonBlockingLockExclusive, &busy)?])
    }

    /// Nobody cleans.
    pub fn sharing(&self) -> Result<std::fs::File> {
        let busy = "`cargo xtask gc` or `clean` is running";
        self.flock(".store", FlockOperation::NonBlockingLockShared, busy)
    }

    /// Nobody else works on anything.
    pub fn alone(&self) -> Result<std::fs::File> {
        self.flock(".store", FlockOperation::NonBlockingLockExclusive, "another `cargo xtask` is at work")
    }

    /// Waits a little, so that short commands side by side do not trouble each other; a checkpoint takes too long to be
    /// waited for.
    fn flock(&self, name: &str, how: FlockOperation, busy: &str) -> Result<std::fs::File> {
        const WAIT: Duration = Duration::from_secs(5);
        let path = self.state_folder("locks")?.join(name);
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
        give_to_owner_of(path.parent().unwrap_or(&self.root), &path)?;
        match lock_within(&file, how, WAIT).with_context(|| format!("cannot lock {}", path.display()))? {
            true => Ok(file),
            false => anyhow::bail!("{busy}; wait for it"),
        }
    }

    /// A path as a person at the top of the repository would write it.
    pub fn relative<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

/// Creates a folder that its owner alone may enter, and those above it; takes the others' leave from one that is there. What was
/// dumped is memory, and must not be read by whoever has an account. One folder does for all that is in it: containers see what
/// is mounted without the folders above, and mmdebstrap, which works as other users, works elsewhere (`debian.rs`).
fn create_private_folder(folder: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if !folder.is_dir() {
        let above = folder.parent().context("the root folder exists")?;
        create_folder(above)?;
        let made = std::fs::DirBuilder::new().mode(0o700).create(folder);
        made.or_else(|error| if folder.is_dir() { Ok(()) } else { Err(error) })
            .with_context(|| format!("cannot create {}", folder.display()))?;
        give_to_owner_of(above, folder)?;
    }
    let found = fs::metadata(folder)?;
    let (owner, me) = (found.uid(), rustix::process::geteuid());
    // Another's is as open as its owner wants it.
    if found.mode() & 0o077 != 0 && (me.is_root() || owner == me.as_raw()) {
        fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// A temporary folder that is locked as long as its process lives: its PID would say nothing in another PID namespace, or
/// once another process has it.
#[derive(Debug)]
pub struct Temporary {
    folder: tempfile::TempDir,
    _lock: std::fs::File,
}

impl Temporary {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Creates a folder and those above it; each belongs to whom the one above belongs to.
pub fn create_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().context("the root folder exists")?;
    create_folder(above)?;
    fs::create_dir(folder).or_else(|error| if folder.is_dir() { Ok(()) } else { Err(error) })?;
    give_to_owner_of(above, folder)
}

/// Under sudo, what is put into somebody's folder is theirs.
fn give_to_owner_of(folder: &Path, path: &Path) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        let owner = std::fs::metadata(folder)?;
        unix::chown(path, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// How the name of a file begins that will be renamed once it is whole.
const PARTIAL: &str = ".partial-";

/// A file that will be renamed within its folder once it is whole. Those of killed processes go: their locks died with
/// them.
pub fn partial(folder: &Path) -> Result<NamedTempFile> {
    sweep_partial(folder)?;
    Ok(locked_temporary(folder, PARTIAL)?)
}

/// Removes what killed processes left half-written in a folder; returns how many files.
pub fn sweep_partial(folder: &Path) -> Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) && remove_unlocked(&entry.path())? {
            removed += 1;
        }
    }
    Ok(removed)
}

/// Removes a file unless a living process has locked it; whether it did. One that is gone by now was renamed or dropped
/// by its writer, and one that can't be opened is somebody else's.
pub fn remove_unlocked(path: &Path) -> Result<bool> {
    let Ok(file) = std::fs::File::open(path) else { return Ok(false) };
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(false);
    }
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A temporary file that is locked as long as it is open.
pub fn locked_temporary(folder: &Path, prefix: &str) -> std::io::Result<NamedTempFile> {
    loop {
        let file = tempfile::Builder::new().prefix(prefix).tempfile_in(folder)?;
        // A sweep in another process can come between creation and lock: it then holds the lock or has removed the
        // file, and we take another.
        match rustix::fs::flock(file.as_file(), FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error.into()),
            Ok(()) if file.as_file().metadata()?.nlink() == 0 => {}
            Ok(()) => return Ok(file),
        }
    }
}

/// Opens a file that a user named, and nothing but a file: to open a named pipe is to wait for somebody to write to it.
pub fn open_file(path: &Path) -> std::io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    options.options_mut().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let file = options.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => {
            let wrong = format!("{} is no regular file", path.display());
            Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, wrong))
        }
    }
}

/// Writes a file whole or not at all: beside it, synced, renamed, folder synced.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    use std::io::Write;
    let folder = path.parent().context("a file has a folder")?;
    create_folder(folder)?;
    let mut file = partial(folder)?;
    give_to_owner_of(folder, file.path())?;
    file.write_all(bytes).with_context(|| format!("cannot write {}", path.display()))?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).with_context(|| format!("cannot replace {}", path.display()))?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_at_run_time_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path().join("repository"));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        for before in [None, Some(0o755), Some(0o711), Some(0o700)] {
            if let Some(mode) = before {
                std::fs::set_permissions(workspace.state(), PermissionsExt::from_mode(mode)).unwrap();
            }
            workspace.state_folder("store/blobs").unwrap();
            assert_eq!(mode(&workspace.state()), 0o700, "{before:?}");
        }
        // The folders above are cargo's, or anybody's.
        assert_eq!(mode(&workspace.root) & 0o700, 0o700);
        assert_eq!(mode(&workspace.root), mode(&workspace.root.join("target")));
    }

    #[test]
    fn a_temporary_folder_is_swept_once_its_lock_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(root.path().to_owned());
        let living = workspace.temporary().unwrap();
        fs::write(living.path().join("file"), "x").unwrap();
        // As a killed run leaves it, whoever has its PID now.
        let killed = living.path().with_file_name(format!("{}-killed", std::process::id()));
        fs::create_dir_all(killed.join("of/a/build")).unwrap();
        workspace.sweep_temporary().unwrap();
        assert!(living.path().join("file").exists() && !killed.exists());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
    }
}
