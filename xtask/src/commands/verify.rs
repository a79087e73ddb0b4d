//! `verify`: do store, rendered files and rocks still agree with the pin? Changes nothing.

use std::path::Path;

use anyhow::{Result, bail};
use bytesize::ByteSize;

use crate::app::{self, App};
use crate::cli::{Global, Verify};
use crate::lock::Lock;
use crate::pack::archive::read_manifest_digest;
use crate::pack::verify::verify_archive;
use crate::plan::Drift;
use crate::rock::Role;
use crate::session::Session;
use crate::signature;
use crate::verify;

/// Verifies one application or all that have a pin.
pub fn run(session: &Session, arguments: &Verify, global: &Global) -> Result<()> {
    if global.plan {
        super::print_plan(&[
            "read the pin, which carries its own digest",
            "hash what it names in the store",
            "compare rocks/ with what would be rendered",
            "compare the packed rocks with their manifests",
        ]);
        return Ok(());
    }
    let names = match &arguments.app {
        Some(name) => vec![name.clone()],
        None => app::names(&session.workspace.root)?,
    };
    let mut wrong = 0;
    for name in names {
        let app = app::load(&session.workspace.root, &name)?.app;
        let lock = match Lock::read(&session.workspace.lock(&name)) {
            Ok(Some(lock)) => lock,
            Ok(None) if arguments.app.is_none() => {
                println!("{name}: no pin");
                continue;
            }
            Ok(None) => super::pin(session, &app)?,
            Err(error) => {
                println!("{name}: WRONG  {error:#}");
                wrong += 1;
                continue;
            }
        };
        let mut findings = match &arguments.rock {
            Some(rock) => this_rock(&app, &lock, rock),
            None => everything(session, &app, &lock, arguments.deep)?,
        };
        let path = session.workspace.lock(&name);
        match signature::check(&path, &lock.text()?, &app.pin.signed_by) {
            Err(error) => findings.push(format!("{error:#}")),
            Ok(()) if !app.pin.signed_by.is_empty() => println!("{name}: signed by a key of pin.signed-by"),
            Ok(()) => {}
        }
        for finding in &findings {
            println!("{name}: WRONG  {finding}");
        }
        wrong += findings.len();
    }
    match wrong {
        0 => Ok(()),
        1 => bail!("one thing is not as it was pinned"),
        _ => bail!("{wrong} things are not as they were pinned"),
    }
}

fn everything(session: &Session, app: &App, lock: &Lock, deep: bool) -> Result<Vec<String>> {
    let name = &app.name;
    let verified = verify::objects(&session.store, lock, deep);
    let mut findings = verified.findings;
    if findings.is_empty() {
        println!("{name}: store, {} objects with {}", verified.objects, ByteSize(verified.bytes));
    }
    let stale = super::render::stale(session, app, lock)?;
    match stale.is_empty() {
        true => println!("{name}: rocks/{name} is fresh"),
        false => findings.extend(stale.iter().map(Drift::to_string)),
    }
    for (role, pinned) in [(Role::Checkpoint, lock.rocks.checkpoint), (Role::Restore, lock.rocks.restore)] {
        let path = super::rock_path(session, app, role);
        let shown = session.workspace.relative(&path);
        if !path.exists() {
            println!("{name}: {shown} is not packed");
            continue;
        }
        let checked = match deep {
            true => verify_archive(&path, &pinned, &app.version).map(|image| image.manifest),
            false => read_manifest_digest(&path),
        };
        match checked {
            Ok(found) if found == pinned => println!("{name}: {shown}"),
            Ok(found) => findings.push(format!("{shown}: its manifest is {found}, the pin says {pinned}")),
            Err(error) => findings.push(format!("{shown}: {error:#}")),
        }
    }
    Ok(findings)
}

/// A rock from anywhere, all of it.
fn this_rock(app: &App, lock: &Lock, rock: &Path) -> Vec<String> {
    let checked = read_manifest_digest(rock).and_then(|found| {
        let Some(role) = [(lock.rocks.restore, "restore"), (lock.rocks.checkpoint, "checkpoint")]
            .into_iter()
            .find_map(|(pinned, role)| (pinned == found).then_some(role))
        else {
            bail!(
                "its manifest is {found}; the pin says {} and {}",
                lock.rocks.restore,
                lock.rocks.checkpoint
            );
        };
        verify_archive(rock, &found, &app.version)?;
        Ok(role)
    });
    match checked {
        Ok(role) => {
            println!("{}: {} is the pinned {role} rock, byte for byte", app.name, rock.display());
            Vec::new()
        }
        Err(error) => vec![format!("{}: {error:#}", rock.display())],
    }
}
