//! The check: walks every record and reports what does not agree. It changes nothing, holds no locks and goes past the
//! caches, so in a store that is written meanwhile something may seem wrong that was only on its way; then everything
//! is read again, and what was seen twice is reported. Memory is bounded: what belongs together is looked up, not kept.
//!
//! What must be there is looked up from what it is derived from, and counted. Where nothing is wrong so far and there is as
//! much as must be there, nothing can be there that must not, and only the counting is left to do.

mod jobs;
mod kept;
mod walk;

use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::codec::{self, Group};
use super::group_commit::holder_of;
use super::indexes::{self, Tally};
use super::shared::{Shared, corrupt};
use super::{keys, purge, trim};
use crate::domain::article::{ArticleId, Head};
use crate::domain::change::{Event, Kind};
use crate::domain::freshness::Freshness;
use crate::domain::history::{BodyRef, VersionRef};
use crate::domain::query::{Axis, IndexRow};
use crate::domain::time::{Seq, Stamp};
use crate::domain::translation::{Disposition, Slot};
use crate::store::error::{Result, StoreError};
use crate::store::{Body, Checked, Finding};

const MISPLACED: &str = "it is stored in another place than it says";

/// Findings that are kept at most; a store with more is beyond repair, and they say why.
const MAX_FINDINGS: usize = 10_000;
/// How often a store that is written meanwhile is read again to tell what is wrong from what was only on its way.
const PASSES: usize = 2;

/// Reports everything that is wrong. The work that takes longest is shared by so many threads.
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
    /// What heads and slots come to.
    tally: Tally,
    /// Whether every record so far could be read; what cannot be read cannot be counted.
    countable: bool,
    /// What must be there, and was found to be.
    met: Met,
}

/// Records that are derived from others, each of which leads to another one.
#[derive(Clone, Copy, Default)]
struct Met {
    rows: u64,
    timers: u64,
    aliases: u64,
    standings: u64,
    work: u64,
}

impl<'a> Check<'a> {
    fn new(core: &'a Shared, report: &'a mpsc::Sender<Checked>) -> Self {
        Self {
            core,
            report,
            findings: Vec::new(),
            tally: Tally::default(),
            countable: true,
            met: Met::default(),
        }
    }

    fn all(mut self, threads: usize) -> Result<Vec<Finding>> {
        self.heads(threads)?;
        self.slots()?;
        self.index()?;
        self.timers()?;
        self.aliases()?;
        self.segment_histories()?;
        self.tombstones()?;
        self.requests()?;
        self.bodies(threads)?;
        self.standings()?;
        self.work()?;
        self.jobs()?;
        self.replaced_jobs()?;
        self.queued_jobs()?;
        self.policies()?;
        self.counts()?;
        self.log()?;
        Ok(self.findings)
    }
}

impl Met {
    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.timers += other.timers;
        self.aliases += other.aliases;
        self.standings += other.standings;
        self.work += other.work;
    }
}

