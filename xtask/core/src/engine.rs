//! Who checkpoints. Which capabilities, packages and commands each engine has stands here and nowhere else.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::app::{App, CracEngine, Fallback, Profile};
use crate::fresh;
use crate::privileges::{Capability, Seccomp};
use crate::rock::Role;

/// Who checkpoints a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// A stock JDK, dumped and restored by CRIU, unprivileged.
    Criu,
    /// An OpenJDK CRaC build with its own CRIU.
    Crac,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Criu => "criu",
            Engine::Crac => "crac",
        })
    }
}

/// What CRIU is told at the dump and at the restore alike: Pebble's child is no session leader; the JVM holds
/// TCP sockets, locks and the sockets of its attach listener.
pub const CRIU_OPTIONS: [&str; 5] =
    ["--shell-job", "--tcp-established", "--tcp-close", "--file-locks", "--ext-unix-sk"];

impl Engine {
    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Engine::Criu => "CRIU and a stock OpenJDK",
            Engine::Crac => "OpenJDK CRaC",
        }
    }

    /// The capabilities a container of this role is given; all others are dropped.
    ///
    /// Those of `criu` are proven by runs: `cargo xtask capabilities`, and the end-to-end tests. The criu binary carries the
    /// same list as file capabilities: one outside the container's bounding set would make its exec fail.
    ///
    /// Those of `crac` could not be tried with the real JDK. Its CRIU is root by its setuid bit (the tutorial), in a
    /// container of which the tutorial gives away Docker's defaults with two more for the dump, and everything for the
    /// restore. What such a root needs of them to work on the user's process and files is listed here.
    pub fn capabilities(self, app: &App, role: Role) -> &'static [Capability] {
        use Capability::*;
        match (self, role) {
            (Engine::Criu, Role::Checkpoint) => &[CheckpointRestore, NetAdmin, SysPtrace],
            // SETGID and SETPCAP would be needed but for what `memory::unburden` does to the images.
            (Engine::Criu, Role::Restore) => &[CheckpointRestore],
            // Azul's documentation: neither for the checkpoint nor for the restore.
            (Engine::Crac, _) if app.crac.engine == CracEngine::Warp => &[],
            (Engine::Crac, _) => {
                &[CheckpointRestore, DacOverride, Kill, NetAdmin, Setgid, Setpcap, Setuid, SysPtrace]
            }
        }
    }

    /// The filter a container of this role runs under.
    pub fn seccomp(self, role: Role) -> Seccomp {
        match role {
            Role::Checkpoint => Seccomp::Unconfined,
            Role::Restore => Seccomp::Filtered,
        }
    }

    /// Whether it works where no program can gain a privilege (`no_new_privs`): CRaC's CRIU is root by its setuid bit.
    pub fn gains_nothing(self) -> bool {
        self == Engine::Criu
    }

    /// Its version, from a rock's packages as `name=version`.
    pub fn version(self, packages: &[String]) -> Option<String> {
        let of = |package: &String| {
            let (name, version) = package.split_once('=')?;
            let it = match self {
                Engine::Criu => name == "criu",
                Engine::Crac => name.contains("-crac-"),
            };
            it.then(|| version.to_owned())
        };
        packages.iter().find_map(of)
    }

    /// Debian and Ubuntu packages of both rocks, sorted.
    pub fn packages(self, java: u8) -> Vec<String> {
        match self {
            // The JRE has jcmd's module, which is all of the JDK that a dump needs.
            Engine::Criu => vec!["criu".into(), format!("openjdk-{java}-jre-headless")],
            Engine::Crac => vec![format!("openjdk-{java}-crac-jdk-headless")],
        }
    }

    /// The scripts a rock of this role holds under `/scripts`.
    pub fn scripts(self, app: &App, role: Role) -> &'static [&'static str] {
        match (self, role) {
            (_, Role::Restore) if app.restore.fallback == Fallback::Cold => &["restore.sh"],
            (Engine::Criu, Role::Checkpoint) => &["checkpoint.sh", "settle.sh", "start.sh"],
            // Its JVM collects before it dumps.
            (Engine::Crac, Role::Checkpoint) => &["checkpoint.sh", "start.sh"],
            (Engine::Criu, Role::Restore) => &["restore.sh"],
            (Engine::Crac, Role::Restore) => &[],
        }
    }

    /// The script that makes the application small before its dump, where the dump does not do that itself.
    pub fn settles(self) -> Option<&'static str> {
        (self == Engine::Criu).then_some("/scripts/settle.sh")
    }

    /// The command of the service that restores.
    pub fn restore_command(self, app: &App) -> String {
        match self {
            Engine::Crac if app.restore.fallback == Fallback::Fail => crac_restore(app).join(" "),
            Engine::Criu | Engine::Crac => "/scripts/restore.sh".into(),
        }
    }

    /// Files below /checkpoint-data without which there is nothing to restore. Everything else depends on who dumped.
    pub fn required(self, app: &App) -> &'static [&'static str] {
        match self {
            Engine::Criu => &["inherit-fd", "inventory.img", "pages-1.img", "pstree.img", "uptime"],
            // Its form is Azul's own.
            Engine::Crac if app.crac.engine == CracEngine::Warp => &[],
            // `cppath` and `perfdata` went with openjdk/crac's pull request 119.
            Engine::Crac => &["inventory.img", "pages-1.img", "pstree.img"],
        }
    }

    /// Every option of a JVM that starts in a rock of this role, the user's last, so that they win. That of a restore
    /// rock starts where a restore fails, and is never dumped.
    pub fn jvm_options(self, app: &App, role: Role) -> Vec<String> {
        let mut options: Vec<String> = match self {
            // The performance data file is mapped from /tmp, where the restored process would miss it.
            Engine::Criu => vec!["-XX:-UsePerfData".into()],
            Engine::Crac if role == Role::Restore => Vec::new(),
            Engine::Crac => {
                let crac = &app.crac;
                let features = crac.cpu_features.as_ref().map(|value| format!("-XX:CPUFeatures={value}"));
                let ignored = crac.ignored_descriptors.join(",");
                let ignored =
                    (!ignored.is_empty()).then(|| format!("-XX:CRaCIgnoredFileDescriptors={ignored}"));
                let policies = crac.resource_policies.as_ref();
                let policies = policies.map(|_| format!("-Djdk.crac.resource-policies={RESOURCE_POLICIES}"));
                // Beside start.sh, which raises PIDs too: the JVM's own default of 128 counts only for PID 1.
                let pid = format!("-XX:CRaCMinPid={}", app.checkpoint.min_pid);
                let first = ["-XX:CRaCCheckpointTo=/checkpoint-data".to_owned(), pid];
                first
                    .into_iter()
                    .chain(crac_engine(app))
                    .chain(features)
                    .chain(policies)
                    .chain(ignored)
                    .collect()
            }
        };
        match app.java.profile {
            // Bytes are what a restore costs (PetClinic: 332 MB by default, 243 MB with these).
            Profile::Small => options.extend(
                ["-XX:+UseSerialGC", "-XX:MinHeapFreeRatio=10", "-XX:MaxHeapFreeRatio=20", "-Xms16m"]
                    .map(String::from),
            ),
            // Of the collectors the one that does most work for a request, and none beside it. It has as many threads as
            // the machine of the dump has CPUs.
            Profile::Throughput => options.push("-XX:+UseParallelGC".into()),
            Profile::None => {}
        }
        if fresh::wanted(app, self) {
            options.extend(fresh::options());
        }
        let collector = |option: &String| option.starts_with("-XX:+Use") && option.ends_with("GC");
        if app.java.options.iter().any(collector) {
            // The JVM does not start with two.
            options.retain(|option| !collector(option));
        }
        options.extend(app.java.options.iter().cloned());
        options
    }

    /// The environment of the application's service: the profile's, then the user's.
    pub fn environment(self, app: &App) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        if app.java.profile == Profile::Small {
            // One malloc arena: what the JVM frees can be trimmed before the dump.
            environment.insert("MALLOC_ARENA_MAX".into(), "1".into());
        }
        environment.extend(app.environment.clone());
        environment
    }
}

