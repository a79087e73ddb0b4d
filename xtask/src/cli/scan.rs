//! The command line of `scan`.

use clap::Args;

/// Arguments of `scan`.
#[derive(Debug, Args)]
pub struct Scan {
    /// The application: a folder of apps/
    pub app: String,
    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,
}
