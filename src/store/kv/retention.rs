//! Dropping the content of old revisions, a bounded step at a time. The rule is the domain's; here is the walk: through
//! the heads in the order of their ids, and from the oldest revision that must be kept down to the first.
//!
//! A dropped revision leaves a small body in its place, so that histories, the check and backups need no exception. The
//! cursor of the walk is a record of the store, written together with the drops of a step.

use std::ops::ControlFlow;

use prost::Message;

use super::engine::{Direction, Write};
use super::envelope::Sealed;
use super::shared::{Shared, corrupt};
use super::{codec, keys, records};
use crate::domain::article::{ArticleId, DroppedRevision};
use crate::domain::retention::{Retention, named};
use crate::domain::time::Stamp;
use crate::domain::version::VersionKey;
use crate::store::error::{Result, StoreError};
use crate::store::{ArticleState, Body};

/// Articles and revisions that a step reads at most.
const ARTICLES: usize = 1_000;
const REVISIONS: usize = 300;

/// The drops of a step.
pub(super) struct Step {
    pub(super) writes: Vec<Write>,
    pub(super) dropped: Vec<VersionKey>,
    /// Whether the walk came to its end.
    pub(super) done: bool,
}

/// The place of the walk.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cursor {
    /// Continue with the articles after this one.
    After(ArticleId),
    /// Continue in this article, with the revisions below this one.
    Within(ArticleId, u32),
}

/// Reads the next articles.
pub(super) fn step(core: &Shared, retention: &Retention) -> Result<Step> {
    let mut walk = Walk {
        core,
        retention,
        revisions: 0,
        step: Step {
            writes: Vec::new(),
            dropped: Vec::new(),
            done: false,
        },
    };
    let start = cursor(core)?;
    let begun = start.is_some();
    let rest = walk.on_from(start)?;
    let mut step = walk.step;
    step.done = rest.is_none();
    match rest {
        Some(rest) => step.writes.push(rest.write()),
        None if begun => step.writes.push(Write::Remove(keys::RETENTION_CURSOR.to_vec())),
        None => {}
    }
    Ok(step)
}

struct Walk<'a> {
    core: &'a Shared,
    retention: &'a Retention,
    revisions: usize,
    step: Step,
}

impl Walk<'_> {
    /// Returns the cursor of the next step; `None` at the end.
    fn on_from(&mut self, start: Option<Cursor>) -> Result<Option<Cursor>> {
        let mut after = None;
        match start {
            Some(Cursor::Within(id, below)) => {
                if let Some(below) = self.article(&id, Some(below))? {
                    return Ok(Some(Cursor::Within(id, below)));
                }
                after = Some(id);
            }
            Some(Cursor::After(id)) => after = Some(id),
            None => {}
        }
        let ids = self.core.ids_after(after.as_ref(), ARTICLES)?;
        for id in &ids {
            if let Some(below) = self.article(id, None)? {
                return Ok(Some(Cursor::Within(id.clone(), below)));
            }
        }
        let last = ids.last().filter(|_| ids.len() == ARTICLES);
        Ok(last.cloned().map(Cursor::After))
    }

    /// Reads the revisions of an article, and returns the one below which it stopped. A damaged article is passed over: the
    /// check reports it.
    fn article(&mut self, id: &ArticleId, below: Option<u32>) -> Result<Option<u32>> {
        match self.revisions(id, below) {
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%error, article = %id, "the old revisions of a damaged article stay");
                Ok(None)
            }
            stopped => stopped,
        }
    }

    fn revisions(&mut self, id: &ArticleId, below: Option<u32>) -> Result<Option<u32>> {
        let key = keys::head(id);
        let Some((stamp, payload)) = self.core.get(&key)? else {
            return Ok(None);
        };
        let head = codec::decode_head(&payload, stamp).map_err(corrupt(&key))?;
        let Some(oldest) = self.retention.oldest_of_newest(&head) else {
            return Ok(None);
        };
        let Some(state) = self.core.read(id)? else {
            return Ok(None);
        };
        self.below(&state, below.unwrap_or(oldest))
    }

    fn below(&mut self, state: &ArticleState, start: u32) -> Result<Option<u32>> {
        let slots = state.slots.values().map(|slot| &**slot);
        let named = named(slots, state.jobs.values().map(|job| &**job));
        let mut superseded = self.core.written_at(&state.head.revision_key(start))?.time;
        let older = self.superseded_before(state, start)?;
        let next = older.last().map(|(version, _)| version.number);
        for (version, stamp) in older {
            if self.retention.drops(version.number, superseded, &named)
                && let Body::Revision(revision) = self.core.stored_version(stamp.seq, &version)?
            {
                let dropped = Body::Dropped(DroppedRevision::of(&revision));
                let record = Sealed::new(&codec::encode_body(&dropped)).stamped(stamp);
                let key = keys::body(stamp.seq, &version);
                self.step.writes.push(Write::Put(key, record));
                self.step.dropped.push(version);
            }
            superseded = stamp.time;
        }
        Ok(next.filter(|next| self.revisions >= REVISIONS && *next > 1))
    }

    /// The revisions before one, newest first, with the commits that wrote them: as many as the step may still look at.
    fn superseded_before(&mut self, state: &ArticleState, number: u32) -> Result<Vec<(VersionKey, Stamp)>> {
        let first = keys::superseded(&state.head.revision_key(0));
        let last = keys::superseded(&state.head.revision_key(number));
        let mut found = Vec::new();
        self.core
            .scan(&first, &last, Direction::Backward, |key, stamp, _| {
                found.extend(keys::superseded_version(key).map(|(_, version)| (version, stamp)));
                self.revisions += 1;
                Ok(if self.revisions < REVISIONS {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                })
            })?;
        Ok(found)
    }
}

fn cursor(core: &Shared) -> Result<Option<Cursor>> {
    let Some((_, payload)) = core.get(keys::RETENTION_CURSOR)? else {
        return Ok(None);
    };
    Cursor::decode(&payload)
        .map(Some)
        .map_err(corrupt(keys::RETENTION_CURSOR))
}

impl Cursor {
    fn decode(payload: &[u8]) -> std::result::Result<Self, codec::Malformed> {
        let record: records::RetentionCursor = codec::message(payload)?;
        let id = ArticleId::parse(&record.article).map_err(|error| codec::Malformed(error.0))?;
        Ok(match record.below {
            Some(below) => Self::Within(id, below.number),
            None => Self::After(id),
        })
    }

    fn write(&self) -> Write {
        let (article, below) = match self {
            Self::After(id) => (id, None),
            Self::Within(id, below) => {
                let below = records::VersionRef {
                    number: *below,
                    ..Default::default()
                };
                (id, Some(below))
            }
        };
        let record = records::RetentionCursor {
            article: article.as_str().to_owned(),
            below,
        };
        let sealed = Sealed::plain(&record.encode_to_vec());
        Write::Put(keys::RETENTION_CURSOR.to_vec(), sealed.stamped(Stamp::PENDING))
    }
}
