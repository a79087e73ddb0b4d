//! OCI archives of which every byte can be wrong.

use serde_json::{Value, json};
use xtask::digest::Digest;

use super::tar_bytes::{file, tar};

/// The media type of a plain layer.
pub const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// And of a compressed one.
pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Of a manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image before it is written: whoever changes it changes what is written of it.
pub struct Oci {
    /// The manifest.
    pub manifest: Value,
    /// Names and bytes of the files, without manifest and index.
    pub files: Vec<(String, Vec<u8>)>,
}

/// A descriptor of these bytes.
pub fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len() })
}

/// A blob by its digest.
pub fn blob(bytes: &[u8]) -> (String, Vec<u8>) {
    (format!("blobs/sha256/{}", Digest::of(bytes).hex()), bytes.to_vec())
}

/// A sound image of these layers.
pub fn oci(layers: &[(&str, Vec<u8>)]) -> Oci {
    let config =
        json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] } });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": layers.iter().map(|(kind, bytes)| descriptor(kind, bytes)).collect::<Vec<_>>(),
    });
    let mut files =
        vec![("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()), blob(&config)];
    files.extend(layers.iter().map(|(_, bytes)| blob(bytes)));
    Oci { manifest, files }
}

impl Oci {
    /// With another manifest.
    pub fn with(mut self, change: impl FnOnce(&mut Value)) -> Oci {
        change(&mut self.manifest);
        self
    }

    /// With one more file.
    pub fn and(mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Oci {
        self.files.push((name.into(), bytes.into()));
        self
    }

    /// The index that names the manifest.
    pub fn index(&self) -> Value {
        let manifest = descriptor(MANIFEST, self.manifest.to_string().as_bytes());
        json!({ "schemaVersion": 2, "manifests": [manifest] })
    }

    /// The archive.
    pub fn bytes(self) -> Vec<u8> {
        let index = self.index().to_string();
        self.bytes_with(index.as_bytes())
    }

    /// The archive with another index.
    pub fn bytes_with(self, index: &[u8]) -> Vec<u8> {
        let mut entries = vec![file("index.json", index)];
        let manifest = blob(self.manifest.to_string().as_bytes());
        entries.extend(self.files.iter().chain([&manifest]).map(|(name, bytes)| file(name, bytes)));
        tar(&entries)
    }
}
