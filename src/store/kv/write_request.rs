//! Messages to the writer thread, and the answers that it owes.

use tokio::sync::oneshot;

use super::encoded_batch::EncodedBatch;
use super::engine::Write;
use super::shared::Shared;
use crate::domain::time::Stamp;
use crate::store::error::{Result, StoreError};
use crate::store::{Claim, Claimed, Committed, PolicyChange};

/// See [`WriteRequest::Exclusive`].
pub(super) type ExclusiveWork = Box<dyn FnOnce(&Shared, Stamp) + Send>;

/// Space that a claimed job takes in a group, estimated: each claim of a group passes over the jobs that earlier ones took.
const CLAIMED_BYTES: usize = 4 << 10;

/// A message to the writer thread.
pub(super) enum WriteRequest {
    /// Commit a batch.
    Commit(Box<EncodedBatch>, oneshot::Sender<Result<Committed>>),
    /// Lease jobs. The result has a stamp if there was a commit.
    Claim(Box<Claim>, oneshot::Sender<Result<(Claimed, Option<Stamp>)>>),
    /// Change a policy.
    Policy(PolicyChange, oneshot::Sender<Result<Stamp>>),
    /// Write records outside of a commit.
    Housekeeping(Vec<Write>, oneshot::Sender<Result<()>>),
    /// Run this between two groups, when all that was written is durable. The stamp is the last commit's.
    Exclusive(ExclusiveWork),
    /// Compact the engine while writes continue.
    Compact(oneshot::Sender<Result<()>>),
    /// Reopen the engine if it failed. There is no answer.
    Recover,
    /// Close the engine when everything before this is finished.
    Close(oneshot::Sender<Result<()>>),
}

impl WriteRequest {
    /// Space that the request takes in a group, estimated.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Commit(prepared, _) => prepared.bytes(),
            Self::Claim(claim, _) => claim.grants.len() * CLAIMED_BYTES,
            _ => 0,
        }
    }

    /// Answers that nothing was written.
    pub(super) fn refuse(self, error: &StoreError) {
        match self {
            Self::Commit(_, reply) => drop(reply.send(Err(error.clone()))),
            Self::Claim(_, reply) => drop(reply.send(Err(error.clone()))),
            Self::Policy(_, reply) => drop(reply.send(Err(error.clone()))),
            Self::Housekeeping(_, reply) | Self::Compact(reply) | Self::Close(reply) => {
                drop(reply.send(Err(error.clone())));
            }
            // The caller sees that the work was dropped.
            Self::Exclusive(_) | Self::Recover => {}
        }
    }
}

/// A caller whose write is in a group, with its result once the group is durable.
pub(super) enum Waiting {
    Commit(oneshot::Sender<Result<Committed>>, Committed),
    Claim(oneshot::Sender<Result<(Claimed, Option<Stamp>)>>, Claimed, Stamp),
    Policy(oneshot::Sender<Result<Stamp>>, Stamp),
    Housekeeping(oneshot::Sender<Result<()>>),
}

impl Waiting {
    /// Sends the result. A caller that is gone does not get it.
    pub(super) fn answer(self, result: Result<()>) {
        match self {
            Self::Commit(reply, committed) => drop(reply.send(result.map(|()| committed))),
            Self::Claim(reply, claimed, stamp) => {
                drop(reply.send(result.map(|()| (claimed, Some(stamp)))));
            }
            Self::Policy(reply, stamp) => drop(reply.send(result.map(|()| stamp))),
            Self::Housekeeping(reply) => drop(reply.send(result)),
        }
    }
}
