//! A batch made ready by the task that asked for it: encoded, compressed and summed, so that the one writer has little
//! left to do.

use super::codec;
use super::derived;
use super::envelope::Sealed;
use super::keys;
use crate::domain::article::Alias;
use crate::domain::history::BodyRef;
use crate::domain::job::Job;
use crate::domain::query::Axis;
use crate::store::Batch;

/// A job's record. It is mostly hashes.
pub(super) fn seal_job(job: &Job) -> Sealed {
    Sealed::plain(&codec::encode_job(job))
}

/// A batch with its records sealed.
pub(super) struct Prepared {
    /// The batch; its entities go to the cache when it is applied.
    pub(super) batch: Batch,
    /// The head and its index rows, by axis.
    pub(super) head: Option<(Sealed, [(Axis, Sealed); 4])>,
    /// Slots, in the order of the batch.
    pub(super) slots: Vec<Sealed>,
    /// Jobs, in the order of the batch.
    pub(super) jobs: Vec<Sealed>,
    /// Bodies, in the order of the batch.
    pub(super) bodies: Vec<Sealed>,
    /// The segment history.
    pub(super) segment_history: Option<Sealed>,
    /// All aliases of the head with their holder records; the writer puts those that are new.
    pub(super) aliases: Vec<(Alias, Sealed)>,
    /// The tombstone, and the bodies that go with the article.
    pub(super) purge: Option<(Sealed, Vec<BodyRef>)>,
    /// The request record and its key.
    pub(super) request: Option<(Vec<u8>, Sealed)>,
    /// The encoded events.
    pub(super) events: Vec<u8>,
}

impl Prepared {
    /// Encodes a batch; `erased` are the bodies that a purge removes.
    pub(super) fn new(batch: Batch, erased: Vec<BodyRef>) -> Self {
        let head = batch.head.as_ref();
        let request = batch.request.as_ref().map(|record| {
            (
                keys::request(&record.key),
                Sealed::new(&codec::encode_request(record)),
            )
        });
        Self {
            head: head.map(|head| (Sealed::new(&codec::encode_head(head)), derived::index_rows(head))),
            slots: batch
                .slots
                .iter()
                .map(|slot| Sealed::plain(&codec::encode_slot(slot)))
                .collect(),
            jobs: batch.jobs.iter().map(seal_job).collect(),
            bodies: batch
                .bodies
                .iter()
                .map(|body| Sealed::new(&codec::encode_body(body)))
                .collect(),
            segment_history: batch
                .segment_history
                .as_ref()
                .map(|history| Sealed::new(&codec::encode_segment_history(history))),
            aliases: head.map(derived::alias_holders).unwrap_or_default(),
            purge: batch
                .purge
                .as_ref()
                .map(|tombstone| (Sealed::new(&codec::encode_tombstone(tombstone)), erased)),
            events: codec::encode_events(
                &batch.events,
                request.as_ref().map(|(key, _)| key.clone()),
                &batch.principal,
            ),
            request,
            batch,
        }
    }

    /// Bytes that it is going to write, roughly; bounds a group.
    pub(super) fn bytes(&self) -> usize {
        let head = self
            .head
            .iter()
            .map(|(head, rows)| head.len() + rows.iter().map(|(_, row)| row.len()).sum::<usize>());
        let records = self
            .slots
            .iter()
            .chain(&self.jobs)
            .chain(&self.bodies)
            .chain(&self.segment_history)
            .map(Sealed::len);
        head.chain(records).sum::<usize>() + self.events.len()
    }
}
