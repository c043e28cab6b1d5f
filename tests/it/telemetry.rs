//! Metrics and probes of a real server, and the files in `deploy/` that are made for them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use article_store::api::status::code_name;
use article_store::domain::language::Language;
use article_store::pb;
use article_store::server::telemetry::{Telemetry, http};
use article_store::server::{methods, transport};
use regex::Regex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

use crate::harness::{Server, Setup, within};
use crate::store::disk::Disk;

/// Asks for something over HTTP; answers status and body.
async fn ask(address: SocketAddr, what: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{what} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// Serves what there is to see of a server.
async fn observe(telemetry: Arc<Telemetry>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(http::serve(listener, telemetry));
    address
}

/// Waits until readiness says this.
async fn until_ready_says(address: SocketAddr, status: u16, text: &str) {
    within(async {
        loop {
            let answer = ask(address, "GET /readyz").await;
            if answer == (status, format!("{text}\n")) {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probes_follow_the_server() {
    let telemetry = Arc::<Telemetry>::default();
    let address = observe(telemetry.clone()).await;
    let alive = || async { assert_eq!(ask(address, "GET /livez").await, (200, "alive\n".into())) };
    alive().await;
    until_ready_says(address, 503, "not ready: the store is being opened").await;

    let disk = Disk::default();
    let server = Setup::memory()
        .telemetry(telemetry)
        .start_over(disk.store())
        .await;
    until_ready_says(address, 200, "ready").await;
    disk.set_broken(true);
    until_ready_says(
        address,
        503,
        "not ready: the store does not answer; the log says why",
    )
    .await;
    alive().await;
    disk.set_broken(false);
    until_ready_says(address, 200, "ready").await;

    assert_eq!(ask(address, "GET /").await.0, 404);
    assert_eq!(ask(address, "POST /metrics").await.0, 405);
    // Nothing of it is on the port of the API.
    let refused = server.raw("/metrics", vec![]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    server.stop().await;
    until_ready_says(address, 503, "not ready: the server is being stopped").await;
    alive().await;
}

/// A scrape: each series with its value.
#[derive(Debug)]
struct Scrape(Vec<(String, BTreeMap<String, String>, f64)>);

impl Scrape {
    async fn of(address: SocketAddr) -> Self {
        let (status, text) = ask(address, "GET /metrics").await;
        assert_eq!(status, 200);
        assert!(text.ends_with("# EOF\n"), "{text}");
        let line = Regex::new(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$").unwrap();
        let label = Regex::new(r#"([a-z_]+)="([^"]*)""#).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|text| {
            let parts = line.captures(text).unwrap_or_else(|| panic!("{text:?}"));
            let labels = parts.get(2).map_or("", |labels| labels.as_str());
            let labels = label.captures_iter(labels);
            let labels = labels.map(|label| (label[1].to_owned(), label[2].to_owned()));
            (parts[1].to_owned(), labels.collect(), parts[3].parse().unwrap())
        });
        Self(series.collect())
    }

    /// The value of a series, its labels as `key=value` with commas between.
    fn value(&self, name: &str, labels: &str) -> Option<f64> {
        let wanted: BTreeMap<_, _> = labels
            .split(',')
            .filter_map(|label| label.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let found = self
            .0
            .iter()
            .find(|(known, labels, _)| known == name && *labels == wanted);
        found.map(|(_, _, value)| *value)
    }
}

/// A server with articles in `ar` and `en`, translations, open jobs and a follower, which tells `ar` and `fr` apart.
async fn busy() -> (Server, SocketAddr, tonic::Streaming<pb::WatchChangesResponse>) {
    let languages = ["ar", "fr"].map(|tag| Language::parse(tag).unwrap());
    let telemetry = Arc::new(Telemetry::new(languages.into_iter().collect()));
    telemetry.transport.certificate_expires.set(1_800_000_000);
    let address = observe(telemetry.clone()).await;
    let transport = transport::Config {
        metrics: telemetry.transport.clone(),
        ..transport::Config::default()
    };
    let server = Setup::sled()
        .transport(transport)
        .telemetry(telemetry)
        .start()
        .await;
    let watch = server
        .changes()
        .watch_changes(pb::WatchChangesRequest::default())
        .await
        .unwrap();
    crate::api::busy(&server).await;
    (server, address, watch.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_say_what_is_there_and_what_happened() {
    let (server, address, watch) = busy().await;
    let scrape = within(async {
        loop {
            let scrape = Scrape::of(address).await;
            if scrape.value("article_store_store_last_seq", "") == Some(server.seq().await as f64) {
                return scrape;
            }
        }
    })
    .await;
    for (name, labels, value) in [
        ("articles", "language=ar", 2.0),
        ("articles", "language=other", 1.0),
        ("deleted_articles", "language=ar", 0.0),
        ("revisions", "language=ar", 3.0),
        ("translations", "language=fr", 2.0),
        ("translations", "language=other", 1.0),
        ("translations_not_current", "language=fr,freshness=stale", 1.0),
        (
            "translations_not_current",
            "language=other,freshness=incomplete",
            1.0,
        ),
        ("open_jobs", "source=ar,target=fr,kind=human", 1.0),
        ("open_jobs", "source=ar,target=other,kind=mt", 4.0),
        ("open_jobs", "source=other,target=other,kind=mt", 2.0),
        ("watchers", "", 1.0),
        ("ready", "", 1.0),
        ("rpcs_in_flight", "kind=short", 0.0),
        ("rpcs_in_flight", "kind=long", 1.0),
        ("rpcs_shed_total", "kind=short", 0.0),
        (
            "rpc_duration_seconds_count",
            "method=ArticleService/CreateArticle,code=OK",
            3.0,
        ),
        (
            "rpc_duration_seconds_count",
            "method=ArticleService/GetArticle,code=NOT_FOUND",
            1.0,
        ),
        ("build_info", concat!("version=", env!("CARGO_PKG_VERSION")), 1.0),
    ] {
        assert_eq!(
            scrape.value(&format!("article_store_{name}"), labels),
            Some(value),
            "{name} {labels}: {scrape:?}"
        );
    }
    for (name, labels) in [
        ("article_store_commit_group_batches_count", ""),
        ("article_store_commit_group_batches_sum", ""),
        ("article_store_commit_group_seconds_sum", ""),
        ("article_store_fsync_seconds_sum", ""),
        ("article_store_fsync_seconds_bucket", "le=+Inf"),
        ("article_store_store_live_bytes", ""),
        ("article_store_store_disk_bytes", ""),
        ("article_store_store_available_bytes", ""),
        ("article_store_cache_hits_total", "cache=articles"),
        ("process_resident_memory_bytes", ""),
        ("process_open_fds", ""),
    ] {
        let value = scrape
            .value(name, labels)
            .unwrap_or_else(|| panic!("no {name}{{{labels}}}: {scrape:?}"));
        assert!(value > 0.0, "{name}");
    }
    // A read of a watch keeps it at the head.
    assert_eq!(scrape.value("article_store_feed_lag_commits", ""), Some(0.0));
    assert!(scrape.value("article_store_connections_open", "").unwrap() >= 1.0);
    drop(watch);
    within(async { while Scrape::of(address).await.value("article_store_watchers", "") != Some(0.0) {} })
        .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_connections_open_holds_up_nobody_for_long() {
    let address = observe(Arc::default()).await;
    // More than are served at once, each with half a request.
    let mut idle = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /livez HT").await.unwrap();
        idle.push(stream);
    }
    assert_eq!(ask(address, "GET /livez").await.0, 200);
    let mut rest = Vec::new();
    // It was broken off.
    drop(within(idle[0].read_to_end(&mut rest)).await);
    assert_eq!(rest, b"");
}

/// A query over metrics, with the labels that are read off its answer.
struct Expression {
    promql: String,
    shown: BTreeSet<String>,
}

/// The labels that a text names, `{{method}}` in a legend or `$labels.method` in an alert.
fn named(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\{\{ ?(?:\$labels\.)?([a-z_]+) ?\}\}").unwrap();
    name.captures_iter(text).map(|name| name[1].to_owned()).collect()
}

fn dashboard() -> Vec<Expression> {
    let text = include_str!("../../deploy/grafana/article-store.json");
    let dashboard: serde_json::Value = serde_json::from_str(text).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().cloned();
        assert!(targets.is_some() || panel["type"] == "row", "{panel}");
        targets.unwrap_or_default()
    });
    targets
        .map(|target| Expression {
            promql: target["expr"].as_str().unwrap().replace("$__rate_interval", "5m"),
            shown: named(target["legendFormat"].as_str().unwrap()),
        })
        .collect()
}

fn alerts() -> Vec<Expression> {
    let text = include_str!("../../deploy/prometheus/alerts.yaml");
    let files = yaml_rust2::YamlLoader::load_from_str(text).unwrap();
    let groups = files[0]["groups"].as_vec().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_vec().unwrap());
    rules
        .map(|rule| {
            let text = |key: &str| rule["annotations"][key].as_str().expect("a text");
            assert!(rule["alert"].as_str().unwrap().starts_with("ArticleStore"));
            let severity = rule["labels"]["severity"].as_str().unwrap();
            assert!(["page", "ticket"].contains(&severity));
            assert!(
                text("runbook").ends_with(['.', '`']),
                "says what to do: {}",
                text("runbook")
            );
            Expression {
                promql: rule["expr"].as_str().unwrap().to_owned(),
                shown: named(text("summary")),
            }
        })
        .collect()
}

/// The labels that Prometheus itself gives to what it scrapes.
const SCRAPED: [&str; 2] = ["job", "instance"];

/// Whether a matcher can match a label's value.
fn can_match(label: &str, pattern: &str, values: &BTreeSet<String>) -> bool {
    let codes = || {
        (0..17)
            .map(|code| code_name(Code::from_i32(code)).to_owned())
            .collect()
    };
    let known: BTreeSet<String> = match label {
        "method" => methods::all().map(|(_, method)| method.label.clone()).collect(),
        "code" => codes(),
        _ => values.clone(),
    };
    let whole = Regex::new(&format!("^(?:{pattern})$")).unwrap();
    known.iter().any(|value| whole.is_match(value))
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_and_alerts_ask_for_what_a_server_says() {
    let (server, address, _watch) = busy().await;
    let scrape = within(async {
        loop {
            let scrape = Scrape::of(address).await;
            if scrape.value("article_store_store_last_seq", "") == Some(server.seq().await as f64) {
                return scrape;
            }
        }
    })
    .await;
    let mut exported: BTreeMap<&str, BTreeMap<&str, BTreeSet<String>>> = BTreeMap::new();
    for (name, labels, _) in &scrape.0 {
        let known = exported.entry(name).or_default();
        for (key, value) in labels {
            known.entry(key).or_default().insert(value.clone());
        }
    }
    let metric = Regex::new(r#"\b((?:article_store|process)_[a-z_]+)(?:\{([^}]*)\})?"#).unwrap();
    let matcher = Regex::new(r#"([a-z_]+)(=~|!~|!=|=)"([^"]*)""#).unwrap();
    let grouping = Regex::new(r"\bby ?\(([^)]*)\)").unwrap();
    let (dashboard, alerts) = (dashboard(), alerts());
    assert!(dashboard.len() > 40 && alerts.len() > 10);
    let mut used = BTreeSet::new();
    for Expression { promql, shown } in dashboard.iter().chain(&alerts) {
        let mut labels: BTreeSet<&str> = SCRAPED.into();
        for found in metric.captures_iter(promql) {
            let name = found.get(1).unwrap().as_str();
            let known = exported
                .get(name)
                .unwrap_or_else(|| panic!("no server says {name}: {promql}"));
            used.insert(name);
            labels.extend(known.keys());
            let matchers = found.get(2).map_or("", |matchers| matchers.as_str());
            for matched in matcher.captures_iter(matchers) {
                let (label, pattern) = (&matched[1], &matched[3]);
                if SCRAPED.contains(&label) {
                    continue;
                }
                let values = known
                    .get(label)
                    .unwrap_or_else(|| panic!("{name} has no {label}: {promql}"));
                assert!(
                    can_match(label, pattern, values),
                    "{label} is never {pattern:?}: {promql}"
                );
            }
        }
        let grouped = grouping.captures_iter(promql).flat_map(|by| {
            let names = by.get(1).unwrap().as_str().split(',');
            names.map(str::trim).collect::<Vec<_>>()
        });
        let grouped: BTreeSet<&str> = grouped.collect();
        for label in &grouped {
            assert!(labels.contains(label), "nothing has {label}: {promql}");
        }
        let left = if grouped.is_empty() { labels } else { grouped };
        for label in shown {
            assert!(
                left.contains(label.as_str()),
                "{label} is shown, and not left by {promql}"
            );
        }
    }
    // Both ways: what nobody looks at need not be said.
    let unseen: Vec<_> = exported
        .keys()
        .filter(|name| {
            let base = ["_bucket", "_count", "_sum"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .unwrap_or(name);
            !used.iter().any(|used| used.starts_with(base))
        })
        .collect();
    assert_eq!(
        unseen,
        [
            &"process_start_time_seconds",
            &"process_threads",
            &"process_virtual_memory_bytes"
        ],
        "but for what is known everywhere"
    );
    server.stop().await;
}
