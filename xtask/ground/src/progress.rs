//! What a person sees while the tool works: a spinner on a terminal, plain lines elsewhere, and at the end the
//! time each step took.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Results and errors only.
    Quiet,
    /// Steps and the application's log.
    Normal,
    /// Also what other programs print.
    Verbose,
}

impl Verbosity {
    /// The same, as rockcraft's `--verbosity` has it.
    pub fn of_rockcraft(self) -> &'static str {
        match self {
            Verbosity::Quiet => "brief",
            Verbosity::Normal => "verbose",
            Verbosity::Verbose => "debug",
        }
    }
}

/// The voice of one run. Everything goes to standard error; standard output is for results.
pub struct Progress {
    started: Instant,
    verbosity: Verbosity,
    bar: Option<ProgressBar>,
    steps: Mutex<Vec<(String, Duration)>>,
}

impl Progress {
    /// A spinner if standard error is a terminal that wants one.
    pub fn new(verbosity: Verbosity) -> Progress {
        let fancy = std::io::stderr().is_terminal()
            && verbosity == Verbosity::Normal
            && std::env::var_os("NO_COLOR").is_none()
            && std::env::var_os("CI").is_none();
        let bar = fancy.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
                bar.set_style(style);
            }
            bar
        });
        Progress { started: Instant::now(), verbosity, bar, steps: Mutex::default() }
    }

    /// How much is printed.
    pub fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Runs one step and remembers how long it took.
    pub fn step<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        match &self.bar {
            Some(bar) => {
                bar.reset();
                bar.set_message(name.to_owned());
                bar.enable_steady_tick(Duration::from_millis(100));
            }
            None => self.say(name),
        }
        let result = work();
        let elapsed = started.elapsed();
        if let Some(bar) = &self.bar {
            bar.disable_steady_tick();
            // It goes, so that a result on the standard output does not stand behind it.
            bar.finish_and_clear();
        }
        if result.is_ok() {
            self.done(name, elapsed);
        }
        result
    }

    /// As [`Progress::step`], for a step that is done beside others: the spinner is theirs.
    pub fn beside<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        self.say(&format!("{name} (meanwhile)"));
        let result = work();
        match &result {
            Ok(_) => self.done(name, started.elapsed()),
            // The error itself is told when the others have ended.
            Err(_) => self.say(&format!("{name}: failed")),
        }
        result
    }

    fn done(&self, name: &str, elapsed: Duration) {
        self.say(&format!("{name}: done in {}", seconds(elapsed)));
        self.steps.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((name.to_owned(), elapsed));
    }

    /// One line about the work itself.
    pub fn say(&self, line: &str) {
        if self.verbosity >= Verbosity::Normal {
            self.print(&format!("[{:>7}] {line}", seconds(self.started.elapsed())));
        }
    }

    /// One line of a program's log, with the program's name before it.
    pub fn log(&self, who: &str, line: &str) {
        if self.verbosity >= Verbosity::Normal {
            self.print(&format!("{who} | {}", printable(line)));
        }
    }

    /// One line that only `--verbose` shows.
    pub fn detail(&self, who: &str, line: &str) {
        match &self.bar {
            _ if self.verbosity >= Verbosity::Verbose => self.log(who, line),
            Some(bar) => bar.tick(),
            None => {}
        }
    }

    /// A warning, in every verbosity.
    pub fn warn(&self, line: &str) {
        self.print(&format!("warning: {line}"));
    }

    fn print(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| error_line(line)),
            None => error_line(line),
        }
    }

    /// The steps with the time each took, and the whole.
    pub fn times(&self) -> String {
        let steps = self.steps.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut parts: Vec<String> =
            steps.iter().map(|(name, elapsed)| format!("  {:>7}  {name}", seconds(*elapsed))).collect();
        parts.push(format!("  {:>7}  in all", seconds(self.started.elapsed())));
        parts.join("\n")
    }
}

