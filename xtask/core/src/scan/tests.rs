//! Values are planted in every form and place, and all must be found; what only looks like a secret must not be.

mod formats;
mod memory;
mod planted;
mod variables;

use super::*;
use crate::app::{SecretFrom, load_text};
use crate::files::DataFile;

/// A secret as `[secrets]` would give it.
fn secret(name: &str, value: &[u8]) -> Secret {
    Secret { rule: format!("secret/{name}"), value: Value::new(value), weight: Weight::Refused }
}

/// An application with these lines below its source.
fn app(lines: &str) -> App {
    let text = format!("source.jar = \"a.jar\"\n{lines}\n");
    load_text("shop", Path::new("/w/apps/shop"), "app.toml", &text).unwrap_or_else(|e| panic!("{e}")).app
}

/// Scans texts alone.
fn scan_texts(app: &App, texts: &[(&str, &[u8])], secrets: &[Secret]) -> Scan {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let texts = texts.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
    scan(&store, &Target { app, files: &[], archive: None, texts }, secrets).unwrap()
}

/// Identifiers without their digests.
fn rules(scan: &Scan) -> Vec<&str> {
    scan.findings.iter().map(|finding| finding.id.rsplit_once(':').unwrap().0).collect()
}

fn stored(store: &Store, path: &str, bytes: &[u8]) -> DataFile {
    let (digest, size) = store.add_bytes(bytes).unwrap();
    let (mode, owner) = ("0644".into(), "1:1".into());
    DataFile { path: path.into(), mode, owner, size, sha256: Some(digest), link: None }
}

#[test]
fn what_is_allowed_is_told_and_not_refused() {
    let text: &[(&str, &[u8])] = &[("a", b"xx k7Rw-2mQx yy k7Rw-2mQx"), ("b", b"k7Rw-2mQx")];
    let named = "secrets.db = { environment = \"DB\" }";
    let first = scan_texts(&app(named), text, &[secret("db", b"k7Rw-2mQx")]);
    let [finding] = first.findings.as_slice() else { panic!("{first:?}") };
    // How long it is, is told roughly.
    assert_eq!((finding.count, finding.length, finding.masked.as_str()), (3, 16, "***"));
    assert!(finding.to_string().contains("up to 16 bytes"), "{finding}");
    assert_eq!(finding.places[0], Seen { place: "a".into(), encoding: "UTF-8", count: 2, first: 3 });
    let error = first.verdict().unwrap_err().to_string();
    for said in
        [&finding.id, "1 secret in what shop", "apps/shop/app.toml", "docs/guide/safety.md", "a: 2 as UTF-8"]
    {
        assert!(error.contains(said), "`{said}` is not in {error}");
    }
    let allow =
        |id: &str| format!("{named}\nsecrets.allow = [{{ id = \"{id}\", reason = \"of the test realm\" }}]");
    let second = scan_texts(&app(&allow(&finding.id)), text, &[secret("db", b"k7Rw-2mQx")]);
    assert_eq!(second.findings[0].allowed.as_deref(), Some("of the test realm"));
    second.verdict().unwrap();
    assert!(second.summary().contains("nothing found beyond 1 allowed finding"), "{}", second.summary());
    assert_eq!(second.allowed_in_vain, [""; 0]);
    // Another value under the same name is not what was allowed.
    let other = scan_texts(&app(&allow(&finding.id)), &[("a", b"other-9Zq")], &[secret("db", b"other-9Zq")]);
    assert_eq!(other.allowed_in_vain, [finding.id.as_str()]);
    other.verdict().unwrap_err();
    // Nor is the same value of another application's.
    let elsewhere = load_text("other", Path::new("/w"), "app.toml", "source.jar = \"a.jar\"").unwrap().app;
    assert_ne!(scan_texts(&elsewhere, text, &[secret("db", b"k7Rw-2mQx")]).findings[0].id, finding.id);
}

