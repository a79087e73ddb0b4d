//! Other programs: started in a process group of their own, never waited for without a limit.
//!
//! Commands are written with `xshell::cmd!`, which interpolates arguments without a shell, and run by the
//! functions here, which add what xshell has not: a limit that names itself, line streaming and signals.

use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::interrupt;

mod pipe;

use pipe::{Pipe, lines, read_all, read_back};

/// Between two looks at the clock and at signals.
const POLL: Duration = Duration::from_millis(20);
/// Between SIGTERM and SIGKILL of a command that outlives its limit; a test of this crate has less time.
const GRACE: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 10_000 });
/// Between SIGKILL and giving up its pipes: a descendant in a group of its own may hold them for ever.
const LEFT: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 3_000 });

/// The upper bound of one wait, with the name a user knows it by.
#[derive(Debug, Clone)]
pub struct Limit {
    /// `limits.build` of app.toml, or what else sets it.
    pub name: String,
    /// How long.
    pub duration: Duration,
}

impl Limit {
    /// A limit.
    pub fn new(name: impl Into<String>, duration: Duration) -> Limit {
        Limit { name: name.into(), duration }
    }

    /// For what answers at once on any healthy machine.
    pub fn quick() -> Limit {
        Limit::new("the tool's own limit for a quick command", Duration::from_secs(60))
    }
}

/// The error of a wait that took too long.
#[derive(Debug, Clone)]
pub struct TimedOut {
    /// What was waited for.
    pub what: String,
    /// Which limit struck.
    pub limit: Limit,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let duration = humantime::format_duration(self.limit.duration);
        write!(f, "{} did not end within {duration} ({})", self.what, self.limit.name)
    }
}

impl std::error::Error for TimedOut {}

/// What ends a command besides itself and its limit.
#[derive(Clone, Copy)]
enum Ends<'a> {
    AtSignal,
    ByItself,
    When(&'a AtomicBool),
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a command and returns what it printed, whatever its exit code.
pub fn run(command: impl Into<Command>, limit: &Limit) -> Result<Ran> {
    run_with(command.into(), limit, Ends::AtSignal, Stdio::null())
}

/// As [`run`], for a command that reads one short line.
pub fn answer(command: impl Into<Command>, limit: &Limit, question: &str) -> Result<Ran> {
    let (reader, mut writer) = std::io::pipe()?;
    // No more than a pipe holds before anybody reads from it.
    writer.write_all(&question.as_bytes()[..question.len().min(4096)])?;
    drop(writer);
    run_with(command.into(), limit, Ends::AtSignal, reader.into())
}

/// Runs a command that must succeed and returns its standard output without the last newline.
pub fn read(command: impl Into<Command>, limit: &Limit) -> Result<String> {
    let command = command.into();
    let line = describe(&command);
    let ran = run_with(command, limit, Ends::AtSignal, Stdio::null())?;
    succeeded(&line, ran.status, &ran.stderr)?;
    Ok(ran.stdout.trim_end_matches('\n').to_owned())
}

/// Runs a command of a clean-up: also after a signal, and without an error of its own.
pub fn clean_up(command: impl Into<Command>) {
    let limit = Limit::new("the tool's own limit for cleaning up", Duration::from_secs(60));
    let _ = run_with(command.into(), &limit, Ends::ByItself, Stdio::null());
}

fn run_with(mut command: Command, limit: &Limit, ends: Ends<'_>, stdin: Stdio) -> Result<Ran> {
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let line = describe(&command);
    let ((stdout, stderr), status) = supervise(command, limit, ends, |child, given_up| {
        let stdout = Pipe::new(child.stdout.take().context("stdout is piped")?, given_up)?;
        let stderr = Pipe::new(child.stderr.take().context("stderr is piped")?, given_up)?;
        std::thread::scope(|scope| {
            let stderr = scope.spawn(|| read_all(stderr));
            let stdout = read_all(stdout).with_context(|| format!("the output of `{line}`"))?;
            let stderr = stderr.join().map_err(|_| anyhow!("the reader of stderr died"))?;
            Ok((stdout, stderr.with_context(|| format!("the errors of `{line}`"))?))
        })
    })?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ran { status, stdout: text(stdout), stderr: text(stderr) })
}

/// Runs a command, handing each line of its output (both streams, as they come) to `on_line`.
pub fn stream(command: impl Into<Command>, limit: &Limit, on_line: impl FnMut(&str)) -> Result<ExitStatus> {
    stream_with(command.into(), limit, Ends::AtSignal, on_line)
}

