//! Applications for tests, as their users would write them, and the repository's own templates.

#![allow(dead_code, reason = "each file of tests uses a part of it")]

use std::path::Path;
use std::sync::LazyLock;

use xtask::app::{App, load_text};
use xtask::render::{Files, Templates, render};

/// Spring PetClinic: git, both engines.
pub const PETCLINIC: &str = r#"summary = "Spring PetClinic, checkpointed"
source.git = "https://github.com/pushkarnk/spring-petclinic.git"
source.commit = "9a22090d9e4f54de8bbef5b3b59806ee3a62ad9d"
source.build = "./mvnw --batch-mode --no-transfer-progress package -DskipTests"
source.jar = "target/*-SNAPSHOT.jar"
java.version = 17
java.options = ["-Xmx256m"]
"#;

/// Zipkin: Maven, CRIU alone.
pub const ZIPKIN: &str = r#"summary = "Zipkin, checkpointed"
version = "3.5.1"
engine = "criu"
source.maven = "io.zipkin:zipkin-server:3.5.1:exec"
source.sha256 = "7ac633a6832647e71e50012a5e3e91fbc7054414955261724526030faf271d8d"
http.port = 9411
"#;

/// Every value is valid, and each would break a file that printed it without quotes.
pub const HOSTILE: &str = r##"summary = "\"quoted\": {{ app }} # 100 % $(id) \\ 漢é"
engine = "criu"
source.git = "file:///srv/sources"
source.commit = "9a22090d9e4f54de8bbef5b3b59806ee3a62ad9d"
source.build = "./mvnw -Dmessage='a: b # c' package && echo \"$(date) %s\" {{ app }}"
source.jar = "target/it's $(id) [a-z]*.jar"
java.options = ["-Dspaced=a b", "-Dquoted='\"", "-Dcommand=$(id)`id`", "-Dback=\\", "-Dpercent=%p", "-Dumlaut=ü漢"]
java.arguments = ["--empty=", "", " ", "*", "--name=a'b\"c$HOME", "-n", "{{ app }}"]
restore.fallback = "cold"
[environment]
BACK = "\\n \\"
COMMAND = "$(id) `id` ${HOME} $$"
EMPTY = ""
LINES = "first\nsecond\r\n\tthird\n"
NO = "no"
NULL = "~"
PERCENT = "%s 100%"
QUOTES = "'single' \"double\""
TEMPLATE = "{{ app }} {% raw %}"
UNICODE = "grüß 漢字 😀 \u2028\uFEFF\u0085\u001b"
YAML = "- a: &b *c !d # e"
"##;

/// The newest of everything: an engine that only rockcraft packs, two platforms.
pub const NEWEST: &str = r#"engine = "crac"
source.maven = "com.example:newest:1.0"
source.sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
java.version = 25
java.profile = "none"
java.arguments = ["--spring.profiles.active=prod"]
rock.base = "ubuntu@26.04"
rock.platforms = ["amd64", "arm64"]
rock.packages = ["libstdc++6"]
checkpoint.min-pid = 2000
restore.fallback = "cold"
"#;

/// The repository's templates, read once.
pub static TEMPLATES: LazyLock<Templates> = LazyLock::new(|| {
    Templates::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates")).expect("templates")
});

/// The application of this text.
#[track_caller]
pub fn app(name: &str, text: &str) -> App {
    let folder = Path::new("/w/apps").join(name);
    match load_text(name, &folder, &format!("apps/{name}/app.toml"), text) {
        Ok(loaded) => loaded.app,
        Err(error) => panic!("{error}\n{text}"),
    }
}

/// Its rendered files, before there is a pin.
pub fn rendered(app: &App) -> Files {
    render(&TEMPLATES, app, None).unwrap_or_else(|error| panic!("{error:?}"))
}

/// Everything the templates can give: each of them is used by one of these.
pub fn samples() -> Vec<(&'static str, App)> {
    [("petclinic", PETCLINIC), ("zipkin", ZIPKIN), ("hostile", HOSTILE), ("newest", NEWEST)]
        .map(|(name, text)| (name, app(name, text)))
        .to_vec()
}

/// The text of a rendered file.
pub fn text<'f>(files: &'f Files, path: &str) -> &'f str {
    std::str::from_utf8(&files[Path::new(path)].bytes).unwrap()
}
