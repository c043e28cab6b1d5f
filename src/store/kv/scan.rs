//! Walks over index and log: pages of lists, changes, and requests that are old enough to forget.

use std::ops::ControlFlow;

use super::core::{Core, corrupt};
use super::engine::{Direction, Write};
use super::{codec, envelope, keys, records};
use crate::domain::article::ArticleId;
use crate::domain::change::Commit;
use crate::domain::freshness::Overall;
use crate::domain::language::Language;
use crate::domain::query::{IndexRow, Order, Position, Presence, Query, Standing};
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::store::error::Result;
use crate::store::{ArticleState, Budget, Page};

/// Commits whose requests one call of [`Store::expire_requests`] forgets at most.
const EXPIRE_AT_ONCE: usize = 2_000;

/// A page of a list: index rows that match, and the articles that they name.
pub(super) fn list(core: &Core, query: &Query, after: Option<&Position>, budget: Budget) -> Result<Page> {
    let mut listing = Listing {
        core,
        query,
        budget,
        driver: Driver::of(query),
        rows: 0,
        page: Page {
            articles: Vec::new(),
            next: None,
        },
    };
    let prefix = listing.driver.prefix(query);
    let dated = query.range.index_bounds();
    let in_undated = after.is_some_and(|after| after.instant.is_none());
    if let Some((start, end)) = dated.filter(|_| !in_undated) {
        let from = keys::place(&prefix, Some(start), "");
        let to = keys::above(&keys::place(&prefix, Some(end), ""));
        listing.part(&prefix, after, (from, to))?;
    }
    if listing.page.next.is_none() && query.range.has_undated() {
        let from = keys::place(&prefix, None, "");
        let to = keys::above(&from);
        listing.part(&prefix, after.filter(|_| in_undated), (from, to))?;
    }
    Ok(listing.page)
}

/// Which entries a list is read from. All lie in the order of the list, so a page's token fits each of them.
enum Driver {
    /// The index of the axis, with the row in it.
    Index,
    /// The active translations that do not hold in a way: however rare they are, only they are looked at.
    Work(Language, Overall),
}

impl Driver {
    fn of(query: &Query) -> Self {
        let work = query.translation.as_ref().and_then(|filter| {
            let overall = match filter.presence {
                Presence::Stale => Overall::Stale,
                Presence::Incomplete => Overall::Incomplete,
                Presence::Any | Presence::Absent | Presence::Current | Presence::NotCurrent => return None,
            };
            Some(Self::Work(filter.language.clone(), overall))
        });
        work.unwrap_or(Self::Index)
    }

    fn prefix(&self, query: &Query) -> Vec<u8> {
        match self {
            Self::Index => keys::index(query.axis),
            Self::Work(language, overall) => keys::work(language, *overall, query.axis),
        }
    }
}

struct Listing<'a> {
    core: &'a Core,
    query: &'a Query,
    budget: Budget,
    driver: Driver,
    rows: usize,
    page: Page,
}

