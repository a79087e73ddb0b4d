//! Registries that break off, stall, lie or lead elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use xtask::digest::Digest;
use xtask::remote::{self, Remote};

use crate::cases::cases;
use crate::fake::Fake;
use crate::server::{Answer, Server};
use crate::{Fixture, local, noise, registry_at, says};

const KIB: usize = 1 << 10;

/// A registry whose blobs are sent in chunks of 100 KiB, by one worker.
fn chunked(port: u16) -> Remote {
    registry_at(&format!("127.0.0.1:{port}/team/petclinic"), |registry| {
        registry.settings.limits.chunk = 100 << 10;
        registry.settings.limits.workers = 1;
    })
}

#[test]
fn chunks_make_up_what_was_pushed() {
    let fake = Fake::start(|_, _, _| None);
    let fixture = Fixture::with(&[250 * KIB, 100 * KIB, 0]);
    assert_eq!(fixture.push(&chunked(fake.server.port), "1").unwrap().sent, 4);
    let ranges: Vec<_> = { fake.asked("PATCH", "/") }
        .iter()
        .map(|asked| asked.header("content-range").unwrap().to_owned())
        .collect();
    assert_eq!(ranges, ["0-102399", "102400-204799"]);
    let names: Vec<_> = { fake.server.asked() }.iter().map(|asked| asked.method.clone()).collect();
    assert_eq!(names.last().unwrap(), "PUT", "the manifest is last");
    assert_eq!(fixture.push(&chunked(fake.server.port), "1").unwrap().sent, 0);
    fixture.pull(&local(fake.server.port)).unwrap();
    assert!(fixture.is_whole());
}

#[test]
fn an_upload_that_breaks_off_goes_on_where_the_registry_is() {
    let broken = AtomicUsize::new(0);
    let fake = Fake::start(move |asked, shelf, _| {
        if asked.method != "PATCH" || broken.fetch_add(1, Ordering::SeqCst) != 1 {
            return None;
        }
        // Of the second chunk, half has arrived.
        shelf.uploads.get_mut("0").unwrap().extend(&asked.body[..50 << 10]);
        Some(Answer::of(0))
    });
    let fixture = Fixture::with(&[400 * KIB]);
    fixture.push(&chunked(fake.server.port), "1").unwrap();
    assert_eq!(fake.asked("GET", "/blobs/uploads/0").len(), 1, "it was looked up");
    let uploads = [fake.asked("PATCH", "/uploads/0"), fake.asked("PUT", "/uploads/0")].concat();
    let sent: usize = uploads.iter().map(|asked| asked.body.len()).sum();
    assert_eq!(sent, 450 << 10, "what was lost was sent twice, and nothing else");
    let ranges: Vec<_> =
        uploads.iter().map(|asked| asked.header("content-range").unwrap().to_owned()).collect();
    assert_eq!(ranges, ["0-102399", "102400-204799", "153600-255999", "256000-358399", "358400-409599"]);
    fixture.pull(&local(fake.server.port)).unwrap();
    assert!(fixture.is_whole());
}

#[test]
fn an_upload_that_is_forgotten_begins_anew() {
    let broken = AtomicUsize::new(0);
    let fake = Fake::start(move |asked, shelf, _| {
        let strikes = asked.method == "PATCH" && broken.fetch_add(1, Ordering::SeqCst) == 1;
        strikes.then(|| {
            shelf.uploads.clear();
            Answer::of(503).body("busy")
        })
    });
    let fixture = Fixture::with(&[400 * KIB]);
    fixture.push(&chunked(fake.server.port), "1").unwrap();
    fixture.pull(&local(fake.server.port)).unwrap();
    assert!(fixture.is_whole());
    assert_eq!(fake.asked("POST", "/blobs/uploads/").len(), 3, "the blob twice, the empty config once");
}

