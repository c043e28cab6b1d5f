//! A way to each reason: the calls that a real server answers with it.

use super::*;

/// Makes an error with a reason.
pub(super) async fn provoke(reason: Reason) -> Option<Failure> {
    Some(match reason {
        Reason::Unspecified => return None,
        Reason::BadField => getting(&Server::memory().await, "a/b").await,
        Reason::MalformedMessage => {
            let server = Server::memory().await;
            failure(&server.raw(CREATE, frame(&[0xFF])).await.unwrap_err())
        }
        Reason::MessageTooLarge => {
            let server = Server::memory().await;
            let promised = vec![0, 255, 255, 255, 255, 1];
            failure(&server.raw(CREATE, promised).await.unwrap_err())
        }
        Reason::TooLarge => {
            creating(
                &Server::memory().await,
                article("a", &["x".repeat(3 << 20).as_str()]),
            )
            .await
        }
        Reason::BadToken => {
            let request = pb::ListArticlesRequest {
                page_token: "x".into(),
                ..Default::default()
            };
            refused(Server::memory().await.articles().list_articles(request).await)
        }
        Reason::RequestIdReused => {
            let server = Server::memory().await;
            let request = |id: &str| pb::CreateArticleRequest {
                request_id: "00000000-0000-4000-8000-000000000001".into(),
                ..create_request(id)
            };
            server.articles().create_article(request("a")).await.unwrap();
            refused(server.articles().create_article(request("b")).await)
        }
        Reason::ArticleNotFound => getting(&Server::memory().await, "a").await,
        Reason::RevisionNotFound => {
            let at = pb::get_article_request::At::Revision(2);
            refused(retention::get_at(&furnished().await, at).await)
        }
        Reason::TranslationNotFound => {
            let request = pb::GetTranslationRequest {
                article_id: "a".into(),
                language: "fr".into(),
                translation_id: "t1".into(),
                ..Default::default()
            };
            refused(furnished().await.translations().get_translation(request).await)
        }
        Reason::ArticleExists => creating(&furnished().await, article("a", &TEXTS)).await,
        Reason::AliasTaken => {
            let server = Server::memory().await;
            create(&server, full_article("a")).await;
            let thief = pb::Article {
                article_id: "b".into(),
                ..full_article("a")
            };
            creating(&server, thief).await
        }
        Reason::AliasesDisagree => aliases_disagree().await,
        Reason::ArticleDeleted => {
            let server = furnished().await;
            let delete = pb::DeleteArticleRequest {
                article_id: "a".into(),
                ..Default::default()
            };
            server.articles().delete_article(delete).await.unwrap();
            attaching(&server, small_form("a", "fr", 1, &ENGLISH)).await
        }
        Reason::EtagMismatch => {
            let changed = pb::Article {
                section: "other".into(),
                ..article("a", &TEXTS)
            };
            let request = pb::UpdateArticleRequest {
                etag: "9-x".into(),
                ..update_request(changed, &["section"])
            };
            refused(furnished().await.articles().update_article(request).await)
        }
        Reason::Contention => contention().await,
        Reason::IllegalTransition => {
            let server = Server::memory().await;
            create(&server, article("a", &TEXTS)).await;
            let own = by_person("Omar", small_form("a", "en", 1, &ENGLISH));
            let etag = attach(&server, own).await.0.etag;
            refused(
                server
                    .translations()
                    .review_translation(review("Omar", &etag))
                    .await,
            )
        }
        Reason::PersonRequired => {
            let server = furnished().await;
            let etag = crate::api::translation(&server, "a", "en", "")
                .await
                .summary
                .unwrap()
                .etag;
            let etag = workflow::reviewed(&server, review("Omar", &etag)).await.etag;
            let lower = pb::ReviewTranslationRequest {
                state: TranslationState::Translated.into(),
                reason: "x".into(),
                agent: agent(AgentKind::Llm, "qa"),
                ..review("", &etag)
            };
            refused(server.translations().review_translation(lower).await)
        }
        Reason::TooManyCandidates => {
            let server = furnished().await;
            let candidate = pb::AttachTranslationRequest {
                new_candidate: true,
                ..small_form("a", "en", 1, &ENGLISH)
            };
            for _ in 1..64 {
                attach(&server, candidate.clone()).await;
            }
            attaching(&server, candidate).await
        }
        Reason::TooMuchEvidence => {
            let long = |number: usize| pb::QualityIssue {
                comment: format!("{number:0>1024}"),
                ..quality::issue("s1", IssueSide::Target, None)
            };
            let server = furnished().await;
            let mut translations = server.translations();
            let issues = |numbers: std::ops::Range<usize>| pb::AddQualityScoresRequest {
                quality_issues: numbers.map(long).collect(),
                ..quality::evidence(&[], &[])
            };
            let first = translations.add_quality_scores(issues(0..600)).await;
            let second = translations.add_quality_scores(issues(600..1_200)).await;
            refused(first.and(second))
        }
        Reason::ArticleFull => {
            let limits = Limits {
                capacity: Capacity {
                    languages: 1,
                    ..Capacity::default()
                },
                ..Limits::default()
            };
            let server = Setup::memory().limits(limits).start().await;
            create(&server, article("a", &TEXTS)).await;
            attach(&server, small_form("a", "en", 1, &ENGLISH)).await;
            attaching(&server, small_form("a", "fr", 1, &ENGLISH)).await
        }
        Reason::TranslationWithoutText => {
            let server = Server::memory().await;
            create(&server, article("a", &TEXTS)).await;
            let address = pb::AttachTranslationRequest {
                content: Some(Content::ExternalUri("https://tms.example.com/job/7".into())),
                ..small_form("a", "en", 1, &[""])
            };
            attach(&server, address).await;
            refused(
                server
                    .translations()
                    .measure_translation(quality::measuring("t1", ""))
                    .await,
            )
        }
        Reason::TooLargeToMeasure => {
            let server = Server::memory().await;
            create(&server, article("a", &["كلمة 12 ".repeat(40_000).as_str()])).await;
            attach(&server, small_form("a", "en", 1, &["word 12 ".repeat(40_000)])).await;
            refused(
                server
                    .translations()
                    .measure_translation(quality::measuring("t1", ""))
                    .await,
            )
        }
        Reason::MissingScope => {
            let request = pb::GetArticleRequest {
                show_hidden: true,
                ..get_request("a")
            };
            refused(furnished().await.articles().get_article(request).await)
        }
        Reason::SourceWithheld => {
            let server = Setup::memory().scopes(&[Right::Editorial]).start().await;
            create(&server, article("a", &TEXTS)).await;
            jobs::withhold(&server, "a", pb::PublicationStatus::Withheld).await;
            attaching(&server, small_form("a", "fr", 1, &ENGLISH)).await
        }
        Reason::ArticlePurged => {
            let server = furnished().await;
            purge::purge(&server, purge::purge_request("a")).await;
            getting(&server, "a").await
        }
        Reason::IdPurged => {
            let server = furnished().await;
            purge::purge(&server, purge::purge_request("a")).await;
            creating(&server, article("a", &TEXTS)).await
        }
        Reason::RevisionNotRetained => {
            let server = furnished().await;
            for text in ["x", "y", "z"] {
                rewrite(&server, "a", &[text]).await;
            }
            retention::drop_all_but(&server, 1).await;
            refused(retention::get_at(&server, pb::get_article_request::At::Revision(2)).await)
        }
        Reason::JobNotFound => {
            let job_id = "a/fr/mt/1".into();
            refused(
                furnished()
                    .await
                    .jobs()
                    .get_job(pb::GetJobRequest { job_id })
                    .await,
            )
        }
        Reason::LeaseLost => {
            let (server, job) = claimed().await;
            jobs::release(&server, &job).await.unwrap();
            let (job_id, lease_token) = jobs::fence(&job);
            let failed = pb::FailJobRequest {
                job_id,
                lease_token,
                message: "too late".into(),
                ..Default::default()
            };
            refused(server.jobs().fail_job(failed).await)
        }
        Reason::JobNotOpen => {
            let (server, job) = claimed().await;
            jobs::complete(&server, jobs::result(&job, "fr:")).await;
            let job_id = jobs::fence(&job).0;
            refused(server.jobs().cancel_job(pb::CancelJobRequest { job_id }).await)
        }
        Reason::NothingWanted => {
            let (server, job) = claimed().await;
            let job_id = jobs::fence(&job).0;
            let cancel = pb::CancelJobRequest {
                job_id: job_id.clone(),
            };
            server.jobs().cancel_job(cancel).await.unwrap();
            attach(&server, small_form("a", "fr", 1, &ENGLISH)).await;
            refused(server.jobs().retry_job(pb::RetryJobRequest { job_id }).await)
        }
        Reason::PolicyNotFound => {
            let request = pb::DeleteTranslationPolicyRequest {
                policy_id: "p".into(),
                ..Default::default()
            };
            refused(
                Server::memory()
                    .await
                    .jobs()
                    .delete_translation_policy(request)
                    .await,
            )
        }
        Reason::TooManyPolicies => too_many_policies().await,
        Reason::ChangesTrimmed => {
            let server = furnished().await;
            let mut watch = server
                .changes()
                .watch_changes(feed::oldest())
                .await
                .unwrap()
                .into_inner();
            let token = within(watch.message()).await.unwrap().unwrap().resume_token;
            drop(watch);
            feed::trim_all(&server).await;
            refused(server.changes().watch_changes(feed::resume(&token)).await)
        }
        Reason::TokenOfAnotherStore => {
            let (one, other) = (furnished().await, furnished().await);
            let mut watch = one
                .changes()
                .watch_changes(feed::oldest())
                .await
                .unwrap()
                .into_inner();
            let token = within(watch.message()).await.unwrap().unwrap().resume_token;
            refused(other.changes().watch_changes(feed::resume(&token)).await)
        }
        Reason::StoreFull => store_full().await,
        Reason::StoreUnavailable => {
            let server = furnished().await;
            server.store.close().await.unwrap();
            getting(&server, "a").await
        }
        Reason::OutcomeUnknown => {
            let disk = Disk::default();
            let server = slow_server(&disk, CallLimits::default()).await;
            disk.fail_next_sync();
            creating(&server, article("a", &TEXTS)).await
        }
        Reason::RecordDamaged => {
            let disk = Disk::default();
            let server = slow_server(&disk, CallLimits::default()).await;
            disk.apply(vec![Write::Put(b"ha".to_vec(), vec![1, 2, 3])])
                .unwrap();
            getting(&server, "a").await
        }
        Reason::Internal => {
            let clock = BrokenClock::default();
            clock.set_broken(true);
            let server = Setup::memory()
                .clock(clock)
                .start_over(Disk::default().store())
                .await;
            refused(
                server
                    .articles()
                    .list_articles(pb::ListArticlesRequest::default())
                    .await,
            )
        }
        Reason::CredentialsMissing => failure(&identity::refused_to_list(None).await),
        Reason::CredentialsInvalid => failure(&identity::refused_to_list(Some("x")).await),
        Reason::CredentialsExpired => failure(&identity::refused_to_list(Some("old-token")).await),
        Reason::RateLimited => failure(&identity::refused_to_list(Some("nora-token")).await),
        Reason::AgentKindDenied => failure(&identity::refused_as_a_person().await),
        Reason::UnknownMethod => {
            let server = Server::memory().await;
            let path = "/articlestore.v1.ArticleService/DropAll";
            failure(&server.raw(path, frame(&[])).await.unwrap_err())
        }
        Reason::DeadlineExceeded => {
            let disk = Disk::default();
            let server = slow_server(&disk, CallLimits::default()).await;
            disk.hold();
            let timeout = [("grpc-timeout", "50m")];
            let call = BareCall::begin(&server, CREATE, &timeout, &create_request("a")).await;
            let ended = failure(&call.end().await.0);
            disk.release();
            ended
        }
        Reason::Overloaded => {
            let disk = Disk::default();
            let calls = CallLimits {
                in_flight: 1,
                ..CallLimits::default()
            };
            let server = slow_server(&disk, calls).await;
            let write = held_write(&server, &disk, "a").await;
            let refused = getting(&server, "a").await;
            disk.release();
            within(write).await.unwrap().unwrap();
            refused
        }
    })
}

