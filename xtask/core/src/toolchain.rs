//! The build image: a Debian root with JDK, Maven, Go and git, so that the host needs none of them.
//!
//! Builds run in it as containers that see the sources, a cache, and the host's certificates.

use std::path::PathBuf;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::debian::RootSpec;
use crate::digest::Digest;
use crate::memo::Memo;
use crate::pack;
use crate::process::Limit;
use crate::rock::{Rock, Role};
use crate::runtime::{ContainerSpec, Mount, Runtime};
use crate::session::Session;

/// Where the host's certificates may be, in one file; `SSL_CERT_FILE` goes first.
pub const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];
const TRUST_STORE: &str = include_str!("source/TrustStore.java");

/// A build image that is loaded.
pub struct Toolchain<'a> {
    session: &'a Session,
    runtime: &'a Runtime,
    image: String,
    java: u8,
}

impl Toolchain<'_> {
    /// What the image is made of: the suite has every JDK and a Go that is new enough for Pebble.
    pub fn root(java: u8) -> RootSpec {
        let jdk = format!("openjdk-{java}-jdk-headless");
        let packages = ["ca-certificates", "git", "golang-1.26-go", "maven", "unzip", &jdk];
        RootSpec::new("sid", packages.map(String::from).to_vec())
    }

    /// Makes and loads the image, unless it is there.
    pub fn prepare<'a>(session: &'a Session, runtime: &'a Runtime, java: u8) -> Result<Toolchain<'a>> {
        let spec = Toolchain::root(java);
        let image = format!("localhost/xtask-build-{java}:{}", spec.digest().short());
        if !runtime.has_image(&image)? {
            let root = spec.make(session)?;
            let rock = rock(java);
            let packed = pack::pack(&session.store, &rock, &root.blob, &mut |_| {})?;
            runtime.load(session, &packed, &image)?;
        }
        Ok(Toolchain { session, runtime, image, java })
    }

    /// Runs a shell command in the image, in `/src`; `who` is named in the log.
    pub fn run(&self, who: &str, script: &str, mounts: Vec<Mount>, limit: &Limit) -> Result<()> {
        let mut spec = self.container(who, script);
        let cache = self.session.workspace.state_folder("cache/home")?;
        spec.mounts = mounts;
        spec.cache = Some(Mount { from: cache, to: "/home/build".into(), writable: true });
        spec.mounts
            .extend(self.certificates().context("cannot hand the host's certificates to the build image")?);
        if let Some(settings) = home().map(|home| home.join(".m2/settings.xml")).filter(|file| file.is_file())
        {
            spec.mounts.push(Mount { from: settings, to: "/etc/xtask-settings.xml".into(), writable: false });
            spec.environment.insert("MAVEN_ARGS".into(), "--settings /etc/xtask-settings.xml".into());
        }
        spec.folder = Some("/src".into());
        self.runtime.run(&spec, limit, |line| self.session.progress.log(who, line))
    }

    fn container(&self, who: &str, script: &str) -> ContainerSpec {
        let mut spec = ContainerSpec::new(who, &self.image);
        spec.build = true;
        spec.words = ["/bin/sh", "-euc", script].map(String::from).to_vec();
        let architecture = debian_architecture();
        let java_home = format!("/usr/lib/jvm/java-{}-openjdk-{architecture}", self.java);
        let path = format!("{java_home}/bin:/usr/lib/go-1.26/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        for (name, value) in [
            ("HOME", "/home/build"),
            ("MAVEN_USER_HOME", "/home/build/.m2"),
            ("MAVEN_OPTS", "-Dmaven.repo.local=/home/build/.m2/repository -Duser.home=/home/build"),
            ("GRADLE_USER_HOME", "/home/build/.gradle"),
            ("GOTOOLCHAIN", "local"),
            ("JAVA_HOME", &java_home),
            ("PATH", &path),
        ] {
            spec.environment.insert(name.into(), value.into());
        }
        for name in ["GOPROXY", "GOSUMDB", "GONOSUMDB", "GOFLAGS"] {
            if let Ok(value) = std::env::var(name) {
                spec.environment.insert(name.into(), value);
            }
        }
        spec
    }

    /// The host's certificates, as one file for everybody and as the key store that Java reads.
    fn certificates(&self) -> Result<Vec<Mount>> {
        let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let Some(bundle) = named.into_iter().chain(BUNDLES.map(PathBuf::from)).find(|path| path.is_file())
        else {
            return Ok(Vec::new());
        };
        let digest = Digest::of_value(&(Digest::of(fs::read(&bundle)?), TRUST_STORE));
        let folder =
            self.session.workspace.state_folder(&format!("cache/certificates-{}", digest.short()))?;
        let bundle = Mount { from: bundle, to: "/etc/ssl/certs/ca-certificates.crt".into(), writable: false };
        let memo = Memo::of(&self.session.workspace, "certificates", &digest)?;
        if memo.get::<bool>().is_none() || !folder.join("cacerts").is_file() {
            fs::write(folder.join("TrustStore.java"), TRUST_STORE)?;
            let script = "java /out/TrustStore.java /etc/ssl/certs/ca-certificates.crt /out/cacerts";
            let mut spec = self.container("certificates", script);
            spec.mounts.push(bundle.clone());
            spec.mounts.push(Mount { from: folder.clone(), to: "/out".into(), writable: true });
            let limit = Limit::new("the tool's own limit for reading certificates", Limit::quick().duration);
            self.runtime.run(&spec, &limit, |line| self.session.progress.detail("certificates", line))?;
            memo.put(&true)?;
        }
        let store =
            Mount { from: folder.join("cacerts"), to: "/etc/ssl/certs/java/cacerts".into(), writable: false };
        Ok(vec![bundle, store])
    }
}

/// The build image, as a rock without services.
fn rock(java: u8) -> Rock {
    Rock {
        role: Role::Checkpoint,
        name: format!("xtask-build-{java}"),
        version: "0".into(),
        summary: "The build image of cargo xtask".into(),
        architecture: debian_architecture().into(),
        suite: "sid".into(),
        packages: Vec::new(),
        user: "root".into(),
        uid: 0,
        layers: Vec::new(),
        entrypoint: Vec::new(),
        command: vec!["/bin/sh".into()],
        environment: Default::default(),
        ports: Vec::new(),
        labels: Default::default(),
    }
}

/// This machine's architecture by Debian's and OCI's name for it.
pub fn debian_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from)
}
