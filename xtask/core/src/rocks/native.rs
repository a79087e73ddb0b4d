//! The packer `native`: from an application and what was built for it to the models of its two rocks, and from these to
//! images.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{CRIU, Job, criu_entry, labels};
use crate::app::App;
use crate::debian::Root;
use crate::digest::Digest;
use crate::engine::Engine;
use crate::files::DataFile;
use crate::fresh::{self, Fresh};
use crate::lock::{Data, MappedFile};
use crate::memo::Memo;
use crate::pack::{self, Blob, Image, import};
use crate::pebble::{self, Pebble};
use crate::render;
use crate::rock::{DAEMON_ID, Entry, EntryKind, Layer, LayerContent, Rock, Role};
use crate::session::Session;
use crate::source::Jar;
use crate::toolchain::debian_architecture;

/// Where Pebble, running as the daemon user, keeps its layers, state and socket, as in Ubuntu's rocks.
const PEBBLE_FOLDER: &str = "/var/lib/pebble/default";
/// Changes whenever the same parts are packed into other bytes.
pub const PACKING: u32 = 1;
/// The label that says which checkpoint data a rock holds, as `data.tree` in checkpoint.lock does.
const DATA: &str = "dev.xtask.checkpoint-data";

/// What both rocks of an application are made of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The base layer.
    pub base: Root,
    /// Pebble.
    pub pebble: Pebble,
    /// The application.
    pub jar: Jar,
    /// The archive of its classes.
    pub archive: Option<(Digest, u64)>,
    /// The provider of random numbers.
    pub fresh: Option<Fresh>,
}

/// The checkpoint rock.
pub fn checkpoint(job: &Job<'_>, parts: &Parts) -> Result<Image> {
    pack_rock(job, parts, Role::Checkpoint, None)
}

/// The restore rock, with the checkpoint data as its last layer.
pub fn restore(job: &Job<'_>, parts: &Parts, data: &[DataFile], mapped: &[MappedFile]) -> Result<Image> {
    let tree = Data::tree(data, mapped);
    let data = Layer { title: "checkpoint data".into(), content: LayerContent::Entries(data_entries(data)?) };
    pack_rock(job, parts, Role::Restore, Some((tree, data)))
}

/// The layer that holds the checkpoint data, as a natively packed restore rock has it.
pub fn data_layer(session: &Session, data: &[DataFile]) -> Result<Blob> {
    layer(session, &data_entries(data)?)
}

fn pack_rock(job: &Job<'_>, parts: &Parts, role: Role, data: Option<(Digest, Layer)>) -> Result<Image> {
    let Job { session, app, source, .. } = *job;
    let mut layers = vec![
        Layer { title: "pebble".into(), content: LayerContent::Entries(pebble_entries(&parts.pebble)) },
        Layer { title: "application".into(), content: LayerContent::Entries(jar_entries(app, parts)) },
        Layer {
            title: "services".into(),
            content: LayerContent::Entries(service_entries(job, parts, role)?),
        },
    ];
    let mut labels = labels(app, source, role);
    if let Some((tree, data)) = data {
        layers.push(data);
        labels.insert(DATA.into(), tree.to_string());
    }
    for one in &mut layers {
        if let LayerContent::Entries(entries) = &one.content {
            let blob = layer(session, entries)?;
            one.content = LayerContent::Stored { digest: blob.digest, size: blob.size };
        }
    }
    let rock = Rock {
        role,
        name: render::rock_name(app, role).to_owned(),
        version: app.version.clone(),
        summary: app.summary.clone(),
        architecture: debian_architecture().into(),
        suite: app.rock.suite.clone(),
        packages: parts.base.packages.clone(),
        user: app.rock.run_user.clone(),
        uid: DAEMON_ID,
        layers,
        entrypoint: vec!["/usr/bin/pebble".into(), "enter".into()],
        // The services' logs on the container's own output.
        command: vec!["--verbose".into()],
        environment: environment(role),
        ports: vec![app.http.port],
        labels,
    };
    pack::pack(&session.store, &rock, &parts.base.blob, &mut |line| session.progress.detail("pack", line))
}

