//! `scan` as a person meets it: exit codes, what is said and what is not, and that nothing is changed. What is found is
//! tried in `core/src/scan/tests` and, in a real JVM, in `e2e/canaries.rs`.

mod support {
    pub mod shop;
}

use std::fs;
use std::process::Output;

use support::shop::{APP, Shop, said};

/// A part of the made dump's `core-1000.img`, which begins each run of seven bytes with the next letter.
const VALUE: &str = "AAAAAAABBBBBBBCCCCCCCDDDDDDD";
const NAMED: &str = "secrets.db = { environment = \"SCAN_TEST_SECRET\" }\n";

fn edit(shop: &Shop, more: &str) {
    let text = fs::read_to_string(shop.toml()).unwrap();
    fs::write(shop.toml(), text + more).unwrap();
}

/// Scans with a value in the environment; whatever comes, it is not shown, and nothing is changed.
#[track_caller]
fn scan(shop: &Shop, value: Option<&str>, words: &[&str], code: i32, phrases: &[&str]) -> Output {
    let before = (shop.objects(), fs::read(shop.lock_path()).ok());
    let mut command = shop.command(&[&["scan", APP], words].concat());
    command.env_remove("SCAN_TEST_SECRET").envs(value.map(|value| ("SCAN_TEST_SECRET", value)));
    let ran = command.output().unwrap();
    let told = said(&ran);
    assert_eq!(ran.status.code(), Some(code), "{told}");
    phrases.iter().for_each(|phrase| assert!(told.contains(phrase), "`{phrase}` is not in\n{told}"));
    assert!(value.is_none_or(|value| !told.contains(value)), "{told}");
    assert_eq!((shop.objects(), fs::read(shop.lock_path()).ok()), before);
    ran
}

#[test]
fn a_clean_scan_is_no_proof_and_says_so() {
    let shop = Shop::new();
    let expected = [
        "nothing found; searched ",
        " for 0 values and ",
        "A clean scan is no proof",
        "docs/guide/safety.md",
    ];
    scan(&shop, None, &[], 0, &expected);
    scan(&shop, None, &["--plan"], 0, &["search the dumped memory"]);
    let json = scan(&shop, None, &["--json"], 0, &[]);
    let found: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&found["findings"], &found["app"]), (&serde_json::json!([]), &serde_json::json!("shop")));
    assert!(found["note"].as_str().unwrap().contains("no proof"), "{found}");
}

#[test]
fn a_finding_refuses_until_it_is_allowed_for_a_reason() {
    let shop = Shop::new();
    edit(&shop, NAMED);
    scan(&shop, None, &[], 2, &["secrets.db: the environment variable SCAN_TEST_SECRET is not set"]);
    scan(&shop, Some("short"), &[], 2, &["secrets.db: its value has fewer than 6 bytes"]);
    scan(&shop, Some("not-in-the-dump"), &[], 0, &["nothing found", "for 1 value and"]);
    let expected = [
        "1 secret in what shop was dumped to",
        "secret/db:",
        "/checkpoint-data/core-1000.img: 1 as UTF-8, at 0x",
    ];
    scan(&shop, Some(VALUE), &[], 1, &expected);
    let json = scan(&shop, Some(VALUE), &["--json"], 1, &[]);
    let found: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let id = found["findings"][0]["id"].as_str().unwrap();
    edit(&shop, &format!("secrets.allow = [{{ id = \"{id}\", reason = \"of the tests\" }}]\n"));
    scan(&shop, Some(VALUE), &[], 0, &["nothing found beyond 1 allowed finding", "because: of the tests"]);
    let expected = format!("secrets.allow names {id}, which was not found; remove the entry");
    scan(&shop, Some("not-in-the-dump"), &[], 0, &[&expected]);
}

/// Who names another secret, or allows another finding, has the dump searched again before it is pinned again.
#[test]
fn a_change_of_secrets_searches_again_and_dumps_nothing() {
    let shop = Shop::new();
    assert!(!shop.succeed(&["checkpoint", APP, "--plan"]).contains("search"), "nothing has changed");
    edit(&shop, NAMED);
    let plan = shop.succeed(&["checkpoint", APP, "--plan"]);
    assert!(plan.contains("search for secrets") && !plan.contains("dump"), "{plan}");
    assert!(said(&shop.run(&["why", APP])).contains("secrets-changed"));
    // A secret that is not to be had ends it before anything is done.
    let ran = shop.command(&["checkpoint", APP]).env_remove("SCAN_TEST_SECRET").output().unwrap();
    assert_eq!(ran.status.code(), Some(2), "{}", said(&ran));
}

#[test]
fn without_a_pin_or_with_a_piece_missing_nothing_is_clean() {
    let shop = Shop::unpinned();
    scan(&shop, None, &[], 1, &["shop has no pin yet"]);
    let shop = Shop::new();
    let lock = shop.lock();
    let digest = lock.data.files.iter().find_map(|file| file.sha256).unwrap();
    fs::remove_file(shop.store().path(&digest)).unwrap();
    scan(&shop, None, &[], 1, &["is not in the store"]);
}
