//! `clean`: remove what was made at run time.

use anyhow::Result;
use bytesize::ByteSize;
use fs_err as fs;
use walkdir::WalkDir;

use crate::cli::{Clean, Global};
use crate::session::Session;
use crate::workspace::Workspace;

/// Keeps the store's objects that a pin names, unless everything shall go.
pub fn run(session: &Session, arguments: &Clean, global: &Global) -> Result<()> {
    let state = session.workspace.state();
    let shown = session.workspace.relative(&state);
    if global.plan {
        let what = if arguments.all { "" } else { ", except objects of the store that a pin names" };
        super::print_plan(&[&format!("remove {shown}{what}")]);
        return Ok(());
    }
    let _alone = session.workspace.alone()?;
    let mut freed = 0;
    if !arguments.all {
        freed += super::gc::collect(session, &[])?.bytes;
    }
    // Only what this tool puts there: `XTASK_STATE` may name a folder that holds more. The locks come last but for the
    // tag: we hold one of them.
    for name in Workspace::STATE.into_iter().filter(|name| arguments.all || *name != "store") {
        let path = state.join(name);
        freed += size(&path);
        if path.is_dir() {
            fs::remove_dir_all(&path)?;
        } else if path.exists() {
            fs::remove_file(&path)?;
        }
    }
    let kept = if arguments.all { "" } else { "; objects of the store that a pin names are kept" };
    println!("removed {shown}, {}{kept}", ByteSize(freed));
    Ok(())
}

fn size(path: &std::path::Path) -> u64 {
    WalkDir::new(path).into_iter().flatten().filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum()
}
