//! Log trimming: removes whole groups from the beginning of the log, a bounded number at a time, by the domain's rule.
//!
//! The floor, a record of the store, is the last removed commit, written together with the removals: a log that begins behind
//! it is complete, and one that begins elsewhere has lost commits. The size of the log is measured incrementally: each step
//! reads on from where the last one stopped, so a store that has just been opened takes some steps to know.

use std::ops::ControlFlow;

use prost::Message;

use super::engine::{Direction, Write};
use super::envelope::Sealed;
use super::shared::{Shared, corrupt};
use super::{codec, envelope, keys, records};
use crate::domain::retention::LogRetention;
use crate::domain::time::{Seq, Stamp};
use crate::store::error::Result;

/// Groups that a step measures, and that it removes, at most.
const MEASURED: usize = 2_000;
const REMOVED: usize = 1_000;

/// Measured size of the log.
#[derive(Debug, Default)]
pub(super) struct LogSize {
    /// Bytes of the groups up to there.
    pub(super) bytes: u64,
    /// The key behind the last group that was counted.
    next: Vec<u8>,
}

/// The removals of a step.
pub(super) struct Step {
    pub(super) writes: Vec<Write>,
    /// Bytes that these groups take.
    pub(super) bytes: u64,
    /// Whether all was measured and nothing more is to be removed.
    pub(super) done: bool,
}

/// The newest commit that is no longer in the log; 0 while all are.
pub(super) fn floor(core: &Shared) -> Result<Seq> {
    let Some((_, payload)) = core.get(keys::LOG_FLOOR)? else {
        return Ok(0);
    };
    let floor: records::Cursor = codec::message(&payload).map_err(corrupt(keys::LOG_FLOOR))?;
    Ok(floor.seq)
}

/// Says that this commit is the newest that is no longer in the log.
fn floor_write(commit: Stamp) -> Write {
    let floor = records::Cursor { seq: commit.seq };
    let record = Sealed::new(&floor.encode_to_vec()).stamped(commit);
    Write::Put(keys::LOG_FLOOR.to_vec(), record)
}

/// The record that says so of a log that begins elsewhere than with the first commit.
pub(super) fn floor_of_log(core: &Shared) -> Result<Option<Write>> {
    let mut floor = None;
    let (from, to) = (keys::log(0), keys::above(b"l"));
    core.scan(&from, &to, Direction::Forward, |key, stamp, _| {
        let before = keys::log_seq(key).and_then(|first| first.checked_sub(1));
        floor = before
            .filter(|seq| *seq > 0)
            .map(|seq| floor_write(Stamp { seq, ..stamp }));
        Ok(ControlFlow::Break(()))
    })?;
    Ok(floor)
}

impl LogSize {
    /// Counts the next groups, and answers whether these were all.
    fn measure(&mut self, core: &Shared, durable: Seq) -> Result<bool> {
        let from = if self.next.is_empty() {
            keys::log(0)
        } else {
            self.next.clone()
        };
        let mut groups = 0;
        // A group that is not durable may be another one when it is.
        core.engine.scan(
            from.as_slice()..=&keys::log(durable),
            Direction::Forward,
            &mut |key, record| {
                groups += 1;
                self.bytes += (key.len() + record.len()) as u64;
                self.next = [key, &[0]].concat();
                if groups < MEASURED {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            },
        )?;
        Ok(groups < MEASURED)
    }
}

/// A group that may go if another one follows it.
struct Candidate {
    key: Vec<u8>,
    bytes: u64,
    last: Stamp,
}

/// Measures the log further, and finds the groups to remove.
pub(super) fn step(core: &Shared, retention: &LogRetention, size: &mut LogSize) -> Result<Step> {
    let durable = core.durable.borrow().seq;
    let is_measured = size.measure(core, durable)?;
    let pinned = core.holds.oldest(core.clock.now()).unwrap_or(Seq::MAX);
    let limit = durable.min(pinned);
    let mut step = Step {
        writes: Vec::new(),
        bytes: 0,
        done: is_measured,
    };
    let (mut candidate, mut floor, mut failed): (Option<Candidate>, _, _) = (None, None, None);
    let mut visit = |key: &[u8], record: &[u8]| {
        if let Some(Candidate { key, bytes, last }) = candidate.take() {
            let log_bytes = size.bytes.saturating_sub(step.bytes);
            if last.seq > limit || !retention.drops(last.time, log_bytes) {
                return ControlFlow::Break(());
            }
            step.writes.push(Write::Remove(key));
            step.bytes += bytes;
            floor = Some(last);
            if step.writes.len() >= REMOVED {
                step.done = false;
                return ControlFlow::Break(());
            }
        }
        match envelope::open(record, || keys::readable(key)) {
            Ok((last, _)) => {
                candidate = Some(Candidate {
                    key: key.to_vec(),
                    bytes: (key.len() + record.len()) as u64,
                    last,
                });
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    let (from, to) = (keys::log(0), keys::above(b"l"));
    core.engine
        .scan(from.as_slice()..=&to, Direction::Forward, &mut visit)?;
    if let Some(error) = failed {
        return Err(error);
    }
    step.writes.extend(floor.map(floor_write));
    Ok(step)
}
