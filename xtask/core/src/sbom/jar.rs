//! A jar and the jars inside it, each with the coordinates that it states of itself.
//!
//! In this order: Maven's pom.properties, where there is exactly one, or exactly one that belongs to the file's name (a
//! shaded jar holds those of others, too); the manifest; the file's name. Only the first, and a manifest with
//! Implementation-Vendor-Id, states a group. Without a group there is no purl: a guessed one would be another package.
//!
//! A jar comes from outside, so nothing in it is believed: what is read of it is limited in size and number, names are
//! taken from it only if they are plain, and a nested jar that cannot be read is listed by file name, with its digest
//! where it has come that far, and the reason.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, Result, ensure};

use super::document::Component;
use super::purl::purl;
use super::zip::Zip;
use crate::digest::Digest;

/// Where Spring Boot, and a war, have their libraries.
const LIBRARIES: [&str; 3] = ["BOOT-INF/lib/", "WEB-INF/lib/", "WEB-INF/lib-provided/"];
/// The largest nested jar that is read, unpacked.
const NESTED: u64 = 256 << 20;
/// All nested jars together, unpacked.
const TOTAL: u64 = 2 << 30;
/// More of them are refused: the document would be of no use.
const COUNT: usize = 10_000;
/// The largest manifest or pom.properties.
const TEXT: u64 = 1 << 20;
/// Of more pom.properties than that, none is looked at.
const POMS: usize = 500;

/// The jar at `path`, and those in it.
///
/// # Errors
/// Where it holds more jars than any application has.
pub fn components(path: &str, bytes: &[u8]) -> Result<(Component, Vec<Component>)> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let mut jar = Component::new("application", format!("jar:{path}"), file);
    jar.hash(&Digest::of(bytes));
    let zip = match Zip::new(bytes) {
        Ok(zip) => zip,
        Err(error) => {
            jar.property("unread", format!("{error:#}"));
            return Ok((jar, Vec::new()));
        }
    };
    // The rock's name for it is not its own.
    describe(&mut jar, Coordinates::of(&zip, ""));
    let nested: Vec<(usize, &str)> = zip.names().filter(|(_, name)| is_library(name)).collect();
    ensure!(nested.len() <= COUNT, "{path} holds {} jars; more than {COUNT} are not listed", nested.len());
    let mut left = TOTAL;
    let components = nested.into_iter().map(|entry| library(&zip, entry, path, &mut left)).collect();
    Ok((jar, components))
}

fn is_library(name: &str) -> bool {
    name.ends_with(".jar") && LIBRARIES.iter().any(|folder| name.starts_with(folder))
}

/// A nested jar. `left` is how many bytes may still be unpacked.
fn library(zip: &Zip<'_>, (index, name): (usize, &str), outer: &str, left: &mut u64) -> Component {
    let file = name.rsplit('/').next().unwrap_or(name);
    let mut component = Component::new("library", format!("jar:{outer}!/{name}"), file);
    let mut read = || -> Result<Vec<u8>> {
        let limit = NESTED.min(*left);
        let bytes = limited(zip.read(index)?, limit)
            .with_context(|| format!("more than {limit} bytes of it are not read"))?;
        *left -= bytes.len() as u64;
        Ok(bytes)
    };
    let found = read().and_then(|bytes| {
        component.hash(&Digest::of(&bytes));
        Ok(Coordinates::of(&Zip::new(&bytes)?, file))
    });
    match found {
        Ok(coordinates) => describe(&mut component, coordinates),
        Err(error) => component.property("unread", format!("{error:#}")),
    }
    component
}

/// All of a reader, unless it is more than `limit` bytes, whatever it claims to be.
fn limited(reader: impl Read, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= limit, "it is too large");
    Ok(bytes)
}

fn describe(component: &mut Component, coordinates: Coordinates) {
    let Coordinates { group, name, version } = coordinates;
    if let Some(name) = name {
        if let Some(group) = &group {
            let version = version.as_deref().unwrap_or_default();
            component.purl = Some(purl("maven", group, &name, version, &[("type", "jar")]));
        }
        component.name = name;
    }
    component.group = group;
    component.version = version;
}

/// What a jar calls itself.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Coordinates {
    group: Option<String>,
    name: Option<String>,
    version: Option<String>,
}

