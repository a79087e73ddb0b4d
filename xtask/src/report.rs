//! What was measured last: `target/xtask/reports/<app>.json`, and how it is shown.

use std::time::Duration;

use anyhow::Result;
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Start;
use crate::progress::seconds;
use crate::workspace::{Workspace, write_whole};

/// One run's figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The start of the checkpoint rock, up to the first 200 on `ready`.
    pub cold: Start,
    /// The start of the restore rock, up to the same.
    pub restored: Start,
    /// Processes frozen to killed.
    pub froze: Duration,
}

impl Report {
    /// The last figures of an application.
    pub fn read(workspace: &Workspace, app: &str) -> Option<Report> {
        let file = workspace.state().join("reports").join(format!("{app}.json"));
        serde_json::from_slice(&fs::read(file).ok()?).ok()
    }

    /// Keeps the figures.
    pub fn write(&self, workspace: &Workspace, app: &str) -> Result<()> {
        let file = workspace.state_folder("reports")?.join(format!("{app}.json"));
        write_whole(&file, &serde_json::to_vec_pretty(self)?, 0o644)
    }

    /// Cold over restored, without the container's own start.
    pub fn ratio(&self) -> f64 {
        ratio(self.cold.alone, self.restored.alone)
    }

    /// Cold and restored side by side.
    pub fn table(&self) -> String {
        let row = |name: &str, cold: Duration, restored: Duration| {
            format!(
                "  {name:<26} {:>8} {:>9} {:>7.1}x",
                seconds(cold),
                seconds(restored),
                ratio(cold, restored)
            )
        };
        [
            format!("  {:<26} {:>8} {:>9} {:>8}", "to the first 200", "cold", "restored", "ratio"),
            row("from the container's start", self.cold.alone, self.restored.alone),
            row("container start included", self.cold.with_container, self.restored.with_container),
        ]
        .join("\n")
    }
}

fn ratio(cold: Duration, restored: Duration) -> f64 {
    cold.as_secs_f64() / restored.as_secs_f64().max(0.001)
}
