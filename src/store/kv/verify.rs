//! Consistency check: reads every record and reports those that do not agree. It writes nothing, holds no locks and bypasses
//! the caches, so concurrent writes can look like damage; then everything is read again, and findings that were seen twice
//! are reported. Memory is bounded: related records are looked up, not kept.
//!
//! Each derived record is looked up from its article, and counted. Where nothing is wrong so far and a prefix has as many
//! records as were looked up, it can hold no stray record, and only counting is left to do.

mod change_log;
mod deltas;
mod walk;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use self::walk::AHEAD;
use super::codec;
use super::engine::Write;
use super::indexes::{self, Tally};
use super::shared::{MISPLACED, Shared, corrupt};
use super::{envelope, expiry, keys, purge, trim};
use crate::domain::article::ArticleId;
use crate::domain::freshness::Freshness;
use crate::domain::job::{Job, JobKey};
use crate::domain::language::Language;
use crate::domain::time::Stamp;
use crate::domain::translation::{Disposition, Slot};
use crate::domain::version::{Series, Version, VersionKey};
use crate::store::error::{Result, StoreError};
use crate::store::{ArticleState, Body, Checked, Finding};

/// Findings that are kept at most; a store with more is beyond repair, and they say why.
const MAX_FINDINGS: usize = 10_000;
/// Passes over a store that is written meanwhile, to tell damage from concurrent writes.
const PASSES: usize = 2;
/// The same for one article.
const TRIES: usize = 3;

/// Reports all findings. Articles are checked by `threads` threads.
pub(super) fn check(core: &Shared, report: &mpsc::Sender<Checked>, threads: usize) -> Result<()> {
    let mut suspects: Option<Vec<Finding>> = None;
    for _ in 0..PASSES {
        let state = || (core.applied.load(Ordering::Acquire), trim::floor(core).ok());
        let before = state();
        let mut found = Check::new(core, report).all(threads)?;
        let quiet = state() == before;
        if let (Some(suspects), false) = (&suspects, quiet) {
            found.retain(|finding| suspects.contains(finding));
        }
        let settled = quiet || suspects.is_some();
        if found.is_empty() || settled || report.is_closed() {
            for finding in found {
                if report.blocking_send(Checked::Found(finding)).is_err() {
                    break;
                }
            }
            return Ok(());
        }
        suspects = Some(found);
    }
    Ok(())
}

struct Check<'a> {
    core: &'a Shared,
    report: &'a mpsc::Sender<Checked>,
    findings: Vec<Finding>,
    /// Counts of the articles that were read.
    tally: Tally,
    /// Whether every article so far could be read, so that the counts can be compared.
    countable: bool,
    /// How many records of a prefix are as they must be.
    met: BTreeMap<u8, u64>,
    /// Records that were read and not yet reported.
    read: u64,
    /// Articles whose purge is not finished: their remaining records are no findings.
    purging: HashSet<ArticleId>,
}

/// The prefixes of records that belong to an article's state or are derived from it, and those of older formats (b, p).
const OF_ARTICLES: [u8; 12] = *b"abeijopqstvw";

impl<'a> Check<'a> {
    fn new(core: &'a Shared, report: &'a mpsc::Sender<Checked>) -> Self {
        Self {
            core,
            report,
            findings: Vec::new(),
            tally: Tally::default(),
            countable: true,
            met: BTreeMap::new(),
            read: 0,
            purging: HashSet::new(),
        }
    }

    fn all(mut self, threads: usize) -> Result<Vec<Finding>> {
        self.purging = purge::unfinished(self.core)?;
        for article in &self.purging.clone() {
            if self.core.engine.get(&keys::tombstone(article))?.is_none() {
                self.report(keys::readable(&keys::purging(article)), "there is no tombstone");
            }
        }
        self.walk_shared(b"h", threads, |check, key, _, _| check.article(key))?;
        for prefix in OF_ARTICLES {
            if !self.is_all(prefix)? {
                self.walk(&[prefix], |check, key, _, payload| check.stray(key, payload))?;
            }
        }
        self.deltas()?;
        self.tombstones()?;
        self.requests()?;
        self.replaced_jobs()?;
        self.policies()?;
        self.counts()?;
        self.log()?;
        Ok(self.findings)
    }

