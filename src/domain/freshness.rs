//! Whether a translation still matches its source, derived from hashes and nothing else: no clock, no flag, so a source
//! that is reverted heals its translations by itself.

use super::article::{Manifest, SegmentHistory, Significance};
use super::ids::SegmentId;
use super::translation::{Binding, TranslationHead};

/// The freshness of a whole translation: the worst that is true of it, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Overall {
    /// Every source segment has a target made from the same text.
    Current,
    /// The same, in another order.
    Moved,
    /// A target's source segment is gone.
    Orphaned,
    /// A target was made from another text.
    Stale,
    /// A source segment has no target.
    Incomplete,
}

/// How each target stands to a source revision. Every list is in reading order: of the source, and for orphans of the
/// translation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// The worst of all.
    pub overall: Overall,
    /// How many source segments have a current target, or need none.
    pub current: usize,
    /// Made from another text.
    pub stale: Vec<SegmentId>,
    /// Source segments without a target.
    pub missing: Vec<SegmentId>,
    /// Targets whose source segment is gone.
    pub orphaned: Vec<SegmentId>,
    /// Current targets that stand elsewhere in the source now: the fewest whose moving explains the new order.
    pub moved: Vec<SegmentId>,
}
