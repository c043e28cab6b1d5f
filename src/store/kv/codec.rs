//! Domain entities to record messages and back. No rules, no keys, no framing.
//!
//! Pending stamps are left out on the way in, and get the record's own stamp on the way out, so that a record need not
//! know its commit while it is encoded. Every enum has explicit codes: they are the format.

use prost::Message;

use super::records as rec;
use crate::domain::article::{
    Alias, ArticleId, ArticleVersion, Content, Departed, Head, Manifest, ManifestEntry, Metadata,
    PublicationStatus, Revision, SegmentHistory, Significance,
};
use crate::domain::change::{Event, Kind, Scope};
use crate::domain::date::{ArticleDate, Precision};
use crate::domain::etag::Etag;
use crate::domain::freshness::Overall;
use crate::domain::history::{History, VersionRef};
use crate::domain::ids::{RequestId, SegmentId, TranslationId};
use crate::domain::language::Language;
use crate::domain::provenance::{Actor, Agent, AgentKind, Provenance};
use crate::domain::query::{IndexRow, IndexedDate};
use crate::domain::request::{Outcome, RequestKey, RequestRecord};
use crate::domain::segment::{Mark, MarkedText, Role, Segment, Span, TextHash};
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::domain::translation::{
    Binding, Disposition, QualityScore, SegmentOrigin, Selection, Slot, State, TranslationHead,
    TranslationVersion,
};
use crate::domain::url::CanonicalUrl;
use crate::store::Body;

/// Why a record's message does not make an entity; the caller knows which record.
#[derive(Debug)]
pub(super) struct Malformed(pub(super) String);

type Result<T> = std::result::Result<T, Malformed>;

fn malformed(what: &str) -> Malformed {
    Malformed(format!("its {what} cannot be read"))
}

fn some<T>(value: Option<T>, what: &str) -> Result<T> {
    value.ok_or_else(|| malformed(what))
}

