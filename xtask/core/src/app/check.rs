//! What a value of app.toml may be. Each check takes what was written and gives what is meant, or what is wrong.
//!
//! Names are checked here because they become file, container, service and YAML names further on, and numbers
//! because the limit is better met now than after a build of half an hour.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;
use ureq::http::uri::PathAndQuery;

use super::setting::Show;
use super::{CracEngine, EngineChoice, Memory, PackerChoice, Profile};
use crate::diagnostic::nearest;
pub use crate::progress::is_printable;

/// What is wrong with a value.
#[derive(Debug)]
pub struct Wrong {
    /// Follows the name of the key: `is no duration`.
    pub predicate: String,
    /// Stands under the value: `expected a duration such as …`.
    pub expected: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The value holds a secret, which the error must not repeat.
    pub secret: bool,
}

impl Wrong {
    /// A value that `predicate`, where something else was expected.
    pub fn new(predicate: impl Into<String>, expected: impl Into<String>) -> Wrong {
        Wrong { predicate: predicate.into(), expected: expected.into(), help: None, secret: false }
    }

    /// Says what to do about it.
    pub fn help(self, help: impl Into<String>) -> Wrong {
        Wrong { help: Some(help.into()), ..self }
    }
}

/// What a check gives.
pub type Checked<T> = Result<T, Wrong>;

/// Who checkpoints, by name.
pub const ENGINES: &[(&str, EngineChoice)] =
    &[("auto", EngineChoice::Auto), ("criu", EngineChoice::Criu), ("crac", EngineChoice::Crac)];

/// Who packs, by name.
pub const PACKERS: &[(&str, PackerChoice)] =
    &[("auto", PackerChoice::Auto), ("rockcraft", PackerChoice::Rockcraft), ("native", PackerChoice::Native)];

/// Who dumps below a CRaC JVM, by name.
pub const CRAC_ENGINES: &[(&str, CracEngine)] =
    &[("default", CracEngine::Default), ("criu", CracEngine::Criu), ("warp", CracEngine::Warp)];

/// Sets of JVM options, by name.
pub const PROFILES: &[(&str, Profile)] =
    &[("small", Profile::Small), ("throughput", Profile::Throughput), ("none", Profile::None)];

/// What a restore does with the dumped memory, by name.
pub const MEMORIES: &[(&str, Memory)] = &[("mapped", Memory::Mapped), ("read", Memory::Read)];

macro_rules! show_choices {
    ($($choice:ty: $names:expr),*) => {$(
        impl Show for $choice {
            fn show(&self) -> String {
                $names.iter().find(|(_, value)| value == self).map_or("", |(name, _)| *name).show()
            }
        }
    )*};
}

show_choices!(
    EngineChoice: ENGINES,
    PackerChoice: PACKERS,
    Profile: PROFILES,
    Memory: MEMORIES,
    CracEngine: CRAC_ENGINES
);

const MOST_CHARACTERS: usize = 40;
/// The methods of a request.
pub const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
/// The releases of Java that there are JDKs of.
pub const RELEASES: &[u8] = &[17, 21, 25, 26];

/// A piece of the user's text in a message: between backticks, escaped, and cut where it is long.
pub fn quoted(text: &str) -> String {
    let shown: String = text
        .chars()
        .take(60)
        .flat_map(|c| if is_printable(c) { vec![c] } else { c.escape_unicode().collect() })
        .collect();
    let rest = if text.chars().nth(60).is_some() { "…" } else { "" };
    format!("`{shown}{rest}`")
}

/// `a`, `b` or `c`.
pub fn one_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.pop() {
        Some(last) if names.is_empty() => last,
        Some(last) => format!("{} or {last}", names.join(", ")),
        None => String::new(),
    }
}

