//! The steps of a plan, carried out.

use std::cell::OnceCell;

use anyhow::{Context, Result};

use super::pin;
use crate::app::Source;
use crate::checkpoint::{self, Dumped, Proven};
use crate::commands;
use crate::debian::Root;
use crate::digest::Digest;
use crate::files::DataFile;
use crate::fresh::{self, Fresh};
use crate::lock::{Lock, MappedFile};
use crate::pack::Image;
use crate::pack::archive::Prepared;
use crate::pebble::{self, Pebble};
use crate::plan::{self, Inputs, Plan, Step};
use crate::render;
use crate::rock::Role;
use crate::rocks::{self, Job, Parts, native, rockcraft};
use crate::runtime::Runtime;
use crate::sbom;
use crate::scan::{ClassArchive, Scan, Secret};
use crate::source::Jar;
use crate::toolchain::Toolchain;
use crate::way::Packer;
use crate::workers;

/// A plan's steps and what they need.
pub struct Work<'a> {
    pub job: Job<'a>,
    pub inputs: &'a Inputs,
    pub lock: Option<&'a Lock>,
    /// Values that must not be in the dump.
    pub secrets: Vec<Secret>,
    /// Whether the plan dumps anew.
    pub dumps: bool,
    /// rockcraft's, asked for once: a snap takes a second to answer.
    pub rockcraft: OnceCell<String>,
}

/// What the steps have made so far.
#[derive(Default)]
pub struct Made {
    pub base: Option<Root>,
    pub pebble: Option<Pebble>,
    pub fresh: Option<Fresh>,
    pub jar: Option<Jar>,
    pub checkpoint: Option<Image>,
    pub dumped: Option<Dumped>,
    pub restore: Option<Image>,
    pub restored: Option<Proven>,
    pub scan: Option<Scan>,
    /// The rocks as archives, which take their places with the pin.
    pub prepared: Vec<Prepared>,
}

