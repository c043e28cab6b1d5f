//! The state of a reference store: its maps, how a commit changes them, and the queries over them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::vec;

use crate::domain::access::Visibility;
use crate::domain::article::{Alias, ArticleId, DroppedRevision, Tombstone};
use crate::domain::departures::RevisionDelta;
use crate::domain::freshness::Overall;
use crate::domain::job::{self, ClaimQuery, Job, JobId, JobKey, Jobs};
use crate::domain::language::Language;
use crate::domain::policy::PolicyId;
use crate::domain::query::{IndexRow, Order, Position, Query, Standing};
use crate::domain::request::{RequestKey, RequestRecord};
use crate::domain::retention::{Retention, named};
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::domain::translation::Disposition;
use crate::domain::version::VersionKey;
use crate::store::error::{Conflict, Result, StoreError};
use crate::store::model::codec::{self, Group};
use crate::store::model::commits;
use crate::store::{ArticleState, Batch, Body, Counts, Policies};

#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) epoch: [u8; 16],
    pub(super) closed: bool,
    pub(super) last: Option<Stamp>,
    pub(super) articles: BTreeMap<ArticleId, Arc<ArticleState>>,
    pub(super) versions: BTreeMap<VersionKey, Arc<Body>>,
    pub(super) deltas: BTreeMap<(ArticleId, u32), RevisionDelta>,
    pub(super) aliases: BTreeMap<Alias, ArticleId>,
    pub(super) tombstones: BTreeMap<ArticleId, Tombstone>,
    pub(super) requests: BTreeMap<RequestKey, RequestRecord>,
    /// Ended jobs that a newer one of their key has replaced, with the time of the replacement.
    pub(super) replaced: BTreeMap<JobId, (Arc<Job>, Timestamp)>,
    pub(super) policies: Policies,
    /// The change log, by the first commit of each group.
    pub(super) log: BTreeMap<Seq, Group>,
    /// The records of all entities, for exports.
    pub(super) records: BTreeMap<Place, (Stamp, Vec<u8>)>,
    /// The newest commit that was trimmed.
    pub(super) floor: Seq,
}

/// The key of a record, in the order of exports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Head(ArticleId),
    Slot(ArticleId, Language),
    Job(ArticleId, JobKey),
    ReplacedJob(JobId),
    Tombstone(ArticleId),
    Delta(ArticleId, u32),
    /// By the hashed key, as in other stores.
    Request(Vec<u8>),
    /// In the order of writing, as in other stores.
    Version(Seq, VersionKey),
    Log(Seq),
    Policy(PolicyId),
}

impl State {
    pub(super) fn last(&self) -> Stamp {
        self.last.unwrap_or(Stamp {
            seq: 0,
            time: Timestamp::MIN,
        })
    }

    pub(super) fn next_stamp(&mut self, now: Timestamp) -> Stamp {
        let next = commits::next_stamp(self.last(), now);
        self.last = Some(next);
        next
    }

    /// Checks the preconditions of a batch, with the implied ones.
    pub(super) fn check(&self, batch: &Batch) -> Result<()> {
        let old = self.articles.get(&batch.article);
        commits::check(batch, old.map(|old| &**old), || Ok(self.policies.clone()))?;
        if batch.purge.is_some() && old.is_none() {
            return Err(StoreError::Conflict(Conflict::Article(batch.article.clone())));
        }
        if batch.head.is_some() && old.is_none() && self.tombstones.contains_key(&batch.article) {
            return Err(StoreError::Conflict(Conflict::Purged(batch.article.clone())));
        }
        for alias in batch.head.iter().flat_map(|head| &head.aliases) {
            if let Some(holder) = self.aliases.get(alias).filter(|holder| **holder != batch.article) {
                return Err(StoreError::Conflict(Conflict::Alias {
                    alias: alias.to_string(),
                    holder: holder.clone(),
                }));
            }
        }
        check_sizes(batch)?;
        let request = batch.request.as_ref().map(|request| &request.key);
        self.check_request(request)
    }

    pub(super) fn unless_purged(&self, id: &ArticleId) -> Result<()> {
        let tombstone = self.tombstones.get(id).cloned().map(Box::new);
        tombstone.map_or(Ok(()), |tombstone| Err(StoreError::Purged(tombstone)))
    }

