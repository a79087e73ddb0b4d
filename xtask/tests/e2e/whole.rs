//! All of the way from a git repository to a restored process that is the dumped one.

use std::process::Command;
use std::time::{Duration, Instant, UNIX_EPOCH};

use fs_err as fs;
use rustix::process::Signal;
use xtask::bench::{self, Bench};
use xtask::process::{self, Limit};

use crate::support::{
    PORT, Workspace, ended, files, first_answer, fixture, get, http, podman, sample_from, try_podman,
    wait_until,
};
use crate::verified::verified;

const APP: &str = "e2e-whole";
const HTTP: &str = "[http]\n\
    warm-up = [{ path = \"/counter\", method = \"POST\", repeat = 3 }, { path = \"/echo?q=warm\", repeat = 20 }]\n\
    verify = [\"/identity\", \"/counter\"]\n";
const RESTORES: usize = 20;

/// A git repository with the sample application, and its only commit.
fn repository_of_sample() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    for file in files(&fixture()).into_iter().filter(|file| !file.starts_with("target/")) {
        let target = folder.path().join(&file);
        fs_err::create_dir_all(target.parent().unwrap()).unwrap();
        fs_err::copy(fixture().join(&file), target).unwrap();
    }
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(&folder).args(arguments);
        process::read(command, &Limit::quick()).unwrap()
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&[
        "-c",
        "user.name=e2e",
        "-c",
        "user.email=e2e@localhost",
        "commit",
        "--quiet",
        "--message",
        "sample",
    ]);
    let commit = git(&["rev-parse", "HEAD"]);
    (folder, commit)
}

#[test]
#[ignore = "needs podman; run by cargo xtask test"]
fn from_git_to_a_restored_process() {
    let (folder, commit) = repository_of_sample();
    let source = format!("git = \"file://{}\"\ncommit = \"{commit}\"", folder.path().display());
    let workspace = Workspace::new(APP, &sample_from(&source, HTTP));
    checkpoint_pins(&workspace, &commit);
    nothing_changed_nothing_done(&workspace);
    verified(&workspace, APP);
    another_host(&workspace);
    measured(&workspace);
    soaked(&workspace);
    restored_process_is_the_dumped_one(&workspace);
    every_restore_answers(&workspace);
    pebble_stops_it(&workspace);
    sigterm_ends_the_foreground(&workspace);
    death_ends_the_container(&workspace);
    workspace.assert_nothing_left();
}

fn checkpoint_pins(workspace: &Workspace, commit: &str) {
    let output = workspace.checkpoint(&[]);
    output.assert_says(&["of Java heap, ", " of stacks and ", " of inflaters' windows that are not in use"]);
    for nothing in ["zeros, 0 B of Java heap", ", 0 B of stacks", "and 0 B of inflaters' windows"] {
        assert!(!format!("{output}").contains(nothing), "what is not in use was not found\n{output}");
    }
    let lock_file = format!("apps/{APP}/checkpoint.lock");
    for text in ["is checkpointed", "cold", "restored", "ratio", "frozen for the dump", &lock_file] {
        assert!(output.stdout.contains(text), "the summary does not say {text:?}\n{output}");
    }
    let lock = workspace.lock();
    assert!(lock.pid > 1000, "the PID {} is not above checkpoint.min-pid", lock.pid);
    assert!(!lock.source.local, "a git repository is no local source");
    assert!(lock.source.from.contains(&commit[..12]), "the pin names the commit: {}", lock.source.from);
    for rock in workspace.rocks() {
        let size = fs_err::metadata(&rock).unwrap().len();
        assert!(size > 100 << 20, "{} has {size} bytes", rock.display());
        assert_eq!(privileged(&rock), Vec::<String>::new(), "setuid or setgid in {}", rock.display());
    }
    workspace.succeed(&["render", "--check"]);
    workspace.assert_nothing_left();
}

/// Files of a rock's layers that make whoever runs them another user.
fn privileged(rock: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = 0;
    let mut blobs = tar::Archive::new(fs_err::File::open(rock).unwrap());
    for blob in blobs.entries().unwrap() {
        let blob = blob.unwrap();
        // All others are of JSON, and small.
        if blob.size() < 10 << 10 {
            continue;
        }
        for file in tar::Archive::new(blob).entries().unwrap() {
            let file = file.unwrap();
            let path = file.path().unwrap().display().to_string();
            seen += usize::from(path.ends_with("usr/bin/su"));
            if file.header().entry_type().is_file() && file.header().mode().unwrap() & 0o6000 != 0 {
                found.push(path);
            }
        }
    }
    assert_eq!(seen, 1, "the base layer of {} was not read", rock.display());
    found
}

