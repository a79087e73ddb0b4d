//! What is in the restore rock of a pin, as a CycloneDX document: Debian packages, Pebble with its Go modules, the jar
//! with the jars in it, the class archive and the checkpoint data.
//!
//! It says what the rock holds, not what was asked for: everything is read out of the layers of the very image that the
//! pin names, and every layer is hashed while it is read. The same pin gives the same bytes on every machine. Licences
//! are not stated: none of the sources states them in a form that could be passed on without a guess. What a
//! [chiselled](https://documentation.ubuntu.com/chisel/) slice brought is not listed, since dpkg does not know of it.

mod document;
mod go;
mod jar;
mod layers;
mod packages;
mod purl;
#[cfg(test)]
mod tests;
mod zip;

use anyhow::{Context, Result, ensure};

use crate::digest::Digest;
use crate::lock::Lock;
use crate::pack::oci::Manifest;
use crate::pack::{Image, import};
use crate::store::Store;
use document::{Component, Document};
pub(crate) use jar::manifest;
use packages::Distribution;
use purl::purl;
pub(crate) use zip::Zip;

/// Where dpkg keeps what is installed.
const STATUS: &str = "var/lib/dpkg/status";
/// Where a root says what it is. The first is a link to the second, or a file of its own.
const OS_RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
/// Where Pebble is, in Debian's merged roots and in others.
const PEBBLE: [&str; 2] = ["usr/bin/pebble", "bin/pebble"];

/// The document of a pin's restore rock, and how many components it lists.
#[derive(Debug)]
pub struct Sbom {
    /// JSON, ending with a line feed.
    pub bytes: Vec<u8>,
    /// How many components are listed beside the rock itself.
    pub components: usize,
}

/// What is in the restore rock of this pin.
///
/// # Errors
/// Where the rock is not in the store, or anything of it was changed.
pub fn of_pin(store: &Store, lock: &Lock) -> Result<Sbom> {
    let manifest = lock.rocks.restore;
    let image = import::read_image(store, &manifest).with_context(|| {
        format!("the restore rock is not in the store; run `cargo xtask pack {} restore`", lock.app)
    })?;
    let jar_path = format!("jars/{}.jar", lock.app);
    let wanted = [STATUS, &jar_path].into_iter().chain(OS_RELEASE).chain(PEBBLE).collect::<Vec<_>>();
    let mut files = layers::files(store, &image, &wanted)?;
    let mut take = |paths: &[&str]| {
        let found = paths.iter().find_map(|path| files.remove(*path));
        found.with_context(|| format!("the restore rock {manifest} has no /{}", paths[0]))
    };
    let mut document = Document::new(rock(store, &image, lock)?, &lock.created);
    let rock = document.main();

    let distribution = Distribution::parse(&String::from_utf8_lossy(&take(&OS_RELEASE)?));
    for package in packages::components(&String::from_utf8_lossy(&take(&[STATUS])?), &distribution) {
        document.add(&rock, package);
    }
    add_pebble(&mut document, &take(&PEBBLE)?);
    add_jar(&mut document, lock, &jar_path, &take(&[&jar_path])?)?;
    add_data(&mut document, lock);
    Ok(Sbom { bytes: document.json(&manifest)?, components: document.components() })
}

/// The packages of an image as `name=version`, as its dpkg has them.
///
/// # Errors
/// Where it has no dpkg, or a layer was changed or can't be read.
pub fn installed(store: &Store, image: &Image) -> Result<Vec<String>> {
    let status = layers::files(store, image, &[STATUS])?.remove(STATUS);
    let status = status.with_context(|| format!("the rock {} has no /{STATUS}", image.manifest))?;
    let named = |package: Component| Some(format!("{}={}", package.name, package.version?));
    let distribution = Distribution::parse("");
    let packages = packages::components(&String::from_utf8_lossy(&status), &distribution);
    Ok(packages.into_iter().filter_map(named).collect())
}

