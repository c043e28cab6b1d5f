//! The seam between rules and storage.
pub mod error;
pub mod kv;
