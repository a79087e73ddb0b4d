//! One file a command, named like it. What several commands need stands here.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;

use crate::app::{self, App, Build, Loaded, Source};
use crate::cli::{self, Cli, Command, ENGINES, Global};
use crate::diagnostic::InputError;
use crate::host;
use crate::lock::{Host, Lock};
use crate::pack::Image;
use crate::pack::archive::{self, Prepared};
use crate::progress::Verbosity;
use crate::render::{Templates, rock_name};
use crate::rock::Role;
use crate::rocks::Job;
use crate::runtime::{Kind, Runtime};
use crate::session::Session;
use crate::signature;
use crate::toolchain::debian_architecture;
use crate::uptime;
use crate::way::{Packer, Way};

mod bench;
mod beside;
mod capabilities;
mod check;
pub mod checkpoint;
mod clean;
mod completions;
mod diff;
mod doctor;
mod explain;
mod gc;
mod guide;
mod list;
mod man;
mod new;
pub mod pack;
mod pull;
mod push;
mod render;
mod restore;
mod sbom;
mod scan;
mod schema;
mod show;
mod sign;
mod soak;
mod status;
mod test;
mod verify;
mod why;

/// Carries out a command.
pub fn run(cli: &Cli) -> Result<()> {
    let verbosity = match (cli.global.quiet, cli.global.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    let session = Session::open(verbosity, runtime_choice(cli)?, cli.global.destructive_mode)?;
    match &cli.command {
        Command::New(arguments) => new::run(&session, arguments, &cli.global),
        Command::Checkpoint(arguments) => checkpoint::run(&session, arguments, &cli.global),
        Command::Restore(arguments) => restore::run(&session, arguments, &cli.global),
        Command::Status(arguments) => status::run(&session, arguments, &cli.global),
        Command::Render(arguments) => render::run(&session, arguments, &cli.global),
        Command::Check(arguments) => check::run(&session, arguments, &cli.global),
        Command::Schema(arguments) => schema::run(&session, arguments, &cli.global),
        Command::Pack(arguments) => pack::run(&session, arguments, &cli.global),
        Command::Why(arguments) => why::run(&session, arguments, &cli.global),
        Command::Diff(arguments) => diff::run(&session, arguments, &cli.global),
        Command::Bench(arguments) => bench::run(&session, arguments, &cli.global),
        Command::Capabilities(arguments) => capabilities::run(&session, arguments, &cli.global),
        Command::Soak(arguments) => soak::run(&session, arguments, &cli.global),
        Command::Push(arguments) => push::run(&session, arguments, &cli.global),
        Command::Pull(arguments) => pull::run(&session, arguments, &cli.global),
        Command::Sign(arguments) => sign::run(&session, arguments, &cli.global),
        Command::Verify(arguments) => verify::run(&session, arguments, &cli.global),
        Command::Sbom(arguments) => sbom::run(&session, arguments, &cli.global),
        Command::Scan(arguments) => scan::run(&session, arguments, &cli.global),
        Command::List => list::run(&session, &cli.global),
        Command::Show(arguments) => show::run(&session, arguments, &cli.global),
        Command::Completions(arguments) => completions::run(arguments, &cli.global),
        Command::Man(arguments) => man::run(&session, arguments, &cli.global),
        Command::Guide => guide::run(&session, &cli.global),
        Command::Test(arguments) => test::run(&session, arguments, &cli.global),
        Command::Doctor(arguments) => doctor::run(&session, arguments, &cli.global),
        Command::Explain(arguments) => explain::run(&session, arguments, &cli.global),
        Command::Gc(arguments) => gc::run(&session, arguments, &cli.global),
        Command::Clean(arguments) => clean::run(&session, arguments, &cli.global),
    }
}

/// `--runtime`, or else XTASK_RUNTIME.
fn runtime_choice(cli: &Cli) -> Result<Option<Kind>> {
    let named = std::env::var("XTASK_RUNTIME").unwrap_or_default();
    match (cli.global.runtime, named.as_str()) {
        (Some(kind), _) => Ok(Some(kind)),
        (None, "") => Ok(None),
        (None, name) => cli::chosen(&ENGINES, name).map(Some).ok_or_else(|| {
            InputError::plain(format!("XTASK_RUNTIME is {name:?}"), "set it to `podman` or `docker`").into()
        }),
    }
}

/// A command that has one step, or none that changes anything, says so when asked for its plan.
fn print_plan(steps: &[&str]) {
    for (number, step) in steps.iter().enumerate() {
        println!("{:>2}. {step}", number + 1);
    }
}

/// The applications a command is about: the one that is named, or all.
fn apps(session: &Session, named: Option<&str>) -> Result<Vec<Loaded>> {
    let root = &session.workspace.root;
    match named {
        Some(name) => Ok(vec![app::load(root, name)?]),
        None => app::names(root)?.iter().map(|name| app::load(root, name)).collect(),
    }
}

/// The source of a run: `--source` goes before app.toml.
fn source_of(app: &App, given: Option<&Path>) -> Result<Source> {
    let Some(path) = given else { return Ok(app.source.clone()) };
    let wrong = |what: &str| {
        InputError::plain(format!("--source {}: {what}", path.display()), "name a folder of sources or a jar")
    };
    let path = fs::canonicalize(path).map_err(|_| wrong("there is no such file or folder"))?;
    if path.is_file() {
        return Ok(Source::Jar { path });
    }
    let build = match &app.source {
        Source::Git { build, .. } | Source::Directory { build, .. } => build.clone(),
        Source::Maven { .. } | Source::Jar { .. } => {
            Build { command: "./mvnw package".into(), jar: "target/*.jar".into() }
        }
    };
    Ok(Source::Directory { path, build })
}

/// The pin a command works with, signed where the application wants that.
fn pin(session: &Session, app: &App) -> Result<Lock> {
    let path = session.workspace.lock(&app.name);
    let lock = Lock::read(&path)?.with_context(|| no_pin(&app.name))?;
    // Its text is what was read: a lock is only accepted if it is byte for byte what it says.
    signature::check(&path, &lock.text()?, &app.pin.signed_by)?;
    Ok(lock)
}

fn no_pin(app: &str) -> String {
    format!(
        "{app} has no pin yet; run `cargo xtask checkpoint {app}`, or `cargo xtask pull {app}` where it was pushed"
    )
}

/// Whether the pinned process can run here; an error unless somebody insists, who is warned.
fn fits(session: &Session, lock: &Lock, force: bool) -> Result<()> {
    let dumped = uptime::of_dump(&session.store, lock);
    if let Some(why) =
        dumped.zip(uptime::here(Path::new("/"))).and_then(|(dumped, here)| uptime::behind(dumped, here))
    {
        session.progress.warn(&format!("{why}; {}", uptime::REMEDY));
    }
    let Some(reason) = lock.host.refuses(&Host::this()?) else { return Ok(()) };
    if force {
        session.progress.warn(&format!(
            "--force-host: {reason}; the restored process may end at any moment with an illegal instruction"
        ));
        return Ok(());
    }
    anyhow::bail!(
        "{0} cannot be restored here: {reason}; run it on a machine like the one it was dumped on, make a pin for this \
         one with `cargo xtask checkpoint {0} --force`, or try all the same with `cargo xtask restore {0} --force-host`",
        lock.app
    )
}

/// This machine and its container engine, ready to restore a pin; nobody else works on the application as long as the first
/// value lives.
fn ready_to_restore(
    session: &Session,
    app: &App,
    lock: &Lock,
    global: &Global,
) -> Result<([std::fs::File; 2], Runtime)> {
    fits(session, lock, false)?;
    host::ensure(&host::for_restore(session), global.install, &session.progress)?;
    let alone = session.workspace.exclusive(&app.name)?;
    let runtime = Runtime::connect(session.runtime)?;
    runtime.sweep()?;
    sweep(session)?;
    Ok((alone, runtime))
}

/// What goes through the house in this run.
fn job<'a>(
    session: &'a Session,
    app: &'a App,
    source: &'a Source,
    templates: &'a Templates,
) -> Result<Job<'a>> {
    let way = Way::of(app, host::find("rockcraft").is_some());
    if way.packer == Packer::Native && !app.rock.slices.is_empty() {
        anyhow::bail!(
            "{} has rock.slices, which only rockcraft can cut, and it is not installed here",
            app.name
        );
    }
    Ok(Job { session, templates, app, source, way, granted: None, refused: &[] })
}

