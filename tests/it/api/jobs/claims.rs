//! Claims: their order, what they match, how they wait, and the fences of leases.

use super::*;
use crate::harness::Setup;

fn prioritised(ids: &[&str], priority: u32) -> pb::RequestTranslationsRequest {
    pb::RequestTranslationsRequest {
        options: Some(pb::JobOptions {
            priority,
            ..Default::default()
        }),
        ..request(ids)
    }
}

#[tokio::test]
async fn the_most_urgent_goes_first_and_a_low_priority_gets_its_turn() {
    let clock = noon();
    let server = Setup::sled().clock(clock.clone()).start().await;
    for id in ["low", "normal", "due", "high", "urgent", "later"] {
        create(&server, article(id, &TEXTS)).await;
    }
    open(&server, prioritised(&["low"], 4)).await;
    open(&server, prioritised(&["normal"], 3)).await;
    let due = pb::RequestTranslationsRequest {
        options: Some(pb::JobOptions {
            priority: 4,
            deadline: Some(time(Timestamp::from_micros(NOON + 15 * 60 * 1_000_000).unwrap())),
            ..Default::default()
        }),
        ..request(&["due"])
    };
    open(&server, due).await;
    set(&clock, 120);
    open(&server, prioritised(&["high"], 2)).await;
    open(&server, prioritised(&["urgent"], 1)).await;
    let later = pb::RequestTranslationsRequest {
        options: Some(pb::JobOptions {
            priority: 1,
            not_before: Some(time(
                Timestamp::from_micros(NOON + 6 * 3_600 * 1_000_000).unwrap(),
            )),
            ..Default::default()
        }),
        ..request(&["later"])
    };
    open(&server, later).await;
    let one = pb::ClaimJobsRequest {
        max_jobs: 1,
        ..claim_all()
    };
    for expected in ["urgent/fr/mt/1", "due/fr/mt/1", "high/fr/mt/1"] {
        assert_eq!(claimed_ids(&claim(&server, one.clone()).await), [expected]);
    }
    // After its six hours nothing that is new passes the low one any more.
    set(&clock, 6 * 3_600 + 121);
    create(&server, article("new", &TEXTS)).await;
    open(&server, prioritised(&["new"], 1)).await;
    // The leases of the first three have ended.
    let all = claim(&server, claim_all()).await;
    let order = claimed_ids(&all);
    let place = |id: &str| order.iter().position(|job| job.starts_with(id)).unwrap();
    assert_eq!(order.len(), 7, "{order:?}");
    assert!(
        place("normal") < place("low") && place("low") < place("new"),
        "{order:?}"
    );
    server.check().await;
    server.stop().await;
}

