//! Admission control: refuses calls that there is no room for, at once, so that the calls that were admitted stay quick.
//!
//! A call of one message gets its place when the message is complete. Until then it counts as bytes of memory, and it has a
//! limited time, so that callers that send nothing keep nobody out. Streams and claims, calls of operators, and all others
//! have rooms of their own, of which one caller gets a share. Health and reflection are not refused.
//!
//! A call keeps its place until its answer is sent: sending is work, too. Only the end of an answer is sent without a place,
//! so that a caller who has the whole answer finds room for the next call. A slow reader must not keep others out: a short
//! call loses its place a second after it was answered.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, stream};
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, StreamBody};
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::room::{CallerId, Place, Room};
use super::{Answer, CallLimits, Inner, Unlogged};
use crate::api::status::{self, Whose};
use crate::server::methods::{self, Kind, Method};
use crate::server::telemetry::Telemetry;

/// What a call takes of memory before anything of its message has come: mostly headers.
const CALL_BYTES: usize = 16 << 10;
/// Bytes of incomplete messages to health, reflection and operators' calls, and the share of one caller. They are small.
const RESERVED_BYTES: (usize, usize) = (16 << 20, 4 << 20);
/// What stands before a message: a flag, and its length.
const PREFIX: usize = 5;

/// See the module's page.
#[derive(Debug, Clone)]
pub struct AdmissionLayer {
    rooms: Arc<Rooms>,
    telemetry: Arc<Telemetry>,
}

/// What all connections share.
#[derive(Debug)]
struct Rooms {
    short: Arc<Room>,
    long: Arc<Room>,
    admin: Arc<Room>,
    receiving: Arc<Room>,
    receiving_reserved: Arc<Room>,
    receive_timeout: Duration,
    message_bytes: usize,
}

impl AdmissionLayer {
    /// A layer with these limits, for messages of `message_bytes` at most.
    pub fn new(limits: &CallLimits, message_bytes: usize, telemetry: Arc<Telemetry>) -> Self {
        // One message always fits.
        let share = (limits.receive_bytes / 2).max(message_bytes + PREFIX + CALL_BYTES);
        let incomplete = "bytes of incomplete messages";
        let (reserved, reserved_share) = RESERVED_BYTES;
        let rooms = Rooms {
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
        };
        Self {
            rooms: Arc::new(rooms),
            telemetry,
        }
    }
}

impl Rooms {
    /// Where a method has its places, if it needs any.
    fn of(&self, method: &Method) -> Option<&Arc<Room>> {
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

/// A body with everything that came of another one. It is read no further than the decoder needs to refuse it.
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

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission {
            inner,
            layer: self.clone(),
        }
    }
}

/// See the module's page.
#[derive(Debug, Clone)]
pub struct Admission<S> {
    inner: S,
    layer: AdmissionLayer,
}

impl<S> Service<Request<Body>> for Admission<S>
where
    S: Inner + Clone + Send + 'static,
{
    type Response = Response<Held<S::Answered>>;
    type Error = Infallible;
    type Future = Answer<Held<S::Answered>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = methods::at(request.uri().path());
        let caller = CallerId::of(request.extensions());
        // The one that is ready.
        let waiting = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, waiting);
        let AdmissionLayer { rooms, telemetry } = self.layer.clone();
        Box::pin(async move {
            let (parts, mut body) = request.into_parts();
            if !method.streams_requests {
                body = match rooms.receive(method, &caller, body).await {
                    Ok(body) => body,
                    Err(status) => return Ok(refused(&status, method, &telemetry)),
                };
            }
            let place = match rooms.of(method).map(|room| room.take(&caller, 1)).transpose() {
                Ok(place) => place,
                Err(status) => return Ok(refused(&status, method, &telemetry)),
            };
            let answer = inner.call(Request::from_parts(parts, body)).await?;
            let place = place.filter(|_| !answer.body().is_end_stream());
            if let (Some(place), Kind::Short) = (&place, method.kind) {
                place.begin_sending();
            }
            Ok(answer.map(|inner| Held { inner, place }))
        })
    }
}

/// The answer to a call that was not admitted. Overload is counted, and logged by its room.
fn refused<B: Default>(status: &Status, method: &Method, telemetry: &Telemetry) -> Response<Held<B>> {
    let mut response = status.clone().into_http::<B>();
    if status.code() == tonic::Code::ResourceExhausted {
        telemetry.counters.shed(method.kind);
        response.extensions_mut().insert(Unlogged);
    }
    response.map(|inner| Held { inner, place: None })
}

/// The body of an answer, which may have a place until its end is given.
#[derive(Debug, Default)]
pub struct Held<B> {
    inner: B,
    place: Option<Place>,
}

impl<B: http_body::Body + Unpin> http_body::Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            self.place = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future;

    use http::HeaderMap;
    use http_body_util::Full;
    use parking_lot::Mutex;
    use tower::{ServiceExt, service_fn};

    use super::*;

    /// A short call, on a server that has room for one, answered with this.
    async fn call(layer: &AdmissionLayer, answer: Body) -> Response<Held<Body>> {
        let answer = Arc::new(Mutex::new(Some(answer)));
        let service = service_fn(move |_: Request<Body>| {
            let answer = answer.lock().take().unwrap();
            future::ready(Ok::<_, Infallible>(Response::new(answer)))
        });
        let request = Request::post("/articlestore.v1.ArticleService/GetArticle").body(Body::empty());
        layer.layer(service).oneshot(request.unwrap()).await.unwrap()
    }

    fn is_refused(answer: &Response<Held<Body>>) -> bool {
        answer.headers().contains_key(Status::GRPC_STATUS)
    }

    fn whole() -> Body {
        let trailers = future::ready(Some(Ok(HeaderMap::new())));
        Body::new(Full::new(Bytes::from_static(b"message")).with_trailers(trailers))
    }

    #[tokio::test]
    async fn the_place_of_a_call_is_free_before_its_caller_can_have_the_end_of_the_answer() {
        let limits = CallLimits {
            in_flight: 1,
            ..CallLimits::default()
        };
        let layer = AdmissionLayer::new(&limits, 1 << 20, Arc::default());
        let mut first = call(&layer, whole()).await;
        assert!(first.body_mut().frame().await.unwrap().unwrap().is_data());
        assert!(
            is_refused(&call(&layer, whole()).await),
            "the first is being sent"
        );
        assert!(first.body_mut().frame().await.unwrap().unwrap().is_trailers());
        // Its end needs no place.
        assert!(!is_refused(&call(&layer, whole()).await));
        // An error is an answer without a body.
        let failed = call(&layer, Body::empty()).await;
        assert!(!is_refused(&call(&layer, whole()).await));
        drop((first, failed));
    }
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