/// What works with a pin, in the way it was made; with `--locked` only if nothing differs from it.
fn pinned_job<'a>(
    session: &'a Session,
    app: &'a App,
    templates: &'a Templates,
    lock: &'a Lock,
    global: &Global,
) -> Result<Job<'a>> {
    let granted = Some(lock.capabilities.restore.as_slice());
    let refused = &lock.system_calls.refused;
    let job = Job { session, templates, app, source: &app.source, way: lock.way(), granted, refused };
    if global.locked {
        why::locked(&job, Some(lock))?;
    }
    Ok(job)
}

/// The name of a rock's image in the container engine.
fn image_name(app: &App, role: Role) -> String {
    format!("localhost/{}:{}", rock_name(app, role), app.version)
}

/// A restore rock that has not been proven yet has this name.
fn candidate(app: &App) -> String {
    format!("localhost/{}:candidate", rock_name(app, Role::Restore))
}

/// The rock that records the class archive has this name for the while.
fn training(app: &App) -> String {
    format!("localhost/{}:training", rock_name(app, Role::Checkpoint))
}

/// Loads a rock into the container engine under its own name.
fn load(session: &Session, runtime: &Runtime, app: &App, role: Role, image: &Image) -> Result<String> {
    load_as(session, runtime, &image_name(app, role), image)
}

/// Loads a rock under a given name.
fn load_as(session: &Session, runtime: &Runtime, name: &str, image: &Image) -> Result<String> {
    runtime.load(session, image, name)?;
    Ok(name.to_owned())
}

/// Where a packed rock lies, by the name rockcraft gives it.
fn rock_path(session: &Session, app: &App, role: Role) -> PathBuf {
    let file = format!("{}_{}_{}.rock", rock_name(app, role), app.version, debian_architecture());
    session.workspace.state().join("rocks").join(file)
}

/// Writes a rock as an OCI archive.
fn write_rock(session: &Session, app: &App, role: Role, image: &Image) -> Result<PathBuf> {
    if let Some(prepared) = prepare_rock(session, app, role, image)? {
        prepared.place()?;
    }
    Ok(rock_path(session, app, role))
}

/// A rock as an OCI archive, but for its last rename; none where it is in its place already.
fn prepare_rock(session: &Session, app: &App, role: Role, image: &Image) -> Result<Option<Prepared>> {
    session.workspace.state_folder("rocks")?;
    let path = rock_path(session, app, role);
    if archive::read_manifest_digest(&path).is_ok_and(|digest| digest == image.manifest) {
        return Ok(None);
    }
    archive::prepare_archive(&session.store, image, &app.version, &path).map(Some)
}

/// Removes temporary files of runs that were killed.
pub fn sweep(session: &Session) -> Result<()> {
    session.store.sweep()?;
    session.workspace.sweep_temporary()
}
