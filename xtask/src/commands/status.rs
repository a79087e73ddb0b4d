//! `status`: the containers that run an application's restore rock, and which way each came up.

use anyhow::{Result, ensure};
use comfy_table::{Table, presets};

use crate::app;
use crate::checkpoint::{CameUp, came_up};
use crate::cli::{Global, Status};
use crate::diagnostic::causes;
use crate::interrupt;
use crate::rock::Role;
use crate::runtime::Runtime;
use crate::session::Session;

/// Prints a table; an error unless each container runs the dumped process.
pub fn run(session: &Session, arguments: &Status, global: &Global) -> Result<()> {
    if global.plan {
        super::print_plan(&["read the pin", "ask Pebble and /proc in each container of the restore rock"]);
        return Ok(());
    }
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    let lock = super::pin(session, &app)?;
    let runtime = Runtime::connect(session.runtime)?;
    let repository = format!("localhost/{}", super::rock_name(&app, Role::Restore));
    let running = runtime.running(&repository)?;
    if running.is_empty() {
        println!("No container of {} runs {repository}.", runtime.kind);
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["CONTAINER", "RUNS SINCE", "CAME UP", "WHY"]);
    let mut others = 0;
    for container in &running {
        let (way, why) = match came_up(container, lock.pid) {
            Ok(CameUp::Restored) => ("restored", String::new()),
            Ok(CameUp::Cold(reason)) => ("started cold", reason),
            Err(error) if interrupt::received().is_some() => return Err(error),
            // As one of another pin.
            Err(error) => ("unknown", causes(&error)),
        };
        others += usize::from(way != "restored");
        let since = match container.started_at() {
            Ok(time) => humantime::format_rfc3339_seconds(time).to_string(),
            Err(_) => "-".to_owned(),
        };
        table.add_row([container.name.clone(), since, way.to_owned(), why]);
    }
    println!("{}", table.trim_fmt());
    ensure!(others == 0, "{others} of {} were not restored from this pin", running.len());
    Ok(())
}