/// What looks like a secret is told unless it is a part of one that lies in the same place.
#[test]
fn a_format_is_passed_over_inside_of_its_secret_alone() {
    let check = |text: &str, value: &str, expected: &[&str]| {
        let wide: Vec<u8> = text.bytes().flat_map(|byte| [byte, 0]).collect();
        for bytes in [text.as_bytes(), &wide] {
            let found = scan_texts(&app(""), &[("memory", bytes)], &[secret("it", value.as_bytes())]);
            assert_eq!(rules(&found), expected, "{text}: {found:?}");
        }
    };
    let url = "postgres://a:k7Rw2mQx@db/x";
    check(url, url, &["secret/it"]);
    check("postgresql://a:k7Rw2mQx@db/x", url, &["url-password"]);
    check(&format!("{url} postgresql://a:k7Rw2mQx@db/x"), url, &["secret/it", "url-password"]);
    // The password alone is the secret, and all of the finding.
    check(url, "k7Rw2mQx", &["secret/it"]);
    // A part of what was found is more than the secret.
    check("postgres://a:xk7Rw2mQx@db/x", "k7Rw2mQx", &["secret/it", "url-password"]);
    let key = formats::key();
    let chain = format!("{key}-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----");
    check(&key, &chain, &["private-key"]);
    check(&chain, &chain, &["secret/it"]);
    // The same bytes in another file are another place.
    let files: &[(&str, &[u8])] = &[("a", chain.as_bytes()), ("b", key.as_bytes())];
    let found = scan_texts(&app(""), files, &[secret("it", chain.as_bytes())]);
    assert_eq!(rules(&found), ["private-key", "secret/it"]);
    assert_eq!(found.findings[0].places.iter().map(|seen| seen.place.as_str()).collect::<Vec<_>>(), ["b"]);
}

/// What can be guessed is told in three digits, which many words of a dictionary have; what machines draw, in eight.
#[test]
fn an_identifier_says_little_of_what_can_be_guessed() {
    let text = "postgres://a:k7Rw2mQx@db/x AKIAZ7QX3LMNOP2R4TUV t0k3n-value";
    let app = app("environment.TOKEN = \"t0k3n-value\"");
    let found = scan_texts(&app, &[("memory", text.as_bytes())], &[secret("db", b"://a:k7R")]);
    let digits =
        |finding: &Finding| (finding.rule().to_owned(), finding.id.rsplit_once(':').unwrap().1.len());
    let expected = [("aws-access-key", 8), ("secret/db", 3), ("url-password", 3), ("variable/TOKEN", 3)];
    assert_eq!(
        found.findings.iter().map(digits).collect::<Vec<_>>(),
        expected.map(|(rule, digits)| (rule.to_owned(), digits))
    );
}

#[test]
fn a_secret_is_read_from_where_it_is_or_named_in_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("good", b"k7Rw-2mQx\r\n");
    write("short", b"abc12\n");
    write("same", b"aaaaaaabbbbb");
    write("empty", b"\n");
    write("long", &[b"0123456789abcdef".repeat(1 << 10), b"!".to_vec()].concat());
    write("binary", &[0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0x91]);
    let of = |from: SecretFrom| read(&[("db".to_owned(), from)].into(), folder.path());
    let file = |name: &str| of(SecretFrom::File(name.into()));
    assert_eq!(file("good").unwrap(), [secret("db", b"k7Rw-2mQx")]);
    assert_eq!(file("binary").unwrap()[0].value.bytes().len(), 9);
    assert!(of(SecretFrom::Environment("CARGO_PKG_VERSION_MAJOR".into())).is_err(), "one byte: 0");
    assert_eq!(of(SecretFrom::Environment("CARGO_MANIFEST_DIR".into())).unwrap().len(), 1);
    let check = |result: Result<Vec<Secret>, crate::diagnostic::InputError>, expected: &[&str]| {
        let error = result.unwrap_err().to_string();
        expected.iter().for_each(|said| assert!(error.contains(said), "`{said}` is not in {error}"));
        assert!(!error.contains("abc12") && !error.contains("aaaaaaa"), "{error}");
    };
    check(
        of(SecretFrom::Environment("XTASK_TEST_UNSET".into())),
        &["secrets.db", "XTASK_TEST_UNSET is not set"],
    );
    check(file("absent"), &["secrets.db: absent cannot be read"]);
    check(file("."), &["is no regular file"]);
    check(file("short"), &["its value has fewer than 6 bytes", "found by chance"]);
    check(file("same"), &["consists of one or two characters"]);
    check(file("empty"), &["its value is empty"]);
    check(file("long"), &["its value has more than 16 KiB"]);
}
