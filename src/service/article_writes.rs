//! Writes of articles: the decision on an edit, and the optimistic loop that commits it.
//!
//! An edit is decided on a state, committed as data with preconditions, and decided again if the state has changed.

use std::sync::Arc;

use super::article_commits::{lifted, new_article, revised, set_deleted, set_metadata, unchanged};
use super::snapshot::Snapshot;
use super::view::Moment;
use super::view::View;
use super::{ATTEMPTS, Call, Error, Result, Service};
use crate::domain::access::{Visibility, visibility_again};
use crate::domain::article::{
    ArticleId, ArticleVersion, Content, Head, Metadata, Revision, SegmentHistory, Significance,
};
use crate::domain::change::Kind;
use crate::domain::draft::{ArticleDraft, ArticlePatch, Assigned, StatusChange, assign};
use crate::domain::etag::ExpectedEtag;
use crate::domain::job::Jobs;
use crate::domain::provenance::Actor;
use crate::domain::request::{Outcome, RequestRecord};
use crate::domain::significance::propose;
use crate::domain::time::{Stamp, Timestamp};
use crate::domain::version::Series;
use crate::store::{ArticleState, Batch, Conflict, StoreError};

/// What is asked of an article.
#[derive(Clone, Copy)]
pub(super) enum Edit<'a> {
    /// That it comes to be.
    Create(&'a ArticleDraft),
    /// New values for some fields, or for all.
    Update {
        /// The values.
        patch: &'a ArticlePatch,
        /// What to create if there is no such article.
        missing: Option<&'a ArticleDraft>,
        /// The etag that it must have.
        expected: Option<&'a ExpectedEtag>,
        /// How much the new content changes.
        significance: Option<Significance>,
    },
    /// That it disappears or comes back.
    SetDeleted {
        /// Which of the two.
        deleted: bool,
        /// The etag that it must have.
        expected: Option<&'a ExpectedEtag>,
    },
    /// That it is published, or not, or later.
    SetStatus {
        /// What is said about it.
        change: &'a StatusChange,
        /// The etag that it must have.
        expected: Option<&'a ExpectedEtag>,
    },
    /// That it appears if its embargo has ended.
    LiftEmbargo,
}

/// What an edit comes to.
enum Step {
    /// Commit this, then answer with the state after it.
    Commit(Box<Batch>),
    /// Nothing differs.
    Unchanged,
}

impl Service {
    /// Carries out an edit, and answers with the article after it.
    pub(super) async fn change(
        &self,
        call: &Call,
        rpc: &'static str,
        id: &ArticleId,
        view: View,
        edit: Edit<'_>,
    ) -> Result<(Snapshot, Outcome)> {
        // A caller that may not read is not answered with the text.
        let view = if call.reads(Visibility::Public) {
            view
        } else {
            View::Basic
        };
        match self.try_change(call, rpc, id, view, edit).await {
            Err(error) => match self.carried_out(call, rpc).await {
                Some(record) => Ok((self.answer_again(&record, view).await?, record.outcome)),
                None => self.unless_purged(id, Err(error)).await,
            },
            changed => changed,
        }
    }

