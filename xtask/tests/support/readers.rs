//! What reads bytes that others wrote, each as a function of them: the fuzz targets, and what tries their seeds again.
//!
//! A function returns, whatever the bytes are, or it panics, and that is a finding.

#![allow(dead_code, reason = "each fuzz target uses one of them")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use xtask::app::load_text;
use xtask::checkpoint::collect::read_tar;
use xtask::digest::Digest;
use xtask::files::check_files;
use xtask::lock::{Data, Lock};
use xtask::pack::archive::read_manifest_digest;
use xtask::pack::import::{read_archive, read_file, read_layer_file};
use xtask::pack::verify::verify_archive;
use xtask::render::{Templates, render};
use xtask::store::Store;

/// A function of this module, by the name of its fuzz target.
pub type Reader = (&'static str, fn(&[u8]));

/// All of them.
pub const READERS: &[Reader] = &[
    ("app_toml", app_toml),
    ("lock", lock),
    ("collect_tar", collect_tar),
    ("oci_archive", oci_archive),
    ("layer", layer),
];

/// app.toml: an application that can be rendered, or an error that can be shown.
pub fn app_toml(bytes: &[u8]) {
    static TEMPLATES: LazyLock<Templates> = LazyLock::new(|| {
        // From the folder of whichever package this is built for.
        let folders =
            Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("templates"));
        let found = folders.into_iter().find(|folder| folder.is_dir()).expect("the repository's templates");
        Templates::read(&found).unwrap()
    });
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match load_text("demo", Path::new("/nowhere/apps/demo"), "apps/demo/app.toml", text) {
        Err(error) => {
            assert!(!error.problems.is_empty());
            for span in error.problems.iter().filter_map(|problem| problem.span.clone()) {
                assert!(error.text.get(span).is_some());
            }
            assert!(!error.to_string().is_empty());
        }
        Ok(loaded) => {
            let files = render(&TEMPLATES, &loaded.app, None).expect("what was loaded is rendered");
            assert!(files.keys().all(|path| path.is_relative()));
            let lines =
                loaded.settings.iter().map(|setting| format!("{} = {}\n", setting.key, setting.value));
            let written: String = lines.collect();
            let again = load_text("demo", Path::new("/nowhere/apps/demo"), "app.toml", &written);
            let again = again.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(format!("{:?}", again.app), format!("{:?}", loaded.app));
        }
    }
}

