//! `checkpoint`: all of the way, from app.toml to a restored application and its pin.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result};
use bytesize::ByteSize;

use crate::app::{self, App, Source};
use crate::checkpoint::{self, Dumped, Start};
use crate::cli::{Checkpoint, Global};
use crate::debian::Root;
use crate::digest::Digest;
use crate::engine::Engine;
use crate::host;
use crate::interrupt;
use crate::lock::{
    Data, DataFile, Host, Lock, LockedArchive, LockedBase, LockedCapabilities, LockedPebble, LockedRocks,
    LockedSource, SCHEMA,
};
use crate::pack::Image;
use crate::pebble::{self, Pebble};
use crate::plan::{self, Inputs, Packer, Plan, Step};
use crate::render::Templates;
use crate::report::Report;
use crate::rock::Role;
use crate::rocks::{self, Parts};
use crate::runtime::Runtime;
use crate::session::Session;
use crate::source::Jar;
use crate::toolchain::Toolchain;

/// Plans, then carries the plan out.
pub fn run(session: &Session, arguments: &Checkpoint, global: &Global) -> Result<()> {
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    super::native_only(&app)?;
    let source = super::source_of(&app, arguments.source.as_deref())?;
    let templates = Templates::read(&session.workspace.templates())?;
    let inputs = plan::inputs(session, &app, &source, &templates)?;
    let _alone = if global.plan { None } else { Some(session.workspace.exclusive(&app.name)?) };
    // An unreadable pin is no pin, but nobody should wonder where it went.
    let lock = Lock::read(&session.workspace.lock(&app.name)).unwrap_or_else(|error| {
        session.progress.warn(&format!("{error:#}"));
        None
    });
    let mut state = plan::state(session, &app, &source, &templates, lock.as_ref())?;
    if let (Some(lock), None) = (&lock, state.missing)
        && plan::changed(&inputs, &lock.inputs, |_| true).is_none()
    {
        let parts = super::pack::parts_of(lock);
        let packed = rocks::restore(session, &templates, &app, &source, &parts, &lock.data.files)?;
        state.drifted = packed.manifest != lock.rocks.restore;
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
        host::ensure(&host::for_checkpoint(&source), global.install, &session.progress)?;
    }
    let work = Work {
        session,
        app: &app,
        source: &source,
        templates: &templates,
        inputs: &inputs,
        lock: lock.as_ref(),
        dumps: plan.has(Step::Dump),
    };
    work.carry_out(&plan)
}

/// Packs the checkpoint rock and stops there; nothing with `--plan`.
pub fn pack(session: &Session, app: &App, source: &Source, global: &Global) -> Result<Option<Image>> {
    let templates = Templates::read(&session.workspace.templates())?;
    let _alone = if global.plan { None } else { Some(session.workspace.exclusive(&app.name)?) };
    let inputs = plan::inputs(session, app, source, &templates)?;
    let plan = plan::pack_checkpoint(&plan::state(session, app, source, &templates, None)?);
    if global.plan {
        print!("{plan}");
        return Ok(None);
    }
    host::ensure(&host::for_checkpoint(source), global.install, &session.progress)?;
    let work = Work { session, app, source, templates: &templates, inputs: &inputs, lock: None, dumps: true };
    Ok(work.make(&plan)?.checkpoint)
}

