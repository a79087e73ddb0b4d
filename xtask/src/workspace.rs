//! Where things are: the folders of the repository and of `target/`.

use std::os::unix::fs::{self as unix, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;

/// The repository, and what is made at run time below `target/xtask`.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Top of the repository.
    pub root: PathBuf,
}

impl Workspace {
    /// The repository this tool was compiled in, or the one `XTASK_ROOT` names (tests use a copy).
    pub fn find() -> Result<Workspace> {
        let root = match std::env::var_os("XTASK_ROOT") {
            Some(root) => PathBuf::from(root),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
        };
        let root = fs::canonicalize(&root).context("the repository this tool belongs to is gone")?;
        Ok(Workspace { root })
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

    /// Everything made at run time. `XTASK_STATE` moves it, as to a larger disk.
    pub fn state(&self) -> PathBuf {
        std::env::var_os("XTASK_STATE").map_or_else(|| self.root.join("target/xtask"), PathBuf::from)
    }

    /// A folder below [`Workspace::state`], created if need be.
    pub fn state_folder(&self, name: &str) -> Result<PathBuf> {
        let state = self.state();
        let folder = state.join(name);
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

    /// A temporary folder that disappears with its value; [`crate::sweep`] removes those of killed runs.
    pub fn temporary(&self) -> Result<tempfile::TempDir> {
        let folder = self.state_folder("tmp")?;
        let prefix = format!("{}-", std::process::id());
        Ok(tempfile::Builder::new().prefix(&prefix).tempdir_in(folder)?)
    }

    /// Waits for nobody: an error if another run works on the application. The lock dies with its process.
    pub fn exclusive(&self, app: &str) -> Result<std::fs::File> {
        let path = self.state_folder("locks")?.join(app);
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                anyhow::bail!("another `cargo xtask` is working on {app}; wait for it")
            }
            Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    /// A path as a person at the top of the repository would write it.
    pub fn relative<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

/// Creates a folder and those above it; each belongs to whom the one above belongs to.
fn create_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().context("the root folder exists")?;
    create_folder(above)?;
    fs::create_dir(folder).or_else(|error| if folder.is_dir() { Ok(()) } else { Err(error) })?;
    if rustix::process::geteuid().is_root() {
        let owner = std::fs::metadata(above)?;
        unix::chown(folder, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// Writes a file whole or not at all: beside it, synced, renamed, folder synced.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    use std::io::Write;
    let folder = path.parent().context("a file has a folder")?;
    create_folder(folder)?;
    let mut file = tempfile::Builder::new().prefix(".partial-").tempfile_in(folder)?;
    // Under sudo, what is written into somebody's checkout stays theirs.
    if rustix::process::geteuid().is_root() {
        let owner = std::fs::metadata(folder)?;
        unix::fchown(file.as_file(), Some(owner.uid()), Some(owner.gid()))?;
    }
    file.write_all(bytes).with_context(|| format!("cannot write {}", path.display()))?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).with_context(|| format!("cannot replace {}", path.display()))?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}
