//! Writes of articles: what each edit makes of an article that is there or not.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::article_commits::{lifted, new_article, revised, set_deleted, set_metadata};
use super::snapshot::Snapshot;
use super::transact::{Decision, Effect, Mutation};
use super::view::View;
use super::{Call, Error, Result, Service};
use crate::domain::access::Visibility;
use crate::domain::align::wanted_texts;
use crate::domain::article::{ArticleId, ArticleVersion, Content, Head, Metadata, Revision, Significance};
use crate::domain::change::Kind;
use crate::domain::departures::{Departures, Lookup};
use crate::domain::draft::{ArticleDraft, ArticlePatch, Assigned, StatusChange, assign};
use crate::domain::etag::ExpectedEtag;
use crate::domain::provenance::Actor;
use crate::domain::request::Outcome;
use crate::domain::segment::{Segment, TextHash};
use crate::domain::significance::propose;
use crate::domain::time::Timestamp;
use crate::store::{ArticleState, Batch, Body};

/// A write of an article.
#[derive(Clone, Copy)]
pub(super) enum Edit<'a> {
    /// Creates it.
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
    /// A whole article, to create or to replace the one that has its id or aliases.
    Import {
        /// The article.
        draft: &'a ArticleDraft,
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

/// An edit of an article under way.
pub(super) struct ArticleEdit<'a> {
    /// The RPC.
    pub(super) rpc: &'static str,
    /// The article.
    pub(super) id: &'a ArticleId,
    /// What is asked of it.
    pub(super) edit: Edit<'a>,
    /// How much of it the answer shows.
    pub(super) view: View,
}

impl Mutation for ArticleEdit<'_> {
    type Detail = ();
    type Answer = (Snapshot, Outcome);

    fn rpc(&self) -> Option<&'static str> {
        Some(self.rpc)
    }

    fn article(&self) -> &ArticleId {
        self.id
    }

    fn follows_aliases(&self) -> bool {
        matches!(self.edit, Edit::Import { draft, .. } if draft.id.is_none())
    }

    async fn read(&self, service: &Service, call: &Call) -> Result<Option<Arc<ArticleState>>> {
        match self.edit {
            Edit::Import { draft, .. } if draft.id.is_none() => service.holder(call, draft).await,
            _ => service.state(self.id).await,
        }
    }

    async fn decide(
        &self,
        service: &Service,
        call: &Call,
        state: Option<&Arc<ArticleState>>,
    ) -> Result<Decision> {
        let (id, actor, now) = (self.id, call.actor(), service.clock.now());
        let Some(state) = state else {
            return match self.edit {
                Edit::Create(draft)
                | Edit::Import { draft, .. }
                | Edit::Update {
                    missing: Some(draft),
                    expected: None,
                    ..
                } => created(id, draft, actor, now),
                _ => Err(service.absent(id).await),
            };
        };
        match self.edit {
            Edit::Create(_) => Err(Error::ArticleExists(id.clone())),
            Edit::Update { .. } | Edit::Import { .. } if state.head.current.deleted.is_some() => {
                Err(Error::ArticleDeleted(state.head.id.clone()))
            }
            Edit::Update {
                patch,
                missing: _,
                expected,
                significance,
            } => {
                check_etag(call, state, expected)?;
                service.revise(state, patch, significance, actor).await
            }
            Edit::Import { draft, significance } => {
                let patch = ArticlePatch::replacing(draft);
                service.revise(state, &patch, significance, actor).await
            }
            Edit::SetDeleted { deleted, expected } => {
                check_etag(call, state, expected)?;
                if state.head.current.deleted.is_some() == deleted {
                    return Ok(Decision::unchanged());
                }
                Ok(changed(set_deleted(state, deleted, actor, now)))
            }
            Edit::SetStatus { change, expected } => {
                check_etag(call, state, expected)?;
                let metadata = change.metadata(&state.head.current.metadata);
                let kind = Kind::PublicationStatusChanged;
                Ok(with_metadata(state, &metadata, kind, actor, now))
            }
            Edit::LiftEmbargo => Ok(lifted(state, now).map_or_else(Decision::unchanged, changed)),
        }
    }

    async fn answer(&self, service: &Service, call: &Call, effect: Effect) -> Result<(Snapshot, Outcome)> {
        let (state, visibility) = effect.state(service).await?;
        let outcome = effect.outcome;
        // A caller that may not read is not answered with the text.
        let is_full = self.view == View::Full && call.reads(Visibility::Public);
        let is_revision = |body: &Arc<Body>| matches!(**body, Body::Revision(_));
        let revision = match effect.bodies.into_iter().find(is_revision) {
            _ if !is_full => None,
            Some(written) => Some(written),
            None => Some(service.revision_body(&state.head, state.head.revision()).await?),
        };
        let snapshot = Snapshot {
            state,
            revision,
            visibility,
            asked: None,
        };
        Ok((snapshot, outcome))
    }
}

