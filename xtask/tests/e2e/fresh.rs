//! What is fresh after a restore: random numbers, seeds, timers, secrets and configuration. docs/guide/safety.md says
//! what these tests show, of as many restores as `XTASK_FRESH_RESTORES` says.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use fs_err as fs;

use crate::fresh_elsewhere;
use crate::support::{BUILD, PORT, Workspace, get, podman, sample, wait_until};

pub const APP: &str = "e2e-fresh";
const HTTP: &str = "[http]\nwarm-up = [{ path = \"/random\", repeat = 5 }, \"/clocks\", \
    { path = \"/secret/db.password\", method = \"POST\", headers = { X-Guess = \"?\" }, status = 404 }]\n\
    verify = [\"/identity\"]\n";

/// What two restores have in common, whatever is done: generators that are objects of the application's own, what
/// names the JDK's provider, and what nobody promises to be unique.
const REPEATED: [&str; 10] = [
    "Random, old",
    "RandomGenerator.getDefault",
    "SHA1PRNG of one seed",
    "SecureRandom SHA1PRNG seeded by nextBytes, old",
    "SecureRandom SHA1PRNG seeded by the clock, old",
    "SecureRandom SHA1PRNG of SUN, old",
    "SplittableRandom, old",
    "Spring's AlternativeJdkIdGenerator, old",
    "identity hash",
    "order of Set.of",
];
/// Seeded anew by a thread, which a request may overtake.
const RENEWED: [&str; 4] =
    ["Math.random", "SplittableRandom, new", "ThreadLocalRandom", "ThreadLocalRandom, new thread"];

type Values = BTreeMap<String, String>;

#[test]
#[ignore = "needs podman; run by cargo xtask test"]
fn restores_share_no_random_numbers_and_take_secrets() {
    let toml = sample(&format!("{}{HTTP}", fresh_elsewhere::MARKS));
    let workspace = Workspace::new(APP, &toml.replace(BUILD, &format!("{BUILD} -Pcloud")));
    fs::write(workspace.root().join("apps").join(APP).join("greeting"), "before").unwrap();
    workspace.checkpoint(&[]);
    let count = std::env::var("XTASK_FRESH_RESTORES").map_or(25, |count| count.parse().unwrap());
    println!("  random numbers of {count} restores");
    let started = std::time::Instant::now();
    random_numbers(&workspace, count);
    println!("  in {:.0?}", started.elapsed());
    println!("  secrets, timers and configuration");
    secrets(&workspace);
    println!("  another environment");
    fresh_elsewhere::configuration(&workspace);
    fresh_elsewhere::refresh(&workspace);
    println!("  a machine that has been up for longer, and for less long");
    fresh_elsewhere::uptime(&workspace);
    workspace.assert_nothing_left();
}

fn random(port: u16) -> Values {
    serde_json::from_str(&get(port, "/random")).unwrap()
}

fn random_numbers(workspace: &Workspace, count: usize) {
    let mut first: Vec<Values> = Vec::new();
    let mut later: Vec<Values> = Vec::new();
    for number in 0..count {
        let (name, port) = workspace.restore();
        first.push(random(port));
        std::thread::sleep(Duration::from_millis(200));
        later.push(random(port));
        if number == 0 {
            providers(&name);
            timers(port);
            let log = podman(&["logs", &name]);
            assert!(!log.contains("fresh-random:") && !log.contains("WARNING: this machine"), "{log}");
        }
        podman(&["rm", "--force", "--time", "0", &name]);
    }
    for what in first[0].keys() {
        let distinct = |values: &[Values]| {
            values.iter().map(|values| values[what].clone()).collect::<BTreeSet<_>>().len()
        };
        let seen = (distinct(&first), distinct(&later));
        match what.as_str() {
            // Threads that had other work may have other hashes.
            "identity hash" => {}
            what if REPEATED.contains(&what) => {
                assert_eq!(seen.0, 1, "{what} is said to repeat, and does not any more");
            }
            what if RENEWED.contains(&what) => assert_eq!(seen.1, count, "{what} repeats"),
            what => assert_eq!(seen, (count, count), "{what} repeats"),
        }
    }
    for what in REPEATED.iter().chain(&RENEWED) {
        assert!(first[0].contains_key(*what), "/random no longer has {what}; adapt the test");
    }
}