    pub(super) fn check_request(&self, request: Option<&RequestKey>) -> Result<()> {
        match request {
            Some(key) if self.requests.contains_key(key) => Err(StoreError::Conflict(Conflict::Request)),
            _ => Ok(()),
        }
    }

    pub(super) fn put(&mut self, place: Place, stamp: Stamp, record: Vec<u8>) {
        self.records.insert(place, (stamp, record));
    }

    /// Applies a batch and returns its bodies.
    pub(super) fn apply(&mut self, batch: Batch, stamp: Stamp) -> Vec<Arc<Body>> {
        let id = batch.article;
        let events = codec::encode_events(&batch.events, &batch.principal);
        self.append(stamp, events);
        self.record_request(batch.request, stamp);
        if let Some(tombstone) = batch.purge {
            self.purge(tombstone, stamp);
            return Vec::new();
        }
        let mut bodies = Vec::with_capacity(batch.bodies.len());
        for (series, mut body) in batch.bodies {
            let (article, number) = (id.clone(), body.version().number);
            let key = VersionKey {
                article,
                series,
                number,
            };
            self.put(
                Place::Version(stamp.seq, key.clone()),
                stamp,
                codec::encode_body(&body),
            );
            body.resolve(stamp);
            let body = Arc::new(body);
            bodies.push(body.clone());
            self.versions.insert(key, body);
        }
        if let Some(delta) = batch.delta {
            let record = codec::encode_delta(&id, &delta);
            self.put(Place::Delta(id.clone(), delta.revision), stamp, record);
            self.deltas.insert((id.clone(), delta.revision), delta);
        }
        let old = self.articles.get(&id).cloned();
        let mut jobs = old.as_ref().map(|old| old.jobs.clone()).unwrap_or_default();
        for job in batch.jobs {
            self.put_job(&mut jobs, job, stamp);
        }
        let mut slots = old.as_ref().map(|old| old.slots.clone()).unwrap_or_default();
        for mut slot in batch.slots {
            let place = Place::Slot(id.clone(), slot.language.clone());
            self.put(place, stamp, codec::encode_slot(&slot));
            let written = Arc::make_mut(&mut slot);
            written.resolve(stamp);
            written.stamp = stamp;
            slots.insert(slot.language.clone(), slot);
        }
        let head = batch.head.map(|mut head| {
            self.put(Place::Head(id.clone()), stamp, codec::encode_head(&head));
            head.resolve(stamp);
            Arc::new(head)
        });
        if let Some(head) = head.or(old.map(|old| old.head.clone())) {
            for alias in &head.aliases {
                self.aliases.insert(alias.clone(), id.clone());
            }
            let state = ArticleState { head, slots, jobs };
            self.articles.insert(id, Arc::new(state));
        }
        bodies
    }

    pub(super) fn put_job(&mut self, jobs: &mut Jobs, mut job: Job, stamp: Stamp) {
        let place = Place::Job(job.id.article.clone(), job.id.key.clone());
        self.put(place, stamp, codec::encode_job(&job));
        job.resolve(stamp);
        if let Some(replaced) = commits::put_job(jobs, job) {
            let place = Place::ReplacedJob(replaced.id.clone());
            self.put(place, replaced.changed, codec::encode_job(&replaced));
            self.replaced.insert(replaced.id.clone(), (replaced, stamp.time));
        }
    }

    pub(super) fn record_request(&mut self, request: Option<RequestRecord>, stamp: Stamp) {
        if let Some(mut record) = request {
            let place = Place::Request(codec::request_key(&record.key));
            self.put(place, stamp, codec::encode_request(&record));
            record.stamp = stamp;
            self.requests.insert(record.key.clone(), record);
        }
    }

    pub(super) fn append(&mut self, stamp: Stamp, events: Vec<u8>) {
        let group = Group {
            first: stamp.seq,
            commits: vec![(stamp.time, events)],
        };
        self.put(Place::Log(stamp.seq), stamp, group.clone().encode());
        self.log.insert(stamp.seq, group);
    }

