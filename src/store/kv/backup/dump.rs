//! A dump of a store that goes on being written: all entities as they are after one commit.
//!
//! The engine has no snapshots. So a tracker notes which records change while they are read, they are read again, and
//! the last few are read while the writer stands still. Bodies and log groups never change and are at the ends of their
//! ranges in the order of writing, so for them it is enough to read on.

use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot};

use super::{EntitySink, POLICIES, PREFIXES, entity_of};
use crate::domain::time::{Seq, Stamp};
use crate::store::Entity;
use crate::store::error::{Result, StoreError};
use crate::store::kv::engine::{Direction, Engine, Write};
use crate::store::kv::shared::{Shared, corrupt};
use crate::store::kv::writer::WriteRequest;
use crate::store::kv::{envelope, keys, unavailable};

/// The prefixes of the entities that may be replaced by later ones.
const CHANGING: &[u8] = b"hsjkxdr";
/// Records that are read while the writer stands still, at most: some milliseconds.
const LAST_RECORDS: usize = 1_000;
/// How often what changed is read again before the dump gives up on a reader that is slower than the writers.
const PASSES: usize = 64;
/// Changed records that a tracker notes at most; each takes about 100 bytes.
const MAX_CHANGED: usize = 2_000_000;
/// Records and bytes that are read ahead of the reader.
const AHEAD: (usize, usize) = (1_000, 4 << 20);

/// What changes in the records that a dump has read or is going to read.
#[derive(Default)]
pub(in crate::store::kv) struct Tracker {
    changed: HashSet<Vec<u8>>,
    /// What was erased for good may be in lines that are out already.
    erased: bool,
}

impl Tracker {
    /// Notes a group before it is applied. `last` is the last commit before it.
    pub(in crate::store::kv) fn note(&mut self, writes: &[Write], last: Seq) {
        for write in writes {
            match write {
                Write::Put(key, _) => match key.first() {
                    Some(prefix) if CHANGING.contains(prefix) => drop(self.changed.insert(key.clone())),
                    Some(b'v') => self.erased |= *key <= keys::bodies_up_to(last),
                    _ => {}
                },
                // Requests and replaced jobs are forgotten in time; a dump may still know them.
                Write::Remove(key) => self.erased |= matches!(key.first(), Some(b'h' | b's' | b'd' | b'v')),
            }
        }
    }
}

/// Ends the tracking however the dump ends.
struct Tracking<'a>(&'a Shared);

impl<'a> Tracking<'a> {
    fn begin(core: &'a Shared) -> Result<Self> {
        let mut tracker = core.tracker.lock();
        if tracker.is_some() {
            return Err(unavailable("another backup of this store is being made"));
        }
        *tracker = Some(Tracker::default());
        Ok(Self(core))
    }
}

impl Drop for Tracking<'_> {
    fn drop(&mut self) {
        *self.0.tracker.lock() = None;
    }
}

/// Hands all entities to `sink`, later ones replacing earlier ones, and answers the commit that they show.
///
/// Fails with `Unavailable` when the sink fails, when an article is erased meanwhile, when the engine fails, and when
/// the sink is slower than the writers. `no_sweep` keeps off sweeps until the dump keeps them off itself.
pub(in crate::store::kv) fn dump(
    core: &Shared,
    writer: &mpsc::Sender<WriteRequest>,
    sink: &mut dyn EntitySink,
    no_sweep: impl Sized,
) -> Result<Stamp> {
    let _tracking = Tracking::begin(core)?;
    drop(no_sweep);
    let failures = core.failures.load(Ordering::Acquire);
    let mut dump = Dump {
        core,
        sink,
        ends: [keys::log(0), b"v".to_vec()],
    };
    for prefix in PREFIXES {
        dump.range(prefix)?;
    }
    for _ in 0..PASSES {
        let changed = dump.take_changed();
        let few = changed.len() < LAST_RECORDS;
        dump.again(&changed)?;
        let appended = dump.range(b'v')? + dump.range(b'l')?;
        if few && appended < LAST_RECORDS {
            let last = dump.last(writer)?;
            let tracker = core.tracker.lock();
            if tracker.as_ref().is_none_or(|tracker| tracker.erased) {
                return Err(unavailable(
                    "an article was erased while the backup was made; begin again",
                ));
            }
            if core.failures.load(Ordering::Acquire) != failures {
                return Err(unavailable(
                    "the store failed while the backup was made; begin again",
                ));
            }
            drop(tracker);
            dump.sink.end(last).map_err(|error| gone(&error))?;
            return Ok(last);
        }
    }
    Err(unavailable(
        "the backup is read more slowly than the store is written",
    ))
}

fn gone(error: &io::Error) -> StoreError {
    tracing::info!(%error, "the reader of a backup went away");
    unavailable("the reader of the backup went away")
}

