//! Refuses what the server has no room for, at once and before anything of it is read, so that what it has taken on stays
//! quick. Calls that last long are counted apart, so that those who follow the changes do not take the place of others.
//!
//! A call has its place until its answer is sent: to send is work too, and answers that wait for it would grow in number and
//! age. Only the end of it is sent without a place, so that a caller who has the whole answer finds room for the next call.
//! But who reads slowly must not keep others out, so a short call loses its place a second after it was answered.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::{Answer, CallLimits, Inner, Unlogged};
use crate::api::error;
use crate::server::lines::Lines;
use crate::server::methods::{self, Kind};
use crate::server::telemetry::Telemetry;

/// How long a short call keeps its place after it is answered. A server that is busy, and no reader slow, sends all that it has
/// room for in less.
const SENDING: Duration = Duration::from_secs(1);
/// Time between two lines of the log about refusals.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// See the module's page.
#[derive(Debug, Clone)]
pub struct ShedLayer {
    short: Room,
    long: Room,
    telemetry: Arc<Telemetry>,
}

impl ShedLayer {
    /// A layer with these limits, which all connections share.
    pub fn new(limits: &CallLimits, telemetry: Arc<Telemetry>) -> Self {
        let room = |limit: usize, what| Room {
            places: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))),
            sending: Arc::default(),
            refusal: error::overloaded(what, limit),
            lines: Arc::new(Lines::new(1, SAY_EVERY)),
        };
        Self {
            short: room(limits.in_flight, "calls"),
            long: room(limits.long_calls, "streams and claims"),
            telemetry,
        }
    }
}

/// Places of calls, and when these were answered.
type Sending = VecDeque<(Instant, Arc<Place>)>;

/// Room for calls of a kind.
#[derive(Debug, Clone)]
struct Room {
    places: Arc<Semaphore>,
    /// Short calls that were answered, in the order of that, and are being sent or were.
    sending: Arc<Mutex<Sending>>,
    /// What those get who find none.
    refusal: Status,
    /// Of the log, for saying so.
    lines: Arc<Lines>,
}

impl Room {
    /// A place, if there is one.
    fn take(&self) -> Option<Arc<Place>> {
        let take = || self.places.clone().try_acquire_owned().ok();
        let permit = take().or_else(|| {
            forget_the_sent(&mut self.sending.lock());
            take()
        })?;
        Some(Arc::new(Place(Mutex::new(Some(permit)))))
    }

    /// From now on the place is that of an answer on its way.
    fn send(&self, place: &Arc<Place>) {
        let mut sending = self.sending.lock();
        forget_the_sent(&mut sending);
        sending.push_back((Instant::now(), place.clone()));
    }

    /// Says that calls are refused, now and then: a line for each would be more work than they are.
    fn say(&self) {
        if let Some(times) = self.lines.admit() {
            tracing::warn!(error = self.refusal.message(), times, "calls are refused");
        }
    }
}

/// Takes the places of those that take too long, and forgets them with those that are sent. What was answered before them is
/// gone already, so that this costs little more than one step for each call.
fn forget_the_sent(sending: &mut Sending) {
    while let Some((answered, place)) = sending.front() {
        if !place.is_free() && answered.elapsed() < SENDING {
            break;
        }
        place.free();
        sending.pop_front();
    }
}

/// The place of a call, which can be taken from it before it ends.
#[derive(Debug)]
struct Place(Mutex<Option<OwnedSemaphorePermit>>);

impl Place {
    fn free(&self) {
        drop(self.0.lock().take());
    }

    fn is_free(&self) -> bool {
        self.0.lock().is_none()
    }
}

/// Frees the place of a call when it ends, however it does.
#[derive(Debug)]
struct Holding(Arc<Place>);

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.free();
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = Shed<S>;

    fn layer(&self, inner: S) -> Shed<S> {
        Shed {
            inner,
            layer: self.clone(),
        }
    }
}

/// See the module's page.
#[derive(Debug, Clone)]
pub struct Shed<S> {
    inner: S,
    layer: ShedLayer,
}

impl<S: Inner> Service<Request<Body>> for Shed<S> {
    type Response = Response<Held<S::Answered>>;
    type Error = Infallible;
    type Future = Answer<Held<S::Answered>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let kind = methods::at(request.uri().path()).kind;
        let room = match kind {
            Kind::Exempt => None,
            Kind::Short => Some(&self.layer.short),
            Kind::Long => Some(&self.layer.long),
        };
        let mut holding = None;
        if let Some(room) = room {
            let Some(place) = room.take() else {
                self.layer.telemetry.counters.shed(kind);
                room.say();
                let mut refused = room.refusal.clone().into_http::<S::Answered>();
                refused.extensions_mut().insert(Unlogged);
                return Box::pin(future::ready(Ok(
                    refused.map(|inner| Held { inner, holding: None })
                )));
            };
            holding = Some(Holding(place));
        }
        let room = room.filter(|_| kind == Kind::Short).cloned();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            if answer.body().is_end_stream() {
                holding = None;
            }
            if let (Some(room), Some(holding)) = (room, &holding) {
                room.send(&holding.0);
            }
            Ok(answer.map(|inner| Held { inner, holding }))
        })
    }
}

/// The body of an answer, which may have a place until its end is given.
#[derive(Debug, Default)]
pub struct Held<B> {
    inner: B,
    holding: Option<Holding>,
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
            self.holding = None;
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
    use bytes::Bytes;
    use http::HeaderMap;
    use http_body_util::{BodyExt, Full};
    use tower::{ServiceExt, service_fn};

    use super::*;

    /// A short call, on a server that has room for one, answered with this.
    async fn call(layer: &ShedLayer, answer: Body) -> Response<Held<Body>> {
        let mut answer = Some(answer);
        let service = service_fn(move |_: Request<Body>| {
            let answer = answer.take().unwrap();
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
        let layer = ShedLayer::new(&limits, Arc::default());
        let mut first = call(&layer, whole()).await;
        assert!(first.body_mut().frame().await.unwrap().unwrap().is_data());
        assert!(
            is_refused(&call(&layer, whole()).await),
            "the first is being sent"
        );
        assert!(first.body_mut().frame().await.unwrap().unwrap().is_trailers());
        // What is sent of it now is nobody's business here.
        assert!(!is_refused(&call(&layer, whole()).await));
        // An error is an answer without a body.
        let failed = call(&layer, Body::empty()).await;
        assert!(!is_refused(&call(&layer, whole()).await));
        drop((first, failed));
    }
}
