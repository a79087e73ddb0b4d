//! The forms in which a value may lie in a JVM's memory.
//!
//! | form | where it comes from |
//! | --- | --- |
//! | UTF-8 | files, sockets, the environment, `getBytes(UTF_8)`; of ASCII also every string of the JVM |
//! | Latin-1 | strings of the JVM that fit it (JEP 254) |
//! | UTF-16 | other strings, `char[]`, `StringBuilder`; in either order of the bytes |
//! | UTF-32 | `int[]` of code points |
//! | modified UTF-8 | constants of classes, JNI; differs from UTF-8 beyond the first plane and for NUL |
//! | base64 | `Authorization: Basic`, Kubernetes secrets, JSON; also inside a longer text, at each of the three offsets |
//! | hex | lower and upper case |
//! | percent | URLs and forms |
//! | escaped | JSON, Java and properties; XML and HTML |
//! | decoded | the bytes of a value that is base64 or PEM itself: `Key.getEncoded()` |

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// What is searched for in place of a value: bytes, and what they are.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Form {
    pub bytes: Vec<u8>,
    pub name: &'static str,
}

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The fewest bytes of a form: what is shorter is found by chance.
const LEAST: usize = needles::LEAST;

/// Every form of a value, each once.
pub(super) fn forms(value: &[u8]) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    let mut add = |name: &'static str, bytes: Vec<u8>| {
        if bytes.len() >= LEAST && !forms.iter().any(|form| form.bytes == bytes) {
            forms.push(Form { bytes, name });
        }
    };
    let text = std::str::from_utf8(value).ok();
    add(if text.is_some() { "UTF-8" } else { "bytes" }, value.to_vec());
    if let Some(text) = text {
        if let Some(latin) = latin1(text) {
            // The byte that may be zero is left out at the end where the order puts it there, so that both orders are one;
            // unless it is too short then.
            let wide = latin.iter().flat_map(|byte| [*byte, 0]).collect::<Vec<u8>>();
            if wide.len() > LEAST {
                add("UTF-16", wide[..wide.len() - 1].to_vec());
            } else {
                add("UTF-16", [&[0][..], &wide[..wide.len() - 1]].concat());
                add("UTF-16", wide);
            }
            add("Latin-1", latin);
        } else {
            add("UTF-16", text.encode_utf16().flat_map(u16::to_le_bytes).collect());
            add("UTF-16", text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        }
        let points: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        add("UTF-32", points);
        add("modified UTF-8", modified_utf8(text));
        let percent = percent_encode(value, UNRESERVED).to_string();
        add("percent", lower_escapes(&percent).into_bytes());
        add("percent", percent.replace("%20", "+").into_bytes());
        add("percent", percent.into_bytes());
        add("escaped", json(text, false).into_bytes());
        add("escaped", json(text, true).into_bytes());
        add("escaped", xml(text, "&apos;", "&quot;").into_bytes());
        add("escaped", xml(text, "&#39;", "&#34;").into_bytes());
        if let Some(bytes) = decoded(text) {
            add("decoded", bytes);
        }
    }
    for shift in 0..3 {
        for form in based(value, shift) {
            add("base64", form);
        }
    }
    let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    add("hex", hex.to_uppercase().into_bytes());
    add("hex", hex.into_bytes());
    forms
}

/// The text in Latin-1, where it fits.
fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

/// As classes keep their constants (JVM specification, 4.4.7).
fn modified_utf8(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for unit in text.encode_utf16() {
        match unit {
            1..=0x7f => bytes.push(unit as u8),
            0 | 0x80..=0x7ff => bytes.extend([0xc0 | (unit >> 6) as u8, 0x80 | (unit & 0x3f) as u8]),
            _ => bytes.extend([
                0xe0 | (unit >> 12) as u8,
                0x80 | (unit >> 6 & 0x3f) as u8,
                0x80 | (unit & 0x3f) as u8,
            ]),
        }
    }
    bytes
}

/// Base64 of a text in which the value begins at `shift` bytes after a multiple of three: the characters that depend on
/// the value alone. In both alphabets.
fn based(value: &[u8], shift: usize) -> Vec<Vec<u8>> {
    let padded = [&[0; 2][..shift], value].concat();
    // A character holds six bits; those of the neighbours' bits are no part of it.
    let (first, last) = ((shift * 8).div_ceil(6), padded.len() * 8 / 6);
    let pick = |text: String| text.as_bytes().get(first..last).unwrap_or_default().to_vec();
    vec![pick(STANDARD_NO_PAD.encode(&padded)), pick(URL_SAFE_NO_PAD.encode(&padded))]
}

fn json(text: &str, ascii: bool) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 || (ascii && !c.is_ascii()) => {
                let mut units = [0; 2];
                c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            }
            c => out.push(c),
        }
    }
    out
}

fn xml(text: &str, apostrophe: &str, quote: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str(apostrophe),
            '"' => out.push_str(quote),
            c => out.push(c),
        }
    }
    out
}

/// The bytes that a value stands for which is base64 or PEM. Shorter ones are words as well.
pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    let armoured = text.contains("-----BEGIN ");
    let body: String = text
        .lines()
        .map(str::trim)
        .filter(|line| !(armoured && (line.starts_with("-----") || line.contains(':'))))
        .collect();
    (body.len() >= 24).then(|| STANDARD.decode(&body).or_else(|_| URL_SAFE_NO_PAD.decode(&body)).ok())?
}

/// Escapes of percent in lower case, as some programs write them.
fn lower_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(2.min(part.len()));
        out.extend(["%", &digits.to_lowercase(), rest]);
    }
    out
}
