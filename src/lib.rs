//! A gRPC service that stores news articles by id, lists them by date, and holds their translations bound to the exact
//! source text.
//!
//! This page is the architecture. Calls go down the layers, and no layer knows the ones above it:
//!
//! ```text
//! main -> cli -> server -> api -> service -> store (trait) <- store::kv (sled, memory)
//!                            |        |         |
//!                            pb     domain <----+
//! cli -> exchange -> domain
//! ```
//!
//! * [`domain`] is a functional core: types and rules without clock, randomness or I/O. Which paragraph is which
//!   ([`domain::align`]), does a translation still hold ([`domain::freshness`]), who may replace whose text
//!   ([`domain::attach`]), what work is wanted and who has it ([`domain::job`]).
//! * [`service`] reads what a decision needs, asks the domain, and commits the decision as data ([`store::Batch`]). When a
//!   precondition no longer holds, it decides again.
//! * [`store`] is the seam: one trait of whole atomic operations. [`store::kv`] implements it over any ordered key-value
//!   engine; every rule that makes sled safe is in [`store::kv::sled`].
//! * [`api`] is transport: convert, call, map, answer. Errors become statuses in `api::error` alone.
//! * [`server`] is the process around it; [`server::auth`] decides who may call, by the rights of [`domain::access`].
//! * [`exchange`] reads files that articles come in, `cli` is the command line.
//!
//! What always holds:
//! 1. An acknowledged write survives power loss, and no answer shows a write that could still be lost.
//! 2. Nothing is overwritten: every change makes an immutable version, so any moment can be read back exactly.
//! 3. Freshness is derived from hashes, so a source that is reverted heals its translations.
//! 4. A machine's text never replaces a person's unless told so.
//! 5. The same request id gives the same answer.
//! 6. A hidden article is absent with all its translations and revisions, and a purged one leaves no text behind.
//! 7. At most one job of an article, language and kind is open, and its result is attached in the commit that ends it.
//! 8. Every commit is in the change log, in order and without gaps, from the oldest that is kept.
//!
//! Start reading with [`domain::article`], [`service::articles`] and [`store`].

pub mod api;
pub mod cli;
pub mod clock;
pub mod domain;
pub mod exchange;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod pb;
pub mod server;
pub mod service;
pub mod store;
