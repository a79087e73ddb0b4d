//! What runs containers, and what packs rocks.

use super::asked::{Answer, Criu};
use super::{Facts, Finding};
use crate::runtime::Kind;

/// User and group of every process in a rock (Ubuntu's `_daemon_`), which a rootless engine must be able to map.
const DAEMON: u64 = 584_792;
/// CAP_SYS_RESOURCE, in `linux/capability.h`.
const SYS_RESOURCE: u32 = 24;

/// podman or Docker.
pub fn engine(facts: &Facts) -> Finding {
    const CHECK: &str = "container engine";
    let engine = match &facts.asked.engine {
        Ok(engine) => engine,
        Err(why) => {
            return Finding::fail(
                CHECK,
                why,
                "install podman (`checkpoint APP --install` does), or start Docker's daemon",
            );
        }
    };
    let title = format!("{} {}", engine.kind, engine.version);
    if engine.kind == Kind::Docker && older(&engine.version, (23, 0)) {
        let found = format!("{title} does not know the capability CHECKPOINT_RESTORE");
        return Finding::fail(CHECK, found, "install Docker 23 or later, or podman: `--runtime podman`");
    }
    match &engine.remote {
        Some(host) => Finding::warn(
            CHECK,
            format!("{title} on {host}: what is said here of kernel, memory and CPU is of this machine"),
            "run `cargo xtask doctor` there, too",
        ),
        None => Finding::pass(CHECK, title),
    }
}

/// The rocks' user must have a number in the container's namespace.
pub fn rootless(facts: &Facts) -> Finding {
    const CHECK: &str = "root";
    let (user, ids) = (&facts.asked.user, facts.machine.sub_uids.min(facts.machine.sub_gids));
    let subject = match facts.asked.kind() {
        Some(Kind::Docker) => "rootless Docker",
        _ => "rootless podman",
    };
    match (facts.asked.is_rootless(), ids > DAEMON, &facts.asked.forwards) {
        (false, ..) => Finding::pass(CHECK, "the engine's containers have every user"),
        // Seen: 2.5 s until a restored application answers, and 0.3 s with overlay.
        (true, true, Ok(_)) if facts.asked.driver() == Some("vfs") => Finding::warn(
            CHECK,
            "rootless podman works, but its storage `vfs` copies the whole image for every container",
            "write `[storage]` and `driver = \"overlay\"`, two lines, into ~/.config/containers/storage.conf, then \
             `podman system reset`, which removes this user's containers and images",
        ),
        (true, true, _) if facts.asked.kind() == Some(Kind::Docker) => Finding::warn(
            CHECK,
            format!("{subject} has the user and group IDs that the rocks need; nobody has tried it"),
            "where it fails, take podman without root, or Docker with: both are run in the tests",
        ),
        (true, true, Ok(program)) => Finding::pass(
            CHECK,
            format!(
                "rootless podman: dump and restore work, it has the user IDs that the rocks need; {program} forwards \
                 ports"
            ),
        ),
        (true, true, Err((why, remedy))) => {
            Finding::fail(CHECK, format!("rootless podman cannot forward ports: {why}"), *remedy)
        }
        (true, false, _) => Finding::fail(
            CHECK,
            format!("{subject} with {ids} user and group IDs; the rocks' user is {DAEMON}"),
            format!(
                "sudo usermod --add-subuids 1000000-1999999 --add-subgids 1000000-1999999 {user} && podman system \
                 migrate; or run this as root"
            ),
        ),
    }
}

