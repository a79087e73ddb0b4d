//! How an application's jar is come by: git at a commit, Maven coordinates, a folder, a jar.
//!
//! Whatever the source, the jar ends up in the store, and what it was made from names it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::app::{App, Build, Source};
use crate::digest::Digest;
use crate::memo::Memo;
use crate::process::Limit;
use crate::runtime::Mount;
use crate::session::Session;
use crate::toolchain::Toolchain;
use crate::workspace::open_file;

pub mod git;
pub mod seen;

/// A jar in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jar {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// The goal that fetches an artifact, with its version: what fetches does not drift either.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";

/// Built files and histories below a source folder, which are no part of the source.
const NOT_SOURCE: [&str; 3] = [".git", ".gradle", "target"];

impl Source {
    /// One line for people.
    pub fn title(&self) -> String {
        match self {
            Source::Git { url, commit, .. } => format!("git {url} at {}", &commit[..commit.len().min(12)]),
            Source::Maven { group, artifact, version, classifier, .. } => {
                let classifier = classifier.as_ref().map(|name| format!(":{name}")).unwrap_or_default();
                format!("maven {group}:{artifact}:{version}{classifier}")
            }
            Source::Directory { path, .. } => format!("directory {}", path.display()),
            Source::Jar { path } => format!("jar {}", path.display()),
        }
    }

    /// Whether it is only on this machine.
    pub fn is_local(&self) -> bool {
        matches!(self, Source::Directory { .. } | Source::Jar { .. })
    }

    /// What names the jar: the commit, the artifact's sum, or what is in the folder or jar right now.
    pub fn digest(&self, app: &App) -> Result<Digest> {
        let content = match self {
            Source::Git { .. } | Source::Maven { .. } => None,
            Source::Directory { path, .. } => Some(directory_digest(path)?),
            Source::Jar { path } => {
                let jar = || format!("the jar {} cannot be read", path.display());
                let mut file = open_file(path).with_context(jar)?;
                Some(Digest::of_reader(&mut file)?.0)
            }
        };
        Ok(match self {
            // Where it lies does not matter, what it holds does.
            Source::Jar { .. } => jar_digest(content),
            Source::Directory { build, .. } => {
                Digest::of_value(&("directory", content, build, app.java.version))
            }
            Source::Maven { .. } => Digest::of_value(self),
            Source::Git { .. } => Digest::of_value(&(self, app.java.version)),
        })
    }

    /// The jar made earlier from the same, if it is still in the store.
    pub fn cached(&self, app: &App, session: &Session) -> Result<Option<Jar>> {
        let jar: Option<Jar> = Memo::of(&session.workspace, "jar", &self.digest(app)?)?.get();
        Ok(jar.filter(|jar| session.store.has(&jar.digest, jar.size)))
    }

    /// Whether building it needs the build image.
    pub fn needs_toolchain(&self) -> bool {
        !matches!(self, Source::Jar { .. })
    }

