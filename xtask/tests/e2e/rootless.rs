//! Without root: an account of its own checkpoints the sample application, and restores it, with rootless podman.
//!
//! Root makes the account, and lends it what is slow to make and the same for everybody: the jar and Pebble. The base
//! layer it makes itself, since mmdebstrap works in another way without root.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use fs_err as fs;
use xtask::lock::Lock;

use crate::rootless_account::{Account, FIRST_ID, NAME, locks, processes};
use crate::support::{PORT, Workspace, copy, fixture, get, sample_from, wait_until};

const APP: &str = "e2e-rootless";
/// User of every process in a rock.
const DAEMON: u32 = 584_792;

#[test]
#[ignore = "needs podman, slirp4netns and root; run by cargo xtask test"]
fn an_ordinary_user_checkpoints_and_restores() {
    // Nothing of root's podman is used. It holds the lock of all tests with containers.
    let workspace = Workspace::new(APP, "");
    let account = Account::new();
    let home = account.home().to_owned();
    let source = home.join("source");
    copy(&fixture(), &source);
    workspace.write(&sample_from(
        &format!("directory = {source:?}"),
        "[java]\nprofile = \"none\"\noptions = [\"-XX:+UseSerialGC\", \"-Xmx128m\"]\n\n\
         [http]\nwarm-up = [{ path = \"/counter\", method = \"POST\", repeat = 3 }]\nverify = [\"/identity\"]\n",
    ));
    copy(workspace.root(), &home.join("repository"));
    fs::create_dir_all(home.join("repository/rocks")).unwrap();
    lend(&workspace, &account);
    account.own_everything();

    println!("  doctor");
    let doctor = account.xtask(&["doctor", APP]);
    let root = doctor.stdout.lines().find(|line| line.contains(" root  ")).unwrap_or_default();
    assert!(
        root.starts_with(" pass") && root.contains("rootless podman: dump and restore"),
        "{root}\n{doctor}"
    );

    println!("  checkpoint");
    let output = account.succeed(&["checkpoint", APP]);
    assert!(output.stdout.contains("make the base layer"), "mmdebstrap has not run\n{output}");
    let path = home.join("repository/apps").join(APP).join("checkpoint.lock");
    let lock = Lock::read(&path).unwrap().expect("there is a lock");
    assert_eq!(account.podman(&["ps", "--all", "--quiet"]), "", "containers are left behind");

    println!("  restore");
    let port = xtask::runtime::free_port().unwrap();
    let output = account.succeed(&["restore", APP, "--detach", "--publish", &format!("{port}:{PORT}")]);
    let name = output.stdout.trim().to_owned();
    let identity = get(port, "/identity");
    let (pid, started) = identity.split_once(' ').expect("PID and start");
    assert_eq!(pid, lock.pid.to_string(), "{identity}");
    let created = humantime::parse_rfc3339(&lock.created).unwrap();
    let created = created.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert!(started.trim().parse::<u128>().unwrap() < created, "it began after the dump: {identity}");
    assert_eq!(get(port, "/counter"), "3", "the memory is that after the warm-up");
    nobody_is_root(&account.podman(&["inspect", "--format", "{{.State.Pid}}", &name]));

    println!("  stop");
    let stopping = Instant::now();
    account.podman(&["stop", "--time", "10", &name]);
    assert!(stopping.elapsed() < Duration::from_secs(8), "SIGTERM does not end it: {:?}", stopping.elapsed());
    account.podman(&["rm", &name]);
    assert_eq!(account.podman(&["ps", "--all", "--quiet"]), "", "containers are left behind");
    // podman keeps one process, which holds the user namespace.
    let left = || {
        let left: Vec<String> = account.processes().into_iter().filter_map(|pid| comm(&pid)).collect();
        left.iter().all(|comm| comm == "catatonit" || comm == "podman pause").then_some(()).ok_or(left)
    };
    if wait_until("the processes end", Duration::from_secs(10), || left().ok()).is_err() {
        panic!("processes are left behind: {:?}", left());
    }
    for folder in ["state/tmp", "state/store/partial"] {
        assert_eq!(
            crate::support::entries(&home.join(folder)),
            Vec::<String>::new(),
            "{folder} is not empty"
        );
    }

    let uid = account.uid();
    drop(account);
    assert_eq!(processes(uid), BTreeSet::new(), "processes of {NAME} are left behind");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&home.display().to_string()), "a mount is left behind:\n{mounts}");
    assert!(!home.exists(), "{} is left behind", home.display());
    let locks = locks(&uid.to_string());
    assert!(!std::path::Path::new(&locks).exists(), "{locks} is left behind");
    for file in ["/etc/passwd", "/etc/group", "/etc/subuid", "/etc/subgid"] {
        let text = fs::read_to_string(file).unwrap();
        assert!(!text.lines().any(|line| line.starts_with(&format!("{NAME}:"))), "{NAME} is still in {file}");
    }
    workspace.assert_nothing_left();
}

/// Every process of the container has the rocks' user, whose number outside is one of the account's sub-UIDs, no
/// capability but what its user namespace has, and no way to gain a privilege.
fn nobody_is_root(pid: &str) {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let inside = namespace(pid.trim()).expect("the container runs");
    let all = crate::support::entries(std::path::Path::new("/proc"));
    let all = all.iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let mut names = BTreeSet::new();
    for pid in all.filter(|pid| namespace(pid).as_ref() == Some(&inside)) {
        // One that has ended meanwhile says nothing.
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().split_whitespace().map(String::from).collect::<Vec<_>>()
        };
        // Number 0 inside is the account itself, 1 is the first sub-UID.
        let user = (FIRST_ID + DAEMON - 1).to_string();
        assert_eq!(field("Uid:"), [&*user, &user, &user, &user], "{status}");
        assert_eq!(field("NoNewPrivs:"), ["1"], "{status}");
        names.extend(field("Name:"));
    }
    assert!(names.contains("pebble") && names.contains("java"), "{names:?}");
}

fn comm(pid: &u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())
}

/// Copies what this machine remembers of jars, Pebble and the provider of random numbers. What is not there yet the
/// account makes itself, which takes minutes.
fn lend(workspace: &Workspace, account: &Account) {
    let (from, to) = (workspace.state(), account.home().join("state"));
    let blobs = "store/blobs/sha256";
    for folder in ["memo", blobs] {
        fs::create_dir_all(to.join(folder)).unwrap();
    }
    for name in crate::support::entries(&from.join("memo")) {
        if !["jar-", "pebble-", "fresh-"].iter().any(|kind| name.starts_with(kind)) {
            continue;
        }
        let memo = fs::read_to_string(from.join("memo").join(&name)).unwrap();
        for digest in memo.split("sha256:").skip(1).filter_map(|rest| rest.get(..64)) {
            let (blob, copied) = (from.join(blobs).join(digest), to.join(blobs).join(digest));
            if blob.exists() && !copied.exists() {
                fs::copy(blob, &copied).unwrap();
                fs::set_permissions(&copied, PermissionsExt::from_mode(0o644)).unwrap();
            }
        }
        fs::write(to.join("memo").join(&name), memo).unwrap();
    }
}
