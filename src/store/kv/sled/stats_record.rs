//! Statistics record of the database: live bytes, and the next free chunk set.
//!
//! One record under a reserved key, written in the batch that it counts, so it is exact after a crash.

use std::ops::Bound;

use ::sled::{Db, IVec};

use crate::store::kv::engine::Direction;
use crate::store::kv::sled::fault::{Fault, Outcome};
use crate::store::kv::sled::large_values::{self, CHUNK_KEY};

/// The ledger's own key, before all chunks.
pub(super) const KEY: [u8; 1] = [CHUNK_KEY];

/// Entries that counting reads at once.
const PAGE: usize = 512;

/// The record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ledger {
    /// Bytes of all keys and values as the callers know them.
    pub(super) live_bytes: u64,
    next_set: u64,
}

impl Ledger {
    /// The ledger of a database. One that was written before there were ledgers is counted once.
    pub(super) fn of(db: &Db) -> Outcome<Self> {
        match db.get(KEY)? {
            Some(record) => Self::decode(&record),
            None => Self::count(db),
        }
    }

    pub(super) fn add(&mut self, key: &[u8], value_bytes: u64) {
        self.live_bytes += key.len() as u64 + value_bytes;
    }

    pub(super) fn remove(&mut self, key: &[u8], value_bytes: u64) {
        self.live_bytes = self.live_bytes.saturating_sub(key.len() as u64 + value_bytes);
    }

    /// A set number that no value had or has.
    pub(super) fn take_set(&mut self) -> u64 {
        self.next_set += 1;
        self.next_set - 1
    }

    /// Lets no set be given out that was given out before, though its batch did not survive: a reader may have met it.
    pub(super) fn outrun(&mut self, earlier: Self) {
        self.next_set = self.next_set.max(earlier.next_set);
    }

    pub(super) fn encode(self) -> Vec<u8> {
        [self.live_bytes.to_be_bytes(), self.next_set.to_be_bytes()].concat()
    }

    fn decode(record: &[u8]) -> Outcome<Self> {
        let numbers = record.split_first_chunk().and_then(|(live, set)| {
            Some((
                u64::from_be_bytes(*live),
                u64::from_be_bytes(set.try_into().ok()?),
            ))
        });
        let (live_bytes, next_set) =
            numbers.ok_or_else(|| Fault::Damaged("its own record has the wrong length".to_owned()))?;
        Ok(Self { live_bytes, next_set })
    }

    fn count(db: &Db) -> Outcome<Self> {
        let mut ledger = Self {
            live_bytes: 0,
            // Sets used to be numbered by sled.
            next_set: db.generate_id()?,
        };
        let end = Bound::Excluded(IVec::from(&KEY));
        let mut from = Bound::Unbounded;
        loop {
            let page = large_values::page(db, &(from, end.clone()), Direction::Forward, PAGE)?;
            for (key, stored) in &page.entries {
                ledger.add(key, large_values::length(stored)?);
            }
            match page.entries.last() {
                Some((last, _)) if !page.complete => from = Bound::Excluded(last.clone()),
                _ => return Ok(ledger),
            }
        }
    }
}
