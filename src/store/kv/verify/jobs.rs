//! The part of the check about jobs, their queues, and policies.

use super::{Check, MISPLACED};
use crate::domain::article::{ArticleId, Head};
use crate::domain::job::{Job, JobKey, JobKind};
use crate::domain::language::Language;
use crate::domain::time::{Seq, Stamp};
use crate::store::error::Result;
use crate::store::kv::shared::corrupt;
use crate::store::kv::{codec, indexes, keys};

impl Check<'_> {
    fn job(&self, id: &ArticleId, key: &JobKey) -> Result<Option<Job>> {
        let key = keys::job(id, key);
        let decode =
            |(stamp, payload): (Stamp, Vec<u8>)| codec::decode_job(&payload, stamp).map_err(corrupt(&key));
        self.core.get(&key)?.map(decode).transpose()
    }

    pub(super) fn jobs(&mut self) -> Result<()> {
        let mut newest: Option<Head> = None;
        self.walk(b"j", |check, key, stamp, payload| {
            let job = codec::decode_job(payload, stamp).map_err(corrupt(key))?;
            let name = keys::readable(key);
            if keys::job(&job.id.article, &job.id.key) != key || job.changed != stamp {
                check.report(&name, MISPLACED);
            }
            if newest.as_ref().is_none_or(|head| head.id != job.id.article) {
                newest = check.head(&job.id.article)?;
            }
            let Some(head) = &newest else {
                check.report(&name, "there is no such article");
                return Ok(());
            };
            if job.source_revision > head.revision() {
                check.report(&name, "it names a revision that its article does not have");
            }
            if let Some(queued) = indexes::queue_key(head, &job)
                && check.core.get(&queued)?.is_none()
            {
                check.report(keys::readable(&queued), "it is missing");
            }
            Ok(())
        })
    }

    pub(super) fn replaced_jobs(&mut self) -> Result<()> {
        self.walk(b"k", |check, key, stamp, payload| {
            let job = codec::decode_job(payload, stamp).map_err(corrupt(key))?;
            let name = keys::readable(key);
            if keys::replaced_job(&job.id) != key {
                check.report(&name, MISPLACED);
            }
            if job.state.is_open() {
                check.report(&name, "it has not ended");
            }
            let newest = check.job(&job.id.article, &job.id.key)?;
            if newest.is_none_or(|newest| newest.id.number <= job.id.number) {
                check.report(&name, "there is no newer job in its place");
            }
            Ok(())
        })
    }

    /// No entry may stand where its job does not; [`Self::jobs`] has looked for those that must.
    pub(super) fn queued_jobs(&mut self) -> Result<()> {
        self.walk(b"q", |check, key, _, _| {
            let stands = match keys::queued_of(key) {
                Some(queued) => {
                    let job = check.job(&queued.article, &queued.key)?;
                    let head = check.head(&queued.article)?;
                    job.zip(head)
                        .is_some_and(|(job, head)| indexes::queue_key(&head, &job).as_deref() == Some(key))
                }
                None => false,
            };
            if !stands {
                check.report(keys::readable(key), "it does not agree with its job");
            }
            Ok(())
        })
    }

    pub(super) fn policies(&mut self) -> Result<()> {
        self.walk(b"n", |check, key, _, payload| {
            let policy = codec::decode_policy(payload).map_err(corrupt(key))?;
            if keys::policy(&policy.id) != key {
                check.report(keys::readable(key), MISPLACED);
            }
            Ok(())
        })
    }

    /// A job that a commit changed must still be there, or a newer one of its key.
    pub(super) fn job_event(
        &mut self,
        id: &ArticleId,
        language: &Language,
        kind: JobKind,
        number: u32,
        seq: Seq,
    ) -> Result<()> {
        let key = JobKey {
            language: language.clone(),
            kind,
        };
        if self.job(id, &key)?.is_none_or(|job| job.id.number < number) {
            let name = keys::readable(&keys::job(id, &key));
            self.report(
                name,
                format!("its number {number} is missing, and commit {seq} changed it"),
            );
        }
        Ok(())
    }
}
