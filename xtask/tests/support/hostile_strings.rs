//! Strings that mean something to a shell, YAML, TOML, a terminal or a path, and the fields of app.toml they go into.

use proptest::prelude::*;
use serde_json::{Value, json};

/// What a shell would run if a value escaped from its quotes; the file appears in the folder of whoever runs it.
const CANARIES: &[&str] = &[
    "$(touch CANARY)",
    "`touch CANARY`",
    "; touch CANARY;",
    "| touch CANARY |",
    "& touch CANARY &",
    "&& touch CANARY #",
    "\ntouch CANARY\n",
    "\r\ntouch CANARY\r\n",
    "'; touch CANARY; '",
    "\"; touch CANARY; \"",
    "'$(touch CANARY)'",
    "\"$(touch CANARY)\"",
    "\\'; touch CANARY; \\'",
    "' \\\n touch CANARY '",
    ">CANARY",
    "<(touch CANARY)",
    "${x:-$(touch CANARY)}",
    "$((a[$(touch CANARY)]))",
    "\u{2028}touch CANARY\u{2028}",
    "\u{85}touch CANARY\u{85}",
    "\0; touch CANARY",
    "{{ 'touch CANARY' }}",
    "- !!python/object/apply:os.system ['touch CANARY']",
    "--use-compress-program=touch CANARY",
    "-oProxyCommand=touch CANARY",
    "ext::sh -c touch% CANARY",
];

/// What ends or begins something in one of the languages.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    " ", "a", "0", "'", "\"", "\\", "$", "`", "#", ":", ": ", " #", "&", "*", "!", "|", ">", "%", "@", "{", "}", "[", "]",
    ",", "?", "~", ";", "(", ")", "<", "=", "^", "/", "\n", "\r", "\t", "\0", "\u{1b}[31m", "\u{7}", "\u{7f}", "\u{85}",
    "\u{a0}", "\u{200b}", "\u{200e}", "\u{202e}", "\u{2028}", "\u{2029}", "\u{2066}", "\u{d7ff}", "\u{e000}", "\u{feff}",
    "\u{fffd}", "\u{ffff}", "\u{10ffff}", "e\u{301}", "漢", "😀", "\"\"\"", "'''", "{{ app }}", "{% raw %}", "{#", "---",
    "...", "<<: *a", "&a ", "!!binary ", "\\u0000", "\\ud800", "%00", "%s", "%n", "$HOME", "${HOME}", "$$", "$0", "$@",
    "../", "/../../etc/passwd", "./", "~/", "//", ".wh.", "-", "--", "--privileged", "-v/:/host", "--env=X=Y",
    "--entrypoint=/bin/sh", " --cap-add=ALL ", "yes", "null", "0x1f", "1e3", "\n- b\n", "\n  key: value\n", "\r\nX-Evil: 1",
    "\r\n\r\nGET /evil HTTP/1.1", "EOF", "*/", "-->", "\\", "\\\n",
];

/// Every place of app.toml that holds a string, as a pointer into [`document`]; `~` at the end: the key itself.
pub const FIELDS: &[&str] = &[
    "/summary",
    "/version",
    "/engine",
    "/packer",
    "/source/git",
    "/source/commit",
    "/source/build",
    "/source/jar",
    "/source/maven",
    "/source/sha256",
    "/source/directory",
    "/java/profile",
    "/java/options/0",
    "/java/arguments/0",
    "/http/ready",
    "/http/warm-up/0",
    "/http/warm-up/1/path",
    "/http/warm-up/1/method",
    "/http/warm-up/1/headers/X-Name",
    "/http/warm-up/1/headers/~",
    "/http/warm-up/1/body",
    "/http/verify/0",
    "/environment/NAME",
    "/environment/~",
    "/rock/checkpoint-name",
    "/rock/restore-name",
    "/rock/base",
    "/rock/suite",
    "/rock/run-user",
    "/rock/platforms/0",
    "/rock/packages/0",
    "/rock/build-packages/0",
    "/rock/slices/0",
    "/rock/files/~",
    "/rock/files/~1etc~1a",
    "/crac/engine",
    "/crac/cpu-features",
    "/crac/resource-policies",
    "/crac/ignored-descriptors/0",
    "/checkpoint/ghost-limit",
    "/checkpoint/memory",
    "/limits/build",
    "/limits/dump",
    "/limits/request",
    "~name",
];

