//! Group commit: checks every batch against the stored state and against the batches before it in the group, numbers it and
//! turns it into engine writes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::codec::{self, Group as LogGroup};
use super::encoded_batch::{EncodedBatch, seal_job};
use super::engine::Write;
use super::envelope::Sealed;
use super::expiry;
use super::indexes::{self, Tally};
use super::keys;
use super::purge::Removal;
use super::shared::{Shared, corrupt};
use crate::domain::article::{Alias, ArticleId, Head};
use crate::domain::job::{Job, Jobs};
use crate::domain::language::Language;
use crate::domain::query::IndexRow;
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::domain::version::{Version, VersionKey};
use crate::store::error::{Conflict, Result, StoreError};
use crate::store::model::commits;
use crate::store::{ArticleState, Body, Committed, Counts, Policies, PolicyChange};

mod claim;

/// A group under construction.
pub(super) struct Group<'a> {
    core: &'a Shared,
    last: Stamp,
    log: LogGroup,
    /// Bytes of the changes in the log's record.
    pub(super) log_bytes: usize,
    /// The writes, without those of the log.
    pub(super) writes: Vec<Write>,
    /// The articles as the group leaves them; `None` for a purged one.
    pub(super) articles: HashMap<ArticleId, Option<Arc<ArticleState>>>,
    /// The newest purge of the group.
    purged: Option<Seq>,
    /// The holders of aliases that the group changes; `None` for one that it frees.
    aliases: HashMap<Vec<u8>, Option<ArticleId>>,
    requests: HashSet<Vec<u8>>,
    /// All policies as the group leaves them, if it changes any.
    pub(super) policies: Option<Policies>,
    /// The entries of queues that the group changes, and whether they are there afterwards.
    queued: BTreeMap<Vec<u8>, bool>,
    tally: Tally,
    /// The counts that the group changes, as they are afterwards; known when it is finished.
    pub(super) counts: Vec<(Language, Counts)>,
}

impl<'a> Group<'a> {
    /// An empty group after the last commit.
    pub(super) fn after(core: &'a Shared, last: Stamp) -> Self {
        Self {
            core,
            last,
            log: LogGroup {
                first: last.seq + 1,
                commits: Vec::new(),
            },
            log_bytes: 0,
            writes: Vec::new(),
            articles: HashMap::new(),
            purged: None,
            aliases: HashMap::new(),
            requests: HashSet::new(),
            policies: None,
            queued: BTreeMap::new(),
            tally: Tally::default(),
            counts: Vec::new(),
        }
    }

    /// The last commit of the group, or the one before it.
    pub(super) fn last(&self) -> Stamp {
        self.last
    }

    /// Checks a batch and adds it, and answers the article after it. A batch that is refused leaves the group as it was.
    pub(super) fn add(&mut self, prepared: EncodedBatch, now: Timestamp) -> Result<Committed> {
        let old = self.current(&prepared.batch.article)?;
        commits::check(&prepared.batch, old.as_deref(), || self.policies())?;
        if prepared.head.is_some() && old.is_none() && self.is_purged(&prepared.batch.article)? {
            return Err(StoreError::Conflict(Conflict::Purged(prepared.batch.article)));
        }
        let aliases = self.new_aliases(&prepared, old.as_deref())?;
        if let Some((key, _)) = &prepared.request {
            self.check_request(key)?;
        }
        let removal = match (&prepared.purge, old.as_deref()) {
            (Some(_), Some(old)) => self.removal(old)?,
            (Some(_), None) => return Err(StoreError::Conflict(Conflict::Article(prepared.batch.article))),
            (None, _) => Removal::default(),
        };
        let stamp = self.next_stamp(now);
        let article = prepared.batch.article.clone();
        let bodies = self.put(prepared, old.as_deref(), aliases, removal, stamp);
        Ok(Committed {
            stamp,
            state: self.articles.get(&article).cloned().flatten(),
            bodies,
        })
    }

