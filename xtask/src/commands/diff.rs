//! `diff`: what differs between two pins.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cli::{Diff, Global};
use crate::diagnostic::InputError;
use crate::diff;
use crate::lock::Lock;
use crate::memory;
use crate::process::{self, Limit};
use crate::session::Session;

/// Prints a table.
pub fn run(session: &Session, arguments: &Diff, global: &Global) -> Result<()> {
    if global.plan {
        super::print_plan(&["read both pins", "print what differs"]);
        return Ok(());
    }
    let (before, after) = (pin(session, &arguments.before)?, pin(session, &arguments.after)?);
    if before == after {
        println!("{} and {} are the same pin.", arguments.before, arguments.after);
        return Ok(());
    }
    let mut rows = diff::differences(&before, &after);
    let memory = memory_of(session, arguments, &before, &after);
    rows.extend(memory.as_deref().ok().unwrap_or_default().iter().cloned());
    println!("{}", diff::table(&rows));
    if let Err(error) = memory {
        println!("\nTheir memory is not compared: {error:#}.");
    }
    if arguments.exit_code {
        bail!("{} and {} differ", arguments.before, arguments.after);
    }
    Ok(())
}

/// Both dumps' memory by kind; an error says why it cannot be had.
fn memory_of(session: &Session, arguments: &Diff, before: &Lock, after: &Lock) -> Result<Vec<diff::Row>> {
    let read = |name: &str, lock: &Lock| {
        if !memory::are_there(&session.store, &lock.data.files) {
            bail!("the store lacks images of {name}");
        }
        memory::regions(&session.store, &lock.data.files).with_context(|| name.to_owned())
    };
    Ok(diff::memory(&read(&arguments.before, before)?, &read(&arguments.after, after)?))
}

/// A pin by its file, by its application, or by a revision of git and its application.
fn pin(session: &Session, name: &str) -> Result<Lock> {
    let missing = |what: String| {
        let ways = "name a checkpoint.lock, an application that has one, or REVISION:APPLICATION";
        InputError::plain(what, ways)
    };
    let of_app = |app: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (!app.is_empty() && app.chars().all(plain)).then(|| session.workspace.lock(app))
    };
    let files = of_app(name).into_iter().chain([Path::new(name).to_owned()]);
    if let Some(path) = files.into_iter().find(|path| path.is_file()) {
        return Lock::read(&path)?.with_context(|| format!("{} is gone", path.display()));
    }
    match name.split_once(':') {
        // Git would take the first for an option.
        Some((revision, app))
            if !revision.is_empty() && !revision.starts_with('-') && of_app(app).is_some() =>
        {
            at_revision(session, revision, app).with_context(|| format!("there is no pin {name}"))
        }
        _ => Err(missing(format!("there is no pin `{name}`")).into()),
    }
}

/// An application's pin as it was committed.
fn at_revision(session: &Session, revision: &str, app: &str) -> Result<Lock> {
    let mut git = std::process::Command::new("git");
    git.arg("-C").arg(&session.workspace.root).arg("show");
    git.arg(format!("{revision}:./apps/{app}/checkpoint.lock"));
    let line = process::describe(&git);
    let ran = process::run(git, &Limit::quick())?;
    process::succeeded(&line, ran.status, &ran.stderr)?;
    Lock::parse(&ran.stdout)
}
