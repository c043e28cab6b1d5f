//! How often a principal may call.

use std::num::NonZeroU32;
use std::time::Duration;

use article_store::domain::access::Scopes;
use article_store::pb;
use article_store::server::auth::{Config, Rate};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use super::{Desk, line};
use crate::harness::failure;

async fn list(desk: &Desk, name: &str) -> Result<(), Status> {
    let request = pb::ListArticlesRequest::default();
    desk.articles(name).list_articles(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_that_calls_too_often_is_told_when_to_call_again() {
    let mut busy = line("busy", &["read"], &[]);
    busy["rate"] = 1_000_000.into();
    let lines = [line("nora", &["read"], &[]), line("idris", &["read"], &[]), busy];
    let desk = Desk::of(&lines, |config| Config {
        anonymous: Some(Scopes::open()),
        rate: Some(Rate {
            per_second: NonZeroU32::MIN,
            burst: NonZeroU32::new(3),
        }),
        ..config
    })
    .await;
    let mut refused = Vec::new();
    for _ in 0..100 {
        refused.extend(list(&desk, "nora").await.err());
    }
    // Three at once and one a second: 100 calls take a few seconds at most.
    assert!(
        (60..=97).contains(&refused.len()),
        "{} were refused",
        refused.len()
    );
    for status in &refused {
        let failure = failure(status);
        assert_eq!(
            (failure.code, failure.reason.as_str()),
            (Code::ResourceExhausted, "RATE_LIMITED")
        );
        assert_eq!(
            (
                failure.metadata["limit"].as_str(),
                failure.metadata["burst"].as_str()
            ),
            ("1", "3")
        );
        assert_eq!(
            failure.message,
            "\"nora\" makes more than 1 calls a second, or 3 at once"
        );
        let delay = status
            .get_error_details()
            .retry_info()
            .unwrap()
            .retry_delay
            .unwrap();
        assert!(
            delay > Duration::ZERO && delay <= Duration::from_secs(1),
            "{delay:?}"
        );
    }
    // What one may do another one still may, and health is not counted.
    assert!(list(&desk, "idris").await.is_ok());
    let mut health = HealthClient::new(desk.server.channel());
    for _ in 0..100 {
        assert!(list(&desk, "busy").await.is_ok());
        assert!(health.check(HealthCheckRequest::default()).await.is_ok());
    }
    // Those without credentials are one.
    let mut strangers = desk.server.articles();
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(strangers.list_articles(pb::ListArticlesRequest::default()).await);
    }
    let limited = answers.into_iter().filter_map(Result::err).next().unwrap();
    assert!(
        failure(&limited)
            .message
            .starts_with("callers without credentials make")
    );
    // It is over when it was said to be over.
    let refused = loop {
        if let Err(status) = list(&desk, "nora").await {
            break status;
        }
    };
    let delay = refused.get_error_details().retry_info().unwrap().retry_delay;
    tokio::time::timeout(Duration::from_secs(30), async {
        #[expect(clippy::disallowed_methods, reason = "so long a caller was told to wait")]
        tokio::time::sleep(delay.unwrap_or_default()).await;
        list(&desk, "nora").await
    })
    .await
    .unwrap()
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_counted_by_why() {
    let desk = Desk::of(&[line("nora", &["read"], &[])], |config| Config {
        rate: Some(Rate {
            per_second: NonZeroU32::MIN,
            burst: NonZeroU32::new(2),
        }),
        ..config
    })
    .await;
    let mut stranger = desk.server.articles();
    let listed = stranger.list_articles(pb::ListArticlesRequest::default()).await;
    assert_eq!(listed.unwrap_err().code(), Code::Unauthenticated);
    let created = desk
        .articles("nora")
        .create_article(pb::CreateArticleRequest::default())
        .await;
    assert_eq!(created.unwrap_err().code(), Code::PermissionDenied);
    while list(&desk, "nora").await.is_ok() {}
    let metrics = desk.server.telemetry().metrics().unwrap();
    for series in [
        "article_store_auth_failures_total{reason=\"unauthenticated\"} 1",
        "article_store_auth_failures_total{reason=\"forbidden\"} 1",
        "article_store_rpcs_rate_limited_total 1",
    ] {
        assert!(metrics.contains(series), "{series}");
    }
}