impl Check<'_> {
    fn report(&mut self, record: impl Into<String>, problem: impl Into<String>) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding {
                record: record.into(),
                problem: problem.into(),
            });
        }
    }

    fn head(&self, id: &ArticleId) -> Result<Option<Head>> {
        let key = keys::head(id);
        let decode =
            |(stamp, payload): (Stamp, Vec<u8>)| codec::decode_head(&payload, stamp).map_err(corrupt(&key));
        self.core.get(&key)?.map(decode).transpose()
    }

    fn heads(&mut self, threads: usize) -> Result<()> {
        self.walk_shared(b"h", threads, |check, key, stamp, payload| {
            let head = codec::decode_head(payload, stamp).map_err(corrupt(key))?;
            check.tally.head(&head, 1);
            let name = keys::readable(key);
            if keys::head_id(key).as_ref() != Some(&head.id) {
                check.report(&name, "it is stored under another id");
            }
            check.version(
                &name,
                &head.current.history.newest,
                |body| matches!(body, Body::Article(v) if *v == head.current),
            );
            check.version(&name, &head.revisions.newest, |body| {
                matches!(body, Body::Revision(r) if r.content.manifest() == head.manifest
                    && r.content.title == head.title && r.content.lead == head.lead)
            });
            if head.current.revision != head.revisions.newest {
                check.report(&name, "it does not show its newest revision");
            }
            for alias in &head.aliases {
                match holder_of(check.core, &keys::alias(alias))? {
                    Some((_, stored, holder)) if (&stored, &holder) == (alias, &head.id) => {
                        check.met.aliases += 1;
                    }
                    _ => check.report(&name, format!("{alias} does not lead to it")),
                }
            }
            if let Some(timer) = indexes::timer_key(&head) {
                match check.core.get(&timer)? {
                    Some(_) => check.met.timers += 1,
                    None => check.report(keys::readable(&timer), "it is missing"),
                }
            }
            Axis::ALL.into_iter().try_for_each(|axis| check.row(&head, axis))
        })
    }

    /// The newest version of something must be there and hold what the record says.
    fn version(&mut self, name: &str, version: &VersionRef, agrees: impl FnOnce(&Body) -> bool) {
        match self.core.stored_body(version.body()) {
            Ok(body) if agrees(&body) => {}
            Ok(_) => self.report(
                name,
                format!("it does not agree with its version {}", version.number),
            ),
            Err(error) => self.report(name, error.to_string()),
        }
    }

    /// An article's row of an index must be there and say what the article says.
    fn row(&mut self, head: &Head, axis: Axis) -> Result<()> {
        let row = IndexRow::of(head, axis);
        let key = keys::place(&keys::index(axis), row.date.instant, head.id.as_str());
        match self.core.get(&key)? {
            None => self.report(keys::readable(&key), "it is missing"),
            Some((_, payload)) => {
                let stored = codec::decode_index_row(&payload, row.date.instant).map_err(corrupt(&key))?;
                if stored == row {
                    self.met.rows += 1;
                } else {
                    self.report(keys::readable(&key), "it does not agree with its article");
                }
            }
        }
        Ok(())
    }

    /// No row may stand where its article does not; [`Self::row`] has looked at what it holds.
    fn index(&mut self) -> Result<()> {
        if self.is_all(b"i", self.met.rows)? {
            return Ok(());
        }
        self.walk(b"i", |check, key, _, _| {
            let stands = match keys::index_position(key) {
                Some((axis, position)) => check
                    .head(&position.id)?
                    .is_some_and(|head| IndexRow::of(&head, axis).date.instant == position.instant),
                None => false,
            };
            if !stands {
                check.report(keys::readable(key), "it does not agree with its article");
            }
            Ok(())
        })
    }

    /// No timer may stand for an article that is not under that embargo.
    fn timers(&mut self) -> Result<()> {
        if self.is_all(b"e", self.met.timers)? {
            return Ok(());
        }
        self.walk(b"e", |check, key, _, _| {
            let stands = match keys::embargo_of(key) {
                Some((_, id)) => check
                    .head(&id)?
                    .is_some_and(|head| indexes::timer_key(&head).as_deref() == Some(key)),
                None => false,
            };
            if !stands {
                check.report(keys::readable(key), "it does not agree with its article");
            }
            Ok(())
        })
    }

    fn slots(&mut self) -> Result<()> {
        let mut newest: Option<Head> = None;
        self.walk(b"s", |check, key, stamp, payload| {
            let slot = codec::decode_slot(payload, stamp).map_err(corrupt(key))?;
            let name = keys::readable(key);
            if keys::slot(&slot.article, &slot.language) != key {
                check.report(&name, MISPLACED);
            }
            check.slot(&name, &slot);
            check.tally.slot(&slot, 1);
            if newest.as_ref().is_none_or(|head| head.id != slot.article) {
                newest = check.head(&slot.article)?;
            }
            match &newest {
                None => check.report(&name, "there is no such article"),
                Some(head) => {
                    // Freshness must be computable for everything that is stored.
                    let adds_up =
                        |t| Freshness::of_translation(t, &head.manifest).current <= head.manifest.0.len();
                    if !slot.translations.iter().all(adds_up) {
                        check.report(&name, "its freshness does not add up");
                    }
                    check.derived(&indexes::entries(head, &slot))?;
                }
            }
            Ok(())
        })
    }

    fn slot(&mut self, name: &str, slot: &Slot) {
        let active = |t: &&_| matches!(t, (_, Disposition::Active));
        let dispositions: Vec<_> = slot.translations.iter().map(|t| (t.id, t.disposition)).collect();
        if dispositions.iter().filter(active).count() > 1 {
            self.report(name, "more than one translation is active");
        }
        self.version(name, &slot.selections.newest, |body| {
            matches!(body, Body::Selection(s) if s.dispositions == dispositions && s.etag == slot.etag)
        });
        for translation in &slot.translations {
            self.version(name, &translation.history.newest, |body| {
                matches!(body, Body::Translation(v) if v.head.bindings == translation.bindings
                    && v.head.etag == translation.etag && v.texts.len() == translation.bindings.len())
            });
        }
    }

    fn aliases(&mut self) -> Result<()> {
        if self.is_all(b"a", self.met.aliases)? {
            return Ok(());
        }
        self.walk(b"a", |check, key, _, payload| {
            let (alias, holder) = codec::decode_alias_holder(payload).map_err(corrupt(key))?;
            if keys::alias(&alias) != key {
                check.report(keys::readable(key), MISPLACED);
            }
            let head = check.head(&holder)?;
            if head.is_none_or(|head| !head.aliases.contains(&alias)) {
                let problem = format!("article \"{holder}\" does not hold {alias}");
                check.report(keys::readable(key), problem);
            }
            Ok(())
        })
    }

    fn segment_histories(&mut self) -> Result<()> {
        self.walk(b"p", |check, key, _, payload| {
            codec::decode_segment_history(payload).map_err(corrupt(key))?;
            let known = match keys::segment_history_id(key) {
                Some(id) => check.core.engine.get(&keys::head(&id))?.is_some(),
                None => false,
            };
            if !known {
                check.report(keys::readable(key), "there is no such article");
            }
            Ok(())
        })
    }

    /// Nothing may be left of a purged article; records that name their article are looked at where they are walked.
    fn tombstones(&mut self) -> Result<()> {
        self.walk(b"x", |check, key, stamp, payload| {
            let tombstone = codec::decode_tombstone(payload, stamp).map_err(corrupt(key))?;
            if keys::tombstone(&tombstone.article) != key {
                check.report(keys::readable(key), MISPLACED);
            }
            if check.head(&tombstone.article)?.is_some() {
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
            Ok(())
        })
    }

    fn bodies(&mut self, threads: usize) -> Result<()> {
        self.walk_shared(b"b", threads, |check, key, stamp, payload| {
            let body = codec::decode_body(payload, stamp).map_err(corrupt(key))?;
            let newest = body.history().newest;
            let place = BodyRef {
                seq: stamp.seq,
                part: newest.part,
            };
            if newest.stamp != stamp || keys::body(place) != key {
                check.report(keys::readable(key), MISPLACED);
            }
            for earlier in &body.history().earlier {
                if check.core.engine.get(&keys::body(earlier.body()))?.is_none() {
                    let problem = format!("its earlier version {} is missing", earlier.number);
                    check.report(keys::readable(key), problem);
                }
            }
            Ok(())
        })
    }

    fn log(&mut self) -> Result<()> {
        let durable = self.core.durable.borrow().seq;
        let floor = match trim::floor(self.core) {
            Err(StoreError::Corrupt { record, detail }) => {
                self.report(record, detail);
                None
            }
            floor => Some(floor?),
        };
        let mut last = Stamp {
            seq: floor.unwrap_or_default(),
            ..Stamp::PENDING
        };
        let mut is_first = true;
        self.walk(b"l", |check, key, _, payload| {
            let group = Group::decode(payload).map_err(corrupt(key))?;
            let name = keys::readable(key);
            if keys::log_seq(key) != Some(group.first) {
                check.report(&name, MISPLACED);
            }
            // Without the floor it cannot be said where the log should begin.
            if group.first != last.seq + 1 && !(is_first && floor.is_none()) {
                let problem = format!(
                    "commits {} to {} are missing",
                    last.seq + 1,
                    group.first.saturating_sub(1)
                );
                check.report(&name, problem);
            }
            for (seq, (time, events)) in (group.first..).zip(&group.commits) {
                if !std::mem::take(&mut is_first) && last.time >= *time {
                    let problem = format!("the time of commit {seq} is not after the one before");
                    check.report(&name, problem);
                }
                last = Stamp { seq, time: *time };
                let logged = codec::decode_events(events).map_err(corrupt(key))?;
                for event in &logged.events {
                    check.event(event, seq)?;
                }
            }
            Ok(())
        })?;
        let end: Seq = last.seq;
        if end < durable {
            self.report(
                "the change log",
                format!("it ends at {end}, before the last durable commit"),
            );
        }
        Ok(())
    }

    /// What a commit changed must still be there, unless the article was purged: then nothing that the commit wrote may.
    fn event(&mut self, event: &Event, seq: Seq) -> Result<()> {
        let head = keys::head(&event.article);
        let has_head = self.core.engine.get(&head)?.is_some();
        // An article that is there and has a tombstone was found where tombstones are looked at.
        if !has_head && self.core.engine.get(&keys::tombstone(&event.article))?.is_some() {
            for body in purge::bodies_in(self.core, seq)? {
                let name = keys::readable(&keys::body(body));
                self.report(name, format!("article {:?} was purged", event.article));
            }
            return Ok(());
        }
        let missing = |key: &[u8]| {
            let problem = format!("it is missing, and commit {seq} changed it");
            (keys::readable(key), problem)
        };
        if !has_head {
            let (record, problem) = missing(&head);
            self.report(record, problem);
        }
        match (&event.language, &event.kind) {
            (Some(language), Kind::Job { kind, number, .. }) => {
                self.job_event(&event.article, language, *kind, *number, seq)?;
            }
            (Some(language), _) => {
                let slot = keys::slot(&event.article, language);
                if self.core.engine.get(&slot)?.is_none() {
                    let (record, problem) = missing(&slot);
                    self.report(record, problem);
                }
            }
            (None, _) => {}
        }
        Ok(())
    }
}
