//! `restore.sh` with `restore.fallback = "cold"`, with stubs for CRIU, Java and Pebble: whatever goes wrong, the
//! application starts the ordinary way, at once, as the very process that Pebble watches, and nothing else lives on.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

mod support {
    pub mod apps;
    pub mod script;
}

use support::apps::{HOSTILE, ZIPKIN, app, rendered};
use support::script::{alive, bash, output, program, spawn, start, stubs};

/// Says how it was called, and as which process.
const JAVA: &str = "#!/bin/sh\necho \"java $$ $*\"\nexit 7\n";
/// Writes down what it is told.
const PEBBLE: &str = "#!/bin/sh\nprintf '%s\\n' \"$@\" >\"${0%/*}/notice\"\n";
/// Ends a CRIU whose restore went well.
const RESTORED: &str = ": >$RUN/stats-restore\n";

/// `restore.sh` of zipkin that has been started; what it finds in a rock is below `stubs`.
struct Restore {
    child: Child,
    stubs: TempDir,
    began: Instant,
}

/// What a script left.
struct Ended {
    status: ExitStatus,
    pid: u32,
    out: String,
    err: String,
    notice: String,
    took: Duration,
}

/// With this text as CRIU, and a trial of three seconds; `change` has the last word on the stubs.
fn restore(criu: &str, port: u16, change: impl FnOnce(&Path)) -> Restore {
    restore_within(30, &ZIPKIN.replace("9411", &port.to_string()), criu, change)
}

/// `limit` is in seconds.
fn restore_within(limit: u8, toml: &str, criu: &str, change: impl FnOnce(&Path)) -> Restore {
    restore_with(limit, toml, criu, &[], change)
}

/// The same with an environment.
fn restore_with(
    limit: u8,
    toml: &str,
    criu: &str,
    environment: &[(&str, &str)],
    change: impl FnOnce(&Path),
) -> Restore {
    let stubs = stubs(JAVA);
    let folder = stubs.path().display().to_string();
    program(
        &stubs.path().join("criu"),
        &format!("#!/bin/sh\n{}", criu.replace("$RUN", &format!("{folder}/run"))),
    );
    program(&stubs.path().join("pebble"), PEBBLE);
    fs::write(stubs.path().join("inherit-fd"), "fd[1]:pipe:[11]\n").unwrap();
    fs::write(stubs.path().join("uptime"), "0\n").unwrap();
    change(stubs.path());
    let toml = format!("{toml}restore.fallback = \"cold\"\nlimits.restore = \"{limit}s\"\n");
    let mut text = script(&toml, "restore/scripts/restore.sh");
    for (from, to) in [
        ("run=/run/zipkin", format!("run={folder}/run")),
        ("/checkpoint-data/$file", format!("{folder}/$file")),
        ("/checkpoint-data/inherit-fd", format!("{folder}/inherit-fd")),
        ("/checkpoint-data/uptime", format!("{folder}/uptime")),
        ("/checkpoint-data/cpu-flags", format!("{folder}/cpu-flags")),
        ("/proc/cpuinfo", format!("{folder}/cpuinfo")),
        ("/usr/bin/java", format!("{folder}/java")),
        ("younger 10", "younger 3".to_owned()),
    ] {
        // A CRaC JVM knows nothing of the first two.
        assert!(text.contains(from) || !text.contains("criu restore"), "{from} is not in\n{text}");
        text = text.replace(from, &to);
    }
    let file = stubs.path().join("restore.sh");
    program(&file, &text);
    let mut command = Command::new("sh");
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    command.arg(file).env("PATH", path).process_group(0).stdin(Stdio::null());
    command.envs(environment.iter().copied());
    let began = Instant::now();
    Restore { child: spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped())), stubs, began }
}

/// An OpenJDK CRaC, whose JVM restores itself: with this text as that JVM.
fn crac(java: &str, port: u16) -> Restore {
    let toml = format!("engine = \"crac\"\nsource.jar = \"a.jar\"\nhttp.port = {port}\n");
    let java = format!("#!/bin/sh\ncase $* in *-jar*) echo \"java $$ $*\"; exit 7 ;; esac\n{java}");
    restore_within(30, &toml, "exit 1\n", |stubs| program(&stubs.join("java"), &java))
}

fn script(toml: &str, path: &str) -> String {
    let app = app("zipkin", toml);
    String::from_utf8(rendered(&app)[Path::new(path)].bytes.clone()).unwrap()
}

