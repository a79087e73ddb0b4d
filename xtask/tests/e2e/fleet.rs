//! The restore rock as a Pod: kubernetes.yaml as it is rendered, and with the fewest capabilities.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use fs_err as fs;
use xtask::lock::Lock;
use xtask::privileges::Capability;
use xtask::seccomp::{Family, narrowed};

use crate::pod::Pod;
use crate::support::{Workspace, first_answer, podman, sample, try_podman};

const APP: &str = "e2e-fleet";
/// podman publishes the port of a container of a Pod on every address of the machine.
const PORT: u16 = 18462;

#[test]
#[ignore = "needs podman; run by cargo xtask test"]
fn a_pod_is_restored_with_one_capability() {
    let workspace = Workspace::new(
        APP,
        &sample(&format!(
            "[java]\nprofile = \"none\"\noptions = [\"-XX:+UseSerialGC\", \"-Xmx128m\"]\n\
             arguments = [\"--server.port={PORT}\"]\n\n\
             [http]\nport = {PORT}\nwarm-up = [{{ path = \"/counter\", method = \"POST\", repeat = 3 }}]\n\
             verify = [\"/identity\", \"/counter\"]\n"
        )),
    );
    workspace.checkpoint(&[]);
    played(&workspace);
    filtered(&workspace);
    by_hand(&workspace);
    folders_may_be_empty(&workspace);
    no_fewer_will_do(&workspace);
    more_is_taken_back(&workspace);
    many_at_once(&workspace);
    workspace.assert_nothing_left();
}

/// `podman kube play` of the file as it is.
fn played(workspace: &Workspace) {
    let lock = workspace.lock();
    let memory = lock.memory.expect("the proof has measured the memory");
    assert_eq!(memory.max_heap, Some(128 << 20), "the flags say so");
    assert!(memory.proportional <= memory.resident && memory.resident > 32 << 20, "{memory:?}");
    let file = workspace.root().join("rocks").join(APP).join("restore/kubernetes.yaml");
    let text = fs::read_to_string(&file).unwrap();
    for line in ["readOnlyRootFilesystem: true", "runAsNonRoot: true", "kubernetes.io/arch", "memory: "] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let limit = (memory.resident + (128 << 20)).div_ceil(16 << 20) * 16;
    assert!(text.contains(&format!("memory: {limit}Mi")), "{limit}\n{text}");

    let pod = Pod::play(&file, APP, &[]);
    let identity = first_answer(PORT, "/identity", Duration::from_secs(10));
    let pid = lock.pid;
    // A cold start would have another PID, and would count from nothing.
    assert!(identity.starts_with(&format!("{pid} ")), "{identity}: the pinned PID is {pid}");
    assert_eq!(first_answer(PORT, "/counter", Duration::from_secs(1)), "3");
    let status = pod.exec(&["cat", &format!("/proc/{pid}/status"), "/proc/1/status"]);
    let fields = |name: &str| -> Vec<String> {
        let lines = status.lines().filter_map(|line| line.strip_prefix(name));
        lines.map(|value| value.trim().to_owned()).collect()
    };
    let one = format!("{:016x}", 1_u64 << Capability::CheckpointRestore.number());
    assert_eq!(fields("Uid:"), ["584792\t584792\t584792\t584792"; 2]);
    assert_eq!(fields("CapEff:"), ["0000000000000000", one.as_str()], "the application, Pebble");
    assert_eq!(fields("CapBnd:"), [one.as_str(), one.as_str()]);
    assert_eq!(fields("Seccomp:"), ["2", "2"], "both are filtered");
    assert_eq!(
        fields("NoNewPrivs:"),
        ["1", "0"],
        "CRIU has its capability by its file, and the application none"
    );
    let (code, printed) = pod.try_exec(&["touch", "/written"]);
    assert!(code != Some(0) && printed.contains("Read-only file system"), "{printed}");
    pod.exec(&["touch", "/tmp/written"]);
    // podman's own filter, and not the one of `filtered`.
    pod.exec(&["mknod", "/tmp/pipe", "p"]);
    probed(&pod, &text);
    drop(pod);
    assert!(!podman(&["pod", "ps", "--format", "{{.Name}}"]).contains(APP));
}

