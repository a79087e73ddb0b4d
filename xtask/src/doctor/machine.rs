//! What files say of a machine. Each is small and read once; one that is absent says something, too.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::lock::Host;

/// A kernel's whole configuration is a quarter of a megabyte.
const LARGEST: u64 = 8 << 20;

/// What files below a root say.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Kernel and CPU, or why they cannot be read.
    pub host: Result<Host, String>,
    /// The number of the last capability that the kernel knows (/proc/sys/kernel/cap_last_cap).
    pub last_capability: Option<u32>,
    /// What the kernel was built with, where it says so: the text of `.config`.
    pub options: Option<String>,
    /// Files of /proc that CRIU reads, and that are not there.
    pub absent: Vec<&'static str>,
    /// One more than the highest PID.
    pub pid_max: Option<u32>,
    /// What a system call filter can do; none: the kernel has no filters.
    pub seccomp: Option<String>,
    /// This process's own state.
    pub own: Own,
    /// Yama's ptrace_scope; none: there is no Yama.
    pub yama: Option<u8>,
    /// Whether SELinux enforces; none: there is no SELinux.
    pub selinux: Option<bool>,
    /// Whether AppArmor is on.
    pub apparmor: bool,
    /// Whether AppArmor keeps user namespaces from programs without a profile (Ubuntu 23.10 and later).
    pub apparmor_namespaces: bool,
    /// When memory comes in 64 KiB pieces: `always inherit madvise [never]`; none: before Linux 6.8.
    pub folios: Option<String>,
    /// The same for all sizes that inherit it.
    pub huge_pages: Option<String>,
    /// Bytes of memory that can be had without swapping.
    pub memory: Option<u64>,
    /// Ports that somebody listens on.
    pub listening: BTreeSet<u16>,
    /// The certificates of authorities, in one file, and how many there are.
    pub certificates: Option<(PathBuf, usize)>,
    /// How long it has been up, in seconds.
    pub uptime: Option<u64>,
    /// What the kernel tells time by.
    pub clock_source: Option<String>,
    /// How many user IDs the current user may use in namespaces.
    pub sub_uids: u64,
    /// The same of groups.
    pub sub_gids: u64,
    /// The containers.conf that sets podman's `default_ulimits`.
    pub ulimits: Option<PathBuf>,
}

/// What /proc/self/status says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// 0: no filter of system calls, 2: a filter, which children inherit.
    pub seccomp: u8,
    /// Capabilities that a child can have at most.
    pub bounding: u64,
    /// Capabilities in force.
    pub effective: u64,
    /// Whether no program may gain a privilege by being started.
    pub no_new_privileges: bool,
}

impl Machine {
    /// Reads what is below `root`. `user` is looked up in /etc/subuid; `certificates` is tried before the usual places, and
    /// `podman` says which configuration of podman is in force.
    pub fn read(root: &Path, user: &str, certificates: Option<&Path>, podman: &Configuration) -> Machine {
        let text = |path: &str| read(&root.join(path));
        let line = |path: &str| text(path).map(|text| text.trim().to_owned());
        let number = |path: &str| line(path).and_then(|text| text.parse().ok());
        let host = Host::below(root).map_err(|error| format!("{error:#}"));
        let release = host.as_ref().map(|host| host.kernel.clone()).unwrap_or_default();
        let of_criu = ["proc/sys/kernel/ns_last_pid", "proc/thread-self/children", "proc/self/pagemap"];
        Machine {
            last_capability: number("proc/sys/kernel/cap_last_cap"),
            options: unpacked(&root.join("proc/config.gz"))
                .or_else(|| text(&format!("boot/config-{release}"))),
            absent: of_criu.into_iter().filter(|path| !root.join(path).exists()).collect(),
            pid_max: number("proc/sys/kernel/pid_max"),
            seccomp: line("proc/sys/kernel/seccomp/actions_avail"),
            own: own(&text("proc/self/status").unwrap_or_default()),
            yama: number("proc/sys/kernel/yama/ptrace_scope").and_then(|scope| scope.try_into().ok()),
            selinux: number("sys/fs/selinux/enforce").map(|enforce| enforce == 1),
            apparmor: line("sys/module/apparmor/parameters/enabled").is_some_and(|it| it == "Y"),
            apparmor_namespaces: number("proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1),
            folios: line("sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled"),
            huge_pages: line("sys/kernel/mm/transparent_hugepage/enabled"),
            memory: text("proc/meminfo")
                .and_then(|text| available(&text))
                .map(|bytes| in_group(root).map_or(bytes, |group| group.min(bytes))),
            listening: ["proc/net/tcp", "proc/net/tcp6"]
                .into_iter()
                .flat_map(|path| listening(&text(path).unwrap_or_default()))
                .collect(),
            certificates: bundle(root, certificates),
            uptime: crate::uptime::here(root),
            clock_source: line("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            sub_uids: sub_ids(&text("etc/subuid").unwrap_or_default(), user),
            sub_gids: sub_ids(&text("etc/subgid").unwrap_or_default(), user),
            ulimits: podman
                .files(root)
                .into_iter()
                .find(|file| sets_ulimits(&read(file).unwrap_or_default())),
            host,
        }
    }
}

/// Which containers.conf podman reads.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// CONTAINERS_CONF: this one and no other.
    pub only: Option<PathBuf>,
    /// The home of a user who is not root.
    pub home: Option<PathBuf>,
}

impl Configuration {
    /// That of this process.
    pub fn here() -> Configuration {
        let path = |name| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let home = if rustix::process::geteuid().is_root() { None } else { path("HOME") };
        Configuration { only: path("CONTAINERS_CONF"), home }
    }

