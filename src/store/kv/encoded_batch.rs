//! A batch encoded, compressed and checksummed by the task that asked for it, so that little work is left to the single
//! writer.

use super::codec;
use super::departures;
use super::engine::Write;
use super::envelope::Sealed;
use super::indexes;
use super::keys;
use crate::domain::article::Alias;
use crate::domain::job::Job;
use crate::domain::query::Axis;
use crate::store::Batch;
use crate::store::error::{Result, StoreError};
use crate::store::model::commits;

/// A job's record. It is mostly hashes.
pub(super) fn seal_job(job: &Job) -> Sealed {
    Sealed::plain(&codec::encode_job(job))
}

/// A batch with its records sealed.
pub(super) struct EncodedBatch {
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
    /// The delta of a new revision, and its rows.
    pub(super) delta: Option<(Sealed, Vec<Write>)>,
    /// All aliases of the head with their holder records; the writer puts those that are new.
    pub(super) aliases: Vec<(Alias, Sealed)>,
    /// The tombstone.
    pub(super) purge: Option<Sealed>,
    /// The request record and its key.
    pub(super) request: Option<(Vec<u8>, Sealed)>,
    /// The encoded events.
    pub(super) events: Vec<u8>,
}

impl EncodedBatch {
    /// Encodes a batch. A record that could not be read back is refused.
    pub(super) fn new(batch: Batch) -> Result<Self> {
        let sized = |record, payload| commits::check_size(Some(&batch.article), record, payload);
        let sealed = |record, payload| Ok::<_, StoreError>(Sealed::new(&sized(record, payload)?));
        let plain = |record, payload| Ok::<_, StoreError>(Sealed::plain(&sized(record, payload)?));
        let head = batch.head.as_ref();
        let request = batch.request.as_ref().map(|record| {
            let sealed = sealed("request", codec::encode_request(record))?;
            Ok::<_, StoreError>((keys::request(&record.key), sealed))
        });
        let request = request.transpose()?;
        let head_record = head.map(|head| {
            let record = sealed("metadata", codec::encode_head(head))?;
            Ok::<_, StoreError>((record, indexes::index_rows(head)))
        });
        let slots = batch
            .slots
            .iter()
            .map(|slot| plain("translations into a language", codec::encode_slot(slot)));
        let jobs = batch
            .jobs
            .iter()
            .map(|job| plain("translation job", codec::encode_job(job)));
        let bodies = batch
            .bodies
            .iter()
            .map(|(_, body)| sealed("version", codec::encode_body(body)));
        let delta = batch.delta.as_ref().map(|delta| {
            let record = sealed("revision delta", codec::encode_delta(&batch.article, delta))?;
            Ok::<_, StoreError>((record, departures::rows(&batch.article, delta)))
        });
        let purge = batch.purge.as_ref();
        let purge = purge.map(|tombstone| sealed("tombstone", codec::encode_tombstone(tombstone)));
        let events = codec::encode_events(&batch.events, &batch.principal);
        Ok(Self {
            head: head_record.transpose()?,
            slots: slots.collect::<Result<_>>()?,
            jobs: jobs.collect::<Result<_>>()?,
            bodies: bodies.collect::<Result<_>>()?,
            delta: delta.transpose()?,
            aliases: head.map(indexes::alias_holders).unwrap_or_default(),
            purge: purge.transpose()?,
            events: commits::check_changes(Some(&batch.article), events)?,
            request,
            batch,
        })
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
            .chain(self.delta.iter().map(|(delta, _)| delta))
            .map(Sealed::len);
        let rows = self.delta.iter().flat_map(|(_, rows)| rows);
        let rows = rows.map(|row| row.key().len()).sum::<usize>();
        head.chain(records).sum::<usize>() + rows + self.events.len()
    }
}
