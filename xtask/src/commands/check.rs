//! `check`: are the app.toml files valid? Changes nothing.

use anyhow::Result;

use crate::app::Source;
use crate::cli::{Apps, Global};
use crate::render::{self, Templates};
use crate::session::Session;

/// Validates and renders in memory.
pub fn run(session: &Session, arguments: &Apps, global: &Global) -> Result<()> {
    if global.plan {
        super::print_plan(&["read and validate app.toml", "render in memory"]);
        return Ok(());
    }
    let templates = Templates::read(&session.workspace.templates())?;
    for loaded in super::apps(session, arguments.app.as_deref())? {
        render::render(&templates, &loaded.app, None)?;
        println!("apps/{}/app.toml is valid", loaded.app.name);
        match &loaded.app.source {
            Source::Jar { path } if !path.is_file() => {
                eprintln!("warning: its jar is not there: {}", path.display());
            }
            Source::Directory { path, .. } if !path.is_dir() => {
                eprintln!("warning: its folder is not there: {}", path.display());
            }
            _ => {}
        }
    }
    Ok(())
}
