//! Claims: jobs are leased by the writer, because it alone knows what the claims before this one have left.

use std::sync::Arc;

use super::Group;
use crate::domain::job::{Job, JobState};
use crate::domain::time::{Stamp, Timestamp};
use crate::store::error::Result;
use crate::store::kv::engine::Write;
use crate::store::kv::envelope::Sealed;
use crate::store::kv::queue::{self, Candidates, Queues};
use crate::store::kv::{expiry, keys};
use crate::store::model::claims::{self, Change, Decided};
use crate::store::{ArticleState, Claim, Claimed};

impl Group<'_> {
    /// Leases jobs, and ends those that the rule of the claim ends. There is no commit where nothing changes.
    pub(in crate::store::kv) fn claim(
        &mut self,
        claim: Claim,
        now: Timestamp,
    ) -> Result<(Claimed, Option<Stamp>)> {
        if let Some((key, _)) = &claim.request {
            self.check_request(&keys::request(key))?;
        }
        let queues = Queues::new(self.core, &self.queued);
        let mut candidates = if claim.query.ids.is_empty() {
            queues.candidates(&claim.query, now)?
        } else {
            let named = queue::named(&claim.query, |id| self.current(id))?;
            Candidates::of(queues, named)
        };
        let decided = claims::decide(claim, now, || {
            let Some((article, key)) = candidates.next()? else {
                return Ok(None);
            };
            let state = queue::sound(self.current(&article))?.flatten();
            Ok(Some((state, key)))
        })?;
        let mut claimed = Claimed {
            jobs: Vec::new(),
            is_partial: decided.is_partial,
        };
        if decided.changes.is_empty() {
            return Ok((claimed, None));
        }
        let stamp = self.next_stamp(now);
        claimed.jobs = self.put_claimed(decided, stamp);
        Ok((claimed, Some(stamp)))
    }

    /// Writes the commit of a claim, and returns the jobs that it leases.
    fn put_claimed(&mut self, decided: Decided, stamp: Stamp) -> Vec<Arc<Job>> {
        let mut leased = Vec::new();
        for Change { article, job, record } in decided.changes {
            // Another job of the article may have come before this one.
            let current = self.articles.get(&article.head.id).cloned().flatten();
            let old = current.unwrap_or(article);
            let key = job.id.key.clone();
            let put = (job, Sealed::plain(&record));
            let jobs = self.put_jobs(old.jobs.clone(), std::iter::once(put), stamp);
            let job = jobs.get(&key).filter(|job| job.state == JobState::Leased);
            leased.extend(job.cloned());
            let new = ArticleState {
                jobs,
                ..(*old).clone()
            };
            self.derive(Some(&old), Some(&new), stamp);
            self.articles.insert(old.head.id.clone(), Some(Arc::new(new)));
        }
        if let Some((request, record)) = decided.request {
            let key = keys::request(&request.key);
            self.writes.extend([
                expiry::entry(stamp, &key),
                Write::Put(key.clone(), Sealed::new(&record).stamped(stamp)),
            ]);
            self.requests.insert(key);
        }
        self.append(stamp, decided.events);
        leased
    }
}
