//! Large values: short values are stored inline, long ones in chunks.
//!
//! A sled page over a quarter of its segment becomes a *blob*, a file of its own that sled never syncs, and a
//! leaf is rewritten whole for each write to it. Hence no value in sled is longer than `CHUNK_BYTES` and a
//! marker: with at most some twenty entries in a leaf, a page stays below 1.5 MiB, under the 2 MiB that a
//! segment of 8 MiB allows.
//!
//! Stored forms:
//! - `INLINE value` under the caller's key;
//! - `CHUNKED set length` under the caller's key (two big-endian `u64`), and the value's bytes under
//!   `0xFF set index` (big-endian `u64` and `u32`), each chunk full but the last.
//!
//! A set number is never used twice, so a reader that meets a chunk has a chunk of the value it looks for, and
//! chunks lie in the order in which they were written. `stats_record` allocates them. Nothing here catches panics; the
//! caller does.

use std::collections::BTreeMap;
use std::ops::Bound;

use ::sled::{Batch, Db, IVec};

use crate::store::kv::engine::{Direction, Write};
use crate::store::kv::sled::fault::{Fault, Outcome};
use crate::store::kv::sled::stats_record::{self, Ledger, RESERVED};

/// The longest value that is stored inline, and the length of a chunk.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

const INLINE: u8 = 0;
const CHUNKED: u8 = 1;

/// Entries that counting reads at once.
const COUNTED_ENTRIES: usize = 512;

/// Bytes after which a page of a scan ends, so that its memory is bounded.
const PAGE_BYTES: usize = 1024 * 1024;

/// The rest of a range that is being scanned.
pub(super) type Bounds = (Bound<IVec>, Bound<IVec>);

/// Some entries of a scan as they are stored, in its order.
pub(super) struct Page {
    pub(super) entries: Vec<(IVec, IVec)>,
    /// Whether nothing of the range is left behind the entries.
    pub(super) complete: bool,
}

/// The last write of each key, in key order; `None` removes.
pub(super) fn last_writes(writes: Vec<Write>) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    let entry = |write| match write {
        Write::Put(key, value) => (key, Some(value)),
        Write::Remove(key) => (key, None),
    };
    writes.into_iter().map(entry).collect()
}

/// Entries that are written together, in the form in which they are stored; `None` removes.
#[derive(Default)]
pub(super) struct Staged {
    pub(super) entries: Vec<(IVec, Option<IVec>)>,
}

impl Staged {
    pub(super) fn put(&mut self, key: &[u8], stored: impl Into<IVec>) {
        self.entries.push((key.into(), Some(stored.into())));
    }

    fn remove(&mut self, key: impl Into<IVec>) {
        self.entries.push((key.into(), None));
    }

