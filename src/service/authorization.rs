//! Authorization by language: scopes bound to languages are checked here, since the language is known only when the request
//! is read. Scopes that are needed in any language are checked before a call gets here.

use std::slice;

use super::attach::Attachment;
use super::workflow::Review;
use super::{Call, Result};
use crate::domain::access::Right;
use crate::domain::job::{ClaimQuery, JobId, JobKey, JobKind};
use crate::domain::language::Language;
use crate::domain::provenance::{Actor, Agent};
use crate::domain::translation::State;

impl Call {
    /// The actor that is recorded as the caller.
    pub fn actor(&self) -> &Actor {
        &self.caller.actor
    }

    /// The agent that the caller declares, as far as it may.
    pub fn admit(&self, declared: Agent) -> Result<Agent> {
        Ok(self.caller.admit(declared)?)
    }

    /// Checks a right in a language; `None` is every language.
    pub(super) fn may(&self, right: Right, language: Option<&Language>) -> Result<()> {
        Ok(self.caller.may_in(slice::from_ref(&right), language)?)
    }

    pub(super) fn may_attach(&self, attachment: &Attachment) -> Result<()> {
        let language = Some(&attachment.language);
        self.may(Right::Translate, language)?;
        if attachment.state > State::Translated {
            self.may(Right::to_bring_to(attachment.state), language)?;
        }
        if attachment.overwrite_human {
            // It undoes what a person wrote or approved.
            self.may(Right::Review, language)?;
        }
        Ok(())
    }

    pub(super) fn may_review(&self, review: &Review) -> Result<()> {
        self.may(Right::to_bring_to(review.to), Some(&review.name.language))
    }

    /// Quality evidence may be added by principals that review translations or make them.
    pub(super) fn may_score(&self, language: &Language) -> Result<()> {
        let rights = [Right::Translate, Right::Review];
        Ok(self.caller.may_in(&rights, Some(language))?)
    }

    /// Checks that the caller may order or do jobs of a key.
    pub(super) fn may_work_on(&self, key: &JobKey) -> Result<()> {
        self.may(Right::to_work_on(key.kind), Some(&key.language))
    }

    /// The jobs that the caller may claim of those that it asks for. Kinds that it names it must hold the right for; if it
    /// names none, it means those that it may do.
    pub(super) fn claimable(&self, query: &ClaimQuery) -> Result<ClaimQuery> {
        query
            .ids
            .iter()
            .try_for_each(|id: &JobId| self.may_work_on(&id.key))?;
        if !query.ids.is_empty() {
            return Ok(query.clone());
        }
        let languages: Vec<_> = match query.pairs.as_slice() {
            [] => vec![None],
            pairs => pairs.iter().map(|pair| pair.target.as_ref()).collect(),
        };
        let may = |kind: JobKind| {
            let right = Right::to_work_on(kind);
            languages
                .iter()
                .try_for_each(|language| self.may(right, *language))
        };
        if !query.kinds.is_empty() {
            query.kinds.iter().try_for_each(|kind| may(*kind))?;
            return Ok(query.clone());
        }
        let kinds: Vec<_> = JobKind::ALL
            .into_iter()
            .filter(|kind| may(*kind).is_ok())
            .collect();
        if kinds.is_empty() {
            // No kinds would mean any.
            may(JobKind::Mt)?;
        }
        Ok(ClaimQuery {
            kinds,
            ..query.clone()
        })
    }
}