/// checkpoint.lock: what is read is written as it was; and what is no lock only since a digest in it is wrong is given
/// the right ones, so that what comes behind them is reached.
pub fn lock(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(lock) = Lock::parse(text) {
        assert_eq!(lock.text().unwrap(), text);
    }
    let Ok(mut lock) = toml::from_str::<Lock>(text) else { return };
    lock.data.tree = Data::tree(&lock.data.files, &lock.data.mapped);
    // TOML has no numbers beyond 63 bits.
    let Ok(text) = lock.text() else { return };
    match Lock::parse(&text) {
        Ok(again) => {
            assert_eq!(again, lock);
            for file in &lock.data.files {
                let to = Path::new("/root").join(file.path.trim_start_matches('/'));
                assert!(to.starts_with("/root") && !file.path.contains("/../"), "{file:?}");
            }
            check_files(&lock.data.files).unwrap();
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What a container sends: every file is in the store with the size that is said, every path is plain.
pub fn collect_tar(bytes: &[u8]) {
    let bytes = summed(bytes);
    with_store(|store, _| {
        if let Ok(files) = read_tar(store, bytes.as_slice()) {
            for file in &files {
                assert!(file.sha256.is_none_or(|digest| store.has(&digest, file.size)), "{file:?}");
            }
            check_files(&files).unwrap();
            assert!(files.is_sorted_by(|a, b| a.path < b.path));
            assert!(files.iter().map(|file| file.size).sum::<u64>() <= bytes.len() as u64);
        }
    });
}

/// A rock of others: what is taken is whole.
pub fn oci_archive(bytes: &[u8]) {
    with_store(|store, folder| {
        let archive = folder.join("archive");
        fs::write(&archive, composed(bytes).unwrap_or_else(|| summed(bytes))).unwrap();
        let Ok(digest) = read_manifest_digest(&archive) else { return };
        let _ = verify_archive(&archive, &digest, "1");
        let Ok(image) = read_archive(store, &archive) else { return };
        assert_eq!(image.manifest, digest);
        for (digest, size) in image.blobs() {
            assert!(store.has(&digest, size));
            store.verify(&digest).unwrap();
        }
        let _ = read_file(store, &image, "/a");
    });
}

/// A layer of a rock of others, compressed or not.
pub fn layer(bytes: &[u8]) {
    with_store(|store, _| {
        let (layer, _) = store.add_bytes(&summed(bytes)).unwrap();
        if let Ok(Some((digest, size))) = read_layer_file(store, &layer, "/a") {
            assert!(store.has(&digest, size));
        }
    });
}

/// The same tar with the checksum of each header made right, which no fuzzer guesses; headers whose first byte is not that
/// of a name stay wrong.
fn summed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some(header) = bytes.get_mut(at..at + 512) {
        if header[0] < b' ' && header[0] != 0 {
            break;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let octal = |c: &u8| (b'0'..=b'7').contains(c);
        let size =
            header[124..136].iter().filter(|c| octal(c)).fold(0, |size, c| size * 8 + usize::from(c - b'0'));
        at += 512 + size.min(1 << 30).next_multiple_of(512);
    }
    bytes
}

/// An OCI archive of four parts with a line `--` between them: index, manifest, config and layer. `@m`, `@c` and `@l` stand
/// for their digests, `@M`, `@C` and `@L` for their sizes: no fuzzer guesses those either.
fn composed(bytes: &[u8]) -> Option<Vec<u8>> {
    let line = b"\n--\n";
    let cut = |bytes: &[u8]| -> Option<(Vec<u8>, Vec<u8>)> {
        let at = bytes.windows(line.len()).position(|window| window == line)?;
        Some((bytes[..at].to_vec(), bytes[at + line.len()..].to_vec()))
    };
    let (index, rest) = cut(bytes)?;
    let (manifest, rest) = cut(&rest)?;
    let (config, layer) = cut(&rest)?;
    let layer = summed(&layer);
    let filled = |text: &[u8], parts: &[(char, &[u8])]| {
        let mut text = String::from_utf8_lossy(text).into_owned();
        for (letter, bytes) in parts {
            text = text.replace(&format!("@{letter}"), &Digest::of(bytes).hex());
            text = text.replace(&format!("@{}", letter.to_ascii_uppercase()), &bytes.len().to_string());
        }
        text.into_bytes()
    };
    let manifest = filled(&manifest, &[('c', &config), ('l', &layer)]);
    let index = filled(&index, &[('m', &manifest)]);
    let blob = |bytes: &[u8]| (format!("blobs/sha256/{}", Digest::of(bytes).hex()), bytes.to_vec());
    let files = [("index.json".to_owned(), index), blob(&manifest), blob(&config), blob(&layer)];
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, bytes.as_slice()).ok()?;
    }
    archive.into_inner().ok()
}

/// A store that is empty before and has nothing half-written after; in memory where there is a file system of that kind,
/// since every object is synced.
fn with_store(read: impl FnOnce(&Store, &Path)) {
    let shm = PathBuf::from("/dev/shm");
    let parent = if shm.is_dir() { shm } else { std::env::temp_dir() };
    let folder = tempfile::Builder::new().prefix("xtask-fuzz-").tempdir_in(parent).unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    read(&store, folder.path());
    assert_eq!(fs::read_dir(store.root().join("partial")).unwrap().count(), 0);
    for object in fs::read_dir(store.root().join("blobs/sha256")).unwrap() {
        let path = object.unwrap().path();
        let digest = Digest::of(fs::read(&path).unwrap());
        assert_eq!(store.path(&digest), path);
    }
}
