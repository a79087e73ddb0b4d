//! A first app.toml: short, and with a comment for each value that was found or guessed.

use super::setting::Show;
use super::{Source, check};
use crate::source::seen::Seen;

/// The text of an app.toml, and why it cannot be written where there is no JDK that would run the application.
pub fn draft(name: &str, source: &Source, seen: &Seen) -> Result<String, String> {
    let about = about(seen);
    let (java, java_from) = java(seen)?;
    let (ready, actuator) = seen.ready();
    let (port, port_from) = match seen.port() {
        Some(port) => (port, "the application's own configuration"),
        None => (8080, "guessed: Spring Boot's default"),
    };
    let ready_from = match (actuator, seen.actuator) {
        (true, _) => "guessed: it has Spring Boot Actuator",
        (false, true) => {
            "guessed: Actuator has a port of its own (management.server.port), and only `port` is asked"
        }
        (false, false) => "guessed, for want of Actuator: a path that answers 200 as soon as all is up",
    };
    let mut lines = vec![
        "#:schema ../app.schema.json".to_owned(),
        format!("# {about}"),
        format!(
            "# `cargo xtask show {name}` prints every key with its default; look at what says `guessed`."
        ),
        String::new(),
        "[source]".to_owned(),
        source_lines(source, seen.note.as_deref()),
        String::new(),
        "[java]".to_owned(),
        format!("version = {java}   # {java_from}"),
        "# options = [\"-Xmx256m\"]   # less heap, a smaller dump".to_owned(),
        String::new(),
        "[http]".to_owned(),
        format!("port = {port}   # {port_from}"),
        format!("ready = {}   # {ready_from}", ready.show()),
        "# Sent before the dump, so that code and caches are warm: add what your users ask for first."
            .to_owned(),
        format!("warm-up = [{{ path = {}, repeat = 20 }}]", ready.show()),
        "# Must answer the same, byte for byte, before the dump and after the restore.".to_owned(),
        "# verify = [\"/catalog/1\"]".to_owned(),
    ];
    if seen.tls() {
        lines.extend([
            String::new(),
            "# guessed: it answers by TLS (server.ssl), and this tool asks by plain HTTP. What is set here is frozen into the"
                .to_owned(),
            "# dump: a proxy before it has to speak TLS; see docs/guide/safety.md, Certificates.".to_owned(),
            "[environment]".to_owned(),
            "SERVER_SSL_ENABLED = \"false\"".to_owned(),
        ]);
    }
    Ok(lines.join("\n") + "\n")
}

/// One line about what was seen.
fn about(seen: &Seen) -> String {
    let mut parts = vec![match &seen.spring_boot {
        Some(version) => format!("Spring Boot {version}"),
        None => "No version of Spring Boot is stated".to_owned(),
    }];
    parts.extend(seen.main_class.as_ref().map(|class| format!("main class {class}")));
    parts.push(if seen.actuator { "with Actuator" } else { "without Actuator" }.to_owned());
    if seen.crac {
        parts.push("with org.crac".to_owned());
    }
    parts.join(", ") + "."
}

/// The smallest release that there is a JDK of and that runs what was made for `seen.java`.
fn java(seen: &Seen) -> Result<(u8, String), String> {
    let Some((made_for, who)) = seen.java else {
        return Ok((21, "guessed: a long-term release".to_owned()));
    };
    let release = check::RELEASES.iter().copied().find(|release| u32::from(*release) >= made_for);
    let release = release.ok_or_else(|| {
        let newest = check::RELEASES.last().copied().unwrap_or_default();
        format!("it is made for Java {made_for}, and the newest JDK that there is to pack is {newest}")
    })?;
    Ok((
        release,
        if u32::from(release) == made_for {
            who.to_owned()
        } else {
            format!("made for {made_for}, says {who}")
        },
    ))
}

fn source_lines(source: &Source, note: Option<&str>) -> String {
    let note = note.map(|note| format!("; {note}")).unwrap_or_default();
    let here = "# A path of this machine: on others `git` or `maven` is needed, or a file below this folder.";
    let built = |first: String, build: &super::Build| {
        format!(
            "{first}\nbuild = {}   # guessed\njar = {}   # guessed; must match exactly one file{note}",
            build.command.show(),
            build.jar.show()
        )
    };
    match source {
        Source::Git { url, commit, build } => {
            built(format!("git = {}\ncommit = {}", url.show(), commit.show()), build)
        }
        Source::Directory { path, build } => built(format!("{here}\ndirectory = {}", path.show()), build),
        Source::Jar { path } => format!("{here}\njar = {}", path.show()),
        Source::Maven { group, artifact, version, classifier, sha256 } => {
            let parts = [Some(group), Some(artifact), Some(version), classifier.as_ref()];
            let coordinates: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
            format!("maven = {}\nsha256 = {}", coordinates.join(":").show(), sha256.show())
        }
    }
}
