//! The integration tests, in one binary: what every layer promises to the one above it.

mod api;
mod cli;
mod harness;
mod kill;
mod kill_admin;
mod operator;
mod store;
mod tidy;
