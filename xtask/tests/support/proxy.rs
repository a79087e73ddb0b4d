//! A connection's middleman that counts what passes and cuts it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Passes bytes to and from a port of this machine until it has passed its fill, then cuts every connection.
#[derive(Clone)]
pub struct Proxy {
    pub port: u16,
    passed: Arc<AtomicU64>,
    fill: Arc<AtomicU64>,
    cuts: Arc<AtomicU64>,
}

impl Proxy {
    /// To `port`, for `fill` bytes of both directions. Ends with the test's process.
    pub fn to(port: u16, fill: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy {
            port: listener.local_addr().unwrap().port(),
            passed: Arc::default(),
            fill: Arc::new(AtomicU64::new(fill)),
            cuts: Arc::new(AtomicU64::new(u64::MAX)),
        };
        let own = proxy.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let own = own.clone();
                    std::thread::spawn(move || own.pass(from, to));
                }
            }
        });
        proxy
    }

    /// Bytes that have passed, and forgets them.
    pub fn take_passed(&self) -> u64 {
        self.passed.swap(0, Ordering::SeqCst)
    }

    /// Another fill.
    pub fn refill(&self, fill: u64) {
        self.fill.store(fill, Ordering::SeqCst);
    }

    /// Cuts no more than this often: the fill is endless then.
    pub fn heal_after(&self, cuts: u64) {
        self.cuts.store(cuts, Ordering::SeqCst);
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let take = |fill: u64| Some(fill.saturating_sub(read as u64));
            let left = self.fill.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).unwrap();
            let most = read.min(usize::try_from(left).unwrap_or(usize::MAX));
            if to.write_all(&buffer[..most]).is_err() {
                break;
            }
            self.passed.fetch_add(most as u64, Ordering::SeqCst);
            if most < read {
                if self.cuts.fetch_sub(1, Ordering::SeqCst) == 1 {
                    self.refill(u64::MAX);
                }
                break;
            }
        }
        for stream in [from, to] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