/// A name of the list.
pub fn choice<T: Copy>(text: &str, choices: &[(&'static str, T)]) -> Checked<T> {
    let names = || choices.iter().map(|(name, _)| *name);
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let wrong = Wrong::new(format!("is {}", quoted(text)), format!("expected {}", one_of(names())));
    let near = if text.len() <= MOST_CHARACTERS { nearest(text, names()) } else { None };
    Err(match near {
        Some(near) => wrong.help(format!("did you mean `{near}`?")),
        None => wrong,
    })
}

/// One of a few names.
pub fn choice_of_names(text: &str, names: &'static [&'static str]) -> Checked<String> {
    let choices: Vec<(&'static str, &'static str)> = names.iter().map(|name| (*name, *name)).collect();
    choice(text, &choices).map(str::to_owned)
}

/// An integer within a range.
pub fn within<T: TryFrom<i64> + Into<i64> + Copy>(number: i64, range: RangeInclusive<T>) -> Checked<T> {
    let (least, most) = ((*range.start()).into(), (*range.end()).into());
    match T::try_from(number) {
        Ok(value) if (least..=most).contains(&number) => Ok(value),
        _ => Err(Wrong::new("is out of range", format!("expected an integer from {least} to {most}"))),
    }
}

/// The name of an application.
pub fn app_name(text: &str) -> Checked<String> {
    let name = rock_name(text)?;
    match ["-checkpoint", "-restore"].into_iter().find(|suffix| name.ends_with(suffix)) {
        Some(suffix) => Err(Wrong::new(
            format!("ends in `{suffix}`, which names a service of the application without it"),
            "expected another ending",
        )),
        None => Ok(name),
    }
}

/// The name of a rock; an application's name follows the same rule.
pub fn rock_name(text: &str) -> Checked<String> {
    let bytes = text.as_bytes();
    let valid = bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && !text.contains("--")
        && !text.ends_with('-');
    let expected = "expected lowercase letters, digits and single dashes, beginning with a letter";
    // YAML 1.1, which rockcraft and Pebble read, takes these for a truth value or for nothing.
    if matches!(text, "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "null") {
        return Err(Wrong::new("is a word that means something else in YAML", "expected another name"));
    }
    match (valid, bytes.len()) {
        (false, _) => Err(Wrong::new("is not a valid name", expected)),
        (true, length) if length > MOST_CHARACTERS => {
            Err(Wrong::new(format!("has {length} characters"), format!("expected at most {MOST_CHARACTERS}")))
        }
        (true, _) => Ok(text.to_owned()),
    }
}

/// One line that describes the application.
pub fn summary(text: &str) -> Checked<String> {
    let length = text.chars().count();
    let expected = "expected one line of 1 to 78 printable characters";
    if text.trim().is_empty() {
        Err(Wrong::new("is empty", expected))
    } else if length > 78 {
        Err(Wrong::new(format!("has {length} characters, and rockcraft takes 78"), expected))
    } else if !text.chars().all(is_printable) {
        Err(Wrong::new("holds a line break or an unprintable character", expected))
    } else {
        Ok(text.to_owned())
    }
}

/// The version of the rocks.
pub fn version(text: &str) -> Checked<String> {
    let valid = text.len() <= 32
        && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".~+-".contains(&b));
    let expected = "expected at most 32 letters, digits and `.~+-`, beginning with a letter or digit";
    if valid { Ok(text.to_owned()) } else { Err(Wrong::new("is not a valid version", expected)) }
}

/// A feature release of Java.
pub fn release(number: i64) -> Checked<u8> {
    RELEASES.iter().copied().find(|release| i64::from(*release) == number).ok_or_else(|| {
        let releases: Vec<String> = RELEASES.iter().map(u8::to_string).collect();
        Wrong::new(
            format!("is {number}, for which there is no JDK to pack"),
            format!("expected {}", one_of(releases.iter().map(String::as_str))),
        )
    })
}

