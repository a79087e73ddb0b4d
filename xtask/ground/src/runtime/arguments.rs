//! How a container is described, and the one place where the description becomes a command line.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::privileges::{Capability, Seccomp};

use super::{Kind, OWNER};

/// A container to start.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// Part of its name: `petclinic-restore`.
    pub title: String,
    /// Image name or ID.
    pub image: String,
    /// The only capabilities it has.
    pub capabilities: Vec<Capability>,
    /// Its system call filter.
    pub seccomp: Seccomp,
    /// Whether its processes can gain no privilege (`no_new_privs`). With podman alone: under Docker, CRIU has its
    /// capabilities by its file, and by nothing else.
    pub no_new_privileges: bool,
    /// The filter's file in place of the engine's own, of which nobody knows what it is: Docker's has no clone3, which CRIU
    /// needs, and a line of containers.conf takes podman's away.
    pub profile: Option<PathBuf>,
    /// Folders that are written to where the root is read-only; each begins as a copy of the image's. None: the root is
    /// writable.
    pub scratch: Vec<String>,
    /// Ports that this machine forwards.
    pub publish: Vec<Publish>,
    /// Environment.
    pub environment: BTreeMap<String, String>,
    /// Folders and files of this machine, with whether they may be written.
    pub mounts: Vec<Mount>,
    /// A folder that is kept from one container to the next; Docker keeps it in a volume of its own.
    pub cache: Option<Mount>,
    /// Working folder inside.
    pub folder: Option<String>,
    /// What runs in place of the image's entry point.
    pub entrypoint: Option<String>,
    /// Arguments of the image's entry point, or the command.
    pub words: Vec<String>,
    /// Whether a build runs here: as root of its image, with the machine's own network.
    pub build: bool,
    /// Whether it outlives this run.
    pub detached: bool,
}

/// A folder or file of this machine inside a container.
#[derive(Debug, Clone)]
pub struct Mount {
    /// On this machine.
    pub from: PathBuf,
    /// Inside.
    pub to: String,
    /// Whether the container may write to it.
    pub writable: bool,
}

/// A port of this machine that leads to one of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Address of this machine.
    pub address: String,
    /// Its port; none: a free one.
    pub host: Option<u16>,
    /// The container's port.
    pub container: u16,
}

impl Publish {
    /// A free port of the loopback address.
    pub fn anywhere(container: u16) -> Publish {
        Publish { address: "127.0.0.1".into(), host: None, container }
    }

    /// Where a client on this machine finds it.
    pub fn reachable(&self) -> &str {
        match self.address.as_str() {
            "0.0.0.0" => "127.0.0.1",
            "[::]" => "[::1]",
            address => address,
        }
    }

    /// `PORT`, `HOST:PORT` or `ADDRESS:HOST:PORT`.
    pub fn parse(text: &str) -> Result<Publish, String> {
        let wrong = |part: &str| format!("`{part}` is no port; expected [[ADDRESS:]PORT:]PORT");
        let port = |part: &str| part.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong(part));
        let mut parts = text.rsplitn(3, ':');
        let container = port(parts.next().unwrap_or_default())?;
        let host = parts.next().map(port).transpose()?.or(Some(container));
        let address = match parts.next() {
            None => "127.0.0.1".to_owned(),
            Some(address) => {
                let bare = address.trim_start_matches('[').trim_end_matches(']');
                let parsed: std::net::IpAddr =
                    bare.parse().map_err(|_| format!("`{address}` is no IP address"))?;
                if parsed.is_ipv6() { format!("[{parsed}]") } else { parsed.to_string() }
            }
        };
        Ok(Publish { address, host, container })
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.map(|port| port.to_string()).unwrap_or_default();
        write!(f, "{}:{host}:{}", self.address, self.container)
    }
}

