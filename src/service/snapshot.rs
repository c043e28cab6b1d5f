//! Articles as they are or as they were, ready to be answered.
//!
//! An earlier state is put together from immutable versions into the same shape as the present one, so that everything
//! that renders an article, and every replay of a first answer, works alike on both.

use std::sync::Arc;

use super::view::{Moment, SUMMARIES_BYTES, SUMMARY_IDS, View};
use super::{Error, Result, Service};
use crate::domain::access::Visibility;
use crate::domain::article::{ArticleId, Head, Manifest, Revision, Significance};
use crate::domain::departures::{Departures, Lookup};
use crate::domain::freshness::{Freshness, StaleSince};
use crate::domain::language::Language;
use crate::domain::provenance::Actor;
use crate::domain::quality::evidence;
use crate::domain::segment::{Mark, MarkedText, Segment, Span};
use crate::domain::time::Stamp;
use crate::domain::translation::{Disposition, Slot, TranslationHead, TranslationVersion};
use crate::domain::version::VersionKey;
use crate::store::{ArticleState, Body, StoreError};

/// An article with as much as was asked for.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The article and its translations without texts.
    pub state: Arc<ArticleState>,
    /// The newest revision of the content; `None` in the basic view.
    pub revision: Option<Arc<Body>>,
    /// The present visibility of the article, also where the state is an earlier one.
    pub visibility: Visibility,
    /// The language whose summaries come first, where the article was asked for by one.
    pub asked: Option<Language>,
}

/// A translation of an article without its texts, in its slot.
pub type Summary<'a> = (&'a Arc<Slot>, &'a TranslationHead, Freshness);

impl Snapshot {
    /// The summaries of its translations that an answer with the article holds, by language, and how many there are
    /// altogether. Withdrawn translations do not count.
    pub fn summaries(&self) -> (Vec<Summary<'_>>, usize) {
        let slots = self.state.slots.values();
        let all = slots.flat_map(|slot| slot.translations.iter().map(move |head| (slot, head)));
        let all = all.filter(|(_, head)| head.disposition != Disposition::Withdrawn);
        let is_asked = |slot: &Slot| self.asked.as_ref() == Some(&slot.language);
        let (asked, others): (Vec<_>, Vec<_>) = all.partition(|(slot, _)| is_asked(slot));
        let count = asked.len() + others.len();
        let (mut listed, mut bytes) = (Vec::new(), 0);
        for (slot, head) in asked.into_iter().chain(others) {
            let freshness = Freshness::of_translation(head, &self.state.head.manifest);
            bytes += summary_bytes(head, &freshness, SUMMARY_IDS);
            if bytes > SUMMARIES_BYTES {
                break;
            }
            listed.push((slot, head, freshness));
        }
        listed.sort_by_key(|(slot, head, _)| (&slot.language, head.id));
        (listed, count)
    }

    /// The content's revision.
    pub fn revision(&self) -> Option<&Revision> {
        match self.revision.as_deref() {
            Some(Body::Revision(revision)) => Some(revision),
            _ => None,
        }
    }

    /// An upper bound of what the article takes in an answer, in bytes.
    pub fn max_bytes(&self) -> usize {
        let metadata = &self.state.head.current.metadata;
        let lists = [&metadata.info_sources, &metadata.authors, &metadata.keywords];
        let words: usize = lists.into_iter().flatten().map(|word| word.len() + 4).sum();
        let labels: usize = metadata
            .labels
            .iter()
            .map(|(key, value)| key.len() + value.len() + 12)
            .sum();
        let heads = [&self.state.head.title, &self.state.head.lead];
        let spans = |segment: &Segment| text_bytes(&segment.content);
        let texts: usize = heads.into_iter().map(spans).sum();
        let body: usize = self
            .revision()
            .map_or(0, |revision| revision.content.body.iter().map(spans).sum());
        let ids = self.state.head.manifest.0.len();
        let summaries = self.state.slots.values().flat_map(|slot| &slot.translations);
        let translations: usize = summaries
            .map(|t| {
                SUMMARY_BYTES
                    + t.external_uri.len()
                    + ID_BYTES * (ids + t.bindings.len()).min(4 * SUMMARY_IDS)
            })
            .sum();
        let translations = translations.min(SUMMARIES_BYTES);
        // Single fields of metadata: eight texts of at most a kilobyte and a URL are usually a few dozen bytes.
        let fields = [
            &metadata.section,
            &metadata.publisher,
            &metadata.guid,
            &metadata.located,
            &metadata.dateline,
            &metadata.status_reason,
        ];
        let fields: usize = fields.into_iter().map(|field| field.len() + 4).sum();
        2_048 + fields + words + labels + texts + body + translations
    }
}