    pub(super) fn purge(&mut self, mut tombstone: Tombstone, stamp: Stamp) {
        let record = codec::encode_tombstone(&tombstone);
        tombstone.stamp.resolve(stamp);
        let id = &tombstone.article;
        self.records.retain(|place, _| match place {
            Place::Head(article) | Place::Slot(article, _) | Place::Job(article, _) => article != id,
            Place::Delta(article, _) => article != id,
            Place::ReplacedJob(job) => job.article != *id,
            Place::Version(_, version) => version.article != *id,
            Place::Tombstone(_) | Place::Request(_) | Place::Log(_) | Place::Policy(_) => true,
        });
        self.versions.retain(|version, _| version.article != *id);
        self.articles.remove(id);
        self.deltas.retain(|(article, _), _| article != id);
        self.aliases.retain(|_, holder| holder != id);
        self.replaced.retain(|job, _| job.article != *id);
        self.put(Place::Tombstone(id.clone()), stamp, record);
        self.tombstones.insert(id.clone(), tombstone);
    }

    /// The commits of the log with their encoded events.
    pub(super) fn commits(&self) -> impl Iterator<Item = (Stamp, &Vec<u8>)> {
        self.log.values().flat_map(|group| {
            let numbered = (group.first..).zip(&group.commits);
            numbered.map(|(seq, (time, events))| (Stamp { seq, time: *time }, events))
        })
    }

    /// The index rows of a list in its order, after a position, each with its article.
    pub(super) fn rows(
        &self,
        query: &Query,
        after: Option<&Position>,
    ) -> Vec<(IndexRow, Position, &Arc<ArticleState>)> {
        let bounds = query.range.index_bounds();
        let is_in_range = |instant: Option<Timestamp>| match (instant, bounds) {
            (Some(instant), Some((start, end))) => (start..=end).contains(&instant),
            (Some(_), None) => false,
            (None, _) => query.range.has_undated(),
        };
        let rows = self.articles.values().map(|state| {
            let row = IndexRow::of(&state.head, query.axis);
            let position = Position {
                instant: row.date.instant,
                id: state.head.id.clone(),
            };
            (row, position, state)
        });
        let mut rows: Vec<_> = rows
            .filter(|(_, position, _)| is_in_range(position.instant))
            .filter(|(_, position, _)| after.is_none_or(|after| in_order(query, after, position).is_lt()))
            .collect();
        rows.sort_by(|(_, a, _), (_, b, _)| in_order(query, a, b));
        rows
    }

    /// The open jobs that match a query, whatever their times.
    pub(super) fn queued(&self, query: &ClaimQuery) -> Vec<(job::Place, Timestamp, ArticleId, JobKey)> {
        let mut found = Vec::new();
        for state in self.articles.values() {
            let current = &state.head.current;
            let is_shown = match current.visibility {
                Visibility::Public => true,
                Visibility::Embargoed => query.embargoed,
                Visibility::Withheld | Visibility::Canceled => false,
            };
            if !is_shown || current.deleted.is_some() {
                continue;
            }
            for (key, job) in &state.jobs {
                let is_named = query.ids.is_empty() || query.ids.contains(&job.id);
                if let Some(place) = job.place().filter(|_| is_named)
                    && query.matches(&current.metadata.language, key)
                {
                    found.push((place, job.rank(), state.head.id.clone(), key.clone()));
                }
            }
        }
        found
    }

    /// The candidates of a claim, in the order of their queues.
    pub(super) fn candidates(
        &self,
        query: &ClaimQuery,
        now: Timestamp,
    ) -> vec::IntoIter<(Timestamp, ArticleId, JobKey)> {
        let mut queued = self.queued(query);
        queued.retain(|(place, ..)| match place {
            job::Place::Ready(_) => true,
            // The rule of the claim decides on the time of a named job.
            job::Place::Waiting(from) => *from <= now || !query.ids.is_empty(),
        });
        let mut candidates: Vec<_> = queued
            .into_iter()
            .map(|(_, rank, article, key)| (rank, article, key))
            .collect();
        candidates.sort();
        candidates.into_iter()
    }

