//! Bad input about jobs gets a precise error and changes nothing.

use super::*;

#[tokio::test]
async fn results_must_be_those_of_the_wanted_segments() {
    use pb::complete_job_request::Result as Work;
    let server = Server::sled().await;
    create(&server, article("a", &TEXTS)).await;
    attach(&server, by_id("a", "fr", 1, &[("s1", "un")])).await;
    open(&server, request(&["a"])).await;
    let claimed = claim_one(&server).await;
    let good = result(&claimed, "fr:");
    let seq = server.seq().await;
    let text = |body: &[(&str, &str)]| {
        let body = body.iter().map(|(id, text)| target_of(id, text)).collect();
        Some(Work::Text(pb::TargetText {
            title: Some(target_of("", "T")),
            body,
            ..Default::default()
        }))
    };
    let with = |result: Option<Work>| pb::CompleteJobRequest {
        result,
        ..good.clone()
    };
    let cases: [(pb::CompleteJobRequest, &[&str]); 10] = [
        (with(text(&[("s2", "deux")])), &["text"]),
        (with(text(&[("s2", "deux"), ("s3", " ")])), &["text.body[1]"]),
        (
            with(text(&[("s1", "un"), ("s2", "2"), ("s3", "3")])),
            &["text.body[0]"],
        ),
        (
            with(text(&[("s2", "2"), ("s3", "3"), ("s2", "2")])),
            &["text.body[2]"],
        ),
        (with(text(&[("", "2"), ("", "3")])), &["text.body"]),
        (with(text(&[("s2", "2"), ("s9", "3")])), &["text.body[1]"]),
        (with(None), &["result"]),
        (with(Some(Work::Review(pb::ReviewResult::default()))), &["text"]),
        (
            pb::CompleteJobRequest {
                agent: agent(AgentKind::Human, "x"),
                ..good.clone()
            },
            &["agent.kind"],
        ),
        (
            pb::CompleteJobRequest::default(),
            &["job_id", "lease_token", "agent", "result"],
        ),
    ];
    for (request, fields) in cases {
        blames(server.jobs().complete_job(request).await, fields);
    }
    let unknown = pb::CompleteJobRequest {
        job_id: "b/fr/mt/1".into(),
        ..good.clone()
    };
    fails(
        server.jobs().complete_job(unknown).await,
        Code::NotFound,
        "JOB_NOT_FOUND",
    );
    assert_eq!(server.seq().await, seq);
    complete(&server, good).await;
    server.stop().await;
}

#[tokio::test]
async fn requests_and_claims_name_every_wrong_field() {
    let server = Server::memory().await;
    create(&server, article("a", &TEXTS)).await;
    let seq = server.seq().await;
    let many: Vec<String> = (0..1_001).map(|number| format!("a{number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let too_many = pb::RequestTranslationsRequest {
        languages: (0..11).map(|number| format!("fr-x-{number}")).collect(),
        ..request(&many[..1_000])
    };
    let requests: [(pb::RequestTranslationsRequest, &[&str]); 6] = [
        (
            pb::RequestTranslationsRequest::default(),
            &["languages", "kinds", "selection"],
        ),
        (request(&many), &["articles.article_ids"]),
        (too_many, &["articles.article_ids"]),
        (request(&["a b"]), &["articles.article_ids[0]"]),
        (
            pb::RequestTranslationsRequest {
                languages: vec!["x-".into(), "fr".into()],
                kinds: vec![0, 99],
                ..request(&["a"])
            },
            &["languages[0]", "kinds[0]", "kinds[1]"],
        ),
        (
            pb::RequestTranslationsRequest {
                options: Some(pb::JobOptions {
                    priority: 5,
                    max_attempts: 101,
                    not_before: Some(prost_types::Timestamp {
                        seconds: 1_350_000_000_000,
                        nanos: 0,
                    }),
                    deadline: None,
                }),
                page_token: "x".into(),
                ..request(&["a"])
            },
            &[
                "options.not_before",
                "options.priority",
                "options.max_attempts",
                "page_token",
            ],
        ),
    ];
    for (request, fields) in requests {
        blames(server.jobs().request_translations(request).await, fields);
    }
    let claims: [(pb::ClaimJobsRequest, &[&str]); 5] = [
        (
            pb::ClaimJobsRequest {
                max_jobs: 101,
                ..claim_all()
            },
            &["max_jobs"],
        ),
        (
            pb::ClaimJobsRequest {
                wait: seconds(61),
                lease: seconds(43_201),
                worker: "w".repeat(257),
                ..claim_all()
            },
            &["wait", "lease", "worker"],
        ),
        (
            pb::ClaimJobsRequest {
                lease: seconds(0),
                wait: seconds(-1),
                ..claim_all()
            },
            &["wait", "lease"],
        ),
        (
            pb::ClaimJobsRequest {
                job_ids: vec!["a".into()],
                kinds: vec![JobKind::Mt.into()],
                ..claim_all()
            },
            &["job_ids", "job_ids[0]"],
        ),
        (
            pb::ClaimJobsRequest {
                pairs: vec![pb::LanguagePair {
                    source_language: "??".into(),
                    target_language: String::new(),
                }],
                kinds: vec![77],
                worker: "\u{1b}[31m".into(),
                ..claim_all()
            },
            &["pairs[0].source_language", "kinds[0]", "worker"],
        ),
    ];
    for (request, fields) in claims {
        blames(server.jobs().claim_jobs(request).await, fields);
    }
    let list = pb::ListJobsRequest {
        article_id: "a/b".into(),
        language: "!".into(),
        kind: 7,
        states: vec![7],
        page_size: -1,
        ..Default::default()
    };
    blames(
        server.jobs().list_jobs(list).await,
        &["page_size", "article_id", "language", "kind", "states[0]"],
    );
    let beat = pb::HeartbeatJobRequest {
        job_id: "a/FR/mt/1".into(),
        lease_token: "short".into(),
        lease: seconds(0),
    };
    blames(
        server.jobs().heartbeat_job(beat).await,
        &["job_id", "lease_token", "lease"],
    );
    let failing = pb::FailJobRequest {
        message: "x".repeat(1_025),
        retry_after: seconds(86_401),
        ..Default::default()
    };
    blames(
        server.jobs().fail_job(failing).await,
        &["job_id", "lease_token", "message", "retry_after"],
    );
    blames(
        server
            .jobs()
            .put_translation_policy(pb::PutTranslationPolicyRequest::default())
            .await,
        &["policy"],
    );
    let policy = pb::TranslationPolicy {
        policy_id: "a b".into(),
        priority: 9,
        sections: vec![String::new()],
        source_languages: vec!["?".into()],
        max_attempts: 1_000,
        ..Default::default()
    };
    let put = pb::PutTranslationPolicyRequest {
        policy: Some(policy),
        etag: "x".repeat(65),
    };
    blames(
        server.jobs().put_translation_policy(put).await,
        &[
            "etag",
            "policy.target_languages",
            "policy.kinds",
            "policy.sections[0]",
            "policy.policy_id",
            "policy.priority",
            "policy.max_attempts",
            "policy.source_languages[0]",
        ],
    );
    assert_eq!(server.seq().await, seq);
    server.stop().await;
}
