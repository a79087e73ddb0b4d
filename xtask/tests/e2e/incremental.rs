//! What has not changed is not done again.

use xtask::seccomp::Family;

use crate::support::{Workspace, files, get, podman, sample};

const APP: &str = "e2e-incremental";
const DUMP: &str = "run, warm up and dump";
const HTTP: &str = "[http]\nwarm-up = [{ path = \"/counter\", method = \"POST\", repeat = 2 }]\n\
    verify = [\"/identity\", \"/counter\"]\n";

#[test]
#[ignore = "needs podman; run by cargo xtask test"]
fn only_what_changed_is_done_again() {
    let workspace = Workspace::new(APP, &sample(HTTP));
    plan_writes_nothing(&workspace);
    workspace.checkpoint(&[]);
    let mut first = workspace.lock();
    first.system_calls.refused = vec![Family::MessageQueues];
    first.write(&workspace.lock_path()).unwrap();

    println!("  a limit of the restore");
    workspace.write(&sample(&format!("{HTTP}[limits]\nrestore = \"20s\"\n")));
    let plan = plan_writes_nothing(&workspace);
    let rest = "search for secrets, pack the restore rock, restore and compare, pin the checkpoint";
    assert_eq!(plan.join(", "), format!("render the rocks, {rest}"));
    let output = workspace.checkpoint(&[]);
    assert!(!output.stderr.contains(DUMP), "it was dumped again\n{output}");
    let second = workspace.lock();
    assert_eq!(second.data, first.data, "the data is what was dumped");
    assert_eq!((&second.created, second.pid), (&first.created, first.pid));
    assert_eq!(second.rocks.checkpoint, first.rocks.checkpoint);
    assert_ne!(second.rocks.restore, first.rocks.restore, "the script in it has another limit");
    assert_eq!(second.system_calls, first.system_calls, "the same process is refused the same");
    assert_restores(&workspace, "2");

    println!("  a label");
    workspace.edit(&workspace.toml(), "The sample application", "Another summary");
    assert!(plan_writes_nothing(&workspace).iter().any(|step| step == "pack the restore rock"));

    println!("  the warm-up");
    workspace.write(&sample(&HTTP.replace("repeat = 2", "repeat = 5")));
    let plan = plan_writes_nothing(&workspace);
    assert!(plan.iter().any(|step| step == DUMP), "{plan:?}");
    assert!(!plan.iter().any(|step| step == "get the jar"), "the jar has not changed: {plan:?}");
    let output = workspace.checkpoint(&[]);
    assert!(output.stderr.contains(DUMP), "{output}");
    assert_ne!(workspace.lock().data.digest, first.data.digest);
    assert_eq!(workspace.lock().system_calls.refused, [], "nothing was taken away from another process");
    assert!(output.stdout.contains("its filter of system calls is the ordinary one again"), "{output}");
    assert_restores(&workspace, "5");

    println!("  an unreadable pin");
    let pin = fs_err::read_to_string(workspace.lock_path()).unwrap();
    fs_err::write(workspace.lock_path(), pin.replacen("mode = \"0644\"", "mode = \"0666\"", 1)).unwrap();
    let output = workspace.run(&["restore", APP, "--detach"]);
    assert_eq!(output.code, Some(1), "{output}");
    output.assert_says(&["checkpoint.lock", "changed by hand"]);
    workspace.assert_nothing_left();
}

/// The steps that `--plan` prints; it changes nothing.
fn plan_writes_nothing(workspace: &Workspace) -> Vec<String> {
    let look = || {
        let of = |folder: &std::path::Path| -> Vec<_> {
            let files = files(folder).into_iter();
            files
                .map(|file| (fs_err::metadata(folder.join(&file)).unwrap().modified().unwrap(), file))
                .collect()
        };
        let state =
            ["memo", "rocks", "reports", "store", "tmp"].map(|name| of(&workspace.state().join(name)));
        (of(workspace.root()), state)
    };
    let before = look();
    let output = workspace.succeed(&["checkpoint", APP, "--plan"]);
    assert!(look() == before, "--plan has changed something\n{output}");
    assert_eq!(workspace.containers(), Vec::<String>::new());
    output.steps()
}

fn assert_restores(workspace: &Workspace, counter: &str) {
    let (name, port) = workspace.restore();
    assert_eq!(get(port, "/counter"), counter);
    podman(&["rm", "--force", "--time", "0", &name]);
}