/// The list that the JVM is given is its own, after ours.
fn providers(container: &str) {
    let list = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("security.provider."));
        lines.filter_map(|line| line.split_once('=')).map(|(_, name)| name.trim().to_owned()).collect()
    };
    let script = "cat \"$(dirname \"$(readlink -f /usr/bin/java)\")/../conf/security/java.security\"";
    let own = list(&podman(&["exec", container, "sh", "-c", script]));
    let ours = list(include_str!("../../../templates/fresh/fresh.security"));
    assert_eq!(ours.split_first().unwrap(), (&"dev.xtask.fresh.Fresh".to_owned(), &own[..]));
}

/// The clocks, and how often each timer of 100 ms has fired.
pub fn clocks(port: u16) -> BTreeMap<String, i64> {
    serde_json::from_str(&get(port, "/clocks")).unwrap()
}

/// Every kind of timer goes on, and the process is as old as if it had never been away.
fn timers(port: u16) {
    let before = clocks(port);
    wait_until("every timer", Duration::from_secs(5), || {
        let now = clocks(port);
        ["fixedRate", "fixedDelay", "sleeps", "waits"]
            .iter()
            .all(|name| now[*name] > before[*name])
            .then_some(())
    })
    .unwrap_or_else(|what| panic!("{what}: {before:?}, then {:?}", clocks(port)));
    assert!(before["uptimeMillis"] > 1000, "{before:?}");
}

/// The status of a POST.
pub fn send(port: u16, path: &str, header: (&str, &str), body: &str) -> u16 {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(5)))
        .build();
    let request =
        config.new_agent().post(format!("http://127.0.0.1:{port}{path}")).header(header.0, header.1);
    request.send(body).unwrap().status().as_u16()
}

fn secrets(workspace: &Workspace) {
    let guess = |port, what: &str| send(port, "/secret/db.password", ("X-Guess", what), "");
    let folder = workspace.root().join("late");
    fs::create_dir_all(folder.join("db")).unwrap();
    let file = folder.join("db/password");
    let write = |text: &str, mode: u32| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    };
    for path in [&folder as &Path, &folder.join("db")] {
        fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    write("first\n", 0o400);
    let shown = folder.display().to_string();
    let refused = workspace.run(&["restore", APP, "--secrets", &shown]);
    assert_eq!(refused.code, Some(2), "{refused}");
    refused.assert_says(&["db/password: the application's user, 584792, cannot read it", "chown"]);

    write("first\n", 0o444);
    let port = xtask::runtime::free_port().unwrap();
    let publish = format!("{port}:{PORT}");
    let up = workspace.succeed(&["restore", APP, "--detach", "--publish", &publish, "--secrets", &shown]);
    let name = up.stdout.trim();
    assert_eq!((guess(port, "first"), guess(port, "other")), (200, 403));
    // Asked for again it is read again: a secret that is exchanged needs no restart.
    write("second\n", 0o444);
    assert_eq!((guess(port, "second"), guess(port, "first")), (200, 403));

    // Spring Boot's own way to another configuration of a running process.
    let level = || get(port, "/actuator/loggers/example");
    assert!(level().contains("\"effectiveLevel\":\"INFO\""), "{}", level());
    let json = ("Content-Type", "application/json");
    assert_eq!(send(port, "/actuator/loggers/example", json, "{\"configuredLevel\":\"DEBUG\"}"), 204);
    assert!(level().contains("\"effectiveLevel\":\"DEBUG\""), "{}", level());
    podman(&["rm", "--force", "--time", "0", name]);

    // Without the folder there is no secret: none was in the dump.
    let (name, port) = workspace.restore();
    assert_eq!(guess(port, "second"), 404);
    podman(&["rm", "--force", "--time", "0", &name]);
}
