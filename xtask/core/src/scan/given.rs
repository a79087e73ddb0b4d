//! Values that are searched for: those that `[secrets]` names, from where this machine has them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::app::SecretFrom;
use crate::diagnostic::InputError;

/// The fewest bytes of a value that can be told from chance.
pub const SHORTEST: usize = 6;
/// The most: a key with its certificates.
pub const LONGEST: usize = 16 << 10;

/// A value that must not be shown. It has no way into a message: neither `Display` nor `Serialize`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value(Vec<u8>);

impl Value {
    pub(super) fn new(bytes: impl Into<Vec<u8>>) -> Value {
        Value(bytes.into())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "*** ({} bytes)", self.0.len())
    }
}

/// A value and what it is called: `secret/db-password`, `variable/DB_PASSWORD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// What begins the identifier of a finding.
    pub rule: String,
    /// Its value.
    pub value: Value,
    /// What it means that it is found.
    pub weight: Weight,
}

/// What it means that a value is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The dump is refused.
    Refused,
    /// It is told.
    Noted,
}

/// Reads the secrets that `[secrets]` names from where this machine has them. `folder` is the application's.
///
/// # Errors
/// Where a secret is not to be had here, or cannot be searched for: one that was not searched for would count as absent.
pub fn read(named: &BTreeMap<String, SecretFrom>, folder: &Path) -> Result<Vec<Secret>, InputError> {
    let read = |(name, from): (&String, &SecretFrom)| {
        let wrong = |what: String, help: &str| InputError::plain(format!("secrets.{name}: {what}"), help);
        let bytes = match from {
            SecretFrom::Environment(variable) => std::env::var_os(variable)
                .map(std::os::unix::ffi::OsStringExt::into_vec)
                .ok_or_else(|| {
                    wrong(
                        format!("the environment variable {variable} is not set on this machine"),
                        "set it, so that its value can be searched for; it goes nowhere else",
                    )
                })?,
            SecretFrom::File(path) => read_file(&folder.join(path)).map_err(|why| {
                wrong(
                    format!("{} {why}", path.display()),
                    "name a file of this machine whose whole content is the secret",
                )
            })?,
        };
        let value = trimmed(&bytes);
        match unfit(value) {
            None => Ok(Secret {
                rule: format!("secret/{name}"),
                value: Value::new(value),
                weight: Weight::Refused,
            }),
            Some(why) => Err(wrong(
                format!("its value {why}"),
                "a value that is found by chance in any memory cannot be searched for; use a longer one",
            )),
        }
    };
    named.iter().map(read).collect()
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::InvalidInput => "is no regular file".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let file = crate::workspace::open_file(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(LONGEST as u64 + 3).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Without the line break that editors and `echo` leave at the end.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// Why a value cannot be searched for.
pub(super) fn unfit(value: &[u8]) -> Option<String> {
    let distinct = value.iter().enumerate().filter(|(at, byte)| !value[..*at].contains(byte)).take(3).count();
    match value.len() {
        0 => Some("is empty".to_owned()),
        length if length < SHORTEST => Some(format!("has fewer than {SHORTEST} bytes")),
        length if length > LONGEST => Some(format!("has more than {} KiB", LONGEST >> 10)),
        _ if distinct < 3 => Some("consists of one or two characters".to_owned()),
        _ => None,
    }
}
