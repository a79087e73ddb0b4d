//! `restore`: start the restored application from its pin.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::app;
use crate::checkpoint::{self, Log, restore_service};
use crate::cli::{Global, Restore};
use crate::diagnostic::InputError;
use crate::host;
use crate::interrupt;
use crate::progress::seconds;
use crate::render::Templates;
use crate::rock::Role;
use crate::runtime::{Publish, Runtime};
use crate::session::Session;

/// Packs and loads what is missing, starts it, and shows its log until it ends or is stopped.
pub fn run(session: &Session, arguments: &Restore, global: &Global) -> Result<()> {
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    if global.plan {
        super::print_plan(&[
            "read the pin",
            "pack the restore rock from it, unless it is packed",
            "load it, unless it is loaded",
            "start it and wait for the first 200",
            "show its log until Ctrl-C",
        ]);
        return Ok(());
    }
    let mut publish = arguments
        .publish
        .clone()
        .unwrap_or(Publish { host: Some(app.http.port), ..Publish::anywhere(app.http.port) });
    if publish.container != app.http.port {
        let wrong =
            format!("--publish {publish}: {} listens on port {} (http.port)", app.name, app.http.port);
        return Err(InputError::plain(wrong, "the last part is the container's port").into());
    }
    let lock = super::pin(session, &app)?;
    super::fits(session, &lock, arguments.force_host)?;
    let templates = Templates::read(&session.workspace.templates())?;
    let job = super::pinned_job(session, &app, &templates, &lock, global)?;
    host::ensure(&host::for_restore(session), global.install, &session.progress)?;
    let _shared = session.workspace.sharing()?;
    let runtime = Runtime::connect(session.runtime)?;
    if arguments.publish.is_none() && runtime.is_remote() {
        // Its loopback address is not this machine's.
        publish.address = "0.0.0.0".into();
    }
    runtime.sweep()?;
    super::sweep(session)?;
    let image = session.progress.step("pack the restore rock", || super::pack::from_pin(&job, &lock))?;
    let name = session
        .progress
        .step("load the restore rock", || super::load(session, &runtime, &app, Role::Restore, &image))?;
    let host = if runtime.is_remote() { runtime.host() } else { &publish.address };
    let address = format!("http://{host}:{}/", publish.host.unwrap_or(app.http.port));
    let running = checkpoint::start_restored(&job, &runtime, &name, Some(publish), arguments.detach)?;
    let up = format!(
        "{} is back, {} after its container started ({} with the container's own start): {address}",
        app.name,
        seconds(running.start.alone),
        seconds(running.start.with_container)
    );
    if arguments.detach {
        session.progress.say(&up);
        let name = running.container.keep();
        println!("{name}");
        session.progress.say(&format!("stop it with: {} rm --force {name}", runtime.kind));
        return Ok(());
    }
    println!("{up}\nCtrl-C stops it.");
    let container = &running.container;
    let log = Log::default();
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| log.follow(container, &restore_service(&app.name), &session.progress));
        while !follower.is_finished() && interrupt::sleep(Duration::from_millis(50)).is_ok() {}
        if interrupt::received().is_some() {
            container.stop(Duration::from_secs(40));
        }
        log.finish(follower);
    });
    if interrupt::received().is_some() {
        println!("{} is stopped.", app.name);
        return Ok(());
    }
    let code = container.exit_code()?.context("the container's end")?;
    ensure!(code == 0, "{} ended by itself, its container with exit code {code}; {}", app.name, log.tail());
    Ok(())
}
