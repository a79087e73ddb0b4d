//! Tables of cases that are wrong: the text, the line and what the error must say. `right` holds those that are not.

mod properties;
mod right;
mod secrets;
mod together;

use std::path::Path;

use super::*;
use crate::diagnostic::InputError;

const JAR: &str = "source.jar = \"app.jar\"";
const ID: &str = "9a22090b0b9f4a3d8a5e6c7d8e9f0a1b2c3d4e5f";
const SHA: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// Every key there is.
const FULL: &str = r#"summary = "Spring PetClinic, checkpointed"
version = "0.0.1"
engine = "crac"
packer = "rockcraft"

[source]
git = "https://github.com/pushkarnk/spring-petclinic.git"
commit = "9a22090b0b9f4a3d8a5e6c7d8e9f0a1b2c3d4e5f"
build = "./mvnw package -DskipTests"
jar = "target/*-SNAPSHOT.jar"

[java]
version = 17
profile = "none"
fresh-random = false
options = ["-XX:+UseSerialGC", "-Dgreeting=grüß \"Gott\""]
arguments = ["--debug"]

[http]
port = 8081
ready = "/ready"
warm-up = [
    "/",
    "/owners?lastName=",
    { path = "/x", method = "POST", headers = { Content-Type = "application/json" }, body = "{}\n", status = 202, repeat = 3 },
]
verify = ["/vets.html"]

[environment]
GREETING = "two\nlines\ttab \u001b"
EMPTY = ""

[secrets]
db-password = { environment = "DB_PASSWORD" }
tls-key = { file = "/run/secrets/tls.pem" }
allow = [{ id = "jwt:1a2b3c4d", reason = "of the test realm" }, { id = "variable/API_KEY:00f", reason = "\"public\"" }]

[rock]
checkpoint-name = "clinic-c"
restore-name = "clinic-r"
base = "ubuntu@26.04"
suite = "forky"
run-user = "_daemon_"
platforms = ["arm64", "amd64"]
packages = ["libstdc++6"]
build-packages = ["sudo"]
slices = ["ca-certificates_data"]

[crac]
engine = "criu"
cpu-features = "0x21421804139bbd,0x3e6"
ignored-descriptors = ["7", "/dev/random"]

[checkpoint]
min-pid = 2000
ghost-limit = "1.5 MiB"
memory = "read"

[restore]
fallback = "cold"

[pin]
remote = "registry.example.com:5000/team/pins"
signed-by = ["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"]

[limits]
build = "1h"
ready = "90s"
warm-up = "2m 3s"
dump = "1500ms"
restore = "1s"
request = "2h"
"#;

fn load_here(text: &str) -> Result<Loaded, InputError> {
    load_text("petclinic", Path::new("/w/apps/petclinic"), "apps/petclinic/app.toml", text)
}

