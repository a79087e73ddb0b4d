//! Requests to a registry: with limits, with a login where one is asked for, and no trust in what comes back.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use ureq::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{AsSendBody, Body, Timeout};

use super::login::Secret;
use super::reference::Origin;
use super::{Registry, Settings};
use crate::interrupt;
use crate::process::{Limit, TimedOut};
use crate::progress::excerpt;
use crate::workers::lock;

/// How many redirects one request follows.
const REDIRECTS: usize = 5;
/// How often one request logs in: a token may wear out before it is used, while others use it.
const LOGINS: usize = 2;
/// How much of an answer's body is read for an error.
const ERROR_BODY: u64 = 8 << 10;
/// What to do where TLS does not come about.
const NO_TLS: &str = "no TLS connection that can be trusted; where the certificate is signed by somebody of your own, \
                      SSL_CERT_FILE names the file with theirs, and a registry without TLS needs --plain-http";

/// Why a request failed, and whether it is worth another.
#[derive(Debug)]
pub(super) enum Failure {
    /// It would fail again.
    Final(anyhow::Error),
    /// The connection broke, or the registry is busy.
    Again(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Final(error)
    }
}

impl Failure {
    /// The error, whatever its kind.
    pub(super) fn into_error(self) -> anyhow::Error {
        let (Failure::Final(error) | Failure::Again(error)) = self;
        error
    }
}

/// What a request sends.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    Nothing,
    Bytes(&'a [u8]),
    Slice { file: &'a File, offset: u64, length: u64 },
}

/// A request; it can be sent again.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) content: Content<'a>,
    /// How many bytes it moves at most, in either direction.
    pub(super) bytes: u64,
}

/// Speaks to one registry, from several threads.
pub(super) struct Client<'a> {
    pub(super) registry: &'a Registry,
    /// `pull`, or `pull,push`.
    pub(super) actions: &'static str,
    agent: ureq::Agent,
    authorization: Mutex<Option<Arc<Secret>>>,
    secrets: Mutex<Vec<Secret>>,
    stopped: AtomicBool,
}

