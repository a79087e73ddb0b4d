//! HTTP as its users see it: is it up, warm it up, does it still answer the same.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, bail};

use crate::app::{Request, SENT_LIMIT};
use crate::digest::Digest;
use crate::interrupt;
use crate::process::{Limit, TimedOut};
use crate::progress::excerpt;

/// Between two probes: short, since the time to the first answer is what is measured.
const POLL: Duration = Duration::from_millis(3);
/// Bytes of an answer's header fields, status line and all: as many as a request may have.
const RECEIVED_LIMIT: usize = SENT_LIMIT;
/// Bytes of a connection's buffers: somewhat more than that, for an error that says so, and the longest line of a request that
/// [`app`](crate::app) lets through. ureq fills them for each connection, and the 256 KiB that it has by itself take an
/// unoptimised one a millisecond of what is measured.
const INPUT: usize = RECEIVED_LIMIT + (4 << 10);
const OUTPUT: usize = SENT_LIMIT + 100;

/// A client for one application of this machine.
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
    /// A client for `host:port`; no request takes longer than `limit`.
    pub fn new(host: &str, port: u16, limit: Duration) -> Client {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(limit))
            .max_response_header_size(RECEIVED_LIMIT)
            .input_buffer_size(INPUT)
            .output_buffer_size(OUTPUT)
            .build();
        Client { agent: config.new_agent(), base: format!("http://{host}:{port}"), limit }
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
            ureq::Error::LargeResponseHeader(..) => {
                anyhow!("{}: the answer has more than {} KiB of header fields", what(), RECEIVED_LIMIT >> 10)
            }
            other => anyhow::Error::from(other).context(what()),
        })?;
        let status = response.status().as_u16();
        let bytes = response.body_mut().with_config().limit(64 << 20).read_to_vec().with_context(what)?;
        Ok(Answer { status, body: String::from_utf8_lossy(&bytes).into_owned() })
    }

    /// As this client, but no request takes longer than what is left of another limit.
    pub fn within(&self, left: Duration) -> Client {
        let limit = self.limit.min(left.max(Duration::from_millis(1)));
        Client { base: self.base.clone(), ..Client::new("", 0, limit) }
    }

    /// As this client, but with connections of its own, all of which are closed when it is dropped.
    pub fn anew(&self) -> Client {
        self.within(self.limit)
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
        let probe = self.within(Duration::from_secs(2));
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const HANG: &str = "";

    /// Answers one request a connection: the n-th with `answer(n)`, or never. Ends with the test's process.
    fn server(answer: impl Fn(usize) -> String + Send + 'static) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let mut hanging = Vec::new();
            for (number, stream) in listener.incoming().flatten().enumerate() {
                match answer(number) {
                    text if text == HANG => hanging.push(stream),
                    text => serve(stream, &text),
                }
            }
        });
        port
    }

    fn serve(mut stream: TcpStream, text: &str) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
            line.clear();
        }
        // The client may have had enough.
        let _ = stream.write_all(text.as_bytes());
    }

    fn answer(status: u16, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    }

    fn client(port: u16) -> Client {
        Client::new("127.0.0.1", port, Duration::from_secs(10))
    }

    fn ready(milliseconds: u64) -> Limit {
        Limit::new("limits.ready", Duration::from_millis(milliseconds))
    }

    #[track_caller]
    fn says<T>(result: Result<T>, phrases: &[&str]) -> String {
        let error = format!("{:#}", result.err().expect("an error"));
        for phrase in phrases {
            assert!(error.contains(phrase), "`{phrase}` is not in {error}");
        }
        error
    }

    #[test]
    fn the_first_200_ends_the_wait() {
        let port = server(|number| answer(if number < 3 { 503 } else { 200 }, "x"));
        let started = SystemTime::now();
        let up = client(port).wait_for("/health", &ready(5000), || Ok(())).unwrap();
        assert!((started..=SystemTime::now()).contains(&up));
        // A redirection or another success is no 200.
        let port = server(|number| match number {
            0 => {
                "HTTP/1.1 302 X\r\nLocation: /login\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into()
            }
            1 => answer(204, ""),
            2 => answer(200, "up"),
            _ => answer(500, "asked once too often"),
        });
        client(port).wait_for("/health", &ready(5000), || Ok(())).unwrap();
        assert_eq!(client(port).send(&get("/")).unwrap().status, 500);
    }

    #[test]
    fn a_wait_names_its_limit_and_what_it_saw() {
        let port = server(|_| answer(503, "{\"status\": \"DOWN\"}"));
        let waited = client(port).wait_for("/health", &ready(60), || Ok(()));
        says(
            waited,
            &["last seen: it answered 503: {\"status\": \"DOWN\"}", "200 on /health", "60ms (limits.ready)"],
        );
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let waited = client(nobody).wait_for("/", &ready(60), || Ok(()));
        says(waited, &["last seen: GET /: ", "refused", "limits.ready"]);
    }

    #[test]
    fn an_end_of_the_container_ends_the_wait() {
        let port = server(|_| answer(503, ""));
        let started = Instant::now();
        let waited = client(port).wait_for("/", &ready(60_000), || bail!("the container has ended"));
        says(waited, &["the container has ended"]);
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn connections_of_its_own_are_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let whole = client(listener.local_addr().unwrap().port());
        // Whether the connection of a client that has its answer is still open.
        let check = |ask: &dyn Fn(), expected: bool| {
            let open = std::thread::scope(|scope| {
                let server = scope.spawn(|| {
                    let (mut stream, _) = listener.accept().unwrap();
                    let answer = "HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n";
                    serve(stream.try_clone().unwrap(), answer);
                    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
                    stream.read(&mut [0]).is_err()
                });
                ask();
                server.join().unwrap()
            });
            assert_eq!(open, expected);
        };
        check(&|| assert_eq!(whole.anew().send(&get("/")).unwrap().status, 200), false);
        check(&|| assert_eq!(whole.send(&get("/")).unwrap().status, 200), true);
    }

    #[test]
    fn a_request_that_hangs() {
        let port = server(|_| HANG.into());
        let client = Client::new("127.0.0.1", port, Duration::from_millis(100));
        let started = Instant::now();
        says(client.send(&get("/slow")), &["GET /slow", "100ms (limits.request)"]);
        says(client.wait_for("/slow", &ready(250), || Ok(())), &["limits.ready", "last seen: GET /slow"]);
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }

    #[test]
    fn an_unexpected_status_is_shown_with_its_body() {
        let port = server(|_| answer(500, "no\u{1b}[31m\tsuch\n\u{9b}table\u{7f}"));
        let error = says(client(port).expect(&get("/owners")), &["GET /owners answered 500, expected 200"]);
        assert!(error.ends_with("no[31m such table"), "{error:?}");
        let post = Request { method: "POST".into(), status: 500, body: Some("{}".into()), ..get("/owners") };
        assert_eq!(client(port).expect(&post).unwrap().status, 500);
    }

    #[test]
    fn a_long_body_is_cut() {
        let port = server(|_| answer(404, &"é".repeat(100_000)));
        let error = says(client(port).expect(&get("/")), &["answered 404"]);
        assert!(error.ends_with("é …") && error.chars().count() < 460, "{}", error.len());
        let endless = format!("HTTP/1.1 200 X\r\nConnection: close\r\n\r\n{}", "x".repeat((64 << 20) + 1));
        let port = server(move |_| endless.clone());
        says(client(port).send(&get("/endless")), &["GET /endless", "limit"]);
    }

    #[test]
    fn long_lines_are_sent_and_longer_header_fields_refused() {
        let path = format!("/{}", "p".repeat(SENT_LIMIT - 1));
        let headers = [("a".into(), "v".repeat(SENT_LIMIT - 1))].into();
        let port = server(|_| answer(200, "x"));
        assert_eq!(client(port).send(&Request { headers, ..get(&path) }).unwrap().status, 200);
        let fields = |bytes: usize| {
            let field = format!("Content-Length: 1\r\nX: {}\r\n", "h".repeat(bytes));
            format!("HTTP/1.1 200 X\r\nConnection: close\r\n{field}\r\nx")
        };
        let port = server(move |_| fields(RECEIVED_LIMIT - 100));
        assert_eq!(client(port).send(&get("/")).unwrap().body, "x");
        let port = server(move |number| fields(RECEIVED_LIMIT << number));
        for _ in 0..4 {
            says(client(port).send(&get("/long")), &["GET /long", "more than 32 KiB of header fields"]);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_an_answer() {
        let port =
            server(|_| "HTTP/1.1 200 X\r\nContent-Length: 2\r\nConnection: close\r\n\r\n\u{e9}".into());
        assert_eq!(client(port).send(&get("/")).unwrap().body, "é");
        let port = server(|_| "this is no HTTP\r\n\r\n".into());
        says(client(port).send(&get("/x")), &["GET /x"]);
    }
}
