//! Clients that mean harm: each gets a defined answer from the real program, whose memory stays bounded, and which answers
//! another client all the while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use super::peer::{
    ACK, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FRAME_SIZE_ERROR,
    Frame, GOAWAY, HEADERS, HEALTH, NO_ERROR, PING, PREFACE, PROTOCOL_ERROR, Peer, REFUSED_STREAM,
    RST_STREAM, SETTINGS, block, call, goaway, whole_call,
};
use article_store::pb;
use article_store::pb::article_service_client::ArticleServiceClient;

/// What an attack may add to the memory of the program, in KiB. The largest answer is a fraction of it, what is sent a
/// multiple.
const MEMORY_KIB: u64 = 48 << 10;

/// The program, with limits that a test reaches soon, and a client that calls it again and again.
struct Attacked {
    server: crate::cli::Server,
    address: SocketAddr,
    before: u64,
    done: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    calling: JoinHandle<()>,
    _directory: TempDir,
}

impl Attacked {
    async fn new(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut brief = vec![
            "--handshake-timeout=300ms",
            "--keepalive-interval=300ms",
            "--keepalive-timeout=300ms",
            "--write-timeout=300ms",
        ];
        let name = |option: &str| option.split('=').next().map(str::to_owned);
        brief.retain(|flag| options.iter().all(|option| name(option) != name(flag)));
        let store = directory.path().join("store");
        let server = crate::cli::Server::start_with(&store, &[&brief[..], options].concat());
        let address: SocketAddr = server.address().parse().unwrap();
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect()
            .await
            .unwrap();
        let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let calling = tokio::spawn(call_on(channel, done.clone(), answered.clone()));
        let attacked = Self {
            before: server.peak_memory_kib(),
            server,
            address,
            done,
            answered,
            calling,
            _directory: directory,
        };
        attacked.answers_more().await;
        attacked
    }

    /// Waits until the good client was answered again.
    async fn answers_more(&self) {
        let so_far = self.answered.load(Ordering::Relaxed);
        super::eventually("the good client is answered", || {
            self.answered.load(Ordering::Relaxed) > so_far + 3
        })
        .await;
    }

    /// Asserts that it did no harm, and what the log says of it: a GOAWAY may be dropped on its way, with what else of the
    /// attacker was not read.
    async fn survived(self, says: &str) {
        self.answers_more().await;
        self.done.store(true, Ordering::Relaxed);
        self.calling
            .await
            .expect("every call of the good client is answered");
        let added = self.server.peak_memory_kib() - self.before;
        assert!(added < MEMORY_KIB, "{added} KiB more");
        // One that is new is answered, too.
        assert_eq!(self.server.run(&["health"]).ok(), "serving\n");
        let (code, log) = self.server.stop();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("panicked"), "{log}");
        assert!(log.contains(says), "{says:?} is not in {log}");
    }
}

