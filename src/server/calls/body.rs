//! The body of an answer, from the handler to the transport: it can end early with a status, and is recorded.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::{BoxFuture, SelectAll};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};

use super::panics;
use super::record::Call;
use super::room::Place;
use crate::api::status;

/// A body that ends with a status when its call has to end, or when its handler panics.
#[derive(Default)]
pub(super) struct Answer {
    /// `None` for an answer without a body, and after an early end.
    pub(super) body: Option<Body>,
    /// Ready when the call has to end, with its status.
    pub(super) end: Option<SelectAll<BoxFuture<'static, Status>>>,
    /// Given back before the end of the answer is sent.
    pub(super) place: Option<Place>,
}

type Next = Option<Result<Frame<Bytes>, Status>>;

impl Answer {
    pub(super) fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        let Self {
            body: Some(body),
            end,
            place,
        } = self
        else {
            return Poll::Ready(None);
        };
        let polled = panics::watched(|| match end.as_mut().map(|end| Pin::new(end).poll(context)) {
            Some(Poll::Ready((status, ..))) => Err(status),
            _ => Ok(http_body::Body::poll_frame(Pin::new(body), context)),
        });
        match polled.unwrap_or_else(|| Err(status::panicked())) {
            Ok(polled) => {
                let frame = ready!(polled);
                if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
                    *place = None;
                }
                Poll::Ready(frame)
            }
            Err(status) => {
                // The handler stops with its body.
                *self = Self::default();
                let mut trailers = HeaderMap::new();
                // A detail that does not fit into a header is left out.
                let _ = status.add_header(&mut trailers);
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }
}

/// The body of an answer whose end is recorded.
pub(super) struct RecordedBody {
    pub(super) answer: Answer,
    pub(super) call: Call,
}

impl http_body::Body for RecordedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Next> {
        let Self { answer, call } = &mut *self;
        let mut next = {
            let _entered = call.span.enter();
            ready!(call.context.step(|| answer.poll_frame(context)))
        };
        match &mut next {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    call.end_with(trailers);
                }
            }
            _ => call.end(Code::Unknown, &HeaderMap::new()),
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.answer.body.as_ref();
        body.map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}
