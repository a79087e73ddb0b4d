//! `guide`: the guide as a site, by mkdocs.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::cli::Global;
use crate::host;
use crate::process::{self, Limit};
use crate::session::Session;

/// Builds it in a folder beside its own, and puts it into its place when it is whole.
pub fn run(session: &Session, global: &Global) -> Result<()> {
    if global.plan {
        super::print_plan(&["install mkdocs into target/xtask/cache", "build target/xtask/guide"]);
        return Ok(());
    }
    host::ensure(&[host::PYTHON].into(), global.install, &session.progress)?;
    let root = &session.workspace.root;
    let _alone = session.workspace.sharing()?;
    let built = session.workspace.temporary()?;
    let site = built.path().join("guide");
    let mut python = Command::new(root.join(".ci/python"));
    python.arg("docs").args([
        "-m",
        "mkdocs",
        "build",
        "--quiet",
        "--strict",
        "--config-file",
        "docs/mkdocs.yml",
    ]);
    // It tells of its theme's future at every build.
    python.arg("--site-dir").arg(&site).current_dir(root).env("DISABLE_MKDOCS_2_WARNING", "true");
    let limit = Limit::new("the tool's own limit for the guide", Duration::from_secs(600));
    session.progress.step("build the guide", || {
        process::read(python, &limit).context("mkdocs does not build docs/guide").map(drop)
    })?;
    let place = session.workspace.state().join("guide");
    if place.exists() {
        fs::rename(&place, built.path().join("old"))?;
    }
    fs::rename(&site, &place)?;
    println!("{}", session.workspace.relative(&place.join("index.html")));
    Ok(())
}
