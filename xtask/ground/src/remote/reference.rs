//! What a person types -> a [`Remote`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use ureq::http::Uri;

use super::{Folder, Registry, Remote, Settings};

const EXPECTED: &str = "expected a folder (`oci:DIR`, or a path that begins with `/`, `./` or `../`) or a registry \
                        (`HOST[:PORT]/REPOSITORY[:TAG]`, whose host has a dot or a port or is localhost)";

/// A scheme, a host and a port: what a login is good for.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Whether TLS is spoken.
    pub https: bool,
    /// `HOST[:PORT]`, in lower case.
    pub authority: String,
}

impl Origin {
    /// Of an absolute URL.
    pub(super) fn of(uri: &Uri) -> Result<Origin> {
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            bail!("it is no absolute URL");
        };
        ensure!(matches!(scheme, "http" | "https"), "it is neither http nor https");
        ensure!(!authority.as_str().contains('@'), "it has a login in it");
        let port = &authority.as_str()[host_of(authority.as_str()).len()..];
        ensure!(port.is_empty() || authority.port_u16().is_some(), "it has a port that is none");
        Ok(Origin { https: scheme == "https", authority: authority.as_str().to_ascii_lowercase() })
    }

    /// Whether both are the same place: a port may be written or left out.
    pub(super) fn is(&self, other: &Origin) -> bool {
        let default = if self.https { ":443" } else { ":80" };
        let bare = |authority: &str| authority.strip_suffix(default).unwrap_or(authority).to_owned();
        self.https == other.https && bare(&self.authority) == bare(&other.authority)
    }

    /// `https://HOST[:PORT]`
    pub fn url(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.authority)
    }

    /// Whether it is this machine, by its address: a name can be made to lead anywhere, but for localhost.
    pub fn is_loopback(&self) -> bool {
        let host = host_of(&self.authority);
        let address = host.trim_matches(['[', ']']);
        host == "localhost"
            || address.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            || address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
    }
}

impl Remote {
    /// `oci:DIR`, or a path that begins with `/`, `./` or `../`: a folder, which is or becomes an OCI image layout. Else
    /// `HOST[:PORT]/REPOSITORY[:TAG]`: a registry. It is asked over TLS, or over plain HTTP if it is on this machine
    /// or `plain_http` is said; `https://` before it asks for TLS even so.
    ///
    /// # Errors
    /// Where the text is neither; the error says what was expected, and never repeats a login.
    pub fn parse(text: &str, plain_http: bool) -> Result<Remote> {
        if let Some(folder) = text.strip_prefix("oci:") {
            ensure!(!folder.is_empty() && !folder.contains('\0'), "`oci:` names no folder; {EXPECTED}");
            return Ok(Remote::Folder(Folder::new(PathBuf::from(folder))));
        }
        if ["/", "./", "../"].iter().any(|start| text.starts_with(start)) || matches!(text, "." | "..") {
            ensure!(!text.contains('\0'), "a folder's name has no NUL in it");
            return Ok(Remote::Folder(Folder::new(PathBuf::from(text))));
        }
        registry(text, plain_http).map(Remote::Registry)
    }
}

impl Registry {
    /// Whether this place may be asked: over TLS, or over plain HTTP where the registry is, on this machine or by leave.
    pub(super) fn allow(&self, uri: &Uri) -> Result<()> {
        let origin = Origin::of(uri)?;
        let plain = !self.origin.https && (self.plain_http || origin.is_loopback());
        ensure!(origin.https || plain, "{}{} is plain HTTP", origin.url(), uri.path());
        Ok(())
    }
}

fn registry(text: &str, plain_http: bool) -> Result<Registry> {
    // Before anything of it is repeated.
    ensure!(
        !text.contains('@'),
        "a login does not belong into a registry's name (run `podman login` or `docker login`), and a digest is \
         given by itself; {EXPECTED}"
    );
    let shown = crate::progress::printable(text);
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest),
        Some(_) => bail!("`{shown}` is of a kind that is not known; {EXPECTED}"),
        None => (None, text),
    };
    let Some((authority, path)) = rest.split_once('/') else {
        bail!("`{shown}` names no remote; {EXPECTED}")
    };
    let authority = authority.to_ascii_lowercase();
    ensure!(is_authority(&authority), "`{shown}` names no host; {EXPECTED}");
    let (repository, tag) = match path.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag.to_owned())),
        None => (path, None),
    };
    ensure!(
        is_repository(repository),
        "`{shown}`: a repository is small letters and digits, with `.`, `_`, `__` or `-` between them and `/` \
         between its parts, at most 255 characters"
    );
    if let Some(tag) = &tag {
        check_tag(tag)?;
    }
    let mut origin = Origin { https: true, authority };
    let plain = plain_http || origin.is_loopback();
    ensure!(
        plain || scheme != Some("http"),
        "`{shown}`: plain HTTP is spoken to this machine only, or where it is asked for with --plain-http"
    );
    origin.https = scheme == Some("https") || !plain;
    Ok(Registry { origin, plain_http, repository: repository.to_owned(), tag, settings: Settings::default() })
}

