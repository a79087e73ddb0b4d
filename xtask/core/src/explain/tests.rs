use super::*;

#[test]
fn parts_come_one_after_the_other() {
    let check = |pattern: &str, line: &str, expected: bool| {
        assert_eq!(matches(pattern, line), expected, "{pattern} {line}")
    };
    check("a*b", "xaxbx", true);
    check("a*b", "ba", false);
    check("ab*b", "ab", false);
    check("a", "a", true);
    check("a*", "xa", true);
    check("a", "", false);
}

#[test]
fn the_reason_comes_first_and_none_twice() {
    let log = "Error: Dumping FAILED.\nError: Can't dump ghost file /a of 9 size, increase limit\n\
               Error: Can't dump ghost file /b of 9 size, increase limit\njava.net.ConnectException: x\n";
    let found: Vec<(&str, usize)> =
        explain(log).iter().map(|found| (found.cause.id, found.evidence.number)).collect();
    assert_eq!(found, [("ghost-file", 2), ("dependency-unreachable", 4), ("criu-failed", 1)]);
}

#[test]
fn noise_is_no_cause_and_no_error() {
    let log: String = NOISE.iter().map(|noise| format!("Error: {}\n", noise.replace('*', "x"))).collect();
    assert_eq!(explain(&log), []);
    assert_eq!(last_errors(numbered(&log), 5), []);
}

#[test]
fn hostile_lines_are_shown_safely_and_cut() {
    let long = "x".repeat(100_000);
    let log = format!("\u{1b}[2J\u{1b}]0;owned\u{7}Error: No space left on device \u{202e}{long}\u{0}\n");
    let found = explain(&log);
    let text = long_text(&found);
    assert!(text.contains("line 1: Error: No space left on device xxx"), "{text}");
    assert!(text.len() < 2000 && !text.contains(|c: char| c.is_control() && c != '\n'), "{text}");
    let last = last_errors(numbered(&log), 5);
    assert!(last[0].text.len() < 400, "{last:?}");
}

fn long_text(found: &[Found]) -> String {
    long(found, None)
}

#[test]
fn an_unknown_log_shows_its_last_errors_or_its_end() {
    let check = |log: &str, expected: &[&str]| {
        let lines = last_errors(numbered(log), 2);
        let lines: Vec<String> = lines.iter().map(Line::to_string).collect();
        assert_eq!(lines, expected, "{log}");
    };
    check("Error 1\nError 2\nfine\nError 3\nfine\n", &["line 2: Error 2", "line 4: Error 3"]);
    check("a\n\n==> b.log <==\nc\n", &["line 1: a", "line 4: c"]);
    check("", &[]);
    let text = unknown(&last_errors(numbered("Error 1"), 2));
    assert!(text.contains("line 1: Error 1") && text.contains("checkpoint-restore/criu"), "{text}");
}

#[test]
fn a_remedy_names_the_line_of_app_toml() {
    let found = explain("Error: Can't dump ghost file /a of 9 size, increase limit");
    let check = |toml: &str, expected: &str| {
        let app = Shown { app: "shop".into(), file: "apps/shop/app.toml".into(), toml: toml.into() };
        let text = brief(&found, Some(&app)).unwrap();
        assert!(text.ends_with(expected), "{text}");
        assert_eq!(text.lines().count(), 4, "{text}");
    };
    check(
        "[checkpoint]\nghost-limit = \"1 MiB\"\n",
        "apps/shop/app.toml:2: change `ghost-limit = \"1 MiB\"` to, say, `ghost-limit = \"128 MiB\"`",
    );
    check(
        "\n\n[checkpoint]\n",
        "apps/shop/app.toml:3: to `[checkpoint]` add, say, `ghost-limit = \"128 MiB\"`",
    );
    check("", "apps/shop/app.toml: add `[checkpoint]` and, say, `ghost-limit = \"128 MiB\"`");
    let text = brief(&found, None).unwrap();
    assert!(
        text.ends_with("change:   `checkpoint.ghost-limit` in app.toml, say, `ghost-limit = \"128 MiB\"`"),
        "{text}"
    );
}

