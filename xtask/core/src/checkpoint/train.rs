//! An archive of the application's classes (AppCDS), recorded in a run of its own before the one that is dumped.
//!
//! The JVM maps the archive instead of parsing classes. To a checkpoint it is worth more than the faster start:
//! class metadata becomes clean pages of a file, which CRIU neither dumps nor reads back (Zipkin: 174 MB of data
//! without it, 137 MB with it).

use std::time::Duration;

use anyhow::{Context, Result};

use super::life::with_running;
use crate::digest::Digest;
use crate::process::Limit;
use crate::rocks::Job;
use crate::runtime::Runtime;

/// Runs the checkpoint rock `image`, which holds no archive yet, ends it, and takes the archive the JVM wrote at its
/// exit. None if the JVM wrote none: the application's options may not allow it, and it does without.
pub fn train(job: &Job<'_>, runtime: &Runtime, image: &str) -> Result<Option<(Digest, u64)>> {
    let Job { session, app, .. } = *job;
    let file = format!("/run/{}/classes.jsa", app.name);
    // The launcher's own variable, so that the options in start.sh stay the same in both runs.
    // The JVM warns of each class it leaves out, hundreds of them, which says nothing to anybody.
    let option = [("JDK_JAVA_OPTIONS", format!("-XX:ArchiveClassesAtExit={file} -Xlog:cds*=error"))];
    with_running(job, runtime, image, &option, |life| {
        life.warm_up()?;
        let limit = Limit::new("the tool's own limit for writing a class archive", Duration::from_secs(180));
        let script = "pid=$(cat \"/run/$0/jvm.pid\"); kill -TERM \"$pid\"; \
            while kill -0 \"$pid\" 2>/dev/null; do sleep 0.05; done; test -s \"/run/$0/classes.jsa\"";
        let ended = life.container.exec(&["sh", "-c", script, &app.name], &limit)?;
        if !ended.status.success() {
            session
                .progress
                .warn(&format!("{} wrote no class archive; its checkpoint will be larger", app.name));
            return Ok(None);
        }
        let object = life.take_file(&session.store, &file, &limit);
        object.context("the class archive could not be collected").map(Some)
    })
}