/// Two things that stop podman on machines with limits (docs/guide/first-checkpoint.md).
pub fn runtime(facts: &Facts) -> Finding {
    const CHECK: &str = "runtime";
    let Some((name, cgroups)) = facts.asked.engine.as_ref().ok().and_then(|engine| engine.runtime.as_ref())
    else {
        return match facts.asked.kind() {
            Some(Kind::Docker) => Finding::pass(CHECK, "Docker's own"),
            _ => Finding::not_tried(CHECK, "podman did not say", "`podman info` says why"),
        };
    };
    let found = format!("{name}, cgroups {cgroups}");
    let remedy = "write `[containers]` and `default_ulimits = [\"nofile=20000:20000\", \"nproc=32768:32768\"]`, two lines, into \
                  /etc/containers/containers.conf or a file that CONTAINERS_CONF names \
                  (docs/guide/first-checkpoint.md, \"Machines with limits\")";
    let runc = "write `[engine]` and `runtime = \"runc\"`, two lines, into /etc/containers/containers.conf or a file that \
                CONTAINERS_CONF names (docs/guide/first-checkpoint.md, \"Machines with limits\")";
    let own = &facts.machine.own;
    let limited = own.effective & 1 == 1 && own.effective >> SYS_RESOURCE & 1 == 0;
    if name == "crun" && cgroups == "v1" {
        return Finding::warn(CHECK, format!("{found}: crun refuses the hybrid hierarchy"), runc);
    }
    // A container that has started says more than what is written somewhere.
    let started = matches!(facts.asked.criu, Criu::Passed { .. } | Criu::Failed { .. });
    match (limited, &facts.machine.ulimits) {
        (true, None) if !started => Finding::fail(
            CHECK,
            format!(
                "{found}; root here may not raise resource limits (SYS_RESOURCE), and podman does so for every \
                 container: no containers.conf sets default_ulimits"
            ),
            remedy,
        ),
        (true, Some(file)) => Finding::pass(CHECK, format!("{found}; limits by {}", file.display())),
        _ => Finding::pass(CHECK, found),
    }
}

/// `criu check`, by the CRIU that will dump or restore.
pub fn criu(facts: &Facts) -> Finding {
    const CHECK: &str = "CRIU's own check";
    match &facts.asked.criu {
        Criu::NotTried { why, remedy } => Finding::not_tried(CHECK, format!("not tried: {why}"), remedy),
        Criu::Passed { image } => Finding::pass(CHECK, format!("`criu check` in {image} is content")),
        Criu::NoStart { image, why } => Finding::fail(
            CHECK,
            format!("no container of {image} starts: {why}"),
            "see the line `runtime` above; `restore --verbose` shows all that the engine says",
        ),
        Criu::Failed { image, said } => Finding::fail(
            CHECK,
            format!("`criu check` in {image}: {said}"),
            "a newer kernel, or a rock with a newer CRIU (rock.suite), may have what it misses",
        ),
    }
}

/// What packs. A machine that only restores needs none of it.
pub fn packer(facts: &Facts) -> Finding {
    const CHECK: &str = "packer";
    let rockcraft = match &facts.asked.rockcraft {
        Answer::Said(version) => format!("rockcraft {version}"),
        Answer::Absent => "no rockcraft".to_owned(),
        Answer::Failed(why) => {
            return Finding::warn(
                CHECK,
                format!("rockcraft is installed, but does not answer: {why}"),
                "`rockcraft --version` must work, or set packer = \"native\" in app.toml",
            );
        }
    };
    let missing = facts.asked.missing.join(", ");
    match (&facts.asked.rockcraft, missing.is_empty()) {
        (Answer::Said(version), _) if older(version, (1, 7)) => Finding::warn(
            CHECK,
            format!("{rockcraft}, which is too old for these rocks"),
            "sudo snap refresh rockcraft (1.7 or later)",
        ),
        (Answer::Said(_), _) => Finding::pass(CHECK, rockcraft),
        (_, true) => Finding::pass(CHECK, format!("native, with mmdebstrap and git; {rockcraft}")),
        (_, false) => Finding::warn(
            CHECK,
            format!("native, but without {missing}: this machine can restore, but not checkpoint"),
            format!(
                "`cargo xtask checkpoint APP --install` installs them, or: sudo apt-get install {}",
                facts.asked.missing.join(" ")
            ),
        ),
    }
}

/// Whether a version is before `least`. One that is not understood is not.
pub fn older(version: &str, least: (u32, u32)) -> bool {
    // `6.16-rc2` is 6.16.
    let number = |part: &str| part.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok();
    let mut numbers = version.split('.').map_while(number);
    numbers.next().is_some_and(|major| (major, numbers.next().unwrap_or(0)) < least)
}
