//! HTTP as its users see it: is it up, warm it up, does it still answer the same.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};

use crate::app::Request;
use crate::digest::Digest;
use crate::interrupt;
use crate::process::{Limit, TimedOut};

/// Between two probes: short, since the time to the first answer is what is measured.
const POLL: Duration = Duration::from_millis(3);
/// How much of an answer an error shows.
const SHOWN: usize = 400;

/// A client for one application on this machine's loopback.
pub struct Client {
    agent: ureq::Agent,
    base: String,
    limit: Duration,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body, lossily decoded.
    pub body: String,
}

impl Answer {
    /// What tells this answer from another.
    pub fn digest(&self) -> Digest {
        Digest::of_value(&(self.status, &self.body))
    }

    /// The beginning of the body, on one line.
    pub fn excerpt(&self) -> String {
        excerpt(&self.body)
    }
}

impl Client {
    /// A client for `127.0.0.1:port`; no request takes longer than `limit`.
    pub fn new(port: u16, limit: Duration) -> Client {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(limit))
            .build();
        Client { agent: config.new_agent(), base: format!("http://127.0.0.1:{port}"), limit }
    }

    /// Sends one request.
    pub fn send(&self, request: &Request) -> Result<Answer> {
        let mut builder = ureq::http::Request::builder()
            .method(request.method.as_str())
            .uri(format!("{}{}", self.base, request.path));
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let what = || format!("{} {}", request.method, request.path);
        let sent = match &request.body {
            Some(body) => self.agent.run(builder.body(body.as_str()).with_context(what)?),
            None => self.agent.run(builder.body(()).with_context(what)?),
        };
        let mut response = sent.map_err(|error| match error {
            ureq::Error::Timeout(_) => {
                let limit = Limit::new("limits.request", self.limit);
                anyhow::Error::from(TimedOut { what: what(), limit })
            }
            other => anyhow::Error::from(other).context(what()),
        })?;
        let status = response.status().as_u16();
        let bytes = response.body_mut().with_config().limit(64 << 20).read_to_vec().with_context(what)?;
        Ok(Answer { status, body: String::from_utf8_lossy(&bytes).into_owned() })
    }

    /// Sends one request, whose answer must have the expected status.
    pub fn expect(&self, request: &Request) -> Result<Answer> {
        let answer = self.send(request)?;
        if answer.status != request.status {
            bail!(
                "{} {} answered {}, expected {}:\n  {}",
                request.method,
                request.path,
                answer.status,
                request.status,
                excerpt(&answer.body)
            );
        }
        Ok(answer)
    }

    /// Waits until `path` answers 200 and returns when it did. `alive` ends the wait early with its error, as
    /// when the container has ended; it is asked now and then, since asking costs more than probing.
    pub fn wait_for(
        &self,
        path: &str,
        limit: &Limit,
        mut alive: impl FnMut() -> Result<()>,
    ) -> Result<SystemTime> {
        let request = get(path);
        let started = Instant::now();
        let mut asked = Instant::now();
        // A probe must not hang for the whole limit of a request: what does not answer yet is asked again.
        let probe = Client::new(0, Duration::from_secs(2).min(self.limit));
        let probe = Client { base: self.base.clone(), ..probe };
        loop {
            interrupt::check()?;
            let last = match probe.send(&request) {
                Ok(answer) if answer.status == 200 => return Ok(SystemTime::now()),
                Ok(answer) => format!("it answered {}: {}", answer.status, excerpt(&answer.body)),
                Err(error) => format!("{error:#}"),
            };
            if asked.elapsed() > Duration::from_millis(500) {
                alive()?;
                asked = Instant::now();
            }
            if started.elapsed() >= limit.duration {
                let timeout = TimedOut { what: format!("waiting for 200 on {path}"), limit: limit.clone() };
                return Err(anyhow::Error::from(timeout).context(format!("last seen: {last}")));
            }
            std::thread::sleep(POLL);
        }
    }
}

/// A GET that expects 200.
pub fn get(path: &str) -> Request {
    Request {
        method: "GET".into(),
        path: path.into(),
        headers: Default::default(),
        body: None,
        status: 200,
        repeat: 1,
    }
}

/// The beginning of a body, on one line.
fn excerpt(body: &str) -> String {
    let shown: String = body.chars().take(SHOWN).collect();
    let line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = crate::progress::printable(&line);
    if body.chars().nth(SHOWN).is_some() { format!("{line} …") } else { line }
}
