//! Refuses what the server has no room for, at once and before anything of it is read, so that what it has taken on stays
//! quick. Calls that last long are counted apart, so that those who follow the changes do not take the place of others.
//!
//! A call has its place until its answer is sent: to send is work too, and answers that wait for it would grow in number and
//! age. But who reads slowly must not keep others out, so a short call loses its place a second after it was answered.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::{Answer, CallLimits, Inner, Unlogged};
use crate::api::error;
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
            said: Arc::default(),
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
    /// When the log said last that there is none.
    said: Arc<Mutex<Option<Instant>>>,
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
        let Some(mut said) = self.said.try_lock() else {
            return;
        };
        if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!(error = self.refusal.message(), "calls are refused");
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
                return Box::pin(ready(Ok(refused.map(|inner| Held {
                    inner,
                    _holding: None,
                }))));
            };
            holding = Some(Holding(place));
        }
        let room = room.filter(|_| kind == Kind::Short).cloned();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            if let (Some(room), Some(holding)) = (room, &holding) {
                room.send(&holding.0);
            }
            Ok(answer.map(|inner| Held {
                inner,
                _holding: holding,
            }))
        })
    }
}

/// The body of an answer, which may have a place until it ends.
#[derive(Debug, Default)]
pub struct Held<B> {
    inner: B,
    _holding: Option<Holding>,
}

impl<B: http_body::Body + Unpin> http_body::Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
