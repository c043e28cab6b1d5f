//! Torn tail repair: makes sled 0.34 recover its log after a power loss that kept later segments and lost earlier ones.
//!
//! The header of each log segment holds the segment's first log sequence number (LSN) and the stable LSN of the moment when
//! it was written. Recovery (`check_contiguity_in_unstable_tail`) begins the search for tears at the segment of the largest
//! stable LSN of all headers. If that segment is missing, sled takes the whole log for torn and zeroes it, synced segments
//! included. For sled, what it wrote with `sync_file_range` is stable; a power loss may take it all the same. So before
//! sled opens, headers behind a missing segment are zeroed until the segment of the largest stable LSN is there.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::store::kv::sled::fault::{Fault, Outcome};

/// Bytes of a segment of the log, fixed in the database when that is created. A page may be a quarter of this before sled
/// makes a file of its own of it; see `large_values`.
pub(super) const SEGMENT_BYTES: usize = 8 * 1024 * 1024;

/// CRC-32 (IEEE) of the rest, xor all ones; LSN and stable LSN, each xor `i64::MAX`; little-endian. As in
/// `pagecache/logger.rs` of sled.
const HEADER_BYTES: usize = 20;

/// The header of a segment that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    lsn: i64,
    stable_lsn: i64,
}

impl Header {
    /// `None` for a segment that is free or torn.
    fn decode(bytes: [u8; HEADER_BYTES]) -> Option<Self> {
        let (crc, rest) = bytes.split_first_chunk()?;
        let (lsn, stable_lsn) = rest.split_first_chunk()?;
        let number = |bytes: &[u8; 8]| i64::from_le_bytes(*bytes) ^ i64::MAX;
        (crc32fast::hash(rest) == !u32::from_le_bytes(*crc)).then_some(Self {
            lsn: number(lsn),
            stable_lsn: number(stable_lsn.first_chunk()?),
        })
    }
}

/// Zeroes the headers of segments behind a missing one, see above. `known_end` is a position up to which the log is known to
/// have been on the disk: a segment that is missing before it is damage, and nothing is written.
pub(super) fn repair(log: &Path, snapshot: u64, known_end: u64) -> Outcome<()> {
    let segment = i64::try_from(SEGMENT_BYTES).unwrap_or(i64::MAX);
    let start_of = |lsn: i64| lsn.max(0) / segment * segment;
    let position = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    // sled reads no header before the segment of the newest snapshot.
    let first = start_of(position(snapshot));
    let file = File::options().read(true).write(true).open(log)?;
    let mut headers = read_headers(&file)?;
    headers.retain(|(_, header)| header.lsn >= first);
    let mut torn = Vec::new();
    loop {
        let stable = headers.iter().map(|(_, header)| header.stable_lsn).max();
        let tail = start_of(stable.unwrap_or(first)).max(first);
        if headers.is_empty() || headers.iter().any(|(_, header)| header.lsn == tail) {
            break;
        }
        if position(known_end) > tail {
            return Err(Fault::Damaged(format!(
                "{} is damaged: the segment of position {tail} is missing, and the log was written up to {known_end}",
                log.display()
            )));
        }
        let count = torn.len();
        torn.extend(headers.extract_if(.., |(_, header)| header.lsn > tail));
        if torn.len() == count {
            break;
        }
    }
    if torn.is_empty() {
        return Ok(());
    }
    for (offset, _) in &torn {
        file.write_all_at(&[0; HEADER_BYTES], *offset)?;
    }
    file.sync_all()?;
    tracing::warn!(
        segments = torn.len(),
        "a power loss or a failed sync tore the end of the log, behind what was acknowledged; it was cut off"
    );
    Ok(())
}

