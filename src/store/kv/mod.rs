//! The store over any ordered key-value engine.
pub mod engine;
