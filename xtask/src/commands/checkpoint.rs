//! `checkpoint`: all of the way, from app.toml to a restored application and its pin.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result};
use bytesize::ByteSize;

use crate::app::{self, Source};
use crate::checkpoint::{self, Dumped, Start};
use crate::cli::{Checkpoint, Global};
use crate::debian::Root;
use crate::digest::Digest;
use crate::host;
use crate::interrupt;
use crate::lock::{
    Data, DataFile, Host, Lock, LockedArchive, LockedBase, LockedCapabilities, LockedPacker, LockedPebble,
    LockedRocks, LockedSource, MappedFile, SCHEMA,
};
use crate::pack::{Image, import};
use crate::pebble::{self, Pebble};
use crate::plan::{self, Inputs, Plan, Reason, Step};
use crate::render::Templates;
use crate::report::Report;
use crate::rock::Role;
use crate::rocks::{self, Job, Parts, native, rockcraft};
use crate::runtime::Runtime;
use crate::session::Session;
use crate::source::Jar;
use crate::toolchain::Toolchain;
use crate::way::Packer;

/// Plans, then carries the plan out.
pub fn run(session: &Session, arguments: &Checkpoint, global: &Global) -> Result<()> {
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    let source = super::source_of(&app, arguments.source.as_deref())?;
    let templates = Templates::read(&session.workspace.templates())?;
    let job = super::job(session, &app, &source, &templates)?;
    let inputs = plan::inputs(&job)?;
    let _alone = if global.plan { None } else { Some(session.workspace.exclusive(&app.name)?) };
    // An unreadable pin is no pin, but nobody should wonder where it went.
    let lock = Lock::read(&session.workspace.lock(&app.name)).unwrap_or_else(|error| {
        session.progress.warn(&format!("{error:#}"));
        None
    });
    let mut state = plan::state(&job, lock.as_ref())?;
    if let (Some(lock), None) = (&lock, state.missing)
        && plan::changed(&inputs, &lock.inputs, |_| true).is_none()
    {
        state.repack = repack(&job, lock)?;
    }
    let plan = plan::checkpoint(&inputs, &state, arguments.force);
    if global.plan {
        print!("{plan}");
        return Ok(());
    }
    crate::render::render(&templates, &app, lock.as_ref())?;
    if let (Some(lock), false, true) = (&lock, plan.has(Step::Dump), plan.has(Step::Prove))
        && let Some(reason) = lock.host.refuses(&Host::this()?)
    {
        anyhow::bail!(
            "{} cannot be restored here: {reason}; --force dumps it anew on this machine",
            app.name
        );
    }
    if plan.0.len() > 1 {
        host::ensure(&host::for_checkpoint(&job, &plan), global.install, &session.progress)?;
    }
    let work = Work { job, inputs: &inputs, lock: lock.as_ref(), dumps: plan.has(Step::Dump) };
    work.carry_out(&plan)
}

/// Why the pinned restore rock must be packed again though nothing that it is made from has changed.
fn repack(job: &Job<'_>, lock: &Lock) -> Result<Option<Reason>> {
    let present = import::read_image(&job.session.store, &lock.rocks.restore).is_ok();
    match job.way.packer {
        // No two runs of rockcraft give the same bytes, so there is nothing to compare with.
        Packer::Rockcraft => Ok((!present).then_some(Reason::Missing("the restore rock"))),
        Packer::Native => {
            let parts = super::pack::parts_of(lock)?;
            let packed = rocks::restore(job, &parts, &lock.data.files, &lock.data.mapped)?;
            Ok((packed.manifest != lock.rocks.restore).then_some(Reason::Drifted))
        }
    }
}

/// Packs the checkpoint rock and stops there; nothing with `--plan`.
pub fn pack(job: &Job<'_>, global: &Global) -> Result<Option<Image>> {
    let Job { session, app, .. } = *job;
    let _alone = if global.plan { None } else { Some(session.workspace.exclusive(&app.name)?) };
    let inputs = plan::inputs(job)?;
    let plan = plan::pack_checkpoint(&plan::state(job, None)?);
    if global.plan {
        print!("{plan}");
        return Ok(None);
    }
    host::ensure(&host::for_checkpoint(job, &plan), global.install, &session.progress)?;
    let work = Work { job: *job, inputs: &inputs, lock: None, dumps: true };
    Ok(work.make(&plan)?.checkpoint)
}

struct Work<'a> {
    job: Job<'a>,
    inputs: &'a Inputs,
    lock: Option<&'a Lock>,
    /// Whether the plan dumps anew.
    dumps: bool,
}