async fn call_on(channel: Channel, done: Arc<AtomicBool>, answered: Arc<AtomicUsize>) {
    let mut articles = ArticleServiceClient::new(channel);
    while !done.load(Ordering::Relaxed) {
        let listed = articles.list_articles(pb::ListArticlesRequest::default()).await;
        listed.expect("the good client is answered");
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let server = Attacked::new(&[]).await;
    let peer = Peer::new(server.address).await;
    let said = peer
        .flood(|turn| {
            let burst = (0..500).flat_map(|at| {
                let stream = (turn * 500 + at) * 2 + 1;
                let reset = Frame::new(RST_STREAM, 0, stream, 8_u32.to_be_bytes());
                [whole_call(stream, HEALTH), reset.bytes()].concat()
            });
            burst.collect()
        })
        .await;
    assert!(
        matches!(goaway(&said), None | Some(ENHANCE_YOUR_CALM)),
        "{:?}",
        said.last()
    );
    server.survived("excessive load").await;
}

#[tokio::test]
async fn headers_without_end_end_the_connection() {
    let server = Attacked::new(&[]).await;
    let peer = Peer::new(server.address).await;
    let said = peer
        .flood(|turn| {
            if turn == 0 {
                return Frame::new(HEADERS, END_STREAM, 1, call(HEALTH)).bytes();
            }
            let more = block(&[("x-more", &"y".repeat(8_000))]);
            Frame::new(CONTINUATION, 0, 1, more).bytes()
        })
        .await;
    assert!(
        matches!(goaway(&said), None | Some(ENHANCE_YOUR_CALM)),
        "{:?}",
        said.last()
    );
    server.survived("excessive load").await;
}

#[tokio::test]
async fn a_hundred_thousand_bytes_of_headers_are_refused() {
    let server = Attacked::new(&[]).await;
    // A little too much: the call is refused, and the connection is good for others.
    let mut peer = Peer::new(server.address).await;
    let many = |bytes: usize| {
        let one = block(&[("x-more", &"y".repeat(968))]);
        [call(HEALTH), one.repeat(bytes / 1_000)].concat()
    };
    let (first, rest) = (many(20_000)[..16_000].to_vec(), many(20_000)[16_000..].to_vec());
    let frames = [
        Frame::new(HEADERS, END_STREAM, 1, first).bytes(),
        Frame::new(CONTINUATION, END_HEADERS, 1, rest).bytes(),
        whole_call(3, HEALTH),
    ];
    peer.send(&frames.concat()).await.unwrap();
    let mut answers = [peer.next(HEADERS).await, peer.next(HEADERS).await];
    answers.sort_by_key(|answer| answer.stream);
    assert_eq!(answers.each_ref().map(|answer| answer.stream), [1, 3]);
    // `:status: 431`, whose name has an index and whose value is in Huffman's code.
    assert_eq!(answers[0].payload, [0x48, 0x83, 0x69, 0x90, 0xFF]);
    // The index of `:status: 200`.
    assert_eq!(answers[1].payload[0], 0x88);

    // Far too much: nobody needs that.
    let mut peer = Peer::new(server.address).await;
    let block = many(100_000);
    let mut parts = block.chunks(16_000);
    let mut frames = Frame::new(HEADERS, END_STREAM, 1, parts.next().unwrap()).bytes();
    for part in parts {
        frames.extend(Frame::new(CONTINUATION, 0, 1, part).bytes());
    }
    frames.extend(Frame::new(CONTINUATION, END_HEADERS, 1, []).bytes());
    // It may be closed before all is sent.
    drop(peer.send(&frames).await);
    let said = peer.rest().await;
    assert!(
        matches!(goaway(&said), None | Some(COMPRESSION_ERROR)),
        "{said:?}"
    );
    server.survived("compression").await;
}

#[tokio::test]
async fn who_stops_in_the_middle_is_closed() {
    let server = Attacked::new(&[]).await;
    let headers = Frame::new(HEADERS, END_HEADERS | END_STREAM, 1, call(HEALTH)).bytes();
    // Within the preface, after it, within the first frame, within the headers of a call.
    for (begun, rest) in [
        (vec![], &PREFACE[..10]),
        (PREFACE.to_vec(), &[]),
        (PREFACE.to_vec(), &[0, 0, 6, SETTINGS, 0][..]),
        (
            [PREFACE, &Frame::new(SETTINGS, 0, 0, []).bytes()].concat(),
            &headers[..30],
        ),
    ] {
        let mut peer = Peer::silent(server.address).await;
        peer.send(&begun).await.unwrap();
        peer.send(rest).await.unwrap();
        let said = peer.rest().await;
        assert!(matches!(goaway(&said), None | Some(NO_ERROR)), "{said:?}");
    }
    server.survived("HandshakeTimeout").await;
}

#[tokio::test]
async fn who_sends_a_byte_now_and_then_is_closed() {
    let server = Attacked::new(&[]).await;
    let endless = Frame::new(HEADERS, END_HEADERS, 1, vec![b'x'; 10_000]).bytes();
    let bytes = [PREFACE, &Frame::new(SETTINGS, 0, 0, []).bytes(), &endless].concat();
    let (mut read, mut write) = Peer::silent(server.address).await.split();
    let trickle = tokio::spawn(async move {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(2));
        for byte in bytes {
            tick.tick().await;
            if tokio::io::AsyncWriteExt::write_all(&mut write, &[byte])
                .await
                .is_err()
            {
                return true;
            }
        }
        false
    });
    while let Some(frame) = super::peer::read_frame(&mut read).await {
        assert!(frame.kind != GOAWAY || frame.code() == NO_ERROR, "{frame:?}");
    }
    assert!(trickle.await.unwrap(), "it was closed before it was done");
    server.survived("Keepalive").await;
}

