//! What a value of `[pin]` may be.

use super::check::{Checked, Wrong, is_printable};
use crate::signature::PublicKey;

/// A place for pins. Its form is `push`'s and `pull`'s to read; what is committed must hold no login.
pub fn remote(text: &str) -> Checked<String> {
    const PLACES: &str = "expected `registry.example.com/team/pins`, `oci:/folder` or nothing";
    if text.contains('@') {
        let wrong = Wrong::new("holds a user name or password", "expected a place without one")
            .help("app.toml is committed; log in with `podman login` or `docker login`");
        return Err(Wrong { secret: true, ..wrong });
    }
    match text.chars().all(|c| is_printable(c) && !c.is_whitespace()) {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new("holds a character that no place for pins has", PLACES)),
    }
}

/// A minisign public key.
pub fn public_key(text: &str) -> Checked<String> {
    match PublicKey::parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(Wrong::new("is not a minisign public key", "expected the second line of `minisign.pub`")
            .help("`minisign -G` makes a pair of keys; the public one begins with `RW`")),
    }
}
