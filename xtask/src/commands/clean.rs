//! `clean`: remove what was made at run time.

use std::collections::BTreeSet;

use anyhow::Result;
use bytesize::ByteSize;
use fs_err as fs;
use walkdir::WalkDir;

use crate::app;
use crate::cli::{Clean, Global};
use crate::digest::Digest;
use crate::lock::Lock;
use crate::pack::import;
use crate::session::Session;
use crate::way::Packer;
use crate::workspace::Workspace;

/// Keeps what a pin names, unless everything shall go.
pub fn run(session: &Session, arguments: &Clean, global: &Global) -> Result<()> {
    if global.plan {
        super::print_plan(&[if arguments.all {
            "remove all of target/xtask"
        } else {
            "remove what no pin names"
        }]);
        return Ok(());
    }
    let state = session.workspace.state();
    let _alone = session.workspace.alone()?;
    if arguments.all {
        let size: u64 = WalkDir::new(&state)
            .into_iter()
            .flatten()
            .filter_map(|e| e.metadata().ok())
            .map(|m| m.len())
            .sum();
        // Only what this tool puts there: `XTASK_STATE` may name a folder that holds more.
        for name in Workspace::STATE {
            let path = state.join(name);
            if path.is_dir() {
                fs::remove_dir_all(&path)?;
            } else if path.exists() {
                fs::remove_file(&path)?;
            }
        }
        println!("removed {} ({})", session.workspace.relative(&state), ByteSize(size));
        return Ok(());
    }
    super::sweep(session)?;
    let kept = pinned(session)?;
    let mut freed = 0;
    for entry in fs::read_dir(session.store.root().join("blobs/sha256"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let digest = format!("sha256:{name}").parse::<Digest>();
        if !digest.is_ok_and(|digest| kept.contains(&digest)) {
            freed += entry.metadata()?.len();
            fs::remove_file(entry.path())?;
        }
    }
    println!("freed {}; what the pins name is kept", ByteSize(freed));
    Ok(())
}

/// Every object that some lock names. An unreadable lock ends the command: it might name anything.
fn pinned(session: &Session) -> Result<BTreeSet<Digest>> {
    let mut kept = BTreeSet::new();
    for name in app::names(&session.workspace.root)? {
        let Some(lock) = Lock::read(&session.workspace.lock(&name))? else { continue };
        kept.extend([lock.source.jar, lock.data.digest]);
        kept.extend(lock.base.map(|base| base.digest));
        kept.extend(lock.pebble.map(|pebble| pebble.digest));
        // rockcraft would make other bytes of the same files: its rock stays as it was proven.
        if let (Packer::Rockcraft, Ok(rock)) =
            (lock.packer.name, import::read_image(&session.store, &lock.rocks.restore))
        {
            kept.extend(rock.blobs().into_keys());
        }
        kept.extend(lock.class_archive.as_ref().map(|archive| archive.digest));
        kept.extend(lock.data.files.iter().filter_map(|file| file.sha256));
    }
    Ok(kept)
}
