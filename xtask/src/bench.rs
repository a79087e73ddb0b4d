//! Figures of many starts: what is kept of them, and how they are shown.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::lock::Host;

/// Version of the form of a benchmark's JSON. The first did not know of memory.
pub const SCHEMA: u32 = 2;

/// One benchmark. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bench {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The application.
    pub app: String,
    /// Digest of the checkpoint data.
    pub data: String,
    /// The container engine and its program.
    pub runtime: String,
    /// The machine.
    pub host: Host,
    /// What was measured, in the order it is shown.
    pub series: Vec<Series>,
    /// Bytes of the dumped pages by what they were used for; empty where the data's images do not say.
    #[serde(default)]
    pub memory: BTreeMap<String, u64>,
}

/// The same thing measured again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Series {
    /// What.
    pub name: String,
    /// Every measurement, in the order it was made.
    pub millis: Vec<f64>,
}

impl Series {
    /// Nothing measured yet.
    pub fn new(name: &str) -> Series {
        Series { name: name.to_owned(), millis: Vec::new() }
    }

    /// One more.
    pub fn add(&mut self, duration: Duration) {
        self.millis.push(duration.as_secs_f64() * 1000.0);
    }

    /// The value below which this share of the measurements lies (the nearest rank).
    pub fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.millis.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
    }

    /// The median.
    pub fn median(&self) -> f64 {
        self.percentile(0.5)
    }
}

impl Bench {
    /// A Markdown table.
    pub fn table(&self) -> String {
        let mut lines = vec![
            format!("| {}, ms | n | median | p95 | min | max |", self.app),
            "| --- | ---: | ---: | ---: | ---: | ---: |".to_owned(),
        ];
        for series in self.series.iter().filter(|series| !series.millis.is_empty()) {
            let at = |share| format!("{:.0}", series.percentile(share));
            let (n, p95, min, max) = (series.millis.len(), at(0.95), at(0.0), at(1.0));
            lines.push(format!("| {} | {n} | {:.0} | {p95} | {min} | {max} |", series.name, series.median()));
        }
        lines.join("\n")
    }

    /// One of an earlier run.
    pub fn read(path: &Path) -> Result<Bench> {
        let bytes = fs_err::read(path)?;
        let bench: Bench = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is no benchmark of this tool", path.display()))?;
        let known = (1..=SCHEMA).contains(&bench.schema);
        ensure!(known, "{} has schema {}; this version reads up to {SCHEMA}", path.display(), bench.schema);
        Ok(bench)
    }

    /// The dumped pages, as a Markdown table.
    pub fn memory_table(&self) -> String {
        let all: u64 = self.memory.values().sum();
        let mut kinds: Vec<_> = self.memory.iter().filter(|(_, bytes)| **bytes > 0).collect();
        kinds.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
        let mut lines = vec![format!("| dumped pages | {} |", ByteSize(all)), "| --- | ---: |".to_owned()];
        lines.extend(kinds.iter().map(|(kind, bytes)| format!("| {kind} | {} |", ByteSize(**bytes))));
        lines.join("\n")
    }

    /// The medians beside those of an earlier run, as a Markdown table: below 1.00 is faster than then.
    pub fn compared(&self, earlier: &Bench) -> String {
        let mut lines = vec![
            format!("| {}, medians in ms | then | now | now / then |", self.app),
            "| --- | ---: | ---: | ---: |".to_owned(),
        ];
        for series in &self.series {
            if let (Some(then), Some(now)) = (earlier.median(&series.name), self.median(&series.name)) {
                lines.push(format!("| {} | {then:.0} | {now:.0} | {:.2} |", series.name, now / then));
            }
        }
        lines.join("\n")
    }

    /// The median of a series.
    pub fn median(&self, name: &str) -> Option<f64> {
        let series = self.series.iter().find(|series| series.name == name)?;
        (!series.millis.is_empty()).then(|| series.median())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench(series: &[(&str, &[f64])], memory: &[(&str, u64)]) -> Bench {
        let series =
            series.iter().map(|(name, millis)| Series { name: (*name).into(), millis: millis.to_vec() });
        Bench {
            schema: SCHEMA,
            app: "shop".into(),
            data: String::new(),
            runtime: "podman".into(),
            host: Host::this().unwrap(),
            series: series.collect(),
            memory: memory.iter().map(|(kind, bytes)| ((*kind).to_owned(), *bytes)).collect(),
        }
    }

    #[test]
    fn an_earlier_run_is_compared_by_its_medians() {
        let then = bench(&[("cold", &[4000.0]), ("restored", &[200.0, 100.0, 300.0]), ("gone", &[1.0])], &[]);
        let now = bench(&[("cold", &[5000.0]), ("restored", &[150.0]), ("new", &[1.0]), ("empty", &[])], &[]);
        let lines: Vec<String> = now.compared(&then).lines().map(String::from).collect();
        assert_eq!(lines[2..], ["| cold | 4000 | 5000 | 1.25 |", "| restored | 200 | 150 | 0.75 |"]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.json");
        std::fs::write(&path, serde_json::to_vec(&then).unwrap()).unwrap();
        assert_eq!(Bench::read(&path).unwrap(), then);
        let first = serde_json::to_string(&then).unwrap().replace(",\"memory\":{}", "");
        std::fs::write(&path, first.replace("\"schema\":2", "\"schema\":1")).unwrap();
        assert_eq!(Bench::read(&path).unwrap().series, then.series);
        std::fs::write(&path, first.replace("\"schema\":2", "\"schema\":9")).unwrap();
        assert!(
            Bench::read(&path).unwrap_err().to_string().contains("has schema 9; this version reads up to 2")
        );
    }

    #[test]
    fn memory_is_shown_from_the_largest() {
        let shown = bench(&[], &[("heap", 1 << 20), ("none", 0), ("stacks", 3 << 20)]).memory_table();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "| dumped pages | 4.0 MiB |");
        assert_eq!(lines[2..], ["| stacks | 3.0 MiB |", "| heap | 1.0 MiB |"]);
    }

    #[test]
    fn percentiles_are_measurements() {
        let series = |millis: &[f64]| Series { name: "x".into(), millis: millis.to_vec() };
        let check = |millis: &[f64], share, expected: f64| {
            assert_eq!(series(millis).percentile(share), expected, "{millis:?} {share}");
        };
        check(&[7.0], 0.0, 7.0);
        check(&[7.0], 0.95, 7.0);
        check(&[3.0, 1.0, 2.0], 0.5, 2.0);
        check(&[4.0, 3.0, 1.0, 2.0], 0.5, 2.0);
        check(&[4.0, 3.0, 1.0, 2.0], 1.0, 4.0);
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        check(&hundred, 0.95, 95.0);
        assert!(series(&[]).median().is_nan());
    }
}
