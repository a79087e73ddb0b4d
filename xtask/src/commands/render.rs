//! `render`: write `rocks/<app>`, or check that it is fresh, or show what would change.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use fs_err as fs;
use similar::TextDiff;
use walkdir::WalkDir;

use crate::app::App;
use crate::cli::{Global, Render};
use crate::digest::Digest;
use crate::lock::Lock;
use crate::plan::Drift;
use crate::render::{self, File, Files, Templates};
use crate::session::Session;
use crate::workspace::write_whole;

/// Renders the named application, or all.
pub fn run(session: &Session, arguments: &Render, global: &Global) -> Result<()> {
    if global.plan {
        let last = if arguments.check || arguments.diff { "compare with rocks/" } else { "write rocks/" };
        super::print_plan(&["read and validate app.toml", "render in memory", last]);
        return Ok(());
    }
    let templates = Templates::read(&session.workspace.templates())?;
    let check = arguments.check || global.locked;
    let mut stale = Vec::new();
    for loaded in super::apps(session, arguments.app.as_deref())? {
        let lock = Lock::read(&session.workspace.lock(&loaded.app.name))?;
        let files = render::render(&templates, &loaded.app, lock.as_ref())?;
        let folder = rocks(session, &loaded.app);
        if !check && !arguments.diff {
            let written = write(&folder, &files)?;
            println!("rocks/{}: {} files, {written} written", loaded.app.name, files.len());
            continue;
        }
        let differences = differences(&folder, &files)?;
        if !differences.is_empty() {
            print!("{differences}");
            stale.push(loaded.app.name);
        }
    }
    if check && !stale.is_empty() {
        bail!(
            "rocks/ is not fresh; run `cargo xtask render{}`",
            match stale.as_slice() {
                [one] => format!(" {one}"),
                _ => String::new(),
            }
        );
    }
    Ok(())
}

/// Renders and writes one application; how many files changed.
pub fn write_app(session: &Session, templates: &Templates, app: &App, lock: Option<&Lock>) -> Result<usize> {
    write(&rocks(session, app), &render::render(templates, app, lock)?)
}

/// Files below `rocks/<app>` that are not as they would be rendered.
pub fn stale(session: &Session, app: &App, lock: &Lock) -> Result<Vec<Drift>> {
    let templates = Templates::read(&session.workspace.templates())?;
    let files = render::render(&templates, app, Some(lock))?;
    let folder = rocks(session, app);
    let digest = |file: &File| Digest::of_value(&(Digest::of(&file.bytes), file.executable));
    let drift = |path: PathBuf| Drift::NotRendered {
        path: format!("rocks/{}/{}", app.name, path.display()),
        pinned: files.get(&path).map(digest),
        now: current(&folder.join(&path)).as_ref().map(digest),
    };
    Ok(differing(&folder, &files).into_iter().map(drift).collect())
}

fn differing(folder: &Path, files: &Files) -> Vec<PathBuf> {
    let mut paths = present(folder);
    paths.extend(files.keys().cloned());
    let differs = |path: &PathBuf| current(&folder.join(path)).as_ref() != files.get(path);
    paths.into_iter().filter(differs).collect()
}

fn rocks(session: &Session, app: &App) -> PathBuf {
    session.workspace.root.join("rocks").join(&app.name)
}

/// What is in the folder, except what a packer puts there.
fn present(folder: &Path) -> BTreeSet<PathBuf> {
    let packed = ["data", "jars"];
    WalkDir::new(folder)
        .into_iter()
        .filter_entry(|entry| entry.depth() != 2 || !packed.iter().any(|name| entry.file_name() == *name))
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_type().is_dir())
        .filter(|entry| entry.path().extension().is_none_or(|extension| extension != "rock"))
        .filter_map(|entry| entry.path().strip_prefix(folder).ok().map(Path::to_owned))
        .collect()
}

fn current(path: &Path) -> Option<File> {
    let executable =
        fs::symlink_metadata(path).ok().filter(|m| m.is_file())?.permissions().mode() & 0o111 != 0;
    Some(File { bytes: fs::read(path).ok()?, executable })
}

fn write(folder: &Path, files: &Files) -> Result<usize> {
    let mut written = 0;
    for (path, file) in files {
        let target = folder.join(path);
        if current(&target).as_ref() != Some(file) {
            write_whole(&target, &file.bytes, if file.executable { 0o755 } else { 0o644 })?;
            written += 1;
        }
    }
    for left in present(folder).iter().filter(|path| !files.contains_key(*path)) {
        fs::remove_file(folder.join(left))?;
        written += 1;
    }
    Ok(written)
}

/// Unified diffs of what differs; empty if nothing does.
fn differences(folder: &Path, files: &Files) -> Result<String> {
    let mut text = String::new();
    for path in differing(folder, files) {
        let (old, new) = (current(&folder.join(&path)), files.get(&path).cloned());
        let shown = |file: &Option<File>| {
            file.as_ref().map(|file| String::from_utf8_lossy(&file.bytes).into_owned()).unwrap_or_default()
        };
        let name = Path::new("rocks").join(folder.file_name().unwrap_or_default()).join(&path);
        let (old_text, new_text) = (shown(&old), shown(&new));
        let diff = TextDiff::from_lines(&old_text, &new_text);
        let header = |exists: bool, side: &str| match exists {
            true => format!("{side}/{}", name.display()),
            false => "/dev/null".to_owned(),
        };
        let (from, to) = (header(old.is_some(), "a"), header(new.is_some(), "b"));
        match diff.unified_diff().header(&from, &to).to_string() {
            // An empty file appears or goes: no line differs.
            same if same.is_empty() && from != to => text.push_str(&format!("--- {from}\n+++ {to}\n")),
            lines => text.push_str(&lines),
        }
        if let (Some(old), Some(new)) = (&old, &new)
            && old.executable != new.executable
        {
            text.push_str(&format!(
                "{}: executable {} -> {}\n",
                name.display(),
                old.executable,
                new.executable
            ));
        }
    }
    Ok(text)
}
