//! Against `docker-registry`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use xtask::digest::Digest;
use xtask::remote;

use crate::proxy::Proxy;
use crate::registry::{Demands, DockerRegistry};
use crate::{Fixture, local, noise, quiet, registry_at, says};

const MIB: usize = 1 << 20;

fn start() -> DockerRegistry {
    DockerRegistry::start(&Demands::default())
}

#[test]
#[ignore = "needs docker-registry"]
fn what_is_pushed_is_pulled_and_nothing_twice() {
    let registry = start();
    let there = local(registry.port);
    // More than a chunk, an empty one, and the same bytes under two names.
    let mut fixture = Fixture::with(&[17 * MIB + 7, 3 * MIB, 0, 1]);
    let mut again = fixture.artifact.parts[1].clone();
    again.title = "the same".into();
    fixture.artifact.parts.push(again);

    let pushed = fixture.push(&there, "1").unwrap();
    // The empty config is one, too.
    assert_eq!((pushed.sent, pushed.sent_bytes, pushed.present), (5, fixture.size() - 3 * MIB as u64 + 2, 0));
    let repeated = fixture.push(&there, "1").unwrap();
    assert_eq!((repeated.manifest, repeated.sent, repeated.present), (pushed.manifest, 0, 5));

    let (digest, artifact) = remote::read(&there, "1").unwrap();
    assert_eq!((digest, &artifact), (pushed.manifest.digest, &fixture.artifact));
    assert_eq!(remote::read(&there, &digest.to_string()).unwrap().1, artifact);
    says(remote::read(&there, "2"), &["cannot read 2", "/v2/team/petclinic/manifests/2 answered 404"]);
    says(remote::read(&there, &Digest::of("x").to_string()), &["answered 404"]);

    let pulled = fixture.pull(&there).unwrap();
    assert_eq!(
        (pulled.fetched, pulled.fetched_bytes, pulled.present),
        (4, fixture.size() - 3 * MIB as u64, 0)
    );
    assert!(fixture.is_whole() && fixture.cached() == 0);
    let repeated = fixture.pull(&there).unwrap();
    assert_eq!((repeated.fetched, repeated.fetched_bytes, repeated.present), (0, 0, 4));
}

#[test]
#[ignore = "needs docker-registry"]
fn what_is_changed_on_its_disk_is_refused() {
    let registry = start();
    let there = local(registry.port);
    let fixture = Fixture::with(&[MIB]);
    fixture.push(&there, "1").unwrap();
    let blob = fixture.artifact.parts[0].blob;
    let file = registry.blob(&blob.digest);
    let good = fs::read(&file).unwrap();
    let refused = |bytes: &[u8], expected: &[&str]| {
        fs::write(&file, bytes).unwrap();
        says(fixture.pull(&there), expected);
        assert_eq!((fixture.arrived(), fixture.cached()), (0, 0));
    };
    let mut changed = good.clone();
    changed[MIB / 2] ^= 1;
    refused(&changed, &["cannot fetch sha256:", &blob.digest.to_string(), "what arrived is deleted"]);
    refused(&good[..MIB / 2], &["cannot fetch sha256:", "offers 524288 bytes; expected 1048576"]);
    refused(&[&good[..], b"more"].concat(), &["offers 1048580 bytes; expected 1048576"]);

    // What had arrived before does not make up for it.
    fs::create_dir_all(fixture.cache()).unwrap();
    fs::write(fixture.cache().join(format!("{}.partial", blob.digest.hex())), &good[..MIB / 2]).unwrap();
    refused(&good[..MIB / 2], &["offers 524288 bytes; expected 1048576"]);
    fs::write(&file, &good).unwrap();
    fixture.pull(&there).unwrap();
    assert!(fixture.is_whole());
}

#[test]
#[ignore = "needs docker-registry"]
fn a_push_that_is_cut_off_sends_only_the_rest_later() {
    let registry = start();
    let fixture = Fixture::with(&[3 * MIB, 3 * MIB, 3 * MIB, 3 * MIB, 3 * MIB, 3 * MIB]);
    let proxy = Proxy::to(registry.port, 8 * MIB as u64);
    let through = registry_at(&format!("127.0.0.1:{}/team/petclinic", proxy.port), |registry| {
        registry.settings.limits.workers = 2;
        registry.settings.limits.chunk = MIB as u64;
    });
    says(
        fixture.push(&through, "1"),
        &["cannot push to 127.0.0.1:", "cannot send sha256:", "gave up after 3 attempts"],
    );
    says(remote::read(&local(registry.port), "1"), &["answered 404"]);
    let there = |digest: &Digest| registry.blob(digest).exists();
    let missing: u64 = { &fixture.artifact.parts }
        .iter()
        .filter(|part| !there(&part.blob.digest))
        .map(|part| part.blob.size)
        .sum();
    assert!(missing > 0 && missing < fixture.size(), "{missing}");

    proxy.refill(u64::MAX);
    proxy.take_passed();
    let pushed = fixture.push(&through, "1").unwrap();
    // The empty config goes last.
    assert_eq!(pushed.sent_bytes, missing + 2);
    assert_eq!(pushed.present + pushed.sent, 7);
    let passed = proxy.take_passed();
    assert!(passed >= missing && passed < missing + 100_000, "{passed} for {missing}");
    fixture.pull(&through).unwrap();
    assert!(fixture.is_whole());
}