/// What the steps have made so far.
#[derive(Default)]
struct Made {
    base: Option<Root>,
    pebble: Option<Pebble>,
    jar: Option<Jar>,
    checkpoint: Option<Image>,
    dumped: Option<Dumped>,
    restore: Option<Image>,
    restored: Option<Start>,
}

impl Work<'_> {
    fn carry_out(&self, plan: &Plan) -> Result<()> {
        if plan.0.len() == 1 {
            let Job { session, templates, app, .. } = self.job;
            super::render::write_app(session, templates, app, self.lock)?;
            return self.say_unchanged();
        }
        let made = self.make(plan)?;
        self.summary(&made)
    }

    fn make(&self, plan: &Plan) -> Result<Made> {
        let session = self.job.session;
        let mut made = Made::default();
        let runtime = Runtime::connect(session.runtime)?;
        runtime.sweep()?;
        super::sweep(session)?;
        let mut toolchain = None;
        for (step, _) in &plan.0 {
            session.progress.step(&step.to_string(), || {
                self.take(*step, &runtime, &mut toolchain, &mut made)
                    .with_context(|| format!("cannot {step}"))
            })?;
        }
        Ok(made)
    }

    /// One exhaustive match over what a plan can hold.
    fn take<'a>(
        &'a self,
        step: Step,
        runtime: &'a Runtime,
        toolchain: &mut Option<Toolchain<'a>>,
        made: &mut Made,
    ) -> Result<()> {
        let Job { session, app, source, templates, .. } = self.job;
        let job = &self.job;
        match step {
            Step::Render => super::render::write_app(session, templates, app, self.lock).map(drop)?,
            Step::Base => made.base = Some(plan::base(app).make(session)?),
            Step::Toolchain => *toolchain = Some(Toolchain::prepare(session, runtime, app.java.version)?),
            Step::Pebble => {
                made.pebble = Some(pebble::build(session, toolchain.as_ref().context("a build image")?)?);
            }
            Step::Jar => made.jar = Some(source.jar(app, session, toolchain.as_ref())?),
            Step::Train => {
                let Parts::Native(parts) = self.parts(made)? else {
                    anyhow::bail!("only a natively packed rock holds a class archive");
                };
                let image = native::checkpoint(job, &native::Parts { archive: None, ..parts })?;
                let name = super::load_as(session, runtime, &super::training(app), &image)?;
                let trained = checkpoint::train(job, runtime, &name);
                runtime.forget(&name);
                if let Some((digest, size)) = trained? {
                    plan::archive_memo(job)?.context("base and jar")?.put(&plan::Archive(digest, size))?;
                }
            }
            Step::PackCheckpoint => made.checkpoint = Some(rocks::checkpoint(job, &self.parts(made)?)?),
            Step::Dump => {
                let image = made.checkpoint.as_ref().context("a checkpoint rock")?;
                let name = super::load(session, runtime, app, Role::Checkpoint, image)?;
                let jar = self.parts(made)?.jar();
                made.dumped = Some(checkpoint::dump(job, runtime, &name, jar.as_ref())?);
            }
            Step::PackRestore => {
                let (files, mapped) = self.data(made)?;
                made.restore = Some(rocks::restore(job, &self.parts(made)?, files, mapped)?);
            }
            Step::Prove => {
                let image = made.restore.as_ref().context("a restore rock")?;
                let candidate = super::load_as(session, runtime, &super::candidate(app), image)?;
                let (pid, answers) = self.identity(made)?;
                let proven = checkpoint::prove(job, runtime, &candidate, pid, answers);
                if proven.is_err() {
                    runtime.forget(&candidate);
                }
                made.restored = Some(proven?);
            }
            Step::Pin => self.pin(made, runtime)?,
        }
        Ok(())
    }

    /// What both rocks are made of: made now, or earlier.
    fn parts(&self, made: &Made) -> Result<Parts> {
        let Job { session, app, source, way, .. } = self.job;
        // What was dumped maps files of the parts it was dumped with, whatever could be made now.
        if let (Some(lock), false) = (self.lock, self.dumps) {
            return super::pack::parts_of(lock);
        }
        let dumped = made.dumped.as_ref().map(|dumped| dumped.jar.clone());
        let jar = match made.jar.clone().or(dumped) {
            Some(jar) => Some(jar),
            None => source.cached(app, session)?,
        };
        if way.packer == Packer::Rockcraft {
            return Ok(Parts::Rockcraft(rockcraft::Parts {
                version: rockcraft::version(&app.rock.base)?,
                // What rockcraft builds itself is its own, whatever the build image has made of the same sources.
                jar: if matches!(source, Source::Git { .. }) && made.dumped.is_none() { None } else { jar },
            }));
        }
        let base = match &made.base {
            Some(base) => base.clone(),
            None => plan::base(app).cached(session)?.context("a base layer")?,
        };
        let pebble = match &made.pebble {
            Some(pebble) => pebble.clone(),
            None => pebble::cached(session)?.context("Pebble")?,
        };
        let archive = plan::archive(&self.job)?.map(|archive| (archive.0, archive.1));
        Ok(Parts::Native(native::Parts { base, pebble, jar: jar.context("a jar")?, archive }))
    }

    /// The checkpoint data and what goes with it: dumped now, or pinned.
    fn data<'m>(&'m self, made: &'m Made) -> Result<(&'m [DataFile], &'m [MappedFile])> {
        match (&made.dumped, self.lock) {
            (Some(dumped), _) => Ok((&dumped.files, &dumped.mapped)),
            (None, Some(lock)) => Ok((&lock.data.files, &lock.data.mapped)),
            (None, None) => anyhow::bail!("there is neither a dump nor a pin"),
        }
    }

    /// What makes the process that very one: dumped now, or pinned.
    fn identity<'m>(&'m self, made: &'m Made) -> Result<(u32, &'m [Digest])> {
        match (&made.dumped, self.lock) {
            (Some(dumped), _) => Ok((dumped.pid, &dumped.answers)),
            (None, Some(lock)) => Ok((lock.pid, &lock.answers)),
            (None, None) => anyhow::bail!("there is neither a dump nor a pin"),
        }
    }

    /// Everything the lock names is in the store by now, and has been proven: it is written last.
    fn pin(&self, made: &Made, runtime: &Runtime) -> Result<()> {
        let Job { session, templates, app, source, way } = self.job;
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
            // Repacking on another machine does not make the process another machine's.
            host: old.map_or_else(Host::this, |lock| Ok(lock.host.clone()))?,
            capabilities: LockedCapabilities {
                checkpoint: match old {
                    Some(lock) => lock.capabilities.checkpoint.clone(),
                    None => engine.capabilities(app, Role::Checkpoint).to_vec(),
                },
                restore: engine.capabilities(app, Role::Restore).to_vec(),
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
        if let Some(image) = &made.checkpoint {
            super::write_rock(session, app, Role::Checkpoint, image)?;
        }
        super::write_rock(session, app, Role::Restore, restore)?;
        // The last moment at which a signal leaves the old pin; past it, what belongs to the new one is finished.
        interrupt::check()?;
        lock.write(&session.workspace.lock(&app.name))?;
        // The restore rock's rendered files hold the sums of the data.
        super::render::write_app(session, templates, app, Some(&lock))?;
        if let (Some(dumped), Some(restored)) = (&made.dumped, made.restored) {
            Report { cold: dumped.cold, restored, froze: dumped.froze }
                .write(&session.workspace, &app.name)?;
        } else if let (Some(report), Some(restored)) =
            (Report::read(&session.workspace, &app.name), made.restored)
        {
            Report { restored, ..report }.write(&session.workspace, &app.name)?;
        }
        let loaded = super::load(session, runtime, app, Role::Restore, restore);
        runtime.forget(&super::candidate(app));
        loaded.map(drop)
    }

    fn say_unchanged(&self) -> Result<()> {
        let app = &self.job.app.name;
        let lock = self.lock.context("a pin")?;
        println!("{app} is pinned as of {}, and nothing has changed since.", lock.created);
        println!("Next: cargo xtask restore {app}   (or --force to do it again)");
        Ok(())
    }

    fn summary(&self, made: &Made) -> Result<()> {
        let Job { session, app, .. } = self.job;
        let lock = super::pin(session, app)?;
        let size = |bytes: u64| ByteSize(bytes).to_string();
        let data: u64 = lock.data.files.iter().map(|file| file.size).sum();
        let rock = |role| -> String {
            let path: PathBuf = super::rock_path(session, app, role);
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
        println!("  pin                     apps/{}/checkpoint.lock", app.name);
        if lock.source.local {
            println!(
                "  note                    made from a local source; another machine cannot rebuild its jar"
            );
        }
        println!("\n{}\n", session.progress.times());
        println!(
            "Next: cargo xtask restore {0}   (and commit apps/{0}/checkpoint.lock and rocks/{0})",
            app.name
        );
        Ok(())
    }
}
