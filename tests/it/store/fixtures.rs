//! Articles and translations with correct histories, as the service commits them.

mod jobs;

pub(crate) use jobs::*;
use std::collections::BTreeMap;
use std::sync::Arc;

use article_store::domain::access::{Shown, Visibility};
use article_store::domain::article::{
    Alias, ArticleId, ArticleVersion, Content, Head, Metadata, PublicationStatus, Revision,
};
use article_store::domain::attach::{
    Attach, BodyTexts, Decision, Material, Target, TargetText, TargetTexts, fit, plan, provenance,
};
use article_store::domain::change::{Event, JobStep, Kind};
use article_store::domain::date::ArticleDate;
use article_store::domain::departures::{Departures, Lookup, RevisionDelta};
use article_store::domain::etag::Etag;
use article_store::domain::ids::{RequestId, SegmentId};
use article_store::domain::job::{self, Grant, Job, JobId, JobKey, JobKind, LeaseToken, Order, Priority};
use article_store::domain::language::Language;
use article_store::domain::policy::{PolicyId, PolicyRule, TranslationPolicy};
use article_store::domain::provenance::{Actor, Agent, AgentKind};
use article_store::domain::request::{Outcome, RequestKey, RequestRecord};
use article_store::domain::segment::{DraftSegment, MarkedText};
use article_store::domain::time::{Stamp, Timestamp};
use article_store::domain::translation::{State, TranslationVersion};
use article_store::domain::url::CanonicalUrl;
use article_store::domain::version::{Series, Version, VersionKey};
use article_store::domain::workflow::SelfReview;
use article_store::store::{
    ArticleState, Batch, Body, Conflict, Expect, PolicyChange, Result, Store, StoreError,
};

pub(crate) fn id(text: &str) -> ArticleId {
    ArticleId::parse(text).unwrap()
}

pub(crate) fn language(tag: &str) -> Language {
    Language::parse(tag).unwrap()
}

/// Public articles, and deleted ones too.
pub(crate) fn shown(deleted: bool) -> Shown {
    Shown {
        deleted,
        ..Shown::default()
    }
}

pub(crate) fn url(text: &str) -> Alias {
    Alias::Url(CanonicalUrl::parse(text).unwrap())
}

/// The metadata of an undated Arabic article without aliases.
pub(crate) fn metadata() -> Metadata {
    Metadata {
        language: language("ar"),
        section: "سياسة".into(),
        publisher: "erem".into(),
        canonical_url: None,
        guid: String::new(),
        located: String::new(),
        dateline: "عمان".into(),
        info_sources: vec!["وكالات".into()],
        authors: Vec::new(),
        keywords: vec!["اقتصاد".into()],
        labels: BTreeMap::from([("desk".into(), "world".into())]),
        published: None,
        updated: None,
        publication_status: PublicationStatus::Usable,
        status_reason: String::new(),
        embargo_time: None,
    }
}

/// The same with an address.
pub(crate) fn metadata_at(address: &str) -> Metadata {
    Metadata {
        canonical_url: Some(CanonicalUrl::parse(address).unwrap()),
        ..metadata()
    }
}

/// An exact date in UTC.
pub(crate) fn date(instant: Timestamp) -> ArticleDate {
    ArticleDate {
        instant: Some(instant),
        ..ArticleDate::default()
    }
}

/// A title and paragraphs, numbered from 1.
pub(crate) fn content(title: &str, paragraphs: &[&str]) -> Content {
    let segment = |id, text: &str| DraftSegment::paragraph(text.into()).unwrap().with_id(id);
    Content {
        title: segment(SegmentId::Title, title),
        lead: segment(SegmentId::Lead, ""),
        body: (1..)
            .zip(paragraphs)
            .map(|(number, text)| segment(SegmentId::Body(number), text))
            .collect(),
    }
}

/// A new article.
pub(crate) fn create(article: &ArticleId, metadata: Metadata, content: Content) -> Batch {
    let current = ArticleVersion {
        stamp: Stamp::PENDING,
        etag: Etag::of(1, &(&metadata, &content)),
        metadata,
        revision: Version::FIRST,
        created: Stamp::PENDING,
        deleted: None,
        visibility: Visibility::default(),
        actor: Actor::default(),
        number: 1,
    };
    let aliases = current.metadata.aliases();
    let expect = vec![Expect::Head(None)];
    with_revision(article, current, aliases, content, expect, Kind::ArticleCreated)
}

