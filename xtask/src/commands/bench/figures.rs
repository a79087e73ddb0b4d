//! What is gathered in a run, start by start.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fs_err as fs;

use super::instance::Instance;
use super::observe::{self, BUCKET, REQUESTS};
use crate::bench::{self, Bench, Rate, Resident, Series};
use crate::checkpoint::{
    Life, Log, Memory, came_up, footprint, must_be_restored, prove_same, spec, start_restored,
};
use crate::engine::Engine;
use crate::lock::Lock;
use crate::rock::Role;
use crate::rocks::Job;
use crate::runtime::{Publish, Published, Runtime};

/// How many instances of each kind are looked at more closely once they were timed: half of them for their memory, half
/// for the requests they answer.
const OBSERVED: usize = 6;

/// The two rocks, as the engine names them.
pub struct Images {
    pub checkpointer: String,
    pub restorer: String,
}

/// What is known of one kind of start.
#[derive(Default)]
struct Starts {
    alone: Vec<Duration>,
    with_container: Vec<Duration>,
    alone_to_request: Vec<Duration>,
    to_request: Vec<Duration>,
    request: Vec<Duration>,
    at_once: Vec<Memory>,
    later: Vec<Memory>,
    answers: Vec<Vec<u64>>,
}

pub struct Figures<'a> {
    job: &'a Job<'a>,
    runtime: &'a Runtime,
    lock: &'a Lock,
    images: Images,
    cold: Starts,
    restored: Starts,
    criu: Vec<Duration>,
    bare: Vec<Duration>,
    dumps: Vec<Duration>,
    empty: Vec<Duration>,
    read: Vec<Duration>,
    write: Vec<Duration>,
    stages: Vec<Vec<(String, Duration)>>,
    traces: usize,
}

impl Starts {
    fn count(&self) -> usize {
        self.alone.len()
    }

    fn add(&mut self, instance: &Instance<'_>) {
        self.alone.push(instance.start.alone);
        self.with_container.push(instance.start.with_container);
        self.alone_to_request.push(instance.start.alone + instance.request);
        self.to_request.push(instance.start.with_container + instance.request);
        self.request.push(instance.request);
    }

    fn rate(&self, name: &str, request: String) -> Rate {
        let bucket_millis = BUCKET.as_millis() as u64;
        Rate { name: name.to_owned(), request, bucket_millis, answers: self.answers.clone() }
    }

    /// What one request takes at the end of the seconds in which they were counted.
    fn warm(&self) -> impl Iterator<Item = Duration> {
        let last = |answers: &Vec<u64>| answers.last().copied().filter(|count| *count > 0);
        self.answers.iter().filter_map(last).map(|count| BUCKET.div_f64(count as f64))
    }
}

