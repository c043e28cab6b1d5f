//! Issues of the quality of a translation, in the terms of MQM.

use std::ops::Range;

use crate::domain::ids::SegmentId;
use crate::domain::segment::TextHash;
use crate::domain::time::Stamp;

/// How much an issue matters (MQM).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing, no error.
    Neutral,
    /// Does not hinder understanding.
    Minor,
    /// Hinders understanding.
    Major,
    /// Makes the text unusable or does harm.
    Critical,
}

/// Which text an issue marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The source, such as for an omission.
    Source,
    /// The translation.
    Target,
}

/// An error or a remark in the terms of MQM, about an exact text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QualityIssue {
    /// The kind of error, such as `Accuracy`.
    pub dimension: String,
    /// The kind within the dimension, such as `Mistranslation`; may be empty.
    pub subtype: String,
    /// How much it matters.
    pub severity: Severity,
    /// Which text it marks.
    pub side: Side,
    /// The segment; `None` for the whole translation.
    pub segment: Option<SegmentId>,
    /// The code points of that text; empty where something is missing, `None` for all of it.
    pub range: Option<Range<u32>>,
    /// In words; may be empty.
    pub comment: String,
    /// The finder: a person or a tool.
    pub annotator: String,
    /// The hash of the target text that was judged.
    pub target_hash: TextHash,
    /// The hash of the source text that it was judged by.
    pub source_hash: TextHash,
    /// The commit that stored it.
    pub stamp: Stamp,
}