/// Decodes a record's message.
pub(super) fn message<M: Message + Default>(payload: &[u8]) -> Result<M> {
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
codes!(origin_code, origin, SegmentOrigin, {
    SegmentOrigin::Machine => 1, SegmentOrigin::Postedited => 2, SegmentOrigin::Human => 3, SegmentOrigin::Imported => 4,
});
codes!(overall_code, overall, Overall, {
    Overall::Current => 1, Overall::Moved => 2, Overall::Orphaned => 3, Overall::Stale => 4, Overall::Incomplete => 5,
});
codes!(outcome_code, outcome, Outcome, {
    Outcome::Created => 1, Outcome::Changed => 2, Outcome::Unchanged => 3, Outcome::Diverted => 4,
});

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

fn version_record(version: &VersionRef) -> rec::VersionRef {
    rec::VersionRef {
        number: version.number,
        stamp: stamp_record(version.stamp),
        part: u32::from(version.part),
    }
}

fn version(record: rec::VersionRef, own: Stamp) -> Result<VersionRef> {
    Ok(VersionRef {
        number: record.number,
        stamp: stamp(record.stamp, own)?,
        part: u16::try_from(record.part).map_err(|_| malformed("part"))?,
    })
}

fn history_record(history: &History) -> Option<rec::History> {
    Some(rec::History {
        newest: Some(version_record(&history.newest)),
        earlier: history.earlier.iter().map(version_record).collect(),
    })
}

fn history(record: Option<rec::History>, own: Stamp) -> Result<History> {
    let record = some(record, "history")?;
    Ok(History {
        newest: version(some(record.newest, "history")?, own)?,
        earlier: record
            .earlier
            .into_iter()
            .map(|v| version(v, own))
            .collect::<Result<_>>()?,
    })
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

fn date_record(date: &ArticleDate) -> rec::ArticleDate {
    rec::ArticleDate {
        instant: date.instant.map(Timestamp::as_micros),
        original: date.original.clone(),
        utc_offset_minutes: i32::from(date.utc_offset_minutes),
        precision: precision_code(date.precision),
        zone_assumed: date.zone_assumed,
    }
}

fn offset(minutes: i32) -> Result<i16> {
    i16::try_from(minutes).map_err(|_| malformed("offset"))
}

fn date(record: rec::ArticleDate) -> Result<ArticleDate> {
    Ok(ArticleDate {
        instant: record.instant.map(time).transpose()?,
        original: record.original,
        utc_offset_minutes: offset(record.utc_offset_minutes)?,
        precision: precision(record.precision)?,
        zone_assumed: record.zone_assumed,
    })
}

fn metadata_record(metadata: &Metadata) -> rec::Metadata {
    rec::Metadata {
        language: metadata.language.as_str().to_owned(),
        section: metadata.section.clone(),
        publisher: metadata.publisher.clone(),
        canonical_url: metadata
            .canonical_url
            .as_ref()
            .map(|url| url.as_str().to_owned())
            .unwrap_or_default(),
        guid: metadata.guid.clone(),
        located: metadata.located.clone(),
        dateline: metadata.dateline.clone(),
        info_sources: metadata.info_sources.clone(),
        authors: metadata.authors.clone(),
        keywords: metadata.keywords.clone(),
        labels: metadata.labels.clone(),
        published: metadata.published.as_ref().map(date_record),
        updated: metadata.updated.as_ref().map(date_record),
        publication_status: status_code(metadata.publication_status),
        embargo_time: metadata.embargo_time.map(Timestamp::as_micros),
    }
}

fn metadata(record: rec::Metadata) -> Result<Metadata> {
    let url = record.canonical_url;
    Ok(Metadata {
        language: Language::from_canonical(&record.language),
        section: record.section,
        publisher: record.publisher,
        canonical_url: (!url.is_empty()).then(|| CanonicalUrl::from_canonical(url)),
        guid: record.guid,
        located: record.located,
        dateline: record.dateline,
        info_sources: record.info_sources,
        authors: record.authors,
        keywords: record.keywords,
        labels: record.labels,
        published: record.published.map(date).transpose()?,
        updated: record.updated.map(date).transpose()?,
        publication_status: status(record.publication_status)?,
        embargo_time: record.embargo_time.map(time).transpose()?,
    })
}

fn article_version_record(version: &ArticleVersion) -> rec::ArticleVersion {
    rec::ArticleVersion {
        etag: etag_record(version.etag),
        metadata: Some(metadata_record(&version.metadata)),
        revision: Some(version_record(&version.revision)),
        created: stamp_record(version.created),
        is_deleted: version.deleted.is_some(),
        deleted: version.deleted.and_then(stamp_record),
        actor: actor_record(&version.actor),
        history: history_record(&version.history),
    }
}

fn article_version(record: rec::ArticleVersion, own: Stamp) -> Result<ArticleVersion> {
    let history = history(record.history, own)?;
    Ok(ArticleVersion {
        stamp: history.newest.stamp,
        etag: etag(record.etag)?,
        metadata: metadata(some(record.metadata, "metadata")?)?,
        revision: version(some(record.revision, "revision")?, own)?,
        created: stamp(record.created, own)?,
        deleted: record
            .is_deleted
            .then(|| stamp(record.deleted, own))
            .transpose()?,
        actor: actor(record.actor),
        history,
    })
}

fn alias_record(alias: &Alias) -> rec::Alias {
    match alias {
        Alias::Url(url) => rec::Alias {
            url: url.as_str().to_owned(),
            ..Default::default()
        },
        Alias::Guid { publisher, guid } => rec::Alias {
            publisher: publisher.clone(),
            guid: guid.clone(),
            ..Default::default()
        },
    }
}

fn alias(record: rec::Alias) -> Alias {
    if record.url.is_empty() {
        Alias::Guid {
            publisher: record.publisher,
            guid: record.guid,
        }
    } else {
        Alias::Url(CanonicalUrl::from_canonical(record.url))
    }
}

fn article_id(id: &str) -> Result<ArticleId> {
    ArticleId::parse(id).map_err(|e| Malformed(e.0))
}

pub(super) fn encode_head(head: &Head) -> Vec<u8> {
    let entry = |entry: &ManifestEntry| rec::ManifestEntry {
        number: segment_number(&entry.id),
        hash: entry.hash.0.to_vec(),
        translate: entry.translate,
    };
    rec::Head {
        id: head.id.as_str().to_owned(),
        current: Some(article_version_record(&head.current)),
        title: Some(segment_record(&head.title)),
        lead: Some(segment_record(&head.lead)),
        manifest: head.manifest.0.iter().map(entry).collect(),
        next_segment: head.next_segment,
        aliases: head.aliases.iter().map(alias_record).collect(),
        revisions: history_record(&head.revisions),
    }
    .encode_to_vec()
}

pub(super) fn decode_head(payload: &[u8], own: Stamp) -> Result<Head> {
    let record: rec::Head = message(payload)?;
    let entry = |entry: rec::ManifestEntry| {
        Ok(ManifestEntry {
            id: segment_id(entry.number),
            hash: hash(&entry.hash)?,
            translate: entry.translate,
        })
    };
    Ok(Head {
        id: article_id(&record.id)?,
        current: article_version(some(record.current, "version")?, own)?,
        title: segment(record.title)?,
        lead: segment(record.lead)?,
        manifest: Manifest(record.manifest.into_iter().map(entry).collect::<Result<_>>()?),
        next_segment: record.next_segment,
        aliases: record.aliases.into_iter().map(alias).collect(),
        revisions: history(record.revisions, own)?,
    })
}

fn agent_record(agent: &Agent) -> rec::Agent {
    rec::Agent {
        kind: kind_code(agent.kind),
        person: agent.person.clone(),
        organization: agent.organization.clone(),
        tool: agent.tool.clone(),
        engine: agent.engine.clone(),
        model: agent.model.clone(),
        model_version: agent.model_version.clone(),
        rev_person: agent.rev_person.clone(),
        rev_organization: agent.rev_organization.clone(),
        rev_tool: agent.rev_tool.clone(),
        prompt_id: agent.prompt_id.clone(),
        glossary_id: agent.glossary_id.clone(),
        memory_id: agent.memory_id.clone(),
    }
}

fn agent(record: Option<rec::Agent>) -> Result<Agent> {
    let record = some(record, "agent")?;
    Ok(Agent {
        kind: agent_kind(record.kind)?,
        person: record.person,
        organization: record.organization,
        tool: record.tool,
        engine: record.engine,
        model: record.model,
        model_version: record.model_version,
        rev_person: record.rev_person,
        rev_organization: record.rev_organization,
        rev_tool: record.rev_tool,
        prompt_id: record.prompt_id,
        glossary_id: record.glossary_id,
        memory_id: record.memory_id,
    })
}

fn binding_record(binding: &Binding) -> rec::Binding {
    rec::Binding {
        number: segment_number(&binding.id),
        source_revision: binding.source_revision,
        source_hash: binding.source_hash.0.to_vec(),
        target_hash: binding.target_hash.0.to_vec(),
        state: state_code(binding.state),
        sub_state: binding.sub_state.clone(),
        writer: kind_code(binding.writer),
        origin: origin_code(binding.origin),
        reviewed: binding.reviewed,
    }
}

fn binding(record: rec::Binding) -> Result<Binding> {
    Ok(Binding {
        id: segment_id(record.number),
        source_revision: record.source_revision,
        source_hash: hash(&record.source_hash)?,
        target_hash: hash(&record.target_hash)?,
        state: state(record.state)?,
        sub_state: record.sub_state,
        writer: agent_kind(record.writer)?,
        origin: origin(record.origin)?,
        reviewed: record.reviewed,
    })
}

fn translation_record(head: &TranslationHead) -> rec::TranslationHead {
    rec::TranslationHead {
        id: head.id.0,
        etag: etag_record(head.etag),
        disposition: disposition_code(head.disposition),
        agent: Some(agent_record(&head.agent)),
        source_revision: head.source_revision,
        source_content_hash: head.source_content_hash.0.to_vec(),
        external_uri: head.external_uri.clone(),
        bindings: head.bindings.iter().map(binding_record).collect(),
        scored: head.scored,
        created: stamp_record(head.created),
        updated: stamp_record(head.updated),
        history: history_record(&head.history),
    }
}

fn translation(record: rec::TranslationHead, own: Stamp) -> Result<TranslationHead> {
    Ok(TranslationHead {
        id: TranslationId(record.id),
        etag: etag(record.etag)?,
        disposition: disposition(record.disposition)?,
        agent: agent(record.agent)?,
        source_revision: record.source_revision,
        source_content_hash: hash(&record.source_content_hash)?,
        external_uri: record.external_uri,
        bindings: record.bindings.into_iter().map(binding).collect::<Result<_>>()?,
        scored: record.scored,
        created: stamp(record.created, own)?,
        updated: stamp(record.updated, own)?,
        history: history(record.history, own)?,
    })
}

pub(super) fn encode_slot(slot: &Slot) -> Vec<u8> {
    rec::Slot {
        article: slot.article.as_str().to_owned(),
        language: slot.language.as_str().to_owned(),
        version: slot.version,
        etag: etag_record(slot.etag),
        translations: slot.translations.iter().map(translation_record).collect(),
        selections: history_record(&slot.selections),
    }
    .encode_to_vec()
}

pub(super) fn decode_slot(payload: &[u8], own: Stamp) -> Result<Slot> {
    let record: rec::Slot = message(payload)?;
    Ok(Slot {
        article: article_id(&record.article)?,
        language: Language::from_canonical(&record.language),
        version: record.version,
        stamp: own,
        etag: etag(record.etag)?,
        translations: record
            .translations
            .into_iter()
            .map(|t| translation(t, own))
            .collect::<Result<_>>()?,
        selections: history(record.selections, own)?,
    })
}

fn provenance_record(provenance: &Provenance) -> rec::Provenance {
    rec::Provenance {
        agent: Some(agent_record(&provenance.agent)),
        actor: actor_record(&provenance.actor),
        segments: provenance.segments.iter().map(segment_number).collect(),
        source_revision: provenance.source_revision,
        request_id: provenance.request_id.map(|id| id.0.to_vec()).unwrap_or_default(),
        job_id: provenance.job_id.clone(),
        pivot: provenance.pivot.clone(),
        characters: provenance.characters,
        cost_micros: provenance.cost_micros,
        currency: provenance.currency.clone(),
        duration_ms: provenance.duration_ms,
        match_quality: provenance.match_quality,
    }
}

fn request_id(bytes: &[u8]) -> Result<RequestId> {
    bytes
        .try_into()
        .map(RequestId)
        .map_err(|_| malformed("request id"))
}

fn provenance(record: rec::Provenance, own: Stamp) -> Result<Provenance> {
    Ok(Provenance {
        stamp: own,
        agent: agent(record.agent)?,
        actor: actor(record.actor),
        segments: record.segments.into_iter().map(segment_id).collect(),
        source_revision: record.source_revision,
        request_id: (!record.request_id.is_empty())
            .then(|| request_id(&record.request_id))
            .transpose()?,
        job_id: record.job_id,
        pivot: record.pivot,
        characters: record.characters,
        cost_micros: record.cost_micros,
        currency: record.currency,
        duration_ms: record.duration_ms,
        match_quality: record.match_quality,
    })
}

fn score_record(score: &QualityScore) -> rec::QualityScore {
    rec::QualityScore {
        metric: score.metric.clone(),
        metric_version: score.metric_version.clone(),
        model: score.model.clone(),
        value: score.value,
        min: score.min,
        max: score.max,
        higher_is_better: score.higher_is_better,
        segment: score.segment.as_ref().map(segment_number),
        target_hash: score.target_hash.0.to_vec(),
        source_hash: score.source_hash.0.to_vec(),
        reference_kind: score.reference_kind.clone(),
        scorer: score.scorer.clone(),
        stamp: stamp_record(score.stamp),
    }
}

fn score(record: rec::QualityScore, own: Stamp) -> Result<QualityScore> {
    Ok(QualityScore {
        metric: record.metric,
        metric_version: record.metric_version,
        model: record.model,
        value: record.value,
        min: record.min,
        max: record.max,
        higher_is_better: record.higher_is_better,
        segment: record.segment.map(segment_id),
        target_hash: hash(&record.target_hash)?,
        source_hash: hash(&record.source_hash)?,
        reference_kind: record.reference_kind,
        scorer: record.scorer,
        stamp: stamp(record.stamp, own)?,
    })
}

pub(super) fn encode_body(body: &Body) -> Vec<u8> {
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
            actor: actor_record(&revision.actor),
            history: history_record(&revision.history),
        }),
        Body::Translation(version) => Record::Translation(rec::TranslationVersion {
            head: Some(translation_record(&version.head)),
            texts: version.texts.iter().map(text_record).collect(),
            provenance: Some(provenance_record(&version.provenance)),
            quality_scores: version.quality_scores.iter().map(score_record).collect(),
        }),
        Body::Selection(selection) => Record::Selection(rec::Selection {
            etag: etag_record(selection.etag),
            dispositions: selection
                .dispositions
                .iter()
                .map(|(id, d)| rec::DispositionOf {
                    translation: id.0,
                    disposition: disposition_code(*d),
                })
                .collect(),
            actor: actor_record(&selection.actor),
            history: history_record(&selection.history),
        }),
    };
    rec::Body { body: Some(record) }.encode_to_vec()
}