#[tokio::test]
async fn claims_match_pairs_kinds_ids_and_scopes() {
    let server = Setup::sled().scopes(&[Right::Embargoed]).start().await;
    create(&server, article("a", &TEXTS)).await;
    let english = pb::Article {
        language: "en".into(),
        ..article("b", &TEXTS)
    };
    create(&server, english).await;
    let embargoed = pb::Article {
        embargo_time: Some(prost_types::Timestamp {
            seconds: 32_503_680_000,
            nanos: 0,
        }),
        ..article("secret", &TEXTS)
    };
    create(&server, embargoed).await;
    let asked = pb::RequestTranslationsRequest {
        languages: vec!["fr".into(), "es".into()],
        kinds: vec![JobKind::Mt.into(), JobKind::Llm.into()],
        ..request(&["a", "b", "secret"])
    };
    assert_eq!(open(&server, asked).await.len(), 12);
    let pair = |source: &str, target: &str| pb::LanguagePair {
        source_language: source.into(),
        target_language: target.into(),
    };
    let of = |pairs: Vec<pb::LanguagePair>, kinds: Vec<JobKind>| pb::ClaimJobsRequest {
        pairs,
        kinds: kinds.into_iter().map(Into::into).collect(),
        ..claim_all()
    };
    let sorted = |jobs: &[pb::ClaimedJob]| {
        let mut ids: Vec<_> = claimed_ids(jobs).into_iter().map(str::to_owned).collect();
        ids.sort();
        ids
    };
    let taken = claim(&server, of(vec![pair("ar", "fr")], vec![JobKind::Mt])).await;
    assert_eq!(sorted(&taken), ["a/fr/mt/1", "secret/fr/mt/1"]);
    let taken = claim(
        &server,
        of(vec![pair("", "es"), pair("ar", "es")], vec![JobKind::Llm]),
    )
    .await;
    assert_eq!(sorted(&taken), ["a/es/llm/1", "b/es/llm/1", "secret/es/llm/1"]);
    let named = pb::ClaimJobsRequest {
        job_ids: vec!["b/es/mt/1".into(), "a/fr/mt/1".into(), "none/fr/mt/1".into()],
        ..claim_all()
    };
    assert_eq!(sorted(&claim(&server, named).await), ["b/es/mt/1"]);
    let taken = claim(&server, of(vec![pair("en", "")], vec![])).await;
    assert_eq!(sorted(&taken), ["b/fr/llm/1", "b/fr/mt/1"]);
    for job in taken {
        release(&server, &job).await.unwrap();
    }
    // Without the scope nothing of the embargoed article is seen.
    let server = server.restart_with(|setup| setup.scopes(&[])).await;
    let taken = claim(&server, claim_all()).await;
    assert_eq!(
        sorted(&taken),
        ["a/es/mt/1", "a/fr/llm/1", "b/fr/llm/1", "b/fr/mt/1"]
    );
    let hidden = server
        .jobs()
        .get_job(pb::GetJobRequest {
            job_id: "secret/es/mt/1".into(),
        })
        .await;
    fails(hidden, Code::NotFound, "JOB_NOT_FOUND");
    server.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_claim_waits_for_a_job_and_for_a_lease_to_end() {
    let server = Server::memory().await;
    create(&server, article("a", &TEXTS)).await;
    let waiting = pb::ClaimJobsRequest {
        wait: seconds(30),
        lease: Some(PbDuration {
            seconds: 0,
            nanos: 300_000_000,
        }),
        ..claim_all()
    };
    let mut first_client = server.jobs();
    let first_request = waiting.clone();
    let first = tokio::spawn(async move { first_client.claim_jobs(first_request).await });
    // One for another pair goes on waiting, to its end.
    let mut other = server.jobs();
    let other_request = pb::ClaimJobsRequest {
        pairs: vec![pb::LanguagePair {
            source_language: "en".into(),
            target_language: "fr".into(),
        }],
        wait: seconds(1),
        ..claim_all()
    };
    let other = tokio::spawn(async move { other.claim_jobs(other_request).await });
    open(&server, request(&["a"])).await;
    let claimed = tokio::time::timeout(LIMIT, first)
        .await
        .unwrap()
        .unwrap()
        .unwrap()
        .into_inner()
        .jobs;
    assert_eq!(claimed_ids(&claimed), ["a/fr/mt/1"]);
    // The worker is never heard of again.
    let again = claim(&server, waiting).await;
    assert_eq!(again[0].job.as_ref().unwrap().attempts, 2);
    assert_ne!(again[0].lease_token, claimed[0].lease_token);
    assert_eq!(other.await.unwrap().unwrap().into_inner().jobs, []);
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_ends_claims_that_wait() {
    let server = Server::memory().await;
    let mut client = server.jobs();
    let waiting = pb::ClaimJobsRequest {
        wait: seconds(60),
        ..claim_all()
    };
    let claim = tokio::spawn(async move { client.claim_jobs(waiting).await });
    // It is known to wait when a claim behind it on the same connection was answered.
    assert_eq!(super::claim(&server, claim_all()).await, []);
    server.stop().await;
    let ended = tokio::time::timeout(LIMIT, claim).await.unwrap().unwrap();
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn tokens_fence_leases() {
    let clock = noon();
    let server = Setup::sled().clock(clock.clone()).start().await;
    create(&server, article("a", &TEXTS)).await;
    open(&server, request(&["a"])).await;
    let lost = |answer: Option<Status>, state: &str| {
        let failure = crate::harness::failure(&answer.unwrap());
        assert_eq!(
            (failure.code, failure.reason.as_str()),
            (Code::FailedPrecondition, "LEASE_LOST")
        );
        assert_eq!(
            (
                failure.metadata["job_id"].as_str(),
                failure.metadata["state"].as_str()
            ),
            ("a/fr/mt/1", state)
        );
    };
    let short = pb::ClaimJobsRequest {
        lease: seconds(10),
        ..claim_all()
    };
    let first = claim(&server, short.clone()).await.remove(0);
    set(&clock, 9);
    let beat = heartbeat(&server, &first, 20).await.unwrap().into_inner();
    assert_eq!(
        beat.lease_expire_time,
        Some(time(Timestamp::from_micros(NOON + 29_000_000).unwrap()))
    );
    assert_eq!(beat.head_revision, 1);
    set(&clock, 28);
    assert_eq!(claim(&server, short.clone()).await, []);
    assert_eq!(state(&server, "a/fr/mt/1").await, JobState::Leased);
    // Ended, it reads as pending, and still counts while nobody else has the job.
    set(&clock, 29);
    assert_eq!(state(&server, "a/fr/mt/1").await, JobState::Pending);
    heartbeat(&server, &first, 1).await.unwrap();
    set(&clock, 31);
    let second = claim(&server, short).await.remove(0);
    let stranger = pb::ClaimedJob {
        lease_token: "0".repeat(32),
        ..second.clone()
    };
    let seq = server.seq().await;
    for old in [&first, &stranger] {
        lost(heartbeat(&server, old, 10).await.err(), "LEASED");
        lost(
            server.jobs().complete_job(result(old, "old:")).await.err(),
            "LEASED",
        );
        lost(fail(&server, old, true).await.err(), "LEASED");
        lost(release(&server, old).await.err(), "LEASED");
    }
    assert_eq!(server.seq().await, seq);
    complete(&server, result(&second, "new:")).await;
    for late in [&first, &second] {
        lost(heartbeat(&server, late, 10).await.err(), "DONE");
        lost(release(&server, late).await.err(), "DONE");
        lost(fail(&server, late, false).await.err(), "DONE");
        lost(
            server.jobs().complete_job(result(late, "other:")).await.err(),
            "DONE",
        );
    }
    let there = translation(&server, "a", "fr", "").await;
    assert!(there.body[0].text.starts_with("new:"));
    server.stop().await;
}

#[tokio::test]
async fn failures_back_off_and_end_and_releases_do_not_count() {
    let clock = noon();
    let server = Setup::sled().clock(clock.clone()).start().await;
    create(&server, article("a", &TEXTS)).await;
    let few = pb::RequestTranslationsRequest {
        options: Some(pb::JobOptions {
            max_attempts: 2,
            ..Default::default()
        }),
        ..request(&["a"])
    };
    open(&server, few).await;
    for _ in 0..3 {
        let claimed = claim_one(&server).await;
        let released = release(&server, &claimed)
            .await
            .unwrap()
            .into_inner()
            .job
            .unwrap();
        assert_eq!((released.state(), released.attempts), (JobState::Pending, 0));
        // A retry of the call that was answered already.
        let again = release(&server, &claimed)
            .await
            .unwrap()
            .into_inner()
            .job
            .unwrap();
        assert_eq!(again, released);
    }
    let claimed = claim_one(&server).await;
    let failed = fail(&server, &claimed, false)
        .await
        .unwrap()
        .into_inner()
        .job
        .unwrap();
    assert_eq!((failed.state(), failed.attempts), (JobState::Pending, 1));
    let wait = failed.not_before.unwrap().seconds - NOON / 1_000_000;
    assert!((15..=30).contains(&wait), "{wait}");
    assert_eq!(
        fail(&server, &claimed, false)
            .await
            .unwrap()
            .into_inner()
            .job
            .unwrap(),
        failed
    );
    assert_eq!(claim(&server, claim_all()).await, []);
    set(&clock, 31);
    let claimed = claim_one(&server).await;
    let dead = fail(&server, &claimed, false)
        .await
        .unwrap()
        .into_inner()
        .job
        .unwrap();
    assert_eq!(
        (dead.state(), dead.attempts, dead.not_before),
        (JobState::Dead, 2, None)
    );
    set(&clock, 10_000);
    assert_eq!(claim(&server, claim_all()).await, []);
    let events = server.events_after(0).await;
    assert!(events.len() >= 10, "{events:?}");
    server.check().await;
    server.stop().await;
}

#[tokio::test]
async fn leases_that_end_for_the_last_time_leave_a_dead_job() {
    let clock = noon();
    let server = Setup::sled().clock(clock.clone()).start().await;
    create(&server, article("a", &TEXTS)).await;
    let once = pb::RequestTranslationsRequest {
        options: Some(pb::JobOptions {
            max_attempts: 1,
            ..Default::default()
        }),
        ..request(&["a"])
    };
    open(&server, once.clone()).await;
    claim_one(&server).await;
    set(&clock, 300);
    assert_eq!(state(&server, "a/fr/mt/1").await, JobState::Dead);
    assert_eq!(claim(&server, claim_all()).await, []);
    let dead = job(&server, "a/fr/mt/1").await;
    assert_eq!(dead.last_failure.unwrap().message, "the lease ended");
    // Whoever asks for it gets another one.
    assert_eq!(open(&server, once).await[0].job_id, "a/fr/mt/2");
    claim_one(&server).await;
    server.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_retry_of_a_claim_gets_what_is_still_its_own() {
    let server = Server::sled().await;
    for id in ["a", "b", "c"] {
        create(&server, article(id, &TEXTS)).await;
    }
    open(&server, request(&["a", "b", "c"])).await;
    let two = pb::ClaimJobsRequest {
        max_jobs: 2,
        request_id: "0192d3c4-0000-7000-8000-00000000002a".into(),
        ..claim_all()
    };
    let first = claim(&server, two.clone()).await;
    assert_eq!(first.len(), 2);
    assert_eq!(claim(&server, two.clone()).await, first);
    release(&server, &first[0]).await.unwrap();
    let server = server.restart().await;
    assert_eq!(claim(&server, two.clone()).await, first[1..]);
    let other = pb::ClaimJobsRequest { max_jobs: 3, ..two };
    fails(
        server.jobs().claim_jobs(other).await,
        Code::InvalidArgument,
        "REQUEST_ID_REUSED",
    );
    server.stop().await;
}

#[tokio::test]
async fn answers_end_at_what_clients_can_read() {
    let server = Server::sled().await;
    let long = "كلمة ".repeat(60_000);
    for number in 0..8 {
        create(&server, article(&format!("a{number}"), &[&long, "قصير"])).await;
    }
    let ids: Vec<_> = (0..8).map(|number| format!("a{number}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    open(&server, request(&ids)).await;
    let mut seen = Vec::new();
    while seen.len() < 8 {
        let jobs = claim(&server, claim_all()).await;
        assert!((1..8).contains(&jobs.len()), "{}", jobs.len());
        seen.extend(jobs.iter().map(|job| job.job.clone().unwrap()));
    }
    // What went back did not count.
    assert!(seen.iter().all(|job| job.attempts == 1));
    server.check().await;
    server.stop().await;
}
