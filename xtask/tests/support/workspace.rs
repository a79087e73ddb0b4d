//! A copy of the repository's templates with two applications, and the real binary running in it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::apps::{PETCLINIC, ZIPKIN};

/// The copy. The state folder is beside it, not in it.
pub struct Workspace {
    folder: TempDir,
}

/// What a run printed, and its exit code.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Workspace {
    /// Applications `petclinic` and `zipkin`.
    pub fn new() -> Workspace {
        let workspace = Workspace { folder: tempfile::tempdir().unwrap() };
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates");
        for entry in walkdir::WalkDir::new(&templates).into_iter().map(Result::unwrap) {
            let target =
                workspace.root().join("templates").join(entry.path().strip_prefix(&templates).unwrap());
            match entry.file_type().is_dir() {
                true => std::fs::create_dir_all(target).unwrap(),
                false => std::fs::copy(entry.path(), target).map(drop).unwrap(),
            }
        }
        workspace.write("apps/petclinic/app.toml", PETCLINIC);
        workspace.write("apps/zipkin/app.toml", ZIPKIN);
        workspace
    }

    /// Its top.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Writes a file below its top.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Replaces a piece of a file, which must be there.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.root().join(path)).unwrap();
        assert!(text.contains(from), "`{from}` is not in {path}");
        self.write(path, &text.replacen(from, to, 1));
    }

    /// The binary with these words, separated by blanks.
    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(words.split_whitespace()).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("XTASK_ROOT", self.root()).env("XTASK_STATE", self.folder.path().join("state"));
        // Help is as wide as the terminal, or as this says.
        command
            .env("COLUMNS", "100")
            .env_remove("XTASK_RUNTIME")
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE");
        command
    }

    /// Runs it.
    pub fn run(&self, words: &str) -> Ran {
        ran(&mut self.command(words))
    }

    /// Runs it; not one file of the workspace may change.
    #[track_caller]
    pub fn run_unchanged(&self, words: &str) -> Ran {
        self.unchanged(&mut self.command(words))
    }

    /// The same with a command that was altered.
    #[track_caller]
    pub fn unchanged(&self, command: &mut Command) -> Ran {
        let before = self.tree();
        let ran = ran(command);
        assert_eq!(before, self.tree(), "{command:?} changed the workspace");
        ran
    }

    /// Every path with its mode, time of change and bytes.
    fn tree(&self) -> BTreeMap<PathBuf, (u32, std::time::SystemTime, Vec<u8>)> {
        let entries = walkdir::WalkDir::new(self.root()).into_iter().map(Result::unwrap);
        let entry = |entry: walkdir::DirEntry| {
            let metadata = entry.metadata().unwrap();
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            (entry.into_path(), (metadata.permissions().mode(), metadata.modified().unwrap(), bytes))
        };
        entries.map(entry).collect()
    }
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
