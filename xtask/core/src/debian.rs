//! Root file systems from Debian packages, by mmdebstrap: the base layer of the rocks and the build image.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use xshell::{Shell, cmd};

use crate::digest::Digest;
use crate::memo::Memo;
use crate::pack::Blob;
use crate::process::{self, Limit};
use crate::rock::DAEMON_ID;
use crate::session::Session;

/// Changes whenever the way a root is made does, so that no root made the old way is taken for a new one.
const RECIPE: &str = "2";
/// What a service never reads. Only files, so that packages still find the folders they link into.
const EXCLUDED: [&str; 4] =
    ["/usr/share/doc/*/*", "/usr/share/man/*/*", "/usr/share/locale/*/*", "/usr/share/info/*"];
/// No program makes its user another or a member of another group: nothing in a rock needs that, and a service that is
/// broken into shall not have it.
const UNPRIVILEGED: &str = "find \"$1\" -xdev -type f -perm /6000 -exec chmod a-s {} +";
/// Bytes of a build's clock and of its caches, which would differ from one build to the next. Started by an ordinary
/// user, mmdebstrap has apt's configuration in the root's own /tmp and still needs it: without, apt falls back to the
/// host's folders. It removes that file itself.
const CLEANED: &str = "rm -rf \"$1\"/var/log/* \"$1\"/var/cache/ldconfig/aux-cache \"$1\"/var/cache/apt/* \
    \"$1\"/var/lib/apt/lists/* \"$1\"/run/* && \
    find \"$1\"/tmp -mindepth 1 -maxdepth 1 ! -name 'mmdebstrap.*' -exec rm -rf {} + && \
    rm -f \"$1\"/var/lib/dpkg/*-old \"$1\"/etc/*-";

/// A root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Its tar, a layer in the store.
    pub blob: Blob,
    /// `name=version` of every package, sorted.
    pub packages: Vec<String>,
}

/// What a root is made from.
#[derive(Debug, Clone, Serialize)]
pub struct RootSpec {
    /// Debian suite.
    pub suite: String,
    /// Packages besides the essential ones, sorted.
    pub packages: Vec<String>,
    recipe: &'static str,
}

impl RootSpec {
    /// A root of these packages.
    pub fn new(suite: &str, mut packages: Vec<String>) -> RootSpec {
        packages.sort();
        packages.dedup();
        RootSpec { suite: suite.to_owned(), packages, recipe: RECIPE }
    }

    /// Names this root.
    pub fn digest(&self) -> Digest {
        Digest::of_value(self)
    }

    /// The root made earlier, if it is still in the store.
    pub fn cached(&self, session: &Session) -> Result<Option<Root>> {
        let root: Option<Root> = Memo::of(&session.workspace, "root", &self.digest())?.get();
        Ok(root.filter(|root| session.store.has(&root.blob.digest, root.blob.size)))
    }

    /// The root made earlier, or a new one.
    pub fn make(&self, session: &Session) -> Result<Root> {
        if let Some(root) = self.cached(session)? {
            return Ok(root);
        }
        let root = self.bootstrap(session)?;
        Memo::of(&session.workspace, "root", &self.digest())?.put(&root)?;
        Ok(root)
    }