impl Restore {
    /// Waits for its end. Nothing of its group may be left then but what a stub of Java leaves.
    fn end(mut self) -> Ended {
        let (mut out, mut err) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let pid = self.child.id();
        let status = self.child.wait().unwrap();
        let group = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        // What was told to stop may need a moment.
        let closed = Instant::now();
        while !alive(group).is_empty() && closed.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(alive(group), Vec::<String>::new(), "lives on\n{out}{err}");
        let notice = fs::read_to_string(self.stubs.path().join("notice")).unwrap_or_default();
        Ended { status, pid, out, err, notice, took: self.began.elapsed() }
    }
}

impl Ended {
    /// The application was started cold for this reason, within this many milliseconds; a machine that does much else
    /// besides may take twice that.
    #[track_caller]
    fn cold(&self, reason: &str, within: u64) {
        let Ended { pid, out, err, .. } = self;
        assert_eq!(self.status.code(), Some(7), "{out}{err}");
        assert!(
            out.starts_with(&format!("java {pid} ")),
            "not as the service's own process {pid}: {out}{err}"
        );
        assert!(err.contains(&format!("restore: {reason}")), "{reason} is not in {err}");
        assert!(err.contains("; zipkin is started cold\n"), "{err}");
        let notice = self.notice.strip_prefix("notify\ndev.xtask/cold-start\nreason=");
        assert!(notice.is_some_and(|notice| notice.starts_with(reason)), "{}", self.notice);
        assert!(self.took < 2 * Duration::from_millis(within), "{reason}: {:?}, not {within} ms", self.took);
    }
}

#[test]
fn a_restore_that_fails_is_followed_by_a_cold_start_at_once() {
    let check = |criu: &str, reason: &str| restore(criu, 9411, |_| {}).end().cold(reason, 3000);
    check(
        "echo 'Error (a.c:1): no such thing' >$RUN/restore.log\nexit 1\n",
        "failed (exit code 1): Error (a.c:1): no such",
    );
    check("exit 0\n", "failed (exit code 0): criu said nothing");
    check("kill -KILL $$\n", "failed (exit code 137): criu said nothing");
    let noise = "Error (criu/tun.c:86): tun: Unable to create tun";
    check(
        &format!("printf '{noise}\\nError (b.c:2): it\\n' >$RUN/restore.log; exit 1\n"),
        "failed (exit code 1): Error (b.c:2): it",
    );
    // A quote, a control character and what a shell would run are words of a log, and no more.
    check(
        "printf \"Error (a.c:1): '\\033[1m\\$(id)\\n\" >$RUN/restore.log; exit 1\n",
        "failed (exit code 1): Error (a.c:1): '\u{1b}[1m$(id)",
    );
}

#[test]
fn what_criu_needs_is_looked_at_first() {
    let check = |change: fn(&Path), reason: &str| restore("exit 1", 9411, change).end().cold(reason, 3000);
    check(|stubs| fs::remove_dir(stubs.join("run")).unwrap(), "");
    check(|stubs| fs::remove_file(stubs.join("inherit-fd")).unwrap(), "");
    check(|stubs| fs::write(stubs.join("inherit-fd"), "").unwrap(), "");
    check(
        |stubs| fs::write(stubs.join("uptime"), "9999999999\n").unwrap(),
        "timers would stand still: this machine was started 9",
    );
    // A minute of timers that stand still is less harm than a cold start.
    let seconds = |text: String| text.split('.').next().unwrap().parse::<u64>().unwrap();
    let up = seconds(fs::read_to_string("/proc/uptime").unwrap());
    let little = move |stubs: &Path| fs::write(stubs.join("uptime"), format!("{}\n", up + 50)).unwrap();
    let ended = restore("exit 1", 9411, little).end();
    assert!(ended.err.contains("restore: WARNING: this machine was started"), "{}", ended.err);
    ended.cold("failed (exit code 1)", 3000);
    check(|stubs| fs::remove_file(stubs.join("criu")).unwrap(), "failed (exit code 1");
    check(
        |stubs| fs::write(stubs.join("criu"), "\u{7f}ELF").unwrap(),
        "failed (exit code 126): criu cannot be started",
    );
}

