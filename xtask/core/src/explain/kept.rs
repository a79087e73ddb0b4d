//! The logs that a failed run leaves in `target/xtask/logs`, and reading logs with limits.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;

use crate::workspace::{Workspace, write_whole};

/// Logs of failed runs that are kept; the oldest go.
const FILES: usize = 20;
/// Bytes of the beginning and of the end that are kept of each log in a file: an end says what happened, and a beginning
/// who said it.
pub const KEPT: usize = 128 << 10;
/// The same of a log that `explain` reads.
pub const READ: usize = 4 << 20;
/// Where whoever writes without end is left alone.
const ENDLESS: u64 = 4 << 30;

/// A log, or its beginning and its end.
#[derive(Debug, Default)]
pub struct Bounded {
    head: String,
    tail: String,
    /// Lines of the beginning and of what was left out, and bytes of the latter.
    before_tail: usize,
    /// Bytes that were left out.
    pub left_out: u64,
}

impl Bounded {
    /// Reads at most about twice `half` bytes: whole lines, unless they are longer than that.
    pub fn read(reader: impl Read, half: usize) -> std::io::Result<Bounded> {
        let mut reader = BufReader::new(reader.take(ENDLESS));
        let (mut head, mut tail) = (Vec::new(), VecDeque::new());
        let (mut lines, mut held, mut left_out) = (0, 0, 0);
        loop {
            let mut line = Vec::new();
            // A line without end is read in pieces, each of which counts as one.
            if reader.by_ref().take(half as u64).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if tail.is_empty() && head.len() + line.len() <= half {
                head.extend(line);
                lines += 1;
                continue;
            }
            held += line.len();
            tail.push_back(line);
            while held > half && tail.len() > 1 {
                let gone = tail.pop_front().map_or(0, |line| line.len());
                held -= gone;
                left_out += gone as u64;
                lines += 1;
            }
        }
        let tail: Vec<u8> = tail.into_iter().flatten().collect();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Bounded { head: text(&head), tail: text(&tail), before_tail: lines, left_out })
    }

    /// Every line that is here, with its number in the whole.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let tail = self.tail.lines().enumerate().map(|(at, line)| (at + 1 + self.before_tail, line));
        super::numbered(&self.head).chain(tail)
    }

    /// As it is kept.
    fn text(&self) -> String {
        match self.left_out {
            0 => format!("{}{}", self.head, self.tail),
            bytes => format!("{}[{bytes} bytes are left out here]\n{}", self.head, self.tail),
        }
    }
}

/// How the first line of a kept file begins; the application's name follows.
const FIRST: &str = "# Logs of ";

/// The application a kept file is of.
pub fn app_of(log: &Bounded) -> Option<&str> {
    let rest = log.head.lines().next()?.strip_prefix(FIRST)?;
    let name = rest.split_once(',')?.0;
    crate::app::check_name(name).is_ok().then_some(name)
}

/// One log of a failed run: what it is called, and what is in it.
pub struct Part {
    /// `restore.log`.
    pub name: String,
    /// Its text.
    pub log: Bounded,
}

/// Everything that is kept of a failed run, as one text. `what` is what ran: `restore rock`.
pub fn file(app: &str, what: &str, parts: &[Part]) -> String {
    let mut text = format!("{FIRST}{app}, {what}\n");
    for part in parts {
        text.push_str(&format!("==> {} <==\n{}", part.name, part.log.text()));
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}

/// Keeps a file, for its owner alone: an application's log can hold anything. The oldest of too many go.
pub fn keep(workspace: &Workspace, app: &str, text: &str) -> Result<PathBuf> {
    let folder = workspace.state_folder("logs")?;
    let now = humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string();
    let time: String = now.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    // The time comes first, so that names sort by it.
    let path = folder.join(format!("{time}-{}-{app}.log", std::process::id()));
    write_whole(&path, text.as_bytes(), 0o600)?;
    let names = kept(&folder)?;
    for old in &names[..names.len().saturating_sub(FILES)] {
        let _ = std::fs::remove_file(old);
    }
    Ok(path)
}

/// The newest kept file.
pub fn newest(workspace: &Workspace) -> Result<Option<PathBuf>> {
    let folder = workspace.state().join("logs");
    if !folder.is_dir() {
        return Ok(None);
    }
    Ok(kept(&folder)?.pop())
}

/// The kept files, oldest first.
fn kept(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).context("the logs of failed runs")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            names.push(path);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, half: usize) -> Bounded {
        Bounded::read(text.as_bytes(), half).unwrap()
    }

    #[test]
    fn lines_keep_their_numbers_when_the_middle_is_left_out() {
        let long: String = (1..=100).map(|number| format!("line {number}\n")).collect();
        let log = read(&long, 100);
        let lines: Vec<(usize, &str)> = log.lines().collect();
        assert_eq!(lines.first(), Some(&(1, "line 1")));
        assert_eq!(lines.last(), Some(&(100, "line 100")));
        assert!(lines.len() < 30, "{lines:?}");
        assert!(lines.iter().all(|(number, line)| *line == format!("line {number}")), "{lines:?}");
        let held: usize = lines.iter().map(|(_, line)| line.len() + 1).sum();
        assert_eq!(held as u64 + log.left_out, long.len() as u64);
        assert!(log.text().contains("bytes are left out here"));
    }

    #[test]
    fn what_is_small_enough_is_whole() {
        for text in ["", "a", "a\n", "a\n\nb"] {
            let log = read(text, 100);
            assert_eq!((log.text().as_str(), log.left_out), (text, 0));
            assert!(log.lines().map(|(_, line)| line).eq(text.lines()));
        }
    }

    #[test]
    fn neither_a_line_without_end_nor_rubbish_takes_more_memory() {
        let rubbish: Vec<u8> =
            (0..1_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80).collect();
        let log = Bounded::read(&rubbish[..], 1000).unwrap();
        assert!(log.head.len() + log.tail.len() < 12_000, "{} {}", log.head.len(), log.tail.len());
        assert!(log.left_out > 990_000);
    }

    #[test]
    fn a_kept_file_names_its_application() {
        let part = Part { name: "dump.log".into(), log: read("x", 10) };
        let text = file("shop", "checkpoint rock", &[part]);
        assert_eq!(text, "# Logs of shop, checkpoint rock\n==> dump.log <==\nx\n");
        assert_eq!(app_of(&read(&text, 1000)), Some("shop"));
        assert_eq!(app_of(&read("# Logs of ../x, y\n", 1000)), None);
        assert_eq!(app_of(&read("x", 1000)), None);
    }
}
