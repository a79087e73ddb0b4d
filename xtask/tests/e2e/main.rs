//! End to end, in containers: the real program against a temporary workspace.
//!
//! `cargo xtask test` runs them; by hand, `cargo test --test e2e -- --ignored --test-threads=1 --nocapture`.
//! What is slow to make (base layer, build image, Pebble, Maven's cache) is shared with the repository's own
//! `target/xtask`, or with `XTASK_STATE`. Without podman they fail: a test that is skipped proves nothing.

mod canaries;
mod days_later;
mod disk;
mod docker;
mod elsewhere;
mod explanations;
mod fallback;
mod fallback_anywhere;
mod fallback_faults;
mod faults;
mod fleet;
mod fresh;
mod fresh_elsewhere;
mod incremental;
mod interrupted;
mod pebble;
mod pod;
#[path = "../support/registry.rs"]
mod registry;
mod rockcraft;
mod rootless;
mod rootless_account;
mod sources;
mod support;
mod system_calls;
mod verified;
mod whole;
mod zipkin;
