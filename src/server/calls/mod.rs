//! The middleware of calls: what happens around every handler. Outermost first:
//!
//! 1. [`record`]: gives the call its id, and records how it ended.
//! 2. [`panics`]: answers a panic of a handler to its call alone.
//! 3. [`auth`](super::auth): authenticates the caller, and checks its rights to the method.
//! 4. [`deadline`]: ends calls whose time is over.
//! 5. [`admission`]: receives the message, and refuses calls beyond the limits.
//!
//! All of it is one service with one future and one body. None of it decodes a message.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, select, select_all};
use http::{Request, Response};
use tokio::time::{Instant, timeout_at};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument;

use self::admission::Admission;
use self::body::{Answer, RecordedBody};
use self::deadline::Limit;
use self::record::{Recorder, Unlogged};
use super::auth::Gate;
use super::methods::{Kind, Method};
use super::telemetry::Telemetry;
use crate::api::status;
use crate::service::{EXPORT_BYTES, IMPORT_BYTES};

mod admission;
mod body;
mod deadline;
pub(super) mod panics;
mod record;
mod room;

/// The limits of calls: number, time, and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// CallService that are worked on or whose answers are being sent, over all connections, except those below. By default as
    /// many as a core answers within a second even if they are pages in full (the overload bench).
    pub in_flight: usize,
    /// How many of them one caller may have.
    pub in_flight_per_caller: usize,
    /// Open streams and claims: they may last long, and must not take the place of others.
    pub long_calls: usize,
    /// How many of them one caller may have.
    pub long_calls_per_caller: usize,
    /// CallService that only operators may make, streams among them. One caller may have half of them.
    pub admin_calls: usize,
    /// The deadline of calls that are neither streams nor claims.
    pub deadline: Duration,
    /// The time limit to receive the one message of a call.
    pub receive_timeout: Duration,
    /// Bytes of request messages that are not complete. One caller may have half of them. By default as much as the calls in
    /// flight by default take with the largest articles.
    pub receive_bytes: usize,
    /// Bytes that all exports have read and not sent. One caller may have half of them.
    pub export_bytes: usize,
    /// Bytes of all imports for items that are being written. One caller may have half of them.
    pub import_bytes: usize,
}

impl CallLimits {
    /// The default share of one caller in `in_flight`: all that one connection carries by default fits, and
    /// the rest is enough for quick calls of others.
    pub fn short_share(in_flight: usize) -> usize {
        in_flight.saturating_mul(4).div_ceil(5)
    }

    /// The default share of one caller in `long_calls`. It is smaller, for these calls last.
    pub fn long_share(long_calls: usize) -> usize {
        long_calls.div_ceil(4)
    }
}

impl Default for CallLimits {
    fn default() -> Self {
        let (in_flight, long_calls) = (128, 1_024);
        Self {
            in_flight,
            in_flight_per_caller: Self::short_share(in_flight),
            long_calls,
            long_calls_per_caller: Self::long_share(long_calls),
            admin_calls: 16,
            deadline: Duration::from_secs(60),
            receive_timeout: Duration::from_secs(10),
            receive_bytes: 256 << 20,
            export_bytes: EXPORT_BYTES,
            import_bytes: IMPORT_BYTES,
        }
    }
}

/// The service behind this middleware.
pub(super) trait Handler:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Send + 'static
{
}

impl<S> Handler for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Send + 'static
{
}

/// Puts the middleware around a service.
#[derive(Clone)]
pub struct CallLayer(Arc<Middleware>);

struct Middleware {
    recorder: Arc<Recorder>,
    gate: Arc<Gate>,
    deadline: Duration,
    admission: Admission,
    telemetry: Arc<Telemetry>,
}

impl CallLayer {
    /// A message has `message_bytes` at most.
    pub fn new(
        limits: &CallLimits,
        message_bytes: usize,
        gate: Arc<Gate>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self(Arc::new(Middleware {
            recorder: Arc::new(Recorder::new(telemetry.clone())),
            gate,
            deadline: limits.deadline,
            admission: Admission::new(limits, message_bytes),
            telemetry,
        }))
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> CallService<S> {
        CallService {
            inner,
            middleware: self.0.clone(),
        }
    }
}

/// A service with the middleware around it.
#[derive(Clone)]
pub struct CallService<S> {
    inner: S,
    middleware: Arc<Middleware>,
}

impl<S: Handler + Clone> Service<Request<Body>> for CallService<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The clone that is ready.
        let waiting = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, waiting);
        let mut call = self.middleware.recorder.begin(&mut request);
        let work = panics::catch(self.middleware.clone().answer(inner, call.method, request));
        let work = call.context.scope(work).instrument(call.span.clone());
        Box::pin(async move {
            let mut response = work
                .await
                .unwrap_or_else(|| status::panicked().into_http::<Answer>());
            let is_empty = response.body().is_end_stream();
            call.answered(&mut response, is_empty);
            Ok(response.map(|answer| Body::new(RecordedBody { answer, call })))
        })
    }
}

