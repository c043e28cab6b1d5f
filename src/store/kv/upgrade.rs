//! Versions of formats 1 and 2, in stores and in backups: they lay under the number of the commit that wrote them and their
//! place in it, and knew the version before, but not their article. Here they get the keys of the present format. An article
//! had one record of all that its revisions replaced; here each gets its own.
//!
//! First all are copied, then the store is said to have the present format, and then the old ones are removed: interrupted
//! at any point, either format is whole, and the next open continues.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::engine::{Direction, Write, write_part};
use super::envelope::{self, Sealed};
use super::shared::{Shared, corrupt};
use super::{codec, keys, records};
use crate::domain::article::ArticleId;
use crate::domain::departures::RevisionDelta;
use crate::domain::ids::TranslationId;
use crate::domain::language::Language;
use crate::domain::time::{Seq, Stamp};
use crate::domain::version::{Series, VersionKey};
use crate::store::error::{Result, StoreError};

/// Articles and bytes that are read and written at once.
const ARTICLES: usize = 256;
const BATCH_BYTES: usize = 8 << 20;
/// Records that are read at once when old ones are removed.
const REMOVED: usize = 1_000;

/// Where a version lay.
type Place = (Seq, u32);

/// Writes that are applied some megabytes at a time.
struct Writes<'a> {
    core: &'a Shared,
    writes: Vec<Write>,
    bytes: usize,
}

impl Writes<'_> {
    fn push(&mut self, write: Write) -> Result<()> {
        if let Write::Put(key, record) = &write {
            self.bytes += key.len() + record.len();
        }
        self.writes.push(write);
        if self.bytes < BATCH_BYTES {
            return Ok(());
        }
        self.apply()
    }

    fn apply(&mut self) -> Result<()> {
        self.core.engine.admit()?;
        self.bytes = 0;
        write_part(&*self.core.engine, std::mem::take(&mut self.writes))
    }
}

/// Whether there are versions under old keys.
pub(super) fn is_needed(core: &Shared) -> Result<bool> {
    let mut any = false;
    let (from, to) = (b"b".as_slice(), keys::above(b"b"));
    core.engine.scan(from..=&to, Direction::Forward, &mut |_, _| {
        any = true;
        ControlFlow::Break(())
    })?;
    Ok(any)
}

/// Copies the versions of all articles to their present keys.
pub(super) fn copy(core: &Shared) -> Result<()> {
    let mut writes = Writes {
        core,
        writes: Vec::new(),
        bytes: 0,
    };
    let mut ids = core.ids_after(None, ARTICLES)?;
    while let Some(last) = ids.last() {
        for id in &ids {
            for (series, newest, place) in newest_of(core, id)? {
                copy_series(&mut writes, id, &series, newest, place)?;
            }
        }
        ids = core.ids_after(Some(last), ARTICLES)?;
    }
    copy_deltas(&mut writes)?;
    writes.apply()
}

/// Splits the records that held all deltas of an article, one at a time. A damaged one stays for the check to find.
fn copy_deltas(writes: &mut Writes<'_>) -> Result<()> {
    let mut from = b"p".to_vec();
    loop {
        let mut next = None;
        let (core, to) = (writes.core, keys::above(b"p"));
        core.engine
            .scan(from.as_slice()..=&to, Direction::Forward, &mut |key, record| {
                next = Some((key.to_vec(), split(key, record)));
                ControlFlow::Break(())
            })?;
        match next {
            Some((key, Ok(deltas))) => {
                for delta in deltas {
                    writes.push(delta)?;
                }
                from = [key.as_slice(), &[0]].concat();
            }
            Some((key, Err(error @ StoreError::Corrupt { .. }))) => {
                tracing::error!(%error, "the deltas in a damaged record are lost");
                from = [key.as_slice(), &[0]].concat();
            }
            Some((_, Err(error))) => return Err(error),
            None => return Ok(()),
        }
    }
}

/// The deltas in a record that held all of an article.
fn split(key: &[u8], record: &[u8]) -> Result<Vec<Write>> {
    let (stamp, payload) = envelope::open(record, || keys::readable(key))?;
    let unreadable = || corrupt(key)(codec::Malformed("its key cannot be read".into()));
    let article = keys::segment_history_of(key).ok_or_else(unreadable)?;
    let deltas = codec::split_history(&payload).map_err(corrupt(key))?;
    let put = |delta: RevisionDelta| {
        let record = Sealed::new(&codec::encode_delta(&article, &delta)).stamped(stamp);
        Write::Put(keys::delta(&article, delta.revision), record)
    };
    Ok(deltas.into_iter().map(put).collect())
}

