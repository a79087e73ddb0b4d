//! Git sources: the host's git, which has the user's credentials, fetches one commit into a bare repository that
//! is kept, and a clone of that is built.

use std::path::Path;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::digest::Digest;
use crate::process::{self, Limit};
use crate::session::Session;

/// Puts the files of `commit` into `tree`.
pub fn check_out(session: &Session, url: &str, commit: &str, tree: &Path, limit: &Limit) -> Result<()> {
    let kept = session.workspace.state_folder("cache/git")?.join(Digest::of(url).short());
    let shell = Shell::new()?;
    // Asking for a password would wait for somebody who is not there.
    shell.set_var("GIT_TERMINAL_PROMPT", "0");
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
            let all = cmd!(shell, "git -C {kept} fetch --quiet --tags -- {url} +refs/heads/*:refs/heads/*");
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