#[tokio::test]
async fn frames_that_are_too_large_or_broken_end_the_connection() {
    let server = Attacked::new(&[]).await;
    let head = |length: u32, kind, stream: u32| {
        [&length.to_be_bytes()[1..], &[kind, 0], &stream.to_be_bytes()].concat()
    };
    for (bytes, expected) in [
        (head((16 << 10) + 1, DATA, 1), FRAME_SIZE_ERROR),
        (head(0xFF_FFFF, HEADERS, 1), FRAME_SIZE_ERROR),
        (Frame::new(PING, 0, 0, [0; 7]).bytes(), PROTOCOL_ERROR),
        (Frame::new(SETTINGS, 0, 1, []).bytes(), PROTOCOL_ERROR),
        (Frame::new(DATA, 0, 1, [0; 5]).bytes(), PROTOCOL_ERROR),
        (
            Frame::new(HEADERS, END_HEADERS, 2, call(HEALTH)).bytes(),
            PROTOCOL_ERROR,
        ),
    ] {
        let mut peer = Peer::new(server.address).await;
        peer.send(&bytes).await.unwrap();
        let said = peer.rest().await;
        assert_eq!(goaway(&said), Some(expected), "{bytes:?}");
    }
    // One that ends within a frame is gone, and that is all.
    let mut peer = Peer::new(server.address).await;
    let begun = Frame::new(
        HEADERS,
        END_HEADERS,
        1,
        call("/articlestore.v1.ArticleService/ImportArticles"),
    );
    peer.send(&begun.bytes()).await.unwrap();
    peer.send(&Frame::new(DATA, 0, 1, [0; 100]).bytes()[..50])
        .await
        .unwrap();
    drop(peer);
    server.survived("frame with invalid size").await;
}

#[tokio::test]
async fn calls_that_are_no_calls_are_refused_each_in_its_way() {
    let server = Attacked::new(&["--keepalive-interval=1h"]).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    let running = tokio::spawn(connection);
    let grpc = "application/grpc";
    let unary = |flag: u8| vec![flag, 0, 0, 0, 0];
    let unknown_method = "/articlestore.v1.ArticleService/Unknown";
    let unknown_service = "/articlestore.v1.Unknown/GetArticle";
    // The status of HTTP and of gRPC that answers each.
    for (method, path, content_type, body, http, status) in [
        ("POST", unknown_method, grpc, unary(0), 200, Some("12")),
        ("POST", unknown_service, grpc, unary(0), 200, Some("12")),
        ("POST", "/", grpc, unary(0), 200, Some("12")),
        // Compressed, which was not agreed on; and a flag that does not exist.
        ("POST", HEALTH, grpc, unary(1), 200, Some("13")),
        ("POST", HEALTH, grpc, unary(7), 200, Some("13")),
        // Less than a message, and none.
        ("POST", HEALTH, grpc, vec![0, 0, 0, 0, 9, 1], 200, Some("13")),
        ("POST", HEALTH, grpc, vec![], 200, Some("13")),
        // None of them has `te: trailers`, which is there for old proxies alone.
        ("POST", HEALTH, grpc, unary(0), 200, Some("0")),
        ("POST", HEALTH, "application/json", unary(0), 415, None),
        ("GET", HEALTH, grpc, unary(0), 405, None),
    ] {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://test{path}"))
            .header("content-type", content_type)
            .body(())
            .unwrap();
        let (response, mut stream) = send.send_request(request, false).unwrap();
        stream.send_data(body.into(), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status().as_u16(), http, "{method} {path}");
        let in_headers = response.headers().get("grpc-status").cloned();
        let mut answer = response.into_body();
        while answer.data().await.is_some() {}
        let trailers = answer.trailers().await.unwrap().unwrap_or_default();
        let said = in_headers.or_else(|| trailers.get("grpc-status").cloned());
        assert_eq!(
            said.as_ref().map(|value| value.to_str().unwrap()),
            status,
            "{method} {path}"
        );
    }
    drop(send);
    running.await.unwrap().unwrap();
    server.survived("").await;
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let server = Attacked::new(&["--max-streams=100"]).await;
    let mut peer = Peer::new(server.address).await;
    // As many as may be, which wait for their messages.
    for stream in 0..100 {
        let headers = Frame::new(HEADERS, END_HEADERS, 2 * stream + 1, call(HEALTH));
        peer.send(&headers.bytes()).await.unwrap();
    }
    for stream in 100..10_000 {
        let headers = Frame::new(HEADERS, END_HEADERS, 2 * stream + 1, call(HEALTH));
        if peer.send(&headers.bytes()).await.is_err() {
            break;
        }
    }
    let mut refused = 0;
    let end = loop {
        match peer.frame().await {
            None => break None,
            Some(frame) if frame.kind == RST_STREAM => {
                assert_eq!(frame.code(), REFUSED_STREAM);
                refused += 1;
            }
            Some(frame) if frame.kind == GOAWAY => break Some(frame.code()),
            Some(_) => {}
        }
    };
    // After so many it is no misunderstanding.
    assert!((1..=1_024).contains(&refused), "{refused}");
    assert!(matches!(end, None | Some(ENHANCE_YOUR_CALM)), "{end:?}");
    server.survived("excessive load").await;
}

