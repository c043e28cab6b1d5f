//! The reference store: the contract of [`Store`] over ordered maps, without an engine, threads or caches.
//!
//! It proves that the seam needs nothing of the kv store, runs the same conformance suite, and is the oracle of model
//! tests. Every call is one step under one lock, so what is said of a moment is literally so; nothing is ever in doubt.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::vec;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::error::{Conflict, OpenError, Result, StoreError};
use super::model::claims::{self, Change};
use super::model::codec::{self, Group};
use super::model::commits;
use super::{
    ArticleState, Batch, Body, Budget, Changes, Checked, Claim, Claimed, Committed, Counts, Durable, Entity,
    Finding, LogHold, LogHolds, Page, Policies, PolicyChange, Standings, Store, StoreStatus, Sweep,
};
use crate::clock::{Clock, StoreClock};
use crate::domain::access::{Visibility, embargo_end};
use crate::domain::article::{Alias, ArticleId, DroppedRevision, Tombstone};
use crate::domain::change::Commit;
use crate::domain::departures::{Departures, Lookup, RevisionDelta};
use crate::domain::freshness::Overall;
use crate::domain::job::{self, ClaimQuery, Job, JobId, JobKey, JobState, Jobs};
use crate::domain::language::Language;
use crate::domain::policy::PolicyId;
use crate::domain::query::{IndexRow, Order, Position, Query, Standing};
use crate::domain::request::{RequestKey, RequestRecord};
use crate::domain::retention::{LogRetention, Retention, named};
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::domain::translation::Disposition;
use crate::domain::version::VersionKey;

mod transfer;

pub use transfer::{Published, ReferenceImport};

/// A store in ordered maps. See the module's page.
pub struct ReferenceStore {
    state: Mutex<State>,
    clock: StoreClock,
    durable: watch::Sender<Durable>,
    holds: LogHolds,
}

#[derive(Clone, Default)]
struct State {
    epoch: [u8; 16],
    closed: bool,
    last: Option<Stamp>,
    articles: BTreeMap<ArticleId, Arc<ArticleState>>,
    versions: BTreeMap<VersionKey, Arc<Body>>,
    deltas: BTreeMap<(ArticleId, u32), RevisionDelta>,
    aliases: BTreeMap<Alias, ArticleId>,
    tombstones: BTreeMap<ArticleId, Tombstone>,
    requests: BTreeMap<RequestKey, RequestRecord>,
    /// Ended jobs that a newer one of their key has replaced, with the time of that.
    replaced: BTreeMap<JobId, (Arc<Job>, Timestamp)>,
    policies: Policies,
    /// The change log by the first commit of each group.
    log: BTreeMap<Seq, Group>,
    /// The records of all entities, which exports hand out as they were written.
    records: BTreeMap<Place, (Stamp, Vec<u8>)>,
    /// The newest commit that is no longer in the log.
    floor: Seq,
}

/// What a record is about, in the order of exports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Head(ArticleId),
    Slot(ArticleId, Language),
    Job(ArticleId, JobKey),
    ReplacedJob(JobId),
    Tombstone(ArticleId),
    Delta(ArticleId, u32),
    /// By its short name, as in other stores.
    Request(Vec<u8>),
    /// In the order of writing, as in other stores.
    Version(Seq, VersionKey),
    Log(Seq),
    Policy(PolicyId),
}

impl ReferenceStore {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State {
            epoch: Uuid::new_v4().into_bytes(),
            ..State::default()
        };
        Self::with(state, StoreClock::new(clock))
    }

    fn of(state: State, clock: Arc<dyn Clock>) -> Result<Self> {
        let clock = StoreClock::new(clock);
        if let Some(last) = state.last {
            clock
                .continue_from(last.time)
                .map_err(|jump| StoreError::Open(OpenError::ClockJump(jump)))?;
        }
        Ok(Self::with(state, clock))
    }

    fn with(state: State, clock: StoreClock) -> Self {
        let seq = state.last().seq;
        Self {
            state: Mutex::new(state),
            clock,
            durable: watch::Sender::new(Durable { seq, generation: 0 }),
            holds: LogHolds::default(),
        }
    }

    /// The same store after it was closed, as a restart would find it.
    pub fn reopened(&self, clock: Arc<dyn Clock>) -> Result<Self> {
        let state = State {
            closed: false,
            ..self.state.lock().clone()
        };
        Self::of(state, clock)
    }

    fn open(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        Ok(state)
    }

    /// The state for a write, and the time of a commit.
    fn open_to_write(&self) -> Result<(MutexGuard<'_, State>, Timestamp)> {
        let now = self.clock.commit_time().map_err(StoreError::clock_jump);
        Ok((self.open()?, now?))
    }

    /// Says that everything up to the newest commit is durable: in this store it is at once.
    fn announce(&self, state: &State) {
        let last = state.last();
        self.clock.committed(last.time);
        self.durable.send_modify(|durable| durable.seq = last.seq);
    }
}