impl<'a> Client<'a> {
    pub(super) fn new(registry: &'a Registry, actions: &'static str) -> Result<Client<'a>> {
        let limits = &registry.settings.limits;
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(limits.connect));
        if registry.origin.https {
            config = config.tls_config(TlsConfig::builder().root_certs(roots(&registry.settings)?).build());
        }
        Ok(Client {
            registry,
            actions,
            agent: config.build().new_agent(),
            authorization: Mutex::default(),
            secrets: Mutex::default(),
            stopped: AtomicBool::new(false),
        })
    }

    /// `/v2/REPOSITORY/` and the rest, at the registry.
    pub(super) fn uri(&self, rest: &str) -> Result<Uri> {
        Ok(format!("{}/v2/{}/{rest}", self.registry.origin.url(), self.registry.repository).parse()?)
    }

    /// Ends what other threads do: their next chunk fails.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Asked between two chunks.
    pub(super) fn go_on(&self) -> Result<()> {
        interrupt::check()?;
        ensure!(!self.stopped.load(Ordering::Relaxed), "another transfer failed");
        Ok(())
    }

    /// Sends a request to the registry, with a login if it asks for one. GET and HEAD follow redirects, to other hosts
    /// without the login.
    pub(super) fn send(&self, ask: &Ask<'_>) -> Result<Response<Body>, Failure> {
        let mut uri = ask.uri.clone();
        for _ in 0..=REDIRECTS {
            let ours = Origin::of(&uri)?.is(&self.registry.origin);
            let response =
                if ours { self.send_authorized(ask, &uri)? } else { self.send_once(ask, &uri, None)? };
            let moved = response.status().is_redirection() && response.status() != StatusCode::NOT_MODIFIED;
            if !moved || !matches!(ask.method, Method::GET | Method::HEAD) {
                return Ok(response);
            }
            uri = self.location(&uri, &response)?;
        }
        Err(anyhow!("{} {} was redirected more than {REDIRECTS} times", ask.method, shown(&ask.uri)).into())
    }

    fn send_authorized(&self, ask: &Ask<'_>, uri: &Uri) -> Result<Response<Body>, Failure> {
        let mut used = lock(&self.authorization).clone();
        let mut logins = 0;
        loop {
            let response = self.send_once(ask, uri, used.as_deref())?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            if logins == LOGINS {
                let refused = self.unexpected(&ask.method, uri, response).into_error();
                return Err(refused.context(self.about_logins("takes no login of ours")).into());
            }
            let mut current = lock(&self.authorization);
            // Another thread may have logged in meanwhile; what it was given may be worn out by now.
            if *current == used {
                *current = Some(Arc::new(self.authorize(&response)?));
                logins += 1;
            }
            used = current.clone();
        }
    }

    /// Sends a request once, wherever it goes.
    pub(super) fn send_once(
        &self,
        ask: &Ask<'_>,
        uri: &Uri,
        authorization: Option<&Secret>,
    ) -> Result<Response<Body>, Failure> {
        self.go_on()?;
        let what = || format!("{} {}", ask.method, shown(uri));
        let mut request = ureq::http::Request::builder().method(ask.method.clone()).uri(uri.clone());
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        if let Some(secret) = authorization {
            let mut value = HeaderValue::from_str(secret.reveal())
                .map_err(|_| anyhow!("the login for {} has characters no header can have", shown(uri)))?;
            value.set_sensitive(true);
            request = request.header("Authorization", value);
        }
        let sent = match ask.content {
            Content::Nothing => self.run(ask, request.body(()).with_context(what)?),
            Content::Bytes(bytes) => self.run(ask, request.body(bytes).with_context(what)?),
            Content::Slice { file, offset, length } => {
                let mut slice = Slice { client: self, file, offset, end: offset + length };
                let request = request.header("Content-Length", length);
                self.run(ask, request.body(ureq::SendBody::from_reader(&mut slice)).with_context(what)?)
            }
        };
        sent.map_err(|error| self.failure(error, ask, uri))
    }

    fn run<S: AsSendBody>(
        &self,
        ask: &Ask<'_>,
        request: ureq::http::Request<S>,
    ) -> Result<Response<Body>, ureq::Error> {
        let limits = &self.registry.settings.limits;
        let stall = Some(limits.stall(&ask.method));
        let configured =
            self.agent.configure_request(request).timeout_per_read(stall).timeout_per_write(stall);
        self.agent.run(configured.timeout_global(Some(limits.request(ask.bytes))).build())
    }

    /// An error of the transport, in the words of our limits.
    pub(super) fn failure(&self, error: ureq::Error, ask: &Ask<'_>, uri: &Uri) -> Failure {
        // What was sent was asked whether it may go on, and may have said no.
        if let Err(stopped) = self.go_on() {
            return Failure::Final(stopped);
        }
        let limits = &self.registry.settings.limits;
        let what = format!("{} {}", ask.method, shown(uri));
        let timed_out = |name: &str, duration| {
            let limit = Limit::new(format!("the tool's own limit for {name}"), duration);
            Failure::Again(TimedOut { what: what.clone(), limit }.into())
        };
        match error {
            ureq::Error::Timeout(Timeout::PerRead | Timeout::PerWrite) => {
                timed_out("a connection on which nothing moves", limits.stall(&ask.method))
            }
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                timed_out("connecting", limits.connect)
            }
            ureq::Error::Timeout(_) => {
                timed_out(&format!("a request of {} bytes", ask.bytes), limits.request(ask.bytes))
            }
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                Failure::Final(anyhow!(error).context(format!("{what}: {NO_TLS}")))
            }
            ureq::Error::Io(error) => Failure::Again(anyhow!(error).context(what)),
            ureq::Error::ConnectionFailed => Failure::Again(anyhow!("{what}: the connection failed")),
            other => Failure::Final(anyhow!(other).context(what)),
        }
    }

    /// The answer, if its status is one of these.
    pub(super) fn expect(&self, ask: &Ask<'_>, expected: &[StatusCode]) -> Result<Response<Body>, Failure> {
        let response = self.send(ask)?;
        if expected.contains(&response.status()) {
            return Ok(response);
        }
        Err(self.unexpected(&ask.method, &ask.uri, response))
    }

    /// An error with the beginning of the answer.
    pub(super) fn unexpected(&self, method: &Method, uri: &Uri, response: Response<Body>) -> Failure {
        let status = response.status();
        let mut bytes = Vec::new();
        // What cannot be read is not shown.
        let _ = response.into_body().into_with_config().reader().take(ERROR_BODY).read_to_end(&mut bytes);
        let body = excerpt(&self.scrub(String::from_utf8_lossy(&bytes).into_owned()));
        let separator = if body.is_empty() { "" } else { ":\n  " };
        let error = anyhow!("{method} {} answered {}{separator}{body}", shown(uri), status.as_u16());
        match status.as_u16() {
            408 | 429 | 500 | 502..=504 => Failure::Again(error),
            _ => Failure::Final(error),
        }
    }

    /// Where an answer leads to.
    ///
    /// # Errors
    /// Where it is no place that may be asked: neither absolute nor of this host, or less safe than the registry itself.
    pub(super) fn location(&self, base: &Uri, response: &Response<Body>) -> Result<Uri> {
        let location = response.headers().get("Location").with_context(|| {
            format!("{} answered {} without a Location", shown(base), response.status().as_u16())
        })?;
        let text = location.to_str().unwrap_or_default();
        let uri = resolve(base, text).and_then(|uri| self.registry.allow(&uri).map(|()| uri));
        uri.with_context(|| format!("{} leads to a Location that is refused", shown(base)))
    }

    /// Remembers what must not be shown.
    pub(super) fn keep_secret(&self, secret: &Secret) {
        lock(&self.secrets).push(secret.clone());
    }

    /// A registry may send back what it was sent.
    pub(super) fn scrub(&self, mut text: String) -> String {
        for secret in lock(&self.secrets).iter() {
            if !secret.reveal().is_empty() {
                text = text.replace(secret.reveal(), "…");
            }
        }
        text
    }
}

