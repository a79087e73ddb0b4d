//! Entries -> one OCI layer: a deterministic, uncompressed tar in the store.
//!
//! The same entries give the same bytes, in whatever order they come: sorted by path, with one constant time,
//! numeric owners without names, and PAX records only where ustar has no room (long or non-ASCII names, big
//! numbers, file capabilities).

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result, ensure};
use tar::{EntryType, Header};

use crate::digest::Digest;
use crate::files::check_path;
use crate::privileges::Capability;
use crate::rock::{Entry, EntryKind};
use crate::store::Store;

/// Modification time of everything we pack: 1980-01-01T00:00:00Z in seconds, the earliest that zip knows,
/// which is what reproducible builds settled on. With 0, tools that repack into zip would fail.
pub const MTIME: u64 = 315_532_800;

/// An object of the store, as OCI descriptors have it.
#[derive(Debug, serde::Serialize, serde::Deserialize, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
}

/// Packs `entries` into a layer. Parent folders are not made up: the layers below hold them, with the owner
/// and mode they should have.
///
/// # Errors
/// An entry that is twice there, invalid or below a file or link; an object that is not what its digest says.
/// Nothing is left in the store then.
pub fn write_layer(store: &Store, entries: &[Entry]) -> Result<Blob> {
    let sorted = sort(entries)?;
    let mut builder = tar::Builder::new(store.writer()?);
    for entry in sorted.values() {
        write_entry(store, entry, &mut builder)?;
    }
    let (digest, size) = builder.into_inner()?.commit()?;
    Ok(Blob { digest, size })
}

/// Entries by path, every one of them valid.
fn sort(entries: &[Entry]) -> Result<BTreeMap<&str, &Entry>> {
    let mut sorted = BTreeMap::new();
    for entry in entries {
        check_entry(entry)?;
        ensure!(sorted.insert(entry.path.as_str(), entry).is_none(), "`{}` is there twice", entry.path);
    }
    for path in sorted.keys() {
        // Something below a link would be unpacked wherever the link points.
        for (end, _) in path.match_indices('/').skip(1) {
            let parent = sorted.get(&path[..end]);
            ensure!(
                parent.is_none_or(|parent| matches!(parent.kind, EntryKind::Folder)),
                "`{path}` lies below `{}`, which is no folder",
                &path[..end]
            );
        }
    }
    Ok(sorted)
}

fn check_entry(entry: &Entry) -> Result<()> {
    let Entry { path, mode, kind, capabilities, .. } = entry;
    check_path(path).context("a layer")?;
    ensure!(*mode <= 0o7777, "`{path}` has mode {mode:o}, which is more than permission bits");
    if let EntryKind::Link(target) = kind {
        ensure!(
            !target.is_empty() && !target.contains(char::is_control),
            "link `{path}` has the target `{}`, which is not allowed",
            target.escape_debug()
        );
    }
    ensure!(
        capabilities.is_empty() || matches!(kind, EntryKind::Bytes(_) | EntryKind::Object { .. }),
        "`{path}` is no file and cannot carry capabilities"
    );
    Ok(())
}

fn write_entry<W: Write>(store: &Store, entry: &Entry, builder: &mut tar::Builder<W>) -> Result<()> {
    let (header, records) = header(entry);
    builder.append_pax_extensions(records.iter().map(|(key, value)| (*key, value.as_slice())))?;
    match &entry.kind {
        EntryKind::Bytes(bytes) => builder.append(&header, bytes.as_slice())?,
        EntryKind::Object { digest, size } => {
            append_object(store, &Blob { digest: *digest, size: *size }, &header, builder)?;
        }
        EntryKind::Folder | EntryKind::Link(_) => builder.append(&header, std::io::empty())?,
    }
    Ok(())
}

/// Appends an object of the store, hashed while it is copied: `Builder::append` would neither notice a short
/// object nor a changed one.
pub(super) fn append_object<W: Write>(
    store: &Store,
    blob: &Blob,
    header: &Header,
    builder: &mut tar::Builder<W>,
) -> Result<()> {
    let out = builder.get_mut();
    out.write_all(header.as_bytes())?;
    store.copy_object(&blob.digest, blob.size, out)?;
    let padding = blob.size.next_multiple_of(512) - blob.size;
    out.write_all(&[0; 512][..padding as usize])?;
    Ok(())
}

