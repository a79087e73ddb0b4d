//! What `explain` says of real logs, the page that is made of its table, and the command.

mod support {
    pub mod apps;
    pub mod read;
    pub mod workspace;
}

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use support::read::READ;
use support::workspace::Workspace;
use xtask::explain::{PAGE, Weight, causes, explain, markdown};

/// A file of `fixtures/explain`, how it was made, and every cause that is found in it, in order.
///
/// `here`: provoked in a container on Debian 12 with podman 4.3.1, kernel 6.18, CRIU 4.2.1, Pebble 1.32.1 and OpenJDK 21, by
/// what is said behind it; the test `explanations` of e2e does many of them again. `#`: copied from that thread. `own`: what
/// this tool itself prints.
const LOGS: &[(&str, &str, &[&str])] = &[
    ("ghost-file", "here: a deleted file of 3 MB, --ghost-limit 1M", &["ghost-file", "criu-failed"]),
    ("tracker-ghost-file", "checkpoint-restore/criu#491", &["ghost-file"]),
    ("tcp-in-flight", "here: a client whom the listener has not accepted", &["tcp-in-flight", "criu-failed"]),
    ("tracker-tcp-in-flight", "opencontainers/runc#1521", &["tcp-in-flight", "criu-failed"]),
    ("tcp-connected", "here: a connection to itself, no --tcp-close", &["tcp-connected", "criu-failed"]),
    (
        "tcp-lock",
        "here: a connection to itself, --tcp-established without --tcp-close",
        &["tcp-lock", "criu-failed"],
    ),
    (
        "unix-socket-outside",
        "here: connected to a process outside of the tree",
        &["unix-socket-outside", "criu-failed"],
    ),
    (
        "unix-socket-outside-no-option",
        "here: the same without --ext-unix-sk",
        &["unix-socket-outside", "criu-failed"],
    ),
    ("open-file-kind", "here: userfaultfd", &["open-file-kind", "criu-failed"]),
    ("open-io-uring", "here: io_uring_setup", &["open-file-kind", "criu-failed"]),
    ("open-vsock", "here: a socket of AF_VSOCK", &["open-file-kind", "criu-failed"]),
    ("file-watch", "here: inotify on /tmp", &["file-watch", "criu-failed"]),
    ("dump-seccomp", "here: podman's default filter at the dump", &["dump-seccomp", "criu-failed"]),
    ("dump-ptrace", "here: CRIU as another user without SYS_PTRACE", &["dump-ptrace", "criu-failed"]),
    (
        "other-user",
        "here: CRIU as root of the container, the process as user 1234",
        &["other-user", "criu-failed"],
    ),
    ("session-leader", "here: no --shell-job", &["session-leader", "criu-failed"]),
    ("terminal-dump", "here: podman run -t, standard input of the process", &["terminal", "criu-failed"]),
    ("terminal-restore", "here: dumped with -t, restored without", &["terminal", "criu-failed"]),
    ("file-locks", "here: flock, no --file-locks", &["file-locks", "criu-failed"]),
    ("tracker-old-criu", "checkpoint-restore/criu#2829", &["old-criu", "criu-failed"]),
    ("no-space", "here: images into a tmpfs of 1 MB", &["no-space", "criu-failed"]),
    ("pid-in-use", "here: 120 sleeps before the restore", &["pid-in-use", "criu-failed"]),
    ("tracker-pid-in-use", "checkpoint-restore/criu#2692", &["pid-in-use", "criu-failed"]),
    ("tracker-thread-pid-in-use", "checkpoint-restore/criu#1431", &["pid-in-use", "criu-failed"]),
    ("clone3", "here: a filter that answers clone3 with ENOSYS", &["clone3", "criu-failed"]),
    ("checkpoint-restore", "here: restored without the capability", &["checkpoint-restore"]),
    ("tracker-checkpoint-restore", "checkpoint-restore/criu#2401", &["checkpoint-restore"]),
    ("criu-exec", "here: fewer capabilities than the file has", &["criu-exec"]),
    ("setgid", "here: without SETGID, dumped with another group", &["setgid", "restore-hung", "criu-failed"]),
    ("setpcap", "here: without SETPCAP", &["setpcap", "restore-hung", "criu-failed"]),
    (
        "hangs",
        "here: the sample application's restore rock without SETPCAP",
        &["setpcap", "killed", "restore-hung"],
    ),
    (
        "more-capabilities",
        "here: dumped with ambient capabilities",
        &["more-capabilities", "restore-hung", "criu-failed"],
    ),
    ("tracker-more-capabilities", "checkpoint-restore/criu#684", &["more-capabilities", "restore-hung"]),
    (
        "attach-socket",
        "here: a socket bound as .java_pid9.tmp and renamed",
        &["attach-socket", "criu-failed"],
    ),
    ("file-changed", "here: a longer file at the restore", &["file-changed", "criu-failed"]),
    ("file-mode", "here: 0755 in place of 0644, no --skip-file-rwx-check", &["file-mode", "criu-failed"]),
    ("read-only-root", "here: --read-only, a deleted file in the dump", &["read-only-root", "criu-failed"]),
    ("read-only-root-pebble", "here: the checkpoint rock with --read-only", &["read-only-root"]),
    ("socket-peer", "here: connected to a datagram socket that is gone", &["socket-peer", "criu-failed"]),
    ("port-in-use", "here: another listener at the restore", &["port-in-use", "criu-failed"]),
    ("port-in-use-spring", "here: the same at a cold start", &["port-in-use", "application-failed"]),
    ("port-in-use-podman", "here: a published port twice", &["port-in-use"]),
    ("file-missing", "here: the open file is not there", &["file-missing", "criu-failed"]),
    ("cpu-features", "here: AVX512F added to cpuinfo.img, --cpu-cap=ins", &["cpu-features"]),
    ("tracker-cpu-features", "podman-container-tools/podman#17496", &["cpu-features"]),
    ("own-cpu-features", "own", &["cpu-features"]),
    ("own-older-kernel", "own", &["older-kernel"]),
    ("own-other-architecture", "own", &["other-architecture"]),
    ("tracker-other-architecture", "checkpoint-restore/criu#453", &["other-architecture", "criu-failed"]),
    (
        "time-namespace",
        "here: SYS_ADMIN without SYS_TIME, no --unprivileged",
        &["time-namespace", "criu-failed"],
    ),
    ("tracker-time-namespace", "checkpoint-restore/criu#2262", &["time-namespace", "criu-failed", "killed"]),
    (
        "younger-machine",
        "here: the sample application in a time namespace that began 40000 s later",
        &["younger-machine"],
    ),
    ("data-damaged", "here: core-88.img cut off after 100 bytes", &["data-damaged", "criu-failed"]),
    ("data-of-another-criu", "here: another image in place of inventory.img", &["data-damaged"]),
    ("no-memory", "here: the sample application with -Xmx9m", &["no-memory", "application-failed"]),
    ("tracker-crac-open-socket", "spring-projects/spring-boot#39275", &["crac-open-socket", "crac-refused"]),
    ("tracker-crac-open-socket-17", "spring-projects/spring-framework#33103", &["crac-open-socket"]),
    ("tracker-crac-open-file", "CRaC/docs#22", &["crac-open-file", "crac-refused"]),
    ("tracker-crac-open-resource", "spring-projects/spring-framework#31680", &["crac-open-resource"]),
    ("tracker-crac-cpu-features", "openjdk/crac#41", &["crac-cpu-features"]),
    ("tracker-crac-refused", "spring-projects/spring-boot#39640", &["crac-refused"]),
    ("crac-no-jvm", "here: -XX:CRaCCheckpointTo for a stock JDK", &["crac-no-jvm"]),
    ("rlimit", "here: podman without default_ulimits", &["rlimit"]),
    ("own-old-engine", "own", &["old-engine"]),
    ("libc", "here: CRIU 4.2.1 of sid on bookworm", &["libc"]),
    ("criu-exec-shell", "here: dash and bash, no capability in the bounding set", &["criu-exec"]),
    ("hybrid-cgroups", "here: crun 1.8.1 beside cgroups of version 1", &["hybrid-cgroups"]),
    ("release-expired", "here: mmdebstrap of sid without Check-Valid-Until=false", &["release-expired"]),
    (
        "tls",
        "here: go, java and git in the build image without the machine's certificates",
        &["tls", "application-failed"],
    ),
    ("own-crac-files", "own", &["crac-files"]),
    ("old-criu", "here: CRIU 4.1.1 of trixie, a listening socket", &["old-criu", "criu-failed"]),
    ("old-criu-vdso", "here: `criu check` of bookworm's 3.17.1", &["old-criu-vdso"]),
    ("tracker-file-changed", "checkpoint-restore/criu#1756", &["file-changed", "criu-failed"]),
    ("tracker-port-in-use", "docker/for-mac#1114", &["port-in-use"]),
    ("tracker-environment-missing", "alibaba/nacos#10828", &["environment-missing", "application-failed"]),
    ("tracker-dependency-unreachable", "axelor/open-platform-demo#9", &["dependency-unreachable"]),
    ("tracker-dependency-name", "jstanier/slack-to-kafka#1", &["dependency-unreachable"]),
    ("jvm-option-unknown", "here: -no-such-option", &["jvm-option"]),
    ("jvm-option-heap", "here: -Xmx9x, -Xms9x", &["jvm-option"]),
    ("crac-no-jvm-engine", "here: -XX:CREngine for a stock JDK", &["crac-no-jvm"]),
    ("not-executable-jar-classes", "here: a jar without Main-Class", &["not-executable-jar"]),
    ("not-executable-jar-corrupt", "here: a text that is called .jar", &["not-executable-jar"]),
    ("application-failed-main", "here: a main that throws", &["application-failed"]),
    ("dependency-unknown-host", "here: a host that is not there", &["dependency-unreachable"]),
    ("service-command", "here: a service whose command is not there", &["service-command"]),
    ("pebble-twice", "here: pebble run beside pebble run", &["pebble-twice"]),
    ("no-service", "here: pebble start nothere", &["no-service"]),
    ("exited-quickly", "here: a service that ends at once", &["exited-quickly"]),
    ("tracker-exited-quickly", "canonical/pebble#513", &["exited-quickly"]),
    ("killed", "here: a service that kills itself", &["killed"]),
    ("java-version", "here: a class file of version 99", &["java-version"]),
    ("jvm-option", "here: -XX:+NoSuchOption", &["jvm-option"]),
    ("jvm-option-collectors", "here: two collectors", &["jvm-option"]),
    ("not-executable-jar", "here: a jar that is not there", &["not-executable-jar"]),
    (
        "environment-missing",
        "here: --server.port=${SHOP_PORT}",
        &["environment-missing", "application-failed"],
    ),
    (
        "dependency-unreachable",
        "here: --logging.config at a port that is closed",
        &["dependency-unreachable"],
    ),
    ("application-failed", "here: --server.port=x", &["application-failed"]),
    ("answer", "here: SAMPLE_FAULT=error-500", &["answer"]),
    ("crash", "here: SAMPLE_FAULT=crash", &["application-failed"]),
    ("restore-limit", "here: a restore.sh that sleeps, limits.restore = \"5s\"", &["limit"]),
    ("not-ready", "here: the sample application with limits.ready = \"6s\"", &["not-ready"]),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/explain")
}

