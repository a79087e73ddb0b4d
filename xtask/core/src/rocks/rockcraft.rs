//! The packer `rockcraft`: `rockcraft pack`, run in a copy of the rendered folder that also holds the pinned data.
//!
//! A copy, because a rock is proven before it is pinned: what is rendered under `rocks/` changes with the pin, not
//! before. `rockcraft pack` typed by hand in that copy, `target/xtask/rockcraft/<app>/<role>`, does the same.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use walkdir::WalkDir;

use super::{CRIU, Job, criu_entry};
use crate::app::App;
use crate::engine::Engine;
use crate::files::DataFile;
use crate::lock::MappedFile;
use crate::pack::{Image, import, layer};
use crate::process::{self, Limit};
use crate::render::{self, Files, Pinned};
use crate::rock::Role;
use crate::source::Jar;
use crate::toolchain::debian_architecture;
use crate::workspace::{create_folder, write_whole};

/// What rockcraft is handed.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Its version.
    pub version: String,
    /// The jar, unless rockcraft builds it itself.
    pub jar: Option<Jar>,
}

/// The version of the rockcraft on PATH, which must know this base.
///
/// # Errors
/// Where there is none, or it is too old; the error says which version is needed.
pub fn version(base: &str) -> Result<String> {
    let mut command = std::process::Command::new("rockcraft");
    command.arg("--version");
    let said = process::read(command, &Limit::quick())
        .context("rockcraft does not answer; install it with `sudo snap install rockcraft --classic`")?;
    let version = said.trim().strip_prefix("rockcraft").unwrap_or(&said).trim().to_owned();
    new_enough(&version, base)?;
    Ok(version)
}

fn new_enough(version: &str, base: &str) -> Result<()> {
    // Its release notes: 1.7 mends the numeric user of `run-user`, 1.16 and 1.19 bring the later bases.
    let needed = match base {
        "ubuntu@22.04" | "ubuntu@24.04" => (1, 7),
        "ubuntu@25.10" => (1, 16),
        _ => (1, 19),
    };
    let mut numbers = version.split('.').map(|part| part.parse::<u32>());
    let found = match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => bail!("`rockcraft --version` says {version:?}, which is no version"),
    };
    ensure!(
        found >= needed,
        "this is rockcraft {version}, and the base {base} needs {}.{} or later; run `sudo snap refresh rockcraft`",
        needed.0,
        needed.1
    );
    Ok(())
}

/// The checkpoint rock.
pub fn checkpoint(job: &Job<'_>, parts: &Parts) -> Result<Image> {
    let pinned = parts.jar.as_ref().map(|jar| Pinned { jar: jar.digest, data: &[], mapped: &[] });
    let files = render::rockcraft_files(job.templates, &with_source(job), Role::Checkpoint, pinned)?;
    let folder = stage(job, Role::Checkpoint, &files)?;
    if let Some(jar) = &parts.jar {
        let to = folder.join("jars").join(format!("{}.jar", job.app.name));
        copy_object(job, jar.digest, jar.size, &to)?;
    }
    pack(job, Role::Checkpoint, &folder)
}

/// The restore rock, with the checkpoint data and the jar of the dumped process.
pub fn restore(job: &Job<'_>, parts: &Parts, data: &[DataFile], mapped: &[MappedFile]) -> Result<Image> {
    let jar = parts.jar.as_ref().context("the jar of the dumped process")?;
    let pinned = Pinned { jar: jar.digest, data, mapped };
    let files = render::rockcraft_files(job.templates, &with_source(job), Role::Restore, Some(pinned))?;
    let folder = stage(job, Role::Restore, &files)?;
    let into = folder.join("data");
    copy_object(job, jar.digest, jar.size, &into.join("jars").join(format!("{}.jar", job.app.name)))?;
    for file in data {
        let to = into.join(file.path.trim_start_matches('/'));
        match (&file.sha256, &file.link) {
            (Some(digest), _) => copy_object(job, *digest, file.size, &to)?,
            (None, Some(target)) => {
                create_folder(to.parent().context("a file has a folder")?)?;
                std::os::unix::fs::symlink(target, &to)?;
            }
            (None, None) => create_folder(&to)?,
        }
    }
    pack(job, Role::Restore, &folder)
}

/// The application with the source of this run, which `--source` may have replaced.
fn with_source(job: &Job<'_>) -> App {
    App { source: job.source.clone(), ..job.app.clone() }
}

