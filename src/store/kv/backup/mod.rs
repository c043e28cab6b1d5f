//! Backups: all records of a store as it was after one commit, in a file that any later version can read.
//!
//! A backup is a text of JSON lines: a header, the entities, a manifest with their counts and the SHA-256 of all lines
//! before it. It is compressed with zstd in frames of some megabytes that stand alone, so that reading can begin at any
//! frame, and `zstd -dc` shows it. `dump` makes the lines of a store, `file` frames them, `load` makes a store of them,
//! `build` puts that in its place.
//! Only entities are kept: indexes, aliases and counts are derived again.

mod build;
mod dump;
mod file;
mod load;

use std::collections::BTreeMap;

use super::codec::{self, Group, Malformed};
use super::envelope::Sealed;
use super::keys;
use super::records::{self, entity::Entity as Kind};
use crate::domain::article::ArticleId;
use crate::domain::history::BodyRef;
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::store::error::StoreError;
use prost::Message;

pub use build::{Progress, Restored, copy, restore};
pub(super) use dump::{Tracker, dump};
pub use file::{BackupFile, BackupWriter};
pub use load::Loader;

/// An entity as the engine keeps it: key and value.
type Record = (Vec<u8>, Vec<u8>);

/// What a backup, or a copy, holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The last commit that is in it.
    pub seq: Seq,
    /// That commit's time.
    pub time: Timestamp,
    /// How many lines there are of each kind of entity.
    pub counts: BTreeMap<String, u64>,
}

/// Why a backup cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file cannot be read.
    #[error("cannot read {file}: {detail}")]
    Io {
        /// The file.
        file: String,
        /// What the operating system said.
        detail: String,
    },
    /// The file is something else.
    #[error("{file} is not a backup of an article store: {detail}")]
    Foreign {
        /// The file.
        file: String,
        /// What it begins with, or lacks.
        detail: String,
    },
    /// A newer version wrote it.
    #[error("{file} has backup format {found}, and this version reads formats up to {supported}")]
    Newer {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest that this version reads.
        supported: u32,
    },
    /// Its end is missing.
    #[error("{file} is cut off after {lines} lines: its manifest is missing")]
    CutOff {
        /// The file.
        file: String,
        /// Lines that could be read.
        lines: u64,
    },
    /// What it holds is not what was written.
    #[error("{file} was altered: {detail}")]
    Altered {
        /// The file.
        file: String,
        /// What does not agree, naming the line.
        detail: String,
    },
    /// The store that it holds does not pass the check.
    #[error("{file} does not hold a sound store: {record}: {problem} ({findings} findings)")]
    Unsound {
        /// The file.
        file: String,
        /// The first record that is wrong.
        record: String,
        /// What is wrong with it.
        problem: String,
        /// How many there are.
        findings: usize,
    },
    /// A copy is not what it was made from.
    #[error("the copy of {name} is not the same: {detail}")]
    Differs {
        /// The store that was copied.
        name: String,
        /// What does not agree.
        detail: String,
    },
    /// The store that it is to go into fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A record of a store without its place in the engine; what a backup line holds and a copy hands over.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity(records::Entity);

/// The prefixes whose records are entities. Bodies and log come last: what is written meanwhile is at their ends.
const PREFIXES: [u8; 9] = *b"hsjkxprbl";
/// The prefix of the policies, which are entities too: few, and the only ones that may be removed for good at any time.
/// So they are read when all else was, while the writer stands still.
const POLICIES: u8 = b'n';

impl Entity {
    /// The entity in a record of the engine.
    fn of(key: &[u8], stamp: Stamp, payload: &[u8]) -> Result<Self, Malformed> {
        let kind = match key.first() {
            Some(b'h') => Kind::Head(codec::message(payload)?),
            Some(b's') => Kind::Slot(codec::message(payload)?),
            Some(b'b') => Kind::Body(codec::message(payload)?),
            Some(b'x') => Kind::Tombstone(codec::message(payload)?),
            Some(b'r') => Kind::Request(codec::message(payload)?),
            Some(b'l') => Kind::Log(codec::message(payload)?),
            Some(b'j') => Kind::Job(codec::message(payload)?),
            Some(b'k') => Kind::ReplacedJob(codec::message(payload)?),
            Some(b'n') => Kind::Policy(codec::message(payload)?),
            Some(b'p') => {
                let unreadable = || Malformed("its key cannot be read".into());
                Kind::SegmentHistory(records::SegmentHistoryOf {
                    article: keys::segment_history_id(key).ok_or_else(unreadable)?.to_string(),
                    history: Some(codec::message(payload)?),
                })
            }
            _ => return Err(Malformed("it is no entity".into())),
        };
        Ok(Self(records::Entity {
            stamp: Some(records::Stamp {
                seq: stamp.seq,
                time: stamp.time.as_micros(),
            }),
            entity: Some(kind),
        }))
    }

