//! The part of CycloneDX 1.6 that is written: components, their hashes, and what holds what.
//!
//! Types of our own, because those of others cost more than they give: `serde-cyclonedx` 0.10 generates 1.4 to 1.6 whole
//! from their schemas in its build script (over a minute on two cores, and an error unless another crate turns on serde's
//! `derive`), `cyclonedx-bom` 0.8 brings some fifty crates. A test holds what is written here to the official schema.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde::Serialize;

use crate::digest::Digest;

/// What this tool's own properties are called, as the specification wants it: with a namespace.
const NAMESPACE: &str = "xtask";

/// A thing in the rock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// `application`, `library`, `container` or `data`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What other parts of the document call it; unique.
    #[serde(rename = "bom-ref")]
    pub reference: String,
    /// Maven's group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its name.
    pub name: String,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Digests of its bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hashes: Vec<Hash>,
    /// Its purl, where all that a purl needs is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purl: Option<String>,
    /// What CycloneDX has no field for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<Property>,
}

/// A digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hash {
    alg: &'static str,
    content: String,
}

/// A name and a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Property {
    /// Begins with `xtask:`.
    pub name: String,
    /// Any text.
    pub value: String,
}

impl Component {
    /// A component of which nothing but its name is known yet.
    pub fn new(kind: &'static str, reference: String, name: &str) -> Component {
        let (hashes, properties) = (Vec::new(), Vec::new());
        let name = name.to_owned();
        Component { kind, reference, group: None, name, version: None, hashes, purl: None, properties }
    }

    /// Adds the digest of its bytes.
    pub fn hash(&mut self, digest: &Digest) {
        self.hashes.push(Hash { alg: "SHA-256", content: digest.hex() });
    }

    /// Adds a property of this tool's.
    pub fn property(&mut self, name: &str, value: impl ToString) {
        self.properties.push(Property { name: format!("{NAMESPACE}:{name}"), value: value.to_string() });
    }
}

/// A bill of materials, as it grows.
#[derive(Debug)]
pub struct Document {
    main: Component,
    created: String,
    components: BTreeMap<String, Component>,
    dependencies: BTreeMap<String, BTreeSet<String>>,
}

impl Document {
    /// That of one thing, which was made at this time.
    pub fn new(main: Component, created: &str) -> Document {
        let created = created.to_owned();
        Document { main, created, components: BTreeMap::new(), dependencies: BTreeMap::new() }
    }

    /// The reference of what it is all about.
    pub fn main(&self) -> String {
        self.main.reference.clone()
    }

    /// Adds a part of what `holder` refers to, and returns the part's reference. Two parts may want the same reference,
    /// such as two names in a hostile jar: the later gets a number.
    pub fn add(&mut self, holder: &str, mut component: Component) -> String {
        let wanted = component.reference.clone();
        for number in 2_u64.. {
            if component.reference != self.main.reference
                && !self.components.contains_key(&component.reference)
            {
                break;
            }
            component.reference = format!("{wanted}#{number}");
        }
        let reference = component.reference.clone();
        self.dependencies.entry(holder.to_owned()).or_default().insert(reference.clone());
        self.components.insert(reference.clone(), component);
        reference
    }

    /// How many components there are beside the main one.
    pub fn components(&self) -> usize {
        self.components.len()
    }

    /// JSON with sorted keys and components; `seed` decides the serial number.
    pub fn json(&self, seed: &Digest) -> Result<Vec<u8>> {
        #[derive(Serialize)]
        struct Dependency<'a> {
            #[serde(rename = "ref")]
            reference: &'a String,
            #[serde(rename = "dependsOn")]
            depends_on: &'a BTreeSet<String>,
        }
        let dependency = |(reference, depends_on)| Dependency { reference, depends_on };
        let tool = Component {
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            ..Component::new("application", "xtask".into(), "xtask")
        };
        let value = serde_json::json!({
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": serial_number(seed),
            "version": 1,
            "metadata": {
                "timestamp": self.created,
                "tools": { "components": [tool] },
                "component": self.main,
            },
            "components": self.components.values().collect::<Vec<_>>(),
            "dependencies": self.dependencies.iter().map(dependency).collect::<Vec<_>>(),
        });
        // A `Value` keeps its keys sorted, so that these bytes do not change with the order of our fields.
        let mut bytes = serde_json::to_vec_pretty(&value)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// A UUID of version 8 (RFC 9562): one whose bits are ours to choose. No clock and no random number takes part.
fn serial_number(seed: &Digest) -> String {
    let hex = Digest::of(format!("{NAMESPACE}:sbom:{seed}")).hex();
    format!("urn:uuid:{}-{}-8{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_is_unique() {
        let part = |name: &str| Component::new("library", name.into(), name);
        let mut document = Document::new(part("rock"), "2026-01-01T00:00:00Z");
        let added = ["a", "a", "rock", "a#2", "a"].map(|name| document.add("rock", part(name)));
        assert_eq!(added, ["a", "a#2", "rock#2", "a#2#2", "a#3"]);
        assert_eq!(document.components(), 5);
    }

    #[test]
    fn serial_numbers_differ_with_the_seed() {
        let (one, other) = (serial_number(&Digest::of("1")), serial_number(&Digest::of("2")));
        assert_eq!(one, serial_number(&Digest::of("1")));
        assert_ne!(one, other);
        let groups: Vec<usize> = one.trim_start_matches("urn:uuid:").split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
    }
}