/// A valid application that uses every field, where those of one source do not exclude those of another.
fn document(field: &str) -> Value {
    let source = match field {
        "/source/maven" | "/source/sha256" => json!({ "maven": "com.example:a:1", "sha256": "1".repeat(64) }),
        "/source/directory" => json!({ "directory": "src" }),
        _ => json!({
            "git": "https://example.com/a.git", "commit": "1".repeat(40), "build": "make", "jar": "target/*.jar",
        }),
    };
    json!({
        "summary": "s", "version": "1", "engine": "auto", "packer": "auto", "source": source,
        "java": { "version": 25, "profile": "small", "options": ["-Da=b"], "arguments": ["x"] },
        "http": {
            "ready": "/ready",
            "warm-up": ["/", { "path": "/p", "method": "POST", "headers": { "X-Name": "v" }, "body": "b" }],
            "verify": ["/v"],
        },
        "environment": { "NAME": "value" },
        "rock": {
            "checkpoint-name": "a-c", "restore-name": "a-r", "base": "ubuntu@26.04", "suite": "sid",
            "run-user": "_daemon_", "platforms": ["amd64"], "packages": ["sudo"], "build-packages": ["make"],
            "slices": ["ab_cd"], "files": { "/etc/a": "a.txt" },
        },
        "crac": {
            "engine": "criu", "cpu-features": "generic", "resource-policies": "a.txt", "ignored-descriptors": ["7"],
        },
        "checkpoint": { "ghost-limit": "1 MiB", "memory": "mapped" },
        "limits": { "build": "1m", "dump": "1m", "request": "1m" },
    })
}

/// An app.toml whose `field` has this value, and the application's name.
pub fn app_toml(field: &str, value: &str) -> (String, String) {
    let mut document = document(field);
    let mut name = "a1".to_owned();
    match field.strip_suffix('~') {
        _ if field == "~name" => name = value.to_owned(),
        Some(table) => {
            let table = document.pointer_mut(table.trim_end_matches('/')).unwrap().as_object_mut().unwrap();
            let old = table.values().next().cloned().unwrap();
            table.clear();
            table.insert(value.to_owned(), old);
        }
        None => *document.pointer_mut(field).unwrap_or_else(|| panic!("no {field}")) = value.into(),
    }
    (name, toml::to_string(&document).expect("TOML"))
}

/// What the field holds in a valid file; hostile pieces are put into that, too.
pub fn sound(field: &str) -> String {
    match field.strip_suffix('~') {
        _ if field == "~name" => "a1".into(),
        Some("/rock/files/") => "/etc/a".into(),
        Some(_) => "NAME".into(),
        None => document(field).pointer(field).unwrap().as_str().unwrap().to_owned(),
    }
}

/// A field and a value.
pub fn any_case() -> impl Strategy<Value = (&'static str, String)> {
    let piece = || {
        prop_oneof![
            2 => prop::sample::select(CANARIES).prop_map(String::from),
            8 => prop::sample::select(PIECES).prop_map(String::from),
            1 => any::<char>().prop_map(String::from),
        ]
    };
    let value = prop_oneof![
        4 => prop::collection::vec(piece(), 0..6).prop_map(|pieces| pieces.concat()),
        1 => prop::sample::select(CANARIES).prop_map(String::from),
        1 => (piece(), 100..9000_usize).prop_map(|(piece, times)| piece.repeat(times)),
    ];
    // Alone, before, behind and within what is valid; with the first character that the field wants.
    let place = 0..5_u8;
    (prop::sample::select(FIELDS), value, place).prop_map(|(field, value, place)| {
        let sound = sound(field);
        let first: String = sound.chars().take(1).collect();
        let value = match place {
            0 => value,
            1 => format!("{sound}{value}"),
            2 => format!("{value}{sound}"),
            3 => format!("{first}{value}"),
            _ => format!("{first}{value}{}", &sound[first.len()..]),
        };
        (field, value)
    })
}
