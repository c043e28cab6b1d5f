//! Every limit of a connection, reached by one that means no harm.

use std::time::Duration;

use article_store::pb;
use article_store::server::transport::{Config, End};
use tokio::time::interval;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::peer::{
    ACK, CANCEL, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, GOAWAY, HEADERS, HEALTH, NO_ERROR,
    PING, PREFACE, Peer, RST_STREAM, SETTINGS, WINDOW_UPDATE, call, goaway, whole_call,
};
use super::{brief, ended, eventually};
use crate::harness::{Server, Setup};

async fn server(config: &Config) -> Server {
    Setup::memory().transport(config.clone()).start().await
}

async fn healthy(server: &Server) {
    let mut health = HealthClient::new(server.new_channel());
    health.check(HealthCheckRequest::default()).await.unwrap();
}

#[tokio::test]
async fn the_client_is_told_how_much_it_may() {
    let server = server(&Config {
        max_streams: 7,
        max_header_bytes: 5_000,
        ..Config::default()
    })
    .await;
    let mut peer = Peer::new(server.address).await;
    let settings = peer.next(SETTINGS).await.payload;
    let said: Vec<(u16, u32)> = settings
        .chunks(6)
        .map(|setting| {
            let (id, value) = setting.split_at(2);
            (
                u16::from_be_bytes(id.try_into().unwrap()),
                u32::from_be_bytes(value.try_into().unwrap()),
            )
        })
        .collect();
    // SETTINGS_MAX_CONCURRENT_STREAMS, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE, _MAX_HEADER_LIST_SIZE
    for expected in [(3, 7), (4, 1 << 20), (5, 16 << 10), (6, 5_000)] {
        assert!(said.contains(&expected), "{expected:?} is not in {said:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn so_many_calls_are_given_up_at_once_and_no_more() {
    for (max_resets, lives) in [(50, true), (3, false)] {
        let config = Config {
            max_resets,
            ..Config::default()
        };
        let server = server(&config).await;
        let mut peer = Peer::new(server.address).await;
        // In one piece, so that all of it is there when the server looks.
        let given_up = (0..50).flat_map(|at| {
            let stream = at * 2 + 1;
            let reset = Frame::new(RST_STREAM, 0, stream, CANCEL.to_be_bytes());
            [whole_call(stream, HEALTH), reset.bytes()].concat()
        });
        let mut all: Vec<u8> = given_up.collect();
        all.extend(Frame::new(PING, 0, 0, [7; 8]).bytes());
        peer.send(&all).await.unwrap();
        let mut end = None;
        let mut is_answered = false;
        while let Some(frame) = peer.frame().await {
            match frame.kind {
                GOAWAY => end = Some(frame.code()),
                PING if frame.flags == ACK && frame.payload == [7; 8] => {
                    is_answered = true;
                    break;
                }
                _ => {}
            }
        }
        // What the server says last may be lost with the connection.
        let is_ended = matches!(end, None | Some(ENHANCE_YOUR_CALM));
        assert!(is_answered == lives && is_ended, "{max_resets}: {end:?}");
        server.stop().await;
    }
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once_and_those_that_are_open_go_on() {
    let config = Config {
        max_connections: 3,
        ..Config::default()
    };
    let server = server(&config).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mut peer = Peer::new(server.address).await;
        peer.next(SETTINGS).await;
        peers.push(peer);
    }
    let mut health = HealthClient::new(server.new_channel());
    health.check(HealthCheckRequest::default()).await.unwrap_err();
    assert!(ended(&config, End::Refused) >= 1);
    assert_eq!(config.metrics.open.get(), 3);
    peers[0].send(&whole_call(1, HEALTH)).await.unwrap();
    assert!(peers[0].next(HEADERS).await.stream == 1);
    // Room for one is room for one.
    peers.pop();
    eventually("the connection that closed is forgotten", || {
        config.metrics.open.get() == 2
    })
    .await;
    healthy(&server).await;
    drop(peers);
    server.stop().await;
}

#[tokio::test]
async fn a_connection_without_calls_is_closed_politely_and_one_with_a_watch_is_not() {
    let config = Config {
        idle_timeout: Duration::from_millis(300),
        ..Config::default()
    };
    let server = server(&config).await;
    let mut changes = server.changes();
    let mut watch = changes
        .watch_changes(pb::WatchChangesRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut peer = Peer::new(server.address).await;
    peer.send(&whole_call(1, HEALTH)).await.unwrap();
    let mut codes = Vec::new();
    // The peer answers pings, as clients do.
    while let Some(frame) = peer.frame().await {
        match frame.kind {
            PING if frame.flags & ACK == 0 => peer
                .send(&Frame::new(PING, ACK, 0, frame.payload).bytes())
                .await
                .unwrap(),
            GOAWAY => codes.push(frame.code()),
            _ => {}
        }
    }
    assert_eq!(
        codes,
        [NO_ERROR, NO_ERROR],
        "it is told first, and then which calls count"
    );
    eventually("it is counted", || ended(&config, End::Idle) == 1).await;
    // The watch is older than that connection was.
    let mut articles = HealthClient::new(server.channel());
    articles.check(HealthCheckRequest::default()).await.unwrap();
    let article = pb::CreateArticleRequest {
        article: Some(pb::Article {
            article_id: "a".into(),
            language: "en".into(),
            title: Some(pb::Segment {
                text: "Title".into(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    server.articles().create_article(article).await.unwrap();
    let seen = loop {
        let message = watch.message().await.unwrap().expect("the watch goes on");
        if let Some(pb::watch_changes_response::Message::Change(change)) = message.message {
            break change;
        }
    };
    assert_eq!(seen.article_id, "a");
    drop(watch);
    server.stop().await;
}

#[tokio::test]
async fn calls_that_began_too_late_do_no_harm_to_those_that_are_answered() {
    let server = server(&Config::default()).await;
    let mut peer = Peer::new(server.address).await;
    // One whose request is still on its way when the server stops.
    peer.send(&Frame::new(HEADERS, END_HEADERS, 1, call(HEALTH)).bytes())
        .await
        .unwrap();
    peer.next(SETTINGS).await;
    let stopping = tokio::spawn(server.stop());
    let ping = peer.next(PING).await;
    peer.send(&Frame::new(PING, ACK, 0, ping.payload).bytes())
        .await
        .unwrap();
    let last = peer.next(GOAWAY).await;
    assert_eq!(
        (last.code(), last.payload[..4].to_vec()),
        (NO_ERROR, vec![0, 0, 0, 1])
    );
    // Another, as gRPC's C core begins it, and the rest of the first.
    let late = [
        whole_call(3, HEALTH),
        Frame::new(WINDOW_UPDATE, 0, 3, 1_000_u32.to_be_bytes()).bytes(),
        Frame::new(DATA, END_STREAM, 1, [0; 5]).bytes(),
    ];
    peer.send(&late.concat()).await.unwrap();
    let said = peer.rest().await;
    let of_calls = said.iter().filter(|frame| frame.stream != 0);
    let answered: Vec<_> = of_calls.map(|frame| (frame.kind, frame.stream)).collect();
    assert_eq!(answered, [(HEADERS, 1), (DATA, 1), (HEADERS, 1)]);
    assert!(matches!(goaway(&said), None | Some(NO_ERROR)), "{said:?}");
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_closed_and_one_that_does_is_not() {
    let config = brief();
    let server = server(&config).await;
    let mut dead = Peer::new(server.address).await;
    let mut alive = Peer::new(server.address).await;
    let living = tokio::spawn(async move {
        for _ in 0..5 {
            let ping = alive.next(PING).await;
            alive
                .send(&Frame::new(PING, ACK, 0, ping.payload).bytes())
                .await
                .unwrap();
        }
        alive
    });
    let said = dead.rest().await;
    assert_eq!(said.iter().filter(|frame| frame.kind == PING).count(), 1);
    assert_eq!(goaway(&said), Some(NO_ERROR));
    eventually("it is counted", || ended(&config, End::Keepalive) == 1).await;
    let mut alive = living.await.unwrap();
    alive.send(&whole_call(1, HEALTH)).await.unwrap();
    alive.next(HEADERS).await;
    drop(alive);
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_does_not_begin_is_closed() {
    let config = brief();
    let server = server(&config).await;
    let mut silent = Peer::silent(server.address).await;
    let mut slow = Peer::silent(server.address).await;
    let slowly = async {
        let mut tick = interval(Duration::from_millis(50));
        for byte in PREFACE {
            tick.tick().await;
            if slow.send(&[*byte]).await.is_err() {
                break;
            }
        }
        slow.rest().await
    };
    let (silent, slow) = tokio::join!(silent.rest(), slowly);
    assert_eq!((silent, slow), (vec![], vec![]));
    eventually("both are counted", || ended(&config, End::HandshakeTimeout) == 2).await;
    healthy(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_client_of_http1_is_told_what_this_is() {
    let config = brief();
    let server = server(&config).await;
    let (mut read, mut write) = Peer::silent(server.address).await.split();
    tokio::io::AsyncWriteExt::write_all(&mut write, b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut read, &mut answer)
        .await
        .unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 505 HTTP Version Not Supported\r\n"),
        "{answer}"
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "this port speaks gRPC over HTTP/2 only\n");
    assert!(
        head.contains(&format!("content-length: {}", body.len())),
        "{head}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_call_whose_peer_takes_nothing_or_sends_nothing_more_is_reset_and_its_connection_goes_on() {
    let config = Config {
        idle_timeout: Duration::from_millis(300),
        ..Config::default()
    };
    let server = server(&config).await;
    // SETTINGS_INITIAL_WINDOW_SIZE
    let mut peer = Peer::with_settings(server.address, &[(4, 0)]).await;
    peer.send(&whole_call(1, HEALTH)).await.unwrap();
    peer.send(&Frame::new(HEADERS, END_HEADERS, 3, call(HEALTH)).bytes())
        .await
        .unwrap();
    let mut resets =
        [peer.next(RST_STREAM).await, peer.next(RST_STREAM).await].map(|reset| (reset.stream, reset.code()));
    resets.sort_unstable();
    assert_eq!(resets, [(1, CANCEL), (3, CANCEL)]);
    assert_eq!(config.metrics.idle_calls.get(), 2);
    peer.send(&whole_call(5, HEALTH)).await.unwrap();
    peer.send(&Frame::new(WINDOW_UPDATE, 0, 5, 1_000_u32.to_be_bytes()).bytes())
        .await
        .unwrap();
    while peer.next(HEADERS).await.stream != 5 {}
    drop(peer);
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_takes_nothing_from_the_network_is_closed() {
    let config = Config {
        write_timeout: Duration::from_millis(300),
        ..Config::default()
    };
    let server = server(&config).await;
    let text = "x".repeat(256 << 10);
    for id in ["a", "b", "c", "d"] {
        let request = pb::CreateArticleRequest {
            article: Some(pb::Article {
                article_id: id.into(),
                language: "en".into(),
                title: Some(pb::Segment {
                    text: "Title".into(),
                    ..Default::default()
                }),
                body: vec![pb::Segment {
                    text: text.clone(),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        };
        server.articles().create_article(request).await.unwrap();
    }
    // As much as it likes by the rules of HTTP/2.
    let most = (1_u32 << 31) - 1;
    let mut peer = Peer::with_settings(server.address, &[(4, most)]).await;
    let more = (most - 65_535).to_be_bytes();
    peer.send(&Frame::new(WINDOW_UPDATE, 0, 0, more).bytes())
        .await
        .unwrap();
    for stream in 0..16 {
        let export = whole_call(2 * stream + 1, "/articlestore.v1.ArticleService/ExportArticles");
        peer.send(&export).await.unwrap();
    }
    eventually("it is closed", || ended(&config, End::Stalled) == 1).await;
    healthy(&server).await;
    drop(peer);
    server.stop().await;
}
