//! Known formats: what each rule takes, in both encodings, and what it must leave alone.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::super::formats::base62_crc;
use super::*;

/// Characters that look drawn, the same for the same seed.
fn drawn(length: usize, seed: u32, alphabet: &str) -> String {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 12) as usize
    };
    (0..length).map(|_| alphabet.as_bytes()[next() % alphabet.len()] as char).collect()
}

const BASE32: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const HEX: &str = "0123456789abcdef";

fn bytes(length: usize, seed: u32) -> Vec<u8> {
    drawn(length * 2, seed, HEX)
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn pem(label: &str, body: &[u8], line: &str) -> String {
    let body = STANDARD.encode(body);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----{line}{}{line}-----END {label}-----{line}", lines.join(line))
}

/// PKCS#1 and PKCS#8 of a key that opens nothing: its numbers are drawn.
fn rsa() -> (Vec<u8>, Vec<u8>) {
    let number = |length: usize, seed| {
        let value = bytes(length, seed);
        [&[0x02, 0x82, (length >> 8) as u8, length as u8][..], &value].concat()
    };
    let modulus = [&[0x02, 0x82, 0x01, 0x01, 0x00][..], &bytes(256, 1)].concat();
    let parts = [
        [0x02, 0x01, 0x00].to_vec(),
        modulus,
        vec![0x02, 0x03, 1, 0, 1],
        number(256, 2),
        number(128, 3),
        number(128, 4),
        number(128, 5),
        number(128, 6),
        number(128, 7),
    ]
    .concat();
    let wrap = |tag: u8, content: &[u8]| {
        [&[tag, 0x82, (content.len() >> 8) as u8, content.len() as u8][..], content].concat()
    };
    let inner = wrap(0x30, &parts);
    let algorithm = b"\x02\x01\x00\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    let outer = wrap(0x30, &[&algorithm[..], &wrap(0x04, &inner)].concat());
    (inner, outer)
}

/// A private key in PEM.
pub(super) fn key() -> String {
    pem("PRIVATE KEY", &rsa().1, "\n")
}

fn jwt(header: &str, payload: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", part(header), part(payload), drawn(43, 9, ALNUM))
}

fn github(prefix: &str) -> String {
    let body = drawn(30, 5, ALNUM);
    format!("{prefix}{body}{}", String::from_utf8(base62_crc(body.as_bytes()).to_vec()).unwrap())
}

/// The claims of the token that every tutorial has.
const TUTORIAL: &str = "{\"sub\":\"1234567890\",\"name\":\"John Doe\",\"iat\":1516239022}";

fn hits() -> Vec<(&'static str, String)> {
    let (inner, outer) = rsa();
    let account = STANDARD.encode(bytes(64, 11));
    let bus = STANDARD.encode(bytes(32, 12));
    let signature = bus.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    vec![
        ("private-key", pem("PRIVATE KEY", &outer, "\n")),
        ("private-key", pem("PRIVATE KEY", &outer, "\r\n")),
        ("private-key", pem("RSA PRIVATE KEY", &inner, "\n")),
        ("private-key", format!("{{\"private_key\":\"{}\"}}", pem("PRIVATE KEY", &outer, "\\n"))),
        ("private-key", pem("PRIVATE KEY", &outer, "")),
        (
            "private-key",
            pem("OPENSSH PRIVATE KEY", &[b"openssh-key-v1\0", &bytes(200, 3)[..]].concat(), "\n"),
        ),
        ("private-key", pem("ENCRYPTED PRIVATE KEY", &outer, "\n")),
        ("private-key", pem("PGP PRIVATE KEY BLOCK", &bytes(200, 4), "\n")),
        ("aws-access-key", format!("AKIA{}", drawn(16, 1, BASE32))),
        ("aws-access-key", format!("ASIA{}", drawn(16, 2, BASE32))),
        ("aws-secret-key", format!("aws_secret_access_key = {}", drawn(40, 3, ALNUM))),
        ("aws-secret-key", format!("AWS_SECRET_ACCESS_KEY={}", drawn(40, 4, ALNUM))),
        ("aws-secret-key", format!("{{\"SecretAccessKey\": \"{}\"}}", drawn(40, 5, ALNUM))),
        ("aws-secret-key", format!("aws.secretKey={}", drawn(40, 6, ALNUM))),
        ("gcp-service-account", format!("\"private_key_id\": \"{}\"", drawn(40, 7, HEX))),
        ("gcp-api-key", format!("AIza{}", drawn(35, 8, ALNUM))),
        ("gcp-access-token", format!("ya29.{}", drawn(90, 9, ALNUM))),
        ("azure-key", format!("AccountName=a;AccountKey={account};EndpointSuffix=b")),
        ("azure-key", format!("Endpoint=sb://a;SharedAccessKey={bus}")),
        ("azure-sas", format!("?sv=2024-01-01&se=2030-01-01&sr=b&sp=r&sig={signature}")),
        ("azure-client-secret", format!("{}8Q~{}", drawn(3, 1, ALNUM), drawn(34, 2, ALNUM))),
        ("github-token", github("ghp_")),
        ("github-token", github("ghs_")),
        ("github-fine-grained-token", format!("github_pat_{}_{}", drawn(22, 1, ALNUM), drawn(59, 2, ALNUM))),
        ("gitlab-token", format!("glpat-{}", drawn(20, 3, ALNUM))),
        ("slack-token", format!("xoxb-{}-{}", drawn(12, 1, "0123456789"), drawn(24, 2, ALNUM))),
        (
            "slack-webhook",
            format!(
                "hooks.slack.com/services/T{}/B{}/{}",
                drawn(8, 1, BASE32),
                drawn(8, 2, BASE32),
                drawn(24, 3, ALNUM)
            ),
        ),
        ("stripe-key", format!("sk_live_{}", drawn(24, 4, ALNUM))),
        ("npm-token", format!("npm_{}", drawn(36, 5, ALNUM))),
        ("pypi-token", format!("pypi-AgEIcHlwaS5vcmc{}", drawn(60, 6, ALNUM))),
        ("sendgrid-key", format!("SG.{}.{}", drawn(22, 7, ALNUM), drawn(43, 8, ALNUM))),
        ("vault-token", format!("hvs.{}", drawn(24, 9, ALNUM))),
        ("digitalocean-token", format!("dop_v1_{}", drawn(64, 10, HEX))),
        ("docker-token", format!("dckr_pat_{}", drawn(27, 11, ALNUM))),
        ("grafana-token", format!("glsa_{}_{}", drawn(32, 12, ALNUM), drawn(8, 13, HEX))),
        ("llm-key", format!("sk-ant-api03-{}", drawn(80, 14, ALNUM))),
        ("age-key", format!("AGE-SECRET-KEY-1{}", drawn(58, 15, BASE32))),
        ("jwt", jwt("{\"alg\":\"RS256\"}", "{\"sub\":\"4711\"}")),
        ("jwt", jwt("{\"typ\":\"JWT\",\"alg\":\"ES256\",\"kid\":\"a\"}", "{\"sub\":\"4711\"}")),
        ("jwt", jwt("{\"alg\":\"HS256\",\"typ\":\"JWT\"}", TUTORIAL)),
        ("url-password", "postgres://app:Pa$$w0rd9@db/x".into()),
        ("url-password", "redis://:a[b]c{d}e|f*g@cache.internal:6379".into()),
        ("url-password", "postgresql://shop:k7Rw2mQx@db.internal:5432/shop".into()),
        ("url-password", "amqps://u:p%40ss9@[fd00::1]/v".into()),
        ("url-password", "http://u:pw7@10.0.0.1/".into()),
        ("connection-password", "jdbc:mysql://db/shop?user=a&password=k7Rw2mQx&ssl=true".into()),
        ("connection-password", "jdbc:sqlserver://db;user=sa;password=k7Rw2mQx;".into()),
        ("connection-password", "Server=db;Database=shop;User Id=sa;Pwd=k7Rw2mQx;".into()),
        ("property-password", "spring.datasource.password=k7Rw-2mQx".into()),
        ("property-password", "spring.security.oauth2.client.registration.a.client-secret: k7Rw-2mQx".into()),
        ("property-password", "spring.datasource.password=Pa$$w0rd9".into()),
        ("property-password", "spring.datasource.password={noop}k7Rw2mQx".into()),
        ("property-password", "spring.datasource.password=correct-horse-battery".into()),
        ("property-password", "spring.datasource.password=swordfish".into()),
        ("property-password", "db-password: correct-horse-battery".into()),
        ("property-password", "db-password: pass+word!by~hand".into()),
        ("property-password", "{\"password\": \"k7Rw-2mQx\"}".into()),
        ("property-password", "{\"password\":\"swordfish\"}".into()),
        ("property-password", "{\"client_secret\" : \"k7Rw-2mQx\"}".into()),
        ("property-password", "{\"json\":\"{\\\"password\\\":\\\"k7Rw-2mQx\\\"}\"}".into()),
        ("property-password", "-Djavax.net.ssl.keyStorePassword=k7Rw-2mQx".into()),
        ("authorization", format!("Authorization: Bearer {}", drawn(32, 1, ALNUM))),
        ("authorization", format!("authorization: Basic {}", STANDARD.encode("joan:k7Rw2mQx"))),
    ]
}

#[test]
fn every_rule_has_hits_in_every_encoding() {
    let hits = hits();
    let wrap = |bytes: &[u8]| [&[0, 0, 0, 7][..], bytes, &[0, 0, 1, 0]].concat();
    let mut missed = Vec::new();
    let mut expect = |rule: &str, shown: &str, bytes: &[u8], encoding: &str| {
        let found = scan_texts(&app(""), &[("memory", &wrap(bytes))], &[]);
        let as_it_is = |finding: &Finding| finding.places.iter().all(|seen| seen.encoding == encoding);
        if rules(&found) != [rule] || !found.findings.iter().all(as_it_is) {
            missed.push(format!("{rule} in {encoding}: {shown}: {:?}", found.findings));
        }
    };
    for (rule, text) in &hits {
        expect(rule, text, text.as_bytes(), "UTF-8 or Latin-1");
        let wide: Vec<u8> = text.bytes().flat_map(|byte| [byte, 0]).collect();
        expect(rule, text, &wide, "UTF-16");
        let wide: Vec<u8> = text.bytes().flat_map(|byte| [0, byte]).collect();
        expect(rule, text, &wide, "UTF-16");
    }
    let (inner, outer) = rsa();
    let ec = [&b"\x30\x81\x87\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x04\x6d"[..], &bytes(109, 8)].concat();
    let edwards =
        [&b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"[..], &bytes(32, 9)].concat();
    for key in [&inner, &outer, &ec, &edwards] {
        expect("private-key-der", "a key", key, "bytes");
    }
    assert_eq!(missed, [""; 0]);
    let tried: BTreeSet<&str> = hits.iter().map(|(rule, _)| *rule).chain(["private-key-der"]).collect();
    assert_eq!(tried, RULES.iter().map(|rule| rule.name).collect());
}

#[test]
fn what_only_looks_like_a_secret_is_left_alone() {
    let (inner, outer) = rsa();
    let key = pem("PRIVATE KEY", &outer, "\n");
    let good = github("ghp_");
    let mut spoilt = good.clone().into_bytes();
    *spoilt.last_mut().unwrap() ^= 1;
    let azurite = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let tutorial = format!(
        "{}.{}.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
        part("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"),
        part(TUTORIAL)
    );
    let text: Vec<String> = vec![
        // The JDK's constants, a certificate, a public key, a key that is cut off.
        "-----BEGIN PRIVATE KEY-----".into(),
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----".into(),
        "-----BEGIN RSA PRIVATE KEY-----\0-----END RSA PRIVATE KEY-----".into(),
        pem("CERTIFICATE", &outer, "\n"),
        pem("PUBLIC KEY", &outer, "\n"),
        key[..key.len() / 2].into(),
        "-----BEGIN PRIVATE KEY-----\nyour key goes here\n-----END PRIVATE KEY-----".into(),
        // Documentation.
        "AKIAIOSFODNN7EXAMPLE".into(),
        "AKIAXXXXXXXXXXXXXXXX".into(),
        format!("XAKIA{}", drawn(16, 1, BASE32)),
        format!("AKIA{}", drawn(17, 1, BASE32)),
        format!("AKIA{}", drawn(15, 1, BASE32)),
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
        "aws_secret_access_key = ${AWS_SECRET}".into(),
        format!("digest = {}", drawn(40, 1, HEX)),
        format!("\"private_key_id\": \"{}\"", "0".repeat(40)),
        format!("AIza{}", "x".repeat(35)),
        "ya29.short".into(),
        format!("AccountKey={azurite}"),
        "AccountKey=abc".into(),
        format!("?sig={}", drawn(43, 1, ALNUM)),
        format!("{}8Q~{}", drawn(3, 1, ALNUM), drawn(20, 2, ALNUM)),
        String::from_utf8(spoilt).unwrap(),
        good[..39].into(),
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx".into(),
        "github_pat_short".into(),
        "glpat-".into(),
        "xoxb-not-a-token".into(),
        "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX".into(),
        "sk_live_".into(),
        "npm_config_registry".into(),
        "pypi-AgEIcHlwaS5vcmc".into(),
        "SG.short.short".into(),
        "hvs.".into(),
        "dop_v1_nothex".into(),
        "dckr_pat_x".into(),
        "glsa_x".into(),
        "sk-ant-api03".into(),
        "AGE-SECRET-KEY-1QQQQ".into(),
        // Tokens of tutorials, of no algorithm, of no header, in two parts.
        tutorial,
        jwt("{\"alg\":\"none\"}", "{\"sub\":\"4711\"}"),
        jwt("{\"enc\":\"A256GCM\"}", "{\"sub\":\"4711\"}"),
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiI0NzExIn0".into(),
        "eyJust.some.words".into(),
        // URLs without a password, and with what stands for one.
        "https://docs.spring.io/spring-boot/".into(),
        "https://host.internal:8443/a@b".into(),
        "https://user@host.internal/".into(),
        "https://user:password@host.internal/".into(),
        "https://user:${PASSWORD}@host.internal/".into(),
        "https://user:***@host.internal/".into(),
        "http://user:k7Rw2mQx@example.com/".into(),
        "jdbc:mysql://db/shop?user=a&password=${PW}".into(),
        "jdbc:mysql://db/shop?user=a&password=".into(),
        "jdbc:h2:mem:shop;password=password".into(),
        "please give a password=k7 in the form".into(),
        "-Djavax.net.ssl.trustStorePassword=changeit".into(),
        "spring.datasource.password=".into(),
        "spring.datasource.password=${DB_PASSWORD}".into(),
        "server.ssl.key-store-password=<your password>".into(),
        "keyStorePassword=null".into(),
        // A sentence, a class, an object, another key, a method, a template.
        "enter the db-password: something".into(),
        "db.password: required by the server".into(),
        "client-secret: client-secret-basic".into(),
        "my.client.secret=client_secret_post_method".into(),
        "spring.datasource.password=spring.datasource.hikari".into(),
        "encoded-secret:com.example.Secret$Inner".into(),
        "keyStorePassword=[C@1b6d3586".into(),
        "my.secret=javax.crypto.spec.SecretKeySpec@1b6d3586".into(),
        "user.password=[PROTECTED]".into(),
        "user.password=#{secrets.password1}".into(),
        "user.password={{ db_password_1 }}".into(),
        "user.password=<password-1-of-db>".into(),
        "user.password=%PASSWORD1%".into(),
        "user.password=ab***********12".into(),
        "user.password=short".into(),
        "https://user:$DB_PASSWORD@host.internal/".into(),
        "https://user:{password1}@host.internal/".into(),
        "https://([^:]+):([^@]+)@h".into(),
        "{\"password\":\"string\"}".into(),
        "{\"password\":null,\"secret\":{\"type\":\"a1b2c3d4\"}}".into(),
        "{\"password\":\"\",\"k7Rw-2mQx\":1}".into(),
        "{\"password\":\"The password of 1 user\"}".into(),
        "[\"password\",\"k7Rw-2mQx\"]".into(),
        "Bearer token".into(),
        "WWW-Authenticate: Bearer realm=\"a-long-realm-of-spring-security\"".into(),
        "basic authentication".into(),
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".into(),
        "Basic AAAAAAAAAAAAAAAA".into(),
    ];
    let found: Vec<String> = text
        .iter()
        .filter_map(|text| {
            let wide: Vec<u8> = text.bytes().flat_map(|byte| [byte, 0]).collect();
            let scan = scan_texts(&app(""), &[("narrow", text.as_bytes()), ("wide", &wide)], &[]);
            (!scan.findings.is_empty()).then(|| format!("{text}: {:?}", rules(&scan)))
        })
        .collect();
    assert_eq!(found, [""; 0]);
    // Cut off, of another length, without what follows; a public key.
    let public = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
    let nothing = vec![0_u8; 3000];
    let zeros = [&outer[..40], &nothing].concat();
    for bytes in [&outer[..300], &inner[..300], &outer[4..30], &zeros, &[&public[..], &bytes(66, 1)].concat()]
    {
        let found = scan_texts(&app(""), &[("memory", bytes)], &[]);
        assert!(found.findings.is_empty(), "{found:?}");
    }
}

/// What follows a string in the heap is the next object's header, whose first byte may be a letter or a digit.
#[test]
fn the_length_of_an_array_ends_a_token() {
    let token = jwt("{\"alg\":\"RS256\"}", "{\"sub\":\"4711\"}");
    let array = |text: &str, next: u8| {
        [&u32::try_from(text.len()).unwrap().to_le_bytes()[..], text.as_bytes(), &[next, 0, 0, 0]].concat()
    };
    let twice = [array(&token, b'i'), vec![0; 9], array(&token, 1)].concat();
    let found = scan_texts(&app(""), &[("memory", &twice)], &[]);
    assert_eq!((rules(&found), found.findings[0].count), (vec!["jwt"], 2), "{found:?}");
    let line = "spring.mail.password=k7Rw-2mQx";
    let twice = [array(line, b'i'), vec![0; 9], array(line, 1)].concat();
    let found = scan_texts(&app(""), &[("memory", &twice)], &[]);
    assert_eq!((rules(&found), found.findings[0].count), (vec!["property-password"], 2), "{found:?}");
    for text in
        [github("ghp_"), format!("npm_{}", drawn(36, 5, ALNUM)), format!("AKIA{}", drawn(16, 1, BASE32))]
    {
        let found = scan_texts(&app(""), &[("memory", &array(&text, b'A'))], &[]);
        assert_eq!(found.findings.len(), 1, "{text}");
    }
}

#[test]
fn names_of_rules_are_names() {
    let names: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), RULES.len());
    for rule in RULES {
        assert!(rule.shown <= 4 && !rule.anchors.is_empty() && !rule.about.is_empty(), "{}", rule.name);
        assert!(rule.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", rule.name);
    }
}
