//! `man`: a man page for the tool and one for each command.

use anyhow::Result;
use clap::CommandFactory;
use clap_mangen::Man as Page;

use crate::cli::{Cli, Global, Man};
use crate::session::Session;
use crate::workspace::write_whole;

/// What the pages are called.
const NAME: &str = "cargo-xtask";

/// Writes them.
pub fn run(session: &Session, arguments: &Man, global: &Global) -> Result<()> {
    if global.plan {
        super::print_plan(&["write a man page for the tool, and one for each command"]);
        return Ok(());
    }
    let folder = match &arguments.output {
        Some(folder) => std::path::absolute(folder)?,
        None => session.workspace.state_folder("man")?,
    };
    let mut tool = Cli::command().name(NAME);
    // Options that go with every command are then on the pages of all of them.
    tool.build();
    let mut pages = vec![(NAME.to_owned(), tool.clone())];
    for command in tool.get_subcommands() {
        let name = command.get_name();
        pages.push((format!("{NAME}-{name}"), command.clone().bin_name(format!("cargo xtask {name}"))));
    }
    let count = pages.len();
    for (name, command) in pages {
        let mut text = Vec::new();
        Page::new(command).title(&name).render(&mut text)?;
        write_whole(&folder.join(format!("{name}.1")), &text, 0o644)?;
    }
    let shown = session.workspace.relative(&folder);
    println!("{} pages in {shown}; read the first with: man -l {shown}/{NAME}.1", count);
    Ok(())
}