    /// Drops the content of old revisions.
    pub(super) fn drop_revisions(&mut self, retention: &Retention) {
        let mut dropped = Vec::new();
        for article in self.articles.values() {
            let Some(oldest) = retention.oldest_of_newest(&article.head) else {
                continue;
            };
            let slots = article.slots.values().map(|slot| &**slot);
            let named = named(slots, article.jobs.values().map(|job| &**job));
            let revision = |number| self.versions.get_key_value(&article.head.revision_key(number));
            for number in 1..oldest {
                let superseded = revision(number + 1).map(|(_, newer)| newer.version().stamp.time);
                if let Some((key, body)) = revision(number)
                    && let Body::Revision(revision) = &**body
                    && superseded.is_some_and(|time| retention.drops(number, time, &named))
                {
                    dropped.push((key.clone(), Body::Dropped(DroppedRevision::of(revision))));
                }
            }
        }
        for (key, body) in dropped {
            let stamp = body.version().stamp;
            self.put(
                Place::Version(stamp.seq, key.clone()),
                stamp,
                codec::encode_body(&body),
            );
            self.versions.insert(key, Arc::new(body));
        }
    }

    /// Counts by language.
    pub(super) fn counts(&self) -> BTreeMap<Language, Counts> {
        let mut counts: BTreeMap<Language, Counts> = BTreeMap::new();
        for article in self.articles.values() {
            let current = &article.head.current;
            let of_source = counts.entry(current.metadata.language.clone()).or_default();
            match current.deleted {
                None => of_source.articles += 1,
                Some(_) => of_source.deleted += 1,
            }
            of_source.revisions += u64::from(article.head.revision());
            for slot in article.slots.values() {
                let there = slot
                    .translations
                    .iter()
                    .filter(|translation| translation.disposition != Disposition::Withdrawn);
                let counts = counts.entry(slot.language.clone()).or_default();
                counts.translations += there.count() as u64;
                let standing = Standing::of(&article.head, slot);
                if let Some(overall) = standing.map(|standing| standing.overall)
                    && overall != Overall::Current
                {
                    *counts.not_current.entry(overall).or_default() += 1;
                }
            }
        }
        let all = ClaimQuery {
            embargoed: true,
            ..ClaimQuery::default()
        };
        for (_, _, article, key) in self.queued(&all) {
            if let Some(article) = self.articles.get(&article) {
                let source = article.head.current.metadata.language.clone();
                let counts = counts.entry(key.language).or_default();
                *counts.open_jobs.entry((source, key.kind)).or_default() += 1;
            }
        }
        counts.retain(|_, counts| *counts != Counts::default());
        counts
    }
}

/// Checks that every record of a batch can be read back.
fn check_sizes(batch: &Batch) -> Result<()> {
    let heads = batch
        .head
        .iter()
        .map(|head| ("metadata", codec::encode_head(head)));
    let slots = batch.slots.iter();
    let slots = slots.map(|slot| ("translations into a language", codec::encode_slot(slot)));
    let jobs = batch
        .jobs
        .iter()
        .map(|job| ("translation job", codec::encode_job(job)));
    let bodies = batch
        .bodies
        .iter()
        .map(|(_, body)| ("version", codec::encode_body(body)));
    let deltas = batch.delta.iter();
    let deltas = deltas.map(|delta| ("revision delta", codec::encode_delta(&batch.article, delta)));
    let purges = batch.purge.iter();
    let purges = purges.map(|tombstone| ("tombstone", codec::encode_tombstone(tombstone)));
    let requests = batch.request.iter();
    let requests = requests.map(|record| ("request", codec::encode_request(record)));
    heads
        .chain(slots)
        .chain(jobs)
        .chain(bodies)
        .chain(deltas)
        .chain(purges)
        .chain(requests)
        .try_for_each(|(record, payload)| {
            commits::check_size(Some(&batch.article), record, payload).map(drop)
        })?;
    let events = codec::encode_events(&batch.events, &batch.principal);
    commits::check_changes(Some(&batch.article), events).map(drop)
}

/// The order of a list: by instant and id, the undated last.
fn in_order(query: &Query, a: &Position, b: &Position) -> Ordering {
    let is_undated = |position: &Position| position.instant.is_none();
    let by_place = (a.instant, &a.id).cmp(&(b.instant, &b.id));
    is_undated(a).cmp(&is_undated(b)).then(match query.order {
        Order::NewestFirst => by_place.reverse(),
        Order::OldestFirst => by_place,
    })
}
