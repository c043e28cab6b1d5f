//! Index entries and counters derived from articles: alias holders, list positions, embargo timers, translation status,
//! job queues, and counts by language.
//!
//! The writer stores them in the batch of the entities that they derive from; `recovery` builds them for stores written
//! without them; `verify` proves them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::engine::{Direction, Write};
use super::envelope::Sealed;
use super::shared::{Shared, corrupt};
use super::{codec, keys};
use crate::domain::access::{Visibility, embargo_end};
use crate::domain::article::{Alias, Head};
use crate::domain::freshness::Overall;
use crate::domain::job::{Job, JobKind};
use crate::domain::language::Language;
use crate::domain::query::{Axis, IndexRow, Standing};
use crate::domain::time::Stamp;
use crate::domain::translation::{Disposition, Slot, TranslationHead};
use crate::store::error::Result;
use crate::store::{ArticleState, Counts};

/// The index rows of a head, by axis.
pub(super) fn index_rows(head: &Head) -> [(Axis, Sealed); 4] {
    Axis::ALL.map(|axis| {
        let row = codec::encode_index_row(&IndexRow::of(head, axis));
        (axis, Sealed::new(&row))
    })
}

/// The key of an article's row in an index.
pub(super) fn index_key(head: &Head, axis: Axis) -> Vec<u8> {
    let instant = IndexRow::of(head, axis).date.instant;
    keys::place(&keys::index(axis), instant, head.id.as_str())
}

/// The key of the timer of a head's embargo, if it has one.
pub(super) fn timer_key(head: &Head) -> Option<Vec<u8>> {
    embargo_end(&head.current).map(|end| keys::embargo(end, head.id.as_str()))
}

/// The aliases of a head with the records that lead to it.
pub(super) fn alias_holders(head: &Head) -> Vec<(Alias, Sealed)> {
    let holder = |alias: &Alias| {
        let record = codec::encode_alias_holder(alias, &head.id);
        (alias.clone(), Sealed::new(&record))
    };
    head.aliases.iter().map(holder).collect()
}

/// All entries that are derived from an article alone.
pub(super) fn all(state: &ArticleState) -> Vec<Write> {
    let stamp = state.head.current.stamp;
    let rows = index_rows(&state.head)
        .into_iter()
        .map(|(axis, row)| Write::Put(index_key(&state.head, axis), row.stamped(stamp)));
    let holders = alias_holders(&state.head)
        .into_iter()
        .map(|(alias, holder)| Write::Put(keys::alias(&alias), holder.stamped(stamp)));
    rows.chain(holders)
        .chain(timer_key(&state.head).map(|key| Write::Put(key, Sealed::plain(&[]).stamped(stamp))))
        .chain(writes(None, Some(state), stamp))
        .chain(queue_writes(&queue_changes(None, Some(state)), stamp))
        .collect()
}

/// The key of a job in its queue, if it is in one: while it is open and its article may be worked on.
pub(super) fn queue_key(head: &Head, job: &Job) -> Option<Vec<u8>> {
    let current = &head.current;
    let is_embargoed = match current.visibility {
        Visibility::Public => false,
        Visibility::Embargoed => true,
        Visibility::Withheld | Visibility::Canceled => return None,
    };
    if current.deleted.is_some() {
        return None;
    }
    let (source, key) = (&current.metadata.language, &job.id.key);
    let queue = keys::queue(is_embargoed, key.kind, source, &key.language);
    Some(keys::queued(&queue, job.place()?, job.rank(), head.id.as_str()))
}

/// The entries of queues that differ between two states of an article, and whether they are there afterwards.
pub(super) fn queue_changes(old: Option<&ArticleState>, new: Option<&ArticleState>) -> Vec<(Vec<u8>, bool)> {
    let is_same = old.zip(new).is_some_and(|(old, new)| {
        let mut jobs = old.jobs.values().zip(new.jobs.values());
        Arc::ptr_eq(&old.head, &new.head)
            && old.jobs.len() == new.jobs.len()
            && jobs.all(|(old, new)| Arc::ptr_eq(old, new))
    });
    if is_same {
        return Vec::new();
    }
    let entries = |state: Option<&ArticleState>| -> BTreeSet<Vec<u8>> {
        let of = |state: &ArticleState| {
            let jobs = state.jobs.values();
            jobs.filter_map(|job| queue_key(&state.head, job)).collect()
        };
        state.map(of).unwrap_or_default()
    };
    let (before, after) = (entries(old), entries(new));
    let gone = before.difference(&after).map(|key| (key.clone(), false));
    let come = after.difference(&before).map(|key| (key.clone(), true));
    gone.chain(come).collect()
}