    /// Changes a policy. A change that is refused leaves the group as it was.
    pub(super) fn change_policy(&mut self, change: PolicyChange, now: Timestamp) -> Result<Stamp> {
        let policies = self.policies()?;
        commits::check_policies(change.expect, &policies)?;
        let record = change.policy.as_ref().map(commits::policy_record).transpose()?;
        let events = commits::check_changes(None, codec::encode_events(&[], &change.principal))?;
        let stamp = self.next_stamp(now);
        let key = keys::policy(&change.id);
        self.writes.push(match record {
            Some(record) => Write::Put(key, Sealed::new(&record).stamped(stamp)),
            None => Write::Remove(key),
        });
        self.append(stamp, events);
        self.policies = Some(policies.after(change, stamp.seq));
        Ok(stamp)
    }

    fn policies(&self) -> Result<Policies> {
        match &self.policies {
            Some(policies) => Ok(policies.clone()),
            None => self.core.policies.lock().clone(),
        }
    }

    /// Numbers a commit.
    fn next_stamp(&mut self, now: Timestamp) -> Stamp {
        self.last = commits::next_stamp(self.last, now);
        self.last
    }

    fn append(&mut self, stamp: Stamp, events: Vec<u8>) {
        self.log_bytes += events.len();
        self.log.commits.push((stamp.time, events));
    }

    /// A request is recorded once.
    fn check_request(&self, key: &[u8]) -> Result<()> {
        if self.requests.contains(key) || self.core.engine.get(key)?.is_some() {
            return Err(StoreError::Conflict(Conflict::Request));
        }
        Ok(())
    }

    /// The removals of a purge's commit, those of earlier writes of the group included.
    fn removal(&self, state: &ArticleState) -> Result<Removal> {
        let mut removal = Removal::of(self.core, state)?;
        removal
            .keys
            .extend(self.writes.iter().filter_map(|write| match write {
                Write::Put(key, _) if keys::article_of(key).as_ref() == Some(&state.head.id) => {
                    Some(key.clone())
                }
                _ => None,
            }));
        Ok(removal)
    }

    /// Writes that are no commit, such as forgetting old requests. A body is only replaced where it still is: its article
    /// may have been purged since the writes were made.
    pub(super) fn add_housekeeping(&mut self, writes: Vec<Write>) -> Result<()> {
        let mut kept = Vec::with_capacity(writes.len());
        for write in writes {
            let is_gone = match &write {
                Write::Put(key, _) => match keys::body_of(key) {
                    Some((_, version)) => {
                        self.articles.get(&version.article).is_some_and(Option::is_none)
                            || self.core.engine.get(key)?.is_none()
                    }
                    None => false,
                },
                Write::Remove(_) => false,
            };
            if !is_gone {
                kept.push(write);
            }
        }
        self.writes.extend(kept);
        Ok(())
    }

    /// All writes, those of the counts and of the log among them.
    pub(super) fn finish(&mut self) -> Vec<Write> {
        self.counts = std::mem::take(&mut self.tally).apply(&self.core.counts.lock());
        for (language, counts) in &self.counts {
            self.writes
                .push(indexes::counts_write(language, counts, self.last));
        }
        let log = std::mem::take(&mut self.log);
        if let Some(last) = log.last() {
            let key = keys::log(log.first);
            self.writes
                .push(Write::Put(key, Sealed::new(&log.encode()).stamped(last)));
        }
        std::mem::take(&mut self.writes)
    }

    fn current(&self, id: &ArticleId) -> Result<Option<Arc<ArticleState>>> {
        match self.articles.get(id) {
            Some(state) => Ok(state.clone()),
            None => self.core.load(id),
        }
    }

    /// Whether an id without an article is that of a purged one.
    fn is_purged(&self, id: &ArticleId) -> Result<bool> {
        let in_group = self.articles.contains_key(id);
        Ok(in_group || self.core.engine.get(&keys::tombstone(id))?.is_some())
    }

    /// The newest purge of the group.
    pub(super) fn purged(&self) -> Option<Seq> {
        self.purged
    }

