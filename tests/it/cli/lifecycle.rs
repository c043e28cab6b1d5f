//! The life of the server's process: what it is configured with, what it tells the service manager, and how it ends,
//! whatever its clients do.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use article_store::api::codec::ImportArticlesRequest;
use article_store::pb;
use article_store::pb::article_service_client::ArticleServiceClient;
use futures::{StreamExt, stream};
use prost::Message;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{PAGE, Server, program, run, server};
use crate::harness::LIMIT;

/// The line of the log with a message.
fn logged(log: &str, message: &str) -> Value {
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut found = lines.filter(|line| line["message"] == message);
    found.next().expect(message)
}

fn create(id: &str) -> pb::CreateArticleRequest {
    let text = |text: &str| pb::Segment {
        text: text.into(),
        ..Default::default()
    };
    pb::CreateArticleRequest {
        article: Some(pb::Article {
            article_id: id.into(),
            language: "en".into(),
            title: Some(text("The night ferry")),
            body: vec![text(&"It left at ten. ".repeat(4_000))],
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn connect(server: &Server) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address())).unwrap();
    endpoint.connect().await.unwrap()
}

#[test]
fn an_unknown_variable_is_an_error_for_every_command() {
    for command in [
        &["serve", "--store", "memory"][..],
        &["list"],
        &["check", "--store", "sled:nowhere"],
    ] {
        let refused = program("127.0.0.1:1")
            .args(command)
            .env("ARTICLE_STORE_MIN_FREE_BYTE", "1")
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(2), "{command:?}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(
            said.starts_with(
                "error: the variable ARTICLE_STORE_MIN_FREE_BYTE in the environment sets no option; did you mean \
                 ARTICLE_STORE_MIN_FREE_BYTES?"
            ),
            "{said}"
        );
    }
    let help = program("")
        .arg("--help")
        .env("ARTICLE_STORE_MOOD", "1")
        .output()
        .unwrap();
    assert!(help.status.success(), "help is there for whoever is wrong");
}