pub(super) fn decode_body(payload: &[u8], own: Stamp) -> Result<Body> {
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
                significance: (record.significance != 0)
                    .then(|| significance(record.significance))
                    .transpose()?,
                actor: actor(record.actor),
                history: history(record.history, own)?,
            })
        }
        Record::Translation(record) => Body::Translation(TranslationVersion {
            head: translation(some(record.head, "translation")?, own)?,
            texts: record.texts.into_iter().map(text).collect::<Result<_>>()?,
            provenance: provenance(some(record.provenance, "provenance")?, own)?,
            quality_scores: record
                .quality_scores
                .into_iter()
                .map(|s| score(s, own))
                .collect::<Result<_>>()?,
        }),
        Record::Selection(record) => Body::Selection(Selection {
            stamp: own,
            etag: etag(record.etag)?,
            dispositions: record
                .dispositions
                .into_iter()
                .map(|d| Ok((TranslationId(d.translation), disposition(d.disposition)?)))
                .collect::<Result<_>>()?,
            actor: actor(record.actor),
            history: history(record.history, own)?,
        }),
    })
}

pub(super) fn encode_segment_history(history: &SegmentHistory) -> Vec<u8> {
    rec::SegmentHistory {
        departed: history
            .departed
            .iter()
            .map(|d| rec::Departed {
                number: segment_number(&d.id),
                hash: d.hash.0.to_vec(),
                last_revision: d.last_revision,
            })
            .collect(),
        significance: history
            .significance
            .iter()
            .map(|(revision, s)| rec::RevisionSignificance {
                revision: *revision,
                significance: significance_code(*s),
            })
            .collect(),
        contents: history.contents.iter().flat_map(|hash| hash.0).collect(),
    }
    .encode_to_vec()
}

