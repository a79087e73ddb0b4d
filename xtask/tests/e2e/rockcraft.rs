//! The tutorial's own path with stand-ins: rockcraft (its libraries, which run the rendered parts) and OpenJDK CRaC (a
//! stock JVM and CRIU). See tests/rockcraft and tests/fixtures/crac for what they are and what they are not.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fs_err as fs;
use xtask::engine::Engine;
use xtask::process::{self, Limit};
use xtask::way::Packer;

use crate::fallback_anywhere::comes_up;
use crate::support::{Workspace, docker, ended, get, podman, repository, sample, try_podman, wait_until};

const APP: &str = "e2e-rockcraft";
const MORE: &str = "[java]\nversion = 17\n\n[http]\n\
    warm-up = [{ path = \"/counter\", method = \"POST\", repeat = 3 }, \"/echo?q=warm\"]\n\
    verify = [\"/identity\", \"/counter\"]\n\
    [restore]\nfallback = \"cold\"\n";

fn toml(engine: &str, more: &str) -> String {
    sample(&format!("{MORE}{more}")).replacen(
        '\n',
        &format!("\nengine = {engine:?}\npacker = \"rockcraft\"\n"),
        1,
    )
}

/// A workspace whose `rockcraft` is the stand-in.
fn workspace(engine: &str) -> Workspace {
    let mut workspace = Workspace::new(APP, &toml(engine, ""));
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rockcraft");
    let path = std::env::var("PATH").unwrap();
    workspace.set("PATH", format!("{}:{path}", here.join("bin").display()));
    let schema = repository().join("../shared/rockcraft/rockcraft.schema.json");
    if schema.is_file() {
        workspace.set("STAND_IN_SCHEMA", schema.display().to_string());
    }
    let pack = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("examples/stand-in-pack");
    assert!(pack.is_file(), "cargo builds {} with the tests", pack.display());
    workspace.set("STAND_IN_PACK", pack.display().to_string());
    workspace.set("STAND_IN_NO_BUILD_PACKAGES", "1");
    workspace
}

fn staged(workspace: &Workspace, role: &str) -> PathBuf {
    workspace.state().join("rockcraft").join(APP).join(role)
}

#[test]
#[ignore = "needs podman and Docker; run by cargo xtask test"]
fn a_crac_jvm_in_rocks_that_rockcraft_packs() {
    let mut workspace = workspace("crac");
    refused_before_anything_runs(&workspace);

    let output = workspace.checkpoint(&["--destructive-mode"]);
    output.assert_says(&["stand-in", "each as it was pinned", "is back after"]);
    let lock = workspace.lock();
    assert_eq!((lock.packer.name, lock.packer.version.as_str()), (Packer::Rockcraft, "1.20.0+stand-in"));
    assert_eq!((lock.engine, &lock.base, &lock.pebble), (Engine::Crac, &None, &None));
    let data: Vec<&str> = lock.data.files.iter().map(|file| file.path.as_str()).collect();
    assert!(
        data.contains(&"/checkpoint-data/cppath") && !data.contains(&"/checkpoint-data/dump4.log"),
        "{data:?}"
    );
    workspace.assert_nothing_left();
    let again = workspace.checkpoint(&[]);
    assert!(again.stdout.contains("nothing has changed since"), "{again}");

    restored_as_it_was(&workspace, lock.pid);
    workspace.set("XTASK_RUNTIME", "docker");
    let (name, port) = workspace.restore();
    assert_eq!(get(port, "/counter"), "3");
    docker(&["rm", "--force", &name]);
    let granted: Vec<String> = lock.capabilities.restore.iter().map(ToString::to_string).collect();
    comes_up("podman", APP, &granted.iter().map(String::as_str).collect::<Vec<_>>());
    workspace.set("XTASK_RUNTIME", "podman");
    changed_data_is_not_packed(&workspace);
    rocks_come_out_of_the_pin(&workspace);
    the_very_rock_travels(&workspace);
    a_lost_rock_is_packed_again(&workspace);

    // Builds since the autumn of 2023 leave neither cppath nor perfdata.
    workspace.write(&toml("crac", "[environment]\nSTAND_IN_CRAC_NEWER = \"1\"\n"));
    workspace.checkpoint(&["--destructive-mode"]);
    let data = workspace.lock().data.files;
    assert!(!data.iter().any(|file| file.path.ends_with("/cppath")), "{data:?}");

    let before = workspace.pinned();
    for (fault, expected) in [
        ("open-socket", "CheckpointOpenSocketException"),
        ("criu", "Error (stand-in): STAND_IN_CRAC_FAIL=criu"),
    ] {
        workspace.write(&toml(
            "crac",
            &format!("[environment]\nSTAND_IN_CRAC_FAIL = {fault:?}\n[limits]\ndump = \"10s\"\n"),
        ));
        let output = workspace.run(&["checkpoint", APP, "--destructive-mode"]);
        assert_eq!(output.code, Some(1), "{output}");
        let said = format!("{output}");
        assert!(said.contains("the dump failed: ") && said.contains(expected), "{output}");
        workspace.assert_nothing_left();
    }
    assert_eq!(before, workspace.pinned(), "a failed checkpoint has changed the pin or a rock");
}

