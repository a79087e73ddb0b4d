//! What a value of `[source]` may be.

use std::path::{Component, Path, PathBuf};

use super::check::{Checked, Wrong, is_printable, quoted};

/// Maven coordinates, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Coordinates {
    /// Group id.
    pub group: String,
    /// Artifact id.
    pub artifact: String,
    /// Version.
    pub version: String,
    /// Classifier.
    pub classifier: Option<String>,
}

const URLS: &str = "expected `https://…`, `ssh://…`, `git@host:path` or `file:///…`";

/// The URL of a git repository, without a secret in it.
pub fn git_url(text: &str) -> Checked<String> {
    // Whatever else is wrong with it, what stands before an `@` may be a password.
    parse_git_url(text).map_err(|wrong| Wrong { secret: text.contains('@'), ..wrong })
}

fn parse_git_url(text: &str) -> Checked<String> {
    if text.chars().any(|c| !c.is_ascii_graphic() || "\"'`\\<>?#".contains(c)) {
        return Err(Wrong::new("holds a character that no URL of a git repository needs", URLS));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return scp_url(text);
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) =
        authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    match (scheme, user) {
        ("https" | "http", Some(_)) => Err(credentials()),
        ("ssh", Some(user)) if user.contains(':') => Err(credentials()),
        ("ssh", Some(user)) if !is_user(user) => Err(Wrong::new("has no valid user name", URLS)),
        ("https" | "ssh", _) if !is_host(host) => Err(Wrong::new("has no valid host", URLS)),
        ("https" | "ssh", _) if path.is_empty() => Err(Wrong::new("has no path", URLS)),
        ("file", _) if !authority.is_empty() || path.is_empty() => {
            Err(Wrong::new("is not the URL of a local repository", "expected three slashes: `file:///…`"))
        }
        ("https" | "ssh" | "file", _) => Ok(text.to_owned()),
        ("http" | "git", _) => {
            Err(Wrong::new("is fetched over a connection that anyone on the way can alter", URLS)
                .help("most hosts serve the same repository by `https://`"))
        }
        _ => Err(Wrong::new("is of a kind that is not fetched from", URLS)),
    }
}

/// `git@host:path`, which is ssh.
fn scp_url(text: &str) -> Checked<String> {
    let wrong = Wrong::new("is not the URL of a git repository", URLS);
    // `user:password@host:path` comes apart at its first colon, and has no user before it.
    let Some((login, path)) = text.split_once(':') else {
        return Err(wrong.help("sources on this machine are named by `directory = \"…\"`"));
    };
    match login.split_once('@') {
        Some((user, host))
            if is_user(user) && is_host(host) && !path.is_empty() && !path.starts_with('-') =>
        {
            Ok(text.to_owned())
        }
        None if path.contains('@') => Err(credentials()),
        _ => Err(wrong),
    }
}

fn credentials() -> Wrong {
    Wrong::new("holds a user name or password", "expected a URL without one").help(
        "app.toml is committed, and the URL goes into the lock and the rock's labels; \
         leave it to git's credential helper",
    )
}

fn is_user(text: &str) -> bool {
    text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// A host name with or without a port. A leading dash would be an option to ssh.
fn is_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    host.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b))
        && port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

fn is_lowercase_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The full id of a commit.
pub fn commit(text: &str) -> Checked<String> {
    let expected = "expected a full commit id: 40 or 64 lowercase hexadecimal digits";
    let ask = "`git ls-remote <url> <branch>` prints the full id, and so does `git rev-parse <short id>`";
    let full = matches!(text.len(), 40 | 64);
    let hex = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    match (full, hex) {
        (true, true) if is_lowercase_hex(text) => Ok(text.to_owned()),
        (true, true) => Err(Wrong::new("has uppercase digits", expected)
            .help(format!("did you mean {}?", text.to_ascii_lowercase()))),
        (_, true) if text.len() < 40 => {
            Err(Wrong::new("is a short id, which may come to mean another commit", expected).help(ask))
        }
        (_, true) => Err(Wrong::new(format!("has {} digits", text.len()), expected)),
        _ => Err(Wrong::new(
            format!(
                "is {}, a branch or a tag: it can move, and then the checkpoint is of other code",
                quoted(text)
            ),
            expected,
        )
        .help(ask)),
    }
}

