//! Where texts were read that nobody could provoke.

/// Patterns that no log of fixtures/explain holds, and where the text was read: a source of the program that prints it, at a version, or a
/// file of this repository.
pub const READ: &[(&str, &str)] = &[
    (
        "nknown capability: \"CAP_CHECKPOINT_RESTORE\"",
        "https://github.com/moby/moby/blob/v20.10.24/oci/caps/utils.go",
    ),
    (
        "CAP_CHECKPOINT_RESTORE\": unknown capability",
        "https://github.com/containers/common/blob/v0.49.0/pkg/capabilities/capabilities.go",
    ),
    ("jdk.crac.CheckpointException", "https://github.com/CRaC/docs/issues/22"),
    (
        "Can't dump name-less external socket",
        "https://github.com/checkpoint-restore/criu/blob/v4.2/criu/sk-unix.c",
    ),
    ("Unsupported mapping found", "https://github.com/checkpoint-restore/criu/blob/v4.2/criu/proc_parse.c"),
    (
        "Can't handle non-regular mapping",
        "https://github.com/checkpoint-restore/criu/blob/v4.2/criu/proc_parse.c",
    ),
    ("Unseizable non-zombie", "https://github.com/checkpoint-restore/criu/blob/v4.2/compel/src/lib/infect.c"),
    ("Found dangling tty", "https://github.com/checkpoint-restore/criu/blob/v4.2/criu/tty.c"),
    (
        "Unable to create a thread: -17",
        "https://github.com/checkpoint-restore/criu/blob/v4.2/criu/pie/restorer.c",
    ),
    ("intersects with pid", "https://github.com/checkpoint-restore/criu/blob/v4.2/criu/pstree.c"),
    ("ns_last_pid*Permission denied", "https://github.com/checkpoint-restore/criu/blob/v4.2/criu/cr-check.c"),
    (
        "Can't fork for *: Operation not permitted",
        "https://github.com/checkpoint-restore/criu/blob/v4.2/criu/cr-restore.c",
    ),
    (
        "CPU capabilities do not match run time",
        "https://github.com/checkpoint-restore/criu/blob/v4.2/criu/arch/x86/cpu.c",
    ),
    (
        "CPU xfeatures has unsupported bits",
        "https://github.com/checkpoint-restore/criu/blob/v4.2/criu/arch/x86/cpu.c",
    ),
    (
        "Unable to create a new time namespace",
        "https://github.com/checkpoint-restore/criu/blob/v4.2/criu/timens.c",
    ),
    (
        "Unable to set a boottime clock offset",
        "https://github.com/checkpoint-restore/criu/blob/v4.2/criu/timens.c",
    ),
    ("Can't read pages data", "https://github.com/checkpoint-restore/criu/blob/v4.2/criu/pie/restorer.c"),
    (
        "Unable to open *.img: No such file or directory",
        "https://github.com/checkpoint-restore/criu/blob/v4.2/criu/image.c",
    ),
    ("Cannot allocate memory", "https://man7.org/linux/man-pages/man3/errno.3.html"),
    ("Disk quota exceeded", "https://man7.org/linux/man-pages/man3/errno.3.html"),
    ("Exec format error", "https://man7.org/linux/man-pages/man3/errno.3.html"),
    ("disk quota exceeded", "https://github.com/golang/go/blob/go1.24.0/src/syscall/zerrors_linux_amd64.go"),
    ("exec format error", "https://github.com/golang/go/blob/go1.24.0/src/syscall/zerrors_linux_amd64.go"),
    (
        "no space left on device",
        "https://github.com/golang/go/blob/go1.24.0/src/syscall/zerrors_linux_amd64.go",
    ),
    (
        "read-only file system",
        "https://github.com/golang/go/blob/go1.24.0/src/syscall/zerrors_linux_amd64.go",
    ),
    (
        "There is insufficient memory for the Java Runtime",
        "https://github.com/openjdk/jdk/blob/jdk-21-ga/src/hotspot/share/utilities/vmError.cpp",
    ),
    (
        "Communications link failure",
        "https://github.com/mysql/mysql-connector-j/blob/8.4.0/src/main/resources/com/mysql/cj/LocalizedErrorMessages.properties",
    ),
    ("answers otherwise than before the dump", "xtask/core/src/checkpoint/prove.rs"),
    ("answers otherwise than the first restore", "xtask/src/commands/soak.rs"),
    ("failed (exit code", "templates/scripts/restore.sh.j2"),
    ("failed without an error in its log", "templates/scripts/dump-criu.sh.j2"),
];
