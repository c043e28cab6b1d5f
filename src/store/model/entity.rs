//! Entities: what a store holds, one record at a time, in the form that backups keep and copies hand over. Indexes,
//! aliases and counts are none: every store derives them again.

use prost::Message;

use super::codec::{self, Group, Malformed};
use super::commits::MAX_RECORD;
use super::records::{self, entity::Entity as Kind};
use crate::domain::article::{ArticleId, Head, Tombstone};
use crate::domain::departures::RevisionDelta;
use crate::domain::job::Job;
use crate::domain::language::Language;
use crate::domain::policy::TranslationPolicy;
use crate::domain::request::RequestRecord;
use crate::domain::time::{Stamp, Timestamp};
use crate::domain::translation::Slot;
use crate::domain::version::{Series, VersionKey};
use crate::store::Body;

/// An entity as it was handed out by a store or read from a file: it may be malformed.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity(pub(in crate::store) records::Entity);

/// An entity that was decoded, so that it is known to be well-formed.
#[derive(Debug)]
pub struct Decoded {
    /// The commit that wrote it.
    pub(in crate::store) stamp: Stamp,
    /// What it is.
    pub(in crate::store) content: Content,
    /// Its record.
    pub(in crate::store) payload: Vec<u8>,
}

/// What an entity is.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "each lives for the moment in which it is stored"
)]
pub(in crate::store) enum Content {
    Head(Head),
    Slot(Slot),
    Version(VersionKey, Body),
    /// A version of format 2, which does not name its article: the key that it had.
    Unkeyed {
        part: u32,
    },
    Delta(ArticleId, RevisionDelta),
    Tombstone(Tombstone),
    Request(RequestRecord),
    Log(Group),
    Job(Job),
    ReplacedJob(Job),
    Policy(TranslationPolicy),
}

/// Which entity a record is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) enum Type {
    Head,
    Slot,
    Job,
    ReplacedJob,
    Tombstone,
    Delta,
    Request,
    Version(ArticleId, Series),
    Log,
    Policy,
}

impl Entity {
    /// The entity in a record.
    pub(in crate::store) fn of(of: Type, stamp: Stamp, payload: &[u8]) -> Result<Self, Malformed> {
        let kind = match of {
            Type::Head => Kind::Head(codec::message(payload)?),
            Type::Slot => Kind::Slot(codec::message(payload)?),
            Type::Job => Kind::Job(codec::message(payload)?),
            Type::ReplacedJob => Kind::ReplacedJob(codec::message(payload)?),
            Type::Tombstone => Kind::Tombstone(codec::message(payload)?),
            Type::Delta => Kind::RevisionDelta(codec::message(payload)?),
            Type::Request => Kind::Request(codec::message(payload)?),
            Type::Version(article, series) => Kind::Version(records::VersionOf {
                article: article.to_string(),
                language: match &series {
                    Series::Metadata | Series::Content => String::new(),
                    Series::Selection(language) | Series::Translation(language, _) => language.to_string(),
                },
                body: Some(codec::message(payload)?),
            }),
            Type::Log => Kind::Log(codec::message(payload)?),
            Type::Policy => Kind::Policy(codec::message(payload)?),
        };
        let stamp = records::Stamp {
            seq: stamp.seq,
            time: stamp.time.as_micros(),
        };
        Ok(Self(records::Entity {
            stamp: Some(stamp),
            entity: Some(kind),
        }))
    }

    /// The entities that stand for one of an older format; one of the present format stands for itself.
    pub(in crate::store) fn upgraded(self) -> Result<Vec<Self>, Malformed> {
        let Some(Kind::SegmentHistory(of)) = &self.0.entity else {
            return Ok(vec![self]);
        };
        let history = of
            .history
            .as_ref()
            .ok_or_else(|| Malformed("its history is missing".into()))?;
        let article = ArticleId::parse(&of.article).map_err(|error| Malformed(error.0))?;
        let delta = |delta| {
            let record = codec::encode_delta(&article, &delta);
            Ok(Self(records::Entity {
                stamp: self.0.stamp,
                entity: Some(Kind::RevisionDelta(codec::message(&record)?)),
            }))
        };
        let deltas = codec::split_history(&history.encode_to_vec())?;
        deltas.into_iter().map(delta).collect()
    }

