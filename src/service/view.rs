//! What of an article an answer shows: which state, and how much of it.

use crate::domain::time::Timestamp;

/// Bytes after which a page ends, so that clients with the usual limit of 4 MiB can read it.
pub const PAGE_BYTES: usize = 3 << 20;
/// Bytes of articles that the store reads for one call of a list, without their texts.
pub(super) const HELD_BYTES: usize = 32 << 20;
/// Bytes that the summaries of translations take of an article at most; the rest are read by `ListTranslations`.
pub const SUMMARIES_BYTES: usize = 128 << 10;
/// Segment ids of each kind that such a summary names at most.
pub const SUMMARY_IDS: usize = 100;

/// Which state of an article is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The newest.
    Now,
    /// The newest that had this revision of the content.
    Revision(u32),
    /// The one at this time.
    Time(Timestamp),
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Now => f.write_str("state now"),
            Self::Revision(number) => write!(f, "revision {number}"),
            Self::Time(time) => write!(f, "state at {time}"),
        }
    }
}

/// How much of an article is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// Everything but the body.
    Basic,
    /// Everything.
    Full,
}
