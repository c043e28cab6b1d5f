//! Point-in-time reads: an article as it was at a time, at a revision, or as a commit left it, assembled from immutable
//! versions into the shape of the present one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::snapshot::wrong_version;
use super::view::Moment;
use super::{Error, Result, Service};
use crate::domain::article::Head;
use crate::domain::time::{Stamp, Timestamp};
use crate::domain::translation::{Slot, TranslationHead};
use crate::domain::version::Version;
use crate::store::{ArticleState, Body};

impl Service {
    /// The article at a moment.
    pub(super) async fn at(&self, state: &Arc<ArticleState>, moment: Moment) -> Result<Arc<ArticleState>> {
        let head = state.head.revision();
        let missing = || Error::RevisionNotFound {
            id: state.head.id.clone(),
            wanted: moment,
            head,
        };
        match moment {
            Moment::Now => Ok(state.clone()),
            Moment::Time(time) => {
                let found = self.as_of(state, self.store.clock().at(time)).await?;
                found.ok_or_else(missing)
            }
            Moment::Revision(number) if number == head => Ok(state.clone()),
            Moment::Revision(number) => {
                // The last moment of a revision is the one before the next revision.
                let following = number.checked_add(1).filter(|_| number > 0).ok_or_else(missing)?;
                if following > head {
                    return Err(missing());
                }
                let next = self.version(&state.head.revision_key(following)).await?;
                let last = next.version().stamp.time.saturating_add_micros(-1);
                self.as_of(state, last).await?.ok_or_else(missing)
            }
        }
    }

    /// The article as a commit left it.
    pub(super) async fn as_committed(
        &self,
        state: &Arc<ArticleState>,
        stamp: Stamp,
    ) -> Result<Arc<ArticleState>> {
        let then = self.as_of(state, stamp.time).await?;
        then.ok_or_else(|| Error::internal("an article that was written is missing"))
    }

    /// The article as it was right after the last commit at or before a time; `None` if it did not exist.
    pub(super) async fn as_of(
        &self,
        state: &Arc<ArticleState>,
        time: Timestamp,
    ) -> Result<Option<Arc<ArticleState>>> {
        let newest_slot = state.slots.values().map(|slot| slot.stamp.time).max();
        if state
            .head
            .current
            .stamp
            .time
            .max(newest_slot.unwrap_or(Timestamp::MIN))
            <= time
        {
            return Ok(Some(state.clone()));
        }
        let key = state.head.version_key();
        let current = match self.store.version_at(&key, time).await?.as_deref() {
            Some(Body::Article(current)) => current.clone(),
            Some(_) => return Err(wrong_version(&key)),
            None => return Ok(None),
        };
        let revision = self.revision(&state.head, current.revision.number).await?;
        let head = Head {
            id: state.head.id.clone(),
            title: revision.content.title.clone(),
            lead: revision.content.lead.clone(),
            manifest: revision.content.manifest(),
            next_segment: state.head.next_segment,
            aliases: state.head.aliases.clone(),
            current,
        };
        let mut slots = BTreeMap::new();
        for (language, slot) in &state.slots {
            if let Some(slot) = self.slot_as_of(slot, time).await? {
                slots.insert(language.clone(), Arc::new(slot));
            }
        }
        Ok(Some(Arc::new(ArticleState {
            head: Arc::new(head),
            slots,
            jobs: state.jobs.clone(),
        })))
    }

    async fn slot_as_of(&self, slot: &Slot, time: Timestamp) -> Result<Option<Slot>> {
        if slot.stamp.time <= time {
            return Ok(Some(slot.clone()));
        }
        let key = slot.selection_key();
        let selection = match self.store.version_at(&key, time).await?.as_deref() {
            Some(Body::Selection(selection)) => selection.clone(),
            Some(_) => return Err(wrong_version(&key)),
            None => return Ok(None),
        };
        let mut stamp: Stamp = selection.stamp;
        let mut translations = Vec::with_capacity(selection.dispositions.len());
        for (id, disposition) in &selection.dispositions {
            let Some(newest) = slot.translation(*id) else {
                continue;
            };
            let key = slot.version_key(newest);
            if let Some(version) = self.store.version_at(&key, time).await? {
                let Body::Translation(version) = &*version else {
                    return Err(wrong_version(&key));
                };
                let head = version.head.clone();
                stamp = stamp.max(head.updated);
                translations.push(TranslationHead {
                    disposition: *disposition,
                    ..head
                });
            }
        }
        Ok(Some(Slot {
            article: slot.article.clone(),
            language: slot.language.clone(),
            version: slot.version,
            stamp,
            etag: selection.etag,
            translations,
            selection: Version {
                number: selection.number,
                stamp: selection.stamp,
            },
        }))
    }
}
