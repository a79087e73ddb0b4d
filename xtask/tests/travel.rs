//! A pin on its way to another machine: `push`, `pull`, and the same rock there.

mod support {
    pub mod shop;
}

use std::fs;
use std::path::Path;

use support::shop::{APP, Shop};
use xtask::digest::Digest;

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A folder for pins beside the repository, as it is named on the command line.
fn folder(shop: &Shop) -> String {
    format!("oci:{}", text(&shop.beside("pins")))
}

#[test]
fn another_machine_packs_the_same_rock() {
    let here = Shop::new();
    let pins = folder(&here);
    let pushed = here.succeed(&["push", APP, &pins]);
    assert!(pushed.contains("pins:shop-1.0  sha256:") && pushed.contains("sent "), "{pushed}");
    let again = here.succeed(&["push", APP, &pins]);
    assert!(again.contains("nothing was sent: all "), "{again}");

    let there = here.elsewhere();
    there.refused(&["pack", APP, "restore", "--locked"], "data-lost: /checkpoint-data/core-1000.img ");
    let pulled = there.succeed(&["pull", APP, &pins, "--locked"]);
    assert!(pulled.contains("fetched 7 blobs, "), "{pulled}");
    assert!(there.succeed(&["pull", APP, &pins]).contains("fetched 0 blobs"));
    there.succeed(&["pack", APP, "restore", "--locked"]);
    let rock =
        |shop: &Shop| fs::read(shop.root().join("target/xtask/rocks/shop-restorer_1.0_amd64.rock")).unwrap();
    assert!(rock(&here) == rock(&there), "byte for byte");
    let verified = there.succeed(&[
        "verify",
        APP,
        "--rock",
        &text(&here.root().join("target/xtask/rocks/shop-restorer_1.0_amd64.rock")),
    ]);
    assert!(verified.contains("is the pinned restore rock, byte for byte"), "{verified}");
    // What was fetched is enough to send it on.
    there.succeed(&["push", APP, &folder(&there)]);
}

#[test]
fn what_is_in_the_rock_is_listed_and_travels() {
    let here = Shop::new();
    let said = here.succeed(&["sbom", APP]);
    let beside = "target/xtask/rocks/shop-restorer_1.0_amd64.cdx.json";
    assert!(said.starts_with(&format!("{beside}: 5 components, sha256:")), "{said}");
    let list = fs::read(here.root().join(beside)).unwrap();
    assert_eq!(here.succeed(&["sbom", APP, "--output", "-"]).into_bytes(), list);
    let parsed: serde_json::Value = serde_json::from_slice(&list).unwrap();
    let names: Vec<&str> =
        parsed["components"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"criu") && names.contains(&"bash") && names.contains(&"pebble"), "{names:?}");
    here.succeed(&["push", APP, &folder(&here), "--rock", &format!("oci:{}", text(&here.beside("rocks")))]);
    // With the pin, and with the rock, which the list points to.
    for pins in ["pins", "rocks"] {
        assert_eq!(
            fs::read(here.beside(pins).join("blobs/sha256").join(Digest::of(&list).hex())).unwrap(),
            list
        );
    }
    let index = fs::read_to_string(here.beside("rocks/index.json")).unwrap();
    let restore = here.lock().rocks.restore.hex();
    assert!(index.contains(&format!("sha256-{restore}.sbom")) && index.contains("\"1.0\""), "{index}");
    let there = here.elsewhere();
    there.succeed(&["pull", APP, &folder(&here)]);
    assert_eq!(there.succeed(&["sbom", APP, "--output", "-"]).into_bytes(), list);
}

#[test]
fn a_pin_comes_along_where_there_is_none() {
    let here = Shop::new();
    let pins = folder(&here);
    let first = here.succeed(&["push", APP, &pins]);
    let digest = first.split_whitespace().nth(1).unwrap().to_owned();
    let one = here.lock();
    here.pin(2);
    here.succeed(&["push", APP, &pins]);

    let there = here.elsewhere();
    fs::remove_file(there.lock_path()).unwrap();
    there.refused(&["pull", APP, &pins, "--locked"], "no-pin: a pin was expected");
    assert!(!there.lock_path().exists());
    let pulled = there.succeed(&["pull", APP, &pins]);
    assert!(pulled.contains("apps/shop/checkpoint.lock  sha256:"), "{pulled}");
    assert_eq!(there.lock(), here.lock(), "the tag's newest");
    there.succeed(&["pack", APP, "restore", "--locked"]);
    // An older one by its digest, or by the tag that is its own.
    there.succeed(&["pull", APP, &pins, "--pin", &digest]);
    assert_eq!(there.lock(), one);
    there.succeed(&["pull", APP, &pins, "--pin", "shop-1.0"]);
    assert_eq!(there.lock(), here.lock());
    let own = format!("sha256-{}", Digest::of(one.text().unwrap()).hex());
    there.succeed(&["pull", APP, &pins, "--pin", &own]);
    assert_eq!(there.lock(), one);
    there.succeed(&["pack", APP, "restore", "--locked"]);
    there.refused(&["pull", APP, &pins, "--pin", "shop-9"], "has no `shop-9`; it has: sha256-");
}

