//! `explain`: what a log says went wrong, and what to change.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;

use crate::app;
use crate::cli::{Explain, Global};
use crate::diagnostic::InputError;
use crate::explain::kept::{self, Bounded, READ};
use crate::explain::{self, PAGE, Shown};
use crate::session::Session;
use crate::workspace::{open_file, write_whole};

/// Lines that are shown of a log in which no cause is known.
const LAST: usize = 10;

/// Reads a log and explains it; fails where nothing in it is known.
pub fn run(session: &Session, arguments: &Explain, global: &Global) -> Result<()> {
    if global.plan {
        super::print_plan(&[if arguments.markdown {
            "write the page"
        } else {
            "read the log and explain it"
        }]);
        return Ok(());
    }
    if arguments.markdown {
        return page(session, global.locked);
    }
    let (name, log) = read(session, arguments.log.as_deref())?;
    if log.lines().next().is_none() {
        let wrong = format!("{name} is empty");
        let help =
            "there is nothing in it to explain; `podman logs CONTAINER 2>&1` has both outputs of a container";
        return Err(InputError::plain(wrong, help).into());
    }
    let app = arguments.app.as_deref().or_else(|| kept::app_of(&log));
    let shown = app.map(|app| self::shown(session, app)).transpose()?;
    let found = explain::explain_lines(log.lines());
    println!("{name}");
    if log.left_out > 0 {
        println!("{} bytes of its middle were not looked at.", log.left_out);
    }
    println!();
    if found.is_empty() {
        println!("{}", explain::unknown(&explain::last_errors(log.lines(), LAST)));
        bail!("no known cause in {name}");
    }
    println!("{}", explain::long(&found, shown.as_ref()));
    Ok(())
}

/// The log and what to call it.
fn read(session: &Session, named: Option<&Path>) -> Result<(String, Bounded)> {
    let read_file = |path: PathBuf| -> Result<(String, Bounded)> {
        let name = session.workspace.relative(&path).to_string();
        let name = crate::progress::plain(&name);
        let log = open_file(&path).and_then(|file| Bounded::read(file, READ));
        match log {
            Ok(log) => Ok((name, log)),
            Err(error) => Err(InputError::plain(
                format!("cannot read {name}: {}", reason(&error)),
                "name a log, or `-` for the standard input; without a name it is that of the newest failed run",
            )
            .into()),
        }
    };
    match named {
        Some(path) if path == Path::new("-") => {
            let log = Bounded::read(std::io::stdin().lock(), READ).context("the standard input")?;
            Ok(("the standard input".to_owned(), log))
        }
        Some(path) => read_file(path.to_owned()),
        None => match kept::newest(&session.workspace)? {
            Some(path) => read_file(path),
            None => Err(InputError::plain(
                "no failed run has left a log in target/xtask/logs",
                "name a log, as CRIU's dump.log or restore.log, or `-` for the standard input",
            )
            .into()),
        },
    }
}

/// Why a file cannot be read, in plain words.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::InvalidInput => "it is no regular file".to_owned(),
        kind => kind.to_string(),
    }
}

/// The application's app.toml. One that cannot be loaded may be what is to be explained.
fn shown(session: &Session, app: &str) -> Result<Shown> {
    let root = &session.workspace.root;
    if !app::names(root)?.iter().any(|known| known == app) {
        // Says which there are.
        app::load(root, app)?;
    }
    let toml = fs::read(session.workspace.app(app).join("app.toml"))?;
    let toml = String::from_utf8_lossy(&toml).into_owned();
    Ok(Shown { app: app.to_owned(), file: format!("apps/{app}/app.toml"), toml })
}

/// Writes the page of the guide; with `--locked`, only says whether it is fresh.
fn page(session: &Session, check: bool) -> Result<()> {
    let path = session.workspace.root.join(PAGE);
    let text = explain::markdown();
    let fresh = fs::read_to_string(&path).is_ok_and(|old| old == text);
    ensure!(fresh || !check, "{PAGE} is not fresh; run `cargo xtask explain --markdown`");
    if !fresh {
        write_whole(&path, text.as_bytes(), 0o644)?;
    }
    println!("{PAGE} is {}", if fresh { "fresh" } else { "written" });
    Ok(())
}
