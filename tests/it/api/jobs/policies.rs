//! Policies: they open jobs by themselves, and do not ask for the same text twice.

use std::sync::Arc;

use article_store::clock::SystemClock;
use article_store::domain::change::Kind;
use article_store::store::Store;
use article_store::store::kv::KvStore;
use article_store::store::kv::memory::MemoryEngine;
use article_store::store::reference::ReferenceStore;
use pb::article_service_server::ArticleService;
use pb::translation_job_service_server::TranslationJobService;

use super::*;
use crate::api::dropped::{World, everything};
use crate::harness::Setup;

pub(super) fn policy(id: &str, kinds: &[JobKind]) -> pb::TranslationPolicy {
    pb::TranslationPolicy {
        policy_id: id.into(),
        source_languages: vec!["ar".into()],
        target_languages: vec!["fr".into()],
        kinds: kinds.iter().map(|kind| (*kind).into()).collect(),
        ..Default::default()
    }
}

pub(super) async fn put(server: &Server, policy: pb::TranslationPolicy) -> pb::TranslationPolicy {
    let request = pb::PutTranslationPolicyRequest {
        policy: Some(policy),
        ..Default::default()
    };
    let answer = server.jobs().put_translation_policy(request).await.unwrap();
    answer.into_inner().policy.unwrap()
}

async fn policies(server: &Server) -> Vec<pb::TranslationPolicy> {
    let request = pb::ListTranslationPoliciesRequest::default();
    let answer = server.jobs().list_translation_policies(request).await.unwrap();
    answer.into_inner().policies
}

