//! Statuses of failed calls, no larger than every client takes: code, message, `google.rpc.ErrorInfo` and wrong fields.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::page_token::BadToken;
use crate::domain::Violation;
use crate::pb::{self, ErrorReason};

/// The `domain` of every `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "articlestore.v1";

/// How long a caller should wait before it tries again, when nothing better is known.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The text that a caller gets for a bug.
pub(super) const INTERNAL: &str = "internal error; the server's log has the details";

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
pub(super) struct Mapped {
    pub(super) code: Code,
    pub(super) reason: ErrorReason,
    pub(super) message: String,
    pub(super) metadata: Vec<(&'static str, String)>,
    pub(super) violations: Vec<Violation>,
}

impl Mapped {
    pub(super) fn new(
        code: Code,
        reason: ErrorReason,
        message: String,
        metadata: Vec<(&'static str, String)>,
    ) -> Self {
        Self {
            code,
            reason,
            message,
            metadata,
            violations: vec![],
        }
    }

    pub(super) fn status(self) -> Status {
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

    /// The same as the error of an item.
    pub(super) fn item(self) -> pb::ItemError {
        let mapped = self.shortened();
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

/// Truncates a text to a number of bytes, visibly.
fn shorten(text: &mut String, max: usize) {
    const ELLIPSIS: char = '…';
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max - ELLIPSIS.len_utf8()));
        text.push(ELLIPSIS);
    }
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
