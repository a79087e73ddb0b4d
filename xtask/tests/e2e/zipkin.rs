//! Zipkin, which nobody here wrote, from Maven, as `apps/zipkin` has it.

use std::time::Duration;

use crate::support::{Workspace, first_answer, podman, repository};

const APP: &str = "e2e-zipkin";
/// What is asked of a noisy machine; what was measured is printed.
const FLOOR: f64 = 10.0;

#[test]
#[ignore = "needs podman; run by cargo xtask test"]
fn zipkin_comes_back_with_its_trace() {
    let toml = fs_err::read_to_string(repository().join("apps/zipkin/app.toml")).unwrap();
    let workspace = Workspace::new(APP, &toml);
    let output = workspace.checkpoint(&[]);
    println!("{}", output.stdout);
    let row = output.stdout.lines().find(|line| line.contains("from the container's start"));
    let ratio =
        row.and_then(|line| line.trim_end().strip_suffix('x')?.split_whitespace().last()?.parse().ok());
    let ratio: f64 = ratio.unwrap_or_else(|| panic!("no ratio is printed\n{output}"));
    assert!(ratio >= FLOOR, "{ratio}x is less than {FLOOR}x\n{output}");
    let made = workspace.lock().data.files.iter().filter(|file| file.path.ends_with("libbrotli.so")).count();
    assert_eq!(made, 1, "the library that Zipkin unpacks at run time travels along");

    let port = xtask::runtime::free_port().unwrap();
    let output = workspace.succeed(&["restore", APP, "--detach", "--publish", &format!("{port}:9411")]);
    let trace = first_answer(port, "/api/v2/trace/5af7183fb1d4cf5f", Duration::from_secs(5));
    assert!(trace.contains("\"checkpoint\"") && trace.contains("\"warm\""), "{trace}");
    podman(&["rm", "--force", "--time", "0", output.stdout.trim()]);
    new_finds_the_same_sum(&workspace, &toml);
    workspace.assert_nothing_left();
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
