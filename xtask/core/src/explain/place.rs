//! Where in an app.toml a key stands, or where it would.

use std::fmt;

use toml::de::{DeTable, DeValue};

/// A place for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// It stands in this line, which says this.
    There(usize, String),
    /// It does not; its table begins in this line, with a header, a dotted key or as an inline table.
    Table(usize, String),
    /// Neither does its table.
    Nowhere,
}

/// Finds `table.key`. A file that is no TOML has no place for anything.
pub fn place(toml: &str, key: &str) -> Place {
    let Ok(root) = DeTable::parse(toml) else { return Place::Nowhere };
    let (mut table, mut found) = (root.get_ref(), Place::Nowhere);
    let mut names = key.split('.').peekable();
    while let Some(name) = names.next() {
        let Some((at, value)) = table.iter().find(|(known, _)| known.get_ref() == name) else {
            return found;
        };
        let (line, text) = line_of(toml, at.span().start);
        match value.get_ref() {
            DeValue::Table(inner) if names.peek().is_some() => {
                (table, found) = (inner, Place::Table(line, text.trim().to_owned()))
            }
            _ => return Place::There(line, text.trim().to_owned()),
        }
    }
    found
}

/// The number, from 1, and the text of the line that holds a byte.
fn line_of(text: &str, byte: usize) -> (usize, &str) {
    let before = text.get(..byte).unwrap_or(text);
    let number = before.matches('\n').count() + 1;
    (number, text.lines().nth(number - 1).unwrap_or_default())
}

/// What to do at a place, in a file of this name.
#[derive(Debug)]
pub struct Advice<'a> {
    /// `apps/shop/app.toml`.
    pub file: &'a str,
    /// Where.
    pub place: Place,
    /// The key with its table.
    pub key: &'a str,
    /// An example of the line.
    pub line: &'a str,
}

/// What an example adds to a list or an inline table, whose other values must stay.
pub fn added(line: &str) -> Option<&str> {
    let value = line.split_once('=')?.1.trim();
    let within = |open, close| value.strip_prefix(open)?.strip_suffix(close).map(str::trim);
    within('[', ']').or_else(|| within('{', '}'))
}

