//! Several things at a time, and locks that are waited for.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::diagnostic::causes;
use crate::interrupt;
use crate::process::{Limit, TimedOut};

/// Between two tries for a lock.
const POLL: Duration = Duration::from_millis(5);

/// Does `work` for each item, several at a time, until one fails; `stop` then tells the others. Returns the first error.
pub fn each<T: Sync>(
    items: &[T],
    workers: usize,
    stop: impl Fn() + Sync,
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let first = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(items.len()) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed)
                    && let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    if let Err(error) = work(item) {
                        // Before the others are told, whose errors would say no more than that they were told.
                        lock(&first).get_or_insert(error);
                        failed.store(true, Ordering::Relaxed);
                        stop();
                    }
                }
            });
        }
    });
    first.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).map_or(Ok(()), Err)
}

/// Does two things at a time that need nothing of each other, and waits for both. Where both fail, both are told; an error
/// of one does not end the other, whose own limits do.
pub fn both<A, B: Send>(
    here: impl FnOnce() -> Result<A>,
    beside: impl FnOnce() -> Result<B> + Send,
) -> Result<(A, B)> {
    std::thread::scope(|scope| {
        let beside = scope.spawn(beside);
        let here = here();
        let beside = beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (here, beside) {
            (Ok(here), Ok(beside)) => Ok((here, beside)),
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
            // Both were told to stop: once is enough.
            (Err(error), Err(_)) if interrupt::received().is_some() => Err(error),
            (Err(error), Err(other)) => Err(error.context(format!("{}; besides", causes(&other)))),
        }
    })
}

/// Takes the lock of an open file; waits for another process up to the limit.
pub(crate) fn wait_for_lock(file: &File, what: &str, limit: &Limit) -> Result<()> {
    let wanted = FlockOperation::NonBlockingLockExclusive;
    if lock_within(file, wanted, limit.duration)
        .with_context(|| format!("cannot lock what another process {what}"))?
    {
        return Ok(());
    }
    let what = format!("waiting for another process that {what}");
    Err(TimedOut { what, limit: limit.clone() }.into())
}

/// Takes the lock of an open file, which others may hold for `wait` and no longer; whether it was to be had.
pub(crate) fn lock_within(file: &File, wanted: FlockOperation, wait: Duration) -> Result<bool> {
    let started = Instant::now();
    loop {
        match flock(file, wanted) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) if started.elapsed() >= wait => return Ok(false),
            Err(Errno::WOULDBLOCK) => interrupt::sleep(POLL)?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The value, also where a thread has panicked with it: that thread's end is told by its join.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Does something when it is dropped, also by a panic: a scope waits for its threads, and they for what ends them.
pub struct AtEnd<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn all_are_done_or_the_first_error_is_told() {
        let sum = AtomicU32::new(0);
        let add = |item: &u32| {
            sum.fetch_add(*item, Ordering::Relaxed);
            Ok(())
        };
        each(&(0..100).collect::<Vec<u32>>(), 4, || (), add).unwrap();
        assert_eq!(sum.into_inner(), 4950);

        let stopped = AtomicBool::new(false);
        let done = AtomicUsize::new(0);
        let work = |item: &u32| {
            anyhow::ensure!(*item != 3, "item {item}");
            done.fetch_add(1, Ordering::Relaxed);
            while *item > 3 && !stopped.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            Ok(())
        };
        let items: Vec<u32> = (0..1000).collect();
        let error = each(&items, 4, || stopped.store(true, Ordering::Relaxed), work).unwrap_err();
        assert_eq!(error.to_string(), "item 3");
        assert!(done.into_inner() < 10, "nobody goes on");
    }

    #[test]
    fn both_are_waited_for_and_both_errors_are_told() {
        let (go, gone) = std::sync::mpsc::channel();
        // Each waits for the other's sign: one after the other, they would wait for ever.
        let (back, came) = std::sync::mpsc::channel();
        let within = Duration::from_secs(20);
        let here = || {
            go.send(())?;
            Ok(came.recv_timeout(within)?)
        };
        let beside = move || {
            gone.recv_timeout(within)?;
            Ok(back.send(7)?)
        };
        assert_eq!(both(here, beside).unwrap(), (7, ()));

        let check = |here: Result<u8>, beside: Result<u8>, expected: &[&str]| {
            let error = causes(&both(|| here, || beside).unwrap_err());
            assert!(expected.iter().all(|part| error.contains(part)), "{error}");
        };
        let failed = |what: &str| Err(anyhow::anyhow!("no {what}"));
        check(failed("disk"), Ok(1), &["no disk"]);
        check(Ok(1), failed("engine"), &["no engine"]);
        check(failed("disk"), failed("engine"), &["no disk", "no engine"]);
    }

    #[test]
    fn a_panic_ends_the_thread_that_waits_for_the_end() {
        let over = AtomicBool::new(false);
        let hanging = std::time::Instant::now() + Duration::from_secs(20);
        let work = || {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        assert!(Instant::now() < hanging, "nobody says that it is over");
                        std::thread::yield_now();
                    }
                });
                let _over = AtEnd(|| over.store(true, Ordering::Relaxed));
                panic!("of the work");
            })
        };
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"of the work"));
    }

    #[test]
    fn a_lock_that_is_held_names_its_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        wait_for_lock(file.as_file(), "writes", &Limit::quick()).unwrap();
        let other = File::open(file.path()).unwrap();
        let limit = Limit::new("the limit of this test", Duration::from_millis(50));
        let error = wait_for_lock(&other, "writes it", &limit).unwrap_err().to_string();
        assert!(
            error.contains("another process that writes it")
                && error.contains("50ms (the limit of this test)")
        );
        drop(file);
        wait_for_lock(&other, "writes it", &limit).unwrap();
    }
}
