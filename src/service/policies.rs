//! Translation policies: put, listed and removed.
//!
//! A change is decided on all policies and refused by the store if any has changed since. Then it is decided again, with no
//! limit: each time another change was made.

use super::view::PAGE_BYTES;
use super::{Call, Error, Result, Service};
use crate::domain::capacity::{Exceeded, Resource};
use crate::domain::etag::{Etag, ExpectedEtag};
use crate::domain::policy::{
    Demand, MAX_POLICIES, MAX_POLICY_PAIRS, PolicyId, PolicyRule, TranslationPolicy,
};
use crate::store::{Conflict, Policies, PolicyChange, StoreError};

impl Service {
    /// Creates a policy or replaces it.
    pub async fn put_policy(
        &self,
        call: &Call,
        id: &PolicyId,
        rule: PolicyRule,
        expected: Option<&ExpectedEtag>,
    ) -> Result<TranslationPolicy> {
        loop {
            let policies = self.store.policies().await?;
            let old = stored(&policies, id);
            check_etag(id, old, expected)?;
            if let Some(old) = old.filter(|old| old.rule == rule) {
                return Ok(old.clone());
            }
            if old.is_none() && policies.all.len() >= MAX_POLICIES {
                return Err(Error::TooManyPolicies(MAX_POLICIES));
            }
            let others = policies.all.iter().filter(|policy| policy.id != *id);
            let after = Demand::of(others.map(|policy| &policy.rule).chain([&rule]));
            let before = Demand::of(policies.all.iter().map(|policy| &policy.rule));
            self.check_demand(&before, &after)?;
            let now = self.store.clock().now();
            let policy = TranslationPolicy {
                id: id.clone(),
                etag: Etag::of(old.map_or(1, |old| old.etag.version + 1), &rule),
                rule: rule.clone(),
                created: old.map_or(now, |old| old.created),
                updated: now,
            };
            if self
                .change_policy(call, id, Some(policy.clone()), &policies)
                .await?
            {
                return Ok(policy);
            }
        }
    }

    /// Commits a change that was decided on these policies. `false`: another one came before it.
    async fn change_policy(
        &self,
        call: &Call,
        id: &PolicyId,
        policy: Option<TranslationPolicy>,
        policies: &Policies,
    ) -> Result<bool> {
        let change = PolicyChange {
            id: id.clone(),
            policy,
            expect: policies.seq,
            principal: call.actor().principal.clone(),
        };
        match self.store.change_policy(change).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict(Conflict::Policies)) => Ok(false),
            Err(error) => Err(error.into()),
        }
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
        let policies = self.store.policies().await?;
        let rest = policies
            .all
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
        call: &Call,
        id: &PolicyId,
        expected: Option<&ExpectedEtag>,
        allow_missing: bool,
    ) -> Result<()> {
        loop {
            let policies = self.store.policies().await?;
            let old = stored(&policies, id);
            if old.is_none() && allow_missing {
                return Ok(());
            }
            let old = old.ok_or_else(|| Error::PolicyNotFound(id.clone()))?;
            check_etag(id, Some(old), expected)?;
            if self.change_policy(call, id, None, &policies).await? {
                return Ok(());
            }
        }
    }
}

fn stored<'a>(policies: &'a Policies, id: &PolicyId) -> Option<&'a TranslationPolicy> {
    policies.all.iter().find(|policy| policy.id == *id)
}

fn check_etag(id: &PolicyId, old: Option<&TranslationPolicy>, expected: Option<&ExpectedEtag>) -> Result<()> {
    let absent = Etag {
        version: 0,
        digest: 0,
    };
    let current = old.map_or(absent, |old| old.etag);
    super::workflow::check(expected, current, format_args!("policy \"{id}\""))
}
