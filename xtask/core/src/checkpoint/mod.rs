//! The life of one checkpoint: run, ready, warm up, trigger, dump complete, collect; and its proof, a restore that
//! gives the same answers.

use std::time::{Duration, SystemTime};

use anyhow::Result;

use crate::digest::Digest;
use crate::files::DataFile;
use crate::lock::MappedFile;
use crate::runtime::Container;
use crate::source::Jar;

mod came_up;
pub mod collect;
mod dump;
mod failed;
mod footprint;
mod life;
mod log;
mod prove;
mod train;

pub use came_up::{COLD_START, CameUp, came_up};
pub use dump::dump;
pub use failed::{failed, why};
pub use footprint::{Memory, footprint};
pub use life::{Life, described, spec, warm_up, with_running};
pub use log::Log;
pub use prove::{Outside, Proven, Running, must_be_restored, prove, prove_same, start, start_restored};
pub use train::train;

/// How long a start took, up to the first correct answer.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Start {
    /// From the moment the engine was asked for a container.
    pub with_container: Duration,
    /// From the moment the container's first process ran.
    pub alone: Duration,
}

impl Start {
    /// The start of a container that was asked for at `asked` and answered at `up`. The engine is asked afterwards for
    /// what it knows: the question takes longer than a good part of a restore.
    pub fn until(up: SystemTime, asked: SystemTime, container: &Container<'_>) -> Result<Start> {
        let started = container.started_at()?;
        let since = |from: SystemTime| up.duration_since(from).unwrap_or_default();
        Ok(Start { with_container: since(asked), alone: since(started) })
    }
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
    /// The largest heap that the JVM will make, in bytes, where it said so.
    pub max_heap: Option<u64>,
    /// Every file of the checkpoint, in the store.
    pub files: Vec<DataFile>,
    /// Files of the image that the process has mapped.
    pub mapped: Vec<MappedFile>,
    /// Digests of the answers to `verify` before the dump.
    pub answers: Vec<Digest>,
    /// The jar that ran.
    pub jar: Jar,
}

/// The service of the checkpoint rock that runs the application has the application's own name.
pub fn dump_service(app: &str) -> String {
    format!("{app}-checkpoint")
}

/// The service of the restore rock.
pub fn restore_service(app: &str) -> String {
    format!("{app}-restore")
}