/// A server with a leased job of `a` into French.
async fn claimed() -> (Server, pb::ClaimedJob) {
    let server = furnished().await;
    jobs::open(&server, jobs::request(&["a"])).await;
    let job = claim_one(&server).await;
    (server, job)
}

/// Only the items of an import meet it.
async fn aliases_disagree() -> Failure {
    let server = Server::memory().await;
    let (mut one, mut other) = (full_article("a"), full_article("b"));
    one.canonical_url.clear();
    other.guid.clear();
    create(&server, one.clone()).await;
    create(&server, other.clone()).await;
    let both = pb::Article {
        article_id: String::new(),
        guid: one.guid,
        ..other
    };
    let item = ImportArticlesRequest {
        item: 1,
        article: Some(both.encode_to_vec().into()),
        significance: 0,
    };
    let answers = server.articles().import_articles(stream::iter([item])).await;
    let answer = within(answers.unwrap().get_mut().message())
        .await
        .unwrap()
        .unwrap();
    let error = answer.error.unwrap();
    let reason = error.reason().as_str_name();
    Failure {
        code: Code::from_i32(error.code),
        reason: reason.strip_prefix("ERROR_REASON_").unwrap().to_owned(),
        message: error.message,
        metadata: error.metadata.into_iter().collect(),
        fields: vec![],
        retry: false,
    }
}

