//! Stall guard: each stream of a connection is a task, and a stream whose peer makes the server wait for too long is
//! reset.
//!
//! The server waits while it wants more of a request, or has data of a response that the peer's flow-control window
//! does not let out. A watch without news does not wait.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, Sleep, sleep_until};

/// The executor of the streams of one connection. It counts them, for the idle timeout.
#[derive(Clone)]
pub(super) struct Streams {
    open: Arc<Mutex<Open>>,
    idle_timeout: Duration,
    idle_ended: Counter,
}

struct Open {
    number: usize,
    /// When the last of them ended, if there are none.
    idle_since: Instant,
}

impl Streams {
    pub(super) fn new(idle_timeout: Duration, idle_ended: Counter) -> Self {
        Self {
            open: Arc::new(Mutex::new(Open {
                number: 0,
                idle_since: Instant::now(),
            })),
            idle_timeout,
            idle_ended,
        }
    }

    /// The time since when there are no streams; `None` while there are some.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let open = self.open.lock();
        (open.number == 0).then_some(open.idle_since)
    }
}

/// One that is open. It ends by being dropped, however its task ends.
struct OpenStream(Arc<Mutex<Open>>);

impl OpenStream {
    fn new(open: Arc<Mutex<Open>>) -> Self {
        open.lock().number += 1;
        Self(open)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.0.lock();
        open.number -= 1;
        open.idle_since = Instant::now();
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let open = OpenStream::new(self.open.clone());
        let (limit, ended) = (self.idle_timeout, self.idle_ended.clone());
        let flow = Flow::default();
        tokio::spawn(FLOW.scope(flow.clone(), async move {
            let _open = open;
            if !moving(stream, &flow, limit).await {
                ended.inc();
            }
        }));
    }
}

tokio::task_local! {
    /// Of the stream that this task runs.
    static FLOW: Flow;
}

/// Whether a stream waits for its peer, and the time of the last progress.
#[derive(Clone)]
pub(super) struct Flow(Arc<Mutex<Waits>>);

struct Waits {
    to_read: bool,
    to_write: bool,
    moved: Instant,
}

impl Default for Flow {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Waits {
            to_read: false,
            to_write: false,
            moved: Instant::now(),
        })))
    }
}

impl Flow {
    /// That of the stream whose task asks.
    pub(super) fn current() -> Self {
        FLOW.try_with(Self::clone).unwrap_or_default()
    }

    /// The time of the last progress, if the stream waits for its peer.
    fn waits_since(&self) -> Option<Instant> {
        let waits = self.0.lock();
        (waits.to_read || waits.to_write).then_some(waits.moved)
    }

    fn reads(&self, waits: bool) {
        let mut state = self.0.lock();
        // A repeated poll is no progress.
        if waits && state.to_read {
            return;
        }
        state.to_read = waits;
        state.moved = Instant::now();
    }

    fn writes(&self, waits: bool) {
        let mut state = self.0.lock();
        state.to_write = waits;
        state.moved = Instant::now();
    }
}

/// Runs a stream until its end (`true`), or until it waits for its peer for too long (`false`).
async fn moving(stream: impl Future, flow: &Flow, limit: Duration) -> bool {
    let mut stream = pin!(stream);
    // Most streams never wait.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        let Some(since) = flow.waits_since() else {
            timer = None;
            return Poll::Pending;
        };
        let end = since + limit;
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        timer.as_mut().poll(cx).map(|()| false)
    })
    .await
}

/// The body of a request: the stream waits for its peer while a read is pending.
pub(super) struct Sent<B> {
    body: B,
    flow: Flow,
}

impl<B> Sent<B> {
    pub(super) fn new(body: B, flow: Flow) -> Self {
        Self { body, flow }
    }
}

impl<B: Body + Unpin> Body for Sent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.flow.reads(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Sent<B> {
    fn drop(&mut self) {
        // The rest is not read.
        self.flow.reads(false);
    }
}

/// The most that is given of a response at once.
const PIECE_BYTES: usize = 16 << 10;

/// The body of a response: the stream waits for its peer from when a frame was given until the next is polled. Frames are
/// given in small pieces, so that the body ends when nearly all of it is sent: h2 buffers frames of any size, and does not
/// report when they are sent.
pub(super) struct Given<B> {
    body: B,
    /// The rest of the last frame.
    rest: Bytes,
    flow: Flow,
}

impl<B> Given<B> {
    pub(super) fn new(body: B, flow: Flow) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            flow,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Given<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.rest.is_empty() {
            let polled = Pin::new(&mut self.body).poll_frame(cx);
            self.flow.writes(polled.is_ready());
            match polled {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                polled => return polled,
            }
        } else {
            self.flow.writes(true);
        }
        let piece = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut all = SizeHint::new();
        all.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            all.set_upper(upper + rest);
        }
        all
    }
}
