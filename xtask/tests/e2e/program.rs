//! One run of the real program.

use std::fmt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};

/// What a run printed, how it ended and how long it took.
#[derive(Debug)]
pub struct Output {
    /// The arguments.
    pub line: String,
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// From its start to its end.
    pub elapsed: Duration,
}

impl Output {
    /// Every text must stand in standard error.
    pub fn assert_says(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.stderr.contains(text), "the error does not say {text:?}\n{self}");
        }
    }

    /// The steps that `--plan` printed, without number and reason.
    pub fn steps(&self) -> Vec<String> {
        let steps = self.stdout.lines().filter_map(|line| line.split_once(". "));
        steps.map(|(_, step)| step.split("  ").next().unwrap_or_default().to_owned()).collect()
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Output { line, code, stdout, stderr, elapsed } = self;
        write!(
            f,
            "--- cargo xtask {line}: exit code {code:?} after {elapsed:.1?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        )
    }
}

/// A run that has not ended.
pub struct Started {
    line: String,
    child: Child,
    started: Instant,
    folder: tempfile::TempDir,
}

impl Started {
    /// Starts the program. Its output goes to files: a pipe would also wait for what it leaves running.
    pub fn new(root: &Path, state: &Path, environment: &[(&str, String)], arguments: &[&str]) -> Started {
        let folder = tempfile::tempdir().unwrap();
        let file =
            |name: &str| Stdio::from(fs::File::create(folder.path().join(name)).unwrap().into_parts().0);
        let child = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(arguments)
            .env("XTASK_ROOT", root)
            .env("XTASK_STATE", state)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap();
        Started { line: arguments.join(" "), child, started: Instant::now(), folder }
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join(name)).unwrap()).into_owned()
    }

    fn output(&self, code: Option<i32>) -> Output {
        Output {
            line: self.line.clone(),
            code,
            stdout: self.text("stdout"),
            stderr: self.text("stderr"),
            elapsed: self.started.elapsed(),
        }
    }

    /// Waits until it has printed `text` on either stream.
    pub fn wait_for(&mut self, text: &str, limit: Duration) {
        let end = Instant::now() + limit;
        while !self.text("stderr").contains(text) && !self.text("stdout").contains(text) {
            let over = self.child.try_wait().unwrap().is_some() || Instant::now() > end;
            assert!(!over, "it does not print {text:?} within {limit:?}\n{}", self.output(None));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub fn finish(mut self, limit: Duration) -> Output {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let output = self.output(status.code());
                println!("    xtask {}: {:?} after {:.1?}", output.line, output.code, output.elapsed);
                return output;
            }
            assert!(Instant::now() < end, "it does not end within {limit:?}\n{}", self.output(None));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Started {
    /// After a failed assertion: the tool cleans up behind itself.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::TERM);
            std::thread::sleep(Duration::from_secs(5));
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
