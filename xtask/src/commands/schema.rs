//! `schema`: the JSON Schema of app.toml, for editors, and the guide's pages of its keys and of the commands.

use anyhow::{Result, ensure};
use fs_err as fs;

use crate::app;
use crate::cli::{Global, Schema, page};
use crate::session::Session;
use crate::workspace::write_whole;

const SCHEMA: &str = "apps/app.schema.json";
const KEYS: &str = "docs/guide/configuration.md";

/// Writes the files, or checks that they are fresh.
pub fn run(session: &Session, arguments: &Schema, global: &Global) -> Result<()> {
    let check = arguments.check || global.locked;
    let mut files = vec![(SCHEMA, app::schema())];
    // A copy of the repository without the guide needs no pages of it.
    if session.workspace.root.join("docs/guide").is_dir() {
        files.push((KEYS, app::reference()));
        files.push((page::PAGE, page::markdown()));
    }
    if global.plan {
        let verb = if check { "compare" } else { "write" };
        let steps: Vec<String> = files.iter().map(|(name, _)| format!("{verb} {name}")).collect();
        super::print_plan(&steps.iter().map(String::as_str).collect::<Vec<_>>());
        return Ok(());
    }
    for (name, text) in files {
        let path = session.workspace.root.join(name);
        let fresh = fs::read_to_string(&path).is_ok_and(|old| old == text);
        ensure!(fresh || !check, "{name} is not fresh; run `cargo xtask schema`");
        if !fresh {
            write_whole(&path, text.as_bytes(), 0o644)?;
        }
        println!("{name} is {}", if fresh { "fresh" } else { "written" });
    }
    Ok(())
}
