//! Every key of app.toml with its default, the reason for the default, and its check.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;
use toml::de::DeTable;

use super::keys::REQUEST;
use super::raw::{Reader, Table, Value};
use super::setting::{Origin, Show};
use super::{
    App, Build, CheckpointSettings, EngineChoice, Fallback, Http, Java, Limits, Memory, PackerChoice,
    PinSettings, Profile, Request, RestoreSettings, Source, check, check_pin, check_restore, check_rock,
    check_source, resolve_rock, resolve_secrets,
};

const KINDS: &str = "expected one of `git`, `maven`, `directory` or `jar`";

/// The application in `root`. It is worth something only if the reader has met no problem.
pub fn app(r: &mut Reader<'_>, root: &DeTable<'_>, name: &str, folder: &Path) -> App {
    let top = r.top(root);
    let derived = || Origin::Derived("from the name of the folder".to_owned());
    let summary = (format!("{name}, checkpointed"), derived());
    let app = App {
        name: name.to_owned(),
        summary: r.setting(&top, "summary", summary, |r, v| r.string(v, check::summary)),
        version: r
            .setting(&top, "version", text("0.0.1", "a first version"), |r, v| r.string(v, check::version)),
        engine: r.setting(
            &top,
            "engine",
            fixed(EngineChoice::Auto, "crac with rockcraft where the base has it, else criu"),
            |r, v| r.string(v, |text| check::choice(text, check::ENGINES)),
        ),
        packer: r.setting(
            &top,
            "packer",
            fixed(PackerChoice::Auto, "rockcraft where it is installed, else native"),
            |r, v| r.string(v, |text| check::choice(text, check::PACKERS)),
        ),
        crac: resolve_rock::crac(r, &top, folder),
        // A stand-in where there is none: the reader holds the reason.
        source: source(r, &top, folder).unwrap_or_else(|| Source::Jar { path: folder.to_owned() }),
        java: java(r, &top),
        http: http(r, &top),
        environment: environment(r, &top),
        secrets: resolve_secrets::secrets(r, &top),
        rock: resolve_rock::rock(r, &top, name, folder),
        checkpoint: checkpoint(r, &top),
        restore: restore(r, &top),
        pin: pin(r, &top),
        limits: limits(r, &top),
    };
    // Only values that are right alone can be wrong together.
    if let (true, Some(clash)) = (r.problems.is_empty(), check_rock::clash(&app)) {
        let span = match clash.table {
            "" => top.key_span(clash.key),
            table => r.table(&top, table).key_span(clash.key),
        };
        r.problem(clash.message, span, "does not go with the rest", clash.help);
    }
    app
}

/// A default that is always the same.
pub fn fixed<T>(value: T, why: &'static str) -> (T, Origin) {
    (value, Origin::Default(why))
}

/// The same, of a text.
pub fn text(value: &str, why: &'static str) -> (String, Origin) {
    fixed(value.to_owned(), why)
}

fn source(r: &mut Reader<'_>, top: &Table<'_>, folder: &Path) -> Option<Source> {
    let t = r.table(top, "source");
    // `jar` is a source only where it stands alone; beside sources it finds what their build made.
    let built = t.attempts("git") || t.attempts("directory");
    let kinds: Vec<&str> = ["git", "maven", "directory", "jar"]
        .into_iter()
        .filter(|kind| t.has(kind) && !(*kind == "jar" && built))
        .collect();
    let kind = match kinds[..] {
        [kind] => kind,
        [] => {
            if !["git", "maven", "directory", "jar"].iter().any(|kind| t.attempts(kind)) {
                let help = "below `[source]`, give exactly one of `git` (with `commit`), `maven` (with `sha256`), \
                            `directory` or `jar`";
                r.problem(
                    "`source` does not say where the jar comes from",
                    top.key_span("source"),
                    KINDS,
                    help,
                );
            }
            return None;
        }
        [first, .., second] => {
            let message = format!("`source` has both `{first}` and `{second}`");
            r.problem(message, t.key_span(second), KINDS, "keep one of them");
            return None;
        }
    };
    let (companions, needed): (&[&str], _) = match kind {
        "git" => (&["commit", "build", "jar"], Some(("commit", "a branch moves, a commit does not"))),
        "maven" => (&["sha256"], Some(("sha256", "`sha256sum <file>.jar` prints it"))),
        "directory" => (&["build", "jar"], None),
        _ => (&[], None),
    };
    for (key, span, _) in t.iter().filter(|(key, ..)| *key != kind && !companions.contains(key)) {
        // Unknown keys have been reported already.
        if ["commit", "build", "jar", "sha256"].contains(&key) {
            let message = format!("`source.{key}` does not go with `{kind}`");
            r.problem(message, Some(span), "has no meaning here", format!("remove it; {}", owner(key)));
        }
    }
    if let Some((key, help)) = needed.filter(|(key, _)| !t.attempts(key)) {
        let message = format!("`source.{key}` is missing");
        r.problem(message, t.key_span(kind), &format!("`{kind}` needs a `{key}` beside it"), help);
    }
    match kind {
        "git" => {
            let url = r.given(&t, "git", |r, v| r.string(v, check_source::git_url));
            let commit = r.given(&t, "commit", |r, v| r.string(v, check_source::commit));
            let build = build(r, &t);
            Some(Source::Git { url: url?, commit: commit?, build })
        }
        "maven" => {
            let jar = r.given(&t, "maven", |r, v| r.string(v, check_source::maven));
            let sha256 = r.given(&t, "sha256", |r, v| r.string(v, check_source::sha256))?;
            let check_source::Coordinates { group, artifact, version, classifier } = jar?;
            Some(Source::Maven { group, artifact, version, classifier, sha256 })
        }
        "directory" => {
            let path = r.given(&t, "directory", |r, v| r.string(v, |text| check_source::path(text, folder)));
            let build = build(r, &t);
            Some(Source::Directory { path: path?, build })
        }
        _ => {
            let path = r.given(&t, "jar", |r, v| r.string(v, |text| check_source::jar(text, folder)));
            Some(Source::Jar { path: path? })
        }
    }
}