impl<'a> Figures<'a> {
    pub fn new(job: &'a Job<'a>, runtime: &'a Runtime, lock: &'a Lock, images: Images) -> Figures<'a> {
        Figures {
            job,
            runtime,
            lock,
            images,
            cold: Starts::default(),
            restored: Starts::default(),
            criu: Vec::new(),
            bare: Vec::new(),
            dumps: Vec::new(),
            empty: Vec::new(),
            read: Vec::new(),
            write: Vec::new(),
            stages: Vec::new(),
            traces: 0,
        }
    }

    pub fn cold_starts(&self) -> usize {
        self.cold.count()
    }

    pub fn restores(&self) -> usize {
        self.restored.count()
    }

    pub fn floors(&self) -> usize {
        self.read.len()
    }

    pub fn traces(&self) -> usize {
        self.traces
    }

    /// A restore that is not timed, whose answers must be the pinned ones: those that are timed are asked for their speed, and
    /// what they are asked may change what they answer next.
    pub fn answers(&self) -> Result<()> {
        let running = start_restored(self.job, self.runtime, &self.images.restorer, self.lock.pid)?;
        prove_same(self.job.app, &running.client, &self.lock.answers)
    }

    /// One cold start.
    pub fn cold(&mut self) -> Result<()> {
        let app = self.job.app;
        let number = self.cold.count();
        let instance =
            Instance::start(self.job, self.runtime, Role::Checkpoint, &self.images.checkpointer, |_| {})?;
        self.cold.add(&instance);
        match number {
            OBSERVED.. => {}
            n if n % 2 == 0 => self.cold.answers.push(observe::rate(&instance, &observe::counted(app))?),
            _ => {
                let pid = observe::jvm_pid(&instance.container, &app.name)?;
                self.cold.at_once.push(footprint(&instance.container, pid)?);
                observe::send(&instance, app, REQUESTS)?;
                self.cold.later.push(footprint(&instance.container, pid)?);
                let Instance { container, client, start, .. } = instance;
                let life = Life { app, container: &container, client, log: &Log::default(), start };
                self.dumps.push(life.dump()?.1);
            }
        }
        Ok(())
    }

    /// One restore.
    pub fn restore(&mut self) -> Result<()> {
        let app = self.job.app;
        let number = self.restored.count();
        let instance = Instance::start(self.job, self.runtime, Role::Restore, &self.images.restorer, |_| {})?;
        self.restored.add(&instance);
        let observed = number < OBSERVED;
        // Its first seconds count here, so nothing is asked of the engine before.
        if observed && number.is_multiple_of(2) {
            self.restored.answers.push(observe::rate(&instance, &observe::counted(app))?);
        }
        let came_up = came_up(&instance.container, self.lock.pid)?;
        must_be_restored(self.job, &instance.container, &came_up)?;
        if observed && !number.is_multiple_of(2) {
            self.restored.at_once.push(footprint(&instance.container, self.lock.pid)?);
            observe::send(&instance, app, REQUESTS)?;
            self.restored.later.push(footprint(&instance.container, self.lock.pid)?);
            if self.is_criu() {
                let stats = observe::criu_stats(&instance.container, &app.name)?;
                self.criu.push(Duration::from_micros(stats.restore_micros.into()));
            }
        }
        Ok(())
    }

    /// What a restore is held against: a container that does nothing, and the pages read into fresh memory. What a dump is:
    /// the same pages written.
    pub fn floor(&mut self) -> Result<()> {
        let mut spec = spec(self.job, Role::Restore, &self.images.restorer)?;
        spec.title = format!("{}-empty", self.job.app.name);
        spec.entrypoint = Some("/bin/sleep".into());
        spec.words = vec!["60".into()];
        let publish = Publish::anywhere(self.job.app.http.port);
        let Published { container, asked, .. } = self.runtime.start_published(&spec, &publish)?;
        self.empty.push(asked.elapsed().unwrap_or_default());
        drop(container);
        let started = Instant::now();
        let mut memory = Vec::new();
        for file in super::pages(self.lock) {
            let digest = file.sha256.context("pages are a file")?;
            memory.push(fs::read(self.job.session.store.path(&digest))?);
        }
        self.read.push(started.elapsed());
        // A restore does not give the memory back, either. A dump does not wait for the disk.
        let folder = self.job.session.workspace.temporary()?;
        let mut file = fs::File::create(folder.path().join("pages"))?;
        let started = Instant::now();
        for bytes in memory {
            file.write_all(&bytes)?;
        }
        self.write.push(started.elapsed());
        Ok(())
    }

    /// Two restores more: one of which everything is written down, and one of which nothing but how long CRIU took. Only
    /// CRIU does that.
    pub fn trace(&mut self) -> Result<()> {
        self.traces += 1;
        if self.is_criu() {
            let Images { restorer, .. } = &self.images;
            self.stages.push(observe::traced(self.job, self.runtime, restorer, self.lock.pid)?);
            self.bare.push(observe::bare(self.job, self.runtime, restorer, self.lock.pid)?);
        }
        Ok(())
    }

    fn is_criu(&self) -> bool {
        self.job.way.engine == Engine::Criu
    }

    /// Everything, in the order in which it is shown.
    pub fn into_bench(self, bench: &mut Bench) {
        let warm: Vec<Duration> = self.restored.warm().collect();
        let Figures { cold, restored, .. } = self;
        let request = observe::counted(self.job.app);
        let request = format!("{} {}", request.method, request.path);
        bench.rates = vec![cold.rate("cold", request.clone()), restored.rate("restored", request)];
        bench.rates.retain(|rate| !rate.answers.is_empty());
        let later = format!("after {REQUESTS} requests");
        bench.resident = vec![
            resident("cold, ready", &cold.at_once),
            resident(&format!("cold, {later}"), &cold.later),
            resident("restored, ready", &restored.at_once),
            resident(&format!("restored, {later}"), &restored.later),
        ];
        bench.resident.retain(|resident| !resident.rss.is_empty());
        bench.series = vec![
            Series::of(bench::COLD, cold.alone),
            Series::of(bench::COLD_WITH_CONTAINER, cold.with_container),
            Series::of(bench::COLD_ALONE_TO_REQUEST, cold.alone_to_request),
            Series::of(bench::COLD_TO_REQUEST, cold.to_request),
            Series::of(bench::COLD_REQUEST, cold.request),
            Series::of(bench::RESTORED, restored.alone),
            Series::of(bench::RESTORED_WITH_CONTAINER, restored.with_container),
            Series::of(bench::RESTORED_ALONE_TO_REQUEST, restored.alone_to_request),
            Series::of(bench::RESTORED_TO_REQUEST, restored.to_request),
            Series::of(bench::RESTORED_REQUEST, restored.request),
            Series::of(bench::CRIU, self.criu),
            Series::of(bench::DUMP, self.dumps),
            Series::of(bench::EMPTY, self.empty),
            Series::of(bench::READ, self.read),
            Series::of(bench::WRITE, self.write),
            Series::of(bench::BARE, self.bare),
            Series::of(bench::WARM, warm),
        ];
        let names = self.stages.first().into_iter().flatten().map(|(name, _)| name.clone());
        let of =
            |(at, name): (usize, String)| Series::of(&name, self.stages.iter().map(|stages| stages[at].1));
        bench.stages = names.enumerate().map(of).collect();
    }
}

fn resident(name: &str, memory: &[Memory]) -> Resident {
    Resident {
        name: name.to_owned(),
        rss: memory.iter().map(|memory| memory.rss).collect(),
        pss: memory.iter().map(|memory| memory.pss).collect(),
        cgroup: memory.iter().filter_map(|memory| memory.cgroup).collect(),
    }
}
