//! What a run could leave on the machine: containers, mounts, processes, files. Counted before and after.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use crate::runtime::Runtime;
use crate::session::Session;

/// What is on the machine at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traces {
    /// Every container, running or not, by name.
    pub containers: BTreeSet<String>,
    /// Mount points of this machine.
    pub mounts: BTreeSet<String>,
    /// PID, start time, control group and command line of every process that has one.
    pub processes: BTreeSet<String>,
    /// Files of the state's temporary folders and of the machine's.
    pub files: BTreeSet<String>,
}

/// With fewer restores than these, what names nobody may be somebody else's.
const MANY: usize = 10;

impl Traces {
    /// This moment's.
    pub fn of(session: &Session, runtime: &Runtime) -> Result<Traces> {
        let state = session.workspace.state();
        let folders = [state.join("tmp"), state.join("store/partial"), std::env::temp_dir()];
        Ok(Traces {
            containers: runtime.container_names()?.into_iter().collect(),
            mounts: mounts(&std::fs::read_to_string("/proc/self/mountinfo")?),
            processes: processes(),
            files: folders.iter().flat_map(|folder| entries(folder)).collect(),
        })
    }

    /// The counts of two moments in one line.
    pub fn beside(&self, before: &Traces) -> String {
        let count = |(kind, before, after): (&str, &BTreeSet<String>, &BTreeSet<String>)| {
            format!("{kind} {} -> {}", before.len(), after.len())
        };
        let counts = self.kinds(before).map(count);
        format!("  {} (of the whole machine)", counts.join(", "))
    }

    /// What is new and ours: it names one of the containers (`ids`), or has `names` in it, with which their names begin.
    /// What names nobody may be somebody else's work meanwhile, unless there is one more of it for every restore.
    pub fn left(&self, before: &Traces, ids: &[String], names: &str) -> Vec<String> {
        let mut left = Vec::new();
        for (kind, before, after) in self.kinds(before) {
            let new: Vec<&String> = after.difference(before).collect();
            let ours = |text: &str| text.contains(names) || ids.iter().any(|id| text.contains(id.as_str()));
            left.extend(new.iter().filter(|text| ours(text)).map(|text| format!("{kind}: {text}")));
            let more = after.len().saturating_sub(before.len());
            if ids.len() >= MANY && more >= ids.len() {
                left.push(format!("{kind}: {more} more than before, such as {}", new[0]));
            }
        }
        left
    }

    fn kinds<'a>(
        &'a self,
        before: &'a Traces,
    ) -> [(&'static str, &'a BTreeSet<String>, &'a BTreeSet<String>); 4] {
        [
            ("containers", &before.containers, &self.containers),
            ("mounts", &before.mounts, &self.mounts),
            ("processes", &before.processes, &self.processes),
            ("files", &before.files, &self.files),
        ]
    }
}

/// The fifth field of each line is where something is mounted; the first tells two mounts at one place apart.
fn mounts(mountinfo: &str) -> BTreeSet<String> {
    let place = |line: &str| {
        let mut fields = line.split(' ');
        let number = fields.next()?;
        Some(format!("{number} {}", fields.nth(3)?))
    };
    mountinfo.lines().filter_map(place).collect()
}

fn processes() -> BTreeSet<String> {
    let own = std::process::id().to_string();
    entries(Path::new("/proc"))
        .into_iter()
        .filter_map(|folder| {
            let pid = folder.strip_prefix("/proc/").filter(|pid| pid.bytes().all(|b| b.is_ascii_digit()))?;
            let read = |file: &str| std::fs::read_to_string(format!("{folder}/{file}")).ok();
            let stat = read("stat")?;
            let mut fields = stat.rsplit_once(") ")?.1.split(' ');
            let (parent, started) = (fields.nth(1)?.to_owned(), fields.nth(17)?.to_owned());
            let command = read("cmdline")?.replace('\0', " ");
            let groups = read("cgroup").unwrap_or_default().replace('\n', " ");
            // A thread of the kernel has no command line, and neither has a process that nobody waited for.
            let zombie = command.is_empty() && parent == own;
            (!command.is_empty() || zombie).then(|| format!("{pid} since {started}: {command}({groups})"))
        })
        .filter(|process| !process.starts_with(&format!("{own} ")))
        .collect()
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().display().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_left_is_named() {
        let before = Traces {
            containers: set(&["theirs"]),
            mounts: set(&["1 /", "2 /proc"]),
            processes: set(&["1 since 0: init ()"]),
            files: set(&["/tmp/a"]),
        };
        let ids = vec!["4f2a".to_owned(), "77b0".to_owned()];
        let check = |change: &dyn Fn(&mut Traces), expected: &[&str]| {
            let mut after = before.clone();
            change(&mut after);
            assert_eq!(after.left(&before, &ids, "xtask-shop-"), expected);
        };
        check(&|_| {}, &[]);
        check(
            &|after| after.containers = set(&["xtask-shop-restore-1"]),
            &["containers: xtask-shop-restore-1"],
        );
        check(
            &|after| after.mounts.extend(set(&["9 /x/overlay/4f2a/merged"])),
            &["mounts: 9 /x/overlay/4f2a/merged"],
        );
        check(
            &|after| after.processes.extend(set(&["9 since 5: java (0::/libpod-77b0)"])),
            &["processes: 9 since 5: java (0::/libpod-77b0)"],
        );
        // Somebody else at work, and something gone.
        check(&|after| after.mounts = set(&["1 /", "7 /x/overlay/dddd/merged"]), &[]);
        check(&|after| after.files.extend(set(&["/tmp/b"])), &[]);
        // One for every restore is nobody else's.
        let many: Vec<String> = (0..12).map(|number| format!("id-{number}")).collect();
        let with = |files: usize| {
            let mut after = before.clone();
            after.files.extend((0..files).map(|number| format!("/tmp/b{number}")));
            after.left(&before, &many, "xtask-shop-")
        };
        assert_eq!(with(11), Vec::<String>::new());
        assert_eq!(with(12), ["files: 12 more than before, such as /tmp/b0"]);
        assert!(
            before
                .beside(&before)
                .contains("containers 1 -> 1, mounts 2 -> 2, processes 1 -> 1, files 1 -> 1")
        );
    }

    #[test]
    fn mounts_are_told_apart() {
        let text =
            "36 35 98:0 / /mnt rw,noatime - ext4 /dev/sda rw\n37 35 98:0 /x /mnt rw - ext4 /dev/sda rw\n";
        assert_eq!(mounts(text), set(&["36 /mnt", "37 /mnt"]));
        assert_eq!(mounts("short\n"), set(&[]));
    }

    #[test]
    fn a_process_is_seen_while_it_lives() {
        let mut child = std::process::Command::new("sleep").arg("4711.5").spawn().unwrap();
        let line = format!("{} since ", child.id());
        let seen = || processes().iter().any(|process| process.starts_with(&line));
        let alive = seen();
        child.kill().unwrap();
        // It is dead, and not waited for.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let zombie = seen();
        child.wait().unwrap();
        assert_eq!((alive, zombie, seen()), (true, true, false));
    }
}