    fn bootstrap(&self, session: &Session) -> Result<Root> {
        let temporary = session.workspace.temporary()?;
        let tar = temporary.path().join("root.tar");
        let include = self.packages.join(",");
        let user = format!(
            "echo '_daemon_:x:{DAEMON_ID}:{DAEMON_ID}::/var/lib/pebble/default:/usr/bin/false' >>\"$1/etc/passwd\" && \
             echo '_daemon_:x:{DAEMON_ID}:' >>\"$1/etc/group\""
        );
        let excluded = EXCLUDED.map(|path| format!("--dpkgopt=path-exclude={path}"));
        let extra = extra_options()?;
        let suite = &self.suite;
        let shell = Shell::new()?;
        // As root, mmdebstrap mounts the host's /dev, /sys and /proc into the new root. In a mount namespace of its
        // own they go with it, however it ends, and nothing that removes the folder can reach through them.
        let root = rustix::process::geteuid().is_root();
        let apart: &[&str] = if root { &["unshare", "--mount", "--"] } else { &[] };
        // Device nodes are the container engine's; mmdebstrap may make them only as root.
        let command = cmd!(
            shell,
            "env {apart...} mmdebstrap --variant=minbase --format=tar --skip=output/dev {excluded...} --include={include}
             --customize-hook={user} --customize-hook={CLEANED} --customize-hook={UNPRIVILEGED}
             {extra...} {suite} {tar}"
        )
        .env("SOURCE_DATE_EPOCH", crate::pack::layer::MTIME.to_string());
        // An ordinary user's mmdebstrap works as another user of its own, who could not enter our folder.
        let command = if root { command.env("TMPDIR", temporary.path()) } else { command };
        let limit = Limit::new("the tool's own limit for mmdebstrap", std::time::Duration::from_secs(1800));
        let mut said = Vec::new();
        let status = process::stream(command, &limit, |line| {
            session.progress.detail("mmdebstrap", line);
            said.push(line.to_owned());
        })?;
        if !status.success() {
            let text = said.join("\n");
            let help = if text.contains("Release file") && text.contains("expired") {
                "\nThe mirror's Release file is past its date. If you accept an old mirror, set \
                 XTASK_MMDEBSTRAP='--aptopt=Acquire::Check-Valid-Until \"false\"'."
            } else if !root && text.contains("cannot create") && text.contains("Permission denied") {
                "\nStarted without root, mmdebstrap works as one of your sub-UIDs, which must be able to enter every \
                 folder above TMPDIR: unset TMPDIR, or name one as open as /tmp."
            } else {
                ""
            };
            let errors: Vec<&String> = said.iter().rev().take(12).collect();
            let errors: Vec<&str> = errors.into_iter().rev().map(String::as_str).collect();
            anyhow::bail!("mmdebstrap failed ({status}):\n  {}{help}", errors.join("\n  "));
        }
        let packages = installed(&tar)?;
        let (digest, size) = session.store.add_file(&tar)?;
        Ok(Root { blob: Blob { digest, size }, packages })
    }
}

/// `XTASK_MMDEBSTRAP`: options a machine needs, such as a mirror's; never a default of ours.
fn extra_options() -> Result<Vec<String>> {
    let Ok(text) = std::env::var("XTASK_MMDEBSTRAP") else { return Ok(Vec::new()) };
    let words = shlex::split(&text).context("XTASK_MMDEBSTRAP: a quote is not closed")?;
    ensure!(
        words.iter().all(|word| word.starts_with('-')),
        "XTASK_MMDEBSTRAP holds options only, each with its -"
    );
    Ok(words)
}

/// `name=version` of every package in a root's tar.
fn installed(tar: &std::path::Path) -> Result<Vec<String>> {
    let mut archive = tar::Archive::new(std::io::BufReader::new(fs::File::open(tar)?));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.ends_with("var/lib/dpkg/status") {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            return Ok(parse_status(&text));
        }
    }
    anyhow::bail!("the root that mmdebstrap made has no /var/lib/dpkg/status")
}

fn parse_status(text: &str) -> Vec<String> {
    let mut packages: Vec<String> = text
        .split("\n\n")
        .filter_map(|paragraph| {
            let fields: BTreeMap<&str, &str> =
                paragraph.lines().filter_map(|line| line.split_once(": ")).collect();
            Some(format!("{}={}", fields.get("Package")?, fields.get("Version")?))
        })
        .collect();
    packages.sort();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dpkg_status() {
        let text = "Package: b\nStatus: install ok installed\nVersion: 1:2-3\nDescription: x\n y\n\nPackage: a\nVersion: 1\n";
        assert_eq!(parse_status(text), ["a=1", "b=1:2-3"]);
    }

    #[test]
    fn a_root_is_named_by_its_packages_not_by_their_order() {
        let of = |packages: [&str; 2]| RootSpec::new("sid", packages.map(String::from).to_vec()).digest();
        assert_eq!(of(["a", "b"]), of(["b", "a"]));
        assert_ne!(of(["a", "b"]), of(["a", "c"]));
    }
}