pub(super) fn decode_segment_history(payload: &[u8]) -> Result<SegmentHistory> {
    let record: rec::SegmentHistory = message(payload)?;
    Ok(SegmentHistory {
        departed: record
            .departed
            .into_iter()
            .map(|d| {
                Ok(Departed {
                    id: segment_id(d.number),
                    hash: hash(&d.hash)?,
                    last_revision: d.last_revision,
                })
            })
            .collect::<Result<_>>()?,
        significance: record
            .significance
            .into_iter()
            .map(|s| Ok((s.revision, significance(s.significance)?)))
            .collect::<Result<_>>()?,
        contents: record.contents.chunks(16).map(hash).collect::<Result<_>>()?,
    })
}

pub(super) fn encode_alias_holder(held: &Alias, holder: &ArticleId) -> Vec<u8> {
    rec::AliasHolder {
        alias: Some(alias_record(held)),
        article: holder.as_str().to_owned(),
    }
    .encode_to_vec()
}

pub(super) fn decode_alias_holder(payload: &[u8]) -> Result<(Alias, ArticleId)> {
    let record: rec::AliasHolder = message(payload)?;
    Ok((alias(some(record.alias, "alias")?), article_id(&record.article)?))
}

pub(super) fn encode_request(request: &RequestRecord) -> Vec<u8> {
    let translation = request.translation.as_ref();
    rec::Request {
        principal: request.key.principal.clone(),
        rpc: request.key.rpc.clone(),
        id: request.key.id.0.to_vec(),
        digest: request.digest.to_vec(),
        article: request.article.as_str().to_owned(),
        language: translation
            .map(|(language, _)| language.as_str().to_owned())
            .unwrap_or_default(),
        translation: translation.map(|(_, id)| id.0).unwrap_or_default(),
        outcome: outcome_code(request.outcome),
    }
    .encode_to_vec()
}

