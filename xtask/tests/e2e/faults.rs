//! Everything that can go wrong on the way leaves the old pin, and says what it was.

use std::time::Duration;

use crate::fallback::{allow_clone3, refuse_clone3};
use crate::support::{Output, PORT, Workspace, get, podman, sample};

const APP: &str = "e2e-faults";
const HTTP: &str = "[http]\nwarm-up = [\"/echo?q=warm\"]\nverify = [\"/identity\"]\n";

/// A fault, and what its error must say.
struct Fault<'a> {
    name: &'a str,
    /// What follows `[source]` in app.toml.
    toml: String,
    says: &'a [&'a str],
    /// A limit that has not been reached must not have been waited for.
    within: u64,
}

/// A workspace with a good pin.
fn pinned() -> Workspace {
    let workspace = Workspace::new(APP, &sample(HTTP));
    workspace.checkpoint(&[]);
    workspace
}

/// Runs the command, which must fail with exit code 1, and leave the pin and nothing else.
fn fails(workspace: &Workspace, name: &str, arguments: &[&str], says: &[&str], within: u64) -> Output {
    println!("  {name}");
    let before = workspace.pinned();
    let output = workspace.run(arguments);
    assert_eq!(output.code, Some(1), "{name}\n{output}");
    output.assert_says(says);
    let limit = Duration::from_secs(within);
    assert!(output.elapsed < limit, "{name}: not within {limit:?}\n{output}");
    assert_eq!(workspace.pinned(), before, "{name}: what was pinned was touched");
    workspace.assert_nothing_left();
    output
}

/// The pin of before is whole: nothing to do, and it still restores.
fn still_restores(workspace: &Workspace, toml: &str) {
    workspace.write(toml);
    let output = workspace.checkpoint(&[]);
    assert!(output.stdout.contains("nothing has changed"), "{output}");
    let (name, port) = workspace.restore();
    assert!(get(port, "/identity").starts_with(&workspace.lock().pid.to_string()));
    podman(&["rm", "--force", "--time", "0", &name]);
}

#[test]
#[ignore = "needs podman; run by cargo xtask test"]
fn faults_before_the_dump() {
    let workspace = pinned();
    let environment =
        |fault: &str, more: &str| format!("{HTTP}{more}\n[environment]\nSAMPLE_FAULT = \"{fault}\"\n");
    let faults = [
        Fault {
            name: "never ready",
            toml: environment("never-ready", "[limits]\nready = \"6s\""),
            says: &["cannot run, warm up and dump", "http.ready", "within 6s (limits.ready)"],
            within: 25,
        },
        Fault {
            name: "lives but never listens",
            toml: environment("hang-start", "[limits]\nready = \"20s\""),
            says: &["http.ready", "within 20s (limits.ready)", "SAMPLE_FAULT=hang-start"],
            within: 40,
        },
        Fault {
            name: "ends at its start",
            toml: environment("crash", ""),
            says: &["e2e-faults ended (Pebble: ", "code 1", "SAMPLE_FAULT=crash: deliberate crash"],
            within: 40,
        },
        Fault {
            name: "no JVM at all",
            toml: format!("{HTTP}[java]\noptions = [\"-XX:+NoSuchOption\"]\n"),
            says: &["e2e-faults ended (Pebble: ", "Unrecognized VM option 'NoSuchOption'"],
            within: 40,
        },
        Fault {
            name: "another answer than 200 on ready",
            toml: "[http]\nready = \"/status/500\"\n[limits]\nready = \"40s\"\n".into(),
            says: &["it answered 500: status 500", "/status/500", "within 40s (limits.ready)"],
            within: 60,
        },
        Fault {
            name: "an error in the warm-up",
            toml: environment("error-500", ""),
            says: &["http.warm-up", "GET /echo?q=warm answered 500, expected 200", "deliberate failure"],
            within: 40,
        },
        Fault {
            name: "a warm-up without end",
            toml:
                "[http]\nwarm-up = [{ path = \"/echo?q=x\", repeat = 100000 }]\n[limits]\nwarm-up = \"2s\"\n"
                    .into(),
            says: &["http.warm-up", "within 2s (limits.warm-up)"],
            within: 30,
        },
        Fault {
            name: "a deleted file larger than the limit",
            toml: environment("ghost", ""),
            says: &["the dump failed", "ghost file", "[ghost-file]", "app.toml", "ghost-limit = "],
            within: 60,
        },
    ];
    for Fault { name, toml, says, within } in faults {
        workspace.write(&sample(&toml));
        fails(&workspace, name, &["checkpoint", APP], says, within);
    }
    still_restores(&workspace, &sample(HTTP));
}

