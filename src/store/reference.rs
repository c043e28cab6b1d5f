//! The reference store: the contract of [`Store`] over ordered maps, without an engine, threads or caches.
//!
//! It runs the same conformance suite as the kv store, and is the oracle of model tests. Every call is one step under one
//! lock, and every commit is durable at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::error::{OpenError, Result, StoreError};
use super::model::claims::{self, Change};
use super::model::codec;
use super::model::commits;
use super::{
    ArticleState, Batch, Body, Budget, Changes, Checked, Claim, Claimed, Committed, Durable, Entity, Finding,
    LogHold, LogHolds, Page, Policies, PolicyChange, Standings, Store, StoreStatus, Sweep,
};
use crate::clock::{Clock, StoreClock};
use crate::domain::access::embargo_end;
use crate::domain::article::{Alias, ArticleId, Tombstone};
use crate::domain::change::Commit;
use crate::domain::departures::{Departures, Lookup};
use crate::domain::job::{self, ClaimQuery, Job, JobKey, JobState};
use crate::domain::language::Language;
use crate::domain::query::{Position, Query, Standing};
use crate::domain::request::{RequestKey, RequestRecord};
use crate::domain::retention::{LogRetention, Retention};
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::domain::version::VersionKey;

mod state;
mod transfer;

use state::{Place, State};
pub use transfer::{Published, ReferenceImport};

/// A store in ordered maps.
pub struct ReferenceStore {
    state: Mutex<State>,
    clock: StoreClock,
    durable: watch::Sender<Durable>,
    holds: LogHolds,
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
        state.drop_revisions(&retention);
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
        Ok(StoreStatus {
            engine: "reference",
            epoch: state.epoch,
            seq: state.last().seq,
            counts: state.counts(),
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
