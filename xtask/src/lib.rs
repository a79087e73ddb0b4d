//! From one TOML file per Spring application to a pair of rocks: *checkpoint* and *restore*.
//!
//! The way through the house: load -> plan -> render -> build -> train -> pack -> run -> checkpoint -> scan -> pack -> prove -> pin -> restore.

pub mod app;
pub mod bench;
pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod debian;
pub mod diagnostic;
pub mod diff;
pub mod digest;
pub mod doctor;
pub mod engine;
pub mod explain;
pub mod fresh;
pub mod host;
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
pub mod report;
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
pub mod traces;
pub mod uptime;
pub mod verify;
pub mod way;
mod wire;
mod workers;
pub mod workspace;
