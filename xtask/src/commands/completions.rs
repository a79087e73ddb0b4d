//! `completions`: what a shell needs to complete commands and options.

use std::io::Write;

use anyhow::Result;
use clap::CommandFactory;

use crate::cli::{Cli, Completions, Global};

/// What the alias that the completions are for is called.
const NAME: &str = "xtask";

/// Prints a script for the shell to read.
pub fn run(arguments: &Completions, global: &Global) -> Result<()> {
    if global.plan {
        super::print_plan(&["print a script for the shell"]);
        return Ok(());
    }
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Cli::command().bin_name(NAME).name(NAME),
        NAME,
        &mut script,
    );
    // A reader that has gone (`| head`) has read enough.
    let _ = std::io::stdout().write_all(&script);
    Ok(())
}
