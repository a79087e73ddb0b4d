//! Applications of hostile but valid values.

use std::collections::BTreeMap;

use proptest::prelude::*;
use xtask::app::App;

use super::apps::app;

/// What means something to a shell, to YAML, to a template or to a terminal.
#[rustfmt::skip]
const ODD: &[&str] = &[
    " ", " ", "a", "z", "0", "'", "\"", "$", "`", "\\", "#", ":", "&", "*", "!", "|", ">", "%", "@", "{", "}", "[", "]",
    ",", "?", "~", ";", "(", ")", "<", "=", "^", "/", ".", "_", "-", "é", "漢", "😀", "\u{301}", "¡", "$(id)", ": ", " #",
    "{{", "}}", "{%", "%}", "---", "''", "\\n", "${HOME}", "!!", "\u{7e}", "%s", "<<",
];
/// What only environment values may hold.
const UNPRINTABLE: &[&str] = &[
    "\n",
    "\r",
    "\t",
    "\u{1b}",
    "\u{85}",
    "\u{a0}",
    "\u{2028}",
    "\u{feff}",
    "\u{ffff}",
    "\u{10ffff}",
    "\u{7f}",
    "\u{1}",
];

/// One line that a person could have written.
fn line() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(ODD), 0..20).prop_map(|parts| parts.concat())
}

fn environment() -> impl Strategy<Value = BTreeMap<String, String>> {
    let pieces = [ODD, UNPRINTABLE].concat();
    let anything = prop_oneof![
        4 => prop::collection::vec(prop::sample::select(pieces), 0..20).prop_map(|parts| parts.concat()),
        1 => prop::sample::select(vec!["", "no", "~", "null", "1e3", "0x1f", "2001-01-01", "\n", " a\n b\n", "="])
            .prop_map(String::from),
    ];
    // YAML takes some words for truth values and null, and `<<` for a merge.
    let name = prop_oneof![3 => "[A-Z_][A-Z0-9_]{0,8}", 1 => "y|n|no|yes|on|off|null|true|NULL|_"];
    prop::collection::btree_map(name.prop_filter("may be set", |n| !n.starts_with("LD_")), anything, 0..5)
}

/// An application of hostile but valid values, through the very code that reads app.toml.
pub fn any_app() -> impl Strategy<Value = App> {
    let name = prop_oneof![
        3 => "[a-z][a-z0-9]{1,9}",
        // Names that the templates use for something else.
        1 => "java|scripts|checkpoint-data|application|e1|data|jars|native|app|started|environment",
    ];
    let summary =
        line().prop_filter("a summary", |text| !text.trim().is_empty() && text.chars().count() <= 78);
    let build = line().prop_filter("a command", |text| !text.trim().is_empty());
    let options = prop::collection::vec(line().prop_map(|text| format!("-{text}")), 0..4);
    let parts = (name, summary, build, options, prop::collection::vec(line(), 0..4), environment());
    let bases = vec![(17, "ubuntu@24.04"), (21, "ubuntu@24.04"), (21, "ubuntu@25.10"), (25, "ubuntu@26.04")];
    let names = |pattern| prop::collection::btree_set(pattern, 0..3);
    let rock = (
        prop::sample::select(bases),
        prop::sample::subsequence(vec!["amd64", "arm64"], 1..=2),
        names("[a-z0-9][a-z0-9+.-]{1,9}"),
        names("[a-z0-9][a-z0-9+.-]{1,9}_[a-z]{1,9}"),
        "/([!\"$&-;=@-_a-~]|%[0-9A-F]{2}){0,15}([?]([!$&(-;=?-_a-~]|%[0-9A-F]{2}){0,9})?",
    );
    let crac = prop::option::of((
        prop::sample::select(vec!["criu", "default"]),
        prop::sample::select(vec!["generic", "native", "0x1f,0xABC"]),
        names("[0-9]{1,3}|/[a-z./_-]{1,9}"),
    ));
    let choices = (prop::sample::select(vec!["auto", "criu", "crac"]), any::<bool>(), rock, crac);
    let named = parts.prop_filter("YAML's own words are refused", |parts| {
        !["true", "false", "yes", "no", "on", "off", "null"].contains(&parts.0.as_str())
    });
    (named, choices).prop_map(|(parts, (engine, git, rock, crac))| {
        let (name, summary, build, options, arguments, environment) = parts;
        let ((java, base), platforms, packages, slices, ready) = rock;
        let source = match git {
            true => serde_json::json!({
                "git": "https://example.com/a.git", "commit": "1".repeat(40), "build": build,
            }),
            false => serde_json::json!({ "jar": "a.jar" }),
        };
        let mut table = serde_json::json!({
            "summary": summary, "engine": engine, "source": source, "environment": environment,
            "java": { "version": java, "options": options, "arguments": arguments },
            "http": { "ready": ready },
            "rock": {
                "base": base, "platforms": platforms, "packages": packages, "slices": slices,
                "build-packages": packages,
            },
        });
        if let (true, Some((engine, features, ignored))) = (engine != "criu", crac) {
            table["crac"] = serde_json::json!({
                "engine": engine, "cpu-features": features, "ignored-descriptors": ignored,
            });
        }
        app(&name, &toml::to_string(&table).expect("TOML"))
    })
}
