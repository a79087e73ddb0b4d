//! What containers, their engines and Pebble complain of.

use super::Weight;
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
        change: None,
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
        change: None,
        seen: "own",
    },
    Cause {
        id: "service-command",
        title: "Pebble cannot start a service's command",
        weight: Weight::Root,
        says: &["cannot start service: fork/exec", "cannot start command: fork/exec"],
        means: "The file is not in the rock, is not executable, or its interpreter is missing. The line says which.",
        remedy: "`cargo xtask render APP --check` and pack the rock again; a file that `rock.files` puts there keeps the mode \
                 it has here",
        change: None,
        seen: "here",
    },
    Cause {
        id: "pebble-twice",
        title: "a second Pebble is started in one container",
        weight: Weight::Root,
        says: &[".pebble.socket\" already in use"],
        means: "Pebble runs already and holds its socket.",
        remedy: "use `pebble start`, `pebble exec` or `pebble services` in a running container, not `pebble run` or `enter`",
        change: None,
        seen: "here",
    },
    Cause {
        id: "no-service",
        title: "Pebble does not know this service",
        weight: Weight::Root,
        says: &["cannot start services: service * does not exist"],
        means: "In the checkpoint rock the services are APP and APP-checkpoint, in the restore rock there is APP-restore.",
        remedy: "`pebble services` in the container names them; `cargo xtask render APP --check` says whether its layer is fresh",
        change: None,
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
        change: None,
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
        change: None,
        seen: "here",
    },
];
