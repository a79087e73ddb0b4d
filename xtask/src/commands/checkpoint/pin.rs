//! The end of the way: the pin is written, and a person is told what was made.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result};
use bytesize::ByteSize;

use super::work::{Made, Work};
use crate::checkpoint::Proven;
use crate::commands;
use crate::files::DataFile;
use crate::interrupt;
use crate::lock::{
    Data, Host, Lock, LockedArchive, LockedBase, LockedCapabilities, LockedMemory, LockedPacker,
    LockedPebble, LockedRocks, LockedSource, LockedSystemCalls, SCHEMA,
};
use crate::pack::archive::Prepared;
use crate::pack::{Image, import};
use crate::report::Report;
use crate::rock::Role;
use crate::rocks::{Job, native};
use crate::runtime::Runtime;

/// Writes the pin, and around it what belongs to it: the rocks are on the disk before, so that a full one leaves the old
/// pin, and come into their places after, so that the old pin keeps its own. What ends it in between leaves the old pin
/// or the new one, and [`settle`] does the rest on the next run.
pub fn write(job: &Job<'_>, lock: &Lock, checkpoint: Option<&Image>, restore: &Image) -> Result<()> {
    let Job { session, app, .. } = *job;
    let rocks = [(Role::Checkpoint, checkpoint), (Role::Restore, Some(restore))];
    let mut prepared = Vec::new();
    for (role, image) in rocks.into_iter().filter_map(|(role, image)| Some((role, image?))) {
        prepared.extend(commands::prepare_rock(session, app, role, image)?);
    }
    commit(job, lock, prepared)
}

/// The end of [`write`], with rocks that are on the disk already.
fn commit(job: &Job<'_>, lock: &Lock, prepared: Vec<Prepared>) -> Result<()> {
    let Job { session, templates, app, .. } = *job;
    // The last moment at which a signal leaves the old pin; past it, what belongs to the new one is finished.
    interrupt::check()?;
    lock.write(&session.workspace.lock(&app.name))?;
    for rock in prepared {
        rock.place()?;
    }
    // The restore rock's rendered files hold the sums of the data.
    commands::render::write_app(session, templates, app, Some(lock))?;
    Ok(())
}

/// Finishes what an earlier run was kept from: rendered files, and packed rocks whose pieces the store has.
pub fn settle(job: &Job<'_>, lock: &Lock) -> Result<()> {
    let Job { session, templates, app, .. } = *job;
    commands::render::write_app(session, templates, app, Some(lock))?;
    for (role, pinned) in [(Role::Checkpoint, lock.rocks.checkpoint), (Role::Restore, lock.rocks.restore)] {
        if let Ok(image) = import::read_image(&session.store, &pinned) {
            commands::write_rock(session, app, role, &image)?;
        }
    }
    Ok(())
}

