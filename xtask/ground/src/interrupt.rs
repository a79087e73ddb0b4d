//! Ctrl-C, SIGTERM and SIGHUP: noted here, asked for by every wait, so that each step can clean up behind itself.

use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// The error of a step that was told to stop.
#[derive(Debug, Clone, Copy)]
pub struct Interrupted {
    /// The signal's number.
    pub signal: i32,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.signal {
            SIGINT => "Ctrl-C",
            SIGTERM => "SIGTERM",
            SIGHUP => "SIGHUP",
            _ => "a signal",
        };
        write!(f, "stopped by {name}; what was started is removed, what was there before is unchanged")
    }
}

impl std::error::Error for Interrupted {}

static RECEIVED: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Notes the signals from now on instead of dying of them.
pub fn install() -> Result<()> {
    let received = RECEIVED.get_or_init(Default::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_usize(signal, Arc::clone(received), signal as usize)?;
    }
    Ok(())
}

/// The signal that was received, if any.
pub fn received() -> Option<Interrupted> {
    let signal = RECEIVED.get()?.load(Ordering::Relaxed);
    (signal != 0).then_some(Interrupted { signal: signal as i32 })
}

/// An error once a signal was received.
pub fn check() -> Result<()> {
    match received() {
        Some(interrupted) => Err(interrupted.into()),
        None => Ok(()),
    }
}

/// Sleeps, but not past a signal.
pub fn sleep(duration: std::time::Duration) -> Result<()> {
    let end = std::time::Instant::now() + duration;
    loop {
        check()?;
        let left = end.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(std::time::Duration::from_millis(20)));
    }
}