/// A reader that has gone (`| head`) must not take the work with it.
fn error_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Seconds for people: `0.17s`, `6.1s`, `134s`.
pub fn seconds(duration: Duration) -> String {
    let value = duration.as_secs_f64();
    match value {
        value if value < 1.0 => format!("{value:.2}s"),
        value if value < 100.0 => format!("{value:.1}s"),
        _ => format!("{value:.0}s"),
    }
}

/// An application's log can hold anything; escape sequences must not reach the terminal of its reader.
pub fn printable(line: &str) -> String {
    line.chars().filter(|c| !c.is_control() || *c == '\t').collect()
}

/// How many characters of somebody else's text an error shows.
const EXCERPT: usize = 400;

/// The beginning of somebody else's text, an answer's body say, on one line.
pub fn excerpt(text: &str) -> String {
    let shown: String = text.chars().take(EXCERPT).collect();
    let line = printable(&shown.split_whitespace().collect::<Vec<_>>().join(" "));
    if text.chars().nth(EXCERPT).is_some() { format!("{line} …") } else { line }
}

/// A line of anybody's log without what a terminal would obey and without what a reader cannot see: its sequences go
/// whole, so that nothing of them is left to be read as text.
pub fn plain(line: &str) -> String {
    let mut chars = line.chars();
    let mut text = String::with_capacity(line.len());
    while let Some(c) = chars.next() {
        match c {
            '\t' => text.push(' '),
            '\u{1b}' | '\u{9b}' | '\u{9d}' => {
                let kind = if c == '\u{1b}' { chars.next() } else { None };
                match kind.unwrap_or(c) {
                    // A control sequence ends with a letter, a command of the terminal with BEL or ESC \.
                    '[' | '\u{9b}' => drop(chars.find(|c| ('@'..='~').contains(c))),
                    ']' | 'P' | '^' | '_' | 'X' | '\u{9d}' => {
                        let end = chars.find(|c| matches!(c, '\u{7}' | '\u{1b}' | '\u{9c}'));
                        if end == Some('\u{1b}') {
                            chars.next();
                        }
                    }
                    _ => {}
                }
            }
            ' '..='~' => text.push(c),
            c if is_printable(c) => text.push(c),
            _ => {}
        }
    }
    text
}

/// Whether a terminal shows `c` as a sign of its own, or as an accent of the one before.
pub fn is_printable(c: char) -> bool {
    // The standard library knows which characters are printable, but tells only through Debug. The letter
    // before it keeps combining accents from counting as unprintable.
    matches!(c, '"' | '\'' | '\\') || format!("a{c}").escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::{EXCERPT, excerpt, plain};

    #[test]
    fn an_excerpt_is_the_beginning_on_one_line() {
        assert_eq!(excerpt(" a\u{1b}[31m\r\n\tb  c\n"), "a[31m b c");
        assert_eq!(excerpt(&"é".repeat(EXCERPT)), "é".repeat(EXCERPT));
        assert_eq!(excerpt(&"é".repeat(EXCERPT + 1)), format!("{} …", "é".repeat(EXCERPT)));
    }

    #[test]
    fn a_terminal_obeys_nothing_of_a_plain_line() {
        let check = |line: &str, expected: &str| assert_eq!(plain(line), expected, "{line:?}");
        check("\u{1b}[31mError\u{1b}[0m:\tno", "Error: no");
        check("a\u{1b}]0;title\u{7}b\u{1b}]8;;http://x\u{1b}\\c", "abc");
        check("a\u{9b}2Jb\u{9d}0;t\u{9c}c\u{1b}(Bd", "abcBd");
        check("never ends \u{1b}]0;rest of the line", "never ends ");
        check("\u{1b}", "");
        check("a\u{202e}b\u{200b}c\u{0}\u{7f}\rd", "abcd");
        check("größe 日本 é", "größe 日本 é");
    }
}
