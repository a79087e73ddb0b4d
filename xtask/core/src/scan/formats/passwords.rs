//! Passwords, by what stands around them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::{Found, array, begins, entropy, run, varied, word_dash};

/// What stands for a password, and is none. `changeit` is that of the JDK's own trust store.
const PLACEHOLDERS: &[&str] = &[
    "password",
    "passwd",
    "pass",
    "pwd",
    "pw",
    "secret",
    "token",
    "user",
    "username",
    "changeit",
    "changeme",
    "null",
    "none",
    "true",
    "false",
    "empty",
    "redacted",
    "masked",
    "hidden",
    "protected",
    "encrypted",
    "value",
    "string",
    "object",
    "required",
    "optional",
    "disabled",
    "enabled",
    "undefined",
    "foo",
    "bar",
    "xyz",
    "test",
];

/// Whether it is a variable, a pattern or stars.
fn placeholder(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value).to_lowercase();
    let bare = text.trim_matches(|c: char| !c.is_alphanumeric());
    let of_one = value.windows(2).all(|pair| pair[0] == pair[1]);
    bare.is_empty()
        || of_one
        || template(&text, value)
        || PLACEHOLDERS.contains(&bare)
        || bare.starts_with("your")
}

/// Whether something else is to be put in its place, or it is what stars were put in the place of. A `$` or a bracket alone
/// makes no template: passwords have them.
fn template(lower: &str, value: &[u8]) -> bool {
    let whole = |open: &str, close: &str| lower.starts_with(open) && lower.ends_with(close);
    let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let shells = value
        .strip_prefix(b"$")
        .is_some_and(|name| name.iter().all(|b| b.is_ascii_uppercase() || *b == b'_'));
    // `%s`, `%1$s`.
    let printf = value.starts_with(b"%") && value.len() <= 5 && value.ends_with(b"s");
    // `[C@1b6d3586`, `javax.crypto.spec.SecretKeySpec@1b6d3586`: an object of Java's.
    let object = lower.rsplit_once('@').is_some_and(|(class, number)| {
        (class.starts_with('[') || class.contains('.')) && number.bytes().all(|b| b.is_ascii_hexdigit())
    });
    has(&["${", "#{", "{{", "***"])
        || [("<", ">"), ("{", "}"), ("[", "]"), ("(", ")"), ("%", "%")].iter().any(|(open, close)| whole(open, close))
        // Regular expressions.
        || has(&["[^", ".*", ".+", "(?", "]+", "]*"])
        || shells
        || printf
        || object
}

/// A printable byte that a password in a URL or a connection string may have.
fn visible(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

/// `scheme://user:password@host`.
pub fn url_password(text: &[u8], at: usize) -> Found {
    let from = at + 3;
    let user_end = run(text, from, 128, |byte| visible(byte) && !b":/@?#\"'<>\\`,; ".contains(&byte));
    // Most URLs end here.
    if text.get(user_end) != Some(&b':') || !text.get(at.checked_sub(1)?)?.is_ascii_alphanumeric() {
        return None;
    }
    let start = user_end + 1;
    let end = run(text, start, 256, |byte| visible(byte) && !b"@/?#\"'<>\\`".contains(&byte));
    let host = text.get(end + 1).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'[');
    let value = text.get(start..end)?;
    let example = [b"example.".as_slice(), b"host:", b"host/", b"host\0"];
    let elsewhere = text.get(end + 1..).is_some_and(|host| example.iter().any(|name| host.starts_with(name)));
    let is_it = text.get(end) == Some(&b'@') && host && value.len() >= 3 && !placeholder(value) && !elsewhere;
    is_it.then_some(start..end)
}