/// The writes that make such changes.
pub(super) fn queue_writes(changes: &[(Vec<u8>, bool)], stamp: Stamp) -> impl Iterator<Item = Write> {
    changes.iter().map(move |(key, is_there)| {
        if *is_there {
            Write::Put(key.clone(), Sealed::plain(&[]).stamped(stamp))
        } else {
            Write::Remove(key.clone())
        }
    })
}

/// The entries about a slot: key and payload.
pub(super) fn entries(head: &Head, slot: &Slot) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut entries = BTreeMap::new();
    let Some(standing) = Standing::of(head, slot) else {
        return entries;
    };
    let key = keys::standing(&slot.language, &slot.article);
    entries.insert(key, codec::encode_standing(&standing));
    if standing.overall != Overall::Current {
        for axis in Axis::ALL {
            let prefix = keys::work(&slot.language, standing.overall, axis);
            let instant = IndexRow::of(head, axis).date.instant;
            entries.insert(keys::place(&prefix, instant, slot.article.as_str()), Vec::new());
        }
    }
    entries
}

/// The slots that differ between two states of an article, before and after. `None` is an article that is not there.
fn changed_slots<'a>(
    old: Option<&'a ArticleState>,
    new: Option<&'a ArticleState>,
) -> impl Iterator<Item = (Option<&'a Slot>, Option<&'a Slot>)> {
    let same_head = old
        .zip(new)
        .is_some_and(|(old, new)| Arc::ptr_eq(&old.head, &new.head));
    let slots = |state: Option<&'a ArticleState>| state.into_iter().flat_map(|state| &state.slots);
    let of = |state: Option<&'a ArticleState>, language| state.and_then(|state| state.slots.get(language));
    let gone = slots(old)
        .filter(move |(language, _)| of(new, language).is_none())
        .map(|(_, slot)| (Some(&**slot), None));
    slots(new)
        .map(move |(language, slot)| (of(old, language), slot))
        .filter(move |(before, slot)| !(same_head && before.is_some_and(|before| Arc::ptr_eq(before, slot))))
        .map(|(before, slot)| (before.map(|slot| &**slot), Some(&**slot)))
        .chain(gone)
}

/// The writes that bring the entries about an article's slots from one state to the next.
pub(super) fn writes(old: Option<&ArticleState>, new: Option<&ArticleState>, stamp: Stamp) -> Vec<Write> {
    let mut writes = Vec::new();
    for (before, after) in changed_slots(old, new) {
        let entries_of = |state: Option<&ArticleState>, slot| match (state, slot) {
            (Some(state), Some(slot)) => entries(&state.head, slot),
            _ => BTreeMap::new(),
        };
        let (before, after) = (entries_of(old, before), entries_of(new, after));
        let gone = before.keys().filter(|key| !after.contains_key(*key));
        writes.extend(gone.cloned().map(Write::Remove));
        for (key, payload) in after {
            if before.get(&key) != Some(&payload) {
                writes.push(Write::Put(key, Sealed::plain(&payload).stamped(stamp)));
            }
        }
    }
    writes
}

/// Counters of a language.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Count {
    Articles,
    Deleted,
    Revisions,
    Translations,
    OpenJobs(Language, JobKind),
    NotCurrent(Overall),
}

/// Changes of the counts, by language.
#[derive(Default)]
pub(super) struct Tally(HashMap<Language, BTreeMap<Count, i64>>);

