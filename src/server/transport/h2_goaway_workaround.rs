//! Works around h2 0.4: a WINDOW_UPDATE for a stream opened after GOAWAY is a connection error there. This filter follows
//! the heads of the frames that a peer sends, and masks such frames.
//!
//! A server that ends a connection in order tells its peer the last stream that it answers, as soon as the peer has
//! acknowledged a ping. Streams that the peer opened after that are to be ignored (RFC 9113, section 6.8). h2 (0.4.20)
//! ignores their HEADERS, DATA and RST_STREAM, but takes a WINDOW_UPDATE for one of an idle stream: a connection error,
//! with which all unanswered calls are lost. gRPC's C core sends a WINDOW_UPDATE with every call, and writes the
//! acknowledgement before the calls that it began in the meantime.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

/// RFC 9113, section 4.1: the length in three bytes, kind, flags, and the stream in four.
const HEAD_BYTES: usize = 9;
/// The head of a ping, and the eight bytes by which it is known.
const PING_BYTES: usize = HEAD_BYTES + 8;

const HEADERS: u8 = 1;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
/// A kind that no frame has, so that one that has it is ignored: RFC 9113, section 5.5.
const NO_KIND: u8 = 0xFF;

const ACK: u8 = 1;
/// The payload of the ping whose acknowledgement h2 awaits before it names the last stream. Forged, it harms only the
/// peer's own calls.
const SHUTDOWN: [u8; 8] = [0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54];

/// The position in the frames of a peer, after its preface.
#[derive(Default)]
pub(super) struct Frames {
    /// How much of the last frame is still to come.
    payload: usize,
    /// The last stream that the peer began.
    latest: u32,
    /// The last stream that is answered, once there is one.
    last: Option<u32>,
    /// The beginning of a head: none of it is given before the rest has come.
    begun: BytesMut,
    /// A head that came in pieces and is complete, to be given next.
    whole: Bytes,
}

impl Frames {
    /// Reads on in a stream that is read by this alone.
    pub(super) fn poll_read(
        &mut self,
        mut stream: Pin<&mut impl AsyncRead>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.begun.is_empty() && self.whole.is_empty() {
            let before = buffer.filled().len();
            ready!(stream.as_mut().poll_read(cx, buffer))?;
            let (_, read) = buffer.filled_mut().split_at_mut(before);
            let given = self.follow(read);
            let is_end = read.is_empty();
            self.begun
                .extend_from_slice(read.get(given..).unwrap_or_default());
            buffer.set_filled(before + given);
            if given > 0 || is_end {
                return Poll::Ready(Ok(()));
            }
        }
        while self.whole.is_empty() {
            let size = if self.begun.len() < HEAD_BYTES {
                HEAD_BYTES
            } else {
                PING_BYTES
            };
            let mut more = [0; PING_BYTES];
            let (more, _) = more.split_at_mut(size - self.begun.len());
            let mut more = ReadBuf::new(more);
            ready!(stream.as_mut().poll_read(cx, &mut more))?;
            let mut begun = std::mem::take(&mut self.begun);
            begun.extend_from_slice(more.filled());
            if more.filled().is_empty() || self.follow(&mut begun) > 0 {
                self.whole = begun.freeze();
            } else {
                self.begun = begun;
            }
        }
        let given = self.whole.len().min(buffer.remaining());
        buffer.put_slice(&self.whole.split_to(given));
        Poll::Ready(Ok(()))
    }

