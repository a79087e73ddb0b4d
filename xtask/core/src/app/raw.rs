//! The raw side of app.toml: typed access to a TOML table that knows where everything stands.
//!
//! It reads the spanned document by hand. Serde's derived types would end at the first wrong type, take an array
//! where a table is meant, and know neither the line of a value nor that a default was used; here every mistake of
//! a file is collected, and a value, its default and the reason for the default stand in one place (`resolve`).

use std::ops::Range;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::{Wrong, one_of, quoted};
use super::keys::{TABLES, TOP, homes};
use super::setting::{Origin, Setting, Show};
use crate::diagnostic::{Problem, nearest};

/// A value, where it stands and what it is called in messages.
pub struct Value<'t> {
    pub path: String,
    pub span: Range<usize>,
    toml: &'t DeValue<'t>,
}

/// A table whose keys have been checked.
pub struct Table<'t> {
    pub path: String,
    entries: Option<&'t DeTable<'t>>,
    /// Valid keys that a misspelt one was probably meant to be. They are not reported as missing as well.
    meant: Vec<&'static str>,
    /// It was no table at all, which has been reported.
    broken: bool,
}

impl<'t> Table<'t> {
    /// Whether `key` is there, rightly or wrongly spelt.
    pub fn attempts(&self, key: &str) -> bool {
        self.broken || self.has(key) || self.meant.contains(&key)
    }

    /// Whether `key` is there.
    pub fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    /// What the key `key` is called in messages.
    pub fn key(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Bytes of the key `key`.
    pub fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.entries?.get_key_value(key).map(|(key, _)| key.span())
    }

    /// Every key with its bytes and its value, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&'t str, Range<usize>, Value<'t>)> + use<'t> {
        let path = self.path.clone();
        self.entries.into_iter().flatten().map(move |(key, value)| {
            let name: &'t str = key.get_ref();
            (name, key.span(), Value::new(join(&path, name), value))
        })
    }

    fn get(&self, key: &str) -> Option<(Range<usize>, Value<'t>)> {
        let (name, value) = self.entries?.get_key_value(key)?;
        Some((name.span(), Value::new(self.key(key), value)))
    }
}

impl<'t> Value<'t> {
    fn new(path: String, value: &'t Spanned<DeValue<'t>>) -> Self {
        Value { path, span: value.span(), toml: value.get_ref() }
    }

    /// Whether it is a string.
    pub fn is_string(&self) -> bool {
        self.toml.is_str()
    }

    /// What is written at a place below it, where it is a table.
    pub fn inner_spans(&self, known: &[&str]) -> Vec<Range<usize>> {
        let DeValue::Table(entries) = self.toml else { return vec![self.span.clone()] };
        let unknown = entries.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref()));
        unknown.map(|(_, value)| value.span()).collect()
    }

    /// Whether it is a table.
    pub fn is_table(&self) -> bool {
        self.toml.is_table()
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Reads values and collects what is wrong with them, and what they are.
pub struct Reader<'a> {
    text: &'a str,
    /// Every mistake so far.
    pub problems: Vec<Problem>,
    /// Every value so far.
    pub settings: Vec<Setting>,
    /// Bytes of URLs whose credentials must not be shown in an error.
    pub secrets: Vec<Range<usize>>,
    /// Bytes of which nothing must be shown.
    pub hidden: Vec<Range<usize>>,
}

impl<'a> Reader<'a> {
    /// Reads from `text`.
    pub fn new(text: &'a str) -> Self {
        Reader { text, problems: Vec::new(), settings: Vec::new(), secrets: Vec::new(), hidden: Vec::new() }
    }

    /// The top of the file.
    pub fn top<'t>(&mut self, root: &'t DeTable<'t>) -> Table<'t> {
        let meant = self.check_keys("", root, TOP);
        Table { path: String::new(), entries: Some(root), meant, broken: false }
    }

