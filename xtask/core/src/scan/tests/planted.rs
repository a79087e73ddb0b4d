//! One value in the forms and places in which programs keep it. Each row is told by its name if it is missed.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};

use super::*;

/// With what is escaped somewhere.
const VALUE: &str = "pä$$ \"w&rd\"/2+\\Ω?";
/// As most are.
const PLAIN: &str = "Tr0ub4dor-and-3";
/// Latin-1, which UTF-8 writes otherwise.
const LATIN: &str = "Müller-Straße-9";
/// Beyond the first plane, where the JVM's own UTF-8 differs.
const EMOJI: &str = "key-🔑-of-the-house";

fn utf16(text: &str, little: bool) -> Vec<u8> {
    text.encode_utf16()
        .flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() })
        .collect()
}

fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

/// An array of the JVM: header, length, content.
fn array(content: &[u8], elements: usize) -> Vec<u8> {
    [&1_u64.to_le_bytes()[..], &[0x98, 0x21, 0, 0], &u32::try_from(elements).unwrap().to_le_bytes(), content]
        .concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A value, the bytes in which it is kept, and what it must be found as.
type Row = (&'static str, &'static str, Vec<u8>, &'static str);

fn rows() -> Vec<Row> {
    let key = STANDARD.encode((0..48_u8).map(|byte| byte.wrapping_mul(37)).collect::<Vec<_>>());
    let key: &'static str = Box::leak(key.into_boxed_str());
    let key_bytes = STANDARD.decode(key).unwrap();
    let basic = |user: &str| STANDARD.encode(format!("{user}:{PLAIN}"));
    vec![
        ("text in UTF-8", PLAIN, PLAIN.into(), "UTF-8"),
        ("String, compact", PLAIN, array(PLAIN.as_bytes(), PLAIN.len()), "UTF-8"),
        ("String, compact, with umlauts", LATIN, array(&latin(LATIN), LATIN.len()), "Latin-1"),
        ("String, not compact", VALUE, array(&utf16(VALUE, true), 17), "UTF-16"),
        (
            "String, inside a longer one that is not compact",
            PLAIN,
            utf16(&format!("Ω{PLAIN}Ω"), true),
            "UTF-16",
        ),
        ("char[]", PLAIN, array(&utf16(PLAIN, true), PLAIN.len()), "UTF-16"),
        ("char[] with umlauts", LATIN, utf16(LATIN, true), "UTF-16"),
        ("char[] beyond the first plane", EMOJI, utf16(EMOJI, true), "UTF-16"),
        ("getBytes(UTF_16BE)", PLAIN, utf16(PLAIN, false), "UTF-16"),
        ("getBytes(UTF_16BE), Greek", VALUE, utf16(VALUE, false), "UTF-16"),
        ("getBytes(UTF_8) with umlauts", LATIN, LATIN.into(), "UTF-8"),
        ("getBytes(UTF_8) beyond the first plane", EMOJI, EMOJI.into(), "UTF-8"),
        ("constant of a class beyond the first plane", EMOJI, modified(EMOJI), "modified UTF-8"),
        (
            "int[] of code points",
            PLAIN,
            PLAIN.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect(),
            "UTF-32",
        ),
        ("StringBuilder with room to spare", PLAIN, [PLAIN.as_bytes(), &[0; 18]].concat(), "UTF-8"),
        ("C string", PLAIN, [b"PGPASSWORD=", PLAIN.as_bytes(), b"\0"].concat(), "UTF-8"),
        ("form field", VALUE, b"u=a&p=p%C3%A4%24%24+%22w%26rd%22%2F2%2B%5C%CE%A9%3F".to_vec(), "percent"),
        ("query of a URL", VALUE, b"?p=p%C3%A4%24%24%20%22w%26rd%22%2F2%2B%5C%CE%A9%3F".to_vec(), "percent"),
        (
            "query, escapes in lower case",
            VALUE,
            b"?p=p%c3%a4%24%24%20%22w%26rd%22%2f2%2b%5c%ce%a9%3f".to_vec(),
            "percent",
        ),
        ("JSON", VALUE, b"{\"p\":\"p\xc3\xa4$$ \\\"w&rd\\\"/2+\\\\\xce\xa9?\"}".to_vec(), "escaped"),
        ("JSON in ASCII", VALUE, b"{\"p\":\"p\\u00e4$$ \\\"w&rd\\\"/2+\\\\\\u03a9?\"}".to_vec(), "escaped"),
        ("XML", VALUE, "<p>pä$$ &quot;w&amp;rd&quot;/2+\\Ω?</p>".into(), "escaped"),
        ("HTML with numbers", VALUE, "<p>pä$$ &#34;w&amp;rd&#34;/2+\\Ω?</p>".into(), "escaped"),
        ("base64", PLAIN, STANDARD.encode(PLAIN).into(), "base64"),
        (
            "base64 of Kubernetes, with a line break",
            PLAIN,
            STANDARD.encode(format!("{PLAIN}\n")).into(),
            "base64",
        ),
        ("base64 in URLs", VALUE, URL_SAFE.encode(VALUE).into(), "base64"),
        ("base64 in URLs, no padding", VALUE, URL_SAFE_NO_PAD.encode(VALUE).into(), "base64"),
        ("Authorization: Basic, user of 4", PLAIN, basic("joan").into(), "base64"),
        ("Authorization: Basic, user of 5", PLAIN, basic("admin").into(), "base64"),
        ("Authorization: Basic, user of 6", PLAIN, basic("joanna").into(), "base64"),
        ("char[] of three", "äöü", utf16("äöü", true), "UTF-16"),
        ("three in UTF-16BE", "äöü", utf16("äöü", false), "UTF-16"),
        ("hex", PLAIN, hex(PLAIN.as_bytes()).into(), "hex"),
        ("HEX", PLAIN, hex(PLAIN.as_bytes()).to_uppercase().into(), "hex"),
        ("key that was base64", key, key_bytes, "decoded"),
        ("key in hex of its base64", key, hex(key.as_bytes()).into(), "hex"),
        (
            "heap dump of a Properties file",
            PLAIN,
            format!("db.user=a\ndb.password={PLAIN}\n").into(),
            "UTF-8",
        ),
        ("log line", PLAIN, format!("12:00 WARN login failed for a/{PLAIN}\n").into(), "UTF-8"),
        ("twice without a gap", PLAIN, format!("{PLAIN}{PLAIN}").into(), "UTF-8"),
        ("right after its own beginning", PLAIN, format!("Tr0ub{PLAIN}").into(), "UTF-8"),
        (
            "at the end of other letters",
            PLAIN,
            format!("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{PLAIN}").into(),
            "UTF-8",
        ),
    ]
}

/// By hand, so that the code under test is not its own witness.
fn modified(text: &str) -> Vec<u8> {
    text.replace('🔑', "\u{1}")
        .into_bytes()
        .split(|byte| *byte == 1)
        .collect::<Vec<_>>()
        .join(b"\xed\xa0\xbd\xed\xb4\x91".as_slice())
}

#[test]
fn every_form_is_found() {
    let rows = rows();
    assert!(rows.len() >= 35, "{}", rows.len());
    let missed: Vec<&str> = rows
        .iter()
        .filter(|(_, value, kept, encoding)| {
            // Among bytes that are no part of it, at an odd place.
            let bytes = [&[0xa5; 1001], kept.as_slice(), &[0x5a; 77]].concat();
            let found = scan_texts(&app(""), &[("memory", &bytes)], &[secret("it", value.as_bytes())]);
            let is_it = |finding: &Finding| {
                finding.id.starts_with("secret/it:")
                    && finding.places.iter().any(|seen| seen.encoding == *encoding)
            };
            !found.findings.iter().any(is_it)
        })
        .map(|(name, ..)| *name)
        .collect();
    assert_eq!(missed, [""; 0], "missed");
}

/// What stands in the place of a value must not be taken for it.
#[test]
fn what_is_not_the_value_is_not_found() {
    let almost =
        ["tr0ub4dor-and-3", "Tr0ub4dor-and-4", "Tr0ub4dor-and", "r0ub4dor-and-3", "Tr0ub4dor\0-and-3"];
    for text in almost {
        let found = scan_texts(&app(""), &[("memory", text.as_bytes())], &[secret("it", PLAIN.as_bytes())]);
        assert!(found.findings.is_empty(), "{text}: {found:?}");
    }
}

/// Not one byte of a value is in anything that the scan says of it.
#[test]
fn no_value_is_ever_shown() {
    let values = [PLAIN, "hunter22-and-more", "AKIAZ7QX3LMNOP2R4TUV"];
    let text = format!(
        "{PLAIN} hunter22-and-more AKIAZ7QX3LMNOP2R4TUV postgres://app:s3cr3t-of-url@db.internal/x \
         Authorization: Bearer abcd1234EFGH5678ijkl9012MNOP"
    );
    let secrets = [secret("one", PLAIN.as_bytes()), secret("two", b"hunter22-and-more")];
    let found =
        scan_texts(&app("environment.API_TOKEN = \"t0k3n-value\""), &[("text", text.as_bytes())], &secrets);
    assert_eq!(
        rules(&found),
        ["authorization", "aws-access-key", "secret/one", "secret/two", "url-password"],
        "{found:?}"
    );
    let said = [
        format!("{found:?} {secrets:?}"),
        serde_json::to_string(&found).unwrap(),
        format!("{:?} {:#}", found.verdict().unwrap_err(), found.verdict().unwrap_err()),
        found.summary(),
        found.findings.iter().map(Finding::to_string).collect(),
    ];
    for said in said {
        for value in values.iter().chain(&["s3cr3t-of-url", "abcd1234EFGH5678ijkl9012MNOP"]) {
            // Five characters of it would do to guess the rest; known formats share their first four.
            let part = &value[5..];
            assert!(!said.contains(&value[..6]) && !said.contains(part), "{part} is in {said}");
        }
    }
}