impl Work<'_> {
    /// Everything the lock names is in the store by now, and has been proven: it is written last.
    pub fn pin(&self, made: &mut Made, runtime: &Runtime) -> Result<()> {
        let prepared = std::mem::take(&mut made.prepared);
        let Job { session, app, source, way, .. } = self.job;
        let engine = way.engine;
        let parts = self.parts(made)?;
        let jar = parts.jar().context("a jar")?;
        let (files, mapped) = self.data(made)?;
        let (files, mapped) = (files.to_vec(), mapped.to_vec());
        let restore = made.restore.as_ref().context("a restore rock")?;
        let layer = native::data_layer(session, &files)?;
        let old = self.lock.filter(|_| made.dumped.is_none());
        let created = match old {
            Some(lock) => lock.created.clone(),
            None => humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        };
        let (pid, answers) = self.identity(made)?;
        let checkpoint = match (&made.checkpoint, old) {
            (Some(image), _) => image.manifest,
            (None, Some(lock)) => lock.rocks.checkpoint,
            (None, None) => anyhow::bail!("there is neither a checkpoint rock nor a pin"),
        };
        let lock = Lock {
            schema: SCHEMA,
            app: app.name.clone(),
            created,
            packer: LockedPacker { name: way.packer, version: parts.version() },
            engine,
            engine_version: self.dumped_by(made),
            pid,
            answers: answers.to_vec(),
            inputs: self.inputs.clone(),
            source: LockedSource {
                from: source.title(),
                local: source.is_local(),
                jar: jar.digest,
                jar_size: jar.size,
            },
            base: parts.native().map(|parts| LockedBase {
                suite: app.rock.suite.clone(),
                digest: parts.base.blob.digest,
                size: parts.base.blob.size,
                packages: parts.base.packages.clone(),
            }),
            pebble: parts.native().map(|parts| LockedPebble {
                version: parts.pebble.version.clone(),
                digest: parts.pebble.digest,
                size: parts.pebble.size,
            }),
            class_archive: parts
                .native()
                .and_then(|parts| parts.archive)
                .map(|(digest, size)| LockedArchive { digest, size }),
            fresh_random: parts.native().and_then(|parts| parts.fresh),
            // Repacking on another machine does not make the process another machine's.
            host: old.map_or_else(Host::this, |lock| Ok(lock.host.clone()))?,
            memory: match (&made.dumped, made.restored, old) {
                (_, _, Some(lock)) => lock.memory,
                (Some(dumped), Some(Proven { memory, .. }), None) => Some(LockedMemory {
                    resident: memory.rss,
                    proportional: memory.pss,
                    max_heap: dumped.max_heap,
                }),
                _ => None,
            },
            capabilities: LockedCapabilities {
                checkpoint: match old {
                    Some(lock) => lock.capabilities.checkpoint.clone(),
                    None => engine.capabilities(app, Role::Checkpoint).to_vec(),
                },
                restore: self.job.capabilities(Role::Restore).to_vec(),
            },
            system_calls: LockedSystemCalls { refused: self.job.refused.to_vec() },
            writable_root: match (made.restored, old) {
                (Some(proven), _) => !proven.read_only,
                (None, old) => old.is_some_and(|lock| lock.writable_root),
            },
            rocks: LockedRocks { checkpoint, restore: restore.manifest },
            data: Data {
                digest: layer.digest,
                size: layer.size,
                tree: Data::tree(&files, &mapped),
                files,
                mapped,
            },
        };
        commit(&self.job, &lock, prepared)?;
        let restored = made.restored.map(|proven| proven.start);
        if let (Some(dumped), Some(restored)) = (&made.dumped, restored) {
            Report { cold: dumped.cold, restored, froze: dumped.froze }
                .write(&session.workspace, &app.name)?;
        } else if let (Some(report), Some(restored)) = (Report::read(&session.workspace, &app.name), restored)
        {
            Report { restored, ..report }.write(&session.workspace, &app.name)?;
        }
        let loaded = commands::load(session, runtime, app, Role::Restore, restore);
        runtime.forget(&commands::candidate(app));
        loaded.map(drop)
    }

    /// Nothing was to be done.
    pub fn say_unchanged(&self) -> Result<()> {
        let app = &self.job.app.name;
        let lock = self.lock.context("a pin")?;
        println!("{app} is pinned as of {}, and nothing has changed since.", lock.created);
        println!("Next: cargo xtask restore {app}   (or --force to do it again)");
        Ok(())
    }

    /// What was made, how big, how fast, and the next command.
    pub fn summary(&self, made: &Made) -> Result<()> {
        let Job { session, app, .. } = self.job;
        // Nobody has signed it yet.
        let lock = Lock::read(&session.workspace.lock(&app.name))?.context("a pin")?;
        let size = |bytes: u64| ByteSize(bytes).to_string();
        let data: u64 = lock.data.files.iter().map(|file| file.size).sum();
        let rock = |role| -> String {
            let path: PathBuf = commands::rock_path(session, app, role);
            session.workspace.relative(&path).to_string()
        };
        println!();
        if let Some(report) = Report::read(&session.workspace, &app.name) {
            println!("{} is checkpointed.\n\n{}\n", app.name, report.table());
        }
        if let Some(dumped) = &made.dumped {
            println!("  frozen for the dump     {}", crate::progress::seconds(dumped.froze));
        }
        println!("  checkpoint data         {} in {} files", size(data), lock.data.files.len());
        let made_at_run_time: Vec<&DataFile> = lock
            .data
            .files
            .iter()
            .filter(|file| !file.path.starts_with("/checkpoint-data/") && file.sha256.is_some())
            .collect();
        for file in &made_at_run_time {
            println!("  made at run time        {} ({})", file.path, size(file.size));
        }
        println!("  data digest             {}", lock.data.tree);
        println!("  checkpoint rock         {}  {}", rock(Role::Checkpoint), lock.rocks.checkpoint);
        println!("  restore rock            {}  {}", rock(Role::Restore), lock.rocks.restore);
        if let Some(scan) = &made.scan {
            println!("  secrets                 {}; no proof that there are none", scan.summary());
        }
        println!("  pin                     apps/{}/checkpoint.lock", app.name);
        if lock.source.local {
            println!(
                "  note                    made from a local source; another machine cannot rebuild its jar"
            );
        }
        if lock.writable_root {
            println!(
                "  note                    its root is writable: docs/guide/privileges.md, A read-only root"
            );
        }
        for lost in self.lock.map(|old| given_back(old, &lock)).unwrap_or_default() {
            println!("  note                    {lost}");
        }
        println!("\n{}\n", session.progress.times());
        if !app.pin.signed_by.is_empty() {
            println!(
                "First: cargo xtask sign {} --key FILE   (pin.signed-by: nothing unsigned is restored)",
                app.name
            );
        }
        println!(
            "Next: cargo xtask restore {0}   (and commit apps/{0}/checkpoint.lock and rocks/{0})\n\
             Without this tool: cargo xtask restore {0} --plan prints the line for podman or Docker",
            app.name
        );
        Ok(())
    }
}

