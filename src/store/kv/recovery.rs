//! Recovery: identifies the store, upgrades it, and checks the end of its log against the articles.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use prost::Message;
use uuid::Uuid;

use super::codec::{self, Group};
use super::engine::{Direction, Engine, Write, write_part};
use super::envelope::{self, Sealed};
use super::indexes::{self, Tally};
use super::shared::{Shared, corrupt};
use super::{departures, expiry, keys, records, upgrade};
use crate::domain::article::ArticleId;
use crate::domain::language::Language;
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::domain::version::VersionKey;
use crate::store::Counts;
use crate::store::error::{OpenError, Result, StoreError};

/// The format of the layout and the records; grows when either changes in a way that old versions cannot read.
///
/// - 1: heads, slots, bodies, aliases, requests, index rows and the log.
/// - 2: standings, work and counts are kept too. [`upgrade`] makes them from what there is. Revisions may be dropped.
/// - 3: versions lie under their article and number, requests have an entry by time, and what a revision replaced is a
///   record, see [`super::upgrade`].
const FORMAT: u32 = 3;

/// Derived entries that are put in order before they are written, some 50 MB: the engine's cost is by the leaf, and an
/// article's rows lie anywhere in the indexes.
const DERIVED_SORTED: usize = 250_000;
/// Derived entries that are written at once.
const DERIVED_AT_ONCE: usize = 30_000;
/// Articles that are read at once to derive from, and how often while what was derived waits to be written.
const DERIVED_ARTICLES: usize = 256;
const DERIVED_AHEAD: usize = 16;

/// Groups at the end of the log that an open checks. Older ones were checked by earlier opens.
const CHECKED_GROUPS: usize = 64;

/// A store's own record.
pub(super) struct Identity {
    /// The epoch.
    pub(super) epoch: [u8; 16],
    format: u32,
    created: Timestamp,
}

impl Identity {
    /// A new store's, or one's that continues an epoch.
    pub(super) fn new(epoch: Option<[u8; 16]>, created: Timestamp) -> Self {
        Self {
            epoch: epoch.unwrap_or_else(|| Uuid::new_v4().into_bytes()),
            format: FORMAT,
            created,
        }
    }

    /// Writes the record, in the present format, durably. Everything that it promises must be durable already.
    pub(super) fn adopt(&self, core: &Shared) -> Result<()> {
        write(&*core.engine, vec![self.record()])
    }

    /// The same of a store in which versions of an older format are to be removed.
    fn adopt_upgraded(&self, core: &Shared) -> Result<()> {
        let upgrading = Write::Put(
            keys::UPGRADING.to_vec(),
            Sealed::plain(&[]).stamped(Stamp::PENDING),
        );
        write(&*core.engine, vec![self.record(), upgrading])
    }

    fn record(&self) -> Write {
        let meta = records::Meta {
            format: FORMAT,
            epoch: self.epoch.to_vec(),
            created: self.created.as_micros(),
        };
        let stamp = Stamp {
            seq: 0,
            time: self.created,
        };
        let record = Sealed::new(&meta.encode_to_vec()).stamped(stamp);
        Write::Put(keys::META.to_vec(), record)
    }
}

/// Reads the store's own record, or writes it into an empty store.
pub(super) fn identify(engine: &dyn Engine, now: Timestamp) -> Result<Identity> {
    let Some(record) = engine.get(keys::META)? else {
        let identity = Identity::new(None, now);
        write(engine, vec![identity.record()])?;
        return Ok(identity);
    };
    let (stamp, payload) = envelope::open(&record, || keys::readable(keys::META))?;
    let meta: records::Meta = codec::message(&payload).map_err(corrupt(keys::META))?;
    if !(1..=FORMAT).contains(&meta.format) {
        let error = OpenError::UnsupportedFormat {
            location: engine.location(),
            found: meta.format,
            supported: FORMAT,
        };
        return Err(StoreError::Open(error));
    }
    let epoch = meta
        .epoch
        .try_into()
        .map_err(|_| corrupt(keys::META)(codec::Malformed("its epoch is not 16 bytes".into())))?;
    Ok(Identity {
        epoch,
        format: meta.format,
        created: stamp.time,
    })
}

fn write(engine: &dyn Engine, writes: Vec<Write>) -> Result<()> {
    engine.apply(writes)?;
    engine.flush()?;
    engine.sync()
}