#[test]
fn an_answer_that_was_lost_is_not_asked_for_twice() {
    let lost = AtomicUsize::new(0);
    let fake = Fake::start(move |asked, shelf, _| {
        let strikes = asked.method == "PUT" && lost.fetch_add(1, Ordering::SeqCst) == 0;
        strikes.then(|| {
            let mut upload = shelf.uploads.pop_first().unwrap().1;
            upload.extend(&asked.body);
            shelf.blobs.insert(Digest::of(&upload).to_string(), upload);
            Answer::of(0)
        })
    });
    let fixture = Fixture::with(&[10]);
    assert_eq!(fixture.push(&chunked(fake.server.port), "1").unwrap().sent, 2);
    assert_eq!(fake.asked("PUT", "/blobs/").len(), 2);
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_was() {
    let fixture = Fixture::with(&[300 * KIB]);
    let bytes = noise(0, 300 * KIB);
    let fake = Fake::start(move |asked, _, _| {
        let whole =
            asked.method == "GET" && asked.path.contains("/blobs/sha256") && asked.header("range").is_none();
        whole.then(|| Answer { length: Some(bytes.len()), ..Answer::of(200).body(&bytes[..100 << 10]) })
    });
    fixture.push(&local(fake.server.port), "1").unwrap();
    fixture.pull(&local(fake.server.port)).unwrap();
    assert!(fixture.is_whole() && fixture.cached() == 0);
    let asked = fake.asked("GET", "/blobs/sha256");
    let ranges: Vec<_> = asked.iter().map(|asked| asked.header("range")).collect();
    assert_eq!(ranges, [None, Some("bytes=102400-")]);
}

#[test]
fn what_is_not_what_was_asked_for_is_not_kept() {
    let refused = |answer: fn(&[u8]) -> Answer, expected: &str| {
        let fixture = Fixture::with(&[10]);
        let fake = Fake::start(move |asked, _, _| {
            (asked.method == "GET" && asked.path.contains("/blobs/")).then(|| answer(&noise(0, 10)))
        });
        fixture.push(&local(fake.server.port), "1").unwrap();
        says(fixture.pull(&local(fake.server.port)), &["cannot fetch sha256:", expected]);
        assert_eq!((fixture.arrived(), fixture.cached()), (0, 0), "{expected}");
    };
    refused(|_| Answer::of(200).body("0123456789"), "what arrived is deleted");
    refused(|bytes| Answer::of(200).body(&bytes[..9]), "offers 9 bytes; expected 10");
    refused(|bytes| Answer::of(200).body([bytes, &[0]].concat()), "offers 11 bytes; expected 10");
    refused(
        |bytes| {
            Answer::of(200)
                .with("Transfer-Encoding", "chunked")
                .body(chunks(bytes, "5\r\n12345\r\n0\r\n\r\n"))
        },
        "sends more than the 10 bytes",
    );
    refused(|bytes| Answer::of(206).with("Content-Range", "bytes 0-9/10").body(bytes), "another range");
    refused(|_| Answer::of(416), "another range");
    refused(|_| Answer::of(200).with("Content-Length", "x"), "");
    refused(|_| Answer::of(403).body("no\u{1b}[31m\r\nway"), "answered 403:\n  no[31m way");
    refused(|_| Answer::of(302), "without a Location");
}

fn chunks(bytes: &[u8], rest: &str) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n", rest.as_bytes()].concat()
}

