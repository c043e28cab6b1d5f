//! Statistics record of the database: live bytes, and the next free chunk set.
//!
//! One record under a reserved key, written in the batch that it counts, so it is exact after a crash.

use crate::store::kv::sled::fault::{Fault, Outcome};

/// The first byte of the keys that callers cannot use: this record and, after it, all chunks.
pub(super) const RESERVED: u8 = 0xFF;

/// The key of the record.
pub(super) const KEY: [u8; 1] = [RESERVED];

/// The record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ledger {
    /// Bytes of all keys and values as the callers know them.
    pub(super) live_bytes: u64,
    next_set: u64,
}

impl Ledger {
    /// An empty ledger whose chunk sets begin at this number.
    pub(super) fn starting_at(next_set: u64) -> Self {
        Self {
            live_bytes: 0,
            next_set,
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

    pub(super) fn decode(record: &[u8]) -> Outcome<Self> {
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
}
