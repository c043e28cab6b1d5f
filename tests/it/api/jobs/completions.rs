//! Results: for the source as it was and as it is, beside people's texts, of reviews and of scores.

use super::*;
use crate::api::workflow::by_person;

async fn active_texts(server: &Server) -> Vec<(String, String, pb::Freshness)> {
    let active = translation(server, "a", "fr", "").await;
    let segments = active.title.iter().chain(&active.body);
    segments
        .map(|s| (s.segment_id.clone(), s.text.clone(), s.freshness()))
        .collect()
}

#[tokio::test]
async fn only_what_is_not_current_is_asked_for_and_the_rest_is_context() {
    let server = Server::sled().await;
    create(&server, article("a", &TEXTS)).await;
    attach(&server, small_form("a", "fr", 1, &["un", "deux", "trois"])).await;
    rewrite(&server, "a", &[TEXTS[0], "نص آخر تماما", TEXTS[2], "فقرة رابعة"]).await;
    open(&server, request(&["a"])).await;
    let claimed = claim_one(&server).await;
    assert_eq!(claimed.translation_id, "t1");
    let seen: Vec<_> = claimed
        .segments
        .iter()
        .map(|segment| {
            let target = segment
                .target
                .as_ref()
                .map(|target| (target.text.as_str(), target.freshness()));
            (
                segment.source.as_ref().unwrap().segment_id.as_str(),
                segment.wanted,
                target,
            )
        })
        .collect();
    use pb::Freshness::Current;
    assert_eq!(
        seen,
        [
            ("title", false, Some(("title", Current))),
            ("s1", false, Some(("un", Current))),
            ("s4", true, None),
            ("s3", false, Some(("trois", Current))),
            ("s5", true, None),
        ]
    );
    let done = complete(&server, result(&claimed, "fr:")).await;
    assert_eq!(done.outcome(), AttachOutcome::Updated);
    assert_eq!(done.translation.unwrap().freshness(), Current);
    server.stop().await;
}