fn nothing_changed_nothing_done(workspace: &Workspace) {
    let before = workspace.pinned();
    let output = workspace.checkpoint(&[]);
    assert!(output.stdout.contains("nothing has changed"), "{output}");
    assert!(output.elapsed < Duration::from_secs(1), "{output}");
    assert_eq!(workspace.pinned(), before, "the pin was touched");
}

fn restored_process_is_the_dumped_one(workspace: &Workspace) {
    let lock = workspace.lock();
    let (name, port) = workspace.restore();
    assert_eq!(get(port, "/counter"), "3", "the memory is that after the warm-up");
    let facts: serde_json::Value = serde_json::from_str(&get(port, "/process")).unwrap();
    assert_eq!(facts["pid"], lock.pid, "{facts}");
    let created = humantime::parse_rfc3339(&lock.created).unwrap().duration_since(UNIX_EPOCH).unwrap();
    assert!(
        u128::from(facts["startedAt"].as_u64().unwrap()) < created.as_millis(),
        "it began after the dump: {facts}"
    );

    let pid = lock.pid.to_string();
    let status = podman(&["exec", &name, "cat", "/proc/1/comm", &format!("/proc/{pid}/status")]);
    assert!(status.starts_with("pebble\n"), "PID 1 is not Pebble:\n{status}");
    for line in [
        "Name:\tjava",
        "CapEff:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(status.contains(line), "the JVM's status lacks {line:?}:\n{status}");
    }
    let capabilities = podman(&["inspect", "--format", "{{json .BoundingCaps}}", &name]);
    assert_eq!(capabilities, r#"["CAP_CHECKPOINT_RESTORE"]"#);
    let options =
        podman(&["inspect", "--format", "{{.HostConfig.SecurityOpt}} {{.HostConfig.Privileged}}", &name]);
    let filter =
        options.strip_prefix("[no-new-privileges seccomp=").and_then(|rest| rest.strip_suffix("] false"));
    let filter = filter.unwrap_or_else(|| panic!("security options of a restored container: {options}"));
    let rendered = workspace.root().join("rocks").join(APP).join("restore/seccomp.json");
    assert_eq!(fs::read(filter).unwrap(), fs::read(rendered).unwrap(), "the filter of a restored container");
    // By it CRIU finds breakpoints broken, and stops threads without.
    if cfg!(target_arch = "x86_64") {
        let log = podman(&["exec", &name, "cat", &format!("/run/{APP}/restore.log")]);
        assert!(log.contains("breakpoints don't seem to work"), "{log}");
    }

    assert_eq!(get(port, "/log?line=hello-after-restore"), "logged");
    wait_until("the restored application's log", Duration::from_secs(5), || {
        let log = try_podman(&["logs", &name]).1;
        log.lines()
            .any(|line| line.contains("-restore]") && line.contains("hello-after-restore"))
            .then_some(())
    })
    .unwrap();

    let started = Instant::now();
    podman(&["stop", "--time", "20", &name]);
    let elapsed = started.elapsed();
    let log = try_podman(&["logs", &name]).1;
    assert!(log.contains("sample-app: goodbye"), "`podman stop` is not graceful:\n{log}");
    assert!(elapsed < Duration::from_secs(8), "`podman stop` took {elapsed:.1?}");
    println!("    podman stop: {elapsed:.2?}, exit code {:?}", ended(&name));

    // The same container again: what the first restore left in it is in nobody's way.
    for _ in 0..3 {
        podman(&["start", &name]);
        assert_eq!(first_answer(port, "/counter", Duration::from_secs(20)), "3");
        podman(&["stop", "--time", "20", &name]);
    }
    podman(&["rm", "--force", &name]);
}

fn every_restore_answers(workspace: &Workspace) {
    let lock = workspace.lock();
    let mut identities = std::collections::BTreeSet::new();
    let mut times = Vec::new();
    for number in 0..RESTORES {
        let port = xtask::runtime::free_port().unwrap();
        let name = format!("{}twenty-{number}", workspace.prefix());
        let mut words: Vec<String> = ["run", "--detach", "--cap-drop=all"].map(String::from).to_vec();
        words.extend(lock.capabilities.restore.iter().map(|capability| format!("--cap-add={capability}")));
        words.push(format!("--name={name}"));
        words.push(format!("--publish=127.0.0.1:{port}:{PORT}"));
        words.push(format!("localhost/{APP}-restorer:0.0.1"));
        let started = Instant::now();
        podman(&words.iter().map(String::as_str).collect::<Vec<_>>());
        identities.insert(first_answer(port, "/identity", Duration::from_secs(20)));
        times.push(started.elapsed());
        podman(&["rm", "--force", "--time", "0", &name]);
    }
    times.sort();
    println!(
        "    {RESTORES} restores, `podman run` to the first answer: median {:.0?}, {:.0?} to {:.0?}",
        times[RESTORES / 2],
        times[0],
        times[RESTORES - 1]
    );
    assert_eq!(identities.len(), 1, "every restore is the same process: {identities:?}");
    assert!(identities.first().unwrap().starts_with(&format!("{} ", lock.pid)), "{identities:?}");
}

/// `bench` measures both, and leaves nothing.
fn measured(workspace: &Workspace) {
    let output = workspace.succeed(&["bench", APP, "--cold", "2", "--restores", "5"]);
    for text in
        ["times as fast (medians)", "p95 / median", "plain read of the same pages", "bare criu restore"]
    {
        assert!(output.stdout.contains(text), "{text}\n{output}");
    }
    let file = workspace.state().join("reports").join(format!("{APP}-bench.json"));
    let bench = Bench::read(&file).unwrap();
    let count = |name: &str| bench.series(name).map_or(0, |series| series.millis.len());
    for (name, expected) in [
        (bench::COLD, 2),
        (bench::COLD_TO_REQUEST, 2),
        (bench::RESTORED, 5),
        (bench::RESTORED_TO_REQUEST, 5),
        (bench::CRIU, 2),
        (bench::DUMP, 1),
        (bench::EMPTY, 5),
        (bench::READ, 5),
        (bench::WRITE, 5),
        (bench::BARE, 5),
    ] {
        assert_eq!(count(name), expected, "{name}");
    }
    // One that was answered nothing in the last quarter of a second does not count.
    assert!((1..=3).contains(&count(bench::WARM)));
    // The stages are of the same restores, and are what the restores lasted.
    let sums: Vec<f64> = (0..5).map(|at| bench.stages.iter().map(|stage| stage.millis[at]).sum()).collect();
    assert!(bench.stages.len() == 10 && sums.iter().all(|sum| (100.0..30_000.0).contains(sum)), "{sums:?}");
    let answers: Vec<(&str, usize)> =
        bench.rates.iter().map(|rate| (rate.name.as_str(), rate.answers.len())).collect();
    assert_eq!(answers, [("cold", 1), ("restored", 3)]);
    assert!(bench.rates.iter().all(|rate| rate.first_second() > 1.0), "{:?}", bench.rates);
    assert_eq!(bench.resident.len(), 4);
    for resident in &bench.resident {
        assert!(resident.rss[0] >= resident.pss[0] && resident.pss[0] > 20 << 20, "{resident:?}");
    }
    for kind in ["md", "svg", "html"] {
        let report = fs_err::read_to_string(file.with_extension(kind)).unwrap();
        assert!(report.contains("CRIU reads pages"), "{kind}");
    }
    println!("{}", bench.markdown(None));
    // What was dumped, by its use, is about what travels: of that, pages of zeros are left out, and gaps are filled.
    let files = workspace.lock().data.files;
    let pages =
        files.iter().filter(|file| file.path.contains("/pages-") || file.path == xtask::memory::MEMORY);
    let share = bench.memory.values().sum::<u64>() as f64 / pages.map(|file| file.size).sum::<u64>() as f64;
    assert!((0.8..1.2).contains(&share), "{share} {:?}", bench.memory);
    let earlier = file.display().to_string();
    let limited = ["--baseline", &earlier, "--fail-below", "1000"];
    let output = workspace.run(&[&["bench", APP, "--cold", "1", "--restores", "1"], &limited[..]].concat());
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.stdout.contains("| medians in ms | then | now | now / then |"), "{output}");
    output.assert_says(&["times as fast, and --fail-below wants 1000"]);
    for kind in ["json", "md", "svg", "html"] {
        fs_err::remove_file(file.with_extension(kind)).unwrap();
    }
    workspace.assert_nothing_left();
}