/// A JVM option.
pub fn jvm_option(text: &str) -> Checked<String> {
    if !text.starts_with('-') {
        return Err(Wrong::new(
            format!("has {}, which begins with no `-`", quoted(text)),
            "expected a JVM option such as `-Xmx256m`",
        )
        .help("arguments of the application itself go into `java.arguments`"));
    }
    argument(text)
}

/// An argument of the application.
pub fn argument(text: &str) -> Checked<String> {
    short(text)?;
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(Wrong::new(
            format!("holds the control character {}", quoted(&c.to_string())),
            "expected one line without control characters",
        )),
        None => Ok(text.to_owned()),
    }
}

/// Bytes of an argument or variable: half of what Linux takes (MAX_ARG_STRLEN), and a script that quotes it is longer.
const ARGUMENT_LIMIT: usize = 64 << 10;

fn short(text: &str) -> Checked<()> {
    match text.len() <= ARGUMENT_LIMIT {
        true => Ok(()),
        false => Err(Wrong::new(format!("has {} bytes", text.len()), "expected at most 64 KiB")
            .help("Linux hands no program more than 128 KiB in one word; put it into a file (rock.files)")),
    }
}

/// The path and query of a request.
pub fn http_path(text: &str) -> Checked<String> {
    let expected = "expected a path such as `/actuator/health`";
    if !text.starts_with('/') {
        let wrong = Wrong::new("does not begin with `/`", expected);
        return Err(match text.contains("://") {
            true => wrong.help("leave out scheme, host and port: requests go to the container"),
            false => wrong,
        });
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        Some('#') => {
            Err(Wrong::new("holds `#`", expected).help("a fragment is never sent; `%23` is a `#` in a path"))
        }
        Some(' ') => Err(Wrong::new("holds a space", expected).help("write it as `%20`")),
        Some(c) => {
            Err(Wrong::new(format!("holds {}", quoted(&c.to_string())), "expected visible ASCII only")
                .help("percent-encode it: `é` is `%C3%A9`"))
        }
        None => sendable(text),
    }
}

/// What the HTTP client sends and Pebble's checks take; neither would say so before the application was built.
fn sendable(text: &str) -> Checked<String> {
    let escaped = |rest: &str| rest.get(..2).is_some_and(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
    if !text.split('%').skip(1).all(escaped) {
        return Err(Wrong::new(
            "holds a `%` without two hexadecimal digits",
            "expected an escape such as `%20`",
        )
        .help("write `%25` for a `%`"));
    }
    // The whole has no word for which character it was, and a path takes some that a query does not.
    let query = text.find('?').unwrap_or(text.len());
    let refused = |(at, c): &(usize, char)| {
        let alone = if *at > query { format!("/?{c}") } else { format!("/{c}") };
        PathAndQuery::try_from(alone).is_err()
    };
    match text.char_indices().find(refused) {
        Some((_, c)) => {
            let code = format!("%{:02X}", u32::from(c));
            let predicate = format!("holds {}, which no URL does", quoted(&c.to_string()));
            Err(Wrong::new(predicate, "expected a path such as `/actuator/health`")
                .help(format!("write it as `{code}`")))
        }
        None if text.len() > SENT_LIMIT => {
            Err(Wrong::new(format!("has {} bytes", text.len()), "expected at most 32 KiB"))
        }
        None => Ok(text.to_owned()),
    }
}

/// The method of a request.
pub fn method(text: &str) -> Checked<String> {
    choice_of_names(text, METHODS)
}

/// The name of a header field, of a request whose fields may have `left` bytes more.
pub fn header_name(text: &str, left: usize) -> Checked<()> {
    if text.len() > left {
        return Err(too_many_fields());
    }
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if text.is_empty() || !text.bytes().all(token) {
        return Err(Wrong::new("is not the name of a header field", "expected letters, digits and dashes"));
    }
    // Either one, set wrongly, makes the application wait for bytes that never come.
    match ["content-length", "transfer-encoding"].iter().any(|own| text.eq_ignore_ascii_case(own)) {
        true => Err(Wrong::new("is set by the HTTP client, from the body", "leave it out")),
        false => Ok(()),
    }
}

/// Bytes of a request's path and query, and of all its header fields: at least four times what Tomcat and Netty take as they come.
pub const SENT_LIMIT: usize = 32 << 10;

fn too_many_fields() -> Wrong {
    Wrong::new("makes the request's header fields longer than 32 KiB", "expected fewer bytes")
}

/// The value of a header field, of a request whose fields may have `left` bytes more.
pub fn header_value(text: &str, left: usize) -> Checked<String> {
    if text.len() > left {
        return Err(too_many_fields());
    }
    match text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new(
            "holds a line break, a control character or a letter beyond ASCII",
            "expected printable ASCII on one line",
        )),
    }
}

