//! Results of earlier steps, by the digest of what they were made from: a step whose inputs are unchanged is
//! not done again.

use std::path::PathBuf;

use anyhow::Result;
use fs_err as fs;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::workspace::{Workspace, write_whole};

/// One remembered result.
pub struct Memo {
    file: PathBuf,
}

impl Memo {
    /// The place of `step` for inputs of this digest.
    pub fn of(workspace: &Workspace, step: &str, key: &Digest) -> Result<Memo> {
        Ok(Memo { file: workspace.state_folder("memo")?.join(format!("{step}-{}.json", key.hex())) })
    }

    /// The result, if there is one that can still be read. An unreadable one is as good as none.
    pub fn get<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&fs::read(&self.file).ok()?).ok()
    }

    /// Remembers a result, after everything it names is in place.
    pub fn put(&self, value: &impl Serialize) -> Result<()> {
        write_whole(&self.file, &serde_json::to_vec_pretty(value)?, 0o644)
    }
}