/// Restores in a row: each gives the same answers, and none leaves anything. By hand and at length: `cargo xtask soak`.
fn soaked(workspace: &Workspace) {
    let output = workspace.succeed(&["soak", APP, "--restores", "15"]);
    for text in ["15 of 15 restores", "median", "p95", "containers ", "mounts ", "Nothing was left behind."] {
        assert!(output.stdout.contains(text), "{text}\n{output}");
    }
    println!("{}", output.stdout);
    workspace.assert_nothing_left();
}

/// A CPU that lacks what the dump may use is refused, unless somebody insists.
fn another_host(workspace: &Workspace) {
    let lock = workspace.lock();
    let mut elsewhere = lock.clone();
    elsewhere.host.cpu_flags.push("zz512".into());
    elsewhere.write(&workspace.lock_path()).unwrap();
    let refused = workspace.run(&["restore", APP, "--detach"]);
    assert_eq!(refused.code, Some(1), "{refused}");
    refused.assert_says(&["this CPU lacks zz512", "checkpoint e2e-whole --force", "--force-host"]);
    let port = xtask::runtime::free_port().unwrap();
    let publish = format!("{port}:{PORT}");
    let forced = workspace.succeed(&["restore", APP, "--detach", "--force-host", "--publish", &publish]);
    forced.assert_says(&["warning: --force-host: this CPU lacks zz512"]);
    podman(&["rm", "--force", "--time", "0", forced.stdout.trim()]);
    lock.write(&workspace.lock_path()).unwrap();
}