/// A missing, an old and a failing rockcraft.
fn refused_before_anything_runs(workspace: &Workspace) {
    let folder = tempfile::tempdir().unwrap();
    let stub = folder.path().join("rockcraft");
    let with = |text: &str| {
        fs::write(&stub, text).unwrap();
        fs::set_permissions(&stub, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["--runtime=podman", "checkpoint", APP]).env("PATH", path);
        command.env("XTASK_ROOT", workspace.root()).env("XTASK_STATE", workspace.state());
        let ran = process::run(command, &Limit::new("the test's", Duration::from_secs(600))).unwrap();
        assert_eq!(ran.status.code(), Some(1), "{ran:?}");
        format!("{}{}", ran.stdout, ran.stderr)
    };
    let said = with("#!/bin/sh\necho rockcraft 1.6.0\n");
    assert!(said.contains("this is rockcraft 1.6.0, and the base ubuntu@24.04 needs 1.7 or later"), "{said}");
    let said = with(
        "#!/bin/sh\n[ \"$1\" != --version ] || { echo rockcraft 1.20.0; exit 0; }\n\
         echo \"Failed to run the build script for part 'java'.\" >&2\n\
         echo \"Full execution log: '/root/.local/state/rockcraft/log/x.log'\" >&2\nexit 70\n",
    );
    assert!(
        said.contains("rockcraft could not pack") && said.contains("Full execution log: '/root"),
        "{said}"
    );
    let said = with("#!/bin/sh\necho rockcraft 1.20.0\n: >other_0.0.1_amd64.rock\n");
    assert!(
        said.contains("made other_0.0.1_amd64.rock instead of e2e-rockcraft-checkpointer_0.0.1_"),
        "{said}"
    );
    assert!(!workspace.lock_path().exists());
}

fn restored_as_it_was(workspace: &Workspace, pid: u32) {
    let (name, port) = workspace.restore();
    assert_eq!(get(port, "/counter"), "3");
    assert!(get(port, "/identity").starts_with(&format!("{pid} ")));
    get(port, "/log?line=after-the-restore");
    let log = wait_until("the log", Duration::from_secs(10), || {
        Some(try_podman(&["logs", &name]).1).filter(|log| log.contains("after-the-restore"))
    });
    log.unwrap_or_else(|what| panic!("{what}: {}", try_podman(&["logs", &name]).1));
    podman(&["stop", "-t", "30", &name]);
    let log = try_podman(&["logs", &name]).1;
    assert!(log.contains("sample-app: goodbye"), "{log}");
    assert_eq!(ended(&name), Some(0), "{log}");
    podman(&["rm", &name]);
}

/// `rockcraft pack` by hand, in the folder the tool packed in.
fn rockcraft_by_hand(workspace: &Workspace) -> (bool, String) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rockcraft/bin/rockcraft");
    let mut command = Command::new(program);
    command.args(["pack", "--destructive-mode"]).current_dir(staged(workspace, "restore"));
    command.envs(workspace.environment().iter().map(|(name, value)| (name, value)));
    command.env("XTASK_STATE", workspace.state()).env("XTASK_ROOT", workspace.root());
    let ran = process::run(command, &Limit::new("the test's", Duration::from_secs(300))).unwrap();
    (ran.status.success(), format!("{}{}", ran.stdout, ran.stderr))
}

