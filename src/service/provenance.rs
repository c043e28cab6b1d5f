//! The record of every step on the translations of a slot, put together from what their immutable versions carry. Nothing
//! here can change or clear it.

use std::sync::Arc;

use super::translations::TranslationName;
use super::view::PAGE_BYTES;
use super::{Result, Service};
use crate::domain::access::Shown;
use crate::domain::ids::TranslationId;
use crate::domain::provenance::{Agent, Step};
use crate::domain::time::{Stamp, Timestamp};
use crate::domain::translation::{Selection, TranslationVersion};
use crate::domain::version::VersionKey;
use crate::store::ArticleState;
use crate::store::Body;

/// A step.
#[derive(Debug, Clone)]
pub struct Recorded(Arc<Body>);

/// What a step is recorded in.
#[derive(Debug, Clone, Copy)]
pub enum Record<'a> {
    /// A version of a translation.
    Version(&'a TranslationVersion),
    /// A selection of the slot.
    Selection(&'a Selection),
}

/// The steps of one translation or selection, oldest first.
struct Steps {
    /// Names the newest one.
    newest: VersionKey,
    /// The number of the step that `ahead` is.
    number: u32,
    ahead: Option<Arc<Body>>,
}

impl Recorded {
    /// The record.
    pub fn record(&self) -> Option<Record<'_>> {
        match &*self.0 {
            Body::Translation(version) => Some(Record::Version(version)),
            Body::Selection(selection) => Some(Record::Selection(selection)),
            Body::Article(_) | Body::Revision(_) | Body::Dropped(_) => None,
        }
    }

    /// When it was taken. Commit times are strictly increasing, and no commit takes two steps in one slot.
    pub fn stamp(&self) -> Stamp {
        self.0.version().stamp
    }

    /// Whether it belongs into the list: a selection that a write made is that write's step, and of one translation
    /// only what was done to it is wanted.
    fn is_listed(&self, wanted: Option<TranslationId>) -> bool {
        match self.record() {
            Some(Record::Version(_)) => true,
            Some(Record::Selection(Selection { choice, .. })) => {
                let concerned = [choice.translation, choice.replaced];
                choice.step != Step::Attached && (wanted.is_none() || concerned.contains(&wanted))
            }
            None => false,
        }
    }

    /// An upper bound of what it takes in an answer, in bytes.
    fn max_bytes(&self) -> usize {
        // Ids, etags, times and numbers; a segment id takes at most 14 bytes.
        const FIXED: usize = 512;
        match self.record() {
            Some(Record::Version(TranslationVersion { provenance, .. })) => {
                let named = &provenance.actor.principal;
                let texts =
                    [&provenance.reason, &provenance.pivot, &provenance.job_id, named].map(String::len);
                let segments = 14 * provenance.segments.len();
                FIXED + provenance.agent.text_bytes() + texts.iter().sum::<usize>() + segments
            }
            Some(Record::Selection(Selection { choice, actor, .. })) => {
                let agent = choice.agent.as_ref().map(Agent::text_bytes);
                FIXED + agent.unwrap_or_default() + choice.reason.len() + actor.principal.len()
            }
            None => 0,
        }
    }
}

impl Service {
    /// Lists the steps after a time on one translation, or on all of a slot: oldest first, and the time
    /// after which the next page begins.
    pub async fn list_provenance(
        &self,
        name: &TranslationName,
        after: Option<Timestamp>,
        page_size: usize,
        shown: Shown,
    ) -> Result<(Vec<Recorded>, Option<Timestamp>)> {
        let present = self.visible(&name.article, shown).await?;
        self.steps_of(&present, name, after, page_size).await
    }

    async fn steps_of(
        &self,
        state: &ArticleState,
        name: &TranslationName,
        after: Option<Timestamp>,
        page_size: usize,
    ) -> Result<(Vec<Recorded>, Option<Timestamp>)> {
        let slot = state.slots.get(&name.language).ok_or_else(|| name.missing())?;
        if let Some(id) = name.id {
            slot.translation(id).ok_or_else(|| name.missing())?;
        }
        let translations = slot.translations.iter();
        let series = translations
            .filter(|translation| name.id.is_none_or(|id| id == translation.id))
            .map(|translation| slot.version_key(translation))
            .chain([slot.selection_key()]);
        let mut steps = Vec::new();
        for newest in series {
            steps.push(self.steps_after(newest, after).await?);
        }
        let mut listed: Vec<Recorded> = Vec::new();
        let mut bytes = 0;
        loop {
            let taken = steps
                .iter()
                .enumerate()
                .filter_map(|(index, steps)| Some((Recorded(steps.ahead.clone()?), index)))
                .min_by_key(|(recorded, _)| recorded.stamp());
            let Some((recorded, index)) = taken else {
                return Ok((listed, None));
            };
            if recorded.is_listed(name.id) {
                bytes += recorded.max_bytes();
                if listed.len() == page_size || bytes > PAGE_BYTES && !listed.is_empty() {
                    let last = listed.last().map(|last| last.stamp().time);
                    return Ok((listed, last));
                }
                listed.push(recorded);
            }
            if let Some(steps) = steps.get_mut(index) {
                self.step_on(steps).await?;
            }
        }
    }

    async fn steps_after(&self, newest: VersionKey, after: Option<Timestamp>) -> Result<Steps> {
        let last = match after {
            Some(time) => self.store.version_at(&newest, time).await?,
            None => None,
        };
        let mut steps = Steps {
            newest,
            number: last.map_or(0, |last| last.version().number),
            ahead: None,
        };
        self.step_on(&mut steps).await?;
        Ok(steps)
    }

    async fn step_on(&self, steps: &mut Steps) -> Result<()> {
        steps.number += 1;
        steps.ahead = None;
        if steps.number <= steps.newest.number {
            let number = steps.number;
            let key = VersionKey {
                number,
                ..steps.newest.clone()
            };
            steps.ahead = Some(self.version(&key).await?);
        }
        Ok(())
    }
}
