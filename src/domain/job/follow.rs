//! What a change of an article does to its jobs: they are opened by policies, superseded or canceled in the
//! very commit that changes the article.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Grant, Job, JobKey, JobKind, JobState, Order, Wanted, wanted};
use crate::domain::access::Visibility;
use crate::domain::article::Head;
use crate::domain::language::Language;
use crate::domain::policy::TranslationPolicy;
use crate::domain::time::Timestamp;
use crate::domain::translation::Slot;

/// An article's jobs by language and kind, each the newest of its key.
pub type Jobs = BTreeMap<JobKey, Arc<Job>>;

/// An article as it is after a change.
#[derive(Clone, Copy)]
pub struct Article<'a> {
    /// The article.
    pub head: &'a Head,
    /// Its translations.
    pub slots: &'a BTreeMap<Language, Arc<Slot>>,
    /// Its jobs.
    pub jobs: &'a Jobs,
}

impl Article<'_> {
    /// Whether its translations may be worked on.
    pub fn is_workable(&self) -> bool {
        let current = &self.head.current;
        let is_shown = matches!(current.visibility, Visibility::Public | Visibility::Embargoed);
        is_shown && current.deleted.is_none()
    }

    /// The work that is wanted on it.
    pub fn wanted(&self, key: &JobKey) -> Vec<Wanted> {
        self.each_wanted(key).collect()
    }

    /// Whether any is.
    pub fn has_work(&self, key: &JobKey) -> bool {
        self.each_wanted(key).next().is_some()
    }

    fn each_wanted(&self, key: &JobKey) -> impl Iterator<Item = Wanted> {
        let is_source = key.language == self.head.current.metadata.language;
        let slot = self.slots.get(&key.language).map(|slot| &**slot);
        let all = (!is_source).then(|| wanted(key.kind, &self.head.manifest, slot));
        all.into_iter().flatten()
    }

    /// The jobs that a change of this article changes, of these languages or, with `None`, of all; one that ends may be
    /// followed by the next of its key.
    pub fn follow(
        &self,
        languages: Option<&[Language]>,
        policies: &[TranslationPolicy],
        now: Timestamp,
    ) -> Vec<Job> {
        let touched = |language: &Language| languages.is_none_or(|languages| languages.contains(language));
        let mut changed: BTreeMap<JobKey, Vec<Job>> = BTreeMap::new();
        for (key, job) in self.jobs.iter().filter(|(key, _)| touched(&key.language)) {
            if let Some(job) = self.follow_job(key, job, now) {
                changed.insert(key.clone(), vec![job]);
            }
        }
        let metadata = &self.head.current.metadata;
        let selects = |policy: &&TranslationPolicy| policy.rule.selects(metadata);
        let mut policies: Vec<_> = policies.iter().filter(selects).collect();
        // Of two that ask for the same the more urgent one has its way.
        policies.sort_by_key(|policy| (policy.rule.priority, policy.id.clone()));
        let mut asked: HashMap<(&Language, JobKind), &TranslationPolicy> = HashMap::new();
        for policy in policies {
            for pair in policy.rule.pairs().filter(|(language, _)| touched(language)) {
                asked.entry(pair).or_insert(policy);
            }
        }
        for ((language, kind), policy) in asked {
            let key = JobKey {
                language: language.clone(),
                kind,
            };
            let stored = self.jobs.get(&key).map(|job| &**job);
            let last = changed.get(&key).and_then(|jobs| jobs.last()).or(stored);
            if let Some(next) = self.next_job(&key, last, policy.order()) {
                changed.entry(key).or_default().push(next);
            }
        }
        changed.into_values().flatten().collect()
    }

    /// What becomes of a job; `None`: it stays.
    fn follow_job(&self, key: &JobKey, job: &Job, now: Timestamp) -> Option<Job> {
        if !job.state.is_open() {
            return None;
        }
        if !self.is_workable() {
            return Some(job.canceled(true));
        }
        // A leased job keeps the texts that it was given; its result is fitted to the source when it arrives.
        if job.state == JobState::Leased {
            return (job.state_at(now) == JobState::Dead).then(|| job.expired());
        }
        (!self.has_work(key)).then(|| job.superseded())
    }

    /// The job with its source revision and what it wants: of a pending one, those that a claim would give out now.
    pub fn assigned(&self, job: Arc<Job>) -> Arc<Job> {
        if job.state != JobState::Pending {
            return job;
        }
        Arc::new(Job {
            source_revision: self.head.revision(),
            wanted: self.wanted(&job.id.key),
            ..(*job).clone()
        })
    }

    /// The job that is to be opened for what is wanted, unless there is nothing, there is an open one, or all of it was
    /// asked for before.
    pub fn next_job(&self, key: &JobKey, last: Option<&Job>, order: Order) -> Option<Job> {
        if last.is_some_and(|last| last.state.is_open()) || !self.is_workable() {
            return None;
        }
        let slot = self.slots.get(&key.language).map(|slot| &**slot);
        let was_asked_for = |last: &Job| last.has_asked_for(&self.wanted(key), slot);
        if !self.has_work(key) || last.is_some_and(was_asked_for) {
            return None;
        }
        let revision = self.head.revision();
        Some(Job::open(&self.head.id, key.clone(), last, revision, order))
    }

    /// The job after a claim: leased for the newest revision, or ended because it has no work or no
    /// attempts left. `None` if it cannot be claimed now.
    pub fn claim(&self, job: &Job, grant: &Grant, now: Timestamp) -> Option<Job> {
        if job.state_at(now) == JobState::Dead && job.state == JobState::Leased {
            return Some(job.expired());
        }
        if !job.is_claimable(now) {
            return None;
        }
        let wanted = self.wanted(&job.id.key);
        if wanted.is_empty() {
            return Some(job.superseded());
        }
        Some(Job {
            source_revision: self.head.revision(),
            wanted,
            ..job.leased(grant.clone(), now)
        })
    }
}