/// A bare `rockcraft pack` is as safe as ours: one changed byte, and there is no rock.
fn changed_data_is_not_packed(workspace: &Workspace) {
    let (packed, said) = rockcraft_by_hand(workspace);
    assert!(packed && said.contains("each as it was pinned"), "{said}");
    let pages = staged(workspace, "restore").join("data/checkpoint-data/pages-1.img");
    let mut bytes = fs::read(&pages).unwrap();
    bytes[4711] ^= 1;
    fs::write(&pages, bytes).unwrap();
    let (packed, said) = rockcraft_by_hand(workspace);
    assert!(!packed && said.contains("pages-1.img was changed"), "{said}");
    // Another build of a library that the process has mapped.
    let mapped = staged(workspace, "restore").join("mapped.sha256");
    let text = fs::read_to_string(&mapped).unwrap();
    let line = text.lines().find(|line| line.ends_with("/libjvm.so")).unwrap();
    fs::write(
        &mapped,
        text.replace(line, &format!("{}{}", if line.starts_with('0') { '1' } else { '0' }, &line[1..])),
    )
    .unwrap();
    let (packed, said) = rockcraft_by_hand(workspace);
    assert!(
        !packed && said.contains("libjvm.so: FAILED") && said.contains("no longer those of the dump"),
        "{said}"
    );
    fs::write(&mapped, text).unwrap();
    fs::remove_file(&pages).unwrap();
    let (packed, said) = rockcraft_by_hand(workspace);
    assert!(!packed && said.contains("pinned, but missing: f checkpoint-data/pages-1.img"), "{said}");
}

fn rocks_come_out_of_the_pin(workspace: &Workspace) {
    let lock = workspace.lock();
    let [_, restore] = workspace.rocks();
    fs::remove_file(&restore).unwrap();
    let output = workspace.succeed(&["pack", APP, "restore"]);
    assert!(output.stdout.contains(&lock.rocks.restore.to_string()), "{output}");
    assert_eq!(xtask::pack::archive::read_manifest_digest(&restore).unwrap(), lock.rocks.restore);
}

/// The data is there and the rock is not: packed and proven anew, without another dump.
/// rockcraft would make other bytes of the same files: the rock itself goes along with the pin.
fn the_very_rock_travels(workspace: &Workspace) {
    let folder = tempfile::tempdir().unwrap();
    let pins = format!("oci:{}", folder.path().join("pins").display());
    workspace.succeed(&["push", APP, &pins]);
    let state = folder.path().join("state");
    for arguments in [&["pull", APP, &pins, "--locked"][..], &["pack", APP, "restore"]] {
        let output = workspace.start_with_state(arguments, &state).finish(Duration::from_secs(300));
        assert_eq!(output.code, Some(0), "{output}");
        let digest = workspace.lock().rocks.restore.to_string();
        assert!(arguments[0] == "pull" || output.stdout.contains(&digest), "{output}");
    }
}

fn a_lost_rock_is_packed_again(workspace: &Workspace) {
    let before = workspace.lock();
    fs::remove_file(workspace.state().join("store/blobs/sha256").join(before.rocks.restore.hex())).unwrap();
    let output = workspace.run(&["restore", APP]);
    assert_eq!(output.code, Some(1), "{output}");
    output.assert_says(&["the restore rock is lost", "cargo xtask checkpoint e2e-rockcraft"]);
    let plan = workspace.succeed(&["checkpoint", APP, "--plan"]).stdout;
    assert!(plan.contains("the store has lost the restore rock") && !plan.contains("dump"), "{plan}");
    workspace.checkpoint(&["--destructive-mode"]);
    let after = workspace.lock();
    assert_eq!((&before.data, before.pid), (&after.data, after.pid));
}

/// A stock JVM and CRIU in rockcraft's rocks. Docker gives a user's processes no capability, so this works only with
/// the file capabilities that rockcraft loses and the tool gives back.
#[test]
#[ignore = "needs podman and Docker; run by cargo xtask test"]
fn criu_in_rocks_that_rockcraft_packs() {
    let mut workspace = workspace("criu");
    workspace.set("XTASK_RUNTIME", "docker");
    workspace.checkpoint(&["--destructive-mode"]);
    let lock = workspace.lock();
    assert_eq!((lock.packer.name, lock.engine), (Packer::Rockcraft, Engine::Criu));
    // As the rock's own dpkg has it.
    assert!(lock.engine_version.as_ref().is_some_and(|version| version.starts_with("4.")), "{lock:?}");
    let (name, port) = workspace.restore();
    assert_eq!(get(port, "/counter"), "3");
    let status = docker(&["exec", &name, "cat", &format!("/proc/{}/status", lock.pid)]);
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    docker(&["rm", "--force", &name]);
    comes_up("docker", APP, &["CHECKPOINT_RESTORE"]);
    // The same rock under podman.
    workspace.set("XTASK_RUNTIME", "podman");
    let (name, port) = workspace.restore();
    assert_eq!(get(port, "/counter"), "3");
    podman(&["rm", "--force", "--time", "1", &name]);
}