/// As [`stream`], for what ends with something else: neither a signal nor a limit ends it, but `enough` does.
pub fn follow(
    command: impl Into<Command>,
    enough: &AtomicBool,
    on_line: impl FnMut(&str),
) -> Result<ExitStatus> {
    let forever = Limit::new("none", Duration::MAX);
    stream_with(command.into(), &forever, Ends::When(enough), on_line)
}

fn stream_with(
    mut command: Command,
    limit: &Limit,
    ends: Ends<'_>,
    mut on_line: impl FnMut(&str),
) -> Result<ExitStatus> {
    // One pipe for both streams keeps their lines in the order they were written.
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let ((), status) = supervise(command, limit, ends, |_, given_up| {
        Ok(lines(Pipe::new(reader, given_up)?, &mut on_line)?)
    })?;
    Ok(status)
}

/// Runs a command whose standard output is read as bytes by `consume`.
pub fn pipe<T>(
    command: impl Into<Command>,
    limit: &Limit,
    consume: impl FnOnce(&mut dyn Read) -> Result<T>,
) -> Result<T> {
    let mut command = command.into();
    let line = describe(&command);
    let stderr = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr.try_clone()?);
    let (consumed, status) = supervise(command, limit, Ends::AtSignal, |child, given_up| {
        let mut stdout = Pipe::new(child.stdout.take().context("stdout is piped")?, given_up)?;
        let consumed = consume(&mut stdout);
        // A tar is padded past its end: what nobody reads would end its writer with SIGPIPE.
        if consumed.is_ok() {
            std::io::copy(&mut stdout, &mut std::io::sink())?;
        }
        Ok(consumed)
    })?;
    let said = read_back(stderr);
    // A reader that gave up makes its writer fail; the reader's own error is the cause.
    let value = consumed?;
    succeeded(&line, status, &said)?;
    Ok(value)
}

/// Runs a command that must succeed and whose standard input `produce` writes.
pub fn feed(
    command: impl Into<Command>,
    limit: &Limit,
    produce: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let mut command = command.into();
    let line = describe(&command);
    let said = tempfile::tempfile()?;
    command.stdin(Stdio::piped()).stdout(said.try_clone()?).stderr(said.try_clone()?);
    let (produced, status) = supervise(command, limit, Ends::AtSignal, |child, given_up| {
        let mut stdin = Pipe::new(child.stdin.take().context("stdin is piped")?, given_up)?;
        Ok(produce(&mut stdin))
    })?;
    let text = read_back(said);
    let broken = |error: &anyhow::Error| {
        let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
        causes.any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
    };
    // A command that ended early breaks the pipe: its own words are the cause, not the pipe's.
    if produced.as_ref().err().is_none_or(broken) {
        succeeded(&line, status, &text)?;
    }
    produced
}

/// The last lines of something long, for an error.
#[derive(Debug, Default)]
pub struct Tail(std::collections::VecDeque<String>);

impl Tail {
    /// One more; the first of too many goes.
    pub fn push(&mut self, line: &str) {
        self.0.push_back(line.to_owned());
        if self.0.len() > 15 {
            self.0.pop_front();
        }
    }

    /// The lines, oldest first.
    pub fn lines(self) -> Vec<String> {
        self.0.into()
    }
}

/// An error with the command and the last lines it wrote, unless it succeeded.
pub fn succeeded(line: &str, status: ExitStatus, stderr: &str) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let said: Vec<&str> = stderr.lines().rev().take(8).collect();
    let said: Vec<&str> = said.into_iter().rev().collect();
    let separator = if said.is_empty() { "" } else { "\n  " };
    Err(anyhow!("`{line}` failed ({status}){separator}{}", said.join("\n  ")))
}

/// The command as it would be typed.
pub fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| quote(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn quote(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| "?".to_owned(), |quoted| quoted.into_owned())
}

