//! The only ways a value gets into a rendered file: one filter for each target.
//!
//! A template that prints a string without one of these filters is an error (see [`super::environment`]), so a
//! forgotten filter cannot become an injection.

use minijinja::{Error, ErrorKind, Value};

fn refuse(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// A word of a POSIX shell command line.
pub fn sh(word: &str) -> Result<Value, Error> {
    let quoted = shlex::try_quote(word).map_err(|_| refuse(format!("{word:?} holds a NUL byte")))?;
    Ok(Value::from_safe_string(quoted.into_owned()))
}

/// A YAML scalar: double-quoted, everything but printable ASCII escaped, so that every YAML reader agrees.
pub fn yaml(text: &str) -> Value {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            ' '..='~' => quoted.push(character),
            _ => match u32::from(character) {
                code @ ..=0xff => quoted.push_str(&format!("\\x{code:02x}")),
                code @ ..=0xffff => quoted.push_str(&format!("\\u{code:04x}")),
                code => quoted.push_str(&format!("\\U{code:08x}")),
            },
        }
    }
    quoted.push('"');
    Value::from_safe_string(quoted)
}

/// A line of a YAML block scalar: printable, and without a line break that would end the block.
pub fn yaml_block(text: &str) -> Result<Value, Error> {
    match text
        .chars()
        .find(|c| c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'))
    {
        Some(bad) => Err(refuse(format!("{text:?} holds {bad:?}, which a line of a script cannot"))),
        None => Ok(Value::from_safe_string(text.to_owned())),
    }
}

/// A word of a shell command line inside a YAML block scalar.
pub fn sh_in_block(word: &str) -> Result<Value, Error> {
    yaml_block(word)?;
    sh(word)
}

/// A name that means the same unquoted everywhere: letters, digits and `. _ - + / @ : ,`.
pub fn name(text: &str) -> Result<Value, Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+/@:,".contains(c);
    match text.chars().all(plain) && text.starts_with(|c: char| c.is_ascii_alphanumeric() || "_/".contains(c))
    {
        true => Ok(Value::from_safe_string(text.to_owned())),
        false => Err(refuse(format!("{text:?} is no plain name"))),
    }
}

/// Text of a comment, which ends with its line.
pub fn comment(text: &str) -> Value {
    Value::from_safe_string(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

/// Text, or the value of an attribute in double quotes, of HTML and SVG. XML knows no control characters.
pub fn html(text: &str) -> Value {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push(' '),
            c if c.is_control() => escaped.push(' '),
            // A comment ends with two of them.
            '-' if escaped.ends_with('-') => escaped.push_str("&#45;"),
            c => escaped.push(c),
        }
    }
    Value::from_safe_string(escaped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn yaml_is_one_line_of_ascii(text in any::<String>()) {
            let quoted = yaml(&text).to_string();
            prop_assert!(quoted.bytes().all(|b| (b' '..=b'~').contains(&b)));
        }

        #[test]
        fn sh_splits_back(word in "[^\0]*") {
            let quoted = sh(&word).unwrap().to_string();
            prop_assert_eq!(shlex::split(&quoted), Some(vec![word]));
        }

        #[test]
        fn a_name_needs_no_quotes(text in any::<String>()) {
            if let Ok(value) = name(&text) {
                prop_assert_eq!(shlex::split(&value.to_string()), Some(vec![text]));
            }
        }

        #[test]
        fn html_holds_no_tag_and_no_quote(text in any::<String>()) {
            let escaped = html(&text).to_string();
            prop_assert!(!escaped.contains(['<', '>', '"', '\'', '\n', '\0']) && !escaped.contains("--"));
        }

        #[test]
        fn a_comment_stays_on_its_line(text in any::<String>()) {
            prop_assert!(!comment(&text).to_string().contains(['\n', '\r']));
        }
    }

    #[test]
    fn a_real_shell_reads_back_what_was_quoted() {
        for word in ["", "a b", "$(id)", "`id`", "'", "\"", "\\", "\n", "é", "-n", "~", "*", "a'b\"c$d"] {
            let script = format!("printf %s {}", sh(word).unwrap());
            let ran = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(ran.stdout).unwrap(), word, "{script}");
        }
    }

    #[test]
    fn names_are_plain() {
        for bad in ["", "a b", "$x", "-x", "a\nb", "a'b", "é"] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }
}
