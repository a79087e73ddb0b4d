//! A file over 400 lines is asking to be two.

use std::path::Path;

use walkdir::WalkDir;

#[test]
fn no_file_is_over_400_lines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders =
        ["xtask/src", "xtask/core/src", "xtask/ground/src", "xtask/needles/src", "xtask/tests", "templates"]
            .map(|folder| root.join(folder));
    let files =
        folders.iter().flat_map(WalkDir::new).map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    let written = |path: &Path| {
        path.extension().is_some_and(|kind| ["rs", "j2", "py", "java", "go"].iter().any(|of| kind == *of))
    };
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap().lines().count();
    let files: Vec<_> = files.map(walkdir::DirEntry::into_path).filter(|path| written(path)).collect();
    assert!(files.len() > 200, "{} files", files.len());
    let long: Vec<_> =
        files.iter().map(|path| (lines(path), path)).filter(|(lines, _)| *lines > 400).collect();
    assert!(long.is_empty(), "{long:?}");
}
