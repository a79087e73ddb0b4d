//! One Spring application as its user describes it: `apps/<app>/app.toml`, resolved.
//!
//! Raw TOML lives in `raw`, everything past [`load`] is resolved and valid: every default is
//! applied, every name is safe to use as a file, container, service or YAML name.
//!
//! `raw` reads a spanned document, `keys` lists the keys there are, `check`, `check_rock`,
//! `check_source`, `check_pin` and `check_restore` say what a value may be, `resolve` and `resolve_rock` name each key with its default and its check,
//! `setting` turns values back into TOML, `load` knows files. `draft` writes a first app.toml, `given` checks what is given
//! for it on the command line, `schema` tells editors all of this, and `reference` the guide's readers.

mod check;
mod check_pin;
mod check_restore;
mod check_rock;
mod check_secrets;
mod check_source;
mod draft;
mod given;
mod keys;
mod load;
mod raw;
mod reference;
mod resolve;
mod resolve_rock;
mod resolve_secrets;
mod schema;
mod setting;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Serialize;

pub use check::SENT_LIMIT;
pub use check_rock::has_crac;
pub use draft::draft;
pub use given::{given_commit, given_git, given_maven};
pub use load::{Loaded, check_name, load, load_text, names};
pub use reference::reference;
pub use schema::schema;
pub use setting::{Origin, Setting};

/// A resolved application. Built once by `app::load`, never changed afterwards.
#[derive(Debug, Clone, Serialize)]
pub struct App {
    /// The folder's name under `apps/`; also the service's name. `[a-z]([a-z0-9-]*[a-z0-9])?`, at most 40 characters.
    pub name: String,
    /// One line, at most 78 characters (rockcraft's own limit for a summary).
    pub summary: String,
    /// Version of the rocks, as rockcraft takes it: `[a-z0-9A-Z.~+-]`, at most 32 characters.
    pub version: String,
    /// How the jar is come by.
    pub source: Source,
    /// The JVM the application is built with and runs on.
    pub java: Java,
    /// Where and how the application answers.
    pub http: Http,
    /// Environment of the application's service. Frozen into the checkpoint.
    pub environment: BTreeMap<String, String>,
    /// Which values must not be in the dump.
    pub secrets: Secrets,
    /// What the rocks are called and made of.
    pub rock: RockSettings,
    /// Who checkpoints: CRIU with a stock JDK, or a CRaC JDK.
    pub engine: EngineChoice,
    /// Who makes a rock out of the model.
    pub packer: PackerChoice,
    /// What only the engine `crac` knows.
    pub crac: Crac,
    /// How the dump is made.
    pub checkpoint: CheckpointSettings,
    /// How the restore rock starts.
    pub restore: RestoreSettings,
    /// Where pins are kept, and whose are trusted.
    pub pin: PinSettings,
    /// Upper bounds of every wait.
    pub limits: Limits,
}

/// How the jar is come by.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Source {
    /// A git repository (https, ssh or `file://`) at one full commit, built with `build`.
    Git {
        /// URL as git takes it.
        url: String,
        /// Full commit id: 40 (SHA-1) or 64 (SHA-256) lowercase hexadecimal digits.
        commit: String,
        /// How the jar is built.
        build: Build,
    },
    /// An artifact of a Maven repository; Maven itself fetches it.
    Maven {
        /// Group id.
        group: String,
        /// Artifact id.
        artifact: String,
        /// Version; no ranges, no SNAPSHOT.
        version: String,
        /// Classifier, as `exec` in `io.zipkin:zipkin-server:3.5.1:exec`.
        classifier: Option<String>,
        /// SHA-256 of the jar, lowercase hexadecimal.
        sha256: String,
    },
    /// A folder of sources, built with `build`.
    Directory {
        /// Absolute path. Inside app.toml it may be relative to the application's folder, and must not leave it.
        path: PathBuf,
        /// How the jar is built.
        build: Build,
    },
    /// A jar that is already there.
    Jar {
        /// Absolute path; the same rule as for a directory.
        path: PathBuf,
    },
}

