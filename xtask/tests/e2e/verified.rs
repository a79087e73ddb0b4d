//! What `verify` and `--locked` say of a pin whose data, rocks, files or settings are not what they were.

use crate::support::Workspace;

/// `verify` says what is not as it was pinned, and names it.
pub fn verified(workspace: &Workspace, app: &str) {
    let [_, restore] = workspace.rocks();
    let deep = workspace.succeed(&["verify", app, "--deep"]);
    assert_eq!(deep.stdout.lines().count(), 4, "store, rendered files, two rocks\n{deep}");
    let rock = restore.display().to_string();
    let this = workspace.succeed(&["verify", app, "--rock", &rock]);
    assert!(this.stdout.contains("is the pinned restore rock, byte for byte"), "{this}");

    let wrong = |phrase: &str| {
        let output = workspace.run(&["verify", app, "--deep"]);
        assert_eq!(output.code, Some(1), "{output}");
        assert!(
            output.stdout.contains(&format!("{app}: WRONG  ")) && output.stdout.contains(phrase),
            "{output}"
        );
    };
    let flip = |path: &std::path::Path, at: usize| {
        let mode = fs_err::metadata(path).unwrap().permissions();
        let mut bytes = fs_err::read(path).unwrap();
        bytes[at] ^= 1;
        // Another file in its place: rocks and layouts share an object's bytes by hard links.
        fs_err::remove_file(path).unwrap();
        fs_err::write(path, bytes).unwrap();
        fs_err::set_permissions(path, mode).unwrap();
    };
    let lock = workspace.lock();
    let pages = lock.data.files.iter().find(|file| file.path.ends_with("/pages-1.img")).unwrap();
    let object = workspace.state().join("store/blobs/sha256").join(pages.sha256.unwrap().hex());
    flip(&object, 4711);
    wrong("store: /checkpoint-data/pages-1.img: ");
    flip(&object, 4711);
    flip(&restore, 1 << 20);
    wrong("was changed: it is sha256:");
    flip(&restore, 1 << 20);
    let compose = workspace.root().join(format!("rocks/{app}/restore/compose.yaml"));
    flip(&compose, 0);
    wrong(&format!("file-not-rendered: rocks/{app}/restore/compose.yaml would be rendered as "));
    flip(&compose, 0);
    workspace.succeed(&["verify", app]);
    locked(workspace, app);
}

/// `--locked` refuses what would change the pin, and says what it is; `why` says the same and changes nothing either.
fn locked(workspace: &Workspace, app: &str) {
    for command in ["checkpoint", "why"] {
        workspace.succeed(&[command, app, "--locked"]);
    }
    let before = workspace.pinned();
    workspace.edit(&workspace.toml(), "repeat = 20", "repeat = 21");
    for arguments in [&["checkpoint", app][..], &["restore", app], &["pack", app, "restore"]] {
        let output = workspace.run(&[arguments, &["--locked"]].concat());
        assert_eq!(output.code, Some(1), "{output}");
        output.assert_says(&[
            "--locked",
            "requests-changed: ",
            " was pinned, now ",
            "cargo xtask checkpoint",
        ]);
    }
    let why = workspace.succeed(&["why", app]).stdout;
    assert!(why.starts_with("requests-changed: ") && why.contains("run, warm up and dump"), "{why}");
    workspace.edit(&workspace.toml(), "repeat = 21", "repeat = 20");
    assert_eq!(workspace.pinned(), before);
}
