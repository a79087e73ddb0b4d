//! What a restored process makes of another environment, and of a machine that has been up for longer or less long than
//! the dump's. docs/guide/safety.md says what these show.

use std::process::Command;
use std::time::Duration;

use xtask::process::{self, Limit};

use crate::fresh::{APP, clocks, send};
use crate::support::{PORT, Workspace, first_answer, get, podman, try_podman, wait_until};

/// What was given to the dumped process, and cannot be changed any more.
pub const MARKS: &str = "[environment]\nMARK_VARIABLE = \"before\"\n\
    SPRING_CONFIG_IMPORT = \"optional:configtree:/etc/late-config/\"\n\n\
    [rock.files]\n\"/etc/late-config/late.greeting\" = \"greeting\"\n\n[java]\nprofile = \"none\"\n\
    options = [\"-XX:+UseSerialGC\", \"-Xmx128m\", \"-Dmark.option=before\"]\n\n";
/// Days that another machine has been up for longer.
const DAYS: i64 = 3;
/// Periods of the timers in a second.
const RATE: i64 = 10;

/// A container of the restore rock, by podman alone, which goes with its value.
struct Elsewhere<'a> {
    /// What runs podman, if anything does. In another namespace of time runc sees another start of the container's first
    /// process, takes it for one that has ended, and leaves it running: so it is removed from where it was started.
    first: Vec<&'a str>,
    name: String,
    port: u16,
}

impl Elsewhere<'_> {
    fn start<'a>(workspace: &Workspace, first: &[&'a str], more: &[&str]) -> Elsewhere<'a> {
        let port = xtask::runtime::free_port().unwrap();
        let name = format!("{}elsewhere", workspace.prefix());
        let here = Elsewhere { first: first.to_vec(), name, port };
        let publish = format!("--publish=127.0.0.1:{port}:{PORT}");
        let image = format!("localhost/{APP}-restorer:0.0.1");
        let run = ["run", "--detach", "--name", &here.name, "--cap-drop=all", "--cap-add=CHECKPOINT_RESTORE"];
        here.podman(&[&run[..], &["--env=PEBBLE_PERSIST=never", &publish], more, &[&image]].concat());
        first_answer(port, "/identity", Duration::from_secs(30));
        here
    }

    /// Both streams of podman, which must succeed.
    fn podman(&self, words: &[&str]) -> String {
        let words = [&self.first[..], &["podman"], words].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        let limit = Limit::new("the test's limit for podman", Duration::from_secs(60));
        let ran = process::run(command, &limit).unwrap();
        // A second panic would hide the first.
        assert!(ran.status.success() || std::thread::panicking(), "{words:?}: {}{}", ran.stdout, ran.stderr);
        ran.stdout + &ran.stderr
    }

    fn log(&self) -> String {
        self.podman(&["logs", &self.name])
    }
}

impl Drop for Elsewhere<'_> {
    fn drop(&mut self) {
        self.podman(&["rm", "--force", "--time", "0", &self.name]);
    }
}

