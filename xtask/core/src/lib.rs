//! All of the way from one TOML file per Spring application to a pair of rocks, without the command line.
//!
//! load -> plan -> render -> build -> train -> pack -> run -> checkpoint -> scan -> pack -> prove -> pin -> restore.
//!
//! A crate of its own, so that it and the commands are compiled side by side. What it stands on is [`xtask_ground`].

pub mod app;
pub mod checkpoint;
pub mod debian;
pub mod engine;
pub mod explain;
pub mod fresh;
pub mod http;
pub mod lock;
pub mod pebble;
pub mod plan;
pub mod render;
pub mod rocks;
pub mod sbom;
pub mod scan;
pub mod source;
pub mod toolchain;
pub mod verify;
pub mod way;

pub use xtask_ground::{
    diagnostic, digest, files, interrupt, memo, memory, pack, privileges, process, progress, remote, rock,
    runtime, seccomp, session, signature, store, wire, workers, workspace,
};
