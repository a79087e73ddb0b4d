//! Pebble, the service manager of rocks: built from a pinned Go module, since Debian has no package of it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::memo::Memo;
use crate::process::Limit;
use crate::runtime::Mount;
use crate::session::Session;
use crate::toolchain::Toolchain;

/// Pebble's program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pebble {
    /// Its version, without the `v`.
    pub version: String,
    /// Digest of the program.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Of the restore rock's environment: Pebble keeps its state in memory ("Changes and tasks" in its documentation). What
/// it would write down, and sync to the disk eight times before its service runs, is of no use to the next start.
pub const PERSIST: (&str, &str) = ("PEBBLE_PERSIST", "never");

const MODULE: &str = "github.com/canonical/pebble";
/// No path, clock or commit of the build ends up in the program.
const BUILD: &str = "cp /module/go.mod /module/go.sum . && \
    CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false -ldflags='-s -w' -o /out/pebble \
    github.com/canonical/pebble/cmd/pebble && /out/pebble version --client";

/// What names the program: the module's pins.
pub fn digest(templates: &Path) -> Result<Digest> {
    let read = |name: &str| fs::read(templates.join("pebble").join(name));
    Ok(Digest::of_value(&(read("go.mod")?, read("go.sum")?, BUILD)))
}

/// The program built earlier from the same pins.
pub fn cached(session: &Session) -> Result<Option<Pebble>> {
    let digest = digest(&session.workspace.templates())?;
    let pebble: Option<Pebble> = Memo::of(&session.workspace, "pebble", &digest)?.get();
    Ok(pebble.filter(|pebble| session.store.has(&pebble.digest, pebble.size)))
}

/// Builds the program.
pub fn build(session: &Session, toolchain: &Toolchain<'_>) -> Result<Pebble> {
    let templates = session.workspace.templates();
    let version = version(&fs::read_to_string(templates.join("pebble/go.mod"))?)?;
    let temporary = session.workspace.temporary()?;
    let (source, out) = (temporary.path().join("src"), temporary.path().join("out"));
    fs::create_dir(&source)?;
    fs::create_dir(&out)?;
    let mounts = vec![
        Mount { from: templates.join("pebble"), to: "/module".into(), writable: false },
        Mount { from: source, to: "/src".into(), writable: true },
        Mount { from: out.clone(), to: "/out".into(), writable: true },
    ];
    let limit = Limit::new("the tool's own limit for building Pebble", Duration::from_secs(900));
    toolchain.run("pebble", BUILD, mounts, &limit).context("Pebble cannot be built")?;
    let (object, size) = session.store.add_file(&out.join("pebble"))?;
    let pebble = Pebble { version, digest: object, size };
    Memo::of(&session.workspace, "pebble", &digest(&templates)?)?.put(&pebble)?;
    Ok(pebble)
}

fn version(go_mod: &str) -> Result<String> {
    let line = go_mod.lines().map(str::trim).find(|line| line.starts_with(MODULE) && line.contains(" v"));
    let version = line.and_then(|line| line.split_whitespace().nth(1)?.strip_prefix('v'));
    version.map(String::from).with_context(|| format!("templates/pebble/go.mod requires no {MODULE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_modules() {
        let module = include_str!("../../../templates/pebble/go.mod");
        assert_eq!(version(module).unwrap(), "1.32.1");
        assert!(version("module x").is_err());
    }
}
