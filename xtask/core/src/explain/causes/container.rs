//! What containers, their engines and Pebble complain of.

use super::{Change, Weight, change};
use crate::explain::Cause;

pub const CAUSES: &[Cause] = &[
    Cause {
        id: "rlimit",
        title: "containers may not raise resource limits on this machine",
        weight: Weight::Root,
        says: &["error setting rlimit"],
        means: "The container engine asks for more open files or processes than it may have itself.",
        remedy: "set `default_ulimits` in a containers.conf and name it in CONTAINERS_CONF: see \"Machines with limits\" in \
                 docs/guide/first-checkpoint.md",
        change: Change::Elsewhere(
            "the limits are those of the machine: `default_ulimits` in a \
             containers.conf",
        ),
        seen: "here",
    },
    Cause {
        id: "old-engine",
        title: "the container engine does not know CHECKPOINT_RESTORE",
        weight: Weight::Root,
        says: &[
            "nknown capability: \"CAP_CHECKPOINT_RESTORE\"",
            "CAP_CHECKPOINT_RESTORE\": unknown capability",
            "does not know the capability CHECKPOINT_RESTORE",
        ],
        means: "Docker Engine knows it from version 23 on, and the kernel from 5.9 on.",
        remedy: "use a later Docker, or podman: `--runtime podman`",
        change: Change::Elsewhere(
            "the engine is chosen by `--runtime` or XTASK_RUNTIME, its version by the \
             machine",
        ),
        seen: "own",
    },
    Cause {
        id: "hybrid-cgroups",
        title: "crun does not start containers on a machine with hybrid cgroups",
        weight: Weight::Root,
        says: &["cgroups in hybrid mode not supported"],
        means: "The machine has cgroups of version 1 and, beside them, an empty hierarchy of version 2.",
        remedy: "have podman use runc: `runtime = \"runc\"` below `[engine]` in a containers.conf, which CONTAINERS_CONF may name",
        change: Change::Elsewhere("the runtime is podman's: containers.conf"),
        seen: "here",
    },
    Cause {
        id: "libc",
        title: "a program needs a later C library than there is",
        weight: Weight::Root,
        says: &["GLIBC_* not found"],
        means: "CRIU 4.2 of Debian's sid needs libc 2.38, and Debian bookworm has 2.36. A program that was taken from one suite \
                does not run in another.",
        remedy: "take program and base from the same suite, and run CRIU in the rock, not on the machine",
        change: change("rock.suite", "suite = \"sid\""),
        seen: "here",
    },
    Cause {
        id: "release-expired",
        title: "the list of a Debian mirror is past its date",
        weight: Weight::Root,
        says: &["Release file for * is expired", "is expired (invalid since"],
        means: "A mirror that nobody renews, or a clock that is wrong. apt refuses it, since an attacker could hold back fixes \
                that way.",
        remedy: "use a mirror that is fresh and look at the clock (`date`); for a frozen mirror that you trust, \
                 XTASK_MMDEBSTRAP takes apt's option (first-checkpoint.md, \"Machines with limits\")",
        change: Change::Elsewhere("mirrors are the machine's: /etc/apt/sources.list, XTASK_MMDEBSTRAP"),
        seen: "here",
    },
    Cause {
        id: "tls",
        title: "a server's certificate is not trusted",
        weight: Weight::Root,
        says: &[
            "PKIX path building failed",
            "x509: certificate signed by unknown authority",
            "SSL certificate verification failed",
        ],
        means: "A proxy that looks into connections, as companies have them, or a registry of one's own: its authority is not \
                among those of this machine, which are handed to the build image.",
        remedy: "add it to the machine's (`update-ca-certificates`), or name a file with all of them in SSL_CERT_FILE; \
                 `cargo xtask doctor` looks at them",
        change: Change::Elsewhere("certificates are the machine's: SSL_CERT_FILE"),
        seen: "here",
    },
    Cause {
        id: "service-command",
        title: "Pebble cannot start a service's command",
        weight: Weight::Root,
        says: &["cannot start service: fork/exec"],
        means: "The file is not in the rock, is not executable, or its interpreter is missing. The line says which.",
        remedy: "`cargo xtask render APP --check` and pack the rock again; a file that `rock.files` puts there keeps the mode \
                 it has here",
        change: Change::Elsewhere(
            "the command is the rendered layer of Pebble: rocks/APP/*/rockcraft.yaml, written by \
             `cargo xtask render APP`",
        ),
        seen: "here",
    },
    Cause {
        id: "pebble-twice",
        title: "a second Pebble is started in one container",
        weight: Weight::Root,
        says: &[".pebble.socket\" already in use"],
        means: "Pebble runs already and holds its socket.",
        remedy: "use `pebble start`, `pebble exec` or `pebble services` in a running container, not `pebble run` or `enter`",
        change: Change::Elsewhere("what starts Pebble is the command of the container"),
        seen: "here",
    },
    Cause {
        id: "no-service",
        title: "Pebble does not know this service",
        weight: Weight::Root,
        says: &["cannot start services: service * does not exist"],
        means: "In the checkpoint rock the services are APP and APP-checkpoint, in the restore rock there is APP-restore.",
        remedy: "`pebble services` in the container names them; `cargo xtask render APP --check` says whether its layer is fresh",
        change: Change::Elsewhere(
            "the services are in the rendered layer of Pebble, and change with the name of the \
             folder below apps/",
        ),
        seen: "here",
    },
    Cause {
        id: "exited-quickly",
        title: "a service ended within a second, which Pebble calls a failure",
        weight: Weight::Symptom,
        says: &["exited quickly with code"],
        means: "For the service that dumps this is no failure: the dump kills the application, and `/run/APP/dump` says how \
                it went. Of any other service, its own last lines say why.",
        remedy: "look at the lines before it; a service that shall not start again needs `on-success: ignore` and \
                 `on-failure: ignore`, or a second, cold instance is dumped over the warm one",
        change: Change::Elsewhere("it is in the rendered layer of Pebble, templates/rockcraft"),
        seen: "here; canonical/pebble#46, canonical/pebble#240",
    },
    Cause {
        id: "killed",
        title: "a process was killed (128 + 9)",
        weight: Weight::Symptom,
        says: &["with code 137", "killed by signal 9"],
        means: "After a complete dump the application is killed, and that is how it must be. Otherwise the container's memory \
                limit, `podman stop` or restore.sh's time limit did it.",
        remedy: "look at the lines before it, and at the container's memory limit",
        change: Change::Elsewhere(
            "a memory limit is that of the container: compose.yaml, kubernetes.yaml, \
             `--memory`",
        ),
        seen: "here",
    },
];