    /// The files, whether they are there or not, those that win first.
    fn files(&self, root: &Path) -> Vec<PathBuf> {
        if let Some(only) = &self.only {
            return vec![only.clone()];
        }
        let mut files = vec![root.join("usr/share/containers/containers.conf")];
        let home = self.home.as_ref().map(|home| home.join(".config/containers"));
        for folder in [Some(root.join("etc/containers")), home].into_iter().flatten() {
            files.push(folder.join("containers.conf"));
            let parts = std::fs::read_dir(folder.join("containers.conf.d")).into_iter().flatten();
            let mut parts: Vec<PathBuf> = parts.filter_map(Result::ok).map(|entry| entry.path()).collect();
            parts.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
            parts.sort();
            files.extend(parts);
        }
        files.reverse();
        files
    }
}

/// Whether a containers.conf has `default_ulimits` below `[containers]`.
fn sets_ulimits(text: &str) -> bool {
    let table: Option<toml::Table> = toml::from_str(text).ok();
    table.is_some_and(|table| table.get("containers").is_some_and(|it| it.get("default_ulimits").is_some()))
}

/// What the control groups that this process is in leave it of memory, in bytes; none: they have no limit.
fn in_group(root: &Path) -> Option<u64> {
    let number = |path: PathBuf| read(&path)?.trim().parse::<u64>().ok();
    let groups = read(&root.join("proc/self/cgroup"))?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let top = root.join("sys/fs/cgroup");
    let own = top.join(own);
    let left = |folder: &Path| {
        Some(number(folder.join("memory.max"))?.saturating_sub(number(folder.join("memory.current"))?))
    };
    own.ancestors().take_while(|folder| folder.starts_with(&top)).filter_map(left).min()
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(LARGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

fn unpacked(path: &Path) -> Option<String> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).ok()?)
        .take(LARGEST)
        .read_to_string(&mut text)
        .ok()?;
    Some(text)
}

fn own(status: &str) -> Own {
    let field = |name: &str| {
        let mut pairs = status.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
    };
    let set = |name: &str| field(name).and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0);
    Own {
        seccomp: field("Seccomp").and_then(|text| text.parse().ok()).unwrap_or(0),
        bounding: set("CapBnd"),
        effective: set("CapEff"),
        no_new_privileges: field("NoNewPrivs") == Some("1"),
    }
}

/// `MemAvailable` of /proc/meminfo, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? << 10)
}

/// The ports of /proc/net/tcp that are in the state LISTEN, 0A.
fn listening(table: &str) -> Vec<u16> {
    let port = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next()?, fields.nth(1)?);
        let (_, port) = local.rsplit_once(':')?;
        (state == "0A").then(|| u16::from_str_radix(port, 16).ok()).flatten()
    };
    table.lines().filter_map(port).collect()
}

fn bundle(root: &Path, named: Option<&Path>) -> Option<(PathBuf, usize)> {
    let usual = crate::toolchain::BUNDLES.map(|path| root.join(path.trim_start_matches('/')));
    let path = named.map(Path::to_owned).into_iter().chain(usual).find(|path| path.is_file())?;
    let count = read(&path).unwrap_or_default().matches("-----BEGIN CERTIFICATE-----").count();
    Some((path, count))
}

/// `user:first:count`, in any number of lines.
fn sub_ids(text: &str, user: &str) -> u64 {
    let of = |line: &str| {
        let mut fields = line.split(':');
        (fields.next() == Some(user)).then(|| fields.nth(1)?.trim().parse::<u64>().ok()).flatten()
    };
    text.lines().filter_map(of).sum()
}
