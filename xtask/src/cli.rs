//! The command line, and nothing else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::rock::Role;
use crate::runtime::{Kind, Publish};

mod explain;
mod help;
mod measure;
pub mod page;
mod parse;
mod scan;

pub use explain::Explain;
pub use measure::{Bench, Capabilities, Soak};
pub use parse::{ENGINES, chosen, parse};
use parse::{ROLES, one_of};
pub use scan::Scan;

/// From one TOML file per Spring application to a pair of rocks: one that runs the application and dumps it,
/// warm, and one that brings that very process back in a tenth of a second.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    after_help = help::TOOL,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What goes with every command.
    #[command(flatten)]
    pub global: Global,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Install with apt what this machine lacks (as root, or with sudo)
    #[arg(long, global = true)]
    pub install: bool,
    /// Print the steps and why each is done, and do nothing
    #[arg(long, global = true)]
    pub plan: bool,
    /// The container engine [default: podman if it answers, else docker; XTASK_RUNTIME]
    #[arg(long, global = true, value_parser = one_of(ENGINES), value_name = "podman|docker", hide_possible_values = true)]
    pub runtime: Option<Kind>,
    /// Fail where the pin, or what is rendered from it, would have to change
    #[arg(long, global = true)]
    pub locked: bool,
    /// Have rockcraft build on this very machine, not in an instance of its own
    #[arg(long, global = true)]
    pub destructive_mode: bool,
    /// Print results and errors only
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print what other programs print, too
    #[arg(long, short, global = true)]
    pub verbose: bool,
}

/// The commands; each has a file of its name in `commands/`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a first app.toml: what can be read or resolved is, the rest is guessed and says so
    #[command(after_help = help::NEW)]
    New(New),
    /// Build, run, warm up and dump an application; pin the data; pack and prove the restore rock
    #[command(after_help = help::CHECKPOINT)]
    Checkpoint(Checkpoint),
    /// Start the restored application from its pin
    #[command(after_help = help::RESTORE)]
    Restore(Restore),
    /// Say which containers run an application's restore rock, and which way each came up
    #[command(after_help = help::STATUS)]
    Status(Status),
    /// Write rocks/APP from apps/APP/app.toml and the templates
    Render(Render),
    /// Validate app.toml files; changes nothing
    #[command(after_help = help::CHECK)]
    Check(Apps),
    /// Write apps/app.schema.json, by which editors complete and check app.toml, and the guide's pages of keys and commands
    #[command(after_help = help::SCHEMA)]
    Schema(Schema),
    /// Pack one of the two rocks
    Pack(Pack),
    /// Measure cold starts and restores of a pin, interleaved
    Bench(Bench),
    /// Restore again and again, and see that all answer and nothing is left
    #[command(after_help = help::SOAK)]
    Soak(Soak),
    /// Find the fewest capabilities and system calls a restore needs, and write them into the pin
    #[command(after_help = help::CAPABILITIES)]
    Capabilities(Capabilities),
    /// Say which inputs differ from the pin's, and what `checkpoint` would do again
    #[command(after_help = help::WHY)]
    Why(Why),
    /// Say what differs between two pins: inputs, packages, host, data, and memory by kind
    #[command(after_help = help::DIFF)]
    Diff(Diff),
    /// Send a pin and what it names to a registry or a folder
    #[command(after_help = help::PUSH)]
    Push(Push),
    /// Fetch what a pin names, and the pin where there is none
    #[command(after_help = help::PULL)]
    Pull(Pull),
    /// Sign a pin with a minisign key
    Sign(Sign),
    /// Compare store, rendered files and packed rocks with the pin; changes nothing
    #[command(after_help = help::VERIFY)]
    Verify(Verify),
    /// Write what is in a pin's restore rock, package by package, as CycloneDX JSON
    Sbom(Sbom),
    /// Search a pin's memory and files for secrets: those that app.toml names, and known formats; changes nothing
    #[command(after_help = help::SCAN)]
    Scan(Scan),
    /// List the applications and their pins
    List,
    /// Show an application's whole configuration, and where each value comes from
    Show(Show),
    /// Print the completions of a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions(Completions),
    /// Write man pages, one for each command
    Man(Man),
    /// Build the guide, docs/guide, as a small site that works offline
    Guide,
    /// Run every test: formatting, lints, unit tests, rendered files, real Pebble, end to end in containers
    Test(Test),
    /// Look at this machine: can it checkpoint, and restore what is pinned? Changes nothing
    #[command(after_help = help::DOCTOR)]
    Doctor(Doctor),
    /// Say why a log ends in a failure, and what to change: logs of CRIU, a CRaC JVM, Pebble, containers
    #[command(after_help = help::EXPLAIN)]
    Explain(Explain),
    /// Remove objects of the store that no pin names
    Gc(Gc),
    /// Remove what was made at run time; what pins name is kept
    Clean(Clean),
}

