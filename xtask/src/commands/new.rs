//! `new`: a first app.toml, from what a repository, a jar or a folder says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::app::{self, Build, Source};
use crate::cli::{Global, New};
use crate::diagnostic::InputError;
use crate::host;
use crate::memo::Memo;
use crate::process::Limit;
use crate::runtime::Runtime;
use crate::session::Session;
use crate::source::git;
use crate::source::seen::Seen;
use crate::toolchain::Toolchain;
use crate::workspace::{create_folder, sweep_partial, write_whole};

/// The JDK of the build image in which Maven fetches: any would do, and this is the default of `java.version`.
const JAVA: u8 = 21;

/// Writes `apps/APP/app.toml` whole or not at all.
pub fn run(session: &Session, arguments: &New, global: &Global) -> Result<()> {
    let name = &arguments.app;
    app::check_name(name)?;
    if global.plan {
        super::print_plan(&[
            "resolve the commit, or fetch the artifact and pin its SHA-256",
            "read the jar, or what builds the sources",
            "write app.toml, validated",
        ]);
        return Ok(());
    }
    let folder = session.workspace.app(name);
    vacant(&folder, name)?;
    let (source, seen, fetched) = source(session, arguments, global)?;
    let text = app::draft(name, &source, &seen)
        .map_err(|why| InputError::plain(format!("{name}: {why}"), "take a build for an older Java"))?;
    // What is written is valid, or nothing is written.
    let label = format!("apps/{name}/app.toml");
    app::load_text(name, &folder, &label, &text)?;
    let _locks = session.workspace.exclusive(name)?;
    vacant(&folder, name)?;
    let was_there = folder.exists();
    create_folder(&folder)?;
    let written = write_whole(&folder.join("app.toml"), text.as_bytes(), 0o644);
    if written.is_err() && !was_there {
        let _ = std::fs::remove_dir(&folder);
    }
    written?;
    let app = app::load(&session.workspace.root, name)?.app;
    if let Some(jar) = fetched {
        // `checkpoint` does not fetch it again.
        Memo::of(&session.workspace, "jar", &app.source.digest(&app)?)?.put(&jar)?;
    }
    let guesses: Vec<&str> = text.lines().filter(|line| line.contains("# guessed")).collect();
    println!("{label} is written, and valid: {}.", app.source.title());
    if !guesses.is_empty() {
        println!("Guessed, so worth a look:");
        guesses.iter().for_each(|line| println!("  {line}"));
    }
    println!("Next: cargo xtask checkpoint {name}");
    Ok(())
}

/// Nothing is overwritten. An empty folder is what a killed run leaves.
fn vacant(folder: &Path, name: &str) -> Result<()> {
    if folder.is_dir() {
        sweep_partial(folder)?;
    }
    let holds = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    };
    match holds {
        true => Err(InputError::plain(
            format!("apps/{name} is there already, and nothing of it is overwritten"),
            format!("choose another name, or change apps/{name}/app.toml by hand"),
        )
        .into()),
        false => Ok(()),
    }
}

/// Where the jar comes from, what it says, and the jar itself if it was fetched.
fn source(
    session: &Session,
    arguments: &New,
    global: &Global,
) -> Result<(Source, Seen, Option<crate::source::Jar>)> {
    let built = |seen: &Seen| {
        let (command, jar) = seen.build.clone().unwrap_or_default();
        Build { command, jar }
    };
    if let Some(path) = &arguments.from.jar {
        let path = there("--jar", path)?;
        let seen = Seen::in_jar(&path)?;
        return Ok((Source::Jar { path }, seen, None));
    }
    if let Some(path) = &arguments.from.dir {
        let path = there("--dir", path)?;
        let seen = Seen::in_tree(&path)?;
        return Ok((Source::Directory { path, build: built(&seen) }, seen, None));
    }
    if let Some(url) = &arguments.from.git {
        if ["/", "./", "../", "~"].iter().any(|start| url.starts_with(start)) {
            let wrong =
                format!("--git {}: this is a path, and a repository has a URL", crate::progress::plain(url));
            let help =
                "`--dir` takes a folder with sources as they are; `--git file:///…` a commit of a repository";
            return Err(InputError::plain(wrong, help).into());
        }
        let url = app::given_git(url)?;
        let commit = arguments.commit.as_deref().map(app::given_commit).transpose()?;
        let (commit, seen) = of_git(session, &url, commit, global)?;
        return Ok((Source::Git { url, commit, build: built(&seen) }, seen, None));
    }
    let coordinates =
        arguments.from.maven.as_deref().context("one of --git, --maven, --jar and --dir is given")?;
    of_maven(session, app::given_maven(coordinates)?, global)
}

/// A file or folder that must be there, in full.
fn there(option: &str, path: &Path) -> Result<PathBuf, InputError> {
    fs::canonicalize(path).map_err(|_| {
        let wrong = format!("{option} {}: there is no such file or folder", path.display());
        InputError::plain(wrong, "a relative path begins in the current folder")
    })
}

/// What is fetched is kept: `checkpoint` builds the same commit.
fn of_git(session: &Session, url: &str, commit: Option<String>, global: &Global) -> Result<(String, Seen)> {
    host::ensure(&[host::GIT].into(), global.install, &session.progress)?;
    let commit = match commit {
        Some(commit) => commit,
        None => {
            let limit = Limit::new("the tool's own limit for asking a git server", Duration::from_secs(60));
            session.progress.step("ask for the newest commit", || git::head(url, &limit))?
        }
    };
    let _shared = session.workspace.sharing()?;
    let temporary = session.workspace.temporary()?;
    let tree = temporary.path().join("src");
    let cache = session.workspace.state_folder("cache/git")?;
    let limit = Limit::new("the tool's own limit for fetching sources", Duration::from_secs(900));
    session.progress.step("fetch the sources", || git::check_out(&cache, url, &commit, &tree, &limit))?;
    let seen = Seen::in_tree(&tree).map_err(|mut error| {
        // The folder is gone when this is read.
        for problem in &mut error.problems {
            problem.message =
                problem.message.replace(&tree.display().to_string(), &format!("{url} at {commit}"));
        }
        error
    })?;
    Ok((commit, seen))
}

/// Maven itself fetches, in the build image, as it will for `checkpoint`.
fn of_maven(
    session: &Session,
    source: Source,
    global: &Global,
) -> Result<(Source, Seen, Option<crate::source::Jar>)> {
    host::ensure(&host::for_restore(session).and(host::MMDEBSTRAP), global.install, &session.progress)?;
    let _shared = session.workspace.sharing()?;
    let runtime = Runtime::connect(session.runtime)?;
    let toolchain =
        session.progress.step("make the build image", || Toolchain::prepare(session, &runtime, JAVA))?;
    let limit = Limit::new("the tool's own limit for fetching an artifact", Duration::from_secs(1800));
    let jar = session.progress.step("fetch the jar", || source.first_jar(session, &toolchain, &limit))?;
    let seen = Seen::in_jar(&session.store.path(&jar.digest))?;
    let source = match source {
        Source::Maven { group, artifact, version, classifier, .. } => {
            Source::Maven { group, artifact, version, classifier, sha256: jar.digest.hex() }
        }
        other => other,
    };
    Ok((source, seen, Some(jar)))
}
