//! What CRIU would need a capability for at a restore, though it changes nothing.
//!
//! Before CRIU resumes a thread it gives it the groups that it had, which needs SETGID where they differ from the
//! container's, and drops every capability from the bounding set that the dumping container had not granted, which needs
//! SETPCAP. A restored process has no capability of its own, and its container has fewer in its bounding set than that of
//! the dump. So the images say that it had no supplementary groups and every capability in its bounding set: CRIU then
//! calls neither setgroups(2) nor prctl(PR_CAPBSET_DROP), and the process has what its container gives, which is what
//! whoever runs the container (`--group-add`, a Pod's `fsGroup`) means it to have.

use anyhow::{Context, Result};

use super::images::{self, CORE_MAGIC, FOLDER};
use crate::files::DataFile;
use crate::store::Store;
use crate::wire::{Field, Value, fields, message};

/// Numbers of fields, of `core_entry`, `thread_core_entry` and `creds_entry`.
const THREAD: u64 = 5;
const CREDENTIALS: u64 = 10;
const BOUNDING: u64 = 12;
const GROUPS: u64 = 14;

/// Every capability up to the 43rd. Linux has 40 since 5.9; a kernel may come to have more before a dump is restored on
/// it, and of what a kernel does not have CRIU complains, a line for each and for each thread.
const EVERY: [u32; 2] = [u32::MAX, 0xfff];

/// Rewrites the credentials of every thread of a dump that the store has.
///
/// # Errors
/// Where an image is missing or cannot be understood, or the store cannot be written to.
pub fn unburden(store: &Store, mut files: Vec<DataFile>) -> Result<Vec<DataFile>> {
    let cores: Vec<(String, DataFile)> = images::named(&files)
        .filter(|(name, _)| name.starts_with("core-"))
        .map(|(name, file)| (name.to_owned(), file.clone()))
        .collect();
    for (name, file) in cores {
        let bytes = images::read_image(store, &name, Some(&file), CORE_MAGIC)?;
        let messages = images::messages(&name, &bytes)?.into_iter().map(core);
        let messages = messages.collect::<Result<Vec<_>>>().with_context(|| name.clone())?;
        let (digest, size) = store.add_bytes(&images::image(CORE_MAGIC, &messages))?;
        let path = format!("{FOLDER}{name}");
        files.iter_mut().filter(|file| file.path == path).for_each(|file| {
            (file.sha256, file.size) = (Some(digest), size);
        });
    }
    Ok(files)
}

/// One message of a `core-TID.img`.
fn core(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut found = 0;
    let core = within(fields(bytes)?, THREAD, |thread| {
        within(thread, CREDENTIALS, |mut credentials| {
            found += 1;
            credentials.retain(|field| field.number != GROUPS);
            let words = credentials.iter_mut().filter(|field| field.number == BOUNDING);
            for (word, all) in words.zip(EVERY) {
                word.value = Value::Number(all.into());
            }
            Ok(credentials)
        })
    })?;
    anyhow::ensure!(found > 0, "it names no credentials");
    Ok(message(&core))
}

/// A message with every message under `number` changed.
fn within(
    mut all: Vec<Field>,
    number: u64,
    mut change: impl FnMut(Vec<Field>) -> Result<Vec<Field>>,
) -> Result<Vec<Field>> {
    for field in all.iter_mut().filter(|field| field.number == number) {
        if let Value::Bytes(bytes) = &mut field.value {
            *bytes = message(&change(fields(bytes)?)?);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(all: &[(u64, u64)]) -> Vec<Field> {
        all.iter().map(|(number, value)| Field { number: *number, value: Value::Number(*value) }).collect()
    }

    /// A core image's message whose thread has these credentials, and other fields around each.
    fn around(credentials: &[(u64, u64)]) -> Vec<u8> {
        let part = |number, all: &[Field]| Field { number, value: Value::Bytes(message(all)) };
        let thread =
            [numbers(&[(1, 7)]), vec![part(10, &numbers(credentials))], numbers(&[(15, 1)])].concat();
        message(&[numbers(&[(1, 1)]), vec![part(5, &thread)], numbers(&[(6, 3)])].concat())
    }

    #[test]
    fn groups_go_and_the_bounding_set_is_whole() {
        let [low, high] = EVERY.map(u64::from);
        let check = |before: &[(u64, u64)], after: &[(u64, u64)]| {
            assert_eq!(core(&around(before)).unwrap(), around(after), "{before:?}");
        };
        check(
            &[(1, 584_792), (11, 0), (12, 528_704), (12, 256), (13, 0), (14, 584_792), (14, 5), (19, 0)],
            &[(1, 584_792), (11, 0), (12, low), (12, high), (13, 0), (19, 0)],
        );
        check(&[(1, 0)], &[(1, 0)]);
    }

    #[test]
    fn a_thread_without_credentials_is_not_understood() {
        assert!(core(&message(&numbers(&[(1, 1)]))).is_err());
        assert!(core(b"\xff").is_err());
    }
}
