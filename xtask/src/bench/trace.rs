//! Where the time of one restore went, from what engine, Pebble and CRIU wrote down about it.
//!
//! CRIU's log at `-v4` begins each line with the seconds since its first line. What a line means was read in
//! CRIU 4.2.1's sources and seen in logs of it; a line that is not there leaves its stage to the next one.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::wire::{all, fields, numbers};

/// What begins CRIU's service images, and the statistics among them.
const SERVICE_MAGIC: u32 = 0x5510_5940;
const STATS_MAGIC: u32 = 0x5709_3306;

/// CRIU's stages, in their order.
const CRIU_STAGES: [&str; 4] = [
    "CRIU probes the kernel, opens images",
    "CRIU opens files, maps memory",
    "CRIU reads pages",
    "CRIU starts threads, resumes",
];

/// `restore_stats_entry`.
#[derive(Debug, Clone, PartialEq)]
pub struct CriuStats {
    /// Microseconds from the fork of the first task to the last one that runs.
    pub restore_micros: u32,
    /// Pages that were read.
    pub pages: u64,
}

impl CriuStats {
    /// Reads a `stats-restore`.
    pub fn parse(bytes: &[u8]) -> Result<CriuStats> {
        let head = [SERVICE_MAGIC.to_le_bytes(), STATS_MAGIC.to_le_bytes()].concat();
        let rest =
            bytes.strip_prefix(head.as_slice()).context("it does not begin as CRIU's statistics do")?;
        let (length, message) = rest.split_first_chunk::<4>().context("it is cut off")?;
        ensure!(u32::from_le_bytes(*length) as usize == message.len(), "its length is not what it says");
        let entry = fields(message).context("it cannot be read")?;
        let restore = all(&entry, 2).next().context("it is not of a restore")?;
        let [restore_micros, pages] = numbers(&fields(restore).context("it cannot be read")?, [4, 5]);
        // Of the first the .proto file says 32 bits.
        Ok(CriuStats { restore_micros: restore_micros as u32, pages })
    }
}

/// How long each of CRIU's stages took, by its log; none where the log has no times.
pub fn criu_stages(log: &str) -> Option<Vec<(&'static str, Duration)>> {
    let lines: Vec<(Duration, &str)> = log.lines().filter_map(timed).collect();
    let first = |text: &str| lines.iter().find(|(_, line)| line.contains(text)).map(|(time, _)| *time);
    let last = |text: &str| lines.iter().rev().find(|(_, line)| line.contains(text)).map(|(time, _)| *time);
    let end = first("Writing stats").or(lines.last().map(|(time, _)| *time))?;
    // Where all of the memory is mapped and none is read, threads come after the mappings.
    let mapped = first("Preadv ").or_else(|| first("Running post-restore scripts"));
    let marks = [first("Forking task with"), mapped, last("- returned "), Some(end)];
    // A stage without its mark lasts no time: what happened then is part of the next.
    let mut before = Duration::ZERO;
    let stages = CRIU_STAGES.into_iter().zip(marks).map(|(name, mark)| {
        let until = mark.unwrap_or(before).max(before);
        let lasted = until - before;
        before = until;
        (name, lasted)
    });
    Some(stages.collect())
}

/// A line of CRIU's log, as time and text.
fn timed(line: &str) -> Option<(Duration, &str)> {
    let (time, text) = line.strip_prefix('(')?.split_once(") ")?;
    let (seconds, micros) = time.split_once('.')?;
    let micros = (micros.len() == 6).then(|| micros.parse::<u32>().ok())??;
    Some((Duration::new(seconds.parse().ok()?, micros * 1000), text))
}

/// One restore, moment by moment, by the clock of the machine.
#[derive(Debug, Clone)]
pub struct Trace {
    /// The engine was asked for a container.
    pub asked: SystemTime,
    /// The engine started its first process.
    pub started: SystemTime,
    /// Pebble started the service; to the millisecond.
    pub service: SystemTime,
    /// CRIU was called.
    pub criu: SystemTime,
    /// CRIU had written its statistics, which it does last.
    pub restored: SystemTime,
    /// `ready` answered 200.
    pub up: SystemTime,
    /// How long the first request of the warm-up took then.
    pub request: Duration,
}

impl Trace {
    /// The stages of the whole restore, one after the other. `log` is CRIU's; without times in it CRIU is one stage with
    /// what comes after.
    pub fn stages(&self, log: &str) -> Vec<(String, Duration)> {
        let between = |from: SystemTime, to: SystemTime| to.duration_since(from).unwrap_or_default();
        let mut stages = vec![
            ("the engine starts a container".to_owned(), between(self.asked, self.started)),
            ("Pebble starts the service".to_owned(), between(self.started, self.service)),
            ("the script calls CRIU".to_owned(), between(self.service, self.criu)),
        ];
        let criu = criu_stages(log).unwrap_or_default();
        let whole: Duration = criu.iter().map(|(_, lasted)| *lasted).sum();
        // Its log begins once its libraries are loaded.
        let logs = if criu.is_empty() { None } else { self.restored.checked_sub(whole) };
        let logs = logs.filter(|logs| *logs > self.criu).unwrap_or(self.criu);
        stages.push(("CRIU and its libraries are loaded".to_owned(), between(self.criu, logs)));
        stages.extend(criu.into_iter().map(|(name, lasted)| (name.to_owned(), lasted)));
        stages.push(("the first answer of ready".to_owned(), between(logs + whole, self.up)));
        stages.push(("the first warm-up request".to_owned(), self.request));
        stages
    }
}

