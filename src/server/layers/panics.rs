//! Catches panics of handlers and of their streams: the call is answered with `INTERNAL`, and others go on. tonic would break
//! off the connection. The log says where the panic was.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::pin::{Pin, pin};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tower::{Layer, Service};

use super::{Answer, Inner};
use crate::api::status;

/// The panics of this process, those outside of calls too.
static COUNT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread works for a call, which will say what happened.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic was.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// How often something in this process panicked.
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Has panics counted, and those outside of calls written to the log, if there is one: by default they are text on standard
/// error, in no form that a collector of logs reads.
pub fn hook() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            COUNT.fetch_add(1, Ordering::Relaxed);
            let place = place(info);
            if WATCHED.get() {
                PLACE.replace(place);
            } else if tracing::enabled!(tracing::Level::ERROR) {
                let what = what(info.payload());
                let thread = std::thread::current();
                tracing::error!(place, thread = thread.name(), panic = what, "a thread panicked");
            } else {
                before(info);
            }
        }));
    });
}

/// Where a panic is, with a backtrace where `RUST_BACKTRACE` asks for one.
fn place(info: &PanicHookInfo<'_>) -> String {
    let mut place = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        let _ = write!(place, "\n{backtrace}");
    }
    place
}

fn what(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("something that is no text")
}

/// Does a step of a call. A panic is logged, and is `None`.
fn watched<T>(step: impl FnOnce() -> T) -> Option<T> {
    let before = WATCHED.replace(true);
    // Nothing of the call is used afterwards.
    let done = panic::catch_unwind(AssertUnwindSafe(step));
    WATCHED.set(before);
    done.inspect_err(|payload| {
        let place = PLACE.take();
        tracing::error!(place, panic = what(&**payload), "a handler panicked");
    })
    .ok()
}

/// See the module's page.
#[derive(Debug, Clone, Copy, Default)]
pub struct PanicLayer;

impl<S> Layer<S> for PanicLayer {
    type Service = Panics<S>;

    fn layer(&self, inner: S) -> Panics<S> {
        Panics { inner }
    }
}

/// See the module's page.
#[derive(Debug, Clone)]
pub struct Panics<S> {
    inner: S,
}

impl<S: Inner> Service<Request<Body>> for Panics<S> {
    type Response = Response<Caught<S::Answered>>;
    type Error = Infallible;
    type Future = Answer<Caught<S::Answered>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = watched(|| self.inner.call(request));
        Box::pin(async move {
            let answered = match answer {
                Some(answer) => {
                    let mut answer = pin!(answer);
                    poll_fn(|context| {
                        let polled = watched(|| answer.as_mut().poll(context));
                        polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
                    })
                    .await
                }
                None => None,
            };
            Ok(match answered {
                Some(answer) => answer?.map(|body| Caught { inner: Some(body) }),
                None => status::panicked()
                    .into_http::<S::Answered>()
                    .map(|body| Caught { inner: Some(body) }),
            })
        })
    }
}

/// The body of an answer, which may panic.
#[derive(Debug, Default)]
pub struct Caught<B> {
    /// `None` after a panic.
    inner: Option<B>,
}

impl<B: http_body::Body + Unpin> http_body::Body for Caught<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        watched(|| Pin::new(inner).poll_frame(context)).unwrap_or_else(|| {
            self.inner = None;
            let mut trailers = HeaderMap::new();
            // What does not fit into a header is left out.
            let _ = status::panicked().add_header(&mut trailers);
            Poll::Ready(Some(Ok(Frame::trailers(trailers))))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), B::size_hint)
    }
}
