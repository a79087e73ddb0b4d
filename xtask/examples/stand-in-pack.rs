//! The packing half of the stand-in for rockcraft (tests/rockcraft/stand_in.py): takes a request as JSON on
//! standard input, makes or reuses a Debian root in place of Ubuntu's base, and either gives away files of it or
//! packs a rock above it with the native packer. A test fixture, no part of the tool.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use xtask::debian::{Root, RootSpec};
use xtask::pack;
use xtask::pebble::{self, Pebble};
use xtask::privileges::Capability;
use xtask::progress::Verbosity;
use xtask::rock::{DAEMON_ID, Entry, EntryKind, Layer, LayerContent, Rock, Role};
use xtask::runtime::Runtime;
use xtask::session::Session;
use xtask::toolchain::{Toolchain, debian_architecture};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Request {
    /// Debian packages of the base.
    packages: Vec<String>,
    /// Files of the base, by their path in it, and where to copy them.
    #[serde(default)]
    extract: BTreeMap<String, PathBuf>,
    rock: Option<RockRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RockRequest {
    name: String,
    version: String,
    summary: String,
    /// Whether the rock runs as the daemon user, not as root.
    daemon: bool,
    environment: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    /// Layers above the base and Pebble, from the bottom up.
    layers: Vec<LayerRequest>,
    output: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct LayerRequest {
    title: String,
    entries: Vec<EntryRequest>,
}

/// A folder, unless it has a file or a link.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct EntryRequest {
    path: String,
    mode: u32,
    owner: u32,
    file: Option<PathBuf>,
    link: Option<String>,
    #[serde(default)]
    capabilities: Vec<Capability>,
}

fn main() -> Result<()> {
    let request: Request = serde_json::from_reader(std::io::stdin()).context("the request")?;
    let session = Session::open(Verbosity::Normal, None, false)?;
    let _lock = session.workspace.sharing()?;
    let base = RootSpec::new("sid", request.packages).make(&session)?;
    extract(&session, &base, &request.extract)?;
    match request.rock {
        Some(rock) => write(&session, &base, rock),
        None => Ok(()),
    }
}

fn extract(session: &Session, base: &Root, wanted: &BTreeMap<String, PathBuf>) -> Result<()> {
    let mut missing: Vec<&String> = wanted.keys().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut tar = tar::Archive::new(fs_err::File::open(session.store.path(&base.blob.digest))?);
    for entry in tar.entries_with_seek()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let path = path.strip_prefix(".").unwrap_or(&path);
        if let Some(index) = missing.iter().position(|name| Path::new(name) == path) {
            ensure!(entry.header().entry_type().is_file(), "{} is no file in the base", path.display());
            entry.unpack(&wanted[missing.swap_remove(index)])?;
        }
    }
    ensure!(missing.is_empty(), "the base has no {missing:?}");
    Ok(())
}

fn write(session: &Session, base: &Root, request: RockRequest) -> Result<()> {
    let pebble = pebble(session)?;
    let program = EntryKind::Object { digest: pebble.digest, size: pebble.size };
    let program = Entry {
        path: "/usr/bin/pebble".into(),
        mode: 0o755,
        owner: 0,
        kind: program,
        capabilities: Vec::new(),
    };
    let mut layers = vec![Layer { title: "pebble".into(), content: LayerContent::Entries(vec![program]) }];
    for layer in request.layers {
        let entries = layer.entries.into_iter().map(|it| entry(session, it)).collect::<Result<_>>()?;
        layers.push(Layer { title: layer.title, content: LayerContent::Entries(entries) });
    }
    let (user, uid) = if request.daemon { ("_daemon_", DAEMON_ID) } else { ("root", 0) };
    let rock = Rock {
        // Only the tool asks for it; no byte of the image depends on it.
        role: Role::Checkpoint,
        name: request.name,
        version: request.version,
        summary: request.summary,
        architecture: debian_architecture().into(),
        suite: "sid".into(),
        packages: base.packages.clone(),
        user: user.into(),
        uid,
        layers,
        entrypoint: vec!["/usr/bin/pebble".into(), "enter".into()],
        // rockcraft leaves it empty: whoever wants the services' logs says `--verbose`.
        command: Vec::new(),
        environment: request.environment,
        ports: Vec::new(),
        labels: request.labels,
    };
    let image = pack::pack(&session.store, &rock, &base.blob, &mut |line| eprintln!("stand-in: {line}"))?;
    pack::archive::write_archive(&session.store, &image, &rock.version, &request.output)?;
    Ok(())
}

fn pebble(session: &Session) -> Result<Pebble> {
    if let Some(pebble) = pebble::cached(session)? {
        return Ok(pebble);
    }
    let runtime = Runtime::connect(None)?;
    pebble::build(session, &Toolchain::prepare(session, &runtime, 21)?)
}

fn entry(session: &Session, request: EntryRequest) -> Result<Entry> {
    let kind = match (request.file, request.link) {
        (Some(file), _) => {
            let (digest, size) = session.store.add_file(&file)?;
            EntryKind::Object { digest, size }
        }
        (None, Some(target)) => EntryKind::Link(target),
        (None, None) => EntryKind::Folder,
    };
    let EntryRequest { path, mode, owner, capabilities, .. } = request;
    Ok(Entry { path, mode, owner, kind, capabilities })
}
