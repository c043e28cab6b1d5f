//! What every call goes through before it reaches its handler, outermost first:
//!
//! 1. [`observe`]: gives the call its id, and writes down how it ended.
//! 2. [`panics`]: a handler's bug is the answer to its call alone.
//! 3. [`shed`]: refuses at once what the server has no room for.
//! 4. [`deadline`]: ends what nobody waits for any more.
//!
//! Each takes what it knows of a call from its path and headers; none of them decodes a message.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tonic::body::Body;
use tower::Service;
use tower::layer::util::Stack;

use self::observe::ObserveLayer;
use self::panics::PanicLayer;
use self::shed::ShedLayer;
use super::telemetry::Telemetry;

pub mod deadline;
pub mod observe;
pub mod panics;
pub mod shed;

/// What the server takes on at once, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// Calls that are worked on or whose answers are being sent at once, over all connections, but for those below. By default as
    /// many as a core answers within a second even if they are pages in full (the overload bench).
    pub in_flight: usize,
    /// Streams and claims that go on at once: they may last long, and must not take the place of others.
    pub long_calls: usize,
    /// How long a call may take that is neither.
    pub deadline: Duration,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            in_flight: 128,
            long_calls: 1_024,
            deadline: Duration::from_secs(60),
        }
    }
}

/// The layers outside of who may do what.
pub fn outer(limits: &CallLimits, telemetry: &Arc<Telemetry>) -> OuterLayers {
    let shed = ShedLayer::new(limits, telemetry.clone());
    Stack::new(shed, Stack::new(PanicLayer, ObserveLayer::new(telemetry.clone())))
}

/// See [`outer`].
pub type OuterLayers = Stack<ShedLayer, Stack<PanicLayer, ObserveLayer>>;

/// A service that a layer wraps.
pub trait Inner:
    Service<Request<Body>, Response = Response<Self::Answered>, Error = Infallible, Future: Send + 'static>
{
    /// The body of its answers.
    type Answered: http_body::Body + Default + Unpin + Send + 'static;
}

impl<S, B> Inner for S
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible, Future: Send + 'static>,
    B: http_body::Body + Default + Unpin + Send + 'static,
{
    type Answered = B;
}

/// What a layer answers.
pub type Answer<B> = Pin<Box<dyn Future<Output = Result<Response<B>, Infallible>> + Send>>;

/// In the extensions of an answer: the refusal is counted and the log says that there are some; under load there are too many
/// for a line each.
#[derive(Debug, Clone, Copy)]
pub struct Unlogged;
