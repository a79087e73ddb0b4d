//! A restore years after the dump, and certificates that come in after it. docs/guide/safety.md says what this shows.
//!
//! The years are a library of 50 lines that every process of both rocks loads (fixtures/days-later/clock.c): it adds to the
//! wall clock what a file below /run/secrets says, which is not there before the restore. All else is real.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fs_err as fs;
use xtask::process::{self, Limit};

use crate::support::{PORT, Workspace, get, podman, repository, sample, wait_until};

const APP: &str = "e2e-days-later";
/// The port of TLS in the container; the dumped certificate is in a folder below /etc, the only one where CRIU finds
/// what is watched.
const TLS_PORT: u16 = 8443;
const TOML: &str = "\n[java]\nprofile = \"none\"\noptions = [\"-XX:+UseSerialGC\", \"-Xmx128m\"]\narguments = [\n  \
    \"--management.server.port=8443\", \"--management.server.ssl.bundle=late\",\n  \
    \"--spring.ssl.bundle.pem.late.keystore.certificate=/etc/late/crt.pem\",\n  \
    \"--spring.ssl.bundle.pem.late.keystore.private-key=/etc/late/key.pem\",\n  \
    \"--spring.ssl.bundle.pem.late.reload-on-update=true\",\n  \
    \"--spring.ssl.bundle.watch.file.quiet-period=500ms\",\n  \
    \"--sample.days-later=true\", \"--sample.late-certificate=/run/secrets/tls\",\n]\n\n\
    [http]\nready = \"/identity\"\nwarm-up = [{ path = \"/days-later\", method = \"POST\" }, \"/days-later\"]\n\n\
    [rock.files]\n\"/etc/ld.so.preload\" = \"preload\"\n\"/opt/clock.so\" = \"clock.so\"\n\
    \"/etc/late/crt.pem\" = \"crt.pem\"\n\"/etc/late/key.pem\" = \"key.pem\"\n";
/// What the tool calls the dumped key, in PEM and in DER; a refusal would name them anew.
const ALLOWED: &str = "\n[secrets]\nallow = [\n  { id = \"private-key:89da82dc\", reason = \"good for nothing\" },\n  \
    { id = \"private-key-der:494c67e8\", reason = \"good for nothing\" },\n]\n";

#[test]
#[ignore = "needs podman; run by cargo xtask test"]
fn what_expires_is_expired_and_certificates_come_in() {
    let workspace = Workspace::new(APP, &sample(&format!("{TOML}{ALLOWED}")));
    let folder = workspace.root().join("apps").join(APP);
    run("cc", &["-shared", "-fPIC", "-O1", "-o", &text(&folder.join("clock.so")), &text(&clock())]);
    fs::write(folder.join("preload"), "/opt/clock.so\n").unwrap();
    dumped_certificate(&folder);
    workspace.checkpoint(&[]);

    println!("  at once, with a certificate that is watched");
    at_once(&workspace);
    println!("  years later, with a certificate that is read again and again");
    years_later(&workspace);
    workspace.assert_nothing_left();
}

/// A certificate whose key is the same in every run, for the dump: the tool finds it there and refuses it, until app.toml
/// lets it be by the names that [`ALLOWED`] has.
fn dumped_certificate(folder: &Path) {
    let [conf, der, key] = ["key.conf", "key.der", "key.pem"].map(|file| text(&folder.join(file)));
    let number = "0123456789abcdef".repeat(4);
    let sec1 = format!("v = INTEGER:1\nd = FORMAT:HEX,OCTETSTRING:{number}\np = EXPLICIT:0,OID:prime256v1\n");
    fs::write(&conf, format!("asn1 = SEQUENCE:key\n[key]\n{sec1}")).unwrap();
    run("openssl", &["asn1parse", "-genconf", &conf, "-noout", "-out", &der]);
    run("openssl", &["pkey", "-inform", "DER", "-in", &der, "-out", &key]);
    let crt = text(&folder.join("crt.pem"));
    let subject = ["-days", "3650", "-subj", "/CN=before-the-dump"];
    run("openssl", &[&["req", "-x509", "-key", &key, "-out", &crt], &subject[..]].concat());
}

/// On the same day nothing has expired. A certificate that is another at the restore is not seen, since nothing tells of it;
/// one that is exchanged later is.
fn at_once(workspace: &Workspace) {
    let tls = workspace.root().join("tls");
    fs::create_dir(&tls).unwrap();
    certificate(&tls, "at-the-restore");
    let (name, port, tls_port) = restore(workspace, "at-once", &[(&tls, "/etc/late")]);
    let now = days_later(port);
    assert_eq!((session(port, &now), &now["tokenValid"]), (true, &true.into()), "{now}");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(served(tls_port), "before-the-dump");
    certificate(&tls, "exchanged");
    wait_served(tls_port, "exchanged");
    podman(&["rm", "--force", "--time", "0", &name]);
}

