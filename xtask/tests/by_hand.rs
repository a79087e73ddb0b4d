//! The command line that `restore --plan` prints is what compose.yaml has, whatever the pin grants and refuses.

mod support {
    pub mod shop;
}

use serde_yaml_ng::Value;
use support::shop::{APP, Shop};
use xtask::lock::Lock;
use xtask::privileges::Capability;
use xtask::seccomp::Family;

/// The words of the last line of the plan, with the engine's own before the image, and behind it.
fn words(shop: &Shop, engine: &str) -> Vec<String> {
    let printed = shop.succeed(&["restore", APP, "--plan", "--runtime", engine]);
    let line = printed.lines().last().unwrap();
    shlex::split(line).unwrap_or_else(|| panic!("{line}"))
}

fn values<'w>(words: &'w [String], option: &str) -> Vec<&'w str> {
    words.iter().filter_map(|word| word.strip_prefix(option)?.strip_prefix('=')).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_sequence().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

#[track_caller]
fn check(change: impl FnOnce(&mut Lock)) {
    let shop = Shop::new();
    let mut lock = shop.lock();
    change(&mut lock);
    lock.write(&shop.lock_path()).unwrap();
    shop.succeed(&["render", APP]);
    let compose = std::fs::read_to_string(shop.root().join("rocks/shop/restore/compose.yaml")).unwrap();
    let compose: Value = serde_yaml_ng::from_str(&compose).unwrap();
    let service = &compose["services"][APP];
    for engine in ["podman", "docker"] {
        let words = words(&shop, engine);
        assert_eq!(words[..4], [engine, "run", "--rm", "--pull=never"], "{words:?}");
        assert_eq!(values(&words, "--cap-drop"), ["all"], "{words:?}");
        assert_eq!(values(&words, "--cap-add"), texts(&service["cap_add"]), "{words:?}");
        assert_eq!(values(&words, "--publish"), texts(&service["ports"]), "{words:?}");
        assert_eq!(values(&words, "--volume"), texts(&service["volumes"]), "{words:?}");
        let read_only = service["read_only"].as_bool().unwrap_or_default();
        assert_eq!(values(&words, "--read-only"), if read_only { vec!["true"] } else { vec![] }, "{words:?}");
        let environment = service["environment"].as_mapping().unwrap().iter();
        let environment: Vec<String> = environment
            .map(|(name, value)| format!("{}={}", name.as_str().unwrap(), value.as_str().unwrap()))
            .collect();
        assert_eq!(values(&words, "--env"), environment, "{words:?}");
        let image = words.iter().position(|word| word == "--").unwrap();
        assert_eq!(words[image + 1], service["image"].as_str().unwrap());
        assert_eq!(words[image + 2..], texts(&service["command"])[..]);

        // Under the filter that compose.yaml names, whatever the engine's own is.
        assert_eq!(texts(&service["security_opt"]), ["seccomp=./seccomp.json"]);
        let filter = "seccomp=rocks/shop/restore/seccomp.json";
        let expected = if engine == "podman" { vec![filter, "no-new-privileges"] } else { vec![filter] };
        assert_eq!(values(&words, "--security-opt"), expected, "{words:?}");
    }
}

#[test]
fn it_is_what_compose_has() {
    check(|_| {});
    check(|lock| lock.capabilities.restore = vec![Capability::CheckpointRestore, Capability::Setgid]);
    check(|lock| lock.capabilities.restore.clear());
    check(|lock| lock.system_calls.refused = vec![Family::MessageQueues, Family::SpecialFiles]);
    // What it has written outside /tmp, it will write again.
    check(|lock| {
        let file = lock.data.files.iter_mut().find(|file| file.path.starts_with("/tmp/")).unwrap();
        file.path = "/var/cache/lib.so".into();
        lock.data.tree = xtask::lock::Data::tree(&lock.data.files, &lock.data.mapped);
    });
}

/// As the options say; and nothing where there is no pin.
#[test]
fn what_is_asked_for_is_in_it() {
    let shop = Shop::new();
    let folder = shop.beside("a b");
    std::fs::create_dir(&folder).unwrap();
    let printed = shop.succeed(&[
        "restore",
        APP,
        "--plan",
        "--publish",
        "0.0.0.0:81:8080",
        "--secrets",
        folder.to_str().unwrap(),
    ]);
    let words = shlex::split(printed.lines().last().unwrap()).unwrap();
    assert_eq!(values(&words, "--publish"), ["0.0.0.0:81:8080"]);
    let mount = format!("{}:/run/secrets:ro", folder.canonicalize().unwrap().display());
    assert!(values(&words, "--volume").contains(&mount.as_str()), "{words:?}");
    let unpinned = Shop::unpinned().succeed(&["restore", APP, "--plan"]);
    assert!(!unpinned.contains("podman run"), "{unpinned}");
}
