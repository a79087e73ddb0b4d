//! Signatures of pins, in the form of minisign: `minisign -V -m checkpoint.lock -P KEY` reads them as well.
//!
//! The lock names everything by digest, the data, the base and both rocks, so a signature of the lock is one of all of
//! it. The signature lies beside the lock and is committed with it. A secret key is read, used and forgotten.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use fs_err as fs;
use minisign::{SecretKey, SecretKeyBox, SignatureBox};

use crate::workspace::{open_file, write_whole};

/// A public key that pins may be signed by.
pub struct PublicKey(minisign::PublicKey);

impl PublicKey {
    /// A key as minisign writes it on the second line of its file.
    pub fn parse(text: &str) -> Option<PublicKey> {
        minisign::PublicKey::from_base64(text).ok().map(PublicKey)
    }
}

/// Where the signature of a lock lies.
pub fn path(lock: &Path) -> PathBuf {
    let mut name = lock.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

/// Signs a lock's text with the key of a file and writes the signature beside the lock. `password` opens an encrypted
/// key; without it the terminal is asked.
pub fn sign(lock: &Path, text: &str, key: &Path, password: Option<String>) -> Result<PathBuf> {
    let key = secret_key(key, password)?;
    // Checked at once: a key that is damaged would make signatures that nobody takes.
    let public = minisign::PublicKey::from_secret_key(&key)?;
    let signature =
        minisign::sign(Some(&public), &key, text.as_bytes(), Some(&comment(lock)), Some("cargo xtask sign"))?;
    let path = path(lock);
    write_whole(&path, signature.to_string().as_bytes(), 0o644)?;
    Ok(path)
}

/// Signed along with the lock: which one it is, for whoever finds the signature alone.
fn comment(lock: &Path) -> String {
    let names: Vec<_> = lock.iter().rev().take(2).map(|name| name.to_string_lossy()).collect();
    names.into_iter().rev().collect::<Vec<_>>().join("/")
}

fn secret_key(file: &Path, password: Option<String>) -> Result<SecretKey> {
    let text = std::io::read_to_string(open_file(file)?)?;
    let no_key = || format!("{} is no secret key of minisign; `minisign -G` makes one", file.display());
    let encoded = text.lines().nth(1).with_context(no_key)?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).with_context(no_key)?;
    // minisign leaves the checksum of a key without a password empty, which the crate would take for damage.
    let key = SecretKey::from_bytes(&bytes).with_context(no_key)?;
    if !key.is_encrypted() {
        return Ok(key);
    }
    let asked = password.is_none();
    SecretKeyBox::from_string(&text).with_context(no_key)?.into_secret_key(password).map_err(|error| {
        let help = if asked { "; XTASK_KEY_PASSWORD holds it where nobody can be asked" } else { "" };
        anyhow!("{} cannot be opened: {error}{help}", file.display())
    })
}

/// Whether one of `keys` has signed this text of the lock at `lock`. No keys: nothing is asked for.
pub fn check(lock: &Path, text: &str, keys: &[String]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let path = path(lock);
    let signature = match fs::read_to_string(&path) {
        Ok(signature) => signature,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "{} is not signed, and pin.signed-by wants a signature; `cargo xtask sign` makes one",
            lock.display()
        ),
        Err(error) => return Err(error.into()),
    };
    check_text(text, &signature, keys).with_context(|| format!("{} is not to be trusted", lock.display()))
}

/// Whether one of `keys` has made this signature of this text.
pub fn check_text(text: &str, signature: &str, keys: &[String]) -> Result<()> {
    let signature =
        SignatureBox::from_string(signature).map_err(|error| anyhow!("its signature is none: {error}"))?;
    let mut keys = keys.iter().filter_map(|key| PublicKey::parse(key));
    let verified = |PublicKey(key): PublicKey| {
        minisign::verify(&key, &signature, std::io::Cursor::new(text), true, false, false).is_ok()
    };
    if keys.any(verified) {
        return Ok(());
    }
    bail!(
        "no key of pin.signed-by has made its signature; the pin or the signature was changed, or another key signed"
    )
}

#[cfg(test)]
mod tests {
    use minisign::KeyPair;

    use super::*;

    fn pair(folder: &Path, password: Option<&str>) -> (PathBuf, String) {
        let pair = match password {
            Some(password) => KeyPair::generate_encrypted_keypair(Some(password.to_owned())).unwrap(),
            None => KeyPair::generate_unencrypted_keypair().unwrap(),
        };
        let file = folder.join(format!("{}.key", pair.pk.to_base64().len() + password.map_or(0, str::len)));
        std::fs::write(&file, pair.sk.to_box(None).unwrap().to_string()).unwrap();
        (file, pair.pk.to_base64())
    }

    #[track_caller]
    fn refused(result: Result<()>, phrase: &str) {
        let error = format!("{:#}", result.unwrap_err());
        assert!(error.contains(phrase), "{error}");
    }

    #[test]
    fn what_is_signed_is_trusted_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("shop/checkpoint.lock");
        let (key, public) = pair(folder.path(), None);
        let (_, other) = pair(&folder.path().join(".."), None);
        let keys = |keys: &[&String]| keys.iter().map(|key| (*key).clone()).collect::<Vec<_>>();
        check(&lock, "text", &[]).unwrap();
        refused(check(&lock, "text", &keys(&[&public])), "is not signed, and pin.signed-by wants");
        let written = sign(&lock, "text", &key, None).unwrap();
        assert_eq!(written, folder.path().join("shop/checkpoint.lock.minisig"));
        check(&lock, "text", &keys(&[&public])).unwrap();
        check(&lock, "text", &keys(&[&other, &public])).unwrap();
        refused(check(&lock, "texT", &keys(&[&public])), "no key of pin.signed-by has made its signature");
        refused(check(&lock, "text", &keys(&[&other])), "no key of pin.signed-by");
        // Every byte of the signature counts, but for the comment that is called untrusted.
        let signature = std::fs::read_to_string(&written).unwrap();
        let start = signature.find('\n').unwrap() + 1;
        for at in start..signature.len() - 1 {
            let mut bytes = signature.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let accepted = check_text("text", &changed, &keys(&[&public])).is_ok();
            assert!(!accepted, "byte {at} of {signature:?}");
        }
    }

    #[test]
    fn a_key_behind_a_password() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("checkpoint.lock");
        let (key, public) = pair(folder.path(), Some("open sesame"));
        let wrong = sign(&lock, "text", &key, Some("open barley".into())).map(drop);
        refused(wrong, "cannot be opened: Wrong password");
        sign(&lock, "text", &key, Some("open sesame".into())).unwrap();
        check(&lock, "text", &[public]).unwrap();
        let no_key = folder.path().join("no.key");
        std::fs::write(&no_key, "hello").unwrap();
        refused(sign(&lock, "text", &no_key, None).map(drop), "no.key is no secret key of minisign");
    }
}