fn pebble_stops_it(workspace: &Workspace) {
    let (name, port) = workspace.restore();
    podman(&["exec", &name, "pebble", "stop", &format!("{APP}-restore")]);
    let log = try_podman(&["logs", &name]).1;
    assert!(log.contains("sample-app: goodbye"), "`pebble stop` is not graceful:\n{log}");
    assert!(http("GET", port, "/identity").is_err(), "it answers after `pebble stop`");
    podman(&["rm", "--force", "--time", "0", &name]);
}

fn sigterm_ends_the_foreground(workspace: &Workspace) {
    for signal in [Signal::TERM, Signal::INT] {
        let port = xtask::runtime::free_port().unwrap();
        let mut restore = workspace.start(&["restore", APP, "--publish", &format!("{port}:{PORT}")]);
        restore.wait_for("Ctrl-C stops it", Duration::from_secs(60));
        assert_eq!(get(port, "/counter"), "3");
        restore.signal(signal);
        let output = restore.finish(Duration::from_secs(30));
        assert_eq!(output.code, Some(0), "{output}");
        assert!(output.stdout.contains("is stopped"), "{output}");
        output.assert_says(&["sample-app: goodbye"]);
        workspace.assert_nothing_left();
    }
}

fn death_ends_the_container(workspace: &Workspace) {
    // In the background: the container ends with the service, and does not start a second one.
    let (name, port) = workspace.restore();
    assert_eq!(get(port, "/die"), "dying");
    let code = wait_until("the container's end", Duration::from_secs(15), || ended(&name)).unwrap();
    assert_ne!(code, 0, "a container whose application was killed must not look well");
    podman(&["rm", "--force", &name]);

    // In the foreground: so does the command.
    let port = xtask::runtime::free_port().unwrap();
    let mut restore = workspace.start(&["restore", APP, "--publish", &format!("{port}:{PORT}")]);
    restore.wait_for("Ctrl-C stops it", Duration::from_secs(60));
    assert_eq!(get(port, "/die"), "dying");
    let output = restore.finish(Duration::from_secs(20));
    assert_eq!(output.code, Some(1), "{output}");
    output.assert_says(&["ended by itself", &format!("exit code {code}")]);
    workspace.assert_nothing_left();

    // Copies are separate: the dead one has not changed what the next is made from.
    let (name, port) = workspace.restore();
    assert_eq!(get(port, "/counter"), "3");
    assert_eq!(http("POST", port, "/counter").unwrap(), (200, "4".to_owned()));
    podman(&["rm", "--force", "--time", "0", &name]);
}
