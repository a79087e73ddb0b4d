//! From one TOML file per Spring application to a pair of rocks: *checkpoint* and *restore*. Here is the command line; what the
//! commands do it with is [`xtask_core`].

pub mod bench;
pub mod cli;
pub mod commands;
pub mod diff;
pub mod doctor;
pub mod host;
pub mod report;
pub mod traces;
pub mod uptime;

pub use xtask_core::{
    app, checkpoint, debian, diagnostic, digest, engine, explain, files, fresh, http, interrupt, lock, memo,
    memory, pack, pebble, plan, privileges, process, progress, remote, render, rock, rocks, runtime, sbom,
    scan, seccomp, session, signature, source, store, toolchain, verify, way, workspace,
};
pub(crate) use xtask_core::{wire, workers};
