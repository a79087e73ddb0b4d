//! `--locked`: every command that could change something refuses, and names what differs, with both values and the
//! command that settles it.

mod support {
    pub mod shop;
}

use support::shop::{APP, Shop, said};
use xtask::commands::pack;
use xtask::rocks::Job;
use xtask::way::{Packer, Way};

/// After `change`, each command refuses with every phrase and changes nothing.
#[track_caller]
fn refused(commands: &[&[&str]], change: impl FnOnce(&Shop), phrases: &[&str]) {
    let shop = Shop::new();
    change(&shop);
    let before = (shop.objects(), std::fs::read(shop.lock_path()).ok());
    for words in commands {
        let words: Vec<&str> = words.iter().copied().chain(["--locked"]).collect();
        let ran = shop.run(&words);
        let said = said(&ran);
        assert_eq!(ran.status.code(), Some(1), "{words:?}: {said}");
        for phrase in phrases {
            assert!(said.contains(phrase), "{words:?}: `{phrase}` is not in\n{said}");
        }
        assert_eq!((shop.objects(), std::fs::read(shop.lock_path()).ok()), before, "{words:?}");
    }
}

const ALL: [&[&str]; 3] = [&["checkpoint", APP], &["restore", APP], &["pack", APP, "restore"]];

fn edit(shop: &Shop, more: &str) {
    let text = std::fs::read_to_string(shop.toml()).unwrap();
    std::fs::write(shop.toml(), text + more).unwrap();
}

#[test]
fn what_is_as_it_was_pinned_is_packed() {
    let shop = Shop::new();
    let packed = shop.succeed(&["pack", APP, "restore", "--locked"]);
    assert!(packed.contains(&shop.lock().rocks.restore.to_string()), "{packed}");
    shop.succeed(&["why", APP]);
    shop.succeed(&["verify", APP, "--deep"]);
    shop.succeed(&["render", APP, "--locked"]);
}

#[test]
fn each_respect_is_named() {
    refused(
        &ALL[..1],
        |shop| std::fs::remove_file(shop.lock_path()).unwrap(),
        &["no-pin: a pin was expected"],
    );
    let remedy = "`cargo xtask checkpoint shop` settles it";
    refused(
        &ALL,
        |shop| {
            let text = std::fs::read_to_string(shop.toml()).unwrap();
            std::fs::write(shop.toml(), text.replace("shop:1.0", "shop:1.1")).unwrap();
        },
        &[
            "source-changed: maven com.example:shop:1.0 was pinned, now it is maven com.example:shop:1.1",
            remedy,
        ],
    );
    refused(
        &ALL,
        |shop| edit(shop, "http.port = 8081\n"),
        &["requests-changed: ", "restore-files-changed: ", remedy],
    );
    refused(
        &ALL,
        |shop| edit(shop, "rock.packages = [\"tini\"]\n"),
        &["base-changed: ", " was pinned, now it is "],
    );
    refused(
        &ALL,
        |shop| {
            let file = shop.lock().data.files[2].clone();
            std::fs::remove_file(shop.store().path(&file.sha256.unwrap())).unwrap();
        },
        &[
            "data-lost: /checkpoint-data/pages-1.img ",
            "the store has lost it",
            "`cargo xtask pull shop` settles it",
        ],
    );
    refused(
        &ALL,
        |shop| std::fs::write(shop.root().join("rocks/shop/restore/compose.yaml"), "").unwrap(),
        &[
            "file-not-rendered: rocks/shop/restore/compose.yaml would be rendered as ",
            "`cargo xtask render shop`",
        ],
    );
    refused(
        &[&["render", APP], &["render"]],
        |shop| std::fs::write(shop.root().join("rocks/shop/restore/compose.yaml"), "").unwrap(),
        &["rocks/ is not fresh"],
    );
}

#[test]
fn a_signature_that_is_wanted() {
    let shop = Shop::new();
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let key = shop.beside("minisign.key");
    std::fs::write(&key, pair.sk.to_box(None).unwrap().to_string()).unwrap();
    edit(&shop, &format!("pin.signed-by = [\"{}\"]\n", pair.pk.to_base64()));
    let packs = ["pack", APP, "restore"];
    for words in [&packs[..], &["restore", APP], &["verify", APP], &["why", APP]] {
        shop.refused(words, "checkpoint.lock is not signed, and pin.signed-by wants a signature");
    }
    let signed = shop.succeed(&["sign", APP, "--key", key.to_str().unwrap()]);
    assert!(signed.starts_with("apps/shop/checkpoint.lock.minisig\n"), "{signed}");
    shop.succeed(&packs);
    // A new pin is not signed by the signature of the old one, which goes.
    shop.pin(2);
    shop.refused(&packs, "is not signed");
    let other = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    std::fs::write(&key, other.sk.to_box(None).unwrap().to_string()).unwrap();
    shop.refused(&["sign", APP, "--key", key.to_str().unwrap()], "pin.signed-by does not name the key");
    shop.refused(&packs, "no key of pin.signed-by has made its signature");
}

