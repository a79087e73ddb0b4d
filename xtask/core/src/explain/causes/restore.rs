//! What keeps CRIU from restoring.

use super::{Change, Weight, change};
use crate::explain::Cause;

pub const CAUSES: &[Cause] = &[
    Cause {
        id: "pid-in-use",
        title: "a PID that the process needs is taken",
        weight: Weight::Root,
        says: &[
            "Can't fork for *: File exists",
            "Unable to create a thread: -17",
            "Thread pid mismatch",
            "intersects with pid",
        ],
        means: "A process and its threads come back under the numbers they had. Something in the container has one of \
                them: Pebble, a shell, a probe, or a second restore in the same container.",
        remedy: "keep the JVM's PIDs away from others by a higher `checkpoint.min-pid`, and run `cargo xtask checkpoint APP`; \
                 start one restore in a container, and none with `--pid=host`",
        change: change("checkpoint.min-pid", "min-pid = 5000"),
        seen: "here; checkpoint-restore/criu#2692, checkpoint-restore/criu#2383, checkpoint-restore/criu#1431",
    },
    Cause {
        id: "clone3",
        title: "the container's filter of system calls does not allow clone3",
        weight: Weight::Root,
        says: &["ns_last_pid*Read-only file system", "ns_last_pid*Permission denied"],
        means: "CRIU chooses a PID by clone3. Docker's default filter answers that it does not exist; CRIU then writes \
                ns_last_pid, which is read-only in a container.",
        remedy: "start the container with `--security-opt seccomp=rocks/APP/restore/seccomp.json`, which is Docker's filter \
                 with clone3",
        change: Change::Elsewhere(
            "the filter is the container's: `--security-opt`, or `seccompProfile` of the \
             Pod",
        ),
        seen: "here; checkpoint-restore/criu#1268",
    },
    Cause {
        id: "checkpoint-restore",
        title: "CRIU may not dump or restore at all: CHECKPOINT_RESTORE is missing",
        weight: Weight::Root,
        says: &[
            "CRIU needs to have the CAP_SYS_ADMIN or the CAP_CHECKPOINT_RESTORE",
            "Can't fork for *: Operation not permitted",
        ],
        means: "The container was not given the capability, or the criu binary does not carry it (an image that was packed \
                anew by something that loses file capabilities).",
        remedy: "start the container with `--cap-drop=all --cap-add=CHECKPOINT_RESTORE`; compose.yaml in \
                 rocks/APP/restore has it. Where it has that, CRIU has lost its own: pack the rock again with \
                 `cargo xtask pack APP restore`",
        change: Change::Elsewhere(
            "capabilities are the container's: `--cap-add`, `cap_add`, \
             `securityContext`",
        ),
        seen: "here; checkpoint-restore/criu#2322, checkpoint-restore/criu#2401",
    },
    Cause {
        id: "criu-exec",
        title: "the kernel refuses to start criu: its file capabilities are more than the container has",
        weight: Weight::Root,
        says: &[
            "criu: Operation not permitted",
            // dash's word for it.
            "criu: Permission denied",
            "run command *criu*: Operation not permitted",
        ],
        means: "The binary carries the list of capabilities that it needs, and each must be in the container's bounding set.",
        remedy: "give the container every capability of its role: CHECKPOINT_RESTORE, and for a dump NET_ADMIN and SYS_PTRACE \
                 as well; a rock of an earlier version of this tool also SETGID and SETPCAP",
        change: Change::Elsewhere(
            "capabilities are the container's: `--cap-add`, `cap_add`, \
             `securityContext`",
        ),
        seen: "here",
    },
    Cause {
        id: "setgid",
        title: "CRIU may not set supplementary groups: SETGID is missing",
        weight: Weight::Root,
        says: &["Can't setgroups("],
        means: "The process comes back with the groups it had. CRIU then hangs instead of ending.",
        remedy: "dump again with this version, whose dumps do without: `cargo xtask checkpoint APP --force`. To add SETGID to \
                 the container is not enough, unless the rock's criu carries it as well",
        change: Change::Elsewhere(
            "capabilities are the container's: `--cap-add`, `cap_add`, \
             `securityContext`",
        ),
        seen: "here",
    },
    Cause {
        id: "setpcap",
        title: "CRIU may not drop capabilities: SETPCAP is missing",
        weight: Weight::Root,
        says: &["Unable to drop capability"],
        means: "The process comes back with the bounding set it had, and what the container has beyond that is dropped. CRIU \
                then hangs instead of ending.",
        remedy: "dump again with this version, whose dumps do without: `cargo xtask checkpoint APP --force`. To add SETPCAP to \
                 the container is not enough, unless the rock's criu carries it as well",
        change: Change::Elsewhere(
            "capabilities are the container's: `--cap-add`, `cap_add`, \
             `securityContext`",
        ),
        seen: "here",
    },
    Cause {
        id: "more-capabilities",
        title: "the process was dumped with capabilities that this container does not have",
        weight: Weight::Root,
        says: &["Unable to restore capabilities"],
        means: "podman hands a user's process its container's capabilities, and a process cannot come back with fewer than \
                it had. CRIU then hangs instead of ending.",
        remedy: "start the application without any, as start.sh does with `setpriv --inh-caps=-all --ambient-caps=-all`, \
                 and run `cargo xtask checkpoint APP --force`",
        change: Change::Elsewhere("capabilities are dropped in start.sh, below templates/scripts"),
        seen: "here; checkpoint-restore/criu#684, checkpoint-restore/criu#499",
    },
    Cause {
        id: "attach-socket",
        title: "a socket file belongs to somebody else: CRIU looks for the JVM's attach socket under its first name",
        weight: Weight::Root,
        says: &["Unable to change * ownership"],
        means: "jcmd starts the JVM's attach listener, whose socket was bound as /tmp/.java_pidN.tmp and then renamed. CRIU \
                makes it under the first name, where an unprivileged restore may not give it away.",
        remedy: "link the socket to that name before the dump, as settle.sh does: `ln /tmp/.java_pidN /tmp/.java_pidN.tmp`",
        change: Change::Elsewhere("the link is made in settle.sh, below templates/scripts"),
        seen: "here",
    },
    Cause {
        id: "file-changed",
        title: "a file that the process has mapped is another one than at the dump",
        weight: Weight::Root,
        says: &["has bad size", "has bad build-ID"],
        means: "A library, the jar or the class archive was replaced: a rock with newer packages, or a file mounted over \
                it. Code in memory refers to addresses in the old one.",
        remedy: "restore with the rock that was proven (`cargo xtask pack APP restore`), or dump again with the new packages: \
                 `cargo xtask checkpoint APP --force`",
        change: Change::Elsewhere(
            "what is mounted over the rock is the container's: `--volume`, \
             `volumeMounts`",
        ),
        seen: "here",
    },
    Cause {
        id: "file-mode",
        title: "a file or folder has other permissions than at the dump",
        weight: Weight::Root,
        says: &["has bad mode"],
        means: "CRIU compares modes. podman mounts `/` with 0555 and Docker with 0755, so a restore under the other one \
                always differs.",
        remedy: "give CRIU `--skip-file-rwx-check`, as restore.sh does",
        change: Change::Elsewhere("the option is in restore.sh, below templates/scripts"),
        seen: "here",
    },
    Cause {
        id: "read-only-root",
        title: "something must be written where the container is read-only",
        weight: Weight::Root,
        says: &[
            "Read-only file system",
            "read-only file system",
            "cannot run daemon: directory * not writable",
        ],
        means: "CRIU makes deleted files and sockets anew at their places, and Pebble keeps its state in /var/lib/pebble.",
        remedy: "start it without `--read-only`, or with a tmpfs at the path in the line; compose.yaml in rocks/APP/restore \
                 has what this application needs",
        change: Change::Elsewhere(
            "it is the container's: `--read-only`, `--tmpfs`, `readOnlyRootFilesystem`",
        ),
        seen: "here",
    },
    Cause {
        id: "no-space",
        title: "a disk or a tmpfs is full",
        weight: Weight::Root,
        says: &[
            "No space left on device",
            "no space left on device",
            "Disk quota exceeded",
            "disk quota exceeded",
        ],
        means: "The dump, or what a restore makes anew, did not fit.",
        remedy: "free space: `cargo xtask gc` and `cargo xtask clean`, images of the container engine, or move target/xtask \
                 with XTASK_STATE; a tmpfs or volume of the container may be too small",
        change: Change::Elsewhere(
            "disks and tmpfs are the machine's and the container's: XTASK_STATE, \
             `--tmpfs`",
        ),
        seen: "here",
    },
    Cause {
        id: "socket-peer",
        title: "a Unix socket that the process was connected to is not there",
        weight: Weight::Root,
        says: &["unix: Can't connect * socket"],
        means: "The process on its other side does not run in this container, or has not started yet.",
        remedy: "start the other side first, or have the application connect after the restore only",
        change: Change::Elsewhere("the other side is started by whoever starts the container"),
        seen: "here",
    },
    Cause {
        id: "port-in-use",
        title: "a port that the process listens on is taken",
        weight: Weight::Root,
        says: &[
            "Address already in use",
            "address already in use",
            "port is already allocated",
            "Port * was already in use",
        ],
        means: "Another instance has it: in the container's network (a Pod, or `--network=host`), or on this machine if it \
                is the published one.",
        remedy: "stop the other one, or publish another port: `cargo xtask restore APP --publish 8081:8080`",
        change: Change::Elsewhere(
            "the published port is said by `--publish`, compose.yaml or the Service, and who \
             else listens there by the machine",
        ),
        seen: "here",
    },
    Cause {
        id: "file-missing",
        title: "a file that the process had open or mapped is not there",
        weight: Weight::Root,
        says: &["Can't open file *: No such file or directory"],
        means: "It was made at run time and did not travel with the dump, it lay on a volume, or the restore rock lacks a \
                package. The line names it.",
        remedy: "what is made at run time must lie in the container itself, not below /run or on a volume; put what both \
                 rocks need in with `rock.files` or `rock.packages`",
        change: change("rock.files", "files = { \"/etc/shop/log.xml\" = \"log.xml\" }"),
        seen: "here",
    },
    Cause {
        id: "cpu-features",
        title: "this CPU lacks something that the process may use",
        weight: Weight::Root,
        says: &[
            "CPU instruction capabilities do not match run time",
            "CPU capabilities do not match run time",
            "FPU feature required by image",
            "CPU xfeatures has unsupported bits",
            "this CPU lacks * which the JVM saw",
        ],
        means: "The JVM compiled code for the CPU it saw. On one that lacks an instruction it would end at any moment.",
        remedy: "restore on a machine like the one that dumped, or make a pin on the oldest CPU of the fleet: \
                 `cargo xtask checkpoint APP --force` there; `cargo xtask doctor APP` compares",
        change: change("java.options", "options = [\"-XX:UseAVX=2\"]"),
        seen: "here; checkpoint-restore/criu#2104, podman-container-tools/podman#17496",
    },
    Cause {
        id: "other-architecture",
        title: "the process was dumped on another architecture",
        weight: Weight::Root,
        says: &[
            "Core march mismatch",
            "exec format error",
            "Exec format error",
            "the checkpoint was made on * this machine is",
        ],
        means: "A process of one architecture cannot be restored on another, and neither can a rock be run there.",
        remedy: "make a pin for this architecture: `cargo xtask checkpoint APP` on such a machine",
        change: Change::Elsewhere("a pin is made for the machine on which `checkpoint` runs"),
        seen: "own; checkpoint-restore/criu#453",
    },
    Cause {
        id: "older-kernel",
        title: "this kernel is older than the one of the dump",
        weight: Weight::Root,
        says: &["its kernel is * older than * on which the checkpoint was made"],
        means: "The process and CRIU may use what they found there. Nothing is started.",
        remedy: "restore on a machine with that kernel or a later one, or make a pin on the oldest of the fleet; \
                 `cargo xtask restore APP --force-host` tries all the same",
        change: Change::Elsewhere("the kernel is the machine's"),
        seen: "own",
    },
    Cause {
        id: "time-namespace",
        title: "CRIU may not set the clocks of a time namespace",
        weight: Weight::Root,
        says: &[
            "Unable to create a new time namespace",
            "Unable to set a monotonic clock offset",
            "Unable to set a boottime clock offset",
        ],
        means: "A CRIU with SYS_ADMIN (root, or a CRaC JVM's) restores the monotonic clock, which needs SYS_TIME as well. \
                The unprivileged CRIU of this tool leaves clocks alone.",
        remedy: "add SYS_TIME to the container, or take SYS_ADMIN away and give CRIU `--unprivileged`",
        change: Change::Elsewhere("capabilities are the container's: `--cap-add`"),
        seen: "here; checkpoint-restore/criu#2262",
    },
    Cause {
        id: "younger-machine",
        title: "this machine has been up for less time than that of the dump had: timers stand still",
        weight: Weight::Likely,
        says: &["restore: * this machine was started * s too late"],
        means: "Timers of a JVM go by the time since the machine's start, and wait until this one has caught up. Requests are \
                answered; what is scheduled is not done.",
        remedy: "restore on a machine that has been up for longer, dump on one that was just started, or have it start cold",
        change: change("restore.fallback", "fallback = \"cold\""),
        seen: "here",
    },
    Cause {
        id: "data-damaged",
        title: "the checkpoint data is incomplete or damaged",
        weight: Weight::Root,
        says: &[
            "agic doesn't match for",
            "bytes while * expected from",
            "Can't read pages data",
            "Unable to open *.img: No such file or directory",
        ],
        means: "CRIU cannot make sense of an image file, or misses one: the data was cut off, mixed with that of another dump, \
                or is of a CRIU of another version.",
        remedy: "`cargo xtask verify APP --deep` names the file; `cargo xtask pull APP` fetches it, and \
                 `cargo xtask checkpoint APP --force` dumps anew",
        change: Change::Elsewhere("the data is named by checkpoint.lock and lies in the store or a remote"),
        seen: "here",
    },
    Cause {
        id: "no-memory",
        title: "there is not enough memory",
        weight: Weight::Root,
        says: &[
            "Cannot allocate memory",
            "OutOfMemoryError",
            "There is insufficient memory for the Java Runtime",
        ],
        means: "The container's limit, the machine, or the JVM's own heap is too small.",
        remedy: "give the container more memory, or the JVM another heap",
        change: change("java.options", "options = [\"-Xmx512m\"]"),
        seen: "here",
    },
    Cause {
        id: "restore-hung",
        title: "CRIU hangs: it stumbled after it had begun to resume threads",
        weight: Weight::Symptom,
        says: &["BUG at criu/pie/restorer.c", "not restored within"],
        means: "A missing capability does this. CRIU never ends by itself then, and restore.sh ends it after limits.restore.",
        remedy: "look for the error before it; a slow machine may need more time",
        change: change("limits.restore", "restore = \"60s\""),
        seen: "here; checkpoint-restore/criu#684",
    },
    Cause {
        id: "criu-failed",
        title: "CRIU says that it failed, and this log does not say why",
        weight: Weight::Symptom,
        says: &[
            "Restoring FAILED",
            "Dumping FAILED",
            "failed (exit code",
            "failed without an error in its log",
        ],
        means: "It is the last line of every failure.",
        remedy: "look at CRIU's own log: restore.log or dump.log in /run/APP of the container",
        change: Change::Elsewhere("its log says more than this one"),
        seen: "here",
    },
];
