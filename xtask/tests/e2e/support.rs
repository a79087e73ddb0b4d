//! A temporary workspace, the real program, podman and HTTP, all of it with limits.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use fs_err as fs;
use xtask::lock::Lock;
use xtask::process::{self, Limit};

pub use program::{Output, Started};

#[path = "program.rs"]
mod program;

/// The port every sample application listens on in its container.
pub const PORT: u16 = 8080;
/// How the sample application is built: it has no wrapper of its own.
pub const BUILD: &str = "mvn --batch-mode --no-transfer-progress package";

/// Containers and the store belong to one test at a time, whatever `--test-threads` says.
static SERIAL: Mutex<()> = Mutex::new(());

/// A copy of the templates, one application of the test's own, and the shared state.
pub struct Workspace {
    /// The application; images and containers have its name, so no test touches another's or the user's.
    pub app: String,
    folder: tempfile::TempDir,
    state: PathBuf,
    environment: Vec<(&'static str, String)>,
    before: BTreeSet<String>,
    _serial: MutexGuard<'static, ()>,
}

impl Workspace {
    /// A workspace with the application `app`.
    pub fn new(app: &str, toml: &str) -> Workspace {
        let serial = SERIAL.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let state =
            std::env::var_os("XTASK_STATE").map_or_else(|| repository().join("target/xtask"), PathBuf::from);
        fs::create_dir_all(&state).unwrap();
        let folder = tempfile::Builder::new().prefix(app).tempdir().unwrap();
        copy(&repository().join("templates"), &folder.path().join("templates"));
        fs::create_dir(folder.path().join("rocks")).unwrap();
        fs::create_dir_all(folder.path().join("apps").join(app)).unwrap();
        let before = objects(&state);
        let environment = vec![("XTASK_RUNTIME", "podman".to_owned())];
        let workspace =
            Workspace { app: app.to_owned(), folder, state, environment, before, _serial: serial };
        workspace.remove_traces();
        workspace.write(toml);
        workspace
    }

