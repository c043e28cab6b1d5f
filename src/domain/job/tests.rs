//! The rules of jobs: ids, queue, fences, what is wanted, and what follows from changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::access::Visibility;
use crate::domain::article::{ArticleVersion, Head, Manifest, ManifestEntry, Metadata, PublicationStatus};
use crate::domain::etag::Etag;
use crate::domain::history::History;
use crate::domain::job::follow::{Article, Jobs};
use crate::domain::job::life::back_off;
use crate::domain::language::Language;
use crate::domain::policy::{PolicyRule, TranslationPolicy};
use crate::domain::provenance::{Actor, Agent, AgentKind};
use crate::domain::segment::MarkedText;
use crate::domain::segment::{DraftSegment, Role};
use crate::domain::translation::{Binding, Disposition, SegmentOrigin, Slot, State, TranslationHead};

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
    let mut revisions = History::first(0);
    revisions.newest.number = revision;
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
            revision: revisions.newest,
            created: Stamp::PENDING,
            deleted: None,
            visibility,
            actor: Actor::default(),
            history: History::first(0),
        },
        title: segment(SegmentId::Title),
        lead: segment(SegmentId::Lead),
        manifest: source,
        next_segment: 99,
        aliases: Vec::new(),
        revisions,
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
        history: History::first(0),
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
        selections: History::first(1),
    }
}

fn ids(wanted: &[Wanted]) -> Vec<String> {
    wanted.iter().map(|wanted| wanted.segment.to_string()).collect()
}

fn job(priority: u32, opened: i64) -> Job {
    let wanted = vec![Wanted {
        segment: SegmentId::Body(1),
        hash: hash("one"),
    }];
    let mut job = Job::open(
        &ArticleId::parse("a").unwrap(),
        key(JobKind::Mt),
        None,
        1,
        wanted,
        order(priority),
    );
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
    assert_eq!(ids(&wanted(JobKind::Mt, &source, None)), ["s1", "s2", "s4"]);
    let t = State::Translated;
    let active = translation(1, Active, &[(1, "one", Human, t), (2, "old", Human, t)]);
    let only = slot(vec![active.clone()]);
    for kind in [JobKind::Mt, JobKind::Llm, JobKind::Human] {
        assert_eq!(ids(&wanted(kind, &source, Some(&only))), ["s2", "s4"]);
    }
    // A machine's candidate beside a stale human paragraph: that kind of machine is not asked again.
    let candidate = translation(2, Candidate, &[(1, "one", Human, t), (2, "two", Mt, t)]);
    let both = slot(vec![active.clone(), candidate]);
    assert_eq!(ids(&wanted(JobKind::Mt, &source, Some(&both))), ["s4"]);
    assert_eq!(ids(&wanted(JobKind::Llm, &source, Some(&both))), ["s2", "s4"]);
    assert_eq!(ids(&wanted(JobKind::Human, &source, Some(&both))), ["s2", "s4"]);
    let rejected = slot(vec![active, translation(2, Rejected, &[(2, "two", Llm, t)])]);
    assert_eq!(ids(&wanted(JobKind::Llm, &source, Some(&rejected))), ["s2", "s4"]);
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
    assert_eq!(
        ids(&wanted(JobKind::Mt, &source, Some(&slot(vec![orphan])))),
        [""; 0]
    );
}

#[test]
fn reviews_want_current_unreviewed_targets_and_scores_all_current_ones() {
    use AgentKind::Mt;
    let source = manifest(&["one", "two", "three", "***"]);
    assert_eq!(ids(&wanted(JobKind::Review, &source, None)), [""; 0]);
    let targets = [
        (1, "one", Mt, State::Translated),
        (2, "old", Mt, State::Translated),
        (3, "three", Mt, State::Reviewed),
        (4, "***", Mt, State::Translated),
    ];
    let slot = slot(vec![translation(1, Disposition::Active, &targets)]);
    let review = wanted(JobKind::Review, &source, Some(&slot));
    assert_eq!(ids(&review), ["s1"]);
    assert_eq!(review[0].hash, hash("target of one"));
    assert_eq!(ids(&wanted(JobKind::Score, &source, Some(&slot))), ["s1", "s3"]);
}

fn policy(id: &str, priority: u32, kinds: &[JobKind]) -> TranslationPolicy {
    TranslationPolicy {
        id: PolicyId::parse(id).unwrap(),
        etag: NO_ETAG,
        rule: PolicyRule {
            source_languages: vec![language("ar")],
            sections: vec!["world".into()],
            publishers: Vec::new(),
            target_languages: vec![language("ar"), language("fr")],
            kinds: kinds.to_vec(),
            priority: Priority::new(priority).unwrap(),
            max_attempts: 3,
            paused: false,
        },
        created: NOW,
        updated: NOW,
    }
}