/// The rock itself, named as its manifest names it.
fn rock(store: &Store, image: &Image, lock: &Lock) -> Result<Component> {
    let mut bytes = Vec::new();
    store.copy_object(&image.manifest, image.manifest_size, &mut bytes)?;
    let manifest: Manifest = serde_json::from_slice(&bytes).context("the rock's manifest is none")?;
    let annotations = manifest.annotations.unwrap_or_default();
    let annotation = |name: &str| annotations.get(&format!("org.opencontainers.image.{name}"));
    let name = annotation("title").unwrap_or(&lock.app);
    let mut rock = Component::new("container", "rock".into(), name);
    rock.version = annotation("version").cloned();
    rock.hash(&image.manifest);
    let tag = rock.version.clone().unwrap_or_default();
    rock.purl = Some(purl("oci", "", &name.to_lowercase(), &image.manifest.to_string(), &[("tag", &tag)]));
    rock.property("app", &lock.app);
    rock.property("engine", lock.engine);
    Ok(rock)
}

/// Pebble, Go's standard library and every module that was built into it.
fn add_pebble(document: &mut Document, program: &[u8]) {
    let mut pebble = Component::new("application", "pebble".into(), "pebble");
    pebble.hash(&Digest::of(program));
    let Some(info) = go::build_info(program) else {
        pebble.property("unread", "the program holds no build information of Go 1.18 or later");
        document.add(&document.main(), pebble);
        return;
    };
    if let Some(main) = &info.main {
        pebble.version = Some(main.version.clone());
        pebble.purl = Some(golang(&main.path, &main.version));
    }
    let pebble = document.add(&document.main(), pebble);
    let standard = go::Module { path: "stdlib".into(), version: info.go.trim_start_matches("go").to_owned() };
    for module in info.modules.into_iter().chain([standard]) {
        let mut component = Component::new("library", format!("go:{}", module.path), &module.path);
        component.purl = Some(golang(&module.path, &module.version));
        component.version = Some(module.version).filter(|version| !version.is_empty());
        document.add(&pebble, component);
    }
}

/// purl wants Go's paths in small letters.
fn golang(path: &str, version: &str) -> String {
    let path = path.to_lowercase();
    let (namespace, name) = path.rsplit_once('/').unwrap_or(("", &path));
    purl("golang", namespace, name, version, &[])
}

fn add_jar(document: &mut Document, lock: &Lock, path: &str, bytes: &[u8]) -> Result<()> {
    let found = Digest::of(bytes);
    ensure!(found == lock.source.jar, "/{path} of the rock is {found}, the pin says {}", lock.source.jar);
    let (mut jar, libraries) = jar::components(&format!("/{path}"), bytes)?;
    jar.property("source", &lock.source.from);
    let jar = document.add(&document.main(), jar);
    for library in libraries {
        document.add(&jar, library);
    }
    Ok(())
}

/// What the dumped process was, and the classes that it maps.
fn add_data(document: &mut Document, lock: &Lock) {
    let rock = document.main();
    let mut data = Component::new("data", "checkpoint-data".into(), "checkpoint-data");
    data.property("data:tree", lock.data.tree);
    data.property("data:files", lock.data.files.iter().filter(|file| file.sha256.is_some()).count());
    let bytes = lock.data.files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size));
    data.property("data:bytes", bytes);
    data.property("data:created", &lock.created);
    document.add(&rock, data);
    if let Some(archive) = &lock.class_archive {
        let name = format!("{}.jsa", lock.app);
        let mut component = Component::new("data", "class-archive".into(), &name);
        component.hash(&archive.digest);
        component.property("data:bytes", archive.size);
        document.add(&rock, component);
    }
    if let Some(fresh) = &lock.fresh_random {
        let mut component = Component::new("library", "fresh-random".into(), "fresh-random");
        component.hash(&fresh.digest);
        document.add(&rock, component);
    }
}