    /// Sets a variable of the program's environment, from now on.
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.into()));
    }

    /// As it was before.
    pub fn unset(&mut self, name: &'static str) {
        self.environment.retain(|(known, _)| *known != name);
    }

    /// What was set.
    pub fn environment(&self) -> &[(&'static str, String)] {
        &self.environment
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// What is made at run time.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Replaces app.toml.
    pub fn write(&self, toml: &str) {
        fs::write(self.root().join("apps").join(&self.app).join("app.toml"), toml).unwrap();
    }

    /// Edits a file below the workspace; the old text must be there.
    pub fn edit(&self, path: &str, old: &str, new: &str) {
        let path = self.root().join(path);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{} no longer contains {old:?}; adapt the test", path.display());
        fs::write(&path, text.replacen(old, new, 1)).unwrap();
    }

    /// Path of app.toml, as [`Workspace::edit`] takes it.
    pub fn toml(&self) -> String {
        format!("apps/{}/app.toml", self.app)
    }

    /// Runs `cargo xtask` with these arguments, whatever its exit code.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.start(arguments).finish(Duration::from_secs(900))
    }

    /// As [`Workspace::run`], but it must succeed.
    pub fn succeed(&self, arguments: &[&str]) -> Output {
        let output = self.run(arguments);
        assert_eq!(output.code, Some(0), "{output}");
        output
    }

    /// Starts `cargo xtask` and does not wait for it.
    pub fn start(&self, arguments: &[&str]) -> Started {
        self.start_with_state(arguments, &self.state)
    }

    /// As [`Workspace::start`], with another state.
    pub fn start_with_state(&self, arguments: &[&str], state: &Path) -> Started {
        Started::new(self.root(), state, &self.environment, arguments)
    }

    /// `checkpoint`, which must succeed.
    pub fn checkpoint(&self, more: &[&str]) -> Output {
        self.succeed(&[&["checkpoint", &self.app], more].concat())
    }

    /// `restore --detach`; returns the container's name and the port of this machine.
    pub fn restore(&self) -> (String, u16) {
        let port = xtask::runtime::free_port().unwrap();
        let publish = format!("{port}:{PORT}");
        let output = self.succeed(&["restore", &self.app, "--detach", "--publish", &publish]);
        let name = output.stdout.trim().to_owned();
        assert!(
            name.starts_with(&self.prefix()),
            "--detach prints the container's name and nothing else\n{output}"
        );
        (name, port)
    }

    /// Path of the lock.
    pub fn lock_path(&self) -> PathBuf {
        self.root().join("apps").join(&self.app).join("checkpoint.lock")
    }

    /// The lock.
    pub fn lock(&self) -> Lock {
        Lock::read(&self.lock_path()).unwrap().expect("there is a lock")
    }

    /// `.rock` files of the pair.
    pub fn rocks(&self) -> [PathBuf; 2] {
        let architecture = xtask::toolchain::debian_architecture();
        ["checkpointer", "restorer"].map(|role| {
            self.state.join("rocks").join(format!("{}-{role}_0.0.1_{architecture}.rock", self.app))
        })
    }

    /// What an unsuccessful run must leave alone: the lock and the rocks.
    pub fn pinned(&self) -> Vec<(PathBuf, Vec<u8>, SystemTime)> {
        let [checkpoint, restore] = self.rocks();
        [self.lock_path(), checkpoint, restore]
            .into_iter()
            .map(|path| {
                let modified = fs::metadata(&path).unwrap().modified().unwrap();
                let bytes = match path.extension().is_some_and(|extension| extension == "rock") {
                    // Hundreds of megabytes, replaced by renaming: their size and time tell.
                    true => fs::metadata(&path).unwrap().len().to_string().into_bytes(),
                    false => fs::read(&path).unwrap(),
                };
                (path, bytes, modified)
            })
            .collect()
    }

    /// Names of the containers of this application begin with this.
    pub fn prefix(&self) -> String {
        format!("xtask-{}-", self.app)
    }

    /// Containers of this application, running or not.
    pub fn containers(&self) -> Vec<String> {
        let names = podman(&["ps", "--all", "--format", "{{.Names}}"]);
        names.lines().filter(|name| name.starts_with(&self.prefix())).map(String::from).collect()
    }

    /// No container, no unproven image, no temporary file is left.
    pub fn assert_nothing_left(&self) {
        self.assert_nothing_left_in(&self.state);
    }

    /// As [`Workspace::assert_nothing_left`], with another state.
    pub fn assert_nothing_left_in(&self, state: &Path) {
        assert_eq!(self.containers(), Vec::<String>::new(), "containers are left behind");
        let images = podman(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        let left: Vec<&str> = images
            .lines()
            .filter(|name| {
                // What is proven has the application's version for its tag.
                let version =
                    name.rsplit(':').next().unwrap_or_default().starts_with(|c: char| c.is_ascii_digit());
                let unproven = name.starts_with(&format!("localhost/{}-", self.app)) && !version;
                unproven || name.contains("/xtask-") && !name.contains("/xtask-build-")
            })
            .collect();
        assert_eq!(left, Vec::<&str>::new(), "images are left behind");
        for folder in ["tmp", "store/partial"] {
            assert_eq!(entries(&state.join(folder)), Vec::<String>::new(), "{folder} is not empty");
        }
        for folder in ["apps", "rocks"] {
            let partial = files(&self.root().join(folder)).into_iter().find(|path| path.contains(".partial"));
            assert_eq!(partial, None, "a half-written file is left");
        }
    }

    /// Containers, images, reports and rocks of this application, also those of an earlier run that was killed.
    fn remove_traces(&self) {
        for name in self.containers() {
            podman(&["rm", "--force", "--time", "0", &name]);
        }
        let images = podman(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        for name in images.lines().filter(|name| name.starts_with(&format!("localhost/{}-", self.app))) {
            podman(&["rmi", "--force", name]);
        }
        let rocks = self.state.join("rocks");
        for name in entries(&rocks).iter().filter(|name| name.starts_with(&format!("{}-", self.app))) {
            let _ = std::fs::remove_file(rocks.join(name));
        }
        let _ = std::fs::remove_file(self.state.join("reports").join(format!("{}.json", self.app)));
    }

    /// Objects that the test added to the shared store and that nobody will want again: all but what the slow
    /// steps remember (the base layer, jars, Pebble) and what a pin of the repository names by now.
    fn remove_objects(&self) {
        let memo = self.state.join("memo");
        let remembered = entries(&memo).into_iter().filter(|name| !name.starts_with("layer-"));
        let mut kept: String =
            remembered.filter_map(|name| fs::read_to_string(memo.join(name)).ok()).collect();
        for app in entries(&repository().join("apps")) {
            let lock = repository().join("apps").join(app).join("checkpoint.lock");
            kept.push_str(&fs::read_to_string(lock).unwrap_or_default());
        }
        for name in objects(&self.state).difference(&self.before).filter(|name| !kept.contains(*name)) {
            let _ = std::fs::remove_file(self.state.join("store/blobs/sha256").join(name));
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // A second panic would hide the first.
        if std::thread::panicking() {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.remove_traces()));
        } else {
            self.remove_traces();
        }
        self.remove_objects();
    }
}

/// The repository.
pub fn repository() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap()
}