/// A PAX record: key and value.
type Record = (&'static str, Vec<u8>);

/// The ustar header, and PAX records for what does not fit into it.
fn header(entry: &Entry) -> (Header, Vec<Record>) {
    let name = &entry.path[1..];
    let (kind, mode, size, name, link) = match &entry.kind {
        EntryKind::Folder => (EntryType::Directory, entry.mode, 0, format!("{name}/"), ""),
        EntryKind::Bytes(bytes) => (EntryType::Regular, entry.mode, bytes.len() as u64, name.to_owned(), ""),
        EntryKind::Object { size, .. } => (EntryType::Regular, entry.mode, *size, name.to_owned(), ""),
        // Linux knows no other mode for links.
        EntryKind::Link(target) => (EntryType::Symlink, 0o777, 0, name.to_owned(), target.as_str()),
    };
    let mut records = Vec::new();
    let mut header = plain_header(kind, mode);
    let ustar = header.as_ustar_mut().expect("the header was made as ustar");
    fit_text(&mut ustar.name, "path", &name, &mut records);
    fit_text(&mut ustar.linkname, "linkpath", link, &mut records);
    header.set_size(fit_number(size, 11, "size", &mut records));
    header.set_uid(fit_number(entry.owner.into(), 7, "uid", &mut records));
    header.set_gid(fit_number(entry.owner.into(), 7, "gid", &mut records));
    if !entry.capabilities.is_empty() {
        records.push(("SCHILY.xattr.security.capability", file_capabilities(&entry.capabilities).to_vec()));
    }
    header.set_cksum();
    (header, records)
}

/// A header of root's, without name or size.
pub(super) fn plain_header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(MTIME);
    header
}

/// Puts `text` into a header field and, where it is too long or not ASCII, into a record that overrides it.
fn fit_text(field: &mut [u8; 100], key: &'static str, text: &str, records: &mut Vec<Record>) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
    if text.len() > field.len() || !text.is_ascii() {
        records.push((key, text.into()));
    }
}

/// `number` where `digits` octal digits hold it; otherwise 0, and a record that overrides it.
fn fit_number(number: u64, digits: u32, key: &'static str, records: &mut Vec<Record>) -> u64 {
    if number >> (3 * digits) == 0 {
        return number;
    }
    records.push((key, number.to_string().into()));
    0
}

/// The value of `security.capability`: `struct vfs_cap_data` of revision 2 (linux/capability.h), the list
/// permitted, inheritable and effective (`=eip`). Revision 3 names a user namespace's root and would hold in
/// that namespace only.
pub fn file_capabilities(capabilities: &[Capability]) -> [u8; 20] {
    const VFS_CAP_REVISION_2: u32 = 0x0200_0000;
    const VFS_CAP_FLAGS_EFFECTIVE: u32 = 1;
    let set = capabilities.iter().fold(0_u64, |set, capability| set | 1 << capability.number());
    let (low, high) = (set as u32, (set >> 32) as u32);
    let mut value = [0; 20];
    let words = [VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE, low, low, high, high];
    for (bytes, word) in value.chunks_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_equal_what_setcap_writes() {
        use Capability::{CheckpointRestore, Setgid, Setpcap};
        // `setcap cap_checkpoint_restore,cap_setgid,cap_setpcap=eip f; getfattr -e hex -n security.capability f`
        let wanted = "0100000240010000400100000001000000010000";
        let value = file_capabilities(&[CheckpointRestore, Setgid, Setpcap]);
        assert_eq!(value.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), wanted);
    }

    #[test]
    fn what_ustar_cannot_hold_goes_into_records() {
        let entry = |path: &str, owner, size| Entry {
            path: path.into(),
            mode: 0o644,
            owner,
            kind: EntryKind::Object { digest: Digest::of(""), size },
            capabilities: Vec::new(),
        };
        let long = "x".repeat(101);
        for (entry, wanted) in [
            (entry("/a", 0o777_7777, (8 << 30) - 1), vec![]),
            (entry(&format!("/{}", &long[..100]), 0, 0), vec![]),
            (entry(&format!("/{long}"), 0, 0), vec![("path", long.clone())]),
            (entry("/ö", 0, 0), vec![("path", "ö".into())]),
            (entry("/a", 0, 8 << 30), vec![("size", "8589934592".into())]),
            (entry("/a", 1 << 21, 0), vec![("uid", "2097152".into()), ("gid", "2097152".into())]),
        ] {
            let (_, records) = header(&entry);
            let records: Vec<_> =
                records.into_iter().map(|(key, value)| (key, String::from_utf8(value).unwrap())).collect();
            assert_eq!(records, wanted);
        }
    }
}