#[test]
fn only_what_the_pin_says_leaves_or_arrives() {
    let here = Shop::new();
    let pins = folder(&here);
    let pages = here.lock().data.files[2].sha256.unwrap();
    let spoil = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[7] ^= 1;
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
    };
    spoil(&here.store().path(&pages));
    here.refused(&["push", APP, &pins], "store: /checkpoint-data/pages-1.img: ");
    assert!(!here.beside("pins").exists());
    spoil(&here.store().path(&pages));
    here.succeed(&["push", APP, &pins]);

    let there = here.elsewhere();
    spoil(&here.beside("pins/blobs/sha256").join(pages.hex()));
    there.refused(&["pull", APP, &pins], "was changed");
    assert!(!there.store().has(&pages, 65_536));
    there.refused(&["pack", APP, "restore", "--locked"], "data-lost: /checkpoint-data/pages-1.img");
    there.refused(&["pull", APP], "shop has no `pin.remote`, and none was named");
    there.refused(&["pull", APP, "nowhere"], "nowhere");
    let missing = format!("oci:{}", text(&there.beside("none")));
    there.refused(&["pull", APP, &missing], "none is no OCI image layout");
    // Somebody else's pin under our name.
    fs::write(there.root().join("apps/shop/app.toml"), fs::read_to_string(there.toml()).unwrap()).unwrap();
    fs::rename(there.root().join("apps/shop"), there.root().join("apps/other")).unwrap();
    fs::remove_file(there.root().join("apps/other/checkpoint.lock")).unwrap();
    there.refused(&["pull", "other", &pins, "--pin", "shop-1.0"], "it is the pin of `shop`");
}

#[test]
fn a_signature_travels_and_is_asked_for() {
    let here = Shop::new();
    let pins = folder(&here);
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let key = here.beside("minisign.key");
    fs::write(&key, pair.sk.to_box(None).unwrap().to_string()).unwrap();
    here.succeed(&["push", APP, &pins]);
    let toml = fs::read_to_string(here.toml()).unwrap();
    let wanted = format!("{toml}pin.remote = \"{pins}\"\npin.signed-by = [\"{}\"]\n", pair.pk.to_base64());
    fs::write(here.toml(), wanted).unwrap();

    let there = here.elsewhere();
    fs::remove_file(there.lock_path()).unwrap();
    there.refused(&["pull", APP], "it is not signed, and pin.signed-by wants a signature");
    assert_eq!(there.objects().len(), 1, "the lock was read, and no more");
    here.refused(&["push", APP], "is not signed");
    here.succeed(&["sign", APP, "--key", &text(&key)]);
    here.succeed(&["push", APP]);
    there.succeed(&["pull", APP]);
    assert!(there.succeed(&["verify", APP]).contains("signed by a key of pin.signed-by"));
    there.succeed(&["pack", APP, "restore", "--locked"]);
}

/// With these variables of the environment, which must make no difference.
#[test]
fn one_digest_everywhere() {
    let here = Shop::new();
    let pins = folder(&here);
    here.succeed(&["push", APP, &pins]);
    let zones = ["UTC", "Asia/Kathmandu", "America/St_Johns", "Pacific/Kiritimati"];
    let languages = ["C", "C.UTF-8", "de_DE.UTF-8", "tr_TR.UTF-8", "ar_EG"];
    let mut digests = Vec::new();
    for number in 0..20 {
        let there = here.elsewhere();
        let umask = ["000", "022", "077", "027"][number % 4];
        let cores = ["0", "0-1"][number % 2];
        for words in ["pull shop", "pack shop restore --locked"] {
            let mut words: Vec<&str> = words.split(' ').collect();
            words.extend((words[0] == "pull").then_some(pins.as_str()));
            let plain = there.command(&words);
            let mut command = std::process::Command::new("sh");
            let script = format!("umask {umask}; exec taskset --cpu-list {cores} \"$0\" \"$@\"");
            command.args(["-c", &script]).arg(plain.get_program()).args(plain.get_args());
            command.current_dir(there.top()).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
            command.env("XTASK_ROOT", there.root()).env("TZ", zones[number % zones.len()]);
            command.env("LC_ALL", languages[number % languages.len()]).env("HOME", there.top());
            command.env("USER", ["root", "ann", "x y"][number % 3]);
            command.env("SOURCE_DATE_EPOCH", (number * 1_000_003).to_string());
            let ran = command.output().unwrap();
            assert!(ran.status.success(), "{}", support::shop::said(&ran));
        }
        let rock = there.root().join("target/xtask/rocks/shop-restorer_1.0_amd64.rock");
        digests.push(Digest::of(fs::read(rock).unwrap()));
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "{digests:?}");
    println!("pull and pack --locked: one digest in 20 environments");
}