/// Names the newest revision.
pub(crate) fn newest_revision(state: &ArticleState) -> VersionKey {
    state.head.revision_key(state.head.revision())
}

/// Names all versions of an article.
pub(crate) fn all_versions(state: &ArticleState) -> Vec<VersionKey> {
    let versions = state
        .series()
        .flat_map(|(series, newest)| (1..=newest.number).map(move |number| (series.clone(), number)));
    let key = |(series, number)| VersionKey {
        article: state.head.id.clone(),
        series,
        number,
    };
    versions.map(key).collect()
}

/// A small article whose texts tell it from others.
pub(crate) fn simple(article: &ArticleId) -> Batch {
    create(
        article,
        metadata(),
        content(&format!("title of {article}"), &["one", "two"]),
    )
}

/// What a store says of all that an article had before its newest revision, as far as its contents are kept.
pub(crate) async fn departures(store: &dyn Store, state: &ArticleState) -> Departures {
    let lookup = all_that_was(store, state).await;
    store.departures(&state.head.id, &lookup).await.unwrap()
}

/// A lookup of all texts and contents that an article had, as far as they are kept.
pub(crate) async fn all_that_was(store: &dyn Store, state: &ArticleState) -> Lookup {
    let mut lookup = Lookup::before(state.head.revision());
    for number in 1..=state.head.revision() {
        let key = VersionKey {
            article: state.head.id.clone(),
            series: Series::Content,
            number,
        };
        if let Body::Revision(revision) = &*store.versions(&[key]).await.unwrap()[0] {
            let manifest = revision.content.manifest();
            lookup.contents.insert(manifest.content_hash());
            lookup.texts.extend(manifest.0.iter().map(|entry| entry.hash));
        }
    }
    lookup
}

/// New content for an article, and its revision delta.
pub(crate) fn revise(state: &ArticleState, content: Content) -> Batch {
    let head = &state.head;
    let delta = RevisionDelta::between(&head.manifest, &content.manifest(), head.revision() + 1, None);
    let current = ArticleVersion {
        stamp: Stamp::PENDING,
        etag: Etag::of(head.version() + 1, &(&head.current.metadata, &content)),
        revision: head.current.revision.next(),
        number: head.version() + 1,
        ..head.current.clone()
    };
    let expect = vec![Expect::Head(Some(head.version()))];
    let aliases = head.aliases.clone();
    Batch {
        delta: Some(delta),
        ..with_revision(&head.id, current, aliases, content, expect, Kind::ArticleRevised)
    }
}

fn with_revision(
    article: &ArticleId,
    current: ArticleVersion,
    aliases: Vec<Alias>,
    content: Content,
    expect: Vec<Expect>,
    kind: Kind,
) -> Batch {
    let head = Head {
        id: article.clone(),
        title: content.title.clone(),
        lead: content.lead.clone(),
        manifest: content.manifest(),
        next_segment: content.body.len() as u32 + 1,
        aliases,
        current,
    };
    let revision = Revision {
        stamp: Stamp::PENDING,
        content,
        significance: None,
        is_proposed: false,
        actor: Actor::default(),
        number: head.revision(),
    };
    Batch {
        expect,
        bodies: vec![
            (Series::Metadata, Body::Article(head.current.clone())),
            (Series::Content, Body::Revision(revision)),
        ],
        events: vec![event(&head, kind)],
        head: Some(head),
        ..Batch::new(article.clone())
    }
}

/// A change of an article that leaves its content alone.
pub(crate) fn change(state: &ArticleState, kind: Kind, edit: impl FnOnce(&mut ArticleVersion)) -> Batch {
    let old = &state.head;
    let mut current = ArticleVersion {
        stamp: Stamp::PENDING,
        number: old.version() + 1,
        ..old.current.clone()
    };
    edit(&mut current);
    current.etag = Etag::of(
        old.version() + 1,
        &(&current.metadata, old.manifest.content_hash()),
    );
    let mut head = Head {
        current,
        ..(**old).clone()
    };
    for alias in head.current.metadata.aliases() {
        if !head.aliases.contains(&alias) {
            head.aliases.push(alias);
        }
    }
    Batch {
        expect: vec![Expect::Head(Some(old.version()))],
        bodies: vec![(Series::Metadata, Body::Article(head.current.clone()))],
        events: vec![event(&head, kind)],
        head: Some(head),
        ..Batch::new(old.id.clone())
    }
}