#[test]
#[ignore = "needs docker-registry"]
fn connections_that_break_now_and_then_are_no_obstacle() {
    let registry = start();
    let fixture = Fixture::with(&[9 * MIB]);
    let proxy = Proxy::to(registry.port, 4 * MIB as u64 + 1000);
    let through = registry_at(&format!("127.0.0.1:{}/team/petclinic", proxy.port), |registry| {
        registry.settings.limits.chunk = MIB as u64;
    });
    proxy.heal_after(1);
    fixture.push(&through, "1").unwrap();
    // docker-registry 2.8 forgets an upload whose chunk broke off: it is sent once more from its beginning.
    let passed = proxy.take_passed();
    assert!(passed > 9 * MIB as u64 && passed < 14 * MIB as u64, "{passed}");

    proxy.refill(4 * MIB as u64);
    proxy.heal_after(1);
    fixture.pull(&through).unwrap();
    assert!(fixture.is_whole());
    let passed = proxy.take_passed();
    assert!(passed < 9 * MIB as u64 + 300_000, "{passed}");
}

#[test]
#[ignore = "needs docker-registry"]
fn a_pull_that_is_cut_off_fetches_only_the_rest_later() {
    let registry = start();
    let fixture = Fixture::with(&[9 * MIB]);
    fixture.push(&local(registry.port), "1").unwrap();
    let proxy = Proxy::to(registry.port, 4 * MIB as u64);
    let through = local(proxy.port);
    let blob = fixture.artifact.parts[0].blob;
    says(fixture.pull(&through), &["cannot pull from", "cannot fetch sha256:", "gave up after 3 attempts"]);
    let partial = fixture.cache().join(format!("{}.partial", blob.digest.hex()));
    let kept = fs::metadata(&partial).unwrap().len();
    assert!(kept > 3 * MIB as u64 && kept < 4 * MIB as u64, "{kept}");
    assert_eq!(fixture.arrived(), 0);

    proxy.refill(u64::MAX);
    proxy.take_passed();
    let rest = blob.size - kept;
    assert_eq!(fixture.pull(&through).unwrap().fetched_bytes, rest);
    let passed = proxy.take_passed();
    assert!(passed >= rest && passed < rest + 10_000, "{passed} for {rest}");
    assert!(fixture.is_whole() && !partial.exists());
}

#[test]
#[ignore = "needs docker-registry"]
fn what_another_run_had_begun_with_is_checked_all_the_same() {
    let registry = start();
    let fixture = Fixture::with(&[2 * MIB]);
    fixture.push(&local(registry.port), "1").unwrap();
    let blob = fixture.artifact.parts[0].blob;
    fs::create_dir_all(fixture.cache()).unwrap();
    fs::write(fixture.cache().join(format!("{}.partial", blob.digest.hex())), noise(9, MIB)).unwrap();
    says(fixture.pull(&local(registry.port)), &["what arrived is deleted"]);
    assert_eq!((fixture.arrived(), fixture.cached()), (0, 0));
    fixture.pull(&local(registry.port)).unwrap();
    assert!(fixture.is_whole());
}

