//! The statuses of calls that are refused before their request is read. They say nothing about a secret.

use std::num::NonZeroU32;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::status::{self, plain};
use crate::domain::access::Denied;
use crate::pb::ErrorReason;

/// A call without credentials that is not for everybody.
pub(crate) fn credentials_missing() -> Status {
    plain(
        Code::Unauthenticated,
        ErrorReason::CredentialsMissing,
        "the call needs credentials: send \"authorization: Bearer TOKEN\"",
    )
}

/// Credentials that are not known or wrong in whatever way.
pub(crate) fn credentials_invalid() -> Status {
    plain(
        Code::Unauthenticated,
        ErrorReason::CredentialsInvalid,
        "the credentials are not valid",
    )
}

/// Credentials that were good.
pub(crate) fn credentials_expired() -> Status {
    plain(
        Code::Unauthenticated,
        ErrorReason::CredentialsExpired,
        "the credentials have expired",
    )
}

/// A stream whose credentials grant something else now than when it began.
pub(crate) fn credentials_changed() -> Status {
    plain(
        Code::Unauthenticated,
        ErrorReason::CredentialsInvalid,
        "what the credentials grant has changed since the call began: make the call again",
    )
}

/// What the caller may not do.
pub(crate) fn denied(denied: Denied) -> Status {
    crate::service::Error::from(denied).into()
}

/// A call that there is not.
pub(crate) fn unknown_method() -> Status {
    plain(
        Code::Unimplemented,
        ErrorReason::UnknownMethod,
        "the server has no such method",
    )
}

/// More calls than a principal may make; an empty name is that of all callers without credentials.
pub(crate) fn rate_limited(principal: &str, limit: NonZeroU32, burst: NonZeroU32, wait: Duration) -> Status {
    let who = match principal {
        "" => "callers without credentials make".to_owned(),
        principal => format!("\"{principal}\" makes"),
    };
    let mut details = ErrorDetails::new();
    let metadata =
        [("limit", limit), ("burst", burst)].map(|(key, number)| (key.to_owned(), number.to_string()));
    details.set_error_info(
        status::reason_name(ErrorReason::RateLimited),
        status::DOMAIN,
        metadata.into_iter().collect::<std::collections::HashMap<_, _>>(),
    );
    details.set_retry_info(Some(wait));
    let message = format!("{who} more than {limit} calls a second, or {burst} at once");
    Status::with_error_details(Code::ResourceExhausted, message, details)
}
