//! The integration tests, in one binary: what every layer promises to the one above it.

mod api;
mod cli;
mod docs;
mod fault;
mod harness;
mod kill_admin;
mod operator;
mod probes;
#[path = "../support/process.rs"]
mod process;
mod quality;
#[path = "../support/random.rs"]
mod random;
mod store;
mod telemetry;
mod tidy;
#[cfg(feature = "otlp")]
mod traces;
mod transport;