/// Where a rock holds the rules for open descriptors.
pub const RESOURCE_POLICIES: &str = "/jars/resource-policies.yaml";

/// The command by which a CRaC JVM restores.
pub fn crac_restore(app: &App) -> Vec<String> {
    let mut words = vec!["/usr/bin/java".to_owned()];
    words.extend(crac_engine(app));
    words.push("-XX:CRaCRestoreFrom=/checkpoint-data".into());
    words
}

/// At the checkpoint and at the restore alike. OpenJDK's older builds call it `CREngine` and know no `warp`.
fn crac_engine(app: &App) -> Option<String> {
    match app.crac.engine {
        CracEngine::Default => None,
        CracEngine::Criu => Some("-XX:CRaCEngine=criu".into()),
        CracEngine::Warp => Some("-XX:CRaCEngine=warp".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rock_is_privileged() {
        let app =
            crate::app::load_text("demo", "/apps/demo".as_ref(), "app.toml", "source.jar = \"app.jar\"");
        let app = app.unwrap().app;
        for engine in [Engine::Criu, Engine::Crac] {
            for role in [Role::Checkpoint, Role::Restore] {
                let names: Vec<String> =
                    engine.capabilities(&app, role).iter().map(Capability::to_string).collect();
                assert!(!names.iter().any(|name| name == "SYS_ADMIN"), "{engine} {role:?}: {names:?}");
                assert!(names.is_sorted(), "one order everywhere: {names:?}");
            }
        }
        assert_eq!(Engine::Criu.seccomp(Role::Restore), Seccomp::Filtered);
    }
}
