//! What the values of `[rock]` and `[crac]` may be, and what goes with what.

use std::path::Path;

use fs_err as fs;

use super::check::{Checked, Wrong, choice_of_names, quoted};
use super::check_source;
use super::{App, CracEngine, EngineChoice, PackerChoice, RockFile};

/// Ubuntu's releases that rockcraft 1.20 takes as a base, that are released (others need `build-base: devel`), and that
/// have OpenJDK 17.
pub const BASES: &[&str] = &["ubuntu@22.04", "ubuntu@24.04", "ubuntu@25.10", "ubuntu@26.04"];
/// The platforms of a rock.
pub const PLATFORMS: &[&str] = &["amd64", "arm64"];
const MOST_CHARACTERS: usize = 40;
/// A file that a rock holds is configuration, not data.
const LARGEST_FILE: u64 = 1 << 20;

/// The base of a rock.
pub fn base(text: &str) -> Checked<String> {
    choice_of_names(text, BASES)
}

/// A suite of Debian.
pub fn suite(text: &str) -> Checked<String> {
    let valid = (1..=MOST_CHARACTERS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase());
    match valid {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new(
            format!("is {}", quoted(text)),
            "expected a suite of Debian such as `sid`, `trixie` or `forky`",
        )),
    }
}

/// The user of every process in the rock.
pub fn run_user(text: &str) -> Checked<String> {
    match text {
        "_daemon_" => Ok(text.to_owned()),
        _ => Err(Wrong::new(format!("is {}", quoted(text)), "expected `_daemon_`")
            .help("no other user is supported yet: the files of the rock belong to this one")),
    }
}

/// A platform of the rock.
pub fn platform(text: &str) -> Checked<String> {
    choice_of_names(text, PLATFORMS).map_err(|wrong| match text {
        "x86_64" => wrong.help("did you mean `amd64`?"),
        "aarch64" => wrong.help("did you mean `arm64`?"),
        _ => wrong,
    })
}

/// The name of a Debian package.
pub fn package(text: &str) -> Checked<String> {
    let valid = (2..=128).contains(&text.len())
        && text.as_bytes().first().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b));
    match valid {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new(
            format!("has {}, which is not the name of a Debian package", quoted(text)),
            "expected lowercase letters, digits and `+.-`, two characters or more",
        )),
    }
}

/// A Chisel slice: `package_slice`.
pub fn slice(text: &str) -> Checked<String> {
    let name = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b))
    };
    match text.split_once('_') {
        Some((of, slice)) if package(of).is_ok() && name(slice) => Ok(text.to_owned()),
        _ => Err(Wrong::new(
            format!("has {}, which is not the name of a slice", quoted(text)),
            "expected a package and its slice, such as `ca-certificates_data`",
        )),
    }
}

/// Where a file stands in the rocks. What the tool or the system puts there itself is not overwritten.
pub fn place(text: &str) -> Checked<String> {
    let expected = "expected an absolute path of letters, digits and `._-`, such as `/etc/shop/log.xml`";
    let plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    let valid = text.len() <= 200 && text.strip_prefix('/').is_some_and(|path| path.split('/').all(plain));
    if !valid {
        return Err(Wrong::new(format!("is {}, which is not a place in a rock", quoted(text)), expected));
    }
    let own = [
        "bin",
        "boot",
        "checkpoint-data",
        "dev",
        "lib",
        "lib64",
        "proc",
        "run",
        "sbin",
        "scripts",
        "sys",
        "tmp",
    ];
    let first = text[1..].split('/').next().unwrap_or_default();
    match own.contains(&first) || text.starts_with("/var/lib/pebble") || !text[1..].contains('/') {
        true => Err(Wrong::new(
            format!("is {}", quoted(text)),
            "expected a place in a folder such as `/etc` or `/opt`",
        )
        .help("the tool or the system puts its own files there")),
        false => Ok(text.to_owned()),
    }
}

/// A file of the application's folder.
pub fn file(text: &str, folder: &Path) -> Checked<RockFile> {
    use std::os::unix::fs::PermissionsExt;
    let wrong = |what: &str| {
        Wrong::new(
            format!("is {}, which {what}", quoted(text)),
            "expected a file of the application's folder",
        )
    };
    if Path::new(text).is_absolute() {
        return Err(wrong("is an absolute path"));
    }
    let path = check_source::path(text, folder)?;
    let real = fs::canonicalize(&path).map_err(|_| wrong("is not there"))?;
    if !fs::canonicalize(folder).is_ok_and(|folder| real.starts_with(folder)) {
        return Err(wrong("is a link that leads out of it"));
    }
    let metadata = fs::metadata(&real).map_err(|_| wrong("cannot be read"))?;
    if !metadata.is_file() || metadata.len() > LARGEST_FILE {
        return Err(wrong("is no file of 1 MiB or less"));
    }
    let bytes = fs::read(&real).map_err(|_| wrong("cannot be read"))?;
    let executable = metadata.permissions().mode() & 0o100 != 0;
    Ok(RockFile { from: text.to_owned(), bytes, executable })
}