#[track_caller]
fn good(text: &str) -> Loaded {
    load_here(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The first problem is on `line` (0: on none), and the error says every phrase.
#[track_caller]
fn check(text: &str, line: usize, phrases: &[&str]) -> InputError {
    let error = load_here(text).expect_err(text);
    let shown = error.to_string();
    let span = error.problems[0].span.clone();
    let found = span.map_or(0, |span| 1 + error.text[..span.start].matches('\n').count());
    assert_eq!(found, line, "{shown}");
    for phrase in phrases {
        assert!(shown.contains(phrase), "`{phrase}` is not in\n{shown}");
    }
    error
}

/// One line that is wrong in one way, below a source that is right.
#[track_caller]
fn line(wrong: &str, phrases: &[&str]) {
    let error = check(&format!("{JAR}\n{wrong}\n"), 2, phrases);
    assert_eq!(error.problems.len(), 1, "{error}");
}

/// A `[source]` that is wrong in one way; `number` counts its lines from 1.
#[track_caller]
fn source(lines: &[&str], number: usize, phrases: &[&str]) {
    let error = check(&format!("[source]\n{}\n", lines.join("\n")), number + 1, phrases);
    assert_eq!(error.problems.len(), 1, "{error}");
}

#[test]
fn not_toml() {
    check("summary = \"a\nversion = \"1\"\n", 1, &["not valid TOML: invalid basic string", "app.toml:1:13"]);
    check("summary = Spring\n", 1, &["not valid TOML: string values must be quoted"]);
    check("[http]\nport = 1\nport = 2\n", 3, &["not valid TOML: duplicate key"]);
    check("[http\n", 1, &["not valid TOML"]);
    check("\nsummary", 2, &["not valid TOML"]);
    check("é = 1\n", 1, &["not valid TOML"]);
}

#[test]
fn unknown_keys() {
    line("sumary = \"x\"", &["unknown key `sumary` at the top", "did you mean `summary`?"]);
    line("http.warmup = []", &["unknown key `warmup` in `http`", "did you mean `warm-up`?"]);
    line("http.warm_up = []", &["did you mean `warm-up`?"]);
    line("port = 80", &["unknown key `port` at the top", "`port` belongs in `[http]`"]);
    line("http.version = 17", &["belongs at the top, before the first `[table]` or in `[java]`"]);
    line("java.colour = 1", &["expected `version`, `profile`, `fresh-random`, `options` or `arguments`"]);
    line("http.verify = [{ path = \"/\", staus = 200 }]", &["`staus` in `http.verify`", "mean `status`?"]);
    line("\"\\u001b[2J\" = 1", &["unknown key `\\u{1b}[2J`"]);
    line("kubernetes = {}", &["unknown key `kubernetes`", "expected `summary`, `version`"]);
    // A misspelt key is not reported as missing as well.
    source(&["git = \"https://h/r\"", &format!("comit = \"{ID}\"")], 2, &["did you mean `commit`?"]);
    let error = check("[sorce]\njar = \"a.jar\"\n", 1, &["did you mean `source`?"]);
    assert_eq!(error.problems.len(), 1, "{error}");
}

#[test]
fn wrong_types() {
    line("summary = 3", &["`summary`: expected a string, found an integer", "put it in quotes: \"3\""]);
    line("version = 1.0", &["expected a string, found a float", "put it in quotes: \"1.0\""]);
    line("http.port = \"8080\"", &["expected an integer, found a string", "leave out the quotes: 8080"]);
    line("java.version = true", &["`java.version`: expected an integer, found a boolean"]);
    line("java = 21", &["`java`: expected a table, found an integer"]);
    line("http = [8080]", &["`http`: expected a table, found an array"]);
    line("java.options = \"-Xmx1g\"", &["expected an array, found a string", "put it in brackets"]);
    line("java.options = [\"-Xmx1g\", 3]", &["`java.options`: expected a string, found an integer"]);
    line("http.warm-up = [3]", &["`http.warm-up`: expected a path or a table, found an integer"]);
    line("environment = []", &["`environment`: expected a table, found an array"]);
    line("environment.PORT = 80", &["`environment.PORT`: expected a string, found an integer", "\"80\""]);
    line("environment.A.B = \"x\"", &["`environment.A`: expected a string, found a table"]);
    line("limits.dump = 60", &["`limits.dump`: expected a string, found an integer", "has a unit: \"60s\""]);
    line("summary = 2026-01-01", &["expected a string, found a date or time"]);
    let error = check("source = \"x.jar\"", 1, &["`source`: expected a table, found a string"]);
    assert_eq!(error.problems.len(), 1, "{error}");
}

#[test]
fn top() {
    line("summary = \" \"", &["`summary` is empty", "1 to 78"]);
    line(&format!("summary = \"{}\"", "é".repeat(79)), &["has 79 characters"]);
    line("summary = \"a\\nb\"", &["line break"]);
    line("summary = \"a\\u202eb\"", &["unprintable"]);
    line("version = \"-1\"", &["`version` is not a valid version"]);
    line("version = \"1_0\"", &["`version` is not a valid version"]);
    line("engine = \"cruu\"", &["`engine` is `cruu`", "`auto`, `criu` or `crac`", "did you mean `criu`?"]);
    line("packer = \"docker\"", &["`packer` is `docker`", "`auto`, `rockcraft` or `native`"]);
}

#[test]
fn sources() {
    check("", 0, &["`source` does not say where the jar comes from", "one of"]);
    check("\n[source]\n", 2, &["expected one of `git`, `maven`, `directory` or `jar`"]);
    source(&["git = \"https://h/r\"", "directory = \"x\""], 2, &["has both `git` and `directory`"]);
    source(&["maven = \"a:b:1\"", "jar = \"x.jar\""], 2, &["has both `maven` and `jar`"]);
    source(&["git = \"https://h/r\""], 1, &["`source.commit` is missing", "`git` needs a `commit`"]);
    source(&["maven = \"a:b:1\""], 1, &["`source.sha256` is missing", "sha256sum"]);
    source(&["jar = \"x.jar\"", "build = \"make\""], 2, &["`source.build` does not go with `jar`"]);
    source(&["directory = \"x\"", &format!("commit = \"{ID}\"")], 2, &["goes with `git`"]);
    source(&["jar = \"target/*.jar\""], 1, &["is a glob, but stands alone"]);
    for (path, phrase) in [
        ("../x", "`..`"),
        ("a/../../x", "`..`"),
        ("", "is empty"),
        ("~/x", "only a shell expands"),
        ("a\\u0000", "control character"),
    ] {
        source(&[&format!("directory = \"{path}\"")], 1, &["`source.directory`", phrase]);
        source(&[&format!("jar = \"{path}\"")], 1, &["`source.jar`", phrase]);
    }
    source(&["directory = \"x\"", "jar = \"/a.jar\""], 2, &["is an absolute path"]);
    source(&["directory = \"x\"", "jar = \"a***b\""], 2, &["is not a glob"]);
    source(&["directory = \"x\"", "build = \"\""], 2, &["`source.build` is empty"]);
}

#[test]
fn git() {
    let url = |url: &str, phrases: &[&str]| {
        source(&[&format!("git = \"{url}\""), &format!("commit = \"{ID}\"")], 1, phrases);
    };
    url("http://h/r", &["anyone on the way can alter", "https://"]);
    url("ftp://h/r", &["`https://…`, `ssh://…`, `git@host:path` or `file:///…`"]);
    url("../r", &["not the URL", "`directory ="]);
    url("https://h", &["has no path"]);
    url("https://-oProxyCommand=x/r", &["no valid host"]);
    url("git@-oProxyCommand=x:r", &["not the URL"]);
    url("file://h/r", &["three slashes"]);
    url("https://h/r?access_token=x", &["holds a character"]);
    url("--upload-pack=x", &["not the URL"]);
    for secret in
        ["https://me:pa55@h/r", "https://pa55@h/r", "ssh://git:pa55@h/r", "git:pa55@h:r", "x://a:pa55@h/r"]
    {
        let text = format!("[source]\ngit = \"{secret}\"\ncommit = \"{ID}\"\n[java]\nversion = 3\n");
        let error = check(&text, 2, &["`source.git`", "***@h", "`java.version` is 3"]);
        assert!(!error.to_string().contains("pa55") && !format!("{error:?}").contains("pa55"), "{error}");
    }
    for line in
        ["gti = \"https://me:pa55@h/r\"", "git = \"https://me:pa55@h/r", "git = { https://me:pa55@h/r }"]
    {
        let shown = load_here(line).unwrap_err().to_string();
        assert!(shown.contains("://*******@h/r") && !shown.contains("pa55"), "{shown}");
    }
    let commit = |id: &str, phrases: &[&str]| {
        source(&["git = \"https://h/r\"", &format!("commit = \"{id}\"")], 2, phrases);
    };
    commit("main", &["`source.commit` is `main`, a branch or a tag: it can move", "git ls-remote"]);
    commit("9a22090", &["is a short id", "40 or 64"]);
    commit(&ID.to_uppercase(), &["uppercase", &format!("did you mean {ID}?")]);
    commit(&ID.repeat(2), &["has 80 digits"]);
    commit("", &["full commit id"]);
}

#[test]
fn maven() {
    let maven = |text: &str, phrases: &[&str]| {
        source(&[&format!("maven = \"{text}\""), &format!("sha256 = \"{SHA}\"")], 1, phrases);
    };
    maven("io.zipkin", &["has 1 part", "group:artifact:version"]);
    maven("a:b:[1,2)", &["another jar tomorrow"]);
    maven("a:b:1-SNAPSHOT", &["`1-SNAPSHOT`, which can mean another jar"]);
    maven("a:b:..", &["has the part `..`"]);
    maven("a:b/c:1", &["has the part `b/c`"]);
    maven("a:b:1:", &["has the part ``"]);
    let sha = |text: &str, phrase: &str| {
        source(&["maven = \"a:b:1\"", &format!("sha256 = \"{text}\"")], 2, &["not a SHA-256", phrase]);
    };
    sha("abc", "sha256sum");
    sha(&format!("sha256:{SHA}"), &format!("did you mean \"{SHA}\"?"));
}

#[test]
fn java_and_http() {
    line("java.version = 8", &["`java.version` is 8", "`17`, `21`, `25` or `26`"]);
    line("java.fresh-random = \"yes\"", &["expected `true` or `false`"]);
    line("java.profile = \"smal\"", &["did you mean `small`?"]);
    line("java.profile = \"throughout\"", &["did you mean `throughput`?"]);
    line("checkpoint.memory = \"maped\"", &["did you mean `mapped`?"]);
    line("java.options = [\"Xmx1g\"]", &["begins with no `-`", "java.arguments"]);
    line("java.options = [\"-a\\nb\"]", &["control character `\\u{a}`"]);
    line("java.arguments = [\"\\u0000\"]", &["`java.arguments` holds the control character"]);
    line("http.port = 0", &["`http.port` is out of range", "from 1 to 65535"]);
    line("http.port = 99999999999999999999", &["out of range"]);
    line("http.ready = \"health\"", &["does not begin with `/`"]);
    line("http.ready = \"http://localhost/\"", &["leave out scheme, host and port"]);
    let long = "x".repeat(65537);
    line(&format!("java.arguments = [\"{long}\"]"), &["has 65537 bytes", "at most 64 KiB"]);
    line(&format!("environment.A = \"{long}\""), &["has 65537 bytes", "at most 64 KiB"]);
    line(&format!("environment.{} = \"\"", &long[..256]), &["is too long", "at most 255 bytes"]);
    line("http.ready = \"/a<b\"", &["holds `<`, which no URL does", "write it as `%3C`"]);
    line("http.ready = \"/a?b<c\"", &["holds `<`, which no URL does", "write it as `%3C`"]);
    line(&format!("http.ready = \"/{}\"", &long[..32_768]), &["has 32769 bytes", "at most 32 KiB"]);
    line("http.ready = \"/100%\"", &["holds a `%` without two hexadecimal digits", "write `%25`"]);
    line("http.warm-up = [\"/\", \"/a b\"]", &["`http.warm-up` holds a space", "%20"]);
    line("http.warm-up = [\"/#a\"]", &["a fragment is never sent"]);
    line("http.warm-up = [\"/é\"]", &["visible ASCII"]);
    line("http.warm-up = [{ method = \"GET\" }]", &["`http.warm-up.path` is missing"]);
    line("http.warm-up = [{ path = \"/\", method = \"post\" }]", &["is `post`", "did you mean `POST`?"]);
    line("http.warm-up = [{ path = \"/\", status = 99 }]", &["`http.warm-up.status`", "100 to 599"]);
    line("http.warm-up = [{ path = \"/\", repeat = 0 }]", &["1 to 100000"]);
    line("http.verify = [{ path = \"/\", repeat = 2 }]", &["more than one request"]);
    line("http.verify = [{ path = \"/\", body = 1 }]", &["expected a string"]);
    let header = |header: &str, phrase: &str| {
        line(&format!("http.verify = [{{ path = \"/\", headers = {{ {header} }} }}]"), &[phrase]);
    };
    header("\"A B\" = \"x\"", "not the name of a header field");
    header("\"\" = \"x\"", "not the name of a header field");
    header("A = \"x\\r\\nB: y\"", "line break");
    header("A = \"x\", a = \"y\"", "is there twice");
    header("Content-Length = \"3\"", "set by the HTTP client");
    header(&format!("A = \"{}\"", "x".repeat(33_000)), "longer than 32 KiB");
    header(&format!("{} = \"\"", "x".repeat(32_769)), "longer than 32 KiB");
    header(&format!("A = \"{0}\", B = \"{0}\"", "x".repeat(17_000)), "longer than 32 KiB");
    header("A = 1", "`http.verify.headers.A`: expected a string");
}

#[test]
fn environment_rock_and_the_rest() {
    line("environment.PATH = \"/bin\"", &["`environment.PATH` may not be set", "rock sets it"]);
    line("environment.PEBBLE = \"/x\"", &["Pebble keeps its layers"]);
    line("environment.LD_PRELOAD = \"x.so\"", &["would change CRIU"]);
    line("environment.A-B = \"x\"", &["not the name of an environment variable"]);
    line("environment.1A = \"x\"", &["beginning with no digit"]);
    line("environment.A = \"\\u0000\"", &["holds a NUL"]);
    line("rock.checkpoint-name = \"A\"", &["`rock.checkpoint-name` is not a valid name"]);
    line("rock.restore-name = \"a--b\"", &["single dashes"]);
    line(&format!("rock.restore-name = \"{}\"", "a".repeat(41)), &["has 41 characters", "at most 40"]);
    line("rock.restore-name = \"petclinic-checkpointer\"", &["both rocks are called"]);
    line("rock.base = \"debian@13\"", &["`rock.base` is `debian@13`", "ubuntu@24.04"]);
    line("rock.suite = \"Sid\"", &["`rock.suite` is `Sid`"]);
    line("rock.run-user = \"root\"", &["expected `_daemon_`", "no other user"]);
    line("rock.platforms = []", &["`rock.platforms` is empty"]);
    line("rock.platforms = [\"amd64\", \"amd64\"]", &["names a platform twice"]);
    line("rock.platforms = [\"x86_64\"]", &["did you mean `amd64`?"]);
    line("rock.slices = [\"x\"]", &["`x`, which is not the name of a slice", "ca-certificates_data"]);
    line("rock.files = [\"x\"]", &["`rock.files`: expected a table"]);
    line("crac.engine = \"wrap\"", &["did you mean `warp`?"]);
    line("crac.cpu-features = \"avx\"", &["`crac.cpu-features` is `avx`", "`generic`", "ShowCPUFeatures"]);
    line("crac.ignored-descriptors = [\"stdin\"]", &["expected a number or an absolute path"]);
    line("rock.packages = [\"x;y\"]", &["`x;y`, which is not the name of a Debian package"]);
    line("pin.remote = \"a b\"", &["holds a character that no place for pins has"]);
    line(
        "pin.remote = \"team/pins\"",
        &["is no place for pins", "expected `registry.example.com/team/pins`"],
    );
    line("pin.remote = \"ann:secret@example.com/x\"", &["holds a user name or password", "podman login"]);
    line("pin.signed-by = [\"RWQ\"]", &["is not a minisign public key", "second line of `minisign.pub`"]);
    line("checkpoint.min-pid = 99", &["from 100 to 30000"]);
    line("checkpoint.ghost-limit = \"20\"", &["out of range", "is in bytes"]);
    line("checkpoint.ghost-limit = \"5 GiB\"", &["from 1 MiB to 4 GiB"]);
    line("checkpoint.ghost-limit = \"much\"", &["`much`, which is not a size"]);
    line("limits.dump = \"60\"", &["`limits.dump` has no unit", "did you mean \"60s\"?"]);
    line("limits.dump = \"soon\"", &["is not a duration"]);
    line("limits.dump = \"5 parsecs\"", &["has the unknown unit `parsecs`"]);
    line("limits.dump = \"1ms\"", &["out of range", "from 1s to 2h"]);
    line("limits.dump = \"3h\"", &["out of range"]);
    // humantime panics on this one.
    line("limits.dump = \"18446744073709551615s 1000000000ns\"", &["is not a duration"]);
}

#[test]
fn everything_wrong_is_said_at_once_from_top_to_bottom() {
    let text =
        "engine = 1\n[limits]\ndump = \"x\"\n[source]\ngit = \"https://h/r\"\n[http]\nprt = 1\nport = 0\n";
    let error = load_here(text).unwrap_err();
    let lines =
        error.problems.iter().map(|p| 1 + text[..p.span.clone().unwrap().start].matches('\n').count());
    assert_eq!(lines.collect::<Vec<_>>(), [1, 3, 5, 7, 8], "{error}");
}
