//! The files of a checkpoint's data, and which lists of them can be unpacked without surprise, whoever wrote them: a container,
//! or the editor of a lock.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// As long as Linux lets a path be, in bytes.
const PATH_MAX: usize = 4096;

/// One file, folder or link of the checkpoint data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DataFile {
    /// Absolute path inside the rock.
    pub path: String,
    /// Permission bits, octal.
    pub mode: String,
    /// `UID:GID`.
    pub owner: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of a file's bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sha256: Option<Digest>,
    /// Target of a symbolic link.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub link: Option<String>,
}

/// Checks that each path is there once, leads nowhere but down from the root, and lies below nothing but folders: a
/// link on the way would lead whoever unpacks it elsewhere.
pub fn check_files(files: &[DataFile]) -> Result<()> {
    let mut by_path = BTreeMap::new();
    for file in files {
        check_path(&file.path)?;
        if let Some(target) = &file.link {
            ensure!(
                !target.is_empty() && !target.contains(char::is_control),
                "the target {target:?} of {} is empty or holds a control character",
                file.path
            );
        }
        ensure!(by_path.insert(file.path.as_str(), file).is_none(), "{} is there twice", file.path);
    }
    for path in by_path.keys() {
        for (end, _) in path.match_indices('/').skip(1) {
            let kind = match by_path.get(&path[..end]) {
                Some(DataFile { link: Some(_), .. }) => "link",
                Some(DataFile { sha256: Some(_), .. }) => "file",
                _ => continue,
            };
            bail!("{path} lies below the {kind} {}", &path[..end]);
        }
    }
    Ok(())
}

/// Checks that a path is absolute, leads nowhere but down, and can stand in a layer.
pub fn check_path(path: &str) -> Result<()> {
    ensure!(path.len() <= PATH_MAX, "a path of {} bytes is longer than Linux allows", path.len());
    // A line feed in a PAX record breaks readers that take lines, the tar crate's own (0.4) among them.
    ensure!(!path.contains(char::is_control), "{path:?} holds a control character");
    let Some(relative) = path.strip_prefix('/') else { bail!("{path:?} is not absolute") };
    if let Some(part) = relative.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        bail!("{path:?} has the component {part:?}: it is no plain path");
    }
    // In a layer it would delete a file of those below.
    ensure!(!relative.split('/').any(|part| part.starts_with(".wh.")), "{path} would be a whiteout");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> DataFile {
        let sha256 = Some(Digest::of(""));
        DataFile { path: path.into(), mode: "0644".into(), owner: "0:0".into(), size: 0, sha256, link: None }
    }

    #[test]
    fn only_plain_paths_below_folders_are_taken() {
        let check = |paths: &[&str], expected: &str| {
            let files: Vec<DataFile> = paths.iter().map(|path| file(path)).collect();
            match check_files(&files) {
                Ok(()) => assert_eq!(expected, "", "{paths:?}"),
                Err(error) => {
                    assert!(!expected.is_empty() && error.to_string().contains(expected), "{error}")
                }
            }
        };
        check(&["/a", "/a-b", "/b/c"], "");
        check(&["/..."], "");
        check(&["a"], "not absolute");
        check(&["/"], "no plain path");
        check(&["/../x"], "the component \"..\"");
        check(&["/a//b"], "no plain path");
        check(&["/a/."], "no plain path");
        check(&["/a/.wh.b"], "whiteout");
        check(&["/a\u{85}"], "control character");
        check(&["/a", "/a"], "twice");
        check(&["/a", "/a-b", "/a/b"], "/a/b lies below the file /a");
        check(&[&"/a".repeat(3000)], "6000 bytes");
    }
}