    /// The record for the engine. Whatever does not make an entity is refused.
    fn record(&self) -> Result<Record, Malformed> {
        let missing = |what: &str| Malformed(format!("its {what} is missing"));
        let stamp = self.0.stamp.as_ref().ok_or_else(|| missing("stamp"))?;
        let time = Timestamp::from_micros(stamp.time).map_err(|_| Malformed("its time cannot be".into()))?;
        let stamp = Stamp { seq: stamp.seq, time };
        let (key, sealed) = match self.0.entity.as_ref().ok_or_else(|| missing("entity"))? {
            Kind::Head(head) => {
                let payload = head.encode_to_vec();
                let head = codec::decode_head(&payload, stamp)?;
                (keys::head(&head.id), Sealed::new(&payload))
            }
            Kind::Slot(slot) => {
                let payload = slot.encode_to_vec();
                let slot = codec::decode_slot(&payload, stamp)?;
                (keys::slot(&slot.article, &slot.language), Sealed::plain(&payload))
            }
            Kind::Body(body) => {
                let payload = body.encode_to_vec();
                let newest = codec::decode_body(&payload, stamp)?.history().newest;
                let place = BodyRef {
                    seq: stamp.seq,
                    part: newest.part,
                };
                (keys::body(place), Sealed::new(&payload))
            }
            Kind::SegmentHistory(of) => {
                let history = of.history.as_ref().ok_or_else(|| missing("history"))?;
                let payload = history.encode_to_vec();
                codec::decode_segment_history(&payload)?;
                let article = ArticleId::parse(&of.article).map_err(|error| Malformed(error.0))?;
                (keys::segment_history(&article), Sealed::new(&payload))
            }
            Kind::Tombstone(tombstone) => {
                let payload = tombstone.encode_to_vec();
                let tombstone = codec::decode_tombstone(&payload, stamp)?;
                (keys::tombstone(&tombstone.article), Sealed::new(&payload))
            }
            Kind::Request(request) => {
                let payload = request.encode_to_vec();
                let request = codec::decode_request(&payload, stamp)?;
                (keys::request(&request.key), Sealed::new(&payload))
            }
            Kind::Job(job) => {
                let payload = job.encode_to_vec();
                let job = codec::decode_job(&payload, stamp)?;
                (keys::job(&job.id.article, &job.id.key), Sealed::plain(&payload))
            }
            Kind::ReplacedJob(job) => {
                let payload = job.encode_to_vec();
                let job = codec::decode_job(&payload, stamp)?;
                (keys::replaced_job(&job.id), Sealed::plain(&payload))
            }
            Kind::Policy(policy) => {
                let payload = policy.encode_to_vec();
                let policy = codec::decode_policy(&payload)?;
                (keys::policy(&policy.id), Sealed::new(&payload))
            }
            Kind::Log(group) => {
                let payload = group.encode_to_vec();
                let group = Group::decode(&payload)?;
                for (_, events) in &group.commits {
                    codec::decode_events(events)?;
                }
                (keys::log(group.first), Sealed::new(&payload))
            }
        };
        Ok((key, sealed.stamped(stamp)))
    }

    /// What its kind is called in manifests.
    fn kind(&self) -> &'static str {
        match self.0.entity {
            Some(Kind::Head(_)) => "articles",
            Some(Kind::Slot(_)) => "slots",
            Some(Kind::Tombstone(_)) => "tombstones",
            Some(Kind::Body(_)) => "bodies",
            Some(Kind::SegmentHistory(_)) => "segment_histories",
            Some(Kind::Request(_)) => "requests",
            Some(Kind::Log(_)) => "log_groups",
            Some(Kind::Job(_)) => "jobs",
            Some(Kind::ReplacedJob(_)) => "replaced_jobs",
            Some(Kind::Policy(_)) => "policies",
            None => "nothing",
        }
    }
}
