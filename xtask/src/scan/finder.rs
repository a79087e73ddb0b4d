//! Many short byte strings at once, at the speed of memory.
//!
//! Two ways. The forms of values are found by [`needles`], in one pass over a piece that the cache holds, however many they
//! are. A known format has *anchors*, constants of a few bytes that it has in or before it: they are found by the vector
//! instructions of aho-corasick's packed search, in a pass each for those of fewer than four bytes, the others, and those in
//! UTF-16. Only what has an anchor is looked at closer.

use std::collections::BTreeMap;
use std::ops::Range;

use aho_corasick::packed::{Config, MatchKind, Searcher};
use aho_corasick::{AhoCorasick, Input, MatchKind as Kind};
use anyhow::{Context, Result};
use needles::Needles;

use super::encodings::forms;
use super::given::{Secret, Value};
use super::rules::RULES;

/// The packed search takes no more at a time.
const AT_ONCE: usize = 64;
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

/// Everything that is searched for.
pub(super) struct Search {
    groups: Vec<Group>,
    needles: Needles,
    /// Of each needle the secrets that have it as a form, and what the form is.
    forms: Vec<(usize, Vec<(usize, &'static str)>)>,
    secrets: Vec<Value>,
    /// The longest form of any value.
    longest: usize,
}

impl Search {
    pub fn new(secrets: &[Secret]) -> Result<Search> {
        let mut formats: BTreeMap<Vec<u8>, Vec<Target>> = BTreeMap::new();
        let mut wide_formats: BTreeMap<Vec<u8>, Vec<Target>> = BTreeMap::new();
        for (rule, known) in RULES.iter().enumerate() {
            for anchor in known.anchors {
                let narrow = Target { rule, wide: false };
                formats.entry(anchor.to_vec()).or_default().push(narrow);
                if !known.binary {
                    let mut wide: Vec<u8> = anchor.iter().flat_map(|byte| [*byte, 0]).collect();
                    wide.pop();
                    wide_formats.entry(wide).or_default().push(Target { rule, wide: true });
                }
            }
        }
        let mut values: BTreeMap<Vec<u8>, Vec<(usize, &'static str)>> = BTreeMap::new();
        for (secret, given) in secrets.iter().enumerate() {
            for form in forms(given.value.bytes()) {
                values.entry(form.bytes).or_default().push((secret, form.name));
            }
        }
        let forms: Vec<_> = values.iter().map(|(bytes, of)| (bytes.len(), of.clone())).collect();
        let longest = forms.iter().map(|(length, _)| *length).max().unwrap_or_default();
        let needles = Needles::new(values.into_keys().collect());
        let needles =
            needles.map_err(|_| anyhow::anyhow!("a form of a value is too short to be searched for"))?;
        let mut groups = Vec::new();
        // Short ones would have the others looked at by no more bytes than they have themselves.
        let (short, formats): (Anchors, Anchors) =
            formats.into_iter().partition(|(text, _)| text.len() < SHORT);
        for mut anchors in [short, formats, wide_formats.into_iter().collect()] {
            while !anchors.is_empty() {
                let rest = anchors.split_off(AT_ONCE.min(anchors.len()));
                groups.push(Group::new(std::mem::replace(&mut anchors, rest))?);
            }
        }
        let secrets = secrets.iter().map(|secret| secret.value.clone()).collect();
        Ok(Search { groups, needles, forms, secrets, longest })
    }

    /// Bytes of context that must be there beyond both ends of what is searched.
    pub fn around(&self) -> usize {
        self.longest.max(AROUND)
    }

    /// Every hit that begins, or whose anchor begins, within these positions of `bytes`, in no order.
    pub fn find(&self, bytes: &[u8], within: Range<usize>, mut found: impl FnMut(Hit)) {
        self.needles.find(bytes, within.clone(), &mut |needle, at| {
            let (length, of) = &self.forms[needle];
            of.iter().for_each(|(secret, encoding)| {
                let (subject, value) = (Subject::Secret(*secret), self.secrets[*secret].clone());
                found(Hit { subject, at, length: *length, value, encoding });
            });
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