/// minisign itself reads our signatures, and we read its.
#[test]
#[ignore = "needs minisign; run by cargo xtask test"]
fn minisign_agrees() {
    let shop = Shop::new();
    let minisign = |words: &[&str]| {
        let ran = std::process::Command::new("minisign").args(words).output().expect("minisign");
        (ran.status.success(), said(&ran))
    };
    let [key, public] = ["minisign.key", "minisign.pub"].map(|name| shop.beside(name).display().to_string());
    let made = minisign(&["-G", "-W", "-s", &key, "-p", &public]);
    assert!(made.0, "{}", made.1);
    let line = std::fs::read_to_string(&public).unwrap().lines().nth(1).unwrap().to_owned();
    edit(&shop, &format!("pin.signed-by = [\"{line}\"]\n"));
    let lock = shop.lock_path().display().to_string();
    shop.succeed(&["sign", APP, "--key", &key]);
    let verified = minisign(&["-V", "-m", &lock, "-P", &line]);
    assert!(verified.0 && verified.1.contains("Trusted comment: shop/checkpoint.lock"), "{}", verified.1);
    shop.pin(2);
    shop.refused(&["pack", APP, "restore"], "is not signed");
    let signed = minisign(&["-S", "-s", &key, "-m", &lock]);
    assert!(signed.0, "{}", signed.1);
    shop.succeed(&["pack", APP, "restore", "--locked"]);
    assert!(shop.succeed(&["verify", APP]).contains("signed by a key of pin.signed-by"));
}

#[test]
fn gc_keeps_what_a_lock_names() {
    let shop = Shop::new();
    let old = shop.beside("old.lock");
    std::fs::copy(shop.lock_path(), &old).unwrap();
    shop.pin(2);
    shop.store().add_bytes(b"nobody's").unwrap();
    let pulled = shop.root().join("target/xtask/cache/pull");
    std::fs::create_dir_all(&pulled).unwrap();
    let cut_off = |digest: xtask::digest::Digest| pulled.join(format!("{}.partial", digest.hex()));
    let (wanted, not) = (cut_off(shop.lock().source.jar), cut_off(xtask::digest::Digest::of("nobody's")));
    for path in [&wanted, &not] {
        std::fs::write(path, "half").unwrap();
    }
    let first = shop.succeed(&["gc", "--keep", old.to_str().unwrap()]);
    assert!(wanted.exists() && !not.exists());
    assert!(first.starts_with("freed "), "{first}");
    let lock = shop.lock();
    let named = |digest| shop.objects().contains(&xtask::digest::Digest::hex(&digest));
    assert!(lock.objects().iter().all(|object| named(object.digest)));
    let kept = xtask::lock::Lock::read(&old).unwrap().unwrap();
    assert!(kept.objects().iter().all(|object| named(object.digest)));
    assert!(!named(xtask::digest::Digest::of("nobody's")));
    shop.succeed(&["gc"]);
    assert!(!kept.data.files.iter().filter_map(|file| file.sha256).any(named));
    assert!(lock.objects().iter().all(|object| named(object.digest)));
    shop.succeed(&["pack", APP, "restore", "--locked"]);
    // A lock that can't be read might name anything.
    let before = shop.objects();
    std::fs::write(shop.lock_path(), "schema = 99").unwrap();
    shop.refused(&["gc"], "its schema is 99");
    shop.refused(&["clean"], "its schema is 99");
    assert_eq!(shop.objects(), before);
    shop.succeed(&["clean", "--all"]);
    assert_eq!(shop.objects(), Vec::<String>::new());
}

#[test]
fn the_checkpoint_rock_is_packed_again_after_gc_or_kept_where_it_cannot_be() {
    let shop = Shop::new();
    let mut lock = shop.lock();
    let is_there = || shop.objects().contains(&lock.rocks.checkpoint.hex());
    assert!(is_there());
    shop.succeed(&["gc"]);
    assert!(!is_there());
    shop.with_job(|job| {
        let again = pack::checkpoint_from_pin(job, &lock).unwrap();
        assert_eq!(again.manifest, lock.rocks.checkpoint);
    });
    // rockcraft's rock is kept.
    let native = lock.packer.name;
    lock.packer.name = Packer::Rockcraft;
    lock.write(&shop.lock_path()).unwrap();
    shop.succeed(&["gc"]);
    shop.with_job(|job| {
        let job = Job { way: Way { packer: Packer::Rockcraft, ..job.way }, ..*job };
        let kept = pack::checkpoint_from_pin(&job, &lock).unwrap();
        assert!(kept.blobs().iter().all(|(digest, size)| job.session.store.has(digest, *size)));
    });
    // What would be another rock is none.
    lock.packer.name = native;
    lock.rocks.checkpoint = xtask::digest::Digest::of("another");
    let refused = |job: &Job<'_>, phrase: &str| {
        let error = pack::checkpoint_from_pin(job, &lock).unwrap_err().to_string();
        assert!(error.contains(phrase) && error.contains("checkpoint shop --force"), "{error}");
    };
    shop.with_job(|job| {
        refused(job, "but the pin says");
        refused(
            &Job { way: Way { packer: Packer::Rockcraft, ..job.way }, ..*job },
            "rockcraft would make other bytes",
        );
    });
}
