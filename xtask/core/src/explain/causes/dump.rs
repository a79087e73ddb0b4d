//! What keeps CRIU from dumping.

use super::{Change, Weight, change};
use crate::explain::Cause;

pub const CAUSES: &[Cause] = &[
    Cause {
        id: "ghost-file",
        title: "a deleted file that is still in use is larger than checkpoint.ghost-limit",
        weight: Weight::Root,
        says: &["Can't dump ghost file * increase limit"],
        means: "The application deleted a file and still has it open or mapped, as Netty does with its native libraries. \
                Its content has to travel in the dump, and CRIU takes only files up to a limit.",
        remedy: "raise the limit above the size in the line",
        change: change("checkpoint.ghost-limit", "ghost-limit = \"128 MiB\""),
        seen: "here; checkpoint-restore/criu#202, checkpoint-restore/criu#491",
    },
    Cause {
        id: "tcp-in-flight",
        title: "a TCP connection was being opened during the dump",
        weight: Weight::Root,
        says: &["In-flight connection (l) for"],
        means: "Somebody had connected to a port of the application that it had not accepted yet: a probe, a scraper, or \
                a client that waits while all threads are busy. CRIU cannot dump half a connection.",
        remedy: "keep probes and clients away during the checkpoint and run `cargo xtask checkpoint APP` again",
        change: Change::Elsewhere("who connects is decided outside of the container"),
        seen: "here; opencontainers/runc#1521, checkpoint-restore/criu#1324",
    },
    Cause {
        id: "tcp-connected",
        title: "the application has an open TCP connection, and CRIU was not told what to do with it",
        weight: Weight::Root,
        says: &["Connected TCP socket, consider using --tcp-established"],
        means: "A connection to a database or a client, say. This tool's own scripts say `--tcp-close`, so this log is of \
                another CRIU: that of a CRaC JVM, or one called by hand.",
        remedy: "give CRIU `--tcp-close` on both sides, or close connections before the dump (with CRaC: beforeCheckpoint)",
        change: Change::Elsewhere(
            "the options are those of CRIU: `criu_options` in xtask/core/src/engine.rs, or the \
             command of whoever called it",
        ),
        seen: "here",
    },
    Cause {
        id: "unix-socket-outside",
        title: "the application is connected to a Unix socket of a process that is not dumped",
        weight: Weight::Root,
        says: &[
            "Can't dump half of stream unix connection",
            "Can't dump name-less external socket",
            "External socket is used. Consider using",
        ],
        means: "A database, an agent or a log daemon in the same container. A stream has state on both sides, and only \
                one is dumped.",
        remedy: "have the application open this connection after the restore only, or use TCP, which is closed and opened anew",
        change: change("environment", "SHOP_AGENT_ENABLED = \"false\""),
        seen: "here",
    },
    Cause {
        id: "open-file-kind",
        title: "the application has something open that CRIU cannot dump",
        weight: Weight::Root,
        says: &[
            "Can't dump file * of that type",
            "send_fds failed",
            "Unknown socket collected",
            "Unsupported mapping found",
            "Can't handle non-regular mapping",
        ],
        means: "io_uring, userfaultfd, performance counters or a device (a GPU): its state is in the kernel, which does \
                not hand it out. The line names it.",
        remedy: "switch off what opens it: native transports of Netty, a profiler, an agent",
        change: change("java.options", "options = [\"-Dio.netty.transport.noNative=true\"]"),
        seen: "here",
    },
    Cause {
        id: "file-watch",
        title: "the application watches files (inotify) where CRIU does not find them",
        weight: Weight::Root,
        says: &["fsnotify: * cannot be opened", "fsnotify: *Can't dump that handle"],
        means: "Java's WatchService, `reload-on-update` of SSL bundles and Spring's devtools use it. CRIU finds a watched \
                folder by its handle, which needs a capability that no container here has, or else by a search of \
                `/etc`, `/var/log` and `/var/spool`.",
        remedy: "keep what is watched in a folder below `/etc` (`rock.files`), mount over that folder at the restore, or \
                 switch watching off for the process that is dumped; \"Certificates\" in safety.md of the guide has a third way",
        change: change("java.arguments", "arguments = [\"--spring.devtools.restart.enabled=false\"]"),
        seen: "here",
    },
    Cause {
        id: "dump-seccomp",
        title: "the process runs under a seccomp filter, and CRIU may not suspend it",
        weight: Weight::Root,
        says: &["suspending seccomp failed"],
        means: "The container that dumps has a filter of system calls. To suspend it CRIU needs SYS_ADMIN.",
        remedy: "run the checkpoint rock with `--security-opt seccomp=unconfined`, as `cargo xtask checkpoint` does; the \
                 restore keeps its filter",
        change: Change::Elsewhere("the filter is the container's: `--security-opt`"),
        seen: "here",
    },
    Cause {
        id: "dump-ptrace",
        title: "CRIU may not trace the process: SYS_PTRACE is missing",
        weight: Weight::Root,
        says: &["Unable to interrupt task: * (Operation not permitted)", "Unseizable non-zombie"],
        means: "The container lacks the capability, the criu binary lacks it as a file capability, CRIU and the JVM are \
                different users, or Yama forbids tracing (`kernel.yama.ptrace_scope`).",
        remedy: "add SYS_PTRACE to the container that dumps (`cap_add`, `--cap-add`); `cargo xtask doctor` looks at Yama",
        change: Change::Elsewhere(
            "capabilities are the container's: `--cap-add`; Yama's scope is the machine's: \
             sysctl",
        ),
        seen: "here",
    },
    Cause {
        id: "other-user",
        title: "CRIU and the process are different users",
        weight: Weight::Root,
        says: &["Can't get rlimit *: Operation not permitted"],
        means: "To read another user's limits takes SYS_RESOURCE, which no container has by default.",
        remedy: "run CRIU as the user of the application, as both rocks do (`_daemon_`)",
        change: Change::Elsewhere("the user is that of the container: `--user`, or `runAsUser`"),
        seen: "here",
    },
    Cause {
        id: "tcp-lock",
        title: "CRIU cannot keep an open TCP connection",
        weight: Weight::Root,
        says: &["Failed to lock TCP connection", "Iptables configuration failed"],
        means: "To keep a connection it locks the network, by iptables or nftables and with NET_ADMIN. No connection outlives \
                a restore elsewhere anyway.",
        remedy: "give CRIU `--tcp-close` on both sides, as this tool's scripts do",
        change: Change::Elsewhere("the options are those of whoever called CRIU"),
        seen: "here",
    },
    Cause {
        id: "session-leader",
        title: "the process is no session leader, and CRIU was not told to accept that",
        weight: Weight::Root,
        says: &["is not a session leader"],
        means: "Pebble's services and what a shell starts are children of another session.",
        remedy: "give CRIU `--shell-job` on both sides, as this tool's scripts do",
        change: Change::Elsewhere("the options are those of whoever called CRIU"),
        seen: "here",
    },
    Cause {
        id: "terminal",
        title: "the process holds a terminal",
        weight: Weight::Root,
        says: &[
            "Found slave peer * without correspond master peer",
            "Don't have tty to inherit session from",
            "Found dangling tty",
        ],
        means: "The container was started with `-t`, so the application's input or output is a terminal whose other end is \
                outside.",
        remedy: "run the checkpoint rock without `-t`, and never dump from an interactive shell",
        change: Change::Elsewhere("the terminal is the container's: `-t`, or `tty: true`"),
        seen: "here",
    },
    Cause {
        id: "file-locks",
        title: "the application holds file locks, and CRIU was not told to keep them",
        weight: Weight::Root,
        says: &["Some file locks are hold by dumping tasks"],
        means: "H2, Lucene and Derby lock their files.",
        remedy: "give CRIU `--file-locks` on both sides, as this tool's scripts do",
        change: Change::Elsewhere("the options are those of whoever called CRIU"),
        seen: "here",
    },
    Cause {
        id: "old-criu-vdso",
        title: "this CRIU is too old for the vDSO of this kernel",
        weight: Weight::Root,
        says: &["Unexpected rt vDSO area bounds", "Failed to fill self vdso symtable"],
        means: "CRIU 3.17 (Debian bookworm) cannot parse the page of code that later kernels lend to every process. It neither \
                dumps nor restores.",
        remedy: "use CRIU 4.2 or later in both rocks: Debian's sid has it",
        change: change("rock.suite", "suite = \"sid\""),
        seen: "here; checkpoint-restore/criu#2532",
    },
    Cause {
        id: "old-criu",
        title: "this CRIU is older than the kernel it runs on",
        weight: Weight::Root,
        says: &["Can't get 1:16 opt", "Can't get 1:34 opt"],
        means: "Kernels from 6.16 on refuse an option of listening sockets that CRIU before 4.2 asks for.",
        remedy: "use CRIU 4.2 or later in both rocks: Debian's sid has it",
        change: change("rock.suite", "suite = \"sid\""),
        seen: "here; checkpoint-restore/criu#2829, checkpoint-restore/criu#2804, checkpoint-restore/criu#2718",
    },
];
