//! `doctor`: can this machine checkpoint, and restore what is pinned? Changes nothing.

use std::path::Path;

use anyhow::{Result, bail};
use comfy_table::{Table, presets};

use crate::app;
use crate::cli::{Doctor, Global};
use crate::diagnostic::InputError;
use crate::doctor::machine::Configuration;
use crate::doctor::{self, Asked, Facts, Finding, Level, Machine, Subject, asked};
use crate::engine::Engine;
use crate::host;
use crate::lock::Lock;
use crate::session::Session;
use crate::uptime;
use crate::way::Way;

/// Prints a table; fails where a check does.
pub fn run(session: &Session, arguments: &Doctor, global: &Global) -> Result<()> {
    if global.plan {
        super::print_plan(&["read /proc and /sys", "ask the container engine and CRIU", "print a table"]);
        return Ok(());
    }
    let root = &session.workspace.root;
    let subjects = match &arguments.app {
        // What is wrong with the one that is asked for is shown in full.
        Some(name) => vec![subject(session, name, Some(app::load(root, name)?.app))?],
        None => {
            app::names(root)?.iter().map(|name| subject(session, name, None)).collect::<Result<Vec<_>>>()?
        }
    };
    let mut candidates = Vec::new();
    for app in subjects.iter().filter_map(|subject| subject.app.as_ref().ok()) {
        if Way::of(app, host::find("rockcraft").is_some()).engine == Engine::Criu {
            candidates.extend(asked::candidates(app, |role| super::image_name(app, role)));
        }
    }
    let own = Configuration::here();
    let machine = Machine::read(Path::new("/"), &asked::user(), asked::certificate_file().as_deref(), &own);
    let facts = Facts { machine, asked: Asked::ask(session, &candidates) };
    let mut findings = doctor::of_machine(&facts);
    findings.extend(subjects.iter().flat_map(|subject| doctor::of_app(&facts, subject)));
    println!("{}", table(&findings));
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let failed: Vec<&str> =
        findings.iter().filter(|one| one.level == Level::Fail).map(|one| one.check.as_str()).collect();
    let all = findings.len();
    if !failed.is_empty() {
        bail!("{} of {all} checks failed: {}", failed.len(), failed.join(", "));
    }
    let left: Vec<&str> =
        findings.iter().filter(|one| one.level == Level::NotTried).map(|one| one.check.as_str()).collect();
    let names = if left.is_empty() { String::new() } else { format!(": {}", left.join(", ")) };
    println!(
        "\n{} of {all} checks passed, {} with a warning, {} not tried{names}.",
        count(Level::Pass),
        count(Level::Warn),
        left.len()
    );
    Ok(())
}

fn subject(session: &Session, name: &str, app: Option<app::App>) -> Result<Subject> {
    let app = match app {
        Some(app) => Ok(app),
        None => match app::load(&session.workspace.root, name) {
            Ok(loaded) => Ok(loaded.app),
            Err(error) if error.is::<InputError>() => Err(format!("{error:#}")),
            Err(error) => return Err(error),
        },
    };
    let lock = Lock::read(&session.workspace.lock(name)).map_err(|error| format!("{error:#}"));
    let objects = match &lock {
        Ok(Some(lock)) => count(session, lock),
        _ => (0, 0),
    };
    let uptime = lock.iter().flatten().find_map(|lock| uptime::of_dump(&session.store, lock));
    Ok(Subject { name: name.to_owned(), app, lock, objects, uptime })
}

/// How many objects a pin names, and how many are missing.
fn count(session: &Session, lock: &Lock) -> (usize, usize) {
    let mut objects = lock.objects();
    let rock = lock.rock(&session.store);
    // A rock that rockcraft packed and whose list of pieces is gone counts as one piece that is missing.
    let lost = usize::from(rock.is_err());
    objects.extend(rock.unwrap_or_default());
    let missing = objects.iter().filter(|object| !session.store.has(&object.digest, object.size)).count();
    (objects.len() + lost, missing + lost)
}

/// One line a check; below it, what to do.
fn table(findings: &[Finding]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for finding in findings {
        let remedy = match finding.remedy.as_str() {
            "" => String::new(),
            remedy => format!("\n-> {remedy}"),
        };
        table.add_row([
            finding.level.to_string(),
            finding.check.clone(),
            format!("{}{remedy}", finding.found),
        ]);
    }
    table.trim_fmt()
}
