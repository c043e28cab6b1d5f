//! Errors to statuses: one exhaustive match, for unary calls and for the items of an import alike.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::page_token::BadToken;
use super::watch_token;
use crate::domain::Violation;
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

/// The `domain` of every `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "articlestore.v1";

/// How long a caller should wait before it tries again, when nothing better is known.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What a caller is told of a bug.
const INTERNAL: &str = "internal error; the server's log has the details";

// gRPC libraries take 8 KiB of trailers unless told otherwise, and drop the call over it. An error is there as its
// message, percent-encoded, and as its details in base64, which hold the message again.
/// The longest message, in bytes.
const MAX_MESSAGE: usize = 512;
/// The longest value in the metadata: a URL with what is said around it.
const MAX_VALUE: usize = 2_200;
/// The longest description of a wrong field.
const MAX_DESCRIPTION: usize = 600;
/// The longest path of a wrong field.
const MAX_PATH: usize = 200;
/// Bytes that all wrong fields together take; what is over is counted.
const MAX_VIOLATIONS: usize = 3_000;

/// An error in the terms of the API, no larger than every client takes.
struct Mapped {
    code: Code,
    reason: ErrorReason,
    message: String,
    metadata: Vec<(&'static str, String)>,
    violations: Vec<Violation>,
}

impl Mapped {
    fn new(code: Code, reason: ErrorReason, message: String, metadata: Vec<(&'static str, String)>) -> Self {
        Self {
            code,
            reason,
            message,
            metadata,
            violations: vec![],
        }
    }

    fn status(self) -> Status {
        let mapped = self.shortened();
        let mut details = ErrorDetails::new();
        let metadata: HashMap<String, String> = mapped
            .metadata
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        details.set_error_info(reason_name(mapped.reason), DOMAIN, metadata);
        for violation in &mapped.violations {
            details.add_bad_request_violation(&violation.field, &violation.description);
        }
        if matches!(mapped.code, Code::Unavailable | Code::ResourceExhausted)
            && !matches!(
                mapped.reason,
                ErrorReason::TooManyCandidates
                    | ErrorReason::MessageTooLarge
                    | ErrorReason::TooMuchEvidence
                    | ErrorReason::ArticleFull
                    | ErrorReason::TooManyPolicies
            )
        {
            details.set_retry_info(Some(RETRY_DELAY));
        }
        Status::with_error_details(mapped.code, mapped.message, details)
    }

    fn shortened(mut self) -> Self {
        shorten(&mut self.message, MAX_MESSAGE);
        self.metadata
            .iter_mut()
            .for_each(|(_, value)| shorten(value, MAX_VALUE));
        let all = self.violations.len();
        let mut bytes = 0;
        let mut fitting = 0;
        for violation in &mut self.violations {
            shorten(&mut violation.field, MAX_PATH);
            shorten(&mut violation.description, MAX_DESCRIPTION);
            bytes += violation.field.len() + violation.description.len() + 8;
            if bytes > MAX_VIOLATIONS {
                violation.description = format!("is wrong, and so are {} more fields", all - fitting - 1);
                fitting += 1;
                break;
            }
            fitting += 1;
        }
        self.violations.truncate(fitting);
        self
    }
}

/// Cuts a text that is longer than so many bytes, and shows it.
fn shorten(text: &mut String, max: usize) {
    const ELLIPSIS: char = '…';
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max - ELLIPSIS.len_utf8()));
        text.push(ELLIPSIS);
    }
}

/// The status of a failed call.
pub fn status(error: Error) -> Status {
    map(error).status()
}

/// Whose limit of time a call met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// That of its caller.
    Caller,
    /// That of the server.
    Server,
    /// That of the server for receiving the message.
    ReceiveTimeout,
}

/// The status of a call that took longer than it may.
pub fn deadline_exceeded(limit: Duration, whose: Whose) -> Status {
    let millis = limit.as_micros().div_ceil(1_000);
    let (limit_of, gives) = match whose {
        Whose::Caller => ("caller", "its caller"),
        Whose::Server => ("server", "the server (--max-deadline)"),
        Whose::ReceiveTimeout => ("message", "the server (--receive-timeout)"),
    };
    let slow = match whose {
        Whose::ReceiveTimeout => "the message of the call did not come within",
        Whose::Caller | Whose::Server => "the call took longer than",
    };
    let metadata = vec![
        ("limit_ms", millis.to_string()),
        ("limit_of", limit_of.to_owned()),
    ];
    let message = format!("{slow} the {millis} ms that {gives} gives it");
    Mapped::new(
        Code::DeadlineExceeded,
        ErrorReason::DeadlineExceeded,
        message,
        metadata,
    )
    .status()
}

