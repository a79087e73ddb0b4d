//! Every finding of every check, from folders with made-up /proc and /sys and from made-up answers.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use fs_err as fs;
use tempfile::TempDir;

use super::asked::{Answer, Asked, Criu, Disk, EngineFacts};
use super::machine::Configuration;
use super::{Facts, Level, Machine, of_machine};
use crate::runtime::Kind;

mod pins;

const STATUS: &str = "CapEff:\t000001ffffffffff\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t0\nSeccomp:\t0\n";
const PORTS: &str = "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 0\n";

/// A machine on which nothing is wrong, but that somebody listens on 8080.
struct Fake {
    root: TempDir,
    asked: Asked,
    own: Configuration,
}

impl Fake {
    fn new() -> Fake {
        let built = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let engine = EngineFacts {
            kind: Kind::Podman,
            version: "4.3.1".into(),
            remote: None,
            rootless: false,
            runtime: Some(("crun".into(), "v2".into())),
            storage: None,
            driver: Some("overlay".into()),
        };
        let asked = Asked {
            user: "me".into(),
            engine: Ok(engine),
            synchronised: None,
            forwards: Ok("pasta"),
            rockcraft: Answer::Absent,
            missing: Vec::new(),
            disks: vec![Disk { what: "images", path: "/var".into(), free: 100 << 30 }],
            now: built + Duration::from_secs(86_400),
            built,
            certificate_file: None,
            criu: Criu::Passed { image: "localhost/shop-checkpointer:1".into() },
        };
        let fake = Fake { root: tempfile::tempdir().unwrap(), asked, own: Configuration::default() };
        for (path, text) in [
            ("proc/cpuinfo", "vendor_id : Me\nflags : sse avx\n"),
            ("proc/sys/kernel/osrelease", "6.12.9-amd64\n"),
            ("proc/sys/kernel/cap_last_cap", "40\n"),
            ("proc/sys/kernel/ns_last_pid", "77\n"),
            ("proc/sys/kernel/pid_max", "32768\n"),
            ("proc/sys/kernel/seccomp/actions_avail", "kill errno\n"),
            ("proc/thread-self/children", ""),
            ("proc/self/pagemap", ""),
            ("proc/self/status", STATUS),
            ("proc/uptime", "90000.04 170000.00\n"),
            ("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:   16777216 kB\n"),
            ("proc/net/tcp", PORTS),
            ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ("sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled", "[always] inherit madvise never\n"),
            ("etc/ssl/certs/ca-certificates.crt", "-----BEGIN CERTIFICATE-----\n"),
            ("etc/subuid", "you:1:9\nme:100000:65536\n"),
            ("etc/subgid", "me:100000:2000000\n"),
        ] {
            fake.write(path, text);
        }
        fake
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.root.path().join(path)).unwrap();
    }

    fn engine(&mut self) -> &mut EngineFacts {
        self.asked.engine.as_mut().unwrap()
    }

    fn facts(self) -> Facts {
        let machine = {
            let certificates = self.asked.certificate_file.as_deref();
            Machine::read(self.root.path(), &self.asked.user, certificates, &self.own)
        };
        Facts { machine, asked: self.asked }
    }
}

/// What `check` says once `change` has been made: its level, and pieces of the finding and of the remedy.
#[track_caller]
fn check(check: &str, change: impl FnOnce(&mut Fake), level: Level, found: &str, remedy: &str) {
    let mut fake = Fake::new();
    change(&mut fake);
    let findings = of_machine(&fake.facts());
    let finding = findings.iter().find(|finding| finding.check == check).expect(check);
    assert_eq!(finding.level, level, "{finding:?}");
    assert!(finding.found.contains(found), "`{found}` is not in {finding:?}");
    assert!(finding.remedy.contains(remedy), "`{remedy}` is not in {finding:?}");
    let needed = matches!(level, Level::Warn | Level::Fail);
    assert!(!needed || !finding.remedy.is_empty(), "what to do? {finding:?}");
}

