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
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod import;
pub mod jobs;
mod page_token;
mod quality;
pub(crate) mod refusal;
pub(crate) mod render;
pub mod translations;
mod watch_token;

use std::sync::Arc;

use sha2::{Digest, Sha256};

use tonic::Status;

use crate::domain::access::{Principal, Shown};
use crate::domain::article::MAX_SEGMENTS;
use crate::domain::capacity::Capacity;
use crate::domain::ids::RequestId;
use crate::service::{Call, Request};

/// What the API accepts.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest message that is decoded, in bytes. This bounds what one call can take in memory.
    pub message_bytes: usize,
    /// The largest article or translation, in bytes of its message.
    pub article_bytes: usize,
    /// The most segments of the body of an article or a translation, at most [`MAX_SEGMENTS`].
    pub segments: usize,
    /// The most articles that one call names by their ids, at most [`MAX_BATCH`].
    pub batch: usize,
    /// The shortest lease that a worker may ask for, in microseconds.
    pub shortest_lease_micros: i64,
    /// What one article may hold.
    pub capacity: Capacity,
}

/// The largest message that a server decodes, in bytes, if it is not told otherwise.
pub const MESSAGE_BYTES: usize = 16 << 20;
/// The most articles that one call names by their ids, by the contract.
pub const MAX_BATCH: usize = 1_000;

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: MESSAGE_BYTES,
            article_bytes: 2 << 20,
            segments: MAX_SEGMENTS,
            batch: MAX_BATCH,
            shortest_lease_micros: 10_000_000,
            capacity: Capacity::default(),
        }
    }
}

/// Who calls, in the extensions of a request. Whoever lets a call through puts it there; without it a call may do nothing.
#[derive(Debug, Clone, Default)]
pub struct Caller(pub Arc<Principal>);

impl Caller {
    /// Takes a request apart.
    fn of<T>(request: tonic::Request<T>) -> (Self, T) {
        let (_, mut extensions, message) = request.into_parts();
        (extensions.remove().unwrap_or_default(), message)
    }

    /// What it sees if it asks for deleted or hidden articles.
    fn shown(&self, show_deleted: bool, show_hidden: bool) -> Result<Shown, Status> {
        Shown::to(self.0.reach, show_deleted, show_hidden).map_err(|denied| error::status(denied.into()))
    }

    /// A call without a request id.
    fn call(&self) -> Call {
        Call {
            caller: self.0.clone(),
            request: None,
        }
    }

    /// A call with its request id and a digest of the request. `message` is the request without its id.
    fn repeatable(
        &self,
        request_id: &str,
        message: &impl prost::Message,
        fields: &mut convert::Fields,
    ) -> Call {
        let request = (!request_id.is_empty())
            .then(|| fields.check("request_id", RequestId::parse(request_id)))
            .flatten();
        let request = request.map(|id| Request {
            id,
            digest: Sha256::digest(message.encode_to_vec()).into(),
        });
        Call {
            request,
            ..self.call()
        }
    }
}
