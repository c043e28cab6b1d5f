//! Refuses what the server has no room for, at once and before anything of it is read, so that what it has taken on stays
//! quick. Calls that last long are counted apart, so that those who follow the changes do not take the place of others.

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

/// Room for calls of a kind.
#[derive(Debug, Clone)]
struct Room {
    places: Arc<Semaphore>,
    /// What those get who find none.
    refusal: Status,
    /// When the log said last that there is none.
    said: Arc<Mutex<Option<Instant>>>,
}

impl Room {
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
        let mut place = None;
        if let Some(room) = room {
            let Ok(found) = room.places.clone().try_acquire_owned() else {
                self.layer.telemetry.counters.shed(kind);
                room.say();
                let mut refused = room.refusal.clone().into_http::<S::Answered>();
                refused.extensions_mut().insert(Unlogged);
                return Box::pin(ready(Ok(refused.map(|inner| Held { inner, _place: None }))));
            };
            place = Some(found);
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            // A short call is done when it is answered: who reads slowly takes no place.
            let place = place.filter(|_| kind == Kind::Long);
            Ok(answer.map(|inner| Held { inner, _place: place }))
        })
    }
}

/// The body of an answer, which may have a place until it ends.
#[derive(Debug, Default)]
pub struct Held<B> {
    inner: B,
    _place: Option<OwnedSemaphorePermit>,
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
