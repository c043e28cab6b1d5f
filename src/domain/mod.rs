//! The functional core: plain types and pure functions.
//!
//! Nothing here knows a clock, randomness, a runtime, the wire or a database: they arrive as arguments, so every rule
//! can be tested at any moment and over any history. Start with [`article`] and [`translation`]; the rules of the
//! product are [`align`] (which paragraph is which), [`freshness`] (does a translation still hold), [`attach`] (who may
//! replace whose text), [`workflow`] and [`review`] (how far the work got), [`selection`] and [`reading`] (which text is
//! served), [`significance`] (how much a revision matters) and [`quality`] (what can be measured of a text).

pub mod access;
pub mod align;
pub mod article;
pub mod attach;
pub mod capacity;
pub mod change;
pub mod coverage;
pub mod date;
pub mod departures;
pub mod diff;
pub mod draft;
pub mod etag;
pub mod feed;
pub mod freshness;
pub mod ids;
pub mod job;
pub mod language;
pub mod policy;
pub mod provenance;
pub mod quality;
pub mod query;
pub mod reading;
pub mod request;
pub mod retention;
pub mod review;
pub mod segment;
pub mod selection;
pub mod significance;
pub mod state;
pub mod time;
pub mod translation;
pub mod url;
pub mod version;
pub mod workflow;

#[cfg(test)]
mod tests;

/// Why a value was refused, as a clause that names the value and the limit (`"x-" is not a BCP-47 language tag`).
/// The caller knows the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    /// A refusal with this description.
    pub fn new(description: impl Into<String>) -> Self {
        Self(description.into())
    }
}

/// A field that is wrong: its path in the request, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Violation {
    /// The path, such as `text.body[3].text`.
    pub field: String,
    /// What is wrong, naming the value and the limit.
    pub description: String,
}

impl Violation {
    /// A violation of this field.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            description: description.into(),
        }
    }
}