#[test]
fn real_logs_are_explained() {
    for (name, made, expected) in LOGS {
        let log = std::fs::read_to_string(folder().join(format!("{name}.log"))).unwrap();
        let found: Vec<&str> = explain(&log).iter().map(|found| found.cause.id).collect();
        assert_eq!(found, *expected, "{name} ({made})");
        assert!((1..=45).contains(&log.lines().count()), "{name} is no excerpt");
    }
}

/// No log beside the table, and no cause without a log: one that is its reason, where it is more than a symptom.
#[test]
fn every_cause_has_a_real_log() {
    let listed: BTreeSet<String> = LOGS.iter().map(|(name, ..)| format!("{name}.log")).collect();
    let there = std::fs::read_dir(folder()).unwrap();
    let there: BTreeSet<String> =
        there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, listed);
    for cause in causes() {
        let shown = |made: fn(&str) -> bool| {
            LOGS.iter().any(|(_, how, found)| {
                let at = found.iter().position(|id| *id == cause.id);
                made(how) && at.is_some_and(|at| at == 0 || cause.weight == Weight::Symptom)
            })
        };
        assert!(shown(|_| true), "{} has no log", cause.id);
        // What was seen here says so, what only the tool itself says does so as well, and nothing else does.
        let here = shown(|how| how.starts_with("here"));
        assert_eq!(here, cause.seen.starts_with("here"), "{}", cause.id);
        assert_eq!(!here && shown(|how| how == "own"), cause.seen.starts_with("own"), "{}", cause.id);
    }
}