/// The headers of all segments in use, with their offsets.
fn read_headers(log: &File) -> Outcome<Vec<(u64, Header)>> {
    let length = log.metadata()?.len();
    let mut headers = Vec::new();
    for offset in (0..length.saturating_sub(HEADER_BYTES as u64 - 1)).step_by(SEGMENT_BYTES) {
        let mut bytes = [0; HEADER_BYTES];
        log.read_exact_at(&mut bytes, offset)?;
        headers.extend(Header::decode(bytes).map(|header| (offset, header)));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::store::error::{OpenError, StoreError};
    use crate::store::kv::engine::{Engine, Write};
    use crate::store::kv::engine_tests::{open_sled, put};
    use crate::store::kv::sled::tests::commit;
    use crate::store::kv::sled::{SledConfig, SledEngine, open};

    const PAGE_BYTES: usize = 4096;
    const KEYS: u8 = 128;

    fn log_of(directory: &Path) -> PathBuf {
        directory.join("db/db")
    }

    /// Values of which each tells its group.
    fn group(number: u8) -> Vec<Write> {
        let value = |n: u8| vec![number; 60_000 - usize::from(n)];
        (0..KEYS).map(|n| put([n], value(n))).collect()
    }

    /// Which group the keys are of; a mixture is none.
    fn found(engine: &SledEngine) -> Option<u8> {
        let first = engine.get(&[0]).unwrap()?[0];
        let is_there = |write: &Write| matches!(write, Write::Put(key, value) if engine.get(key).unwrap().as_ref() == Some(value));
        group(first).iter().all(is_there).then_some(first)
    }

    /// A database whose log is partly on the disk, and in whole in the page cache.
    struct Written {
        directory: TempDir,
        synced: Vec<u8>,
        cached: Vec<u8>,
    }

    impl Written {
        /// The database after a power loss that kept these pages of what was not synced.
        fn image(&self, mut kept: impl FnMut(usize) -> bool) -> TempDir {
            let image = tempfile::tempdir().unwrap();
            fs::create_dir_all(image.path().join("db/blobs")).unwrap();
            for entry in fs::read_dir(self.directory.path().join("db")).unwrap() {
                let entry = entry.unwrap();
                if entry.file_name() != "db" && entry.file_type().unwrap().is_file() {
                    fs::copy(entry.path(), image.path().join("db").join(entry.file_name())).unwrap();
                }
            }
            let mut log = self.synced.clone();
            log.resize(self.cached.len(), 0);
            for at in (0..log.len()).step_by(PAGE_BYTES) {
                let page = at..(at + PAGE_BYTES).min(log.len());
                if log[page.clone()] != self.cached[page.clone()] && kept(at) {
                    log[page.clone()].copy_from_slice(&self.cached[page]);
                }
            }
            fs::write(log_of(image.path()), log).unwrap();
            image
        }

        /// The segments with something that was not synced.
        fn torn_segments(&self) -> std::ops::Range<usize> {
            self.synced.len() / SEGMENT_BYTES..self.cached.len().div_ceil(SEGMENT_BYTES)
        }
    }

    /// One synced group, then two that only sled flushed.
    fn flushed_by_sled() -> Written {
        let directory = tempfile::tempdir().unwrap();
        let engine = open_sled(directory.path());
        commit(&engine, group(0));
        drop(engine);
        fs::remove_file(directory.path().join("db/end")).unwrap();
        let db = open::config(&directory.path().join("db"), 1 << 20)
            .open()
            .unwrap();
        let synced = fs::read(log_of(directory.path())).unwrap();
        for number in 1..3 {
            let mut batch = ::sled::Batch::default();
            for n in 0..140_u8 {
                batch.insert(&[0xF0, number, n], vec![n; 60_000]);
            }
            db.apply_batch(batch).unwrap();
            db.flush().unwrap();
        }
        let cached = fs::read(log_of(directory.path())).unwrap();
        Written {
            directory,
            synced,
            cached,
        }
    }

    #[test]
    fn synced_data_survives_whichever_headers_of_later_segments_are_kept() {
        let written = flushed_by_sled();
        let torn = written.torn_segments();
        assert!(torn.len() >= 3, "{torn:?}");
        for kept in (1..1_usize << torn.len()).filter(|kept| kept.count_ones() <= 2) {
            let is_kept = |at: usize| {
                at.is_multiple_of(SEGMENT_BYTES) && kept >> (at / SEGMENT_BYTES - torn.start) & 1 == 1
            };
            let image = written.image(is_kept);
            assert_eq!(
                found(&open_sled(image.path())),
                Some(0),
                "headers {kept:b} of {torn:?}"
            );
        }
    }

    #[test]
    fn a_segment_that_is_missing_before_the_known_end_is_damage_and_nothing_is_written() {
        let written = flushed_by_sled();
        let torn = written.torn_segments();
        let last = (torn.end - 1) * SEGMENT_BYTES;
        let image = written.image(|at| at == last);
        let end = u64::try_from(last).unwrap();
        open::End::of(&image.path().join("db")).note(end).unwrap();
        let before = fs::read(log_of(image.path())).unwrap();
        match SledEngine::open(SledConfig::new(image.path())).map(drop) {
            Err(StoreError::Open(OpenError::Damaged { detail, .. })) => {
                assert!(detail.contains("is missing"), "{detail}");
            }
            other => panic!("expected a damaged store, got {other:?}"),
        }
        assert!(fs::read(log_of(image.path())).unwrap() == before);
    }

    /// A synced group, then groups that are applied and flushed; the engine syncs what it must.
    fn flushed_by_the_engine(groups: u8) -> (Written, u8) {
        let directory = tempfile::tempdir().unwrap();
        let engine = open_sled(directory.path());
        commit(&engine, group(0));
        let read = || fs::read(log_of(directory.path())).unwrap();
        let (mut synced, mut last_synced, mut flushed) = (read(), 0, read());
        for number in 1..=groups {
            let before = engine.phase.read().opened().unwrap().synced_bytes();
            engine.apply(group(number)).unwrap();
            engine.flush().unwrap();
            if engine.phase.read().opened().unwrap().synced_bytes() != before {
                (synced, last_synced) = (flushed, number - 1);
            }
            flushed = read();
        }
        std::mem::forget(engine);
        (
            Written {
                directory,
                synced,
                cached: flushed,
            },
            last_synced,
        )
    }

    #[test]
    fn an_image_holds_whole_groups_and_all_that_was_synced() {
        // Few groups, each of more than a segment; and so many that segments are used again.
        for groups in [2, 9] {
            let (written, synced) = flushed_by_the_engine(groups);
            let config = ProptestConfig {
                cases: 12,
                failure_persistence: None,
                ..ProptestConfig::default()
            };
            proptest!(config, |(seed: u64, one_lost_of in 1..200_u32)| {
                let image = written.image(|at| !crc32c::crc32c(&(seed ^ at as u64).to_le_bytes()).is_multiple_of(one_lost_of));
                let found = found(&open_sled(image.path()));
                prop_assert!(found >= Some(synced), "{found:?} of {synced}");
            });
        }
    }
}
