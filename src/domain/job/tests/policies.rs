//! Jobs that policies open.

use std::sync::Arc;

use super::*;
use crate::domain::job::follow::{Article, Jobs};
use crate::domain::policy::{PolicyRule, TranslationPolicy};

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

    /// The job with what it wants.
    fn assigned(&self) -> Job {
        let job = self.jobs[&key(JobKind::Mt)].clone();
        (*self.article().assigned(job)).clone()
    }

    /// Leases the job.
    fn claim(&mut self) {
        let leased = self.article().claim(self.mt(), &grant(1), at(0));
        self.take(vec![leased.expect("the job is claimable")]);
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
    // Pending jobs follow the source, and nothing is written for that.
    world.revise(&["one", "TWO"]);
    assert_eq!(world.follow(), []);
    let pending = world.assigned();
    assert_eq!((pending.source_revision, pending.wanted.len()), (2, 2));
    assert_eq!(world.mt().wanted, []);
    // What failed is not asked for again until it is another text.
    let dead = Job {
        state: Dead,
        ..pending
    };
    world.take(vec![dead]);
    assert_eq!(world.follow(), []);
    world.revise(&["one", "zwei"]);
    assert_eq!(world.follow(), [(mt, Pending, 2)]);
    let canceled = world.assigned().canceled(false);
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
        world.claim();
        let job = world.mt().done(Settled {
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
    let job = Job::open(&world.head.id, key(mt), Some(world.mt()), 2, order(3));
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
    world.claim();
    world.revise(&["one", "TWO"]);
    assert_eq!(world.follow(), []);
    assert_eq!(world.assigned().source_revision, 1);
    assert_eq!(world.article().claim(world.mt(), &grant(2), at(5)), None);
    let again = world.article().claim(world.mt(), &grant(2), at(10));
    let again = again.expect("the lease has ended");
    let facts = (again.state, again.source_revision, again.attempts);
    assert_eq!(facts, (JobState::Leased, 2, 2));
    assert_eq!(again.wanted[1].hash, hash("TWO"));
    // What was attached by others meanwhile needs no worker.
    let t = State::Translated;
    let all = translation(
        1,
        Disposition::Active,
        &[(1, "one", AgentKind::Mt, t), (2, "TWO", AgentKind::Mt, t)],
    );
    world.slots.insert(language("fr"), Arc::new(slot(vec![all])));
    let ended = world.article().claim(world.mt(), &grant(3), at(10));
    assert_eq!(ended.expect("nothing is wanted").state, JobState::Superseded);
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
                        world.take(found.into_iter().collect());
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
                    let canceled = world.article().assigned(Arc::new(job)).canceled(false);
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
                let job = world.article().assigned(Arc::new(job.clone()));
                prop_assert!(!job.wanted.is_empty() || !job.state.is_open() && (job.hidden || job.state == JobState::Superseded));
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
