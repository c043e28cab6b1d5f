//! The conformance suite of the [`Store`](article_store::store::Store) contract, run on every engine, and what only the
//! kv store promises: it survives kills and failing disks, and notices damage.
//!
//! A test gets a [`Bench`](bench::Bench) with an empty store. When it is done, the store must pass its own check.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that meets something unexpected fails its test"
)]

/// Runs tests on every store.
macro_rules! on_every_store {
    ($($test:ident),* $(,)?) => {
        mod reference {
            $(#[test] fn $test() { crate::store::bench::run(crate::store::bench::Kind::Reference, super::$test); })*
        }
        mod memory {
            $(#[test] fn $test() { crate::store::bench::run(crate::store::bench::Kind::Memory, super::$test); })*
        }
        mod sled {
            $(#[test] fn $test() { crate::store::bench::run(crate::store::bench::Kind::Sled, super::$test); })*
        }
    };
}

/// Runs tests of the kv store on its engines.
macro_rules! on_every_engine {
    ($($test:ident),* $(,)?) => {
        mod kv_memory {
            $(#[test] fn $test() { crate::store::bench::run(crate::store::bench::Kind::Memory, super::$test); })*
        }
        mod kv_sled {
            $(#[test] fn $test() { crate::store::bench::run(crate::store::bench::Kind::Sled, super::$test); })*
        }
    };
}

mod backup;
mod backup_moment;
mod bench;
mod claims;
mod claims_model;
mod clock;
mod commits;
mod compaction;
#[expect(
    clippy::print_stdout,
    reason = "the process to be killed says what was acknowledged"
)]
mod crash;
mod damage;
mod departures;
pub(crate) mod disk;
mod embargoes;
mod embargoes_damaged;
mod failure;
mod fixtures;
mod formats;
mod hand_over;
mod jobs;
mod lifecycle;
mod lists;
mod log;
mod purge;
mod reads;
mod retention;
mod sizes;
mod trimming;
