//! Figures of many starts: what is kept of them, and how they are shown.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lock::Host;

/// Version of the form of a benchmark's JSON.
pub const SCHEMA: u32 = 1;

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

    /// The median of a series.
    pub fn median(&self, name: &str) -> Option<f64> {
        let series = self.series.iter().find(|series| series.name == name)?;
        (!series.millis.is_empty()).then(|| series.median())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