struct Work<'a> {
    session: &'a Session,
    app: &'a App,
    source: &'a Source,
    templates: &'a Templates,
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
            super::render::write_app(self.session, self.templates, self.app, self.lock)?;
            return self.say_unchanged();
        }
        let made = self.make(plan)?;
        self.summary(&made)
    }

    fn make(&self, plan: &Plan) -> Result<Made> {
        let mut made = Made::default();
        let runtime = Runtime::connect()?;
        runtime.sweep()?;
        super::sweep(self.session)?;
        let mut toolchain = None;
        for (step, _) in &plan.0 {
            self.session.progress.step(&step.to_string(), || {
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
        let Work { session, app, source, templates, .. } = *self;
        match step {
            Step::Render => super::render::write_app(session, templates, app, self.lock).map(drop)?,
            Step::Base => made.base = Some(plan::base(app).make(session)?),
            Step::Toolchain => *toolchain = Some(Toolchain::prepare(session, runtime, app.java.version)?),
            Step::Pebble => {
                made.pebble = Some(pebble::build(session, toolchain.as_ref().context("a build image")?)?);
            }
            Step::Jar => made.jar = Some(source.jar(app, session, toolchain.as_ref())?),
            Step::Train => {
                let parts = Parts { archive: None, ..self.parts(made)? };
                let image = rocks::checkpoint(session, templates, app, source, &parts)?;
                let name = super::load_as(session, runtime, &super::training(app), &image)?;
                let trained = checkpoint::train(session, runtime, app, &name);
                runtime.forget(&name);
                if let Some((digest, size)) = trained? {
                    let memo =
                        plan::archive_memo(session, app, source, templates)?.context("base and jar")?;
                    memo.put(&plan::Archive(digest, size))?;
                }
            }
            Step::PackCheckpoint => {
                let parts = self.parts(made)?;
                made.checkpoint = Some(rocks::checkpoint(session, templates, app, source, &parts)?);
            }
            Step::Dump => {
                let image = made.checkpoint.as_ref().context("a checkpoint rock")?;
                let name = super::load(session, runtime, app, Role::Checkpoint, image)?;
                made.dumped = Some(checkpoint::dump(session, runtime, app, &name)?);
            }
            Step::PackRestore => {
                let parts = self.parts(made)?;
                let files = self.files(made)?;
                made.restore = Some(rocks::restore(session, templates, app, source, &parts, files)?);
            }
            Step::Prove => {
                let image = made.restore.as_ref().context("a restore rock")?;
                let candidate = super::load_as(session, runtime, &super::candidate(app), image)?;
                let (pid, answers) = self.identity(made)?;
                let proven = checkpoint::prove(session, runtime, app, &candidate, pid, answers);
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
        let session = self.session;
        // What was dumped maps files of the parts it was dumped with, whatever could be made now.
        if let (Some(lock), false) = (self.lock, self.dumps) {
            return Ok(super::pack::parts_of(lock));
        }
        let base = match &made.base {
            Some(base) => base.clone(),
            None => plan::base(self.app).cached(session)?.context("a base layer")?,
        };
        let pebble = match &made.pebble {
            Some(pebble) => pebble.clone(),
            None => pebble::cached(session)?.context("Pebble")?,
        };
        let jar = match &made.jar {
            Some(jar) => jar.clone(),
            None => self.source.cached(self.app, session)?.context("a jar")?,
        };
        let archive = plan::archive(session, self.app, self.source, self.templates)?;
        let archive = archive.map(|archive| (archive.0, archive.1));
        Ok(Parts { base, pebble, jar, archive })
    }

    /// The checkpoint data: dumped now, or pinned.
    fn files<'m>(&'m self, made: &'m Made) -> Result<&'m [DataFile]> {
        match (&made.dumped, self.lock) {
            (Some(dumped), _) => Ok(&dumped.files),
            (None, Some(lock)) => Ok(&lock.data.files),
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
        let Work { session, app, source, .. } = *self;
        let engine = Engine::choose(app.engine, Packer::Native);
        let parts = self.parts(made)?;
        let files = self.files(made)?.to_vec();
        let restore = made.restore.as_ref().context("a restore rock")?;
        let layer = rocks::data_layer(session, &files)?;
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
            engine,
            pid,
            answers: answers.to_vec(),
            inputs: self.inputs.clone(),
            source: LockedSource {
                from: source.title(),
                local: source.is_local(),
                jar: parts.jar.digest,
                jar_size: parts.jar.size,
            },
            base: LockedBase {
                suite: app.rock.suite.clone(),
                digest: parts.base.blob.digest,
                size: parts.base.blob.size,
                packages: parts.base.packages.clone(),
            },
            pebble: LockedPebble {
                version: parts.pebble.version.clone(),
                digest: parts.pebble.digest,
                size: parts.pebble.size,
            },
            class_archive: parts.archive.map(|(digest, size)| LockedArchive { digest, size }),
            // Repacking on another machine does not make the process another machine's.
            host: old.map_or_else(Host::this, |lock| Ok(lock.host.clone()))?,
            capabilities: LockedCapabilities {
                checkpoint: match old {
                    Some(lock) => lock.capabilities.checkpoint.clone(),
                    None => engine.capabilities(Role::Checkpoint).to_vec(),
                },
                restore: engine.capabilities(Role::Restore).to_vec(),
            },
            rocks: LockedRocks { checkpoint, restore: restore.manifest },
            data: Data { digest: layer.digest, size: layer.size, tree: Digest::of_value(&files), files },
        };
        if let Some(image) = &made.checkpoint {
            super::write_rock(session, app, Role::Checkpoint, image)?;
        }
        super::write_rock(session, app, Role::Restore, restore)?;
        // The last moment at which a signal leaves the old pin; past it, what belongs to the new one is finished.
        interrupt::check()?;
        lock.write(&session.workspace.lock(&app.name))?;
        // The restore rock's rendered files hold the sums of the data.
        super::render::write_app(session, self.templates, app, Some(&lock))?;
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
        let app = &self.app.name;
        let lock = self.lock.context("a pin")?;
        println!("{app} is pinned as of {}, and nothing has changed since.", lock.created);
        println!("Next: cargo xtask restore {app}   (or --force to do it again)");
        Ok(())
    }

    fn summary(&self, made: &Made) -> Result<()> {
        let Work { session, app, .. } = *self;
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
