//! Variables of the container: whose value is taken for a secret.
//!
//! All of them are in the dump, in the block that the process was started with and wherever the application keeps copies. So a
//! variable that may be a secret is a reason to refuse, and any other is told, so that nobody overlooks it.
//!
//! | name | value | |
//! | --- | --- | --- |
//! | of the rock, the engine or the shell ([`OURS`]) | | not searched for; its name is listed |
//! | a word of [`SECRET_WORDS`], and no last word of [`HARMLESS_ENDS`] | not empty | refused |
//! | any other | drawn, as keys are ([`is_drawn`]) | refused |
//! | any other | shorter than six bytes, or one of [`COMMON`] | not searched for; its name is listed |
//! | any other | | searched for and told, with a warning |
//!
//! What is in a known format, as a URL with a password or JSON with one, is found as that besides, and refused.

use super::given::{Secret, Value, Weight, unfit};

/// Variables that the rock, the container engine, the JVM's image or a shell sets; `_` at the end stands for any that begin so.
pub const OURS: &[&str] = &[
    "PATH",
    "LANG",
    "LANGUAGE",
    "LC_",
    "TZ",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "SHLVL",
    "PWD",
    "OLDPWD",
    "TERM",
    "TMPDIR",
    "HOSTNAME",
    "_",
    "container",
    "CONTAINER",
    "NOTIFY_SOCKET",
    "PEBBLE",
    "PEBBLE_",
    "MALLOC_",
    "JAVA_HOME",
    "JAVA_VERSION",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
];
/// Words of a variable's name by which its value is taken for a secret.
pub const SECRET_WORDS: &[&str] = &[
    "PASSWORD",
    "PASSWD",
    "PASSWORT",
    "PASSPHRASE",
    "PASS",
    "PWD",
    "PW",
    "SECRET",
    "SECRETS",
    "TOKEN",
    "TOKENS",
    "KEY",
    "KEYS",
    "CREDENTIAL",
    "CREDENTIALS",
    "CREDS",
    "AUTH",
    "PAT",
    "PIN",
    "SALT",
    "PEPPER",
    "COOKIE",
    "JWT",
    "DSN",
];
/// Ends of a word that has no `_` before them: `DBPASSWORD`, `ACCESSKEY`.
const GLUED: &[&str] = &["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "KEY", "CREDENTIALS"];
/// Words that end as a secret does, and name none.
const OTHER_WORDS: &[&str] =
    &["MONKEY", "DONKEY", "TURKEY", "HOCKEY", "JOCKEY", "LACKEY", "WHISKEY", "HOTKEY", "PUBLICKEY", "AUTH0"];
/// Last words of a name that say it is about a secret, and none itself.
pub const HARMLESS_ENDS: &[&str] = &[
    "FILE",
    "PATH",
    "DIR",
    "HOME",
    "NAME",
    "ID",
    "ALIAS",
    "TYPE",
    "ENABLED",
    "ALGORITHM",
    "TTL",
    "EXPIRY",
    "TIMEOUT",
    "LENGTH",
    "SIZE",
    "ISSUER",
    "AUDIENCE",
    "DOMAIN",
    "HOST",
    "PORT",
    "USER",
    "USERNAME",
    "METHOD",
    "MODE",
    "HEADER",
];
/// Values that say nothing wherever they are found.
pub const COMMON: &[&str] = &[
    "default",
    "development",
    "disabled",
    "enabled",
    "localhost",
    "production",
    "staging",
    "testing",
    "warning",
    "verbose",
    "unlimited",
    "0.0.0.0",
    "127.0.0.1",
];

/// Whether a variable is set by the rock, or by what runs it.
pub fn is_ours(name: &str) -> bool {
    let begins = |prefix: &&str| prefix.len() > 1 && prefix.ends_with('_') && name.starts_with(*prefix);
    OURS.contains(&name) || OURS.iter().any(begins)
}

/// Whether a variable of the container is called like a secret.
pub fn is_secret(name: &str) -> bool {
    // camelCase has no place in a shell, but dots and dashes reach Java.
    let name = name.to_uppercase().replace(['.', '-'], "_");
    let bare = |word| -> &str {
        match OTHER_WORDS.contains(&word) {
            true => word,
            // `PASSWORD2`.
            false => word.trim_end_matches(|c: char| c.is_ascii_digit()),
        }
    };
    let words: Vec<&str> = name.split('_').map(bare).filter(|word| !word.is_empty()).collect();
    let shells = ["PWD", "OLDPWD"].contains(&name.as_str());
    let harmless = words.last().is_some_and(|last| words.len() > 1 && HARMLESS_ENDS.contains(last));
    let public = words.ends_with(&["PUBLIC", "KEY"]);
    let named = |word: &&str| {
        !OTHER_WORDS.contains(word)
            && (SECRET_WORDS.contains(word) || GLUED.iter().any(|end| word.ends_with(end)))
    };
    !shells && !harmless && !public && words.iter().any(named)
}

/// Whether a value looks drawn by a machine: 16 or more characters of base64 in upper and lower case with digits, which
/// change from one of the three to another in nearly every second place. Drawn ones do so in three of five places, words in one of
/// three, `eu-West1-Cluster2` too. Digests, UUIDs and versions have no upper case, or no lower.
fn is_drawn(value: &[u8]) -> bool {
    let kind = |byte: &u8| match byte {
        b'a'..=b'z' => Some(0),
        b'A'..=b'Z' => Some(1),
        b'0'..=b'9' => Some(2),
        _ => None,
    };
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=_-".contains(byte);
    let all = (0..3).all(|wanted| value.iter().any(|byte| kind(byte) == Some(wanted)));
    let pairs = value.windows(2).filter_map(|pair| Some((kind(&pair[0])?, kind(&pair[1])?)));
    let (changes, pairs) =
        pairs.fold((0, 0), |(changes, all), (a, b)| (changes + usize::from(a != b), all + 1));
    (16..=512).contains(&value.len()) && value.iter().all(base64) && all && changes * 20 >= pairs * 9
}

/// What is searched for of a variable, if anything.
pub(super) fn searched(name: &str, value: &[u8]) -> Option<Secret> {
    let text = String::from_utf8_lossy(value).to_lowercase();
    if is_ours(name) || value.is_empty() {
        return None;
    }
    let rule = format!("variable/{name}");
    let (weight, value) = match (is_secret(name), unfit(value)) {
        (true, None) => (Weight::Refused, value.to_vec()),
        // What is too short to be told from chance is known by the name before it.
        (true, Some(_)) => (Weight::Refused, [name.as_bytes(), b"=", value].concat()),
        (false, Some(_)) => return None,
        (false, None) if is_drawn(value) => (Weight::Refused, value.to_vec()),
        (false, None) if COMMON.contains(&text.as_str()) => return None,
        (false, None) => (Weight::Noted, value.to_vec()),
    };
    Some(Secret { rule, value: Value::new(value), weight })
}