/// Arguments of `new`.
#[derive(Debug, Args)]
pub struct New {
    /// The application: lowercase letters, digits and dashes; it names its service, rocks and containers
    pub app: String,
    /// Where the jar comes from.
    #[command(flatten)]
    pub from: From,
    /// The commit, in full [default: the newest of the repository's default branch]
    #[arg(long, value_name = "ID", requires = "git", conflicts_with_all = ["maven", "jar", "dir"])]
    pub commit: Option<String>,
}

/// Where `new` finds an application: exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct From {
    /// A repository whose sources are built: https, ssh or file://
    #[arg(long, value_name = "URL")]
    pub git: Option<String>,
    /// A released jar of a Maven repository; it is fetched once, and its SHA-256 pinned
    #[arg(long, value_name = "GROUP:ARTIFACT:VERSION[:CLASSIFIER]")]
    pub maven: Option<String>,
    /// A jar of this machine
    #[arg(long, value_name = "FILE")]
    pub jar: Option<PathBuf>,
    /// A folder of this machine with sources that are built
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Arguments of `checkpoint`.
#[derive(Debug, Args)]
pub struct Checkpoint {
    /// The application: a folder of apps/
    pub app: String,
    /// Do it again, though nothing has changed
    #[arg(long)]
    pub force: bool,
    /// Build from this folder, or take this jar, instead of the source in app.toml
    #[arg(long, value_name = "DIR|JAR")]
    pub source: Option<PathBuf>,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The application: a folder of apps/
    pub app: String,
    /// Leave it running and print its container's name
    #[arg(long)]
    pub detach: bool,
    /// Restore though this machine lacks what the dumping one had
    #[arg(long)]
    pub force_host: bool,
    /// A folder of this machine that the application finds at /run/secrets: what it must not know before the dump
    #[arg(long, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
    /// Port of this machine that leads to the application [default: the application's own, on 127.0.0.1]
    #[arg(long, value_name = "[[ADDRESS:]PORT:]PORT", value_parser = Publish::parse)]
    pub publish: Option<Publish>,
}

