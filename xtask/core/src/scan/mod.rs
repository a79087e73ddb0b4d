//! Whether a dump holds secrets: their values in whatever form, and what looks like a secret by its format.
//!
//! Searched are the memory of the dumped processes by address, so that a value may lie across pages and files, every
//! other file of the checkpoint, the archive of classes and the rocks' rendered texts. What is encrypted, compressed,
//! derived or kept in pieces is not found: a clean scan is no proof, and [`NO_PROOF`] says so wherever one is reported.
//!
//! Bytes are read as the store has them and not hashed: `verify` does that.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytesize::ByteSize;
use serde::Serialize;

mod encodings;
mod finder;
mod findings;
mod formats;
mod given;
mod places;
mod rules;
#[cfg(test)]
mod tests;
mod variables;

use crate::app::App;
use crate::digest::Digest;
use crate::files::DataFile;
use crate::interrupt;
use crate::store::Store;
use crate::workers;
use finder::{Hit, Search};
pub use findings::{Finding, Seen};
use findings::{Lies, Placed};
pub use given::{LONGEST, SHORTEST, Secret, Value, Weight, read};
use places::{Place, Places, UNIT, Unit};
pub use rules::{RULES, Rule, digits};
pub use variables::{COMMON, HARMLESS_ENDS, OURS, SECRET_WORDS, is_ours, is_secret};

/// What every report of a scan ends with.
pub const NO_PROOF: &str = "A clean scan is no proof: what is encrypted, compressed, derived from a secret or kept in \
                            pieces is not found. See docs/guide/safety.md";

/// The archive of classes, an object of the store, and its size.
pub type ClassArchive = (Digest, u64);

/// What is searched.
pub struct Target<'a> {
    /// The application.
    pub app: &'a App,
    /// The files of the checkpoint.
    pub files: &'a [DataFile],
    /// The archive of classes, where there is one.
    pub archive: Option<ClassArchive>,
    /// Rendered files by their path, which the rocks hold.
    pub texts: Vec<(String, Vec<u8>)>,
}

/// What a scan has found, and what it has searched.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Scan {
    /// The application.
    pub app: String,
    /// Bytes searched.
    pub bytes: u64,
    /// How long that took.
    pub seconds: f64,
    /// Processes whose memory was searched by address.
    pub processes: usize,
    /// Files searched from end to end.
    pub files: usize,
    /// Why memory was searched as files, where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
    /// Identifiers of the values that were searched for.
    pub secrets: Vec<String>,
    /// Names of the known formats.
    pub formats: Vec<&'static str>,
    /// Names of the variables that the process was started with; their values are in the dump.
    pub variables: Vec<String>,
    /// Why these may not be all of them, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread_variables: Option<String>,
    /// What was found, with what is allowed and what is only told.
    pub findings: Vec<Finding>,
    /// Entries of `secrets.allow` that name nothing that was found.
    pub allowed_in_vain: Vec<String>,
    /// [`NO_PROOF`].
    pub note: &'static str,
}

/// Searches a dump for these secrets, for the variables of the container ([`is_ours`] apart), and for known formats.
///
/// # Errors
/// Where the store lacks a file or cannot be read; a finding is no error.
pub fn scan(store: &Store, target: &Target<'_>, given: &[Secret]) -> Result<Scan> {
    let started = Instant::now();
    let mut places = Places::of_dump(store, target.files)?;
    if let Some((digest, size)) = target.archive {
        places.add_object(store, "the class archive", &digest, size)?;
    }
    for (name, bytes) in &target.texts {
        places.add_text(name, bytes);
    }
    let (variables, searched, unread_variables) = variables(target.app, &places)?;
    let mut secrets = given.to_vec();
    for secret in searched {
        // Under the name that app.toml gives it, once.
        if !secrets.iter().any(|known| known.value == secret.value) {
            secrets.push(secret);
        }
    }
    let hits = search(&places, &secrets)?;
    let allowed = &target.app.secrets.allow;
    let findings = findings::findings(&target.app.name, &secrets, hits, allowed);
    let found: BTreeSet<&str> = findings.iter().map(|finding| finding.id.as_str()).collect();
    let in_vain = allowed.iter().filter(|entry| !found.contains(entry.id.as_str()));
    let in_vain = in_vain.map(|entry| entry.id.clone()).collect();
    let is_file = |place: &Place| matches!(place, Place::File(_));
    Ok(Scan {
        app: target.app.name.clone(),
        bytes: places.stretches.iter().map(|stretch| stretch.length).sum(),
        seconds: started.elapsed().as_secs_f64(),
        processes: places.processes.len(),
        files: places.stretches.iter().filter(|stretch| is_file(&stretch.place)).count(),
        unread: places.unread.clone(),
        secrets: secrets.iter().map(|secret| secret.rule.clone()).collect(),
        formats: RULES.iter().map(|rule| rule.name).collect(),
        variables,
        unread_variables,
        findings,
        allowed_in_vain: in_vain,
        note: NO_PROOF,
    })
}

