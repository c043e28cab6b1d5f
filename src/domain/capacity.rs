//! Capacity limits of one article: languages, open jobs, and the size of its state.
//!
//! The state of an article (its head, slots and newest jobs) is read as a whole by every list and rewritten in part by
//! every change, so whatever a caller can add to it is limited. A write is refused where it takes a resource above its
//! limit; what is above a limit already, because the limit was lowered, stays readable and can shrink.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::job::{Job, JobKey, Jobs};
use super::language::Language;
use super::translation::Slot;

// About what the state takes in records, in bytes: a translation, a target segment of it, a job, and a segment of a job.
const TRANSLATION_BYTES: usize = 512;
const BINDING_BYTES: usize = 110;
const JOB_BYTES: usize = 512;
const WANTED_BYTES: usize = 40;

/// The limits of every article.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// The most languages that there are translations into or jobs for.
    pub languages: usize,
    /// The most open jobs.
    pub open_jobs: usize,
    /// The most bytes of slots and jobs, estimated.
    pub state_bytes: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            languages: 200,
            open_jobs: 500,
            state_bytes: 16 << 20,
        }
    }
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// Languages.
    Languages,
    /// Open jobs.
    OpenJobs,
    /// Bytes of the state.
    StateBytes,
}

/// A write would take a resource above its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// The resource.
    pub resource: Resource,
    /// What the write would take it to.
    pub count: usize,
    /// The limit.
    pub limit: usize,
}

/// What an article takes of its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage<'a> {
    languages: BTreeSet<&'a Language>,
    open_jobs: usize,
    state_bytes: usize,
    /// The segments of the article: an open job may come to want all of them.
    segments: usize,
}

/// The estimated bytes of the slots and jobs of an article with this number of segments.
pub fn state_bytes(segments: usize, slots: &BTreeMap<Language, Arc<Slot>>, jobs: &Jobs) -> usize {
    let slots: usize = slots.values().map(|slot| slot.state_bytes()).sum();
    let jobs: usize = jobs.values().map(|job| job.state_bytes(segments)).sum();
    slots + jobs
}

impl<'a> Usage<'a> {
    /// That of an article with these slots and jobs.
    pub fn of(segments: usize, slots: &'a BTreeMap<Language, Arc<Slot>>, jobs: &'a Jobs) -> Self {
        let languages = slots.keys().chain(jobs.keys().map(|key| &key.language)).collect();
        Self {
            languages,
            open_jobs: jobs.values().filter(|job| job.state.is_open()).count(),
            state_bytes: state_bytes(segments, slots, jobs),
            segments,
        }
    }

    /// The same after a write to a slot.
    #[must_use]
    pub fn with_slot(mut self, before: Option<&Slot>, after: &'a Slot) -> Self {
        self.languages.insert(&after.language);
        self.state_bytes -= before.map_or(0, Slot::state_bytes);
        self.state_bytes += after.state_bytes();
        self
    }

    /// The same with a job opened in the place of the last one of its key.
    #[must_use]
    pub fn with_open_job(mut self, key: &'a JobKey, last: Option<&Job>) -> Self {
        self.languages.insert(&key.language);
        self.state_bytes -= last.map_or(0, |last| last.state_bytes(self.segments));
        self.state_bytes += JOB_BYTES + WANTED_BYTES * self.segments;
        self.open_jobs += usize::from(last.is_none_or(|last| !last.state.is_open()));
        self
    }
}

impl Capacity {
    /// Whether a write may take an article from one usage to another.
    pub fn check(&self, before: &Usage<'_>, after: &Usage<'_>) -> Result<(), Exceeded> {
        let resources = [
            (
                Resource::Languages,
                before.languages.len(),
                after.languages.len(),
                self.languages,
            ),
            (
                Resource::OpenJobs,
                before.open_jobs,
                after.open_jobs,
                self.open_jobs,
            ),
            (
                Resource::StateBytes,
                before.state_bytes,
                after.state_bytes,
                self.state_bytes,
            ),
        ];
        let exceeded = resources
            .into_iter()
            .find(|(_, before, count, limit)| count > limit && count > before);
        exceeded.map_or(Ok(()), |(resource, _, count, limit)| {
            Err(Exceeded {
                resource,
                count,
                limit,
            })
        })
    }
}

impl Slot {
    fn state_bytes(&self) -> usize {
        let bytes = |translation: &super::translation::TranslationHead| {
            TRANSLATION_BYTES + translation.external_uri.len() + BINDING_BYTES * translation.bindings.len()
        };
        self.translations.iter().map(bytes).sum()
    }
}

impl Job {
    fn state_bytes(&self, segments: usize) -> usize {
        let wanted = if self.state.is_open() {
            segments.max(self.wanted.len())
        } else {
            self.wanted.len()
        };
        JOB_BYTES + WANTED_BYTES * (wanted + self.given_up.len())
    }
}
