//! Layers of a call: what happens around its handler. [`stack`](super::stack) puts them together.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http::{Request, Response};
use tonic::body::Body;
use tower::Service;

use crate::service::{EXPORT_BYTES, IMPORT_BYTES};

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
    /// Bytes that all exports hold of what they have read and not sent. One caller may have half of them.
    pub export_bytes: usize,
    /// Bytes that all imports take for what is being written. One caller may have half of them.
    pub import_bytes: usize,
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
            export_bytes: EXPORT_BYTES,
            import_bytes: IMPORT_BYTES,
        }
    }
}

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
