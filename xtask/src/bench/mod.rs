//! Figures of many starts: what is kept of them, what they are held against, and how they are shown.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::lock::Host;
use crate::workspace::open_file;

mod machine;
mod plot;
mod report;
mod series;
mod table;
#[cfg(test)]
mod tests;
mod trace;

pub use machine::Machine;
pub use report::{html, svg};
pub use series::*;
pub use trace::{CriuStats, Trace, criu_stages, service_started};

/// Version of the form of a benchmark's JSON. The first did not know of memory, the second of nothing but the times of
/// starts and the dumped memory.
pub const SCHEMA: u32 = 3;

/// One benchmark. Times are in milliseconds, memory is in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bench {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The application.
    pub app: String,
    /// When it was measured, in UTC.
    #[serde(default)]
    pub measured: String,
    /// Digest of the checkpoint data.
    pub data: String,
    /// Bytes of the checkpoint data.
    #[serde(default)]
    pub data_bytes: u64,
    /// The container engine's program.
    pub runtime: String,
    /// What a restore depends on in the machine.
    pub host: Host,
    /// What its speed depends on.
    #[serde(default)]
    pub machine: Machine,
    /// What was measured, in the order it is shown.
    pub series: Vec<Series>,
    /// Where the time of the traced restores went, one stage after the other. Together they last as long as a restore
    /// whose CRIU writes down everything, which is a little longer than others.
    #[serde(default)]
    pub stages: Vec<Series>,
    /// Bytes of the dumped pages by what they were used for; empty where the data's images do not say.
    #[serde(default)]
    pub memory: BTreeMap<String, u64>,
    /// Memory of the JVM while it runs.
    #[serde(default)]
    pub resident: Vec<Resident>,
    /// Requests answered in the first seconds.
    #[serde(default)]
    pub rates: Vec<Rate>,
}

/// Memory of the JVM, and of its container, at one moment of several instances.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Resident {
    /// Which moment of which kind of start.
    pub name: String,
    /// `Rss` of /proc/PID/smaps_rollup.
    pub rss: Vec<u64>,
    /// `Pss` of the same: pages that several processes map are counted in parts.
    pub pss: Vec<u64>,
    /// What the container's control group is charged with, the page cache of its files too; empty where it cannot be
    /// read.
    pub cgroup: Vec<u64>,
}

/// How many requests one caller that asks again at once was answered after `ready`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rate {
    /// `cold` or `restored`.
    pub name: String,
    /// The request.
    pub request: String,
    /// How long each piece of time is.
    pub bucket_millis: u64,
    /// Of each instance, the answers in each piece of time.
    pub answers: Vec<Vec<u64>>,
}

impl Rate {
    /// Requests a second, the mean of the instances, in each piece of time.
    pub fn per_second(&self) -> Vec<f64> {
        let buckets = self.answers.iter().map(Vec::len).min().unwrap_or(0);
        let mean = |at: usize| {
            let sum: u64 = self.answers.iter().map(|instance| instance[at]).sum();
            sum as f64 / self.answers.len() as f64 * 1000.0 / self.bucket_millis as f64
        };
        (0..buckets).map(mean).collect()
    }

    /// Requests answered in the first second, the mean of the instances.
    pub fn first_second(&self) -> f64 {
        let rates = self.per_second();
        let buckets = (1000 / self.bucket_millis.max(1)) as usize;
        let first = &rates[..buckets.min(rates.len())];
        first.iter().sum::<f64>() / first.len().max(1) as f64
    }
}

/// One figure over another.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratio {
    /// Of what.
    pub name: String,
    /// How much.
    pub value: f64,
}

impl Bench {
    /// One of an earlier run.
    ///
    /// # Errors
    /// Where the file is no benchmark, or one of a later version of this tool.
    pub fn read(path: &Path) -> Result<Bench> {
        let file = open_file(path)?;
        let bench: Bench = serde_json::from_reader(std::io::BufReader::new(file))
            .with_context(|| format!("{} is no benchmark of this tool", path.display()))?;
        let known = (1..=SCHEMA).contains(&bench.schema);
        ensure!(known, "{} has schema {}; this version reads up to {SCHEMA}", path.display(), bench.schema);
        Ok(bench)
    }