/// Sources of the sample application.
pub fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sample-app")
}

/// An app.toml of the sample application, built from the fixture's folder, with `more` below what is common. The
/// JVM is as it comes, which saves each test the run that records an archive of the application's classes.
pub fn sample(more: &str) -> String {
    let plain = "[java]\nprofile = \"none\"\noptions = [\"-XX:+UseSerialGC\", \"-Xmx128m\"]\n\n";
    let plain = if more.contains("[java]") { "" } else { plain };
    sample_from(&format!("directory = {:?}", fixture()), &format!("{plain}{more}"))
}

/// As [`sample`], from another source, and with the archive of classes.
pub fn sample_from(source: &str, more: &str) -> String {
    format!(
        "summary = \"The sample application\"\nversion = \"0.0.1\"\n\n\
         [source]\n{source}\nbuild = {BUILD:?}\n\n{more}"
    )
}

/// Runs podman, which must succeed.
pub fn podman(arguments: &[&str]) -> String {
    runtime("podman", arguments)
}

/// Runs Docker, which must succeed.
pub fn docker(arguments: &[&str]) -> String {
    runtime("docker", arguments)
}

/// Runs a container engine, which must succeed.
pub fn runtime(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    let limit = Limit::new("the tests' limit for a container engine", Duration::from_secs(90));
    process::read(command, &limit)
        .unwrap_or_else(|error| panic!("{program} is needed, and must work: {error:#}"))
}

/// As [`podman`], whatever its exit code; returns that, and both streams.
pub fn try_podman(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new("podman");
    command.args(arguments);
    let limit = Limit::new("the tests' limit for podman", Duration::from_secs(90));
    let ran = process::run(command, &limit).unwrap_or_else(|error| panic!("{error:#}"));
    (ran.status.code(), format!("{}{}", ran.stdout, ran.stderr))
}

/// Exit code of a container that has ended; none while it runs.
pub fn ended(container: &str) -> Option<i32> {
    let state = podman(&["inspect", "--format", "{{.State.Running}} {{.State.ExitCode}}", container]);
    let (running, code) = state.split_once(' ').unwrap();
    (running == "false").then(|| code.parse().unwrap())
}

/// Sends one request to a port of this machine.
pub fn http(method: &str, port: u16, path: &str) -> Result<(u16, String), String> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(5)))
        .build();
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://127.0.0.1:{port}{path}"))
        .body(())
        .unwrap();
    let mut response = config.new_agent().run(request).map_err(|error| error.to_string())?;
    let body = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
    Ok((response.status().as_u16(), body))
}

/// The body of a GET that must answer 200.
pub fn get(port: u16, path: &str) -> String {
    match http("GET", port, path) {
        Ok((200, body)) => body,
        other => panic!("GET {path} on port {port}: {other:?}"),
    }
}

/// The body of the first 200 that a GET answers.
pub fn first_answer(port: u16, path: &str, limit: Duration) -> String {
    let mut last = String::new();
    wait_until(&format!("200 on {path}"), limit, || match http("GET", port, path) {
        Ok((200, body)) => Some(body),
        other => {
            last = format!("{other:?}");
            None
        }
    })
    .unwrap_or_else(|what| panic!("{what}; last seen: {last}"))
}

/// Asks again and again until there is an answer.
pub fn wait_until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Result<T, String> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if Instant::now() > end {
            return Err(format!("{what}: not within {limit:?}"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Every file below a folder, by its path from there.
pub fn files(folder: &Path) -> BTreeSet<String> {
    walkdir::WalkDir::new(folder)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_type().is_dir())
        .map(|entry| entry.path().strip_prefix(folder).unwrap().display().to_string())
        .collect()
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(from.join(&file), target).unwrap();
    }
}

fn objects(state: &Path) -> BTreeSet<String> {
    entries(&state.join("store/blobs/sha256")).into_iter().collect()
}

/// Names in a folder; none where there is no folder.
pub fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
