//! Docker in place of podman: all of the way, and between the two.

use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fs_err as fs;
use xtask::debian::RootSpec;
use xtask::process::{self, Limit};
use xtask::progress::Verbosity;
use xtask::runtime::Kind;
use xtask::session::Session;

use crate::fallback_anywhere::comes_up;
use crate::fresh::send;
use crate::support::{BUILD, PORT, Workspace, docker, get, podman, repository, sample, wait_until};

const APP: &str = "e2e-docker";
const HTTP: &str = "[http]\n\
    warm-up = [{ path = \"/counter\", method = \"POST\", repeat = 3 }, { path = \"/echo?q=warm\", repeat = 5 }]\n\
    verify = [\"/identity\", \"/counter\"]\n\
    [restore]\nfallback = \"cold\"\n";

#[test]
#[ignore = "needs podman and Docker; run by cargo xtask test"]
fn all_of_the_way_with_docker() {
    // A build command that nobody has used before, so that Docker builds the jar: sources go in as a copy, the jar comes
    // back as one.
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let toml = sample(HTTP).replace(BUILD, &format!("{BUILD} -Dbuilt.at={now}"));
    let mut workspace = Workspace::new(APP, &toml);
    workspace.set("XTASK_RUNTIME", "docker");
    let started = workspace.checkpoint(&[]);
    started.assert_says(&["get the jar", "is back after"]);
    let dumped_by_docker = workspace.lock();
    assert!(docker(&["volume", "ls", "--quiet"]).lines().any(|name| name == "xtask-cache"));

    let (name, port) = workspace.restore();
    assert_eq!(get(port, "/counter"), "3");
    least_privilege(&name, dumped_by_docker.pid);
    port_in_use(&workspace, port);
    docker(&["stop", "-t", "30", &name]);
    let log = wait_until("the log's end", Duration::from_secs(5), || {
        Some(logs(&name)).filter(|log| log.contains("sample-app: goodbye"))
    });
    log.unwrap_or_else(|what| panic!("{what}: {}", logs(&name)));
    docker(&["rm", &name]);

    // A checkpoint made under Docker, restored under podman, and the reverse.
    workspace.set("XTASK_RUNTIME", "podman");
    let (name, port) = workspace.restore();
    assert_eq!(get(port, "/counter"), "3");
    podman(&["rm", "--force", "--time", "1", &name]);
    workspace.checkpoint(&["--force"]);
    assert_ne!(workspace.lock().data.tree, dumped_by_docker.data.tree);
    workspace.set("XTASK_RUNTIME", "docker");
    let (name, port) = workspace.restore();
    assert_eq!(get(port, "/counter"), "3");
    docker(&["rm", "--force", &name]);

    secrets(&workspace);
    remote(&mut workspace);
    compose(&workspace);
    comes_up("docker", APP, &["CHECKPOINT_RESTORE"]);
    swept(&workspace);
    let left = docker(&["ps", "--all", "--format", "{{.Names}}"]);
    assert!(!left.contains(APP), "containers are left behind: {left}");
    workspace.assert_nothing_left();
}

fn logs(name: &str) -> String {
    let mut command = Command::new("docker");
    let ran = process::run(
        {
            command.args(["logs", name]);
            command
        },
        &Limit::quick(),
    )
    .unwrap();
    format!("{}{}", ran.stdout, ran.stderr)
}

/// Nobody is root, nothing is privileged, the filter is on; the JVM and Pebble hold no capability.
fn least_privilege(name: &str, pid: u32) {
    let host = "{{.HostConfig.Privileged}} {{.HostConfig.CapDrop}} {{.HostConfig.CapAdd}} {{.Config.User}}";
    let host = docker(&["inspect", "--format", host, name]);
    // Clients differ in how they write the names.
    let host = host.replace("CAP_", "").replace("[ALL]", "[all]");
    assert_eq!(host, "false [all] [CHECKPOINT_RESTORE] 584792:584792");
    // CRIU has its capability by its file, which is not the application's to run.
    for (process, gains_nothing) in [("1".to_owned(), "0"), (pid.to_string(), "1")] {
        let status = docker(&["exec", name, "cat", &format!("/proc/{process}/status")]);
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
            line.unwrap_or_else(|| panic!("{status}")).split_whitespace().next().unwrap().to_owned()
        };
        assert_eq!((field("Uid").as_str(), field("Seccomp").as_str()), ("584792", "2"), "{status}");
        assert_eq!(u64::from_str_radix(&field("CapEff"), 16), Ok(0), "{status}");
        assert_eq!(field("NoNewPrivs"), gains_nothing, "{status}");
    }
}