    /// What of the machine was otherwise when an earlier one was measured: its figures are then not to be compared.
    pub fn elsewhere(&self, earlier: &Bench) -> Vec<String> {
        let of = |bench: &Bench| {
            let Bench { runtime, host, machine, .. } = bench;
            [
                ("runtime", runtime.clone()),
                ("CPU", format!("{} x {}", machine.cpus, machine.cpu)),
                ("kernel", host.kernel.clone()),
            ]
        };
        let both = of(self).into_iter().zip(of(earlier));
        let differ = both.filter(|((_, now), (_, then))| now != then);
        differ.map(|((what, now), (_, then))| format!("its {what} is {then}, here {now}")).collect()
    }

    /// A series that has a measurement.
    pub fn series(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name && !series.millis.is_empty())
    }

    /// The median of a series.
    pub fn median(&self, name: &str) -> Option<f64> {
        self.series(name).map(Series::median)
    }

    /// How many times as fast the application is back as it starts, by the medians from the container's start.
    pub fn headline(&self) -> Option<f64> {
        Some(self.median(COLD)? / self.median(RESTORED)?)
    }

    /// The headline, which must not be below `least`.
    ///
    /// # Errors
    /// Where it is, or where there is none.
    pub fn at_least(&self, least: f64) -> Result<f64> {
        let app = &self.app;
        let ratio = self.headline().with_context(|| {
            format!(
                "{app} was not both started and restored: --fail-below needs --cold and --restores above 0"
            )
        })?;
        ensure!(ratio >= least, "{app} is back {ratio:.1} times as fast, and --fail-below wants {least}");
        Ok(ratio)
    }

    /// What would do no more than start a container and read the same pages, in the place of what was measured. Memory
    /// that is mapped and not read can be faster.
    pub fn floor(&self, name: &str) -> Option<f64> {
        let median = |name: &str| self.median(name);
        match name {
            RESTORED | CRIU => median(READ),
            RESTORED_ALONE_TO_REQUEST => Some(median(READ)? + median(WARM).unwrap_or_default()),
            DUMP => median(WRITE),
            RESTORED_WITH_CONTAINER => Some(median(EMPTY)? + median(READ)?),
            RESTORED_TO_REQUEST => Some(median(EMPTY)? + median(READ)? + median(WARM).unwrap_or_default()),
            COLD_WITH_CONTAINER | COLD_TO_REQUEST => median(EMPTY),
            COLD_REQUEST | RESTORED_REQUEST => median(WARM),
            _ => None,
        }
    }

    /// What the figures come to, each as one number.
    pub fn ratios(&self) -> Vec<Ratio> {
        let median = |name: &str| self.median(name);
        let over = |name: &str, value: Option<f64>, by: Option<f64>| {
            Some(Ratio { name: name.to_owned(), value: value? / by? })
        };
        let p95 = self.series(RESTORED).map(Series::p95);
        let floor = median(EMPTY).zip(median(BARE)).map(|(empty, bare)| empty + bare);
        let rate = |name: &str| {
            self.rates
                .iter()
                .find(|rate| rate.name == name && !rate.answers.is_empty())
                .map(Rate::first_second)
        };
        [
            over("cold / restored, from the container's start", median(COLD), median(RESTORED)),
            over(
                "cold / restored, from the container's start, to the first warm-up request",
                median(COLD_ALONE_TO_REQUEST),
                median(RESTORED_ALONE_TO_REQUEST),
            ),
            over(
                "cold / restored, container start included",
                median(COLD_WITH_CONTAINER),
                median(RESTORED_WITH_CONTAINER),
            ),
            over(
                "cold / restored, container start included, to the first warm-up request",
                median(COLD_TO_REQUEST),
                median(RESTORED_TO_REQUEST),
            ),
            over("p95 / median of the restores", p95, median(RESTORED)),
            over("restore / plain read of the same pages", median(RESTORED), median(READ)),
            over(
                "container start included: ours / (empty container + bare criu restore)",
                median(RESTORED_WITH_CONTAINER),
                floor,
            ),
            over("requests in the first second, restored / cold", rate("restored"), rate("cold")),
        ]
        .into_iter()
        .flatten()
        .filter(|ratio| ratio.value.is_finite())
        .collect()
    }
}