/// How a jar is built from sources.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Build {
    /// A shell command run at the top of the sources, such as `./mvnw package`.
    pub command: String,
    /// A glob below the sources which must match exactly one jar, such as `target/*.jar`. Relative, no `..`.
    pub jar: String,
}

/// The JVM.
#[derive(Debug, Clone, Serialize)]
pub struct Java {
    /// Feature release: 17, 21, 25 or 26.
    pub version: u8,
    /// Which options the tool adds for a small checkpoint.
    pub profile: Profile,
    /// Whether random numbers are the kernel's at every call, and seeds are renewed after a restore. A CRaC JDK does
    /// that by itself.
    pub fresh_random: bool,
    /// Options placed after the profile's, so that they win.
    pub options: Vec<String>,
    /// Arguments of the application, after `-jar app.jar`.
    pub arguments: Vec<String>,
}

/// What the JVM is tuned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Serial collector, a heap that shrinks after a collection, one malloc arena: fewest bytes to dump and read back.
    Small,
    /// The parallel collector and malloc as it is: more requests a second, more bytes to dump and to ship.
    Throughput,
    /// No option beyond what the engine needs, and no class archive.
    None,
}

/// What a restore does with the dumped memory, with `engine = "criu"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Memory {
    /// It is mapped from a file of the rock: the process runs at once, pages come when they are touched, and all
    /// restores of a host share what they have not written to.
    Mapped,
    /// CRIU reads it before the process runs.
    Read,
}

/// Where and how the application answers.
#[derive(Debug, Clone, Serialize)]
pub struct Http {
    /// Port inside the container, 1 to 65535.
    pub port: u16,
    /// Path that answers 200 once the application is up.
    pub ready: String,
    /// Requests sent before the dump, so that the JIT, caches and pools are warm.
    pub warm_up: Vec<Request>,
    /// Requests sent before the dump and after the restore, whose answers must agree.
    pub verify: Vec<Request>,
}

/// One HTTP request and the answer that is expected.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, `PUT`, `PATCH`, `DELETE`, `HEAD` or `OPTIONS`.
    pub method: String,
    /// Path and query, beginning with `/`, only visible ASCII, no fragment.
    pub path: String,
    /// Header fields.
    pub headers: BTreeMap<String, String>,
    /// Body, sent as it is.
    pub body: Option<String>,
    /// Expected status, 100 to 599.
    pub status: u16,
    /// How many times it is sent, 1 to 100000.
    pub repeat: u32,
}

/// Which values must not be in the dump, and which of the findings may be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Secrets {
    /// Where the machine that scans has each secret's value. The value itself is never in app.toml.
    pub named: BTreeMap<String, SecretFrom>,
    /// Findings of a scan that are no reason to refuse the dump.
    pub allow: Vec<Allowed>,
}

/// Where the value of a secret is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretFrom {
    /// In a variable of the scanning tool's own environment.
    Environment(String),
    /// It is the content of a file, but for a line break at the end. From the application's folder, or absolute.
    File(PathBuf),
}

/// A finding that may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Allowed {
    /// What a scan calls it: `RULE:DIGEST`.
    pub id: String,
    /// Why it may be in the dump.
    pub reason: String,
}

/// What the rocks are called and made of.
#[derive(Debug, Clone, Serialize)]
pub struct RockSettings {
    /// Name of the checkpoint rock.
    pub checkpoint_name: String,
    /// Name of the restore rock.
    pub restore_name: String,
    /// Base of the rock rockcraft packs, such as `ubuntu@24.04`.
    pub base: String,
    /// Debian suite of the rock the native packer packs. Only `sid` has a CRIU (4.2.1) that works on kernels from 6.16 on.
    pub suite: String,
    /// User of every process in the rock: `_daemon_`, as in Ubuntu's rocks.
    pub run_user: String,
    /// Platforms of the rock rockcraft packs: `amd64`, `arm64`.
    pub platforms: Vec<String>,
    /// More Debian packages for both rocks.
    pub packages: Vec<String>,
    /// More packages for rockcraft's build of the application.
    pub build_packages: Vec<String>,
    /// Chisel slices for both rocks, as `ca-certificates_data`; only rockcraft knows them.
    pub slices: Vec<String>,
    /// Files of the application's folder that both rocks hold, by their absolute path there.
    pub files: BTreeMap<String, RockFile>,
}

