//! `schema`: the JSON Schema of app.toml, for editors.

use anyhow::{Result, ensure};
use fs_err as fs;

use crate::app;
use crate::cli::{Global, Schema};
use crate::session::Session;
use crate::workspace::write_whole;

/// Writes `apps/app.schema.json`, or checks that it is fresh.
pub fn run(session: &Session, arguments: &Schema, global: &Global) -> Result<()> {
    let path = session.workspace.root.join("apps/app.schema.json");
    let check = arguments.check || global.locked;
    if global.plan {
        super::print_plan(&[if check {
            "compare apps/app.schema.json"
        } else {
            "write apps/app.schema.json"
        }]);
        return Ok(());
    }
    let text = app::schema();
    let fresh = fs::read_to_string(&path).is_ok_and(|old| old == text);
    ensure!(fresh || !check, "apps/app.schema.json is not fresh; run `cargo xtask schema`");
    if !fresh {
        write_whole(&path, text.as_bytes(), 0o644)?;
    }
    println!("apps/app.schema.json is {}", if fresh { "fresh" } else { "written" });
    Ok(())
}