impl Service {
    /// What a patch makes of an article.
    async fn revise(
        &self,
        state: &Arc<ArticleState>,
        patch: &ArticlePatch,
        significance: Option<Significance>,
        actor: &Actor,
    ) -> Result<Decision> {
        let head = &state.head;
        let now = self.clock.now();
        let metadata = patch.metadata(&head.current.metadata);
        if state.slots.contains_key(&metadata.language) {
            let description = format!("the article has translations into \"{}\"", metadata.language);
            return Err(Error::invalid("article.language", description));
        }
        if !patch.touches_content() {
            return Ok(with_metadata(
                state,
                &metadata,
                Kind::ArticleMetadataChanged,
                actor,
                now,
            ));
        }
        let old = self.revision(head, head.revision()).await?;
        let assigned = self.assign(patch, &old, head).await?;
        if assigned.content == old.content {
            return Ok(with_metadata(
                state,
                &metadata,
                Kind::ArticleMetadataChanged,
                actor,
                now,
            ));
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
        let batch = revised(state, current, assigned, significance, is_proposed);
        Ok(changed(batch))
    }

    /// Gives the new content its segment ids. Going back to the content of an earlier revision gives that one's, as long as
    /// it is kept.
    async fn assign(&self, patch: &ArticlePatch, old: &Revision, head: &Head) -> Result<Assigned> {
        let draft = patch.content(&old.content);
        let earlier = self.body_with(head, draft.content_hash()).await?;
        let base = earlier.as_ref().unwrap_or(&old.content.body);
        let lookup = Lookup {
            texts: wanted_texts(base, &draft.body),
            ..Lookup::before(head.revision())
        };
        let departures = self.departures(&head.id, &lookup).await?;
        assign(draft, base, &departures, head.next_segment).map_err(Error::Invalid)
    }

    /// The body of the last earlier revision with a content, as long as it is kept; `None` where it is the newest one's.
    async fn body_with(&self, head: &Head, content: TextHash) -> Result<Option<Vec<Segment>>> {
        if content == head.manifest.content_hash() {
            return Ok(None);
        }
        let lookup = Lookup {
            contents: BTreeSet::from([content]),
            ..Lookup::before(head.revision())
        };
        let departures = self.departures(&head.id, &lookup).await?;
        let Some(number) = departures.contents.get(&content) else {
            return Ok(None);
        };
        match self.revision(head, *number).await {
            Err(Error::RevisionNotRetained { .. }) => Ok(None),
            revision => Ok(Some(revision?.content.body)),
        }
    }
}

fn changed(batch: Batch) -> Decision {
    Decision::write(batch, Outcome::Changed)
}

fn created(id: &ArticleId, draft: &ArticleDraft, actor: &Actor, now: Timestamp) -> Result<Decision> {
    let (metadata, content) = (draft.metadata.clone(), draft.content.clone());
    let assigned = assign(content, &[], &Departures::default(), 1).map_err(Error::Invalid)?;
    check_not_empty(&assigned.content)?;
    let batch = new_article(id, metadata, assigned, actor, now);
    Ok(Decision::write(batch, Outcome::Created))
}

fn with_metadata(
    state: &ArticleState,
    metadata: &Metadata,
    kind: Kind,
    actor: &Actor,
    now: Timestamp,
) -> Decision {
    if *metadata == state.head.current.metadata {
        return Decision::unchanged();
    }
    changed(set_metadata(state, metadata, kind, actor, now))
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
