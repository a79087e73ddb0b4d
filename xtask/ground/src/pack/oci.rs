//! OCI's documents: as much of the image and distribution specifications (1.1) as images and artifacts need.
//!
//! Why not the `oci-spec` crate: its builders and its regular expression are 26 more crates, an eighth of a clean build, and
//! it keeps labels and annotations in hash maps.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The version that every manifest and index states.
pub const SCHEMA_VERSION: u32 = 2;
/// What an image layout states of itself.
pub const LAYOUT_VERSION: &str = "1.0.0";

/// Media type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an image's manifest, and of an artifact's.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an image's config.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of an uncompressed layer.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Media type of the config of what is no image.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// The annotation that names a manifest in a layout's index.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation that names a blob for people.
pub const TITLE: &str = "org.opencontainers.image.title";

/// What is said of anything.
pub type Annotations = BTreeMap<String, String>;

/// What names a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What its bytes are.
    pub media_type: String,
    /// Their digest; other algorithms are not taken.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

impl Descriptor {
    /// A blob without annotations.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Descriptor {
        Descriptor { media_type: media_type.to_owned(), digest, size, annotations: None }
    }
}

/// The manifest of an image or an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// [`MANIFEST`], where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What an artifact is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// How an image is run.
    pub config: Descriptor,
    /// From the bottom up.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// What is said of the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

/// An index, as a layout or an archive has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// [`INDEX`], where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests in it.
    pub manifests: Vec<Descriptor>,
}

/// JSON with every object's keys sorted, so that the same value is the same bytes whatever the order of its fields.
pub fn canonical_json(value: &impl Serialize) -> Result<Vec<u8>> {
    // serde_json's Map is a BTreeMap unless some crate turns on `preserve_order`; a test would see it.
    Ok(serde_json::to_vec(&serde_json::to_value(value)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_sorted() {
        let value = std::collections::HashMap::from([("b", 1), ("c", 2), ("a", 3), ("d", 4)]);
        assert_eq!(canonical_json(&value).unwrap(), br#"{"a":3,"b":1,"c":2,"d":4}"#);
        #[derive(Serialize)]
        struct Unsorted {
            z: u8,
            a: u8,
        }
        assert_eq!(canonical_json(&Unsorted { z: 1, a: 2 }).unwrap(), br#"{"a":2,"z":1}"#);
    }

    #[test]
    fn what_others_say_besides_is_passed_over_and_what_is_needed_must_be_there() {
        let good = format!(
            r#"{{"mediaType":"{LAYER}","digest":"{}","size":1,"platform":{{"os":"linux"}}}}"#,
            Digest::of("x")
        );
        let read = |text: &str| serde_json::from_str::<Descriptor>(text);
        assert_eq!(read(&good).unwrap(), Descriptor::new(LAYER, Digest::of("x"), 1));
        for (from, to) in [
            ("\"size\":1", "\"size\":-1"),
            ("\"size\":1", "\"size\":99999999999999999999"),
            ("\"size\":1,", ""),
            ("sha256:", "sha512:"),
            ("sha256:", "../"),
            ("mediaType", "kind"),
        ] {
            assert!(good.contains(from), "{from}");
            assert!(read(&good.replace(from, to)).is_err(), "{to}");
        }
    }
}
