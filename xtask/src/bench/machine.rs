//! What the speed of a restore depends on in the machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

const FOLIOS: &str = "/sys/kernel/mm/transparent_hugepage";

/// Facts of a machine that no restore depends on but for its speed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Machine {
    /// `model name` of /proc/cpuinfo; empty where there is none, as on aarch64.
    pub cpu: String,
    /// How many may be used at a time.
    pub cpus: usize,
    /// `MemTotal` of /proc/meminfo, in bytes.
    pub memory_bytes: u64,
    /// In which sizes the kernel hands out memory at once: `enabled` and `hugepages-*kB/enabled` of
    /// /sys/kernel/mm/transparent_hugepage, by their names there. Memory is filled faster in larger pieces.
    pub folios: BTreeMap<String, String>,
}

impl Machine {
    /// This one. What it does not say is left out.
    pub fn this() -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
            line.map(|value| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        Machine {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: memory.trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024,
            folios: folios(FOLIOS),
        }
    }

    /// The sizes that are handed out, in one line: `always 64kB, madvise 2048kB`.
    pub fn folios_in_words(&self) -> String {
        let global = self.folios.get("enabled").map_or("unknown", String::as_str);
        let mut sizes: Vec<(u64, String)> = self
            .folios
            .iter()
            .filter(|(_, setting)| *setting != "never")
            .filter_map(|(name, setting)| {
                let size = name.strip_prefix("hugepages-")?.strip_suffix("/enabled")?;
                Some((size.trim_end_matches("kB").parse().ok()?, format!("{size} {setting}")))
            })
            .collect();
        sizes.sort();
        let sizes: Vec<String> = sizes.into_iter().map(|(_, text)| text).collect();
        match sizes.is_empty() {
            true => format!("enabled: {global}"),
            false => format!("enabled: {global}; {}", sizes.join(", ")),
        }
    }
}

fn folios(folder: &str) -> BTreeMap<String, String> {
    let setting = |path: &std::path::Path| {
        let text = std::fs::read_to_string(path).ok()?;
        Some(chosen(&text)?.to_owned())
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.starts_with("hugepages-").then(|| format!("{name}/enabled"))
    });
    std::iter::once("enabled".to_owned())
        .chain(sizes)
        .filter_map(|name| Some((name.clone(), setting(&std::path::Path::new(folder).join(&name))?)))
        .collect()
}

/// `madvise` of `always [madvise] never`.
fn chosen(text: &str) -> Option<&str> {
    text.split_once('[')?.1.split_once(']').map(|(chosen, _)| chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_word_stands_in_brackets() {
        let check = |text, expected| assert_eq!(chosen(text), expected, "{text}");
        check("always [madvise] never\n", Some("madvise"));
        check("always inherit madvise [never]\n", Some("never"));
        check("", None);
        check("always [mad", None);
    }

    #[test]
    fn sizes_that_are_handed_out_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let words = || {
            let folios = folios(folder.path().to_str().unwrap());
            Machine { folios, ..Machine::default() }.folios_in_words()
        };
        assert_eq!(words(), "enabled: unknown");
        write("enabled", "always [madvise] never\n");
        write("hugepages-2048kB/enabled", "always [inherit] madvise never\n");
        write("hugepages-64kB/enabled", "[always] inherit madvise never\n");
        write("hugepages-16kB/enabled", "always inherit madvise [never]\n");
        write("defrag", "always [madvise] never\n");
        assert_eq!(words(), "enabled: madvise; 64kB always, 2048kB inherit");
    }

    #[test]
    fn this_machine_has_a_cpu_and_memory() {
        let machine = Machine::this();
        assert!(machine.cpus > 0 && machine.memory_bytes > 0, "{machine:?}");
    }
}
