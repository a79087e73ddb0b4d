//! `install-data.sh`, which stands between a rock and memory that somebody changed: it installs exactly what is pinned,
//! and refuses everything else, naming the file.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;
use xtask::digest::Digest;
use xtask::files::DataFile;
use xtask::render::{Pinned, rockcraft_files};
use xtask::rock::Role;

mod support {
    pub mod apps;
    pub mod cases;
    pub mod script;
}

use support::apps::{PETCLINIC, TEMPLATES, app};
use support::cases::cases;
use support::script::{output, program};

const JAR: &str = "the jar";
/// Path, mode, content; a content that begins with `->` is a link.
const FILES: [(&str, &str, &str); 5] = [
    ("checkpoint-data/core-1000.img", "0644", "core"),
    ("checkpoint-data/pages-1.img", "0644", "pages of memory"),
    ("tmp/it's a file", "0640", ""),
    ("tmp/lib 1/libbrotli.so", "0755", "\u{7f}ELF"),
    ("tmp/lib 1/latest", "0777", "->libbrotli.so"),
];

/// A folder with the script, the manifest and the data they belong to.
fn pinned() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let metadata = fs::metadata(folder.path()).unwrap();
    let owner = format!("{}:{}", metadata.uid(), metadata.gid());
    let file = |path: &str, mode: &str, content: Option<&str>| {
        let link = content.and_then(|content| content.strip_prefix("->"));
        let sha256 = content.filter(|_| link.is_none()).map(Digest::of);
        let (path, mode, link) = (format!("/{path}"), mode.to_owned(), link.map(String::from));
        DataFile { path, mode, owner: owner.clone(), size: 0, sha256, link }
    };
    let mut data = vec![file("tmp", "1777", None), file("tmp/lib 1", "0700", None)];
    data.extend(FILES.iter().map(|(path, mode, content)| file(path, mode, Some(content))));
    let pinned = Pinned { jar: Digest::of(JAR), data: &data, mapped: &[] };
    let files = rockcraft_files(&TEMPLATES, &app("shop", PETCLINIC), Role::Restore, Some(pinned)).unwrap();
    for name in ["install-data.sh", "data.manifest"] {
        fs::write(folder.path().join(name), &files[Path::new(name)].bytes).unwrap();
    }
    for (path, _, content) in FILES.iter().chain(&[("jars/shop.jar", "", JAR)]) {
        let to = folder.path().join("data").join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        match content.strip_prefix("->") {
            Some(target) => symlink(target, to).unwrap(),
            None => fs::write(to, content).unwrap(),
        }
    }
    // Owners are root's to give away.
    let stubs = folder.path().join("stubs");
    fs::create_dir(&stubs).unwrap();
    let install = "#!/bin/bash\nwords=()\nwhile (($#)); do case $1 in -o | -g) shift 2 ;; *) words+=(\"$1\"); shift ;; esac; done\n\
                   exec env PATH=\"${PATH#*:}\" install \"${words[@]}\"\n";
    program(&stubs.join("install"), install);
    program(&stubs.join("chown"), "#!/bin/sh\n");
    folder
}

