//! From hits to what a person is told: one finding for each value, never the value itself.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::finder::Subject;
use super::given::{Secret, Value, Weight};
use super::rules::{RULES, digits, is_guessable};
use crate::app::Allowed;
use crate::digest::Digest;

/// A value that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// `RULE:DIGEST`, by which `secrets.allow` names it. The same value has the same one in every dump.
    pub id: String,
    /// What it is, in words.
    pub what: String,
    /// Bytes of the value; of one that could be guessed, no more than so many (see [`digits`]).
    pub length: usize,
    /// What may be shown of it: characters that all values of its kind share, and stars.
    pub masked: String,
    /// How many times it was found.
    pub count: usize,
    /// Where, by kind of place and form of the value.
    pub places: Vec<Seen>,
    /// Whether it is told and not refused: the value of a variable that nothing says to be secret.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub noted: bool,
    /// Why it may be there, where app.toml says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
}

impl Finding {
    /// What begins its identifier.
    pub fn rule(&self) -> &str {
        self.id.rsplit_once(':').map_or("", |(rule, _)| rule)
    }
}

/// Where a value was found in one form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Seen {
    /// A kind of memory or a file.
    pub place: String,
    /// The form of the value.
    pub encoding: &'static str,
    /// How many times.
    pub count: usize,
    /// The lowest address, or offset in the file.
    pub first: u64,
}

/// A hit whose place is known.
pub(super) struct Placed {
    pub subject: Subject,
    pub value: Value,
    pub encoding: &'static str,
    pub place: String,
    pub lies: Lies,
}

/// Where a hit lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lies {
    pub stretch: usize,
    /// Address, or offset in a file.
    pub at: u64,
    pub end: u64,
}

/// Rounds that make a dictionary of passwords slow to try on an identifier.
const ROUNDS: usize = 1 << 12;

/// The end of an identifier, as many digits as its rule has ([`digits`]).
fn short_digest(app: &str, rule: &str, value: &[u8]) -> String {
    let first = Digest::of_value(&("xtask scan", app, rule, value));
    let last = (0..ROUNDS).fold(first, |digest, _| Digest::of(digest.hex()));
    last.hex()[..digits(rule)].to_owned()
}

/// Places where a value lies that is refused by its name. What looks like a secret inside of one is not told again; the
/// same bytes elsewhere are.
struct Told {
    /// In order; the third is the farthest end so far in the stretch.
    places: Vec<(usize, u64, u64)>,
}

impl Told {
    fn of(secrets: &[Secret], hits: &[Placed]) -> Told {
        let refused = |hit: &&Placed| matches!(hit.subject, Subject::Secret(number) if secrets[number].weight == Weight::Refused);
        let mut places: Vec<(usize, u64, u64)> =
            hits.iter().filter(refused).map(|hit| (hit.lies.stretch, hit.lies.at, hit.lies.end)).collect();
        places.sort_unstable();
        for at in 1..places.len() {
            if places[at - 1].0 == places[at].0 {
                places[at].2 = places[at].2.max(places[at - 1].2);
            }
        }
        Told { places }
    }

    /// Whether there is one value that all of this lies in.
    fn holds(&self, lies: &Lies) -> bool {
        let before =
            self.places.partition_point(|(stretch, at, _)| (*stretch, *at) <= (lies.stretch, lies.at));
        before > 0 && {
            let (stretch, _, end) = self.places[before - 1];
            stretch == lies.stretch && end >= lies.end
        }
    }
}

/// One finding for each value, sorted by identifier.
pub(super) fn findings(
    app: &str,
    secrets: &[Secret],
    hits: Vec<Placed>,
    allowed: &[Allowed],
) -> Vec<Finding> {
    let mut by_value: BTreeMap<(Subject, Value), Vec<Placed>> = BTreeMap::new();
    let told = Told::of(secrets, &hits);
    for hit in hits {
        if !(matches!(hit.subject, Subject::Rule(_)) && told.holds(&hit.lies)) {
            by_value.entry((hit.subject, hit.value.clone())).or_default().push(hit);
        }
    }
    let of = |((subject, value), hits): ((Subject, Value), Vec<Placed>)| {
        let noted = matches!(subject, Subject::Secret(number) if secrets[number].weight == Weight::Noted);
        let (rule, what, shown) = match subject {
            Subject::Secret(number) => (secrets[number].rule.clone(), about(&secrets[number].rule), 0),
            Subject::Rule(rule) => {
                (RULES[rule].name.to_owned(), RULES[rule].about.to_owned(), RULES[rule].shown)
            }
        };
        let id = format!("{rule}:{}", short_digest(app, &rule, value.bytes()));
        let mut places: BTreeMap<(String, &'static str), (usize, u64)> = BTreeMap::new();
        let count = hits.len();
        for hit in hits {
            let place = places.entry((hit.place, hit.encoding)).or_insert((0, u64::MAX));
            *place = (place.0 + 1, place.1.min(hit.lies.at));
        }
        let seen = |((place, encoding), (count, first))| Seen { place, encoding, count, first };
        let allowed = allowed.iter().find(|entry| entry.id == id).map(|entry| entry.reason.clone());
        let start = String::from_utf8_lossy(&value.bytes()[..shown.min(value.bytes().len())]).into_owned();
        Finding {
            id,
            what,
            length: match is_guessable(&rule) {
                true => value.bytes().len().next_power_of_two(),
                false => value.bytes().len(),
            },
            masked: format!("{start}***"),
            count,
            places: places.into_iter().map(seen).collect(),
            noted,
            allowed,
        }
    };
    let mut findings: Vec<Finding> = by_value.into_iter().map(of).collect();
    findings.sort_by(|a, b| a.id.cmp(&b.id));
    findings
}

fn about(rule: &str) -> String {
    match rule.split_once('/') {
        Some(("variable", name)) => {
            let by_name = if super::is_secret(name) { ", which is called like a secret" } else { "" };
            format!("the value of the environment variable {name}{by_name}")
        }
        Some((_, name)) => format!("the secret {name} of app.toml"),
        None => rule.to_owned(),
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More places say no more.
        const SHOWN: usize = 6;
        let up_to = if is_guessable(self.rule()) { "up to " } else { "" };
        writeln!(f, "{}  {}, {up_to}{} bytes, {} times", self.id, self.what, self.length, self.count)?;
        write!(f, "    {}", self.masked)?;
        for seen in self.places.iter().take(SHOWN) {
            write!(f, "\n    {seen}")?;
        }
        match self.places.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n    and in {more} more places"),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seen { place, encoding, count, first } = self;
        let times = if *count == 1 { "at" } else { "first at" };
        write!(f, "{place}: {count} as {encoding}, {times} {first:#x}")
    }
}