    /// Fetches or builds the jar.
    pub fn jar(&self, app: &App, session: &Session, toolchain: Option<&Toolchain<'_>>) -> Result<Jar> {
        let named = self.digest(app)?;
        let memo = Memo::of(&session.workspace, "jar", &named)?;
        let limit = Limit::new("limits.build", app.limits.build);
        let temporary = session.workspace.temporary()?;
        let toolchain = || toolchain.context("this source needs the build image");
        let (digest, size) = match self {
            Source::Jar { path } => {
                let added = session.store.add_file(path)?;
                ensure!(
                    jar_digest(Some(added.0)) == named,
                    "{} changed while it was read; run this again",
                    path.display()
                );
                added
            }
            Source::Maven { sha256, .. } => {
                let out = fetch_artifact(self, toolchain()?, temporary.path(), &limit)?;
                let (digest, size) = session.store.add_file(&out)?;
                ensure!(
                    digest.hex() == *sha256,
                    "{} has SHA-256 {}, but apps/{}/app.toml says {sha256}; \
                     if you trust what the repository serves now, write the new sum there",
                    self.title(),
                    digest.hex(),
                    app.name
                );
                (digest, size)
            }
            Source::Git { url, commit, build } => {
                let tree = temporary.path().join("src");
                git::check_out(&session.workspace.state_folder("cache/git")?, url, commit, &tree, &limit)?;
                self.build(build, &tree, toolchain()?, session, &limit)?
            }
            Source::Directory { path, build } => {
                // A copy: the build's files, made by another user, must not end up in somebody's checkout.
                let tree = temporary.path().join("src");
                copy_tree(path, &tree)?;
                let copy = Source::Directory { path: tree.clone(), build: build.clone() };
                ensure!(
                    copy.digest(app)? == named,
                    "the sources in {} changed while they were read; run this again",
                    path.display()
                );
                self.build(build, &tree, toolchain()?, session, &limit)?
            }
        };
        let jar = Jar { digest, size };
        memo.put(&jar)?;
        Ok(jar)
    }

    /// Fetches a Maven artifact whose sum nobody knows yet.
    pub fn first_jar(&self, session: &Session, toolchain: &Toolchain<'_>, limit: &Limit) -> Result<Jar> {
        let temporary = session.workspace.temporary()?;
        let (digest, size) =
            session.store.add_file(&fetch_artifact(self, toolchain, temporary.path(), limit)?)?;
        Ok(Jar { digest, size })
    }

    fn build(
        &self,
        build: &Build,
        tree: &Path,
        toolchain: &Toolchain<'_>,
        session: &Session,
        limit: &Limit,
    ) -> Result<(Digest, u64)> {
        let mounts = vec![Mount { from: tree.to_owned(), to: "/src".into(), writable: true }];
        toolchain
            .run("build", &build.command, mounts, limit)
            .with_context(|| format!("`{}` failed on {}", build.command, self.title()))?;
        let jar = one_jar(tree, &build.jar)?;
        session.store.add_file(&jar)
    }
}

/// What names a jar that is already there.
fn jar_digest(content: Option<Digest>) -> Digest {
    Digest::of_value(&("jar", content))
}

/// The single file that the glob matches.
fn one_jar(tree: &Path, pattern: &str) -> Result<PathBuf> {
    let escaped = glob::Pattern::escape(tree.to_str().context("a temporary folder's path is UTF-8")?);
    let mut found: Vec<PathBuf> = glob::glob(&format!("{escaped}/{pattern}"))
        .with_context(|| format!("`{pattern}` is no glob"))?
        .collect::<Result<_, _>>()?;
    found.retain(|path| path.is_file() && !path.is_symlink());
    let list = |paths: &[PathBuf]| {
        let names = paths.iter().map(|path| path.strip_prefix(tree).unwrap_or(path).display().to_string());
        names.map(|name| format!("\n  {name}")).collect::<String>()
    };
    match found.as_slice() {
        [jar] => Ok(jar.clone()),
        [] => {
            let jars: Vec<PathBuf> = WalkDir::new(tree)
                .sort_by_file_name()
                .into_iter()
                .filter_map(Result::ok)
                .map(|entry| entry.into_path())
                .filter(|path| path.extension().is_some_and(|extension| extension == "jar"))
                .take(20)
                .collect();
            let found = if jars.is_empty() { "\n  no jar at all".to_owned() } else { list(&jars) };
            bail!("the build made no jar that matches `{pattern}` (source.jar); it made:{found}")
        }
        several => {
            bail!(
                "the build made several jars that match `{pattern}` (source.jar), one is expected:{}",
                list(several)
            )
        }
    }
}

