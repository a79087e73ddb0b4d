//! Token servers, and what nobody may read.

use std::sync::atomic::{AtomicUsize, Ordering};

use xtask::remote::{self, Remote};

use crate::fake::Fake;
use crate::server::{Answer, Asked, Server};
use crate::{Fixture, registry_at, says};

/// `hero:hunter2`
const AUTH: &str = "aGVybzpodW50ZXIy";

/// A registry that wants the token `t0ken-N` of the latest N, and names this realm.
fn demanding(realm: impl Fn(u16) -> String + Send + Sync + 'static, newest: fn(usize) -> usize) -> Fake {
    let asked_for = AtomicUsize::new(0);
    Fake::start(move |asked, _, port| {
        let wanted = format!("Bearer t0ken-{}", newest(asked_for.fetch_add(1, Ordering::SeqCst)));
        let challenge =
            format!("Bearer realm=\"{}\",service=\"shelf\",scope=\"repository:x:pull\"", realm(port));
        let refused = || Answer::of(401).with("WWW-Authenticate", challenge).body(wanted.clone());
        (asked.header("authorization") != Some(&wanted)).then(refused)
    })
}

fn with_logins(fixture: &Fixture, fake: &Fake, logins: &str) -> Remote {
    let port = fake.server.port;
    let file = fixture.folder.path().join("auth.json");
    std::fs::write(&file, logins.replace("HOST", &format!("127.0.0.1:{port}"))).unwrap();
    registry_at(&format!("127.0.0.1:{port}/team/petclinic"), |registry| {
        registry.settings.variables.insert("REGISTRY_AUTH_FILE", file);
    })
}

