//! The status of a store: counts, sizes, the progress of a compaction, and the findings of a check.

use std::collections::BTreeMap;

use crate::domain::freshness::Overall;
use crate::domain::job::JobKind;
use crate::domain::language::Language;
use crate::domain::time::Seq;

/// Counts of one language: as a source, and as a target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Articles in this source language that are not deleted.
    pub articles: u64,
    /// Deleted articles in this source language.
    pub deleted: u64,
    /// Revisions of the articles in this source language.
    pub revisions: u64,
    /// Translations into it, without withdrawn ones.
    pub translations: u64,
    /// Open jobs into it of articles that may be worked on, leased or not: by source language and kind.
    pub open_jobs: BTreeMap<(Language, JobKind), u64>,
    /// Active translations into it that are not current, by freshness.
    pub not_current: BTreeMap<Overall, u64>,
}

/// The status of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatus {
    /// The engine, such as `sled`.
    pub engine: &'static str,
    /// A random id; a store that is restored from a backup gets a new one.
    pub epoch: [u8; 16],
    /// The newest durable commit.
    pub seq: Seq,
    /// Counts by language.
    pub counts: BTreeMap<Language, Counts>,
    /// Sizes, of an engine that knows them.
    pub sizes: Option<Sizes>,
    /// The progress of a running compaction.
    pub compaction: Option<Progress>,
}

/// Sizes of a store in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// Bytes of all records.
    pub live_bytes: u64,
    /// Bytes that the store's files take on their volume; 0 without files.
    pub disk_bytes: u64,
    /// Bytes that the volume has free; `u64::MAX` without files.
    pub available_bytes: u64,
    /// Free bytes below which writes are refused.
    pub floor_bytes: u64,
}

/// Progress of a long operation in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes done.
    pub done_bytes: u64,
    /// Total bytes, estimated.
    pub total_bytes: u64,
}

/// A store that takes this many times the bytes of its records should be compacted.
const BLOATED: u64 = 4;
/// A smaller store is never bloated: files have a minimum size.
const BLOATED_BYTES: u64 = 256 << 20;

impl Sizes {
    /// Whether the store should be compacted.
    pub fn is_bloated(&self) -> bool {
        self.disk_bytes > BLOATED_BYTES && self.disk_bytes > BLOATED * self.live_bytes
    }

    /// Whether the volume has less free space than writes need.
    pub fn is_full(&self) -> bool {
        self.available_bytes < self.floor_bytes
    }
}

/// A finding of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The record in a readable form.
    pub record: String,
    /// What is wrong with it.
    pub problem: String,
}

/// A report of a running check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// The number of records read since the last report.
    Records(u64),
    /// A finding.
    Found(Finding),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_bloated_above_four_times_its_records() {
        let is_bloated = |live_bytes, disk_bytes| {
            let sizes = Sizes {
                live_bytes,
                disk_bytes,
                ..Sizes::default()
            };
            sizes.is_bloated()
        };
        let gib = 1 << 30;
        assert!(!is_bloated(gib, 4 * gib));
        assert!(is_bloated(gib, 4 * gib + 1));
        assert!(!is_bloated(1, BLOATED_BYTES), "it is as small as a store can be");
        assert!(is_bloated(1, BLOATED_BYTES + 1));
    }
}
