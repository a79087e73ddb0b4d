//! What Docker's containers see of this machine: nothing. Files are sent before a container starts and fetched after
//! it has ended, so that neither a remote daemon nor the snap's private /tmp makes a difference.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use fs_err as fs;

use super::{Container, ContainerSpec, Mount, Runtime, owned, start_limit};
use crate::process::{self, Limit};

/// A checkout, a jar or a cache: hundreds of megabytes at most.
fn copy_limit() -> Limit {
    Limit::new("the tool's own limit for copying to or from a container", Duration::from_secs(600))
}

impl Runtime {
    /// Starts a container that has copies of the spec's mounts in their place.
    pub(super) fn start_with_copies(&self, spec: &ContainerSpec) -> Result<Container<'_>> {
        let container = self.named(spec)?;
        let arguments = spec.arguments(self.kind, &["create"], &container.name, &owned(spec)?);
        process::read(self.command(arguments), &start_limit()).map_err(|error| self.explain(error, spec))?;
        let root = format!("{}:/", container.name);
        process::feed(self.command(["cp", "-", &root]), &copy_limit(), |out| pack(&spec.mounts, out))
            .with_context(|| format!("cannot copy into {}", container.name))?;
        process::read(self.command(["start", &container.name]), &start_limit())
            .map_err(|error| self.explain(error, spec))?;
        Ok(container)
    }

    /// Brings back what the container wrote into the mounts that it may write to.
    pub(super) fn fetch_copies(&self, spec: &ContainerSpec, name: &str) -> Result<()> {
        for mount in spec.mounts.iter().filter(|mount| mount.writable) {
            let from = format!("{name}:{}/.", mount.to);
            process::pipe(self.command(["cp", &from, "-"]), &copy_limit(), |tar| {
                let mut archive = tar::Archive::new(tar);
                archive.set_preserve_mtime(false);
                archive.set_overwrite(true);
                // `unpack` lets no path and no link lead out of its folder.
                Ok(archive.unpack(&mount.from)?)
            })
            .with_context(|| format!("cannot copy {from} back"))?;
        }
        Ok(())
    }
}

/// One tar of everything a container is to see, with the paths it sees them at.
fn pack(mounts: &[Mount], out: &mut dyn Write) -> Result<()> {
    let mut builder = tar::Builder::new(out);
    builder.follow_symlinks(false);
    for mount in mounts {
        let to = Path::new(mount.to.trim_start_matches('/'));
        if fs::metadata(&mount.from)?.is_dir() {
            builder.append_dir_all(to, &mount.from)?;
        } else {
            builder.append_file(to, fs::File::open(&mount.from)?.file_mut())?;
        }
    }
    builder.into_inner()?;
    Ok(())
}