/// A file of the application's folder that is in the rocks. It belongs to root, and all may read it.
#[derive(Debug, Clone, Serialize)]
pub struct RockFile {
    /// Its path in the application's folder, as app.toml has it.
    pub from: String,
    /// Its bytes.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// Whether it is a program.
    pub executable: bool,
}

/// Options of OpenJDK CRaC, by the names of its documentation.
#[derive(Debug, Clone, Serialize)]
pub struct Crac {
    /// `-XX:CRaCEngine`, at the checkpoint and at the restore: who dumps below the JVM.
    pub engine: CracEngine,
    /// `-XX:CPUFeatures`: what a restoring CPU must have. `generic`, `native`, or two hexadecimal numbers as the JVM
    /// prints them.
    pub cpu_features: Option<String>,
    /// `-Djdk.crac.resource-policies`: a file of the application's folder with rules for open descriptors.
    pub resource_policies: Option<RockFile>,
    /// `-XX:CRaCIgnoredFileDescriptors`: descriptors, by number or path, that the JVM leaves alone.
    pub ignored_descriptors: Vec<String>,
}

/// Who dumps below a CRaC JVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CracEngine {
    /// The JVM's own choice: CRIU, root by its setuid bit.
    Default,
    /// CRIU, said.
    Criu,
    /// Azul's engine, which needs no capabilities. OpenJDK's own builds have it not.
    Warp,
}

/// Who checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineChoice {
    /// `crac` with rockcraft, `criu` natively.
    Auto,
    /// A stock JDK and CRIU.
    Criu,
    /// An OpenJDK CRaC build.
    Crac,
}

/// Who makes a rock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackerChoice {
    /// Native.
    Auto,
    /// `rockcraft pack` (Ubuntu).
    Rockcraft,
    /// This tool, from Debian packages.
    Native,
}

/// How the dump is made.
#[derive(Debug, Clone, Serialize)]
pub struct CheckpointSettings {
    /// The JVM's PID is above this one (100 to 30000), so that a restore does not collide with a process of the
    /// restoring container: with PID 15 one restore of six failed, above 300 none of fifty.
    pub min_pid: u32,
    /// Largest deleted but mapped file CRIU dumps.
    pub ghost_limit: ByteSize,
    /// What a restore does with the dumped memory.
    pub memory: Memory,
}

/// How the restore rock starts.
#[derive(Debug, Clone, Serialize)]
pub struct RestoreSettings {
    /// What it does where the restore fails.
    pub fallback: Fallback,
}

/// What a restore rock does where its restore fails or hangs, or the restored process is not well in its first seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// It ends, and with it the container.
    Fail,
    /// It starts the application the ordinary way, and says so.
    Cold,
}

/// Where pins are kept, and whose are trusted.
#[derive(Debug, Clone, Serialize)]
pub struct PinSettings {
    /// Where `push` sends pins and `pull` looks for them: a registry's repository or a folder. Empty: nowhere.
    pub remote: String,
    /// minisign public keys. Where there are any, nothing is restored, packed, pushed or pulled of a pin that none of
    /// them has signed.
    pub signed_by: Vec<String>,
}

/// Upper bounds of every wait. The error names the limit by its key in app.toml.
#[derive(Debug, Clone, Serialize)]
pub struct Limits {
    /// Fetching and building the jar.
    #[serde(with = "duration")]
    pub build: Duration,
    /// From container start to the first 200 on `ready`.
    #[serde(with = "duration")]
    pub ready: Duration,
    /// All warm-up requests together.
    #[serde(with = "duration")]
    pub warm_up: Duration,
    /// From the trigger to a complete dump.
    #[serde(with = "duration")]
    pub dump: Duration,
    /// From container start to the first 200 of the restored process.
    #[serde(with = "duration")]
    pub restore: Duration,
    /// One HTTP request.
    #[serde(with = "duration")]
    pub request: Duration,
}

/// Durations as people write them: `90s`, `2m`.
mod duration {
    use std::time::Duration;

    use serde::Serializer;

    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }
}
