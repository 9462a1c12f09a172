//! What a sink gets of an output.

use std::str::FromStr;

/// What a sink gets of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Every change of every epoch.
    Changes,
    /// The new row of each key that changed in the epoch, or that the key is gone.
    Upserts,
    /// The rows that were added in the epoch, each as often as it was; none may be withdrawn.
    Append,
    /// The rows that are there after the end, once.
    Final,
}

impl Emit {
    /// All of them, by their names.
    const ALL: [(&'static str, Emit); 4] = [
        ("changes", Emit::Changes),
        ("upserts", Emit::Upserts),
        ("append", Emit::Append),
        ("final", Emit::Final),
    ];
}

impl FromStr for Emit {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Emit::ALL.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, emit)| emit).ok_or_else(|| {
            let names = Emit::ALL.map(|(name, _)| name).join(", ");
            format!("{text:?} is not what a sink can get: expected one of {names}")
        })
    }
}
