//! Layers -> OCI image: config and manifest, as canonical JSON in the store.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::layer::Blob;
use super::oci::{self, Descriptor, Manifest, canonical_json};
use crate::digest::Digest;
use crate::rock::Rock;
use crate::store::Store;

/// When every image was created, as it says: [`super::layer::MTIME`].
const CREATED: &str = "1980-01-01T00:00:00Z";

/// What container engines set where an image says nothing; said, so that it is the same everywhere.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An image whose every blob is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Digest of the manifest: the image's name for ever.
    pub manifest: Digest,
    /// The manifest's size in bytes.
    pub manifest_size: u64,
    /// Digest of the config: what podman and docker call the image ID.
    pub config: Digest,
    /// The config's size in bytes.
    pub config_size: u64,
    /// Layers from the bottom up.
    pub layers: Vec<Blob>,
}

impl Image {
    /// Every blob once, by digest, with its size: manifest, config, layers.
    pub fn blobs(&self) -> BTreeMap<Digest, u64> {
        let documents = [(self.manifest, self.manifest_size), (self.config, self.config_size)];
        self.layers.iter().map(|layer| (layer.digest, layer.size)).chain(documents).collect()
    }

    /// Bytes of all blobs.
    pub fn size(&self) -> u64 {
        self.blobs().values().sum()
    }
}

/// Writes config and manifest of `rock` over `layers`, each with its title, from the bottom up.
pub fn write_image(store: &Store, rock: &Rock, layers: &[(&str, Blob)]) -> Result<Image> {
    let config = json!({
        "created": CREATED,
        "architecture": rock.architecture,
        "os": "linux",
        "config": run_config(rock),
        "rootfs": {
            "type": "layers",
            "diff_ids": layers.iter().map(|(_, blob)| blob.digest).collect::<Vec<_>>(),
        },
        "history": layers.iter().map(|(title, _)| history(title)).collect::<Vec<_>>(),
    });
    let (config, config_size) = store.add_bytes(&canonical_json(&config)?)?;

    let layers: Vec<Blob> = layers.iter().map(|(_, blob)| *blob).collect();
    let manifest = Manifest {
        schema_version: oci::SCHEMA_VERSION,
        media_type: Some(oci::MANIFEST.to_owned()),
        artifact_type: None,
        config: Descriptor::new(oci::CONFIG, config, config_size),
        layers: layers.iter().map(|blob| Descriptor::new(oci::LAYER, blob.digest, blob.size)).collect(),
        subject: None,
        annotations: Some(rock.labels.clone()),
    };
    let (manifest, manifest_size) = store.add_bytes(&canonical_json(&manifest)?)?;
    Ok(Image { manifest, manifest_size, config, config_size, layers })
}

fn run_config(rock: &Rock) -> Value {
    let mut environment = BTreeMap::from([("PATH", PATH)]);
    environment.extend(rock.environment.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    let ports: BTreeMap<String, Value> =
        rock.ports.iter().map(|port| (format!("{port}/tcp"), json!({}))).collect();
    json!({
        // Numeric: Kubernetes' runAsNonRoot cannot look into the image's /etc/passwd.
        "User": format!("{uid}:{uid}", uid = rock.uid),
        "ExposedPorts": ports,
        "Env": environment.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(),
        "Entrypoint": rock.entrypoint,
        "Cmd": rock.command,
        "Labels": rock.labels,
    })
}

/// What a config says of how a layer came about.
pub(super) fn history(title: &str) -> Value {
    json!({ "created": CREATED, "created_by": format!("xtask: {title}") })
}
