//! `soak --beside`: many restores of one pin at once, on one machine.

use anyhow::{Context, Result};
use bytesize::ByteSize;
use comfy_table::{CellAlignment, Table, presets};

use crate::bench::Series;
use crate::checkpoint::{Running, Start, footprint, prove_same, start_restored};
use crate::interrupt;
use crate::lock::Lock;
use crate::rocks::Job;
use crate::runtime::Runtime;

/// One round: restores that were asked for at the same moment.
struct Round {
    starts: Vec<Start>,
    /// Bytes, where pages that several processes have count once.
    together: u64,
    /// Bytes of one, with all that it has mapped and touched.
    alone: u64,
}

/// Rounds of 1, 2, 5, 10, 20 and so on up to `most` restores that are started at once; every one must give the answers of
/// the pin.
pub fn run(job: &Job<'_>, runtime: &Runtime, image: &str, lock: &Lock, most: usize) -> Result<()> {
    let mut rounds = Vec::new();
    for count in counts(most) {
        interrupt::check()?;
        let round = round(job, runtime, image, lock, count);
        rounds.push(round.with_context(|| format!("{count} restores at once"))?);
        job.session.progress.say(&format!("{count} at once: all answered"));
    }
    println!("{}", table(&rounds));
    Ok(())
}

/// 1, 2, 5, 10, 20, … and the last.
fn counts(most: usize) -> Vec<usize> {
    let steps = (0..).flat_map(|power| [1, 2, 5].map(|step| step * 10_usize.saturating_pow(power)));
    let mut counts: Vec<usize> = steps.take_while(|count| *count < most).collect();
    counts.push(most);
    counts
}

fn round(job: &Job<'_>, runtime: &Runtime, image: &str, lock: &Lock, count: usize) -> Result<Round> {
    let start = || start_restored(job, runtime, image, lock.pid);
    let all: Vec<Running<'_>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(start)).collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(running) => running,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect::<Result<_>>()
    })?;
    // All of them are there now.
    let mut together = 0;
    let mut alone = 0;
    for running in &all {
        prove_same(job.app, &running.client, &lock.answers)?;
    }
    for running in &all {
        let memory = footprint(&running.container, lock.pid)?;
        together += memory.pss;
        alone = alone.max(memory.rss);
    }
    Ok(Round { starts: all.iter().map(|running| running.start).collect(), together, alone })
}

fn table(rounds: &[Round]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "at once",
        "first answer",
        "median",
        "last",
        "restores a second",
        "memory of all",
        "of one (RSS)",
    ]);
    for round in rounds {
        let series = Series::of("", round.starts.iter().map(|start| start.with_container));
        let last = series.percentile(1.0);
        let milliseconds = |value: f64| format!("{value:.0} ms");
        table.add_row([
            round.starts.len().to_string(),
            milliseconds(series.percentile(0.0)),
            milliseconds(series.median()),
            milliseconds(last),
            format!("{:.1}", round.starts.len() as f64 / (last / 1000.0)),
            ByteSize(round.together).to_string(),
            ByteSize(round.alone).to_string(),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_grow_up_to_the_last() {
        for (most, expected) in [
            (1, &[1][..]),
            (2, &[1, 2]),
            (3, &[1, 2, 3]),
            (20, &[1, 2, 5, 10, 20]),
            (60, &[1, 2, 5, 10, 20, 50, 60]),
        ] {
            assert_eq!(counts(most), expected, "{most}");
        }
    }
}
