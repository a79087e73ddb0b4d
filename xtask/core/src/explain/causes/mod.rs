//! The table. Exact texts are those of CRIU 4.2.1, Pebble 1.32.1, OpenJDK 21 and podman 4.3.1 where a cause was seen
//! `here`, and those of the threads named elsewhere.

use super::{Change, Group, Weight};

mod container;
mod crac;
mod dump;
mod jvm;
mod restore;

/// What is known, group by group. Within a line the first that matches counts.
pub const CAUSES: &[Group] = &[
    Group { title: "CRIU cannot dump", causes: dump::CAUSES },
    Group { title: "CRIU cannot restore", causes: restore::CAUSES },
    Group { title: "A CRaC JVM refuses", causes: crac::CAUSES },
    Group { title: "The container, its engine, Pebble", causes: container::CAUSES },
    Group { title: "The application and its JVM", causes: jvm::CAUSES },
];

/// A change of app.toml.
const fn change(key: &'static str, line: &'static str) -> Change {
    Change::Line { key, line }
}
