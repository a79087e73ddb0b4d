//! The end of every error that has a log: why, as far as the logs say. They are kept, since their container is not.

use anyhow::{Result, anyhow};

use crate::explain::kept::{self, Bounded, KEPT, Part};
use crate::explain::{Shown, brief, explain};
use crate::rock::Role;
use crate::rocks::Job;
use crate::runtime::Container;

/// Lines of a container's log that are kept.
const LINES: usize = 5000;

/// The error of a run in `container`: what is wrong, the end of its log, and why. Keeps the container's logs in
/// target/xtask/logs.
pub fn failed(
    job: &Job<'_>,
    role: Role,
    container: &Container<'_>,
    wrong: &str,
    tail: &str,
) -> anyhow::Error {
    anyhow!("{wrong}\n{tail}\n{}", why(job, role, container, wrong))
}

/// Why, as far as the logs say, and where they are kept: the lines below the error.
pub fn why(job: &Job<'_>, role: Role, container: &Container<'_>, wrong: &str) -> String {
    // It is the failure that matters, and this only says more of it.
    explained(job, role, container, wrong)
        .unwrap_or_else(|error| format!("  log: it cannot be kept: {error:#}"))
}

fn explained(job: &Job<'_>, role: Role, container: &Container<'_>, wrong: &str) -> Result<String> {
    let app = &job.app.name;
    let part = |name: &str, log| Part { name: name.to_owned(), log };
    let mut parts = vec![part("the error", bounded(wrong)?)];
    for file in files(app, role) {
        // What is not there says nothing.
        if let Ok(log) = container.copy(&file, |reader| Ok(Bounded::read(reader, KEPT)?)) {
            parts.push(part(&file, log));
        }
    }
    let log = container.log_end(LINES).unwrap_or_else(|error| format!("it cannot be read: {error:#}"));
    parts.push(part("the container's log", bounded(&log)?));
    let text = kept::file(app, &format!("{} rock", role.folder()), &parts);
    let workspace = &job.session.workspace;
    let path = kept::keep(workspace, app, &text)?;
    let file = workspace.app(app).join("app.toml");
    let shown = Shown {
        app: app.clone(),
        file: workspace.relative(&file).to_string(),
        toml: std::fs::read_to_string(&file).unwrap_or_default(),
    };
    let path = workspace.relative(&path);
    Ok(match brief(&explain(&text), Some(&shown)) {
        Some(why) => format!("{why}\n  log:      {path}; `cargo xtask explain` says more"),
        None => format!("why: no known cause\n  log:      {path}"),
    })
}

/// What CRIU and the JVM write beside the container's own log.
fn files(app: &str, role: Role) -> Vec<String> {
    match role {
        Role::Checkpoint => vec![
            format!("/run/{app}/dump.log"),
            format!("/run/{app}/criu.stderr"),
            format!("/run/{app}/jcmd.log"),
            "/checkpoint-data/dump4.log".to_owned(),
        ],
        Role::Restore => vec![format!("/run/{app}/restore.log")],
    }
}

fn bounded(text: &str) -> Result<Bounded> {
    Ok(Bounded::read(text.as_bytes(), KEPT)?)
}