    /// Adds what stores or removes the value of `key`, and what removes the chunks of its old value.
    ///
    /// It reads the key. That is needed to find old chunks, and it also brings the leaf through sled's checksum
    /// before anything is applied: sled does not take back a batch that fails in its middle.
    pub(super) fn stage(
        &mut self,
        db: &Db,
        ledger: &mut Ledger,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Outcome<()> {
        if let Some(stored) = db.get(key)? {
            let old = Stored::parse(&stored)?;
            ledger.remove(key, old.length());
            if let Stored::Chunked { set, .. } = old {
                for chunk in db.range(chunk_key(set, 0)..=chunk_key(set, u32::MAX)).keys() {
                    self.remove(chunk?);
                }
            }
        }
        let Some(value) = value else {
            self.remove(key);
            return Ok(());
        };
        ledger.add(key, value.len() as u64);
        if value.len() <= CHUNK_BYTES {
            self.put(key, [&[INLINE], value].concat());
            return Ok(());
        }
        let set = ledger.take_set();
        for (index, chunk) in (0_u32..).zip(value.chunks(CHUNK_BYTES)) {
            self.put(&chunk_key(set, index), chunk);
        }
        self.put(key, manifest(set, value.len() as u64));
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        let stored = |stored: &Option<IVec>| stored.as_ref().map_or(0, |stored| stored.len());
        self.entries
            .iter()
            .map(|(key, value)| key.len() + stored(value))
            .sum()
    }

    pub(super) fn batch(&self) -> Batch {
        let mut batch = Batch::default();
        for (key, stored) in &self.entries {
            match stored {
                Some(stored) => batch.insert(key, stored),
                None => batch.remove(key),
            }
        }
        batch
    }
}

/// The length of the value that is stored so.
fn length(stored: &[u8]) -> Outcome<u64> {
    Ok(Stored::parse(stored)?.length())
}

/// The ledger of a database. One that was written before there were ledgers is counted once.
pub(super) fn ledger(db: &Db) -> Outcome<Ledger> {
    if let Some(record) = db.get(stats_record::KEY)? {
        return Ledger::decode(&record);
    }
    // Sets used to be numbered by sled.
    let mut ledger = Ledger::starting_at(db.generate_id()?);
    let end = Bound::Excluded(IVec::from(&stats_record::KEY));
    let mut from = Bound::Unbounded;
    loop {
        let page = page(db, &(from, end.clone()), Direction::Forward, COUNTED_ENTRIES)?;
        for (key, stored) in &page.entries {
            ledger.add(key, length(stored)?);
        }
        match page.entries.last() {
            Some((last, _)) if !page.complete => from = Bound::Excluded(last.clone()),
            _ => return Ok(ledger),
        }
    }
}

/// The value of a key, given what is stored under it.
///
/// Entry and chunks are read one after the other while batches may be applied: if chunks are missing, the
/// entry decides whether the value was replaced meanwhile or is damaged.
pub(super) fn value(db: &Db, key: &[u8], mut stored: Option<IVec>) -> Outcome<Option<Vec<u8>>> {
    loop {
        let Some(bytes) = &stored else { return Ok(None) };
        match Stored::parse(bytes)? {
            Stored::Inline(value) => return Ok(Some(value.to_vec())),
            Stored::Chunked { set, length } => {
                if let Some(value) = join(db, set, length)? {
                    return Ok(Some(value));
                }
            }
        }
        let now = db.get(key)?;
        if now == stored {
            return Err(Fault::Damaged(
                "a chunk of it is missing or has the wrong length".to_owned(),
            ));
        }
        stored = now;
    }
}

/// The value if it is stored inline.
pub(super) fn inline(stored: &[u8]) -> Option<&[u8]> {
    stored
        .split_first()
        .and_then(|(marker, value)| (*marker == INLINE).then_some(value))
}

/// The next entries within `bounds`, at most `limit`.
pub(super) fn page(db: &Db, bounds: &Bounds, direction: Direction, limit: usize) -> Outcome<Page> {
    page_of(db, bounds, direction, limit, PAGE_BYTES)
}

/// The same, ending at the entry that makes it this long.
pub(super) fn page_of(
    db: &Db,
    bounds: &Bounds,
    direction: Direction,
    limit: usize,
    bytes_limit: usize,
) -> Outcome<Page> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    let mut range = db.range::<IVec, _>(bounds.clone());
    while entries.len() < limit && bytes < bytes_limit {
        let next = match direction {
            Direction::Forward => range.next(),
            Direction::Backward => range.next_back(),
        };
        let Some(entry) = next else {
            return Ok(Page {
                entries,
                complete: true,
            });
        };
        let (key, stored) = entry?;
        bytes += key.len() + stored.len();
        entries.push((key, stored));
    }
    Ok(Page {
        entries,
        complete: false,
    })
}

enum Stored<'a> {
    Inline(&'a [u8]),
    Chunked { set: u64, length: u64 },
}

impl<'a> Stored<'a> {
    fn length(&self) -> u64 {
        match self {
            Self::Inline(value) => value.len() as u64,
            Self::Chunked { length, .. } => *length,
        }
    }

    fn parse(bytes: &'a [u8]) -> Outcome<Self> {
        match bytes.split_first() {
            Some((&INLINE, value)) => Ok(Self::Inline(value)),
            Some((&CHUNKED, numbers)) => {
                let (set, rest) = numbers.split_first_chunk().ok_or_else(unreadable)?;
                let length = rest.try_into().map_err(|_| unreadable())?;
                Ok(Self::Chunked {
                    set: u64::from_be_bytes(*set),
                    length: u64::from_be_bytes(length),
                })
            }
            _ => Err(unreadable()),
        }
    }
}

fn unreadable() -> Fault {
    Fault::Damaged("its marker is unknown or cut off".to_owned())
}

fn manifest(set: u64, length: u64) -> Vec<u8> {
    [&[CHUNKED], set.to_be_bytes().as_slice(), &length.to_be_bytes()].concat()
}

fn chunk_key(set: u64, index: u32) -> [u8; 13] {
    let mut key = [RESERVED; 13];
    let (set_part, index_part) = key[1..].split_at_mut(8);
    set_part.copy_from_slice(&set.to_be_bytes());
    index_part.copy_from_slice(&index.to_be_bytes());
    key
}

/// `None` if a chunk is missing or not of its length.
fn join(db: &Db, set: u64, length: u64) -> Outcome<Option<Vec<u8>>> {
    let mut value = Vec::new();
    for index in 0.. {
        let left = length - value.len() as u64;
        if left == 0 {
            break;
        }
        match db.get(chunk_key(set, index))? {
            Some(chunk) if chunk.len() as u64 == left.min(CHUNK_BYTES as u64) => {
                value.extend_from_slice(&chunk);
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(value))
}
