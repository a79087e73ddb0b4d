//! Values that are given on the command line and end up in app.toml: they pass the same checks, and what is wrong with
//! one is shown at its place in the line.

use super::check::{Checked, Wrong, quoted};
use super::{Source, check_source};
use crate::diagnostic::{InputError, Problem};

/// `--git URL`.
pub fn given_git(text: &str) -> Result<String, InputError> {
    read("--git", text, check_source::git_url)
}

/// `--commit ID`.
pub fn given_commit(text: &str) -> Result<String, InputError> {
    read("--commit", text, check_source::commit)
}

/// `--maven GROUP:ARTIFACT:VERSION[:CLASSIFIER]`; its sum is not known yet.
pub fn given_maven(text: &str) -> Result<Source, InputError> {
    let check_source::Coordinates { group, artifact, version, classifier } =
        read("--maven", text, check_source::maven)?;
    Ok(Source::Maven { group, artifact, version, classifier, sha256: String::new() })
}

fn read<T>(option: &str, text: &str, check: impl FnOnce(&str) -> Checked<T>) -> Result<T, InputError> {
    check(text).map_err(|wrong| error(option, text, wrong))
}

fn error(option: &str, text: &str, wrong: Wrong) -> InputError {
    // Stars for what may be a password; and a terminal must not obey what is shown.
    let shown = match wrong.secret {
        true => "***".to_owned(),
        false => quoted(text).trim_matches('`').to_owned(),
    };
    let line = format!("{option} {shown}");
    InputError {
        file: "the command line".to_owned(),
        problems: vec![Problem {
            message: format!("`{option}` {}", wrong.predicate),
            span: Some(option.len() + 1..line.len()),
            label: wrong.expected,
            help: wrong.help,
        }],
        text: line,
    }
}