/// The most that a segment with this text takes in an answer, in bytes.
fn text_bytes(text: &MarkedText) -> usize {
    let href = |span: &Span| match &span.mark {
        Mark::Link(href) => href.len(),
        _ => 0,
    };
    let spans: usize = text.spans().iter().map(|span| 32 + href(span)).sum();
    64 + text.text().len() + spans
}

/// The most that a summary takes in an answer in bytes, without its address and segment ids, and each of the latter.
const SUMMARY_BYTES: usize = 512;
const ID_BYTES: usize = 14;

/// The most that a summary takes in an answer, in bytes, with at most `max_ids` segment ids of each kind.
fn summary_bytes(head: &TranslationHead, freshness: &Freshness, max_ids: usize) -> usize {
    let Freshness {
        stale,
        missing,
        orphaned,
        moved,
        ..
    } = freshness;
    let ids = [stale, missing, orphaned, moved].map(|ids| ids.len().min(max_ids));
    SUMMARY_BYTES + head.external_uri.len() + ID_BYTES * ids.iter().sum::<usize>()
}

/// A translation with how it stands to its source.
#[derive(Debug, Clone)]
pub struct TranslationSnapshot {
    /// The article.
    pub article: ArticleId,
    /// The slot that it is in.
    pub slot: Arc<Slot>,
    /// The translation without texts.
    pub head: TranslationHead,
    /// How it stands to the source.
    pub freshness: Freshness,
    /// Since when it is stale.
    pub stale_since: Option<StaleSince>,
    /// Its texts; `None` where only a summary was asked for.
    pub version: Option<Arc<Body>>,
    /// The present visibility of the article, also where the state is an earlier one.
    pub visibility: Visibility,
}

impl TranslationSnapshot {
    /// The most that its summary takes in an answer, in bytes.
    pub(super) fn summary_bytes(&self) -> usize {
        summary_bytes(&self.head, &self.freshness, usize::MAX)
    }

    /// The most that it takes in an answer, in bytes.
    pub(super) fn max_bytes(&self) -> usize {
        self.summary_bytes() + self.text_bytes() + self.version().map_or(0, evidence::bytes)
    }

    /// The most that its texts take in an answer, in bytes.
    pub(super) fn text_bytes(&self) -> usize {
        let texts = self.version().map(|version| version.texts.as_slice());
        let sub_states = self.head.bindings.iter().map(|binding| binding.sub_state.len());
        texts.unwrap_or_default().iter().map(text_bytes).sum::<usize>() + sub_states.sum::<usize>()
    }

    /// The texts.
    pub fn version(&self) -> Option<&TranslationVersion> {
        match self.version.as_deref() {
            Some(Body::Translation(version)) => Some(version),
            _ => None,
        }
    }
}

/// What there is to say of a revision without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionFacts {
    /// The number.
    pub number: u32,
    /// The commit that wrote it.
    pub stamp: Stamp,
    /// The significance, where there is one.
    pub significance: Option<Significance>,
    /// Whether that was proposed.
    pub is_proposed: bool,
    /// The author.
    pub actor: Actor,
    /// Its headline and how many segments its body has; `None` if its content is no longer kept.
    pub outline: Option<(String, usize)>,
}

