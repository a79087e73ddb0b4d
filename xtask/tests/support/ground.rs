//! What a job of the example pipelines finds: a repository, a registry that demands a login, and programs. What needs a
//! container (`checkpoint`, `soak`) or the platform (`gh`) is stood in for.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::registry::{Demands, DockerRegistry};
use super::shop::{APP, Shop, said};

/// A job's scripts, each run by a shell of its own, in the order of the file.
pub struct Job {
    pub scripts: Vec<Script>,
}

pub struct Script {
    pub name: String,
    pub text: String,
    pub environment: BTreeMap<String, String>,
}

/// A repository with git, a registry, and the programs that a job finds.
pub struct Ground {
    pub shop: Shop,
    pub registry: DockerRegistry,
    /// What every script finds in its environment.
    pub environment: BTreeMap<String, String>,
}

/// The login that the registry demands.
pub const USER: (&str, &str) = ("hero", "hunter2");

impl Ground {
    /// With version 1.0 pinned and committed, and `signed-by` in its app.toml.
    pub fn new() -> Ground {
        let shop = Shop::new();
        let registry = DockerRegistry::start(&Demands { login: true, tls: None });
        // The tool knows that the loopback needs no TLS; podman has to be told.
        let plain = format!("[[registry]]\nlocation = \"127.0.0.1:{}\"\ninsecure = true\n", registry.port);
        fs::write(shop.beside("registries.conf"), plain).unwrap();
        let pair = minisign::KeyPair::generate_encrypted_keypair(Some("secret".into())).unwrap();
        fs::write(shop.beside("key"), pair.sk.to_box(None).unwrap().to_string()).unwrap();
        let toml = fs::read_to_string(shop.toml()).unwrap();
        fs::write(shop.toml(), format!("{toml}pin.signed-by = [\"{}\"]\n", pair.pk.to_base64())).unwrap();
        shop.succeed(&["render", APP]);
        fs::write(shop.root().join(".gitignore"), "/target/\n").unwrap();

        let top = shop.top().display().to_string();
        for name in ["bin", "runner", "prepared"] {
            fs::create_dir(shop.beside(name)).unwrap();
        }
        program(&shop.beside("bin/cargo"), CARGO);
        program(&shop.beside("bin/gh"), "#!/bin/sh\necho \"$@\" >>\"$TOP/gh.log\"\n");
        let place = format!("127.0.0.1:{}/team", registry.port);
        let path = format!("{top}/bin:{}", std::env::var("PATH").unwrap());
        let environment = [
            ("PATH", path.as_str()),
            ("TOP", &top),
            ("XTASK", env!("CARGO_BIN_EXE_xtask")),
            ("XTASK_ROOT", &format!("{top}/repository")),
            ("CONTAINERS_REGISTRIES_CONF", &format!("{top}/registries.conf")),
            ("PINS", &format!("{place}/pins")),
            ("ROCKS", &format!("{place}/shop")),
            ("HOME", &top),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let ground = Ground { shop, registry, environment };
        ground.git(&["init", "--quiet", "--initial-branch=main"]);
        ground.git(&["init", "--quiet", "--bare", "../origin.git"]);
        ground.git(&["--git-dir=../origin.git", "config", "receive.advertisePushOptions", "true"]);
        ground.git(&["remote", "add", "origin", ground.shop.beside("origin.git").to_str().unwrap()]);
        ground.git(&["add", "."]);
        ground.git(&[
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.com",
            "commit",
            "--quiet",
            "--message=first",
        ]);
        ground.git(&["push", "--quiet", "origin", "main"]);
        ground
    }

    pub fn git(&self, words: &[&str]) -> String {
        let mut git = Command::new("git");
        let ran =
            git.args(words).current_dir(self.shop.root()).env("HOME", self.shop.top()).output().unwrap();
        assert!(ran.status.success(), "git {words:?}: {}", said(&ran));
        String::from_utf8(ran.stdout).unwrap()
    }

    /// What the job's scripts print; each must succeed, in a shell as the platform starts it.
    #[track_caller]
    pub fn run(&self, job: Job, platform: &[(&str, &str)]) -> String {
        self.try_run(job, platform).unwrap_or_else(|printed| panic!("{printed}"))
    }

    pub fn try_run(&self, job: Job, platform: &[(&str, &str)]) -> Result<String, String> {
        let more = self.shop.beside("github-env");
        fs::write(&more, "").unwrap();
        let mut printed = String::new();
        for script in job.scripts {
            let mut bash = Command::new("bash");
            bash.args(["-e", "-o", "pipefail", "-c", &script.text])
                .current_dir(self.shop.root())
                .stdin(Stdio::null());
            bash.env_clear();
            let known: BTreeMap<&str, &str> = platform.iter().copied().collect();
            for (name, value) in script.environment {
                bash.env(name, filled(&value, &known));
            }
            bash.envs(&self.environment)
                .env("GITHUB_ENV", &more)
                .env("RUNNER_TEMP", self.shop.beside("runner"));
            bash.envs(platform.iter().filter(|(name, _)| !name.contains('.')).copied());
            for line in fs::read_to_string(&more).unwrap().lines() {
                bash.envs(line.split_once('='));
            }
            let ran = bash.output().unwrap();
            printed += &format!("== {}\n{}\n", script.name, said(&ran));
            if !ran.status.success() {
                return Err(printed);
            }
        }
        Ok(printed)
    }

    /// A pin of another process, as `checkpoint` will find it made.
    pub fn prepare(&self) {
        let other = self.shop.copy();
        other.pin(2);
        for name in ["apps", "rocks", "target"] {
            fs::rename(other.root().join(name), self.shop.beside("prepared").join(name)).unwrap();
        }
    }

    /// As a fresh checkout: no store, no rocks packed.
    pub fn forget(&self) {
        fs::remove_dir_all(self.shop.root().join("target")).unwrap();
    }
}

/// A value with what the platform puts for `${{ … }}`.
fn filled(value: &str, known: &BTreeMap<&str, &str>) -> String {
    let Some((before, rest)) = value.split_once("${{ ") else { return value.to_owned() };
    let (name, after) = rest.split_once(" }}").expect("an end");
    let value = known.get(name).unwrap_or_else(|| panic!("nothing is known of {name}"));
    format!("{before}{value}{after}")
}

/// `cargo xtask` is the tool itself. What needs a container is there already; `soak` looks at the pin first, as it does
/// itself, and refuses one whose signature is not there yet.
const CARGO: &str = r#"#!/bin/sh
[ "$1" = xtask ] && shift || exit 99
case "$*" in
*--locked*) ;;
"checkpoint shop") echo checkpoint >>"$TOP/stood-in" && exec cp -a "$TOP/prepared/." "$XTASK_ROOT" ;;
"soak shop "*) "$XTASK" verify shop && echo soak >>"$TOP/stood-in"; exit ;;
esac
exec "$XTASK" "$@"
"#;

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