/// The status of a call for which there is no room. `what` are the calls that share the limit.
pub fn overloaded(what: &str, limit: usize) -> Status {
    let message =
        format!("the server is busy with {limit} {what}, and takes no more at once; try again later");
    let metadata = vec![("limit", limit.to_string()), ("limit_of", what.to_owned())];
    Mapped::new(
        Code::ResourceExhausted,
        ErrorReason::Overloaded,
        message,
        metadata,
    )
    .status()
}

/// The status of a call whose handler has a bug.
pub fn panicked() -> Status {
    Mapped::new(Code::Internal, ErrorReason::Internal, INTERNAL.to_owned(), vec![]).status()
}

/// The code as the gRPC specification spells it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The error of a failed item.
pub(super) fn item_error(error: Error) -> pb::ItemError {
    let mapped = map(error).shortened();
    pb::ItemError {
        code: mapped.code.into(),
        reason: mapped.reason.into(),
        message: mapped.message,
        metadata: mapped
            .metadata
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        field_violations: mapped
            .violations
            .into_iter()
            .map(|violation| pb::FieldViolation {
                field: violation.field,
                description: violation.description,
            })
            .collect(),
    }
}

/// The error of an item whose article cannot be decoded.
pub(super) fn malformed_item(detail: &str) -> pb::ItemError {
    pb::ItemError {
        code: Code::InvalidArgument.into(),
        reason: ErrorReason::MalformedMessage.into(),
        message: format!("article: cannot be decoded: {detail}"),
        ..Default::default()
    }
}

/// The status of a message that cannot be decoded.
pub(super) fn malformed(detail: &str) -> Status {
    plain(
        Code::InvalidArgument,
        ErrorReason::MalformedMessage,
        format!("the message cannot be decoded: {detail}"),
    )
}

impl From<BadToken> for Status {
    fn from(BadToken { field, description }: BadToken) -> Self {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason_name(ErrorReason::BadToken), DOMAIN, HashMap::new());
        details.add_bad_request_violation(field, description);
        Self::with_error_details(Code::InvalidArgument, format!("{field}: {description}"), details)
    }
}

/// Gives what tonic itself answers about a broken request the code and reason that it deserves: tonic says `INTERNAL`
/// and `OUT_OF_RANGE`. `None` if the status is none of these.
pub(crate) fn blame_the_caller(code: Code, message: &str) -> Option<Status> {
    match code {
        Code::OutOfRange if message.contains("message length too large") => {
            let numbers: Vec<_> = message
                .split(|c: char| !c.is_ascii_digit())
                .filter(|n| !n.is_empty())
                .collect();
            let (size, limit) = (numbers.first().unwrap_or(&"?"), numbers.get(1).unwrap_or(&"?"));
            let text =
                format!("a message of {size} bytes is larger than the {limit} that the server decodes");
            Some(plain(Code::ResourceExhausted, ErrorReason::MessageTooLarge, text))
        }
        Code::Internal
            if message.starts_with("Unexpected EOF")
                || message.starts_with("protocol error: received message") =>
        {
            Some(malformed(
                "the frame is cut off or has an unknown compression flag",
            ))
        }
        Code::Internal if message == "Missing request message." => {
            Some(malformed("the request has no message"))
        }
        _ => None,
    }
}

/// A status without metadata.
pub(crate) fn plain(code: Code, reason: ErrorReason, message: impl Into<String>) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason_name(reason), DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

/// The reason as it stands in `google.rpc.ErrorInfo`: without the enum's prefix, as that message asks for.
pub(crate) fn reason_name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
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
        } => (
            Code::InvalidArgument,
            Reason::TooLarge,
            vec![
                ("size_bytes", size_bytes.to_string()),
                ("limit_bytes", limit_bytes.to_string()),
            ],
        ),
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
        } => (
            Code::InvalidArgument,
            Reason::TooLarge,
            vec![
                ("article_id", article.to_string()),
                ("size_bytes", size_bytes.to_string()),
                ("limit_bytes", limit_bytes.to_string()),
            ],
        ),
        StoreError::Corrupt { record, detail: _ } => {
            tracing::error!(%message, "a stored record is damaged");
            (Code::DataLoss, Reason::RecordDamaged, vec![("record", record)])
        }
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