    /// The keys of the aliases that the batch claims; all of them must be free.
    fn new_aliases(
        &self,
        prepared: &EncodedBatch,
        old: Option<&ArticleState>,
    ) -> Result<Vec<Option<Vec<u8>>>> {
        let held: &[Alias] = old.map_or(&[], |old| &old.head.aliases);
        let claim = |alias: &Alias| {
            if held.contains(alias) {
                return Ok(None);
            }
            let key = keys::alias(alias);
            let holder = match self.aliases.get(&key) {
                Some(holder) => holder.clone(),
                None => holder_of(self.core, &key)?.map(|(_, _, holder)| holder),
            };
            match holder {
                Some(holder) if holder != prepared.batch.article => {
                    Err(StoreError::Conflict(Conflict::Alias {
                        alias: alias.to_string(),
                        holder,
                    }))
                }
                Some(_) => Ok(None),
                None => Ok(Some(key)),
            }
        };
        prepared.aliases.iter().map(|(alias, _)| claim(alias)).collect()
    }

    fn put(
        &mut self,
        prepared: EncodedBatch,
        old: Option<&ArticleState>,
        new_aliases: Vec<Option<Vec<u8>>>,
        removal: Removal,
        stamp: Stamp,
    ) -> Vec<Arc<Body>> {
        let EncodedBatch {
            batch,
            head,
            slots,
            jobs,
            bodies,
            delta,
            aliases,
            purge,
            request,
            events,
        } = prepared;
        if let (Some(tombstone), Some(old)) = (purge, old) {
            self.purge(old, tombstone, removal, stamp);
        }
        let mut written = Vec::with_capacity(bodies.len());
        for ((series, mut body), record) in batch.bodies.into_iter().zip(bodies) {
            let superseded = old.and_then(|old| old.newest(&series));
            let version = |number| VersionKey {
                article: batch.article.clone(),
                series: series.clone(),
                number,
            };
            let key = keys::body(stamp.seq, &version(body.version().number));
            self.writes.push(Write::Put(key, record.stamped(stamp)));
            self.writes.extend(superseded.map(|Version { number, stamp }| {
                let key = keys::superseded_at(&version(number), stamp.seq);
                Write::Put(key, Sealed::plain(&[]).stamped(stamp))
            }));
            body.resolve(stamp);
            written.push(Arc::new(body));
        }
        let mut put = |key, record: Sealed| self.writes.push(Write::Put(key, record.stamped(stamp)));
        for ((_, record), key) in aliases.into_iter().zip(new_aliases) {
            if let Some(key) = key {
                self.aliases.insert(key.clone(), Some(batch.article.clone()));
                put(key, record);
            }
        }
        if let Some((key, record)) = request {
            self.requests.insert(key.clone());
            put(keys::expiry(stamp.time, &key), Sealed::plain(&[]));
            put(key, record);
        }
        if let (Some((record, rows)), Some(delta)) = (delta, &batch.delta) {
            put(keys::delta(&batch.article, delta.revision), record);
            self.writes.extend(rows);
        }
        let mut put = |key, record: Sealed| self.writes.push(Write::Put(key, record.stamped(stamp)));
        for (slot, record) in batch.slots.iter().zip(slots) {
            put(keys::slot(&batch.article, &slot.language), record);
        }
        let mut new_slots = old.map(|old| old.slots.clone()).unwrap_or_default();
        let mut new_head = old.map(|old| old.head.clone());
        if let (Some(mut entity), Some((record, rows))) = (batch.head, head) {
            entity.resolve(stamp);
            put(keys::head(&batch.article), record);
            self.writes
                .extend(timer_writes(old.map(|old| &*old.head), &entity, stamp));
            for (axis, row) in rows {
                self.writes
                    .extend(index_writes(old.map(|old| &*old.head), &entity, axis, row, stamp));
            }
            new_head = Some(Arc::new(entity));
        }
        for mut slot in batch.slots {
            let written = Arc::make_mut(&mut slot);
            written.resolve(stamp);
            written.stamp = stamp;
            new_slots.insert(slot.language.clone(), slot);
        }
        if let Some(head) = new_head.filter(|_| batch.purge.is_none()) {
            let old_jobs = old.map(|old| old.jobs.clone()).unwrap_or_default();
            let new = ArticleState {
                head,
                slots: new_slots,
                jobs: self.put_jobs(old_jobs, batch.jobs.into_iter().zip(jobs), stamp),
            };
            self.derive(old, Some(&new), stamp);
            self.articles.insert(batch.article, Some(Arc::new(new)));
        }
        self.append(stamp, events);
        written
    }

