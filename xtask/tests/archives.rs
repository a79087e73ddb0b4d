//! Archives from outside do no harm: each is refused with a word about what is wrong, or taken for what it is; nothing
//! outside the store is touched, nothing half-written is left, and neither time, memory nor disk are without a limit.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use walkdir::WalkDir;
use xtask::checkpoint::collect::read_tar;
use xtask::digest::Digest;
use xtask::pack::archive::read_manifest_digest;
use xtask::pack::import::{read_archive, read_file};
use xtask::pack::verify::verify_archive;
use xtask::store::Store;

mod support {
    pub mod hostile_images;
    pub mod hostile_tars;
    pub mod oci_bytes;
    pub mod tar_bytes;
}

use support::hostile_images::{self, HostileImage};
use support::hostile_tars;
use support::oci_bytes::{TAR, oci};

/// For one reader and one archive, in a build without optimisation on a busy machine.
const LONGEST: Duration = Duration::from_secs(30);
/// Bytes of memory that a reader may take: twice the names and records that it may hold, since a vector grows by half
/// or doubles.
const MOST_MEMORY: u64 = 80 << 20;

/// A store in the midst of what must stay as it is.
struct Place {
    folder: tempfile::TempDir,
    store: Store,
    before: BTreeMap<PathBuf, (u32, i64, Vec<u8>)>,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir_all(path.join("outside/below")).unwrap();
        for name in ["outside/kept", "outside/below/kept", "kept"] {
            fs::write(path.join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("outside", path.join("link")).unwrap();
        let store = Store::open(&path.join("store")).unwrap();
        let before = around(path);
        Place { folder, store, before }
    }

    fn archive(&self) -> PathBuf {
        self.folder.path().join("hostile.tar")
    }

    /// Runs a reader and looks at what it has left; `most` is how many bytes the store may have gained.
    fn watch<T>(&self, name: &str, most: u64, read: impl FnOnce() -> Result<T>) -> Result<T, String> {
        let started = Instant::now();
        // Once to begin anew, once for what is resident.
        let memory = peak().min(peak());
        let result = read().map_err(|error| format!("{error:#}"));
        assert!(started.elapsed() < LONGEST, "{name}: took {:?}", started.elapsed());
        let grown = peak().saturating_sub(memory);
        assert!(grown < MOST_MEMORY, "{name}: took {} MiB of memory", grown >> 20);
        assert_eq!(around(self.folder.path()), self.before, "{name}: touched what is outside the store");
        let partial = fs::read_dir(self.store.root().join("partial")).unwrap().count();
        assert_eq!(partial, 0, "{name}: left something half-written");
        let objects = WalkDir::new(self.store.root()).into_iter().map(Result::unwrap);
        let mut stored = 0;
        for object in objects.filter(|entry| !entry.file_type().is_dir()) {
            stored += object.metadata().unwrap().len();
            assert!(object.file_type().is_file(), "{name}: {:?} is no file", object.path());
            let digest = Digest::of(fs::read(object.path()).unwrap());
            assert_eq!(
                self.store.path(&digest),
                object.path(),
                "{name}: an object is not what its name says"
            );
        }
        assert!(stored <= most, "{name}: the store has {stored} bytes, and may have {most}");
        result
    }
}

/// Everything but the store and the archive: mode, time of the last change and content, by path.
fn around(folder: &Path) -> BTreeMap<PathBuf, (u32, i64, Vec<u8>)> {
    let ours = |path: &Path| path.ends_with("store") || path.ends_with("hostile.tar");
    let entries = WalkDir::new(folder).min_depth(1).into_iter().filter_entry(|entry| !ours(entry.path()));
    let facts = |entry: walkdir::DirEntry| {
        let metadata = entry.metadata().unwrap();
        let bytes = if metadata.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
        (entry.path().to_owned(), (metadata.mode(), metadata.mtime_nsec(), bytes))
    };
    entries.map(|entry| facts(entry.unwrap())).collect()
}

/// How many runs there were, how many ended in a refusal, and which did not end as the tables say.
#[derive(Default)]
struct Tally {
    runs: usize,
    refused: usize,
    wrong: Vec<String>,
}

impl Tally {
    /// Compares a reader's answer with the table's; a refusal must say something.
    fn compare<T>(&mut self, what: &str, found: &Result<T, String>, expected: Result<(), &str>) {
        self.runs += 1;
        self.refused += usize::from(found.is_err());
        match (found, expected) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(part)) if error.contains(part) && !error.is_empty() => {}
            (Ok(_), Err(part)) => self.wrong.push(format!("{what}: was taken; expected: {part}")),
            (Err(error), _) => self.wrong.push(format!("{what}: {error}; expected: {expected:?}")),
        }
    }

    /// Runs one file through every reader of OCI archives.
    fn image(&mut self, case: &HostileImage, name: &str) {
        let place = Place::new();
        let archive = place.archive();
        fs::write(&archive, &case.bytes).unwrap();
        let most = case.bytes.len() as u64;
        let digest = place.watch(name, 0, || read_manifest_digest(&archive));
        self.compare(&format!("{name}: the index"), &digest, case.index);
        // None of these is what this tool would have written, down to the order of its entries.
        let pinned = digest.unwrap_or(Digest::of("pinned"));
        let verified = place.watch(name, 0, || verify_archive(&archive, &pinned, "1"));
        self.compare(&format!("{name}: verify"), &verified, Err(""));
        let image = place.watch(name, most, || read_archive(&place.store, &archive));
        self.compare(&format!("{name}: import"), &image, case.taken);
        if let Ok(image) = image {
            let read = place.watch(name, 2 * most, || read_file(&place.store, &image, "/a"));
            self.compare(&format!("{name}: a file of it"), &read, case.file);
        }
    }

    /// Reads a tar as if a container had sent it; without `expected` paths or reason either will do.
    fn tar(&mut self, name: &str, bytes: &[u8], expected: Option<Result<&[&str], &str>>) {
        let place = Place::new();
        let files = place.watch(name, bytes.len() as u64, || read_tar(&place.store, bytes));
        let paths = files.map(|files| files.into_iter().map(|file| file.path).collect::<Vec<_>>());
        if let (Ok(found), Some(Ok(expected))) = (&paths, expected)
            && found != expected
        {
            self.wrong.push(format!("{name}: {found:?} and not {expected:?} were taken"));
        }
        let either = if paths.is_ok() { Ok(()) } else { Err("") };
        self.compare(&format!("{name}: collect"), &paths, expected.map_or(either, |it| it.map(drop)));
    }
}

