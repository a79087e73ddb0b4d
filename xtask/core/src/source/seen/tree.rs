//! What sources say: which tool builds them, and what its file mentions. It is searched, not understood: parents,
//! profiles and variables are not followed.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use walkdir::WalkDir;

use super::{Seen, TEXT, name, properties, yaml};
use crate::diagnostic::InputError;

pub fn read(folder: &Path) -> Result<Seen, InputError> {
    let wrong = |what: &str, help: &str| InputError::plain(format!("{}: {what}", folder.display()), help);
    let is_there = |file: &str| folder.join(file).is_file();
    let gradle = ["build.gradle.kts", "build.gradle"].into_iter().find(|file| is_there(file));
    let (file, build) = match (is_there("pom.xml"), gradle) {
        (true, _) if is_there("mvnw") => (
            "pom.xml",
            (format!("{} package -DskipTests", wrapper(folder, "mvnw")), "target/*.jar".to_owned()),
        ),
        // The build image has Maven.
        (true, _) => {
            ("pom.xml", ("mvn --batch-mode package -DskipTests".to_owned(), "target/*.jar".to_owned()))
        }
        (false, Some(file)) if is_there("gradlew") => {
            (file, (format!("{} bootJar", wrapper(folder, "gradlew")), "build/libs/*.jar".to_owned()))
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
    let top = self::text(folder, file);
    let (part, note) = part(folder, &top);
    let build = match &part {
        Some(part) => (build.0, format!("{part}/{}", build.1)),
        None => build,
    };
    let within = part.as_ref().map_or_else(|| folder.to_owned(), |part| folder.join(part));
    // What the part itself says comes first; the top is its parent.
    let text = match &part {
        Some(_) => self::text(&within, file) + &top,
        None => top,
    };
    let resource = |file: &str| self::text(&within, &format!("src/main/resources/{file}"));
    let mut found = yaml(&resource("application.yaml"));
    found.extend(yaml(&resource("application.yml")));
    found.extend(properties(&resource("application.properties")));
    let (java, spring_boot) = match file {
        "pom.xml" => (
            ["java.version", "maven.compiler.release", "maven.compiler.target", "maven.compiler.source"]
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
    let named = ["<start-class>", "<mainClass>"]
        .iter()
        .find_map(|tag| name(after(&text, tag)?.split('<').next()?.trim()));
    Ok(Seen {
        spring_boot,
        main_class: named.or_else(|| main_class(&within)),
        java: java.map(|java| (java, who)),
        actuator: text.contains("spring-boot-starter-actuator"),
        crac: text.contains("org.crac"),
        build: Some(build),
        note,
        properties: found,
    })
}

/// The module of a Maven project in which Spring Boot's plugin makes the jar, and what is to be said of the choice. None
/// where the project is a single one.
fn part(folder: &Path, top: &str) -> (Option<String>, Option<String>) {
    let list = after(top, "<modules>").and_then(|text| text.split("</modules>").next()).unwrap_or_default();
    let modules: Vec<&str> = list
        .split("<module>")
        .skip(1)
        .filter_map(|text| text.split("</module>").next())
        .map(str::trim)
        .filter(|path| {
            name(&path.replace('/', ".")).is_some() && !path.contains("..") && !path.starts_with('/')
        })
        .take(200)
        .collect();
    let boots =
        |module: &&&str| text(folder, &format!("{module}/pom.xml")).contains("spring-boot-maven-plugin");
    let made: Vec<&&str> = modules.iter().filter(boots).collect();
    match made[..] {
        [] if modules.is_empty() => (None, None),
        [] => (
            None,
            Some(
                "none of its modules names spring-boot-maven-plugin: say which one makes the jar".to_owned(),
            ),
        ),
        [only] => (Some((*only).to_string()), None),
        [first, ..] => {
            let all: Vec<String> = made.iter().map(|module| module.to_string()).collect();
            (
                Some((*first).to_string()),
                Some(format!("the first of the modules that make one: {}", all.join(", "))),
            )
        }
    }
}

/// The class that Spring Boot starts, by its annotation.
fn main_class(folder: &Path) -> Option<String> {
    // More files than any application has.
    let entries =
        WalkDir::new(folder.join("src/main")).max_depth(30).sort_by_file_name().into_iter().take(20_000);
    entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_file()).find_map(|entry| {
        let (path, extension) = (entry.path(), entry.path().extension()?.to_str()?);
        // Kotlin's `main` stands beside the class, in a class that is named like the file.
        let suffix = match extension {
            "java" | "groovy" => "",
            "kt" => "Kt",
            _ => return None,
        };
        let text = text(path.parent()?, path.file_name()?.to_str()?);
        if !text.lines().any(|line| line.trim_start().starts_with("@SpringBootApplication")) {
            return None;
        }
        let package = text.lines().find_map(|line| line.trim().strip_prefix("package "));
        let package =
            package.map(|text| format!("{}.", text.trim_end_matches(';').trim())).unwrap_or_default();
        name(&format!("{package}{}{suffix}", path.file_stem()?.to_str()?))
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

/// Spring Boot's version: of the parent of a pom.xml, of the list of versions that it imports, or as a property.
fn parent(text: &str) -> Option<String> {
    let version = |artifact: &str, end: &str| {
        let block = after(text, &format!("<artifactId>{artifact}</artifactId>"))?.split(end).next()?;
        name(after(block, "<version>")?.split('<').next()?.trim()).filter(|version| !version.starts_with('$'))
    };
    version("spring-boot-starter-parent", "</parent>")
        .or_else(|| version("spring-boot-dependencies", "</dependency>"))
        .or_else(|| name(after(text, "<spring-boot.version>")?.split('<').next()?.trim()))
}

/// Spring Boot's version, as Gradle's plugins block has it.
fn plugin(text: &str) -> Option<String> {
    let line =
        text.lines().find(|line| line.contains("org.springframework.boot") && line.contains("version"))?;
    name(after(line, "version")?.trim_matches(|c: char| !c.is_ascii_alphanumeric()))
}
