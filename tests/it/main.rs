//! The integration tests, in one binary: what every layer promises to the one above it.

mod api;
mod harness;
mod tidy;