#[tokio::test]
async fn policies_are_listed_in_pages_that_clients_can_read() {
    let server = Server::memory().await;
    let names: Vec<_> = (0..100).map(|number| format!("{number:0>1024}")).collect();
    for number in 0..30 {
        let long = pb::TranslationPolicy {
            sections: names.clone(),
            publishers: names.clone(),
            ..policy(&format!("p{number:02}"), &[JobKind::Mt])
        };
        put(&server, long).await;
    }
    let mut request = pb::ListTranslationPoliciesRequest {
        page_size: 20,
        ..Default::default()
    };
    let (mut listed, mut pages) = (Vec::new(), Vec::new());
    loop {
        let page = server.jobs().list_translation_policies(request.clone()).await;
        let page = page.unwrap().into_inner();
        pages.push(page.policies.len());
        listed.extend(page.policies.into_iter().map(|policy| policy.policy_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let all: Vec<_> = (0..30).map(|number| format!("p{number:02}")).collect();
    assert_eq!(listed, all);
    assert_eq!(pages, [16, 14]);
    let wrong = pb::ListTranslationPoliciesRequest {
        page_size: -1,
        ..Default::default()
    };
    blames(
        server.jobs().list_translation_policies(wrong).await,
        &["page_size"],
    );
    let foreign = pb::ListTranslationPoliciesRequest {
        page_token: "AAAA".into(),
        ..Default::default()
    };
    fails(
        server.jobs().list_translation_policies(foreign).await,
        Code::InvalidArgument,
        "BAD_TOKEN",
    );
    server.stop().await;
}

#[tokio::test]
async fn policies_are_put_listed_and_removed() {
    let server = Server::sled().await;
    let first = put(&server, policy("news", &[JobKind::Mt])).await;
    assert_eq!((first.priority, first.max_attempts), (3, 5));
    assert_eq!(put(&server, policy("news", &[JobKind::Mt])).await, first);
    let changed = put(&server, policy("news", &[JobKind::Mt, JobKind::Review])).await;
    assert_ne!(changed.etag, first.etag);
    assert_eq!(changed.create_time, first.create_time);
    put(&server, policy("all", &[JobKind::Llm])).await;
    let stale = pb::PutTranslationPolicyRequest {
        policy: Some(policy("news", &[JobKind::Human])),
        etag: first.etag.clone(),
    };
    let failure = fails(
        server.jobs().put_translation_policy(stale).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    assert_eq!(failure.metadata["current_etag"], changed.etag);
    let server = server.restart().await;
    let listed = policies(&server).await;
    assert_eq!(
        listed.iter().map(|p| p.policy_id.as_str()).collect::<Vec<_>>(),
        ["all", "news"]
    );
    assert_eq!(listed[1], changed);
    let delete = |id: &str, etag: &str, allow_missing| pb::DeleteTranslationPolicyRequest {
        policy_id: id.into(),
        etag: etag.into(),
        allow_missing,
    };
    let mut jobs = server.jobs();
    let stale = jobs
        .delete_translation_policy(delete("news", &first.etag, true))
        .await;
    fails(stale, Code::Aborted, "ETAG_MISMATCH");
    jobs.delete_translation_policy(delete("news", &changed.etag, false))
        .await
        .unwrap();
    let gone = jobs.delete_translation_policy(delete("news", "", false)).await;
    let failure = fails(gone, Code::NotFound, "POLICY_NOT_FOUND");
    assert_eq!(failure.metadata["policy_id"], "news");
    jobs.delete_translation_policy(delete("news", "", true))
        .await
        .unwrap();
    drop(jobs);
    let server = server.restart().await;
    assert_eq!(policies(&server).await.len(), 1);
    server.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_policy_opens_jobs_with_the_commit_that_gives_reason() {
    let server = Setup::sled()
        .scopes(&[Right::Editorial, Right::Embargoed])
        .start()
        .await;
    put(&server, policy("news", &[JobKind::Mt])).await;
    let seq = server.seq().await;
    create(&server, article("a", &TEXTS)).await;
    assert_eq!(server.seq().await, seq + 1);
    let opened = job(&server, "a/fr/mt/1").await;
    assert_eq!(
        (opened.state(), opened.policy_id.as_str()),
        (JobState::Pending, "news")
    );
    let claimed = claim_one(&server).await;
    complete(&server, result(&claimed, "fr:")).await;
    // Metadata makes nothing stale; a new text does.
    let renamed = pb::Article {
        article_id: "a".into(),
        section: "world".into(),
        ..Default::default()
    };
    super::super::update(&server, renamed, &["section"]).await;
    assert_eq!(state(&server, "a/fr/mt/1").await, JobState::Done);
    rewrite(&server, "a", &[TEXTS[0], "نص آخر تماما", TEXTS[2]]).await;
    assert_eq!(job(&server, "a/fr/mt/2").await.segment_ids, ["s4"]);
    // Withheld, deleted: canceled. Back again: asked for again.
    use pb::PublicationStatus::{Usable, Withheld};
    withhold(&server, "a", Withheld).await;
    assert_eq!(state(&server, "a/fr/mt/2").await, JobState::Canceled);
    assert_eq!(claim(&server, claim_all()).await, []);
    withhold(&server, "a", Usable).await;
    assert_eq!(state(&server, "a/fr/mt/3").await, JobState::Pending);
    let leased = claim_one(&server).await;
    let delete = pb::DeleteArticleRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    server.articles().delete_article(delete).await.unwrap();
    let late = server.jobs().complete_job(result(&leased, "fr:")).await;
    let failure = fails(late, Code::FailedPrecondition, "LEASE_LOST");
    assert_eq!(failure.metadata["state"], "CANCELED");
    let undelete = pb::UndeleteArticleRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    server.articles().undelete_article(undelete).await.unwrap();
    assert_eq!(state(&server, "a/fr/mt/4").await, JobState::Pending);
    // A translation that is detached is missing, each time.
    for number in 5..=6 {
        let claimed = claim_one(&server).await;
        let brought = complete(&server, result(&claimed, "fr:")).await;
        let detach = pb::DetachTranslationRequest {
            article_id: "a".into(),
            language: "fr".into(),
            translation_id: brought.translation.unwrap().translation_id,
            ..Default::default()
        };
        server.translations().detach_translation(detach).await.unwrap();
        let next = job(&server, &format!("a/fr/mt/{number}")).await;
        assert_eq!(next.segment_ids.len(), 4);
    }
    // Purged: nothing of it is left.
    let purge = pb::PurgeArticleRequest {
        article_id: "a".into(),
        reason: "court order".into(),
        ..Default::default()
    };
    server.articles().purge_article(purge).await.unwrap();
    for number in 1..=6 {
        let id = format!("a/fr/mt/{number}");
        let gone = server.jobs().get_job(pb::GetJobRequest { job_id: id }).await;
        fails(gone, Code::NotFound, "JOB_NOT_FOUND");
    }
    assert_eq!(claim(&server, claim_all()).await, []);
    server.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_chain_of_policies_translates_scores_and_reviews() {
    let server = Server::sled().await;
    put(
        &server,
        policy("chain", &[JobKind::Mt, JobKind::Score, JobKind::Review]),
    )
    .await;
    create(&server, article("a", &TEXTS)).await;
    let claimed = claim_one(&server).await;
    complete(&server, result(&claimed, "fr:")).await;
    let mut next: Vec<_> = claim(&server, claim_all()).await;
    next.sort_by_key(|job| job.job.clone().unwrap().job_id);
    assert_eq!(claimed_ids(&next), ["a/fr/review/1", "a/fr/score/1"]);
    server.stop().await;
}

#[tokio::test]
async fn what_failed_or_was_given_up_is_not_asked_for_again() {
    let server = Server::sled().await;
    put(&server, policy("news", &[JobKind::Mt])).await;
    create(&server, article("a", &TEXTS)).await;
    let claimed = claim_one(&server).await;
    fail(&server, &claimed, true).await.unwrap();
    // Whatever happens to the article without touching its text.
    let renamed = pb::Article {
        article_id: "a".into(),
        section: "world".into(),
        ..Default::default()
    };
    super::super::update(&server, renamed, &["section"]).await;
    attach(&server, by_id("a", "fr", 1, &[("s1", "un")])).await;
    let server = server.restart().await;
    assert_eq!(claim(&server, claim_all()).await, []);
    assert_eq!(state(&server, "a/fr/mt/1").await, JobState::Dead);
    rewrite(&server, "a", &[TEXTS[0], TEXTS[1], "نص آخر تماما"]).await;
    assert_eq!(state(&server, "a/fr/mt/2").await, JobState::Pending);
    let cancel = pb::CancelJobRequest {
        job_id: "a/fr/mt/2".into(),
    };
    server.jobs().cancel_job(cancel).await.unwrap();
    rewrite(&server, "a", &TEXTS).await;
    assert_eq!(claim(&server, claim_all()).await, []);
    // Whoever asks for it by hand gets it.
    assert_eq!(open(&server, request(&["a"])).await[0].job_id, "a/fr/mt/3");
    server.check().await;
    server.stop().await;
}

/// Puts a policy that is at work, or rests.
async fn put_in(world: &World, paused: bool) {
    let request = pb::PutTranslationPolicyRequest {
        policy: Some(pb::TranslationPolicy {
            paused,
            ..policy("p", &[JobKind::Mt])
        }),
        ..Default::default()
    };
    let put = world.jobs.put_translation_policy(everything(request)).await;
    put.unwrap();
}

async fn create_in(world: &World, id: &str) {
    let request = pb::CreateArticleRequest {
        article: Some(article(id, &TEXTS)),
        ..Default::default()
    };
    let created = world.articles.create_article(everything(request)).await;
    created.unwrap();
}

async fn open_jobs(store: &dyn Store) -> usize {
    store.jobs(None, 100).await.unwrap().len()
}

/// Services keep nothing of the policies: each sees what another one over the same store has put or removed.
#[tokio::test]
async fn two_services_over_one_store_follow_the_same_policies() {
    let memory = KvStore::open(MemoryEngine::new(), Arc::new(SystemClock), 1 << 20).unwrap();
    let stores: [Arc<dyn Store>; 2] = [
        Arc::new(memory),
        Arc::new(ReferenceStore::new(Arc::new(SystemClock))),
    ];
    for store in stores {
        let (one, other) = (World::over(store.clone()), World::over(store.clone()));
        create_in(&one, "a").await;
        create_in(&other, "b").await;
        put_in(&one, false).await;
        create_in(&other, "c").await;
        assert_eq!(open_jobs(&*store).await, 1);
        put_in(&other, true).await;
        create_in(&one, "d").await;
        assert_eq!(open_jobs(&*store).await, 1);
        put_in(&one, false).await;
        let request = pb::DeleteTranslationPolicyRequest {
            policy_id: "p".into(),
            ..Default::default()
        };
        let deleted = other.jobs.delete_translation_policy(everything(request)).await;
        deleted.unwrap();
        create_in(&one, "e").await;
        assert_eq!(open_jobs(&*store).await, 1);
        assert_eq!(store.check().await.unwrap(), []);
    }
}

/// While a policy is put and paused, each article opens the jobs of the policies at its place in the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn articles_follow_the_policies_at_their_place_in_the_log() {
    const ARTICLES: usize = 300;
    const CHANGES: usize = 200;
    let store: Arc<dyn Store> =
        Arc::new(KvStore::open(MemoryEngine::new(), Arc::new(SystemClock), 1 << 20).unwrap());
    let writers = (0..4).map(|writer| {
        let world = World::over(store.clone());
        tokio::spawn(async move {
            for number in 0..ARTICLES {
                create_in(&world, &format!("a{writer}-{number}")).await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let world = World::over(store.clone());
    for change in 0..CHANGES {
        put_in(&world, change % 2 == 1).await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let mut is_active = false;
    for commit in store.changes(0, usize::MAX).await.unwrap().commits {
        if commit.events.is_empty() {
            is_active = !is_active;
            continue;
        }
        let has_job = commit
            .events
            .iter()
            .any(|event| matches!(event.kind, Kind::Job { .. }));
        assert_eq!(has_job, is_active, "commit {}", commit.stamp.seq);
    }
}
