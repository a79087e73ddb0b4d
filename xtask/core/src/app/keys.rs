//! Which keys there are. What each may hold, and its default, stands in `resolve`.

/// The keys at the top of app.toml.
pub const TOP: &[&str] = &[
    "summary",
    "version",
    "engine",
    "packer",
    "crac",
    "source",
    "java",
    "http",
    "environment",
    "secrets",
    "rock",
    "checkpoint",
    "restore",
    "pin",
    "limits",
];

/// The tables of app.toml and their keys. `environment` is absent, its keys are the user's.
pub const TABLES: &[(&str, &[&str])] = &[
    ("source", &["git", "commit", "build", "jar", "maven", "sha256", "directory"]),
    ("java", &["version", "profile", "fresh-random", "options", "arguments"]),
    ("http", &["port", "ready", "warm-up", "verify"]),
    ("crac", &["engine", "cpu-features", "resource-policies", "ignored-descriptors"]),
    // Its other keys are the user's.
    ("secrets", &["allow"]),
    (
        "rock",
        &[
            "checkpoint-name",
            "restore-name",
            "base",
            "suite",
            "run-user",
            "platforms",
            "packages",
            "build-packages",
            "slices",
            "files",
        ],
    ),
    ("checkpoint", &["min-pid", "ghost-limit", "memory"]),
    ("restore", &["fallback"]),
    ("pin", &["remote", "signed-by"]),
    ("limits", &["build", "ready", "warm-up", "dump", "restore", "request"]),
];

/// The keys of a secret.
pub const SECRET: &[&str] = &["environment", "file"];

/// The keys of a finding that is allowed.
pub const ALLOWED: &[&str] = &["id", "reason"];

/// The keys of a request written as a table.
pub const REQUEST: &[&str] = &["path", "method", "headers", "body", "status", "repeat"];

/// Where a key that is unknown here is valid: people write `port` before `[http]` and `summary` below `[source]`.
pub fn homes(key: &str) -> Vec<String> {
    let top = TOP.contains(&key).then(|| "at the top, before the first `[table]`".to_owned());
    let tables = TABLES.iter().filter(|(_, keys)| keys.contains(&key));
    top.into_iter().chain(tables.map(|(table, _)| format!("in `[{table}]`"))).collect()
}
