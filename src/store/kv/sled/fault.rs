//! What sled does wrong, as a value.
//!
//! sled reports some damage as an error and meets the rest with a panic; both end here. A fault holds sled's
//! own words for the log. They must not be copied into a `StoreError`, except for an `OpenError`.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why a call to sled, or to the operating system on sled's files, failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The operating system refused. sled stays in this state until it is opened again, reads included.
    Io(io::Error),
    /// Stored bytes are missing, or are not what was written.
    Damaged(String),
}

/// The result of such a call.
pub(super) type Outcome<T> = Result<T, Fault>;

/// Runs `call`, and makes a fault of its error or its panic.
///
/// Unwinding through sled is safe to go on from: its locks are released on the way (they do not poison), and
/// the worst left behind is an engine that answers errors until it is reopened.
pub(super) fn contain<T, E: Into<Fault>>(call: impl FnOnce() -> Result<T, E>) -> Outcome<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(Into::into),
        Err(panic) => Err(Fault::Damaged(format!(
            "sled panicked: {}",
            panic_text(panic.as_ref())
        ))),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Damaged(text) => f.write_str(text),
        }
    }
}

impl From<::sled::Error> for Fault {
    fn from(error: ::sled::Error) -> Self {
        match error {
            ::sled::Error::Io(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A file that ends early is damage, not a refusal.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            _ => Self::Io(error),
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}
