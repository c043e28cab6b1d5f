//! The queues of jobs, read in the order in which jobs are claimed: by rank, those whose time is still to come left out.
//!
//! A queue is the open jobs of a language pair and kind. What a key says is all that the order needs, so no value is
//! opened. Of jobs that had to wait, those whose time came first are put in order, a page at a time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::vec;

use super::engine::Direction;
use super::indexes;
use super::keys::{self, Queued};
use super::shared::Shared;
use crate::domain::article::ArticleId;
use crate::domain::job::{ClaimQuery, JobId, JobKey, JobKind, Place};
use crate::domain::language::Language;
use crate::domain::time::Timestamp;
use crate::store::ArticleState;
use crate::store::error::{Result, StoreError};

/// Entries of a queue that are read at once: of jobs that may be claimed, which are in order already, and of those that
/// had to wait.
const READY_PAGE: usize = 16;
const DUE_PAGE: usize = 256;

/// The queues of the engine, as the group that is being made leaves them.
#[derive(Clone, Copy)]
pub(super) struct Queues<'a> {
    core: &'a Shared,
    /// The entries that the group changes, and whether they are there afterwards.
    changed: &'a BTreeMap<Vec<u8>, bool>,
}

impl<'a> Queues<'a> {
    pub(super) fn new(core: &'a Shared, changed: &'a BTreeMap<Vec<u8>, bool>) -> Self {
        Self { core, changed }
    }