/// Every line that a remedy names is one that app.toml takes, at its key.
#[test]
fn every_change_is_a_line_of_app_toml() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["log.xml", "crac.yaml"] {
        std::fs::write(folder.path().join(file), "").unwrap();
    }
    for cause in causes() {
        let Change::Line { key, line } = &cause.change else { continue };
        let source = "git = \"https://git.example.com/a.git\"\ncommit = \"0000000000000000000000000000000000000000\"\n";
        let toml = match (key.split_once('.').map_or(*key, |(table, _)| table), key.contains('.')) {
            ("source", _) => format!("[source]\n{source}{line}\n"),
            ("environment", false) => format!("[source]\n{source}[environment]\n{line}\n"),
            (_, false) => format!("{line}\n[source]\n{source}"),
            (table, true) => format!("[source]\n{source}[{table}]\n{line}\n"),
        };
        let loaded = crate::app::load_text("shop", folder.path(), "app.toml", &toml);
        assert!(loaded.is_ok(), "{}: {}", cause.id, loaded.unwrap_err());
        let key = if *key == "environment" {
            format!("{key}.{}", line.split(' ').next().unwrap())
        } else {
            (*key).to_owned()
        };
        assert!(matches!(place(&toml, &key), Place::There(_, found) if found == *line), "{}", cause.id);
    }
}

/// Errors without a log, as engines and builds print them.
#[test]
fn an_error_explains_itself() {
    let check = |text: &str, expected: Option<&str>| {
        let said = of_error(&format!("the container cannot be started\n  because: {text}"));
        match (&said, expected) {
            (Some(said), Some(id)) => {
                let lines: Vec<&str> = said.lines().collect();
                assert!(lines[0].starts_with("why: ") && lines[0].ends_with(&format!("[{id}]")), "{said}");
                assert!(
                    lines[1].starts_with("  remedy:   ") && lines[2].starts_with("  change:   "),
                    "{said}"
                );
                assert_eq!(lines.len(), 3, "{said}");
            }
            (said, expected) => assert_eq!(said.as_deref(), expected, "{text}"),
        }
    };
    check(
        "Error: runc: runc create failed: unable to start container process: error setting rlimit type 7: \
         operation not permitted: OCI permission denied",
        Some("rlimit"),
    );
    check("Error: rootlessport listen tcp 0.0.0.0:8080: bind: address already in use", Some("port-in-use"));
    check(
        "docker: Error response from daemon: driver failed programming external connectivity on endpoint x: Bind for \
         0.0.0.0:8080 failed: port is already allocated.",
        Some("port-in-use"),
    );
    check(
        "Error: writing blob: storing blob to file: write /var/tmp/s1: no space left on device",
        Some("no-space"),
    );
    check(
        "dpkg: error processing archive x.deb (--unpack): write failed (No space left on device)",
        Some("no-space"),
    );
    check(
        "Error response from daemon: invalid CapAdd: unknown capability: \"CAP_CHECKPOINT_RESTORE\"",
        Some("old-engine"),
    );
    check(
        "E: Release file for http://deb.example.com/dists/sid/InRelease is expired",
        Some("release-expired"),
    );
    check(
        "PKIX path building failed: unable to find valid certification path to requested target",
        Some("tls"),
    );
    check("the moon is full", None);
    let said = "podman failed\nwhy: a disk or a tmpfs is full [no-space]\nNo space left on device";
    assert_eq!(of_error(said), None);
}

/// Nobody is left without a place to change something at.
#[test]
fn every_cause_says_where_the_remedy_is_written() {
    for cause in causes() {
        let evidence = Line { number: 1, text: "x".into() };
        let text = brief(&[Found { cause, evidence }], None).unwrap();
        let last = text.lines().last().unwrap();
        match &cause.change {
            Change::Line { key, .. } => {
                assert!(last.starts_with(&format!("  change:   `{key}` in app.toml")), "{last}")
            }
            Change::Elsewhere(place) => {
                assert_eq!(last, format!("  change:   nothing in app.toml: {place}"));
                assert!(place.len() > 20 && !place.ends_with('.'), "{}: {place}", cause.id);
            }
        }
    }
}

#[test]
fn the_table_is_sound() {
    let mut ids: Vec<&str> = causes().map(|cause| cause.id).collect();
    assert!(
        ids.iter().all(|id| id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')),
        "{ids:?}"
    );
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an id is there twice");
    for cause in causes() {
        assert!(cause.says.iter().all(|says| says.len() >= 10 && !says.contains('`')), "{}", cause.id);
        assert!(
            cause.means.ends_with('.') && !cause.remedy.ends_with('.') && !cause.title.ends_with('.'),
            "{}",
            cause.id
        );
        for place in cause.seen.split([';', ',']) {
            let place = place.trim();
            assert!(
                ["here", "own"].contains(&place) || place.contains('/') && place.contains('#'),
                "{}: {place}",
                cause.id
            );
        }
    }
}