    /// Stores jobs of an article in order. One that takes the place of another keeps that aside.
    fn put_jobs(
        &mut self,
        mut stored: Jobs,
        jobs: impl Iterator<Item = (Job, Sealed)>,
        stamp: Stamp,
    ) -> Jobs {
        for (mut job, record) in jobs {
            job.resolve(stamp);
            let key = keys::job(&job.id.article, &job.id.key);
            self.writes.push(Write::Put(key, record.stamped(stamp)));
            if let Some(last) = commits::put_job(&mut stored, job) {
                let kept = seal_job(&last).stamped(last.changed);
                let key = keys::replaced_job(&last.id);
                self.writes
                    .extend([expiry::entry(stamp, &key), Write::Put(key, kept)]);
            }
        }
        stored
    }

    /// Updates the derived records of an article from one state to the next.
    fn derive(&mut self, old: Option<&ArticleState>, new: Option<&ArticleState>, stamp: Stamp) {
        let mut writes = indexes::writes(old, new, stamp);
        let queued = indexes::queue_changes(old, new);
        writes.extend(indexes::queue_writes(&queued, stamp));
        self.queued.extend(queued);
        self.tally.change(old, new);
        self.tally.entries(&writes);
        self.writes.extend(writes);
    }
}

impl Group<'_> {
    /// Removes an article with all that belongs to it.
    fn purge(&mut self, old: &ArticleState, tombstone: Sealed, removal: Removal, stamp: Stamp) {
        self.writes.extend(removal.keys.into_iter().map(Write::Remove));
        if !removal.is_whole {
            let marker = keys::purging(&old.head.id);
            self.writes
                .push(Write::Put(marker, Sealed::plain(&[]).stamped(stamp)));
        }
        self.derive(Some(old), None, stamp);
        let aliases = old.head.aliases.iter().map(keys::alias);
        self.aliases.extend(aliases.map(|key| (key, None)));
        let key = keys::tombstone(&old.head.id);
        self.writes.push(Write::Put(key, tombstone.stamped(stamp)));
        self.articles.insert(old.head.id.clone(), None);
        self.purged = Some(stamp.seq);
    }
}

/// The index row of the new head, and the removal of the old one where it stood elsewhere.
fn index_writes(
    old: Option<&Head>,
    new: &Head,
    axis: crate::domain::query::Axis,
    record: Sealed,
    stamp: Stamp,
) -> impl Iterator<Item = Write> {
    let row = IndexRow::of(new, axis);
    let key = |row: &IndexRow| keys::place(&keys::index(axis), row.date.instant, new.id.as_str());
    let old = old.map(|old| IndexRow::of(old, axis));
    let moved = old
        .as_ref()
        .filter(|old| old.date.instant != row.date.instant)
        .map(|old| Write::Remove(key(old)));
    let put = (old.as_ref() != Some(&row)).then(|| Write::Put(key(&row), record.stamped(stamp)));
    moved.into_iter().chain(put)
}

/// The timer of the new head's embargo, and the removal of the old one's.
fn timer_writes(old: Option<&Head>, new: &Head, stamp: Stamp) -> impl Iterator<Item = Write> {
    let (old, new) = (old.and_then(indexes::timer_key), indexes::timer_key(new));
    let is_moved = old != new;
    let removed = old.map(Write::Remove);
    let put = new.map(|key| Write::Put(key, Sealed::plain(&[]).stamped(stamp)));
    removed.into_iter().chain(put).filter(move |_| is_moved)
}

/// The holder of an alias, with the alias as stored and the commit that claimed it.
pub(super) fn holder_of(core: &Shared, key: &[u8]) -> Result<Option<(Stamp, Alias, ArticleId)>> {
    let Some((stamp, payload)) = core.get(key)? else {
        return Ok(None);
    };
    let (alias, holder) = codec::decode_alias_holder(&payload).map_err(corrupt(key))?;
    Ok(Some((stamp, alias, holder)))
}
