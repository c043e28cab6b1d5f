//! The rules of jobs: ids, queue, fences, what is wanted, and what follows from changes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::access::Visibility;
use crate::domain::article::{ArticleVersion, Head, Manifest, ManifestEntry, Metadata, PublicationStatus};
use crate::domain::etag::Etag;
use crate::domain::job::life::back_off;
use crate::domain::language::Language;
use crate::domain::provenance::{Actor, Agent, AgentKind};
use crate::domain::segment::MarkedText;
use crate::domain::segment::{DraftSegment, Role};
use crate::domain::translation::{Binding, Disposition, SegmentOrigin, Slot, State, TranslationHead};
use crate::domain::version::Version;

mod policies;

const NOW: Timestamp = Timestamp::MIN;
const NO_ETAG: Etag = Etag {
    version: 1,
    digest: 0,
};

fn at(seconds: i64) -> Timestamp {
    NOW.saturating_add_micros(seconds * SECOND)
}

fn language(tag: &str) -> Language {
    Language::parse(tag).unwrap()
}

fn key(kind: JobKind) -> JobKey {
    JobKey {
        language: language("fr"),
        kind,
    }
}

fn hash(text: &str) -> TextHash {
    TextHash::of_source(
        Role::Paragraph,
        &MarkedText::new(text.into(), Vec::new()).unwrap(),
    )
}

fn manifest(texts: &[&str]) -> Manifest {
    let entries = (1..).zip(texts).map(|(number, text)| ManifestEntry {
        id: SegmentId::Body(number),
        hash: hash(text),
        translate: *text != "***",
    });
    Manifest(entries.collect())
}

fn order(priority: u32) -> Order {
    Order {
        priority: Priority::new(priority).unwrap(),
        not_before: None,
        deadline: None,
        max_attempts: 2,
        policy: None,
        principal: String::new(),
    }
}

fn head(source: Manifest, revision: u32, visibility: Visibility) -> Head {
    let metadata = Metadata {
        language: language("ar"),
        section: "world".into(),
        publisher: String::new(),
        canonical_url: None,
        guid: String::new(),
        located: String::new(),
        dateline: String::new(),
        info_sources: Vec::new(),
        authors: Vec::new(),
        keywords: Vec::new(),
        labels: BTreeMap::new(),
        published: None,
        updated: None,
        publication_status: PublicationStatus::Usable,
        status_reason: String::new(),
        embargo_time: None,
    };
    let segment = |id| DraftSegment::paragraph(String::new()).unwrap().with_id(id);
    Head {
        id: ArticleId::parse("a").unwrap(),
        current: ArticleVersion {
            stamp: Stamp::PENDING,
            etag: NO_ETAG,
            metadata,
            revision: Version {
                number: revision,
                stamp: Stamp::PENDING,
            },
            created: Stamp::PENDING,
            deleted: None,
            visibility,
            actor: Actor::default(),
            number: 1,
        },
        title: segment(SegmentId::Title),
        lead: segment(SegmentId::Lead),
        manifest: source,
        next_segment: 99,
        aliases: Vec::new(),
    }
}

/// A translation with targets: the source text of each, who wrote it, and how far it got.
fn translation(
    id: u32,
    disposition: Disposition,
    targets: &[(u32, &str, AgentKind, State)],
) -> TranslationHead {
    let bindings = targets.iter().map(|(number, source, writer, state)| Binding {
        id: SegmentId::Body(*number),
        source_revision: 1,
        source_hash: hash(source),
        translate: true,
        target_hash: hash(&format!("target of {source}")),
        state: *state,
        sub_state: String::new(),
        writer: *writer,
        author: None,
        origin: SegmentOrigin::Machine,
        reviewed: false,
        copied: false,
    });
    TranslationHead {
        id: TranslationId(id),
        etag: NO_ETAG,
        disposition,
        agent: Agent::of_kind(AgentKind::Mt),
        source_revision: 1,
        source_content_hash: hash(""),
        external_uri: String::new(),
        external_state: State::Initial,
        external_reviewed: false,
        bindings: bindings.collect(),
        scored: false,
        created: Stamp::PENDING,
        updated: Stamp::PENDING,
        version: Version::FIRST,
    }
}

fn slot(translations: Vec<TranslationHead>) -> Slot {
    Slot {
        article: ArticleId::parse("a").unwrap(),
        language: language("fr"),
        version: 1,
        stamp: Stamp::PENDING,
        etag: NO_ETAG,
        translations,
        selection: Version::FIRST,
    }
}

fn ids(wanted: impl Iterator<Item = Wanted>) -> Vec<String> {
    wanted.map(|wanted| wanted.segment.to_string()).collect()
}

