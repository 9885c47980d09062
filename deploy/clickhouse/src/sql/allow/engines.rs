//! Engines that tables may have.

use super::Rules;
use crate::rights::Identity;

/// Table engines of everybody: storage of the engine's own, in its own folder.
pub const ENGINES: [&str; 7] = [
    "MergeTree",
    "ReplacingMergeTree",
    "SummingMergeTree",
    "AggregatingMergeTree",
    "CollapsingMergeTree",
    "VersionedCollapsingMergeTree",
    "CoalescingMergeTree",
];

/// Whether tables may have this engine.
pub(super) fn is_engine(name: &[u8], rules: &Rules<'_>) -> bool {
    ENGINES.iter().any(|engine| name == engine.as_bytes())
        || (rules.identity == Identity::Owner
            && rules.further_engines.iter().any(|engine| name == engine.as_bytes()))
}