    /// The table `name` of the file; empty where there is none.
    pub fn table<'t>(&mut self, top: &Table<'t>, name: &'static str) -> Table<'t> {
        let keys = TABLES.iter().find(|(table, _)| *table == name).map(|(_, keys)| *keys);
        match top.get(name) {
            Some((_, value)) => self.inner(&value, keys).unwrap_or(Table {
                path: name.to_owned(),
                entries: None,
                meant: Vec::new(),
                broken: true,
            }),
            None => Table {
                path: name.to_owned(),
                entries: None,
                meant: Vec::new(),
                broken: top.meant.contains(&name),
            },
        }
    }

    /// A value as a table with these keys, or with any.
    pub fn inner<'t>(&mut self, value: &Value<'t>, keys: Option<&[&'static str]>) -> Option<Table<'t>> {
        let DeValue::Table(entries) = value.toml else {
            return self.wrong_type(value, "a table");
        };
        let meant = keys.map(|keys| self.check_keys(&value.path, entries, keys)).unwrap_or_default();
        Some(Table { path: value.path.clone(), entries: Some(entries), meant, broken: false })
    }

    /// Reports unknown keys; gives the keys that were probably meant.
    fn check_keys(&mut self, path: &str, entries: &DeTable<'_>, keys: &[&'static str]) -> Vec<&'static str> {
        let mut meant = Vec::new();
        for (key, _) in entries.iter().filter(|(key, _)| !keys.contains(&key.get_ref().as_ref())) {
            let name: &str = key.get_ref();
            let elsewhere = homes(name);
            // The distance takes time in proportion to the length, and nothing this long is a slip.
            let near = if name.len() <= 40 { nearest(name, keys.iter().copied()) } else { None };
            let near = near.and_then(|near| keys.iter().copied().find(|key| *key == near));
            let place = if path.is_empty() { "at the top".to_owned() } else { format!("in `{path}`") };
            let expected = format!("expected {}", one_of(keys.iter().copied()));
            let (label, help) = match (elsewhere.is_empty(), near) {
                (false, _) => (format!("`{name}` belongs {}", elsewhere.join(" or ")), Some(expected)),
                (true, Some(near)) => (format!("did you mean `{near}`?"), None),
                (true, None) => (expected, None),
            };
            let message = format!("unknown key {} {place}", quoted(name));
            self.problems.push(Problem { message, span: Some(key.span()), label, help });
            meant.extend(near);
        }
        meant
    }

    /// The value of `key`, if it is there and right. A wrong one is reported.
    pub fn value<'t, U>(
        &mut self,
        table: &Table<'t>,
        key: &str,
        read: impl FnOnce(&mut Self, &Value<'t>) -> Option<U>,
    ) -> Option<U> {
        let (_, value) = table.get(key)?;
        read(self, &value)
    }

    /// The same, recorded as a setting.
    pub fn given<'t, U: Show>(
        &mut self,
        table: &Table<'t>,
        key: &str,
        read: impl FnOnce(&mut Self, &Value<'t>) -> Option<U>,
    ) -> Option<U> {
        let value = self.value(table, key, read)?;
        let line = self.line(table.key_span(key)?.start);
        self.record(table.key(key), &value, Origin::File { line });
        Some(value)
    }

    /// The value of `key`, or this default where it is absent. A wrong one is reported, and the default returned as
    /// a stand-in so that the rest of the file is checked too.
    pub fn setting<'t, U: Show>(
        &mut self,
        table: &Table<'t>,
        key: &str,
        (default, origin): (U, Origin),
        read: impl FnOnce(&mut Self, &Value<'t>) -> Option<U>,
    ) -> U {
        if table.has(key) {
            return self.given(table, key, read).unwrap_or(default);
        }
        self.record(table.key(key), &default, origin);
        default
    }

    /// Records a setting.
    pub fn record(&mut self, key: String, value: &impl Show, origin: Origin) {
        self.settings.push(Setting { key, value: value.show(), origin });
    }

    /// A string that passes `check`.
    pub fn string<U>(
        &mut self,
        value: &Value<'_>,
        check: impl FnOnce(&str) -> Result<U, Wrong>,
    ) -> Option<U> {
        match value.toml {
            DeValue::String(text) => self.checked(value, check(text)),
            _ => self.wrong_type(value, "a string"),
        }
    }

    /// An integer that passes `check`.
    pub fn integer<U>(
        &mut self,
        value: &Value<'_>,
        check: impl FnOnce(i64) -> Result<U, Wrong>,
    ) -> Option<U> {
        let DeValue::Integer(digits) = value.toml else {
            return self.wrong_type(value, "an integer");
        };
        // What does not fit is out of every range we have, on the side its sign says.
        let beyond = if digits.as_str().starts_with('-') { i64::MIN } else { i64::MAX };
        let number = i64::from_str_radix(digits.as_str(), digits.radix()).unwrap_or(beyond);
        self.checked(value, check(number))
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, value: &Value<'_>) -> Option<bool> {
        match value.toml {
            DeValue::Boolean(it) => Some(*it),
            _ => self.wrong_type(value, "`true` or `false`"),
        }
    }

    /// An array each element of which is read by `each`. All elements are read, whatever is wrong with one.
    pub fn array<'t, U>(
        &mut self,
        value: &Value<'t>,
        mut each: impl FnMut(&mut Self, &Value<'t>) -> Option<U>,
    ) -> Option<Vec<U>> {
        let DeValue::Array(elements) = value.toml else {
            return self.wrong_type(value, "an array");
        };
        let read: Vec<Option<U>> =
            elements.iter().map(|element| each(self, &Value::new(value.path.clone(), element))).collect();
        read.into_iter().collect()
    }

    /// An array of strings that pass `check`.
    pub fn strings(
        &mut self,
        value: &Value<'_>,
        check: fn(&str) -> Result<String, Wrong>,
    ) -> Option<Vec<String>> {
        self.array(value, |reader, element| reader.string(element, check))
    }

    /// The result of a check; what is wrong is reported at the value.
    pub fn checked<U>(&mut self, value: &Value<'_>, result: Result<U, Wrong>) -> Option<U> {
        self.checked_at(&value.path, value.span.clone(), result)
    }

    /// The result of a check; what is wrong is reported at `span`.
    pub fn checked_at<U>(&mut self, path: &str, span: Range<usize>, result: Result<U, Wrong>) -> Option<U> {
        match result {
            Ok(value) => Some(value),
            Err(wrong) => {
                if wrong.secret {
                    self.secrets.push(span.clone());
                }
                let message = format!("{} {}", quoted(path), wrong.predicate);
                self.problems.push(Problem {
                    message,
                    span: Some(span),
                    label: wrong.expected,
                    help: wrong.help,
                });
                None
            }
        }
    }

    /// Reports a value of the wrong type.
    pub fn wrong_type<U>(&mut self, value: &Value<'_>, expected: &str) -> Option<U> {
        let found = match value.toml {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        let scalar = !matches!(value.toml, DeValue::Array(_) | DeValue::Table(_));
        let help = match (expected, value.toml) {
            ("a string", DeValue::Integer(_)) if value.path.starts_with("limits.") => {
                let number = self.text.get(value.span.clone()).unwrap_or_default().trim();
                Some(format!("a duration has a unit: \"{number}s\""))
            }
            ("a string", _) if scalar => Some(format!(
                "put it in quotes: \"{}\"",
                self.text.get(value.span.clone()).unwrap_or_default().trim()
            )),
            ("an integer", DeValue::String(text)) if text.parse::<i64>().is_ok() => {
                Some(format!("leave out the quotes: {text}"))
            }
            ("an array", DeValue::String(_)) => Some("put it in brackets: [\"…\"]".to_owned()),
            _ => None,
        };
        self.problems.push(Problem {
            message: format!("{}: expected {expected}, found {found}", quoted(&value.path)),
            span: Some(value.span.clone()),
            label: format!("expected {expected}"),
            help,
        });
        None
    }

    /// Reports something about a place in the file, or about the file as a whole.
    pub fn problem(
        &mut self,
        message: impl Into<String>,
        span: Option<Range<usize>>,
        label: &str,
        help: impl Into<String>,
    ) {
        self.problems.push(Problem {
            message: message.into(),
            span,
            label: label.to_owned(),
            help: Some(help.into()),
        });
    }

    /// The line of the byte at `offset`, counted from 1.
    pub fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }
}
