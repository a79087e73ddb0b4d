//! What a CRaC JVM complains of. None can be had where this was written: the texts are those of the threads.

use super::{Change, Weight, change};
use crate::explain::Cause;

pub const CAUSES: &[Cause] = &[
    Cause {
        id: "crac-open-socket",
        title: "a socket is open, and a CRaC JVM does not dump sockets",
        weight: Weight::Root,
        says: &["CheckpointOpenSocketException"],
        means: "A connection pool, an HTTP client that keeps connections, or a server that does not close its port. Spring \
                Boot closes its own from 3.2 on, with `org.crac:crac` on the class path. The line names both ends.",
        remedy: "close it in beforeCheckpoint (Hikari: `spring.datasource.hikari.allow-pool-suspension=true`), have the pool \
                 open late, or give the JVM a rule for it",
        change: change("crac.resource-policies", "resource-policies = \"crac.yaml\""),
        seen: "spring-projects/spring-boot#39275, spring-projects/spring-boot#41440, CRaC/docs#29, spring-projects/spring-framework#33103",
    },
    Cause {
        id: "crac-open-file",
        title: "a file is open, and a CRaC JVM does not dump open files",
        weight: Weight::Root,
        says: &["CheckpointOpenFileException"],
        means: "A log file, an agent's jar, a lock. The line names it.",
        remedy: "write logs to the standard output, leave the agent out, or give the JVM a rule for it or its number",
        change: change("crac.resource-policies", "resource-policies = \"crac.yaml\""),
        seen: "spring-projects/spring-framework#31680, CRaC/docs#22, CRaC/docs#17",
    },
    Cause {
        id: "crac-open-resource",
        title: "a descriptor is open that the CRaC JVM does not know",
        weight: Weight::Root,
        says: &["CheckpointOpenResourceException"],
        means: "Netty's native transports hold epoll and eventfd descriptors that the JDK has not opened. The line names it.",
        remedy: "use the JDK's own transport, or name the descriptor in `crac.ignored-descriptors`",
        change: change("java.options", "options = [\"-Dio.netty.transport.noNative=true\"]"),
        seen: "CRaC/docs#26, spring-projects/spring-framework#31680",
    },
    Cause {
        id: "crac-cpu-features",
        title: "this CPU lacks what the CRaC JVM saw at the checkpoint",
        weight: Weight::Root,
        says: &["missing features of this CPU are", "You have to specify -XX:CPUFeatures"],
        means: "The JVM compares before it restores, and refuses. The line says which value would do.",
        remedy: "make the checkpoint portable with the value of the line, or with `generic`, and run `cargo xtask checkpoint APP`",
        change: change("crac.cpu-features", "cpu-features = \"generic\""),
        seen: "openjdk/crac#41, openjdk/crac#100",
    },
    Cause {
        id: "crac-no-jvm",
        title: "this JVM is no CRaC JVM",
        weight: Weight::Root,
        says: &["Unrecognized VM option 'CRaC", "Unrecognized VM option 'CREngine"],
        means: "Only builds of OpenJDK CRaC know these options, and older ones call the engine CREngine.",
        remedy: "take the engine `criu`, which needs no particular JVM, or leave `crac.engine` at `default` with older builds",
        change: change("engine", "engine = \"criu\""),
        seen: "here",
    },
    Cause {
        id: "crac-files",
        title: "the checkpoint data of the CRaC JVM is not whole: `cppath` or `perfdata` is missing",
        weight: Weight::Root,
        says: &["/checkpoint-data/cppath is missing", "/checkpoint-data/perfdata is missing"],
        means: "The JVM writes `cppath` after CRIU has killed it, and opens both to restore. A copy that was made too early, or of \
                `*.img` alone, lacks them.",
        remedy: "copy every file of the folder but dump4.log, once the dump says that it is complete; \
                 `cargo xtask checkpoint APP` does",
        change: Change::Elsewhere("which files travel is decided where the data is copied"),
        seen: "own; openjdk/crac#119",
    },
    Cause {
        id: "crac-refused",
        title: "the CRaC JVM refuses to dump",
        weight: Weight::Likely,
        says: &[
            "jdk.crac.CheckpointException",
            "crac.mirror.CheckpointException",
            "Failed to take CRaC checkpoint",
        ],
        means: "Something of the application objected. What it was stands in the lines that begin with `Suppressed` or \
                `Caused by`.",
        remedy: "run it with `-Djdk.crac.collect-fd-stacktraces=true`, which tells who opened what",
        change: change("java.options", "options = [\"-Djdk.crac.collect-fd-stacktraces=true\"]"),
        seen: "spring-projects/spring-boot#39640, CRaC/docs#22",
    },
];
