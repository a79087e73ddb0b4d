//! What is seen of an application that runs: its memory, how many requests it answers, how CRIU brought it back.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};

use super::instance::Instance;
use crate::app::{App, Request};
use crate::bench::{CriuStats, Trace, service_started};
use crate::checkpoint::{came_up, must_be_restored, restore_service};
use crate::http::get;
use crate::interrupt;
use crate::process::Limit;
use crate::rock::Role;
use crate::rocks::Job;
use crate::runtime::{Container, Runtime};

/// How long requests are sent one after the other, and into which pieces the time is cut.
pub const SECONDS: u64 = 3;
pub const BUCKET: Duration = Duration::from_millis(250);
/// After how many requests memory is looked at again.
pub const REQUESTS: usize = 100;

/// A note of when CRIU was called, and an option more for it. The real one is called as ever: its capabilities are those
/// of its file.
const NOTED: &str = r#"
real=$(command -v criu)
mkdir /tmp/xtask-trace
cat >/tmp/xtask-trace/criu <<END
#!/bin/sh
date +%s%N >/run/$0/criu-called
exec $real "\$@" $1
END
chmod 755 /tmp/xtask-trace/criu
PATH=/tmp/xtask-trace:$PATH exec pebble enter --verbose
"#;

/// A restore of which it is known when CRIU was called, and when it had written its statistics, which it does last.
struct Noted<'a> {
    instance: Instance<'a>,
    called: SystemTime,
    restored: SystemTime,
}

impl<'a> Noted<'a> {
    /// `option` is one more for CRIU.
    fn start(job: &Job<'_>, runtime: &'a Runtime, image: &str, pid: u32, option: &str) -> Result<Noted<'a>> {
        let app = &job.app.name;
        let instance = Instance::start(job, runtime, Role::Restore, image, |spec| {
            spec.entrypoint = Some("/bin/sh".into());
            spec.words = vec!["-c".into(), NOTED.into(), app.clone(), option.into()];
        })?;
        let container = &instance.container;
        must_be_restored(job, container, &came_up(container, pid)?)?;
        let moment = |words: &[&str], what: &'static str| -> Result<SystemTime> {
            let nanos: u64 = container.exec(words, &Limit::quick())?.stdout.trim().parse().context(what)?;
            Ok(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
        };
        let called = moment(&["cat", &format!("/run/{app}/criu-called")], "when CRIU was called")?;
        let stats = format!("/run/{app}/stats-restore");
        let restored = moment(&["date", "-r", &stats, "+%s%N"], "when CRIU was done")?;
        Ok(Noted { instance, called, restored })
    }
}

/// How long `criu restore` itself took, from its call to its statistics.
pub fn bare(job: &Job<'_>, runtime: &Runtime, image: &str, pid: u32) -> Result<Duration> {
    let Noted { called, restored, .. } = Noted::start(job, runtime, image, pid, "-v2")?;
    Ok(restored.duration_since(called).unwrap_or_default())
}

/// Restores with a CRIU that writes down everything: where the time went.
pub fn traced(job: &Job<'_>, runtime: &Runtime, image: &str, pid: u32) -> Result<Vec<(String, Duration)>> {
    let app = &job.app.name;
    let Noted { instance, called, restored } = Noted::start(job, runtime, image, pid, "-v4")?;
    let container = &instance.container;
    let service = restore_service(app);
    let trace = Trace {
        asked: instance.asked,
        started: container.started_at()?,
        service: service_started(&container.log()?, &service)
            .with_context(|| format!("Pebble did not say when it started {service}"))?,
        criu: called,
        restored,
        up: instance.up,
        request: instance.request,
    };
    let log = container.exec(&["cat", &format!("/run/{app}/restore.log")], &Limit::quick())?.stdout;
    crate::bench::criu_stages(&log).with_context(|| format!("CRIU's log has no times: {log}"))?;
    Ok(trace.stages(&log))
}

/// What CRIU's statistics say of a restore.
pub fn criu_stats(container: &Container<'_>, app: &str) -> Result<CriuStats> {
    let file = format!("/run/{app}/stats-restore");
    let bytes = container.exec_pipe(&["cat", &file], &Limit::quick(), |reader| {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(reader, 1 << 16), &mut bytes)?;
        Ok(bytes)
    })?;
    CriuStats::parse(&bytes).with_context(|| file)
}

/// The JVM's PID, as the checkpoint rock's own script wrote it down.
pub fn jvm_pid(container: &Container<'_>, app: &str) -> Result<u32> {
    let file = format!("/run/{app}/jvm.pid");
    let ran = container.exec(&["cat", &file], &Limit::quick())?;
    ran.stdout.trim().parse().with_context(|| format!("{file}: {}", ran.stderr))
}

/// Sends this many requests of the warm-up, beginning again where it has fewer.
pub fn send(instance: &Instance<'_>, app: &App, count: usize) -> Result<()> {
    let own = get(&app.http.ready);
    let warm_up =
        app.http.warm_up.iter().flat_map(|request| std::iter::repeat_n(request, request.repeat as usize));
    let all: Vec<&Request> = warm_up.collect();
    let all = if all.is_empty() { vec![&own] } else { all };
    for request in all.iter().cycle().take(count) {
        interrupt::check()?;
        instance.client.expect(request).context("http.warm-up")?;
    }
    Ok(())
}

/// The request by which answers a second are counted: the first GET of the warm-up, or else `ready`.
pub fn counted(app: &App) -> Request {
    let get_of = |requests: &[Request]| requests.iter().find(|request| request.method == "GET").cloned();
    get_of(&app.http.warm_up).unwrap_or_else(|| get(&app.http.ready))
}

/// Sends a request again as soon as it is answered, and counts the answers.
pub fn rate(instance: &Instance<'_>, request: &Request) -> Result<Vec<u64>> {
    let mut answers = vec![0; (SECONDS * 1000 / BUCKET.as_millis() as u64) as usize];
    let started = Instant::now();
    loop {
        interrupt::check()?;
        instance.client.expect(request).context("a request that is counted")?;
        let at = (started.elapsed().as_millis() / BUCKET.as_millis()) as usize;
        match answers.get_mut(at) {
            Some(count) => *count += 1,
            None => return Ok(answers),
        }
    }
}
