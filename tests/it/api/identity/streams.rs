//! Open streams and waiting claims end with the credentials that they began with.

use std::time::Duration;

use article_store::clock::{Clock, SystemClock};
use article_store::pb;
use tonic::{Code, Status, Streaming};

use super::{Desk, line, text};
use crate::api::{article, jobs};
use crate::harness::{failure, within};

async fn watch(desk: &Desk, name: &str) -> Streaming<pb::WatchChangesResponse> {
    let request = pb::WatchChangesRequest::default();
    let mut watch = desk
        .changes(name)
        .watch_changes(request)
        .await
        .unwrap()
        .into_inner();
    // It says where it begins.
    within(watch.message()).await.unwrap().unwrap();
    watch
}

/// The error that a stream ends with.
async fn end(watch: &mut Streaming<pb::WatchChangesResponse>) -> Status {
    within(async {
        loop {
            match watch.message().await {
                Ok(message) => drop(message.expect("it ends with an error")),
                Err(status) => return status,
            }
        }
    })
    .await
}

fn expect(status: &Status, reason: &str) {
    let failure = failure(status);
    assert_eq!((failure.code, &*failure.reason), (Code::Unauthenticated, reason));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_credentials_expire() {
    let mut nora = line("nora", &["read"], &[]);
    let (seconds, _) = SystemClock.now().to_seconds();
    let expires = jiff::Timestamp::from_second(seconds + 4).unwrap();
    nora["expires"] = expires.to_string().into();
    let desk = Desk::with(&[nora]).await;
    expect(&end(&mut watch(&desk, "nora").await).await, "CREDENTIALS_EXPIRED");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_claims_end_when_the_tokens_file_no_longer_grants_them() {
    let names = ["gone", "narrower", "stays", "writer"];
    let scopes = &["read", "embargoed", "ingest", "translate:*"];
    let lines = names.map(|name| line(name, scopes, &[]));
    let desk = Desk::with(&lines).await;
    let mut gone = watch(&desk, "gone").await;
    let mut narrower = watch(&desk, "narrower").await;
    let mut stays = watch(&desk, "stays").await;
    let mut workers = desk.jobs("gone");
    let claim = pb::ClaimJobsRequest {
        wait: jobs::seconds(60),
        ..jobs::claim_all()
    };
    let claim = tokio::spawn(async move { workers.claim_jobs(claim).await });
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let waiting = "article_store_rpcs_in_flight{kind=\"long\"} 4";
    within(async {
        while !desk.server.telemetry().metrics().unwrap().contains(waiting) {
            looks.tick().await;
        }
    })
    .await;
    let [_, _, same, writer] = lines;
    desk.replace(&text(&[line("narrower", &["read"], &[]), same, writer]));
    expect(&end(&mut gone).await, "CREDENTIALS_INVALID");
    let claimed = within(claim).await.unwrap();
    expect(&claimed.unwrap_err(), "CREDENTIALS_INVALID");
    let changed = end(&mut narrower).await;
    expect(&changed, "CREDENTIALS_INVALID");
    assert!(changed.message().contains("make the call again"), "{changed:?}");
    watch(&desk, "narrower").await;
    // Those that grant what they did go on.
    desk.create("writer", article("a", &["نص"])).await;
    within(async {
        loop {
            let message = stays.message().await.unwrap().unwrap();
            if matches!(
                message.message,
                Some(pb::watch_changes_response::Message::Change(_))
            ) {
                return;
            }
        }
    })
    .await;
}
