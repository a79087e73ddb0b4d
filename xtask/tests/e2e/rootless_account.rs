//! A throwaway account with rootless podman, for one test. It goes with its value; what a killed run left goes first.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};
use xtask::process::{self, Limit};

use crate::support::{Output, entries};

/// Its name.
pub const NAME: &str = "xtask-e2e";
/// The first of its sub-UIDs and sub-GIDs, far from those that accounts get by themselves.
pub const FIRST_ID: u32 = 1_900_000_000;
/// How many it has: user 584792 of the rocks must be among them.
const IDS: u32 = 1_000_000;

/// Where only root may open the device by which ports are forwarded, the account has one of its own in its place.
/// A mount namespace goes with its processes.
const ENTER: &str = "if [ -e \"$1\" ]; then mount --bind \"$1\" /dev/net/tun; fi && cd \"$2\" && \
    exec setpriv --reuid=\"$3\" --regid=\"$3\" --clear-groups -- \"${@:4}\"";

/// The account.
pub struct Account {
    folder: Option<tempfile::TempDir>,
    home: PathBuf,
    uid: u32,
}

impl Account {
    /// Makes it.
    pub fn new() -> Account {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test makes an account ({NAME}) and works as it: run it as root, as `cargo xtask test` in CI does"
        );
        remove();
        let folder = tempfile::Builder::new().prefix("e2e-rootless-home").tempdir().unwrap();
        // mmdebstrap works as one of the sub-UIDs, which must get through.
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let home = folder.path().join("home");
        let mut account = Account { folder: Some(folder), home, uid: 0 };
        let home = account.home.display().to_string();
        run(
            "useradd",
            &["--system", "--user-group", "--create-home", "--home-dir", &home, "--shell", NOLOGIN, NAME],
        );
        let ids = format!("{FIRST_ID}-{}", FIRST_ID + IDS - 1);
        run("usermod", &["--add-subuids", &ids, "--add-subgids", &ids, NAME]);
        account.uid = run("id", &["-u", NAME]).trim().parse().unwrap();
        fs::set_permissions(&account.home, PermissionsExt::from_mode(0o755)).unwrap();
        account.furnish();
        account
    }

    /// What it needs besides its IDs, as docs/guide/privileges.md says.
    fn furnish(&self) {
        let conf = self.home.join(".config/containers");
        fs::create_dir_all(&conf).unwrap();
        fs::write(conf.join("storage.conf"), "[storage]\ndriver = \"overlay\"\n").unwrap();
        if let Some(containers) = std::env::var_os("CONTAINERS_CONF") {
            fs::copy(containers, self.home.join("containers.conf")).unwrap();
        }
        fs::copy(env!("CARGO_BIN_EXE_xtask"), self.home.join("xtask")).unwrap();
        fs::create_dir(self.home.join("run")).unwrap();
        fs::set_permissions(self.home.join("run"), PermissionsExt::from_mode(0o700)).unwrap();
        let open = fs::metadata("/dev/net/tun").is_ok_and(|device| device.mode() & 0o006 == 0o006);
        if !open {
            let own = self.home.join("tun").display().to_string();
            run("mknod", &["--mode=666", &own, "c", "10", "200"]);
        }
    }

    /// Everything in its home becomes its own.
    pub fn own_everything(&self) {
        run("chown", &["--recursive", &format!("{NAME}:"), &self.home.display().to_string()]);
    }

    /// Its home.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Its number.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Its processes, those with a sub-UID among them.
    pub fn processes(&self) -> BTreeSet<u32> {
        processes(self.uid)
    }

    /// Runs `cargo xtask` as the account, in a copy of the repository that is its own.
    pub fn xtask(&self, arguments: &[&str]) -> Output {
        let output = self.run(&self.home.join("xtask").display().to_string(), arguments);
        println!("    xtask {}: {:?} after {:.1?}", output.line, output.code, output.elapsed);
        output
    }

    /// As [`Account::xtask`], but it must succeed.
    pub fn succeed(&self, arguments: &[&str]) -> Output {
        let output = self.xtask(arguments);
        assert_eq!(output.code, Some(0), "{output}");
        output
    }

    /// Its podman, which must succeed.
    pub fn podman(&self, arguments: &[&str]) -> String {
        let output = self.run("podman", arguments);
        assert_eq!(output.code, Some(0), "{output}");
        output.stdout.trim().to_owned()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "bash", "-c", ENTER, "enter"]);
        command.arg(self.home.join("tun")).arg(&self.home).arg(NAME).arg(program).args(arguments);
        for name in ["TMPDIR", "DBUS_SESSION_BUS_ADDRESS", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DOCKER_HOST"]
        {
            command.env_remove(name);
        }
        command.env("HOME", &self.home).env("USER", NAME).env("LOGNAME", NAME);
        command.env("XDG_RUNTIME_DIR", self.home.join("run")).env("XTASK_RUNTIME", "podman");
        command.env("XTASK_ROOT", self.home.join("repository")).env("XTASK_STATE", self.home.join("state"));
        if std::env::var_os("CONTAINERS_CONF").is_some() {
            command.env("CONTAINERS_CONF", self.home.join("containers.conf"));
        }
        let limit = Limit::new("the tests' limit for an account's command", Duration::from_secs(900));
        let started = Instant::now();
        let ran = process::run(command, &limit).unwrap_or_else(|error| panic!("{program}: {error:#}"));
        Output {
            line: arguments.join(" "),
            code: ran.status.code(),
            stdout: ran.stdout,
            stderr: ran.stderr,
            elapsed: started.elapsed(),
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // A second panic would hide the first.
        if std::thread::panicking() {
            let _ = std::panic::catch_unwind(remove);
        } else {
            remove();
        }
        // What containers wrote has numbers of the account's; root removes it.
        drop(self.folder.take());
    }
}

const NOLOGIN: &str = "/usr/sbin/nologin";

/// The account with its processes, if there is one.
fn remove() {
    let Ok(uid) = process::read(command("id", &["-u", NAME]), &Limit::quick()) else { return };
    let end = Instant::now() + Duration::from_secs(10);
    // What is killed can have children that are not yet: again, until there is nothing.
    while !kill(uid.trim().parse().unwrap()) {
        assert!(Instant::now() < end, "processes of {NAME} do not die");
        std::thread::sleep(Duration::from_millis(50));
    }
    run("userdel", &["--force", NAME]);
    // podman's locks outlive everything else of it.
    let _ = fs::remove_file(locks(uid.trim()));
}

/// Where podman without root has its locks.
pub fn locks(uid: &str) -> String {
    format!("/dev/shm/libpod_rootless_lock_{uid}")
}

/// Whether there was nothing to kill.
fn kill(uid: u32) -> bool {
    let all = processes(uid);
    for pid in &all {
        let pid = Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap();
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::KILL);
    }
    all.is_empty()
}

/// Processes of a user or of the sub-UIDs; one that has ended and that nobody has asked for counts no more.
pub fn processes(uid: u32) -> BTreeSet<u32> {
    let of = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next();
        let user: u32 = field("Uid:")?.parse().ok()?;
        let ours = user == uid || (FIRST_ID..FIRST_ID + IDS).contains(&user);
        (ours && field("State:")? != "Z").then_some(pid)
    };
    entries(Path::new("/proc")).iter().filter_map(|name| name.parse().ok()).filter_map(of).collect()
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn run(program: &str, arguments: &[&str]) -> String {
    process::read(command(program, arguments), &Limit::quick()).unwrap_or_else(|error| panic!("{error:#}"))
}
