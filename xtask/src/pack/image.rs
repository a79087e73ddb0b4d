//! Layers -> OCI image: config and manifest, as canonical JSON in the store.

use std::collections::BTreeMap;

use anyhow::Result;
use oci_spec::image::{
    Config, ConfigBuilder, Descriptor, History, HistoryBuilder, ImageConfigurationBuilder,
    ImageManifestBuilder, MediaType, RootFsBuilder, SCHEMA_VERSION, Sha256Digest,
};
use serde::Serialize;

use super::layer::Blob;
use crate::digest::Digest;
use crate::rock::Rock;
use crate::store::Store;

/// When every image was created, as it says: [`super::layer::MTIME`].
pub(super) const CREATED: &str = "1980-01-01T00:00:00Z";

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
    let history = layers.iter().map(|(title, _)| history(title)).collect::<Result<Vec<_>>>()?;
    let diff_ids: Vec<_> = layers.iter().map(|(_, blob)| blob.digest.to_string()).collect();
    let config = ImageConfigurationBuilder::default()
        .created(CREATED)
        .architecture(rock.architecture.as_str())
        .os("linux")
        .config(run_config(rock)?)
        .rootfs(RootFsBuilder::default().typ("layers").diff_ids(diff_ids).build()?)
        .history(history)
        .build()?;
    let (config, config_size) = store.add_bytes(&canonical_json(&config)?)?;

    let blobs: Vec<Blob> = layers.iter().map(|(_, blob)| *blob).collect();
    let describe = |blob: &Blob| descriptor(MediaType::ImageLayer, blob.digest, blob.size);
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(descriptor(MediaType::ImageConfig, config, config_size)?)
        .layers(blobs.iter().map(describe).collect::<Result<Vec<_>>>()?)
        .annotations(rock.labels.clone().into_iter().collect::<std::collections::HashMap<_, _>>())
        .build()?;
    let (manifest, manifest_size) = store.add_bytes(&canonical_json(&manifest)?)?;
    Ok(Image { manifest, manifest_size, config, config_size, layers: blobs })
}

fn run_config(rock: &Rock) -> Result<Config> {
    let mut environment = BTreeMap::from([("PATH", PATH)]);
    environment.extend(rock.environment.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    let config = ConfigBuilder::default()
        // Numeric: Kubernetes' runAsNonRoot cannot look into the image's /etc/passwd.
        .user(format!("{uid}:{uid}", uid = rock.uid))
        .exposed_ports(rock.ports.iter().map(|port| format!("{port}/tcp")).collect::<Vec<_>>())
        .env(environment.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>())
        .entrypoint(rock.entrypoint.clone())
        .cmd(rock.command.clone())
        .labels(rock.labels.clone().into_iter().collect::<std::collections::HashMap<_, _>>())
        .build()?;
    Ok(config)
}

fn history(title: &str) -> Result<History> {
    Ok(HistoryBuilder::default().created(CREATED).created_by(format!("xtask: {title}")).build()?)
}

pub(crate) fn descriptor(kind: MediaType, digest: Digest, size: u64) -> Result<Descriptor> {
    Ok(Descriptor::new(kind, size, digest.hex().parse::<Sha256Digest>()?))
}

/// JSON with every object's keys sorted: oci-spec keeps labels and annotations in hash maps, whose order
/// changes from run to run.
pub(crate) fn canonical_json(value: &impl Serialize) -> Result<Vec<u8>> {
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
}
