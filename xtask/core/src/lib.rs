//! All of the way from one TOML file per Spring application to a pair of rocks, without the command line.
//!
//! load -> plan -> render -> build -> train -> pack -> run -> checkpoint -> scan -> pack -> prove -> pin -> restore.
//!
//! A crate of its own, so that it and the commands are compiled side by side.

pub mod app;
pub mod checkpoint;
pub mod debian;
pub mod diagnostic;
pub mod digest;
pub mod engine;
pub mod explain;
pub mod fresh;
pub mod http;
pub mod interrupt;
pub mod lock;
pub mod memo;
pub mod memory;
pub mod pack;
pub mod pebble;
pub mod plan;
pub mod process;
pub mod progress;
pub mod remote;
pub mod render;
pub mod rock;
pub mod rocks;
pub mod runtime;
pub mod sbom;
pub mod scan;
pub mod seccomp;
pub mod session;
pub mod signature;
pub mod source;
pub mod store;
pub mod toolchain;
pub mod verify;
pub mod way;
pub mod wire;
pub mod workers;
pub mod workspace;
