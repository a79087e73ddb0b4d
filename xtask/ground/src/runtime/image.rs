//! Images: how a rock gets into a container engine.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Kind, Runtime};
use crate::pack::{Image, archive};
use crate::process::{self, Limit};
use crate::session::Session;

/// Loading copies hundreds of megabytes, but no more.
fn load_limit() -> Limit {
    Limit::new("the tool's own limit for loading an image", Duration::from_secs(600))
}

impl Runtime {
    /// Whether an image of this name or ID is there.
    pub fn has_image(&self, name: &str) -> Result<bool> {
        Ok(self.image_id(name)?.is_some())
    }

    /// The ID of an image, without `sha256:`.
    fn image_id(&self, name: &str) -> Result<Option<String>> {
        let arguments = ["image", "inspect", "--format", "{{.Id}}", name];
        let ran = process::run(self.command(arguments), &Limit::quick())?;
        let id = ran.stdout.trim();
        Ok(ran.status.success().then(|| id.strip_prefix("sha256:").unwrap_or(id).to_owned()))
    }

    /// Loads an image of the store under a name. One that the engine has already is not read again.
    pub fn load(&self, session: &Session, image: &Image, name: &str) -> Result<()> {
        let previous = self.image_id(name)?;
        // Docker's containerd store names an image by its manifest, everybody else by its config.
        let ours = [image.config.hex(), image.manifest.hex()];
        let ids = match self.kind {
            Kind::Podman => &ours[..1],
            Kind::Docker => &ours[..],
        };
        if previous.as_ref().is_some_and(|previous| ids.contains(previous)) {
            return Ok(());
        }
        let mut loaded = None;
        for id in ids {
            if self.has_image(id)? {
                loaded = Some(id);
                break;
            }
        }
        match (loaded, self.kind) {
            (Some(id), _) => drop(process::read(self.command(["tag", id, name]), &Limit::quick())?),
            (None, Kind::Podman) => self.pull_layout(session, image, name)?,
            (None, Kind::Docker) => {
                // The command-line client sends what it reads to wherever the daemon is.
                process::feed(self.command(["load", "--quiet"]), &load_limit(), |out| {
                    archive::write_docker(&session.store, image, name, out)
                })
                .with_context(|| format!("Docker cannot load {name}"))?;
            }
        }
        match previous {
            // With another name it is somebody's; in use by a container it stays, without a name.
            Some(previous) if !ours.contains(&previous) && self.names(&previous)?.is_empty() => {
                process::clean_up(self.command(["rmi", &previous]));
            }
            _ => {}
        }
        Ok(())
    }

    /// The names of an image.
    fn names(&self, id: &str) -> Result<Vec<String>> {
        let arguments = ["image", "inspect", "--format", "{{json .RepoTags}}", id];
        let json = process::read(self.command(arguments), &Limit::quick())?;
        Ok(serde_json::from_str::<Option<Vec<String>>>(&json)?.unwrap_or_default())
    }

    /// podman reads a layout's blobs themselves, so that the data is copied once.
    fn pull_layout(&self, session: &Session, image: &Image, name: &str) -> Result<()> {
        let id = image.config.hex();
        // podman names what it reads from a layout after the path it is given, which must then be lowercase and no
        // path of this machine: a relative one, named by its content.
        let link = format!("xtask-{id}");
        let temporary = session.workspace.temporary()?;
        archive::write_layout(&session.store, image, "rock", &temporary.path().join(&link))?;
        let mut command = self.command(["pull", "--quiet", &format!("oci:{link}")]);
        command.current_dir(temporary.path());
        process::read(command, &load_limit()).with_context(|| format!("podman cannot load {name}"))?;
        process::read(self.command(["tag", &id, name]), &Limit::quick())?;
        for tag in self.names(&id)?.iter().filter(|tag| tag.contains("/xtask-") && tag.contains(&id)) {
            process::clean_up(self.command(["untag", &id, tag]));
        }
        Ok(())
    }

    /// Takes a name from an image; the image goes with its last name.
    pub fn forget(&self, name: &str) {
        process::clean_up(self.command(["rmi", name]));
    }
}
