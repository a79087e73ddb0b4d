//! What is done to a restore rock, each for real: to its data, to the files beside it, to what its container is allowed,
//! to CRIU, and to the process that it brings back.

use std::path::Path;

use fs_err as fs;
use xtask::lock::Lock;

use crate::support::repository;

/// Every capability that a restore is given.
const ALL: [&str; 1] = ["CHECKPOINT_RESTORE"];

/// Changes a folder of checkpoint data.
pub type Change = Box<dyn Fn(&Path) + Send + Sync>;

/// One fault.
pub struct Fault {
    /// For people, and the name of its folder.
    pub name: String,
    /// Capabilities of the container.
    pub capabilities: Vec<&'static str>,
    /// More arguments of podman.
    pub arguments: Vec<String>,
    /// Shell that runs in the container before Pebble.
    pub before: String,
    /// Whether the restored process may answer before it is not well.
    pub late: bool,
    /// Changes a copy of the checkpoint data.
    pub data: Option<Change>,
}

impl Fault {
    /// A fault that changes nothing yet.
    pub fn none(name: &str) -> Fault {
        Fault {
            name: name.to_owned(),
            capabilities: ALL.to_vec(),
            arguments: Vec::new(),
            before: String::new(),
            late: false,
            data: None,
        }
    }
}

fn data(name: &str, change: impl Fn(&Path) + Send + Sync + 'static) -> Fault {
    Fault { data: Some(Box::new(change)), ..Fault::none(name) }
}

fn inside(name: &str, before: impl Into<String>) -> Fault {
    Fault { before: before.into(), ..Fault::none(name) }
}

fn with(name: &str, arguments: &[&str]) -> Fault {
    Fault { arguments: arguments.iter().map(|word| (*word).to_owned()).collect(), ..Fault::none(name) }
}

/// A copy of this file with other bytes: what it was a link to stays as it is.
fn edit(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::remove_file(file).unwrap();
    fs::write(file, bytes).unwrap();
}

