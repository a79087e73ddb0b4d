//! `show`: an application's whole configuration, with the origin of every value.

use anyhow::Result;

use crate::app::{self, Origin};
use crate::cli::{Global, Show};
use crate::session::Session;

/// Prints TOML that could be pasted into app.toml.
pub fn run(session: &Session, arguments: &Show, global: &Global) -> Result<()> {
    if global.plan {
        super::print_plan(&["read and validate app.toml", "print it"]);
        return Ok(());
    }
    let loaded = app::load(&session.workspace.root, &arguments.app)?;
    let width =
        loaded.settings.iter().map(|s| s.key.len() + s.value.chars().count() + 3).filter(|w| *w <= 60).max();
    for setting in &loaded.settings {
        let origin = match &setting.origin {
            Origin::File { line } => format!("apps/{}/app.toml:{line}", arguments.app),
            Origin::Default(why) => format!("default: {why}"),
            Origin::Derived(from) => from.clone(),
        };
        let line = format!("{} = {}", setting.key, setting.value);
        println!("{line:<width$}  # {origin}", width = width.unwrap_or(40));
    }
    Ok(())
}
