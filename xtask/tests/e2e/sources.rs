//! Local sources named on the command line, and files made at run time.

use crate::support::{Workspace, fixture, get, podman, sample_from};

const APP: &str = "e2e-sources";
/// What app.toml names cannot be had: the command line goes before it.
const NOWHERE: &str =
    "git = \"https://nowhere.invalid/sample.git\"\ncommit = \"1111111111111111111111111111111111111111\"";

#[test]
#[ignore = "needs podman; run by cargo xtask test"]
fn a_folder_and_a_jar_of_this_machine() {
    let runtime_file = "[http]\nwarm-up = [\"/echo?q=warm\"]\nverify = [\"/runtime-file\", \"/identity\"]\n\
        [environment]\nSAMPLE_RUNTIME_FILE = \"1\"\n";
    let workspace = Workspace::new(APP, &sample_from(NOWHERE, runtime_file));

    println!("  a folder");
    let output = workspace.checkpoint(&["--source", fixture().to_str().unwrap()]);
    assert!(output.stdout.contains("made from a local source"), "{output}");
    file_made_at_run_time_travels(&workspace);
    let lock = workspace.lock();
    assert!(lock.source.local && lock.source.from.starts_with("directory "), "{:?}", lock.source);
    let jar = workspace.root().join("sample.jar");
    fs_err::copy(workspace.state().join("store/blobs/sha256").join(lock.source.jar.hex()), &jar).unwrap();

    println!("  a jar, with a deleted file that is within the limit, and a large piece of native memory");
    let ghost = runtime_file.to_owned()
        + "SAMPLE_FAULT = \"ghost\"\nSAMPLE_GHOST_BYTES = \"4194304\"\nSAMPLE_LARGE_PIECE = \"true\"\n";
    workspace.write(&sample_from(NOWHERE, &ghost));
    workspace.checkpoint(&["--source", jar.to_str().unwrap()]);
    file_made_at_run_time_travels(&workspace);
    let lock = workspace.lock();
    assert!(lock.source.local && lock.source.from.starts_with("jar "), "{:?}", lock.source);
    let ghosts: Vec<_> = lock.data.files.iter().filter(|file| file.path.contains("/ghost-file-")).collect();
    assert!(
        ghosts.iter().any(|ghost| ghost.size >= 4 << 20),
        "the deleted file is among the checkpoint data: {ghosts:?}"
    );
    // What can be written to stays CRIU's, though one of the two is closed; what is read is the rock's, the empty one, too.
    assert_eq!(ghosts.len(), 2, "{ghosts:?}");
    let deleted = lock.data.files.iter().filter(|file| file.path.contains("/checkpoint-data/deleted-"));
    let mut sizes: Vec<u64> = deleted.map(|file| file.size).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [0, 20_000]);
    mapped_memory_can_grow(&workspace);
    workspace.assert_nothing_left();
}

/// What `realloc` enlarges was mapped from a file that ends somewhere.
fn mapped_memory_can_grow(workspace: &Workspace) {
    let (name, port) = workspace.restore();
    let maps = podman(&["exec", &name, "sh", "-c", "cat /proc/[0-9]*/maps"]);
    let bytes = |line: &str| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        Some(u64::from_str_radix(end, 16).ok()? - u64::from_str_radix(start, 16).ok()?)
    };
    let large = |line: &str| line.ends_with("/memory.img") && bytes(line) >= Some(34 << 20);
    assert!(maps.lines().any(large), "34 MiB of memory.img are not in\n{maps}");
    assert_eq!(get(port, "/grow"), "7 7 9");
    podman(&["rm", "--force", "--time", "0", &name]);
}

fn file_made_at_run_time_travels(workspace: &Workspace) {
    let lock = workspace.lock();
    let made: Vec<_> = lock.data.files.iter().filter(|file| file.path.ends_with("/data.bin")).collect();
    let [file] = made[..] else { panic!("one data.bin is expected: {made:?}") };
    assert!(file.path.starts_with("/tmp/sample-app-"), "{file:?}");
    assert_eq!((file.mode.as_str(), file.size), ("0640", 65536), "{file:?}");
    let folder = file.path.strip_suffix("/data.bin").unwrap();
    assert!(lock.data.files.iter().any(|file| file.path == folder), "its folder travels along");

    let (name, port) = workspace.restore();
    // `verify` has compared it with the answer before the dump; here, with the pin.
    let answer = get(port, "/runtime-file");
    let sum = file.sha256.unwrap().hex();
    assert_eq!(answer, format!("{} {sum}", file.path));
    let stat = podman(&["exec", &name, "stat", "--format=%a %U", &file.path]);
    assert_eq!(stat, "640 _daemon_");
    podman(&["rm", "--force", "--time", "0", &name]);
}