impl ContainerSpec {
    /// A container with nothing but an image: no capability, the engine's own filter.
    pub fn new(title: impl Into<String>, image: impl Into<String>) -> ContainerSpec {
        ContainerSpec {
            title: title.into(),
            image: image.into(),
            capabilities: Vec::new(),
            seccomp: Seccomp::Filtered,
            no_new_privileges: false,
            profile: None,
            scratch: Vec::new(),
            publish: Vec::new(),
            environment: BTreeMap::new(),
            mounts: Vec::new(),
            cache: None,
            folder: None,
            entrypoint: None,
            words: Vec::new(),
            build: false,
            detached: false,
        }
    }

    /// The arguments of podman or Docker, after the verb: `run --detach` or `create`. Options use the `--name=value`
    /// form: no value can be taken for an option.
    pub fn arguments(&self, kind: Kind, verb: &[&str], name: &str, owner: &str) -> Vec<String> {
        let mut arguments: Vec<String> =
            verb.iter().chain(&["--pull=never"]).map(|w| w.to_string()).collect();
        let mut add = |name: &str, value: &str| arguments.push(format!("--{name}={value}"));
        add("name", name);
        // The log is read back with `logs`, which not every driver of a machine's own choice allows.
        add(
            "log-driver",
            match kind {
                Kind::Podman => "k8s-file",
                Kind::Docker => "json-file",
            },
        );
        add("label", &format!("{OWNER}={owner}"));
        if self.build {
            add("network", "host");
        } else {
            add("cap-drop", "all");
        }
        for capability in &self.capabilities {
            add("cap-add", &capability.to_string());
        }
        match (self.seccomp, &self.profile) {
            (Seccomp::Unconfined, _) => add("security-opt", "seccomp=unconfined"),
            (Seccomp::Filtered, Some(file)) => {
                add("security-opt", &format!("seccomp={}", file.display()));
            }
            (Seccomp::Filtered, None) => {}
        }
        if self.no_new_privileges && kind == Kind::Podman {
            add("security-opt", "no-new-privileges");
        }
        if !self.scratch.is_empty() {
            add("read-only", "true");
            // podman would have /run and /var/tmp writable all the same, which nobody else does.
            if kind == Kind::Podman {
                add("read-only-tmpfs", "false");
            }
        }
        for folder in &self.scratch {
            add("volume", folder);
        }
        for publish in &self.publish {
            add("publish", &publish.to_string());
        }
        for (key, value) in &self.environment {
            add("env", &format!("{key}={value}"));
        }
        let (mounts, volume) = match kind {
            Kind::Podman => (self.mounts.iter().chain(&self.cache).collect(), None),
            Kind::Docker => (Vec::new(), self.cache.as_ref()),
        };
        if let Some(cache) = volume {
            add("volume", &format!("xtask-cache:{}", cache.to));
        }
        for mount in mounts {
            let mode = if mount.writable { "rw" } else { "ro" };
            add("volume", &format!("{}:{}:{mode}", mount.from.display(), mount.to));
        }
        if let Some(folder) = &self.folder {
            add("workdir", folder);
        }
        if let Some(program) = &self.entrypoint {
            add("entrypoint", program);
        }
        arguments.push("--".into());
        arguments.push(self.image.clone());
        arguments.extend(self.words.iter().cloned());
        arguments
    }

