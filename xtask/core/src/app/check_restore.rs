//! What a value of `[restore]` may be.

use super::Fallback;
use super::setting::Show;

/// What a restore rock does where its restore fails, by name.
pub const FALLBACKS: &[(&str, Fallback)] = &[("fail", Fallback::Fail), ("cold", Fallback::Cold)];

impl Show for Fallback {
    fn show(&self) -> String {
        FALLBACKS.iter().find(|(_, value)| value == self).map_or("", |(name, _)| *name).show()
    }
}