    fn report(&mut self, record: impl Into<String>, problem: impl Into<String>) {
        let (record, problem) = (record.into(), problem.into());
        let finding = Finding { record, problem };
        if self.findings.len() < MAX_FINDINGS && !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn meet(&mut self, key: &[u8]) {
        if let Some(prefix) = key.first() {
            *self.met.entry(*prefix).or_default() += 1;
            self.read += 1;
        }
    }

    /// An article: its records must agree, and its derived records must exist.
    fn article(&mut self, key: &[u8]) -> Result<()> {
        let id = keys::head_id(key).ok_or_else(|| unreadable(key))?;
        // It may have been purged since its key was read.
        let mut stored = self.core.stored(&id)?;
        for tries in 1.. {
            let Some(state) = stored else { break };
            let mut part = Check::new(self.core, self.report);
            part.tally.change(None, Some(&state));
            part.state(&state)?;
            stored = if part.findings.is_empty() {
                None
            } else {
                self.core.stored(&id)?
            };
            // What does not agree may have been written meanwhile.
            if tries == TRIES || stored.as_ref().is_none_or(|now| *now == state) {
                self.take_in(part);
                break;
            }
        }
        Ok(())
    }

    fn state(&mut self, state: &ArticleState) -> Result<()> {
        state.slots.values().for_each(|slot| self.slot(state, slot));
        state.jobs.values().for_each(|job| self.job(state, job));
        let derived = indexes::all(state);
        self.tally.entries(&derived);
        for write in derived {
            if let Write::Put(key, expected) = write {
                self.derived(&key, &expected)?;
            }
        }
        self.superseded(state)?;
        let newest = keys::delta(&state.head.id, state.head.revision());
        if state.head.revision() > 1 && self.core.engine.get(&newest)?.is_none() {
            self.report(keys::readable(&newest), "it is missing");
        }
        for (series, newest) in state.series() {
            let (article, number) = (state.head.id.clone(), newest.number);
            let version = VersionKey {
                article,
                series,
                number,
            };
            self.newest(state, &version, newest.stamp)?;
        }
        Ok(())
    }

    fn slot(&mut self, state: &ArticleState, slot: &Slot) {
        let key = keys::slot(&slot.article, &slot.language);
        self.meet(&key);
        let translations = &slot.translations;
        let active = translations
            .iter()
            .filter(|t| t.disposition == Disposition::Active);
        if active.count() > 1 {
            self.report(keys::readable(&key), "more than one translation is active");
        }
        // Freshness must be computable for everything that is stored.
        let manifest = &state.head.manifest;
        let adds_up = |t| Freshness::of_translation(t, manifest).current <= manifest.0.len();
        if !translations.iter().all(adds_up) {
            self.report(keys::readable(&key), "its freshness does not add up");
        }
    }

    fn job(&mut self, state: &ArticleState, job: &Job) {
        let key = keys::job(&job.id.article, &job.id.key);
        self.meet(&key);
        if job.source_revision > state.head.revision() {
            self.report(
                keys::readable(&key),
                "it names a revision that its article does not have",
            );
        }
    }

    /// A derived record must exist and agree with its article.
    fn derived(&mut self, key: &[u8], expected: &[u8]) -> Result<()> {
        let (_, expected) = envelope::open(expected, || keys::readable(key))?;
        match self.core.get(key) {
            Ok(None) => self.report(keys::readable(key), "it is missing"),
            Ok(Some((_, stored))) if stored == expected => self.meet(key),
            Ok(Some(_)) => self.report(keys::readable(key), "it does not agree with its article"),
            Err(error) => self.damaged(error)?,
        }
        Ok(())
    }

    /// The versions of an article that are no longer the newest: each series must have all of them.
    fn superseded(&mut self, state: &ArticleState) -> Result<()> {
        let mut newest: BTreeMap<Series, u32> = state
            .series()
            .map(|(series, version)| (series, version.number))
            .collect();
        let prefix = keys::superseded_of(&state.head.id);
        let mut from = prefix.clone();
        // The next version of each series that is to be met.
        let mut next: BTreeMap<Series, u32> = BTreeMap::new();
        while let Some(records) = self.read_on(&prefix, &mut from, AHEAD.0)? {
            self.visit(&records, |check, key, stamp, _| {
                let (seq, version) = keys::superseded_version(key).ok_or_else(|| unreadable(key))?;
                let expected = next.entry(version.series.clone()).or_insert(1);
                let is_older = newest
                    .get(&version.series)
                    .is_some_and(|newest| version.number < *newest);
                if seq != stamp.seq || !is_older || version.number != *expected {
                    check.report(keys::readable(key), "it does not agree with its article");
                }
                *expected = version.number + 1;
                check.meet(key);
                check.version(&version, stamp, |_| true)
            })?;
        }
        newest.retain(|series, newest| next.get(series).copied().unwrap_or(1) < *newest);
        for (series, newest) in newest {
            let problem = format!("places of versions of its {series} before {newest} are missing");
            self.report(keys::readable(&keys::head(&state.head.id)), problem);
        }
        Ok(())
    }

    /// The newest version of a series must agree with the article's state.
    fn newest(&mut self, state: &ArticleState, version: &VersionKey, stamp: Stamp) -> Result<()> {
        let head = &state.head;
        let agrees = |body: &Body| match (&version.series, body) {
            (Series::Metadata, Body::Article(article)) => *article == head.current,
            (Series::Content, Body::Revision(revision)) => {
                revision.content.manifest() == head.manifest
                    && revision.content.title == head.title
                    && revision.content.lead == head.lead
            }
            (Series::Selection(language), Body::Selection(selection)) => {
                let is_selected = |slot: &Arc<Slot>| {
                    let dispositions = slot.translations.iter().map(|t| (t.id, t.disposition));
                    selection.dispositions.iter().copied().eq(dispositions) && selection.etag == slot.etag
                };
                state.slots.get(language).is_some_and(is_selected)
            }
            (Series::Translation(language, id), Body::Translation(version)) => {
                let slot = state.slots.get(language);
                slot.and_then(|slot| slot.translation(*id))
                    .is_some_and(|translation| {
                        version.head.bindings == translation.bindings
                            && version.head.etag == translation.etag
                            && version.texts.len() == translation.bindings.len()
                    })
            }
            _ => false,
        };
        self.version(version, stamp, agrees)
    }

    /// A version must exist, be stored under its own key, and agree.
    fn version(
        &mut self,
        version: &VersionKey,
        stamp: Stamp,
        agrees: impl FnOnce(&Body) -> bool,
    ) -> Result<()> {
        let key = keys::body(stamp.seq, version);
        match self.core.stored_version(stamp.seq, version) {
            Ok(body) => {
                self.meet(&key);
                let language = match &version.series {
                    Series::Selection(language) | Series::Translation(language, _) => language.clone(),
                    Series::Metadata | Series::Content => Language::from_canonical(""),
                };
                let number = version.number;
                if body.version() != (Version { number, stamp }) || body.series(language) != version.series {
                    self.report(keys::readable(&key), MISPLACED);
                } else if !agrees(&body) {
                    self.report(keys::readable(&key), "it does not agree with its article");
                }
            }
            Err(error) => self.damaged(error)?,
        }
        Ok(())
    }

    /// Reports damage; any other error ends the check.
    fn damaged(&mut self, error: StoreError) -> Result<()> {
        match error {
            StoreError::Corrupt { record, detail } => {
                self.report(record, detail);
                Ok(())
            }
            error => Err(error),
        }
    }

    /// A record that belongs to an article, or is derived from it, must have a reason to exist. [`Self::article`] has checked
    /// its content.
    fn stray(&mut self, key: &[u8], payload: &[u8]) -> Result<()> {
        if key.starts_with(b"b") {
            self.report(keys::readable(key), "it is not known which article it belongs to");
            return Ok(());
        }
        if key.starts_with(b"p") {
            self.report(keys::readable(key), "it is of an older format");
            return Ok(());
        }
        let of = keys::article_of(key).or_else(|| {
            let holder = key
                .starts_with(b"a")
                .then(|| codec::decode_alias_holder(payload).ok())?;
            Some(holder?.1)
        });
        let state = match self.core.stored(&of.ok_or_else(|| unreadable(key))?) {
            Err(StoreError::Corrupt { .. }) => return Ok(()),
            state => state?,
        };
        let Some(state) = state else {
            self.report(keys::readable(key), "there is no such article");
            return Ok(());
        };
        let is_current = |seq, version: &VersionKey| {
            let newest = state.newest(&version.series);
            newest.is_some_and(|newest| (newest.stamp.seq, newest.number) == (seq, version.number))
        };
        let stands = match key.first() {
            // They were read with their article.
            Some(b's' | b'j' | b'o') => true,
            Some(b'v') => match keys::body_of(key) {
                Some((seq, version)) if is_current(seq, &version) => true,
                Some((seq, version)) => self
                    .core
                    .engine
                    .get(&keys::superseded_at(&version, seq))?
                    .is_some(),
                None => false,
            },
            _ => indexes::all(&state).iter().any(|write| write.key() == key),
        };
        if !stands {
            self.report(keys::readable(key), "it does not agree with its article");
        }
        Ok(())
    }

    /// A purged article must have no head. Its other records are found as strays.
    fn tombstones(&mut self) -> Result<()> {
        self.walk(b"x", |check, key, stamp, payload| {
            let tombstone = codec::decode_tombstone(payload, stamp).map_err(corrupt(key))?;
            if keys::tombstone(&tombstone.article) != key {
                check.report(keys::readable(key), MISPLACED);
            }
            if check.core.engine.get(&keys::head(&tombstone.article))?.is_some() {
                check.report(keys::readable(key), "its article is there");
            }
            Ok(())
        })
    }

    fn requests(&mut self) -> Result<()> {
        self.walk(b"r", |check, key, stamp, payload| {
            let request = codec::decode_request(payload, stamp).map_err(corrupt(key))?;
            if keys::request(&request.key) != key {
                check.report(keys::readable(key), MISPLACED);
            }
            check.ages(stamp, key)
        })
    }

    /// A record that is forgotten in time must have its entry. An entry without a record is harmless.
    fn ages(&mut self, from: Stamp, key: &[u8]) -> Result<()> {
        match self.core.get(&keys::expiry(from.time, key)) {
            Ok(Some(_)) => {}
            Ok(None) => self.report(keys::readable(&keys::expiry(from.time, key)), "it is missing"),
            Err(error) => self.damaged(error)?,
        }
        Ok(())
    }

    fn replaced_jobs(&mut self) -> Result<()> {
        self.walk(b"k", |check, key, stamp, payload| {
            let job = codec::decode_job(payload, stamp).map_err(corrupt(key))?;
            let name = keys::readable(key);
            if keys::replaced_job(&job.id) != key {
                check.report(&name, MISPLACED);
            }
            if job.state.is_open() {
                check.report(&name, "it has not ended");
            }
            if check.newest_job(&job.id.article, &job.id.key)? <= Some(job.id.number) {
                check.report(&name, "there is no newer job in its place");
            }
            check.ages(expiry::replaced_by(check.core, &job)?, key)
        })
    }

    /// The number of the newest job of a key.
    fn newest_job(&self, id: &ArticleId, key: &JobKey) -> Result<Option<u32>> {
        let key = keys::job(id, key);
        let Some((stamp, payload)) = self.core.get(&key)? else {
            return Ok(None);
        };
        let job = codec::decode_job(&payload, stamp).map_err(corrupt(&key))?;
        Ok(Some(job.id.number))
    }

    fn policies(&mut self) -> Result<()> {
        self.walk(b"n", |check, key, _, payload| {
            let policy = codec::decode_policy(payload).map_err(corrupt(key))?;
            if keys::policy(&policy.id) != key {
                check.report(keys::readable(key), MISPLACED);
            }
            Ok(())
        })
    }

    fn counts(&mut self) -> Result<()> {
        let countable = self.countable;
        let mut stored = BTreeMap::new();
        self.walk(b"c", |_, key, _, payload| {
            let language = keys::counts_of(key).ok_or_else(|| unreadable(key))?;
            stored.insert(language, codec::decode_counts(payload).map_err(corrupt(key))?);
            Ok(())
        })?;
        if !countable {
            return Ok(());
        }
        let counted = std::mem::take(&mut self.tally).apply(&BTreeMap::new());
        let counted: BTreeMap<_, _> = counted.into_iter().collect();
        let languages: BTreeSet<_> = counted.keys().chain(stored.keys()).collect();
        for language in languages {
            let (counted, stored) = (counted.get(language), stored.get(language));
            if counted != stored {
                let problem = format!("it says {stored:?}, and there are {counted:?}");
                self.report(keys::readable(&keys::counts(language)), problem);
            }
        }
        Ok(())
    }
}

fn unreadable(key: &[u8]) -> StoreError {
    corrupt(key)(codec::Malformed("its key cannot be read".into()))
}
