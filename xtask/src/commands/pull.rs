//! `pull`: what a pin names, from a folder or a registry; and the pin itself, where there is none yet.

use anyhow::{Context, Result, bail, ensure};
use bytesize::ByteSize;

use crate::app::{self, App};
use crate::cli::{Global, Pull};
use crate::lock::{Lock, pin};
use crate::pack::{Blob, import};
use crate::plan::Drift;
use crate::remote::{self, Artifact, MANIFEST_LIMIT, Part, Pulled, Remote};
use crate::render::Templates;
use crate::session::Session;
use crate::signature;
use crate::way::Packer;
use crate::workspace::write_whole;

/// The lock decides what is fetched, and each piece is verified; the lock is written last where it came along.
pub fn run(session: &Session, arguments: &Pull, global: &Global) -> Result<()> {
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    let remote = super::push::place(&app, arguments.remote.as_deref(), arguments.plain_http)?;
    if global.plan {
        super::print_plan(&[
            "read the pin here, or there where there is none here or another is asked for",
            &format!("fetch from {} what the store lacks of it", remote.name()),
        ]);
        return Ok(());
    }
    let _alone = session.workspace.exclusive(&app.name)?;
    super::sweep(session)?;
    let here = match &arguments.pin {
        None if session.workspace.lock(&app.name).exists() => Some(super::pin(session, &app)?),
        _ => None,
    };
    if global.locked && here.is_none() {
        bail!("{}", super::why::refusal(&app.name, &[Drift::NoPin]));
    }
    let job = Pulling { session, app: &app, remote: &remote };
    let mut pulled = Pulled::default();
    match here {
        Some(lock) => job.objects(&lock, &mut pulled)?,
        None => job.pin(arguments.pin.as_deref(), &mut pulled)?,
    }
    println!(
        "fetched {} blobs, {}; {} were there",
        pulled.fetched,
        ByteSize(pulled.fetched_bytes),
        pulled.present
    );
    println!("Next: cargo xtask restore {0}   (or `pack {0} restore --locked`)", app.name);
    Ok(())
}

struct Pulling<'a> {
    session: &'a Session,
    app: &'a App,
    remote: &'a Remote,
}

impl Pulling<'_> {
    /// The pin and what it names.
    fn pin(&self, wanted: Option<&str>, pulled: &mut Pulled) -> Result<()> {
        let Pulling { session, app, remote } = *self;
        let [version, _] = pin::tags(&app.name, &app.version, "");
        let name = wanted.or(remote.tag()).unwrap_or(&version);
        let (digest, artifact) = remote::read(remote, name)?;
        let (lock, text, signature) = self
            .texts(&artifact, pulled)
            .with_context(|| format!("{name} of {} ({digest}) is no pin of {}", remote.name(), app.name))?;
        self.objects(&lock, pulled)?;
        let path = session.workspace.lock(&app.name);
        lock.write(&path)?;
        if let Some(signature) = signature {
            write_whole(&signature::path(&path), signature.as_bytes(), 0o644)?;
        }
        let templates = Templates::read(&session.workspace.templates())?;
        super::render::write_app(session, &templates, app, Some(&lock))?;
        println!("{}  {}", session.workspace.relative(&path), crate::digest::Digest::of(text));
        Ok(())
    }

    /// The lock and its signature, which is asked for before anything else is fetched.
    fn texts(&self, artifact: &Artifact, pulled: &mut Pulled) -> Result<(Lock, String, Option<String>)> {
        let Pulling { session, app, .. } = *self;
        ensure!(
            artifact.artifact_type == pin::ARTIFACT,
            "it is a `{}`",
            artifact.artifact_type.escape_debug()
        );
        let locked = pin::find(artifact, pin::LOCK)?.context("it has no checkpoint.lock")?.clone();
        let signature = pin::find(artifact, pin::SIGNATURE)?.cloned();
        let parts: Vec<Part> = [Some(locked.clone()), signature.clone()].into_iter().flatten().collect();
        ensure!(
            parts.iter().all(|part| part.blob.size <= MANIFEST_LIMIT),
            "its checkpoint.lock is too large"
        );
        self.fetch(&parts, pulled)?;
        let text = pin::read(&session.store, &locked)?;
        let lock = Lock::parse(&text)?;
        ensure!(lock.app == app.name, "it is the pin of `{}`", lock.app.escape_debug());
        let signature = signature.map(|part| pin::read(&session.store, &part)).transpose()?;
        match &signature {
            _ if app.pin.signed_by.is_empty() => {}
            Some(signature) => signature::check_text(&text, signature, &app.pin.signed_by)?,
            None => bail!("it is not signed, and pin.signed-by wants a signature"),
        }
        Ok((lock, text, signature))
    }

    /// Everything that a lock names.
    fn objects(&self, lock: &Lock, pulled: &mut Pulled) -> Result<()> {
        let parts: Vec<Part> = lock.objects().iter().map(pin::part).collect();
        self.session.progress.step(&format!("pull from {}", self.remote.name()), || {
            self.fetch(&parts, pulled)?;
            match lock.packer.name {
                Packer::Rockcraft => self.rock(lock, pulled),
                Packer::Native => Ok(()),
            }
        })
    }

    /// A rock that can't be packed again: its manifest by the lock's word, the rest by the manifest's.
    fn rock(&self, lock: &Lock, pulled: &mut Pulled) -> Result<()> {
        let Pulling { session, app, remote } = *self;
        let [_, own] = pin::tags(&app.name, &app.version, &lock.text()?);
        let (_, artifact) = remote::read(remote, &own)?;
        let manifest = artifact.parts.iter().find(|part| part.blob.digest == lock.rocks.restore);
        let manifest = manifest.with_context(|| format!("{own} has no restore rock"))?.clone();
        ensure!(manifest.blob.size <= MANIFEST_LIMIT, "the manifest of the restore rock is too large");
        self.fetch(std::slice::from_ref(&manifest), pulled)?;
        let blobs = import::named_by(&session.store, &manifest.blob.digest)?;
        let part = |(digest, size)| Part { blob: Blob { digest, size }, ..manifest.clone() };
        self.fetch(&blobs.into_iter().map(part).collect::<Vec<_>>(), pulled)
    }

    fn fetch(&self, parts: &[Part], pulled: &mut Pulled) -> Result<()> {
        let cache = self.session.workspace.state_folder("cache/pull")?;
        let more = remote::pull(&self.session.store, self.remote, parts, &cache, &self.session.progress)?;
        pulled.fetched += more.fetched;
        pulled.fetched_bytes += more.fetched_bytes;
        pulled.present += more.present;
        Ok(())
    }
}
