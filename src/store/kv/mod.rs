//! The store over any ordered key-value engine.
pub mod engine;
pub mod memory;
pub mod sled;

#[cfg(test)]
mod engine_tests;
