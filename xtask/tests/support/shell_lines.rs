//! Lines of shell that documents show: they are parsed by a shell, and what is ours in them by our own command line.

use std::io::Write;
use std::process::{Command, Stdio};

use clap::Parser;
use clap::error::ErrorKind;
use xtask::cli::Cli;

/// What this shell says of a script's syntax; nothing if it is right.
pub fn syntax(shell: &str, script: &str) -> Option<String> {
    let mut child = Command::new(shell)
        .args(["-n", "-s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A shell that has given up reads no further.
    let _ = child.stdin.take().unwrap().write_all(script.as_bytes());
    let ran = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
    (!ran.status.success() || !said.is_empty()).then_some(format!("{shell} -n: {said}"))
}

/// What is wrong with each `cargo xtask …` of a script.
pub fn wrong_commands(script: &str) -> Vec<String> {
    let wrong = |words: Vec<String>| match Cli::try_parse_from(&words) {
        Ok(_) => None,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => None,
        Err(error) => Some(format!("`cargo {}`: {error}", words.join(" ")).trim_end().to_owned()),
    };
    commands(script).into_iter().filter_map(wrong).collect()
}

/// The words of each `cargo xtask …`, from `xtask` on.
pub fn commands(script: &str) -> Vec<Vec<String>> {
    let script = script.replace("\\\n", " ");
    let starts = script.match_indices("cargo xtask").map(|(at, _)| &script[at + "cargo ".len()..]);
    // Without what names a command in a comment, or the tool itself.
    let of = |rest: &str| shlex::split(simple(rest)).filter(|words| words.len() > 1);
    starts.filter_map(of).collect()
}

/// A command up to its end: what another one, a pipe or a redirection begins with.
fn simple(text: &str) -> &str {
    let (mut quote, mut before) = (None, ' ');
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '#') if before == ' ' => return text[..at].trim_end(),
            (None, '"' | '\'') => quote = Some(c),
            (None, '\n' | '&' | '|' | ';' | ')' | '<' | '>') => return text[..at].trim_end(),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
        before = c;
    }
    text.trim_end()
}
