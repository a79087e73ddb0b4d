//! What every command works with: where things are, the store, the voice, what the user asked for.

use anyhow::Result;

use crate::progress::{Progress, Verbosity};
use crate::runtime::Kind;
use crate::store::Store;
use crate::workspace::Workspace;

/// One run of the tool.
pub struct Session {
    /// Where things are.
    pub workspace: Workspace,
    /// The content-addressed store.
    pub store: Store,
    /// The voice.
    pub progress: Progress,
    /// The container engine that the user asked for.
    pub runtime: Option<Kind>,
    /// Whether rockcraft is to build on this very machine.
    pub destructive: bool,
}

impl Session {
    /// Opens the store of this repository.
    pub fn open(verbosity: Verbosity, runtime: Option<Kind>, destructive: bool) -> Result<Session> {
        let workspace = Workspace::find()?;
        let store = Store::open(&workspace.state_folder("store")?)?;
        Ok(Session { workspace, store, progress: Progress::new(verbosity), runtime, destructive })
    }
}
