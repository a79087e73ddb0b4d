//! What differs between two pins: a pure function of them, and the table that shows it.

use std::collections::{BTreeMap, BTreeSet};

use bytesize::ByteSize;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::digest::Digest;
use crate::files::DataFile;
use crate::lock::Lock;
use crate::memory::{Kind, Region, by_kind};
use crate::privileges::Capability;

/// No line of the table is wider.
const WIDTH: u16 = 100;
/// Stands for what one of the two pins has not.
const NONE: &str = "-";

/// One thing that differs, or one line of a comparison that is shown whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The part of the pin, such as `base` or `data`.
    pub section: &'static str,
    /// The thing, such as a package's name or a file's path.
    pub what: String,
    /// What it is in the first pin.
    pub before: String,
    /// What it is in the second.
    pub after: String,
    /// By how many bytes it grew, where it is a size.
    pub growth: Option<i128>,
}

/// Everything that differs between two pins, in the order of the lock's sections; within one sorted by name.
pub fn differences(before: &Lock, after: &Lock) -> Vec<Row> {
    let mut rows = Vec::new();
    let both = [before, after];
    let mut section = |name: &'static str, of: &dyn Fn(&Lock) -> BTreeMap<String, String>| {
        rows.extend(changed(name, &both.map(of)));
    };
    section("pin", &|lock| {
        let answers = Digest::of_value(&lock.answers).short();
        texts([
            ("application", lock.app.clone()),
            ("answers to verify", answers),
            ("created", lock.created.clone()),
            (
                "engine",
                [Some(lock.engine.to_string()), lock.engine_version.clone()]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(" "),
            ),
            ("packer", format!("{} {}", word(&lock.packer.name), lock.packer.version)),
            ("PID", lock.pid.to_string()),
        ])
    });
    section("inputs", &|lock| {
        lock.inputs.iter().map(|(name, digest)| (name.clone(), digest.short())).collect()
    });
    section("source", &|lock| {
        let source = &lock.source;
        let jar = object(&source.jar, source.jar_size);
        texts([("from", source.from.clone()), ("jar", jar), ("local", source.local.to_string())])
    });
    section("base", &|lock| {
        lock.base.as_ref().map_or_else(BTreeMap::new, |base| {
            texts([("layer", object(&base.digest, base.size)), ("suite", base.suite.clone())])
        })
    });
    section("packages", &|lock| {
        let packages = lock.base.iter().flat_map(|base| &base.packages);
        packages
            .filter_map(|line| line.split_once('='))
            .map(|(name, version)| (name.into(), version.into()))
            .collect()
    });
    section("Pebble", &|lock| {
        lock.pebble.as_ref().map_or_else(BTreeMap::new, |pebble| {
            texts([("program", object(&pebble.digest, pebble.size)), ("version", pebble.version.clone())])
        })
    });
    section("class archive", &|lock| {
        let archive = lock.class_archive.as_ref();
        archive.map(|archive| ("file".into(), object(&archive.digest, archive.size))).into_iter().collect()
    });
    section("random numbers", &|lock| {
        let fresh = lock.fresh_random.as_ref();
        fresh.map(|fresh| ("provider".into(), object(&fresh.digest, fresh.size))).into_iter().collect()
    });
    section("host", &|lock| {
        texts([
            ("architecture", lock.host.architecture.clone()),
            ("CPU vendor", lock.host.cpu_vendor.clone()),
            ("kernel", lock.host.kernel.clone()),
        ])
    });
    let flags = |lock: &Lock| lock.host.cpu_flags.iter().cloned().collect();
    rows.extend(only("host", "CPU flags", both.map(flags)));
    let names = |capabilities: &[Capability]| capabilities.iter().map(Capability::to_string).collect();
    let capabilities = &both.map(|lock| &lock.capabilities);
    rows.extend(only("capabilities", "checkpoint", capabilities.map(|granted| names(&granted.checkpoint))));
    rows.extend(only("capabilities", "restore", capabilities.map(|granted| names(&granted.restore))));
    let refused = |lock: &Lock| lock.system_calls.refused.iter().map(ToString::to_string).collect();
    rows.extend(only("system calls", "refused", both.map(refused)));
    let rocks = |lock: &Lock| {
        texts([("checkpoint", lock.rocks.checkpoint.short()), ("restore", lock.rocks.restore.short())])
    };
    rows.extend(changed("rocks", &both.map(rocks)));
    let mapped =
        |lock: &Lock| lock.data.mapped.iter().map(|file| (file.path.clone(), file.sha256.short())).collect();
    rows.extend(changed("mapped", &both.map(mapped)));
    rows.extend(data(before, after));
    rows
}

