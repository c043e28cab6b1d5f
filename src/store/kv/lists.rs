//! Lists by date: pages of articles, and of how their translations stand, read from the indexes.

use std::ops::ControlFlow;

use super::engine::Direction;
use super::shared::{Shared, corrupt};
use super::{codec, keys};
use crate::domain::article::ArticleId;
use crate::domain::freshness::Overall;
use crate::domain::language::Language;
use crate::domain::query::{IndexRow, Order, Position, Presence, Query, Standing};
use crate::domain::time::{Stamp, Timestamp};
use crate::store::error::Result;
use crate::store::{ArticleState, Budget, Page, Standings};

/// A page of a list: index rows that match, and the articles that they name.
pub(super) fn list(core: &Shared, query: &Query, after: Option<&Position>, budget: Budget) -> Result<Page> {
    let driver = Driver::of(query);
    let listing = Listing { core, query, driver };
    let (mut rows, mut matching, mut next) = (0, Vec::new(), None);
    let prefix = listing.driver.prefix(query);
    walk(core, &prefix, query, after, |key, position, payload| {
        let found = listing.matches(key, &position, payload)?;
        rows += 1;
        if found {
            matching.push(position.clone());
        }
        if rows >= budget.rows || found && matching.len() >= budget.articles {
            next = Some(position);
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let mut articles = Vec::with_capacity(matching.len());
    let (mut bytes, mut last) = (0, None);
    for position in matching {
        if bytes >= budget.bytes {
            next = last;
            break;
        }
        last = Some(position.clone());
        // The article may have changed since its row was read; what is answered must match.
        if let Some(state) = core.read(&position.id)?
            && listing.still_matches(&position, &state)
        {
            bytes += state.bytes();
            articles.push((position, state));
        }
    }
    Ok(Page { articles, next })
}

/// How the active translations into some languages stand, by the indexes alone.
pub(super) fn standings(
    core: &Shared,
    query: &Query,
    languages: &[Language],
    after: Option<&Position>,
    rows: usize,
) -> Result<Standings> {
    let mut page = Standings::default();
    let mut seen = 0;
    walk(
        core,
        &keys::index(query.axis),
        query,
        after,
        |key, position, payload| {
            let row = codec::decode_index_row(payload, position.instant).map_err(corrupt(key))?;
            if query.matches(&row) {
                let of = |language| standing(core, language, &position.id);
                let standings = languages.iter().map(of).collect::<Result<_>>()?;
                page.rows.push((row, standings));
            }
            seen += 1;
            if seen >= rows {
                page.next = Some(position);
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        },
    )?;
    Ok(page)
}

/// Visits the entries under a prefix in the order of a list, after a position: the dated ones, then the undated.
fn walk(
    core: &Shared,
    prefix: &[u8],
    query: &Query,
    after: Option<&Position>,
    mut visit: impl FnMut(&[u8], Position, &[u8]) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let direction = match query.order {
        Order::NewestFirst => Direction::Backward,
        Order::OldestFirst => Direction::Forward,
    };
    let in_undated = after.is_some_and(|after| after.instant.is_none());
    let dated = query.range.index_bounds().filter(|_| !in_undated);
    let dated = dated.map(|(start, end)| {
        let from = keys::place(prefix, Some(start), "");
        (from, keys::above(&keys::place(prefix, Some(end), "")))
    });
    let undated = query.range.has_undated().then(|| {
        let from = keys::place(prefix, None, "");
        let to = keys::above(&from);
        (from, to)
    });
    let after = after.map(|after| keys::place(prefix, after.instant, after.id.as_str()));
    for (mut from, mut to) in dated.into_iter().chain(undated) {
        // A position among the dated ones lies outside the undated part, and leaves it whole.
        if let Some(after) = after.as_ref().filter(|after| (&from..=&to).contains(after)) {
            match direction {
                Direction::Forward => from.clone_from(after),
                Direction::Backward => to.clone_from(after),
            }
        }
        let mut is_over = false;
        core.scan(&from, &to, direction, |key, _, payload| {
            if after.as_deref() == Some(key) {
                return Ok(ControlFlow::Continue(()));
            }
            let damaged = || corrupt(key)(codec::Malformed("its key cannot be read".into()));
            let position = keys::position(prefix, key).ok_or_else(damaged)?;
            let flow = visit(key, position, &payload)?;
            is_over = flow.is_break();
            Ok(flow)
        })?;
        if is_over {
            break;
        }
    }
    Ok(())
}

/// Which entries a list is read from. All lie in the order of the list, so a page's token fits each of them.
enum Driver {
    /// The index of the axis, with the row in it.
    Index,
    /// The active translations that are not current in a given way. The cost is theirs alone, however rare they are.
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
    core: &'a Shared,
    query: &'a Query,
    driver: Driver,
}

impl Listing<'_> {
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
fn standing(core: &Shared, language: &Language, id: &ArticleId) -> Result<Option<Standing>> {
    let key = keys::standing(language, id);
    let decode = |(_, payload): (Stamp, Vec<u8>)| codec::decode_standing(&payload).map_err(corrupt(&key));
    core.get(&key)?.map(decode).transpose()
}

/// Articles whose embargo has ended at a time, in the order of the ends.
pub(super) fn due_embargoes(core: &Shared, now: Timestamp, limit: usize) -> Result<Vec<ArticleId>> {
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
