//! Is everything still what the pin says? Nothing is written.

use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;

use crate::lock::{Lock, Object, ObjectKind};
use crate::store::Store;
use crate::workers;

/// How much was looked at, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Verified {
    /// Objects.
    pub objects: usize,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is wrong, each naming the file; sorted.
    pub findings: Vec<String>,
}

/// Reads every object that the pin names and compares it; the base layer, which is large, and the data as a layer only
/// when asked to go `deep`.
pub fn objects(store: &Store, lock: &Lock, deep: bool) -> Verified {
    let named = named(lock, deep);
    let findings = Mutex::new(Vec::new());
    let many = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let look = |object: &Object| {
        if let Err(problem) = check(store, object) {
            workers::lock(&findings).push(format!("store: {}: {problem}", object.name));
        }
        Ok(())
    };
    // What is wrong with one is no reason not to look at the others: there is no error to end with.
    let _ = workers::each(&named, many, || (), look);
    let mut findings = findings.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    findings.sort();
    Verified { objects: named.len(), bytes: named.iter().map(|object| object.size).sum(), findings }
}

/// The largest first: two cores then end at about the same time.
fn named(lock: &Lock, deep: bool) -> Vec<Object> {
    let mut named = lock.objects();
    named.retain(|object| deep || object.kind != ObjectKind::Base);
    if deep {
        let (digest, size) = (lock.data.digest, lock.data.size);
        named.push(Object { kind: ObjectKind::Data, name: "the data as a layer".into(), digest, size });
    }
    named.sort_by_key(|object| std::cmp::Reverse(object.size));
    named
}

fn check(store: &Store, object: &Object) -> Result<(), String> {
    let path = store.path(&object.digest);
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) => return Err(format!("{} is missing ({error})", path.display())),
    };
    if !metadata.is_file() {
        return Err(format!("{} is no regular file", path.display()));
    }
    if metadata.permissions().mode() & 0o7222 != 0 {
        return Err(format!("{} is writable", path.display()));
    }
    if metadata.len() != object.size {
        return Err(format!("{} has {} bytes, the pin says {}", path.display(), metadata.len(), object.size));
    }
    store.verify(&object.digest).map_err(|error| format!("{error:#}"))
}
