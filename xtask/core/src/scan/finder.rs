//! Many short byte strings at once, at the speed of memory.
//!
//! The forms of values are found by [`needles`], in one pass over a piece that the cache holds, however many they are. A known
//! format has *anchors*, constants of a few bytes that it has in or before it; only what has an anchor is looked at closer.
//! The long ones are found in the same pass. Those too short for it are found by the vector instructions of aho-corasick's
//! packed search, in two passes: for those of three bytes, and for the others, which would be looked at by three bytes only.

use std::collections::BTreeMap;
use std::ops::Range;

use aho_corasick::packed::{Config, MatchKind, Searcher};
use aho_corasick::{AhoCorasick, Input, MatchKind as Kind};
use anyhow::{Context, Result};
use needles::Needles;

use super::encodings::forms;
use super::given::{Secret, Value};
use super::rules::RULES;

/// Bytes by which the packed search tells most places from anchors.
const SHORT: usize = 4;
/// Bytes before and behind an anchor that a known format is looked for in: a private key of 8192 bits in UTF-16.
pub(super) const AROUND: usize = 16 << 10;

/// A known format, whose anchor is in UTF-16 or in a form with one byte a character.
struct Target {
    rule: usize,
    wide: bool,
}

/// Anchors, and the formats that have each.
type Anchors = Vec<(Vec<u8>, Vec<Target>)>;

/// Anchors that are searched for together.
struct Group {
    finder: Finder,
    anchors: Anchors,
    /// Of each anchor the others that begin where it does.
    beside: Vec<Vec<usize>>,
}

enum Finder {
    Packed(Searcher),
    /// Where the processor has no such instructions.
    Automaton(AhoCorasick),
}

impl Finder {
    fn new(anchors: &[&[u8]]) -> Result<Finder> {
        let mut packed = Config::new().match_kind(MatchKind::LeftmostLongest).builder();
        if let Some(searcher) = packed.extend(anchors).build() {
            return Ok(Finder::Packed(searcher));
        }
        let automaton = AhoCorasick::builder().match_kind(Kind::LeftmostLongest).build(anchors);
        Ok(Finder::Automaton(automaton.context("the search cannot be prepared")?))
    }

    /// The next anchor: its number and where it begins.
    fn next(&self, bytes: &[u8], within: Range<usize>) -> Option<(usize, usize)> {
        match self {
            Finder::Packed(searcher) => {
                let found = searcher.find_in(bytes, within.into())?;
                Some((found.pattern().as_usize(), found.start()))
            }
            Finder::Automaton(automaton) => {
                let found = automaton.find(Input::new(bytes).range(within))?;
                Some((found.pattern().as_usize(), found.start()))
            }
        }
    }
}

/// What a value was found as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// The secret of this number.
    Secret(usize),
    /// A known format.
    Rule(usize),
}

/// A value that was found.
pub(super) struct Hit {
    pub subject: Subject,
    /// Where it begins, from the start of what was searched.
    pub at: usize,
    /// Bytes that it takes there.
    pub length: usize,
    /// What the value is, whatever form it has.
    pub value: Value,
    pub encoding: &'static str,
}

/// What a needle is.
#[derive(Default)]
struct Sought {
    length: usize,
    /// The secrets that have it as a form, and what the form is.
    forms: Vec<(usize, &'static str)>,
    /// The formats that have it as an anchor.
    targets: Vec<Target>,
}

/// Everything that is searched for.
pub(super) struct Search {
    groups: Vec<Group>,
    needles: Needles,
    /// What each needle is.
    sought: Vec<Sought>,
    secrets: Vec<Value>,
    /// The longest form of any value.
    longest: usize,
}

impl Search {
    pub fn new(secrets: &[Secret]) -> Result<Search> {
        let mut long: BTreeMap<Vec<u8>, Sought> = BTreeMap::new();
        let mut short: BTreeMap<Vec<u8>, Vec<Target>> = BTreeMap::new();
        let mut add = |anchor: Vec<u8>, target| match anchor.len() {
            ..needles::LEAST => short.entry(anchor).or_default().push(target),
            _ => long.entry(anchor).or_default().targets.push(target),
        };
        for (rule, known) in RULES.iter().enumerate() {
            for anchor in known.anchors {
                add(anchor.to_vec(), Target { rule, wide: false });
                if !known.binary {
                    let mut wide: Vec<u8> = anchor.iter().flat_map(|byte| [*byte, 0]).collect();
                    wide.pop();
                    add(wide, Target { rule, wide: true });
                }
            }
        }
        let mut longest = 0;
        for (secret, given) in secrets.iter().enumerate() {
            for form in forms(given.value.bytes()) {
                longest = longest.max(form.bytes.len());
                long.entry(form.bytes).or_default().forms.push((secret, form.name));
            }
        }
        let (long, mut sought): (Vec<_>, Vec<_>) = long.into_iter().unzip();
        sought.iter_mut().zip(&long).for_each(|(sought, bytes)| sought.length = bytes.len());
        let needles = Needles::new(long);
        let needles =
            needles.map_err(|_| anyhow::anyhow!("a form of a value is too short to be searched for"))?;
        let (shortest, others): (Anchors, Anchors) =
            short.into_iter().partition(|(text, _)| text.len() < SHORT);
        let groups = [shortest, others].map(Group::new).into_iter().collect::<Result<_>>()?;
        let secrets = secrets.iter().map(|secret| secret.value.clone()).collect();
        Ok(Search { groups, needles, sought, secrets, longest })
    }