/// Writers of one article that read it together, each time before one of them gets through.
async fn contention() -> Failure {
    const WRITERS: usize = 64;
    let disk = Disk::default();
    let server = slow_server(&disk, CallLimits::default()).await;
    create(&server, article("a", &TEXTS)).await;
    disk.hold();
    let writes = (0..WRITERS).map(|number| {
        let changed = pb::Article {
            section: format!("s{number}"),
            ..article("a", &TEXTS)
        };
        let (mut client, request) = (server.articles(), update_request(changed, &["section"]));
        tokio::spawn(async move { client.update_article(request).await })
    });
    let writes: Vec<_> = writes.collect();
    eventually(|| {
        if disk.is_syncing() {
            disk.release_one();
        }
        writes.iter().all(tokio::task::JoinHandle::is_finished)
    })
    .await;
    disk.release();
    let answers = join_all(writes).await;
    let refused = answers.into_iter().find_map(|answer| answer.unwrap().err());
    failure(&refused.expect("some lose every time"))
}

async fn too_many_policies() -> Failure {
    let server = Server::memory().await;
    let put = async |number: usize| -> Result<Response<_>, Status> {
        let policy = pb::TranslationPolicy {
            policy_id: format!("p{number}"),
            target_languages: vec!["fr".into()],
            kinds: vec![pb::JobKind::Mt.into()],
            ..Default::default()
        };
        let request = pb::PutTranslationPolicyRequest {
            policy: Some(policy),
            ..Default::default()
        };
        server.jobs().put_translation_policy(request).await
    };
    for number in 0..1_000 {
        put(number).await.unwrap();
    }
    refused(put(1_000).await)
}

/// A volume on which no room is enough.
async fn store_full() -> Failure {
    let directory = tempfile::tempdir().unwrap();
    Setup::sled_in(directory.path()).start().await.stop().await;
    let options = StoreOptions {
        cache_bytes: 1 << 20,
        min_free_bytes: Some(u64::MAX),
    };
    let location = StoreLocation::Sled(directory.path().to_path_buf());
    let store = location.open(options, Arc::new(SystemClock)).unwrap();
    let server = Setup::memory().start_over(store).await;
    let refused = creating(&server, article("a", &TEXTS)).await;
    server.stop().await;
    refused
}