/// The command of the liveness probe, which podman does not run, says that all is well.
fn probed(pod: &Pod<'_>, text: &str) {
    let manifest = serde_yaml_ng::Deserializer::from_str(text).next().expect("the Deployment");
    let manifest = <serde_yaml_ng::Value as serde::Deserialize>::deserialize(manifest).unwrap();
    let container = &manifest["spec"]["template"]["spec"]["containers"][0];
    let command = container["livenessProbe"]["exec"]["command"].as_sequence().unwrap();
    let command: Vec<&str> = command.iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(command, ["/usr/bin/pebble", "health", "--level=ready"]);
    assert_eq!(pod.exec(&command).trim(), "healthy");
}

/// Under the filter of a node, where kubernetes.yaml says that it is. podman 4.3.1 reads that from an annotation only, as
/// Kubernetes did once, and knows no folders in it. That it is ours, and not podman's own, shows in a call that only this
/// one refuses.
fn filtered(workspace: &Workspace) {
    let folder = workspace.root().join("rocks").join(APP).join("restore");
    let text = fs::read_to_string(folder.join("kubernetes.yaml")).unwrap();
    let place = text.lines().find_map(|line| line.trim().strip_prefix("localhostProfile: ")).unwrap();
    let place = place.trim_matches('"');
    let node = tempfile::tempdir().unwrap();
    let place = node.path().join(place);
    let filter = fs::read_to_string(folder.join("seccomp.json")).unwrap();
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(&place, narrowed(&filter, &[Family::SpecialFiles]).unwrap()).unwrap();
    let annotation = "        dev.xtask.checkpoint-data:";
    assert!(text.contains(annotation), "{text}");
    let name = place.file_name().unwrap().display();
    let old = format!("        seccomp.security.alpha.kubernetes.io/pod: \"localhost/{name}\"\n{annotation}");
    let file = node.path().join("kubernetes.yaml");
    fs::write(&file, text.replacen(annotation, &old, 1)).unwrap();
    let root = format!("--seccomp-profile-root={}", place.parent().unwrap().display());
    let pod = Pod::play(&file, APP, &[&root]);
    let identity = first_answer(PORT, "/identity", Duration::from_secs(10));
    assert!(identity.starts_with(&format!("{} ", workspace.lock().pid)), "{identity}");
    let (code, printed) = pod.try_exec(&["mknod", "/tmp/pipe", "p"]);
    assert!(code != Some(0) && printed.contains("Operation not permitted"), "{printed}");
}

/// The line that `restore --plan` prints, run by a shell.
fn by_hand(workspace: &Workspace) {
    let printed = workspace.succeed(&["restore", APP, "--plan", "--runtime", "podman"]).stdout;
    let line = printed.lines().last().unwrap();
    let name = format!("xtask-{APP}-by-hand");
    let line = line.replacen("run --rm", &format!("run --rm --detach --name {name}"), 1);
    let mut shell = std::process::Command::new("sh");
    let ran = shell.args(["-euc", &line]).current_dir(workspace.root()).output().unwrap();
    assert!(ran.status.success(), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
    let identity = first_answer(PORT, "/identity", Duration::from_secs(10));
    let (_, written) = try_podman(&["exec", &name, "touch", "/written"]);
    podman(&["rm", "--force", "--time", "0", &name]);
    assert!(identity.starts_with(&format!("{} ", workspace.lock().pid)), "{identity}");
    assert!(written.contains("Read-only file system"), "{written}");
}

/// podman fills the Pod's volumes from the image; Kubernetes leaves them empty, gives them to the group `fsGroup`, and makes
/// the folders between them as root.
fn folders_may_be_empty(workspace: &Workspace) {
    let text =
        fs::read_to_string(workspace.root().join("rocks").join(APP).join("restore/kubernetes.yaml")).unwrap();
    let places: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("mountPath: "))
        .map(|place| place.trim_matches('"'))
        .collect();
    assert!(places.len() > 2, "the sample's Tomcat has made folders in /tmp: {places:?}");
    let volumes = tempfile::tempdir().unwrap();
    fs::set_permissions(volumes.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mount = |(number, place): (usize, &&str)| {
        let folder = volumes.path().join(number.to_string());
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::chown(&folder, Some(0), Some(584_792)).unwrap();
        fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o2777)).unwrap();
        format!("--volume={}:{place}", folder.display())
    };
    let mounts: Vec<String> = places.iter().enumerate().map(mount).collect();
    let name = format!("xtask-{APP}-empty");
    let publish = format!("--publish=127.0.0.1:{PORT}:{PORT}");
    let state = format!("--env=PEBBLE=/run/{APP}/pebble");
    let image = format!("localhost/{APP}-restorer:0.0.1");
    let mut words =
        vec!["run", "--detach", "--name", &name, "--cap-drop=all", "--cap-add=CHECKPOINT_RESTORE"];
    words.extend(["--read-only", "--read-only-tmpfs=false", "--group-add=584792", &publish, &state]);
    words.extend(["--env=PEBBLE_COPY_ONCE=/var/lib/pebble/default"]);
    words.extend(mounts.iter().map(String::as_str));
    words.push(&image);
    podman(&words);
    let identity = first_answer(PORT, "/identity", Duration::from_secs(10));
    podman(&["rm", "--force", "--time", "0", &name]);
    assert!(identity.starts_with(&format!("{} ", workspace.lock().pid)), "{identity}");
}

