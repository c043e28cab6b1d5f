//! Errors as callers see them, and what holds for every error.

use std::collections::HashMap;

use article_store::pb;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// An error as a caller sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) metadata: HashMap<String, String>,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) retry: bool,
}

impl Failure {
    /// The paths of the fields to blame, in the order of the answer.
    pub(crate) fn paths(&self) -> Vec<&str> {
        self.fields.iter().map(|(path, _)| path.as_str()).collect()
    }
}

/// The default limit of gRPC libraries for headers and trailers, in bytes.
const METADATA_LIMIT: usize = 8 << 10;

/// What must not be in a text for callers, whatever went wrong: where the server's files are, what its libraries and its
/// source say, and what proves who somebody is.
const SECRETS: [&str; 15] = [
    "/tmp",
    "/home",
    "/var/",
    "/proc",
    "/root",
    "/data",
    "os error",
    "sled",
    ".rs:",
    "panicked",
    "RUST_BACKTRACE",
    "-token",
    "eyJ",
    "-----BEGIN",
    "stack backtrace",
];

/// Asserts that a text holds nothing internal or secret.
#[track_caller]
fn leaks_nothing(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret:?} is in {text:?}");
    }
    let temp = std::env::temp_dir();
    assert!(!text.contains(&*temp.to_string_lossy()), "{text:?}");
}

/// Takes a status apart, after asserting what holds for every error: an `ErrorInfo` of our domain with a reason of our
/// enum, and a size that every client takes.
pub(crate) fn failure(status: &Status) -> Failure {
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "articlestore.v1");
    leaks_nothing(status.message());
    info.metadata.values().for_each(|value| leaks_nothing(value));
    let known = pb::ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason));
    assert!(known.is_some(), "{:?} is not a reason", info.reason);
    let encoded_message: usize = status
        .message()
        .bytes()
        .map(|byte| {
            if (0x20..0x7F).contains(&byte) && byte != b'%' {
                1
            } else {
                3
            }
        })
        .sum();
    let bytes = encoded_message + status.details().len().div_ceil(3) * 4;
    assert!(bytes < METADATA_LIMIT, "{bytes} bytes of error: {status:?}");
    Failure {
        code: status.code(),
        reason: info.reason.clone(),
        message: status.message().to_owned(),
        metadata: info.metadata.clone(),
        fields: details
            .bad_request()
            .into_iter()
            .flat_map(|bad| &bad.field_violations)
            .map(|violation| (violation.field.clone(), violation.description.clone()))
            .collect(),
        retry: details.retry_info().is_some(),
    }
}

/// The failure of a call that must fail.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<tonic::Response<T>, Status>) -> Failure {
    match answer {
        Ok(answer) => panic!("answered instead of refused: {:?}", answer.into_inner()),
        Err(status) => failure(&status),
    }
}

/// Asserts that a call is refused for these fields and no others.
#[track_caller]
pub(crate) fn blames<T: std::fmt::Debug>(
    answer: Result<tonic::Response<T>, Status>,
    paths: &[&str],
) -> Failure {
    let failure = refused(answer);
    assert_eq!(failure.code, Code::InvalidArgument, "{failure:?}");
    assert_eq!(failure.reason, "BAD_FIELD", "{failure:?}");
    assert_eq!(failure.paths(), paths, "{failure:?}");
    for (path, description) in &failure.fields {
        assert!(!description.is_empty() && description.len() < 2_000, "{path}");
    }
    failure
}

/// Asserts code and reason of a refused call.
#[track_caller]
pub(crate) fn fails<T: std::fmt::Debug>(
    answer: Result<tonic::Response<T>, Status>,
    code: Code,
    reason: &str,
) -> Failure {
    let failure = refused(answer);
    assert_eq!(
        (failure.code, failure.reason.as_str()),
        (code, reason),
        "{failure:?}"
    );
    failure
}
