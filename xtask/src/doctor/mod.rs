//! Can this machine checkpoint, and restore what is pinned?
//!
//! What there is to know is read once, into [`Facts`]: files below a folder that is `/` or a test's (`machine`), and the
//! answers of programs and system calls (`asked`). A check is a function of these and does nothing else.

use std::fmt;

pub mod asked;
mod containers;
mod kernel;
pub mod machine;
mod pins;
mod resources;
#[cfg(test)]
mod tests;

pub use asked::Asked;
pub use machine::Machine;
pub use pins::{Subject, of_app};

/// How bad it is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Pass,
    /// Nothing is known.
    NotTried,
    /// It works, or may; something would be better.
    Warn,
    /// Something that the tool does cannot work here.
    Fail,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Pass => "pass",
            Level::NotTried => "-",
            Level::Warn => "warn",
            Level::Fail => "fail",
        })
    }
}

/// What a check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: a few words.
    pub check: String,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do about it; empty where there is nothing to do.
    pub remedy: String,
}

impl Finding {
    fn new(check: &str, level: Level, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { check: check.to_owned(), level, found: found.into(), remedy: remedy.into() }
    }

    fn pass(check: &str, found: impl Into<String>) -> Finding {
        Finding::new(check, Level::Pass, found, "")
    }

    fn not_tried(check: &str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::new(check, Level::NotTried, found, remedy)
    }

    fn warn(check: &str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::new(check, Level::Warn, found, remedy)
    }

    fn fail(check: &str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::new(check, Level::Fail, found, remedy)
    }
}

/// All that the checks know of a machine.
#[derive(Debug, Clone)]
pub struct Facts {
    /// From files.
    pub machine: Machine,
    /// From programs and system calls.
    pub asked: Asked,
}

/// The checks, in the order of the table.
const CHECKS: [fn(&Facts) -> Finding; 19] = [
    kernel::capability,
    kernel::options,
    kernel::pids,
    kernel::seccomp,
    kernel::capabilities,
    kernel::yama,
    kernel::selinux,
    kernel::apparmor,
    containers::engine,
    containers::rootless,
    containers::runtime,
    containers::criu,
    containers::packer,
    resources::disk,
    resources::memory,
    resources::clock,
    resources::clock_source,
    resources::certificates,
    resources::folios,
];

/// What every check says of this machine.
pub fn of_machine(facts: &Facts) -> Vec<Finding> {
    CHECKS.iter().map(|check| check(facts)).collect()
}