#[tokio::test]
async fn a_result_for_an_older_source_is_kept_as_far_as_it_goes() {
    let server = Server::sled().await;
    create(&server, article("a", &TEXTS)).await;
    open(&server, request(&["a"])).await;
    let claimed = claim_one(&server).await;
    // Meanwhile the second paragraph changes a little, the third goes, another comes, and a person translates that.
    let changed = format!("{} وفق بيان", TEXTS[1]);
    rewrite(&server, "a", &[TEXTS[0], &changed, "فقرة جديدة كليا"]).await;
    let ids = crate::api::get(&server, "a").await.body;
    let (kept, new) = (ids[1].segment_id.clone(), ids[2].segment_id.clone());
    assert_eq!(kept, "s2");
    attach(
        &server,
        by_person("ليلى", by_id("a", "fr", 2, &[(&new, "nouveau")])),
    )
    .await;
    let done = complete(&server, result(&claimed, "fr:")).await;
    use pb::Freshness::{Current, Stale};
    let expected = [
        ("title", "fr:عنوان".to_owned(), Current),
        ("s1", format!("fr:{}", TEXTS[0]), Current),
        // Of an older text, and better than nothing.
        ("s2", format!("fr:{}", TEXTS[1]), Stale),
        (new.as_str(), "nouveau".to_owned(), Current),
    ]
    .map(|(id, text, freshness)| (id.to_owned(), text, freshness));
    assert_eq!(active_texts(&server).await, expected);
    assert_eq!(done.job.unwrap().state(), JobState::Done);
    assert_eq!(done.next_job_id, "a/fr/mt/2");
    let stale = translation(&server, "a", "fr", "").await;
    let stale = stale
        .body
        .iter()
        .find(|segment| segment.segment_id == "s2")
        .unwrap();
    assert_eq!(stale.source_revision, 1);
    // The next job asks for the rest.
    let next = claim_one(&server).await;
    assert_eq!(
        wanted(&next)
            .iter()
            .map(|s| s.segment_id.as_str())
            .collect::<Vec<_>>(),
        ["s2"]
    );
    let done = complete(&server, result(&next, "fr:")).await;
    assert_eq!(
        (done.next_job_id.as_str(), done.translation.unwrap().freshness()),
        ("", Current)
    );
    // The first answer can still be had.
    let again = complete(&server, result(&claimed, "fr:")).await;
    assert_eq!(
        (again.job.unwrap().state(), again.next_job_id.as_str()),
        (JobState::Done, "a/fr/mt/2")
    );
    server.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_result_that_came_too_late_for_all_of_it_changes_nothing_else() {
    let server = Server::sled().await;
    create(&server, article("a", &TEXTS[..1])).await;
    open(&server, request(&["a"])).await;
    let claimed = claim_one(&server).await;
    let replaced = pb::Article {
        title: Some(super::super::segment("عنوان آخر")),
        ..article("a", &["كل شيء جديد هنا"])
    };
    super::super::update(&server, replaced, &["title", "body"]).await;
    attach(&server, by_person("ليلى", small_form("a", "fr", 2, &["neuf"]))).await;
    let before = active_texts(&server).await;
    let done = complete(&server, result(&claimed, "fr:")).await;
    assert_eq!(
        (done.outcome(), done.next_job_id.as_str()),
        (AttachOutcome::Unchanged, "")
    );
    assert_eq!(done.translation, None);
    assert_eq!(active_texts(&server).await, before);
    assert_eq!(state(&server, "a/fr/mt/1").await, JobState::Done);
    server.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_persons_text_is_never_overwritten() {
    let server = Server::sled().await;
    create(&server, article("a", &TEXTS)).await;
    attach(
        &server,
        by_person("ليلى", small_form("a", "fr", 1, &["un", "deux", "trois"])),
    )
    .await;
    let changed = format!("{} وفق بيان", TEXTS[1]);
    rewrite(&server, "a", &[TEXTS[0], &changed, TEXTS[2]]).await;
    open(&server, request(&["a"])).await;
    let claimed = claim_one(&server).await;
    assert_eq!(wanted(&claimed).len(), 1);
    let done = complete(&server, result(&claimed, "fr:")).await;
    assert_eq!(done.outcome(), AttachOutcome::Diverted);
    assert_eq!(done.translation.unwrap().translation_id, "t2");
    assert_eq!(active_texts(&server).await[2].1, "deux");
    // A candidate has it now: nothing of this kind is wanted, and of another kind it is.
    assert_eq!(
        open(&server, request(&["a"])).await[0].outcome(),
        RequestOutcome::NothingWanted
    );
    let llm = pb::RequestTranslationsRequest {
        kinds: vec![JobKind::Llm.into()],
        ..request(&["a"])
    };
    assert_eq!(open(&server, llm).await[0].outcome(), RequestOutcome::Opened);
    server.check().await;
    server.stop().await;
}

#[tokio::test]
async fn work_that_others_did_meanwhile_supersedes_a_job() {
    let server = Server::sled().await;
    create(&server, article("a", &TEXTS)).await;
    open(&server, request(&["a"])).await;
    attach(&server, small_form("a", "fr", 1, &["un", "deux", "trois"])).await;
    assert_eq!(state(&server, "a/fr/mt/1").await, JobState::Superseded);
    assert_eq!(claim(&server, claim_all()).await, []);
    // One that is pending follows the source, and wants what is left.
    rewrite(&server, "a", &[TEXTS[0], "نص آخر تماما", "نص ثالث مختلف"]).await;
    open(&server, request(&["a"])).await;
    attach(&server, by_id("a", "fr", 2, &[("s4", "quatre")])).await;
    let pending = job(&server, "a/fr/mt/2").await;
    assert_eq!(
        (pending.state(), pending.segment_ids),
        (JobState::Pending, vec!["s5".to_owned()])
    );
    rewrite(&server, "a", &[TEXTS[0], "نص آخر تماما"]).await;
    assert_eq!(state(&server, "a/fr/mt/2").await, JobState::Superseded);
    server.check().await;
    server.stop().await;
}

#[tokio::test]
async fn reviews_and_scores_are_jobs_too() {
    let server = Server::sled().await;
    create(&server, article("a", &TEXTS)).await;
    attach(&server, small_form("a", "fr", 1, &["un", "deux", "trois"])).await;
    let asked = pb::RequestTranslationsRequest {
        kinds: vec![JobKind::Review.into(), JobKind::Score.into()],
        ..request(&["a"])
    };
    open(&server, asked).await;
    let mut jobs = claim(&server, claim_all()).await;
    jobs.sort_by_key(|job| job.job.clone().unwrap().job_id);
    let [review, score] = jobs.try_into().unwrap();
    // A text changes after the claim.
    attach(&server, by_id("a", "fr", 1, &[("s3", "TROIS")])).await;
    let (job_id, lease_token) = fence(&review);
    let reviewed = pb::CompleteJobRequest {
        job_id,
        lease_token,
        agent: agent(AgentKind::Human, "ليلى"),
        result: Some(pb::complete_job_request::Result::Review(pb::ReviewResult {
            segment_ids: vec![],
            comment: "sound".into(),
        })),
        ..Default::default()
    };
    let done = complete(&server, reviewed).await;
    assert_eq!(done.outcome(), AttachOutcome::Updated);
    let states: Vec<_> = translation(&server, "a", "fr", "")
        .await
        .body
        .iter()
        .map(|s| s.state())
        .collect();
    use pb::TranslationState::{Reviewed, Translated};
    assert_eq!(states, [Reviewed, Reviewed, Translated]);
    // What changed is the next review.
    assert_eq!(done.next_job_id, "a/fr/review/2");
    assert_eq!(job(&server, "a/fr/review/2").await.segment_ids, ["s3"]);

    let of = |segment: &str, value: f64| pb::QualityScore {
        metric: "COMET-QE".into(),
        value,
        max: 1.0,
        segment_id: segment.into(),
        ..Default::default()
    };
    let (job_id, lease_token) = fence(&score);
    let scored = pb::CompleteJobRequest {
        job_id,
        lease_token,
        agent: agent(AgentKind::Rule, "scorer"),
        result: Some(pb::complete_job_request::Result::Scores(pb::ScoreResult {
            quality_scores: vec![of("s1", 0.8), of("s3", 0.1), of("", 0.5)],
            quality_issues: vec![],
        })),
        ..Default::default()
    };
    complete(&server, scored).await;
    let scores = translation(&server, "a", "fr", "").await.quality_scores;
    let about: Vec<_> = scores
        .iter()
        .map(|score| (score.segment_id.as_str(), score.value))
        .collect();
    assert_eq!(about, [("s1", 0.8)]);
    assert_eq!(state(&server, "a/fr/score/2").await, JobState::Pending);
    server.check().await;
    server.stop().await;
}
