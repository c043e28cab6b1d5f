//! The change feed: the commits of the store, in order and without gaps, for any number of followers.
//!
//! A [`Watch`] is asked for one message after the other and holds next to nothing between two of them, so that a follower
//! that reads slowly delays no other and costs no memory.

use std::time::Duration;

use super::{Error, Result, Service};
use crate::domain::access::Reach;
use crate::domain::feed::{Filter, Lost, Place};
use crate::domain::time::Seq;

mod fanout;
mod watch;

pub(super) use fanout::ChangeFanout;
pub use watch::{Change, Checkpoint, Message, Watch};

/// A place in the changes of one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedToken {
    /// The store.
    pub epoch: [u8; 16],
    /// The place.
    pub place: Place,
}

/// How far the feed is, in commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedStatus {
    /// Durable commits that are not yet ready to be sent.
    pub lag: u64,
    /// The number of followers.
    pub followers: usize,
    /// How many are durable and were not yet looked at by the slowest of them.
    pub slowest_lag: u64,
}

/// Where a watch begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With the next commit.
    Now,
    /// With the oldest commit that is kept.
    Oldest,
    /// With a snapshot.
    Snapshot,
    /// Where an earlier one ended.
    After(FeedToken),
}

/// The options of a follower.
#[derive(Debug, Clone)]
pub struct WatchOptions {
    /// Where to begin.
    pub start: Start,
    /// Which changes.
    pub filter: Filter,
    /// The principal that follows.
    pub caller: String,
    /// Which hidden articles the follower reaches.
    pub reach: Reach,
    /// How long it may be silent.
    pub checkpoint_interval: Duration,
}

impl Service {
    /// The place behind all that is durable now: a caller that reads something and then follows from here misses nothing.
    pub fn feed_now(&self) -> FeedToken {
        let seq = self.store.durable().borrow().seq;
        self.feed_token(Place::Commit(seq))
    }

    fn feed_token(&self, place: Place) -> FeedToken {
        FeedToken {
            epoch: self.store.epoch(),
            place,
        }
    }

    /// The lag of the feed and of its followers.
    pub fn feed_status(&self) -> FeedStatus {
        self.feed.status()
    }

    /// Follows the changes; [`Self::feed_changes`] must be running.
    pub async fn watch_changes(&self, options: WatchOptions) -> Result<Watch> {
        Watch::begin(self.feed.clone(), self.streams.clone(), options).await
    }

    /// Reads changes for all followers, until the store is closed.
    pub async fn feed_changes(&self) {
        self.feed.run().await;
    }
}

/// The error of a watch that cannot continue at a place.
fn lost(why: Lost, epoch: [u8; 16], seq: Seq, floor: Seq, head: Seq) -> Error {
    match why {
        Lost::NeverThere => Error::ForeignToken { seq, head },
        Lost::Trimmed => Error::ChangesTrimmed {
            seq,
            oldest: FeedToken {
                epoch,
                place: Place::Commit(floor),
            },
        },
    }
}