    /// The next entries of a range in order, about `limit`; fewer only at its end.
    fn page(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        if from > to {
            return Ok(found);
        }
        self.core
            .engine
            .scan(from..=to, Direction::Forward, &mut |key, _| {
                if self.changed.get(key) != Some(&false) {
                    found.push(key.to_vec());
                }
                if found.len() < limit {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
        // Beyond a full page the engine was not read.
        let end = found.last().filter(|_| found.len() >= limit);
        let end = end.cloned().unwrap_or_else(|| to.to_vec());
        let added = self.changed.range(from.to_vec()..=end);
        found.extend(
            added
                .filter(|(_, is_there)| **is_there)
                .map(|(key, _)| key.clone()),
        );
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The first job in a range.
    fn first(&self, mut from: Vec<u8>, to: &[u8]) -> Result<Option<Queued>> {
        while let Some(key) = self.page(&from, to, 1)?.into_iter().next() {
            let queued = keys::queued_of(&key);
            if queued.is_some() {
                return Ok(queued);
            }
            // The check reports it.
            from = after(&key);
        }
        Ok(None)
    }

    /// The queues that a query asks for and that have jobs, each with its first.
    fn matching(&self, query: &ClaimQuery) -> Result<BTreeMap<Vec<u8>, Queued>> {
        let pairs = query.pairs.iter();
        let named: Option<Vec<(&Language, &Language)>> = pairs
            .map(|pair| pair.source.as_ref().zip(pair.target.as_ref()))
            .collect();
        let mut queues = BTreeMap::new();
        for is_embargoed in [false, true] {
            if is_embargoed && !query.embargoed {
                continue;
            }
            for kind in JobKind::ALL {
                if !query.kinds.is_empty() && !query.kinds.contains(&kind) {
                    continue;
                }
                let Some(named) = named.as_ref().filter(|named| !named.is_empty()) else {
                    self.find(is_embargoed, kind, query, &mut queues)?;
                    continue;
                };
                for (source, target) in named {
                    let queue = keys::queue(is_embargoed, kind, source, target);
                    let first = self.first(queue.clone(), &keys::above(&queue))?;
                    queues.extend(first.map(|first| (queue, first)));
                }
            }
        }
        Ok(queues)
    }

    /// Finds the queues of a kind that have jobs and that a query asks for, going from one to the next.
    fn find(
        &self,
        is_embargoed: bool,
        kind: JobKind,
        query: &ClaimQuery,
        queues: &mut BTreeMap<Vec<u8>, Queued>,
    ) -> Result<()> {
        let mut from = keys::queues(is_embargoed, kind);
        let to = keys::above(&from);
        while let Some(first) = self.first(from, &to)? {
            let queue = keys::queue(is_embargoed, kind, &first.source, &first.key.language);
            from = keys::above(&queue);
            if query.matches(&first.source, &first.key) {
                queues.insert(queue, first);
            }
        }
        Ok(())
    }

    /// The jobs that a query asks for and that may be claimed at a time.
    pub(super) fn candidates(self, query: &ClaimQuery, now: Timestamp) -> Result<Candidates<'a>> {
        let mut streams = Vec::new();
        for (queue, first) in self.matching(query)? {
            let has_due = match first.place {
                Place::Waiting(from) => from <= now,
                Place::Ready(_) => {
                    streams.push(Stream::ready(&queue, first));
                    true
                }
            };
            if has_due {
                streams.push(Stream::due(&queue, now));
            }
        }
        let mut candidates = Candidates {
            queues: self,
            next: BinaryHeap::new(),
            streams,
        };
        for stream in 0..candidates.streams.len() {
            candidates.advance(stream)?;
        }
        Ok(candidates)
    }
}

/// The key that follows a key.
fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// A part of a queue, read a page at a time, each page in the order of the ranks.
struct Stream {
    from: Vec<u8>,
    to: Vec<u8>,
    limit: usize,
    page: vec::IntoIter<Queued>,
    is_over: bool,
}

impl Stream {
    /// The jobs of a queue that may be claimed without waiting, of which the first is known.
    fn ready(queue: &[u8], first: Queued) -> Self {
        let key = keys::queued(queue, first.place, first.rank, first.article.as_str());
        Self {
            from: after(&key),
            to: keys::above(&keys::ready(queue)),
            limit: READY_PAGE,
            page: vec![first].into_iter(),
            is_over: false,
        }
    }

    /// The jobs of a queue whose time has come.
    fn due(queue: &[u8], now: Timestamp) -> Self {
        Self {
            from: keys::waiting(queue),
            to: keys::due(queue, now),
            limit: DUE_PAGE,
            page: Vec::new().into_iter(),
            is_over: false,
        }
    }

    fn next(&mut self, queues: &Queues<'_>) -> Result<Option<Queued>> {
        loop {
            if let Some(queued) = self.page.next() {
                return Ok(Some(queued));
            }
            if self.is_over {
                return Ok(None);
            }
            let keys = queues.page(&self.from, &self.to, self.limit)?;
            self.is_over = keys.len() < self.limit;
            if let Some(last) = keys.last() {
                self.from = after(last);
            }
            let mut page: Vec<_> = keys.iter().filter_map(|key| keys::queued_of(key)).collect();
            page.sort_by(|one, other| one.order().cmp(&other.order()));
            self.page = page.into_iter();
        }
    }
}

/// Jobs that may be claimed, the most urgent first.
pub(super) struct Candidates<'a> {
    queues: Queues<'a>,
    /// The next job of each stream that is not at its end.
    next: BinaryHeap<Reverse<(Timestamp, ArticleId, JobKey, usize)>>,
    streams: Vec<Stream>,
}

impl<'a> Candidates<'a> {
    /// Just these.
    pub(super) fn of(queues: Queues<'a>, jobs: Vec<Queued>) -> Self {
        // They come from no stream.
        let next = jobs
            .into_iter()
            .map(|queued| Reverse((queued.rank, queued.article, queued.key, usize::MAX)))
            .collect();
        Self {
            queues,
            next,
            streams: Vec::new(),
        }
    }

    fn advance(&mut self, stream: usize) -> Result<()> {
        if let Some(queue) = self.streams.get_mut(stream)
            && let Some(queued) = queue.next(&self.queues)?
        {
            let Queued {
                rank, article, key, ..
            } = queued;
            self.next.push(Reverse((rank, article, key, stream)));
        }
        Ok(())
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Result<Option<(ArticleId, JobKey)>> {
        let Some(Reverse((_, article, key, stream))) = self.next.pop() else {
            return Ok(None);
        };
        self.advance(stream)?;
        Ok(Some((article, key)))
    }
}

/// The jobs that a query names and otherwise asks for, as far as they are in a queue.
pub(super) fn named(
    query: &ClaimQuery,
    load: impl Fn(&ArticleId) -> Result<Option<Arc<ArticleState>>>,
) -> Result<Vec<Queued>> {
    let mut found = Vec::new();
    let ids: BTreeSet<&JobId> = query.ids.iter().collect();
    for id in ids {
        let queued = sound(load(&id.article))?.flatten().and_then(|state| {
            let job = state.jobs.get(&id.key).filter(|job| job.id == *id)?;
            keys::queued_of(&indexes::queue_key(&state.head, job)?)
        });
        let is_meant = |queued: &Queued| {
            (query.embargoed || !queued.is_embargoed) && query.matches(&queued.source, &queued.key)
        };
        found.extend(queued.filter(is_meant));
    }
    Ok(found)
}

/// The result of reading an article; `None` if it is damaged. The check reports damage; a claim passes over it.
pub(super) fn sound<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Err(error @ StoreError::Corrupt { .. }) => {
            tracing::error!(%error, "the jobs of a damaged article are left alone");
            Ok(None)
        }
        read => read.map(Some),
    }
}

/// When the next job that a query asks for may be claimed; the past if there is one now.
pub(super) fn next_claimable(core: &Shared, query: &ClaimQuery) -> Result<Option<Timestamp>> {
    let time = |place| match place {
        Place::Ready(_) => Timestamp::MIN,
        Place::Waiting(from) => from,
    };
    if !query.ids.is_empty() {
        let named = named(query, |id| core.read(id))?;
        return Ok(named.into_iter().map(|queued| time(queued.place)).min());
    }
    let queues = Queues::new(core, &BTreeMap::new()).matching(query)?;
    Ok(queues.into_values().map(|first| time(first.place)).min())
}