/// An article with its jobs, changed as the service does it.
struct World {
    head: Head,
    slots: BTreeMap<Language, Arc<Slot>>,
    jobs: Jobs,
    policies: Vec<TranslationPolicy>,
}

impl World {
    fn new(texts: &[&str], policies: Vec<TranslationPolicy>) -> Self {
        Self {
            head: head(manifest(texts), 1, Visibility::Public),
            slots: BTreeMap::new(),
            jobs: Jobs::new(),
            policies,
        }
    }

    fn article(&self) -> Article<'_> {
        Article {
            head: &self.head,
            slots: &self.slots,
            jobs: &self.jobs,
        }
    }

    /// Takes in what follows from the present state; answers how the jobs changed.
    fn follow(&mut self) -> Vec<(JobKind, JobState, u32)> {
        let changed = self.article().follow(None, &self.policies, at(0));
        let summary = changed
            .iter()
            .map(|job| (job.id.key.kind, job.state, job.id.number))
            .collect();
        self.take(changed);
        summary
    }

    fn take(&mut self, jobs: Vec<Job>) {
        self.jobs
            .extend(jobs.into_iter().map(|job| (job.id.key.clone(), Arc::new(job))));
    }

    fn revise(&mut self, texts: &[&str]) {
        self.head = head(
            manifest(texts),
            self.head.revision() + 1,
            self.head.current.visibility,
        );
    }

    fn mt(&self) -> &Job {
        &self.jobs[&key(JobKind::Mt)]
    }
}

#[test]
fn policies_open_one_job_and_do_not_ask_twice() {
    use JobState::{Canceled, Dead, Pending};
    let mt = JobKind::Mt;
    let mut world = World::new(
        &["one", "two"],
        vec![policy("late", 4, &[mt]), policy("soon", 2, &[mt])],
    );
    assert_eq!(world.follow(), [(mt, Pending, 1)]);
    assert_eq!(world.mt().policy, Some(PolicyId::parse("soon").unwrap()));
    assert_eq!(world.follow(), []);
    // Pending jobs follow the source.
    world.revise(&["one", "TWO"]);
    assert_eq!(world.follow(), [(mt, Pending, 1)]);
    assert_eq!(world.mt().source_revision, 2);
    // What failed is not asked for again until it is another text.
    let dead = Job {
        state: Dead,
        ..world.mt().clone()
    };
    world.take(vec![dead]);
    assert_eq!(world.follow(), []);
    world.revise(&["one", "zwei"]);
    assert_eq!(world.follow(), [(mt, Pending, 2)]);
    let canceled = world.mt().canceled(false);
    world.take(vec![canceled]);
    assert_eq!(world.follow(), []);
    // Going back to what failed before the last job asks for nothing, either.
    world.revise(&["one", "TWO"]);
    assert_eq!(world.follow(), []);
    assert_eq!(world.mt().state, Canceled);
    world.policies[1].rule.paused = true;
    world.policies[0].rule.sections = vec!["sports".into()];
    world.revise(&["new"]);
    assert_eq!(world.follow(), []);
}

#[test]
fn what_was_detached_is_asked_for_again_and_what_was_rejected_is_not() {
    use Disposition::{Active, Candidate, Rejected, Withdrawn};
    let (mt, t) = (JobKind::Mt, State::Translated);
    let texts = [(1, "one", AgentKind::Mt, t), (2, "two", AgentKind::Mt, t)];
    let done = |disposition| {
        let mut world = World::new(&["one", "two"], vec![policy("p", 3, &[mt])]);
        world.follow();
        let result = JobResult {
            translation: TranslationId(1),
            outcome: Outcome::Created,
        };
        let job = world.mt().leased(grant(1), at(0)).done(Settled {
            result: Some(result),
            ..settled(1)
        });
        world.take(vec![job]);
        let brought = slot(vec![translation(1, disposition, &texts)]);
        world.slots.insert(language("fr"), Arc::new(brought));
        world
    };
    for there in [Active, Candidate, Rejected] {
        assert_eq!(done(there).follow(), [], "{there:?}");
    }
    assert_eq!(done(Withdrawn).follow(), [(mt, JobState::Pending, 2)]);
    // Not even after other texts were asked for in between.
    let mut world = done(Rejected);
    let job = Job::open(
        &world.head.id,
        key(mt),
        Some(world.mt()),
        2,
        vec![Wanted {
            segment: SegmentId::Body(9),
            hash: hash("between"),
        }],
        order(3),
    );
    world.take(vec![job.superseded()]);
    assert_eq!(world.follow(), []);
    // Another kind of agent may do better.
    world.policies = vec![policy("p", 3, &[JobKind::Llm])];
    assert_eq!(world.follow(), [(JobKind::Llm, JobState::Pending, 1)]);
}