/// Brings a store of an older format to this one. Interrupted, it begins again at the next open: nothing of the older
/// format is changed before the format is raised, and what is left of it is removed afterwards.
pub(super) fn upgrade(core: &Shared, identity: &Identity) -> Result<()> {
    if identity.format < FORMAT {
        raise_format(core, identity)?;
    }
    if core.engine.get(keys::UPGRADING)?.is_some() {
        upgrade::remove_copied(core)?;
        let left = [keys::UPGRADING, keys::REQUEST_CURSOR];
        write(&*core.engine, left.map(|key| Write::Remove(key.to_vec())).into())?;
    }
    Ok(())
}

fn raise_format(core: &Shared, identity: &Identity) -> Result<()> {
    tracing::info!(
        from = identity.format,
        to = FORMAT,
        "bringing the store to a newer format"
    );
    let started = Instant::now();
    upgrade::copy(core)?;
    derive(core)?;
    core.engine.sync()?;
    identity.adopt_upgraded(core)?;
    let seconds = started.elapsed().as_secs_f64();
    tracing::info!(seconds, "the store has the newer format");
    Ok(())
}

/// Loads the stored counts. Damaged ones are counted again: they are no reason to refuse a sound store.
pub(super) fn load_counts(core: &Shared) -> Result<()> {
    let counts = match indexes::stored_counts(core) {
        Err(error @ StoreError::Corrupt { .. }) => {
            tracing::error!(%error, "the counts are damaged and are made again");
            let mut stored = Vec::new();
            core.engine.scan(
                b"c".as_slice()..=&keys::above(b"c"),
                Direction::Forward,
                &mut |key, _| {
                    stored.push(Write::Remove(key.to_vec()));
                    ControlFlow::Continue(())
                },
            )?;
            write(&*core.engine, stored)?;
            derive(core)?;
            indexes::stored_counts(core)?
        }
        counts => counts?,
    };
    *core.counts.lock() = counts;
    Ok(())
}

/// Makes all that is derived from the articles that there are. Articles are read by one thread while another writes what
/// is derived from them.
pub(super) fn derive(core: &Shared) -> Result<()> {
    let counts = thread::scope(|scope| {
        let (derived, entries) = mpsc::sync_channel(DERIVED_AHEAD);
        let counting = scope.spawn(move || derive_each(core, &derived));
        let written = write_derived(core, entries);
        let counted = counting.join().unwrap_or_else(|panic| resume_unwind(panic));
        written.and(counted)
    })?;
    derive_expiries(core)?;
    let stamp = last_commit(core)?;
    let counts = counts
        .iter()
        .map(|(language, counts)| indexes::counts_write(language, counts, stamp));
    core.engine.apply(counts.collect())?;
    derive_departures(core)?;
    core.engine.flush()?;
    core.engine.sync()
}

/// Makes the entries of all records that are forgotten in time.
fn derive_expiries(core: &Shared) -> Result<()> {
    let mut entries = Vec::new();
    expiry::derive(core, |entry| entries.push(entry))?;
    write_sorted(core, entries)
}

/// Sends the derived records of each article, and returns the counts by language.
fn derive_each(core: &Shared, derived: &mpsc::SyncSender<Vec<Write>>) -> Result<Vec<(Language, Counts)>> {
    let mut tally = Tally::default();
    let mut ids = core.ids_after(None, DERIVED_ARTICLES)?;
    while let Some(last) = ids.last() {
        let mut entries = Vec::new();
        for id in &ids {
            // A damaged article is found by the check, and has nothing that could be derived.
            let state = match core.load(id) {
                Ok(Some(state)) => state,
                Ok(None) => continue,
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(%error, "nothing is derived from a damaged article");
                    continue;
                }
                Err(error) => return Err(error),
            };
            tally.change(None, Some(&state));
            let derived = indexes::all(&state);
            tally.entries(&derived);
            entries.extend(derived);
            // An import puts the place of every version.
            entries.extend(state.series().map(|(series, newest)| {
                let (article, number) = (id.clone(), newest.number);
                let version = VersionKey {
                    article,
                    series,
                    number,
                };
                Write::Remove(keys::superseded_at(&version, newest.stamp.seq))
            }));
        }
        if derived.send(entries).is_err() {
            // They cannot be written, and the writer says why.
            break;
        }
        ids = core.ids_after(Some(last), DERIVED_ARTICLES)?;
    }
    Ok(tally.apply(&BTreeMap::new()))
}

/// Writes entries, many at a time in the order of their keys.
fn write_derived(core: &Shared, derived: mpsc::Receiver<Vec<Write>>) -> Result<()> {
    let mut entries = Vec::new();
    for more in derived {
        entries.extend(more);
        if entries.len() >= DERIVED_SORTED {
            write_sorted(core, std::mem::take(&mut entries))?;
        }
    }
    write_sorted(core, entries)
}

