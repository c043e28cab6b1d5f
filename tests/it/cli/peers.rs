//! The commands against peers that are no article-store server: each ends, and its error says what was reached.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use super::{Done, run};

/// Listens on a free port and hands each connection to a thread of its own.
fn peer(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Answers the first bytes with these, and closes.
fn answering(bytes: &'static [u8]) -> String {
    peer(move |mut stream| {
        let _ = stream.read(&mut [0; 64]).unwrap_or_default();
        drop(stream.write_all(bytes));
    })
}

/// Reads without ever answering.
fn silent() -> String {
    peer(|mut stream| while stream.read(&mut [0; 64]).is_ok_and(|bytes| bytes > 0) {})
}

/// A server of gRPC that answers the health service and no other call.
fn only_healthy() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut unanswered = Vec::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            if request.uri().path().starts_with("/grpc.health.v1.") {
                let head = http::Response::builder()
                    .header("content-type", "application/grpc")
                    .header("grpc-status", "12");
                drop(respond.send_response(head.body(()).unwrap(), true));
            } else {
                unanswered.push((request, respond));
            }
        }
    };
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(serve);
    });
    address
}

#[track_caller]
fn failed(done: &Done, text: &str) {
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (Some(1), ""),
        "{}",
        done.stderr
    );
    assert!(done.stderr.contains(text), "{text:?} is not in {:?}", done.stderr);
}

#[test]
fn a_server_of_something_else_is_named() {
    for (bytes, what) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
            "is a server of HTTP/1, and not of gRPC",
        ),
        (
            b"\x15\x03\x01\x00\x02\x02\x46",
            "is a server of TLS (use https://)",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "is no gRPC server"),
        (b"", "is no gRPC server"),
    ] {
        let address = answering(bytes);
        for command in [&["list"][..], &["watch"], &["health"], &["import", super::PAGE]] {
            failed(&run(&address, command, ""), &format!("http://{address} {what}"));
        }
    }
    let plain = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let over_tls = run(&format!("https://{plain}"), &["list"], "");
    failed(&over_tls, &format!("no server answers at https://{plain}: "));
}

#[test]
fn a_silent_peer_is_given_up() {
    let address = silent();
    for command in [
        &["list"][..],
        &["watch"],
        &["export"],
        &["import", super::PAGE],
        &["status"],
        &["backup", "-"],
    ] {
        let done = run(&address, &[command, &["--timeout", "300ms"]].concat(), "");
        failed(
            &done,
            &format!("no server answers at http://{address} within 300ms"),
        );
    }
    failed(
        &run(&address, &["list"], ""),
        &format!("no server answers at http://{address} within 5s"),
    );
    failed(
        &run(&only_healthy(), &["get", "a1", "--timeout", "300ms"], ""),
        "the server did not answer in time (--timeout)",
    );
}

#[test]
fn an_address_of_another_scheme_is_a_usage_error() {
    for address in ["ftp://127.0.0.1:1", "unix:///run/x", "file:///etc"] {
        let done = run(address, &["list"], "");
        assert_eq!(done.code, Some(2), "{}", done.stderr);
        assert!(
            done.stderr
                .contains("only http:// and https:// (TLS) are supported"),
            "{}",
            done.stderr
        );
    }
}
