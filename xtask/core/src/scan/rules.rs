//! Known formats of secrets: what each begins with, and what makes it more than that. A JVM holds documentation,
//! constants and test values of the same forms, so every candidate is held to its alphabet, length, checksum or content.

use std::ops::Range;

use super::formats as f;

/// A known format.
pub struct Rule {
    /// Its name, which begins the identifier of a finding.
    pub name: &'static str,
    /// What a person calls it.
    pub about: &'static str,
    /// What every such value has in or before it.
    pub anchors: &'static [&'static [u8]],
    /// Characters that may be shown of a value: those that all values share.
    pub shown: usize,
    /// Whether it is no text.
    pub binary: bool,
    /// The value around an anchor in a text.
    pub find: fn(&[u8], usize) -> Option<Range<usize>>,
}

macro_rules! rules {
    ($($name:literal, $about:literal, [$($anchor:literal),*], $shown:literal, $find:expr;)*) => {
        &[$(Rule {
            name: $name, about: $about, anchors: &[$($anchor),*], shown: $shown, binary: false, find: $find,
        },)* DER]
    };
}

/// Formats whose values people make up, and not machines alone.
const MADE_UP: &[&str] = &["url-password", "connection-password", "property-password", "authorization"];

/// Whether the values of a rule can be guessed: those of the formats that people make up, secrets of `[secrets]` and
/// variables.
pub(super) fn is_guessable(rule: &str) -> bool {
    rule.contains('/') || MADE_UP.contains(&rule)
}

/// Hexadecimal digits at the end of an identifier of this rule.
///
/// Identifiers end up in the logs of builds and in app.toml, and are the same everywhere: what is allowed on one machine is
/// allowed on all, so they cannot be keyed by what only one machine knows. Whoever has a dictionary can try its words on one. Of
/// what can be guessed, three digits are told: of ten million words some 2,500 have the same, and the identifier does
/// not say which it is. The price is that one value in 4,096 passes for one that is allowed. Keys and tokens are in
/// no dictionary, and have eight.
pub fn digits(rule: &str) -> usize {
    if is_guessable(rule) { 3 } else { 8 }
}

/// Keys as programs hold them, once they have read a file.
const DER: Rule = Rule {
    name: "private-key-der",
    about: "a private key in DER (PKCS#1, PKCS#8, SEC 1)",
    anchors: &[
        f::PKCS8_RSA,
        f::PKCS8_EC,
        f::PKCS8_ED25519,
        f::PKCS8_X25519,
        f::PKCS1_2048,
        f::PKCS1_3072,
        f::PKCS1_4096,
    ],
    shown: 0,
    binary: true,
    find: f::der,
};

/// All of them.
#[rustfmt::skip]
pub const RULES: &[Rule] = rules! {
    "private-key", "a private key in PEM (PKCS#1, PKCS#8, SEC 1, OpenSSH, PGP)", [b"PRIVATE KEY"], 0, f::pem;
    "aws-access-key", "an access key id of AWS", [b"AKIA", b"ASIA"], 4, f::aws_access_key;
    "aws-secret-key", "a secret access key of AWS, by the name before it",
        [b"ecret_access_key", b"ECRET_ACCESS_KEY", b"ecretAccessKey", b"ecretKey"], 0, f::aws_secret_key;
    "gcp-service-account", "the key of a service account of Google Cloud", [b"\"private_key_id\""], 0, f::gcp_account;
    "gcp-api-key", "an API key of Google", [b"AIza"], 4, |t, at| f::token(t, at, 4, f::word_dash, 35..=35);
    "gcp-access-token", "an access token of Google", [b"ya29."], 4, |t, at| f::token(t, at, 5, f::word_dash, 30..=2048);
    "azure-key", "the key of a storage account, bus or hub of Azure", [b"AccountKey=", b"SharedAccessKey="], 0, f::azure_key;
    "azure-sas", "a shared access signature of Azure", [b"&sig=", b"?sig="], 0, f::azure_sas;
    "azure-client-secret", "a client secret of Entra ID", [b"7Q~", b"8Q~"], 0, f::azure_client_secret;
    "github-token", "a token of GitHub", [b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"], 4, f::github;
    "github-fine-grained-token", "a fine-grained token of GitHub", [b"github_pat_"], 4,
        |t, at| f::token(t, at, 11, f::word, 82..=82);
    "gitlab-token", "a token of GitLab", [b"glpat-", b"gldt-", b"glrt-", b"glptt-"], 4, f::gitlab;
    "slack-token", "a token of Slack", [b"xoxb-", b"xoxp-", b"xoxa-", b"xoxs-", b"xoxr-", b"xapp-"], 4,
        |t, at| f::token(t, at, 5, f::alnum_dash, 20..=255);
    "slack-webhook", "a webhook of Slack", [b"hooks.slack.com/services/"], 0, f::slack_webhook;
    "stripe-key", "a live key or webhook secret of Stripe", [b"sk_live_", b"rk_live_", b"whsec_"], 3, f::stripe;
    "npm-token", "a token of npm", [b"npm_"], 4, |t, at| f::token(t, at, 4, f::alnum, 36..=36);
    "pypi-token", "a token of PyPI", [b"pypi-AgE"], 4, |t, at| f::token(t, at, 8, f::word_dash, 50..=1024);
    "sendgrid-key", "a key of SendGrid", [b"SG."], 3, f::sendgrid;
    "vault-token", "a token of Vault", [b"hvs.", b"hvb."], 4, |t, at| f::token(t, at, 4, f::word_dash, 24..=512);
    "digitalocean-token", "a token of DigitalOcean", [b"dop_v1_"], 4, |t, at| f::token(t, at, 7, f::hex, 64..=64);
    "docker-token", "a token of Docker Hub", [b"dckr_pat_"], 4, |t, at| f::token(t, at, 9, f::word_dash, 27..=64);
    "grafana-token", "a token of Grafana", [b"glsa_", b"glc_eyJ"], 4, |t, at| f::token(t, at, 5, f::word_dash, 32..=512);
    "llm-key", "a key of a language model's API", [b"sk-ant-", b"sk-proj-"], 3, |t, at| f::token(t, at, 7, f::word_dash, 40..=256);
    "age-key", "a secret key of age", [b"AGE-SECRET-KEY-1"], 3, |t, at| f::token(t, at, 16, f::alnum, 58..=58);
    "jwt", "a JSON Web Token", [b"eyJ"], 3, f::jwt;
    "url-password", "a password in a URL", [b"://"], 0, f::url_password;
    "connection-password", "a password in a JDBC URL or a connection string", [b"assword=", b"pwd=", b"Pwd="], 0, f::connection;
    "property-password", "a password or secret behind the name of its property",
        [b"assword=", b"assword:", b"assword\"", b"assword\\\"", b"ecret=", b"ecret:", b"ecret\"", b"ecret\\\""], 0, f::property;
    "authorization", "the value of an Authorization header", [b"earer ", b"asic "], 0, f::authorization;
};
