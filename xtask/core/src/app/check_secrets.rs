//! What a value of `[secrets]` may be.

use std::path::{Component, Path, PathBuf};

use super::check::{Checked, Wrong, is_printable, quoted, variable_name};
use crate::diagnostic::nearest;
use crate::scan::{RULES, digits, is_ours};

/// The name of a secret.
pub fn name(text: &str) -> Checked<()> {
    let valid = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    match (valid, text.len()) {
        (true, ..=40) => Ok(()),
        (true, _) => Err(Wrong::new("is too long", "expected a name of at most 40 characters")),
        (false, _) => Err(Wrong::new(
            "is not a valid name",
            "expected letters, digits, `-` and `_`, beginning with a letter or digit",
        )),
    }
}

/// A variable of the machine that scans. The rules for one of the container do not apply: any that can be set will do.
pub fn variable(text: &str) -> Checked<String> {
    match ["PATH", "PEBBLE"].contains(&text) || text.starts_with("LD_") {
        true => Err(Wrong::new(
            format!("is {}, which is no secret", quoted(text)),
            "expected the name of a variable that holds the secret",
        )),
        false => variable_name(text).map(|()| text.to_owned()).map_err(|wrong| {
            wrong.help("this is the variable's name on the machine that scans, and not the secret itself")
        }),
    }
}

/// A file of the machine that scans.
pub fn file(text: &str) -> Checked<PathBuf> {
    let expected = "expected a path such as `/run/secrets/db-password`";
    let path = Path::new(text);
    if text.is_empty() || text.len() > 4095 || !text.chars().all(is_printable) {
        return Err(Wrong::new("is not a path", expected));
    }
    match path.is_absolute()
        || path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
    {
        true => Ok(path.to_owned()),
        false => Err(Wrong::new("leaves the application's folder", expected).help("write an absolute path")),
    }
}

/// The identifier of a finding, of an application with these secrets.
pub fn id(text: &str, secrets: &[String]) -> Checked<String> {
    let expected = "expected what `cargo xtask scan APP` prints, such as `jwt:1a2b3c4d`";
    let Some((rule, digest)) = text.rsplit_once(':') else {
        return Err(Wrong::new("is no identifier of a finding", expected));
    };
    let named: Vec<String> = secrets.iter().map(|name| format!("secret/{name}")).collect();
    let is_variable = |name: &str| variable_name(name).is_ok() && !is_ours(name);
    let known = RULES.iter().any(|known| known.name == rule)
        || named.iter().any(|known| known == rule)
        || rule.strip_prefix("variable/").is_some_and(is_variable);
    let hexadecimal = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let wanted = digits(rule);
    if known && hexadecimal(digest) && digest.len() == wanted {
        return Ok(text.to_owned());
    }
    if known {
        let number = if wanted == 3 { "three" } else { "eight" };
        let wrong = Wrong::new(format!("does not end in {number} hexadecimal digits"), expected);
        return Err(match hexadecimal(digest) && digest.len() > wanted {
            // As identifiers of what can be guessed once were.
            true => wrong.help(format!("write `{rule}:{}`", &digest[..wanted])),
            false => wrong,
        });
    }
    let rules = RULES.iter().map(|rule| rule.name).chain(named.iter().map(String::as_str));
    let near = if rule.len() <= 60 { nearest(rule, rules) } else { None };
    let wrong = Wrong::new(format!("names {}, which is no rule, secret or variable", quoted(rule)), expected);
    Err(match near {
        Some(near) => {
            wrong.help(format!("did you mean `{near}:{}`?", digest.get(..digits(near)).unwrap_or(digest)))
        }
        None => wrong,
    })
}

/// Why something may be in the dump.
pub fn reason(text: &str) -> Checked<String> {
    let expected = "expected one line that says why this may be in the rock";
    match (text.trim().is_empty(), text.chars().all(is_printable), text.len() <= 500) {
        (true, ..) => Err(Wrong::new("is empty", expected)),
        (_, false, _) => Err(Wrong::new("holds a line break or an unprintable character", expected)),
        (_, _, false) => Err(Wrong::new("is too long", "expected at most 500 bytes")),
        _ => Ok(text.to_owned()),
    }
}
