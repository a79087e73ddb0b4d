//! Why a log ends in a failure: known causes, the line that shows each, and what to change.
//!
//! Pure but for [`kept`], which keeps the logs of failed runs. The table is [`CAUSES`]; the page
//! `docs/guide/troubleshooting.md` is made of it, and so are the last lines of every failure that has a log.

use std::fmt;

use crate::progress::plain;

mod causes;
pub mod kept;
mod markdown;
mod place;
mod show;

pub use causes::CAUSES;
pub use markdown::{PAGE, markdown};
pub use place::{Place, place};
pub use show::{Shown, brief, long, of_error, unknown};

/// Something that goes wrong, as a log shows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Cause {
    /// Its name, which stays: lowercase words with dashes.
    pub id: &'static str,
    /// What is the matter, in half a sentence.
    pub title: &'static str,
    /// How much a match says.
    pub weight: Weight,
    /// What a line of a log holds: one of these, in which `*` stands for anything.
    pub says: &'static [&'static str],
    /// What it means.
    pub means: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// What to change in app.toml, or where else.
    pub change: Change,
    /// Where it was seen: `here` (provoked in a container), `own` (no more than this tool's own words), or threads as
    /// `owner/name#number`.
    pub seen: &'static str,
}

/// Where the remedy is to be written.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// In app.toml.
    Line {
        /// The key, with its table: `checkpoint.ghost-limit`.
        key: &'static str,
        /// An example of the line, below `[table]`.
        line: &'static str,
    },
    /// Not in app.toml. What is to be changed, and where that is.
    Elsewhere(&'static str),
}

/// How much a cause explains, most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// The reason itself.
    Root,
    /// A complaint that is the reason if there is no other: applications complain of what they get over.
    Likely,
    /// What follows from any reason.
    Symptom,
}

/// A heading of the table and the causes below it.
#[derive(Debug)]
pub struct Group {
    /// When they strike.
    pub title: &'static str,
    /// In the order they are looked for.
    pub causes: &'static [Cause],
}

/// Every cause, in the order of the table.
pub fn causes() -> impl Iterator<Item = &'static Cause> {
    CAUSES.iter().flat_map(|group| group.causes)
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: usize,
    /// Safe to print, and cut where it is very long.
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.number, self.text)
    }
}

/// A cause and the first line that shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub cause: &'static Cause,
    /// What shows it.
    pub evidence: Line,
}

/// Lines that look like errors and mean nothing: every good restore's log has some of them.
pub const NOISE: &[&str] = &[
    "tun: Unable to create tun",
    "rlimit: Can't setup RLIMIT_NOFILE for self",
    // The attempt that a restore without NET_ADMIN gets over.
    "Failed to turn off repair mode",
    "Can't keep kdat cache on non-tempfs",
    "$XDG_RUNTIME_DIR not set",
    "Hugetlb size * is supported but cannot get dev's number",
];

/// How a kept log, or a text with many logs in it, begins one of them: `==> dump.log <==`.
const SECTION: &str = "==> * <==";

/// What a log says went wrong, the root cause first. None twice.
pub fn explain(log: &str) -> Vec<Found> {
    explain_lines(numbered(log))
}

/// As [`explain`], for lines that have their numbers already.
pub fn explain_lines<'a>(lines: impl IntoIterator<Item = (usize, &'a str)>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for (number, line) in lines {
        let line = cut(line, MATCHED);
        if is_noise(line) {
            continue;
        }
        for cause in causes() {
            let known = found.iter().any(|found| found.cause == cause);
            if !known && cause.says.iter().any(|says| matches(says, line)) {
                found.push(Found { cause, evidence: Line { number, text: shown(line) } });
                // One line has one cause: the table has the particular before the general.
                break;
            }
        }
    }
    found.sort_by_key(|found| (found.cause.weight, found.evidence.number));
    found
}

/// The last lines that speak of an error, for a log in which no cause is known; else its last lines.
pub fn last_errors<'a>(lines: impl IntoIterator<Item = (usize, &'a str)>, most: usize) -> Vec<Line> {
    let speaks = |line: &str| {
        ["rror", "ailed", "FAILED", "xception", "Warn", "cannot "].iter().any(|word| line.contains(word))
    };
    let mut errors = std::collections::VecDeque::new();
    let mut last = std::collections::VecDeque::new();
    for (number, line) in lines {
        let line = cut(line, MATCHED);
        if is_noise(line) || line.trim().is_empty() || matches(SECTION, line) {
            continue;
        }
        for (lines, wanted) in [(&mut errors, speaks(line)), (&mut last, true)] {
            if wanted {
                lines.push_back((number, line));
                if lines.len() > most {
                    lines.pop_front();
                }
            }
        }
    }
    let chosen = if errors.is_empty() { last } else { errors };
    chosen.into_iter().map(|(number, line)| Line { number, text: shown(line) }).collect()
}

/// The lines of a text and their numbers.
pub fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

fn is_noise(line: &str) -> bool {
    NOISE.iter().any(|noise| matches(noise, line))
}

/// Whether a line holds the parts of a pattern between its `*`, one after the other.
fn matches(pattern: &str, line: &str) -> bool {
    let mut rest = line;
    pattern.split('*').all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// Bytes of a line that are looked at, and characters of one that are shown.
const MATCHED: usize = 4096;
const SHOWN: usize = 300;

/// At most this many bytes, whole characters.
fn cut(line: &str, most: usize) -> &str {
    let mut end = line.len().min(most);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

/// A line of anybody's log as a terminal may see it.
fn shown(line: &str) -> String {
    let text = plain(line);
    let text = text.trim();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
