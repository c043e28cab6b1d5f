//! Domain entities to record messages and back. No rules, no keys, no framing.
//!
//! Pending stamps are left out on the way in, and get the record's own stamp on the way out, so that a record need not
//! know its commit while it is encoded. Every enum has explicit codes: they are the format.

use prost::Message;

use super::records as rec;
use crate::domain::access::Visibility;
use crate::domain::article::{
    Alias, ArticleId, ArticleVersion, Content, DroppedRevision, Head, Manifest, ManifestEntry, Metadata,
    PublicationStatus, Revision, Significance, Tombstone,
};
use crate::domain::change::{Event, JobStep, Kind, Scope};
use crate::domain::date::{ArticleDate, Precision};
use crate::domain::etag::Etag;
use crate::domain::freshness::Overall;
use crate::domain::ids::{RequestId, SegmentId, TranslationId};
use crate::domain::job::{JobId, JobKind, JobState};
use crate::domain::language::Language;
use crate::domain::provenance::{
    Actor, Agent, AgentIdentity, AgentKind, Choice, OriginClass, Provenance, Step,
};
use crate::domain::quality::evidence::{Severity, Side};
use crate::domain::query::{IndexRow, IndexedDate, Standing};
use crate::domain::request::{Outcome, RequestKey, RequestRecord};
use crate::domain::segment::{Mark, MarkedText, Role, Segment, Span, TextHash};
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::domain::translation::{
    Binding, Disposition, QualityScore, SegmentOrigin, Selection, Slot, State, TranslationHead,
    TranslationVersion,
};
use crate::domain::url::CanonicalUrl;
use crate::domain::version::Version;
use crate::store::{Body, Counts};

mod article;
mod delta;
mod job;
mod log;
mod quality;
mod translation;

use article::{article_version, article_version_record};
pub(in crate::store) use article::{
    decode_alias_holder, decode_head, decode_tombstone, encode_alias_holder, encode_head, encode_tombstone,
};
pub(in crate::store) use delta::{
    decode_delta, encode_delta, level_code, segment_code, segment_of, split_history,
};
pub(in crate::store) use job::{decode_job, decode_policy, encode_job, encode_policy};
pub(in crate::store) use log::{
    Group, decode_counts, decode_events, decode_index_row, decode_request, decode_standing, encode_counts,
    encode_events, encode_index_row, encode_request, encode_standing, request_key,
};
use quality::{issue, issue_record};
pub(in crate::store) use translation::{decode_slot, encode_slot};
use translation::{
    provenance, provenance_record, request_id, score, score_record, selection, selection_record, translation,
    translation_record,
};

/// Why a record's message does not make an entity; the caller knows which record.
#[derive(Debug)]
pub(in crate::store) struct Malformed(pub(in crate::store) String);

type Result<T> = std::result::Result<T, Malformed>;

fn malformed(what: &str) -> Malformed {
    Malformed(format!("its {what} cannot be read"))
}

fn some<T>(value: Option<T>, what: &str) -> Result<T> {
    value.ok_or_else(|| malformed(what))
}

/// Decodes a record's message.
pub(in crate::store) fn message<M: Message + Default>(payload: &[u8]) -> Result<M> {
    M::decode(payload).map_err(|_| malformed("message"))
}

/// Gives an enum its codes in records.
macro_rules! codes {
    ($code:ident, $from:ident, $type:ty, { $($value:path => $number:literal),+ $(,)? }) => {
        fn $code(value: $type) -> u32 {
            match value { $($value => $number),+ }
        }
        fn $from(code: u32) -> Result<$type> {
            match code {
                $($number => Ok($value),)+
                _ => Err(malformed(stringify!($type))),
            }
        }
    };
}