/// `-XX:CPUFeatures`.
pub fn cpu_features(text: &str) -> Checked<String> {
    let hex = |part: &str| {
        let digits = part.strip_prefix("0x").unwrap_or_default();
        (1..=16).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let numbers = text.split_once(',').is_some_and(|(a, b)| hex(a) && hex(b));
    match numbers || ["generic", "native"].contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new(
            format!("is {}", quoted(text)),
            "expected `generic`, `native`, or two numbers such as `0x21421804139bbd,0x3e6`",
        )
        .help("`java -XX:CPUFeatures=native -XX:+ShowCPUFeatures -version` prints those of a machine")),
    }
}

/// A descriptor that CRaC leaves alone.
pub fn descriptor(text: &str) -> Checked<String> {
    let number = text.len() <= 6 && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let path = text.starts_with('/')
        && text.len() <= 200
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
    match number || path {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new(format!("has {}", quoted(text)), "expected a number or an absolute path")),
    }
}

/// Values that are right alone and wrong together.
pub struct Clash {
    /// The table of the key to point at; empty: the top.
    pub table: &'static str,
    /// The key.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What would work instead.
    pub help: String,
}

impl Clash {
    fn new(
        table: &'static str,
        key: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Option<Clash> {
        Some(Clash { table, key, message: message.into(), help: help.into() })
    }
}

/// What does not go together, if anything.
pub fn clash(app: &App) -> Option<Clash> {
    let crac = app.engine != EngineChoice::Criu && app.packer != PackerChoice::Native;
    let base = app.rock.base.as_str();
    if app.engine == EngineChoice::Crac && app.packer == PackerChoice::Native {
        return Clash::new(
            "",
            "packer",
            "the packer `native` takes Debian's packages, and Debian has no CRaC JDK and no PPA",
            "set engine = \"criu\" (any stock JDK), or packer = \"rockcraft\"",
        );
    }
    if !crac {
        let set = app.crac.engine != CracEngine::Default
            || app.crac.cpu_features.is_some()
            || app.crac.resource_policies.is_some()
            || !app.crac.ignored_descriptors.is_empty();
        if set {
            let help = "set engine = \"crac\", or remove `[crac]`; a stock JDK does not know these options";
            return Clash::new("", "crac", "`[crac]` goes with the engine `crac` only", help);
        }
    }
    if app.packer == PackerChoice::Native && !app.rock.slices.is_empty() {
        let help = "name packages in `rock.packages` instead, or set packer = \"rockcraft\"";
        return Clash::new(
            "rock",
            "slices",
            "Chisel cuts Ubuntu's packages, and the packer `native` takes Debian's",
            help,
        );
    }
    let java = app.java.version;
    if crac && app.engine == EngineChoice::Crac && !has_crac(base, java) {
        let releases: Vec<String> = crac_releases(base).iter().map(u8::to_string).collect();
        let elsewhere: Vec<&str> = BASES.iter().copied().filter(|base| has_crac(base, java)).collect();
        let help = match (elsewhere.is_empty(), releases.is_empty()) {
            (false, _) => format!("set rock.base = \"{}\"", elsewhere[0]),
            (true, false) => format!("set java.version = {}", releases[releases.len() - 1]),
            (true, true) => "set rock.base = \"ubuntu@24.04\"".to_owned(),
        };
        let has = match releases.is_empty() {
            true => "none".to_owned(),
            false => releases.join(" and "),
        };
        return Clash::new(
            "java",
            "version",
            format!("{base} has no OpenJDK {java} with CRaC; it has {has}"),
            format!("{help}, or engine = \"criu\", which takes any stock JDK"),
        );
    }
    if app.crac.engine == CracEngine::Warp && app.rock.platforms.iter().any(|platform| platform == "arm64") {
        let help = "remove `arm64` from rock.platforms, or set crac.engine = \"criu\"";
        return Clash::new("crac", "engine", "the engine `warp` is made for x86-64 only", help);
    }
    None
}

/// The OpenJDK releases that a base has with CRaC: from the PPA in 24.04 (the tutorial), from Ubuntu's own archive
/// since 24.10, with 25 since that was released.
fn crac_releases(base: &str) -> &'static [u8] {
    match base {
        "ubuntu@24.04" => &[17, 21],
        "ubuntu@22.04" => &[],
        _ => &[17, 21, 25],
    }
}

/// Whether a base has this OpenJDK release with CRaC.
pub fn has_crac(base: &str, java: u8) -> bool {
    crac_releases(base).contains(&java)
}