/// What a key of `[source]` is for.
fn owner(key: &str) -> &'static str {
    match key {
        "commit" => "it goes with `git`",
        "sha256" => "it goes with `maven`",
        _ => "it goes with `git` and `directory`",
    }
}

fn build(r: &mut Reader<'_>, t: &Table<'_>) -> Build {
    Build {
        command: r.setting(
            t,
            "build",
            text("./mvnw package", "the wrapper Spring Initializr adds"),
            |r, v| r.string(v, check_source::build),
        ),
        jar: r.setting(t, "jar", text("target/*.jar", "where Maven puts it"), |r, v| {
            r.string(v, check_source::glob)
        }),
    }
}

impl Show for check_source::Coordinates {
    fn show(&self) -> String {
        let parts = [Some(&self.group), Some(&self.artifact), Some(&self.version), self.classifier.as_ref()];
        parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(":").show()
    }
}

fn java(r: &mut Reader<'_>, top: &Table<'_>) -> Java {
    let t = r.table(top, "java");
    Java {
        version: r
            .setting(&t, "version", fixed(21, "a long-term release"), |r, v| r.integer(v, check::release)),
        profile: r.setting(
            &t,
            "profile",
            fixed(Profile::Small, "fewest bytes to dump and to read back"),
            |r, v| r.string(v, |text| check::choice(text, check::PROFILES)),
        ),
        fresh_random: r.setting(
            &t,
            "fresh-random",
            fixed(true, "two restores must not share random numbers"),
            |r, v| r.boolean(v),
        ),
        options: r.setting(&t, "options", fixed(Vec::new(), "none beyond the profile's"), |r, v| {
            r.strings(v, check::jvm_option)
        }),
        arguments: r.setting(&t, "arguments", fixed(Vec::new(), "most applications take none"), |r, v| {
            r.strings(v, check::argument)
        }),
    }
}

fn http(r: &mut Reader<'_>, top: &Table<'_>) -> Http {
    let t = r.table(top, "http");
    Http {
        port: r.setting(&t, "port", fixed(8080, "Spring Boot's own default"), |r, v| {
            r.integer(v, |number| check::within(number, 1..=u16::MAX))
        }),
        ready: r.setting(&t, "ready", text("/actuator/health", "Spring Boot Actuator's"), |r, v| {
            r.string(v, check::http_path)
        }),
        warm_up: r.setting(&t, "warm-up", fixed(Vec::new(), "only `http.ready` is asked"), |r, v| {
            r.array(v, |r, v| request(r, v, 100_000))
        }),
        verify: r.setting(&t, "verify", fixed(Vec::new(), "only `http.ready` is compared"), |r, v| {
            r.array(v, |r, v| request(r, v, 1))
        }),
    }
}

fn request(r: &mut Reader<'_>, value: &Value<'_>, most: u32) -> Option<Request> {
    let get = |path| Request {
        method: "GET".to_owned(),
        path,
        headers: BTreeMap::new(),
        body: None,
        status: 200,
        repeat: 1,
    };
    if value.is_string() {
        return r.string(value, check::http_path).map(get);
    }
    if !value.is_table() {
        return r.wrong_type(value, "a path or a table");
    }
    let t = r.inner(value, Some(REQUEST))?;
    if !t.attempts("path") {
        let help = "write `{ path = \"/…\", method = \"POST\" }`";
        r.problem(
            format!("`{}` is missing", t.key("path")),
            Some(value.span.clone()),
            "needs a `path`",
            help,
        );
    }
    let plain = get(r.value(&t, "path", |r, v| r.string(v, check::http_path)).unwrap_or_default());
    let given = Request {
        method: r.value(&t, "method", |r, v| r.string(v, check::method)).unwrap_or(plain.method),
        path: plain.path,
        headers: r.value(&t, "headers", headers).unwrap_or_default(),
        body: r.value(&t, "body", |r, v| r.string(v, |text| Ok(text.to_owned()))),
        status: r
            .value(&t, "status", |r, v| r.integer(v, |number| check::within(number, 100..=599u16)))
            .unwrap_or(plain.status),
        repeat: r.value(&t, "repeat", |r, v| r.integer(v, |n| repeat(n, most))).unwrap_or(plain.repeat),
    };
    Some(given)
}