codes!(role_code, role, Role, {
    Role::Paragraph => 1, Role::Subhead => 2, Role::Quote => 3, Role::ListItem => 4, Role::Caption => 5, Role::Note => 6,
});
codes!(precision_code, precision, Precision, { Precision::Day => 1, Precision::Minute => 2, Precision::Second => 3 });
codes!(status_code, status, PublicationStatus, {
    PublicationStatus::Usable => 1, PublicationStatus::Withheld => 2, PublicationStatus::Canceled => 3,
});
codes!(visibility_code, visibility, Visibility, {
    Visibility::Public => 0, Visibility::Embargoed => 1, Visibility::Withheld => 2, Visibility::Canceled => 3,
});
codes!(significance_code, significance, Significance, {
    Significance::Typo => 1, Significance::Minor => 2, Significance::Major => 3, Significance::Correction => 4,
    Significance::Retraction => 5,
});
codes!(kind_code, agent_kind, AgentKind, {
    AgentKind::Human => 1, AgentKind::Mt => 2, AgentKind::Llm => 3, AgentKind::Tm => 4, AgentKind::Import => 5,
    AgentKind::Rule => 6,
});
codes!(state_code, state, State, {
    State::Initial => 1, State::Translated => 2, State::Reviewed => 3, State::Final => 4,
});
codes!(disposition_code, disposition, Disposition, {
    Disposition::Candidate => 1, Disposition::Active => 2, Disposition::Rejected => 3, Disposition::Superseded => 4,
    Disposition::Withdrawn => 5,
});
codes!(step_code, step, Step, {
    Step::Attached => 1, Step::Reviewed => 2, Step::Acknowledged => 3, Step::Selected => 4, Step::Rejected => 5,
    Step::Detached => 6, Step::Scored => 7,
});
codes!(origin_code, origin, SegmentOrigin, {
    SegmentOrigin::Machine => 1, SegmentOrigin::Postedited => 2, SegmentOrigin::Human => 3, SegmentOrigin::Imported => 4,
});
codes!(origin_class_code, origin_class, OriginClass, {
    OriginClass::MachineUnreviewed => 1, OriginClass::MachineReviewed => 2, OriginClass::MachinePostedited => 3,
    OriginClass::Human => 4, OriginClass::Mixed => 5, OriginClass::Unknown => 6,
});
codes!(overall_code, overall, Overall, {
    Overall::Current => 1, Overall::Moved => 2, Overall::Orphaned => 3, Overall::Stale => 4, Overall::Incomplete => 5,
});
codes!(outcome_code, outcome, Outcome, {
    Outcome::Created => 1, Outcome::Changed => 2, Outcome::Unchanged => 3, Outcome::Diverted => 4,
});
codes!(severity_code, severity, Severity, {
    Severity::Neutral => 1, Severity::Minor => 2, Severity::Major => 3, Severity::Critical => 4,
});
codes!(job_kind_code, job_kind, JobKind, {
    JobKind::Mt => 1, JobKind::Llm => 2, JobKind::Human => 3, JobKind::Review => 4, JobKind::Score => 5,
});
codes!(job_state_code, job_state, JobState, {
    JobState::Pending => 1, JobState::Leased => 2, JobState::Done => 3, JobState::Dead => 4, JobState::Canceled => 5,
    JobState::Superseded => 6,
});
// Among the kinds of events.
codes!(job_step_code, job_step, JobStep, {
    JobStep::Opened => 50, JobStep::Claimed => 51, JobStep::Retargeted => 52, JobStep::Returned => 53,
    JobStep::Done => 54, JobStep::Dead => 55, JobStep::Canceled => 56, JobStep::Superseded => 57,
});
codes!(side_code, side, Side, { Side::Source => 1, Side::Target => 2 });

/// Title and lead take the numbers that no body segment has: body segments count from 1.
const TITLE: u32 = u32::MAX;
const LEAD: u32 = u32::MAX - 1;

fn segment_number(id: &SegmentId) -> u32 {
    match id {
        SegmentId::Title => TITLE,
        SegmentId::Lead => LEAD,
        SegmentId::Body(number) => *number,
    }
}

fn segment_id(number: u32) -> SegmentId {
    match number {
        TITLE => SegmentId::Title,
        LEAD => SegmentId::Lead,
        number => SegmentId::Body(number),
    }
}

fn hash(bytes: &[u8]) -> Result<TextHash> {
    bytes.try_into().map(TextHash).map_err(|_| malformed("hash"))
}

fn time(micros: i64) -> Result<Timestamp> {
    Timestamp::from_micros(micros).map_err(|e| Malformed(e.0))
}

fn stamp_record(stamp: Stamp) -> Option<rec::Stamp> {
    (!stamp.is_pending()).then(|| rec::Stamp {
        seq: stamp.seq,
        time: stamp.time.as_micros(),
    })
}