impl RevisionFacts {
    /// The most that it takes in an answer, in bytes.
    pub(super) fn max_bytes(&self) -> usize {
        const FIXED_BYTES: usize = 1_024;
        FIXED_BYTES + self.outline.as_ref().map_or(0, |(title, _)| title.len())
    }
}

/// A version that is something else than its series says.
pub(super) fn wrong_version(key: &VersionKey) -> Error {
    Error::Store(StoreError::Corrupt {
        record: key.to_string(),
        detail: "it is stored in another place than it says".into(),
    })
}

/// The revision in a version, if its content is kept.
fn kept<'a>(body: &'a Body, key: &VersionKey) -> Result<&'a Revision> {
    match body {
        Body::Revision(revision) => Ok(revision),
        Body::Dropped(_) => Err(Error::RevisionNotRetained {
            id: key.article.clone(),
            revision: key.number,
        }),
        _ => Err(wrong_version(key)),
    }
}

impl Service {
    /// The present state of an article.
    pub(super) async fn state(&self, id: &ArticleId) -> Result<Option<Arc<ArticleState>>> {
        Ok(self
            .store
            .articles(std::slice::from_ref(id))
            .await?
            .pop()
            .flatten())
    }

    /// The present state of an article that must be there, deleted or not.
    pub(super) async fn existing(&self, id: &ArticleId) -> Result<Arc<ArticleState>> {
        match self.state(id).await? {
            Some(state) => Ok(state),
            None => Err(self.absent(id).await),
        }
    }

    /// A version that must be there.
    pub(super) async fn version(&self, key: &VersionKey) -> Result<Arc<Body>> {
        let mut versions = self.store.versions(std::slice::from_ref(key)).await?;
        versions.pop().ok_or_else(|| wrong_version(key))
    }

    /// A revision of the content, behind its body.
    pub(super) async fn revision_body(&self, head: &Head, number: u32) -> Result<Arc<Body>> {
        let key = head.revision_key(number);
        let body = self.version(&key).await?;
        kept(&body, &key)?;
        Ok(body)
    }

    /// A revision of the content.
    pub(super) async fn revision(&self, head: &Head, number: u32) -> Result<Revision> {
        let key = head.revision_key(number);
        kept(&*self.version(&key).await?, &key).cloned()
    }

    /// What there is to say of a revision.
    pub(super) async fn revision_facts(&self, head: &Head, number: u32) -> Result<RevisionFacts> {
        let key = head.revision_key(number);
        let body = self.version(&key).await?;
        let (stamp, significance, is_proposed, actor, outline) = match &*body {
            Body::Dropped(dropped) => {
                let is_proposed = dropped.is_proposed;
                (
                    dropped.stamp,
                    dropped.significance,
                    is_proposed,
                    &dropped.actor,
                    None,
                )
            }
            body => {
                let Revision {
                    stamp,
                    content,
                    significance,
                    is_proposed,
                    actor,
                    ..
                } = kept(body, &key)?;
                let outline = (content.title.content.text().to_owned(), content.body.len());
                (*stamp, *significance, *is_proposed, actor, Some(outline))
            }
        };
        Ok(RevisionFacts {
            number,
            stamp,
            significance,
            is_proposed,
            actor: actor.clone(),
            outline,
        })
    }

    /// A translation with its texts.
    pub(super) async fn translation_version(&self, key: &VersionKey) -> Result<TranslationVersion> {
        match &*self.version(key).await? {
            Body::Translation(translation) => Ok(translation.clone()),
            _ => Err(wrong_version(key)),
        }
    }

    /// The segments of a revision.
    pub(super) async fn manifest(&self, head: &Head, revision: u32) -> Result<Manifest> {
        if revision == head.revision() {
            return Ok(head.manifest.clone());
        }
        if !(1..head.revision()).contains(&revision) {
            return Err(Error::RevisionNotFound {
                id: head.id.clone(),
                wanted: Moment::Revision(revision),
                head: head.revision(),
            });
        }
        Ok(self.revision(head, revision).await?.content.manifest())
    }

