//! `scan`: are there secrets in the pinned data? Changes nothing.

use anyhow::Result;

use crate::app;
use crate::cli::{Global, Scan};
use crate::files::DataFile;
use crate::lock::Lock;
use crate::render::{Templates, render};
use crate::rocks::Job;
use crate::scan::{self, ClassArchive, Finding, NO_PROOF, Secret, Target};
use crate::session::Session;

/// Searches what the pin names, and fails on a finding that app.toml does not allow.
pub fn run(session: &Session, arguments: &Scan, global: &Global) -> Result<()> {
    if global.plan {
        super::print_plan(&[
            "read the pin, and the secrets that app.toml names from where this machine has them",
            "search the dumped memory, the files beside it, the class archive and the rocks' texts",
        ]);
        return Ok(());
    }
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    let secrets = scan::given(&app, &session.workspace.root)?;
    let lock = super::pin(session, &app)?;
    let templates = Templates::read(&session.workspace.templates())?;
    let texts = texts(&templates, &app, Some(&lock))?;
    let archive = lock.class_archive.as_ref().map(|archive| (archive.digest, archive.size));
    let target = Target { app: &app, files: &lock.data.files, archive, texts };
    let found = scan::scan(&session.store, &target, &secrets)?;
    match arguments.json {
        true => println!("{:#}", serde_json::to_value(&found)?),
        false => print(&found),
    }
    warn(session, &found);
    found.verdict()
}

/// What [`run`] does for a dump that is not pinned yet.
pub fn dumped(
    job: &Job<'_>,
    lock: Option<&Lock>,
    files: &[DataFile],
    archive: Option<ClassArchive>,
    secrets: &[Secret],
) -> Result<scan::Scan> {
    let texts = texts(job.templates, job.app, lock)?;
    let found = scan::scan(&job.session.store, &Target { app: job.app, files, archive, texts }, secrets)?;
    warn(job.session, &found);
    found.verdict().map_err(|refused| {
        // Nothing names it, and it is memory all the same.
        anyhow::anyhow!(
            "{refused}\n\nWhat was dumped stays in {} until `cargo xtask gc`.",
            job.session.workspace.relative(job.session.store.root())
        )
    })?;
    Ok(found)
}

/// What is rendered into the rocks, by path.
fn texts(templates: &Templates, app: &app::App, lock: Option<&Lock>) -> Result<Vec<(String, Vec<u8>)>> {
    let files = render(templates, app, lock)?;
    let name = |path: &std::path::Path| format!("rocks/{}/{}", app.name, path.display());
    Ok(files.into_iter().map(|(path, file)| (name(&path), file.bytes)).collect())
}

fn warn(session: &Session, found: &scan::Scan) {
    for id in &found.allowed_in_vain {
        session.progress.warn(&format!(
            "secrets.allow names {id}, which was not found; remove the entry from apps/{}/app.toml",
            found.app
        ));
    }
    let noted: Vec<&str> =
        found.noted().map(Finding::rule).filter_map(|rule| rule.strip_prefix("variable/")).collect();
    if !noted.is_empty() {
        session.progress.warn(&format!(
            "in the dump, and nothing says whether they are secret: the values of {}; `cargo xtask scan {}` says where. \
             What is secret has no place in [environment]; what is not is told no more once secrets.allow names it",
            noted.join(", "),
            found.app
        ));
    }
    if let Some(why) = &found.unread_variables {
        session.progress.warn(&format!(
            "the values of the variables that the container had could not be searched for, those of [environment] apart: {why}"
        ));
    }
    if let Some(why) = &found.unread {
        session.progress.warn(&format!(
            "the memory was searched as files, and a value that lies across two pages of it may be missed: {why}"
        ));
    }
}

/// What was searched for and where, then what was found.
fn print(found: &scan::Scan) {
    println!("{}: {}\n", found.app, found.summary());
    println!("  memory                  of {}, by address", scan::count(found.processes, "process"));
    println!("  files                   {}, from end to end", found.files);
    let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    println!("  values                  {}", list(&found.secrets));
    println!("  formats                 {}", found.formats.join(", "));
    println!("  variables in the dump   {}", list(&found.variables));
    for finding in found.findings.iter().filter(|finding| finding.allowed.is_some()) {
        println!("\nallowed: {finding}\n    because: {}", finding.allowed.as_deref().unwrap_or_default());
    }
    for finding in found.noted() {
        println!("\nfor you to judge: {finding}");
    }
    println!("\n{NO_PROOF}");
}
