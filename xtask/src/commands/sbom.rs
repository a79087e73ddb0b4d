//! `sbom`: what is in a pin's restore rock, as CycloneDX.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use crate::app;
use crate::cli::{Global, Sbom};
use crate::digest::Digest;
use crate::render::Templates;
use crate::rock::Role;
use crate::sbom;
use crate::session::Session;
use crate::workspace::write_whole;

/// Writes the document beside the rock, or where it is wanted.
pub fn run(session: &Session, arguments: &Sbom, global: &Global) -> Result<()> {
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    if global.plan {
        super::print_plan(&[
            "read the pin",
            "read packages, Pebble and the jar out of the restore rock's layers, hashing them",
            "write them as CycloneDX JSON",
        ]);
        return Ok(());
    }
    let lock = super::pin(session, &app)?;
    let _sharing = session.workspace.sharing()?;
    let templates = Templates::read(&session.workspace.templates())?;
    let job = super::pinned_job(session, &app, &templates, &lock, global)?;
    super::pack::from_pin(&job, &lock)?;
    let found = sbom::of_pin(&session.store, &lock)?;
    let beside = super::rock_path(session, &app, Role::Restore).with_extension("cdx.json");
    let path = match &arguments.output {
        Some(path) if path == Path::new("-") => {
            std::io::stdout().write_all(&found.bytes)?;
            return Ok(());
        }
        Some(path) => std::path::absolute(path)?,
        None => beside,
    };
    write_whole(&path, &found.bytes, 0o644)?;
    let (shown, digest) = (session.workspace.relative(&path), Digest::of(&found.bytes));
    println!("{shown}: {} components, {digest}", found.components);
    Ok(())
}