pub(super) fn decode_request(payload: &[u8], own: Stamp) -> Result<RequestRecord> {
    let record: rec::Request = message(payload)?;
    Ok(RequestRecord {
        key: RequestKey {
            principal: record.principal,
            rpc: record.rpc,
            id: request_id(&record.id)?,
        },
        digest: record.digest.try_into().map_err(|_| malformed("digest"))?,
        stamp: own,
        article: article_id(&record.article)?,
        translation: (record.translation != 0).then(|| {
            (
                Language::from_canonical(&record.language),
                TranslationId(record.translation),
            )
        }),
        outcome: outcome(record.outcome)?,
    })
}

pub(super) fn encode_index_row(row: &IndexRow) -> Vec<u8> {
    rec::IndexRow {
        language: row.language.as_str().to_owned(),
        section: row.section.clone(),
        publisher: row.publisher.clone(),
        deleted: row.deleted,
        precision: precision_code(row.date.precision),
        utc_offset_minutes: i32::from(row.date.utc_offset_minutes),
    }
    .encode_to_vec()
}

pub(super) fn decode_index_row(payload: &[u8], instant: Option<Timestamp>) -> Result<IndexRow> {
    let record: rec::IndexRow = message(payload)?;
    Ok(IndexRow {
        date: IndexedDate {
            instant,
            precision: precision(record.precision)?,
            utc_offset_minutes: offset(record.utc_offset_minutes)?,
        },
        language: Language::from_canonical(&record.language),
        section: record.section,
        publisher: record.publisher,
        deleted: record.deleted,
    })
}