fn job(priority: u32, opened: i64) -> Job {
    let article = ArticleId::parse("a").unwrap();
    let mut job = Job::open(&article, key(JobKind::Mt), None, 1, order(priority));
    job.resolve(Stamp {
        seq: 1,
        time: at(opened),
    });
    job
}

fn grant(token: u8) -> Grant {
    Grant {
        token: LeaseToken([token; 16]),
        worker: "w".into(),
        lease_micros: 10 * SECOND,
    }
}

fn settled(token: u8) -> Settled {
    Settled {
        token: LeaseToken([token; 16]),
        digest: [token; 32],
        result: None,
    }
}

#[test]
fn job_ids_have_one_spelling() {
    for text in [
        "a1/fr/mt/1",
        "x.y~z/zh-Hant/review/4294967295",
        "-/pt-BR/score/12",
    ] {
        assert_eq!(JobId::parse(text).unwrap().to_string(), text);
    }
    for text in [
        "",
        "a1",
        "a1/fr/mt",
        "a1/fr/mt/0",
        "a1/fr/mt/01",
        "a1/fr/mt/+1",
        "a1/FR/mt/1",
        "a1/fr/MT/1",
        "a1/fr/mt/1/2",
        "a 1/fr/mt/1",
        "a1//mt/1",
        "a1/fr/mt/4294967296",
    ] {
        assert!(JobId::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn lease_tokens_have_one_spelling() {
    let token = LeaseToken([0xAB; 16]);
    assert_eq!(LeaseToken::parse(&token.to_string()), Ok(token));
    let zero = "0".repeat(32);
    assert_eq!(LeaseToken::parse(&zero).unwrap().to_string(), zero);
    for text in [
        "",
        "ab",
        &"AB".repeat(16),
        &"g".repeat(32),
        &"0".repeat(33),
        &format!("+{}", "0".repeat(31)),
    ] {
        assert!(LeaseToken::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_low_priority_waits_its_time_and_no_longer() {
    let low = job(4, 0);
    let hours = |hours: i64| hours * 3_600;
    assert!(job(1, hours(6) - 1).rank() < low.rank());
    assert!(job(1, hours(6) + 1).rank() > low.rank());
    assert!(job(3, 0).rank() < low.rank() && job(2, 0).rank() < job(3, 0).rank());
    let mut due = job(4, 0);
    due.deadline = Some(at(hours(1)));
    assert_eq!(due.rank(), at(hours(1) - 600));
    // A deadline that is far away makes nobody later.
    due.deadline = Some(at(hours(100)));
    assert_eq!(due.rank(), low.rank());
}

#[test]
fn an_ended_lease_is_claimable_at_once_and_counts_until_then() {
    let leased = job(1, 0).leased(grant(1), at(0));
    assert_eq!(leased.state_at(at(9)), JobState::Leased);
    assert!(!leased.is_claimable(at(9)));
    assert_eq!(leased.state_at(at(10)), JobState::Pending);
    assert!(leased.is_claimable(at(10)));
    assert!(leased.fenced(LeaseToken([1; 16])).is_ok());
    let again = leased.leased(grant(2), at(10));
    assert_eq!(again.fenced(LeaseToken([1; 16])), Err(JobRefusal::LeaseLost));
    assert!(again.fenced(LeaseToken([2; 16])).is_ok());
    // Two attempts were all.
    assert_eq!(again.attempts, 2);
    assert_eq!(again.state_at(at(20)), JobState::Dead);
    assert!(!again.is_claimable(at(20)));
    assert_eq!(again.expired().state, JobState::Dead);
}

#[test]
fn failures_wait_longer_and_longer_and_end() {
    let mut job = job(1, 0);
    job.max_attempts = 40;
    let mut waits = Vec::new();
    for attempt in 1..=40 {
        let leased = job.leased(grant(1), at(0));
        let failure = Failure {
            message: "no engine".into(),
            worker: "w".into(),
            time: at(0),
        };
        job = leased.failed(settled(1), failure, false, None, 1.0);
        assert_eq!(job.attempts, attempt);
        match job.not_before {
            Some(time) => waits.push((time.as_micros() - NOW.as_micros()) / SECOND),
            None => assert_eq!((job.state, attempt), (JobState::Dead, 40)),
        }
        if job.state == JobState::Pending {
            assert!(!job.is_claimable(at(14)) && job.is_claimable(at(3_600)));
        }
    }
    assert_eq!(waits[..4], [30, 60, 120, 240]);
    assert_eq!(waits.iter().max(), Some(&3_600));
    assert_eq!((back_off(1, 0.0), back_off(1, 1.0)), (15 * SECOND, 30 * SECOND));
}

#[test]
fn a_release_costs_no_attempt_and_a_permanent_failure_all() {
    let leased = job(1, 0).leased(grant(1), at(0));
    let released = leased.released(Some(settled(1)));
    assert_eq!(
        (released.state, released.attempts, released.not_before),
        (JobState::Pending, 0, None)
    );
    assert!(
        released.settled_by(LeaseToken([1; 16])).is_some()
            && released.settled_by(LeaseToken([2; 16])).is_none()
    );
    let failure = Failure {
        message: String::new(),
        worker: String::new(),
        time: at(0),
    };
    assert_eq!(
        leased.failed(settled(1), failure, true, None, 0.5).state,
        JobState::Dead
    );
}

#[test]
fn what_is_wanted_is_what_is_missing_or_stale_and_no_candidate_has() {
    use AgentKind::{Human, Llm, Mt};
    use Disposition::{Active, Candidate, Rejected};
    let source = manifest(&["one", "two", "***", "four"]);
    assert_eq!(ids(wanted(JobKind::Mt, &source, None)), ["s1", "s2", "s4"]);
    let t = State::Translated;
    let active = translation(1, Active, &[(1, "one", Human, t), (2, "old", Human, t)]);
    let only = slot(vec![active.clone()]);
    for kind in [JobKind::Mt, JobKind::Llm, JobKind::Human] {
        assert_eq!(ids(wanted(kind, &source, Some(&only))), ["s2", "s4"]);
    }
    // A machine's candidate beside a stale human paragraph: that kind of machine is not asked again.
    let candidate = translation(2, Candidate, &[(1, "one", Human, t), (2, "two", Mt, t)]);
    let both = slot(vec![active.clone(), candidate]);
    assert_eq!(ids(wanted(JobKind::Mt, &source, Some(&both))), ["s4"]);
    assert_eq!(ids(wanted(JobKind::Llm, &source, Some(&both))), ["s2", "s4"]);
    assert_eq!(ids(wanted(JobKind::Human, &source, Some(&both))), ["s2", "s4"]);
    let rejected = slot(vec![active, translation(2, Rejected, &[(2, "two", Llm, t)])]);
    assert_eq!(ids(wanted(JobKind::Llm, &source, Some(&rejected))), ["s2", "s4"]);
    // Orphans are nobody's work.
    let orphan = translation(
        1,
        Active,
        &[
            (1, "one", Mt, t),
            (2, "two", Mt, t),
            (4, "four", Mt, t),
            (9, "gone", Mt, t),
        ],
    );
    let orphaned = slot(vec![orphan]);
    assert_eq!(ids(wanted(JobKind::Mt, &source, Some(&orphaned))), [""; 0]);
}

#[test]
fn reviews_want_current_unreviewed_targets_and_scores_all_current_ones() {
    use AgentKind::Mt;
    let source = manifest(&["one", "two", "three", "***"]);
    assert_eq!(ids(wanted(JobKind::Review, &source, None)), [""; 0]);
    let targets = [
        (1, "one", Mt, State::Translated),
        (2, "old", Mt, State::Translated),
        (3, "three", Mt, State::Reviewed),
        (4, "***", Mt, State::Translated),
    ];
    let slot = slot(vec![translation(1, Disposition::Active, &targets)]);
    let review: Vec<_> = wanted(JobKind::Review, &source, Some(&slot)).collect();
    assert_eq!(review[0].hash, hash("target of one"));
    assert_eq!(ids(review.into_iter()), ["s1"]);
    assert_eq!(ids(wanted(JobKind::Score, &source, Some(&slot))), ["s1", "s3"]);
}

#[test]
fn claim_queries_match_by_pair_and_kind() {
    let pair = |source: &str, target: &str| Pair {
        source: (!source.is_empty()).then(|| language(source)),
        target: (!target.is_empty()).then(|| language(target)),
    };
    let query = |pairs: Vec<Pair>, kinds: Vec<JobKind>| ClaimQuery {
        pairs,
        kinds,
        ..ClaimQuery::default()
    };
    let (ar, mt) = (language("ar"), key(JobKind::Mt));
    assert!(ClaimQuery::default().matches(&ar, &mt));
    assert!(query(vec![pair("en", "fr"), pair("ar", "")], vec![]).matches(&ar, &mt));
    assert!(query(vec![pair("", "fr")], vec![JobKind::Mt]).matches(&ar, &mt));
    assert!(!query(vec![pair("", "fr-CA")], vec![]).matches(&ar, &mt));
    assert!(!query(vec![pair("ar", "fr")], vec![JobKind::Llm]).matches(&ar, &mt));
}
