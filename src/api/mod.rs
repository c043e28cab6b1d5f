//! Transport: protobuf messages to domain values and back, errors to statuses. No rules.
//!
//! A handler is four steps: convert, call, map, answer. Every conversion reports all wrong fields at once; nothing behind
//! this layer checks input again.

pub mod articles;
pub mod codec;
mod convert;
pub mod error;
mod import;
mod page_token;
pub(crate) mod render;
pub mod translations;

use sha2::{Digest, Sha256};
use tonic::Status;

use crate::domain::Violation;
use crate::domain::ids::RequestId;
use crate::service::{Call, Error, Request};

/// What the API accepts.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest article or translation, in bytes of its message.
    pub article_bytes: usize,
}

/// Who calls, and the request id with a digest of the request. `message` is the request without its id.
fn call(request_id: &str, message: &impl prost::Message) -> Result<Call, Status> {
    if request_id.is_empty() {
        return Ok(Call::default());
    }
    let id = RequestId::parse(request_id)
        .map_err(|error| error::status(Error::Invalid(vec![Violation::new("request_id", error.0)])))?;
    let digest = Sha256::digest(message.encode_to_vec()).into();
    Ok(Call {
        request: Some(Request { id, digest }),
        ..Call::default()
    })
}