fn password() -> String {
    format!(r#"{{"auths":{{"HOST":{{"auth":"{AUTH}"}}}}}}"#)
}

/// Gives `t0ken-N` to the N-th request.
fn tokens(field: &'static str) -> Server {
    let given = AtomicUsize::new(0);
    Server::start(move |_, _| {
        Answer::of(200).body(format!(r#"{{"{field}":"t0ken-{}"}}"#, given.fetch_add(1, Ordering::SeqCst)))
    })
}

#[test]
fn a_token_is_asked_for_with_the_login_and_used_without() {
    let server = tokens("token");
    let port = server.port;
    let fake = demanding(move |_| format!("http://127.0.0.1:{port}/token?x=1"), |_| 0);
    let fixture = Fixture::with(&[10, 20, 30]);
    let there = with_logins(&fixture, &fake, &password());
    fixture.push(&there, "1").unwrap();
    let asked = server.asked();
    assert_eq!(asked.len(), 1, "one for all workers");
    assert_eq!(
        asked[0].path,
        "/token?x=1&service=shelf&scope=repository%3Ateam%2Fpetclinic%3Apull%2Cpush&scope=repository%3Ax%3Apull"
    );
    assert_eq!(asked[0].header("authorization"), Some(&*format!("Basic {AUTH}")));
    let seen = |asked: &Asked| {
        asked.header("authorization").is_none_or(|header| header.starts_with("Bearer t0ken-"))
    };
    assert!(fake.server.asked().iter().all(seen), "the registry itself does not get the password");
}

#[test]
fn a_token_that_is_worn_out_is_replaced() {
    let server = tokens("access_token");
    let port = server.port;
    // The second is wanted from the tenth request on.
    let fake = demanding(move |_| format!("http://127.0.0.1:{port}/token"), |asked| usize::from(asked >= 9));
    let fixture = Fixture::with(&[10, 20, 30, 40, 50]);
    let there = with_logins(&fixture, &fake, "{}");
    fixture.push(&there, "1").unwrap();
    assert!(server.asked().len() >= 2);
    assert!(server.asked().iter().all(|asked| asked.header("authorization").is_none()), "there is no login");
}

#[test]
fn an_identity_is_changed_into_a_token() {
    let server = tokens("access_token");
    let port = server.port;
    let fake = demanding(move |_| format!("http://127.0.0.1:{port}/token"), |_| 0);
    let fixture = Fixture::with(&[10]);
    let there = with_logins(&fixture, &fake, r#"{"auths":{"HOST":{"identitytoken":"hunter2/"}}}"#);
    fixture.push(&there, "1").unwrap();
    let asked = &server.asked()[0];
    let form = String::from_utf8(asked.body.clone()).unwrap();
    assert_eq!(asked.method, "POST");
    assert!(
        form.contains("grant_type=refresh%5Ftoken") && form.contains("refresh_token=hunter2%2F"),
        "{form}"
    );
}

#[test]
fn token_servers_that_are_not_asked() {
    let check = |realm: &'static str, expected: &str| {
        let fake = demanding(move |_| realm.to_owned(), |_| 0);
        let fixture = Fixture::with(&[10]);
        let there = with_logins(&fixture, &fake, &password());
        says(fixture.push(&there, "1"), &["names a token server", expected]);
    };
    check("http://192.0.2.1/token", "http://192.0.2.1/token is plain HTTP");
    check("http://localhost.example/token", "is plain HTTP");
    check("http://127.0.0.1:/", "a port that is none");
    check("ftp://127.0.0.1/token", "neither http nor https");
    check("http://user:hunter2@127.0.0.1/token", "a login in it");
    check("/token", "no absolute URL");
    check("", "no URL");
    check("http://127.0.0.1:x/", "a port that is none");
}

#[test]
fn what_is_secret_is_in_no_error() {
    // A server that sends back whatever it was sent.
    let echo = |asked: &Asked| {
        let all = format!("{:?} {:?} hunter2", asked.headers, String::from_utf8_lossy(&asked.body));
        Answer::of(403).body(all)
    };
    let secret = |error: String| {
        for secret in ["hunter2", AUTH, "t0ken-0"] {
            assert!(!error.contains(secret), "{error}");
        }
        assert!(error.contains("answered 403"), "{error}");
    };
    let logins = password();
    let fixture = Fixture::with(&[10]);

    // The token server.
    let server = Server::start(move |asked, _| echo(asked));
    let port = server.port;
    let fake = demanding(move |_| format!("http://127.0.0.1:{port}/token"), |_| 0);
    let there = with_logins(&fixture, &fake, &logins);
    secret(says(fixture.push(&there, "1"), &["gives no token for our login", "podman login"]));

    // Without a login there is nothing to hide, but something to do.
    let server = Server::start(|_, _| Answer::of(401));
    let port = server.port;
    let fake = demanding(move |_| format!("http://127.0.0.1:{port}/token"), |_| 0);
    let there = with_logins(&fixture, &fake, "{}");
    says(
        fixture.push(&there, "1"),
        &["gives no token without a login, and there is none for it", "podman login"],
    );

    // The registry, with a token.
    let server = tokens("token");
    let port = server.port;
    let fake = Fake::start(move |asked, _, _| match asked.header("authorization") {
        None => {
            let challenge = format!("Bearer realm=\"http://127.0.0.1:{port}/token\"");
            Some(Answer::of(401).with("WWW-Authenticate", challenge))
        }
        Some(_) if asked.method == "POST" => Some(echo(asked)),
        Some(_) => None,
    });
    let there = with_logins(&fixture, &fake, &logins);
    secret(says(fixture.push(&there, "1"), &["POST http://127.0.0.1:"]));

    // The registry, with a password.
    let fake = Fake::start(move |asked, _, _| match asked.header("authorization") {
        None => Some(Answer::of(401).with("WWW-Authenticate", "Basic realm=\"x\"")),
        Some(_) => Some(echo(asked)),
    });
    let there = with_logins(&fixture, &fake, &logins);
    secret(says(remote::read(&there, "1"), &["GET http://127.0.0.1:"]));
    assert!(!format!("{there:?}").contains("hunter2"));

    // A token that is none, and a kind of login that is not known.
    let server = Server::start(|_, _| Answer::of(200).body(r#"{"token":["hunter2"]}"#));
    let port = server.port;
    let fake = demanding(move |_| format!("http://127.0.0.1:{port}/token"), |_| 0);
    says(fixture.push(&with_logins(&fixture, &fake, &logins), "1"), &["answers without a token"]);
    let server = Server::start(|_, _| Answer::of(200).body(r#"{"token":"hunter2\nX: y"}"#));
    let port = server.port;
    let fake = demanding(move |_| format!("http://127.0.0.1:{port}/token"), |_| 0);
    says(fixture.push(&with_logins(&fixture, &fake, &logins), "1"), &["characters no header can have"]);
    let fake = Fake::start(|_, _, _| Some(Answer::of(401).with("WWW-Authenticate", "Negotiate")));
    says(fixture.push(&with_logins(&fixture, &fake, &logins), "1"), &["of a kind that is not known here"]);
}
