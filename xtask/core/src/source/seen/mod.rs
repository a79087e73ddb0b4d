//! What a jar, or the sources it is built from, say of the application: enough for a first app.toml.
//!
//! Both come from outside. Nothing is unpacked but small texts and the head of one class, each with a limit, and what
//! is taken from them is a number, or a name of letters, digits and a few signs.

use std::collections::BTreeMap;
use std::path::Path;

use crate::diagnostic::InputError;

mod jar;
#[cfg(test)]
mod tests;
mod tree;

/// The largest text that is read: a manifest, a pom.xml, an application.yml.
const TEXT: u64 = 1 << 20;

/// What is known of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Spring Boot's version.
    pub spring_boot: Option<String>,
    /// The class whose `main` is the application's.
    pub main_class: Option<String>,
    /// The Java release it is made for, and who says so.
    pub java: Option<(u32, &'static str)>,
    /// Whether it has Spring Boot Actuator.
    pub actuator: bool,
    /// Whether it has org.crac, Spring's way to know of a checkpoint.
    pub crac: bool,
    /// How sources are built, and the pattern of the jar that is made; none for a jar.
    pub build: Option<(String, String)>,
    /// What is odd about the sources, for a comment.
    pub note: Option<String>,
    /// What application.properties or application.yml set, and its name.
    pub properties: BTreeMap<String, String>,
}

impl Seen {
    /// What a jar says.
    ///
    /// # Errors
    /// Where `java -jar` could not start it, or it is no jar.
    pub fn in_jar(path: &Path) -> Result<Seen, InputError> {
        jar::read(path)
    }

    /// What sources say.
    ///
    /// # Errors
    /// Where there is nothing by which they could be built.
    pub fn in_tree(folder: &Path) -> Result<Seen, InputError> {
        tree::read(folder)
    }

    /// The port that its configuration sets.
    pub fn port(&self) -> Option<u16> {
        self.property("server.port")?.parse().ok().filter(|port| *port > 0)
    }

    /// Where Actuator answers on a port of its own, or (`-1`) nowhere.
    pub fn management_port(&self) -> Option<&str> {
        let port = self.property("management.server.port")?;
        (port.parse() != Ok(self.port().unwrap_or(8080)) && !port.is_empty()).then_some(port)
    }

    /// Whether it answers by TLS.
    pub fn tls(&self) -> bool {
        let off =
            self.property("server.ssl.enabled").is_some_and(|value| value.eq_ignore_ascii_case("false"));
        let named =
            ["server.ssl.enabled", "server.ssl.bundle", "server.ssl.key-store", "server.ssl.certificate"];
        !off && named.into_iter().any(|key| self.property(key).is_some())
    }

    /// A value as it is without an environment, however its key is written (Spring's relaxed binding).
    fn property(&self, key: &str) -> Option<&str> {
        let same = |text: &str| text.replace(['-', '_'], "").to_lowercase();
        let wanted = same(key);
        let found = self.properties.get(key);
        let found =
            found.or_else(|| self.properties.iter().find(|(key, _)| same(key) == wanted).map(|it| it.1));
        plain(found?)
    }

    /// The path that answers 200 once it is up, and whether that is Actuator's.
    pub fn ready(&self) -> (String, bool) {
        let folder = |key: &str| self.property(key).filter(|it| is_folder(it));
        let above = folder("server.servlet.context-path").or_else(|| folder("spring.webflux.base-path"));
        let above = above.unwrap_or_default().trim_end_matches('/');
        // Nothing but `http.port` is asked.
        match self.actuator && self.management_port().is_none() {
            true => {
                let base = folder("management.endpoints.web.base-path").unwrap_or("/actuator");
                (format!("{above}{}/health", base.trim_end_matches('/')), true)
            }
            false => (format!("{above}/"), false),
        }
    }
}

/// A value as it is without an environment: `8081` of `${PORT:8081}`.
fn plain(value: &str) -> Option<&str> {
    match value.strip_prefix("${") {
        Some(rest) => rest.strip_suffix('}')?.split_once(':').map(|(_, default)| default),
        None => Some(value),
    }
}

fn is_folder(text: &str) -> bool {
    text.starts_with('/')
        && text.len() <= 200
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b))
}

/// A version or the name of a class: what may stand in a comment and on a screen.
fn name(text: &str) -> Option<String> {
    let sign = |b: u8| b.is_ascii_alphanumeric() || b"._$+-".contains(&b);
    ((1..=200).contains(&text.len()) && text.bytes().all(sign)).then(|| text.to_owned())
}

/// The keys and values of application.properties.
fn properties(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '!']));
    let pairs = lines.filter_map(|line| line.split_once(['=', ':']));
    pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}

/// The keys of application.yml, dotted, as far as they are plain mappings. Of several documents the first is read: the
/// others are for profiles.
fn yaml(text: &str) -> BTreeMap<String, String> {
    let mut above: Vec<(usize, String)> = Vec::new();
    let mut found = BTreeMap::new();
    let text = text.strip_prefix("---").unwrap_or(text);
    for line in text.lines().take_while(|line| *line != "---") {
        let Some((key, value)) = line.split_once(':') else { continue };
        let indent = key.len() - key.trim_start().len();
        let (key, value) = (key.trim(), value.trim());
        let dotted = key.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
        // Deeper than anybody writes by hand, or no key at all.
        if !dotted || key.is_empty() || indent > 100 {
            continue;
        }
        above.retain(|(outer, _)| *outer < indent);
        let path: Vec<&str> = above.iter().map(|(_, key)| key.as_str()).chain([key]).collect();
        let path = path.join(".");
        match value.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']) {
            "" => above.push((indent, key.to_owned())),
            value => drop(found.insert(path, value.to_owned())),
        }
    }
    found
}
