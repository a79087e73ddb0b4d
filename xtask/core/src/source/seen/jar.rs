//! What a jar says: its manifest, the names in it, the head of its main class, and its configuration.

use std::io::Read;
use std::path::Path;

use super::{Seen, TEXT, name, properties, yaml};
use crate::diagnostic::InputError;
use crate::sbom::{Zip, manifest};
use crate::workspace::open_file;

/// Where Spring Boot has the application's classes; a plain jar has them at its top.
const CLASSES: [&str; 3] = ["BOOT-INF/classes/", "WEB-INF/classes/", ""];

pub fn read(path: &Path) -> Result<Seen, InputError> {
    let wrong = |what: String, help: &str| InputError::plain(format!("{}: {what}", path.display()), help);
    let a_jar = "name the jar that `java -jar` starts";
    let mut file = match open_file(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            return Err(wrong("it is no file".to_owned(), "name a jar; `--dir` takes a folder of sources"));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(wrong("there is no such file".to_owned(), a_jar));
        }
        Err(error) => return Err(wrong(error.to_string(), a_jar)),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| wrong(error.to_string(), a_jar))?;
    let zip = Zip::new(&bytes).map_err(|error| wrong(format!("it is no jar: {error:#}"), a_jar))?;
    let text = match entry(&zip, "META-INF/MANIFEST.MF", TEXT) {
        Ok(Some(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        Ok(None) => return Err(wrong("it has no META-INF/MANIFEST.MF".to_owned(), a_jar)),
        Err(why) => return Err(wrong(format!("its manifest cannot be read: {why}"), a_jar)),
    };
    let fields = manifest(&text);
    let field = |key: &str| fields.get(key).and_then(|value| name(value));
    let Some(main) = field("Main-Class") else {
        return Err(wrong(
            "its manifest names no Main-Class, so `java -jar` cannot start it".to_owned(),
            "Spring Boot's plugin makes one that it can: take the jar without `-plain` or `.original` in its name",
        ));
    };
    // Spring Boot's launcher is the Main-Class of its jars, and starts this.
    let main_class = field("Start-Class").unwrap_or(main);
    let built = fields.get("Build-Jdk-Spec").or(fields.get("Build-Jdk")).and_then(|text| release(text));
    let class = class_release(&zip, &main_class);
    let java = match (built, class) {
        (Some(built), Some(class)) if class > built => Some((class, "the class file of its main class")),
        (Some(built), _) => Some((built, "the manifest: the JDK that built it")),
        (None, class) => class.map(|class| (class, "the class file of its main class")),
    };
    let has = |part: &str| zip.names().any(|(_, name)| is_library(name, part));
    let inside = |folder: &str| zip.names().any(|(_, name)| name.starts_with(folder));
    let actuator = has("spring-boot-actuator") || inside("org/springframework/boot/actuate/");
    let crac = has("crac") || inside("org/crac/");
    Ok(Seen {
        spring_boot: field("Spring-Boot-Version"),
        main_class: Some(main_class),
        java,
        actuator,
        crac,
        build: None,
        note: None,
        properties: configuration(&zip),
    })
}

/// Whether an entry is this library: its name, a dash, and a version.
fn is_library(entry: &str, name: &str) -> bool {
    let file = entry.rsplit('/').next().unwrap_or(entry);
    let version = file.strip_suffix(".jar").and_then(|stem| stem.strip_prefix(name)?.strip_prefix('-'));
    version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
}

/// The release of `17.0.2`, `21` or `1.8.0_402`.
fn release(text: &str) -> Option<u32> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().ok());
    match (numbers.next()??, numbers.next().flatten()) {
        (1, Some(minor)) => Some(minor),
        (major, _) => Some(major),
    }
}

/// The release that a class was compiled for: its major version is 44 more.
fn class_release(zip: &Zip<'_>, class: &str) -> Option<u32> {
    let path = class.replace('.', "/");
    let head = CLASSES.iter().find_map(|folder| {
        let mut head = [0; 8];
        zip.read(zip.find(&format!("{folder}{path}.class"))?).ok()?.read_exact(&mut head).ok()?;
        Some(head)
    })?;
    let major = u32::from(u16::from_be_bytes([head[6], head[7]]));
    (head[..4] == [0xca, 0xfe, 0xba, 0xbe]).then(|| major.checked_sub(44))?
}

fn configuration(zip: &Zip<'_>) -> std::collections::BTreeMap<String, String> {
    let text = |file: &str| {
        let found = CLASSES.iter().find_map(|folder| entry(zip, &format!("{folder}{file}"), TEXT).ok()?);
        String::from_utf8_lossy(&found.unwrap_or_default()).into_owned()
    };
    // In Spring Boot .properties go before .yml.
    let mut found = yaml(&text("application.yaml"));
    found.extend(yaml(&text("application.yml")));
    found.extend(properties(&text("application.properties")));
    found
}

/// An entry's bytes, if it is there. It may claim any size: what counts is how many bytes come out.
fn entry(zip: &Zip<'_>, name: &str, limit: u64) -> Result<Option<Vec<u8>>, String> {
    let Some(index) = zip.find(name) else { return Ok(None) };
    let file = zip.read(index).map_err(|error| format!("{error:#}"))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match bytes.len() as u64 <= limit {
        true => Ok(Some(bytes)),
        false => Err(format!("it has more than {limit} bytes")),
    }
}