use Level::{Fail, NotTried, Pass, Warn};

#[test]
fn nothing_is_wrong_with_a_good_machine() {
    for finding in of_machine(&Fake::new().facts()) {
        assert_eq!((finding.level, finding.remedy.as_str()), (Pass, ""), "{finding:?}");
    }
}

#[test]
fn an_empty_machine_is_survived() {
    let fake = Fake { root: tempfile::tempdir().unwrap(), ..Fake::new() };
    let levels: Vec<Level> = of_machine(&fake.facts()).iter().map(|finding| finding.level).collect();
    assert!(levels.contains(&Fail), "{levels:?}");
}

#[test]
fn the_kernel() {
    let set = |path: &'static str, text: &'static str| move |fake: &mut Fake| fake.write(path, text);
    let without = |path: &'static str| move |fake: &mut Fake| fake.remove(path);
    let last = "proc/sys/kernel/cap_last_cap";
    check("kernel", set(last, "37\n"), Fail, "does not know CAP_CHECKPOINT_RESTORE", "Linux 5.9");
    check("kernel", without("proc/cpuinfo"), Fail, "not Linux as we know it", "run this on Linux");

    let ns = without("proc/sys/kernel/ns_last_pid");
    check(
        "kernel options",
        ns,
        Fail,
        "there is no /proc/sys/kernel/ns_last_pid",
        "CONFIG_CHECKPOINT_RESTORE",
    );
    let config = |missing: &'static str| {
        move |fake: &mut Fake| {
            let mut text = super::kernel::OPTIONS.map(|option| format!("CONFIG_{option}=y\n")).concat();
            text = text.replace(&format!("CONFIG_{missing}=y"), &format!("# CONFIG_{missing} is not set"));
            fake.write("boot/config-6.12.9-amd64", &text);
        }
    };
    check("kernel options", config("NONE"), Pass, "all set", "");
    let found = "not set: CONFIG_CHECKPOINT_RESTORE";
    check("kernel options", config("CHECKPOINT_RESTORE"), Fail, found, "was built with these");
    check("kernel options", config("UNIX_DIAG"), Warn, "not set: CONFIG_UNIX_DIAG;", "was built with these");

    let most = "proc/sys/kernel/pid_max";
    check("PIDs", set(most, "1024\n"), Fail, "below 1024", "sysctl kernel.pid_max=32768");
    check("PIDs", without(most), NotTried, "cannot be read", "");

    let status = "proc/self/status";
    let filtered = |fake: &mut Fake| fake.write(status, &STATUS.replace("Seccomp:\t0", "Seccomp:\t2"));
    check("seccomp", filtered, Fail, "under a filter", "seccomp=unconfined");
    let docker = |fake: &mut Fake| {
        filtered(fake);
        fake.engine().kind = Kind::Docker;
    };
    check("seccomp", docker, Pass, "none is in the way", "");
    let actions = "proc/sys/kernel/seccomp/actions_avail";
    check("seccomp", without(actions), Warn, "no filters", "CONFIG_SECCOMP_FILTER");

    let few = |fake: &mut Fake| {
        fake.write(status, &STATUS.replace("CapBnd:\t000001ffffffffff", "CapBnd:\t00000000a80425fb"));
    };
    let found = "cannot hand on CHECKPOINT_RESTORE, NET_ADMIN, SYS_PTRACE,";
    check("capabilities", few, Fail, found, "--cap-add=CHECKPOINT_RESTORE,NET_ADMIN,SYS_PTRACE");
    let none_new = |fake: &mut Fake| fake.write(status, &STATUS.replace("NoNewPrivs:\t0", "NoNewPrivs:\t1"));
    check("capabilities", none_new, Fail, "no_new_privs", "NoNewPrivileges=yes");
    let docker = |fake: &mut Fake| {
        few(fake);
        fake.engine().kind = Kind::Docker;
    };
    check("capabilities", docker, Pass, "daemon's", "");
}

