//! `sign`: a minisign signature of a pin.

use anyhow::{Context, Result};

use crate::app;
use crate::cli::{Global, Sign};
use crate::lock::Lock;
use crate::session::Session;
use crate::signature;

/// Signs the pin as it is committed; whoever signs vouches for all that it names.
pub fn run(session: &Session, arguments: &Sign, global: &Global) -> Result<()> {
    let app = app::load(&session.workspace.root, &arguments.app)?.app;
    if global.plan {
        super::print_plan(&["read the pin", "read the key", "write the signature beside the pin"]);
        return Ok(());
    }
    let path = session.workspace.lock(&app.name);
    let lock = Lock::read(&path)?.with_context(|| super::no_pin(&app.name))?;
    let password = std::env::var("XTASK_KEY_PASSWORD").ok();
    let text = lock.text()?;
    let written = signature::sign(&path, &text, &arguments.key, password)?;
    signature::check(&path, &text, &app.pin.signed_by)
        .context("the signature is made, but pin.signed-by does not name the key that made it")?;
    println!("{}", session.workspace.relative(&written));
    println!("Next: commit it beside the pin, and `cargo xtask push {}`", app.name);
    Ok(())
}
