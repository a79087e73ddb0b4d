//! What is found, for people: short at the end of an error, long for `explain`.

use super::place::{Advice, added, place};
use super::{Cause, Change, Found, Line, Weight, explain};

/// The application a log is of.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its name.
    pub app: String,
    /// Its app.toml as errors call it.
    pub file: String,
    /// What stands in it.
    pub toml: String,
}

/// The lines below an error: cause, evidence, remedy, and what to change. None without a cause.
pub fn brief(found: &[Found], app: Option<&Shown>) -> Option<String> {
    let first = found.first()?;
    let lines = part(first, app);
    Some(lines.join("\n"))
}

/// What an error that has no log says by itself: the engine could not start a container, a build failed, and the like. None
/// where its cause is unknown, or was said already.
pub fn of_error(text: &str) -> Option<String> {
    if text.lines().any(|line| line.starts_with("why: ")) {
        return None;
    }
    let found = explain(text);
    let brief = brief(&found, None)?;
    // The evidence stands right above.
    let lines: Vec<&str> = brief.lines().filter(|line| !line.starts_with("  evidence: ")).collect();
    Some(lines.join("\n"))
}

/// Every cause, numbered where there are several: the reasons, then what follows from them.
pub fn long(found: &[Found], app: Option<&Shown>) -> String {
    let reasons = found.iter().filter(|found| found.cause.weight != Weight::Symptom).count();
    let mut parts = Vec::new();
    for (at, one) in found.iter().enumerate() {
        let mut lines = Vec::new();
        if at > 0 {
            let what = if at >= reasons.max(1) { "which may all follow from the above" } else { "also" };
            lines.push(format!("{what}:"));
        }
        lines.extend(part(one, app));
        // Before remedy and change.
        lines.insert(lines.len() - 2, format!("  means:    {}", for_app(one.cause.means, app)));
        parts.push(lines.join("\n"));
    }
    parts.join("\n\n")
}

/// What is said of a log in which nothing is known.
pub fn unknown(last: &[Line]) -> String {
    let mut text = String::from("The last lines of it that speak of an error:");
    if last.is_empty() {
        text = "There is nothing in it.".to_owned();
    }
    for line in last {
        text.push_str(&format!("\n  {line}"));
    }
    text.push_str(
        "\nWhere to ask, with the whole log: CRIU's lines at checkpoint-restore/criu, a CRaC JVM's at CRaC/docs, Pebble's \
         at canonical/pebble (GitHub), and everything else where this tool comes from. `cargo xtask doctor` looks at this \
         machine.",
    );
    text
}

fn part(found: &Found, app: Option<&Shown>) -> Vec<String> {
    let Found { cause, evidence } = found;
    let mut lines = vec![
        format!("why: {} [{}]", cause.title, cause.id),
        format!("  evidence: {evidence}"),
        format!("  remedy:   {}", for_app(cause.remedy, app)),
    ];
    lines.push(change(cause, app));
    lines
}

/// Which line to change, as far as the file is known; or where else.
fn change(cause: &Cause, app: Option<&Shown>) -> String {
    let text = match (&cause.change, app) {
        (Change::Elsewhere(text), _) => format!("nothing in app.toml: {}", for_app(text, app)),
        (&Change::Line { key, line }, None) => match added(line) {
            Some(part) => format!("`{key}` in app.toml: add, say, `{part}` to it"),
            None => format!("`{key}` in app.toml, say, `{line}`"),
        },
        (&Change::Line { key, line }, Some(app)) => {
            Advice { file: &app.file, place: place(&app.toml, key), key, line }.to_string()
        }
    };
    format!("  change:   {text}")
}

/// The table says APP where a command needs the application's name.
fn for_app(text: &str, app: Option<&Shown>) -> String {
    match app {
        Some(app) => text.replace("APP", &app.app),
        None => text.to_owned(),
    }
}
