//! Ends a call early with a status, before its answer or in the middle of a stream.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures::future::{Either, select};
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

/// Ready when the call is to end, with its status.
pub type End = Pin<Box<dyn Future<Output = Status> + Send>>;

/// The answer, unless `end` is ready first; its body is watched, too.
pub async fn interruptible<B: Default>(
    answer: impl Future<Output = Result<Response<B>, Infallible>>,
    mut end: End,
) -> Result<Response<Interruptible<B>>, Infallible> {
    match select(pin!(answer), &mut end).await {
        Either::Left((answer, _)) => Ok(answer?.map(|inner| Interruptible {
            inner: Some(inner),
            end: Some(end),
        })),
        Either::Right((status, _)) => Ok(status.into_http::<B>().map(Interruptible::whole)),
    }
}

/// The body of an answer, which ends with a status when it is time to.
pub struct Interruptible<B> {
    /// `None` afterwards.
    inner: Option<B>,
    end: Option<End>,
}

impl<B> Interruptible<B> {
    /// A body that comes to its own end.
    pub fn whole(inner: B) -> Self {
        Self {
            inner: Some(inner),
            end: None,
        }
    }
}

impl<B> Default for Interruptible<B> {
    fn default() -> Self {
        Self {
            inner: None,
            end: None,
        }
    }
}

impl<B: Body + Unpin> Body for Interruptible<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Self { inner, end } = &mut *self;
        let Some(body) = inner else {
            return Poll::Ready(None);
        };
        let Some(Poll::Ready(status)) = end.as_mut().map(|end| end.as_mut().poll(context)) else {
            return Pin::new(body).poll_frame(context);
        };
        // The handler stops with its body.
        *inner = None;
        *end = None;
        let mut trailers = HeaderMap::new();
        // A detail that does not fit into a header is left out.
        let _ = status.add_header(&mut trailers);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
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
