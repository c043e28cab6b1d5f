//! A dump of a store that is written meanwhile: all entities as they are after one commit, the moment of the dump, which is
//! when it begins.
//!
//! Most records are never overwritten, so those of later commits are told by their stamps; of the others the writer keeps
//! [`preimages`]. So a dump ends however slowly it is read. A purge is the exception: it takes effect in the dump too. The
//! last entities are the tombstones of articles that were purged after the moment, and an import removes what came before.

use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot};

use super::{EntitySink, entity_of, preimages};
use crate::domain::article::ArticleId;
use crate::domain::time::{Seq, Stamp};
use crate::store::Entity;
use crate::store::error::{Result, StoreError};
use crate::store::kv::engine::{Direction, Engine};
use crate::store::kv::shared::{Shared, corrupt};
use crate::store::kv::write_request::WriteRequest;
use crate::store::kv::{codec, envelope, expiry, keys, purge, unavailable};

/// Records and bytes that are read ahead of the reader.
const AHEAD: (usize, usize) = (1_000, 4 << 20);

/// A dump that is being made.
#[derive(Default)]
pub(in crate::store::kv) struct Dumping {
    /// The moment, while records are read that have preimages.
    pub(super) moment: Option<Seq>,
}

/// Ends the dump however it ends.
struct Guard<'a>(&'a Shared);

impl<'a> Guard<'a> {
    fn begin(core: &'a Shared) -> Result<Self> {
        let mut dump = core.dump.lock();
        if dump.is_some() {
            return Err(unavailable("another backup of this store is being made"));
        }
        *dump = Some(Dumping::default());
        Ok(Self(core))
    }

    fn keep_preimages(core: &Shared, moment: Option<Seq>) {
        *core.dump.lock() = Some(Dumping { moment });
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        *self.0.dump.lock() = None;
    }
}

/// Hands all entities to `sink`, later ones replacing earlier ones, and answers the commit that they show.
///
/// Fails with `Unavailable` when the sink or the engine fails. `no_sweep` keeps off sweeps until the dump keeps them off
/// itself.
pub(in crate::store::kv) fn dump(
    core: &Shared,
    writer: &mpsc::Sender<WriteRequest>,
    sink: &mut dyn EntitySink,
    no_sweep: impl Sized,
) -> Result<Stamp> {
    let _guard = Guard::begin(core)?;
    drop(no_sweep);
    let failures = core.failures.load(Ordering::Acquire);
    remove_leftover(core, writer)?;
    let (moment, policies, erasing) = exclusive(writer, |core, last| {
        Guard::keep_preimages(core, Some(last.seq));
        Ok((last, read_all(&*core.engine, b'n')?, purge::unfinished(core)?))
    })?;
    let mut dump = Dump {
        core,
        sink,
        moment: moment.seq,
        erasing,
    };
    for prefix in preimages::OVERWRITTEN {
        dump.range(&[*prefix], &keys::above(&[*prefix]))?;
    }
    let preimage = keys::preimage(&[]);
    dump.range(&preimage, &keys::above(&preimage))?;
    Guard::keep_preimages(core, None);
    for prefix in b"kxdr" {
        dump.range(&[*prefix], &keys::above(&[*prefix]))?;
    }
    // What is written meanwhile is behind these ends.
    dump.range(b"v", &keys::bodies_up_to(moment.seq))?;
    dump.range(b"l", &keys::log(moment.seq))?;
    policies.into_iter().try_for_each(|policy| dump.emit(policy))?;
    dump.later_tombstones()?;
    // The purges that were seen, and those whose records were missed, are durable.
    exclusive(writer, |_, _| Ok(()))?;
    if core.failures.load(Ordering::Acquire) != failures {
        return Err(failed());
    }
    dump.sink.end(moment).map_err(|error| gone(&error))?;
    Ok(moment)
}

fn gone(error: &io::Error) -> StoreError {
    tracing::info!(%error, "the reader of a backup went away");
    unavailable("the reader of the backup went away")
}

fn failed() -> StoreError {
    unavailable("the store failed while the backup was made; begin again")
}

