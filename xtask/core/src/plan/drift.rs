//! In what respect things are not as they were pinned: what `why` prints, and what ends a command with `--locked`.

use std::fmt;

use super::Difference;
use crate::digest::Digest;
use crate::lock::Object;

/// One respect in which what is here is not what was pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// There is no pin.
    NoPin,
    /// An input of the pin has changed.
    Input {
        /// Which, and its digests.
        difference: Difference,
        /// What was pinned, as a person would say it.
        pinned: String,
        /// What it is now.
        now: String,
    },
    /// The store lacks an object.
    Lost(Object),
    /// A file under `rocks/<app>` is not as it would be rendered.
    NotRendered {
        /// Its path below the repository.
        path: String,
        /// What would be rendered; none: nothing.
        pinned: Option<Digest>,
        /// What is there; none: nothing.
        now: Option<Digest>,
    },
    /// The restore rock would be another.
    Rock {
        /// The pinned one.
        pinned: Digest,
        /// What this version of the tool makes of the same.
        now: Digest,
    },
}

impl Drift {
    /// An input that has changed, with digests for want of better words.
    pub fn input(difference: Difference) -> Drift {
        let shown = |digest: &Option<Digest>| digest.map_or("none".to_owned(), |digest| digest.short());
        let (pinned, now) = (shown(&difference.pinned), shown(&difference.now));
        Drift::Input { difference, pinned, now }
    }

    /// Its name, for scripts: it stays the same from version to version.
    pub fn code(&self) -> String {
        match self {
            Drift::NoPin => "no-pin".to_owned(),
            Drift::Input { difference, .. } => format!("{}-changed", difference.name),
            Drift::Lost(object) => format!("{}-lost", object.kind.code()),
            Drift::NotRendered { .. } => "file-not-rendered".to_owned(),
            Drift::Rock { .. } => "restore-rock-changed".to_owned(),
        }
    }

    /// The command after which things are pinned as they are now, or are again as they were pinned.
    pub fn remedy(&self, app: &str) -> String {
        match self {
            Drift::NoPin | Drift::Input { .. } | Drift::Rock { .. } => {
                format!("cargo xtask checkpoint {app}")
            }
            Drift::Lost(_) => format!("cargo xtask pull {app}"),
            Drift::NotRendered { .. } => format!("cargo xtask render {app}"),
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code())?;
        let shown = |digest: &Option<Digest>| digest.map_or("absent".to_owned(), |digest| digest.short());
        match self {
            Drift::NoPin => f.write_str("a pin was expected, and there is none"),
            Drift::Input { pinned, now, .. } => write!(f, "{pinned} was pinned, now it is {now}"),
            Drift::Lost(object) => {
                write!(f, "{} {} was pinned, and the store has lost it", object.name, object.digest.short())
            }
            Drift::NotRendered { path, pinned, now } => {
                write!(f, "{path} would be rendered as {}, now it is {}", shown(pinned), shown(now))
            }
            Drift::Rock { pinned, now } => {
                write!(f, "{} was pinned, now it would be {}", pinned.short(), now.short())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::ObjectKind;

    #[test]
    fn each_has_a_name_both_values_and_a_remedy() {
        let check = |drift: Drift, line: &str, remedy: &str| {
            assert_eq!(drift.to_string(), line);
            assert_eq!(drift.remedy("shop"), remedy);
        };
        let (old, new) = (Digest::of("old"), Digest::of("new"));
        check(Drift::NoPin, "no-pin: a pin was expected, and there is none", "cargo xtask checkpoint shop");
        check(
            Drift::input(Difference { name: "source".into(), pinned: Some(old), now: None }),
            "source-changed: cba06b5736fa was pinned, now it is none",
            "cargo xtask checkpoint shop",
        );
        let object = Object {
            kind: ObjectKind::Data,
            name: "/checkpoint-data/core-1.img".into(),
            digest: old,
            size: 1,
        };
        check(
            Drift::Lost(object),
            "data-lost: /checkpoint-data/core-1.img cba06b5736fa was pinned, and the store has lost it",
            "cargo xtask pull shop",
        );
        check(
            Drift::NotRendered { path: "rocks/shop/x".into(), pinned: Some(old), now: None },
            "file-not-rendered: rocks/shop/x would be rendered as cba06b5736fa, now it is absent",
            "cargo xtask render shop",
        );
        check(
            Drift::Rock { pinned: old, now: new },
            "restore-rock-changed: cba06b5736fa was pinned, now it would be 11507a0e2f5e",
            "cargo xtask checkpoint shop",
        );
    }
}
