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
        "apps/shop/app.toml:2: `ghost-limit = \"1 MiB\"`, for example to `ghost-limit = \"128 MiB\"`",
    );
    check(
        "\n\n[checkpoint]\n",
        "apps/shop/app.toml:3: add to `[checkpoint]`, for example, `ghost-limit = \"128 MiB\"`",
    );
    check("", "apps/shop/app.toml: add `[checkpoint]` and, for example, `ghost-limit = \"128 MiB\"`");
    let text = brief(&found, None).unwrap();
    assert!(
        text.ends_with(
            "change:   `checkpoint.ghost-limit` in app.toml, for example `ghost-limit = \"128 MiB\"`"
        ),
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
        let Some(Change { key, line }) = &cause.change else { continue };
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