/// Arguments of `render`.
#[derive(Debug, Args)]
pub struct Render {
    /// The application; all of them without it
    pub app: Option<String>,
    /// Fail if a file is not as it would be rendered; change nothing
    #[arg(long, conflicts_with = "diff")]
    pub check: bool,
    /// Show what would change; change nothing
    #[arg(long)]
    pub diff: bool,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Apps {
    /// The application; all of them without it
    pub app: Option<String>,
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct Schema {
    /// Fail if a file is not as it would be written; change nothing
    #[arg(long)]
    pub check: bool,
}

/// Arguments of `pack`.
#[derive(Debug, Args)]
pub struct Pack {
    /// The application: a folder of apps/
    pub app: String,
    /// Which rock; the restore rock is packed from the pin
    #[arg(value_parser = one_of(ROLES))]
    pub role: Role,
    /// Build from this folder, or take this jar, instead of the source in app.toml
    #[arg(long, value_name = "DIR|JAR")]
    pub source: Option<PathBuf>,
}

/// Arguments of `why`.
#[derive(Debug, Args)]
pub struct Why {
    /// The application: a folder of apps/
    pub app: String,
    /// Build from this folder, or take this jar, instead of the source in app.toml
    #[arg(long, value_name = "DIR|JAR")]
    pub source: Option<PathBuf>,
}

/// Arguments of `push`.
#[derive(Debug, Args)]
pub struct Push {
    /// The application: a folder of apps/
    pub app: String,
    /// Where to: HOST[:PORT]/REPOSITORY[:TAG] of an OCI registry, or oci:DIR, a folder [default: pin.remote]
    pub remote: Option<String>,
    /// Send the restore rock as well, as an image that container engines pull
    #[arg(long, value_name = "HOST/REPOSITORY[:TAG]")]
    pub rock: Option<String>,
    /// Speak plain HTTP with the registry, which anyone on the way can read and alter; the loopback needs no leave
    #[arg(long)]
    pub plain_http: bool,
}

/// Arguments of `pull`.
#[derive(Debug, Args)]
pub struct Pull {
    /// The application: a folder of apps/
    pub app: String,
    /// Where from: HOST[:PORT]/REPOSITORY[:TAG] of an OCI registry, or oci:DIR, a folder [default: pin.remote]
    pub remote: Option<String>,
    /// Take this pin in place of the one that is here: a tag, or a digest as `push` prints it
    #[arg(long, value_name = "TAG|DIGEST")]
    pub pin: Option<String>,
    /// Speak plain HTTP with the registry, which anyone on the way can read and alter; the loopback needs no leave
    #[arg(long)]
    pub plain_http: bool,
}

/// Arguments of `sign`.
#[derive(Debug, Args)]
pub struct Sign {
    /// The application: a folder of apps/
    pub app: String,
    /// The file with the secret key, as `minisign -G` makes it; its password is asked for, or XTASK_KEY_PASSWORD
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// A pin: a checkpoint.lock, an application that has one, or REVISION:APPLICATION for one that git has
    pub before: String,
    /// Another, in the same forms
    pub after: String,
    /// Fail if they differ
    #[arg(long)]
    pub exit_code: bool,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The application; all that have a pin without it
    pub app: Option<String>,
    /// Compare this rock with the pin, byte for byte, and nothing else
    #[arg(long, value_name = "FILE", requires = "app")]
    pub rock: Option<PathBuf>,
    /// Read the base layer and every byte of the packed rocks, too
    #[arg(long, conflicts_with = "rock")]
    pub deep: bool,
}

/// Arguments of `sbom`.
#[derive(Debug, Args)]
pub struct Sbom {
    /// The application: a folder of apps/
    pub app: String,
    /// Write it here; `-` is the standard output [default: beside the packed rock, in target/xtask/rocks]
    #[arg(long, value_name = "FILE|-")]
    pub output: Option<PathBuf>,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// The application: a folder of apps/
    pub app: String,
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The application: a folder of apps/
    pub app: String,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// Whose
    pub shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Write them here [default: target/xtask/man]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// Arguments of `test`.
#[derive(Debug, Args)]
pub struct Test {
    /// Leave out what needs more than Rust and a minute
    #[arg(long)]
    pub fast: bool,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The application; all of them without it
    pub app: Option<String>,
}

/// Arguments of `gc`.
#[derive(Debug, Args)]
pub struct Gc {
    /// Keep what this lock names as well, as one of another branch; may be given again
    #[arg(long, value_name = "LOCK")]
    pub keep: Vec<PathBuf>,
}

/// Arguments of `clean`.
#[derive(Debug, Args)]
pub struct Clean {
    /// Remove everything, also what pins name
    #[arg(long)]
    pub all: bool,
}
