//! `list`: the applications, their sources and their pins.

use anyhow::Result;
use bytesize::ByteSize;
use comfy_table::{Table, presets};

use crate::cli::Global;
use crate::lock::Lock;
use crate::report::Report;
use crate::session::Session;

/// Prints a table.
pub fn run(session: &Session, global: &Global) -> Result<()> {
    if global.plan {
        super::print_plan(&["read apps/ and the locks", "print a table"]);
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["APPLICATION", "SOURCE", "ENGINE", "PINNED", "DATA", "RATIO"]);
    for loaded in super::apps(session, None)? {
        let app = loaded.app;
        let lock = Lock::read(&session.workspace.lock(&app.name)).unwrap_or_else(|error| {
            session.progress.warn(&format!("{error:#}"));
            None
        });
        let engine = lock.as_ref().map_or_else(
            || {
                serde_json::to_value(app.engine)
                    .ok()
                    .and_then(|v| v.as_str().map(String::from))
                    .unwrap_or_default()
            },
            |lock| lock.engine.to_string(),
        );
        let (pinned, size) = match &lock {
            Some(lock) => {
                (lock.created.clone(), ByteSize(lock.data.files.iter().map(|f| f.size).sum()).to_string())
            }
            None => ("-".into(), "-".into()),
        };
        // Figures outlive a pin that was deleted, and then tell nothing.
        let report = lock.as_ref().and_then(|_| Report::read(&session.workspace, &app.name));
        let ratio = report.map(|report| format!("{:.1}x", report.ratio()));
        let source = match &lock {
            Some(lock) if lock.source.local => format!("{} (local)", lock.source.from),
            Some(lock) => lock.source.from.clone(),
            None => app.source.title(),
        };
        table.add_row([app.name, source, engine, pinned, size, ratio.unwrap_or_else(|| "-".into())]);
    }
    println!("{}", table.trim_fmt());
    Ok(())
}
