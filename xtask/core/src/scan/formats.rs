//! What makes a candidate a secret. Each function gives the value around an anchor that stands at `at`, or nothing.
//! Sources are the providers' documentation of their formats; examples that these print are known and passed over.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::encodings::decoded;

mod keys;
mod passwords;

pub(super) use keys::*;
pub(super) use passwords::*;

type Found = Option<Range<usize>>;

pub(super) fn alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

pub(super) fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

pub(super) fn alnum_dash(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// The alphabet of base64 in URLs.
pub(super) fn word_dash(byte: u8) -> bool {
    word(byte) || byte == b'-'
}

pub(super) fn hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

fn base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/".contains(&byte)
}

/// Whether what stands before is no part of a longer word.
fn begins(text: &[u8], at: usize) -> bool {
    at == 0 || !word_dash(text[at - 1])
}

/// The end of the run of these bytes from `from` on, at most `most` long.
fn run(text: &[u8], from: usize, most: usize, of: fn(u8) -> bool) -> usize {
    let rest = text.get(from..text.len().min(from.saturating_add(most))).unwrap_or_default();
    from + rest.iter().position(|byte| !of(*byte)).unwrap_or(rest.len())
}

/// How long the JVM says the array is that begins at `start`: four bytes before its content. What follows a string in
/// the heap is the next object's header, whose first byte may be a letter.
fn array(text: &[u8], start: usize) -> Option<usize> {
    let length = text.get(start.checked_sub(4)?..start)?;
    Some(u32::from_le_bytes(length.try_into().ok()?) as usize)
}

/// A prefix of `prefix` bytes, then as many bytes of an alphabet as `length` says.
pub(super) fn token(
    text: &[u8],
    at: usize,
    prefix: usize,
    of: fn(u8) -> bool,
    length: std::ops::RangeInclusive<usize>,
) -> Found {
    if !begins(text, at) {
        return None;
    }
    let from = at + prefix;
    let most = *length.end();
    let mut end = run(text, from, most + 1, of);
    if let Some(said) = array(text, at)
        && (prefix + length.start()..=prefix + most).contains(&said)
        && at + said <= end
    {
        end = at + said;
    }
    (length.contains(&(end - from)) && varied(&text[from..end])).then_some(at..end)
}

/// Bits of a byte, by how often each occurs.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let total = bytes.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / total)
        .map(|p| -p * p.log2())
        .sum()
}

/// Whether bytes look drawn, and not written: documentation has `xxxx` and `0000`.
fn varied(bytes: &[u8]) -> bool {
    let lower = bytes.to_ascii_lowercase();
    let written = [b"example".as_slice(), b"xxxx", b"....", b"0123456789ab", b"abcdefghij", b"your"];
    entropy(bytes) >= if bytes.len() >= 20 { 2.8 } else { 2.2 }
        && !written.iter().any(|part| lower.windows(part.len()).any(|found| found == *part))
}

/// `AKIA` and sixteen characters of base32.
pub(super) fn aws_access_key(text: &[u8], at: usize) -> Found {
    let base32 = |byte: u8| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte);
    token(text, at, 4, base32, 16..=16)
}

/// Forty characters behind the key's name; alone they look like any digest.
pub(super) fn aws_secret_key(text: &[u8], at: usize) -> Found {
    let from = run(text, at, 24, |byte| byte.is_ascii_alphabetic() || byte == b'_');
    let from = run(text, from, 6, |byte| b"\"' :=>".contains(&byte));
    let end = run(text, from, 41, base64);
    (end - from == 40 && entropy(&text[from..end]) > 3.5 && varied(&text[from..end])).then_some(from..end)
}

pub(super) fn gcp_account(text: &[u8], at: usize) -> Found {
    let from = run(text, at + b"\"private_key_id\"".len(), 8, |byte| b" :\"\t".contains(&byte));
    let end = run(text, from, 41, hex);
    (end - from == 40 && varied(&text[from..end])).then_some(from..end)
}

/// The key of Azurite, which is the same for everybody.
const AZURITE: &[u8] =
    b"Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// 64 bytes of a storage account, 32 of a bus or hub.
pub(super) fn azure_key(text: &[u8], at: usize) -> Found {
    let from = run(text, at, 16, |byte| byte.is_ascii_alphabetic()) + 1;
    let end = run(text, from, 90, |byte| base64(byte) || byte == b'=');
    let value = text.get(from..end)?;
    let bytes = STANDARD.decode(value).ok()?;
    (matches!(bytes.len(), 32 | 64) && value != AZURITE && varied(value)).then_some(from..end)
}