/// Makes the rows that find departures. A damaged delta is found by the check, and has none that could be derived.
fn derive_departures(core: &Shared) -> Result<()> {
    let mut from = b"d".to_vec();
    loop {
        let (mut rows, mut last) = (Vec::new(), None);
        core.engine.scan(
            from.as_slice()..=&keys::above(b"d"),
            Direction::Forward,
            &mut |key, record| {
                match departures::read(key, record) {
                    Ok((article, delta)) => rows.extend(departures::rows(&article, &delta)),
                    Err(error) => tracing::error!(%error, "nothing is derived from a damaged revision delta"),
                }
                last = Some(key.to_vec());
                if rows.len() < DERIVED_SORTED {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            },
        )?;
        let Some(last) = last else { return Ok(()) };
        write_sorted(core, rows)?;
        from = [last.as_slice(), &[0]].concat();
    }
}

fn write_sorted(core: &Shared, mut entries: Vec<Write>) -> Result<()> {
    entries.sort_by(|a, b| a.key().cmp(b.key()));
    let mut entries = entries.into_iter().peekable();
    while entries.peek().is_some() {
        write_part(&*core.engine, entries.by_ref().take(DERIVED_AT_ONCE).collect())?;
    }
    Ok(())
}

/// The last commit in the log; the pending stamp if there is none.
pub(super) fn last_commit(core: &Shared) -> Result<Stamp> {
    let mut last = Stamp::PENDING;
    core.scan(
        &keys::log(0),
        &keys::above(b"l"),
        Direction::Backward,
        |key, _, payload| {
            let group = Group::decode(&payload).map_err(corrupt(key))?;
            last = group.last().unwrap_or(Stamp::PENDING);
            Ok(ControlFlow::Break(()))
        },
    )?;
    Ok(last)
}

/// Checks that nothing is gone that was durable before the engine was reopened.
pub(super) fn check_end(last: Stamp, durable: Seq) -> Result<()> {
    if last.seq < durable {
        return damaged(format!(
            "it ends at {}, before the last durable commit {durable}",
            last.seq
        ));
    }
    Ok(())
}

/// Checks that the end of the log has no gap and that the articles it names are there in at least that version.
///
/// The cost is bounded by the log: each article is looked up once, however many events name it, and only its head is read,
/// however large the article is.
pub(super) fn check_tail(core: &Shared) -> Result<()> {
    let mut groups = Vec::new();
    core.scan(
        &keys::log(0),
        &keys::above(b"l"),
        Direction::Backward,
        |key, _, payload| {
            groups.push(Group::decode(&payload).map_err(corrupt(key))?);
            Ok(if groups.len() < CHECKED_GROUPS {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        },
    )?;
    groups.reverse();
    for pair in groups.windows(2) {
        if let [before, after] = pair
            && before.last().is_some_and(|last| last.seq + 1 != after.first)
        {
            return damaged(format!("commits are missing before {}", after.first));
        }
    }
    let mut logged = BTreeMap::<ArticleId, u32>::new();
    for (_, payload) in groups.iter().flat_map(|group| &group.commits) {
        for event in codec::decode_events(payload).map_err(corrupt(b"l"))?.events {
            let newest = logged.entry(event.article).or_default();
            *newest = event.revision.max(*newest);
        }
    }
    for (article, revision) in logged {
        let found = match head_revision(core, &article) {
            Ok(found) => found,
            // Rot in one article is that article's alone, and its reads say so.
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%error, "an article at the end of the change log is damaged");
                continue;
            }
            Err(error) => return Err(error),
        };
        let is_purged = || core.engine.get(&keys::tombstone(&article));
        if found.is_none() && is_purged()?.is_some() {
            continue;
        }
        if found.is_none_or(|found| found < revision) {
            return damaged(format!(
                "it names revision {revision} of article {article:?}, and the store has {found:?}"
            ));
        }
    }
    Ok(())
}

/// The newest revision of an article, from its head alone.
fn head_revision(core: &Shared, id: &ArticleId) -> Result<Option<u32>> {
    let key = keys::head(id);
    let Some((stamp, payload)) = core.get(&key)? else {
        return Ok(None);
    };
    let head = codec::decode_head(&payload, stamp).map_err(corrupt(&key))?;
    Ok(Some(head.revision()))
}

fn damaged(detail: String) -> Result<()> {
    Err(StoreError::Corrupt {
        record: "the change log".into(),
        detail,
    })
}
