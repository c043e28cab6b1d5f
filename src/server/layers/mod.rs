//! The layers that every call passes before its handler, outermost first:
//!
//! 1. [`observe`]: gives the call its id, and records how it ended.
//! 2. [`panics`]: answers a panic of a handler to its call alone.
//! 3. [`auth`](super::auth): authenticates the caller, and checks its rights to the method.
//! 4. [`deadline`]: ends calls whose time is over.
//! 5. [`admission`]: receives the message, and refuses what there is no room for.
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

use self::admission::AdmissionLayer;
use self::deadline::DeadlineLayer;
use self::observe::ObserveLayer;
use self::panics::PanicLayer;
use super::auth::GateLayer;
use super::telemetry::Telemetry;

pub mod admission;
pub mod deadline;
pub mod interrupt;
pub mod observe;
pub mod panics;
pub mod room;

/// How many calls the server takes on at once, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// Calls that are worked on or whose answers are being sent, over all connections, except those below. By default as
    /// many as a core answers within a second even if they are pages in full (the overload bench).
    pub in_flight: usize,
    /// How many of them one caller may have.
    pub in_flight_per_caller: usize,
    /// Open streams and claims: they may last long, and must not take the place of others.
    pub long_calls: usize,
    /// How many of them one caller may have.
    pub long_calls_per_caller: usize,
    /// Calls that only operators may make, streams among them. One caller may have half of them.
    pub admin_calls: usize,
    /// How long a call may take that is neither a stream nor a claim.
    pub deadline: Duration,
    /// How long the one message of a call may take to come.
    pub receive_timeout: Duration,
    /// Bytes of request messages that are not complete. One caller may have half of them. By default as much as the calls in
    /// flight by default take with the largest articles.
    pub receive_bytes: usize,
}

impl CallLimits {
    /// The share of one caller in `in_flight` unless told otherwise: all that one connection carries by default fits, and
    /// the rest is enough for quick calls of others.
    pub fn short_share(in_flight: usize) -> usize {
        in_flight.saturating_mul(4).div_ceil(5)
    }

    /// The share of one caller in `long_calls` unless told otherwise. It is smaller, for these calls last.
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
        }
    }
}

/// All layers of a call; a message has `message_bytes` at most.
pub fn layers(
    limits: &CallLimits,
    message_bytes: usize,
    gate: GateLayer,
    telemetry: &Arc<Telemetry>,
) -> Layers {
    let admission = AdmissionLayer::new(limits, message_bytes, telemetry.clone());
    let deadline = DeadlineLayer {
        longest: limits.deadline,
    };
    let outer = Stack::new(PanicLayer, ObserveLayer::new(telemetry.clone()));
    Stack::new(admission, Stack::new(deadline, Stack::new(gate, outer)))
}

/// See [`layers`].
pub type Layers =
    Stack<AdmissionLayer, Stack<DeadlineLayer, Stack<GateLayer, Stack<PanicLayer, ObserveLayer>>>>;

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

/// Response extension: the refusal is not logged by itself. It is counted, and summarised in the log.
#[derive(Debug, Clone, Copy)]
pub struct Unlogged;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_are_in_order() {
        // Such as `a::Observe<b::Panics<…>>`.
        let stack = std::any::type_name::<<Layers as tower::Layer<()>>::Service>();
        let layers = stack.split('<').map(|name| name.rsplit("::").next().unwrap());
        assert_eq!(
            layers.collect::<Vec<_>>(),
            ["Observe", "Panics", "Gated", "Deadline", "Admission", "()>>>>>"]
        );
    }
}