fn stamp(record: Option<rec::Stamp>, own: Stamp) -> Result<Stamp> {
    match record {
        // Written as none at all, see above.
        Some(record) if record.seq == 0 => Err(Malformed("a stamp of no commit".into())),
        Some(record) => Ok(Stamp {
            seq: record.seq,
            time: time(record.time)?,
        }),
        None => Ok(own),
    }
}

fn etag_record(etag: Etag) -> Option<rec::Etag> {
    Some(rec::Etag {
        version: etag.version,
        digest: etag.digest,
    })
}

fn etag(record: Option<rec::Etag>) -> Result<Etag> {
    let record = some(record, "etag")?;
    Ok(Etag {
        version: record.version,
        digest: record.digest,
    })
}

fn version_record(version: Version) -> rec::VersionRef {
    rec::VersionRef {
        number: version.number,
        stamp: stamp_record(version.stamp),
        part: 0,
    }
}

fn version(record: rec::VersionRef, own: Stamp) -> Result<Version> {
    if record.number == 0 {
        return Err(malformed("number"));
    }
    Ok(Version {
        number: record.number,
        stamp: stamp(record.stamp, own)?,
    })
}

fn newest_record(newest: Version) -> Option<rec::History> {
    Some(rec::History {
        newest: Some(version_record(newest)),
        earlier: Vec::new(),
    })
}

fn newest(record: Option<rec::History>, own: Stamp) -> Result<Version> {
    let record = some(record, "history")?;
    version(some(record.newest, "history")?, own)
}

/// The number of the version that a record holds.
fn number_record(number: u32) -> Option<rec::History> {
    newest_record(Version {
        number,
        stamp: Stamp::PENDING,
    })
}

fn number(record: Option<rec::History>, own: Stamp) -> Result<u32> {
    Ok(newest(record, own)?.number)
}

fn actor_record(actor: &Actor) -> Option<rec::Actor> {
    (*actor != Actor::default()).then(|| rec::Actor {
        principal: actor.principal.clone(),
        verified: actor.verified,
    })
}

fn actor(record: Option<rec::Actor>) -> Actor {
    record.map_or_else(Actor::default, |a| Actor {
        principal: a.principal,
        verified: a.verified,
    })
}

fn text_record(text: &MarkedText) -> rec::MarkedText {
    let span = |span: &Span| {
        let (mark, href) = match &span.mark {
            Mark::Bold => (1, String::new()),
            Mark::Italic => (2, String::new()),
            Mark::Link(href) => (3, href.clone()),
            Mark::Code => (4, String::new()),
            Mark::Other => (5, String::new()),
        };
        rec::Span {
            start: span.start,
            end: span.end,
            mark,
            href,
        }
    };
    rec::MarkedText {
        text: text.text().to_owned(),
        spans: text.spans().iter().map(span).collect(),
    }
}

fn text(record: rec::MarkedText) -> Result<MarkedText> {
    let span = |span: rec::Span| {
        let mark = match span.mark {
            1 => Mark::Bold,
            2 => Mark::Italic,
            3 => Mark::Link(span.href),
            4 => Mark::Code,
            5 => Mark::Other,
            _ => return Err(malformed("span")),
        };
        Ok(Span {
            start: span.start,
            end: span.end,
            mark,
        })
    };
    let spans = record.spans.into_iter().map(span).collect::<Result<Vec<_>>>()?;
    MarkedText::new(record.text, spans).map_err(|e| Malformed(e.0))
}

fn segment_record(segment: &Segment) -> rec::Segment {
    rec::Segment {
        number: segment_number(&segment.id),
        role: role_code(segment.role),
        content: Some(text_record(&segment.content)),
        translate: segment.translate,
    }
}

fn segment(record: Option<rec::Segment>) -> Result<Segment> {
    let record = some(record, "segment")?;
    Ok(Segment {
        id: segment_id(record.number),
        role: role(record.role)?,
        content: text(record.content.unwrap_or_default())?,
        translate: record.translate,
    })
}

fn offset(minutes: i32) -> Result<i16> {
    i16::try_from(minutes).map_err(|_| malformed("offset"))
}

fn article_id(id: &str) -> Result<ArticleId> {
    ArticleId::parse(id).map_err(|e| Malformed(e.0))
}

