//! The codec between frames and messages.
//!
//! It differs from tonic's in one thing: what cannot be decoded is the caller's fault and says so. tonic answers
//! `INTERNAL`, which callers take for a bug of the server, and retry.

use std::marker::PhantomData;

use bytes::Bytes;
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

use super::status;

/// Bytes of a stream's items that are sent together at most; more than tonic's 32 KiB makes large streams cheaper.
const YIELD_BYTES: usize = 120 << 10;

/// See the module's page.
#[derive(Debug, Clone)]
pub struct Codec<T, U> {
    inner: PhantomData<(T, U)>,
}

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self { inner: PhantomData }
    }
}

fn settings() -> BufferSettings {
    BufferSettings::new(8 << 10, YIELD_BYTES)
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = MessageDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(settings())
    }

    fn decoder(&mut self) -> Self::Decoder {
        MessageDecoder { inner: PhantomData }
    }
}

/// Decodes messages, blaming the sender for what cannot be decoded.
#[derive(Debug, Clone)]
pub struct MessageDecoder<U> {
    inner: PhantomData<U>,
}

impl<U: Message + Default> Decoder for MessageDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, frame: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        U::decode(frame)
            .map(Some)
            .map_err(|error| status::malformed(&error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}

/// An item of `ImportArticles` whose article is decoded by the handler: the same bytes on the wire as the message of the
/// proto file, but an article that is not valid protobuf is an answer to the item and not the end of the stream.
#[derive(Clone, PartialEq, Message)]
pub struct ImportArticlesRequest {
    /// A number of the caller's own.
    #[prost(uint64, tag = "1")]
    pub item: u64,
    /// The encoded article.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub article: Option<Bytes>,
    /// How much the new text changes.
    #[prost(enumeration = "crate::pb::Significance", tag = "3")]
    pub significance: i32,
}
