//! A container's log while it runs: shown line by line, its end kept for errors, and read for what Pebble says
//! about a service.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::progress::Progress;
use crate::runtime::Container;

/// Lines an error shows.
const KEPT: usize = 25;

/// The end of a log, and whether the service has ended.
#[derive(Debug, Default)]
pub struct Log {
    inner: Mutex<Inner>,
    enough: AtomicBool,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    last: VecDeque<String>,
    ended: Option<String>,
}

impl Log {
    /// Reads the container's log to its end. `service` is the one whose end matters.
    pub fn follow(&self, container: &Container<'_>, service: &str, progress: &Progress) -> Result<()> {
        let followed = container.follow(&self.enough, |line| {
            let (who, text) = split(line);
            match who {
                "pebble" => progress.detail("pebble", text),
                who => progress.log(who, text),
            }
            self.take(who, text, service);
        });
        self.closed.store(true, Ordering::Relaxed);
        followed
    }

    /// Whether there is nothing more to read, which is so once the container has ended.
    pub fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn take(&self, who: &str, text: &str, service: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Only Pebble's own lines count: an application can print anything, but not under Pebble's name.
        if who == "pebble" && text.starts_with(&format!("Service \"{service}\" stopped unexpectedly")) {
            inner.ended.get_or_insert_with(|| text.to_owned());
        }
        inner.last.push_back(format!("{who} | {}", crate::progress::printable(text)));
        if inner.last.len() > KEPT {
            inner.last.pop_front();
        }
    }

    /// Waits for the log of a container that has been stopped to end; a dead engine may never end it.
    pub fn finish(&self, follower: std::thread::ScopedJoinHandle<'_, Result<()>>) {
        let end = Instant::now() + Duration::from_secs(5);
        while !follower.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.enough.store(true, Ordering::Relaxed);
        let _ = follower.join();
    }

    /// What Pebble said about the service's end.
    pub fn ended(&self) -> Option<String> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).ended.clone()
    }

    /// An error once the service or its container has ended.
    pub fn alive(&self, container: &Container<'_>, app: &str) -> Result<()> {
        if let Some(ended) = self.ended() {
            bail!("{app} ended (Pebble: {ended})");
        }
        let code = container.exit_code().with_context(|| {
            format!(
                "the container {} is gone: was it removed, or has the container engine died?",
                container.name
            )
        })?;
        match code {
            Some(code) => bail!("the container of {app} ended with exit code {code}"),
            None => Ok(()),
        }
    }

    /// The last lines, for an error.
    pub fn tail(&self) -> String {
        let inner = self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match inner.last.is_empty() {
            true => "its log is empty".to_owned(),
            false => format!("the last lines of its log:\n  {}", Vec::from(inner.last.clone()).join("\n  ")),
        }
    }
}

/// Pebble's `TIME [SERVICE] TEXT`, as service and text.
fn split(line: &str) -> (&str, &str) {
    let parts = line.split_once(" [").and_then(|(time, rest)| {
        let (service, text) = rest.split_once(']')?;
        time.ends_with('Z').then_some((service, text.strip_prefix(' ').unwrap_or(text)))
    });
    parts.unwrap_or(("pebble", line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_from_its_service() {
        let check = |line, expected| assert_eq!(split(line), expected);
        check("2026-11-23T07:46:02.657Z [zipkin] :: version", ("zipkin", ":: version"));
        check("2026-11-23T07:46:02.657Z [zipkin] ", ("zipkin", ""));
        check("2026-11-23T07:46:02.657Z [pebble] Started daemon.", ("pebble", "Started daemon."));
        check("error: x [y] z", ("pebble", "error: x [y] z"));
    }

    #[test]
    fn only_pebble_says_that_a_service_ended() {
        let log = Log::default();
        let ended = "Service \"shop\" stopped unexpectedly with code 1";
        log.take("shop", ended, "shop");
        log.take("pebble", "Service \"shop-checkpoint\" stopped unexpectedly with code 0", "shop");
        assert_eq!(log.ended(), None);
        log.take("pebble", ended, "shop");
        assert_eq!(log.ended().as_deref(), Some(ended));
        assert!(log.tail().contains("shop | Service"), "{}", log.tail());
    }
}
