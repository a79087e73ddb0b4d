//! Ports of this machine that containers are published on.

use std::collections::VecDeque;
use std::sync::Mutex;

use anyhow::{Context, Result};

use crate::workers::lock;

/// Ports of this process that are not given out again so soon: more than restores run side by side.
const REMEMBERED: usize = 256;

/// A port of the loopback address that nobody uses right now, and that was given to nobody else a moment ago: between this
/// answer and the engine's use of the port it is free for all.
pub fn free_port() -> Result<u16> {
    static GIVEN: Mutex<VecDeque<u16>> = Mutex::new(VecDeque::new());
    // Those that will not do are held, so that the kernel names another.
    let mut held = Vec::new();
    loop {
        let listener =
            std::net::TcpListener::bind(("127.0.0.1", 0)).context("no free port on the loopback address")?;
        let port = listener.local_addr()?.port();
        let mut given = lock(&GIVEN);
        if !given.contains(&port) {
            given.push_back(port);
            if given.len() > REMEMBERED {
                given.pop_front();
            }
            return Ok(port);
        }
        held.push(listener);
    }
}

/// Starts something on the port that is wanted; without a wish on a free one, and once more where another process took that
/// before the engine did.
pub(super) fn on_port<T>(wanted: Option<u16>, start: impl Fn(u16) -> Result<T>) -> Result<T> {
    if let Some(port) = wanted {
        return start(port);
    }
    match start(free_port()?) {
        Err(error) if in_use(&format!("{error:#}")) => start(free_port()?),
        started => started,
    }
}

/// Whether an engine's error says that somebody else has the port.
pub(super) fn in_use(text: &str) -> bool {
    text.contains("address already in use") || text.contains("port is already allocated")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn threads_side_by_side_get_ports_of_their_own() {
        let ports: Vec<u16> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..16).map(|_| free_port().unwrap()).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 128);
    }

    #[test]
    fn a_port_that_was_taken_is_replaced_once_and_only_if_nobody_asked_for_it() {
        let check = |wanted, answers: &[Option<&'static str>], expected: Result<(), &str>| {
            let tried = RefCell::new(Vec::new());
            let started = on_port(wanted, |port| {
                tried.borrow_mut().push(port);
                match answers[tried.borrow().len() - 1] {
                    Some(error) => Err(anyhow::anyhow!("cannot start").context(error)),
                    None => Ok(()),
                }
            });
            assert_eq!(started.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
            let tried = tried.into_inner();
            assert_eq!(tried.len(), answers.len());
            assert_eq!(tried.iter().collect::<BTreeSet<_>>().len(), tried.len(), "{tried:?}");
        };
        let taken = "listen tcp 127.0.0.1:4711: bind: address already in use";
        check(None, &[None], Ok(()));
        check(None, &[Some(taken), None], Ok(()));
        check(None, &[Some("port is already allocated"), None], Ok(()));
        check(None, &[Some(taken), Some(taken)], Err(taken));
        check(None, &[Some("no such image")], Err("no such image"));
        check(Some(8080), &[Some(taken)], Err(taken));
    }
}