fn port_in_use(workspace: &Workspace, port: u16) {
    let publish = format!("{port}:{PORT}");
    let output = workspace.run(&["restore", APP, "--detach", "--publish", &publish]);
    assert_eq!(output.code, Some(1), "{output}");
    output.assert_says(&["of this machine is in use", "--publish PORT:8080"]);
}

/// Files that come in after the restore, and are those of this machine only at that moment: Docker gets copies.
fn secrets(workspace: &Workspace) {
    let folder = workspace.root().join("late");
    fs::create_dir_all(folder.join("db")).unwrap();
    fs::write(folder.join("db/password"), "from Docker\n").unwrap();
    for (path, mode) in [("", 0o755), ("db", 0o755), ("db/password", 0o444)] {
        fs::set_permissions(folder.join(path), PermissionsExt::from_mode(mode)).unwrap();
    }
    let port = xtask::runtime::free_port().unwrap();
    let (publish, folder) = (format!("{port}:{PORT}"), folder.display().to_string());
    let up = workspace.succeed(&["restore", APP, "--detach", "--publish", &publish, "--secrets", &folder]);
    let guess = |what: &str| send(port, "/secret/db.password", ("X-Guess", what), "");
    assert_eq!((guess("from Docker"), guess("another")), (200, 403));
    docker(&["rm", "--force", up.stdout.trim()]);
}

/// An engine on another machine, as far as anybody can tell: it is reached over TCP at an address that is not the
/// loopback's, and so are the ports it publishes.
fn remote(workspace: &mut Workspace) {
    // No packet is sent: this only asks which address a route to the world would have.
    let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    socket.connect(("192.0.2.1", 9)).unwrap();
    let listener = TcpListener::bind((socket.local_addr().unwrap().ip(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let engine = std::env::var("DOCKER_HOST").ok();
    let engine =
        engine.as_deref().and_then(|host| host.strip_prefix("unix://")).unwrap_or("/var/run/docker.sock");
    let engine = engine.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            forward(client.unwrap(), UnixStream::connect(&engine).unwrap());
        }
    });
    workspace.set("DOCKER_HOST", format!("tcp://{address}"));
    workspace.checkpoint(&["--force"]);
    let port = xtask::runtime::free_port().unwrap();
    let publish = format!("0.0.0.0:{port}:{PORT}");
    let output = workspace.succeed(&["restore", APP, "--detach", "--publish", &publish]);
    output.assert_says(&[&format!("http://{}:{port}/", address.ip())]);
    assert_eq!(get(port, "/counter"), "3");
    docker(&["rm", "--force", output.stdout.trim()]);
    workspace.unset("DOCKER_HOST");
}

/// Both ways, each to its own end: an end of what the client sends is not the end of what it reads.
fn forward(client: TcpStream, engine: UnixStream) {
    let (mut from_client, mut to_engine) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_engine);
        let _ = to_engine.shutdown(Shutdown::Write);
    });
    std::thread::spawn(move || {
        let (mut engine, mut client) = (engine, client);
        let _ = std::io::copy(&mut engine, &mut client);
        let _ = client.shutdown(Shutdown::Write);
    });
}