/// The name of an environment variable.
pub fn variable_name(text: &str) -> Checked<()> {
    let valid = text.as_bytes().first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let refused = |why: &str| Err(Wrong::new(format!("may not be set: {why}"), "remove this line"));
    match text {
        "PATH" => refused("the rock sets it, so that CRIU and Java are found"),
        "PEBBLE" => refused("it is where Pebble keeps its layers, and the rock sets it"),
        _ if text.starts_with("LD_") => refused("it would change CRIU and Pebble as well as Java"),
        // A reader of YAML looks for the colon of a plain key 1,024 characters far.
        _ if text.len() > 255 => Err(Wrong::new("is too long", "expected a name of at most 255 bytes")),
        _ if valid => Ok(()),
        _ => Err(Wrong::new(
            "is not the name of an environment variable",
            "expected letters, digits and `_`, beginning with no digit",
        )),
    }
}

/// The value of an environment variable.
pub fn variable_value(text: &str) -> Checked<String> {
    short(text)?;
    match text.contains('\0') {
        true => Err(Wrong::new("holds a NUL", "expected text without `\\u0000`")),
        false => Ok(text.to_owned()),
    }
}

/// A wait, from a second to two hours.
pub fn duration(text: &str) -> Checked<Duration> {
    let expected = "expected a duration such as \"90s\" or \"2m\", from 1s to 2h";
    // humantime 2.4 panics on `18446744073709551615s 1000000000ns`; no wait of ours needs ten digits.
    let digits = text.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
    if text.len() > MOST_CHARACTERS || !text.is_ascii() || digits > 9 {
        return Err(Wrong::new("is not a duration", expected));
    }
    match humantime::parse_duration(text) {
        Ok(wait) if (Duration::from_secs(1)..=Duration::from_secs(7200)).contains(&wait) => Ok(wait),
        Ok(_) => Err(Wrong::new("is out of range", expected)),
        Err(humantime::DurationError::UnknownUnit { unit, value, .. }) if unit.is_empty() => {
            Err(Wrong::new("has no unit", expected).help(format!("did you mean \"{value}s\"?")))
        }
        Err(humantime::DurationError::UnknownUnit { unit, .. }) => {
            Err(Wrong::new(format!("has the unknown unit {}", quoted(&unit)), expected))
        }
        Err(_) => Err(Wrong::new("is not a duration", expected)),
    }
}

/// A size, from a mebibyte to four gibibytes.
pub fn size(text: &str) -> Checked<ByteSize> {
    let expected = "expected a size such as \"20 MiB\", from 1 MiB to 4 GiB";
    match text.parse::<ByteSize>() {
        Ok(size) if (ByteSize::mib(1)..=ByteSize::gib(4)).contains(&size) => Ok(size),
        Ok(_) if text.trim().bytes().all(|b| b.is_ascii_digit()) => {
            Err(Wrong::new("is out of range", expected).help("a number without a unit is in bytes"))
        }
        Ok(_) => Err(Wrong::new("is out of range", expected)),
        Err(_) => Err(Wrong::new(format!("is {}, which is not a size", quoted(text)), expected)),
    }
}
