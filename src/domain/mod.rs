//! The functional core: plain types and pure functions. No clock, no randomness, no I/O.
pub mod article;
