//! The example pipelines of the guide: right by shell, command line and schema, and run with a real registry, a real
//! login and real signatures. What needs a container (`checkpoint`, `soak`) or the platform (`gh`) is stood in for.

mod support {
    pub mod ground;
    pub mod registry;
    pub mod shell_lines;
    pub mod shop;
}

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_yaml_ng::Value;
use support::ground::{Ground, Job, Script, USER};
use support::shell_lines::{commands, syntax, wrong_commands};
use support::shop::{APP, said};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/pipelines")
}

fn read(name: &str) -> Value {
    serde_yaml_ng::from_str(&fs::read_to_string(folder().join(name)).unwrap()).unwrap()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        other => panic!("{other:?} is no text"),
    }
}

fn texts(value: &Value) -> BTreeMap<String, String> {
    value.as_mapping().into_iter().flatten().map(|(name, value)| (text(name), text(value))).collect()
}

fn github(job: &str) -> Job {
    let file = read("github-actions.yml");
    let steps = file["jobs"][job]["steps"].as_sequence().unwrap_or_else(|| panic!("there is no job {job}"));
    let script = |step: &Value| {
        let script = step["run"].as_str()?.to_owned();
        let mut environment = texts(&file["env"]);
        environment.extend(texts(&step["env"]));
        Some(Script { name: text(&step["name"]), text: script, environment })
    };
    Job { scripts: steps.iter().filter_map(script).collect() }
}

fn gitlab(job: &str) -> Job {
    let file = read("gitlab-ci.yml");
    let lines = file[job]["script"].as_sequence().unwrap_or_else(|| panic!("there is no job {job}"));
    let text = lines.iter().map(text).collect::<Vec<_>>().join("\n");
    Job { scripts: vec![Script { name: job.to_owned(), text, environment: texts(&file["variables"]) }] }
}

const JOBS: [&str; 3] = ["review", "pin", "release"];

fn every_script() -> Vec<Script> {
    JOBS.iter().flat_map(|job| github(job).scripts.into_iter().chain(gitlab(job).scripts)).collect()
}

#[test]
fn their_scripts_are_right() {
    let mut shown = 0;
    for script in every_script() {
        assert_eq!(syntax("bash", &script.text), None, "{}", script.name);
        assert_eq!(wrong_commands(&script.text), Vec::<String>::new(), "{}", script.name);
        shown += commands(&script.text).len();
    }
    assert!(shown >= 30, "{shown} commands");
}

#[test]
fn nothing_of_others_is_run_and_no_job_waits_for_ever() {
    let github = read("github-actions.yml");
    for (name, job) in github["jobs"].as_mapping().unwrap() {
        assert!(job["timeout-minutes"].is_u64(), "{name:?}");
        for step in job["steps"].as_sequence().unwrap() {
            let action = step["uses"].as_str();
            assert!(action.is_none_or(|action| action == "actions/checkout@v4"), "{step:?}");
        }
    }
    // Secrets come by the environment of a step and are in no script, where a log or a shell could make more of them.
    for script in every_script() {
        assert!(!script.text.contains("${{"), "{}: {}", script.name, script.text);
    }
    let key = &github["jobs"]["pin"];
    assert_eq!(
        (key["environment"].as_str(), read("gitlab-ci.yml")["pin"]["environment"].as_str()),
        (Some("pins"), Some("pins"))
    );
    let whole = serde_yaml_ng::to_string(&github["jobs"]["release"]).unwrap();
    assert!(!whole.contains("SIGNING_KEY"), "only the job that makes a pin can sign");
}

const GITHUB: [(&str, &str); 9] = [
    ("secrets.REGISTRY_USER", USER.0),
    ("secrets.REGISTRY_PASSWORD", USER.1),
    ("secrets.XTASK_KEY_PASSWORD", "secret"),
    ("secrets.PIN_TOKEN", "t0ken"),
    ("github.token", "t0ken"),
    ("github.base_ref", "main"),
    ("GITHUB_RUN_ID", "17"),
    ("GITHUB_REF_NAME", "shop-1.0"),
    ("CI", "true"),
];

