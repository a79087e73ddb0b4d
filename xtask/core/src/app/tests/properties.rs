//! What holds for any text.

use proptest::prelude::*;

use super::super::setting::Show;
use super::{FULL, JAR, load_here};

/// Loading gives an application or at least one problem, and the problem can be shown.
fn survives(text: &str) {
    if let Err(error) = load_here(text) {
        assert!(!error.problems.is_empty());
        assert_eq!(error.text.len(), text.len());
        for span in error.problems.iter().filter_map(|problem| problem.span.clone()) {
            assert!(error.text.get(span).is_some());
        }
        assert!(!error.to_string().is_empty());
    }
}

/// Pieces of which files are made, wrongly put together.
fn pieces() -> impl Strategy<Value = String> {
    let words: Vec<String> = FULL.split_inclusive([' ', '\n', '"']).map(str::to_owned).collect();
    prop::collection::vec(prop::sample::select(words), 0..60).prop_map(|words| words.concat())
}

/// A valid file with some characters cut out and others put in.
fn mutated() -> impl Strategy<Value = String> {
    let cut =
        (any::<prop::sample::Index>(), 0..12usize, "(?s)[\"'=\\[\\]{}#.\\n@:/0-9a-z\\\\é\u{0}]{0,4}|.{0,3}");
    prop::collection::vec(cut, 1..5).prop_map(|cuts| {
        let mut text: Vec<char> = FULL.chars().collect();
        for (at, length, put) in cuts {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            text.splice(at..end, put.chars());
        }
        text.into_iter().collect()
    })
}

/// A valid key with any value.
fn any_value() -> impl Strategy<Value = String> {
    let keys: Vec<&str> =
        FULL.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key.trim()).collect();
    let tables = vec!["source", "java", "http", "rock", "checkpoint", "limits"];
    let value = prop_oneof![
        "(?s)\"[^\"\\\\]{0,20}\"",
        "-?[0-9]{1,25}",
        "\\[(\"/?[a-z]*\", )*\\]",
        "'''(?s).{0,9}'''"
    ];
    (prop::sample::select(tables), prop::sample::select(keys), value)
        .prop_map(|(table, key, value)| format!("{table}.{key} = {value}\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "(?s).{0,200}") {
        survives(&text);
    }

    #[test]
    fn words(text in pieces()) {
        survives(&text);
    }

    #[test]
    fn mutations(text in mutated()) {
        survives(&text);
    }

    #[test]
    fn values(text in any_value()) {
        survives(&text);
        survives(&format!("{JAR}\n{text}"));
    }

    /// No string of a valid file gets lost or changed on the way into `Setting::value`.
    #[test]
    fn settings_read_back(
        value in "(?s)[^\u{0}]{0,40}",
        body in "(?s).{0,40}",
        seconds in 1..7200u64,
        bytes in 1u64 << 20..1 << 32,
    ) {
        let (shown, body_shown) = (value.show(), body.show());
        let file = format!(
            "{JAR}\nenvironment.A = {shown}\nhttp.warm-up = [{{ path = \"/\", body = {body_shown} }}]\n\
             limits.dump = \"{seconds}s\"\ncheckpoint.ghost-limit = \"{bytes} B\"\n"
        );
        let loaded = reads_back(&file);
        assert_eq!(loaded.environment["A"], value);
        assert_eq!(loaded.http.warm_up[0].body.as_ref(), Some(&body));
        assert_eq!(loaded.checkpoint.ghost_limit.as_u64(), bytes);
    }
}

/// The application of `text`, which is also that of its settings, written one a line.
fn reads_back(text: &str) -> super::App {
    let first = load_here(text).unwrap_or_else(|error| panic!("{error}"));
    let written: String =
        first.settings.iter().map(|setting| format!("{} = {}\n", setting.key, setting.value)).collect();
    let second = load_here(&written).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(format!("{:?}", first.app), format!("{:?}", second.app));
    first.app
}

#[test]
fn every_key_reads_back() {
    reads_back(FULL);
    reads_back(JAR);
}