struct Dump<'a> {
    core: &'a Shared,
    sink: &'a mut dyn EntitySink,
    /// The last keys of log and bodies that were read.
    ends: [Vec<u8>; 2],
}

impl Dump<'_> {
    fn emit(&mut self, entity: Entity) -> Result<()> {
        self.sink.entity(entity).map_err(|error| gone(&error))
    }

    /// Reads a prefix on from where it was read to, and answers how many records there were.
    fn range(&mut self, prefix: u8) -> Result<usize> {
        let mut from = match prefix {
            b'l' => self.ends[0].clone(),
            b'v' => self.ends[1].clone(),
            _ => vec![prefix],
        };
        let mut count = 0;
        loop {
            let entities = read_on(&*self.core.engine, &mut from, prefix, AHEAD)?;
            if entities.is_empty() {
                break;
            }
            count += entities.len();
            entities.into_iter().try_for_each(|entity| self.emit(entity))?;
            if self
                .core
                .tracker
                .lock()
                .as_ref()
                .is_some_and(|t| t.changed.len() > MAX_CHANGED)
            {
                return Err(unavailable(
                    "the backup is read more slowly than the store is written",
                ));
            }
        }
        match prefix {
            b'l' => self.ends[0] = from,
            b'v' => self.ends[1] = from,
            _ => {}
        }
        Ok(count)
    }

    fn take_changed(&self) -> HashSet<Vec<u8>> {
        let mut tracker = self.core.tracker.lock();
        tracker
            .as_mut()
            .map(|tracker| std::mem::take(&mut tracker.changed))
            .unwrap_or_default()
    }

    /// Reads records that changed; one that is gone needs no line.
    fn again(&mut self, keys: &HashSet<Vec<u8>>) -> Result<()> {
        for key in keys {
            if let Some(entity) = read(self.core, key)? {
                self.emit(entity)?;
            }
        }
        Ok(())
    }

    /// Reads the rest while nothing is written. What was read is handed over when the writer goes on.
    fn last(&mut self, writer: &mpsc::Sender<WriteRequest>) -> Result<Stamp> {
        let (reply, answer) = oneshot::channel();
        let [mut log, mut bodies] = std::mem::take(&mut self.ends);
        let rest = move |core: &Shared, last: Stamp| {
            let changed = core
                .tracker
                .lock()
                .as_mut()
                .map(|tracker| std::mem::take(&mut tracker.changed));
            let read = || {
                let mut entities = Vec::new();
                for key in changed.unwrap_or_default() {
                    entities.extend(read(core, &key)?);
                }
                let all = (usize::MAX, usize::MAX);
                entities.extend(read_all(&*core.engine, POLICIES)?);
                entities.extend(read_on(&*core.engine, &mut bodies, b'v', all)?);
                entities.extend(read_on(&*core.engine, &mut log, b'l', all)?);
                Ok((last, entities))
            };
            drop(reply.send(read()));
        };
        writer
            .blocking_send(WriteRequest::Exclusive(Box::new(rest)))
            .map_err(|_| StoreError::Closed)?;
        let (last, entities) = answer.blocking_recv().unwrap_or(Err(StoreError::Closed))?;
        entities.into_iter().try_for_each(|entity| self.emit(entity))?;
        Ok(last)
    }
}

fn read(core: &Shared, key: &[u8]) -> Result<Option<Entity>> {
    let entity = |(stamp, payload): (Stamp, Vec<u8>)| entity_of(key, stamp, &payload).map_err(corrupt(key));
    core.get(key)?.map(entity).transpose()
}

/// All records of a prefix.
pub(super) fn read_all(engine: &dyn Engine, prefix: u8) -> Result<Vec<Entity>> {
    read_on(engine, &mut vec![prefix], prefix, (usize::MAX, usize::MAX))
}

/// The next records of a prefix; `from` goes on behind them.
fn read_on(
    engine: &dyn Engine,
    from: &mut Vec<u8>,
    prefix: u8,
    limits: (usize, usize),
) -> Result<Vec<Entity>> {
    let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut bytes = 0;
    engine.scan(
        from.as_slice()..=&keys::above(&[prefix]),
        Direction::Forward,
        &mut |key, record| {
            records.push((key.to_vec(), record.to_vec()));
            bytes += record.len();
            if records.len() < limits.0 && bytes < limits.1 {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        },
    )?;
    if let Some((last, _)) = records.last() {
        *from = [last.as_slice(), &[0]].concat();
    }
    let entity = |(key, record): &(Vec<u8>, Vec<u8>)| {
        let (stamp, payload) = envelope::open(record, || keys::readable(key))?;
        entity_of(key, stamp, &payload).map_err(corrupt(key))
    };
    records.iter().map(entity).collect()
}