    /// The command line by which a person starts it, quoted for a POSIX shell: without what this tool needs to find it
    /// again.
    pub fn by_hand(&self, kind: Kind) -> String {
        let ours = ["--name=", "--log-driver=", "--label="];
        let mut words = vec![kind.to_string()];
        words.extend(self.arguments(kind, &["run", "--rm"], "", ""));
        words.retain(|word| !ours.iter().any(|own| word.starts_with(own)));
        // shlex would quote every `=`, which means something in the first word alone.
        let plain = |word: &str| word.chars().all(|c| c.is_ascii_alphanumeric() || "-=_./:@".contains(c));
        let quote = |word: &String| match plain(word) {
            true => word.clone(),
            false => shlex::try_quote(word).expect("no word of a container has a NUL byte").into_owned(),
        };
        words.iter().map(quote).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_is_not_privileged() {
        let mut spec = ContainerSpec::new("petclinic-restore", "localhost/petclinic-restorer:0.0.1");
        spec.capabilities = vec![Capability::CheckpointRestore];
        spec.no_new_privileges = true;
        spec.publish = vec![Publish::anywhere(8080)];
        spec.environment.insert("A".into(), "b c".into());
        spec.profile = Some("/r/seccomp.json".into());
        let line = |kind| {
            let words = spec.arguments(kind, &["run", "--detach"], "xtask-petclinic-restore-1-0", "1-2");
            words.join(" ")
        };
        let expected = "run --detach --pull=never --name=xtask-petclinic-restore-1-0 --log-driver=k8s-file \
            --label=dev.xtask.owner=1-2 --cap-drop=all --cap-add=CHECKPOINT_RESTORE \
            --security-opt=seccomp=/r/seccomp.json --security-opt=no-new-privileges --publish=127.0.0.1::8080 --env=A=b c -- localhost/petclinic-restorer:0.0.1";
        assert_eq!(line(Kind::Podman), expected);
        let docker = expected.replace("k8s-file", "json-file");
        let docker = docker.replace(" --security-opt=no-new-privileges", "");
        assert_eq!(line(Kind::Docker), docker);
    }

    /// What is proven under a filter runs under no other.
    #[test]
    fn the_filter() {
        let mut spec = ContainerSpec::new("shop-restore", "localhost/shop:1");
        let mut check = |seccomp, kind, file: Option<&str>, expected: Option<&str>| {
            spec.seccomp = seccomp;
            spec.profile = file.map(Into::into);
            let words = spec.arguments(kind, &["run"], "name", "1-2");
            let found = words.iter().find_map(|word| word.strip_prefix("--security-opt="));
            assert_eq!(found, expected, "{seccomp:?} {kind}");
        };
        let file = Some("/r/seccomp.json");
        for kind in [Kind::Podman, Kind::Docker] {
            check(Seccomp::Filtered, kind, file, Some("seccomp=/r/seccomp.json"));
            check(Seccomp::Filtered, kind, None, None);
            check(Seccomp::Unconfined, kind, file, Some("seccomp=unconfined"));
        }
    }

    /// A shell reads the very words, whatever is in them; the tool's own are left out.
    #[test]
    fn by_hand() {
        let mut spec = ContainerSpec::new("shop-restore", "localhost/shop-restorer:1");
        spec.capabilities = vec![Capability::CheckpointRestore];
        spec.no_new_privileges = true;
        spec.profile = Some("rocks/shop/seccomp.json".into());
        spec.scratch = vec!["/tmp".into()];
        spec.words = vec!["--verbose".into()];
        let expected = "podman run --rm --pull=never --cap-drop=all --cap-add=CHECKPOINT_RESTORE \
            --security-opt=seccomp=rocks/shop/seccomp.json --security-opt=no-new-privileges --read-only=true \
            --read-only-tmpfs=false --volume=/tmp -- localhost/shop-restorer:1 --verbose";
        assert_eq!(spec.by_hand(Kind::Podman), expected);
        spec.mounts = vec![Mount { from: "/a b/$(c)'d".into(), to: "/run/secrets".into(), writable: false }];
        let words = shlex::split(&spec.by_hand(Kind::Podman)).unwrap();
        assert!(words.contains(&"--volume=/a b/$(c)'d:/run/secrets:ro".to_owned()), "{words:?}");
    }

    #[test]
    fn ports_are_read_as_podman_reads_them() {
        let check = |text: &str, expected: &str| match Publish::parse(text) {
            Ok(publish) => assert_eq!(publish.to_string(), expected, "{text}"),
            Err(error) => assert!(error.contains(expected), "{text}: {error}"),
        };
        check("8080", "127.0.0.1:8080:8080");
        check("9090:8080", "127.0.0.1:9090:8080");
        check("0.0.0.0:9090:8080", "0.0.0.0:9090:8080");
        check("[::1]:9090:8080", "[::1]:9090:8080");
        check("", "no port");
        check("0", "no port");
        check("70000", "no port");
        check("x:8080", "`x` is no port");
        check("--privileged:1:2", "no IP address");
    }
}
