//! Passwords, by what stands around them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::{Found, array, begins, entropy, run, varied, word_dash};

/// What stands for a password, and is none. `changeit` is that of the JDK's own trust store.
const PLACEHOLDERS: &[&str] = &[
    "password", "passwd", "pass", "pwd", "pw", "secret", "token", "user", "username", "changeit", "changeme",
    "null", "none", "true", "false", "empty", "redacted", "masked", "hidden", "value", "string", "foo",
    "bar", "xyz", "test",
];

/// Whether it is a variable, a pattern or stars.
fn placeholder(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value).to_lowercase();
    let bare = text.trim_matches(|c: char| !c.is_alphanumeric());
    let of_one = value.windows(2).all(|pair| pair[0] == pair[1]);
    let template = value.iter().any(|byte| b"{}<>$[]()|*".contains(byte)) || value.starts_with(b"%");
    bare.is_empty() || of_one || template || PLACEHOLDERS.contains(&bare) || bare.starts_with("your")
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

/// `spring.datasource.password=…` and `client-secret: …`: a name with a dot, a dash or an underscore, as configuration has
/// it, and a value that is no word.
pub fn property(text: &[u8], at: usize) -> Found {
    let name = run_back(text, at, |byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let sign = at + text[at..].iter().position(|byte| b"=:".contains(byte))?;
    let whole = &text[name..sign];
    let start =
        if text[sign] == b':' { run(text, sign + 1, 4, |byte| byte == b' ').max(sign + 1) } else { sign + 1 };
    let start = start + usize::from(text.get(start).is_some_and(|byte| b"\"'".contains(byte)));
    let end = run(text, start, 256, |byte| visible(byte) && !b"&;\"'<>,\\`".contains(&byte));
    let value = text.get(start..end)?;
    let end = if value.ends_with(b")") { end - 1 } else { end };
    let configured = whole.iter().any(|byte| b"._-".contains(byte)) || whole.len() > b"password".len();
    let drawn = value.iter().any(u8::is_ascii_digit) && value.iter().any(u8::is_ascii_alphabetic);
    let is_it = configured
        && value.len() >= 8
        && drawn
        && entropy(value) >= 2.5
        && !placeholder(value)
        && varied(value);
    // `password://` and `secret:com.example` are names.
    (is_it && !value.starts_with(b"//")).then_some(start..end)
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