    /// Bytes of context that must be there beyond both ends of what is searched.
    pub fn around(&self) -> usize {
        self.longest.max(AROUND)
    }

    /// Every hit that begins, or whose anchor begins, within these positions of `bytes`, in no order.
    pub fn find(&self, bytes: &[u8], within: Range<usize>, mut found: impl FnMut(Hit)) {
        self.needles.find(bytes, within.clone(), &mut |needle, at| {
            let Sought { length, forms, targets } = &self.sought[needle];
            for (secret, encoding) in forms {
                let (subject, value) = (Subject::Secret(*secret), self.secrets[*secret].clone());
                found(Hit { subject, at, length: *length, value, encoding });
            }
            targets.iter().filter_map(|target| Search::look(target, bytes, at)).for_each(&mut found);
        });
        for group in &self.groups {
            // An anchor that begins at the last position ends behind it.
            let end = bytes.len().min(within.end + group.longest());
            let mut at = within.start;
            while let Some((anchor, start)) = group.finder.next(bytes, at..end) {
                if start >= within.end {
                    break;
                }
                let others = &group.beside[anchor];
                for anchor in std::iter::once(&anchor).chain(others) {
                    let (text, targets) = &group.anchors[*anchor];
                    if bytes[start..].starts_with(text) {
                        targets
                            .iter()
                            .filter_map(|target| Search::look(target, bytes, start))
                            .for_each(&mut found);
                    }
                }
                at = start + 1;
            }
        }
    }

    /// The value of a known format at an anchor.
    fn look(target: &Target, bytes: &[u8], start: usize) -> Option<Hit> {
        match target {
            Target { rule, wide: false } => {
                let first = start.saturating_sub(AROUND);
                let text = &bytes[first..bytes.len().min(start + AROUND)];
                let found = (RULES[*rule].find)(text, start - first)?;
                let value = Value::new(&text[found.clone()]);
                let at = first + found.start;
                let encoding = if RULES[*rule].binary { "bytes" } else { "UTF-8 or Latin-1" };
                Some(Hit { subject: Subject::Rule(*rule), at, length: found.len(), value, encoding })
            }
            Target { rule, wide: true } => {
                let (text, before) = narrowed(bytes, start);
                let found = (RULES[*rule].find)(&text, before)?;
                let at = start - 2 * before + 2 * found.start;
                // Without the last byte, which is the zero of the one order and no part of the other.
                let length = (2 * found.len()).saturating_sub(1);
                let value = Value::new(&text[found]);
                Some(Hit { subject: Subject::Rule(*rule), at, length, value, encoding: "UTF-16" })
            }
        }
    }
}

impl Group {
    fn new(anchors: Anchors) -> Result<Group> {
        let texts: Vec<&[u8]> = anchors.iter().map(|(text, _)| text.as_slice()).collect();
        let finder = Finder::new(&texts)?;
        let beside = |this: &usize| {
            let others = (0..texts.len()).filter(|other| {
                other != this
                    && (texts[*other].starts_with(texts[*this]) || texts[*this].starts_with(texts[*other]))
            });
            others.collect::<Vec<usize>>()
        };
        let beside = (0..texts.len()).collect::<Vec<_>>().iter().map(beside).collect();
        Ok(Group { finder, anchors, beside })
    }

    fn longest(&self) -> usize {
        self.anchors.iter().map(|(text, _)| text.len()).max().unwrap_or_default()
    }
}

/// The characters around an anchor in UTF-16, as far as each has a byte of zero behind or before it, and how many of them
/// stand before the anchor.
fn narrowed(bytes: &[u8], start: usize) -> (Vec<u8>, usize) {
    let (most_before, most) = (1 << 10, AROUND / 2);
    let is_character = |at: usize| bytes[at] != 0 && bytes.get(at + 1).is_none_or(|zero| *zero == 0);
    let mut first = start;
    while first >= 2 && start - first < 2 * most_before && is_character(first - 2) {
        first -= 2;
    }
    let mut text = Vec::new();
    let mut at = first;
    while at < bytes.len() && text.len() < most && bytes[at] != 0 {
        text.push(bytes[at]);
        if bytes.get(at + 1).is_some_and(|zero| *zero != 0) {
            break;
        }
        at += 2;
    }
    (text, (start - first) / 2)
}
