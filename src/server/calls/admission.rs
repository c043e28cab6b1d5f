//! Admission control (load shedding): refuses calls beyond the limits at once, so that admitted calls stay quick.
//!
//! A call of one message gets its place when the message is complete. Until then it counts as bytes of memory, and its time
//! is limited, so that callers that send nothing block no other caller. Streams and claims, calls of operators, and all
//! others have rooms of their own, of which one caller gets a share. Health and reflection are not refused.
//!
//! A call keeps its place until its answer is sent, except for the trailers, so that a caller that has the whole answer
//! finds room for its next call. A slow reader must not block others: a short call loses its place a second after it was
//! answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, stream};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;

use super::CallLimits;
use super::room::{CallerId, Place, Room};
use crate::api::status::{self, Whose};
use crate::server::methods::{Kind, Method};

/// The memory of a call before its message: mostly headers.
const CALL_BYTES: usize = 16 << 10;
/// Bytes of incomplete messages to health, reflection and operators' calls, and the share of one caller. They are small.
const RESERVED_BYTES: (usize, usize) = (16 << 20, 4 << 20);
/// The bytes of the prefix of a message: a flag, and its length.
const PREFIX: usize = 5;

/// The rooms that all connections share.
pub(super) struct Admission {
    short: Arc<Room>,
    long: Arc<Room>,
    admin: Arc<Room>,
    receiving: Arc<Room>,
    receiving_reserved: Arc<Room>,
    receive_timeout: Duration,
    message_bytes: usize,
}

impl Admission {
    /// A message has `message_bytes` at most.
    pub(super) fn new(limits: &CallLimits, message_bytes: usize) -> Self {
        // One message always fits.
        let share = (limits.receive_bytes / 2).max(message_bytes + PREFIX + CALL_BYTES);
        let incomplete = "bytes of incomplete messages";
        let (reserved, reserved_share) = RESERVED_BYTES;
        Self {
            short: Room::new("calls", limits.in_flight, limits.in_flight_per_caller),
            long: Room::new(
                "streams and claims",
                limits.long_calls,
                limits.long_calls_per_caller,
            ),
            admin: Room::new(
                "operators' calls",
                limits.admin_calls,
                limits.admin_calls.div_ceil(2),
            ),
            receiving: Room::new(incomplete, limits.receive_bytes.max(share), share),
            receiving_reserved: Room::new(incomplete, reserved, reserved_share),
            receive_timeout: limits.receive_timeout,
            message_bytes,
        }
    }

    /// Receives the message of a call and finds it a place, if it needs one.
    pub(super) async fn admit(
        &self,
        method: &Method,
        request: Request<Body>,
    ) -> Result<(Request<Body>, Option<Place>), Status> {
        let caller = CallerId::of(request.extensions());
        let (parts, mut body) = request.into_parts();
        if !method.streams_requests {
            body = self.receive(method, &caller, body).await?;
        }
        let place = self.room(method).map(|room| room.take(&caller, 1));
        Ok((Request::from_parts(parts, body), place.transpose()?))
    }

    /// The room of a method; `None` for exempt ones.
    fn room(&self, method: &Method) -> Option<&Arc<Room>> {
        match method.kind {
            Kind::Exempt => None,
            _ if method.is_admin => Some(&self.admin),
            Kind::Short => Some(&self.short),
            Kind::Long => Some(&self.long),
        }
    }

    /// Receives the one message of a call whole.
    async fn receive(&self, method: &Method, caller: &CallerId, body: Body) -> Result<Body, Status> {
        let room = match method.kind == Kind::Exempt || method.is_admin {
            true => &self.receiving_reserved,
            false => &self.receiving,
        };
        timeout(
            self.receive_timeout,
            collect(body, self.message_bytes, room, caller),
        )
        .await
        .unwrap_or_else(|_| {
            Err(status::deadline_exceeded(
                self.receive_timeout,
                Whose::ReceiveTimeout,
            ))
        })
    }
}

/// Collects a body. A message that is too long is read only as far as the decoder needs to refuse it.
async fn collect(
    mut body: Body,
    message_bytes: usize,
    room: &Arc<Room>,
    caller: &CallerId,
) -> Result<Body, Status> {
    // Most messages come with their headers, in one piece: they take no room, and are not copied.
    let mut place: Option<Place> = None;
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    let mut end = None;
    loop {
        let bytes = first.len() + rest.len();
        let frame = match body.frame().now_or_never() {
            Some(frame) => frame,
            None => {
                if place.is_none() {
                    place = Some(room.take(caller, CALL_BYTES + bytes)?);
                }
                body.frame().await
            }
        };
        let data = match frame {
            Some(Ok(frame)) => frame.into_data().map_err(Ok),
            Some(Err(error)) => Err(Err(error)),
            None => break,
        };
        match data {
            Ok(data) => {
                if let Some(place) = &place {
                    place.grow(data.len())?;
                }
                // Pieces are joined: each alone takes more memory than it has bytes.
                if first.is_empty() {
                    first = data;
                } else {
                    rest.extend_from_slice(&data);
                }
            }
            // Trailers, or a stream that broke off.
            Err(last) => {
                end = Some(last);
                break;
            }
        }
        let is_over = first.len() + rest.len() > PREFIX + message_bytes;
        if is_over || announced(&first, &rest).is_some_and(|length| length > message_bytes) {
            break;
        }
    }
    let data = [first, rest.freeze()].map(|data| Ok(Frame::data(data)));
    Ok(Body::new(StreamBody::new(stream::iter(
        data.into_iter().chain(end),
    ))))
}

/// The length of a message by its prefix, if that is complete: a flag, and four bytes.
fn announced(first: &[u8], rest: &[u8]) -> Option<usize> {
    let mut length = first.iter().chain(rest).take(PREFIX).skip(1);
    let [a, b, c, d] = std::array::from_fn(|_| length.next().copied());
    usize::try_from(u32::from_be_bytes([a?, b?, c?, d?])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_is_read_until_it_is_whole_or_too_long() {
        let room = Room::new("bytes", 1 << 20, 1 << 20);
        let caller = CallerId::Principal("nora".into());
        for (sent, message_bytes, kept) in [
            // Whole, in pieces; too long by its prefix; longer than anything.
            (vec![&b"\0\0\0"[..], b"\0\x02a", b"b"], 2, 7),
            (vec![b"\0\0\0\0\x03abc", b"never"], 2, 8),
            (vec![b"\0\0\0\0\x01a", b"more", b"never"], 1, 10),
            (vec![], 2, 0),
        ] {
            let frames = sent
                .into_iter()
                .map(|part| Ok::<_, Status>(Frame::data(Bytes::from_static(part))));
            let body = Body::new(StreamBody::new(stream::iter(frames.collect::<Vec<_>>())));
            let body = collect(body, message_bytes, &room, &caller).await.unwrap();
            assert_eq!(body.collect().await.unwrap().to_bytes().len(), kept);
        }
    }
}