    /// Follows the bytes that were read, and masks frames. Returns how many may be given: all but an incomplete head.
    fn follow(&mut self, read: &mut [u8]) -> usize {
        let mut at = 0;
        loop {
            let payload = self.payload.min(read.len() - at);
            self.payload -= payload;
            at += payload;
            let rest = read.get_mut(at..).unwrap_or_default();
            let Some(head) = rest.first_chunk_mut::<HEAD_BYTES>() else {
                return at;
            };
            let mut fields = &head[..];
            let length = usize::try_from(fields.get_uint(3)).unwrap_or(usize::MAX);
            let (kind, flags) = (fields.get_u8(), fields.get_u8());
            let stream = fields.get_u32() & (u32::MAX >> 1);
            match kind {
                HEADERS => self.latest = self.latest.max(stream),
                WINDOW_UPDATE if self.last.is_some_and(|last| stream > last) => {
                    let [_, _, _, kind, ..] = head;
                    *kind = NO_KIND;
                }
                PING if flags & ACK != 0 && length == SHUTDOWN.len() => {
                    let Some(ping) = rest.first_chunk::<PING_BYTES>() else {
                        return at;
                    };
                    if ping.ends_with(&SHUTDOWN) {
                        self.last.get_or_insert(self.latest);
                    }
                }
                _ => {}
            }
            self.payload = length;
            at += HEAD_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::pin;

    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    use super::*;

    const DATA: u8 = 0;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn update(kind: u8, stream: u32) -> Vec<u8> {
        frame(kind, 0, stream, &7_u32.to_be_bytes())
    }

    /// The bytes that a peer sends, and those that are read.
    fn conversation() -> (Vec<u8>, Vec<u8>) {
        let other = [0x3b; 8];
        let like_a_head = update(WINDOW_UPDATE, 9);
        let before = [
            frame(HEADERS, 4, 1, b"fields"),
            update(WINDOW_UPDATE, 1),
            frame(PING, ACK, 0, &other),
            frame(PING, 0, 0, &SHUTDOWN),
            frame(PING, ACK, 0, &SHUTDOWN[1..]),
            frame(HEADERS, 4, 3, &like_a_head),
            update(WINDOW_UPDATE, 3),
            // Of a stream that was never opened: h2 reports that error.
            update(WINDOW_UPDATE, 5),
            frame(PING, ACK, 0, &SHUTDOWN),
            frame(HEADERS, 4, 5, b""),
        ];
        let late = |kind| {
            [
                update(kind, 5),
                update(WINDOW_UPDATE, 0),
                update(WINDOW_UPDATE, 1),
                frame(DATA, 0, 3, &like_a_head),
                update(WINDOW_UPDATE, 3),
                frame(DATA, 1, 5, b"late"),
                frame(PING, ACK, 0, &SHUTDOWN),
                update(kind, 5),
                // It breaks off here.
                update(WINDOW_UPDATE, 7)[..5].to_vec(),
            ]
        };
        let all = |kind| [before.concat(), late(kind).concat()].concat();
        (all(WINDOW_UPDATE), all(NO_KIND))
    }

    /// Comes in pieces.
    struct Pieces(VecDeque<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some(mut piece) = self.0.pop_front() {
                let rest = piece.split_off(piece.len().min(buffer.remaining()));
                buffer.put_slice(&piece);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    struct Followed(Pieces, Frames);

    impl AsyncRead for Followed {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let Self(stream, frames) = &mut *self;
            frames.poll_read(pin!(stream), cx, buffer)
        }
    }

    proptest! {
        #[test]
        fn late_window_updates_are_hidden_and_nothing_else(
            sizes in prop::collection::vec(1_usize..40, 1..200),
            room in 1_usize..40,
        ) {
            let (sent, expected) = conversation();
            let mut rest = &sent[..];
            let mut pieces = VecDeque::new();
            for size in sizes.iter().cycle() {
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                pieces.push_back(piece.to_vec());
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            let mut followed = Followed(Pieces(pieces), Frames::default());
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = runtime.block_on(async {
                let mut read = Vec::new();
                let mut buffer = vec![0; room];
                loop {
                    let size = followed.read(&mut buffer).await.unwrap();
                    if size == 0 {
                        break read;
                    }
                    read.extend_from_slice(&buffer[..size]);
                }
            });
            prop_assert_eq!(read, expected);
        }
    }
}
