//! Which paragraph of a new revision is which of the old ones.

use super::article::SegmentHistory;
use super::segment::{DraftSegment, Segment};

/// A body with its ids assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aligned {
    /// The body.
    pub body: Vec<Segment>,
    /// The number that the next new segment gets.
    pub next_segment: u32,
}