/// A pin is made, signed, pushed and offered for review; reviewed; released from a fresh checkout; and what was
/// released is the pinned rock. A job without its login, a tag of another version and an edited app.toml are refused.
#[test]
#[ignore = "needs docker-registry, podman and git; run by cargo xtask test"]
fn github_actions_from_pin_to_release() {
    let ground = Ground::new();
    ground.prepare();
    let key = fs::read_to_string(ground.shop.beside("key")).unwrap();
    let mut platform = GITHUB.to_vec();
    platform.push(("secrets.SIGNING_KEY", &key));

    let pinned = ground.run(github("pin"), &platform);
    assert_eq!(fs::read_to_string(ground.shop.beside("stood-in")).unwrap(), "checkpoint\nsoak\n", "{pinned}");
    assert_eq!(ground.git(&["branch", "--show-current"]).trim(), "pin/shop-17");
    let opened = fs::read_to_string(ground.shop.beside("gh.log")).unwrap();
    assert!(opened.starts_with("pr create --head pin/shop-17 --title A new pin of shop"), "{opened}");
    let there =
        ground.git(&["--git-dir=../origin.git", "ls-tree", "-r", "--name-only", "pin/shop-17", "apps"]);
    assert!(there.contains("apps/shop/checkpoint.lock.minisig"), "{there}");
    assert!(!ground.shop.beside("runner/minisign.key").exists(), "the key is gone");
    assert!(!pinned.contains("secret") && !pinned.contains("hunter2") && !pinned.contains(&key), "{pinned}");

    ground.forget();
    let reviewed = ground.run(github("review"), &platform);
    assert!(reviewed.contains("/checkpoint-data/pages-1.img"), "what the new pin changes: {reviewed}");
    assert!(reviewed.contains("shop is as it was pinned"), "{reviewed}");

    ground.forget();
    let released = ground.run(github("release"), &platform);
    let rock = ground.shop.lock().rocks.restore;
    let sent = format!("127.0.0.1:{}/team/shop:1.0  {rock}", ground.registry.port);
    assert!(released.contains(&sent), "`{sent}` is not in {released}");
    assert!(ground.registry.blob(&rock).exists());
    assert!(fs::read_to_string(ground.shop.beside("gh.log")).unwrap().contains("release create shop-1.0"));

    let refused = |job: &str, change: (&str, &str), phrase: &str| {
        let platform: Vec<(&str, &str)> =
            platform.iter().map(|one| if one.0 == change.0 { change } else { *one }).collect();
        let printed = ground.try_run(github(job), &platform).expect_err(phrase);
        assert!(printed.contains(phrase), "`{phrase}` is not in {printed}");
    };
    refused("release", ("GITHUB_REF_NAME", "shop-1.1"), "app.toml says version 1.0");
    refused("release", ("secrets.REGISTRY_PASSWORD", "hunter3"), "== Log in\nexit status: 1");
    let toml = fs::read_to_string(ground.shop.toml()).unwrap();
    fs::write(ground.shop.toml(), toml.replace("shop:1.0", "shop:1.1")).unwrap();
    refused("review", ("", ""), "rocks/ is not fresh");
    ground.shop.succeed(&["render", APP]);
    refused("review", ("", ""), "source-changed: ");
    refused("release", ("", ""), "source-changed: ");
}