/// The SHA-256 of a jar.
pub fn sha256(text: &str) -> Checked<String> {
    let expected = "expected 64 lowercase hexadecimal digits";
    if text.len() == 64 && is_lowercase_hex(text) {
        return Ok(text.to_owned());
    }
    let wrong = Wrong::new("is not a SHA-256", expected);
    let lower = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    Err(match lower.len() == 64 && is_lowercase_hex(&lower) {
        true => wrong.help(format!("did you mean \"{lower}\"?")),
        false => wrong.help("`sha256sum <file>.jar` prints it"),
    })
}

/// `group:artifact:version[:classifier]`.
pub fn maven(text: &str) -> Checked<Coordinates> {
    let expected = "expected `group:artifact:version` or `group:artifact:version:classifier`";
    let parts: Vec<&str> = text.split(':').collect();
    let (group, artifact, version, classifier) = match parts[..] {
        [group, artifact, version] => (group, artifact, version, None),
        [group, artifact, version, classifier] => (group, artifact, version, Some(classifier)),
        _ => {
            let count = parts.len();
            let plural = if count == 1 { "" } else { "s" };
            return Err(Wrong::new(format!("has {count} part{plural}"), expected));
        }
    };
    if version.contains(['[', ']', '(', ')', ',', '*'])
        || version.to_ascii_uppercase().ends_with("-SNAPSHOT")
        || ["LATEST", "RELEASE"].iter().any(|word| version.eq_ignore_ascii_case(word))
    {
        let why = format!("has the version {}, which can mean another jar tomorrow", quoted(version));
        return Err(Wrong::new(why, "expected one released version such as `3.5.1`"));
    }
    for part in [Some(group), Some(artifact), Some(version), classifier].into_iter().flatten() {
        // The parts become a path in the repository, so `..` would leave it.
        let valid = part.as_bytes().first().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
            && !part.contains("..");
        if !valid {
            return Err(Wrong::new(format!("has the part {}", quoted(part)), expected));
        }
    }
    Ok(Coordinates {
        group: group.to_owned(),
        artifact: artifact.to_owned(),
        version: version.to_owned(),
        classifier: classifier.map(str::to_owned),
    })
}

/// The command that builds the jar.
pub fn build(text: &str) -> Checked<String> {
    // Blanks around it would change the indentation of the script that rockcraft runs.
    match text.trim() {
        "" => Err(Wrong::new("is empty", "expected a command such as `./mvnw package`")),
        command => printable(command).map(str::to_owned),
    }
}

/// What rockcraft.yaml can hold on a line of a script, where nothing is escaped.
fn printable(text: &str) -> Checked<&str> {
    match text.chars().find(|c| !is_printable(*c)) {
        Some(c) => Err(Wrong::new(
            format!("holds the unprintable character {}", quoted(&c.to_string())),
            "expected one line of printable characters",
        )),
        None => Ok(text),
    }
}

/// A path on this machine; a relative one is below the application's folder.
pub fn path(text: &str, folder: &Path) -> Checked<PathBuf> {
    let path = Path::new(plain_path(text)?);
    // `.` and doubled slashes go, so that two ways to write a path give the same lock.
    Ok(folder.join(path).components().collect())
}

/// A jar that is already there.
pub fn jar(text: &str, folder: &Path) -> Checked<PathBuf> {
    if text.contains(['*', '?']) {
        return Err(Wrong::new("is a glob, but stands alone", "expected the path of one jar")
            .help("a glob finds the jar of a build, beside `git` or `directory`"));
    }
    path(text, folder)
}

/// A glob below the sources.
pub fn glob(text: &str) -> Checked<String> {
    let expected = "expected a glob below the sources such as `target/*.jar`";
    if Path::new(printable(plain_path(text)?)?).is_absolute() {
        return Err(Wrong::new("is an absolute path", expected));
    }
    match glob::Pattern::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Wrong::new(format!("is not a glob: {}", error.msg), expected)),
    }
}

fn plain_path(text: &str) -> Checked<&str> {
    let expected = "expected a path without `..`";
    if text.is_empty() {
        return Err(Wrong::new("is empty", "expected a path"));
    }
    if text.chars().any(char::is_control) {
        return Err(Wrong::new("holds a control character", "expected a path"));
    }
    if text == "~" || text.starts_with("~/") {
        return Err(Wrong::new("begins with `~`, which only a shell expands", "expected the path in full"));
    }
    match Path::new(text).components().any(|part| part == Component::ParentDir) {
        true => Err(Wrong::new("holds `..`", expected)
            .help("a relative path stays below the folder it begins in; name others by their absolute path")),
        false => Ok(text),
    }
}
