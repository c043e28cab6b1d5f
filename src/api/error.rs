//! Errors to statuses: one exhaustive match, for unary calls and for the items of an import alike.

use tonic::{Code, Status};

use super::status::{INTERNAL, Mapped};
use super::watch_token;
use crate::domain::access::Denied;
use crate::domain::article::ArticleId;
use crate::domain::capacity::{Exceeded, Resource};
use crate::domain::ids::{SegmentId, TranslationId};
use crate::domain::job::JobState;
use crate::domain::language::Language;
use crate::pb::{self, ErrorReason};
use crate::service::Error;
use crate::service::view::Moment;
use crate::store::StoreError;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        map(error).status()
    }
}

/// The error of a failed item.
pub(super) fn item_error(error: Error) -> pb::ItemError {
    map(error).item()
}

fn map(error: Error) -> Mapped {
    use ErrorReason as Reason;
    let mut message = error.to_string();
    let violations = match &error {
        Error::Invalid(violations) => violations.clone(),
        _ => Vec::new(),
    };
    let (code, reason, metadata) = match error {
        Error::Invalid(_) => (Code::InvalidArgument, Reason::BadField, vec![]),
        Error::TooLarge {
            what: _,
            size_bytes,
            limit_bytes,
        } => too_large(None, size_bytes as u64, limit_bytes as u64),
        Error::RequestIdReused(id) => (
            Code::InvalidArgument,
            Reason::RequestIdReused,
            vec![("request_id", id.to_string())],
        ),
        Error::ArticleNotFound(id) => (
            Code::NotFound,
            Reason::ArticleNotFound,
            vec![("article_id", id.to_string())],
        ),
        Error::ArticlePurged(tombstone) => (
            Code::NotFound,
            Reason::ArticlePurged,
            vec![
                ("article_id", tombstone.article.to_string()),
                ("purge_time", tombstone.stamp.time.to_string()),
            ],
        ),
        Error::IdPurged(id) => (
            Code::AlreadyExists,
            Reason::IdPurged,
            vec![("article_id", id.to_string())],
        ),
        Error::AliasNotFound(alias) => (Code::NotFound, Reason::ArticleNotFound, vec![("alias", alias)]),
        Error::RevisionNotFound { id, wanted, head } => {
            let wanted = match wanted {
                Moment::Revision(number) => Some(("revision", number.to_string())),
                Moment::Time(time) => Some(("as_of_time", time.to_string())),
                Moment::Now => None,
            };
            let ids = [
                ("article_id", id.to_string()),
                ("head_revision", head.to_string()),
            ];
            (
                Code::NotFound,
                Reason::RevisionNotFound,
                ids.into_iter().chain(wanted).collect(),
            )
        }
        Error::RevisionNotRetained { id, revision } => (
            Code::NotFound,
            Reason::RevisionNotRetained,
            vec![("article_id", id.to_string()), ("revision", revision.to_string())],
        ),
        Error::TranslationNotFound {
            id,
            language,
            translation,
        } => (
            Code::NotFound,
            Reason::TranslationNotFound,
            vec![
                ("article_id", id.to_string()),
                ("language", language.to_string()),
                (
                    "translation_id",
                    translation.map(|id| id.to_string()).unwrap_or_default(),
                ),
            ],
        ),
        Error::ArticleExists(id) => (
            Code::AlreadyExists,
            Reason::ArticleExists,
            vec![("article_id", id.to_string())],
        ),
        Error::AliasTaken { alias, holder } => (
            Code::AlreadyExists,
            Reason::AliasTaken,
            std::iter::once(("alias", alias))
                .chain(holder.map(|holder| ("holder_article_id", holder.to_string())))
                .collect(),
        ),
        Error::AliasesDisagree { first, second } => (
            Code::FailedPrecondition,
            Reason::AliasesDisagree,
            [("first_article_id", first), ("second_article_id", second)]
                .into_iter()
                .filter_map(|(key, id)| Some((key, id?.to_string())))
                .collect(),
        ),
        Error::ArticleDeleted(id) => (
            Code::FailedPrecondition,
            Reason::ArticleDeleted,
            vec![("article_id", id.to_string())],
        ),
        Error::Denied(denied) => return map_denied(message, &denied),
        Error::SourceWithheld(id) => (
            Code::FailedPrecondition,
            Reason::SourceWithheld,
            vec![("article_id", id.to_string())],
        ),
        Error::EtagMismatch {
            what: _,
            expected,
            current,
        } => (
            Code::Aborted,
            Reason::EtagMismatch,
            std::iter::once(("etag", expected.as_str().to_owned()))
                .chain(current.map(|current| ("current_etag", current.to_string())))
                .collect(),
        ),
        Error::Contention(id) => (
            Code::Aborted,
            Reason::Contention,
            vec![("article_id", id.to_string())],
        ),
        Error::IllegalTransition {
            id,
            language,
            translation,
            segments,
            problem: _,
        } => (
            Code::FailedPrecondition,
            Reason::IllegalTransition,
            step(&id, &language, translation, &segments),
        ),
        Error::PersonRequired {
            id,
            language,
            translation,
            segments,
        } => (
            Code::FailedPrecondition,
            Reason::PersonRequired,
            step(&id, &language, Some(translation), &segments),
        ),
        Error::TooManyCandidates {
            id,
            language,
            limit,
            segment_limit,
        } => (
            Code::ResourceExhausted,
            Reason::TooManyCandidates,
            vec![
                ("article_id", id.to_string()),
                ("language", language.to_string()),
                ("limit", limit.to_string()),
                ("segment_limit", segment_limit.to_string()),
            ],
        ),
        Error::ArticleFull { id, exceeded } => {
            let flag = capacity_flag(exceeded.resource);
            message.push_str(&format!(" (serve {flag})"));
            (
                Code::ResourceExhausted,
                Reason::ArticleFull,
                vec![
                    ("article_id", id.to_string()),
                    ("count", exceeded.count.to_string()),
                    ("limit", exceeded.limit.to_string()),
                    ("flag", flag.to_owned()),
                ],
            )
        }
        Error::TooMuchEvidence {
            id,
            language,
            translation,
            size_bytes,
            limit_bytes,
        } => (
            Code::ResourceExhausted,
            Reason::TooMuchEvidence,
            vec![
                ("article_id", id.to_string()),
                ("language", language.to_string()),
                ("translation_id", translation.to_string()),
                ("size_bytes", size_bytes.to_string()),
                ("limit_bytes", limit_bytes.to_string()),
            ],
        ),
        Error::TranslationWithoutText {
            id,
            language,
            translation,
        } => (
            Code::FailedPrecondition,
            Reason::TranslationWithoutText,
            vec![
                ("article_id", id.to_string()),
                ("language", language.to_string()),
                ("translation_id", translation.to_string()),
            ],
        ),
        Error::TooLargeToMeasure { code_points, limit } => (
            Code::FailedPrecondition,
            Reason::TooLargeToMeasure,
            vec![
                ("code_points", code_points.to_string()),
                ("limit_code_points", limit.to_string()),
            ],
        ),
        Error::ChangesTrimmed { seq, oldest } => (
            Code::OutOfRange,
            Reason::ChangesTrimmed,
            vec![
                ("seq", seq.to_string()),
                ("floor_seq", oldest.place.seq().to_string()),
                ("oldest_token", watch_token::encode(&oldest, 0)),
            ],
        ),
        Error::ForeignToken { seq, head } => (
            Code::FailedPrecondition,
            Reason::TokenOfAnotherStore,
            vec![("seq", seq.to_string()), ("head_seq", head.to_string())],
        ),
        Error::Internal(detail) => {
            tracing::error!(%detail, "internal error");
            return Mapped::new(Code::Internal, Reason::Internal, INTERNAL.to_owned(), vec![]);
        }
        Error::JobNotFound(id) => (
            Code::NotFound,
            Reason::JobNotFound,
            vec![("job_id", id.to_string())],
        ),
        Error::LeaseLost { id, state } => (
            Code::FailedPrecondition,
            Reason::LeaseLost,
            vec![
                ("job_id", id.to_string()),
                ("state", state.unwrap_or(JobState::Leased).to_string()),
            ],
        ),
        Error::JobNotOpen { id, state } => (
            Code::FailedPrecondition,
            Reason::JobNotOpen,
            vec![("job_id", id.to_string()), ("state", state.to_string())],
        ),
        Error::NothingWanted(id) => (
            Code::FailedPrecondition,
            Reason::NothingWanted,
            vec![("job_id", id.to_string())],
        ),
        Error::PolicyNotFound(id) => (
            Code::NotFound,
            Reason::PolicyNotFound,
            vec![("policy_id", id.to_string())],
        ),
        Error::TooManyPolicies(limit) => (
            Code::ResourceExhausted,
            Reason::TooManyPolicies,
            vec![("limit", limit.to_string())],
        ),
        Error::PolicyDemand(exceeded) => {
            let flag = capacity_flag(exceeded.resource);
            message.push_str(&format!(" (serve {flag})"));
            (
                Code::ResourceExhausted,
                Reason::TooManyPolicies,
                vec![
                    ("count", exceeded.count.to_string()),
                    ("limit", exceeded.limit.to_string()),
                    ("flag", flag.to_owned()),
                ],
            )
        }
        Error::TooManyPolicyPairs { count, limit } => (
            Code::ResourceExhausted,
            Reason::TooManyPolicies,
            vec![("count", count.to_string()), ("limit", limit.to_string())],
        ),
        Error::Draining => (Code::Unavailable, Reason::StoreUnavailable, vec![]),
        Error::Store(error) => return map_store(error),
    };
    Mapped {
        code,
        reason,
        message,
        metadata,
        violations,
    }
}