#[tokio::test]
async fn floods_of_what_must_be_answered_take_no_memory() {
    let server = Attacked::new(&["--keepalive-interval=1h"]).await;
    for frame in [Frame::new(PING, 0, 0, [7; 8]), Frame::new(SETTINGS, 0, 0, [])] {
        let many = frame.bytes().repeat(1_000);
        // Read, they are answered.
        let mut peer = Peer::new(server.address).await;
        for _ in 0..5 {
            peer.send(&many).await.unwrap();
            let mut answered = 0;
            while answered < 1_000 {
                let said = peer.frame().await.expect("the server goes on");
                if said.kind == frame.kind && said.flags & ACK != 0 {
                    answered += 1;
                }
            }
        }
        // Not read, the connection ends: the server does not read on for ever either.
        let (read, mut write) = Peer::new(server.address).await.split();
        let flood = async {
            while tokio::io::AsyncWriteExt::write_all(&mut write, &many)
                .await
                .is_ok()
            {}
        };
        tokio::time::timeout(crate::harness::LIMIT, flood)
            .await
            .expect("the server closes in time");
        drop(read);
    }
    server.survived("Stalled").await;
}

#[tokio::test]
async fn answers_that_are_never_taken_end_their_calls() {
    let server = Attacked::new(&["--idle-timeout=500ms"]).await;
    // SETTINGS_INITIAL_WINDOW_SIZE
    let mut peer = Peer::with_settings(server.address, &[(4, 0)]).await;
    for stream in 0..200 {
        peer.send(&whole_call(2 * stream + 1, HEALTH)).await.unwrap();
    }
    let mut reset = 0;
    while reset < 200 {
        let frame = peer.frame().await.expect("the connection is good");
        match frame.kind {
            RST_STREAM => reset += 1,
            PING if frame.flags & ACK == 0 => {
                let answer = Frame::new(PING, ACK, 0, frame.payload);
                peer.send(&answer.bytes()).await.unwrap();
            }
            _ => {}
        }
    }
    server.survived("").await;
}

#[tokio::test]
async fn a_thousand_connections_beyond_the_limit_are_closed_at_once() {
    let server = Attacked::new(&["--max-connections=50", "--keepalive-interval=1h"]).await;
    let mut held = Vec::new();
    for _ in 0..49 {
        let mut peer = Peer::new(server.address).await;
        peer.next(SETTINGS).await;
        held.push(peer);
    }
    for _ in 0..1_000 {
        let mut peer = Peer::silent(server.address).await;
        assert_eq!(peer.rest().await, []);
    }
    server.answers_more().await;
    drop(held);
    server.survived("a connection was refused").await;
}

#[tokio::test]
async fn running_out_of_descriptors_is_survived() {
    let server = Attacked::new(&["--keepalive-interval=1h", "--handshake-timeout=1h"]).await;
    server.server.limit_descriptors(64);
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(TcpStream::connect(server.address).await.unwrap());
    }
    server.answers_more().await;
    drop(held);
    super::eventually("a new client is answered", || {
        server.server.run(&["health"]).code == Some(0)
    })
    .await;
    server.survived("connections cannot be accepted").await;
}