/// All of them. `work` is a folder for the files that are mounted over those of the rock; the rock's `jar` and `library`
/// are in it.
pub fn faults(app: &str, lock: &Lock, work: &Path) -> Vec<Fault> {
    let pid = lock.pid;
    let mut faults = Vec::new();

    // The data, file by file.
    let of_pid = |kind: &str| format!("{kind}-{pid}.img");
    let thread = format!("core-{}.img", pid + 1);
    let names = [
        "inventory.img",
        "pstree.img",
        "pages-1.img",
        "memory.img",
        "files.img",
        "fdinfo-2.img",
        "inherit-fd",
    ];
    let named = ["core", "mm", "pagemap", "fs"].map(of_pid);
    for file in names.iter().map(|name| (*name).to_owned()).chain(named).chain([thread]) {
        faults
            .push(data(&format!("{file} is missing"), move |dir| fs::remove_file(dir.join(&file)).unwrap()));
    }
    for file in
        ["pages-1.img".to_owned(), "memory.img".into(), "files.img".into(), of_pid("core"), of_pid("mm")]
    {
        let name = format!("{file} is cut in half");
        faults.push(data(&name, move |dir| edit(&dir.join(&file), |bytes| bytes.truncate(bytes.len() / 2))));
    }
    for file in ["pstree.img".to_owned(), of_pid("pagemap")] {
        let name = format!("{file} is of another kind");
        faults.push(data(&name, move |dir| edit(&dir.join(&file), |bytes| bytes[5] ^= 0xff)));
    }
    // CRIU waits for the rest of it, and says nothing.
    faults.push(data("pages-1.img is cut to a page", |dir| {
        edit(&dir.join("pages-1.img"), |bytes| bytes.truncate(4096));
    }));
    faults.push(data("uptime is missing", |dir| fs::remove_file(dir.join("uptime")).unwrap()));
    faults.push(data("the machine is younger than that of the dump", |dir| {
        edit(&dir.join("uptime"), |seconds| *seconds = b"9999999999\n".to_vec());
    }));
    faults.push(data("the CPU lacks what that of the dump had", |dir| {
        edit(&dir.join("cpu-flags"), |flags| flags.extend_from_slice(b"avx9"));
    }));
    faults.push(data("inherit-fd is empty", |dir| edit(&dir.join("inherit-fd"), Vec::clear)));
    // Memory that CRIU takes as it is.
    faults.push(data("every 16th page of the memory is altered", |dir| {
        edit(&dir.join("memory.img"), |bytes| {
            bytes.chunks_mut(4096).step_by(16).for_each(|page| page.fill(0xff));
        });
    }));
    faults.push(data("the pages of the stacks are altered", |dir| {
        edit(&dir.join("pages-1.img"), |bytes| bytes.fill(0xff));
    }));

    // Files beside the data.
    faults.push(inside("a run-time file is missing", "rm /tmp/sample-app-*/data.bin"));
    faults.push(inside(
        "a run-time file is longer",
        "for file in /tmp/sample-app-*/data.bin; do echo more >>$file; done",
    ));
    faults.push(inside("a run-time file may not be read", "chmod 000 /tmp/sample-app-*/data.bin"));
    faults.push(with("nothing is in /tmp", &["--tmpfs=/tmp:mode=1777,notmpcopyup"]));
    let over = |name: &str, path: &str, source: &str, change: fn(&mut Vec<u8>)| {
        let copy = work.join(source);
        edit(&copy, change);
        with(name, &[&format!("--volume={}:{path}:ro", copy.display())])
    };
    // A comment of one letter at the end of the archive: another jar, and a good one.
    faults.push(over("another jar", &format!("/jars/{app}.jar"), "jar", |bytes| {
        let end = bytes.len() - 2;
        bytes[end..].copy_from_slice(&[1, 0]);
        bytes.push(b'x');
    }));
    let note = work.join("library-note");
    fs::copy(work.join("library"), &note).unwrap();
    // As long as the other one: what differs is a byte of its build-id.
    faults.push(over(
        "a library of the same size with another build-id",
        &library(lock),
        "library-note",
        |bytes| {
            let note = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";
            let at =
                bytes.windows(note.len()).position(|window| window == note).expect("a build-id of 20 bytes");
            bytes[at + note.len()] ^= 0xff;
        },
    ));
    faults.push(over("another build of a library", &library(lock), "library", |bytes| bytes.push(0)));

    // What the container is allowed.
    for missing in ALL {
        let mut fault = Fault::none(&format!("without {missing}"));
        fault.capabilities.retain(|capability| *capability != missing);
        faults.push(fault);
    }
    let profile = work.join("seccomp.json");
    fs::write(&profile, without_clone3()).unwrap();
    faults.push(with(
        "a filter of system calls without clone3",
        &[&format!("--security-opt=seccomp={}", profile.display())],
    ));
    let taken =
        |until: u32| format!("last=0; until [ $last -ge {} ]; do : & last=$!; done; sleep 1000 &", until - 1);
    faults.push(inside("its PID is taken", taken(pid)));
    faults.push(inside("the PID of a thread is taken", taken(pid + 9)));

    // Where CRIU writes.
    let run = format!("--tmpfs=/run/{app}");
    faults.push(with("no room in /run", &[&format!("{run}:size=16k,mode=1777")]));
    faults.push(with("/run cannot be written", &[&format!("{run}:ro")]));
    faults.push(with("/run is empty", &["--tmpfs=/run:mode=0755,notmpcopyup"]));

    // CRIU itself.
    faults.push(inside("no CRIU", "PATH=/usr/bin"));
    let text = work.join("text");
    fs::write(&text, "not a program\n").unwrap();
    faults.push(with(
        "a CRIU that cannot be run",
        &[&format!("--volume={}:/usr/sbin/criu:ro", text.display())],
    ));
    let criu = |script: &str| {
        format!(
            "mkdir /tmp/bin; printf '#!/bin/sh\\n%s\\n' '{script}' >/tmp/bin/criu; chmod +x /tmp/bin/criu; PATH=/tmp/bin:$PATH"
        )
    };
    let midst = "/usr/sbin/criu \"$@\" & sleep 0.03; kill -KILL $!; exit 1";
    faults.push(inside("CRIU is killed in the midst", criu(midst)));
    faults.push(inside("CRIU waits for ever and says nothing", criu("exec sleep 1000")));
    faults.push(inside("CRIU refuses an option", criu("exec /usr/sbin/criu \"$@\" --no-such-option")));

    // The process that is back. ILL is what an instruction does that this CPU lacks.
    for signal in ["ILL", "SEGV", "KILL"] {
        let restored = format!("[ -s /run/{app}/stats-restore ]");
        let script = format!("(until {restored}; do sleep 0.02; done; kill -{signal} {pid}) &");
        let name = format!("the restored process dies of SIG{signal}");
        faults.push(Fault { late: true, ..inside(&name, script) });
    }
    faults
}

/// A library that the process has mapped and that a JVM works without a change of: zlib's.
pub fn library(lock: &Lock) -> String {
    let found = lock.data.mapped.iter().find(|file| file.path.contains("/libz.so"));
    found.expect("the JVM maps zlib").path.clone()
}

/// Docker's answer to clone3: there is no such call, and the C library does without.
pub fn without_clone3() -> String {
    let text = fs::read_to_string(repository().join("templates/seccomp.json")).unwrap();
    let mut profile: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rules = profile["syscalls"].as_array_mut().unwrap();
    for rule in rules.iter_mut() {
        rule["names"].as_array_mut().unwrap().retain(|name| name != "clone3");
    }
    rules.retain(|rule| !rule["names"].as_array().unwrap().is_empty());
    rules.push(serde_json::json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }));
    profile.to_string()
}