impl fmt::Display for Advice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Advice { file, place, key, line } = self;
        // `environment` is a table whose keys are the user's; other keys without a table stand at the top.
        let table = key.split_once('.').map(|(table, _)| table).or((*key == "environment").then_some(*key));
        match (place, table) {
            (Place::There(number, text), _) => {
                let shown = crate::progress::plain(text);
                let name = key.rsplit('.').next().unwrap_or(key);
                // A key with its table before it keeps it: `limits.ready = "2m"`.
                let dotted = table.filter(|table| key != table && text.starts_with(&format!("{table}.")));
                let whole = text.starts_with(name) || dotted.is_some();
                match (text.starts_with('['), added(line)) {
                    (true, _) => write!(f, "{file}:{number}: below `{shown}` add, say, `{line}`"),
                    (false, Some(part)) if whole => {
                        write!(f, "{file}:{number}: add, say, `{part}` to `{shown}`")
                    }
                    (false, Some(part)) => {
                        write!(f, "{file}:{number}: add, say, `{part}` to `{name}` in `{shown}`")
                    }
                    (false, None) if whole => {
                        let dotted = dotted.map(|table| format!("{table}.")).unwrap_or_default();
                        write!(f, "{file}:{number}: change `{shown}` to, say, `{dotted}{line}`")
                    }
                    (false, None) => {
                        write!(f, "{file}:{number}: change `{name}` in `{shown}` to, say, `{line}`")
                    }
                }
            }
            (Place::Table(number, text), _) => {
                let table = table.unwrap_or_default();
                let inline = text.strip_prefix(table).is_some_and(|rest| rest.trim_start().starts_with('='));
                let shown = crate::progress::plain(text);
                match text.starts_with('[') || inline {
                    true => write!(f, "{file}:{number}: to `{shown}` add, say, `{line}`"),
                    false => write!(f, "{file}:{number}: beside `{shown}` add, say, `{table}.{line}`"),
                }
            }
            (Place::Nowhere, Some(table)) => write!(f, "{file}: add `[{table}]` and, say, `{line}`"),
            (Place::Nowhere, None) => write!(f, "{file}: add at the top, say, `{line}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_however_it_is_written() {
        let check = |toml: &str, expected: Place| {
            assert_eq!(place(toml, "checkpoint.ghost-limit"), expected, "{toml}")
        };
        let there = |line, text: &str| Place::There(line, text.to_owned());
        check(
            "[checkpoint]\n# why\nghost-limit = \"1 MiB\"  # x\n",
            there(3, "ghost-limit = \"1 MiB\"  # x"),
        );
        check("a = 1\ncheckpoint.ghost-limit = \"1 MiB\"", there(2, "checkpoint.ghost-limit = \"1 MiB\""));
        check(
            "checkpoint = { ghost-limit = \"1 MiB\" }",
            there(1, "checkpoint = { ghost-limit = \"1 MiB\" }"),
        );
        check("\n[checkpoint]\nmin-pid = 400\n", Place::Table(2, "[checkpoint]".into()));
        check("[java]\nversion = 21\n", Place::Nowhere);
        check("no toml at all", Place::Nowhere);
        assert_eq!(place("[environment]\nA = \"b\"\n", "environment"), there(1, "[environment]"));
        assert_eq!(place("[rock]\nfiles = { a = \"b\" }\n", "rock.files"), there(2, "files = { a = \"b\" }"));
        check("checkpoint = 3", there(1, "checkpoint = 3"));
    }

    #[test]
    fn what_to_do_there_is_said() {
        let check = |toml: &str, key: &str, line: &str, expected: &str| {
            let advice = Advice { file: "f", place: place(toml, key), key, line };
            assert_eq!(advice.to_string(), expected);
        };
        let x = "x = 1";
        check("[environment]\nA = \"b\"\n", "environment", x, "f:1: below `[environment]` add, say, `x = 1`");
        check("", "environment", x, "f: add `[environment]` and, say, `x = 1`");
        check("", "engine", x, "f: add at the top, say, `x = 1`");
        check("engine = \"crac\"", "engine", x, "f:1: change `engine = \"crac\"` to, say, `x = 1`");
        check("[limits]\n", "limits.ready", x, "f:1: to `[limits]` add, say, `x = 1`");
        let beside = "f:2: beside `limits.dump = \"1m\"` add, say, `limits.x = 1`";
        check("a = 1\nlimits.dump = \"1m\"", "limits.ready", x, beside);
        check("limits = { a = 1 }", "limits.ready", x, "f:1: to `limits = { a = 1 }` add, say, `x = 1`");
        let dotted = "f:1: change `limits.ready = \"1m\"` to, say, `limits.ready = \"5m\"`";
        check("limits.ready = \"1m\"", "limits.ready", "ready = \"5m\"", dotted);
        let inline = "f:1: change `ready` in `limits = { ready = \"1m\" }` to, say, `ready = \"5m\"`";
        check("limits = { ready = \"1m\" }", "limits.ready", "ready = \"5m\"", inline);
        // What stands in a list already must stay.
        let (key, line) = ("java.options", "options = [\"-XX:UseAVX=2\"]");
        let list = "f:2: add, say, `\"-XX:UseAVX=2\"` to `options = [\"-Xmx9m\"]`";
        check("[java]\noptions = [\"-Xmx9m\"]", key, line, list);
        let inline = "f:1: add, say, `\"-XX:UseAVX=2\"` to `options` in `java = { options = [] }`";
        check("java = { options = [] }", key, line, inline);
        check("[java]\n", key, line, "f:1: to `[java]` add, say, `options = [\"-XX:UseAVX=2\"]`");
        let (key, line) = ("rock.files", "files = { \"/a\" = \"b\" }");
        check("[rock]\nfiles = {}", key, line, "f:2: add, say, `\"/a\" = \"b\"` to `files = {}`");
    }
}