    /// Decodes it. `Err` says what is wrong with it.
    pub(in crate::store) fn decode(&self) -> Result<Decoded, Malformed> {
        let missing = |what: &str| Malformed(format!("its {what} is missing"));
        let stamp = self.0.stamp.as_ref().ok_or_else(|| missing("stamp"))?;
        let time = Timestamp::from_micros(stamp.time).map_err(|_| Malformed("its time cannot be".into()))?;
        let stamp = Stamp { seq: stamp.seq, time };
        let payload;
        let content = match self.0.entity.as_ref().ok_or_else(|| missing("entity"))? {
            Kind::Head(head) => {
                payload = head.encode_to_vec();
                Content::Head(codec::decode_head(&payload, stamp)?)
            }
            Kind::Slot(slot) => {
                payload = slot.encode_to_vec();
                Content::Slot(codec::decode_slot(&payload, stamp)?)
            }
            Kind::Body(body) => {
                payload = body.encode_to_vec();
                codec::decode_body(&payload, stamp)?;
                Content::Unkeyed {
                    part: codec::part(body).ok_or_else(|| missing("history"))?,
                }
            }
            Kind::Version(of) => {
                payload = of.body.as_ref().ok_or_else(|| missing("body"))?.encode_to_vec();
                let body = codec::decode_body(&payload, stamp)?;
                let language = Language::from_canonical(&of.language);
                let key = VersionKey {
                    article: ArticleId::parse(&of.article).map_err(|error| Malformed(error.0))?,
                    series: body.series(language),
                    number: body.version().number,
                };
                Content::Version(key, body)
            }
            Kind::RevisionDelta(delta) => {
                payload = delta.encode_to_vec();
                let (article, delta) = codec::decode_delta(&payload)?;
                Content::Delta(article, delta)
            }
            Kind::SegmentHistory(_) => return Err(Malformed("it is of an older format".into())),
            Kind::Tombstone(tombstone) => {
                payload = tombstone.encode_to_vec();
                Content::Tombstone(codec::decode_tombstone(&payload, stamp)?)
            }
            Kind::Request(request) => {
                payload = request.encode_to_vec();
                Content::Request(codec::decode_request(&payload, stamp)?)
            }
            Kind::Job(job) => {
                payload = job.encode_to_vec();
                Content::Job(codec::decode_job(&payload, stamp)?)
            }
            Kind::ReplacedJob(job) => {
                payload = job.encode_to_vec();
                Content::ReplacedJob(codec::decode_job(&payload, stamp)?)
            }
            Kind::Policy(policy) => {
                payload = policy.encode_to_vec();
                Content::Policy(codec::decode_policy(&payload)?)
            }
            Kind::Log(group) => {
                payload = group.encode_to_vec();
                let group = Group::decode(&payload)?;
                for (_, events) in &group.commits {
                    codec::decode_events(events)?;
                }
                Content::Log(group)
            }
        };
        if payload.len() > MAX_RECORD {
            let bytes = payload.len();
            return Err(Malformed(format!(
                "it takes {bytes} bytes, and a record has at most {MAX_RECORD}"
            )));
        }
        Ok(Decoded {
            stamp,
            content,
            payload,
        })
    }

    /// What its kind is called in manifests.
    pub(in crate::store) fn kind(&self) -> &'static str {
        match self.0.entity {
            Some(Kind::Head(_)) => "articles",
            Some(Kind::Slot(_)) => "slots",
            Some(Kind::Tombstone(_)) => "tombstones",
            Some(Kind::Body(_) | Kind::Version(_)) => "bodies",
            Some(Kind::SegmentHistory(_)) => "segment_histories",
            Some(Kind::RevisionDelta(_)) => "revision_deltas",
            Some(Kind::Request(_)) => "requests",
            Some(Kind::Log(_)) => "log_groups",
            Some(Kind::Job(_)) => "jobs",
            Some(Kind::ReplacedJob(_)) => "replaced_jobs",
            Some(Kind::Policy(_)) => "policies",
            None => "nothing",
        }
    }
}
