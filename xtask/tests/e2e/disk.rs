//! A full disk while the dump is collected.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use xtask::process::{self, Limit};

use crate::support::{Workspace, copy, entries, get, podman, sample};

const APP: &str = "e2e-disk";
const HTTP: &str = "[http]\nwarm-up = [\"/echo?q=warm\"]\nverify = [\"/identity\"]\n";
/// What is left for a dump of about a hundred.
const ROOM: u64 = 30 << 20;

/// A file system in memory, gone with its value.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Disk {
        let disk = Disk(tempfile::tempdir().unwrap());
        mount(&["-t", "tmpfs", "-o", "size=2g", "e2e", disk.path()]);
        disk
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// Takes all room but `room` bytes.
    fn shrink(&self, room: u64) {
        let size = df(self.path(), "used") + room;
        mount(&["-o", &format!("remount,size={size}"), self.path()]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

fn mount(arguments: &[&str]) {
    let mut command = Command::new("mount");
    command.args(arguments);
    process::read(command, &Limit::quick()).expect("this test mounts a tmpfs, as root");
}

fn df(path: &str, what: &str) -> u64 {
    let mut command = Command::new("df");
    command.args(["--block-size=1", &format!("--output={what}"), path]);
    process::read(command, &Limit::quick()).unwrap().lines().last().unwrap().trim().parse().unwrap()
}

#[test]
#[ignore = "needs podman; run by cargo xtask test"]
fn a_full_disk_leaves_the_old_pin() {
    let workspace = Workspace::new(APP, &sample(HTTP));
    workspace.checkpoint(&[]);
    let before = workspace.pinned();
    let lock = workspace.lock();

    let disk = Disk::new();
    let state = Path::new(disk.path());
    // All that was remembered, but of the objects only those a dump begins with.
    copy(&workspace.state().join("memo"), &state.join("memo"));
    let objects = "store/blobs/sha256";
    fs_err::create_dir_all(state.join(objects)).unwrap();
    for digest in [lock.base.unwrap().digest, lock.pebble.unwrap().digest, lock.source.jar] {
        let from = workspace.state().join(objects).join(digest.hex());
        fs_err::copy(from, state.join(objects).join(digest.hex())).unwrap();
    }
    let run =
        |arguments: &[&str]| workspace.start_with_state(arguments, state).finish(Duration::from_secs(120));
    // Its layers are packed while there is room, so that the room ends in the dump.
    let output = run(&["pack", APP, "checkpoint"]);
    assert_eq!(output.code, Some(0), "{output}");
    // The archive of the checkpoint rock is written again, before the dump begins.
    let used = df(disk.path(), "used");
    fs_err::remove_dir_all(state.join("rocks")).unwrap();
    let archive = used - df(disk.path(), "used");
    disk.shrink(archive + ROOM);
    let packed = entries(&state.join(objects)).len();

    let output = run(&["checkpoint", APP]);
    assert_eq!(output.code, Some(1), "{output}");
    output.assert_says(&[
        "cannot run, warm up and dump",
        "the checkpoint data could not be collected",
        "No space left on device",
        disk.path(),
        "cargo xtask gc",
    ]);
    assert_eq!(workspace.pinned(), before, "the old pin was touched");
    workspace.assert_nothing_left_in(state);
    assert!(df(disk.path(), "avail") > 0, "what was half-written is removed");
    println!(
        "    {} objects of the dump were stored before the end",
        entries(&state.join(objects)).len() - packed
    );

    // Where the disk has room, the old pin is whole.
    drop(disk);
    let (name, port) = workspace.restore();
    assert!(get(port, "/identity").starts_with(&lock.pid.to_string()));
    podman(&["rm", "--force", "--time", "0", &name]);
    workspace.assert_nothing_left();
}