impl Coordinates {
    fn of(zip: &Zip<'_>, file: &str) -> Coordinates {
        let stem = file.strip_suffix(".jar").unwrap_or(file);
        Coordinates::of_pom(zip, stem).unwrap_or_else(|| Coordinates::of_manifest(zip, stem))
    }

    fn of_pom(zip: &Zip<'_>, stem: &str) -> Option<Coordinates> {
        let is_pom = |name: &str| name.starts_with("META-INF/maven/") && name.ends_with("/pom.properties");
        let names: Vec<_> = zip.names().filter(|(_, name)| is_pom(name)).take(POMS + 1).collect();
        if names.len() > POMS {
            return None;
        }
        let read = names.into_iter().filter_map(|(index, _)| {
            let text = limited(zip.read(index).ok()?, TEXT).ok()?;
            let mut fields = properties(&String::from_utf8_lossy(&text));
            let mut field = |name: &str| fields.remove(name).filter(|value| is_plain(value));
            let (group, name, version) = (field("groupId")?, field("artifactId")?, field("version")?);
            Some(Coordinates { group: Some(group), name: Some(name), version: Some(version) })
        });
        let mut poms: Vec<Coordinates> = read.collect();
        if poms.len() > 1 {
            poms.retain(|pom| Some(stem) == pom.stem().as_deref());
        }
        poms.pop().filter(|_| poms.is_empty())
    }

    fn of_manifest(zip: &Zip<'_>, stem: &str) -> Coordinates {
        let read = || limited(zip.read(zip.find("META-INF/MANIFEST.MF")?).ok()?, TEXT).ok();
        let mut fields = manifest(&String::from_utf8_lossy(&read().unwrap_or_default()));
        let mut field = |name: &str| fields.remove(name).filter(|value| is_plain(value));
        // `;singleton:=true` and the like follow the name.
        let symbolic = field("Bundle-SymbolicName").or_else(|| field("Implementation-Title"));
        let version = field("Implementation-Version").or_else(|| field("Bundle-Version"));
        let group = field("Implementation-Vendor-Id");
        // Maven and Gradle name a file after the artifact, which need not be what its manifest calls it.
        let by_version = version.as_deref().and_then(|version| stem.strip_suffix(version)?.strip_suffix('-'));
        match (by_version, symbolic) {
            (Some(name), _) => Coordinates { group, name: Some(name.to_owned()), version },
            (None, Some(name)) => Coordinates { group: None, name: Some(name), version },
            (None, None) => Coordinates::of_name(stem),
        }
    }

    /// `NAME-VERSION`, where a version begins with a digit.
    fn of_name(stem: &str) -> Coordinates {
        let dashes = stem.match_indices('-').map(|(at, _)| at);
        let digit = |at: &usize| stem[at + 1..].starts_with(|c: char| c.is_ascii_digit());
        match dashes.into_iter().find(digit).filter(|_| is_plain(stem)) {
            Some(at) => Coordinates {
                group: None,
                name: Some(stem[..at].to_owned()),
                version: Some(stem[at + 1..].to_owned()),
            },
            None => Coordinates::default(),
        }
    }

    fn stem(&self) -> Option<String> {
        Some(format!("{}-{}", self.name.as_ref()?, self.version.as_ref()?))
    }
}

/// Whether a name or version may stand in the document: not where a build left `${project.version}`.
fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+~ ".contains(c);
    (1..=200).contains(&text.len()) && text.chars().all(plain)
}

/// The keys and values of a Java properties file, as far as Maven's archiver uses its form.
fn properties(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '!']));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}

/// The main section of a manifest. A line that begins with a blank goes on with the one before.
pub fn manifest(text: &str) -> BTreeMap<String, String> {
    let mut joined: Vec<String> = Vec::new();
    for line in text.lines().take_while(|line| !line.is_empty()) {
        match (line.strip_prefix(' '), joined.last_mut()) {
            (Some(more), Some(last)) => last.push_str(more),
            _ => joined.push(line.to_owned()),
        }
    }
    let pairs = joined.iter().filter_map(|line| line.split_once(':'));
    let value = |value: &str| value.split(';').next().unwrap_or_default().trim().to_owned();
    pairs.map(|(key, text)| (key.trim().to_owned(), value(text))).collect()
}

#[cfg(test)]
pub(super) mod tests;
