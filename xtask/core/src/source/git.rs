//! Git sources: the host's git, which has the user's credentials, fetches one commit into a bare repository that
//! is kept, and a clone of that is built.

use std::path::Path;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::digest::Digest;
use crate::process::{self, Limit};

/// Where git asks nobody: for a password it would wait for somebody who is not there.
fn shell() -> Result<Shell> {
    let shell = Shell::new()?;
    shell.set_var("GIT_TERMINAL_PROMPT", "0");
    if std::env::var_os("GIT_SSH_COMMAND").is_none() {
        shell.set_var("GIT_SSH_COMMAND", "ssh -oBatchMode=yes");
    }
    Ok(shell)
}

/// The commit that the default branch of a repository is at.
pub fn head(url: &str, limit: &Limit) -> Result<String> {
    let shell = shell()?;
    let ask = cmd!(shell, "git ls-remote -- {url} HEAD");
    let said =
        process::read(ask, limit).with_context(|| format!("cannot ask {url} for its newest commit"))?;
    let commit = said.split_whitespace().next().map(str::to_owned);
    commit.with_context(|| format!("{url} has no commit yet"))
}

/// Puts the files of `commit` into `tree`. Below `cache`, each URL has its bare repository.
pub fn check_out(cache: &Path, url: &str, commit: &str, tree: &Path, limit: &Limit) -> Result<()> {
    let kept = cache.join(Digest::of(url).short());
    let shell = shell()?;
    if !kept.join("HEAD").is_file() {
        process::read(cmd!(shell, "git init --quiet --bare {kept}"), limit)?;
    }
    let object = format!("{commit}^{{commit}}");
    let present =
        || process::run(cmd!(shell, "git -C {kept} cat-file -e {object}"), limit).map(|r| r.status.success());
    if !present()? {
        // One commit where the server allows it, everything otherwise.
        let one = cmd!(shell, "git -C {kept} fetch --quiet --depth=1 -- {url} {commit}");
        if !process::run(one, limit)?.status.success() {
            let whole: &[&str] = if kept.join("shallow").exists() { &["--unshallow"] } else { &[] };
            let all = cmd!(
                shell,
                "git -C {kept} fetch --quiet {whole...} --tags -- {url} +refs/heads/*:refs/heads/*"
            );
            process::read(all, limit).with_context(|| {
                format!("cannot fetch {url}; on a machine that cannot reach it, name a checkout with `--source DIR`")
            })?;
        }
        anyhow::ensure!(present()?, "{url} has no commit {commit} on any branch or tag");
    }
    let branch = format!("{commit}:refs/xtask/{commit}");
    // A clone takes only what a reference leads to.
    process::read(cmd!(shell, "git -C {kept} fetch --quiet . {branch}"), limit)?;
    process::read(cmd!(shell, "git init --quiet {tree}"), limit)?;
    process::read(
        cmd!(shell, "git -C {tree} fetch --quiet --update-shallow {kept} refs/xtask/{commit}"),
        limit,
    )?;
    process::read(
        cmd!(shell, "git -C {tree} -c advice.detachedHead=false checkout --quiet {commit}"),
        limit,
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    #[test]
    fn one_commit_is_checked_out_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (origin, cache) = (folder.path().join("origin"), folder.path().join("cache"));
        fs::create_dir_all(&cache).unwrap();
        let shell = Shell::new().unwrap();
        let git = |line: &str| {
            let words = line.split(' ');
            let user = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"];
            process::read(cmd!(shell, "git -C {origin} {user...} {words...}"), &Limit::quick()).unwrap()
        };
        fs::create_dir(&origin).unwrap();
        git("init --quiet");
        let commits: Vec<String> = ["one", "two"]
            .into_iter()
            .map(|text| {
                fs::write(origin.join("file"), text).unwrap();
                git("add file");
                git("commit --quiet -m x");
                git("rev-parse HEAD")
            })
            .collect();
        let url = format!("file://{}", origin.display());
        assert_eq!(head(&url, &Limit::quick()).unwrap(), commits[1]);
        let check = |commit: &str, expected: &str| {
            let tree = folder.path().join(format!("tree-{commit}"));
            match check_out(&cache, &url, commit, &tree, &Limit::quick()) {
                Ok(()) => assert_eq!(fs::read_to_string(tree.join("file")).unwrap(), expected),
                Err(error) => assert!(format!("{error:#}").contains(expected), "{error:#}"),
            }
        };
        // An older commit than the branch's tip, which a server need not give by its id.
        check(&commits[0], "one");
        check(&commits[1], "two");
        check(&"0".repeat(40), "has no commit 0000");
        fs::remove_dir_all(&origin).unwrap();
        let gone = head(&url, &Limit::quick()).unwrap_err().to_string();
        assert!(gone.starts_with("cannot ask file://"), "{gone}");
        fs::remove_dir_all(folder.path().join(format!("tree-{}", commits[0]))).unwrap();
        // What was fetched once is not fetched again.
        check(&commits[0], "one");
    }
}