/// The series of an article, with the number and the place of the newest version of each.
fn newest_of(core: &Shared, id: &ArticleId) -> Result<Vec<(Series, u32, Place)>> {
    let mut found = Vec::new();
    let mut add = |series, history: Option<records::History>, own: Stamp| {
        let newest = history.and_then(|history| history.newest);
        found.extend(newest.map(|newest| {
            let seq = newest.stamp.map_or(own.seq, |stamp| stamp.seq);
            (series, newest.number, (seq, newest.part))
        }));
    };
    let damaged = |error| match error {
        error @ StoreError::Corrupt { .. } => {
            tracing::error!(%error, "the versions that a damaged record names keep their old keys");
            Ok(())
        }
        error => Err(error),
    };
    let head = || -> Result<Option<(Stamp, records::Head)>> {
        let key = keys::head(id);
        let Some((stamp, payload)) = core.get(&key)? else {
            return Ok(None);
        };
        Ok(Some((stamp, codec::message(&payload).map_err(corrupt(&key))?)))
    };
    match head() {
        Ok(Some((stamp, head))) => {
            add(Series::Content, head.revisions, stamp);
            add(
                Series::Metadata,
                head.current.and_then(|current| current.history),
                stamp,
            );
        }
        Ok(None) => {}
        Err(error) => damaged(error)?,
    }
    let prefix = keys::slots(id);
    let mut slots = Vec::new();
    let to = keys::above(&prefix);
    core.engine
        .scan(prefix.as_slice()..=&to, Direction::Forward, &mut |key, record| {
            slots.push((key.to_vec(), record.to_vec()));
            ControlFlow::Continue(())
        })?;
    for (key, record) in slots {
        let slot = || -> Result<(Stamp, records::Slot)> {
            let (stamp, payload) = envelope::open(&record, || keys::readable(&key))?;
            Ok((stamp, codec::message(&payload).map_err(corrupt(&key))?))
        };
        match slot() {
            Ok((stamp, slot)) => {
                let language = Language::from_canonical(&slot.language);
                add(Series::Selection(language.clone()), slot.selections, stamp);
                for translation in slot.translations {
                    let id = TranslationId(translation.id);
                    add(
                        Series::Translation(language.clone(), id),
                        translation.history,
                        stamp,
                    );
                }
            }
            Err(error) => damaged(error)?,
        }
    }
    Ok(found)
}

/// Copies the versions of a series, newest first. Each knows the one before it and some earlier ones, so that a damaged one
/// hides few.
fn copy_series(
    writes: &mut Writes<'_>,
    article: &ArticleId,
    series: &Series,
    newest: u32,
    place: Place,
) -> Result<()> {
    let mut known = BTreeMap::from([(newest, place)]);
    while let Some((number, (seq, part))) = known.pop_last() {
        let version = VersionKey {
            article: article.clone(),
            series: series.clone(),
            number,
        };
        let old = keys::unkeyed(seq, part);
        let Some(record) = writes.core.engine.get(&old)? else {
            tracing::error!(%version, "a version is missing");
            continue;
        };
        let opened = envelope::open(&record, || keys::readable(&old));
        let read = opened.and_then(|(stamp, payload)| {
            let body = codec::message(&payload).map_err(corrupt(&old))?;
            Ok((stamp, codec::earlier(&body)))
        });
        match read {
            Ok((stamp, earlier)) => {
                known.extend(earlier.into_iter().filter(|(earlier, _)| *earlier < number));
                if number != newest {
                    let place = Sealed::plain(&[]).stamped(stamp);
                    writes.push(Write::Put(keys::superseded_at(&version, seq), place))?;
                }
            }
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%error, %version, "a version is damaged; it may hide earlier ones");
            }
            Err(error) => return Err(error),
        }
        writes.push(Write::Put(keys::body(seq, &version), record))?;
    }
    Ok(())
}

/// Removes the records that were copied. Other old records stay for the check to find: versions of an unknown article, and damaged ones.
pub(super) fn remove_copied(core: &Shared) -> Result<()> {
    remove_by(core, b"v", |key, record| {
        let (_, payload) = envelope::open(record, || keys::readable(key)).ok()?;
        let part = codec::part(&codec::message(&payload).ok()?)?;
        let (seq, _) = keys::body_of(key)?;
        Some(keys::unkeyed(seq, part))
    })?;
    remove_by(core, b"p", |key, record| {
        split(key, record).is_ok().then(|| key.to_vec())
    })
}

/// Removes the old records that each record of a prefix names.
fn remove_by(core: &Shared, prefix: &[u8], old_of: impl Fn(&[u8], &[u8]) -> Option<Vec<u8>>) -> Result<()> {
    let (mut from, to) = (prefix.to_vec(), keys::above(prefix));
    loop {
        let (mut old, mut seen) = (Vec::new(), 0);
        core.engine.scan(
            from.clone().as_slice()..=&to,
            Direction::Forward,
            &mut |key, record| {
                old.extend(old_of(key, record).map(Write::Remove));
                from = [key, &[0]].concat();
                seen += 1;
                if seen < REMOVED {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            },
        )?;
        write_part(&*core.engine, old)?;
        if seen < REMOVED {
            return Ok(());
        }
    }
}
