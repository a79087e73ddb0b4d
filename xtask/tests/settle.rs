//! `settle.sh`, with stubs for Java and setpriv: before the dump it waits for HotSpot's periodic thread to wake up, and no
//! longer than that thread needs.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

mod support {
    pub mod apps;
    pub mod script;
}

use support::apps::{ZIPKIN, app, rendered};
use support::script::{bash, output, spawn, stubs};

/// Writes down what jcmd is told, and when, in nanoseconds.
const JAVA: &str = "#!/bin/sh\nwhile [ $# -gt 1 ]; do shift; done\n\
                    { cat \"$1\"; date +%s%N; } >>\"${0%/*}/told\"\n";

/// settle.sh of Zipkin, with the folders and programs of a rock below `stubs`.
struct Settle {
    stubs: TempDir,
    text: String,
}

impl Settle {
    fn new(toml: &str) -> Settle {
        let stubs = stubs(JAVA);
        let folder = stubs.path().display().to_string();
        let rendered = rendered(&app("zipkin", toml));
        let script = &rendered[Path::new("checkpoint/scripts/settle.sh")];
        let mut text = String::from_utf8(script.bytes.clone()).unwrap();
        for (from, to) in [
            ("/run/zipkin", format!("{folder}/run")),
            ("/usr/bin/java", format!("{folder}/java")),
            // Half of the time that HotSpot's thread may sleep.
            ("5200000", "2600000".to_owned()),
        ] {
            assert!(text.contains(from), "{from} is not in\n{text}");
            text = text.replace(from, &to);
        }
        Settle { stubs, text }
    }

    /// Runs it for the process `pid`; how long that took, what each jcmd was told, and when, in nanoseconds.
    fn run(&self, pid: u32) -> (Duration, Vec<(String, u64)>) {
        let folder = self.stubs.path();
        fs::write(folder.join("run/jvm.pid"), format!("{pid}\n")).unwrap();
        let began = Instant::now();
        let ran = output(bash(folder).args(["-c", &self.text]));
        let took = began.elapsed();
        assert!(ran.status.success() && ran.stderr.is_empty(), "{}", String::from_utf8_lossy(&ran.stderr));
        let told = fs::read_to_string(folder.join("told")).unwrap();
        fs::remove_file(folder.join("told")).unwrap();
        let mut calls = vec![(String::new(), 0)];
        for word in told.lines() {
            let last = calls.last_mut().unwrap();
            match word.parse() {
                Ok(at) => {
                    last.1 = at;
                    calls.push((String::new(), 0));
                }
                Err(_) => last.0 += &format!("{word} "),
            }
        }
        calls.pop();
        (took, calls)
    }
}

/// A process with the name of HotSpot's periodic thread, which sleeps so many seconds at a time.
struct Jvm(Child);

impl Jvm {
    fn new(comm: &str, seconds: f32) -> Jvm {
        // bash's own `read` sleeps once and starts nothing, which would be waited for as well.
        let script = format!(
            "printf '%s' '{comm}' >/proc/self/comm; exec {{pipe}}<> <(:); while :; do read -t {seconds} -u $pipe; done"
        );
        let mut command = Command::new("bash");
        command.args(["-c", &script]).stdin(Stdio::null());
        Jvm(spawn(&mut command))
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The seconds it waits, from when it was settled first, for a JVM whose thread of that name sleeps so.
fn check(comm: &str, seconds: f32, expected: std::ops::Range<f64>) {
    let settle = Settle::new(ZIPKIN);
    let jvm = Jvm::new(comm, seconds);
    let pid = jvm.0.id();
    let words = |told: &[(String, u64)]| told.iter().map(|(told, _)| told.clone()).collect::<Vec<_>>();
    let (_, told) = settle.run(pid);
    assert_eq!(words(&told), ["GC.run GC.run System.trim_native_heap VM.flags "]);
    let (took, told) = settle.run(pid);
    assert_eq!(words(&told), ["System.trim_native_heap "]);
    assert!(expected.contains(&took.as_secs_f64()), "{comm}, {seconds} s: waited {took:?}, not {expected:?}");
}

#[test]
fn it_waits_for_the_periodic_thread() {
    check("VM Periodic Tas", 0.8, 0.3..2.2);
}

#[test]
fn it_waits_no_longer_than_the_thread_sleeps() {
    check("VM Periodic Tas", 60.0, 2.2..9.0);
}

#[test]
fn a_thread_with_other_work_says_nothing() {
    check("VM Periodic Tas", 0.05, 2.2..9.0);
}

#[test]
fn a_jvm_without_such_a_thread_is_waited_for() {
    check("VM Thread", 0.8, 2.2..9.0);
}

#[test]
fn before_jdk_20_it_collects_again_and_then_waits() {
    let settle = Settle::new(&format!("{ZIPKIN}java.version = 17\n"));
    let jvm = Jvm::new("VM Periodic Tas", 0.8);
    settle.run(jvm.0.id());
    let (_, told) = settle.run(jvm.0.id());
    let [(collect, collected), (trim, trimmed)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((collect.as_str(), trim.as_str()), ("GC.run GC.run ", "System.trim_native_heap "));
    let waited = Duration::from_nanos(trimmed - collected);
    assert!(waited > Duration::from_millis(300), "the cleaners had {waited:?}");
}