/// `jdbc:…?password=…`, `Server=…;Password=…`.
pub fn connection(text: &[u8], at: usize) -> Found {
    let start = at + text[at..].iter().position(|byte| *byte == b'=')? + 1;
    let end = run(text, start, 256, |byte| visible(byte) && !b"&;\"'<>,)\\`".contains(&byte));
    let value = text.get(start..end)?;
    if value.len() < 3 || placeholder(value) {
        return None;
    }
    let before = &text[at.saturating_sub(512)..at];
    let line = before.iter().rposition(|byte| !visible(*byte) && *byte != b' ').map_or(0, |at| at + 1);
    let line = before[line..].to_ascii_lowercase();
    let has = |name: &[u8]| line.windows(name.len()).any(|found| found == name);
    // The name must be a parameter of its own: `;Password=`, and not `;trustStorePassword=`.
    let name = run_back(text, at, |byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let separate = name > 0 && b"?&;: ".contains(&text[name - 1]);
    (separate && (has(b"jdbc:") || has(b"server=") || has(b"data source=") || has(b"host=") || has(b"://")))
        .then_some(start..end)
}

/// Where the run of these bytes before `at` begins, at most 128 back.
fn run_back(text: &[u8], at: usize, of: impl Fn(u8) -> bool) -> usize {
    let before = &text[at.saturating_sub(128)..at];
    at - before.iter().rev().position(|byte| !of(*byte)).unwrap_or(before.len())
}

/// What a string of JSON ends with, also inside another.
fn quote(byte: u8) -> bool {
    b"\\\"".contains(&byte)
}

fn space(byte: u8) -> bool {
    byte == b' '
}

/// `spring.datasource.password=…` and `client-secret: …`, a name with a dot, a dash or an underscore, as configuration has
/// it; `"password": "…"` in JSON, also where that is a string of JSON itself.
pub fn property(text: &[u8], at: usize) -> Found {
    let name = run_back(text, at, |byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let word = run(text, at, 16, |byte| byte.is_ascii_alphabetic());
    let closed = run(text, word, 2, quote);
    let json = closed > word;
    let sign = if json { run(text, closed, 4, space) } else { word };
    let (start, end) = match (json, *text.get(sign)?) {
        (true, b':') => {
            let opening = run(text, sign + 1, 4, space);
            let start = run(text, opening, 2, quote);
            let end = run(text, start, 256, |byte| visible(byte) && !quote(byte));
            (start > opening && text.get(end).is_some_and(|byte| quote(*byte))).then_some((start, end))?
        }
        (false, sign_is @ (b'=' | b':')) => {
            let most = if sign_is == b':' { 4 } else { 0 };
            let start = run(text, sign + 1, most, space);
            let start = start + usize::from(text.get(start).is_some_and(|byte| b"\"'".contains(byte)));
            (start, run(text, start, 256, |byte| visible(byte) && !b"&;\"'<>,\\`".contains(&byte)))
        }
        _ => return None,
    };
    // What follows the string in the heap is no part of it.
    let said = array(text, name).map_or(end, |said| name.saturating_add(said));
    let end = if !json && (start + 1..end).contains(&said) { said } else { end };
    let value = text.get(start..end)?;
    let end = if !json && value.ends_with(b")") { end - 1 } else { end };
    let value = text.get(start..end)?;
    let whole = &text[name..word];
    let configured =
        json || whole.iter().any(|byte| b"._-".contains(byte)) || whole.len() > b"password".len();
    let certain = json || (text[sign] == b'=' && whole.contains(&b'.'));
    // `password://` and `secret:com.example` are names.
    let is_it = configured && is_chosen(value, certain) && !placeholder(value) && !value.starts_with(b"//");
    is_it.then_some(start..end)
}

/// Whether a value behind such a name was chosen as one, and is not the next word of a sentence, a class or another key:
///
/// | | |
/// | --- | --- |
/// | 8 and more characters, letters and digits | `k7Rw-2mQx` |
/// | … letters and marks, without a dot | `pa$$word!` |
/// | … three and more words | `correct-horse-battery` |
/// | where the name is certain to be a property's, 6 and more letters | `swordfish` |
///
/// The last two have no word about secrets: `client-secret-basic` is a method.
fn is_chosen(value: &[u8], certain: bool) -> bool {
    let lower = String::from_utf8_lossy(value).to_lowercase();
    let about = ["passw", "secret", "token", "credential", "client"].iter().any(|word| lower.contains(word));
    let letters = value.iter().any(u8::is_ascii_alphabetic);
    let digits = value.iter().any(u8::is_ascii_digit);
    let dotted = value.contains(&b'.');
    let marked = !dotted && value.iter().skip(1).any(|byte| b"!@#%^*+~$?".contains(byte));
    let words: Vec<&str> = lower.split(['-', '_']).collect();
    let of_letters = |word: &str| word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let phrase = words.len() >= 3 && words.iter().all(|word| of_letters(word)) && !about;
    let word = certain && letters && !dotted && !about;
    let long =
        value.len() >= 8 && letters && (digits || marked || phrase) && entropy(value) >= 2.5 && varied(value);
    long || (word && value.len() >= 6 && entropy(value) >= 2.2)
}

/// `Bearer TOKEN`, `Basic BASE64(user:password)`.
pub fn authorization(text: &[u8], at: usize) -> Found {
    let first = at.checked_sub(1)?;
    if !b"BbAa".contains(&text[first]) || !begins(text, first) {
        return None;
    }
    let basic = text[at..].starts_with(b"asic ");
    let start = at + if basic { 5 } else { 6 };
    let mut end = run(text, start, 4096, |byte| word_dash(byte) || b"+/.~=".contains(&byte));
    if let Some(said) = array(text, first).filter(|said| first + said > start && first + said < end) {
        end = first + said;
    }
    let value = text.get(start..end)?;
    if !basic {
        let drawn = value.iter().any(u8::is_ascii_digit) && value.iter().any(u8::is_ascii_alphabetic);
        return (value.len() >= 20 && drawn && entropy(value) > 3.5 && varied(value)).then_some(start..end);
    }
    let plain = STANDARD.decode(value).or_else(|_| STANDARD_NO_PAD.decode(value)).ok()?;
    let plain = String::from_utf8(plain).ok()?;
    let (user, password) = plain.split_once(':')?;
    // The example of RFC 7617.
    let example = plain == "Aladdin:open sesame";
    let printable = plain.chars().all(|c| !c.is_control());
    let is_it =
        printable && !user.is_empty() && password.len() >= 3 && !placeholder(password.as_bytes()) && !example;
    is_it.then_some(start..end)
}