/// Kinds of events; the numbers are the format.
fn event_kind(kind: &Kind) -> u32 {
    match kind {
        Kind::ArticleCreated => 1,
        Kind::ArticleRevised => 2,
        Kind::ArticleMetadataChanged => 3,
        Kind::ArticleDeleted => 4,
        Kind::ArticleUndeleted => 5,
        Kind::TranslationAttached(_) => 6,
        Kind::TranslationSelected(_) => 7,
        Kind::TranslationDetached(_) => 8,
        Kind::TranslationFreshnessChanged { .. } => 9,
    }
}

fn scope_record(scope: &Scope) -> rec::Scope {
    rec::Scope {
        language: scope.language.as_str().to_owned(),
        section: scope.section.clone(),
        publisher: scope.publisher.clone(),
    }
}

fn scope(record: rec::Scope) -> Scope {
    Scope {
        language: Language::from_canonical(&record.language),
        section: record.section,
        publisher: record.publisher,
    }
}

pub(super) fn encode_events(events: &[Event], request_key: Option<Vec<u8>>) -> Vec<u8> {
    let event = |event: &Event| rec::Event {
        kind: event_kind(&event.kind),
        article: event.article.as_str().to_owned(),
        revision: event.revision,
        language: event
            .language
            .as_ref()
            .map(|l| l.as_str().to_owned())
            .unwrap_or_default(),
        etag: event.etag.and_then(etag_record),
        scope: Some(scope_record(&event.scope)),
        previous: event.previous.as_ref().map(scope_record),
        translation: match &event.kind {
            Kind::TranslationAttached(id) | Kind::TranslationDetached(id) => Some(id.0),
            Kind::TranslationSelected(id) => id.map(|id| id.0),
            _ => None,
        },
        freshness: match &event.kind {
            Kind::TranslationFreshnessChanged { from, to } => Some(rec::FreshnessChange {
                from: overall_code(*from),
                to: overall_code(*to),
            }),
            _ => None,
        },
    };
    rec::Events {
        events: events.iter().map(event).collect(),
        request_key: request_key.unwrap_or_default(),
    }
    .encode_to_vec()
}