/// `docker compose up` with the rendered file: healthy, with a read-only root, and the dumped process.
fn compose(workspace: &Workspace) {
    let folder = workspace.root().join("rocks").join(APP).join("restore");
    let port = xtask::runtime::free_port().unwrap();
    let text = fs::read_to_string(folder.join("compose.yaml")).unwrap();
    assert!(text.contains("read_only: true"), "{text}");
    // The tests' port; everything else is as it was rendered.
    let file = folder.join("compose.test.yaml");
    fs::write(&file, text.replace("127.0.0.1:8080:", &format!("127.0.0.1:{port}:"))).unwrap();
    let file = file.display().to_string();
    let compose = |more: &[&str]| docker(&[&["compose", "--file", &file], more].concat());
    compose(&["up", "--detach", "--wait", "--wait-timeout", "60"]);
    assert_eq!(get(port, "/counter"), "3");
    let ps = compose(&["ps", "--format", "{{.Health}} {{.Name}}"]);
    let name = ps.strip_prefix("healthy ").unwrap_or_else(|| panic!("{ps}")).trim().to_owned();
    let written =
        docker(&["exec", &name, "sh", "-c", "touch /etc/x 2>&1 || true; touch /tmp/x && echo fine"]);
    assert!(written.contains("Read-only file system") && written.ends_with("fine"), "{written}");
    compose(&["down", "--volumes"]);
    fs::remove_file(&file).unwrap();
}

/// What a killed run left behind goes with the next one.
fn swept(workspace: &Workspace) {
    let image = format!("localhost/{APP}-restorer:0.0.1");
    let label = format!("{}=1-1", xtask::runtime::OWNER);
    let name = format!("xtask-{APP}-left");
    docker(&[
        "run",
        "--detach",
        "--name",
        &name,
        "--label",
        &label,
        "--entrypoint",
        "/bin/sleep",
        &image,
        "600",
    ]);
    let (running, _) = workspace.restore();
    let names = docker(&["ps", "--all", "--format", "{{.Names}}"]);
    assert!(!names.lines().any(|other| other == name), "{names}");
    docker(&["rm", "--force", &running]);
}

/// templates/seccomp.json is Docker's own filter with clone3: every system call is tried under both.
#[test]
#[ignore = "needs Docker; run by cargo xtask test"]
fn the_filter_is_dockers_with_clone3() {
    let image = "xtask-e2e-syscalls:1";
    let session = Session::open(Verbosity::Quiet, Some(Kind::Docker), false).unwrap();
    let root = RootSpec::new("sid", vec!["python3".into()]).make(&session).unwrap();
    let mut import = Command::new("docker");
    import.args(["import", "-", image]);
    let tar = session.store.path(&root.blob.digest);
    process::feed(import, &Limit::new("the test's", Duration::from_secs(300)), |out| {
        std::io::copy(&mut fs::File::open(&tar)?, out)?;
        Ok(())
    })
    .unwrap();
    let probe = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/syscalls.py");
    let profile = format!("seccomp={}", repository().join("templates/seccomp.json").display());
    let table = |more: &[&str]| -> Vec<String> {
        let capabilities = ["CHECKPOINT_RESTORE"].map(|name| format!("--cap-add={name}"));
        let ran = Command::new("docker")
            .args(["run", "--rm", "--interactive", "--cap-drop=all"])
            .args(capabilities)
            .args(more)
            .args([image, "python3", "-"])
            .stdin(Stdio::from(std::fs::File::open(&probe).unwrap()))
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().lines().map(String::from).collect()
    };
    let (default, ours) = (table(&[]), table(&["--security-opt", &profile]));
    assert!(default.len() > 500 && default.len() == ours.len(), "{} {}", default.len(), ours.len());
    let differ: Vec<(&str, &str)> = default
        .iter()
        .zip(&ours)
        .filter(|(one, other)| one != other)
        .map(|(one, other)| (one.as_str(), other.as_str()))
        .collect();
    // clone3 is 435: ENOSYS (38) under Docker's own filter, let through (0) by ours.
    assert_eq!(differ, [("435 38", "435 0")]);
    println!("{} probes of system calls, one difference: clone3", default.len());
    docker(&["rmi", image]);
}