#[test]
fn the_kernels_guards() {
    let scope =
        |scope: &'static str| move |fake: &mut Fake| fake.write("proc/sys/kernel/yama/ptrace_scope", scope);
    check("Yama", scope("1\n"), Pass, "ptrace_scope is 1", "");
    check("Yama", scope("2\n"), Warn, "has no SYS_PTRACE", "kernel.yama.ptrace_scope=1");
    check("Yama", scope("3\n"), Fail, "until a reboot", "and reboot");
    let enforce = |how: &'static str| move |fake: &mut Fake| fake.write("sys/fs/selinux/enforce", how);
    check("SELinux", enforce("0"), Pass, "permissive", "");
    check("SELinux", enforce("1"), Warn, "enforcing", "ausearch -m avc");
    let armoured = |fake: &mut Fake| {
        fake.write("sys/module/apparmor/parameters/enabled", "Y\n");
        fake.write("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n");
    };
    check("AppArmor", armoured, Pass, "on; the profiles", "");
    let rootless = |fake: &mut Fake| {
        armoured(fake);
        fake.engine().rootless = true;
    };
    check("AppArmor", rootless, Warn, "user namespaces", "Ubuntu's own podman");
}

#[test]
fn containers() {
    let none = |fake: &mut Fake| fake.asked.engine = Err("none answers: podman is not installed".into());
    check("container engine", none, Fail, "none answers", "install podman");
    check("root", none, Pass, "", "");
    check("runtime", none, NotTried, "podman did not say", "podman info");
    let away = |fake: &mut Fake| fake.engine().remote = Some("10.0.0.7".into());
    check("container engine", away, Warn, "podman 4.3.1 on 10.0.0.7", "cargo xtask doctor");

    let rootless = |fake: &mut Fake| fake.engine().rootless = true;
    check(
        "root",
        rootless,
        Fail,
        "65536 user and group IDs; the rocks' user is 584792",
        "usermod --add-subuids",
    );
    let many = |fake: &mut Fake| {
        rootless(fake);
        fake.write("etc/subuid", "me:100000:65536\nme:1000000:1000000\n");
    };
    check("root", many, Pass, "dump and restore work, it has the user IDs", "");
    check("root", many, Pass, "pasta forwards ports", "");
    let groups = |fake: &mut Fake| {
        many(fake);
        fake.write("etc/subgid", "me:100000:65536\n");
    };
    check("root", groups, Fail, "65536 user and group IDs", "--add-subgids");
    let docker = |fake: &mut Fake| {
        many(fake);
        fake.engine().kind = Kind::Docker;
    };
    check("root", docker, Warn, "rootless Docker has the user and group IDs", "podman without root");
    let old = |version: &'static str| {
        move |fake: &mut Fake| {
            let engine = fake.engine();
            (engine.kind, engine.version) = (Kind::Docker, version.into());
        }
    };
    let unknown = "docker 20.10.24 does not know the capability CHECKPOINT_RESTORE";
    check("container engine", old("20.10.24"), Fail, unknown, "Docker 23 or later");
    check("container engine", old("26.1.5"), Pass, "docker 26.1.5", "");
    let copies = |fake: &mut Fake| {
        many(fake);
        fake.engine().driver = Some("vfs".into());
    };
    check("root", copies, Warn, "`vfs` copies the whole image", "storage.conf");
    let alone = |fake: &mut Fake| {
        many(fake);
        fake.asked.forwards = Err(("no slirp4netns".into(), "apt-get install slirp4netns"));
    };
    check("root", alone, Fail, "cannot forward ports: no slirp4netns", "apt-get");

    let old = |fake: &mut Fake| fake.engine().runtime = Some(("crun".into(), "v1".into()));
    check("runtime", old, Warn, "crun refuses", "CONTAINERS_CONF");
    let limited = |fake: &mut Fake| {
        fake.write("proc/self/status", &STATUS.replace("CapEff:\t000001ffff", "CapEff:\t000001fffe"));
    };
    check("runtime", limited, Pass, "crun, cgroups v2", "");
    let fresh = |fake: &mut Fake| {
        limited(fake);
        fake.asked.criu = Criu::NotTried { why: "no image".into(), remedy: String::new() };
    };
    let found = "SYS_RESOURCE), and podman does so for every container: no containers.conf";
    check("runtime", fresh, Fail, found, "default_ulimits = [\"nofile=20000:20000\"");
    let ulimits = "# mine\n[containers]\ndefault_ulimits = [\"nofile=1:1\"]\n";
    for (file, text, level) in [
        ("usr/share/containers/containers.conf", ulimits, Pass),
        ("etc/containers/containers.conf", ulimits, Pass),
        ("etc/containers/containers.conf.d/90-own.conf", ulimits, Pass),
        ("etc/containers/containers.conf.d/90-own.off", ulimits, Fail),
        ("etc/containers/containers.conf", "[containers]\n# default_ulimits = []\n", Fail),
        ("etc/containers/containers.conf", "default_ulimits = []\n", Fail),
        ("etc/containers/containers.conf", "no toml\n", Fail),
        ("home/me/.config/containers/containers.conf", ulimits, Fail),
    ] {
        let set = |fake: &mut Fake| {
            fresh(fake);
            fake.write(file, text);
        };
        check("runtime", set, level, "crun, cgroups v2", "");
        // With CONTAINERS_CONF no other file counts.
        let elsewhere = |fake: &mut Fake| {
            set(fake);
            fake.own.only = Some(fake.root.path().join("none"));
        };
        check("runtime", elsewhere, Fail, "SYS_RESOURCE", "CONTAINERS_CONF");
    }
    let named = |fake: &mut Fake| {
        fresh(fake);
        fake.write("own.conf", ulimits);
        fake.own.only = Some(fake.root.path().join("own.conf"));
    };
    check("runtime", named, Pass, "limits by ", "");
    let of_user = |fake: &mut Fake| {
        fresh(fake);
        fake.write("home/me/.config/containers/containers.conf", ulimits);
        fake.own.home = Some(fake.root.path().join("home/me"));
    };
    check("runtime", of_user, Pass, "limits by ", "");
    let docker = |fake: &mut Fake| {
        *fake.engine() = EngineFacts { kind: Kind::Docker, runtime: None, ..fake.engine().clone() };
    };
    check("runtime", docker, Pass, "Docker's own", "");

    let name = "CRIU's own check";
    let untried = |fake: &mut Fake| {
        fake.asked.criu = Criu::NotTried { why: "no image".into(), remedy: "make one".into() };
    };
    check(name, untried, NotTried, "not tried: no image", "make one");
    let failed = |fake: &mut Fake| {
        fake.asked.criu = Criu::Failed { image: "shop".into(), said: "Error: no clone3".into() };
    };
    check(name, failed, Fail, "in shop: Error: no clone3", "newer kernel");
    let no_start = |fake: &mut Fake| {
        fake.asked.criu = Criu::NoStart { image: "shop".into(), why: "no rlimits".into() };
    };
    check(name, no_start, Fail, "no container of shop starts: no rlimits", "see the line `runtime`");

    let lacks = |fake: &mut Fake| fake.asked.missing = vec!["mmdebstrap", "git"];
    check("packer", lacks, Warn, "without mmdebstrap, git", "apt-get install mmdebstrap git");
    let rockcraft = |answer: Answer| move |fake: &mut Fake| fake.asked.rockcraft = answer;
    check("packer", rockcraft(Answer::Said("1.20.0".into())), Pass, "rockcraft 1.20.0", "");
    check("packer", rockcraft(Answer::Said("1.6.0".into())), Warn, "too old", "snap refresh rockcraft");
    let broken = rockcraft(Answer::Failed("it took too long".into()));
    check("packer", broken, Warn, "it took too long", "rockcraft --version");
}