/// Runs the script; what it wrote to standard error if it failed, and what it left in the rock.
fn install(folder: &Path) -> (Result<(), String>, PathBuf) {
    let into = folder.join("into");
    fs::create_dir(&into).unwrap();
    let path = format!("{}:{}", folder.join("stubs").display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command
        .args(["./install-data.sh", "data", "data.manifest", "into"])
        .current_dir(folder)
        .env("PATH", path);
    let ran = output(&mut command);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    (if ran.status.success() { Ok(()) } else { Err(said) }, into)
}

#[test]
fn what_is_pinned_is_installed() {
    let folder = pinned();
    let (result, into) = install(folder.path());
    result.unwrap();
    let mode = |path: &str| format!("{:04o}", fs::symlink_metadata(into.join(path)).unwrap().mode() & 0o7777);
    for (path, expected, content) in FILES {
        let installed = into.join(path);
        assert_eq!(mode(path), expected, "{path}");
        match content.strip_prefix("->") {
            Some(target) => assert_eq!(fs::read_link(&installed).unwrap(), Path::new(target)),
            None => assert_eq!(fs::read_to_string(&installed).unwrap(), content),
        }
    }
    assert_eq!(fs::read_to_string(into.join("jars/shop.jar")).unwrap(), JAR);
    assert_eq!((mode("tmp").as_str(), mode("tmp/lib 1").as_str()), ("1777", "0700"));
}

#[test]
fn anything_else_is_refused() {
    let check = |what: &str, change: &dyn Fn(&Path), expected: &str| {
        let folder = pinned();
        change(folder.path());
        let (result, into) = install(folder.path());
        let said = result.expect_err(what);
        assert!(said.contains(expected), "{what}: {said}");
        assert_eq!(fs::read_dir(into).unwrap().count(), 0, "{what}: something was installed");
    };
    let manifest = |folder: &Path, old: &str, new: &str| {
        let path = folder.join("data.manifest");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{text}");
        fs::write(path, text.replacen(old, new, 1)).unwrap();
    };
    check(
        "no manifest",
        &|f| fs::remove_file(f.join("data.manifest")).unwrap(),
        "run `cargo xtask checkpoint shop`",
    );
    check("an empty one", &|f| fs::write(f.join("data.manifest"), "# x\n").unwrap(), "names nothing");
    check("no data", &|f| fs::remove_dir_all(f.join("data")).unwrap(), "run `cargo xtask checkpoint shop`");
    let linked = |f: &Path| {
        fs::rename(f.join("data"), f.join("elsewhere")).unwrap();
        symlink("elsewhere", f.join("data")).unwrap();
    };
    check("data is a link", &linked, "the folder data is missing");
    check("a pipe", &|f| make_pipe(&f.join("data/pipe")), "not pinned: p pipe");
    check("a folder more", &|f| fs::create_dir(f.join("data/etc")).unwrap(), "not pinned: d etc");
    check(
        "a path that climbs",
        &|f| manifest(f, " jars/shop.jar", " jars/../shop.jar"),
        "a line that is none",
    );
    check("an absolute path", &|f| manifest(f, " jars/shop.jar", " /jars/shop.jar"), "a line that is none");
    check("a short sum", &|f| manifest(f, &Digest::of(JAR).hex(), "12ab"), "a line that is none");
    check("a mode of letters", &|f| manifest(f, "f 0644", "f a+rw"), "a line that is none");
    let twice = |f: &Path| {
        let sum = Digest::of(JAR).hex();
        let line = format!("f 0644 0:0 {sum} jars/shop.jar\n");
        manifest(f, &line, &format!("{line}{line}"));
    };
    check("a line twice", &twice, "names twice: f jars/shop.jar");
    let target = |f: &Path| {
        fs::remove_file(f.join("data/tmp/lib 1/latest")).unwrap();
        symlink("/etc/passwd", f.join("data/tmp/lib 1/latest")).unwrap();
    };
    check("another target", &target, "data/tmp/lib 1/latest was changed");
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// One way to spoil a folder of pinned data.
#[derive(Debug, Clone)]
enum Mutation {
    Flip { file: usize, at: usize, bit: u8 },
    Truncate { file: usize },
    Append { file: usize },
    Remove { file: usize },
    Rename { file: usize, to: String },
    Swap { one: usize, other: usize },
    Link { file: usize, hard: bool },
    Add { name: String },
    Sum { line: usize, at: usize },
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let name = "[a-z$` ']{1,12}".prop_filter("a name", |name| name.trim() == name && !name.is_empty());
    let file = 0..6usize;
    prop_oneof![
        3 => (file.clone(), any::<usize>(), 0..8u8).prop_map(|(file, at, bit)| Mutation::Flip { file, at, bit }),
        1 => file.clone().prop_map(|file| Mutation::Truncate { file }),
        1 => file.clone().prop_map(|file| Mutation::Append { file }),
        1 => file.clone().prop_map(|file| Mutation::Remove { file }),
        1 => (file.clone(), name.clone()).prop_map(|(file, to)| Mutation::Rename { file, to }),
        1 => (file.clone(), file.clone()).prop_map(|(one, other)| Mutation::Swap { one, other }),
        1 => (file, any::<bool>()).prop_map(|(file, hard)| Mutation::Link { file, hard }),
        1 => name.prop_map(|name| Mutation::Add { name }),
        2 => (0..5usize, 0..64usize).prop_map(|(line, at)| Mutation::Sum { line, at }),
    ]
}

/// Spoils it; whether anything differs now.
fn spoil(folder: &Path, mutation: &Mutation) -> bool {
    let regular =
        || FILES.iter().filter(|(_, _, content)| !content.starts_with("->")).map(|(path, ..)| *path);
    let names: Vec<&str> = regular().chain(["jars/shop.jar"]).collect();
    let path = |file: usize| folder.join("data").join(names[file % names.len()]);
    match mutation {
        Mutation::Flip { file, at, bit } => {
            let mut bytes = fs::read(path(*file)).unwrap();
            let Some(last) = bytes.len().checked_sub(1) else { return false };
            bytes[at % (last + 1)] ^= 1 << bit;
            fs::write(path(*file), bytes).unwrap();
        }
        Mutation::Truncate { file } => {
            let bytes = fs::read(path(*file)).unwrap();
            let Some(less) = bytes.len().checked_sub(1) else { return false };
            fs::write(path(*file), &bytes[..less]).unwrap();
        }
        Mutation::Append { file } => {
            let bytes = fs::read(path(*file)).unwrap();
            fs::write(path(*file), [bytes, vec![0]].concat()).unwrap();
        }
        Mutation::Remove { file } => fs::remove_file(path(*file)).unwrap(),
        Mutation::Rename { file, to } => fs::rename(path(*file), path(*file).with_file_name(to)).unwrap(),
        Mutation::Swap { one, other } => {
            let (a, b) = (fs::read(path(*one)).unwrap(), fs::read(path(*other)).unwrap());
            fs::write(path(*one), &b).unwrap();
            fs::write(path(*other), &a).unwrap();
            return a != b;
        }
        Mutation::Link { file, hard } => {
            let other = folder.join("other");
            fs::write(&other, "planted").unwrap();
            fs::remove_file(path(*file)).unwrap();
            if *hard {
                fs::hard_link(&other, path(*file)).unwrap()
            } else {
                symlink(&other, path(*file)).unwrap()
            }
        }
        Mutation::Add { name } => fs::write(folder.join("data/tmp").join(name), "").unwrap(),
        Mutation::Sum { line, at } => {
            let manifest = folder.join("data.manifest");
            let text = fs::read_to_string(&manifest).unwrap();
            let mut lines: Vec<String> = text.lines().map(String::from).collect();
            let sums: Vec<usize> = (0..lines.len()).filter(|n| lines[*n].starts_with('f')).collect();
            let text = &mut lines[sums[line % sums.len()]];
            let start = text.match_indices(' ').nth(2).unwrap().0 + 1 + at % 64;
            let digit = if &text[start..=start] == "0" { "1" } else { "0" };
            text.replace_range(start..=start, digit);
            fs::write(manifest, lines.join("\n") + "\n").unwrap();
        }
    }
    true
}

/// Seeded, so that a failure comes again: 60 of them, or as many as `XTASK_CASES` says.
#[test]
fn no_mutation_is_installed() {
    let cases = cases(60);
    let mut runner = TestRunner::deterministic();
    let (mut refused, mut unchanged) = (0, 0);
    while refused < cases {
        let mutation = mutation().new_tree(&mut runner).unwrap().current();
        let folder = pinned();
        let spoilt = spoil(folder.path(), &mutation);
        let (result, into) = install(folder.path());
        match (spoilt, result) {
            (false, Ok(())) => unchanged += 1,
            (true, Err(said)) => {
                assert!(said.starts_with("checkpoint data: "), "{mutation:?}: {said}");
                assert_eq!(fs::read_dir(into).unwrap().count(), 0, "{mutation:?}");
                refused += 1;
            }
            (_, result) => panic!("{mutation:?}: {result:?}"),
        }
    }
    println!("install-data.sh: {refused} mutations refused, {unchanged} unchanged runs accepted");
}

#[test]
fn a_mode_is_the_manifests_not_the_folders() {
    let folder = pinned();
    let file = folder.path().join("data/checkpoint-data/core-1000.img");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4777)).unwrap();
    let (result, into) = install(folder.path());
    result.unwrap();
    let mode = fs::metadata(into.join("checkpoint-data/core-1000.img")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o644);
}
