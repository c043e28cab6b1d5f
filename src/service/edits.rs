//! Changes of articles: what an edit comes to, and the loop that commits it.
//!
//! A change is decided on a state, committed as data, and decided again when the state was another one by then.

use std::sync::Arc;

use super::articles::Moment;
use super::snapshot::{Snapshot, View};
use super::{ATTEMPTS, Call, Error, Result, Service};
use crate::domain::article::{
    Alias, ArticleId, ArticleVersion, Content, Head, Metadata, Revision, SegmentHistory, Significance,
};
use crate::domain::change::{Event, Kind, Scope};
use crate::domain::draft::{ArticleDraft, ArticlePatch, Assigned, assign};
use crate::domain::etag::{Etag, ExpectedEtag};
use crate::domain::freshness::Freshness;
use crate::domain::history::{At, History};
use crate::domain::provenance::Actor;
use crate::domain::request::{Outcome, RequestRecord};
use crate::domain::time::Stamp;
use crate::domain::translation::Slot;
use crate::store::{ArticleState, Batch, Body, Conflict, Expect, StoreError};

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
        match self.try_change(call, rpc, id, view, edit).await {
            Err(error) => match self.carried_out(call, rpc).await {
                Some(record) => Ok((self.answer_again(&record, view).await?, record.outcome)),
                None => Err(error),
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
            match self.store.commit(batch.clone()).await {
                // As a retry will be answered: a translation may have been attached since the decision.
                Ok(stamp) if call.request.is_some() => {
                    let state = self.existing(id).await?;
                    let state = self.at(&state, Moment::Time(stamp.time)).await?;
                    return Ok((self.snapshot(state, view).await?, outcome));
                }
                Ok(stamp) => return Ok((self.after(state, batch, stamp, view).await?, outcome)),
                Err(StoreError::Conflict(Conflict::Alias { alias, holder })) => {
                    return Err(Error::AliasTaken { alias, holder });
                }
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
        let create = |draft: &ArticleDraft| {
            let batch = new_article(id, draft.clone(), &call.actor)?;
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
            (_, None) => Err(Error::ArticleNotFound(id.clone())),
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
                let (step, outcome) = self.revise(state, patch, significance, &call.actor).await?;
                if matches!(step, Step::Commit(_)) {
                    check_etag(state, expected)?;
                }
                Ok((step, outcome))
            }
            (Edit::SetDeleted { deleted, .. }, Some(state))
                if state.head.current.deleted.is_some() == deleted =>
            {
                Ok((Step::Unchanged, Outcome::Unchanged))
            }
            (Edit::SetDeleted { deleted, expected }, Some(state)) => {
                check_etag(state, expected)?;
                let kind = if deleted {
                    Kind::ArticleDeleted
                } else {
                    Kind::ArticleUndeleted
                };
                let current = ArticleVersion {
                    deleted: deleted.then_some(Stamp::PENDING),
                    actor: call.actor.clone(),
                    ..next_version(&state.head, &state.head.current.metadata, deleted)
                };
                let head = Head {
                    current,
                    ..(*state.head).clone()
                };
                Ok((
                    Step::Commit(Box::new(rewrite(state, head, kind))),
                    Outcome::Changed,
                ))
            }
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
            .snapshot(Arc::new(ArticleState { head, slots }), View::Basic)
            .await?;
        if view == View::Full {
            let written = batch
                .bodies
                .into_iter()
                .find(|body| matches!(body, Body::Revision(_)));
            snapshot.revision = Some(match written {
                Some(mut body) => {
                    body.resolve(stamp);
                    Arc::new(body)
                }
                None => self.revision_body(&snapshot.state.head.current.revision).await?,
            });
        }
        Ok(snapshot)
    }

    /// What was answered first.
    pub(super) async fn answer_again(&self, record: &RequestRecord, view: View) -> Result<Snapshot> {
        let state = self.existing(&record.article).await?;
        let state = self.at(&state, Moment::Time(record.stamp.time)).await?;
        self.snapshot(state, view).await
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
        let metadata = patch.metadata(&head.current.metadata);
        if state.slots.contains_key(&metadata.language) {
            let description = format!("the article has translations into \"{}\"", metadata.language);
            return Err(Error::invalid("article.language", description));
        }
        if !patch.touches_content() {
            return Ok(self.metadata_step(state, &metadata, actor));
        }
        let old = self.revision(&head.current.revision).await?;
        let history = self.store.segment_history(&head.id).await?;
        let assigned = self.assign(patch, &old, head, &history).await?;
        if assigned.content == old.content {
            return Ok(self.metadata_step(state, &metadata, actor));
        }
        check_not_empty(&assigned.content)?;
        let batch = revised(state, metadata, assigned, history, significance, actor);
        Ok((Step::Commit(Box::new(batch)), Outcome::Changed))
    }

    fn metadata_step(&self, state: &ArticleState, metadata: &Metadata, actor: &Actor) -> (Step, Outcome) {
        if *metadata == state.head.current.metadata {
            return (Step::Unchanged, Outcome::Unchanged);
        }
        let current = ArticleVersion {
            actor: actor.clone(),
            ..next_version(&state.head, metadata, false)
        };
        let head = Head {
            current,
            aliases: all_aliases(&state.head, metadata),
            ..(*state.head).clone()
        };
        (
            Step::Commit(Box::new(rewrite(state, head, Kind::ArticleMetadataChanged))),
            Outcome::Changed,
        )
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
            Some(number) => self.find(&head.revisions, At::Number(number)).await?,
            None => None,
        };
        let earlier = match earlier {
            Some(version) => match self.revision(&version).await {
                Err(Error::RevisionNotRetained { .. }) => None,
                revision => Some(revision?.content.body),
            },
            None => None,
        };
        let base = earlier.as_ref().unwrap_or(&old.content.body);
        assign(draft, base, history, head.next_segment).map_err(Error::Invalid)
    }
}

