//! How often a property is tried.

/// As many times as `XTASK_CASES` says, as `cargo xtask test` does; fewer by hand.
pub fn cases(by_hand: u32) -> u32 {
    std::env::var("XTASK_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(by_hand)
}