/// Files of the checkpoint data that differ, and what all of it comes to.
fn data(before: &Lock, after: &Lock) -> Vec<Row> {
    let files = |lock: &Lock| {
        lock.data.files.iter().map(|file| (file.path.clone(), file.clone())).collect::<BTreeMap<_, _>>()
    };
    let (old, new) = (files(before), files(after));
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let rows = paths.into_iter().filter(|path| old.get(*path) != new.get(*path)).map(|path| {
        let (old, new) = (old.get(path), new.get(path));
        let size = |file: Option<&DataFile>| file.map_or(0, |file| i128::from(file.size));
        let (before, after) = (described(old, new), described(new, old));
        Row { section: "data", what: path.clone(), before, after, growth: Some(size(new) - size(old)) }
    });
    let mut rows: Vec<Row> = rows.collect();
    if !rows.is_empty() {
        // A pin is a text that anybody can write: its sizes need not fit into one number.
        let total =
            |lock: &Lock| lock.data.files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size));
        rows.push(sizes("data", "total".into(), total(before), total(after)));
    }
    rows
}

/// A file by its size; and what else differs from its other self, since equal sizes would look like no difference.
fn described(file: Option<&DataFile>, other: Option<&DataFile>) -> String {
    let Some(file) = file else { return NONE.into() };
    let mut text = match (&file.sha256, &file.link) {
        (_, Some(target)) => format!("-> {target}"),
        (Some(_), None) => ByteSize(file.size).to_string(),
        (None, None) => "folder".to_owned(),
    };
    let Some(other) = other else { return text };
    if let Some(digest) = file.sha256.filter(|_| file.size == other.size && file.sha256 != other.sha256) {
        text = format!("{text} {}", digest.short());
    }
    if file.mode != other.mode {
        text = format!("{text} {}", file.mode);
    }
    if file.owner != other.owner {
        text = format!("{text} {}", file.owner);
    }
    text
}

/// The dumped memory of two pins side by side, by kind, whether it differs or not.
pub fn memory(before: &[Region], after: &[Region]) -> Vec<Row> {
    let pairs = by_kind(before).into_iter().zip(by_kind(after));
    let row =
        |((kind, old), (_, new)): ((Kind, u64), (Kind, u64))| sizes("memory", kind.to_string(), old, new);
    let mut rows: Vec<Row> = pairs.map(row).collect();
    let total = |regions: &[Region]| regions.iter().map(|region| region.bytes).sum();
    rows.push(sizes("memory", "total".into(), total(before), total(after)));
    rows
}

/// The rows as a table, the section named once.
pub fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(["", "", "BEFORE", "AFTER", "GROWTH"]);
    let mut section = "";
    for row in rows {
        let named = if row.section == section { "" } else { row.section };
        section = row.section;
        let growth = row.growth.map(growth).unwrap_or_default();
        table.add_row([named, &row.what, &row.before, &row.after, &growth]);
    }
    if let Some(column) = table.column_mut(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

fn growth(bytes: i128) -> String {
    let size = ByteSize(u64::try_from(bytes.unsigned_abs()).unwrap_or(u64::MAX));
    match bytes {
        0 => String::new(),
        1.. => format!("+{size}"),
        _ => format!("-{size}"),
    }
}

fn sizes(section: &'static str, what: String, before: u64, after: u64) -> Row {
    let growth = Some(i128::from(after) - i128::from(before));
    let [before, after] = [before, after].map(|bytes| ByteSize(bytes).to_string());
    Row { section, what, before, after, growth }
}

/// What is there once, or twice with different texts.
fn changed(section: &'static str, [before, after]: &[BTreeMap<String, String>; 2]) -> Vec<Row> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let text = |texts: &BTreeMap<String, String>, name: &String| {
        texts.get(name).map_or(NONE, String::as_str).to_owned()
    };
    let row = |name: &String| Row {
        section,
        what: name.clone(),
        before: text(before, name),
        after: text(after, name),
        growth: None,
    };
    differing.map(row).collect()
}

/// What only one of two sets has.
fn only(section: &'static str, what: &str, [before, after]: [BTreeSet<String>; 2]) -> Option<Row> {
    let words = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
        let words: Vec<&str> = one.difference(other).map(String::as_str).collect();
        if words.is_empty() { NONE.to_owned() } else { format!("only {}", words.join(" ")) }
    };
    let (before, after) = (words(&before, &after), words(&after, &before));
    let same = before == NONE && after == NONE;
    (!same).then(|| Row { section, what: what.to_owned(), before, after, growth: None })
}

fn texts<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
}

/// An object by what is left of its digest for people, and its size.
fn object(digest: &Digest, size: u64) -> String {
    format!("{} {}", digest.short(), ByteSize(size))
}

/// A name as the lock writes it.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).ok();
    value.and_then(|value| value.as_str().map(String::from)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
