//! What is dropped in time: the content of old revisions, and the beginning of the change log. What a revision says of
//! itself, its author and its time are kept indefinitely; so are metadata and translations.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use super::article::Head;
use super::job::Job;
use super::time::Timestamp;
use super::translation::{Disposition, Slot};

/// How many revisions keep their content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// This many of the newest revisions of an article.
    pub newest: NonZeroU32,
    /// What was the newest revision at this time or later is kept too: a request may have to be answered again with the
    /// article as it was then.
    pub superseded_before: Timestamp,
}

impl Retention {
    /// The oldest revision that is kept for being among the newest; `None`: all are.
    pub fn oldest_of_newest(&self, head: &Head) -> Option<u32> {
        let older = head.revision().checked_sub(self.newest.get())?;
        (older > 0).then_some(older + 1)
    }

    /// Whether an older revision loses its content. `superseded` is when the next one was written, `named` are the
    /// revisions that translations and jobs name.
    pub fn drops(&self, revision: u32, superseded: Timestamp, named: &BTreeSet<u32>) -> bool {
        superseded < self.superseded_before && !named.contains(&revision)
    }
}

/// How much of the change log is kept. It goes from its beginning, for followers need it without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRetention {
    /// What was committed at this time or later, ...
    pub since: Timestamp,
    /// ... as far as the log stays within this many bytes.
    pub bytes: u64,
}

impl LogRetention {
    /// Whether the beginning of the log is dropped, where its newest commit has this time and all of the log takes this many
    /// bytes.
    pub fn drops(&self, newest: Timestamp, log_bytes: u64) -> bool {
        newest < self.since || log_bytes > self.bytes
    }
}

/// The revisions that translations were made from, as a whole or in a segment, and those that open jobs are done from.
/// Withdrawn translations do not count.
pub fn named<'a>(
    slots: impl IntoIterator<Item = &'a Slot>,
    jobs: impl IntoIterator<Item = &'a Job>,
) -> BTreeSet<u32> {
    let open = jobs.into_iter().filter(|job| job.state.is_open());
    slots
        .into_iter()
        .flat_map(|slot| &slot.translations)
        .filter(|translation| translation.disposition != Disposition::Withdrawn)
        .flat_map(|translation| {
            let segments = translation.bindings.iter().map(|binding| binding.source_revision);
            segments.chain([translation.source_revision])
        })
        .chain(open.map(|job| job.source_revision))
        .collect()
}
