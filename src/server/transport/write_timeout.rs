//! Write timeout of a connection: a write that is pending for too long is an error.
//!
//! A peer whose flow-control windows are full does not time out, for nothing is written to it. The preface, which was
//! consumed to tell HTTP/2 from other protocols, is replayed to the reader.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::h2_goaway_workaround::Frames;

/// A stream with a replayed preface and a write timeout.
pub(super) struct Wire<S> {
    stream: S,
    /// The preface, to be replayed.
    again: Bytes,
    frames: Frames,
    write_limit: Duration,
    /// The timer of a pending write, made at the first one: most connections need none.
    waiting: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, again: Bytes, write_limit: Duration) -> Self {
        Self {
            stream,
            again,
            frames: Frames::default(),
            write_limit,
            waiting: None,
            is_waiting: false,
        }
    }

    /// Starts or stops the timer by the result of a write.
    fn within_limit<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_waiting = false;
            return written;
        }
        let end = Instant::now() + self.write_limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if !self.is_waiting {
            waiting.as_mut().reset(end);
            self.is_waiting = true;
        }
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.again.is_empty() {
            let wire = &mut *self;
            return wire.frames.poll_read(Pin::new(&mut wire.stream), cx, buffer);
        }
        let taken = self.again.len().min(buffer.remaining());
        buffer.put_slice(&self.again.split_to(taken));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.within_limit(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.within_limit(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.within_limit(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.within_limit(cx, shut)
    }
}