/// When Pebble said that it starts a service.
pub fn service_started(log: &str, service: &str) -> Option<SystemTime> {
    let said = format!("[pebble] Service \"{service}\" starting");
    let line = log.lines().find(|line| line.contains(&said))?;
    humantime::parse_rfc3339(line.split(' ').next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of CRIU 4.2.1 at `-v4`: a restore of the sample application with 96 MiB of pages.
    const LOG: &str = include_str!("../../tests/support/restore.log");
    /// Its `stats-restore`.
    const STATS: [u8; 28] = [
        0x40, 0x59, 0x10, 0x55, 0x06, 0x33, 0x09, 0x57, 0x10, 0, 0, 0, 0x12, 0x0e, 0x08, 0, 0x10, 0, 0x18,
        0x04, 0x20, 0xc3, 0xf0, 0x06, 0x28, 0xf8, 0xc0, 0x01,
    ];

    #[test]
    fn the_stages_of_a_real_log() {
        let check = |log: &str, expected: [u128; 4]| {
            let stages = criu_stages(log).unwrap();
            assert_eq!(stages.iter().map(|(name, _)| *name).collect::<Vec<_>>(), CRIU_STAGES);
            assert_eq!(stages.iter().map(|(_, lasted)| lasted.as_micros()).collect::<Vec<_>>(), expected);
        };
        check(LOG, [14831, 7541, 97799, 13830]);
        let without = |words: &[&str]| {
            let kept = LOG.lines().filter(|line| !words.iter().any(|word| line.contains(word)));
            kept.collect::<Vec<_>>().join("\n")
        };
        check(&without(&["Preadv", "returned"]), [14831, 107_942, 0, 11228]);
        check(&without(&["Forking"]), [0, 22372, 97799, 13830]);
        // It was ended before it was done.
        let cut = LOG.find("(00.124236)").unwrap();
        check(&LOG[..cut], [14831, 7541, 97799, 2619]);
        assert_eq!(criu_stages(""), None);
        // As at -v2.
        assert_eq!(criu_stages("Warn  (criu/kerndat.c:1200): $XDG_RUNTIME_DIR not set.\n"), None);
    }

    #[test]
    fn lines_begin_with_seconds_and_microseconds() {
        let check = |line, expected: Option<(u64, &str)>| {
            assert_eq!(timed(line).map(|(time, text)| (time.as_micros() as u64, text)), expected, "{line}");
        };
        check("(00.000117) Running on x", Some((117, "Running on x")));
        check("(12.500000)   1014: Opening", Some((12_500_000, "  1014: Opening")));
        check("(criu/kerndat.c:1200): x", None);
        check("(1.5) x", None);
        check("task_args->pid: 1014", None);
    }

    #[test]
    fn statistics_are_of_a_restore() {
        let stats = CriuStats::parse(&STATS).unwrap();
        assert_eq!((stats.restore_micros, stats.pages), (112_707, 24_696));
        let check = |bytes: &[u8], expected: &str| {
            let error = format!("{:#}", CriuStats::parse(bytes).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check(&[], "does not begin as CRIU's statistics do");
        check(&STATS[..10], "cut off");
        check(&STATS[..27], "its length is not what it says");
        // A dump's are in field 1.
        let mut dump = STATS;
        dump[12] = 0x0a;
        check(&dump, "not of a restore");
    }

    #[test]
    fn stages_lie_between_moments() {
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let trace = Trace {
            asked: at(0),
            started: at(200),
            service: at(230),
            criu: at(240),
            restored: at(240 + 7 + 134),
            up: at(400),
            request: Duration::from_millis(9),
        };
        let sum = |log: &str| trace.stages(log).iter().map(|(_, lasted)| *lasted).sum::<Duration>();
        assert_eq!(sum(LOG), Duration::from_millis(409));
        assert_eq!(sum(""), Duration::from_millis(409));
        let loaded = |millis| ("CRIU and its libraries are loaded".into(), Duration::from_millis(millis));
        assert_eq!(trace.stages(LOG)[3].1.as_micros(), 6_999);
        assert_eq!(trace.stages("")[3], loaded(0));
        assert_eq!(trace.stages("")[4], ("the first answer of ready".into(), Duration::from_millis(160)));
        // The file of statistics has been touched since, or the log is of another clock.
        assert_eq!(Trace { restored: at(300), ..trace.clone() }.stages(LOG)[3], loaded(0));
        // A clock that was set back does not make time negative.
        assert_eq!(Trace { service: at(100), ..trace }.stages("")[1].1, Duration::ZERO);
    }

    #[test]
    fn pebble_says_when() {
        let log = "2026-11-23T17:20:08.627Z [pebble] POST /v1/services 2.484811ms 202 (http+unix)\n\
            2026-11-23T17:20:08.631Z [pebble] Service \"sample-restore\" starting: /scripts/restore.sh\n";
        let check = |service, expected: Option<&str>| {
            let expected = expected.map(|text| humantime::parse_rfc3339(text).unwrap());
            assert_eq!(service_started(log, service), expected, "{service}");
        };
        check("sample-restore", Some("2026-11-23T17:20:08.631Z"));
        check("sample", None);
    }
}