pub(in crate::store) fn encode_body(body: &Body) -> Vec<u8> {
    use rec::body::Body as Record;
    let record = match body {
        Body::Article(version) => Record::Article(article_version_record(version)),
        Body::Revision(revision) => Record::Revision(rec::Revision {
            content: Some(rec::Content {
                title: Some(segment_record(&revision.content.title)),
                lead: Some(segment_record(&revision.content.lead)),
                body: revision.content.body.iter().map(segment_record).collect(),
            }),
            significance: revision.significance.map(significance_code).unwrap_or_default(),
            is_proposed: revision.is_proposed,
            actor: actor_record(&revision.actor),
            history: number_record(revision.number),
        }),
        Body::Translation(version) => Record::Translation(rec::TranslationVersion {
            head: Some(translation_record(&version.head)),
            texts: version.texts.iter().map(text_record).collect(),
            provenance: Some(provenance_record(&version.provenance)),
            quality_scores: version.quality_scores.iter().map(score_record).collect(),
            quality_issues: version.quality_issues.iter().map(issue_record).collect(),
        }),
        Body::Selection(selection) => Record::Selection(selection_record(selection)),
        Body::Dropped(dropped) => Record::Dropped(rec::DroppedRevision {
            article: String::new(),
            significance: dropped.significance.map(significance_code).unwrap_or_default(),
            is_proposed: dropped.is_proposed,
            actor: actor_record(&dropped.actor),
            history: number_record(dropped.number),
        }),
    };
    rec::Body { body: Some(record) }.encode_to_vec()
}

/// The history in the record of a version.
fn history_of(record: &rec::Body) -> Option<&rec::History> {
    use rec::body::Body as Record;
    match record.body.as_ref()? {
        Record::Article(version) => version.history.as_ref(),
        Record::Revision(revision) => revision.history.as_ref(),
        Record::Dropped(dropped) => dropped.history.as_ref(),
        Record::Translation(version) => version.head.as_ref()?.history.as_ref(),
        Record::Selection(selection) => selection.history.as_ref(),
    }
}

/// Which of its commit's versions a record of format 2 is.
pub(in crate::store) fn part(record: &rec::Body) -> Option<u32> {
    Some(history_of(record)?.newest.as_ref()?.part)
}

/// The earlier versions that a record of format 2 knows: number, commit and part of each.
pub(in crate::store) fn earlier(record: &rec::Body) -> Vec<(u32, (Seq, u32))> {
    let earlier = history_of(record)
        .into_iter()
        .flat_map(|history| &history.earlier);
    let place = |version: &rec::VersionRef| {
        let seq = version.stamp.as_ref()?.seq;
        Some((version.number, (seq, version.part)))
    };
    earlier.filter_map(place).collect()
}

pub(in crate::store) fn decode_body(payload: &[u8], own: Stamp) -> Result<Body> {
    use rec::body::Body as Record;
    let record: rec::Body = message(payload)?;
    Ok(match some(record.body, "body")? {
        Record::Article(record) => Body::Article(article_version(record, own)?),
        Record::Revision(record) => {
            let content = some(record.content, "content")?;
            Body::Revision(Revision {
                stamp: own,
                content: Content {
                    title: segment(content.title)?,
                    lead: segment(content.lead)?,
                    body: content
                        .body
                        .into_iter()
                        .map(|s| segment(Some(s)))
                        .collect::<Result<_>>()?,
                },
                significance: maybe_significance(record.significance)?,
                is_proposed: record.is_proposed,
                actor: actor(record.actor),
                number: number(record.history, own)?,
            })
        }
        Record::Dropped(record) => Body::Dropped(DroppedRevision {
            stamp: own,
            significance: maybe_significance(record.significance)?,
            is_proposed: record.is_proposed,
            actor: actor(record.actor),
            number: number(record.history, own)?,
        }),
        Record::Translation(record) => Body::Translation(TranslationVersion {
            head: translation(some(record.head, "translation")?, own)?,
            texts: record.texts.into_iter().map(text).collect::<Result<_>>()?,
            provenance: provenance(some(record.provenance, "provenance")?, own)?,
            quality_scores: record
                .quality_scores
                .into_iter()
                .map(|s| score(s, own))
                .collect::<Result<_>>()?,
            quality_issues: record
                .quality_issues
                .into_iter()
                .map(|i| issue(i, own))
                .collect::<Result<_>>()?,
        }),
        Record::Selection(record) => Body::Selection(selection(record, own)?),
    })
}

fn maybe_significance(code: u32) -> Result<Option<Significance>> {
    (code != 0).then(|| significance(code)).transpose()
}
