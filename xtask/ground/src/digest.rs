//! SHA-256 digests, written `sha256:<64 hex digits>` as OCI does.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digest of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Digest {
        Digest(Sha256::digest(bytes.as_ref()).into())
    }

    /// Digest and length of everything `reader` gives.
    pub fn of_reader(reader: &mut impl Read) -> io::Result<(Digest, u64)> {
        let mut hasher = Hasher::new(io::sink());
        io::copy(reader, &mut hasher)?;
        let (_, digest, length) = hasher.finish();
        Ok((digest, length))
    }

    /// Digest of a value's canonical JSON: two equal values have equal digests.
    pub fn of_value(value: &impl Serialize) -> Digest {
        // Maps in our types are BTreeMaps, so the JSON is canonical; serialising plain data cannot fail.
        Digest::of(serde_json::to_vec(value).expect("plain data serialises to JSON"))
    }

    /// The 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The first twelve digits, for people.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Digest, Self::Err> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        anyhow::ensure!(
            hex.len() == 64 && hex.bytes().all(lower),
            // What others wrote may be long, or meant for a terminal.
            "`{}` is no digest; expected `sha256:` and 64 lowercase hexadecimal digits",
            text.chars().take(200).collect::<String>().escape_debug()
        );
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair)?, 16)?;
        }
        Ok(Digest(digest))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A writer that hashes and counts what passes through it, so that nothing is read twice.
pub struct Hasher<W> {
    inner: W,
    state: Sha256,
    length: u64,
}

impl<W: Write> Hasher<W> {
    /// Hashes on the way into `inner`.
    pub fn new(inner: W) -> Self {
        Hasher { inner, state: Sha256::new(), length: 0 }
    }

    /// The writer, the digest and the number of bytes.
    pub fn finish(self) -> (W, Digest, u64) {
        (self.inner, Digest(self.state.finalize().into()), self.length)
    }
}

impl<W: Write> Write for Hasher<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.state.update(&buffer[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_what_it_writes() {
        let digest = Digest::of("abc");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert!(
            digest.to_string().contains("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
        for bad in ["", "sha256:", "sha256:XYZ", "md5:00", &digest.hex(), &digest.to_string().to_uppercase()]
        {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