impl Tally {
    /// Counts the changes between two states of an article, except those that index entries count.
    pub(super) fn change(&mut self, old: Option<&ArticleState>, new: Option<&ArticleState>) {
        let same_head = old
            .zip(new)
            .is_some_and(|(old, new)| Arc::ptr_eq(&old.head, &new.head));
        if !same_head {
            old.into_iter().for_each(|old| self.head(&old.head, -1));
            new.into_iter().for_each(|new| self.head(&new.head, 1));
        }
        for (before, after) in changed_slots(old, new) {
            before.into_iter().for_each(|slot| self.slot(slot, -1));
            after.into_iter().for_each(|slot| self.slot(slot, 1));
        }
    }

    /// Counts the open jobs and the translations that do not hold in index entries that come or go.
    pub(super) fn entries<'a>(&mut self, writes: impl IntoIterator<Item = &'a Write>) {
        for write in writes {
            let times = match write {
                Write::Put(..) => 1,
                Write::Remove(_) => -1,
            };
            if let Some(job) = keys::queued_of(write.key()) {
                let open = Count::OpenJobs(job.source, job.key.kind);
                self.add(&job.key.language, open, times);
            } else if let Some((_, language, overall, Axis::Ingested)) = keys::work_group_of(write.key()) {
                // Each is there once for each axis.
                self.add(&language, Count::NotCurrent(overall), times);
            }
        }
    }

    /// Adds another tally.
    pub(super) fn merge(&mut self, other: Self) {
        for (language, counted) in other.0 {
            for (what, times) in counted {
                self.add(&language, what, times);
            }
        }
    }

    /// Counts an article in (`1`) or out (`-1`).
    fn head(&mut self, head: &Head, times: i64) {
        let language = &head.current.metadata.language;
        let what = match head.current.deleted {
            None => Count::Articles,
            Some(_) => Count::Deleted,
        };
        self.add(language, what, times);
        self.add(language, Count::Revisions, i64::from(head.revision()) * times);
    }

    /// Counts the translations of a slot in (`1`) or out (`-1`).
    fn slot(&mut self, slot: &Slot, times: i64) {
        let there = |t: &&TranslationHead| t.disposition != Disposition::Withdrawn;
        let translations = slot.translations.iter().filter(there).count();
        let translations = i64::try_from(translations).unwrap_or(i64::MAX);
        self.add(&slot.language, Count::Translations, translations * times);
    }

    fn add(&mut self, language: &Language, what: Count, times: i64) {
        let counted = self.0.entry(language.clone()).or_default();
        *counted.entry(what).or_default() += times;
    }

    /// The counts that change, as they are then.
    pub(super) fn apply(self, counts: &BTreeMap<Language, Counts>) -> Vec<(Language, Counts)> {
        let mut changed = Vec::new();
        for (language, tallied) in self.0 {
            let old = counts.get(&language).cloned().unwrap_or_default();
            let mut new = old.clone();
            for (what, times) in tallied {
                let count = match what {
                    Count::Articles => &mut new.articles,
                    Count::Deleted => &mut new.deleted,
                    Count::Revisions => &mut new.revisions,
                    Count::Translations => &mut new.translations,
                    Count::OpenJobs(source, kind) => new.open_jobs.entry((source, kind)).or_default(),
                    Count::NotCurrent(overall) => new.not_current.entry(overall).or_default(),
                };
                *count = count.saturating_add_signed(times);
            }
            new.open_jobs.retain(|_, count| *count > 0);
            new.not_current.retain(|_, count| *count > 0);
            if new != old {
                changed.push((language, new));
            }
        }
        changed
    }
}

/// The write that stores the counts of a language; one that counts nothing is not kept.
pub(super) fn counts_write(language: &Language, counts: &Counts, stamp: Stamp) -> Write {
    let key = keys::counts(language);
    if *counts == Counts::default() {
        return Write::Remove(key);
    }
    Write::Put(key, Sealed::plain(&codec::encode_counts(counts)).stamped(stamp))
}

/// The stored counts.
pub(super) fn stored_counts(core: &Shared) -> Result<BTreeMap<Language, Counts>> {
    let mut counts = BTreeMap::new();
    core.scan(b"c", &keys::above(b"c"), Direction::Forward, |key, _, payload| {
        let unreadable = || corrupt(key)(codec::Malformed("its key cannot be read".into()));
        let language = keys::counts_of(key).ok_or_else(unreadable)?;
        counts.insert(language, codec::decode_counts(&payload).map_err(corrupt(key))?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(counts)
}
