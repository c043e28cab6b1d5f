//! The state of a translation: how far the work on it got.

/// How far the work got (XLIFF 2.1 `state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Not translated yet.
    Initial,
    /// Translated.
    Translated,
    /// Reviewed by another.
    Reviewed,
    /// Ready to publish.
    Final,
}
