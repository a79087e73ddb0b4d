//! `push`: a pin and all that it names, to a folder or a registry.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use bytesize::ByteSize;
use fs_err as fs;

use crate::app::{self, App};
use crate::cli::{Global, Push};
use crate::diagnostic::InputError;
use crate::lock::{Lock, pin};
use crate::pack::{Blob, Image, oci};
use crate::remote::{self, Artifact, Pushed, Remote, Subject};
use crate::render::Templates;
use crate::rock::Role;
use crate::rocks;
use crate::sbom;
use crate::session::Session;
use crate::signature;
use crate::verify;

/// Verifies the pin, then sends what is not there yet; names it last.
pub fn run(session: &Session, arguments: &Push, global: &Global) -> Result<()> {
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    let remote = place(&app, arguments.remote.as_deref(), arguments.plain_http)?;
    let rock =
        arguments.rock.as_deref().map(|text| rock_place(&app, text, arguments.plain_http)).transpose()?;
    if global.plan {
        super::print_plan(&[
            "read the pin and verify what it names",
            "list what is in the restore rock",
            &format!("send {} what it lacks, then the pin", remote.name()),
        ]);
        return Ok(());
    }
    let lock = super::pin(session, &app)?;
    let _shared = session.workspace.sharing()?;
    super::sweep(session)?;
    let templates = Templates::read(&session.workspace.templates())?;
    let job = super::pinned_job(session, &app, &templates, &lock, global)?;
    session.progress.step("verify the pin", || verified(session, &lock))?;
    let text = lock.text()?;
    let image = session.progress.step("pack the restore rock", || super::pack::from_pin(&job, &lock))?;
    let sbom = session.progress.step("list what is in it", || sbom::of_pin(&session.store, &lock))?.bytes;
    let artifact = {
        let signature = fs::read_to_string(signature::path(&session.workspace.lock(&app.name))).ok();
        let texts = pin::Texts { lock: &text, signature: signature.as_deref(), sbom: &sbom };
        pin::artifact(&session.store, &lock, texts, annotations(&app, &lock))?
    };
    let [version, own] = pin::tags(&app.name, &app.version, &text);
    let version = remote.tag().map_or(version, String::from);
    let send = |tag: &str| remote::push(&session.store, &remote, &artifact, tag, &session.progress);
    let pushed = session.progress.step(&format!("push to {}", remote.name()), || {
        let pushed = send(&version)?;
        send(&own).map(|_| pushed)
    })?;
    println!("{}:{version}  {}", remote.name(), pushed.manifest.digest);
    println!("{}", sent(&pushed));
    if let Some((remote, tag)) = rock {
        push_rock(session, &remote, &tag, &image, &sbom)?;
    }
    println!("Next: commit apps/{0}/checkpoint.lock; elsewhere, `cargo xtask pull {0}`", app.name);
    Ok(())
}

/// Where pins go and come from: what was said, or else `pin.remote`.
pub fn place(app: &App, said: Option<&str>, plain_http: bool) -> Result<Remote> {
    let (text, plain_http) = match said {
        Some(text) => (text, plain_http),
        None if !app.pin.remote.is_empty() => (app.pin.remote.as_str(), plain_http),
        None => {
            let wrong = format!("{} has no `pin.remote`, and none was named", app.name);
            let help =
                "name a registry's repository (`registry.example.com/team/pins`) or a folder (`oci:DIR`)";
            return Err(InputError::plain(wrong, help).into());
        }
    };
    Remote::parse(text, plain_http)
}

fn rock_place(app: &App, text: &str, plain_http: bool) -> Result<(Remote, String)> {
    let remote = Remote::parse(text, plain_http)?;
    let tag = remote.tag().map_or_else(|| app.version.replace(['~', '+'], "-"), String::from);
    remote::check_tag(&tag)?;
    Ok((remote, tag))
}

/// Nothing leaves this machine that is not what the pin says.
fn verified(session: &Session, lock: &Lock) -> Result<()> {
    let findings = verify::objects(&session.store, lock, false).findings;
    ensure!(findings.is_empty(), "{} is not as it was pinned:\n  {}", lock.app, findings.join("\n  "));
    Ok(())
}

/// Source, commit and version, as the rock's own labels have them.
fn annotations(app: &App, lock: &Lock) -> BTreeMap<String, String> {
    let mut annotations = rocks::labels(app, &app.source, Role::Restore);
    if lock.source.local {
        // It was not made from what app.toml names.
        annotations.retain(|name, _| !name.ends_with(".source") && !name.ends_with(".revision"));
    }
    annotations.insert("org.opencontainers.image.title".into(), app.name.clone());
    annotations
}

/// The rock as an image that container engines pull, and the list of what is in it, which points to it.
fn push_rock(session: &Session, remote: &Remote, tag: &str, image: &Image, sbom: &[u8]) -> Result<()> {
    let store = &session.store;
    let what = format!("push the restore rock to {}", remote.name());
    let pushed = session.progress.step(&what, || {
        let pushed = remote::push_image(store, remote, image, tag, &session.progress)?;
        let (digest, size) = store.add_bytes(sbom)?;
        let list = Artifact {
            artifact_type: pin::SBOM.into(),
            annotations: BTreeMap::new(),
            parts: vec![remote::Part {
                title: "bom.cdx.json".into(),
                media_type: pin::SBOM.into(),
                blob: Blob { digest, size },
                annotations: BTreeMap::new(),
            }],
            subject: Some(Subject {
                media_type: oci::MANIFEST.into(),
                blob: Blob { digest: image.manifest, size: image.manifest_size },
            }),
        };
        let tag = format!("sha256-{}.sbom", image.manifest.hex());
        remote::push(store, remote, &list, &tag, &session.progress).context("its list of contents")?;
        Ok(pushed)
    })?;
    println!("{}:{tag}  {}", remote.name(), pushed.manifest.digest);
    println!("{}", sent(&pushed));
    Ok(())
}

fn sent(pushed: &Pushed) -> String {
    match pushed.sent {
        0 => format!("nothing was sent: all {} blobs were there", pushed.present),
        _ => format!(
            "sent {} blobs, {}; {} were there",
            pushed.sent,
            ByteSize(pushed.sent_bytes),
            pushed.present
        ),
    }
}
