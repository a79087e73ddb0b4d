//! Zipkin, which nobody here wrote, from Maven, as `apps/zipkin` has it.

use std::time::Duration;

use crate::pod::Pod;
use crate::support::{Workspace, first_answer, podman, repository};

const APP: &str = "e2e-zipkin";
/// What is asked of a noisy machine; what was measured is printed.
const FLOOR: f64 = 10.0;

#[test]
#[ignore = "needs podman; run by cargo xtask test"]
fn zipkin_comes_back_with_its_trace() {
    let toml = fs_err::read_to_string(repository().join("apps/zipkin/app.toml")).unwrap();
    let keys = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let signed = format!("{toml}\n[pin]\nsigned-by = [\"{}\"]\n", keys.pk.to_base64());
    let workspace = Workspace::new(APP, &signed);
    let output = workspace.checkpoint(&[]);
    println!("{}", output.stdout);
    let row = output.stdout.lines().find(|line| line.contains("from the container's start"));
    let ratio =
        row.and_then(|line| line.trim_end().strip_suffix('x')?.split_whitespace().last()?.parse().ok());
    let ratio: f64 = ratio.unwrap_or_else(|| panic!("no ratio is printed\n{output}"));
    assert!(ratio >= FLOOR, "{ratio}x is less than {FLOOR}x\n{output}");
    let made = workspace.lock().data.files.iter().filter(|file| file.path.ends_with("libbrotli.so")).count();
    assert_eq!(made, 1, "the library that Zipkin unpacks at run time travels along");

    // A new pin can be signed only when it is there: to make it, none is asked for; for all else it is.
    assert!(output.stdout.contains("First: cargo xtask sign e2e-zipkin"), "{output}");
    let refused = workspace.run(&["restore", APP, "--detach"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("is not signed"), "{refused}");
    let key = workspace.root().join("key");
    fs_err::write(&key, keys.sk.to_box(None).unwrap().to_string()).unwrap();
    workspace.succeed(&["sign", APP, "--key", key.to_str().unwrap()]);

    let port = xtask::runtime::free_port().unwrap();
    let output = workspace.succeed(&["restore", APP, "--detach", "--publish", &format!("{port}:9411")]);
    let trace = first_answer(port, "/api/v2/trace/5af7183fb1d4cf5f", Duration::from_secs(5));
    assert!(trace.contains("\"checkpoint\"") && trace.contains("\"warm\""), "{trace}");
    maps_what_was_deleted(&workspace, output.stdout.trim());
    podman(&["rm", "--force", "--time", "0", output.stdout.trim()]);
    a_pod_has_its_library(&workspace);
    new_finds_the_same_sum(&workspace, &toml);
    workspace.assert_nothing_left();
}

/// netty unpacks its libraries into /tmp, and deletes what it has loaded: they come from the rock, not from a copy.
fn maps_what_was_deleted(workspace: &Workspace, container: &str) {
    let files = workspace.lock().data.files;
    assert!(!files.iter().any(|file| file.path.contains("ghost-file")), "{files:?}");
    let deleted = |file: &&str| file.starts_with("/checkpoint-data/deleted-");
    let deleted: Vec<&str> = files.iter().map(|file| file.path.as_str()).filter(deleted).collect();
    assert_eq!(deleted.len(), 2, "netty's of OpenSSL and of epoll");
    let maps = podman(&["exec", container, "sh", "-c", "cat /proc/[0-9]*/maps"]);
    for path in deleted {
        let executable = |line: &str| line.contains("r-xp") && line.ends_with(path);
        assert!(maps.lines().any(executable), "{path} is not in\n{maps}");
    }
    assert!(!maps.contains("/tmp/libnetty"), "{maps}");
}

/// `new` fetches the artifact, which is in Maven's cache by now, and pins the sum that apps/zipkin has.
fn new_finds_the_same_sum(workspace: &Workspace, toml: &str) {
    let line = |text: &str, key: &str| {
        let found = text.lines().find(|line| line.starts_with(key)).map(str::to_owned);
        found.unwrap_or_else(|| panic!("{key} is not in\n{text}"))
    };
    let maven = line(toml, "maven = ");
    let coordinates = maven.split('"').nth(1).unwrap();
    let output = workspace.succeed(&["new", "e2e-zipkin-new", "--maven", coordinates]);
    let text = fs_err::read_to_string(workspace.root().join("apps/e2e-zipkin-new/app.toml")).unwrap();
    assert_eq!(line(&text, "sha256 = "), line(toml, "sha256 = "), "{output}");
    assert!(text.contains("# Spring Boot "), "{text}");
    let wrong = workspace.run(&["new", "e2e-zipkin-none", "--maven", "io.zipkin:zipkin-server:0.0.0:exec"]);
    assert_eq!(wrong.code, Some(1), "{wrong}");
    wrong.assert_says(&[
        "Maven cannot fetch maven io.zipkin:zipkin-server:0.0.0:exec; check the coordinates after `--maven`",
    ]);
}

/// On a read-only root, with the library in a volume over /tmp that began empty. podman fills a volume from the image where
/// it is mounted first; that is at another place here, in the container that copies.
fn a_pod_has_its_library(workspace: &Workspace) {
    let folder = workspace.root().join("rocks").join(APP).join("restore");
    let text = fs_err::read_to_string(folder.join("kubernetes.yaml")).unwrap();
    assert!(text.contains("initContainers:") && !text.contains("readOnlyRootFilesystem: false"), "{text}");
    assert!(fs_err::read_to_string(folder.join("compose.yaml")).unwrap().contains("read_only: true"));
    let port = xtask::runtime::free_port().unwrap();
    let own = "containerPort: 9411\n";
    assert!(text.contains(own), "{text}");
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let text = text.replacen(own, &format!("{own}              hostPort: {port}\n"), 1);
    // An init container that podman keeps: 4.3.1 often takes one that has just ended for one that runs, and cannot remove it.
    let annotation = "kind: Deployment\nmetadata:\n";
    assert!(text.contains(annotation), "{text}");
    let kept = format!("{annotation}  annotations:\n    io.podman.annotations.init.container.type: always\n");
    let text = text.replacen(annotation, &kept, 1);
    fs_err::write(&file, text).unwrap();
    let pod = Pod::play(file.path(), APP, &[]);
    let trace = first_answer(port, "/api/v2/trace/5af7183fb1d4cf5f", Duration::from_secs(10));
    assert!(trace.contains("\"checkpoint\"") && trace.contains("\"warm\""), "{trace}");
    let (code, printed) = pod.try_exec(&["touch", "/written"]);
    assert!(code != Some(0) && printed.contains("Read-only file system"), "{printed}");
}
