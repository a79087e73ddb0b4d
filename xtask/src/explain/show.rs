//! What is found, for people: short at the end of an error, long for `explain`.

use super::place::{Advice, place};
use super::{Cause, Found, Line, Weight};

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
        lines.insert(
            lines.len() - usize::from(change(one.cause, app).is_some()) - 1,
            format!("  means:    {}", one.cause.means),
        );
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
    lines.extend(change(cause, app));
    lines
}

/// Which line to change, as far as the file is known.
fn change(cause: &Cause, app: Option<&Shown>) -> Option<String> {
    let change = cause.change.as_ref()?;
    let unknown = || format!("`{}` in app.toml, for example `{}`", change.key, change.line);
    let place = |app: &Shown| {
        Advice { file: &app.file, place: place(&app.toml, change.key), key: change.key, line: change.line }
            .to_string()
    };
    Some(format!("  change:   {}", app.map_or_else(unknown, place)))
}

/// The table says APP where a command needs the application's name.
fn for_app(text: &str, app: Option<&Shown>) -> String {
    match app {
        Some(app) => text.replace("APP", &app.app),
        None => text.to_owned(),
    }
}