/// The folder that is packed, with exactly these files. It stays the same folder from one run to the next, by which
/// rockcraft finds the instance it builds in again.
fn stage(job: &Job<'_>, role: Role, files: &Files) -> Result<PathBuf> {
    let apps = job.session.workspace.state_folder("rockcraft")?;
    let folder = apps.join(&job.app.name).join(role.folder());
    create_folder(&folder)?;
    for entry in WalkDir::new(&folder).min_depth(1).max_depth(1) {
        let entry = entry?;
        match entry.file_type().is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    for (path, file) in files {
        write_whole(&folder.join(path), &file.bytes, if file.executable { 0o755 } else { 0o644 })?;
    }
    Ok(folder)
}

/// A copy, not a link: rockcraft gives what it packs other owners and modes.
fn copy_object(job: &Job<'_>, digest: crate::digest::Digest, size: u64, to: &Path) -> Result<()> {
    create_folder(to.parent().context("a file has a folder")?)?;
    let mut file = fs::File::create(to)?;
    job.session.store.copy_object(&digest, size, &mut file)?;
    Ok(())
}

/// Runs `rockcraft pack` and takes the rock it makes into the store.
fn pack(job: &Job<'_>, role: Role, folder: &Path) -> Result<Image> {
    let Job { session, app, .. } = *job;
    let mut command = std::process::Command::new("rockcraft");
    command.arg("pack").arg(format!("--verbosity={}", session.progress.verbosity().of_rockcraft()));
    command.arg(format!("--platform={}", debian_architecture()));
    if session.destructive {
        command.arg("--destructive-mode");
    }
    command.current_dir(folder);
    let limit = Limit::new("limits.build", app.limits.build);
    let line = process::describe(&command);
    let mut last = process::Tail::default();
    let status = process::stream(command, &limit, |line| {
        session.progress.log("rockcraft", line);
        last.push(line);
    })?;
    // The last lines name rockcraft's own log file.
    process::succeeded(&line, status, &last.lines().join("\n"))
        .with_context(|| format!("rockcraft could not pack {}", session.workspace.relative(folder)))?;
    let rock = packed(job, role, folder)?;
    let image = import::read_archive(&session.store, &rock)?;
    fs::remove_file(&rock)?;
    match job.way.engine {
        Engine::Criu => with_file_capabilities(job, role, &image),
        Engine::Crac => Ok(image),
    }
}

/// A restore rock whose CRIU has what the job grants. That of a CRaC JVM is root by its setuid bit, and has what its
/// container has.
pub fn granted(job: &Job<'_>, image: &Image) -> Result<Image> {
    match job.way.engine {
        Engine::Criu => with_file_capabilities(job, Role::Restore, image),
        Engine::Crac => Ok(image.clone()),
    }
}

/// `NAME_VERSION_PLATFORM.rock`.
fn packed(job: &Job<'_>, role: Role, folder: &Path) -> Result<PathBuf> {
    let name =
        format!("{}_{}_{}.rock", render::rock_name(job.app, role), job.app.version, debian_architecture());
    let path = folder.join(&name);
    if path.is_file() {
        return Ok(path);
    }
    let rocks = WalkDir::new(folder).max_depth(1).into_iter().filter_map(Result::ok);
    let rocks = rocks.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "rock"));
    let found: Vec<String> = rocks.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let found = if found.is_empty() { "no rock".to_owned() } else { found.join(", ") };
    bail!("rockcraft succeeded, but made {found} instead of {name}")
}

/// rockcraft 1.20 packs layers with Python's tarfile, which leaves file capabilities out; without its own, CRIU has none
/// under Docker. One more layer holds the very same CRIU with them.
fn with_file_capabilities(job: &Job<'_>, role: Role, image: &Image) -> Result<Image> {
    let store = &job.session.store;
    let criu = criu_entry(job, role, import::read_file(store, image, CRIU)?);
    let layer = layer::write_layer(store, &[criu])?;
    import::add_layer(store, image, layer, "file capabilities")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_rockcraft_is_refused_with_the_version_it_needs() {
        let check = |version: &str, base: &str, expected: &str| match new_enough(version, base) {
            Ok(()) => assert_eq!(expected, "", "{version} {base}"),
            Err(error) => assert!(!expected.is_empty() && error.to_string().contains(expected), "{error}"),
        };
        check("1.20.0", "ubuntu@24.04", "");
        check("1.20.0+stand-in", "ubuntu@26.04", "");
        check("2.0.0", "ubuntu@26.04", "");
        check("1.6.0", "ubuntu@24.04", "needs 1.7 or later");
        check("1.18.1", "ubuntu@26.04", "this is rockcraft 1.18.1, and the base ubuntu@26.04 needs 1.19");
        check("snap", "ubuntu@24.04", "no version");
    }
}