/// Starts `command`, lets `work` talk to it, waits for its end. A watchdog ends its whole process group when
/// the limit strikes or a signal arrives, which also ends what `work` is reading; where something else holds the other end,
/// a [`Pipe`] ends it.
fn supervise<T>(
    mut command: Command,
    limit: &Limit,
    ends: Ends<'_>,
    work: impl FnOnce(&mut Child, &AtomicBool) -> Result<T>,
) -> Result<(T, ExitStatus)> {
    let line = describe(&command);
    if matches!(ends, Ends::AtSignal) {
        interrupt::check()?;
    }
    command.process_group(0);
    let mut child = command.spawn().with_context(|| format!("cannot start `{line}`"))?;
    // Our own copies of the pipe's ends, which would keep a reader waiting.
    drop(command);
    let group = Pid::from_child(&child);
    let (ended, watch) = channel::<()>();
    let end = Instant::now().checked_add(limit.duration);
    let given_up = &AtomicBool::new(false);
    std::thread::scope(move |scope| {
        // Moved in here: should `work` panic, the watchdog sees the channel close and ends.
        let ended = ended;
        let watchdog = scope.spawn(move || {
            loop {
                match watch.recv_timeout(POLL) {
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return None,
                    Err(RecvTimeoutError::Timeout) => {}
                }
                let stopped = match ends {
                    Ends::AtSignal => interrupt::received().map(anyhow::Error::from),
                    Ends::ByItself => None,
                    Ends::When(enough) => enough.load(Ordering::Relaxed).then(|| anyhow!("that is enough")),
                };
                let late = end.is_some_and(|end| Instant::now() >= end);
                let late = late.then(|| TimedOut { what: format!("`{line}`"), limit: limit.clone() }.into());
                if let Some(error) = stopped.or(late) {
                    let _ = kill_process_group(group, Signal::TERM);
                    if watch.recv_timeout(GRACE).is_err() {
                        let _ = kill_process_group(group, Signal::KILL);
                        let _ = watch.recv_timeout(LEFT);
                        given_up.store(true, Ordering::Relaxed);
                    }
                    return Some(error);
                }
            }
        });
        let worked = work(&mut child, given_up);
        if worked.is_err() {
            let _ = kill_process_group(group, Signal::TERM);
        }
        // What `work` left unread must not keep the child from ending.
        drop((child.stdout.take(), child.stderr.take()));
        let status = child.wait();
        let _ = ended.send(());
        match watchdog.join() {
            Ok(Some(error)) => Err(error),
            _ => Ok((worked?, status?)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn limit(millis: u64) -> Limit {
        Limit::new("limits.test", Duration::from_millis(millis))
    }

    #[test]
    fn a_limit_ends_the_command_and_names_itself() {
        let started = Instant::now();
        let error = read(sh("echo started; sleep 30 & sleep 30"), &limit(200)).unwrap_err().to_string();
        assert!(error.contains("limits.test") && error.contains("200ms"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn who_left_the_group_and_holds_the_pipe_is_not_waited_for() {
        let started = Instant::now();
        let check = |result: Result<()>| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains("limits.test"), "{error}");
        };
        let holds = || sh("setsid sleep 40 & sleep 40");
        check(read(holds(), &limit(100)).map(drop));
        check(stream(holds(), &limit(100), |_| {}).map(drop));
        check(pipe(holds(), &limit(100), |reader| Ok(reader.read_to_end(&mut Vec::new()).map(drop)?)));
        let fill = |out: &mut dyn Write| Ok(out.write_all(&[b'x'; 1 << 20])?);
        check(feed(sh("exec 3<&0; setsid sleep 40 <&3 & sleep 40"), &limit(100), fill));
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn output_without_end_fails_and_ends_its_command() {
        let check = |script, what: &str| {
            let error = format!("{:#}", run(sh(script), &limit(60_000)).unwrap_err());
            assert!(error.contains(what) && error.contains("more than 16.0 MiB"), "{error}");
        };
        check("yes", "the output of `sh");
        check("yes >&2", "the errors of `sh");
    }

    #[test]
    fn a_failure_shows_what_was_said() {
        let error = read(sh("echo one >&2; echo two >&2; exit 3"), &limit(5000)).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("one\n  two"), "{error}");
    }

    #[test]
    fn lines_of_both_streams_arrive_in_order() {
        let mut lines = Vec::new();
        let status = stream(sh("echo a; echo b >&2; echo c"), &limit(5000), |l| lines.push(l.to_owned()));
        assert!(status.unwrap().success());
        assert_eq!(lines, ["a", "b", "c"]);
    }

    #[test]
    fn a_command_reads_what_is_produced_and_its_words_explain_a_failure() {
        let produce = |out: &mut dyn Write| Ok(out.write_all(&[b'x'; 1 << 20])?);
        feed(sh("test $(wc -c) = 1048576"), &limit(20_000), produce).unwrap();
        let error = feed(sh("echo no such image; exit 2"), &limit(20_000), produce).unwrap_err().to_string();
        assert!(error.contains("no such image") && error.contains("exit status: 2"), "{error}");
        let error = feed(sh("cat; exit 1"), &limit(20_000), |_| Err(anyhow!("torn"))).unwrap_err();
        assert_eq!(error.to_string(), "torn");
    }

    #[test]
    fn a_reader_that_gives_up_ends_the_command() {
        let result: Result<()> = pipe(sh("yes"), &limit(20_000), |reader| {
            reader.read_exact(&mut [0; 10])?;
            Err(anyhow!("enough"))
        });
        assert_eq!(result.unwrap_err().to_string(), "enough");
    }
}