#[test]
#[ignore = "needs docker-registry"]
fn a_login_is_taken_from_where_podman_keeps_it() {
    let registry = DockerRegistry::start(&Demands { login: true, ..Demands::default() });
    let fixture = Fixture::with(&[MIB, 10]);
    let file = fixture.folder.path().join("auth.json");
    let address = format!("127.0.0.1:{}", registry.port);
    let there = registry_at(&format!("{address}/team/petclinic"), |registry| {
        registry.settings.variables.insert("REGISTRY_AUTH_FILE", file.clone());
    });
    let path = file.to_str().unwrap();
    says(fixture.push(&there, "1"), &["REGISTRY_AUTH_FILE", path, "not there"]);
    fs::write(&file, "{}").unwrap();
    let login = format!("podman login {address}");
    says(fixture.push(&there, "1"), &["asks for a login, and there is none for it", path, &login]);
    // hero:hunter2 with a letter too much, then as it is.
    for (auth, fine) in [("aGVybzpodW50ZXIyeA==", false), ("aGVybzpodW50ZXIy", true)] {
        fs::write(&file, format!(r#"{{"auths":{{"{address}/team":{{"auth":"{auth}"}}}}}}"#)).unwrap();
        if fine {
            assert_eq!(fixture.push(&there, "1").unwrap().sent, 3);
            fixture.pull(&there).unwrap();
        } else {
            let error = says(fixture.push(&there, "1"), &["takes no login of ours", path, "answered 401"]);
            assert!(!error.contains(auth), "{error}");
        }
    }
    assert!(fixture.is_whole());
}

#[test]
#[ignore = "needs docker-registry"]
fn a_certificate_is_trusted_where_its_signer_is() {
    let folder = tempfile::tempdir().unwrap();
    let signer = certificates(folder.path());
    let name = |name: &str| folder.path().join(name);
    let registry = DockerRegistry::start(&Demands {
        tls: Some((name("own.pem"), name("own.key"))),
        ..Demands::default()
    });
    let fixture = Fixture::with(&[3 * MIB, 10]);
    let trusting = |host: &str, file: Option<&Path>| {
        registry_at(&format!("https://{host}:{}/team/petclinic", registry.port), |registry| {
            registry.settings.limits.chunk = MIB as u64;
            registry.settings.variables.extend(file.map(|file| ("SSL_CERT_FILE", file.to_owned())));
        })
    };
    let good = trusting("127.0.0.1", Some(&signer));
    fixture.push(&good, "1").unwrap();
    fixture.pull(&good).unwrap();
    assert!(fixture.is_whole());

    let refused = ["no TLS connection that can be trusted", "SSL_CERT_FILE", "nvalid peer certificate"];
    says(fixture.push(&trusting("127.0.0.1", Some(&name("other.pem"))), "1"), &refused);
    // It is good for 127.0.0.1 only.
    says(remote::read(&trusting("localhost", Some(&signer)), "1"), &refused);
    says(
        remote::read(&trusting("127.0.0.1", Some(&name("none.pem"))), "1"),
        &["no certificates to trust", "none.pem"],
    );
    says(remote::read(&local(registry.port), "1"), &["answered 400", "HTTPS"]);
}

/// A signer, a certificate of theirs for 127.0.0.1, and another signer; returns the first's file.
fn certificates(folder: &Path) -> std::path::PathBuf {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(folder).stdin(Stdio::null());
        let ran = command.output().expect("openssl is installed");
        assert!(ran.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&ran.stderr));
    };
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for signer in ["signer", "other"] {
        openssl(&format!(
            "req -x509 {curve} -keyout {signer}.key -out {signer}.pem -days 2 -subj /CN={signer}"
        ));
    }
    fs::write(folder.join("own.ext"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    openssl(&format!("req {curve} -keyout own.key -out own.csr -subj /CN=own"));
    openssl(
        "x509 -req -in own.csr -CA signer.pem -CAkey signer.key -CAcreateserial -out own.pem -days 2 -extfile own.ext",
    );
    folder.join("signer.pem")
}

#[test]
#[ignore = "needs docker-registry"]
fn an_image_of_the_store_is_pushed_as_it_is() {
    let registry = start();
    let there = local(registry.port);
    let fixture = Fixture::with(&[MIB, 10]);
    let image = image_of(&fixture);
    let pushed = remote::push_image(&fixture.full, &there, &image, "base", &quiet()).unwrap();
    assert_eq!((pushed.manifest.digest, pushed.sent), (image.manifest, 3));
    let stored = fs::read(fixture.full.path(&image.manifest)).unwrap();
    assert_eq!(fs::read(registry.blob(&image.manifest)).unwrap(), stored);
    let (digest, artifact) = remote::read(&there, "base").unwrap();
    let layers: Vec<_> = artifact.parts.iter().map(|part| part.blob).collect();
    assert_eq!((digest, layers), (image.manifest, image.layers.clone()));
}

/// The parts as the layers of an image.
fn image_of(fixture: &Fixture) -> xtask::pack::Image {
    let blob = |blob: &xtask::pack::Blob, kind: &str| serde_json::json!({ "mediaType": kind, "digest": blob.digest, "size": blob.size });
    let layers: Vec<_> = fixture.artifact.parts.iter().map(|part| part.blob).collect();
    let (config, config_size) = fixture.full.add_bytes(br#"{"architecture":"amd64","os":"linux"}"#).unwrap();
    let own = xtask::pack::Blob { digest: config, size: config_size };
    let layer = |layer: &xtask::pack::Blob| blob(layer, "application/vnd.oci.image.layer.v1.tar");
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(&own, "application/vnd.oci.image.config.v1+json"),
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    });
    let (manifest, manifest_size) = fixture.full.add_bytes(&serde_json::to_vec(&manifest).unwrap()).unwrap();
    xtask::pack::Image { manifest, manifest_size, config, config_size, layers }
}

#[test]
#[ignore = "needs docker-registry"]
fn a_registry_that_dies_is_named_with_what_was_last_seen() {
    let registry = start();
    let port = registry.port;
    let fixture = Fixture::with(&[10]);
    let there = registry_at(&format!("127.0.0.1:{port}/a"), |registry| {
        registry.settings.limits.connect = Duration::from_secs(1);
    });
    fixture.push(&there, "1").unwrap();
    drop(registry);
    let url = format!("GET http://127.0.0.1:{port}/v2/a/manifests/1");
    says(remote::read(&there, "1"), &[&url, "efused", "gave up after 3 attempts"]);
    says(fixture.pull(&there), &["cannot fetch sha256:", "efused"]);
}
