//! Private keys.

use super::{Found, base64, decoded, run};

/// How many bytes the header of a PEM block may take before `PRIVATE KEY`.
const LABEL: usize = 40;

/// A PEM block whose body is there, and a key: the JDK has the lines around it as constants.
pub fn pem(text: &[u8], at: usize) -> Found {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let before = &text[at.saturating_sub(LABEL)..at];
    let begin = at - before.len() + before.windows(BEGIN.len()).rposition(|found| found == BEGIN)?;
    let label = &text[begin + BEGIN.len()..at];
    if !label.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ') {
        return None;
    }
    let rest = &text[at + b"PRIVATE KEY".len()..];
    let pgp = rest.starts_with(b" BLOCK-----");
    let rest = rest.strip_prefix(b" BLOCK".as_slice()).unwrap_or(rest).strip_prefix(b"-----".as_slice())?;
    let body = text.len() - rest.len();
    // Line breaks may be escaped, as in JSON.
    let part = |byte: u8| base64(byte) || b"=\r\n\\ \t-:,.()".contains(&byte);
    let stop = run(text, body, super::super::finder::AROUND, part);
    let end = body + text[body..stop].windows(9).position(|found| found == b"-----END ")?;
    let plain: Vec<u8> =
        String::from_utf8_lossy(&text[body..end]).replace("\\n", "\n").replace("\\r", "").into_bytes();
    let lines = plain.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let content: Vec<u8> = lines
        .filter(|line| line.iter().all(|byte| base64(*byte) || *byte == b'='))
        .flatten()
        .copied()
        .collect();
    let sound = match pgp {
        // Its last line is a checksum of its own.
        true => content.len() >= 100,
        false => decoded(std::str::from_utf8(&content).ok()?).is_some_and(|key| is_key(&key)),
    };
    let end =
        run(text, end + 9, 60, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ');
    (sound && !is_public(&content)).then_some(begin..text.len().min(end + 5))
}

/// Keys that are printed in the sources of widespread libraries, by the SHA-256 of their base64 without line breaks: they
/// open nothing.
const PUBLIC: &[(&str, &str)] = &[(
    "io.netty.handler.ssl.OpenSsl.PROBING_KEY",
    "1bb2a9feb770febe36dca4a88d5351421d4f4f211b52e6143197e6b850f0ffb8",
)];

fn is_public(content: &[u8]) -> bool {
    let digest = crate::digest::Digest::of(content).hex();
    PUBLIC.iter().any(|(_, known)| *known == digest)
}

/// A sequence in DER, OpenSSH's own form, or what a passphrase has made of one.
fn is_key(bytes: &[u8]) -> bool {
    let sequence = matches!(bytes, [0x30, length, ..] if *length < 0x80 || (0x81..=0x83).contains(length));
    bytes.len() >= 32 && (sequence || bytes.starts_with(b"openssh-key-v1\0") || bytes.len() >= 64)
}

/// The version of PKCS#8, and the algorithm.
pub const PKCS8_RSA: &[u8] = b"\x02\x01\x00\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
/// On whichever curve.
pub const PKCS8_EC: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06";
/// All but its 32 bytes is always the same.
pub const PKCS8_ED25519: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
/// The same, to agree on a key.
pub const PKCS8_X25519: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x6e\x04\x22\x04\x20";
/// PKCS#1: the version, and the length of the modulus.
pub const PKCS1_2048: &[u8] = b"\x02\x01\x00\x02\x82\x01\x01\x00";
/// Of 3072 bits.
pub const PKCS1_3072: &[u8] = b"\x02\x01\x00\x02\x82\x01\x81\x00";
/// Of 4096 bits.
pub const PKCS1_4096: &[u8] = b"\x02\x01\x00\x02\x82\x02\x01\x00";

/// A private key in DER.
pub fn der(text: &[u8], at: usize) -> Found {
    let rest = &text[at..];
    if rest.starts_with(PKCS8_ED25519) || rest.starts_with(PKCS8_X25519) {
        let seed = rest.get(16..48)?;
        return (super::entropy(seed) > 3.0).then_some(at..at + 48);
    }
    if rest.starts_with(PKCS8_EC) {
        // version, SEQUENCE { id-ecPublicKey, curve }, OCTET STRING: the public key's has neither first nor last.
        let start = at.checked_sub(5)?;
        let [0x02, 0x01, 0x00, 0x30, length] = text[start..at] else { return None };
        let octets = at + usize::from(length);
        return (text.get(octets) == Some(&0x04)).then(|| enclosing(text, start))?;
    }
    if rest.starts_with(PKCS8_RSA) {
        // The parameters are NULL, then the key of PKCS#1 is in an OCTET STRING.
        let octets = at + PKCS8_RSA.len() + 2;
        let [0x04, 0x82, _, _, 0x30, 0x82, _, _] = *text.get(octets..octets + 8)? else { return None };
        return enclosing(text, octets + 8);
    }
    enclosing(text, at).filter(|found| {
        // Behind the modulus comes the public exponent.
        let length = usize::from(text[at + 5]) << 8 | usize::from(text[at + 6]);
        text.get(at + 7 + length) == Some(&0x02) && found.len() > 4 * length && found.len() < 6 * length
    })
}

/// The sequence whose content begins at `content`, all of which must be there.
fn enclosing(text: &[u8], content: usize) -> Found {
    let header = |bytes: usize| text.get(content.checked_sub(bytes)?..content);
    let (start, length) = if let Some([0x30, 0x82, high, low]) = header(4) {
        (content - 4, usize::from(*high) << 8 | usize::from(*low))
    } else if let Some([0x30, 0x81, length]) = header(3) {
        (content - 3, usize::from(*length))
    } else if let Some([0x30, length @ 0x20..0x80]) = header(2) {
        (content - 2, usize::from(*length))
    } else {
        return None;
    };
    let end = content + length;
    let value = text.get(start..end)?;
    (super::entropy(value) > 4.0).then_some(start..end)
}