fn repeat(number: i64, most: u32) -> check::Checked<u32> {
    check::within(number, 1..=most).map_err(|wrong| match most {
        1 => check::Wrong::new("is more than one request", "expected 1")
            .help("a verification compares one answer with one; warm-up requests may be repeated"),
        _ => wrong,
    })
}

fn headers(r: &mut Reader<'_>, value: &Value<'_>) -> Option<BTreeMap<String, String>> {
    let t = r.inner(value, None)?;
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    let mut left = check::SENT_LIMIT;
    for (name, span, value) in t.iter() {
        let known = headers.keys().any(|known| known.eq_ignore_ascii_case(name));
        let checked = match known {
            true => {
                Err(check::Wrong::new("is there twice", "case makes no difference in the name of a header"))
            }
            false => check::header_name(name, left),
        };
        let name_is_right = r.checked_at(&value.path, span, checked).is_some();
        left = left.saturating_sub(name.len());
        if let Some(text) = r.string(&value, |text| check::header_value(text, left))
            && name_is_right
        {
            left -= text.len();
            headers.insert(name.to_owned(), text);
        }
    }
    Some(headers)
}

fn environment(r: &mut Reader<'_>, top: &Table<'_>) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    let Some(t) = r.value(top, "environment", |r, v| r.inner(v, None)) else {
        r.record(
            "environment".to_owned(),
            &environment,
            Origin::Default("the rock sets what it needs itself"),
        );
        return environment;
    };
    for (name, span, value) in t.iter() {
        let line = r.line(span.start);
        let name_is_right = r.checked_at(&value.path, span, check::variable_name(name)).is_some();
        if let Some(text) = r.string(&value, check::variable_value)
            && name_is_right
        {
            r.record(value.path, &text, Origin::File { line });
            environment.insert(name.to_owned(), text);
        }
    }
    environment
}

fn checkpoint(r: &mut Reader<'_>, top: &Table<'_>) -> CheckpointSettings {
    let t = r.table(top, "checkpoint");
    let ghosts = fixed(ByteSize::mib(20), "a JVM maps more than CRIU's own limit of 1 MiB");
    CheckpointSettings {
        min_pid: r.setting(&t, "min-pid", fixed(1000, "below 300 a restore can meet a taken PID"), |r, v| {
            r.integer(v, |number| check::within(number, 100..=30_000))
        }),
        ghost_limit: r.setting(&t, "ghost-limit", ghosts, |r, v| r.string(v, check::size)),
        memory: r.setting(
            &t,
            "memory",
            fixed(Memory::Mapped, "a restore reads what it touches, and no more"),
            |r, v| r.string(v, |text| check::choice(text, check::MEMORIES)),
        ),
    }
}

fn restore(r: &mut Reader<'_>, top: &Table<'_>) -> RestoreSettings {
    let t = r.table(top, "restore");
    // Not `cold`: a pin that no longer restores would look like a slow day, and a cold start needs time, CPU and
    // settings that whoever runs a restore rock has not planned for. Whoever has, says so.
    let fallback =
        fixed(Fallback::Fail, "a pin that does not restore is seen at once, and not as a slow start");
    RestoreSettings {
        fallback: r.setting(&t, "fallback", fallback, |r, v| {
            r.string(v, |text| check::choice(text, check_restore::FALLBACKS))
        }),
    }
}

fn pin(r: &mut Reader<'_>, top: &Table<'_>) -> PinSettings {
    let t = r.table(top, "pin");
    PinSettings {
        remote: r.setting(&t, "remote", text("", "`push` and `pull` are told where"), |r, v| {
            r.string(v, check_pin::remote)
        }),
        signed_by: r.setting(&t, "signed-by", fixed(Vec::new(), "pins need no signature"), |r, v| {
            r.strings(v, check_pin::public_key)
        }),
    }
}

fn limits(r: &mut Reader<'_>, top: &Table<'_>) -> Limits {
    let t = r.table(top, "limits");
    let mut limit = |key, seconds, why| {
        r.setting(&t, key, fixed(Duration::from_secs(seconds), why), |r, v| r.string(v, check::duration))
    };
    Limits {
        build: limit("build", 30 * 60, "a first build downloads its dependencies"),
        ready: limit("ready", 120, "a cold start on a busy machine"),
        warm_up: limit("warm-up", 120, "all warm-up requests together"),
        dump: limit("dump", 120, "a heap of gigabytes on a slow disk"),
        restore: limit("restore", 30, "many times what a restore takes"),
        request: limit("request", 30, "a cold page on a busy machine"),
    }
}
