//! Wrong clocks: one that jumps ahead stops writes, one that goes back stops nothing.

use std::sync::Arc;

use article_store::clock::{ClockJump, TrustedClock};
use article_store::domain::job::{ClaimQuery, JobKind, JobState};
use article_store::domain::time::Timestamp;
use article_store::store::StoreError;
use article_store::store::error::OpenError;

use super::bench::{Bench, at};
use super::claims::claim;
use super::fixtures::*;

on_every_store! {
    a_clock_that_jumps_ahead_stops_writes_until_it_is_set,
    a_store_is_not_opened_years_after_its_last_commit,
    a_lease_ends_in_time_over_a_clock_that_goes_back,
    requests_expire_behind_a_commit_in_the_future,
}

/// The time at which a test begins.
fn start() -> Timestamp {
    at("2022-05-10T22:45:00Z")
}

fn seconds(number: i64) -> Timestamp {
    start().saturating_add_micros(number * 1_000_000)
}

const DAY: i64 = 86_400;

async fn a_clock_that_jumps_ahead_stops_writes_until_it_is_set(bench: &mut Bench) {
    bench.store.commit(simple(&id("a"))).await.unwrap();
    bench.clock.jump(seconds(DAY + 1));
    let Err(StoreError::Unavailable { reason }) = bench.store.commit(simple(&id("b"))).await else {
        panic!("a commit of tomorrow");
    };
    for part in [
        "2022-05-11T22:45:01Z",
        "2022-05-10T22:45:00Z",
        "--accept-clock-jump",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    bench.clock.jump(seconds(DAY));
    bench.store.commit(simple(&id("b"))).await.unwrap();
    // Time that has passed is no jump, however long nothing was written.
    bench.clock.set(seconds(40 * DAY));
    bench.store.commit(simple(&id("c"))).await.unwrap();
}

async fn a_store_is_not_opened_years_after_its_last_commit(bench: &mut Bench) {
    bench.store.commit(simple(&id("a"))).await.unwrap();
    bench.clock.jump(seconds(366 * DAY));
    bench.reopen().await;
    bench.store.close().await.unwrap();
    bench.clock.jump(seconds(367 * DAY));
    let refused = bench.open_again(Arc::new(bench.clock.clone()), 0);
    let jump = ClockJump {
        expected: start(),
        shown: seconds(367 * DAY),
    };
    assert_eq!(refused, Err(StoreError::Open(OpenError::ClockJump(jump))));
    // The system's clock is ahead by years, and is said to be right.
    bench.open_again(Arc::new(TrustedClock), 0).unwrap();
    bench.store.commit(simple(&id("b"))).await.unwrap();
    bench.clock.set(article_store::clock::Clock::now(&TrustedClock));
    bench.reopen().await;
}

async fn a_lease_ends_in_time_over_a_clock_that_goes_back(bench: &mut Bench) {
    bench.store.commit(simple(&id("a"))).await.unwrap();
    let state = bench.article(&id("a")).await.unwrap();
    let job = opened(&state, &key("fr", JobKind::Mt), order());
    let batch = put_jobs(
        &state,
        vec![(job, article_store::domain::change::JobStep::Opened)],
    );
    bench.store.commit(batch).await.unwrap();
    let lease = claim(&ClaimQuery::default(), 1, 15);
    let again = |token: u128| claim(&ClaimQuery::default(), token, 15);
    assert_eq!(bench.store.claim(lease).await.unwrap().jobs.len(), 1);
    bench.clock.jump(seconds(-2 * DAY));
    bench.clock.set(seconds(-2 * DAY + 14));
    assert!(bench.store.claim(again(1)).await.unwrap().jobs.is_empty());
    bench.clock.set(seconds(-2 * DAY + 17));
    assert_eq!(bench.store.claim(again(1)).await.unwrap().jobs.len(), 1);
    // The same over a restart, which begins at the last commit.
    bench.reopen().await;
    bench.clock.set(seconds(-2 * DAY + 17 + 17));
    let claimed = bench.store.claim(again(1)).await.unwrap();
    assert_eq!(claimed.jobs.first().map(|job| job.state), Some(JobState::Leased));
}

async fn requests_expire_behind_a_commit_in_the_future(bench: &mut Bench) {
    bench
        .store
        .commit(with_request(simple(&id("a")), 1))
        .await
        .unwrap();
    bench.clock.jump(seconds(-2 * DAY));
    bench.reopen().await;
    let expire = async |bench: &Bench| {
        let before = bench.store.clock().now().saturating_add_micros(-DAY * 1_000_000);
        while bench.store.expire_requests(before).await.unwrap() {}
        bench.store.request(&request_key(1)).await.unwrap().is_none()
    };
    assert!(!expire(bench).await);
    bench.clock.set(seconds(-DAY + DAY / 8));
    assert!(expire(bench).await);
}