/// Whether the caller's etag is the article's.
fn check_etag(state: &ArticleState, expected: Option<&ExpectedEtag>) -> Result<()> {
    let current = state.head.current.etag;
    match expected {
        Some(expected) if !expected.matches(current) => Err(Error::EtagMismatch {
            what: format!("article \"{}\"", state.head.id),
            expected: expected.clone(),
            current,
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

/// A batch that only records a request, on the state that it found.
fn unchanged(id: &ArticleId, state: Option<&ArticleState>) -> Batch {
    Batch {
        expect: vec![Expect::Head(state.map(|state| state.head.version()))],
        ..Batch::new(id.clone())
    }
}

/// Everything of a new article.
fn new_article(id: &ArticleId, draft: ArticleDraft, actor: &Actor) -> Result<Batch> {
    let ArticleDraft {
        id: _,
        metadata,
        content,
    } = draft;
    let assigned = assign(content, &[], &SegmentHistory::default(), 1).map_err(Error::Invalid)?;
    check_not_empty(&assigned.content)?;
    let history = History::first(0);
    let revisions = History::first(1);
    let current = ArticleVersion {
        stamp: Stamp::PENDING,
        etag: Etag::of(1, &(&metadata, &assigned.content, false)),
        revision: revisions.newest,
        created: Stamp::PENDING,
        deleted: None,
        actor: actor.clone(),
        history,
        metadata,
    };
    let head = head_of(id.clone(), current, &assigned, revisions, Vec::new());
    let head = Head {
        aliases: all_aliases(&head, &head.current.metadata),
        ..head
    };
    let revision = Revision {
        stamp: Stamp::PENDING,
        content: assigned.content,
        significance: None,
        actor: actor.clone(),
        history: head.revisions.clone(),
    };
    Ok(Batch {
        expect: vec![Expect::Head(None)],
        events: vec![event(&head, Kind::ArticleCreated, None)],
        bodies: vec![Body::Article(head.current.clone()), Body::Revision(revision)],
        head: Some(head),
        ..Batch::new(id.clone())
    })
}

fn head_of(
    id: ArticleId,
    current: ArticleVersion,
    assigned: &Assigned,
    revisions: History,
    aliases: Vec<Alias>,
) -> Head {
    Head {
        id,
        current,
        title: assigned.content.title.clone(),
        lead: assigned.content.lead.clone(),
        manifest: assigned.content.manifest(),
        next_segment: assigned.next_segment,
        aliases,
        revisions,
    }
}

/// The aliases that an article holds with new metadata: it never gives one up.
fn all_aliases(head: &Head, metadata: &Metadata) -> Vec<Alias> {
    let mut aliases = head.aliases.clone();
    aliases.extend(
        metadata
            .aliases()
            .into_iter()
            .filter(|alias| !head.aliases.contains(alias)),
    );
    aliases
}

/// The version after a head's, with the same content.
fn next_version(head: &Head, metadata: &Metadata, deleted: bool) -> ArticleVersion {
    let history = head.current.history.next(0);
    let digest = (metadata, head.current.etag.digest, deleted);
    ArticleVersion {
        stamp: Stamp::PENDING,
        etag: Etag::of(history.newest.number, &digest),
        metadata: metadata.clone(),
        history,
        ..head.current.clone()
    }
}

/// A commit that changes an article without touching its content.
fn rewrite(state: &ArticleState, head: Head, kind: Kind) -> Batch {
    Batch {
        expect: vec![Expect::Head(Some(state.head.version()))],
        events: vec![event(&head, kind, Some(&state.head))],
        bodies: vec![Body::Article(head.current.clone())],
        head: Some(head),
        ..Batch::new(state.head.id.clone())
    }
}

/// A commit that gives an article new content.
fn revised(
    state: &ArticleState,
    metadata: Metadata,
    assigned: Assigned,
    mut history: SegmentHistory,
    significance: Option<Significance>,
    actor: &Actor,
) -> Batch {
    let old = &state.head;
    let versions = old.current.history.next(0);
    let revisions = old.revisions.next(1);
    let current = ArticleVersion {
        stamp: Stamp::PENDING,
        etag: Etag::of(versions.newest.number, &(&metadata, &assigned.content, false)),
        revision: revisions.newest,
        actor: actor.clone(),
        history: versions,
        metadata,
        ..old.current.clone()
    };
    let aliases = all_aliases(old, &current.metadata);
    let head = head_of(old.id.clone(), current, &assigned, revisions, aliases);
    history.advance(&old.manifest, old.revision(), &head.manifest, significance);
    let revision = Revision {
        stamp: Stamp::PENDING,
        content: assigned.content,
        significance,
        actor: actor.clone(),
        history: head.revisions.clone(),
    };
    let versions = state
        .slots
        .iter()
        .map(|(language, slot)| (language.clone(), slot.version))
        .collect();
    let mut events = vec![event(&head, Kind::ArticleRevised, Some(old))];
    events.extend(
        state
            .slots
            .values()
            .filter_map(|slot| freshness_event(&head, old, slot)),
    );
    Batch {
        expect: vec![Expect::Head(Some(old.version())), Expect::Slots(versions)],
        bodies: vec![Body::Article(head.current.clone()), Body::Revision(revision)],
        segment_history: Some(history),
        events,
        head: Some(head),
        ..Batch::new(old.id.clone())
    }
}

/// What a new revision does to the translation that is served in a language.
fn freshness_event(head: &Head, old: &Head, slot: &Slot) -> Option<Event> {
    let active = slot.active()?;
    let from = Freshness::of_translation(active, &old.manifest).overall;
    let to = Freshness::of_translation(active, &head.manifest).overall;
    (from != to).then(|| Event {
        language: Some(slot.language.clone()),
        etag: Some(active.etag),
        ..event(head, Kind::TranslationFreshnessChanged { from, to }, Some(old))
    })
}

/// An event about an article.
pub(super) fn event(head: &Head, kind: Kind, old: Option<&Head>) -> Event {
    let scope = Scope::from(&head.current.metadata);
    let previous = old
        .map(|old| Scope::from(&old.current.metadata))
        .filter(|previous| *previous != scope);
    Event {
        kind,
        article: head.id.clone(),
        revision: head.revision(),
        language: None,
        etag: Some(head.current.etag),
        scope,
        previous,
    }
}