/// New metadata for an article.
pub(crate) fn edit(state: &ArticleState, edit: impl FnOnce(&mut Metadata)) -> Batch {
    change(state, Kind::ArticleMetadataChanged, |version| {
        edit(&mut version.metadata);
    })
}

pub(crate) fn delete(state: &ArticleState) -> Batch {
    change(state, Kind::ArticleDeleted, |version| {
        version.deleted = Some(Stamp::PENDING);
    })
}

fn event(head: &Head, kind: Kind) -> Event {
    Event {
        kind,
        article: head.id.clone(),
        revision: head.revision(),
        language: None,
        etag: Some(head.current.etag),
        scope: (&head.current.metadata).into(),
        previous: None,
    }
}

/// A machine's translation of the newest revision, into the slot's active translation. The batch expects the slot that
/// was seen.
pub(crate) async fn attach(
    store: &dyn Store,
    state: &ArticleState,
    language: &Language,
    texts: &[String],
) -> Result<Batch> {
    let head = &state.head;
    let target = |text: &String| TargetText {
        content: MarkedText::new(text.clone(), Vec::new()).unwrap(),
        sub_state: String::new(),
    };
    let (title, body) = texts.split_first().unwrap();
    let texts = TargetTexts {
        title: Some(target(title)),
        lead: None,
        body: BodyTexts::InOrder(body.iter().map(target).collect()),
    };
    let material = Material::Texts(fit(&texts, &head.manifest, head.revision()).unwrap());
    let agent = Agent {
        engine: "marian".into(),
        ..Agent::of_kind(AgentKind::Mt)
    };
    let slot = state.slots.get(language).map(|slot| &**slot);
    let attach = Attach {
        article: &head.id,
        language,
        slot,
        source_revision: head.revision(),
        source: &head.manifest,
        made_from: &BTreeMap::new(),
        material: &material,
        target: Target::Active,
        state: State::Translated,
        self_review: SelfReview::Refused,
        overwrite_human: false,
        provenance: &provenance(agent, Actor::default(), head.revision(), None),
        scores: &[],
    };
    let plan = plan(&attach).unwrap();
    let refs: Vec<_> = plan.needs(&attach).collect();
    let bases = store.versions(&refs).await?;
    let bases: Vec<&TranslationVersion> = bases
        .iter()
        .map(|body: &Arc<Body>| match &**body {
            Body::Translation(version) => version,
            other => panic!("{other:?} is no translation"),
        })
        .collect();
    let Decision::Write(written) = plan.write(&attach, &bases).unwrap() else {
        panic!("the texts are those that are there");
    };
    let expected = slot.map(|slot| slot.version);
    let translation = Series::Translation(written.slot.language.clone(), written.id);
    let selections = Series::Selection(written.slot.language.clone());
    let selection = written
        .selection
        .map(|selection| (selections, Body::Selection(selection)));
    let bodies = std::iter::once((translation, Body::Translation(written.version)))
        .chain(selection)
        .collect();
    let event = Event {
        language: Some(language.clone()),
        ..event(head, Kind::TranslationAttached(written.id))
    };
    Ok(Batch {
        expect: vec![
            Expect::Head(Some(head.version())),
            Expect::Slot(language.clone(), expected),
        ],
        slots: vec![Arc::new(written.slot)],
        bodies,
        events: vec![event],
        ..Batch::new(head.id.clone())
    })
}

/// Texts for an article of [`content`]: a title and this many paragraphs.
pub(crate) fn texts(text: &str, paragraphs: usize) -> Vec<String> {
    (0..=paragraphs)
        .map(|number| format!("{text}, {number}"))
        .collect()
}

pub(crate) fn request_key(number: u64) -> RequestKey {
    RequestKey {
        principal: "importer".into(),
        rpc: "CreateArticle".into(),
        id: RequestId(u128::from(number).to_be_bytes()),
    }
}

/// The batch with a request to record.
pub(crate) fn with_request(batch: Batch, number: u64) -> Batch {
    let request = RequestRecord {
        key: request_key(number),
        digest: [7; 32],
        stamp: Stamp::PENDING,
        article: batch.article.clone(),
        translation: None,
        jobs: Vec::new(),
        outcome: Outcome::Created,
    };
    Batch {
        request: Some(request),
        ..batch
    }
}
