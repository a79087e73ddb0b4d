//! Figures as tables: rows of text, which become Markdown or HTML.

use bytesize::ByteSize;
use serde::Serialize;

use super::{Bench, Resident};

/// A table of text. All columns but the first are numbers.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    /// What the columns are.
    pub head: Vec<String>,
    /// As long as the head, each.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    fn new(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Option<Table> {
        let rows: Vec<Vec<String>> = rows.into_iter().collect();
        let head = head.iter().map(|name| (*name).to_owned()).collect();
        (!rows.is_empty()).then_some(Table { head, rows })
    }

    fn markdown(&self) -> String {
        // A path of somebody's may hold what parts two cells.
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |", cells.join(" | "))
        };
        let rule = format!("| --- |{}", " ---: |".repeat(self.head.len() - 1));
        let mut lines = vec![line(&self.head), rule];
        lines.extend(self.rows.iter().map(|row| line(row)));
        lines.join("\n")
    }
}

impl Bench {
    /// Every table there is, each with its title.
    pub fn tables(&self, earlier: Option<&Bench>) -> Vec<(&'static str, Table)> {
        let compared = earlier.and_then(|earlier| self.compared(earlier));
        let all = [
            ("Ratios", self.ratio_table()),
            ("Times", self.times()),
            ("Where the time of a restore goes", self.stage_table()),
            ("Requests answered", self.rate_table()),
            ("Memory of the JVM", self.resident_table()),
            ("Dumped pages", self.memory_table()),
            ("Beside the earlier report", compared),
            ("The machine", self.machine_table()),
        ];
        all.into_iter().filter_map(|(title, table)| Some((title, table?))).collect()
    }

    /// The tables as Markdown.
    pub fn markdown(&self, earlier: Option<&Bench>) -> String {
        let shown = |(title, table): (&str, Table)| format!("{title}:\n\n{}", table.markdown());
        self.tables(earlier).into_iter().map(shown).collect::<Vec<_>>().join("\n\n")
    }

    fn ratio_table(&self) -> Option<Table> {
        let row = |ratio: super::Ratio| vec![ratio.name, format!("{:.2}", ratio.value)];
        Table::new(&[&self.app, "ratio of medians"], self.ratios().into_iter().map(row))
    }

    fn times(&self) -> Option<Table> {
        let measured = self.series.iter().filter(|series| !series.millis.is_empty());
        let rows = measured.map(|series| {
            let at = |share| millis(series.percentile(share));
            let floor = self.floor(&series.name);
            let times = floor.map(|floor| format!("{:.1}x", series.median() / floor));
            vec![
                series.name.clone(),
                series.millis.len().to_string(),
                millis(series.median()),
                at(0.95),
                at(0.0),
                at(1.0),
                floor.map(millis).unwrap_or_default(),
                times.unwrap_or_default(),
            ]
        });
        Table::new(&["ms", "n", "median", "p95", "min", "max", "floor", "over the floor"], rows)
    }

    fn stage_table(&self) -> Option<Table> {
        let all: f64 = self.stages.iter().map(super::Series::median).sum();
        let row = |stage: &super::Series| {
            let share = format!("{:.0} %", 100.0 * stage.median() / all);
            vec![stage.name.clone(), millis(stage.median()), millis(stage.p95()), share]
        };
        Table::new(&["ms, of traced restores", "median", "p95", "share"], self.stages.iter().map(row))
    }

    fn rate_table(&self) -> Option<Table> {
        let rows = self.rates.iter().map(|rate| {
            let rates = rate.per_second();
            let at = |at: Option<&f64>| at.map(|rate| format!("{rate:.0}")).unwrap_or_default();
            let first = format!("{:.0}", rate.first_second());
            let name = format!("{}, {}", rate.name, rate.request);
            vec![name, rate.answers.len().to_string(), at(rates.first()), first, at(rates.last())]
        });
        let last = self
            .rates
            .first()
            .map_or(0.0, |rate| rate.bucket_millis as f64 * rate.per_second().len() as f64 / 1000.0);
        let first = self.rates.first().map_or(0.0, |rate| rate.bucket_millis as f64 / 1000.0);
        let head = [
            "requests/s, one caller",
            "n",
            &format!("in the first {first} s"),
            "in the first second",
            &format!("after {last} s"),
        ];
        Table::new(&head, rows)
    }

    fn resident_table(&self) -> Option<Table> {
        let row = |resident: &Resident| {
            let of = |values: &[u64]| median(values).map(bytes).unwrap_or_default();
            vec![resident.name.clone(), of(&resident.rss), of(&resident.pss), of(&resident.cgroup)]
        };
        Table::new(&["median", "RSS", "PSS", "control group"], self.resident.iter().map(row))
    }

    fn memory_table(&self) -> Option<Table> {
        let all: u64 = self.memory.values().sum();
        let rows = self.kinds().into_iter().map(|(kind, size)| {
            vec![kind.to_owned(), bytes(size), format!("{:.0} %", 100.0 * size as f64 / all as f64)]
        });
        let whole = (all > 0).then(|| vec!["all of them".to_owned(), bytes(all), "100 %".to_owned()]);
        Table::new(&["kind", "size", "share"], rows.chain(whole))
    }

    /// The kinds of memory that were dumped, from the largest.
    pub(super) fn kinds(&self) -> Vec<(&str, u64)> {
        let present = self.memory.iter().filter(|(_, size)| **size > 0);
        let mut kinds: Vec<_> = present.map(|(kind, size)| (kind.as_str(), *size)).collect();
        kinds.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        kinds
    }

    /// The medians beside those of an earlier run: below 1.00 is faster than then.
    fn compared(&self, earlier: &Bench) -> Option<Table> {
        let rows = self.series.iter().filter_map(|series| {
            let (then, now) = (earlier.median(&series.name)?, self.median(&series.name)?);
            Some(vec![series.name.clone(), millis(then), millis(now), format!("{:.2}", now / then)])
        });
        Table::new(&["medians in ms", "then", "now", "now / then"], rows)
    }

    fn machine_table(&self) -> Option<Table> {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let cpu = if self.machine.cpu.is_empty() { &self.host.cpu_vendor } else { &self.machine.cpu };
        let rows = [
            row("CPU", format!("{} x {cpu} ({})", self.machine.cpus, self.host.architecture)),
            row("memory", bytes(self.machine.memory_bytes)),
            row("kernel", self.host.kernel.clone()),
            row("folios", self.machine.folios_in_words()),
            row("container engine", self.runtime.clone()),
            row("checkpoint data", format!("{}, {}", bytes(self.data_bytes), self.data)),
            row("measured", self.measured.clone()),
        ];
        Table::new(&["fact", "value"], rows)
    }
}

/// The middle one of these, or the lower of two.
pub(super) fn median(values: &[u64]) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

pub(super) fn bytes(size: u64) -> String {
    ByteSize(size).to_string()
}

/// Milliseconds, with tenths where they say something.
pub(super) fn millis(millis: f64) -> String {
    if millis < 20.0 { format!("{millis:.1}") } else { format!("{millis:.0}") }
}