/// The part of a file that is sent.
struct Slice<'a> {
    client: &'a Client<'a>,
    file: &'a File,
    offset: u64,
    end: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.client.go_on().map_err(io::Error::other)?;
        let most = buffer.len().min(usize::try_from(self.end - self.offset).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..most], self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Whom TLS trusts: `SSL_CERT_FILE` and `SSL_CERT_DIR`, or the system's certificates.
fn roots(settings: &Settings) -> Result<RootCerts> {
    let named = |name: &str| settings.variables.get(name).map(std::path::PathBuf::as_path);
    let (file, folder) = (named("SSL_CERT_FILE"), named("SSL_CERT_DIR"));
    let found = match (file, folder) {
        (None, None) => rustls_native_certs::load_native_certs(),
        _ => rustls_native_certs::load_certs_from_paths(file, folder),
    };
    if found.certs.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        bail!(
            "no certificates to trust{why}; install ca-certificates, or let SSL_CERT_FILE name a file that has them"
        );
    }
    let certificates: Vec<_> = found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    Ok(RootCerts::new_with_certs(&certificates))
}

/// A Location is an absolute URL or a path of the same host; RFC 9110's other kinds no registry uses.
pub(super) fn resolve(base: &Uri, location: &str) -> Result<Uri> {
    if location.starts_with('/') && !location.starts_with("//") {
        return Ok(format!("{}{location}", Origin::of(base)?.url()).parse()?);
    }
    let uri: Uri = location.parse().context("it is no URL")?;
    Origin::of(&uri)?;
    Ok(uri)
}

/// A URL for an error: its query may hold a signature, and it may hold a login.
pub(super) fn shown(uri: &Uri) -> String {
    let origin = Origin::of(uri).map(|origin| origin.url()).unwrap_or_default();
    format!("{origin}{}", uri.path())
}

/// Tries again what is worth it, with growing pauses.
pub(super) fn retry<T>(settings: &Settings, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T> {
    let limits = &settings.limits;
    let mut pause = limits.pause;
    for _ in 1..limits.attempts {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Again(_)) => interrupt::sleep(pause)?,
        }
        pause = (pause * 2).min(Duration::from_secs(30));
    }
    let last = attempt().map_err(Failure::into_error);
    last.with_context(|| format!("gave up after {} attempts; the same command continues", limits.attempts))
}
