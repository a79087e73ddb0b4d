//! `restore`: start the restored application from its pin.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use fs_err as fs;
use walkdir::WalkDir;

use crate::app::{self, App};
use crate::checkpoint::{self, CameUp, Log, Outside, restore_service};
use crate::cli::{Global, Restore};
use crate::diagnostic::InputError;
use crate::host;
use crate::interrupt;
use crate::progress::seconds;
use crate::render::{self, SECCOMP, Templates};
use crate::rock::{DAEMON_ID, Role};
use crate::runtime::{Kind, Mount, Publish, Runtime};
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
        return by_hand(session, &app, arguments, global);
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
    let mounts = arguments.secrets.as_deref().map(secrets).transpose()?.into_iter().collect();
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
    let force_host = arguments.force_host;
    let detached = arguments.detach;
    let outside = Outside { publish: Some(publish), detached, mounts, force_host, ..Outside::default() };
    let running = checkpoint::start(&job, &runtime, &name, lock.pid, outside)?;
    let (way, because) = match &running.came_up {
        CameUp::Restored => ("is back: restored", String::new()),
        CameUp::Cold(reason) => {
            let why = checkpoint::why(&job, Role::Restore, &running.container, reason);
            ("is up: started cold", format!("\n  because: {reason}\n{why}"))
        }
    };
    let up = format!(
        "{} {way} in {} ({} with the container's own start): {address}{because}",
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
    let code = container.exit_code()?.with_context(|| {
        format!("the log of {} cannot be read any longer, though its container runs", app.name)
    })?;
    if code != 0 {
        let wrong = format!("{} ended by itself, its container with exit code {code}", app.name);
        return Err(checkpoint::failed(&job, Role::Restore, container, &wrong, &log.tail()));
    }
    Ok(())
}

/// Prints the command line by which podman or Docker alone does the same: what the pin grants and refuses, as
/// compose.yaml has it. Nothing where there is no pin.
fn by_hand(session: &Session, app: &App, arguments: &Restore, global: &Global) -> Result<()> {
    if !session.workspace.lock(&app.name).exists() {
        return Ok(());
    }
    let lock = super::pin(session, app)?;
    let templates = Templates::read(&session.workspace.templates())?;
    let job = super::pinned_job(session, app, &templates, &lock, global)?;
    let kind = session.runtime.unwrap_or(Kind::Podman);
    let mut spec = checkpoint::described(&job, Role::Restore, &super::image_name(app, Role::Restore));
    spec.profile = Some(Path::new("rocks").join(&app.name).join(Role::Restore.folder()).join(SECCOMP));
    if let Some(made) = lock.read_only_root() {
        spec.scratch = render::scratch(app, made);
    }
    let own = || Publish { host: Some(app.http.port), ..Publish::anywhere(app.http.port) };
    spec.publish = vec![arguments.publish.clone().unwrap_or_else(own)];
    spec.mounts = arguments.secrets.as_deref().map(secrets).transpose()?.into_iter().collect();
    println!(
        "\nBy hand, from the top of the repository, once the rock is loaded:\n\n  {}",
        spec.by_hand(kind)
    );
    Ok(())
}

/// Where the application finds what `--secrets` names.
const SECRETS: &str = "/run/secrets";

/// The folder of `--secrets`, which the application's user must be able to read: it is not root.
fn secrets(folder: &Path) -> Result<Mount, InputError> {
    let wrong = |what: String, help: &str| InputError::plain(format!("--secrets {what}"), help);
    let shown = folder.display();
    let from = fs::canonicalize(folder).ok().filter(|path| path.is_dir()).ok_or_else(|| {
        wrong(format!("{shown}: there is no such folder"), "name a folder with a file a secret")
    })?;
    if from.to_str().is_none_or(|path| path.contains([':', ',', '\n'])) {
        return Err(wrong(
            format!("{shown}: its path has a colon, a comma or is no UTF-8"),
            "use another folder",
        ));
    }
    for entry in WalkDir::new(&from).follow_links(true) {
        let entry = entry.map_err(|error| wrong(format!("{shown}: {error}"), "mend or remove it"))?;
        let metadata = entry.metadata().map_err(|error| wrong(format!("{shown}: {error}"), "mend it"))?;
        let (needed, of_user) = if metadata.is_dir() { (0o005, 0o500) } else { (0o004, 0o400) };
        let own = metadata.uid() == DAEMON_ID && metadata.mode() & of_user == of_user;
        if !own && metadata.mode() & needed != needed {
            let what =
                format!("{}: the application's user, {DAEMON_ID}, cannot read it", entry.path().display());
            let help =
                format!("chown it to {DAEMON_ID}, or let all read it in a folder that only you can enter");
            return Err(wrong(what, &help));
        }
    }
    Ok(Mount { from, to: SECRETS.to_owned(), writable: false })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_are_a_folder_that_the_applications_user_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, mode: u32, expected: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.join("db")).unwrap();
            fs::write(path.join("db/password"), "x").unwrap();
            fs::set_permissions(path.join("db/password"), PermissionsExt::from_mode(mode)).unwrap();
            fs::set_permissions(path.join("db"), PermissionsExt::from_mode(0o755)).unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            match secrets(&path) {
                Ok(mount) => {
                    assert_eq!(expected, "", "{name}");
                    assert_eq!((mount.to.as_str(), mount.writable), ("/run/secrets", false));
                }
                Err(error) => {
                    assert!(!expected.is_empty() && error.to_string().contains(expected), "{error}")
                }
            }
        };
        check("good", 0o444, "");
        check("mine", 0o400, "db/password: the application's user, 584792, cannot read it");
        check("a:b", 0o444, "has a colon");
        assert!(secrets(&folder.path().join("none")).unwrap_err().to_string().contains("no such folder"));
        assert!(secrets(&folder.path().join("good/db/password")).is_err());
    }
}