/// Nothing is looked for that was never seen to be said.
#[test]
fn every_pattern_was_seen_or_read_somewhere() {
    let logs: String = LOGS
        .iter()
        .map(|(name, ..)| std::fs::read_to_string(folder().join(format!("{name}.log"))).unwrap())
        .collect();
    let holds = |pattern: &str, line: &str| {
        let mut rest = line;
        pattern.split('*').all(|part| rest.split_once(part).map(|(_, after)| rest = after).is_some())
    };
    let patterns: BTreeSet<&str> = causes().flat_map(|cause| cause.says).copied().collect();
    let unseen = |pattern: &&&str| !logs.lines().any(|line| holds(pattern, line));
    let unseen: BTreeSet<&str> = patterns.iter().filter(unseen).copied().collect();
    let read: BTreeSet<&str> = READ.iter().map(|(pattern, _)| *pattern).collect();
    assert_eq!(unseen, read, "on the left what no log holds, on the right what READ has");
    for (pattern, place) in READ {
        if !place.starts_with("https://") {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(place);
            assert!(std::fs::read_to_string(file).unwrap().contains(pattern), "{pattern} is not in {place}");
        }
    }
}

/// A good restore's log has errors in it, which mean nothing.
#[test]
fn a_good_log_has_no_cause() {
    let good = include_str!("support/restore.log");
    assert_eq!(explain(good), []);
}