impl Middleware {
    /// The answer to a call that may be refused, or end before its handler does.
    async fn answer(
        self: Arc<Self>,
        inner: impl Handler,
        method: &'static Method,
        request: Request<Body>,
    ) -> Response<Answer> {
        let (mut parts, body) = request.into_parts();
        let admitted = match self.gate.admit(method, &parts.headers, &mut parts.extensions) {
            Ok(admitted) => admitted,
            Err(status) => return status.into_http(),
        };
        let longest = (method.kind == Kind::Short).then_some(self.deadline);
        let limit = Limit::of(Instant::now(), &parts.headers, longest);
        let work = self.handle(inner, method, Request::from_parts(parts, body));
        if let (Kind::Short, Some(limit)) = (method.kind, limit) {
            let answer = timeout_at(limit.end, work).await;
            return answer.unwrap_or_else(|_| limit.status().into_http());
        }
        let revoked = admitted.filter(|admitted| method.kind == Kind::Long && admitted.is_verified());
        let revoked = revoked.map(|admitted| self.gate.clone().revoked(admitted).boxed());
        let ends: Vec<_> = revoked
            .into_iter()
            .chain(limit.map(|limit| limit.over().boxed()))
            .collect();
        if ends.is_empty() {
            return work.await;
        }
        let mut end = select_all(ends);
        match select(pin!(work), &mut end).await {
            Either::Left((answer, _)) => answer.map(|answer| Answer {
                end: Some(end),
                ..answer
            }),
            Either::Right(((status, ..), _)) => status.into_http(),
        }
    }

    async fn handle(
        &self,
        mut inner: impl Handler,
        method: &'static Method,
        request: Request<Body>,
    ) -> Response<Answer> {
        let (request, place) = match self.admission.admit(method, request).await {
            Ok(admitted) => admitted,
            Err(status) => return self.not_admitted(method, status),
        };
        let Ok(answer) = inner.call(request).await;
        let place = place.filter(|_| !http_body::Body::is_end_stream(answer.body()));
        if let (Some(place), Kind::Short) = (&place, method.kind) {
            place.begin_sending();
        }
        answer.map(|body| Answer {
            body: Some(body),
            end: None,
            place,
        })
    }

    /// Overload is counted, and logged by its room.
    fn not_admitted(&self, method: &Method, status: Status) -> Response<Answer> {
        let is_overload = status.code() == Code::ResourceExhausted;
        let mut response = status.into_http();
        if is_overload {
            self.telemetry.counters.shed(method.kind);
            response.extensions_mut().insert(Unlogged);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::future;

    use bytes::Bytes;
    use futures::stream;
    use http::HeaderMap;
    use http_body::Frame;
    use http_body_util::{BodyExt, Full, StreamBody};
    use parking_lot::Mutex;
    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::clock::SystemClock;
    use crate::server::auth;

    /// CallService a short method of a server whose handler answers this.
    async fn call(layer: &CallLayer, answer: Body) -> Response<Body> {
        let answer = Arc::new(Mutex::new(Some(answer)));
        let service = service_fn(move |_: Request<Body>| {
            let answer = answer.lock().take().unwrap();
            future::ready(Ok::<_, Infallible>(Response::new(answer)))
        });
        let request = Request::post("/articlestore.v1.ArticleService/GetArticle").body(Body::empty());
        layer.layer(service).oneshot(request.unwrap()).await.unwrap()
    }

    fn is_refused(answer: &Response<Body>) -> bool {
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
        let gate = Gate::open(&auth::Config::default(), Arc::new(SystemClock)).unwrap();
        let layer = CallLayer::new(&limits, 1 << 20, Arc::new(gate), Arc::default());
        let mut first = call(&layer, whole()).await;
        assert!(first.body_mut().frame().await.unwrap().unwrap().is_data());
        assert!(
            is_refused(&call(&layer, whole()).await),
            "the first is being sent"
        );
        assert!(first.body_mut().frame().await.unwrap().unwrap().is_trailers());
        // The place was given back with the trailers.
        assert!(!is_refused(&call(&layer, whole()).await));
        // An error is an answer without a body.
        let failed = call(&layer, Body::empty()).await;
        assert!(!is_refused(&call(&layer, whole()).await));
        drop((first, failed));
    }

    #[tokio::test]
    async fn a_body_that_panics_ends_its_call_with_a_status() {
        let gate = Gate::open(&auth::Config::default(), Arc::new(SystemClock)).unwrap();
        let layer = CallLayer::new(&CallLimits::default(), 1 << 20, Arc::new(gate), Arc::default());
        let frames =
            stream::poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, Status>>> { panic!("on purpose") });
        let mut answer = call(&layer, Body::new(StreamBody::new(frames))).await;
        let trailers = answer.body_mut().frame().await.unwrap().unwrap().into_trailers();
        assert_eq!(trailers.unwrap()[Status::GRPC_STATUS], "13");
        assert!(answer.body_mut().frame().await.is_none());
    }
}