impl Work<'_> {
    /// Carries the plan out, and says what came of it.
    pub fn carry_out(&self, plan: &Plan) -> Result<()> {
        if plan.0.len() == 1 {
            pin::settle(&self.job, self.lock.context("a pin")?)?;
            return self.say_unchanged();
        }
        let made = self.make(plan)?;
        self.summary(&made)
    }

    /// Makes what the plan says, and returns it.
    pub fn make(&self, plan: &Plan) -> Result<Made> {
        let session = self.job.session;
        let mut made = Made::default();
        let runtime = Runtime::connect(session.runtime)?;
        runtime.sweep()?;
        commands::sweep(session)?;
        let mut toolchain = None;
        let mut carry = |steps: &[Step], made: &mut Made| -> Result<()> {
            steps.iter().try_for_each(|step| {
                let mut work = || self.take(*step, &runtime, &mut toolchain, made);
                session.progress.step(&step.to_string(), || work().with_context(|| format!("cannot {step}")))
            })
        };
        let steps: Vec<Step> = plan.0.iter().map(|(step, _)| *step).collect();
        // Neither the build image nor what is built in it needs the base layer, which waits for a mirror and for dpkg.
        let (parts, rest) = steps.split_at(steps.partition_point(|step| *step <= Step::Jar));
        match parts.iter().position(|step| *step == Step::Base) {
            Some(at) if at + 1 < parts.len() => {
                carry(&parts[..at], &mut made)?;
                let app = self.job.app;
                let base = || plan::base(app).make(session).with_context(|| format!("cannot {}", Step::Base));
                let beside = || session.progress.beside(&Step::Base.to_string(), base);
                let ((), base) = workers::both(|| carry(&parts[at + 1..], &mut made), beside)?;
                made.base = Some(base);
            }
            _ => carry(parts, &mut made)?,
        }
        // The rock is packed while what was dumped is searched; nothing is measured meanwhile.
        match rest.iter().position(|step| *step == Step::Scan) {
            Some(at) if rest.get(at + 1) == Some(&Step::PackRestore) => {
                carry(&rest[..at], &mut made)?;
                let (files, archive) = self.searched(&made)?;
                let (job, lock, secrets) = (&self.job, self.lock, &self.secrets);
                let scan = || commands::scan::dumped(job, lock, &files, archive, secrets);
                let scan = || session.progress.beside(&Step::Scan.to_string(), scan);
                let ((), scan) = workers::both(|| carry(&rest[at + 1..at + 2], &mut made), scan)?;
                made.scan = Some(scan);
                carry(&rest[at + 2..], &mut made)?;
            }
            _ => carry(rest, &mut made)?,
        }
        Ok(made)
    }

    /// Loads a rock and writes it as an archive, both of which read it whole: one waits for the engine and the other for
    /// the disk. Nothing is measured meanwhile.
    fn load(
        &self,
        runtime: &Runtime,
        name: String,
        role: Role,
        image: &Image,
        made: &mut Vec<Prepared>,
    ) -> Result<String> {
        let Job { session, app, .. } = self.job;
        let load = || commands::load_as(session, runtime, &name, image);
        let (name, prepared) = workers::both(load, || commands::prepare_rock(session, app, role, image))?;
        made.extend(prepared);
        Ok(name)
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
            Step::Render => commands::render::write_app(session, templates, app, self.lock).map(drop)?,
            Step::Base => made.base = Some(plan::base(app).make(session)?),
            Step::Toolchain => *toolchain = Some(Toolchain::prepare(session, runtime, app.java.version)?),
            Step::Pebble => {
                made.pebble = Some(pebble::build(session, toolchain.as_ref().context("a build image")?)?);
            }
            Step::Fresh => {
                made.fresh = Some(fresh::build(session, toolchain.as_ref().context("a build image")?)?);
            }
            Step::Jar => made.jar = Some(source.jar(app, session, toolchain.as_ref())?),
            Step::Train => {
                let Parts::Native(parts) = self.parts(made)? else {
                    anyhow::bail!("only a natively packed rock holds a class archive");
                };
                let image = native::checkpoint(job, &native::Parts { archive: None, ..parts })?;
                let name = commands::load_as(session, runtime, &commands::training(app), &image)?;
                let trained = checkpoint::train(job, runtime, &name);
                runtime.forget(&name);
                if let Some((digest, size)) = trained? {
                    plan::archive_memo(job)?.context("base and jar")?.put(&plan::Archive(digest, size))?;
                }
            }
            Step::PackCheckpoint => {
                let image = rocks::checkpoint(job, &self.parts(made)?)?;
                // It is not run, and so not loaded.
                if !self.dumps {
                    made.prepared.extend(commands::prepare_rock(session, app, Role::Checkpoint, &image)?);
                }
                made.checkpoint = Some(image);
            }
            Step::Dump => {
                let image = made.checkpoint.as_ref().context("a checkpoint rock")?;
                let name = commands::image_name(app, Role::Checkpoint);
                let name = self.load(runtime, name, Role::Checkpoint, image, &mut made.prepared)?;
                let jar = self.parts(made)?.jar();
                made.dumped = Some(checkpoint::dump(job, runtime, &name, jar.as_ref())?);
            }
            Step::Scan => {
                let (files, archive) = self.searched(made)?;
                made.scan = Some(commands::scan::dumped(job, self.lock, &files, archive, &self.secrets)?);
            }
            Step::PackRestore => {
                let (files, mapped) = self.data(made)?;
                let image = rocks::restore(job, &self.parts(made)?, files, mapped)?;
                self.same_engine(made, &image)?;
                made.restore = Some(image);
            }
            Step::Prove => {
                let image = made.restore.as_ref().context("a restore rock")?;
                let name = commands::candidate(app);
                let candidate = self.load(runtime, name, Role::Restore, image, &mut made.prepared)?;
                let (pid, answers) = self.identity(made)?;
                let scratch = render::scratch(app, self.data(made)?.0);
                let proven = checkpoint::prove(job, runtime, &candidate, pid, answers, scratch);
                if proven.is_err() {
                    runtime.forget(&candidate);
                }
                made.restored = Some(proven?);
            }
            Step::Pin => self.pin(made, runtime)?,
        }
        Ok(())
    }

    /// The version of CRIU or of the CRaC JVM in a rock, where its packages say.
    fn engine_version(&self, made: &Made, image: &Image) -> Option<String> {
        let Job { session, way, .. } = self.job;
        let packages = match self.parts(made).ok()? {
            // Both rocks have this base.
            Parts::Native(parts) => parts.base.packages,
            Parts::Rockcraft(_) => sbom::installed(&session.store, image).ok()?,
        };
        way.engine.version(&packages)
    }

    /// The version that dumped: now, or when the pin was made.
    pub fn dumped_by(&self, made: &Made) -> Option<String> {
        match (&made.dumped, &made.checkpoint, self.lock) {
            (Some(_), Some(image), _) => self.engine_version(made, image),
            (_, _, lock) => lock.and_then(|lock| lock.engine_version.clone()),
        }
    }

    /// What one version dumped, another may not read.
    fn same_engine(&self, made: &Made, restore: &Image) -> Result<()> {
        let engine = self.job.way.engine;
        match (self.dumped_by(made), self.engine_version(made, restore)) {
            (Some(dumped), Some(restores)) if dumped != restores => anyhow::bail!(
                "the process was dumped by {engine} {dumped}, and the restore rock has {engine} {restores}; \
                 `cargo xtask checkpoint {} --force` dumps it anew",
                self.job.app.name
            ),
            _ => Ok(()),
        }
    }

    /// What both rocks are made of: made now, or earlier.
    pub fn parts(&self, made: &Made) -> Result<Parts> {
        let Job { session, app, source, way, .. } = self.job;
        // What was dumped maps files of the parts it was dumped with, whatever could be made now.
        if let (Some(lock), false) = (self.lock, self.dumps) {
            return commands::pack::parts_of(lock);
        }
        let dumped = made.dumped.as_ref().map(|dumped| dumped.jar.clone());
        let jar = match made.jar.clone().or(dumped) {
            Some(jar) => Some(jar),
            None => source.cached(app, session)?,
        };
        if way.packer == Packer::Rockcraft {
            if self.rockcraft.get().is_none() {
                let _ = self.rockcraft.set(rockcraft::version(&app.rock.base)?);
            }
            let version = self.rockcraft.get().context("rockcraft's version")?.clone();
            return Ok(Parts::Rockcraft(rockcraft::Parts {
                version,
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
        let fresh = match (fresh::wanted(app, way.engine), made.fresh) {
            (false, _) => None,
            (true, Some(fresh)) => Some(fresh),
            (true, None) => Some(fresh::cached(session)?.context("the provider of random numbers")?),
        };
        let archive = plan::archive(&self.job)?.map(|archive| (archive.0, archive.1));
        Ok(Parts::Native(native::Parts { base, pebble, jar: jar.context("a jar")?, archive, fresh }))
    }

    /// The checkpoint data and what goes with it: dumped now, or pinned.
    pub fn data<'m>(&'m self, made: &'m Made) -> Result<(&'m [DataFile], &'m [MappedFile])> {
        match (&made.dumped, self.lock) {
            (Some(dumped), _) => Ok((&dumped.files, &dumped.mapped)),
            (None, Some(lock)) => Ok((&lock.data.files, &lock.data.mapped)),
            (None, None) => anyhow::bail!("there is neither a dump nor a pin"),
        }
    }

    /// What a scan searches of it.
    fn searched(&self, made: &Made) -> Result<(Vec<DataFile>, Option<ClassArchive>)> {
        let archive = self.parts(made)?.native().and_then(|parts| parts.archive);
        Ok((self.data(made)?.0.to_vec(), archive))
    }

    /// What makes the process that very one: dumped now, or pinned.
    pub fn identity<'m>(&'m self, made: &'m Made) -> Result<(u32, &'m [Digest])> {
        match (&made.dumped, self.lock) {
            (Some(dumped), _) => Ok((dumped.pid, &dumped.answers)),
            (None, Some(lock)) => Ok((lock.pid, &lock.answers)),
            (None, None) => anyhow::bail!("there is neither a dump nor a pin"),
        }
    }
}