#[test]
fn the_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE);
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == markdown(), "{PAGE} is not fresh; run `cargo xtask explain --markdown`");
    for cause in causes() {
        assert!(page.contains(&format!("\n### {}\n", cause.id)), "{}", cause.id);
    }
}

/// The command, in a workspace of its own.
#[track_caller]
fn explains(workspace: &Workspace, words: &str, code: i32, phrases: &[&str]) {
    // To explain changes nothing.
    let ran =
        if words.contains("--markdown") { workspace.run(words) } else { workspace.run_unchanged(words) };
    assert_eq!(ran.code, Some(code), "{words}: {ran:?}");
    for phrase in phrases {
        assert!(
            ran.stdout.contains(phrase) || ran.stderr.contains(phrase),
            "`{phrase}` is not in\n{}{}",
            ran.stdout,
            ran.stderr
        );
    }
}

#[test]
fn a_log_is_explained_with_the_line_to_change() {
    let workspace = Workspace::new();
    workspace.edit(
        "apps/petclinic/app.toml",
        "java.version",
        "checkpoint.ghost-limit = \"1 MiB\"\njava.version",
    );
    let line =
        support::apps::PETCLINIC.lines().position(|line| line.starts_with("java.version")).unwrap() + 1;
    let log = folder().join("ghost-file.log").display().to_string();
    let place = format!("apps/petclinic/app.toml:{line}: change `checkpoint.ghost-limit = \"1 MiB\"`");
    let why = "why: a deleted file that is still in use is larger than checkpoint.ghost-limit [ghost-file]";
    let evidence =
        "evidence: line 3: Error (criu/files-reg.c:1031): Can't dump ghost file /tmp/g.bin of 3002368 size";
    explains(
        &workspace,
        &format!("explain {log} --app petclinic"),
        0,
        &[why, evidence, &place, "may all follow"],
    );
    explains(&workspace, &format!("explain {log}"), 0, &[why, "`checkpoint.ghost-limit` in app.toml"]);
    explains(&workspace, &format!("explain {log} --app petclinc"), 2, &["did you mean `petclinic`?"]);
}

#[test]
fn what_is_unknown_says_so() {
    let workspace = Workspace::new();
    workspace.write("odd.log", "fine\nError: the moon is full\u{1b}[2J\nfine\n");
    let log = workspace.root().join("odd.log").display().to_string();
    explains(
        &workspace,
        &format!("explain {log}"),
        1,
        &["line 2: Error: the moon is full\n", "no known cause in", "canonical/pebble"],
    );
    explains(&workspace, "explain /none.log", 2, &["cannot read /none.log"]);
    explains(&workspace, "explain", 2, &["no failed run has left a log in target/xtask/logs"]);
    explains(&workspace, "explain --markdown --locked", 1, &["docs/guide/troubleshooting.md is not fresh"]);
    explains(&workspace, "explain --markdown", 0, &["docs/guide/troubleshooting.md is written"]);
    explains(&workspace, "explain --markdown --locked", 0, &["docs/guide/troubleshooting.md is fresh"]);
}

#[test]
fn the_newest_kept_log_is_the_default() {
    let workspace = Workspace::new();
    workspace.write("apps/petclinic/app.toml", support::apps::PETCLINIC);
    let log = |name: &str| std::fs::read_to_string(folder().join(name)).unwrap();
    let first = "# Logs of petclinic, restore rock\n==> restore.log <==\n";
    workspace.write("../state/logs/20260101T000000Z-1-petclinic.log", &log("no-space.log"));
    workspace.write(
        "../state/logs/20260102T000000Z-1-petclinic.log",
        &format!("{first}{}", log("pid-in-use.log")),
    );
    let place = "apps/petclinic/app.toml: add `[checkpoint]` and, say, `min-pid = 5000`";
    explains(
        &workspace,
        "explain",
        0,
        &["20260102T000000Z-1-petclinic.log", "[pid-in-use]", "evidence: line 5:", place],
    );
}
