//! What gives every restore random numbers of its own: a security provider for a stock JDK, in `templates/fresh`.
//!
//! It is compiled in the build image and lies in both rocks; a rock of rockcraft's has a part of its own that does the
//! same. See docs/guide/safety.md for what it does and does not do.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::app::{App, Fallback};
use crate::digest::Digest;
use crate::engine::Engine;
use crate::memo::Memo;
use crate::process::Limit;
use crate::rock::Role;
use crate::runtime::Mount;
use crate::session::Session;
use crate::toolchain::Toolchain;

/// Below the templates: the sources, and the list of providers.
pub const FOLDER: &str = "fresh";
/// The list's file, there and in a rock's `/scripts`.
pub const LIST: &str = "fresh.security";
/// The compiled provider in a rock.
pub const JAR: &str = "/scripts/fresh.jar";

/// How it is compiled: for every JDK that the tool knows, and without the clock of the build.
const BUILD: &str = "javac --release 17 -Xlint:all -Werror -d classes /sources/*.java && \
    jar --create --file /out/fresh.jar --date=2025-01-01T00:00:00Z --no-manifest -C classes .";

/// The compiled provider, an object of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fresh {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Whether an application has it: a CRaC JDK seeds its own generators anew.
pub fn wanted(app: &App, engine: Engine) -> bool {
    app.java.fresh_random && engine == Engine::Criu
}

/// Whether a rock has the list: a JVM reads it when it starts, which one does in the checkpoint rock, and in a restore rock
/// that can start the application cold.
pub fn listed(app: &App, engine: Engine, role: Role) -> bool {
    wanted(app, engine) && (role == Role::Checkpoint || app.restore.fallback == Fallback::Cold)
}

/// What the JVM is told. The provider is appended to its own classes, which leaves the class archive usable; to open the
/// packages lets it seed their generators anew.
pub fn options() -> Vec<String> {
    let opened = ["lang", "util", "util.concurrent"];
    let opened = opened.map(|package| format!("--add-opens=java.base/java.{package}=ALL-UNNAMED"));
    let first = [format!("-Xbootclasspath/a:{JAR}"), format!("-Djava.security.properties=/scripts/{LIST}")];
    first.into_iter().chain(opened).collect()
}

/// What names the compiled provider: its sources and how they are compiled.
pub fn digest(templates: &Path) -> Result<Digest> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(templates.join(FOLDER))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "java") {
            sources.push((path.file_name().map(|name| name.to_os_string()), fs::read(&path)?));
        }
    }
    sources.sort();
    ensure!(!sources.is_empty(), "templates/{FOLDER} has no sources");
    let sources: Vec<_> = sources.iter().map(|(name, text)| (name, Digest::of(text))).collect();
    Ok(Digest::of_value(&(sources, BUILD)))
}

/// The one compiled earlier from the same sources.
pub fn cached(session: &Session) -> Result<Option<Fresh>> {
    let digest = digest(&session.workspace.templates())?;
    let fresh: Option<Fresh> = Memo::of(&session.workspace, "fresh", &digest)?.get();
    Ok(fresh.filter(|fresh| session.store.has(&fresh.digest, fresh.size)))
}

/// Compiles it.
pub fn build(session: &Session, toolchain: &Toolchain<'_>) -> Result<Fresh> {
    let templates = session.workspace.templates();
    let temporary = session.workspace.temporary()?;
    let (work, out) = (temporary.path().join("src"), temporary.path().join("out"));
    fs::create_dir(&work)?;
    fs::create_dir(&out)?;
    let mounts = vec![
        Mount { from: templates.join(FOLDER), to: "/sources".into(), writable: false },
        Mount { from: work, to: "/src".into(), writable: true },
        Mount { from: out.clone(), to: "/out".into(), writable: true },
    ];
    let limit = Limit::new("the tool's own limit for compiling a provider", Duration::from_secs(120));
    toolchain.run("fresh", BUILD, mounts, &limit).context("templates/fresh cannot be compiled")?;
    let (object, size) = session.store.add_file(&out.join("fresh.jar"))?;
    let fresh = Fresh { digest: object, size };
    Memo::of(&session.workspace, "fresh", &digest(&templates)?)?.put(&fresh)?;
    Ok(fresh)
}