/// Does something while nothing is written and all that was is durable.
fn exclusive<T: Send + 'static>(
    writer: &mpsc::Sender<WriteRequest>,
    work: impl FnOnce(&Shared, Stamp) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (reply, answer) = oneshot::channel();
    let work = Box::new(move |core: &Shared, last| drop(reply.send(work(core, last))));
    writer
        .blocking_send(WriteRequest::Exclusive(work))
        .map_err(|_| StoreError::Closed)?;
    answer.blocking_recv().unwrap_or_else(|_| Err(failed()))
}

/// Removes what an earlier dump has left.
fn remove_leftover(core: &Shared, writer: &mpsc::Sender<WriteRequest>) -> Result<()> {
    loop {
        let writes = preimages::leftover(core)?;
        if writes.is_empty() {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        writer
            .blocking_send(WriteRequest::Housekeeping(writes, reply))
            .map_err(|_| StoreError::Closed)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(failed()))?;
    }
}

struct Dump<'a> {
    core: &'a Shared,
    sink: &'a mut dyn EntitySink,
    moment: Seq,
    /// Articles that were purged before the moment and of which something is still there.
    erasing: HashSet<ArticleId>,
}

impl Dump<'_> {
    fn emit(&mut self, entity: Entity) -> Result<()> {
        self.sink.entity(entity).map_err(|error| gone(&error))
    }

    /// Hands over the entities of a range as they were at the moment.
    fn range(&mut self, prefix: &[u8], to: &[u8]) -> Result<()> {
        let mut from = prefix.to_vec();
        loop {
            let records = read_on(&*self.core.engine, &mut from, to, AHEAD)?;
            if records.is_empty() {
                return Ok(());
            }
            for (key, record) in records {
                let key = keys::preimage_of(&key).unwrap_or(&key);
                let (stamp, payload) = envelope::open(&record, || keys::readable(key))?;
                if self.is_of_moment(key, stamp, &payload)? {
                    self.emit(entity_of(key, stamp, &payload).map_err(corrupt(key))?)?;
                }
            }
        }
    }

    fn is_of_moment(&self, key: &[u8], stamp: Stamp, payload: &[u8]) -> Result<bool> {
        if !self.erasing.is_empty() && keys::article_of(key).is_some_and(|of| self.erasing.contains(&of)) {
            return Ok(false);
        }
        // The stamp of a replaced job is that of its last change, before it was replaced.
        let written = match key.first() {
            Some(b'k') => {
                let job = codec::decode_job(payload, stamp).map_err(corrupt(key))?;
                expiry::replaced_by(self.core, &job)?.seq
            }
            _ => stamp.seq,
        };
        Ok(written <= self.moment)
    }

    fn later_tombstones(&mut self) -> Result<()> {
        let mut from = b"x".to_vec();
        loop {
            let records = read_on(&*self.core.engine, &mut from, &keys::above(b"x"), AHEAD)?;
            if records.is_empty() {
                return Ok(());
            }
            for (key, record) in records {
                let (stamp, payload) = envelope::open(&record, || keys::readable(&key))?;
                if stamp.seq > self.moment {
                    self.emit(entity_of(&key, stamp, &payload).map_err(corrupt(&key))?)?;
                }
            }
        }
    }
}

/// All entities of a prefix.
pub(super) fn read_all(engine: &dyn Engine, prefix: u8) -> Result<Vec<Entity>> {
    let all = (usize::MAX, usize::MAX);
    let records = read_on(engine, &mut vec![prefix], &keys::above(&[prefix]), all)?;
    let entity = |(key, record): &(Vec<u8>, Vec<u8>)| {
        let (stamp, payload) = envelope::open(record, || keys::readable(key))?;
        entity_of(key, stamp, &payload).map_err(corrupt(key))
    };
    records.iter().map(entity).collect()
}

/// The next records of a range; moves `from` behind them.
fn read_on(
    engine: &dyn Engine,
    from: &mut Vec<u8>,
    to: &[u8],
    limits: (usize, usize),
) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut bytes = 0;
    if from.as_slice() <= to {
        engine.scan(from.as_slice()..=to, Direction::Forward, &mut |key, record| {
            records.push((key.to_vec(), record.to_vec()));
            bytes += record.len();
            if records.len() < limits.0 && bytes < limits.1 {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
    }
    if let Some((last, _)) = records.last() {
        *from = [last.as_slice(), &[0]].concat();
    }
    Ok(records)
}