/// Bytes of memory that this process has had at most since this was last asked.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    // proc(5): 5 makes the peak what is resident now.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    kilobytes << 10
}

#[test]
fn hostile_archives_do_no_harm() {
    let place = Place::new();
    let tars = hostile_tars::all(place.folder.path().join("outside/kept").to_str().unwrap());
    let images = hostile_images::all();
    let count = (tars.len(), images.len());
    let mut tally = Tally::default();
    for case in &images {
        tally.image(case, case.name);
        // An OCI archive is a tar: a container may send one.
        tally.tar(case.name, &case.bytes, None);
    }
    for (name, bytes, collected, read) in tars {
        tally.tar(name, &bytes, Some(collected));
        // By itself it is no OCI archive; as the layer of one it is read all the same.
        let not = Err("hostile.tar");
        let alone = HostileImage { name, bytes, index: not, taken: not, file: not };
        tally.image(&alone, name);
        let bytes = oci(&[(TAR, alone.bytes)]).bytes();
        let layer = HostileImage { name, bytes, index: Ok(()), taken: Ok(()), file: read };
        tally.image(&layer, &format!("{name}, as a layer"));
    }
    assert!(tally.wrong.is_empty(), "{}", tally.wrong.join("\n"));
    println!(
        "{} hostile tars and {} OCI archives, {} runs of a reader: {} refused, {} harmless",
        count.0,
        count.1,
        tally.runs,
        tally.refused,
        tally.runs - tally.refused
    );
}