impl Listing<'_> {
    /// The dated or the undated part.
    fn part(
        &mut self,
        prefix: &[u8],
        after: Option<&Position>,
        (mut from, mut to): (Vec<u8>, Vec<u8>),
    ) -> Result<()> {
        let after = after.map(|after| keys::place(prefix, after.instant, after.id.as_str()));
        let direction = match self.query.order {
            Order::NewestFirst => Direction::Backward,
            Order::OldestFirst => Direction::Forward,
        };
        if let Some(after) = &after {
            match direction {
                Direction::Forward => from.clone_from(after),
                Direction::Backward => to.clone_from(after),
            }
        }
        let core = self.core;
        let mut matching = Vec::new();
        core.scan(&from, &to, direction, |key, _, payload| {
            if after.as_deref() == Some(key) {
                return Ok(ControlFlow::Continue(()));
            }
            let damaged = || corrupt(key)(codec::Malformed("its key cannot be read".into()));
            let position = keys::position(prefix, key).ok_or_else(damaged)?;
            let found = self.matches(key, &position, &payload)?;
            self.rows += 1;
            if found {
                matching.push(position.clone());
            }
            let articles = self.page.articles.len() + matching.len();
            if self.rows >= self.budget.rows || found && articles >= self.budget.articles {
                self.page.next = Some(position);
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for position in matching {
            // The article may have changed since its row was read; what is answered must match.
            if let Some(state) = core.read(&position.id)?
                && self.still_matches(&position, &state)
            {
                self.page.articles.push((position, state));
            }
        }
        Ok(())
    }

    /// Whether an entry's article belongs to the list, as far as the indexes know.
    fn matches(&self, key: &[u8], position: &Position, payload: &[u8]) -> Result<bool> {
        let decoded = |key: &[u8], payload: &[u8]| {
            codec::decode_index_row(payload, position.instant).map_err(corrupt(key))
        };
        let row = match self.driver {
            Driver::Index => decoded(key, payload)?,
            Driver::Work(..) => {
                let index = keys::index(self.query.axis);
                let key = keys::place(&index, position.instant, position.id.as_str());
                match self.core.get(&key)? {
                    Some((_, payload)) => decoded(&key, &payload)?,
                    // It moved since the entry was read.
                    None => return Ok(false),
                }
            }
        };
        if !self.query.matches(&row) {
            return Ok(false);
        }
        let Some(filter) = &self.query.translation else {
            return Ok(true);
        };
        let standing = standing(self.core, &filter.language, &position.id)?;
        Ok(filter.matches(&row.language, standing.as_ref()))
    }

    fn still_matches(&self, position: &Position, state: &ArticleState) -> bool {
        let row = IndexRow::of(&state.head, self.query.axis);
        let filter = self.query.translation.as_ref();
        row.date.instant == position.instant
            && self.query.matches(&row)
            && filter.is_none_or(|filter| {
                let slot = state.slots.get(&filter.language);
                let standing = slot.and_then(|slot| Standing::of(&state.head, slot));
                filter.matches(&row.language, standing.as_ref())
            })
    }
}

/// How the active translation of an article into a language stands, by the index.
fn standing(core: &Core, language: &Language, id: &ArticleId) -> Result<Option<Standing>> {
    let key = keys::standing(language, id);
    let decode = |(_, payload): (Stamp, Vec<u8>)| codec::decode_standing(&payload).map_err(corrupt(&key));
    core.get(&key)?.map(decode).transpose()
}

/// Commits after a number up to the durable head.
pub(super) fn changes(core: &Core, after: Seq, head: Seq, limit: usize) -> Result<Vec<Commit>> {
    let mut commits = Vec::new();
    log_after(core, after, |stamp, events| {
        if stamp.seq > head || commits.len() >= limit {
            return Ok(ControlFlow::Break(()));
        }
        let (events, _) = codec::decode_events(events).map_err(corrupt(&keys::log(stamp.seq)))?;
        commits.push(Commit { stamp, events });
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(commits)
}

/// Visits the commits of the log after a number, with their encoded events.
pub(super) fn log_after(
    core: &Core,
    after: Seq,
    mut visit: impl FnMut(Stamp, &[u8]) -> Result<ControlFlow<()>>,
) -> Result<()> {
    // The commit after `after` may be inside a group that begins before it.
    let mut from = keys::log(after.saturating_add(1));
    core.engine.scan(
        keys::log(0).as_slice()..=&from.clone(),
        Direction::Backward,
        &mut |key, _| {
            from = key.to_vec();
            ControlFlow::Break(())
        },
    )?;
    core.scan(
        &from,
        &keys::above(b"l"),
        Direction::Forward,
        |key, _, payload| {
            let group = codec::Group::decode(&payload).map_err(corrupt(key))?;
            for (seq, (time, events)) in (group.first..).zip(&group.commits) {
                if seq > after && visit(Stamp { seq, time: *time }, events)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        },
    )
}

/// Articles whose embargo has ended at a time, in the order of the ends.
pub(super) fn due_embargoes(core: &Core, now: Timestamp, limit: usize) -> Result<Vec<ArticleId>> {
    let mut due = Vec::new();
    let to = keys::above(&keys::embargo(now, ""));
    core.engine
        .scan(b"e".as_slice()..=&to, Direction::Forward, &mut |key, _| {
            due.extend(keys::embargo_of(key).map(|(_, id)| id));
            if due.len() < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
    Ok(due)
}

/// The removals of requests recorded before a time, following the log from where the last call stopped, and whether there
/// may be more.
pub(super) fn expired_requests(core: &Core, before: Timestamp) -> Result<(Vec<Write>, bool)> {
    use prost::Message;
    let start = match core.get(keys::REQUEST_CURSOR)? {
        Some((_, payload)) => {
            let cursor: records::Cursor = codec::message(&payload).map_err(corrupt(keys::REQUEST_CURSOR))?;
            cursor.seq
        }
        None => 0,
    };
    let (mut writes, mut seen, mut last) = (Vec::new(), 0, None);
    log_after(core, start, |stamp, events| {
        if stamp.time >= before || seen >= EXPIRE_AT_ONCE {
            return Ok(ControlFlow::Break(()));
        }
        seen += 1;
        last = Some(stamp);
        let (_, key) = codec::decode_events(events).map_err(corrupt(&keys::log(stamp.seq)))?;
        writes.extend(key.map(Write::Remove));
        Ok(ControlFlow::Continue(()))
    })?;
    if let Some(last) = last {
        let cursor = envelope::Sealed::new(&records::Cursor { seq: last.seq }.encode_to_vec()).stamped(last);
        writes.push(Write::Put(keys::REQUEST_CURSOR.to_vec(), cursor));
    }
    Ok((writes, seen >= EXPIRE_AT_ONCE))
}
