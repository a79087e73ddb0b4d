//! What a value of `[pin]` may be.

use super::check::{Checked, Wrong, is_printable};
use crate::remote::Remote;
use crate::signature::PublicKey;

/// A place for pins, without a login in it.
pub fn remote(text: &str) -> Checked<String> {
    const PLACES: &str = "expected `registry.example.com/team/pins`, `oci:/folder` or nothing";
    if text.contains('@') {
        let wrong = Wrong::new("holds a user name or password", "expected a place without one")
            .help("app.toml is committed; log in with `podman login` or `docker login`");
        return Err(Wrong { secret: true, ..wrong });
    }
    if !text.chars().all(|c| is_printable(c) && !c.is_whitespace()) {
        return Err(Wrong::new("holds a character that no place for pins has", PLACES));
    }
    // Whether plain HTTP may be spoken is said where it is spoken.
    match text.is_empty() || Remote::parse(text, true).is_ok() {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new("is no place for pins", PLACES)),
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
