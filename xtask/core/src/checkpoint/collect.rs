//! From a container to the store: one stream, each file hashed on the way and written once.
//!
//! What a container sends is not trusted: paths must be plain, kinds must be files, folders or links.

use std::io::Read;
use std::path::{Component, Path};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytesize::ByteSize;

use crate::digest::Digest;
use crate::files::{DataFile, check_files};
use crate::pack::metered::{Meter, Metered};
use crate::process::Limit;
use crate::runtime::Container;
use crate::store::Store;

/// Bytes of all files of a dump: more memory than a JVM that is worth restoring has. What a container sends beyond it
/// would only fill the disk.
const DATA_LIMIT: u64 = 64 << 30;
/// Bytes of a file that is taken by itself: a jar, an archive of classes.
pub(super) const FILE_LIMIT: u64 = 8 << 30;
/// Bytes of everything else that is sent, all of which is held in memory: enough for twenty thousand files.
const METADATA_LIMIT: u64 = 32 << 20;

/// Collects what the dump listed: CRIU's images, of which `required` must be there, and the files made at run time.
pub fn collect(
    store: &Store,
    container: &Container<'_>,
    app: &str,
    required: &[&str],
) -> Result<Vec<DataFile>> {
    let list = format!("/run/{app}/made");
    let from = format!("--files-from={list}");
    let words = [
        "tar",
        "--create",
        "--file=-",
        "--directory=/",
        "--numeric-owner",
        "--format=pax",
        "--hard-dereference",
        "--blocking-factor=2048",
        // These three act on what follows them, so the list comes last.
        "--no-recursion",
        "--null",
        &from,
    ];
    let limit = Limit::new("the tool's own limit for collecting a dump", Duration::from_secs(600));
    let files = container
        .exec_pipe(&words, &limit, |reader| read_tar(store, reader))
        .context("the checkpoint data could not be collected")?;
    for required in required {
        let path = format!("/checkpoint-data/{required}");
        ensure!(files.iter().any(|file| file.path == path), "the dump is incomplete: {path} is missing");
    }
    Ok(files)
}

