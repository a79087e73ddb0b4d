//! What documents name of this repository is there: the files of ARCHITECTURE.md, tests and benchmarks by their names, and
//! what the recording shows by what the tool prints.

mod support {
    pub mod markdown;
}

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use support::markdown::page;
use walkdir::WalkDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Where a path of ARCHITECTURE.md may begin, besides the folder that its row is about.
const TOPS: [&str; 8] = [
    "",
    "xtask",
    "xtask/core/src",
    "xtask/ground/src",
    "xtask/src",
    "xtask/tests",
    "templates",
    "templates/scripts",
];

/// Files that a document names and that are not there. A row of a table may name files of the folders that it has named.
fn absent(text: &str) -> Vec<String> {
    let spans = page(text).spans;
    let mut found = Vec::new();
    let (mut line, mut own) = (0, Vec::<PathBuf>::new());
    for (at, span) in spans {
        if at != line {
            (line, own) = (at, Vec::new());
        }
        let places =
            TOPS.iter().map(|top| Path::new(top).join(&span)).chain(own.iter().map(|own| own.join(&span)));
        let there: Vec<PathBuf> =
            places.filter(|path| root().join(path).exists() || is_template(path)).collect();
        // `core/src/scan/`, `mod.rs`, `dump-criu.sh.j2`: what ends like a file of the sources, or in a slash.
        let file = [".rs", ".sh", ".j2", "/"].iter().any(|end| span.ends_with(end));
        if there.is_empty() && file && !span.contains(['*', ' ', '<', '…']) {
            found.push(format!("line {at}: `{span}`"));
        }
        let folder = |path: PathBuf| {
            if root().join(&path).is_dir() { path } else { path.parent().unwrap().to_owned() }
        };
        own.extend(there.into_iter().map(folder));
    }
    found
}

/// A script that is rendered is called as it is in the rock.
fn is_template(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| root().join(path.with_file_name(format!("{}.j2", name.display()))).exists())
}

/// The paths of the map, a line each, with `<app>` for any application. What is made at run time is not there yet.
fn absent_in_the_map(text: &str) -> Vec<String> {
    let blocks = page(text).blocks;
    let map = blocks.iter().find(|(_, _, code)| code.contains("<app>")).expect("the map");
    let paths = map.2.lines().filter_map(|line| line.split_whitespace().next());
    let paths = paths.filter(|path| !path.starts_with("target/") && !path.ends_with(".lock"));
    let each = |path: &str| -> Vec<String> {
        let path = path.replace("<app>", "sample");
        match path.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
            Some((before, (names, after))) => {
                names.split(',').map(|name| format!("{before}{name}{after}")).collect()
            }
            None => vec![path],
        }
    };
    paths.flat_map(each).filter(|path| !root().join(path).exists()).collect()
}

#[test]
fn the_map_of_the_code() {
    let text = read("ARCHITECTURE.md");
    assert_eq!(absent(&text), Vec::<String>::new());
    assert_eq!(absent_in_the_map(&text), Vec::<String>::new());
    // They can say no.
    let wrong = "| `scan/` | in `rules.rs` and `none.rs` |\n\n`commands/checkpoint.rs` `settle.sh` `none.sh` `xtask/core/src/app/`";
    assert_eq!(
        absent(&format!("| | |\n| --- | --- |\n{wrong}")),
        ["line 3: `none.rs`", "line 5: `commands/checkpoint.rs`", "line 5: `none.sh`"]
    );
    let map = "    apps/<app>/{app,no}.toml   a\n    none/   b\n    target/none   c\n";
    assert_eq!(absent_in_the_map(map), ["apps/sample/no.toml", "none/"]);
}