fn no_fewer_will_do(workspace: &Workspace) {
    let before = fs::read_to_string(workspace.lock_path()).unwrap();
    let output = workspace.succeed(&["capabilities", APP]);
    assert!(output.stdout.contains("CHECKPOINT_RESTORE  needed"), "{output}");
    assert!(
        output.stdout.contains("CRIU needs to have the CAP_SYS_ADMIN or the CAP_CHECKPOINT_RESTORE"),
        "{output}"
    );
    assert!(output.stdout.contains("No fewer will do"), "{output}");
    assert_eq!(fs::read_to_string(workspace.lock_path()).unwrap(), before);
}

/// A pin that grants more comes to what it was, byte for byte, with its rock and all that is rendered.
fn more_is_taken_back(workspace: &Workspace) {
    let least = fs::read_to_string(workspace.lock_path()).unwrap();
    let rendered = workspace.root().join("rocks").join(APP).join("restore/compose.yaml");
    let compose = fs::read_to_string(&rendered).unwrap();
    let mut lock = workspace.lock();
    lock.capabilities.restore.push(Capability::Setgid);
    lock.write(&workspace.lock_path()).unwrap();
    // The rock of such a pin, which the tool names because it is not the pinned one.
    let output = workspace.run(&["pack", APP, "restore"]);
    let would = output.stderr.split("would be ").nth(1).and_then(|rest| rest.split(',').next());
    lock.rocks.restore = would.unwrap_or_else(|| panic!("{output}")).parse().unwrap();
    lock.write(&workspace.lock_path()).unwrap();
    workspace.succeed(&["render", APP]);
    assert!(fs::read_to_string(&rendered).unwrap().contains("- SETGID"));

    let refused = workspace.run(&["capabilities", APP, "--locked"]);
    assert_eq!(refused.code, Some(1), "{refused}");
    let output = workspace.succeed(&["capabilities", APP]);
    assert!(output.stdout.contains("SETGID") && output.stdout.contains("not needed"), "{output}");
    assert!(output.stdout.contains("The pin now grants CHECKPOINT_RESTORE."), "{output}");
    assert_eq!(fs::read_to_string(workspace.lock_path()).unwrap(), least);
    assert_eq!(fs::read_to_string(&rendered).unwrap(), compose);
    assert!(Lock::read(Path::new(&workspace.lock_path())).is_ok());
    workspace.succeed(&["verify", APP]);
}

fn many_at_once(workspace: &Workspace) {
    let output = workspace.succeed(&["soak", APP, "--beside", "3"]);
    println!("{}", output.stdout);
    let rows: Vec<&str> = output.stdout.lines().filter(|line| line.contains(" ms ")).collect();
    let firsts: Vec<&str> = rows.iter().filter_map(|row| row.split('|').nth(1)).map(str::trim).collect();
    assert_eq!(firsts, ["1", "2", "3"], "{output}");
    // They share the pages that none has written to.
    let mebibytes = |column: usize| -> f64 {
        let cell = rows[2].split('|').nth(column).unwrap_or_else(|| panic!("{output}")).trim();
        cell.strip_suffix(" MiB").and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{cell}"))
    };
    let (all, one) = (mebibytes(6), mebibytes(7));
    assert!(all < 3.0 * one * 0.9, "three take {all} MiB, and one {one} MiB\n{output}");
}