/// The same on GitLab.
#[test]
#[ignore = "needs docker-registry, podman and git; run by cargo xtask test"]
fn gitlab_from_pin_to_release() {
    let ground = Ground::new();
    ground.prepare();
    let auth = ground.shop.beside("auth.json").display().to_string();
    let mut podman = Command::new("podman");
    podman.args(["login", "--authfile", &auth, "--username", USER.0, "--password", USER.1]);
    podman
        .arg(format!("127.0.0.1:{}", ground.registry.port))
        .env("CONTAINERS_REGISTRIES_CONF", &ground.environment["CONTAINERS_REGISTRIES_CONF"]);
    let ran = podman.output().expect("podman");
    assert!(ran.status.success(), "{}", said(&ran));
    let server = format!("file://{}", ground.shop.top().display());
    let key = ground.shop.beside("key").display().to_string();
    let base = ground.git(&["rev-parse", "HEAD"]).trim().to_owned();
    let platform = [
        ("REGISTRY_AUTH_FILE", auth.as_str()),
        ("SIGNING_KEY", &key),
        ("XTASK_KEY_PASSWORD", "secret"),
        ("PIN_TOKEN", "t0ken"),
        ("CI_DEFAULT_BRANCH", "main"),
        ("CI_SERVER_URL", &server),
        ("CI_PROJECT_PATH", "origin"),
        ("CI_PIPELINE_ID", "17"),
        ("CI_COMMIT_TAG", "shop-1.0"),
        ("CI_MERGE_REQUEST_DIFF_BASE_SHA", &base),
    ];
    let pinned = ground.run(gitlab("pin"), &platform);
    assert_eq!(fs::read_to_string(ground.shop.beside("stood-in")).unwrap(), "checkpoint\nsoak\n", "{pinned}");
    let there =
        ground.git(&["--git-dir=../origin.git", "ls-tree", "-r", "--name-only", "pin/shop-17", "apps"]);
    assert!(there.contains("apps/shop/checkpoint.lock.minisig"), "{there}");
    assert!(!pinned.contains("secret") && !pinned.contains("t0ken"), "{pinned}");

    ground.forget();
    let reviewed = ground.run(gitlab("review"), &platform);
    assert!(reviewed.contains("/checkpoint-data/pages-1.img"), "what the new pin changes: {reviewed}");
    ground.forget();
    let released = ground.run(gitlab("release"), &platform);
    let rock = ground.shop.lock().rocks.restore;
    let sent = format!("127.0.0.1:{}/team/shop:1.0  {rock}", ground.registry.port);
    assert!(released.contains(&sent), "`{sent}` is not in {released}");
    let artifacts = read("gitlab-ci.yml")["release"]["artifacts"]["paths"].clone();
    for path in artifacts.as_sequence().unwrap() {
        assert!(ground.shop.root().join(text(path)).exists(), "{path:?}");
    }

    // A pin that somebody else has signed, or nobody.
    fs::remove_file(ground.shop.root().join("apps/shop/checkpoint.lock.minisig")).unwrap();
    let printed = ground.try_run(gitlab("release"), &platform).expect_err("no signature");
    assert!(printed.contains("is not signed, and pin.signed-by wants a signature"), "{printed}");
}

/// The schemas that the platforms publish, as check-jsonschema has them.
#[test]
#[ignore = "it installs check-jsonschema; run by cargo xtask test"]
fn the_platforms_schemas_take_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let check = |schema: &str, text: &str, right: bool| {
        let file = tempfile::Builder::new().suffix(".yml").tempfile().unwrap();
        fs::write(&file, text).unwrap();
        let mut python = Command::new(root.join(".ci/python"));
        python.arg(root.join("docs")).args(["-m", "check_jsonschema", "--builtin-schema", schema]);
        let ran = python.arg(file.path()).output().unwrap();
        assert_eq!(ran.status.success(), right, "{schema}: {}", said(&ran));
    };
    for (schema, name, from, to) in [
        ("vendor.github-workflows", "github-actions.yml", "runs-on: ubuntu-24.04", "run-on: ubuntu-24.04"),
        ("vendor.gitlab-ci", "gitlab-ci.yml", "resource_group: pin-shop", "resource_group: [pin-shop]"),
    ] {
        let text = fs::read_to_string(folder().join(name)).unwrap();
        check(schema, &text, true);
        assert!(text.contains(from));
        check(schema, &text.replace(from, to), false);
    }
}

#[test]
#[ignore = "needs shellcheck; run by cargo xtask test"]
fn shellcheck_has_nothing_to_say_of_them() {
    // SC2016 doubts every `$` in single quotes, where git's credential helper has its own.
    for script in every_script() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, &script.text).unwrap();
        let ran = Command::new("shellcheck")
            .args(["--shell=bash", "--exclude=SC2016"])
            .arg(file.path())
            .output()
            .expect("shellcheck");
        assert!(ran.status.success(), "{}: {}", script.name, said(&ran));
    }
}
