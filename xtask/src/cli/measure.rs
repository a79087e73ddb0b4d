//! Arguments of the commands that restore again and again.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct Bench {
    /// The application: a folder of apps/
    pub app: String,
    /// How many cold starts
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub cold: usize,
    /// How many restores
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub restores: usize,
    /// Checkpoint first where something has changed, built from this folder or of this jar
    #[arg(long, value_name = "DIR|JAR")]
    pub source: Option<PathBuf>,
    /// Compare the medians with those of this earlier report
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Fail unless the application is back this many times as fast as it starts
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    pub fail_below: Option<f64>,
}

/// A number that a ratio can be held against.
fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio: &f64| ratio.is_finite() && *ratio > 0.0);
    ratio.ok_or_else(|| "expected a number above 0, as `10` or `37.5`".to_owned())
}

/// Arguments of `soak`.
#[derive(Debug, Args)]
pub struct Soak {
    /// The application: a folder of apps/
    pub app: String,
    /// How many restores
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub restores: usize,
    /// Start 1, 2, 5, 10 and so on up to N at once instead, and print how soon they answer and what they take
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=200), conflicts_with = "restores")]
    pub beside: Option<u8>,
}

/// Arguments of `capabilities`.
#[derive(Debug, Args)]
pub struct Capabilities {
    /// The application: a folder of apps/
    pub app: String,
    /// Take families of system calls away as well, and write into the pin what the filter can refuse
    #[arg(long)]
    pub system_calls: bool,
    /// Give back every system call that the pin refuses; nothing is tried, and nothing else changes
    #[arg(long, conflicts_with = "system_calls")]
    pub all_system_calls: bool,
}