/// That an article can hold no more, as an error would say it.
pub(super) fn article_full(id: &ArticleId, exceeded: Exceeded) -> String {
    let id = id.clone();
    map(Error::ArticleFull { id, exceeded }).message
}

/// The option of `serve` that sets a limit of every article.
fn capacity_flag(resource: Resource) -> &'static str {
    match resource {
        Resource::Languages => "--max-languages-per-article",
        Resource::OpenJobs => "--max-open-jobs-per-article",
        Resource::StateBytes => "--max-article-state-bytes",
    }
}

type Details = (Code, ErrorReason, Vec<(&'static str, String)>);

fn too_large(article: Option<ArticleId>, size_bytes: u64, limit_bytes: u64) -> Details {
    let sizes = [("size_bytes", size_bytes), ("limit_bytes", limit_bytes)];
    let sizes = sizes.map(|(key, bytes)| (key, bytes.to_string()));
    let article = article.map(|id| ("article_id", id.to_string()));
    let metadata = article.into_iter().chain(sizes).collect();
    (Code::InvalidArgument, ErrorReason::TooLarge, metadata)
}

fn map_denied(message: String, denied: &Denied) -> Mapped {
    let scope = ("scope", denied.scopes().join(","));
    let (reason, metadata) = match denied {
        Denied::Scope(_) | Denied::Hidden => (ErrorReason::MissingScope, vec![scope]),
        Denied::Person { person, .. } => (ErrorReason::MissingScope, vec![scope, ("person", person.clone())]),
        Denied::Kind { kind, allowed, .. } => {
            let allowed: Vec<_> = allowed.iter().map(|kind| kind.name()).collect();
            let kind = kind.name().to_owned();
            (
                ErrorReason::AgentKindDenied,
                vec![("agent_kind", kind), ("allowed_kinds", allowed.join(","))],
            )
        }
    };
    Mapped {
        code: Code::PermissionDenied,
        reason,
        message,
        metadata,
        violations: vec![],
    }
}

/// The metadata of a step of the workflow that is refused.
fn step(
    id: &ArticleId,
    language: &Language,
    translation: Option<TranslationId>,
    segments: &[SegmentId],
) -> Vec<(&'static str, String)> {
    let segments: Vec<_> = segments.iter().map(ToString::to_string).collect();
    vec![
        ("article_id", id.to_string()),
        ("language", language.to_string()),
        (
            "translation_id",
            translation.map(|id| id.to_string()).unwrap_or_default(),
        ),
        ("segment_ids", segments.join(" ")),
    ]
}

fn map_store(error: StoreError) -> Mapped {
    use ErrorReason as Reason;
    let mut message = error.to_string();
    if matches!(error, StoreError::Full { .. }) {
        message.push_str(" (serve --min-free-bytes)");
    }
    let (code, reason, metadata) = match error {
        // The service decides again on a conflict; one that comes through is contention.
        StoreError::Conflict(_) => (Code::Aborted, Reason::Contention, vec![]),
        StoreError::Full {
            available_bytes,
            floor_bytes,
        } => (
            Code::ResourceExhausted,
            Reason::StoreFull,
            vec![
                ("available_bytes", available_bytes.to_string()),
                ("floor_bytes", floor_bytes.to_string()),
            ],
        ),
        StoreError::TooLarge {
            article,
            record: _,
            size_bytes,
            limit_bytes,
        } => too_large(article, size_bytes, limit_bytes),
        StoreError::Corrupt { record, detail: _ } => {
            tracing::error!(%message, "a stored record is damaged");
            (Code::DataLoss, Reason::RecordDamaged, vec![("record", record)])
        }
        StoreError::Purged(tombstone) => return map(Error::ArticlePurged(tombstone)),
        StoreError::OutcomeUnknown => (Code::Unknown, Reason::OutcomeUnknown, vec![]),
        StoreError::Unavailable { reason: _ } | StoreError::Closed => {
            (Code::Unavailable, Reason::StoreUnavailable, vec![])
        }
        // Its text names paths: for the operator only.
        StoreError::Open(error) => {
            tracing::error!(%error, "the store could not be reopened");
            let message = "the store could not be reopened; the server's log has the details".to_owned();
            return Mapped::new(Code::Unavailable, Reason::StoreUnavailable, message, vec![]);
        }
    };
    Mapped::new(code, reason, message, metadata)
}
