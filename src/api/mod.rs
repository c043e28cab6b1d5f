//! Transport: protobuf messages to domain values and back, errors to statuses. No rules.
//!
//! A handler is four steps: convert, call, map, answer. Every conversion reports all wrong fields at once; nothing behind
//! this layer checks input again.

pub mod admin;
pub mod articles;
pub mod changes;
pub mod codec;
mod convert;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod import;
pub mod jobs;
mod page_token;
pub(crate) mod refusal;
pub(crate) mod render;
pub mod status;
pub mod translations;
mod watch_token;

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tonic::Status;

use self::convert::Fields;

use crate::domain::access::{Principal, Shown};
use crate::domain::article::MAX_SEGMENTS;
use crate::domain::capacity::Capacity;
use crate::domain::ids::RequestId;
use crate::pb;
pub use crate::service::request_jobs::ANSWERS_A_CALL;
use crate::service::{Call, Error, Request};

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

/// The largest message that a server decodes by default, in bytes.
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

/// The caller, in the extensions of a request. Authentication puts it there; a call without it has no right.
#[derive(Debug, Clone, Default)]
pub struct Caller(pub Arc<Principal>);

impl Caller {
    /// Takes a request apart, to be converted.
    fn of<T>(request: tonic::Request<T>) -> (Self, T, Fields) {
        let (_, mut extensions, message) = request.into_parts();
        (
            extensions.remove().unwrap_or_default(),
            message,
            Fields::default(),
        )
    }

    /// Takes a request apart whose retries are recognized by its request id and digest. The id is not left in the message.
    fn repeatable<T: Repeatable>(request: tonic::Request<T>) -> (Call, T, Fields) {
        let (caller, mut message, mut fields) = Self::of(request);
        let request_id = std::mem::take(message.request_id());
        let id = match request_id.as_str() {
            "" => None,
            id => fields.check("request_id", RequestId::parse(id)),
        };
        let request = id.map(|id| Request {
            id,
            digest: digest(&message),
        });
        let call = Call {
            request,
            ..caller.call()
        };
        (call, message, fields)
    }

    /// What it sees if it asks for deleted or hidden articles.
    fn shown(&self, show_deleted: bool, show_hidden: bool) -> Result<Shown, Status> {
        Shown::to(self.0.reach, show_deleted, show_hidden).map_err(|denied| Error::from(denied).into())
    }

    /// A call without a request id.
    fn call(&self) -> Call {
        Call {
            caller: self.0.clone(),
            request: None,
        }
    }
}

/// A request with a request id.
trait Repeatable: prost::Message {
    fn request_id(&mut self) -> &mut String;
}

macro_rules! repeatable {
    ($($message:ident),* $(,)?) => {
        $(impl Repeatable for pb::$message {
            fn request_id(&mut self) -> &mut String {
                &mut self.request_id
            }
        })*
    };
}

repeatable! {
    AcknowledgeSourceRequest,
    AddQualityScoresRequest,
    AttachTranslationRequest,
    ClaimJobsRequest,
    CreateArticleRequest,
    DeleteArticleRequest,
    DetachTranslationRequest,
    PurgeArticleRequest,
    RejectTranslationRequest,
    ReviewTranslationRequest,
    SelectTranslationRequest,
    SetPublicationStatusRequest,
    UndeleteArticleRequest,
    UpdateArticleRequest,
}

/// SHA-256 of a request. Over the decoded message, because a client may encode the same labels of an article in another order
/// when it repeats a call.
fn digest(message: &impl prost::Message) -> [u8; 32] {
    Sha256::digest(message.encode_to_vec()).into()
}