/// The environment of a rock's entry point.
fn environment(role: Role) -> BTreeMap<String, String> {
    let path = ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let all = [("LANG", "C.UTF-8"), path, ("PEBBLE", PEBBLE_FOLDER)];
    let restores = (role == Role::Restore).then_some(pebble::PERSIST);
    all.into_iter().chain(restores).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A packed layer; one that was packed from the same entries before is not packed again.
fn layer(session: &Session, entries: &[Entry]) -> Result<Blob> {
    let memo = Memo::of(&session.workspace, "layer", &Digest::of_value(&(PACKING, entries)))?;
    if let Some(blob) = memo.get::<Blob>().filter(|blob| session.store.has(&blob.digest, blob.size)) {
        return Ok(blob);
    }
    let blob = pack::layer::write_layer(&session.store, entries)?;
    memo.put(&blob)?;
    Ok(blob)
}

fn folder(path: &str, owner: u32) -> Entry {
    Entry { path: path.into(), mode: 0o755, owner, kind: EntryKind::Folder, capabilities: Vec::new() }
}

fn file(path: String, mode: u32, kind: EntryKind) -> Entry {
    Entry { path, mode, owner: 0, kind, capabilities: Vec::new() }
}

fn pebble_entries(pebble: &Pebble) -> Vec<Entry> {
    let program = EntryKind::Object { digest: pebble.digest, size: pebble.size };
    vec![file("/usr/bin/pebble".into(), 0o755, program)]
}

fn jar_entries(app: &App, parts: &Parts) -> Vec<Entry> {
    let jar = EntryKind::Object { digest: parts.jar.digest, size: parts.jar.size };
    let mut entries = vec![folder("/jars", 0), file(format!("/jars/{}.jar", app.name), 0o644, jar)];
    if let Some((digest, size)) = parts.archive {
        entries.push(file(format!("/jars/{}.jsa", app.name), 0o644, EntryKind::Object { digest, size }));
    }
    entries
}

fn service_entries(job: &Job<'_>, parts: &Parts, role: Role) -> Result<Vec<Entry>> {
    let Job { session, templates, app, way, .. } = *job;
    let engine = way.engine;
    // Every folder stands in each layer that has something in it: one that is not listed comes out root's.
    let mut entries = vec![
        folder("/scripts", 0),
        folder("/var/lib/pebble", 0),
        folder(PEBBLE_FOLDER, DAEMON_ID),
        folder(&format!("{PEBBLE_FOLDER}/layers"), 0),
        folder(&format!("/run/{}", app.name), DAEMON_ID),
        folder("/checkpoint-data", DAEMON_ID),
    ];
    for (path, rendered) in render::native_files(templates, app, engine, role)? {
        let path = match path.to_str() {
            // Not the application's name: Pebble refuses a label of fewer than three letters.
            Some("layer.yaml") => format!("{PEBBLE_FOLDER}/layers/001-application.yaml"),
            Some(path) => format!("/{path}"),
            None => anyhow::bail!("a rendered file's name is UTF-8"),
        };
        let mode = if rendered.executable { 0o755 } else { 0o644 };
        entries.push(file(path, mode, EntryKind::Bytes(rendered.bytes)));
    }
    if let Some(Fresh { digest, size }) = parts.fresh {
        entries.push(file(fresh::JAR.into(), 0o644, EntryKind::Object { digest, size }));
    }
    for (path, own) in render::own_files(app, engine) {
        let mode = if own.executable { 0o755 } else { 0o644 };
        entries.push(file(path, mode, EntryKind::Bytes(own.bytes)));
    }
    if engine == Engine::Criu {
        entries.push(criu_entry(job, role, extract(session, &parts.base, CRIU)?));
    }
    Ok(entries)
}

/// One file of the base layer, as an object of the store.
fn extract(session: &Session, base: &Root, path: &str) -> Result<(Digest, u64)> {
    #[derive(Serialize, Deserialize)]
    struct Extracted(Digest, u64);
    let memo = Memo::of(&session.workspace, "extract", &Digest::of_value(&(base.blob.digest, path)))?;
    if let Some(Extracted(digest, size)) = memo.get().filter(|e: &Extracted| session.store.has(&e.0, e.1)) {
        return Ok((digest, size));
    }
    let found = import::read_layer_file(&session.store, &base.blob.digest, path)?;
    let (digest, size) =
        found.with_context(|| format!("the base layer has no {path}; does rock.suite have the package?"))?;
    memo.put(&Extracted(digest, size))?;
    Ok((digest, size))
}

/// The pinned files as entries of a layer.
fn data_entries(data: &[DataFile]) -> Result<Vec<Entry>> {
    let entry = |file: &DataFile| -> Result<Entry> {
        let (uid, gid) = file.owner.split_once(':').context("an owner is UID:GID")?;
        anyhow::ensure!(
            uid == gid,
            "{} belongs to {}; a rock's files have one number for both",
            file.path,
            file.owner
        );
        let kind = match (&file.sha256, &file.link) {
            (Some(digest), None) => EntryKind::Object { digest: *digest, size: file.size },
            (None, Some(target)) => EntryKind::Link(target.clone()),
            (None, None) => EntryKind::Folder,
            (Some(_), Some(_)) => anyhow::bail!("{} is both a file and a link", file.path),
        };
        let mode =
            u32::from_str_radix(&file.mode, 8).with_context(|| format!("the mode of {}", file.path))?;
        Ok(Entry { path: file.path.clone(), mode, owner: uid.parse()?, kind, capabilities: Vec::new() })
    };
    data.iter().map(|file| entry(file).with_context(|| format!("checkpoint data: {}", file.path))).collect()
}