#[test]
fn the_log_tells_the_configuration_and_where_each_value_came_from() {
    let directory = TempDir::new().unwrap();
    let store = directory.path().join("store");
    let mut command = program("");
    command.env("ARTICLE_STORE_CACHE_MB", "7");
    let (code, log) = Server::start_by(command, "127.0.0.1:0", &store, &["--grace-seconds", "3"]).stop();
    assert_eq!(code, Some(0), "{log}");
    let line = logged(&log, "configuration");
    let list = |name: &str| line[name].as_str().unwrap().to_owned();
    assert_eq!(
        list("flags"),
        format!(
            "listen=127.0.0.1:0 store=sled:{} min-free-bytes=0 grace-seconds=3",
            store.display()
        )
    );
    assert_eq!(list("environment"), "cache-mb=7");
    let told: BTreeSet<String> = ["flags", "environment", "defaults", "unset"]
        .into_iter()
        .flat_map(|name| {
            let list = list(name);
            let names = list.split(' ').filter(|part| !part.is_empty());
            names
                .map(|part| part.split('=').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    let help = run("", &["serve", "--help"], "").ok();
    let options: BTreeSet<String> = help
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--"))
        .map(|rest| rest.split([' ', '=']).next().unwrap().to_owned())
        .collect();
    assert!(options.contains("drain-delay"), "{options:?}");
    assert_eq!(told, options);
}

/// The messages that a service manager was sent so far.
struct Manager {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self { socket, directory }
    }

    fn hear(&self) -> String {
        let mut message = [0; 1_024];
        let length = self.socket.recv(&mut message).expect("a message in time");
        let said = message.get(..length).expect("no more than there is room for");
        String::from_utf8(said.to_vec()).unwrap()
    }

    /// The next message that is no sign of life.
    fn hear_news(&self) -> String {
        loop {
            let message = self.hear();
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }
}

#[test]
fn the_service_manager_hears_when_it_serves_that_it_lives_and_when_it_stops() {
    let manager = Manager::new();
    let store = manager.directory.path().join("store");
    let mut command = program("");
    command
        .env("NOTIFY_SOCKET", manager.directory.path().join("notify"))
        .env("WATCHDOG_USEC", "60000");
    let server = Server::start_by(command, "127.0.0.1:0", &store, &["--drain-delay", "10ms"]);
    let address = server.address().to_owned();
    assert_eq!(
        manager.hear(),
        format!("STATUS=opening the store sled:{}\n", store.display())
    );
    assert_eq!(manager.hear(), format!("READY=1\nSTATUS=serving on {address}\n"));
    assert_eq!(manager.hear(), "WATCHDOG=1\n");
    assert_eq!(manager.hear(), "WATCHDOG=1\n", "again and again");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(
        manager.hear_news(),
        "STOPPING=1\nSTATUS=serving on for 10ms, then waiting at most 25s for running calls\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_on_for_the_drain_delay_and_a_second_signal_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let store = directory.path().join("store");
    let server = Server::start_with(&store, &["--drain-delay", "1h"]);
    let mut health = HealthClient::new(connect(&server).await);
    let mut states = health
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    let serving = states.message().await.unwrap().unwrap();
    assert_eq!(serving.status(), ServingStatus::Serving);

    let drained = Arc::new(Notify::new());
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let drained = drained.clone();
            let address = format!("http://{}", server.address());
            tokio::spawn(async move {
                let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
                let mut articles = ArticleServiceClient::new(channel);
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    let id = format!("{writer}-{number}");
                    if articles.create_article(create(&id)).await.is_err() {
                        break;
                    }
                    acknowledged.push(id);
                    drained.notify_one();
                }
                acknowledged
            })
        })
        .collect();
    drained.notified().await;

    let process = Pid::from_child(&server.process.child);
    kill_process(process, Signal::TERM).unwrap();
    let state = timeout(LIMIT, states.message())
        .await
        .expect("health says so in time");
    assert_eq!(state.unwrap().unwrap().status(), ServingStatus::NotServing);
    // New connections are taken, and everything goes on.
    let mut articles = ArticleServiceClient::new(connect(&server).await);
    articles.create_article(create("late")).await.unwrap();
    drained.notified().await;
    drained.notified().await;

    let (code, log) = server.stop();
    assert_eq!(code, Some(1), "{log}");
    logged(&log, "stopped at once by a second signal");
    let mut acknowledged = vec!["late".to_owned()];
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    let again = Server::start(&store);
    let mut articles = ArticleServiceClient::new(connect(&again).await);
    for article_id in acknowledged {
        let request = pb::GetArticleRequest {
            article_id: article_id.clone(),
            ..Default::default()
        };
        assert!(
            articles.get_article(request).await.is_ok(),
            "{article_id} is lost"
        );
    }
}

/// A client process, killed at the end.
struct Client(Child);

impl Client {
    fn start(command: &mut Command) -> Self {
        Self(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    fn first_line(&mut self) -> String {
        let mut line = String::new();
        let output = self.0.stdout.as_mut().unwrap();
        BufReader::with_capacity(1, output).read_line(&mut line).unwrap();
        line
    }

    /// Stops its process in its tracks: its side of the connection is there, and nobody is behind it.
    fn freeze(&self) {
        kill_process(Pid::from_child(&self.0), Signal::STOP).unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_whatever_its_clients_do() {
    let directory = TempDir::new().unwrap();
    let store = directory.path().join("store");
    let server = Server::start_with(&store, &["--grace-seconds", "1"]);
    let channel = connect(&server).await;
    let mut articles = ArticleServiceClient::new(channel.clone());
    // More than all buffers on the way to a client take.
    for number in 0..200 {
        articles
            .create_article(create(&format!("a{number}")))
            .await
            .unwrap();
    }

    let address = server.address().to_owned();
    let tcp = || TcpStream::connect(&address).unwrap();
    let silent = tcp();
    let mut half_sent = tcp();
    half_sent.write_all(b"PRI * HTTP/2.0\r\n\r\n").unwrap();
    let mut half_open = tcp();
    half_open
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    half_open.shutdown(std::net::Shutdown::Write).unwrap();
    let item = ImportArticlesRequest {
        item: 1,
        article: create("imported")
            .article
            .map(|article| article.encode_to_vec().into()),
        significance: 0,
    };
    let items = stream::iter([item]).chain(stream::pending());
    let mut importing = articles.import_articles(items).await.unwrap().into_inner();
    let acknowledged = importing.message().await.unwrap().unwrap();
    assert_eq!(acknowledged.result(), pb::ImportResult::Created);
    let mut unread = Client::start(program(&address).args(["export"]));
    assert!(unread.first_line().starts_with('{'));
    let mut frozen = Client::start(program(&address).args(["export"]));
    assert!(frozen.first_line().starts_with('{'));
    frozen.freeze();
    let mut watching = Client::start(program(&address).args(["watch", "--from-start", "--output", "json"]));
    assert!(watching.first_line().starts_with('{'));
    watching.freeze();

    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    logged(&log, "calls that ran longer than the grace were broken off");
    logged(&log, "stopped");
    drop((silent, half_sent, half_open, channel, importing));

    let again = Server::start(&store);
    again.run(&["get", "imported"]).ok();
    assert_eq!(again.stop().0, Some(0));
}

#[test]
fn a_signal_while_the_store_opens_ends_it_too() {
    let (first, directory) = server();
    first.run(&["import", PAGE, "--id", "market"]).ok();
    assert_eq!(first.stop().0, Some(0));
    let mut child = program("")
        .args(["serve", "--listen", "127.0.0.1:0", "--store"])
        .arg(format!("sled:{}", directory.path().join("store").display()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first line of the log comes behind the handlers of the signals and before the store is open.
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    assert!(line.contains("configuration"), "{line}");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let again = Server::start(&directory.path().join("store"));
    again.run(&["get", "market"]).ok();
}
