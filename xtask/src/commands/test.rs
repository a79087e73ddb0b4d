//! `test`: every test there is, cheapest first.

use std::time::Duration;

use anyhow::{Result, bail};
use xshell::{Shell, cmd};

use crate::cli::{Global, Test};
use crate::host;
use crate::process::{self, Limit};
use crate::session::Session;

/// Stops at the first that fails.
pub fn run(session: &Session, arguments: &Test, global: &Global) -> Result<()> {
    let steps: &[(&str, &[&str])] = &[
        ("formatting", &["fmt", "--all", "--check"]),
        ("lints", &["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"]),
        ("unit, snapshot and property tests", &["test", "--quiet"]),
        ("rendered files are fresh", &["xtask", "render", "--check"]),
        ("rendered scripts (shellcheck)", &["test", "--quiet", "--test", "scripts", "--", "--ignored"]),
        (
            "end to end, in containers",
            &["test", "--test", "e2e", "--", "--ignored", "--test-threads=1", "--nocapture"],
        ),
    ];
    let last = if arguments.fast { 4 } else { steps.len() };
    if global.plan {
        super::print_plan(&steps[..last].iter().map(|(name, _)| *name).collect::<Vec<_>>());
        return Ok(());
    }
    if !arguments.fast {
        let needs = [host::PODMAN, host::MMDEBSTRAP, host::GIT, host::SHELLCHECK];
        host::ensure(&needs, global.install, &session.progress)?;
    }
    let shell = Shell::new()?;
    shell.change_dir(&session.workspace.root);
    let limit = Limit::new("the tool's own limit for one kind of tests", Duration::from_secs(4200));
    for (name, words) in &steps[..last] {
        let arguments = words.iter();
        session.progress.step(name, || {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let status =
                process::stream(cmd!(shell, "{cargo} {arguments...}"), &limit, |line| println!("{line}"))?;
            if !status.success() {
                bail!("{name}: `cargo {}` failed ({status})", words.join(" "));
            }
            Ok(())
        })?;
    }
    println!("\nAll tests passed.\n{}", session.progress.times());
    Ok(())
}
