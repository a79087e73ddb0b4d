//! What stands below the way and reads no app.toml: digests and the store, rocks and their images, dumps and their memory,
//! containers, registries, processes and the voice. An application is a name to it.
//!
//! A crate of its own, so that none of it can come to need an application, and so that it is compiled beside what only the
//! way needs.

pub mod diagnostic;
pub mod digest;
pub mod files;
pub mod interrupt;
pub mod memo;
pub mod memory;
pub mod pack;
pub mod privileges;
pub mod process;
pub mod progress;
pub mod remote;
pub mod rock;
pub mod runtime;
pub mod seccomp;
pub mod session;
pub mod signature;
pub mod store;
pub mod wire;
pub mod workers;
pub mod workspace;