    /// The article with its content if the view has it.
    pub(super) async fn snapshot(&self, state: Arc<ArticleState>, view: View) -> Result<Snapshot> {
        let revision = match view {
            View::Basic => None,
            View::Full => Some(self.revision_body(&state.head, state.head.revision()).await?),
        };
        Ok(Snapshot {
            visibility: state.head.current.visibility,
            state,
            revision,
            asked: None,
        })
    }

    /// Several articles, their contents read at once, without those that are purged meanwhile.
    pub(super) async fn snapshots(
        &self,
        mut states: Vec<Arc<ArticleState>>,
        view: View,
    ) -> Result<Vec<Snapshot>> {
        loop {
            match self.all_snapshots(states.clone(), view).await {
                Err(Error::ArticlePurged(purged)) => states.retain(|state| state.head.id != purged.article),
                done => return done,
            }
        }
    }

    async fn all_snapshots(&self, states: Vec<Arc<ArticleState>>, view: View) -> Result<Vec<Snapshot>> {
        if view == View::Basic {
            return Ok(states
                .into_iter()
                .map(|state| Snapshot {
                    visibility: state.head.current.visibility,
                    state,
                    revision: None,
                    asked: None,
                })
                .collect());
        }
        let key = |state: &Arc<ArticleState>| state.head.revision_key(state.head.revision());
        let keys: Vec<_> = states.iter().map(key).collect();
        let bodies = self.store.versions(&keys).await?;
        let snapshot = |((state, key), body): ((Arc<ArticleState>, VersionKey), Arc<Body>)| {
            kept(&body, &key)?;
            Ok(Snapshot {
                visibility: state.head.current.visibility,
                state,
                revision: Some(body),
                asked: None,
            })
        };
        states.into_iter().zip(keys).zip(bodies).map(snapshot).collect()
    }

    /// How a translation of a state stands to that state's source.
    pub(super) async fn translation_snapshot(
        &self,
        state: &ArticleState,
        slot: &Arc<Slot>,
        head: &TranslationHead,
    ) -> Result<TranslationSnapshot> {
        let mut snapshots = self.translation_snapshots(state, &[(slot, head)]).await?;
        let lost = || Error::internal("a translation has no snapshot");
        snapshots.pop().ok_or_else(lost)
    }

    /// The same for many translations of an article, with one read of the store.
    pub(super) async fn translation_snapshots(
        &self,
        state: &ArticleState,
        translations: &[(&Arc<Slot>, &TranslationHead)],
    ) -> Result<Vec<TranslationSnapshot>> {
        let revision = state.head.revision();
        let mut lookup = Lookup::before(revision);
        let judged: Vec<_> = translations
            .iter()
            .map(|(slot, head)| {
                let freshness = Freshness::of_translation(head, &state.head.manifest);
                freshness.ask(head, &mut lookup);
                (*slot, *head, freshness)
            })
            .collect();
        let departures = self.departures(&state.head.id, &lookup).await?;
        let snapshot =
            |(slot, head, freshness): (&Arc<Slot>, &TranslationHead, Freshness)| TranslationSnapshot {
                article: state.head.id.clone(),
                slot: slot.clone(),
                head: head.clone(),
                stale_since: freshness.stale_since(head, revision, &departures),
                freshness,
                version: None,
                visibility: state.head.current.visibility,
            };
        Ok(judged.into_iter().map(snapshot).collect())
    }

    /// What the store answers to a lookup; nothing is read for one that asks for nothing.
    pub(super) async fn departures(&self, id: &ArticleId, lookup: &Lookup) -> Result<Departures> {
        if lookup.is_empty() {
            return Ok(Departures::default());
        }
        Ok(self.store.departures(id, lookup).await?)
    }
}
