//! Why an application or its JVM does not come up at all.

use super::{Change, Weight, change};
use crate::explain::Cause;

pub const CAUSES: &[Cause] = &[
    Cause {
        id: "java-version",
        title: "the application was built for a newer Java",
        weight: Weight::Root,
        says: &["UnsupportedClassVersionError"],
        means: "Class file 61 is Java 17, 65 is 21, 69 is 25.",
        remedy: "run it with that Java",
        change: change("java.version", "version = 25"),
        seen: "here",
    },
    Cause {
        id: "jvm-option",
        title: "the JVM does not know or take an option",
        weight: Weight::Root,
        says: &[
            "Unrecognized VM option",
            "Unrecognized option:",
            "Multiple garbage collectors selected",
            "Invalid maximum heap size",
            "Invalid initial heap size",
        ],
        means: "It ends before the application starts. The line names the option.",
        remedy: "correct `java.options`, or `java.profile`, which adds options of its own (`cargo xtask show APP`)",
        change: change("java.options", "options = [\"-Xmx256m\"]"),
        seen: "here",
    },
    Cause {
        id: "not-executable-jar",
        title: "the jar cannot be run",
        weight: Weight::Root,
        says: &["no main manifest attribute", "Unable to access jarfile", "Invalid or corrupt jarfile"],
        means: "The pattern has found a jar of classes in place of the one that Spring Boot repackages.",
        remedy: "name the executable jar",
        change: change("source.jar", "jar = \"target/*-exec.jar\""),
        seen: "here",
    },
    Cause {
        id: "environment-missing",
        title: "the application misses a setting",
        weight: Weight::Likely,
        says: &["Could not resolve placeholder", "Failed to configure a DataSource"],
        means: "It runs alone in the checkpoint rock, without the configuration of its usual place.",
        remedy: "give it one for the dump, by its environment or arguments; what is set there is frozen into the dump, so no \
                 secrets",
        change: change("environment", "SPRING_PROFILES_ACTIVE = \"checkpoint\""),
        seen: "here",
    },
    Cause {
        id: "dependency-unreachable",
        title: "the application cannot reach something it needs, such as its database",
        weight: Weight::Likely,
        says: &[
            "java.net.ConnectException",
            "Connection to * refused",
            "java.net.UnknownHostException",
            "Communications link failure",
            "Temporary failure in name resolution",
        ],
        means: "It runs alone in the checkpoint rock. What it must reach at its start is not there; many applications get over \
                that.",
        remedy: "have it start without, by a profile for the checkpoint say, and connect after the restore",
        change: change("environment", "SPRING_PROFILES_ACTIVE = \"checkpoint\""),
        seen: "here; spring-projects/spring-boot#39275",
    },
    Cause {
        id: "answer",
        title: "a request is answered otherwise than expected",
        weight: Weight::Likely,
        says: &[
            "answered * expected ",
            "answers otherwise than before the dump",
            "answers otherwise than the first restore",
        ],
        means: "A warm-up request has failed, or an answer that should stay the same does not.",
        remedy: "leave answers that change (times, random numbers) out of `http.verify`; an answer that is right though not 200 \
                 is said with `status`",
        change: change("http.verify", "verify = [\"/catalog/1\", { path = \"/none\", status = 404 }]"),
        seen: "here",
    },
    Cause {
        id: "application-failed",
        title: "the application fails at its start",
        weight: Weight::Symptom,
        says: &[
            "APPLICATION FAILED TO START",
            "Application run failed",
            "Exception in thread \"main\"",
            "stopped unexpectedly with code 1",
        ],
        means: "It would do the same without a checkpoint.",
        remedy: "look at its own message; `podman run` of the checkpoint rock shows the same",
        change: Change::Elsewhere(
            "it is the application's own, unless its message names a setting: then `environment` \
             or `java.arguments`",
        ),
        seen: "here",
    },
    Cause {
        id: "not-ready",
        title: "http.ready does not answer 200 in time",
        weight: Weight::Symptom,
        says: &["waiting for 200 on * did not end within * (limits.ready)"],
        means: "The path is another one, the port is another one, or the application takes longer.",
        remedy: "correct `http.ready` and `http.port`, or give it more time",
        change: change("limits.ready", "ready = \"5m\""),
        seen: "here",
    },
    Cause {
        id: "limit",
        title: "something took longer than its limit",
        weight: Weight::Symptom,
        says: &["did not end within * (limits."],
        means: "The line names what, and which limit of app.toml.",
        remedy: "look for another reason first; a slow or busy machine needs more time, which `[limits]` gives",
        change: Change::Elsewhere(
            "unless it is only slow: then the key below `[limits]` that the line names",
        ),
        seen: "here",
    },
];
