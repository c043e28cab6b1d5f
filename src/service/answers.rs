//! Answers to writes: what is in them of what was written depends on what the caller may read.

use super::{Call, Error};
use crate::domain::access::Visibility;

/// The answer to a write. A caller that may not read what it has written gets only the ids, the revision and the etags.
#[derive(Debug, Clone)]
pub struct Written<T> {
    /// What was written.
    pub after: T,
    /// Whether the caller may read all of it.
    pub is_readable: bool,
}

impl Call {
    /// Whether the caller may read an article of this visibility.
    pub(super) fn reads(&self, visibility: Visibility) -> bool {
        self.caller.reads(visibility)
    }

    /// The answer to a write to an article that has this visibility now.
    pub(super) fn written<T>(&self, after: T, visibility: Visibility) -> Written<T> {
        Written {
            after,
            is_readable: self.reads(visibility),
        }
    }

    /// Removes the current etag from the errors of a caller that may not read.
    pub(super) fn conceal(&self, error: Error) -> Error {
        match error {
            Error::EtagMismatch { what, expected, .. } if !self.reads(Visibility::Public) => {
                Error::EtagMismatch {
                    what,
                    expected,
                    current: None,
                }
            }
            error => error,
        }
    }
}