/// What a new dump does not take over from the pin it replaces, since it was proven with the old one.
fn given_back(old: &Lock, new: &Lock) -> Vec<String> {
    let app = &new.app;
    let capabilities = (old.capabilities.restore.len() < new.capabilities.restore.len()).then(|| {
        format!(
            "it grants a restore every capability of its engine again: that fewer do was proven with the old dump; \
             `cargo xtask capabilities {app}` tries them anew"
        )
    });
    let lost = !old.system_calls.refused.is_empty() && new.system_calls.refused.is_empty();
    let system_calls = lost.then(|| {
        format!(
            "its filter of system calls is the ordinary one again: what the old pin refused was proven with the old \
             dump; `cargo xtask capabilities {app} --system-calls` tries it anew"
        )
    });
    capabilities.into_iter().chain(system_calls).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privileges::Capability;
    use crate::seccomp::Family;

    #[test]
    fn a_new_dump_says_what_the_old_pin_had_proven() {
        let sample = Lock::parse(include_str!("../../../tests/support/sample.lock")).unwrap();
        let lock = |capabilities: &[Capability], refused: &[Family]| {
            let mut lock = sample.clone();
            lock.capabilities.restore = capabilities.to_vec();
            lock.system_calls.refused = refused.to_vec();
            lock
        };
        let (one, two) =
            ([Capability::CheckpointRestore], [Capability::CheckpointRestore, Capability::Setgid]);
        let check = |old: &Lock, new: &Lock, expected: &[&str]| {
            let said = given_back(old, new);
            assert_eq!(said.len(), expected.len(), "{said:?}");
            assert!(said.iter().zip(expected).all(|(said, expected)| said.contains(expected)), "{said:?}");
        };
        let (capability, filter) = ("every capability of its engine again", "is the ordinary one again");
        check(&lock(&one, &[]), &lock(&one, &[]), &[]);
        check(&lock(&one, &[]), &lock(&two, &[]), &[capability]);
        check(&lock(&two, &[]), &lock(&one, &[]), &[]);
        check(&lock(&one, &[Family::Ptrace]), &lock(&two, &[]), &[capability, filter]);
        check(&lock(&one, &[Family::Ptrace]), &lock(&one, &[Family::Ptrace]), &[]);
    }
}
