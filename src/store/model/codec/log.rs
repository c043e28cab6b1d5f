//! Requests, index rows, standings, counts, events and the groups of the change log.

use sha2::{Digest, Sha256};

use super::*;

pub(in crate::store) fn encode_request(request: &RequestRecord) -> Vec<u8> {
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
        jobs: request.jobs.iter().map(ToString::to_string).collect(),
    }
    .encode_to_vec()
}

pub(in crate::store) fn decode_request(payload: &[u8], own: Stamp) -> Result<RequestRecord> {
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
        jobs: record
            .jobs
            .iter()
            .map(|id| JobId::parse(id).map_err(|e| Malformed(e.0)))
            .collect::<Result<_>>()?,
        outcome: outcome(record.outcome)?,
    })
}

pub(in crate::store) fn encode_index_row(row: &IndexRow) -> Vec<u8> {
    rec::IndexRow {
        language: row.language.as_str().to_owned(),
        section: row.section.clone(),
        publisher: row.publisher.clone(),
        deleted: row.deleted,
        precision: precision_code(row.date.precision),
        utc_offset_minutes: i32::from(row.date.utc_offset_minutes),
        visibility: visibility_code(row.visibility),
    }
    .encode_to_vec()
}

pub(in crate::store) fn decode_index_row(payload: &[u8], instant: Option<Timestamp>) -> Result<IndexRow> {
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
        visibility: visibility(record.visibility)?,
    })
}

pub(in crate::store) fn encode_standing(standing: &Standing) -> Vec<u8> {
    rec::Standing {
        overall: overall_code(standing.overall),
        state: state_code(standing.state),
        origin_class: origin_class_code(standing.origin_class),
    }
    .encode_to_vec()
}

pub(in crate::store) fn decode_standing(payload: &[u8]) -> Result<Standing> {
    let record: rec::Standing = message(payload)?;
    Ok(Standing {
        overall: overall(record.overall)?,
        state: state(record.state)?,
        origin_class: origin_class(record.origin_class)?,
    })
}

pub(in crate::store) fn encode_counts(counts: &Counts) -> Vec<u8> {
    let open_jobs = counts
        .open_jobs
        .iter()
        .map(|((source, kind), count)| rec::OpenJobs {
            source: source.as_str().to_owned(),
            kind: job_kind_code(*kind),
            count: *count,
        });
    let not_current = counts.not_current.iter().map(|(overall, count)| rec::NotCurrent {
        overall: overall_code(*overall),
        count: *count,
    });
    rec::Counts {
        articles: counts.articles,
        deleted: counts.deleted,
        revisions: counts.revisions,
        translations: counts.translations,
        open_jobs: open_jobs.collect(),
        not_current: not_current.collect(),
    }
    .encode_to_vec()
}

pub(in crate::store) fn decode_counts(payload: &[u8]) -> Result<Counts> {
    let record: rec::Counts = message(payload)?;
    let open_jobs = record.open_jobs.into_iter().map(|open| {
        let source = Language::from_canonical(&open.source);
        Ok(((source, job_kind(open.kind)?), open.count))
    });
    let not_current = record.not_current.into_iter();
    let not_current = not_current.map(|some| Ok((overall(some.overall)?, some.count)));
    Ok(Counts {
        articles: record.articles,
        deleted: record.deleted,
        revisions: record.revisions,
        translations: record.translations,
        open_jobs: open_jobs.collect::<Result<_>>()?,
        not_current: not_current.collect::<Result<_>>()?,
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
        Kind::PublicationStatusChanged => 20,
        Kind::EmbargoLifted => 21,
        Kind::ArticlePurged => 22,
        Kind::TranslationScored(_) => 36,
        Kind::TranslationReviewed(_) => 30,
        Kind::TranslationRejected(_) => 31,
        Kind::TranslationAcknowledged(_) => 32,
        Kind::Job { step, .. } => job_step_code(*step),
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

/// A request by a short name of a fixed length.
pub(in crate::store) fn request_key(request: &RequestKey) -> Vec<u8> {
    let mut hasher = Sha256::new();
    hasher.update((request.principal.len() as u64).to_be_bytes());
    hasher.update(&request.principal);
    hasher.update(&request.rpc);
    let digest: [u8; 32] = hasher.finalize().into();
    [b"r", digest.split_at(8).0, &request.id.0].concat()
}

/// What the log holds of a commit.
#[derive(Debug, PartialEq)]
pub(in crate::store) struct Logged {
    /// What changed.
    pub(in crate::store) events: Vec<Event>,
    /// The authenticated principal that made it, or nothing.
    pub(in crate::store) principal: String,
}

pub(in crate::store) fn encode_events(events: &[Event], principal: &str) -> Vec<u8> {
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
            Kind::TranslationAttached(id)
            | Kind::TranslationScored(id)
            | Kind::TranslationDetached(id)
            | Kind::TranslationReviewed(id)
            | Kind::TranslationRejected(id)
            | Kind::TranslationAcknowledged(id) => Some(id.0),
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
        job: match &event.kind {
            Kind::Job { kind, number, .. } => Some(rec::JobOf {
                kind: job_kind_code(*kind),
                number: *number,
            }),
            _ => None,
        },
    };
    rec::Events {
        events: events.iter().map(event).collect(),
        request_key: Vec::new(),
        principal: principal.to_owned(),
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
        20 => Kind::PublicationStatusChanged,
        21 => Kind::EmbargoLifted,
        22 => Kind::ArticlePurged,
        36 => Kind::TranslationScored(some(translation, "translation")?),
        30 => Kind::TranslationReviewed(some(translation, "translation")?),
        31 => Kind::TranslationRejected(some(translation, "translation")?),
        32 => Kind::TranslationAcknowledged(some(translation, "translation")?),
        code => {
            let job = some(record.job, "event kind")?;
            Kind::Job {
                step: job_step(code)?,
                kind: job_kind(job.kind)?,
                number: job.number,
            }
        }
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

pub(in crate::store) fn decode_events(payload: &[u8]) -> Result<Logged> {
    let record: rec::Events = message(payload)?;
    Ok(Logged {
        events: record.events.into_iter().map(event).collect::<Result<_>>()?,
        principal: record.principal,
    })
}

/// The commits of one group, in order.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Group {
    /// The first commit's number.
    pub(in crate::store) first: Seq,
    /// The time and the encoded events of each.
    pub(in crate::store) commits: Vec<(Timestamp, Vec<u8>)>,
}

impl Group {
    /// The last commit's number and time.
    pub(in crate::store) fn last(&self) -> Option<Stamp> {
        let (time, _) = self.commits.last()?;
        Some(Stamp {
            seq: self.first + self.commits.len() as Seq - 1,
            time: *time,
        })
    }

    pub(in crate::store) fn encode(self) -> Vec<u8> {
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

    pub(in crate::store) fn decode(payload: &[u8]) -> Result<Self> {
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
