//! A fault at every system call by which a command changes something: the process is killed, the disk is full, the disk
//! is broken. What is there then is the old state or the new one, and the next run does the rest.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use xtask::commands::checkpoint::pin;
use xtask::lock::Lock;
use xtask::verify;

mod support {
    pub mod fault;
    pub mod registry;
    pub mod shop;
}

use support::fault::{Call, Fault, calls, inject};
use support::registry::{Demands, DockerRegistry};
use support::shop::{APP, Shop, prepare, said};

/// What is tried.
struct Case {
    name: &'static str,
    /// A repository as it is before the command.
    before: Box<dyn Fn() -> Shop + Sync>,
    /// The command.
    command: Box<dyn Fn(&Shop) -> Command + Sync>,
    /// Panics unless things are as before or as after.
    sound: Box<dyn Fn(&Shop) + Sync>,
    /// Panics unless things are as after.
    done: Box<dyn Fn(&Shop) + Sync>,
}

/// Every call, every fault; how many faults there were.
fn tried(case: &Case) {
    let shop = (case.before)();
    let calls = calls(&(case.command)(&shop), &shop.beside(""));
    (case.done)(&shop);
    let faults: Vec<(&Call, Fault)> =
        calls.iter().flat_map(|call| Fault::ALL.map(|fault| (call, fault))).collect();
    assert!(faults.len() > 30, "{}: {} calls that change something", case.name, calls.len());
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((call, fault)) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !one(case, call, *fault) {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    println!(
        "{}: {} faults at {} system calls, {} of them ended it; old state or new, and the next run recovers",
        case.name,
        faults.len(),
        calls.len(),
        failed.into_inner()
    );
}

/// Whether the command succeeded all the same.
fn one(case: &Case, call: &Call, fault: Fault) -> bool {
    let shop = (case.before)();
    let ran = inject(&(case.command)(&shop), call, fault);
    let context = format!("{}: {fault:?} at {} {}\n{}", case.name, call.number, call.line, said(&ran));
    let check = |what: &str, check: &dyn Fn()| {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
        assert!(outcome.is_ok(), "{what}: {context}");
    };
    check("a mix", &|| (case.sound)(&shop));
    if ran.status.success() {
        check("said to be done, and is not", &|| (case.done)(&shop));
    }
    let again = (case.command)(&shop).output().unwrap();
    assert!(again.status.success(), "does not recover: {}\n{context}", said(&again));
    check("not recovered", &|| (case.done)(&shop));
    check("something is left behind", &|| tidy(&shop));
    ran.status.success()
}

/// The lock is that of a generation, and the store has all that it names.
fn pinned(shop: &Shop, generations: &[u8]) -> Lock {
    let lock = shop.lock();
    assert!(generations.contains(&((lock.pid - 1000) as u8)), "PID {}", lock.pid);
    let findings = verify::objects(&shop.store(), &lock, false).findings;
    assert_eq!(findings, Vec::<String>::new());
    lock
}

/// Nothing is half-written anywhere.
fn tidy(shop: &Shop) {
    let left: Vec<_> = walkdir::WalkDir::new(shop.top())
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| {
            let in_partial = entry
                .path()
                .parent()
                .is_some_and(|folder| folder.ends_with("partial") || folder.ends_with("cache/pull"));
            in_partial || entry.file_name().to_string_lossy().starts_with(".partial-")
        })
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Runs in a process of its own, which is what the fault hits.
#[test]
#[ignore = "run by the_pin_step"]
fn pin_here() {
    let shop = Shop::at(Path::new(&std::env::var_os("SHOP").unwrap()));
    shop.with_job(|job| {
        xtask::commands::sweep(job.session).unwrap();
        let pin = prepare(job, 2);
        let written = pin::write(job, &pin.lock, Some(&pin.checkpoint), &pin.restore);
        written.unwrap_or_else(|error| panic!("{error:#}"));
        // What the next `checkpoint` does where nothing has changed.
        pin::settle(job, &pin.lock).unwrap();
    });
}

#[test]
#[ignore = "needs strace"]
fn the_pin_step() {
    let pinned_once = Shop::new();
    tried(&Case {
        name: "pin",
        before: Box::new(move || pinned_once.copy()),
        command: Box::new(|shop| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "pin_here", "--ignored", "--test-threads=1"]).env("SHOP", shop.top());
            command
        }),
        sound: Box::new(|shop| {
            let lock = pinned(shop, &[1, 2]);
            // The old pin keeps its own rocks.
            let rock = shop.root().join("target/xtask/rocks/shop-restorer_1.0_amd64.rock");
            if lock.pid == 1001 {
                xtask::pack::verify::verify_archive(&rock, &lock.rocks.restore, "1.0").unwrap();
            }
        }),
        done: Box::new(|shop| {
            pinned(shop, &[2]);
            let verified = shop.succeed(&["verify", APP, "--deep"]);
            assert_eq!(verified.lines().count(), 4, "{verified}");
        }),
    });
}