/// Three seconds before a new year, at least one year after the dump.
fn years_later(workspace: &Workspace) {
    let secrets = workspace.root().join("late");
    for version in ["..1", "..2"] {
        fs::create_dir_all(secrets.join("tls").join(version)).unwrap();
        certificate(&secrets.join("tls").join(version), &format!("of-the-secrets{version}"));
    }
    // As Kubernetes mounts a Secret: one link is exchanged, and with it every file.
    let point = |version: &str| {
        let new = secrets.join("tls/..new");
        std::os::unix::fs::symlink(version, &new).unwrap();
        fs::rename(new, secrets.join("tls/..data")).unwrap();
    };
    point("..1");
    for file in ["crt.pem", "key.pem"] {
        std::os::unix::fs::symlink(format!("..data/{file}"), secrets.join("tls").join(file)).unwrap();
    }
    let number = |arguments: &[&str]| -> i64 { run("date", arguments).trim().parse().unwrap() };
    let new_year = number(&["--utc", &format!("--date={}-01-01", number(&["--utc", "+%Y"]) + 2), "+%s"]);
    fs::write(secrets.join("clock"), format!("{}\n", new_year - 3 - number(&["+%s"]))).unwrap();
    let (name, port, tls_port) = restore(workspace, "years-later", &[(&secrets, "/run/secrets")]);

    // What goes by the wall clock has expired; what counts since the machine's start has not noticed.
    let first = days_later(port);
    assert_eq!((session(port, &first), &first["tokenValid"]), (false, &false.into()), "{first}");
    let count = |values: &serde_json::Value, what: &str| values[what].as_i64().unwrap();
    assert!(count(&first, "uptimeMillis") < 3_600_000, "{first}");
    assert!(first["currentTimeMillis"].as_i64().unwrap() / 1000 >= new_year - 3, "{first}");

    // A cron expression goes on with the next second, and runs once for each: what was missed is not made up for. The one
    // that was put off until the dump's own new year still waits: this one passes without it.
    let then = wait_until("the new year", Duration::from_secs(20), || {
        let now = days_later(port);
        (now["currentTimeMillis"].as_i64().unwrap() / 1000 >= new_year + 2).then_some(now)
    })
    .unwrap();
    let elapsed = (count(&then, "nanoTime") - count(&first, "nanoTime")) / 1_000_000_000;
    let ran = count(&then, "everySecond") - count(&first, "everySecond");
    assert!(ran >= 1 && ran <= elapsed + 2, "{ran} in {elapsed} s: {first}, then {then}");
    assert_eq!(then["newYear"], 0, "{then}");

    wait_served(tls_port, "of-the-secrets..1");
    point("..2");
    wait_served(tls_port, "of-the-secrets..2");
    certificate(&secrets.join("tls/..2"), "written");
    wait_served(tls_port, "written");
    podman(&["rm", "--force", "--time", "0", &name]);
}

/// A restore rock by podman alone, as the guide says, with folders of this machine; its name, port and port of TLS.
fn restore(workspace: &Workspace, what: &str, mounts: &[(&Path, &str)]) -> (String, u16, u16) {
    let name = format!("{}{what}", workspace.prefix());
    let [port, tls_port] = [xtask::runtime::free_port().unwrap(), xtask::runtime::free_port().unwrap()];
    let mut words: Vec<String> = ["run", "--detach", "--cap-drop=all"].map(String::from).to_vec();
    let capabilities = workspace.lock().capabilities.restore;
    words.extend(capabilities.iter().map(|capability| format!("--cap-add={capability}")));
    words.push(format!("--name={name}"));
    words.push(format!("--publish=127.0.0.1:{port}:{PORT}"));
    words.push(format!("--publish=127.0.0.1:{tls_port}:{TLS_PORT}"));
    words.extend(mounts.iter().map(|(from, to)| format!("--volume={}:{to}:ro", from.display())));
    words.push(format!("localhost/{APP}-restorer:0.0.1"));
    podman(&words.iter().map(String::as_str).collect::<Vec<_>>());
    crate::support::first_answer(port, "/identity", Duration::from_secs(30));
    (name, port, tls_port)
}

fn days_later(port: u16) -> serde_json::Value {
    serde_json::from_str(&get(port, "/days-later")).unwrap()
}

/// Whether the session that was made before the dump is valid, asked as its browser would.
fn session(port: u16, values: &serde_json::Value) -> bool {
    let url = format!("http://127.0.0.1:{port}/days-later");
    let cookie = format!("JSESSIONID={}", values["session"].as_str().unwrap());
    let mut response = ureq::get(url).header("Cookie", cookie).call().unwrap();
    let values: serde_json::Value =
        serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap();
    values["sessionValid"].as_bool().unwrap()
}

/// A certificate of its own and its key, where a container's user can read them.
fn certificate(folder: &Path, name: &str) {
    let [key, crt] = ["key.pem", "crt.pem"].map(|file| text(&folder.join(file)));
    let subject = format!("/CN={name}");
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "3650"];
    let files = ["-subj", &subject, "-keyout", &key, "-out", &crt];
    run("openssl", &[&["req", "-x509"], &curve[..], &files].concat());
    run("chmod", &["0755", &text(folder)]);
    run("chmod", &["0444", &key, &crt]);
}

/// The name in the certificate that a TLS port shows.
fn served(port: u16) -> String {
    let script = "openssl s_client -connect \"$0\" </dev/null 2>/dev/null | openssl x509 -noout -subject";
    let subject = run("sh", &["-c", script, &format!("127.0.0.1:{port}")]);
    subject.trim().rsplit(['=', ' ']).next().unwrap().to_owned()
}

fn wait_served(port: u16, name: &str) {
    wait_until(name, Duration::from_secs(30), || (served(port) == name).then_some(()))
        .unwrap_or_else(|what| panic!("{what}: {} is served", served(port)));
}

fn clock() -> std::path::PathBuf {
    repository().join("xtask/tests/fixtures/days-later/clock.c")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn run(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    let limit = Limit::new("the tests' limit for a program", Duration::from_secs(30));
    process::read(command, &limit).unwrap_or_else(|error| panic!("{program} {arguments:?}: {error:#}"))
}