#[test]
fn what_the_dumps_cpu_had_is_looked_for() {
    let check = |flags: &'static str, cpuinfo: &'static str, force: bool, expected: &str| {
        let change = move |stubs: &Path| {
            fs::write(stubs.join("cpu-flags"), flags).unwrap();
            fs::write(stubs.join("cpuinfo"), cpuinfo).unwrap();
            // Who starts the container says it by its environment; here CRIU's stub is not reached without.
            let criu = "#!/bin/sh\nexit 9\n";
            program(&stubs.join("criu"), criu);
        };
        let environment = if force { &[("XTASK_FORCE_HOST", "1")][..] } else { &[] };
        restore_with(30, ZIPKIN, "exit 9\n", environment, change).end().cold(expected, 3000);
    };
    let intel = "processor\t: 0\nflags\t\t: fpu sse sse2 avx2\nbugs\t\t: x\nflags\t\t: other\n";
    let tried = "failed (exit code 9)";
    check("sse avx2\n", intel, false, tried);
    check("", intel, false, tried);
    let lacks = "this CPU lacks avx512f, which the JVM saw when it was dumped and may use";
    check("sse avx512f ", intel, false, lacks);
    check("sse\navx512f avx51\n", intel, false, "this CPU lacks avx512f, avx51, which");
    check("sse avx512f\n", intel, true, tried);
    check("asimd sve\n", "Features\t: fp asimd\n", false, "this CPU lacks sve, which");
    // Nothing is known of this CPU: CRIU is asked.
    check("sse ", "processor\t: 0\n", false, tried);
}

#[test]
fn half_a_process_does_not_live_on() {
    // It ignores what asks it to end, and is nobody's child any more.
    let child =
        "sh -c 'trap \"\" TERM; echo $$ >$RUN/child; exec sleep 60' &\nuntil [ -s $RUN/child ]; do :; done\n";
    for end in ["exit 1", "kill -KILL $$"] {
        restore(&format!("{child}{end}\n"), 9411, |_| {}).end().cold("failed (exit code 1", 3000);
    }
}

#[test]
fn a_restore_that_hangs_is_followed_by_a_cold_start() {
    let check = |criu: &str, reason: &str, within| restore(criu, 9411, |_| {}).end().cold(reason, within);
    let hang = "exec sleep 60\n";
    check(
        &format!("echo 'Error (r.c:820): BUG at r.c:820' >$RUN/restore.log\n{hang}"),
        "hangs: Error (r.c:820)",
        3000,
    );
    // It says nothing: it gets more time.
    check(hang, "hangs: criu said nothing", 8000);
    // It turns in circles.
    check("while :; do :; done\n", "hangs: criu said nothing", 12000);
    // It works and works, as one that reads much memory does.
    let busy = restore_within(4, ZIPKIN, "while :; do (:); done\n", |_| {}).end();
    busy.cold("not restored within 4 s (limits.restore)", 12000);
}

#[test]
fn a_restored_process_is_on_trial() {
    let early = restore(&format!("{RESTORED}sleep 0.5\n"), 9411, |_| {}).end();
    early.cold("zipkin ended by itself (exit code 0) within 10 s of its restore", 4000);
    // It runs, and nobody listens.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mute = restore(&format!("{RESTORED}exec sleep 60\n"), silent, |_| {}).end();
    mute.cold("zipkin is restored, but has not answered within 10 s", 12000);
    // It answers otherwise than it did before the dump.
    let wrong = restore(&format!("{RESTORED}exec sleep 60\n"), server("500 Oops"), |_| {}).end();
    wrong.cold("zipkin is restored, but has not answered within 10 s", 12000);
}

#[test]
fn a_crac_jvm_that_does_not_restore_is_followed_by_a_cold_start() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let failed = crac("echo 'open cppath: No such file' >&2\nexit 1\n", nobody).end();
    failed.cold("zipkin ended by itself (exit code 1) within 10 s", 3000);
    assert!(!failed.out.contains("CRaC"), "it is not one that can be dumped: {}", failed.out);
    crac("exec sleep 60\n", nobody).end().cold("hangs", 8000);
    let well = crac("case $* in *CRaCRestoreFrom*) exec sleep 5 ;; esac\n", server("200 OK")).end();
    assert_eq!((well.out.as_str(), well.notice.as_str()), ("", ""), "{}", well.err);
}

/// A server with one answer to everything.
fn server(status: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // All of the request, or what is left unread breaks the connection.
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                request.push(byte[0]);
            }
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    port
}

#[test]
fn a_process_that_is_well_is_left_alone() {
    for status in ["200 OK", "503 Service Unavailable"] {
        // It ends by itself, but after its trial: that is no matter of the restore.
        let ended = restore(&format!("{RESTORED}exec sleep 5\n"), server(status), |_| {}).end();
        assert_eq!((ended.status.code(), ended.out.as_str()), (Some(1), ""), "{}", ended.err);
        assert_eq!((ended.err.as_str(), ended.notice.as_str()), ("restore: zipkin ended by itself\n", ""));
    }
}