#[test]
fn another_host_gets_a_blob_asked_for_and_no_login() {
    let elsewhere = Server::start(|asked, _| match asked.path.as_str() {
        "/store/x?signature=s3cret" => Answer::of(200).body(noise(0, 10)),
        _ => Answer::of(403),
    });
    let port = elsewhere.port;
    let fake = Fake::start(move |asked, _, _| match asked.header("authorization") {
        None => Some(Answer::of(401).with("WWW-Authenticate", "Basic realm=\"x\"")),
        Some(_) if asked.method == "GET" && asked.path.contains("/blobs/") => {
            let place = format!("http://127.0.0.1:{port}/store/x?signature=s3cret");
            Some(Answer::of(307).with("Location", place))
        }
        Some(_) => None,
    });
    let fixture = Fixture::with(&[10]);
    let file = fixture.folder.path().join("auth.json");
    let own = fake.server.port;
    std::fs::write(&file, format!(r#"{{"auths":{{"127.0.0.1:{own}":{{"auth":"aGVybzpodW50ZXIy"}}}}}}"#))
        .unwrap();
    let there = registry_at(&format!("127.0.0.1:{own}/team/petclinic"), |registry| {
        registry.settings.variables.insert("REGISTRY_AUTH_FILE", file);
    });
    fixture.push(&there, "1").unwrap();
    fixture.pull(&there).unwrap();
    assert!(fixture.is_whole());
    let asked = elsewhere.asked();
    assert!(
        !asked.is_empty() && asked.iter().all(|asked| asked.header("authorization").is_none()),
        "{asked:?}"
    );
}

#[test]
fn places_that_are_not_gone_to() {
    let check = |method: &'static str, path: &'static str, location: &'static str, expected: &[&str]| {
        let fake = Fake::start(move |asked, _, port| {
            let strikes = asked.method == method && asked.path.contains(path);
            strikes.then(|| {
                let status = if method == "POST" { 202 } else { 307 };
                Answer::of(status).with("Location", location.replace("PORT", &port.to_string()))
            })
        });
        let fixture = Fixture::with(&[10]);
        let there = local(fake.server.port);
        let error = match fixture.push(&there, "1") {
            Ok(_) => says(fixture.pull(&there), expected),
            pushed => says(pushed, expected),
        };
        assert!(!error.contains("s3cret"), "{error}");
        assert_eq!(fixture.arrived(), 0);
    };
    let refused = "leads to a Location that is refused";
    check(
        "GET",
        "/blobs/",
        "http://192.0.2.1/x?signature=s3cret",
        &[refused, "http://192.0.2.1/x is plain HTTP"],
    );
    check("GET", "/blobs/", "http://user:s3cret@127.0.0.1:PORT/x", &[refused, "a login in it"]);
    check("GET", "/blobs/", "file:///etc/passwd", &[refused]);
    check("GET", "/blobs/", "//192.0.2.1/x", &[refused]);
    check("GET", "/blobs/", "x", &[refused]);
    check(
        "GET",
        "/blobs/",
        "/v2/team/petclinic/blobs/sha256:0?signature=s3cret",
        &["redirected more than 5 times"],
    );
    check(
        "POST",
        "/uploads/",
        "http://localhost:PORT/v2/x",
        &["wants the upload at another host, http://localhost"],
    );
    check("POST", "/uploads/", "https://127.0.0.1:PORT/v2/x", &["wants the upload at another host"]);
    check("POST", "/uploads/", "http://192.0.2.1/x?s3cret", &[refused]);
    // What is sent is not sent on.
    check("PUT", "/blobs/", "/elsewhere?s3cret", &["answered 307"]);
    check("PUT", "/manifests/", "/elsewhere?s3cret", &["answered 307"]);
}

#[test]
fn a_registry_that_stalls_hits_its_limit() {
    let impatient = |port: u16| {
        registry_at(&format!("127.0.0.1:{port}/team/petclinic"), |registry| {
            registry.settings.limits.stall = Duration::from_millis(200);
            registry.settings.limits.attempts = 2;
        })
    };
    let stalled = "did not end within 200ms (the tool's own limit for a connection on which nothing moves)";
    let stalls = |method: &'static str, path: &'static str| {
        Fake::start(move |asked, _, _| {
            let answer = || Answer { stalls: true, length: Some(10), ..Answer::of(200).body("12345") };
            (asked.method == method && asked.path.contains(path)).then(answer)
        })
    };
    let started = Instant::now();
    let fixture = Fixture::with(&[10]);
    let fake = stalls("GET", "/blobs/");
    fixture.push(&local(fake.server.port), "1").unwrap();
    says(
        fixture.pull(&impatient(fake.server.port)),
        &["of 10 bytes had arrived", stalled, "gave up after 2 attempts"],
    );
    let fake = stalls("GET", "/manifests/");
    says(
        remote::read(&impatient(fake.server.port), "1"),
        &["GET http://127.0.0.1:", "/manifests/1", stalled],
    );

    // One that takes a connection and says nothing at all.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    says(fixture.push(&impatient(port), "1"), &["HEAD http://127.0.0.1:", stalled]);
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}

#[test]
fn a_registry_that_only_trickles_hits_its_limit() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::Write;
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 1000000\r\n\r\n");
                while stream.write_all(b" ").is_ok() {
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    let there = registry_at(&format!("127.0.0.1:{port}/team/petclinic"), |registry| {
        registry.settings.limits.request = Duration::from_millis(300);
        registry.settings.limits.slowest = u64::MAX;
        registry.settings.limits.attempts = 1;
    });
    let started = Instant::now();
    says(remote::read(&there, "1"), &["did not end within 300ms (the tool's own limit for a request of"]);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn manifests_that_are_none() {
    let check = |manifest: Vec<u8>, wanted: &str, expected: &str| {
        let server = Server::start(move |_, _| Answer::of(200).body(manifest.clone()));
        says(remote::read(&local(server.port), wanted), &["cannot read", expected]);
    };
    check(vec![b' '; (4 << 20) + 1], "1", "larger than request limit");
    check(b"{}".to_vec(), "1", "no OCI image manifest");
    check(Vec::new(), "1", "no OCI image manifest");
    let good = Fixture::with(&[1]).artifact.manifest().unwrap();
    check(good, &Digest::of("x").to_string(), "its manifest was changed");
    says(remote::read(&local(1), "a/b"), &["`a/b` is no tag"]);
    says(remote::read(&local(1), "../x"), &["is no tag"]);
    let fixture = Fixture::with(&[1]);
    says(fixture.push(&local(1), "sha256:00"), &["is no tag"]);
}

#[test]
fn a_part_that_is_missing_or_changed_is_not_pushed() {
    let fake = Fake::start(|_, _, _| None);
    let fixture = Fixture::with(&[10, 20]);
    let object = fixture.full.path(&fixture.artifact.parts[0].blob.digest);
    std::fs::remove_file(&object).unwrap();
    says(fixture.push(&local(fake.server.port), "1"), &["is not in the store", "build or pull it again"]);
    assert!(fake.server.asked().is_empty());
    std::fs::write(&object, "0123456789").unwrap();
    says(fixture.push(&local(fake.server.port), "1"), &["was changed: expected sha256:"]);
    let shelf = fake.shelf.lock().unwrap();
    assert!(shelf.manifests.is_empty() && shelf.blobs.keys().all(|digest| !object.ends_with(&digest[7..])));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(16)))]

    /// Whatever a registry answers: no panic, no wait, and nothing in the store but what was asked for.
    #[test]
    fn no_answer_does_harm(
        status in prop::sample::select(vec![200u16, 201, 202, 204, 206, 301, 307, 400, 401, 404, 416]),
        headers in prop::collection::vec((0usize..6, "[ -~]{0,40}"), 0..4),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        const NAMES: [&str; 6] = ["Location", "Range", "Content-Range", "WWW-Authenticate", "OCI-Chunk-Min-Length", "X"];
        let answer = Answer {
            headers: headers.into_iter().map(|(name, value)| (NAMES[name], value)).collect(),
            ..Answer::of(status).body(body)
        };
        let answer = Arc::new(answer);
        let server = Server::start(move |_, _| (*answer).clone());
        let there = registry_at(&format!("127.0.0.1:{}/team/petclinic", server.port), |registry| {
            registry.settings.limits.attempts = 2;
            registry.settings.limits.stall = Duration::from_millis(500);
        });
        let fixture = Fixture::with(&[10]);
        let _ = fixture.push(&there, "1");
        prop_assert!(remote::read(&there, "1").is_err());
        prop_assert!(fixture.pull(&there).is_err());
        prop_assert_eq!(fixture.arrived(), 0);
        let besides: Vec<_> = std::fs::read_dir(fixture.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        prop_assert!(besides.iter().all(|name| ["full", "empty", "cache"].iter().any(|known| name == known)));
    }
}
