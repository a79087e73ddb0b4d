//! From a container to the store: one stream, each file hashed on the way and written once.
//!
//! What a container sends is not trusted: paths must be plain, kinds must be files, folders or links.

use std::io::Read;
use std::path::{Component, Path};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::lock::DataFile;
use crate::process::Limit;
use crate::runtime::Container;
use crate::store::Store;

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

/// Reads a tar into the store, sorted by path.
pub fn read_tar(store: &Store, reader: impl Read) -> Result<Vec<DataFile>> {
    let mut files = Vec::new();
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = plain(&entry.path().context("a name that is no path")?)?;
        let header = entry.header();
        let kind = header.entry_type();
        let (mode, uid, gid) = (header.mode()? & 0o7777, header.uid()?, header.gid()?);
        let (mut sha256, mut link, mut size) = (None, None, 0);
        if kind.is_file() {
            let mut writer = store.writer()?;
            std::io::copy(&mut entry, &mut writer).with_context(|| {
                format!(
                    "cannot store {path} in {}; is the disk full? `cargo xtask gc` frees space",
                    store.root().display()
                )
            })?;
            let (digest, length) = writer.commit()?;
            ensure!(length == entry.size(), "{path} ends after {length} of {} bytes", entry.size());
            (sha256, size) = (Some(digest), length);
        } else if kind.is_symlink() {
            let target = entry.link_name()?.context("a link without a target")?;
            link = Some(
                target.to_str().with_context(|| format!("the target of {path} is not UTF-8"))?.to_owned(),
            );
        } else if !kind.is_dir() {
            bail!("{path} is a {kind:?}; only files, folders and links can travel with a checkpoint");
        }
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
    if let Some(twice) = files.windows(2).find(|pair| pair[0].path == pair[1].path) {
        bail!("{} is there twice", twice[0].path);
    }
    // Whoever unpacks these files writes where their paths say, and a link on the way would lead elsewhere.
    for link in files.iter().filter(|file| file.link.is_some()) {
        let below = format!("{}/", link.path);
        if let Some(file) = files.iter().find(|file| file.path.starts_with(&below)) {
            bail!("{} lies below the link {}", file.path, link.path);
        }
    }
    Ok(files)
}

/// The absolute form of a relative path that leads nowhere but down.
fn plain(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    let mut absolute = String::new();
    for component in path.components() {
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
    ensure!(!text.chars().any(char::is_control), "{text:?} holds a control character");
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
