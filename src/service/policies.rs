//! Translation policies: put, listed, removed, and held in memory for every write to look at.

use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::Mutex;

use super::view::PAGE_BYTES;
use super::{Error, Result, Service};
use crate::domain::capacity::{Exceeded, Resource};
use crate::domain::etag::{Etag, ExpectedEtag};
use crate::domain::policy::{
    Demand, MAX_POLICIES, MAX_POLICY_PAIRS, PolicyId, PolicyRule, TranslationPolicy,
};
use crate::store::{self, Store};

/// The policies of a store. Only this process changes them.
#[derive(Debug, Default)]
pub(super) struct Policies {
    /// By id; `None` until they were read.
    known: RwLock<Option<Arc<[TranslationPolicy]>>>,
    /// Held by whoever changes or first reads them.
    changing: Mutex<()>,
}

impl Policies {
    /// All policies by id.
    pub(super) async fn all(&self, store: &dyn Store) -> store::Result<Arc<[TranslationPolicy]>> {
        if let Some(known) = &*self.known.read() {
            return Ok(known.clone());
        }
        let _guard = self.changing.lock().await;
        self.read(store).await
    }

    /// Forgets what is known before a write: until that is known to be done, and also when its caller is gone by then, the
    /// policies are read again.
    fn forget(&self) {
        *self.known.write() = None;
    }

    async fn read(&self, store: &dyn Store) -> store::Result<Arc<[TranslationPolicy]>> {
        if let Some(known) = &*self.known.read() {
            return Ok(known.clone());
        }
        let read: Arc<[_]> = store.policies().await?.into();
        *self.known.write() = Some(read.clone());
        Ok(read)
    }
}

impl Service {
    /// Creates a policy or replaces it.
    pub async fn put_policy(
        &self,
        id: &PolicyId,
        rule: PolicyRule,
        expected: Option<&ExpectedEtag>,
    ) -> Result<TranslationPolicy> {
        let _guard = self.policies.changing.lock().await;
        let all = self.policies.read(&*self.store).await?;
        let old = all.iter().find(|policy| policy.id == *id);
        check_etag(id, old, expected)?;
        if let Some(old) = old.filter(|old| old.rule == rule) {
            return Ok(old.clone());
        }
        if old.is_none() && all.len() >= MAX_POLICIES {
            return Err(Error::TooManyPolicies(MAX_POLICIES));
        }
        let others = || {
            all.iter()
                .filter(|policy| policy.id != *id)
                .map(|policy| &policy.rule)
        };
        let before = Demand::of(all.iter().map(|policy| &policy.rule));
        let after = Demand::of(others().chain([&rule]));
        self.check_demand(&before, &after)?;
        let now = self.store.clock().now();
        let policy = TranslationPolicy {
            id: id.clone(),
            etag: Etag::of(old.map_or(1, |old| old.etag.version + 1), &rule),
            rule,
            created: old.map_or(now, |old| old.created),
            updated: now,
        };
        self.policies.forget();
        self.store.put_policy(&policy).await?;
        let mut new: Vec<_> = all.iter().filter(|policy| policy.id != *id).cloned().collect();
        new.push(policy.clone());
        new.sort_by(|a, b| a.id.cmp(&b.id));
        *self.policies.known.write() = Some(new.into());
        Ok(policy)
    }

    /// Whether a policy may change what all of them ask for: of one article no more than callers may request.
    fn check_demand(&self, before: &Demand, after: &Demand) -> Result<()> {
        let limits = [
            (
                Resource::Languages,
                before.languages,
                after.languages,
                self.capacity.languages,
            ),
            (
                Resource::OpenJobs,
                before.jobs,
                after.jobs,
                self.capacity.open_jobs,
            ),
        ];
        for (resource, before, count, limit) in limits {
            if count > limit && count > before {
                return Err(Error::PolicyDemand(Exceeded {
                    resource,
                    count,
                    limit,
                }));
            }
        }
        if after.pairs > MAX_POLICY_PAIRS && after.pairs > before.pairs {
            return Err(Error::TooManyPolicyPairs {
                count: after.pairs,
                limit: MAX_POLICY_PAIRS,
            });
        }
        Ok(())
    }

    /// The policies by id, after one of them, and the last one if more follow. So many at most.
    pub async fn list_policies(
        &self,
        after: Option<&PolicyId>,
        page_size: usize,
    ) -> Result<(Vec<TranslationPolicy>, Option<PolicyId>)> {
        let all = self.policies.all(&*self.store).await?;
        let rest = all
            .iter()
            .filter(|policy| after.is_none_or(|after| policy.id > *after));
        let mut rest = rest.peekable();
        let (mut page, mut bytes): (Vec<TranslationPolicy>, _) = (Vec::new(), 0);
        while page.len() < page_size
            && bytes <= PAGE_BYTES
            && let Some(policy) = rest.next()
        {
            bytes += policy.rule.max_bytes();
            page.push(policy.clone());
        }
        let next = rest.peek().and(page.last()).map(|last| last.id.clone());
        Ok((page, next))
    }

    /// Removes a policy; with `allow_missing` there may be none.
    pub async fn delete_policy(
        &self,
        id: &PolicyId,
        expected: Option<&ExpectedEtag>,
        allow_missing: bool,
    ) -> Result<()> {
        let _guard = self.policies.changing.lock().await;
        let all = self.policies.read(&*self.store).await?;
        let old = all.iter().find(|policy| policy.id == *id);
        if old.is_none() && allow_missing {
            return Ok(());
        }
        let old = old.ok_or_else(|| Error::PolicyNotFound(id.clone()))?;
        check_etag(id, Some(old), expected)?;
        self.policies.forget();
        self.store.delete_policy(id).await?;
        let left = all.iter().filter(|policy| policy.id != *id).cloned();
        *self.policies.known.write() = Some(left.collect());
        Ok(())
    }
}

fn check_etag(id: &PolicyId, old: Option<&TranslationPolicy>, expected: Option<&ExpectedEtag>) -> Result<()> {
    let absent = Etag {
        version: 0,
        digest: 0,
    };
    let current = old.map_or(absent, |old| old.etag);
    super::workflow::check(expected, current, format_args!("policy \"{id}\""))
}
