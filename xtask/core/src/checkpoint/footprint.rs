//! The memory that an application takes while it runs.

use anyhow::{Context, Result};

use crate::process::Limit;
use crate::runtime::Container;

/// Memory of the JVM and of its container, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What the JVM has in memory.
    pub rss: u64,
    /// The same, where pages that several processes have count as one.
    pub pss: u64,
    /// What its container is charged for; none where that cannot be read.
    pub cgroup: Option<u64>,
}

/// The second form of control groups, and the first.
const MEMORY: &str = "cat /proc/$0/smaps_rollup && \
    { cat /sys/fs/cgroup/memory.current || cat /sys/fs/cgroup/memory/memory.usage_in_bytes; } 2>/dev/null || :";

/// Looks at the memory of the process `pid`.
pub fn footprint(container: &Container<'_>, pid: u32) -> Result<Memory> {
    let ran = container.exec(&["sh", "-c", MEMORY, &pid.to_string()], &Limit::quick())?;
    parse_memory(&ran.stdout).with_context(|| format!("the memory of the JVM cannot be read: {}", ran.stderr))
}

fn parse_memory(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    };
    let cgroup = text.lines().last().and_then(|line| line.trim().parse().ok());
    Some(Memory { rss: field("Rss:")?, pss: field("Pss:")?, cgroup })
}

/// The largest heap of the JVM, by the flags that it has printed (`VM.flags` of jcmd). None where it has not.
pub fn max_heap(flags: &str) -> Option<u64> {
    flags.split_whitespace().find_map(|word| word.strip_prefix("-XX:MaxHeapSize=")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_what_the_kernel_says() {
        let rollup = "7f0000-7f1000 ---p 00000000 00:00 0                          [rollup]\n\
            Rss:              184320 kB\nPss:              180000 kB\nPss_Dirty:        1 kB\nShared_Clean: 4 kB\n";
        let check = |text: &str, expected: Option<(u64, u64, Option<u64>)>| {
            let memory = parse_memory(text).map(|memory| (memory.rss, memory.pss, memory.cgroup));
            assert_eq!(memory, expected, "{text}");
        };
        check(rollup, Some((184_320 << 10, 180_000 << 10, None)));
        check(&format!("{rollup}201326592\n"), Some((184_320 << 10, 180_000 << 10, Some(201_326_592))));
        check("", None);
        check("Rss: 1 kB\n", None);
        check("Rss: x kB\nPss: 1 kB\n", None);
    }

    #[test]
    fn the_heap_is_read_from_the_flags() {
        let check = |text: &str, expected| assert_eq!(max_heap(text), expected, "{text}");
        check("345:\n-XX:CICompilerCount=2 -XX:MaxHeapSize=134217728 -XX:+UseSerialGC \n", Some(128 << 20));
        check("-XX:MaxHeapSize=x", None);
        check("345:\nUnknown diagnostic command", None);
    }
}