/// The variables that the container's process had, by name; what is searched for of them; why these may not be all.
fn variables(app: &App, places: &Places) -> Result<(Vec<String>, Vec<Secret>, Option<String>)> {
    let mut names = BTreeSet::new();
    let mut secrets: Vec<Secret> = Vec::new();
    let mut add = |name: &str, value: &[u8]| {
        names.insert(name.to_owned());
        secrets.extend(variables::searched(name, value).filter(|secret| !secrets.contains(secret)));
    };
    for (name, value) in &app.environment {
        add(name, value.as_bytes());
    }
    let (block, unread) = places.environment()?;
    for variable in block {
        let sign = variable.iter().position(|byte| *byte == b'=').unwrap_or(variable.len());
        let (name, value) = variable.split_at(sign);
        // A name is shown, and may be anything here.
        let name: String =
            String::from_utf8_lossy(name).chars().filter(|c| !c.is_control()).take(255).collect();
        add(&name, value.get(1..).unwrap_or_default());
    }
    // Of two variables with one value the one that refuses speaks.
    secrets.sort_by_key(|secret| secret.weight == Weight::Noted);
    Ok((names.into_iter().collect(), secrets, unread))
}

/// Every hit, with its place.
fn search(places: &Places, secrets: &[Secret]) -> Result<Vec<Placed>> {
    let search = Search::new(secrets)?;
    let hits: Mutex<Vec<Placed>> = Mutex::default();
    let buffers: Mutex<Vec<Vec<u8>>> = Mutex::default();
    let largest = usize::try_from(UNIT)? + 2 * search.around();
    let work = |unit: &Unit| -> Result<()> {
        interrupt::check()?;
        let stretch = &places.stretches[unit.stretch];
        let around = search.around() as u64;
        let (from, to) = (unit.at.start.saturating_sub(around), stretch.length.min(unit.at.end + around));
        let mut buffer = workers::lock(&buffers).pop().unwrap_or_else(|| vec![0; largest]);
        let bytes = &mut buffer[..usize::try_from(to - from)?];
        places.read(unit.stretch, from, bytes)?;
        let within = usize::try_from(unit.at.start - from)?..usize::try_from(unit.at.end - from)?;
        let mut found = Vec::new();
        search.find(bytes, within, |hit: Hit| {
            let at = stretch.start + from + hit.at as u64;
            let place = match &stretch.place {
                Place::Memory(process) => places.processes[*process].kind(at).to_string(),
                Place::File(name) => name.clone(),
            };
            let (subject, value, encoding) = (hit.subject, hit.value, hit.encoding);
            let lies = Lies { stretch: unit.stretch, at, end: at + hit.length as u64 };
            found.push(Placed { subject, value, encoding, place, lies });
        });
        workers::lock(&buffers).push(buffer);
        workers::lock(&hits).extend(found);
        Ok(())
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    workers::each(&places.units(), cores, || (), work)?;
    let mut hits = hits.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    hits.sort_by(|a, b| (a.lies, a.subject, &a.value).cmp(&(b.lies, b.subject, &b.value)));
    // Two anchors of a format may lead to the same value.
    hits.dedup_by(|a, b| (a.lies, a.subject, &a.value) == (b.lies, b.subject, &b.value));
    Ok(hits)
}

impl Scan {
    /// What is refused.
    pub fn refused(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.allowed.is_none() && !finding.noted)
    }

    /// Variables whose values nothing says to be secret, and nobody allows.
    pub fn noted(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.allowed.is_none() && finding.noted)
    }

    /// How much was searched, how fast and for what, in a line.
    pub fn summary(&self) -> String {
        let allowed = self.findings.iter().filter(|finding| finding.allowed.is_some()).count();
        let others = [(allowed, "allowed finding"), (self.noted().count(), "variable")];
        let others: Vec<String> = others
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| count(*number, what))
            .collect();
        let what = match (self.refused().count(), others.as_slice()) {
            (0, []) => "nothing found".to_owned(),
            (0, others) => format!("nothing found beyond {}", others.join(" and ")),
            (refused, _) => format!("{} found", count(refused, "secret")),
        };
        let speed = self.bytes as f64 / self.seconds.max(1e-6) / 1e9;
        let took = crate::progress::seconds(Duration::from_secs_f64(self.seconds));
        let searched = format!("{} in {took} ({speed:.1} GB/s)", ByteSize(self.bytes));
        let by_value = count(self.secrets.len(), "value");
        format!("{what}; searched {searched} for {by_value} and {} known formats", self.formats.len())
    }

    /// An error that tells what was found, where it is and what to do about it; nothing where all of it is allowed.
    ///
    /// # Errors
    /// Where something is refused.
    pub fn verdict(&self) -> Result<()> {
        let refused: Vec<String> = self.refused().map(Finding::to_string).collect();
        let Some(first) = self.refused().next() else { return Ok(()) };
        anyhow::bail!(
            "{} in what {} was dumped to, and whoever has the rock has {}:\n\n{}\n\n\
             Let the application read {} after the restore (docs/guide/safety.md), or, where it may be public, say so in \
             apps/{}/app.toml:\n\n  [secrets]\n  allow = [{{ id = \"{}\", reason = \"why it may be in the rock\" }}]",
            count(refused.len(), "secret"),
            self.app,
            if refused.len() == 1 { "it" } else { "them" },
            refused.join("\n"),
            if refused.len() == 1 { "it" } else { "them" },
            self.app,
            first.id
        )
    }
}

/// `1 secret`, `2 secrets`.
pub fn count(number: usize, what: &str) -> String {
    match (number, what.strip_suffix("ss")) {
        (1, _) => format!("1 {what}"),
        (_, Some(_)) => format!("{number} {what}es"),
        (_, None) => format!("{number} {what}s"),
    }
}

/// Reads the secrets that an application names from where this machine has them.
///
/// # Errors
/// See [`read`].
pub fn given(app: &App, root: &Path) -> Result<Vec<Secret>> {
    Ok(read(&app.secrets.named, &root.join("apps").join(&app.name))?)
}
