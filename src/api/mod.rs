//! Transport: protobuf messages to domain values and back, errors to statuses. No rules.
//!
//! A handler is four steps: convert, call, map, answer. Every conversion reports all wrong fields at once; nothing behind
//! this layer checks input again.

pub mod admin;
pub mod articles;
pub mod changes;
pub mod codec;
mod convert;
pub mod error;
mod import;
pub mod jobs;
mod page_token;
mod quality;
pub(crate) mod render;
pub mod translations;
mod watch_token;

use sha2::{Digest, Sha256};

use tonic::Status;

use crate::domain::access::{Scopes, Shown};
use crate::domain::ids::RequestId;
use crate::service::{Call, Request};

/// What the API accepts, and from whom.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest article or translation, in bytes of its message.
    pub article_bytes: usize,
    /// The rights of callers without credentials.
    pub anonymous_scopes: Scopes,
    /// The shortest lease that a worker may ask for, in microseconds.
    pub shortest_lease_micros: i64,
}

impl Limits {
    /// What a caller sees that asks for deleted or hidden articles.
    fn shown(self, show_deleted: bool, show_hidden: bool) -> Result<Shown, Status> {
        Shown::to(self.anonymous_scopes, show_deleted, show_hidden)
            .map_err(|error| error::status(error.into()))
    }
}

/// Who calls, and the request id with a digest of the request. `message` is the request without its id.
fn call(
    limits: Limits,
    request_id: &str,
    message: &impl prost::Message,
    fields: &mut convert::Fields,
) -> Call {
    let call = Call {
        scopes: limits.anonymous_scopes,
        ..Call::default()
    };
    if request_id.is_empty() {
        return call;
    }
    let request = fields
        .check("request_id", RequestId::parse(request_id))
        .map(|id| Request {
            id,
            digest: Sha256::digest(message.encode_to_vec()).into(),
        });
    Call { request, ..call }
}