/// A signature beside the version and the end of what it grants.
pub(super) fn azure_sas(text: &[u8], at: usize) -> Found {
    let from = at + b"&sig=".len();
    let end = run(text, from, 100, |byte| base64(byte) || b"%=".contains(&byte));
    let plain = percent_encoding::percent_decode(text.get(from..end)?).collect::<Vec<u8>>();
    let near = &text[at.saturating_sub(400)..text.len().min(end + 400)];
    let has = |name: &[u8]| near.windows(name.len()).any(|found| found == name);
    let is_signature = STANDARD.decode(&plain).is_ok_and(|bytes| bytes.len() == 32);
    (is_signature && has(b"sv=") && has(b"se=")).then_some(from..end)
}

/// `???8Q~` and 34 characters.
pub(super) fn azure_client_secret(text: &[u8], at: usize) -> Found {
    let of = |byte: u8| word_dash(byte) || b"~.".contains(&byte);
    let start = at.checked_sub(3)?;
    let end = run(text, at, 38, of);
    let whole = text[start..at].iter().all(|byte| of(*byte)) && begins(text, start);
    (whole && (37..=38).contains(&(end - at)) && varied(&text[start..end])).then_some(start..start + 40)
}

/// Thirty characters and a CRC-32 of them in base 62.
pub(super) fn github(text: &[u8], at: usize) -> Found {
    let (from, end) = (at + 4, at + 40);
    let value = text.get(from..end)?;
    let (body, sum) = value.split_at(30);
    (begins(text, at) && value.iter().all(|byte| alnum(*byte)) && base62_crc(body) == sum).then_some(at..end)
}

/// The checksum of GitHub's tokens.
pub(super) fn base62_crc(body: &[u8]) -> [u8; 6] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut crc = flate2::Crc::new();
    crc.update(body);
    let (mut left, mut digits) = (crc.sum() as usize, [b'0'; 6]);
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[left % 62];
        left /= 62;
    }
    digits
}

pub(super) fn gitlab(text: &[u8], at: usize) -> Found {
    let prefix = run(text, at, 6, |byte| byte.is_ascii_lowercase()) + 1 - at;
    token(text, at, prefix, |byte| word_dash(byte) || byte == b'.', 20..=64)
}

pub(super) fn slack_webhook(text: &[u8], at: usize) -> Found {
    let from = at + b"hooks.slack.com/services/".len();
    let end = run(text, from, 80, |byte| alnum(byte) || byte == b'/');
    let value = text.get(from..end)?;
    let parts: Vec<&[u8]> = value.split(|byte| *byte == b'/').collect();
    let [team, hook, key] = parts.as_slice() else { return None };
    let is_it = team.starts_with(b"T") && hook.starts_with(b"B") && key.len() >= 20 && varied(key);
    is_it.then_some(from..end)
}

pub(super) fn stripe(text: &[u8], at: usize) -> Found {
    let prefix = if text[at..].starts_with(b"whsec_") { 6 } else { 8 };
    token(text, at, prefix, |byte| base64(byte) || byte == b'=', 24..=255)
}

pub(super) fn sendgrid(text: &[u8], at: usize) -> Found {
    let first = run(text, at + 3, 23, word_dash);
    let end = run(text, first + 1, 44, word_dash);
    let is_it = begins(text, at) && first == at + 25 && text.get(first) == Some(&b'.') && end == first + 44;
    (is_it && varied(&text[at + 3..end])).then_some(at..end)
}

/// The tokens that jwt.io has shown over the years, whole: their keys, `secret` and the like, are known to everybody. Many
/// another token is John Doe's.
const TUTORIALS: [[&str; 3]; 3] = [
    [
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
        "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.",
        "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
    ],
    [
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
        "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiYWRtaW4iOnRydWUsImlhdCI6MTUxNjIzOTAyMn0.",
        "KMUFsIDTnFmyG3nMiGM6H9FNFUROf3wh7SmqJp-QV30",
    ],
    [
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
        "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiYWRtaW4iOnRydWV9.",
        "TJVA95OrM7E2cBab30RMHrHDcEfxjoYZgeFONFh7HgQ",
    ],
];

/// Three parts of base64, the first of which is a JSON object that names the algorithm.
pub(super) fn jwt(text: &[u8], at: usize) -> Found {
    if !begins(text, at) {
        return None;
    }
    let part = |from: usize| run(text, from, 8 << 10, word_dash);
    let dot = |at: usize| text.get(at) == Some(&b'.');
    let header = part(at);
    // Cheap before dear: most of what begins so is no token.
    if header - at < 14 || !dot(header) {
        return None;
    }
    let payload = part(header + 1);
    if payload - header < 8 || !dot(payload) {
        return None;
    }
    let mut end = part(payload + 1);
    if let Some(said) = array(text, at).filter(|said| at + said > payload && at + said <= end) {
        end = at + said;
    }
    let object: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&text[at..header]).ok()?).ok()?;
    let algorithm = object.get("alg")?.as_str()?;
    let known = TUTORIALS.iter().any(|known| known.concat().as_bytes() == &text[at..end]);
    (algorithm != "none" && end - payload > 20 && !known).then_some(at..end)
}
