//! `gc`: free the store of what no pin names.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result};
use bytesize::ByteSize;
use fs_err as fs;

use crate::app;
use crate::cli::{Gc, Global};
use crate::digest::Digest;
use crate::lock::Lock;
use crate::pack::import;
use crate::session::Session;
use crate::way::Packer;

/// How much went.
#[derive(Debug, Default, Clone, Copy)]
pub struct Freed {
    /// Objects.
    pub objects: usize,
    /// Bytes.
    pub bytes: u64,
}

/// Removes what no lock names.
pub fn run(session: &Session, arguments: &Gc, global: &Global) -> Result<()> {
    if global.plan {
        super::print_plan(&[
            "read every checkpoint.lock",
            "remove objects of the store that none of them names, and what killed runs left",
        ]);
        return Ok(());
    }
    let _alone = session.workspace.alone()?;
    let freed = collect(session, &arguments.keep)?;
    println!("freed {}, {} objects; what a pin names is kept", ByteSize(freed.bytes), freed.objects);
    Ok(())
}

/// Removes what neither a lock of `apps/` nor one of `keep` names. Nobody else may be at work.
pub fn collect(session: &Session, keep: &[PathBuf]) -> Result<Freed> {
    // First of all: a lock that can't be read might name anything.
    let kept = pinned(session, keep)?;
    super::sweep(session)?;
    let mut freed = Freed::default();
    // What a pull was cut off from goes on only while a pin names it.
    for folder in [session.store.root().join("blobs/sha256"), session.workspace.state_folder("cache/pull")?] {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let digest = format!("sha256:{}", name.trim_end_matches(".partial")).parse::<Digest>();
            if !digest.is_ok_and(|digest| kept.contains(&digest)) {
                freed.bytes += entry.metadata()?.len();
                freed.objects += 1;
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(freed)
}

/// Every object that some lock names.
fn pinned(session: &Session, keep: &[PathBuf]) -> Result<BTreeSet<Digest>> {
    let mut locks = Vec::new();
    for name in app::names(&session.workspace.root)? {
        locks.extend(Lock::read(&session.workspace.lock(&name))?);
    }
    for path in keep {
        let lock =
            Lock::read(path)?.with_context(|| format!("--keep {}: there is no such file", path.display()))?;
        locks.push(lock);
    }
    let mut kept = BTreeSet::new();
    for lock in locks {
        kept.insert(lock.data.digest);
        kept.extend(lock.objects().iter().map(|object| object.digest));
        // Of a rock that is not complete, the rest is worth nothing.
        kept.extend(lock.rock(&session.store).unwrap_or_default().iter().map(|object| object.digest));
        // `bench` starts the other one, which only the native packer can make again.
        if lock.packer.name == Packer::Rockcraft
            && let Ok(image) = import::read_image(&session.store, &lock.rocks.checkpoint)
        {
            kept.extend(image.blobs().into_keys());
        }
    }
    Ok(kept)
}
