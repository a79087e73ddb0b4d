//! One start that is measured: cold or restored, by the same steps and with the same clock.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};

use crate::app::{App, Request};
use crate::checkpoint::{Start, failed, spec};
use crate::diagnostic::causes;
use crate::http::{Client, get};
use crate::interrupt;
use crate::process::Limit;
use crate::rock::Role;
use crate::rocks::Job;
use crate::runtime::{Container, ContainerSpec, Publish, Published, Runtime};
use crate::workers::{AtEnd, lock};

/// An application that has answered twice: `ready`, and the first request of its warm-up.
pub struct Instance<'a> {
    /// Its container.
    pub container: Container<'a>,
    /// Asks it.
    pub client: Client,
    /// When the engine was asked for a container.
    pub asked: SystemTime,
    /// When `ready` answered 200.
    pub up: SystemTime,
    /// To `ready`.
    pub start: Start,
    /// How long the first request of the warm-up took then.
    pub request: Duration,
}

impl<'a> Instance<'a> {
    /// Starts a rock and waits for the two answers. Its log is not followed meanwhile, which would take time from what
    /// is measured. `change` is what only this start has.
    pub fn start(
        job: &Job<'_>,
        runtime: &'a Runtime,
        role: Role,
        image: &str,
        change: impl FnOnce(&mut ContainerSpec),
    ) -> Result<Instance<'a>> {
        let app = job.app;
        let mut spec = spec(job, role, image)?;
        change(&mut spec);
        let limit = match role {
            Role::Checkpoint => Limit::new("limits.ready", app.limits.ready),
            Role::Restore => Limit::new("limits.restore", app.limits.restore),
        };
        let Published { container, host, port, asked } =
            runtime.start_published(&spec, &Publish::anywhere(app.http.port))?;
        let client = Client::new(&host, port, app.limits.request);
        let answers = || {
            let up = watched(&container, |alive| client.wait_for(&app.http.ready, &limit, alive))?;
            let sent = Instant::now();
            client.expect(&first_request(app)).context("the first request of http.warm-up")?;
            Ok((up, sent.elapsed()))
        };
        match answers() {
            Ok((up, request)) => {
                let start = Start::until(up, asked, &container)?;
                Ok(Instance { container, client, asked, up, start, request })
            }
            Err(error) if interrupt::received().is_some() => Err(error),
            Err(error) => {
                let wrong = format!("{} has not answered: {}", spec.title, causes(&error));
                Err(failed(job, role, &container, &wrong, &container.tail()))
            }
        }
    }
}

/// Lets `wait` know when the container has ended. The engine is asked beside it and seldom: an engine that is busy with
/// somebody else's image keeps a question waiting for seconds, and each costs as much as a good part of a restore.
fn watched<T>(
    container: &Container<'_>,
    wait: impl FnOnce(&mut dyn FnMut() -> Result<()>) -> Result<T>,
) -> Result<T> {
    const SELDOM: Duration = Duration::from_secs(2);
    let (over, end) = (AtomicBool::new(false), Mutex::new(None));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut asked = Instant::now();
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(10));
                if asked.elapsed() < SELDOM {
                    continue;
                }
                if let Err(error) = container.alive() {
                    *lock(&end) = Some(error);
                    break;
                }
                asked = Instant::now();
            }
        });
        // Also after a panic, which would wait for the thread.
        let _over = AtEnd(|| over.store(true, Ordering::Relaxed));
        wait(&mut || lock(&end).take().map_or(Ok(()), Err))
    })
}

/// What is sent once `ready` has answered: the beginning of the warm-up, or `ready` again.
pub fn first_request(app: &App) -> Request {
    app.http.warm_up.first().cloned().unwrap_or_else(|| get(&app.http.ready))
}