#[test]
#[ignore = "needs strace"]
fn gc() {
    let littered = Shop::new();
    littered.pin(2);
    for number in 0..5 {
        littered.store().add_bytes(format!("nobody's {number}").as_bytes()).unwrap();
    }
    std::fs::write(littered.store().root().join("partial/left"), "half").unwrap();
    tried(&Case {
        name: "gc",
        before: Box::new(move || littered.copy()),
        command: Box::new(|shop| shop.command(&["gc"])),
        sound: Box::new(|shop| drop(pinned(shop, &[2]))),
        done: Box::new(|shop| {
            let lock = pinned(shop, &[2]);
            let mut kept: Vec<String> = lock.objects().iter().map(|object| object.digest.hex()).collect();
            kept.push(lock.data.digest.hex());
            kept.sort();
            kept.dedup();
            let objects = shop.objects();
            assert!(objects.iter().all(|object| kept.contains(object)), "{objects:?} {kept:?}");
        }),
    });
}

/// Where a shop's pins are kept.
type Place = Arc<dyn Fn(&Shop) -> String + Send + Sync>;

fn beside() -> Place {
    Arc::new(|shop| format!("oci:{}", shop.beside("pins").display()))
}

/// Each shop has a repository of its own.
fn registry(registry: &DockerRegistry) -> Place {
    let port = registry.port;
    Arc::new(move |shop| {
        let name = shop.top().file_name().unwrap().to_string_lossy().to_lowercase().replace('.', "");
        format!("127.0.0.1:{port}/pins/{name}")
    })
}

/// What another machine gets of that place is the pin of one of these generations, whole.
fn kept(shop: &Shop, place: &Place, generations: &[u8]) {
    let there = shop.elsewhere();
    std::fs::remove_file(there.lock_path()).unwrap();
    there.succeed(&["pull", APP, &place(shop)]);
    pinned(&there, generations);
}

/// The first generation is there, the second is to be.
fn push_to(name: &'static str, place: Place) {
    let first = Shop::new();
    let [before, command, sound, done] = [(); 4].map(|()| place.clone());
    tried(&Case {
        name,
        before: Box::new(move || {
            let shop = first.copy();
            shop.succeed(&["push", APP, &before(&shop)]);
            shop.pin(2);
            shop
        }),
        command: Box::new(move |shop| shop.command(&["push", APP, &command(shop)])),
        sound: Box::new(move |shop| {
            pinned(shop, &[2]);
            kept(shop, &sound, &[1, 2]);
        }),
        done: Box::new(move |shop| kept(shop, &done, &[2])),
    });
}

/// The second generation is there, the first is here.
fn pull_from(name: &'static str, place: Place) {
    let both = Shop::new();
    let old = both.copy();
    both.pin(2);
    let before = place.clone();
    tried(&Case {
        name,
        before: Box::new(move || {
            let shop = old.copy();
            both.copy().succeed(&["push", APP, &before(&shop)]);
            shop
        }),
        command: Box::new(move |shop| shop.command(&["pull", APP, &place(shop), "--pin", "shop-1.0"])),
        sound: Box::new(|shop| drop(pinned(shop, &[1, 2]))),
        done: Box::new(|shop| {
            pinned(shop, &[2]);
            shop.succeed(&["pack", APP, "restore", "--locked"]);
        }),
    });
}

#[test]
#[ignore = "needs strace"]
fn push_to_a_folder() {
    push_to("push to a folder", beside());
}

#[test]
#[ignore = "needs strace"]
fn pull_from_a_folder() {
    pull_from("pull from a folder", beside());
}

#[test]
#[ignore = "needs strace and docker-registry"]
fn push_to_a_registry() {
    let server = DockerRegistry::start(&Demands::default());
    push_to("push to a registry", registry(&server));
}

#[test]
#[ignore = "needs strace and docker-registry"]
fn pull_from_a_registry() {
    let server = DockerRegistry::start(&Demands::default());
    pull_from("pull from a registry", registry(&server));
}
