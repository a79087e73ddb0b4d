//! What sources say: which tool builds them, and what its file mentions. It is searched, not understood: parents,
//! profiles and variables are not followed.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Seen, TEXT, name, properties, yaml};
use crate::diagnostic::InputError;

pub fn read(folder: &Path) -> Result<Seen, InputError> {
    let wrong = |what: &str, help: &str| InputError::plain(format!("{}: {what}", folder.display()), help);
    let is_there = |file: &str| folder.join(file).is_file();
    let gradle = ["build.gradle.kts", "build.gradle"].into_iter().find(|file| is_there(file));
    let (file, build) = match (is_there("pom.xml"), gradle) {
        (true, _) if is_there("mvnw") => {
            ("pom.xml", (format!("{} package -DskipTests", wrapper(folder, "mvnw")), "target/*.jar"))
        }
        // The build image has Maven.
        (true, _) => ("pom.xml", ("mvn --batch-mode package -DskipTests".to_owned(), "target/*.jar")),
        (false, Some(file)) if is_there("gradlew") => {
            (file, (format!("{} bootJar", wrapper(folder, "gradlew")), "build/libs/*.jar"))
        }
        (false, Some(file)) => {
            return Err(wrong(
                &format!("it has {file}, but no gradlew, and the build image has no Gradle"),
                "`gradle wrapper` adds one",
            ));
        }
        (false, None) => {
            return Err(wrong(
                "it has neither pom.xml nor build.gradle at its top",
                "name the folder that is built, or the jar itself with `--jar`",
            ));
        }
    };
    let text = text(folder, file);
    let resource = |file: &str| self::text(folder, &format!("src/main/resources/{file}"));
    let mut found = yaml(&resource("application.yaml"));
    found.extend(yaml(&resource("application.yml")));
    found.extend(properties(&resource("application.properties")));
    let (java, spring_boot) = match file {
        "pom.xml" => (
            ["java.version", "maven.compiler.release", "maven.compiler.target"]
                .iter()
                .find_map(|tag| number(after(&text, &format!("<{tag}>"))?)),
            parent(&text),
        ),
        _ => (
            ["JavaLanguageVersion.of(", "VERSION_", "sourceCompatibility = '", "sourceCompatibility = \""]
                .iter()
                .find_map(|before| number(after(&text, before)?)),
            plugin(&text),
        ),
    };
    let who = if file == "pom.xml" { "pom.xml" } else { "Gradle's build file" };
    Ok(Seen {
        spring_boot,
        main_class: None,
        java: java.map(|java| (java, who)),
        actuator: text.contains("spring-boot-starter-actuator"),
        crac: text.contains("org.crac"),
        build: Some(build),
        properties: found,
    })
}

/// How a wrapper is started: some are committed without the bit that makes them programs.
fn wrapper(folder: &Path, file: &str) -> String {
    let program = folder.join(file).metadata().is_ok_and(|meta| meta.permissions().mode() & 0o100 != 0);
    if program { format!("./{file}") } else { format!("sh ./{file}") }
}

/// The beginning of a file; empty where there is none.
fn text(folder: &Path, file: &str) -> String {
    let path = folder.join(file);
    let mut bytes = Vec::new();
    // A pipe would be waited for.
    if path.is_file()
        && let Ok(file) = std::fs::File::open(path)
    {
        let _ = file.take(TEXT).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn after<'t>(text: &'t str, before: &str) -> Option<&'t str> {
    text.split_once(before).map(|(_, after)| after)
}

/// The release of `17`, `1.8` or `1_8`.
fn number(text: &str) -> Option<u32> {
    let text = text.strip_prefix("1.").or(text.strip_prefix("1_")).unwrap_or(text);
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Spring Boot's version, where it is the parent of a pom.xml.
fn parent(text: &str) -> Option<String> {
    let parent =
        after(text, "<artifactId>spring-boot-starter-parent</artifactId>")?.split("</parent>").next()?;
    name(after(parent, "<version>")?.split('<').next()?.trim())
}

/// Spring Boot's version, as Gradle's plugins block has it.
fn plugin(text: &str) -> Option<String> {
    let line =
        text.lines().find(|line| line.contains("org.springframework.boot") && line.contains("version"))?;
    name(after(line, "version")?.trim_matches(|c: char| !c.is_ascii_alphanumeric()))
}
