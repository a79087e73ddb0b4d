//! The keys of `[rock]` and `[crac]`, each with its default and its check.

use std::collections::BTreeMap;
use std::path::Path;

use super::raw::{Reader, Table, Value};
use super::resolve::{fixed, text};
use super::setting::Origin;
use super::{Crac, CracEngine, RockFile, RockSettings, check, check_rock};

/// `[rock]`.
pub fn rock(r: &mut Reader<'_>, top: &Table<'_>, name: &str, folder: &Path) -> RockSettings {
    let t = r.table(top, "rock");
    let checkpoint_name = rock_name(r, &t, "checkpoint-name", format!("{name}-checkpointer"));
    let restore_name = rock_name(r, &t, "restore-name", format!("{name}-restorer"));
    if checkpoint_name == restore_name {
        let span = t.key_span("restore-name").or(t.key_span("checkpoint-name"));
        let message = format!("both rocks are called {}", check::quoted(&restore_name));
        r.problem(message, span, "expected another name", "the second would overwrite the first");
    }
    RockSettings {
        checkpoint_name,
        restore_name,
        base: r.setting(&t, "base", text("ubuntu@24.04", "a long-term release with a CRaC JDK"), |r, v| {
            r.string(v, check_rock::base)
        }),
        suite: r.setting(&t, "suite", text("sid", "its CRIU works on kernels from 6.16 on"), |r, v| {
            r.string(v, check_rock::suite)
        }),
        run_user: r.setting(&t, "run-user", text("_daemon_", "as in Ubuntu's rocks"), |r, v| {
            r.string(v, check_rock::run_user)
        }),
        platforms: r.setting(
            &t,
            "platforms",
            fixed(vec!["amd64".to_owned()], "a checkpoint runs where it was made"),
            platforms,
        ),
        packages: r.setting(&t, "packages", fixed(Vec::new(), "the engine's and Java's suffice"), |r, v| {
            r.strings(v, check_rock::package)
        }),
        build_packages: r.setting(
            &t,
            "build-packages",
            fixed(Vec::new(), "the JDK suffices for a Maven wrapper"),
            |r, v| r.strings(v, check_rock::package),
        ),
        slices: r.setting(&t, "slices", fixed(Vec::new(), "packages suffice"), |r, v| {
            r.strings(v, check_rock::slice)
        }),
        files: r.setting(&t, "files", fixed(BTreeMap::new(), "the jar suffices"), |r, v| files(r, v, folder)),
    }
}

/// `"/path/in/the/rock" = "file"`.
fn files(r: &mut Reader<'_>, value: &Value<'_>, folder: &Path) -> Option<BTreeMap<String, RockFile>> {
    let t = r.inner(value, None)?;
    let mut files = BTreeMap::new();
    for (path, span, value) in t.iter() {
        let path = r.checked_at(&value.path, span, check_rock::place(path));
        let read = r.string(&value, |text| check_rock::file(text, folder));
        if let (Some(path), Some(file)) = (path, read) {
            files.insert(path, file);
        }
    }
    Some(files)
}

/// `[crac]`.
pub fn crac(r: &mut Reader<'_>, top: &Table<'_>, folder: &Path) -> Crac {
    let t = r.table(top, "crac");
    let engine = fixed(CracEngine::Default, "the JVM's own: its CRIU");
    Crac {
        engine: r.setting(&t, "engine", engine, |r, v| {
            r.string(v, |text| check::choice(text, check::CRAC_ENGINES))
        }),
        cpu_features: r.given(&t, "cpu-features", |r, v| r.string(v, check_rock::cpu_features)),
        resource_policies: r
            .given(&t, "resource-policies", |r, v| r.string(v, |text| check_rock::file(text, folder))),
        ignored_descriptors: r.setting(&t, "ignored-descriptors", fixed(Vec::new(), "none"), |r, v| {
            r.strings(v, check_rock::descriptor)
        }),
    }
}

fn rock_name(r: &mut Reader<'_>, t: &Table<'_>, key: &'static str, default: String) -> String {
    if !t.attempts(key)
        && let Err(wrong) = check::rock_name(&default)
    {
        // The name of the folder may be fine while this, which is longer, is not.
        let message = format!("the rock's name {} {}", check::quoted(&default), wrong.predicate);
        r.problem(
            message,
            None,
            "",
            format!("set `{key}` below `[rock]`, or rename the folder; {}", wrong.expected),
        );
    }
    let origin = Origin::Derived("from the name of the folder".to_owned());
    r.setting(t, key, (default, origin), |r, v| r.string(v, check::rock_name))
}

fn platforms(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<String>> {
    let platforms = r.strings(value, check_rock::platform)?;
    let expected = "expected `amd64`, `arm64` or both, each once";
    let repeated = platforms.iter().enumerate().any(|(at, platform)| platforms[..at].contains(platform));
    let checked = match (platforms.is_empty(), repeated) {
        (true, _) => Err(check::Wrong::new("is empty", expected)),
        (_, true) => Err(check::Wrong::new("names a platform twice", expected)),
        _ => Ok(platforms),
    };
    r.checked(value, checked)
}