/// Whether a tag is one by OCI's rule.
pub fn check_tag(tag: &str) -> Result<()> {
    let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fine = tag.starts_with(first) && tag.chars().all(|c| first(c) || matches!(c, '.' | '-'));
    ensure!(
        fine && tag.len() <= 128,
        "`{}` is no tag: letters, digits, `_`, `.` and `-`, the first no `.` or `-`, at most 128",
        crate::progress::printable(tag)
    );
    Ok(())
}

/// `HOST` or `HOST:PORT`. A first part without dot and port is refused: it is as likely a folder or a namespace.
fn is_authority(text: &str) -> bool {
    let host = host_of(text);
    let port = &text[host.len()..];
    let name = || {
        host.split('.').all(|label| {
            let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            !label.is_empty()
                && label.len() <= 63
                && inner
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
    };
    let address = || {
        let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        inner.is_some_and(|inner| matches!(inner.parse(), Ok(IpAddr::V6(_))))
    };
    let port_is_one = port
        .strip_prefix(':')
        .is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0) && is_digits(port));
    let tells_itself = host == "localhost" || host.contains('.') || host.starts_with('[') || !port.is_empty();
    text.len() <= 261 && tells_itself && (port.is_empty() || port_is_one) && (name() || address())
}

/// An authority without its port.
pub(super) fn host_of(authority: &str) -> &str {
    let end = authority.rfind(']').map_or(0, |end| end + 1);
    authority[end..].find(':').map_or(authority, |colon| &authority[..end + colon])
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// OCI's rule for a repository's name.
fn is_repository(text: &str) -> bool {
    text.len() <= 255 && text.split('/').all(is_repository_part)
}

fn is_repository_part(part: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = part.split(inner).filter(|separator| !separator.is_empty());
    part.starts_with(inner) && part.ends_with(inner) && { separators }
        .all(|separator| matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_may_type() {
        let check = |text: &str, plain: bool, expected: &str| {
            let said = match Remote::parse(text, plain).unwrap() {
                Remote::Folder(folder) => format!("folder {}", folder.path().display()),
                Remote::Registry(registry) => {
                    let tag = registry.tag.map(|tag| format!(" {tag}")).unwrap_or_default();
                    format!("{} {}{tag}", registry.origin.url(), registry.repository)
                }
            };
            assert_eq!(said, expected, "{text}");
        };
        check("oci:pins", false, "folder pins");
        check("oci:/srv/pins:1", false, "folder /srv/pins:1");
        check("/srv/pins", false, "folder /srv/pins");
        check("./pins", false, "folder ./pins");
        check("../pins", false, "folder ../pins");
        check("..", false, "folder ..");
        check("registry.example/team/petclinic", false, "https://registry.example team/petclinic");
        check(
            "Registry.Example:5000/petclinic:v1.2_3-x",
            false,
            "https://registry.example:5000 petclinic v1.2_3-x",
        );
        check("registry.example/petclinic", true, "http://registry.example petclinic");
        check("http://registry.example/petclinic", true, "http://registry.example petclinic");
        check("https://registry.example/petclinic", true, "https://registry.example petclinic");
        check("localhost:5000/a/b__c/d-e.f:1", false, "http://localhost:5000 a/b__c/d-e.f 1");
        check("localhost/a", false, "http://localhost a");
        check("127.0.0.53/a", false, "http://127.0.0.53 a");
        check("[::1]:5000/a:1", false, "http://[::1]:5000 a 1");
        check("[::1]/a", false, "http://[::1] a");
        check("https://127.0.0.1:5000/a", false, "https://127.0.0.1:5000 a");
        // None of these is this machine for certain.
        check("127.1/a", false, "https://127.1 a");
        check("localhost.example/a", false, "https://localhost.example a");
        check("127.0.0.1.example/a", false, "https://127.0.0.1.example a");
        check("[::ffff:8.8.8.8]/a", false, "https://[::ffff:8.8.8.8] a");
        check("petclinic:5000/a", false, "https://petclinic:5000 a");
    }

    #[test]
    fn who_gets_the_login() {
        let check = |text: &str, uri: &str, expected: bool| {
            let Remote::Registry(registry) = Remote::parse(text, false).unwrap() else { panic!("{text}") };
            let origin = Origin::of(&uri.parse().unwrap()).unwrap();
            assert_eq!(origin.is(&registry.origin), expected, "{text} {uri}");
        };
        for text in ["r.example/a", "r.example:443/a"] {
            check(text, "https://r.example/x", true);
            check(text, "https://R.example:443/x", true);
            check(text, "http://r.example/x", false);
            check(text, "https://r.example:80/x", false);
            check(text, "https://r.example:4433/x", false);
            check(text, "https://r.example.com/x", false);
            check(text, "https://store.r.example/x", false);
        }
        check("127.0.0.1:80/a", "http://127.0.0.1/x", true);
        check("127.0.0.1:5000/a", "http://127.0.0.1:5000/x", true);
        check("127.0.0.1:5000/a", "http://127.0.0.1:5001/x", false);
        check("[::1]/a", "http://[::1]:80/x", true);
    }

    #[test]
    fn where_a_registry_may_lead() {
        let check = |text: &str, plain: bool, uri: &str, expected: bool| {
            let Remote::Registry(registry) = Remote::parse(text, plain).unwrap() else { panic!("{text}") };
            assert_eq!(registry.allow(&uri.parse().unwrap()).is_ok(), expected, "{text} {uri}");
        };
        let (tls, plain, here) = ("https://r.example/a", "r.example/a", "127.0.0.1:5000/a");
        for (text, leave) in [(tls, false), (tls, true), (plain, true), (here, false)] {
            check(text, leave, "https://store.example/x", true);
            check(text, leave, "https://user@store.example/x", false);
            check(text, leave, "https://store.example:x/x", false);
            check(text, leave, "ftp://store.example/x", false);
            check(text, leave, "/x", false);
        }
        // TLS is not given up, whatever was said of plain HTTP.
        for uri in ["http://r.example/x", "http://127.0.0.1/x"] {
            check(tls, false, uri, false);
            check(tls, true, uri, false);
        }
        check(plain, true, "http://store.example/x", true);
        check(here, false, "http://localhost:1/x", true);
        check(here, false, "http://store.example/x", false);
    }

    #[test]
    fn what_names_no_remote() {
        let check = |text: &str, expected: &str| {
            let error = format!("{:#}", Remote::parse(text, false).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
            assert!(!error.contains('\u{1b}'), "{error:?}");
        };
        check("", "names no remote");
        check("pins", "expected a folder (`oci:DIR`");
        check("team/petclinic", "names no host");
        check("oci:", "names no folder");
        check("/srv/\0", "no NUL");
        check("user:hunter2@registry.example/a", "a login does not belong");
        check("https://user:hunter2@registry.example/a", "a login does not belong");
        check("registry.example/a@sha256:00", "a digest is given by itself");
        check("ftp://registry.example/a", "of a kind that is not known");
        check("http://registry.example/a", "--plain-http");
        check("http://localhost.example/a", "--plain-http");
        check("registry.example/", "a repository is");
        check("registry.example//a", "a repository is");
        check("registry.example/a/", "a repository is");
        check("registry.example/../a", "a repository is");
        check("registry.example/A", "a repository is");
        check("registry.example/a___b", "a repository is");
        check("registry.example/a._b", "a repository is");
        check("registry.example/-a", "a repository is");
        check("registry.example/a?x=1", "a repository is");
        check("registry.example/a%2f", "a repository is");
        check("registry.example/a\r\nHost: x", "a repository is");
        check("registry.example/\u{1b}[31m", "a repository is");
        check(&format!("registry.example/{}", "a".repeat(256)), "a repository is");
        check("registry.example/a:", "is no tag");
        check("registry.example/a:.b", "is no tag");
        check("registry.example/a:b/c", "is no tag");
        check("registry.example/a:b:c", "is no tag");
        check(&format!("registry.example/a:{}", "a".repeat(129)), "is no tag");
        check("registry..example/a", "names no host");
        check("-x.example/a", "names no host");
        check("registry.example:/a", "names no host");
        check("registry.example:0/a", "names no host");
        check("registry.example:+5/a", "names no host");
        check("registry.example:65536/a", "names no host");
        check("registry.example:50:50/a", "names no host");
        check("[::1/a", "names no host");
        check("[1.2.3.4]:5/a", "names no host");
        check("[::1]x/a", "names no host");
        check("régistry.example/a", "names no host");
        check("reg istry.example/a", "names no host");
        check("#x.y/a", "names no host");
    }
}
