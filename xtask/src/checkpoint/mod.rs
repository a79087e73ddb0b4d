//! The life of one checkpoint: run, ready, warm up, trigger, dump complete, collect; and its proof, a restore that
//! gives the same answers.

use std::time::Duration;

use crate::digest::Digest;
use crate::lock::DataFile;

mod collect;
mod dump;
mod life;
mod log;
mod prove;
mod train;

pub use dump::dump;
pub use log::Log;
pub use prove::{Running, prove, start_restored};
pub use train::train;

/// How long a start took, up to the first correct answer.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Start {
    /// From the moment the engine was asked for a container.
    pub with_container: Duration,
    /// From the moment the container's first process ran.
    pub alone: Duration,
}

/// What a dump leaves.
#[derive(Debug)]
pub struct Dumped {
    /// PID of the JVM.
    pub pid: u32,
    /// The cold start.
    pub cold: Start,
    /// Processes frozen to killed, as the dump itself measured it.
    pub froze: Duration,
    /// Every file of the checkpoint, in the store.
    pub files: Vec<DataFile>,
    /// Digests of the answers to `verify` before the dump.
    pub answers: Vec<Digest>,
}

/// The service of the checkpoint rock that runs the application has the application's own name.
pub fn dump_service(app: &str) -> String {
    format!("{app}-checkpoint")
}

/// The service of the restore rock.
pub fn restore_service(app: &str) -> String {
    format!("{app}-restore")
}
