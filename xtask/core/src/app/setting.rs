//! What the command `show` prints: each resolved value as TOML text that can be pasted into app.toml, and its origin.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;

use super::{Request, RockFile};

/// Where the value of a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From app.toml; the line its key is on, counted from 1.
    File {
        /// The line, counted from 1.
        line: usize,
    },
    /// From the tool. Why this default, in a short phrase.
    Default(&'static str),
    /// From something else the tool knows: `from the name of the folder`.
    Derived(String),
}

/// One resolved value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Dotted key, such as `java.version`.
    pub key: String,
    /// The value as TOML text on one line: `key = value` can be pasted into app.toml.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// A value as TOML text. Reading the text again gives the same value; a property test holds it to that.
pub trait Show {
    /// The TOML text, on one line.
    fn show(&self) -> String;
}

impl Show for str {
    fn show(&self) -> String {
        let mut text = String::from('"');
        for c in self.chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                // Beyond what TOML demands: a terminal must not obey what a value holds, nor show it reversed.
                c if !super::check::is_printable(c) => {
                    text.push_str(&format!("\\U{:08X}", u32::from(c)));
                }
                c => text.push(c),
            }
        }
        text.push('"');
        text
    }
}

impl Show for String {
    fn show(&self) -> String {
        self.as_str().show()
    }
}

impl Show for PathBuf {
    fn show(&self) -> String {
        self.to_string_lossy().show()
    }
}

impl<T: Show> Show for Vec<T> {
    fn show(&self) -> String {
        let elements: Vec<String> = self.iter().map(Show::show).collect();
        format!("[{}]", elements.join(", "))
    }
}

impl Show for BTreeMap<String, String> {
    fn show(&self) -> String {
        let entries: Vec<String> =
            self.iter().map(|(name, value)| format!("{} = {}", name.show(), value.show())).collect();
        if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
    }
}

impl Show for RockFile {
    fn show(&self) -> String {
        self.from.show()
    }
}

impl Show for BTreeMap<String, RockFile> {
    fn show(&self) -> String {
        let files: BTreeMap<String, String> =
            self.iter().map(|(path, file)| (path.clone(), file.from.clone())).collect();
        files.show()
    }
}

macro_rules! show_integers {
    ($($integer:ty),*) => {$(
        impl Show for $integer {
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

show_integers!(u8, u16, u32);

impl Show for bool {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for Duration {
    fn show(&self) -> String {
        humantime::format_duration(*self).to_string().show()
    }
}

impl Show for ByteSize {
    fn show(&self) -> String {
        // bytesize's own form rounds to one decimal; this one is exact.
        let units = [("GiB", bytesize::GIB), ("MiB", bytesize::MIB), ("KiB", bytesize::KIB)];
        let bytes = self.as_u64();
        match units.into_iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit)) {
            Some((name, unit)) => format!("{} {name}", bytes / unit).show(),
            None => format!("{bytes} B").show(),
        }
    }
}

impl Show for Request {
    fn show(&self) -> String {
        let mut fields = vec![format!("path = {}", self.path.show())];
        if self.method != "GET" {
            fields.push(format!("method = {}", self.method.show()));
        }
        if !self.headers.is_empty() {
            fields.push(format!("headers = {}", self.headers.show()));
        }
        fields.extend(self.body.iter().map(|body| format!("body = {}", body.show())));
        if self.status != 200 {
            fields.push(format!("status = {}", self.status));
        }
        if self.repeat != 1 {
            fields.push(format!("repeat = {}", self.repeat));
        }
        match fields.len() {
            1 => self.path.show(),
            _ => format!("{{ {} }}", fields.join(", ")),
        }
    }
}