#[test]
fn resources() {
    let free = |bytes: u64| move |fake: &mut Fake| fake.asked.disks[0].free = bytes;
    check("disk", free(100 << 30), Pass, "100.0 GiB free for images in /var", "");
    check("disk", free(3 << 30), Warn, "3.0 GiB free", "XTASK_STATE");
    check("disk", free(1 << 30), Fail, "only 1.0 GiB", "cargo xtask gc");
    check("disk", |fake| fake.asked.disks.clear(), NotTried, "no disk", "");

    let memory = |line: &'static str| move |fake: &mut Fake| fake.write("proc/meminfo", line);
    check("memory", memory("MemAvailable: 1048576 kB\n"), Warn, "1.0 GiB", "java.options");
    check("memory", memory("MemAvailable: 1024 kB\n"), Fail, "1.0 MiB", "end other programs");
    check("memory", memory("MemTotal: 1024 kB\n"), NotTried, "does not say", "");

    let group = |limit: &'static str| {
        move |fake: &mut Fake| {
            fake.write("proc/self/cgroup", "1:name=x:/a\n0::/a/b\n");
            fake.write("sys/fs/cgroup/a/b/memory.max", "max\n");
            fake.write("sys/fs/cgroup/a/b/memory.current", "4096\n");
            fake.write("sys/fs/cgroup/a/memory.max", limit);
            fake.write("sys/fs/cgroup/a/memory.current", "1073741824\n");
        }
    };
    check("memory", group("max\n"), Pass, "16.0 GiB", "");
    check("memory", group("2147483648\n"), Warn, "1.0 GiB", "java.options");
    check("memory", group("1073741824\n"), Fail, "0 B", "end other programs");
    check("clock", |fake| fake.asked.synchronised = Some(false), Warn, "nothing sets it", "set-ntp true");
    check("clock", |fake| fake.asked.synchronised = Some(true), Pass, "2023-", "");

    let year = Duration::from_secs(365 * 86_400);
    let early = |fake: &mut Fake| fake.asked.now = fake.asked.built - year;
    check("clock", early, Fail, "2022-11-14T22:13:20Z is before this tool was compiled", "set-ntp true");
    let late = |fake: &mut Fake| fake.asked.now = fake.asked.built + 20 * year;
    check("clock", late, Warn, "years after", "set-ntp true");
    let source = "sys/devices/system/clocksource/clocksource0/current_clocksource";
    check("clock source", |fake| fake.write(source, "hpet\n"), Warn, "hpet", "available_clocksource");
    check("clock source", |fake| fake.remove(source), NotTried, "does not say", "");

    let bundle = "etc/ssl/certs/ca-certificates.crt";
    check("CA certificates", |fake| fake.write(bundle, "nothing"), Fail, "holds none", "ca-certificates");
    check("CA certificates", |fake| fake.remove(bundle), Fail, "none found", "SSL_CERT_FILE");
    let named = |fake: &mut Fake| fake.asked.certificate_file = Some(PathBuf::from("/no/such/file"));
    check("CA certificates", named, Fail, "names /no/such/file, which is no file", "unset SSL_CERT_FILE");

    let name = "64 KiB folios";
    let file = "sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled";
    let folios = |text: &'static str| move |fake: &mut Fake| fake.write(file, text);
    check(
        name,
        folios("always inherit madvise [never]\n"),
        Pass,
        "never; with checkpoint.memory = \"read\"",
        "",
    );
    check(name, folios("always [inherit] madvise never\n"), Pass, "inherit; with checkpoint.memory", "");
    let inherited = |fake: &mut Fake| {
        fake.write(file, "always [inherit] madvise never\n");
        fake.write("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n");
    };
    check(name, inherited, Pass, "always", "");
    check(name, |fake| fake.remove(file), Pass, "none in this kernel", "");
}