#[test]
fn what_is_told_to_stop_is_not_started_again() {
    // The restored process, and a CRIU that hangs and cannot be asked.
    let told = |criu: &str, code: i32| {
        let restore = restore(criu, 9411, |_| {});
        // On a machine that is slow, a signal could come before the stub can take it.
        let up = restore.stubs.path().join("run/up");
        while !up.exists() {
            assert!(restore.began.elapsed() < Duration::from_secs(20), "the stub is not up");
            std::thread::sleep(Duration::from_millis(5));
        }
        let asked = Instant::now();
        let group = Pid::from_raw(i32::try_from(restore.child.id()).unwrap()).unwrap();
        kill_process_group(group, Signal::TERM).unwrap();
        let ended = restore.end();
        assert_eq!((ended.status.code(), ended.out.as_str()), (Some(code), ""), "{}", ended.err);
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    };
    // A shell that begins with SIGTERM ignored cannot catch it; what CRIU restores has its own handler.
    // What it starts says that it is up, as a shell that is on the way to it would lose a signal.
    let handler = "exec env --default-signal=TERM sh -c 'trap \"kill \\$!; exit 0\" TERM
sh -c \": >$RUN/up; exec sleep 60\" >/dev/null 2>&1 & wait'\n";
    told(&format!("{RESTORED}{handler}"), 0);
    told("trap '' TERM\necho 'Error (a.c:1): x' >$RUN/restore.log\n: >$RUN/up\nexec sleep 60\n", 143);
}

#[test]
fn the_cold_application_is_pebbles_service() {
    let java = "#!/bin/sh\ntrap 'echo stopping; exit 0' TERM\necho ready\nwhile :; do sleep 0.05; done\n";
    let mut restore = restore("exit 1\n", 9411, |stubs| program(&stubs.join("java"), java));
    let mut ready = [0; 6];
    restore.child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    kill_process(Pid::from_raw(i32::try_from(restore.child.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
    let ended = restore.end();
    assert_eq!((ended.status.code(), ended.out.as_str()), (Some(0), "stopping\n"), "{}", ended.err);
    let killed =
        self::restore("exit 1\n", 9411, |stubs| program(&stubs.join("java"), "#!/bin/sh\nkill -SEGV $$\n"));
    assert_eq!(killed.end().status.signal(), Some(11));
}

#[test]
fn without_pebble_it_starts_all_the_same() {
    let ended =
        restore("exit 1\n", 9411, |stubs| program(&stubs.join("pebble"), "#!/bin/sh\nexit 1\n")).end();
    assert!(ended.out.starts_with("java "), "{}", ended.err);
    assert!(ended.err.contains("Pebble has not taken the notice"), "{}", ended.err);
}

/// The same words as in the checkpoint rock, whatever they hold; Pebble gives both services the same environment.
#[test]
fn the_command_line_is_the_checkpoint_rocks() {
    let app = app("zipkin", HOSTILE);
    let stubs = stubs("#!/bin/sh\nprintf '%s\\0' \"$@\"\n");
    let files = rendered(&app);
    let text = |path: &str| std::str::from_utf8(&files[Path::new(path)].bytes).unwrap();
    let said = |script: &str| {
        let file = stubs.path().join("script.sh");
        program(&file, script);
        String::from_utf8(output(bash(stubs.path()).arg(file).process_group(0)).stdout).unwrap()
    };
    let checkpoint = said(&start(&app, text("checkpoint/native/scripts/start.sh"), stubs.path(), 0));
    let restore = text("restore/native/scripts/restore.sh");
    let restore = restore.replace("/usr/bin/java", &format!("{}/java", stubs.path().display()));
    let restore = said(&restore.replace("run=/run/zipkin", "run=/nowhere"));
    assert!(checkpoint.contains("-jar\0") && checkpoint.contains("-Dcommand=$(id)`id`\0"), "{checkpoint:?}");
    assert_eq!(restore, checkpoint);
    let environment = |path: &str, service: &str| {
        let layer: serde_yaml_ng::Value = serde_yaml_ng::from_str(text(path)).unwrap();
        layer["services"][service]["environment"].clone()
    };
    let checkpoint = environment("checkpoint/native/layer.yaml", "zipkin");
    assert_eq!(checkpoint["QUOTES"].as_str(), Some("'single' \"double\""));
    assert_eq!(environment("restore/native/layer.yaml", "zipkin-restore"), checkpoint);
}
