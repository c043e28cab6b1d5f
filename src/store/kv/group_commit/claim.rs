//! Claims: jobs are leased by the writer, who alone knows what the claims before this one have left.

use std::sync::Arc;

use super::Group;
use crate::domain::article::ArticleId;
use crate::domain::change::{Event, JobStep};
use crate::domain::job::{Grant, Job, JobKey};
use crate::domain::request::RequestKey;
use crate::domain::time::{Stamp, Timestamp};
use crate::store::error::{Result, StoreError};
use crate::store::kv::engine::Write;
use crate::store::kv::envelope::Sealed;
use crate::store::kv::queue::{self, Candidates, Queues};
use crate::store::kv::{codec, expiry, keys};
use crate::store::model::commits;
use crate::store::{ArticleState, Claim, Claimed};

/// Jobs that a claim looks at, at most.
const LOOKED_AT: usize = 2_000;

/// A job that a claim changes, with its article before and what becomes of it.
type Change = (Arc<ArticleState>, Job, JobStep);

/// The records of a claim, encoded: those of its jobs, its changes, and its request.
type Records = (Vec<Sealed>, Vec<u8>, Option<(Vec<u8>, Sealed)>);

impl Group<'_> {
    /// Leases jobs, and ends those without work or attempts that it meets. There is no commit where nothing changes.
    pub(in crate::store::kv) fn claim(
        &mut self,
        claim: Claim,
        now: Timestamp,
    ) -> Result<(Claimed, Option<Stamp>)> {
        if let Some((key, _)) = &claim.request {
            self.check_request(&keys::request(key))?;
        }
        let (changes, is_partial) = self.find_claimable(&claim, now)?;
        if changes.is_empty() {
            let jobs = Vec::new();
            return Ok((Claimed { jobs, is_partial }, None));
        }
        let records = encode(&changes, claim.request, &claim.principal)?;
        let stamp = self.next_stamp(now);
        let jobs = self.put_claimed(changes, records, stamp);
        Ok((Claimed { jobs, is_partial }, Some(stamp)))
    }

    /// What the claim changes, and whether it stopped looking before it found enough.
    fn find_claimable(&self, claim: &Claim, now: Timestamp) -> Result<(Vec<Change>, bool)> {
        let queues = Queues::new(self.core, &self.queued);
        let mut candidates = if claim.query.ids.is_empty() {
            queues.candidates(&claim.query, now)?
        } else {
            let named = queue::named(&claim.query, |id| self.current(id))?;
            Candidates::of(queues, named)
        };
        let mut grants = claim.grants.iter();
        let mut grant = grants.next();
        let (mut changes, mut looked_at) = (Vec::new(), 0);
        while let Some(offered) = grant {
            if looked_at >= LOOKED_AT {
                return Ok((changes, true));
            }
            let Some((article, key)) = candidates.next()? else {
                break;
            };
            looked_at += 1;
            let change = self.look_at(&article, &key, offered, now)?;
            if matches!(change, Some((_, _, JobStep::Claimed))) {
                grant = grants.next();
            }
            changes.extend(change);
        }
        Ok((changes, false))
    }

    fn look_at(
        &self,
        article: &ArticleId,
        key: &JobKey,
        grant: &Grant,
        now: Timestamp,
    ) -> Result<Option<Change>> {
        let Some(state) = queue::sound(self.current(article))?.flatten() else {
            return Ok(None);
        };
        let change = commits::claim(&state, key, grant, now);
        Ok(change.map(|(job, step)| (state, job, step)))
    }

    /// Writes the commit of a claim, and answers the jobs that it leases.
    fn put_claimed(
        &mut self,
        changes: Vec<Change>,
        (records, events, request): Records,
        stamp: Stamp,
    ) -> Vec<Arc<Job>> {
        let mut leased = Vec::new();
        for ((found, job, step), record) in changes.into_iter().zip(records) {
            // Another job of the article may have come before this one.
            let current = self.articles.get(&found.head.id).cloned().flatten();
            let old = current.unwrap_or(found);
            let key = job.id.key.clone();
            let jobs = self.put_jobs(old.jobs.clone(), std::iter::once((job, record)), stamp);
            leased.extend(jobs.get(&key).filter(|_| step == JobStep::Claimed).cloned());
            let new = ArticleState {
                jobs,
                ..(*old).clone()
            };
            self.derive(Some(&old), Some(&new), stamp);
            self.articles.insert(old.head.id.clone(), Some(Arc::new(new)));
        }
        if let Some((key, sealed)) = request {
            self.writes.extend([
                expiry::entry(stamp, &key),
                Write::Put(key.clone(), sealed.stamped(stamp)),
            ]);
            self.requests.insert(key);
        }
        self.append(stamp, events);
        leased
    }
}

/// Encodes the records of a claim. One that could not be read back is refused.
fn encode(changes: &[Change], request: Option<(RequestKey, [u8; 32])>, principal: &str) -> Result<Records> {
    let jobs = changes.iter().map(|(_, job, _)| {
        let article = Some(&job.id.article);
        let payload = commits::check_size(article, "translation job", codec::encode_job(job))?;
        Ok(Sealed::plain(&payload))
    });
    let jobs = jobs.collect::<Result<_>>()?;
    let about = |(state, job, step): &Change| Event::about_job(&state.head, job, *step);
    let mut events = codec::encode_events(&changes.iter().map(about).collect::<Vec<_>>(), principal);
    if let Some((state, ..)) = changes.first() {
        events = commits::check_changes(Some(&state.head.id), events)?;
    }
    let leased = changes.iter().filter(|(_, _, step)| *step == JobStep::Claimed);
    let leased = leased.map(|(_, job, _)| job.id.clone()).collect();
    let record = request.and_then(|request| commits::claim_request(request, leased));
    let request = record.map(|record| {
        let payload = codec::encode_request(&record);
        let payload = commits::check_size(Some(&record.article), "request", payload)?;
        Ok::<_, StoreError>((keys::request(&record.key), Sealed::new(&payload)))
    });
    Ok((jobs, events, request.transpose()?))
}