fn fetch_artifact(
    source: &Source,
    toolchain: &Toolchain<'_>,
    folder: &Path,
    limit: &Limit,
) -> Result<PathBuf> {
    let Source::Maven { group, artifact, version, classifier, sha256 } = source else {
        bail!("{} is no Maven artifact", source.title());
    };
    let classifier = classifier.as_ref().map(|name| format!(":{name}")).unwrap_or_default();
    let coordinates = format!("{group}:{artifact}:{version}:jar{classifier}");
    let coordinates = shlex::try_quote(&coordinates)?.into_owned();
    let script = format!(
        "mvn --batch-mode --no-transfer-progress {COPY} -Dartifact={coordinates} -DoutputDirectory=/src"
    );
    let mounts = vec![Mount { from: folder.to_owned(), to: "/src".into(), writable: true }];
    toolchain.run("maven", &script, mounts, limit).with_context(|| {
        // `new` does not know the sum yet, and has written nothing.
        let place = if sha256.is_empty() { "after `--maven`" } else { "in app.toml (source.maven)" };
        format!("Maven cannot fetch {}; check the coordinates {place}", source.title())
    })?;
    one_jar(folder, "*.jar")
}

fn source_entries(folder: &Path) -> impl Iterator<Item = walkdir::Result<walkdir::DirEntry>> {
    WalkDir::new(folder)
        .min_depth(1)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.depth() != 1 || !NOT_SOURCE.iter().any(|name| entry.file_name() == *name))
}

/// Digest of the names, kinds, permissions and bytes below a folder.
fn directory_digest(folder: &Path) -> Result<Digest> {
    use std::os::unix::fs::PermissionsExt;
    let mut entries = Vec::new();
    for entry in source_entries(folder) {
        let entry = entry.context("the source folder cannot be read")?;
        let path = entry.path();
        let name = path.strip_prefix(folder)?.to_string_lossy().into_owned();
        let content = match entry.file_type() {
            kind if kind.is_file() => {
                let executable = entry.metadata()?.permissions().mode() & 0o100 != 0;
                let (digest, _) = Digest::of_reader(&mut fs::File::open(path)?)?;
                format!("file {executable} {digest}")
            }
            kind if kind.is_symlink() => format!("link {}", fs::read_link(path)?.display()),
            _ => continue,
        };
        entries.push((name, content));
    }
    Ok(Digest::of_value(&entries))
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in source_entries(from) {
        let entry = entry.context("the source folder cannot be read")?;
        let target = to.join(entry.path().strip_prefix(from)?);
        match entry.file_type() {
            kind if kind.is_dir() => fs::create_dir_all(&target)?,
            kind if kind.is_symlink() => std::os::unix::fs::symlink(fs::read_link(entry.path())?, &target)?,
            kind if kind.is_file() => fs::copy(entry.path(), &target).map(drop)?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        folder
    }

    #[test]
    fn exactly_one_jar_is_taken() {
        let check = |files: &[&str], expected: &str| {
            let folder = tree(files);
            let text = match one_jar(folder.path(), "target/*.jar") {
                Ok(path) => path.strip_prefix(folder.path()).unwrap().display().to_string(),
                Err(error) => error.to_string(),
            };
            assert!(text.contains(expected), "{files:?}: {text}");
        };
        check(&["target/a.jar", "target/a.jar.original"], "target/a.jar");
        check(&["target/a.jar", "target/b.jar"], "several jars that match `target/*.jar`");
        check(&["target/a.jar", "target/b.jar"], "\n  target/b.jar");
        check(&["build/libs/a.jar"], "it made:\n  build/libs/a.jar");
        check(&["pom.xml"], "no jar at all");
    }

    #[test]
    fn a_folder_is_named_by_its_sources_alone() {
        let digest = |files: &[&str]| directory_digest(tree(files).path()).unwrap();
        let plain = digest(&["pom.xml", "src/A.java"]);
        assert_eq!(plain, digest(&["pom.xml", "src/A.java", "target/a.jar", ".git/HEAD"]));
        assert_ne!(plain, digest(&["pom.xml", "src/B.java"]));
        assert_ne!(plain, digest(&["pom.xml", "src/A.java", "src/target/x"]));
    }
}