/// Environment, JVM options and system properties are those of the dump, whatever the container is given. A flag of the
/// JVM that is made to be changed can be.
pub fn configuration(workspace: &Workspace) {
    let more = [
        "--env=MARK_VARIABLE=after",
        "--env=JAVA_TOOL_OPTIONS=-Dmark.option=after -Dmark.new=after",
        "--env=MARK_NEW=after",
    ];
    let here = Elsewhere::start(workspace, &[], &more);
    let (name, port) = (here.name.as_str(), here.port);
    let guess = |what: &str, value| send(port, &format!("/secret/{what}"), ("X-Guess", value), "");
    for mark in ["mark.variable", "mark.option"] {
        assert_eq!((guess(mark, "before"), guess(mark, "after")), (200, 403), "{mark}");
    }
    assert_eq!(guess("mark.new", "after"), 404);
    // The container has it, and what is started in it.
    assert_eq!(podman(&["exec", name, "sh", "-c", "echo $MARK_VARIABLE"]), "after");

    let pid = workspace.lock().pid.to_string();
    let jcmd = |words: &[&str]| {
        let run = ["exec", name, "java", "-XX:-UsePerfData", "-m", "jdk.jcmd/sun.tools.jcmd.JCmd", &pid];
        podman(&[&run, words].concat())
    };
    let flag = "HeapDumpOnOutOfMemoryError";
    assert!(!jcmd(&["VM.flags"]).contains(flag));
    jcmd(&["VM.set_flag", flag, "true"]);
    assert!(jcmd(&["VM.flags"]).contains(&format!("-XX:+{flag}")));
    let (_, refused) = try_podman(&[
        "exec",
        name,
        "java",
        "-XX:-UsePerfData",
        "-m",
        "jdk.jcmd/sun.tools.jcmd.JCmd",
        &pid,
        "VM.set_flag",
        "MaxHeapSize",
        "1g",
    ]);
    assert!(refused.contains("only 'writeable' flags can be set"), "{refused}");
}

/// What Spring has bound is as old as the dump, until it is asked to read its config tree again.
pub fn refresh(workspace: &Workspace) {
    let folder = workspace.root().join("late-config");
    fs_err::create_dir(&folder).unwrap();
    fs_err::write(folder.join("late.greeting"), "after").unwrap();
    let volume = format!("--volume={}:/etc/late-config:ro", folder.display());
    let here = Elsewhere::start(workspace, &[], &[&volume]);
    assert_eq!(get(here.port, "/late"), "bound before, value before, environment before");
    let json = ("Content-Type", "application/json");
    assert_eq!(send(here.port, "/actuator/refresh", json, ""), 200);
    assert_eq!(get(here.port, "/late"), "bound after, value before, environment after");
}

/// The clock by which timers go, in a namespace where it is ahead of the machine's, and in one where it is behind.
pub fn uptime(workspace: &Workspace) {
    let up: f64 = fs_err::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
    let clocks_at = |seconds: i64| [format!("--monotonic={seconds}"), format!("--boottime={seconds}")];

    let ahead = DAYS * 86_400;
    let [monotonic, boottime] = clocks_at(ahead);
    let here = Elsewhere::start(workspace, &["unshare", "--time", &monotonic, &boottime], &[]);
    let port = here.port;
    // What a fixed rate has missed is made up for, all at once; the others go on.
    let missed = ahead * RATE;
    let now = wait_until("what was missed", Duration::from_secs(30), || {
        Some(clocks(port)).filter(|now| now["fixedRate"] >= missed)
    })
    .unwrap_or_else(|what| panic!("{what}: {:?}", clocks(port)));
    assert!(now["uptimeMillis"] >= ahead * 1000, "{now:?}");
    for timer in ["fixedDelay", "sleeps", "waits"] {
        assert!(now[timer] < missed / 100, "{timer}: {now:?}");
        wait_until(timer, Duration::from_secs(5), || (clocks(port)[timer] > now[timer]).then_some(()))
            .unwrap_or_else(|what| panic!("{what} stands still: {now:?}, then {:?}", clocks(port)));
    }
    assert!(!here.log().contains("WARNING: this machine"), "{}", here.log());
    drop(here);

    // No clock can be before its machine's start, so it is behind by half of what there is.
    let [monotonic, boottime] = clocks_at(-(up as i64 / 2));
    let here = Elsewhere::start(workspace, &["unshare", "--time", &monotonic, &boottime], &[]);
    let port = here.port;
    let before = clocks(port);
    std::thread::sleep(Duration::from_secs(2));
    let after = clocks(port);
    for timer in ["fixedRate", "fixedDelay", "sleeps", "waits"] {
        assert_eq!(before[timer], after[timer], "{timer} stands still: {before:?}, then {after:?}");
    }
    assert!(after["nanoTime"] > before["nanoTime"], "requests are answered: {before:?}, then {after:?}");
    assert!(here.log().contains("WARNING: this machine was started"), "{}", here.log());
}
