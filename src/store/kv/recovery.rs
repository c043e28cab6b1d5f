//! Opening: what the store is, where its log ends, and whether that end agrees with the articles.

use std::ops::ControlFlow;

use prost::Message;
use uuid::Uuid;

use super::codec::{self, Group};
use super::core::{Core, corrupt};
use super::engine::{Direction, Engine, Write};
use super::envelope::{self, Sealed};
use super::{keys, records};
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::store::error::{OpenError, Result, StoreError};

/// The format of the layout and the records; grows when either changes in a way that old versions cannot read.
const FORMAT: u32 = 1;

/// How many groups at the end of the log an open checks. What is older was checked by the opens before.
const CHECKED_GROUPS: usize = 64;

/// Reads the store's own record, or writes it into an empty store. Answers the epoch.
pub(super) fn identify(engine: &dyn Engine, now: Timestamp) -> Result<[u8; 16]> {
    if let Some(record) = engine.get(keys::META)? {
        let (_, payload) = envelope::open(&record, || keys::readable(keys::META))?;
        let meta: records::Meta = codec::message(&payload).map_err(corrupt(keys::META))?;
        if meta.format != FORMAT {
            let error = OpenError::UnsupportedFormat {
                directory: engine.location(),
                found: meta.format,
                supported: FORMAT,
            };
            return Err(StoreError::Open(error));
        }
        return meta
            .epoch
            .try_into()
            .map_err(|_| corrupt(keys::META)(codec::Malformed("its epoch is not 16 bytes".into())));
    }
    let epoch = Uuid::new_v4().into_bytes();
    let meta = records::Meta {
        format: FORMAT,
        epoch: epoch.to_vec(),
        created: now.as_micros(),
    };
    let record = Sealed::new(&meta.encode_to_vec()).stamped(Stamp { seq: 0, time: now });
    engine.apply(vec![Write::Put(keys::META.to_vec(), record)])?;
    engine.flush()?;
    engine.sync()?;
    Ok(epoch)
}

/// The last commit in the log; the pending stamp if there is none.
pub(super) fn last_commit(core: &Core) -> Result<Stamp> {
    let mut last = Stamp::PENDING;
    core.scan(
        &keys::log(0),
        &keys::above(b"l"),
        Direction::Backward,
        |key, _, payload| {
            let group = Group::decode(&payload).map_err(corrupt(key))?;
            last = group.last().unwrap_or(Stamp::PENDING);
            Ok(ControlFlow::Break(()))
        },
    )?;
    Ok(last)
}

/// Checks that nothing is gone that was durable before the engine was reopened.
pub(super) fn check_end(last: Stamp, durable: Seq) -> Result<()> {
    if last.seq < durable {
        return damaged(format!(
            "it ends at {}, before the last durable commit {durable}",
            last.seq
        ));
    }
    Ok(())
}

/// Checks that the end of the log has no gap and that the articles it names are there in at least that version.
pub(super) fn check_tail(core: &Core) -> Result<()> {
    let mut groups = Vec::new();
    core.scan(
        &keys::log(0),
        &keys::above(b"l"),
        Direction::Backward,
        |key, _, payload| {
            groups.push(Group::decode(&payload).map_err(corrupt(key))?);
            Ok(if groups.len() < CHECKED_GROUPS {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        },
    )?;
    groups.reverse();
    for pair in groups.windows(2) {
        if let [before, after] = pair
            && before.last().is_some_and(|last| last.seq + 1 != after.first)
        {
            return damaged(format!("commits are missing before {}", after.first));
        }
    }
    for (_, payload) in groups.iter().flat_map(|group| &group.commits) {
        let (events, _) = codec::decode_events(payload).map_err(corrupt(b"l"))?;
        for event in events {
            let revision = match core.load(&event.article) {
                Ok(state) => state.map(|state| state.head.revision()),
                // Rot in one article is that article's alone, and its reads say so.
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(%error, "an article at the end of the change log is damaged");
                    continue;
                }
                Err(error) => return Err(error),
            };
            if revision.is_none_or(|revision| revision < event.revision) {
                return damaged(format!(
                    "it names revision {} of article {:?}, and the store has {revision:?}",
                    event.revision, event.article
                ));
            }
        }
    }
    Ok(())
}

fn damaged(detail: String) -> Result<()> {
    Err(StoreError::Corrupt {
        record: "the change log".into(),
        detail,
    })
}