    /// Decides on an article again and again until the decision is committed.
    async fn try_change(
        &self,
        call: &Call,
        rpc: &'static str,
        id: &ArticleId,
        view: View,
        edit: Edit<'_>,
    ) -> Result<(Snapshot, Outcome)> {
        for _ in 0..ATTEMPTS {
            if let Some(record) = self.earlier(call, rpc).await? {
                return Ok((self.answer_again(&record, view).await?, record.outcome));
            }
            let state = self.state(id).await?;
            let (mut batch, outcome) = match (self.decide_edit(call, id, state.as_ref(), edit).await?, &state)
            {
                ((Step::Commit(batch), outcome), _) => (*batch, outcome),
                ((Step::Unchanged, outcome), Some(state)) if call.request.is_none() => {
                    return Ok((self.snapshot(state.clone(), view).await?, outcome));
                }
                ((Step::Unchanged, outcome), state) => (unchanged(id, state.as_deref()), outcome),
            };
            batch.request = call.record(rpc, id, None, outcome);
            match self.commit(call, state.as_deref(), batch.clone()).await {
                // As a retry will be answered: a translation may have been attached since the decision.
                Ok(stamp) if call.request.is_some() => {
                    return Ok((self.snapshot_then(id, stamp, view).await?, outcome));
                }
                Ok(stamp) => return Ok((self.after(state, batch, stamp, view).await?, outcome)),
                Err(StoreError::Conflict(Conflict::Alias { alias, holder })) => {
                    let holder = self.readable_id(call, holder).await?;
                    return Err(Error::AliasTaken { alias, holder });
                }
                Err(StoreError::Conflict(Conflict::Purged(id))) => return Err(Error::IdPurged(id)),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contention(id.clone()))
    }

    /// What an edit makes of an article that is there or not.
    async fn decide_edit(
        &self,
        call: &Call,
        id: &ArticleId,
        state: Option<&Arc<ArticleState>>,
        edit: Edit<'_>,
    ) -> Result<(Step, Outcome)> {
        let now = self.clock.now();
        let create = |draft: &ArticleDraft| {
            let ArticleDraft {
                id: _,
                metadata,
                content,
            } = draft.clone();
            let assigned = assign(content, &[], &SegmentHistory::default(), 1).map_err(Error::Invalid)?;
            check_not_empty(&assigned.content)?;
            let batch = new_article(id, metadata, assigned, call.actor(), now);
            Ok((Step::Commit(Box::new(batch)), Outcome::Created))
        };
        match (edit, state) {
            (Edit::Create(draft), None) => create(draft),
            (Edit::Create(_), Some(_)) => Err(Error::ArticleExists(id.clone())),
            (
                Edit::Update {
                    missing: Some(draft),
                    expected: None,
                    ..
                },
                None,
            ) => create(draft),
            (_, None) => Err(self.absent(id).await),
            (Edit::Update { .. }, Some(state)) if state.head.current.deleted.is_some() => {
                Err(Error::ArticleDeleted(id.clone()))
            }
            (
                Edit::Update {
                    patch,
                    missing: _,
                    expected,
                    significance,
                },
                Some(state),
            ) => {
                check_etag(call, state, expected)?;
                self.revise(state, patch, significance, call.actor()).await
            }
            (Edit::SetDeleted { deleted, expected }, Some(state)) => {
                check_etag(call, state, expected)?;
                if state.head.current.deleted.is_some() == deleted {
                    return Ok((Step::Unchanged, Outcome::Unchanged));
                }
                Ok(committing(set_deleted(state, deleted, call.actor(), now)))
            }
            (Edit::SetStatus { change, expected }, Some(state)) => {
                check_etag(call, state, expected)?;
                let metadata = change.metadata(&state.head.current.metadata);
                if metadata == state.head.current.metadata {
                    return Ok((Step::Unchanged, Outcome::Unchanged));
                }
                let batch = set_metadata(
                    state,
                    &metadata,
                    Kind::PublicationStatusChanged,
                    call.actor(),
                    now,
                );
                Ok(committing(batch))
            }
            (Edit::LiftEmbargo, Some(state)) => Ok(match lifted(state, now) {
                Some(batch) => committing(batch),
                None => (Step::Unchanged, Outcome::Unchanged),
            }),
        }
    }

    /// The article after a batch was committed.
    async fn after(
        &self,
        state: Option<Arc<ArticleState>>,
        batch: Batch,
        stamp: Stamp,
        view: View,
    ) -> Result<Snapshot> {
        let slots = state
            .as_ref()
            .map(|state| state.slots.clone())
            .unwrap_or_default();
        let head = match (batch.head, state) {
            (Some(mut head), _) => {
                head.resolve(stamp);
                Arc::new(head)
            }
            (None, Some(state)) => state.head.clone(),
            (None, None) => return Err(Error::internal("a change of no article was committed")),
        };
        let mut snapshot = self
            .snapshot(
                Arc::new(ArticleState {
                    head,
                    slots,
                    jobs: Jobs::new(),
                }),
                View::Basic,
            )
            .await?;
        if view == View::Full {
            let written = batch
                .bodies
                .into_iter()
                .find_map(|(series, body)| (series == Series::Content).then_some(body));
            snapshot.revision = Some(match written {
                Some(mut body) => {
                    body.resolve(stamp);
                    Arc::new(body)
                }
                None => {
                    self.revision_body(&snapshot.state.head, snapshot.state.head.revision())
                        .await?
                }
            });
        }
        Ok(snapshot)
    }

    /// The first answer to a recorded request. Visibility is judged as of now.
    pub(super) async fn answer_again(&self, record: &RequestRecord, view: View) -> Result<Snapshot> {
        self.snapshot_then(&record.article, record.stamp, view).await
    }

    async fn snapshot_then(&self, id: &ArticleId, stamp: Stamp, view: View) -> Result<Snapshot> {
        let now = self.existing(id).await?;
        let then = self.at(&now, Moment::Time(stamp.time)).await?;
        Ok(Snapshot {
            visibility: visibility_again(then.head.current.visibility, now.head.current.visibility),
            ..self.snapshot(then, view).await?
        })
    }

    /// What a patch makes of an article.
    async fn revise(
        &self,
        state: &Arc<ArticleState>,
        patch: &ArticlePatch,
        significance: Option<Significance>,
        actor: &Actor,
    ) -> Result<(Step, Outcome)> {
        let head = &state.head;
        let now = self.clock.now();
        let metadata = patch.metadata(&head.current.metadata);
        if state.slots.contains_key(&metadata.language) {
            let description = format!("the article has translations into \"{}\"", metadata.language);
            return Err(Error::invalid("article.language", description));
        }
        if !patch.touches_content() {
            return Ok(metadata_step(state, &metadata, actor, now));
        }
        let old = self.revision(head, head.revision()).await?;
        let history = self.store.segment_history(&head.id).await?;
        let assigned = self.assign(patch, &old, head, &history).await?;
        if assigned.content == old.content {
            return Ok(metadata_step(state, &metadata, actor, now));
        }
        check_not_empty(&assigned.content)?;
        let current = ArticleVersion {
            visibility: Visibility::at(&metadata, now),
            metadata,
            actor: actor.clone(),
            ..head.current.clone()
        };
        let proposed = || propose(&old.content, &assigned.content);
        let is_proposed = significance.is_none();
        let significance = significance.unwrap_or_else(proposed);
        let batch = revised(state, current, assigned, history, significance, is_proposed);
        Ok(committing(batch))
    }

    /// Gives the new content its segment ids. Going back to the content of an earlier revision gives that one's, as long as
    /// it is kept.
    async fn assign(
        &self,
        patch: &ArticlePatch,
        old: &Revision,
        head: &Head,
        history: &SegmentHistory,
    ) -> Result<Assigned> {
        let draft = patch.content(&old.content);
        let wanted = draft.content_hash();
        let earlier = if wanted == head.manifest.content_hash() {
            None
        } else {
            history.revision_with(wanted)
        };
        let earlier = match earlier {
            Some(number) => match self.revision(head, number).await {
                Err(Error::RevisionNotRetained { .. }) => None,
                revision => Some(revision?.content.body),
            },
            None => None,
        };
        let base = earlier.as_ref().unwrap_or(&old.content.body);
        assign(draft, base, history, head.next_segment).map_err(Error::Invalid)
    }
}

fn committing(batch: Batch) -> (Step, Outcome) {
    (Step::Commit(Box::new(batch)), Outcome::Changed)
}

fn metadata_step(
    state: &ArticleState,
    metadata: &Metadata,
    actor: &Actor,
    now: Timestamp,
) -> (Step, Outcome) {
    if *metadata == state.head.current.metadata {
        return (Step::Unchanged, Outcome::Unchanged);
    }
    committing(set_metadata(
        state,
        metadata,
        Kind::ArticleMetadataChanged,
        actor,
        now,
    ))
}

/// Whether the caller's etag is the article's.
pub(super) fn check_etag(call: &Call, state: &ArticleState, expected: Option<&ExpectedEtag>) -> Result<()> {
    let current = &state.head.current;
    match expected {
        Some(expected) if !expected.matches(current.etag) => Err(Error::EtagMismatch {
            what: format!("article \"{}\"", state.head.id),
            expected: expected.clone(),
            current: call.reads(current.visibility).then_some(current.etag),
        }),
        _ => Ok(()),
    }
}

fn check_not_empty(content: &Content) -> Result<()> {
    match content.segments().next() {
        Some(_) => Ok(()),
        None => Err(Error::invalid(
            "article.title",
            "is required where there is neither a lead nor a body",
        )),
    }
}