#[test]
#[ignore = "needs podman; run by cargo xtask test"]
fn faults_of_the_restore() {
    let workspace = pinned();
    let good = sample(HTTP);
    let script = "templates/scripts/restore.sh.j2";
    let original = fs_err::read(workspace.root().join(script)).unwrap();
    let limited = sample(&format!("{HTTP}[limits]\nrestore = \"5s\"\n"));
    // Each is a restore that fails for real: the script is the application's, the tool and CRIU are what they are.
    let faults: [(&str, &str, &str, &[&str], u64); 4] = [
        (
            "CRIU never gets there: the script's own limit",
            "criu restore --unprivileged",
            "sleep 600 #",
            &["cannot restore and compare", "was not restored", "(limits.restore)"],
            30,
        ),
        (
            "the script never gets there: the tool's limit",
            "\nrun=/run",
            "\nsleep 600\nrun=/run",
            &["cannot restore and compare", "was not restored", "within 5s (limits.restore)"],
            40,
        ),
        (
            "a page is missing",
            "criu restore --unprivileged --images-dir /checkpoint-data",
            "mkdir /tmp/cut; ln -s /checkpoint-data/* /tmp/cut; rm /tmp/cut/pages-1.img\n\
             criu restore --unprivileged --images-dir /tmp/cut",
            &["was not restored", "restore: failed", "pages data"],
            30,
        ),
        (
            "CRIU refuses its options",
            "--skip-file-rwx-check",
            "--no-such-option",
            &["was not restored", "restore: failed (exit code 1)"],
            30,
        ),
    ];
    for (name, old, new, says, within) in faults {
        workspace.write(&limited);
        workspace.edit(script, old, new);
        fails(&workspace, name, &["checkpoint", APP], says, within);
        fs_err::write(workspace.root().join(script), &original).unwrap();
    }

    workspace.write(&sample("[http]\nverify = [\"/process\"]\n"));
    let says = ["GET /process (http.verify) answers otherwise than before the dump; now: {\"pid\"", "uuid"];
    fails(&workspace, "a restored answer that differs", &["checkpoint", APP], &says, 90);

    workspace.write(&good);
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let publish = format!("{port}:{PORT}");
    let arguments = ["restore", APP, "--detach", "--publish", &publish];
    fails(&workspace, "a port that is taken", &arguments, &["is in use", &port.to_string(), "--publish"], 30);

    // Whichever command it is that restores, its failure says why.
    refuse_clone3(&workspace);
    let says = [
        "/cr-restore.c:",
        "\nwhy: the container's filter of system calls does not allow clone3 [clone3]\n  evidence: line ",
        "\n  remedy:   start the container with `--security-opt seccomp=rocks/e2e-faults/restore/seccomp.json`",
        "/logs/",
    ];
    for arguments in [
        &["restore", APP, "--detach"][..],
        &["soak", APP, "--restores", "1"],
        &["bench", APP, "--cold", "1", "--restores", "1"],
    ] {
        fails(&workspace, &format!("{} without clone3", arguments[0]), arguments, &says, 60);
    }
    allow_clone3(&workspace);
    still_restores(&workspace, &good);

    // No fault: the pin says what it needs, and so does what is rendered.
    println!("  a read-only root");
    let compose = || {
        let file = workspace.root().join("rocks").join(APP).join("restore/compose.yaml");
        fs_err::read_to_string(file).unwrap()
    };
    assert!(!workspace.lock().writable_root && compose().contains("read_only: true"));
    workspace.write(&sample("[http]\nverify = [\"/identity\", \"/scratch\"]\n"));
    let output = workspace.checkpoint(&[]);
    let why = "GET /scratch answered 500, expected 200";
    output.assert_says(&["e2e-faults does not work on a read-only root", why]);
    assert!(output.stdout.contains("its root is writable"), "{output}");
    assert!(workspace.lock().writable_root && !compose().contains("read_only"));
}
