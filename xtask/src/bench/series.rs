//! The same thing measured again and again, and the names of what is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A cold start, from the container's first process to the first 200 on `ready`.
pub const COLD: &str = "cold, from its container's start";
/// The same from the moment the engine was asked for a container.
pub const COLD_WITH_CONTAINER: &str = "cold, container start included";
/// The same, to the answer to the first request of the warm-up.
pub const COLD_TO_REQUEST: &str = "cold, container start included, to the first warm-up request";
/// The same, from the container's first process on.
pub const COLD_ALONE_TO_REQUEST: &str = "cold, from its container's start, to the first warm-up request";
/// The first request of the warm-up alone, sent as soon as `ready` has answered.
pub const COLD_REQUEST: &str = "first warm-up request after a cold start";
/// As [`COLD`], of a restore.
pub const RESTORED: &str = "restored, from its container's start";
/// As [`COLD_WITH_CONTAINER`], of a restore.
pub const RESTORED_WITH_CONTAINER: &str = "restored, container start included";
/// As [`COLD_TO_REQUEST`], of a restore.
pub const RESTORED_TO_REQUEST: &str = "restored, container start included, to the first warm-up request";
/// As [`COLD_ALONE_TO_REQUEST`], of a restore.
pub const RESTORED_ALONE_TO_REQUEST: &str =
    "restored, from its container's start, to the first warm-up request";
/// As [`COLD_REQUEST`], of a restore.
pub const RESTORED_REQUEST: &str = "first warm-up request after a restore";
/// What CRIU's statistics say of a restore: its tasks forked, filled and ready to run.
pub const CRIU: &str = "CRIU's own restore time, of its statistics";
/// Processes frozen to killed, as the dump itself measures it.
pub const DUMP: &str = "dump, processes frozen to killed";
/// A container that does nothing, with a published port as the others.
pub const EMPTY: &str = "floor: an empty container";
/// Every byte of the dumped pages, read into fresh memory.
pub const READ: &str = "floor: reading the same pages";
/// The same bytes written to a file, as a dump writes them.
pub const WRITE: &str = "floor: writing the same pages";
/// `criu restore` from its call to its statistics.
pub const BARE: &str = "floor: bare criu restore";
/// The request of [`RESTORED_REQUEST`]'s application seconds later.
pub const WARM: &str = "floor: a request seconds later";

/// The same thing measured again and again. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Series {
    /// What.
    pub name: String,
    /// Every measurement, in the order it was made.
    pub millis: Vec<f64>,
}

impl Series {
    /// These measurements.
    pub fn of(name: &str, durations: impl IntoIterator<Item = Duration>) -> Series {
        // Microseconds: what is finer is noise, and would not be the same number once written and read.
        let millis = durations.into_iter().map(|duration| duration.as_micros() as f64 / 1000.0).collect();
        Series { name: name.to_owned(), millis }
    }

    /// The value below which this share of the measurements lies (the nearest rank), which is one of them; NaN of none.
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

    /// What 19 of 20 do not exceed.
    pub fn p95(&self) -> f64 {
        self.percentile(0.95)
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
        check(&hundred[1..], 0.95, 95.0);
        assert!(series(&[]).median().is_nan());
        assert_eq!(Series::of("x", [Duration::from_micros(1500)]).millis, [1.5]);
    }
}
