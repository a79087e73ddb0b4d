//! Arguments of `explain`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// A log; `-` is the standard input [default: that of the newest failed run, in target/xtask/logs]
    #[arg(value_name = "LOG")]
    pub log: Option<PathBuf>,
    /// The application it is of, whose app.toml is to change [default: as the log of a failed run says]
    #[arg(long, value_name = "APP")]
    pub app: Option<String>,
    /// Write docs/guide/troubleshooting.md, the page of all causes, and read no log
    #[arg(long, conflicts_with_all = ["log", "app"])]
    pub markdown: bool,
}
