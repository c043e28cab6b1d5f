//! A client that speaks HTTP/2 frame by frame, so that it can do what no library lets it. A bench uses it, too.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Of DATA and HEADERS. That of an acknowledgement has the same bit.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const ACK: u8 = 1;

/// Error codes.
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const COMPRESSION_ERROR: u32 = 9;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame of HTTP/2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: payload.into(),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap();
        let head = [
            &length.to_be_bytes()[1..],
            &[self.kind, self.flags],
            &self.stream.to_be_bytes(),
        ]
        .concat();
        [head, self.payload.clone()].concat()
    }

    /// The code of an RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A header block without compression.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let mut length = text.len();
            if length < 127 {
                block.push(length as u8);
            } else {
                block.push(127);
                length -= 127;
                while length >= 128 {
                    block.push((length % 128) as u8 | 128);
                    length /= 128;
                }
                block.push(length as u8);
            }
            block.extend(text.bytes());
        }
    }
    block
}

/// The header block of a call.
pub(crate) fn call(path: &str) -> Vec<u8> {
    block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "test"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ])
}

pub(crate) const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// A whole call: headers, and an empty message.
pub(crate) fn whole_call(stream: u32, path: &str) -> Vec<u8> {
    let headers = Frame::new(HEADERS, END_HEADERS, stream, call(path));
    let message = Frame::new(DATA, END_STREAM, stream, [0; 5]);
    [headers.bytes(), message.bytes()].concat()
}

/// A connection.
pub(crate) struct Peer {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
}

impl Peer {
    /// A connection on which nothing was said yet.
    pub(crate) async fn silent(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Little fits into the network between: who does not read shows soon.
        socket.set_recv_buffer_size(4 << 10).unwrap();
        let (read, write) = socket.connect(address).await.unwrap().into_split();
        Self { read, write }
    }

    /// A connection that has begun, with these settings.
    pub(crate) async fn with_settings(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut peer = Self::silent(address).await;
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        peer.send(PREFACE).await.unwrap();
        peer.send(&Frame::new(SETTINGS, 0, 0, settings).bytes())
            .await
            .unwrap();
        peer
    }

    /// A connection that has begun.
    pub(crate) async fn new(address: SocketAddr) -> Self {
        Self::with_settings(address, &[]).await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(LIMIT, self.write.write_all(bytes))
            .await
            .expect("the server reads or closes in time")
    }

    /// The next frame; `None` when the server has closed.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        timeout(LIMIT, read_frame(&mut self.read))
            .await
            .expect("the server says something or closes in time")
    }

    /// The next frame of a kind; those before are passed over.
    pub(crate) async fn next(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame().await.expect("the server has not closed");
            if frame.kind == kind && (kind != SETTINGS || frame.flags & ACK == 0) {
                return frame;
            }
        }
    }

    /// All frames until the server closes.
    pub(crate) async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.frame().await {
            frames.push(frame);
        }
        frames
    }

    /// Sends the same again and again until the server closes; what it said. A part is sent only if it was read so far.
    pub(crate) async fn flood(self, mut bytes: impl FnMut(u32) -> Vec<u8> + Send + 'static) -> Vec<Frame> {
        let Self { mut read, mut write } = self;
        let writer = tokio::spawn(async move {
            for turn in 0.. {
                if write.write_all(&bytes(turn)).await.is_err() {
                    break;
                }
            }
        });
        let mut frames = Vec::new();
        let reading = async {
            while let Some(frame) = read_frame(&mut read).await {
                frames.push(frame);
            }
        };
        timeout(LIMIT, reading).await.expect("the server closes in time");
        timeout(LIMIT, writer)
            .await
            .expect("the server closes in time")
            .unwrap();
        frames
    }

    /// Both halves, to be used at the same time.
    pub(crate) fn split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        (self.read, self.write)
    }
}

pub(crate) async fn read_frame(read: &mut OwnedReadHalf) -> Option<Frame> {
    let mut head = [0; 9];
    // A server that closes with something of ours unread resets the connection.
    read.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; length];
    read.read_exact(&mut payload).await.ok()?;
    let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
    Some(Frame::new(head[3], head[4], stream, payload))
}

/// The code of the GOAWAY among frames.
pub(crate) fn goaway(frames: &[Frame]) -> Option<u32> {
    let goaway = frames.iter().rev().find(|frame| frame.kind == GOAWAY);
    goaway.map(Frame::code)
}