impl State {
    fn last(&self) -> Stamp {
        self.last.unwrap_or(Stamp {
            seq: 0,
            time: Timestamp::MIN,
        })
    }

    fn next_stamp(&mut self, now: Timestamp) -> Stamp {
        let next = commits::next_stamp(self.last(), now);
        self.last = Some(next);
        next
    }

    /// Checks what a batch implies beside its own preconditions.
    fn check(&self, batch: &Batch) -> Result<()> {
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

    fn unless_purged(&self, id: &ArticleId) -> Result<()> {
        let tombstone = self.tombstones.get(id).cloned().map(Box::new);
        tombstone.map_or(Ok(()), |tombstone| Err(StoreError::Purged(tombstone)))
    }

    fn check_request(&self, request: Option<&RequestKey>) -> Result<()> {
        match request {
            Some(key) if self.requests.contains_key(key) => Err(StoreError::Conflict(Conflict::Request)),
            _ => Ok(()),
        }
    }

    fn put(&mut self, place: Place, stamp: Stamp, record: Vec<u8>) {
        self.records.insert(place, (stamp, record));
    }

    /// Applies a batch, and answers its bodies.
    fn apply(&mut self, batch: Batch, stamp: Stamp) -> Vec<Arc<Body>> {
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

    fn put_job(&mut self, jobs: &mut Jobs, mut job: Job, stamp: Stamp) {
        let place = Place::Job(job.id.article.clone(), job.id.key.clone());
        self.put(place, stamp, codec::encode_job(&job));
        job.resolve(stamp);
        if let Some(replaced) = commits::put_job(jobs, job) {
            let place = Place::ReplacedJob(replaced.id.clone());
            self.put(place, replaced.changed, codec::encode_job(&replaced));
            self.replaced.insert(replaced.id.clone(), (replaced, stamp.time));
        }
    }

    fn record_request(&mut self, request: Option<RequestRecord>, stamp: Stamp) {
        if let Some(mut record) = request {
            let place = Place::Request(codec::request_key(&record.key));
            self.put(place, stamp, codec::encode_request(&record));
            record.stamp = stamp;
            self.requests.insert(record.key.clone(), record);
        }
    }

    fn append(&mut self, stamp: Stamp, events: Vec<u8>) {
        let group = Group {
            first: stamp.seq,
            commits: vec![(stamp.time, events)],
        };
        self.put(Place::Log(stamp.seq), stamp, group.clone().encode());
        self.log.insert(stamp.seq, group);
    }

    fn purge(&mut self, mut tombstone: Tombstone, stamp: Stamp) {
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
    fn commits(&self) -> impl Iterator<Item = (Stamp, &Vec<u8>)> {
        self.log.values().flat_map(|group| {
            let numbered = (group.first..).zip(&group.commits);
            numbered.map(|(seq, (time, events))| (Stamp { seq, time: *time }, events))
        })
    }

    /// The index rows of a list in its order, after a position, each with its article.
    fn rows(&self, query: &Query, after: Option<&Position>) -> Vec<(IndexRow, Position, &Arc<ArticleState>)> {
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

    /// The open jobs that a query asks for, leaving their times aside.
    fn queued(&self, query: &ClaimQuery) -> Vec<(job::Place, Timestamp, ArticleId, JobKey)> {
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

    /// The jobs that a claim looks at, in the order of their queues.
    fn candidates(
        &self,
        query: &ClaimQuery,
        now: Timestamp,
    ) -> vec::IntoIter<(Timestamp, ArticleId, JobKey)> {
        let mut queued = self.queued(query);
        queued.retain(|(place, ..)| match place {
            job::Place::Ready(_) => true,
            // A job that is named says itself whether it may be claimed.
            job::Place::Waiting(from) => *from <= now || !query.ids.is_empty(),
        });
        let mut candidates: Vec<_> = queued
            .into_iter()
            .map(|(_, rank, article, key)| (rank, article, key))
            .collect();
        candidates.sort();
        candidates.into_iter()
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

fn missing(record: String) -> StoreError {
    StoreError::Corrupt {
        record,
        detail: "it is missing".into(),
    }
}

#[async_trait]
impl Store for ReferenceStore {
    async fn articles(&self, ids: &[ArticleId]) -> Result<Vec<Option<Arc<ArticleState>>>> {
        let state = self.open()?;
        Ok(ids.iter().map(|id| state.articles.get(id).cloned()).collect())
    }

    async fn versions(&self, keys: &[VersionKey]) -> Result<Vec<Arc<Body>>> {
        let state = self.open()?;
        let version = |key: &VersionKey| {
            state.unless_purged(&key.article)?;
            let found = state.versions.get(key).cloned();
            found.ok_or_else(|| missing(key.to_string()))
        };
        keys.iter().map(version).collect()
    }

    async fn version_at(&self, newest: &VersionKey, time: Timestamp) -> Result<Option<Arc<Body>>> {
        let state = self.open()?;
        state.unless_purged(&newest.article)?;
        let first = VersionKey {
            number: 0,
            ..newest.clone()
        };
        let mut series = state.versions.range(first..=newest.clone());
        let found = series.rfind(|(_, body)| body.version().stamp.time <= time);
        Ok(found.map(|(_, body)| body.clone()))
    }

    async fn departures(&self, id: &ArticleId, lookup: &Lookup) -> Result<Departures> {
        let state = self.open()?;
        state.unless_purged(id)?;
        let deltas = state.deltas.range((id.clone(), 0)..=(id.clone(), u32::MAX));
        Ok(Departures::of(deltas.map(|(_, delta)| delta), lookup))
    }

    async fn request(&self, key: &RequestKey) -> Result<Option<RequestRecord>> {
        Ok(self.open()?.requests.get(key).cloned())
    }

    async fn lookup(&self, aliases: &[Alias]) -> Result<Vec<Option<ArticleId>>> {
        let state = self.open()?;
        Ok(aliases
            .iter()
            .map(|alias| state.aliases.get(alias).cloned())
            .collect())
    }

    async fn list(&self, query: &Query, after: Option<&Position>, budget: Budget) -> Result<Page> {
        let state = self.open()?;
        let mut page = Page {
            articles: Vec::new(),
            next: None,
        };
        let mut bytes = 0;
        for (seen, (row, position, article)) in (1..).zip(state.rows(query, after)) {
            let is_translated = query.translation.as_ref().is_none_or(|filter| {
                let slot = article.slots.get(&filter.language);
                let standing = slot.and_then(|slot| Standing::of(&article.head, slot));
                filter.matches(&row.language, standing.as_ref())
            });
            let found = query.matches(&row) && is_translated;
            if found {
                page.articles.push((position.clone(), article.clone()));
                bytes += article.bytes();
            }
            let is_full = page.articles.len() >= budget.articles || bytes >= budget.bytes;
            if seen >= budget.rows || found && is_full {
                page.next = Some(position);
                break;
            }
        }
        Ok(page)
    }

    async fn standings(
        &self,
        query: &Query,
        languages: &[Language],
        after: Option<&Position>,
        rows: usize,
    ) -> Result<Standings> {
        let state = self.open()?;
        let mut page = Standings::default();
        for (seen, (row, position, article)) in (1..).zip(state.rows(query, after)) {
            if query.matches(&row) {
                let of = |language| {
                    let slot = article.slots.get(language)?;
                    Standing::of(&article.head, slot)
                };
                page.rows.push((row, languages.iter().map(of).collect()));
            }
            if seen >= rows {
                page.next = Some(position);
                break;
            }
        }
        Ok(page)
    }

    async fn scan(&self, after: Option<&ArticleId>, limit: usize) -> Result<Vec<Arc<ArticleState>>> {
        let state = self.open()?;
        let rest = state
            .articles
            .values()
            .filter(|state| after.is_none_or(|after| state.head.id > *after));
        Ok(rest.take(limit).cloned().collect())
    }

    async fn due_embargoes(&self, now: Timestamp, limit: usize) -> Result<Vec<ArticleId>> {
        let state = self.open()?;
        let ends = state.articles.values().filter_map(|state| {
            let end = embargo_end(&state.head.current)?;
            (end <= now).then(|| (end, state.head.id.clone()))
        });
        let mut due: Vec<_> = ends.collect();
        due.sort();
        Ok(due.into_iter().take(limit).map(|(_, id)| id).collect())
    }

    async fn tombstone(&self, id: &ArticleId) -> Result<Option<Tombstone>> {
        Ok(self.open()?.tombstones.get(id).cloned())
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        let (mut state, now) = self.open_to_write()?;
        state.check(&batch)?;
        let stamp = state.next_stamp(now);
        let article = batch.article.clone();
        let bodies = state.apply(batch, stamp);
        self.announce(&state);
        Ok(Committed {
            stamp,
            state: state.articles.get(&article).cloned(),
            bodies,
        })
    }

    async fn changes(&self, after: Seq, limit: usize) -> Result<Changes> {
        let state = self.open()?;
        let decode = |(stamp, events): (Stamp, &Vec<u8>)| {
            let logged = codec::decode_events(events).map_err(|malformed| StoreError::Corrupt {
                record: format!("commit {}", stamp.seq),
                detail: malformed.0,
            })?;
            Ok(Commit {
                stamp,
                events: logged.events,
                principal: logged.principal,
            })
        };
        let commits = state
            .commits()
            .filter(|(stamp, _)| after >= state.floor && stamp.seq > after)
            .take(limit);
        Ok(Changes {
            commits: commits.map(decode).collect::<Result<_>>()?,
            floor: state.floor,
            head: state.last().seq,
        })
    }

    fn durable(&self) -> watch::Receiver<Durable> {
        self.durable.subscribe()
    }

    async fn expire_requests(&self, before: Timestamp) -> Result<bool> {
        let (mut state, _) = self.open_to_write()?;
        let State {
            requests,
            replaced,
            records,
            ..
        } = &mut *state;
        requests.retain(|_, record| record.stamp.time >= before);
        replaced.retain(|_, (_, time)| *time >= before);
        let kept: BTreeSet<_> = requests.keys().map(codec::request_key).collect();
        records.retain(|place, _| match place {
            Place::Request(name) => kept.contains(name),
            Place::ReplacedJob(id) => replaced.contains_key(id),
            _ => true,
        });
        Ok(false)
    }

    async fn drop_revisions(&self, retention: Retention) -> Result<Sweep> {
        let (mut state, _) = self.open_to_write()?;
        let mut dropped = Vec::new();
        for article in state.articles.values() {
            let Some(oldest) = retention.oldest_of_newest(&article.head) else {
                continue;
            };
            let slots = article.slots.values().map(|slot| &**slot);
            let named = named(slots, article.jobs.values().map(|job| &**job));
            let revision = |number| state.versions.get_key_value(&article.head.revision_key(number));
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
            state.put(
                Place::Version(stamp.seq, key.clone()),
                stamp,
                codec::encode_body(&body),
            );
            state.versions.insert(key, Arc::new(body));
        }
        Ok(Sweep::Done)
    }

    async fn claim(&self, claim: Claim) -> Result<Claimed> {
        let (mut state, now) = self.open_to_write()?;
        state.check_request(claim.request.as_ref().map(|(key, _)| key))?;
        let mut candidates = state.candidates(&claim.query, now);
        let decided = claims::decide(claim, now, || {
            let next = candidates.next();
            Ok(next.map(|(_, article, key)| (state.articles.get(&article).cloned(), key)))
        })?;
        let mut claimed = Claimed {
            jobs: Vec::new(),
            is_partial: decided.is_partial,
        };
        if decided.changes.is_empty() {
            return Ok(claimed);
        }
        let stamp = state.next_stamp(now);
        for Change { article, job, .. } in decided.changes {
            // Another job of the article may have come before this one.
            let article = state.articles.get(&article.head.id).cloned().unwrap_or(article);
            let (key, mut jobs) = (job.id.key.clone(), article.jobs.clone());
            state.put_job(&mut jobs, job, stamp);
            let job = jobs.get(&key).filter(|job| job.state == JobState::Leased);
            claimed.jobs.extend(job.cloned());
            let after = ArticleState {
                jobs,
                ..(*article).clone()
            };
            state.articles.insert(article.head.id.clone(), Arc::new(after));
        }
        state.append(stamp, decided.events);
        state.record_request(decided.request.map(|(request, _)| request), stamp);
        self.announce(&state);
        Ok(claimed)
    }

    async fn next_claimable(&self, query: &ClaimQuery) -> Result<Option<Timestamp>> {
        let queued = self.open()?.queued(query).into_iter();
        let times = queued.map(|(place, ..)| match place {
            job::Place::Ready(_) => Timestamp::MIN,
            job::Place::Waiting(from) => from,
        });
        Ok(times.min())
    }

    async fn jobs(&self, after: Option<&(ArticleId, JobKey)>, limit: usize) -> Result<Vec<Arc<Job>>> {
        let state = self.open()?;
        let jobs = state.articles.values().flat_map(|state| state.jobs.values());
        let rest = jobs
            .filter(|job| after.is_none_or(|(article, key)| (&job.id.article, &job.id.key) > (article, key)));
        Ok(rest.take(limit).cloned().collect())
    }

    async fn replaced_jobs(&self, article: &ArticleId) -> Result<Vec<Arc<Job>>> {
        let state = self.open()?;
        let of_article = state
            .replaced
            .values()
            .filter(|(job, _)| job.id.article == *article);
        Ok(of_article.map(|(job, _)| job.clone()).collect())
    }

    async fn policies(&self) -> Result<Policies> {
        Ok(self.open()?.policies.clone())
    }

    async fn change_policy(&self, change: PolicyChange) -> Result<Stamp> {
        let (mut state, now) = self.open_to_write()?;
        commits::check_policies(change.expect, &state.policies)?;
        let record = change.policy.as_ref().map(commits::policy_record).transpose()?;
        let events = commits::check_changes(None, codec::encode_events(&[], &change.principal))?;
        let stamp = state.next_stamp(now);
        state.append(stamp, events);
        let place = Place::Policy(change.id.clone());
        match record {
            Some(record) => state.put(place, stamp, record),
            None => drop(state.records.remove(&place)),
        }
        state.policies = state.policies.after(change, stamp.seq);
        self.announce(&state);
        Ok(stamp)
    }

    async fn trim(&self, retention: LogRetention) -> Result<Sweep> {
        let (mut state, _) = self.open_to_write()?;
        let limit = self.holds.oldest(self.clock.now()).unwrap_or(Seq::MAX);
        let sizes: BTreeMap<Seq, u64> = state
            .commits()
            .map(|(stamp, events)| (stamp.seq, events.len() as u64))
            .collect();
        let mut bytes: u64 = sizes.values().sum();
        // The newest group always stays.
        while state.log.len() > 1
            && let Some(last) = state.log.first_key_value().and_then(|(_, group)| group.last())
            && last.seq <= limit
            && retention.drops(last.time, bytes)
        {
            if let Some((first, _)) = state.log.pop_first() {
                state.records.remove(&Place::Log(first));
            }
            bytes -= sizes
                .range(state.floor + 1..=last.seq)
                .map(|(_, size)| size)
                .sum::<u64>();
            state.floor = last.seq;
        }
        Ok(Sweep::Done)
    }

    fn hold(&self, after: Seq) -> LogHold {
        self.holds.hold(after, self.clock.now())
    }

    fn clock(&self) -> &StoreClock {
        &self.clock
    }

    fn epoch(&self) -> [u8; 16] {
        self.state.lock().epoch
    }

    async fn status(&self) -> Result<StoreStatus> {
        let state = self.open()?;
        let mut counts: BTreeMap<Language, Counts> = BTreeMap::new();
        for article in state.articles.values() {
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
        for (_, _, article, key) in state.queued(&all) {
            if let Some(article) = state.articles.get(&article) {
                let source = article.head.current.metadata.language.clone();
                let counts = counts.entry(key.language).or_default();
                *counts.open_jobs.entry((source, key.kind)).or_default() += 1;
            }
        }
        counts.retain(|_, counts| *counts != Counts::default());
        Ok(StoreStatus {
            engine: "reference",
            epoch: state.epoch,
            seq: state.last().seq,
            counts,
            sizes: None,
            compaction: None,
        })
    }

    async fn check_and_report(&self, report: mpsc::Sender<Checked>) -> Result<()> {
        let problems: Vec<_> = {
            let state = self.open()?;
            let is_held = |(alias, holder): &(&Alias, &ArticleId)| {
                let holder = state.articles.get(*holder);
                holder.is_some_and(|holder| holder.head.aliases.contains(alias))
            };
            let stray = state.aliases.iter().filter(|alias| !is_held(alias));
            stray
                .map(|(alias, holder)| Finding {
                    record: format!("alias {alias}"),
                    problem: format!("article {holder} does not have it"),
                })
                .collect()
        };
        for problem in problems {
            if report.send(Checked::Found(problem)).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn export(&self, chunks: mpsc::Sender<Vec<Entity>>) -> Result<Stamp> {
        let (entities, last) = {
            let state = self.open()?;
            (transfer::entities(&state)?, state.last())
        };
        for chunk in entities.chunks(256) {
            let gone = |_| StoreError::Unavailable {
                reason: "the reader of the backup went away".into(),
            };
            chunks.send(chunk.to_vec()).await.map_err(gone)?;
        }
        Ok(last)
    }

    async fn close(&self) -> Result<()> {
        self.state.lock().closed = true;
        Ok(())
    }
}