#[test]
fn what_others_brought_is_asked_for_when_it_is_gone() {
    let t = State::Translated;
    let mut world = World::new(&["one"], vec![policy("p", 3, &[JobKind::Mt])]);
    world.follow();
    let by = |disposition| {
        slot(vec![translation(
            1,
            disposition,
            &[(1, "one", AgentKind::Llm, t)],
        )])
    };
    world
        .slots
        .insert(language("fr"), Arc::new(by(Disposition::Active)));
    assert_eq!(world.follow(), [(JobKind::Mt, JobState::Superseded, 1)]);
    assert_eq!(world.follow(), []);
    world
        .slots
        .insert(language("fr"), Arc::new(by(Disposition::Rejected)));
    assert_eq!(world.follow(), [(JobKind::Mt, JobState::Pending, 2)]);
}

#[test]
fn hidden_articles_lose_their_jobs_and_get_them_back() {
    use JobState::{Canceled, Pending};
    let mt = JobKind::Mt;
    for visibility in [Visibility::Withheld, Visibility::Canceled] {
        let mut world = World::new(&["one"], vec![policy("p", 3, &[mt])]);
        world.follow();
        let leased = world.mt().leased(grant(1), at(0));
        world.take(vec![leased]);
        world.head.current.visibility = visibility;
        assert_eq!(world.follow(), [(mt, Canceled, 1)]);
        assert!(world.mt().fenced(LeaseToken([1; 16])).is_err());
        assert_eq!(world.follow(), []);
        world.head.current.visibility = Visibility::Embargoed;
        assert_eq!(world.follow(), [(mt, Pending, 2)]);
    }
}

