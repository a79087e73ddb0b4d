//! A Pod by `podman kube play`, as rendered.

use std::path::Path;

use crate::support::try_podman;

/// Taken down with its value.
pub struct Pod<'a> {
    file: &'a str,
    app: &'a str,
}

impl<'a> Pod<'a> {
    /// Plays the Deployment of `app` in `file`, with more options of podman's.
    pub fn play(file: &'a Path, app: &'a str, options: &[&str]) -> Pod<'a> {
        let pod = Pod { file: file.to_str().unwrap(), app };
        let words = [&["kube", "play"], options, &[pod.file]].concat();
        // podman 4.3.1 removes an init container that has ended, and often takes it for one that runs: it is late to note the
        // end. The kubelet leaves it until the Pod goes.
        for _ in 0..20 {
            let (code, printed) = try_podman(&words);
            if code == Some(0) {
                return pod;
            }
            assert!(printed.contains("failed to remove once init container"), "{words:?}: {printed}");
            println!("    podman could not remove an init container; once more");
            try_podman(&["kube", "down", pod.file]);
        }
        panic!("no Pod in twenty tries of {words:?}");
    }

    /// What a program in the application's container prints, and its exit code.
    pub fn try_exec(&self, words: &[&str]) -> (Option<i32>, String) {
        let container = format!("{0}-pod-0-{0}", self.app);
        try_podman(&[&["exec", container.as_str()], words].concat())
    }

    /// The same, of one that must succeed.
    pub fn exec(&self, words: &[&str]) -> String {
        let (code, printed) = self.try_exec(words);
        assert_eq!(code, Some(0), "{words:?}: {printed}");
        printed
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        try_podman(&["kube", "down", self.file]);
    }
}