/// Every file of the sources has a place in the map: itself or a folder above it.
#[test]
fn nothing_is_left_out_of_the_map() {
    let text = read("ARCHITECTURE.md");
    let named: BTreeSet<String> = page(&text).spans.into_iter().map(|(_, span)| span).collect();
    let missing = |folder: &str, prefix: &str| -> Vec<String> {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        let names = entries.map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.path().is_dir() { format!("{name}/") } else { name }
        });
        // A module's file goes with its folder, and the folder with the file.
        let of_folder = |name: &String| {
            let other = match name.strip_suffix(".rs") {
                Some(own) => format!("{prefix}{own}/"),
                None => format!("{prefix}{}.rs", name.trim_end_matches('/')),
            };
            named.contains(&other)
        };
        let known = |name: &String| {
            named.contains(name) || named.contains(&format!("{prefix}{name}")) || of_folder(name)
        };
        let mut all: Vec<String> = names.filter(|name| !known(name)).collect();
        all.sort();
        all
    };
    for sources in ["xtask/src", "xtask/core/src", "xtask/ground/src"] {
        assert_eq!(missing(sources, ""), Vec::<String>::new());
    }
    let tests = missing("xtask/tests", "tests/");
    assert_eq!(tests, ["fixtures/", "rockcraft/", "snapshots/", "support/"], "these are no tests");
}

/// `--test NAME` and `--bench NAME` that are not there.
fn unknown_targets(text: &str) -> Vec<String> {
    let mut words = text.split(|c: char| c.is_whitespace() || "`\"|,;:.()".contains(c)).peekable();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let (Some(kind), Some(name)) = (word.strip_prefix("--"), words.peek()) else { continue };
        let folder = match kind {
            "test" => "tests",
            "bench" => "benches",
            _ => continue,
        };
        let there = [format!("xtask/{folder}/{name}.rs"), format!("xtask/{folder}/{name}/main.rs")];
        if name.starts_with(|c: char| c.is_ascii_lowercase())
            && !there.iter().any(|path| root().join(path).exists())
        {
            found.push(format!("{word} {name}"));
        }
    }
    found
}

#[test]
fn tests_and_benchmarks_by_name() {
    let pages = WalkDir::new(root().join("docs")).into_iter().map(|entry| entry.unwrap().into_path());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut shown = 0;
    for path in pages.chain(["README.md", "ARCHITECTURE.md"].map(|name| root().join(name))) {
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(unknown_targets(&text), Vec::<String>::new(), "{}", path.display());
        shown += text.matches("--test ").count() + text.matches("--bench ").count();
    }
    assert!(shown >= 3, "{shown}");
    assert_eq!(
        unknown_targets("`cargo test --test e2e -- x` --bench pin, --test NAME --test none --bench e2e"),
        ["--test none", "--bench e2e"]
    );
}

/// A recording shows what the tool prints now; `docs/recording/record.sh` makes another.
#[test]
fn the_recording_shows_what_is_printed() {
    let recording = read("docs/guide/recording.svg").replace(['\u{a0}'], " ").replace("&#39;", "'");
    let printed = [
        ("commands/checkpoint/pin.rs", "is checkpointed."),
        ("commands/checkpoint/pin.rs", "frozen for the dump     "),
        ("commands/checkpoint/pin.rs", "checkpoint data         "),
        ("commands/checkpoint/pin.rs", "restore rock            "),
        ("commands/checkpoint/pin.rs", "no proof that there are none"),
        ("commands/checkpoint/pin.rs", "Next: cargo xtask restore "),
        ("commands/restore.rs", "is back: restored"),
        ("commands/restore.rs", "stop it with: "),
        ("report.rs", "from the container's start"),
        ("report.rs", "container start included"),
    ];
    for (file, phrase) in printed {
        assert!(read(&format!("xtask/src/{file}")).contains(phrase), "{file} does not print `{phrase}`");
        let shown =
            recording.contains(phrase.trim_end()) || recording.contains(&phrase.replace('\'', "&apos;"));
        assert!(shown, "the recording does not show `{phrase}`; run docs/recording/record.sh");
    }
}