fn event(record: rec::Event) -> Result<Event> {
    let translation = record.translation.map(TranslationId);
    let kind = match record.kind {
        1 => Kind::ArticleCreated,
        2 => Kind::ArticleRevised,
        3 => Kind::ArticleMetadataChanged,
        4 => Kind::ArticleDeleted,
        5 => Kind::ArticleUndeleted,
        6 => Kind::TranslationAttached(some(translation, "translation")?),
        7 => Kind::TranslationSelected(translation),
        8 => Kind::TranslationDetached(some(translation, "translation")?),
        9 => {
            let change = some(record.freshness, "freshness")?;
            Kind::TranslationFreshnessChanged {
                from: overall(change.from)?,
                to: overall(change.to)?,
            }
        }
        _ => return Err(malformed("event kind")),
    };
    Ok(Event {
        kind,
        article: article_id(&record.article)?,
        revision: record.revision,
        language: (!record.language.is_empty()).then(|| Language::from_canonical(&record.language)),
        etag: record.etag.map(|e| etag(Some(e))).transpose()?,
        scope: scope(some(record.scope, "scope")?),
        previous: record.previous.map(scope),
    })
}

/// The events of a commit, and the key of the request that it recorded.
pub(super) fn decode_events(payload: &[u8]) -> Result<(Vec<Event>, Option<Vec<u8>>)> {
    let record: rec::Events = message(payload)?;
    let events = record.events.into_iter().map(event).collect::<Result<_>>()?;
    Ok((
        events,
        (!record.request_key.is_empty()).then_some(record.request_key),
    ))
}

/// The commits of one group, in order.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The first commit's number.
    pub(super) first: Seq,
    /// The time and the encoded events of each.
    pub(super) commits: Vec<(Timestamp, Vec<u8>)>,
}

impl Group {
    /// The last commit's number and time.
    pub(super) fn last(&self) -> Option<Stamp> {
        let (time, _) = self.commits.last()?;
        Some(Stamp {
            seq: self.first + self.commits.len() as Seq - 1,
            time: *time,
        })
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let (times, events) = self
            .commits
            .into_iter()
            .map(|(time, events)| (time.as_micros(), events))
            .unzip();
        rec::LogGroup {
            first_seq: self.first,
            times,
            events,
        }
        .encode_to_vec()
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self> {
        let record: rec::LogGroup = message(payload)?;
        if record.times.len() != record.events.len() || record.times.is_empty() || record.first_seq == 0 {
            return Err(malformed("group"));
        }
        let times = record.times.into_iter().map(time).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            first: record.first_seq,
            commits: times.into_iter().zip(record.events).collect(),
        })
    }
}
