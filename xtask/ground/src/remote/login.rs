//! Logins, where `podman login` and `docker login` keep them.
//!
//! Why not the crate `docker_credential`: it reads the first of podman's files only, knows no keys longer than a host,
//! waits for a credential helper without a limit, and its values print their passwords.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use crate::process::{self, Limit, Ran};

/// Files of logins have some kilobytes.
const FILE_LIMIT: u64 = 1 << 20;

/// Written with padding, read with or without.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What nobody may read in an error or a log.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, to be sent and not to be shown.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Who we are to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// A user and a password.
    Password { user: String, password: Secret },
    /// What a token server gives tokens for.
    Identity(Secret),
}

/// Paths that the environment names, by the variable's name.
pub(super) type Variables = BTreeMap<&'static str, PathBuf>;

/// The variables that decide where logins are.
pub(super) const VARIABLES: [&str; 5] =
    ["REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "HOME"];

/// The files that may hold a login, the first first. `REGISTRY_AUTH_FILE` stands for all of them.
pub(super) fn files(variables: &Variables) -> Vec<PathBuf> {
    if let Some(file) = variables.get("REGISTRY_AUTH_FILE") {
        return vec![file.clone()];
    }
    let named = |name: &str, rest: &str| variables.get(name).map(|folder| folder.join(rest));
    let user = rustix::process::getuid().as_raw();
    let files = [
        named("XDG_RUNTIME_DIR", "containers/auth.json")
            .or_else(|| Some(PathBuf::from(format!("/run/containers/{user}/auth.json")))),
        named("XDG_CONFIG_HOME", "containers/auth.json")
            .or_else(|| named("HOME", ".config/containers/auth.json")),
        named("DOCKER_CONFIG", "config.json").or_else(|| named("HOME", ".docker/config.json")),
    ];
    files.into_iter().flatten().collect()
}

/// The login for a repository of a registry: of the first file that has one, the one with the longest key.
pub(super) fn find(variables: &Variables, authority: &str, repository: &str) -> Result<Option<Login>> {
    for file in files(variables) {
        let found = match read(&file) {
            Ok(Some(known)) => known.find(authority, repository),
            Ok(None) if variables.contains_key("REGISTRY_AUTH_FILE") => {
                bail!("REGISTRY_AUTH_FILE names {}, which is not there", file.display())
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        if let Some(login) = found.with_context(|| format!("cannot take a login from {}", file.display()))? {
            return Ok(Some(login));
        }
    }
    Ok(None)
}

/// What is in such a file, as far as it matters.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Known {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
}

fn read(file: &Path) -> Result<Option<Known>> {
    let mut text = String::new();
    match std::fs::File::open(file) {
        Ok(open) => open.take(FILE_LIMIT).read_to_string(&mut text)?,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    // serde's own words may quote what it read.
    match serde_json::from_str(&text) {
        Ok(known) => Ok(Some(known)),
        Err(error) => bail!("it is not as podman and docker write it (line {})", error.line()),
    }
}

impl Known {
    fn find(&self, authority: &str, repository: &str) -> Result<Option<Login>> {
        if let Some(helper) = self.cred_helpers.get(authority).filter(|helper| !helper.is_empty()) {
            return ask(helper, authority);
        }
        for key in keys(authority, repository) {
            let entry = self.auths.get(&key).or_else(|| {
                let same = |name: &str| host_key(name) == Some(key.as_str());
                self.auths.iter().find(|(name, _)| same(name)).map(|(_, entry)| entry)
            });
            if let Some(login) = entry.map_or(Ok(None), Entry::login)? {
                return Ok(Some(login));
            }
        }
        if self.creds_store.is_empty() { Ok(None) } else { ask(&self.creds_store, authority) }
    }
}

/// `host/a/b`, `host/a`, `host`: podman logs in to a part of a registry, too.
fn keys(authority: &str, repository: &str) -> Vec<String> {
    let mut key = format!("{authority}/{repository}");
    let mut keys = vec![key.clone()];
    while let Some(slash) = key.rfind('/') {
        key.truncate(slash);
        keys.push(key.clone());
    }
    keys
}

/// Docker's older keys are URLs.
fn host_key(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://"))?;
    rest.split('/').next()
}

impl Entry {
    fn login(&self) -> Result<Option<Login>> {
        let given = |secret: &&Secret| !secret.reveal().is_empty();
        if let Some(token) = self.identitytoken.as_ref().filter(given) {
            return Ok(Some(Login::Identity(token.clone())));
        }
        if let Some(auth) = self.auth.as_ref().filter(given) {
            let text = BASE64.decode(auth.reveal()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.context("`auth` is not the base64 of USER:PASSWORD")?;
            let (user, password) =
                text.split_once(':').context("`auth` is not the base64 of USER:PASSWORD")?;
            // Some versions of docker padded it with NUL.
            let password = Secret::new(password.trim_end_matches('\0'));
            return Ok(Some(Login::Password { user: user.to_owned(), password }));
        }
        match (&self.username, &self.password) {
            (Some(user), Some(password)) => {
                Ok(Some(Login::Password { user: user.clone(), password: password.clone() }))
            }
            _ => Ok(None),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: Secret,
}

/// Asks a credential helper. What it prints to standard output is never shown: it may be the password.
fn ask(helper: &str, authority: &str) -> Result<Option<Login>> {
    let plain = helper.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    ensure!(plain, "`{}` is no credential helper's name", crate::progress::printable(helper));
    let program = format!("docker-credential-{helper}");
    let limit = Limit::new("the tool's own limit for a credential helper", Duration::from_secs(60));
    let mut command = Command::new(&program);
    command.arg("get");
    understand(&process::answer(command, &limit, authority)?).with_context(|| format!("`{program} get`"))
}

fn understand(ran: &Ran) -> Result<Option<Login>> {
    if !ran.status.success() {
        // The words of docker's own library of helpers.
        if ran.stdout.contains("credentials not found") {
            return Ok(None);
        }
        bail!("it failed ({}): {}", ran.status, crate::progress::excerpt(&ran.stderr));
    }
    // serde's own words may quote what it read.
    let Ok(answer) = serde_json::from_str::<Answer>(&ran.stdout) else {
        bail!("it answers with something else than a login");
    };
    Ok(Some(match answer.username.as_str() {
        "<token>" => Login::Identity(answer.secret),
        _ => Login::Password { user: answer.username, password: answer.secret },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(user: &str, password: &str) -> Option<Login> {
        Some(Login::Password { user: user.into(), password: Secret::new(password) })
    }

    fn entry(user: &str, password: &str) -> String {
        format!(r#"{{"auth":"{}"}}"#, BASE64.encode(format!("{user}:{password}")))
    }

    #[test]
    fn where_logins_are() {
        let check = |variables: &[(&'static str, &str)], expected: &[&str]| {
            let variables = variables.iter().map(|(name, path)| (*name, PathBuf::from(path))).collect();
            let found = files(&variables);
            let user = rustix::process::getuid().as_raw().to_string();
            let expected: Vec<PathBuf> =
                expected.iter().map(|path| path.replace("UID", &user).into()).collect();
            assert_eq!(found, expected);
        };
        check(&[("REGISTRY_AUTH_FILE", "/x"), ("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r")], &["/x"]);
        let docker = "/h/.docker/config.json";
        let home = "/h/.config/containers/auth.json";
        check(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r")], &["/r/containers/auth.json", home, docker]);
        check(&[("HOME", "/h")], &["/run/containers/UID/auth.json", home, docker]);
        let moved = [("HOME", "/h"), ("XDG_CONFIG_HOME", "/c"), ("DOCKER_CONFIG", "/d")];
        check(&moved, &["/run/containers/UID/auth.json", "/c/containers/auth.json", "/d/config.json"]);
        check(&[], &["/run/containers/UID/auth.json"]);
    }

    #[test]
    fn which_login_is_taken() {
        let check = |text: &str, expected: Option<Login>| {
            let known: Known = serde_json::from_str(text).unwrap();
            assert_eq!(known.find("r.example:5000", "team/app").unwrap(), expected, "{text}");
        };
        let auths = |pairs: &[(&str, String)]| {
            let pairs: Vec<String> = pairs.iter().map(|(key, entry)| format!("{key:?}:{entry}")).collect();
            format!(r#"{{"auths":{{{}}},"more":1}}"#, pairs.join(","))
        };
        check("{}", None);
        check(&auths(&[("r.example", entry("a", "b")), ("r.example:5000/te", entry("a", "b"))]), None);
        check(&auths(&[("r.example:5000", entry("a", "b:c"))]), login("a", "b:c"));
        let longer = [
            ("r.example:5000", entry("host", "x")),
            ("r.example:5000/team", entry("team", "x")),
            ("r.example:5000/team/app2", entry("app2", "x")),
        ];
        check(&auths(&longer), login("team", "x"));
        let all = [longer.as_slice(), &[("r.example:5000/team/app", entry("app", "x"))]].concat();
        check(&auths(&all), login("app", "x"));
        check(&auths(&[("https://r.example:5000/v1/", entry("old", "x"))]), login("old", "x"));
        check(&auths(&[("r.example:5000", r#"{"username":"u","password":"p"}"#.into())]), login("u", "p"));
        check(&auths(&[("r.example:5000", r#"{"auth":"YTpi"}"#.into())]), login("a", "b"));
        check(&auths(&[("r.example:5000", r#"{"auth":"YTpiYg"}"#.into())]), login("a", "bb"));
        check(&auths(&[("r.example:5000", "{}".into())]), None);
        let token = auths(&[("r.example:5000", r#"{"auth":"","identitytoken":"t"}"#.into())]);
        check(&token, Some(Login::Identity(Secret::new("t"))));
    }

    #[test]
    fn files_that_cannot_be_used_say_so_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("auth.json");
        let variables = Variables::from([("REGISTRY_AUTH_FILE", file.clone())]);
        let check = |text: &str, expected: &str| {
            std::fs::write(&file, text).unwrap();
            let error = format!("{:#}", find(&variables, "r.example", "app").unwrap_err());
            assert!(error.contains(file.to_str().unwrap()) && error.contains(expected), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        };
        check(r#"{"auths":{"r.example":{"auth":"hunter2!"}}}"#, "base64");
        check(r#"{"auths":{"r.example":{"auth":"aHVudGVyMg"}}}"#, "base64");
        check(r#"{"auths":"hunter2"}"#, "line 1");
        check(r#"{"credHelpers":{"r.example":"../hunter"}}"#, "no credential helper's name");
        check(r#"{"credsStore":"of-nobody-at-all"}"#, "docker-credential-of-nobody-at-all");
        std::fs::remove_file(&file).unwrap();
        let error = find(&variables, "r.example", "app").unwrap_err().to_string();
        assert!(error.contains("not there"), "{error}");
        let nowhere = Variables::from([("XDG_RUNTIME_DIR", folder.path().join("none"))]);
        assert_eq!(find(&nowhere, "r.example", "app").unwrap(), None);
    }

    #[test]
    fn what_a_helper_says() {
        let check = |script: &str, expected: Result<Option<Login>, &str>| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            let ran = process::answer(command, &Limit::quick(), "r.example").unwrap();
            match (understand(&ran), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{script}"),
                (found, expected) => {
                    let (error, expected) = (found.unwrap_err().to_string(), expected.unwrap_err());
                    assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
                }
            }
        };
        let say = |user: &str| {
            format!(r#"printf '{{"ServerURL":"%s","Username":"{user}","Secret":"s"}}' "$(cat)""#)
        };
        check(&say("u"), Ok(login("u", "s")));
        check(&say("<token>"), Ok(Some(Login::Identity(Secret::new("s")))));
        check(r#"[ "$(cat)" = r.example ] && printf '{"Username":"u","Secret":""}'"#, Ok(login("u", "")));
        check("echo credentials not found in native keychain; exit 1", Ok(None));
        check("echo hunter2; echo locked >&2; exit 1", Err("it failed (exit status: 1): locked"));
        check("echo hunter2", Err("something else than a login"));
        check(r#"echo '{"Username":"u","Secret":["hunter2"]}'"#, Err("something else than a login"));
    }

    #[test]
    fn the_next_file_is_asked_where_one_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        write("run/containers/auth.json", r#"{"auths":{"other.example":{"auth":"YTpi"}}}"#);
        write("docker/config.json", &format!(r#"{{"auths":{{"r.example":{}}}}}"#, entry("docker", "x")));
        let variables = Variables::from([
            ("XDG_RUNTIME_DIR", folder.path().join("run")),
            ("DOCKER_CONFIG", folder.path().join("docker")),
        ]);
        assert_eq!(find(&variables, "r.example", "app").unwrap(), login("docker", "x"));
    }

    #[test]
    fn secrets_do_not_print() {
        let login = login("user", "hunter2").unwrap();
        assert!(!format!("{login:?} {:?}", Login::Identity(Secret::new("hunter2"))).contains("hunter2"));
    }
}
