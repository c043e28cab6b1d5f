//! Jobs are listed by state, cancelled, and retried.

use super::*;

#[tokio::test]
async fn jobs_are_listed_canceled_and_retried() {
    let clock = noon();
    let server = Setup::sled()
        .clock(clock.clone())
        .scopes(&[Right::Editorial])
        .start()
        .await;
    for id in ["a", "b", "c"] {
        create(&server, article(id, &TEXTS)).await;
    }
    let asked = pb::RequestTranslationsRequest {
        languages: vec!["fr".into(), "es".into()],
        ..request(&["a", "b", "c"])
    };
    open(&server, asked).await;
    let list = async |request: pb::ListJobsRequest| -> Vec<(String, JobState)> {
        let mut listed = Vec::new();
        let mut request = request;
        loop {
            let page = server
                .jobs()
                .list_jobs(request.clone())
                .await
                .unwrap()
                .into_inner();
            assert!(request.page_size == 0 || page.jobs.len() <= 2);
            listed.extend(page.jobs.iter().map(|job| (job.job_id.clone(), job.state())));
            if page.next_page_token.is_empty() {
                return listed;
            }
            request.page_token = page.next_page_token;
        }
    };
    let paged = pb::ListJobsRequest {
        page_size: 2,
        ..Default::default()
    };
    let pending = |id: &str| (id.to_owned(), JobState::Pending);
    let all = [
        "a/es/mt/1",
        "a/fr/mt/1",
        "b/es/mt/1",
        "b/fr/mt/1",
        "c/es/mt/1",
        "c/fr/mt/1",
    ]
    .map(pending);
    assert_eq!(list(paged.clone()).await, all);
    let french = pb::ListJobsRequest {
        language: "fr".into(),
        ..paged.clone()
    };
    assert_eq!(
        list(french).await,
        ["a/fr/mt/1", "b/fr/mt/1", "c/fr/mt/1"].map(pending)
    );

    // One is canceled, one dies, one article is withheld.
    let cancel = |id: &str| pb::CancelJobRequest { job_id: id.into() };
    let retry = |id: &str| pb::RetryJobRequest { job_id: id.into() };
    for _ in 0..2 {
        let canceled = server
            .jobs()
            .cancel_job(cancel("a/fr/mt/1"))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(canceled.job.unwrap().state(), JobState::Canceled);
    }
    let ids = pb::ClaimJobsRequest {
        job_ids: vec!["a/es/mt/1".into()],
        ..claim_all()
    };
    let dying = claim(&server, ids).await.remove(0);
    fail(&server, &dying, true).await.unwrap();
    withhold(&server, "c", pb::PublicationStatus::Withheld).await;
    let states = |states: &[JobState]| pb::ListJobsRequest {
        states: states.iter().map(|state| (*state).into()).collect(),
        ..paged.clone()
    };
    let (canceled, dead) = (JobState::Canceled, JobState::Dead);
    assert_eq!(list(states(&[dead])).await, [("a/es/mt/1".to_owned(), dead)]);
    assert_eq!(
        list(states(&[canceled])).await,
        ["a/fr/mt/1", "c/es/mt/1", "c/fr/mt/1"].map(|id| (id.to_owned(), canceled))
    );
    let failure = job(&server, "a/es/mt/1").await.last_failure.unwrap();
    assert_eq!(
        (failure.message.as_str(), failure.worker.as_str()),
        ("the engine is out of memory", "w1")
    );

    for id in ["a/es/mt/1", "a/fr/mt/1"] {
        for _ in 0..2 {
            let retried = server
                .jobs()
                .retry_job(retry(id))
                .await
                .unwrap()
                .into_inner()
                .job
                .unwrap();
            assert_eq!((retried.state(), retried.attempts), (JobState::Pending, 0));
        }
    }
    let withheld = server.jobs().retry_job(retry("c/fr/mt/1")).await;
    fails(withheld, Code::FailedPrecondition, "SOURCE_WITHHELD");
    let unknown = server.jobs().cancel_job(cancel("a/fr/mt/2")).await;
    fails(unknown, Code::NotFound, "JOB_NOT_FOUND");

    // A job that is done is neither canceled nor retried; the next one of its key replaces it and both are listed.
    let again = pb::ClaimJobsRequest {
        job_ids: vec!["a/fr/mt/1".into()],
        ..claim_all()
    };
    let done = claim(&server, again).await.remove(0);
    complete(&server, result(&done, "fr:")).await;
    for answer in [
        server.jobs().cancel_job(cancel("a/fr/mt/1")).await.err(),
        server.jobs().retry_job(retry("a/fr/mt/1")).await.err(),
    ] {
        let failure = crate::harness::failure(&answer.unwrap());
        assert_eq!(
            (failure.code, failure.reason.as_str()),
            (Code::FailedPrecondition, "JOB_NOT_OPEN")
        );
        assert_eq!(failure.metadata["state"], "DONE");
    }
    rewrite(&server, "a", &["الفقرة الجديدة كليا"]).await;
    assert_eq!(open(&server, request(&["a"])).await[0].job_id, "a/fr/mt/2");
    let of_a = pb::ListJobsRequest {
        article_id: "a".into(),
        language: "fr".into(),
        page_size: 1,
        ..Default::default()
    };
    assert_eq!(
        list(of_a).await,
        [
            ("a/fr/mt/1".to_owned(), JobState::Done),
            ("a/fr/mt/2".to_owned(), JobState::Pending)
        ]
    );
    assert_eq!(job(&server, "a/fr/mt/1").await.translation_id, "t1");

    // Nobody else sees the jobs of what is hidden.
    let server = server.restart_with(|setup| setup.scopes(&[])).await;
    let hidden = server
        .jobs()
        .get_job(pb::GetJobRequest {
            job_id: "c/fr/mt/1".into(),
        })
        .await;
    fails(hidden, Code::NotFound, "JOB_NOT_FOUND");
    let listed = server
        .jobs()
        .list_jobs(pb::ListJobsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(listed.jobs.iter().all(|job| job.article_id != "c"));
    server.check().await;
    server.stop().await;
}