/// Reads a tar into the store, sorted by path. Nothing is unpacked: a path is only a word here.
///
/// # Errors
/// Names what a dump cannot hold: a path that is not plain, a kind that is no file, folder or link, more than a limit.
pub fn read_tar(store: &Store, reader: impl Read) -> Result<Vec<DataFile>> {
    let mut files = Vec::new();
    let mut total: u64 = 0;
    let meter = Meter::new(METADATA_LIMIT, "the headers, names and PAX records of the checkpoint data");
    let mut archive = tar::Archive::new(Metered::new(reader, &meter));
    for entry in archive.entries()? {
        let mut entry = entry.context("the container sent no sound tar")?;
        let path = plain(&entry.path_bytes())?;
        let header = entry.header();
        let kind = header.entry_type();
        let number = |what: &str| format!("the {what} of {path} is no number");
        let mode = header.mode().with_context(|| number("mode"))? & 0o7777;
        let uid = header.uid().with_context(|| number("owner"))?;
        let gid = header.gid().with_context(|| number("group"))?;
        let (mut sha256, mut link, size) = (None, None, entry.size());
        total = total.saturating_add(size);
        ensure!(
            total <= DATA_LIMIT,
            "with {path} of {size} bytes the checkpoint data has more than {}, which is this tool's limit",
            ByteSize(DATA_LIMIT).display().iec()
        );
        if kind.is_file() {
            let mut writer = store.writer()?;
            meter.beside(|| std::io::copy(&mut entry, &mut writer)).with_context(|| {
                format!(
                    "cannot store {path} in {}; is the disk full? `cargo xtask gc` frees space",
                    store.root().display()
                )
            })?;
            let (digest, _) = writer.commit_if(|_, length| {
                ensure!(length == size, "{path} ends after {length} of {size} bytes");
                Ok(())
            })?;
            sha256 = Some(digest);
        } else if kind.is_symlink() {
            let target = entry.link_name_bytes().context("a link without a target")?;
            let target =
                std::str::from_utf8(&target).with_context(|| format!("the target of {path} is not UTF-8"))?;
            link = Some(target.to_owned());
        } else if !kind.is_dir() {
            bail!("{path} is a {kind:?}; only files, folders and links can travel with a checkpoint");
        }
        // No application makes one, and whoever runs it in the restore rock would become its owner.
        ensure!(
            !kind.is_file() || mode & 0o6000 == 0,
            "{path} is a file of mode {mode:04o}: setuid or setgid"
        );
        ensure!(kind.is_file() || size == 0, "{path} is a {kind:?} of {size} bytes, and only files have any");
        files.push(DataFile {
            path,
            mode: format!("{mode:04o}"),
            owner: format!("{uid}:{gid}"),
            size,
            sha256,
            link,
        });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    check_files(&files)?;
    Ok(files)
}

/// Reads one file into the store.
///
/// # Errors
/// Where it has more than `limit` bytes.
pub(super) fn read_file(store: &Store, file: &str, reader: impl Read, limit: u64) -> Result<(Digest, u64)> {
    let mut writer = store.writer()?;
    let length = std::io::copy(&mut reader.take(limit + 1), &mut writer)?;
    ensure!(
        length <= limit,
        "{file} has more than {}, which is this tool's limit",
        ByteSize(limit).display().iec()
    );
    writer.commit()
}

/// The absolute form of a relative path that leads nowhere but down.
fn plain(path: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(path)
        .with_context(|| format!("the path {} is not UTF-8", path.escape_ascii()))?;
    ensure!(!text.contains(char::is_control), "{text:?} holds a control character");
    let mut absolute = String::new();
    for component in Path::new(text).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => {
                absolute.push('/');
                absolute.push_str(name.to_str().unwrap_or_default());
            }
            _ => bail!("{text:?} leads out of the container's root"),
        }
    }
    ensure!(!absolute.is_empty(), "{text:?} names nothing");
    Ok(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            // Written behind the crate's back, which would refuse what a hostile container may send.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o640);
            header.set_uid(1);
            header.set_gid(1);
            let body = if kind.is_file() { content.as_bytes() } else { &[] };
            if kind.is_symlink() || kind.is_hard_link() {
                header.set_link_name_literal(content).unwrap();
            }
            header.set_size(body.len() as u64);
            header.set_cksum();
            builder.append(&header, body).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn a_file_without_end_is_not_stored() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let read = |length| read_file(&store, "/jars/shop.jar", std::io::repeat(7).take(length), 1024);
        let (digest, size) = read(1024).unwrap();
        assert!(size == 1024 && store.has(&digest, size));
        let error = read(u64::MAX).unwrap_err().to_string();
        assert_eq!(error, "/jars/shop.jar has more than 1.0 KiB, which is this tool's limit");
    }

    fn read(bytes: &[u8]) -> Result<Vec<DataFile>> {
        let folder = tempfile::tempdir().unwrap();
        read_tar(&Store::open(folder.path()).unwrap(), bytes)
    }

    #[test]
    fn files_folders_and_links_are_taken() {
        use tar::EntryType as T;
        let bytes =
            archive(&[("./b", T::Regular, "two"), ("./a", T::Directory, ""), ("./a/l", T::Symlink, "../b")]);
        let files = read(&bytes).unwrap();
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["/a", "/a/l", "/b"]);
        assert_eq!(files[1].link.as_deref(), Some("../b"));
        assert_eq!((files[2].size, files[2].mode.as_str(), files[2].owner.as_str()), (3, "0640", "1:1"));
        assert_eq!(files[2].sha256, Some(crate::digest::Digest::of("two")));
    }

    #[test]
    fn what_a_container_sends_is_not_trusted() {
        use tar::EntryType as T;
        let check = |entries: &[(&str, T, &str)], expected: &str| {
            let error = format!("{:#}", read(&archive(entries)).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check(&[("../x", T::Regular, "")], "leads out");
        check(&[("a", T::Symlink, "/etc"), ("a/b", T::Regular, "")], "/a/b lies below the link /a");
        check(&[("a/../../x", T::Regular, "")], "leads out");
        check(&[("/etc/passwd", T::Regular, "")], "leads out");
        check(&[("./dev", T::Char, "")], "only files, folders and links");
        check(&[("./fifo", T::Fifo, "")], "only files, folders and links");
        check(&[("./hard", T::Link, "/etc/passwd")], "only files, folders and links");
        check(&[("./a", T::Regular, "1"), ("a", T::Regular, "2")], "twice");
        check(&[("./a\nb", T::Regular, "1")], "control character");
        check(&[(".", T::Directory, "")], "names nothing");
        let mut cut = archive(&[("a", T::Regular, &"x".repeat(2000))]);
        cut.truncate(1500);
        assert!(read(&cut).is_err());
    }
}