#[test]
fn a_leased_job_stays_as_it_was_claimed_and_a_claim_asks_for_what_is_wanted_now() {
    let mt = JobKind::Mt;
    let mut world = World::new(&["one", "two"], vec![policy("p", 3, &[mt])]);
    world.follow();
    let Found::Leased(leased) = world.article().claim(world.mt(), &grant(1), at(0)) else {
        panic!("the job is claimable")
    };
    world.take(vec![leased]);
    world.revise(&["one", "TWO"]);
    assert_eq!(world.follow(), []);
    assert_eq!(world.mt().source_revision, 1);
    assert_eq!(world.article().claim(world.mt(), &grant(2), at(5)), Found::NotNow);
    let Found::Leased(again) = world.article().claim(world.mt(), &grant(2), at(10)) else {
        panic!("the lease has ended")
    };
    assert_eq!((again.source_revision, again.attempts), (2, 2));
    assert_eq!(again.wanted[1].hash, hash("TWO"));
    // What was attached by others meanwhile needs no worker.
    let t = State::Translated;
    let all = translation(
        1,
        Disposition::Active,
        &[(1, "one", AgentKind::Mt, t), (2, "TWO", AgentKind::Mt, t)],
    );
    world.slots.insert(language("fr"), Arc::new(slot(vec![all])));
    let Found::Ended(ended) = world.article().claim(world.mt(), &grant(3), at(10)) else {
        panic!("nothing is wanted")
    };
    assert_eq!(ended.state, JobState::Superseded);
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

/// What happens to an article with a policy.
#[derive(Debug, Clone)]
enum Step {
    Revise(usize, usize),
    Claim,
    Fail(bool),
    /// The job brings all it was asked for; with `true` to a candidate, because a person's text stands there.
    Complete(bool),
    Cancel,
    Hide(bool),
    Human(usize),
    Wait,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever happens: one job of a key is open at most, numbers only grow, and a policy asks for a set of texts again
    /// only if the job that asked for it last was done, or was canceled because the article was hidden.
    #[test]
    fn no_text_is_asked_for_twice(steps in proptest::collection::vec(prop_oneof![
        4 => (0usize..3, 0usize..4).prop_map(|(segment, variant)| Step::Revise(segment, variant)),
        4 => Just(Step::Claim),
        2 => any::<bool>().prop_map(Step::Fail),
        3 => any::<bool>().prop_map(Step::Complete),
        1 => Just(Step::Cancel),
        1 => any::<bool>().prop_map(Step::Hide),
        1 => (0usize..3).prop_map(Step::Human),
        1 => Just(Step::Wait),
    ], 1..60)) {
        let mt = JobKind::Mt;
        let mut texts = [0usize; 3];
        let name = |segment: usize, variant: usize| format!("{segment} in variant {variant}");
        let source = |texts: &[usize; 3]| -> Vec<String> {
            texts.iter().enumerate().map(|(segment, variant)| name(segment, *variant)).collect()
        };
        let as_strs = |texts: &[String]| texts.iter().map(|text| text.clone().leak() as &str).collect::<Vec<_>>();
        let mut world = World::new(&as_strs(&source(&texts)), vec![policy("p", 3, &[mt])]);
        // By segment: the variant that the active translation and the machine's candidate have, and who wrote the former.
        let mut active: BTreeMap<usize, (usize, AgentKind)> = BTreeMap::new();
        let mut candidate: BTreeMap<usize, usize> = BTreeMap::new();
        let mut asked: BTreeMap<Vec<Wanted>, JobState> = BTreeMap::new();
        let mut clock = 0;
        let mut number = 0;
        for step in std::iter::once(Step::Wait).chain(steps) {
            let job = world.jobs.get(&key(mt)).map(|job| (**job).clone());
            let leased = job.clone().filter(|job| job.state == JobState::Leased);
            match step {
                Step::Revise(segment, variant) => {
                    texts[segment] = variant;
                    world.revise(&as_strs(&source(&texts)));
                }
                Step::Claim => {
                    if let Some(job) = job {
                        let found = world.article().claim(&job, &grant(1), at(clock));
                        match found {
                            Found::Leased(job) | Found::Ended(job) => world.take(vec![job]),
                            Found::NotNow => {}
                        }
                    }
                }
                Step::Fail(permanent) => if let Some(job) = leased {
                    let failure = Failure { message: String::new(), worker: String::new(), time: at(clock) };
                    let failed = job.failed(settled(1), failure, permanent, Some(0), 0.0);
                    world.take(vec![failed]);
                },
                Step::Complete(diverted) => if let Some(job) = leased {
                    for wanted in &job.wanted {
                        let SegmentId::Body(number) = wanted.segment else { unreachable!() };
                        let segment = usize::try_from(number).unwrap() - 1;
                        let variant = (0..4).find(|variant| hash(&name(segment, *variant)) == wanted.hash).unwrap();
                        if diverted && active.get(&segment).is_some_and(|(_, writer)| *writer == AgentKind::Human) {
                            candidate.insert(segment, variant);
                        } else if active.get(&segment).is_none_or(|(_, writer)| *writer != AgentKind::Human) {
                            active.insert(segment, (variant, AgentKind::Mt));
                        } else {
                            candidate.insert(segment, variant);
                        }
                    }
                    let done = job.done(settled(1));
                    world.take(vec![done]);
                },
                Step::Cancel => if let Some(job) = job.filter(|job| job.state.is_open()) {
                    let canceled = job.canceled(false);
                    world.take(vec![canceled]);
                },
                Step::Hide(hidden) => {
                    world.head.current.visibility = if hidden { Visibility::Withheld } else { Visibility::Public };
                }
                Step::Human(segment) => {
                    active.insert(segment, (texts[segment], AgentKind::Human));
                }
                Step::Wait => clock += 20,
            }
            let targets = |of: Vec<(usize, usize, AgentKind)>| -> Vec<(u32, &'static str, AgentKind, State)> {
                of.into_iter()
                    .map(|(segment, variant, writer)| {
                        let number = u32::try_from(segment).unwrap() + 1;
                        (number, &*name(segment, variant).leak(), writer, State::Translated)
                    })
                    .collect()
            };
            let mut translations = Vec::new();
            if !active.is_empty() {
                let of = active.iter().map(|(segment, (variant, writer))| (*segment, *variant, *writer)).collect();
                translations.push(translation(1, Disposition::Active, &targets(of)));
            }
            if !candidate.is_empty() {
                let of = candidate.iter().map(|(segment, variant)| (*segment, *variant, AgentKind::Mt)).collect();
                translations.push(translation(2, Disposition::Candidate, &targets(of)));
            }
            world.slots = BTreeMap::from([(language("fr"), Arc::new(slot(translations)))]);
            // Remember how the last job ended before the next one is opened.
            if let Some(job) = world.jobs.get(&key(mt)).filter(|job| !job.state.is_open()) {
                asked.insert(job.wanted.clone(), if job.hidden { JobState::Done } else { job.state });
            }
            world.policies[0].rule.paused = false;
            let changed = world.article().follow(None, &world.policies, at(clock));
            for job in &changed {
                prop_assert!(!job.wanted.is_empty());
                if job.id.number > number {
                    prop_assert_eq!(job.id.number, number + 1);
                    prop_assert!(job.state == JobState::Pending);
                    let before = asked.get(&job.wanted);
                    prop_assert!(
                        matches!(before, None | Some(JobState::Done | JobState::Superseded)),
                        "{:?} was asked for before, and that ended {:?}", job.wanted, before
                    );
                    number = job.id.number;
                }
            }
            world.take(changed);
            // Nothing follows from nothing.
            prop_assert_eq!(world.article().follow(None, &world.policies, at(clock)), vec![]);
        }
    }
}
