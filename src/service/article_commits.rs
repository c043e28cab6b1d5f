//! The commits that change articles, as data: what each writes, expects and reports. Nothing here reads or decides.

use crate::domain::access::Visibility;
use crate::domain::article::{Alias, ArticleId, ArticleVersion, Head, Metadata, Revision, Significance};
use crate::domain::change::{Event, Kind};
use crate::domain::departures::RevisionDelta;
use crate::domain::draft::Assigned;
use crate::domain::etag::Etag;
use crate::domain::freshness::Freshness;
use crate::domain::provenance::Actor;
use crate::domain::time::{Stamp, Timestamp};
use crate::domain::translation::Slot;
use crate::domain::version::{Series, Version};
use crate::store::{ArticleState, Batch, Body, Expect};

/// Everything of a new article.
pub(super) fn new_article(
    id: &ArticleId,
    metadata: Metadata,
    assigned: Assigned,
    actor: &Actor,
    now: Timestamp,
) -> Batch {
    let current = ArticleVersion {
        stamp: Stamp::PENDING,
        etag: Etag::of(1, &(&metadata, &assigned.content, false)),
        revision: Version::FIRST,
        created: Stamp::PENDING,
        deleted: None,
        visibility: Visibility::at(&metadata, now),
        actor: actor.clone(),
        number: 1,
        metadata,
    };
    let head = head_of(id.clone(), current, &assigned, Vec::new());
    let head = Head {
        aliases: all_aliases(&head, &head.current.metadata),
        ..head
    };
    let revision = Revision {
        stamp: Stamp::PENDING,
        content: assigned.content,
        significance: None,
        is_proposed: false,
        actor: actor.clone(),
        number: head.revision(),
    };
    Batch {
        expect: vec![Expect::Head(None)],
        events: vec![Event::about(&head, Kind::ArticleCreated, None)],
        bodies: vec![
            metadata_version(&head),
            (Series::Content, Body::Revision(revision)),
        ],
        head: Some(head),
        ..Batch::new(id.clone())
    }
}

/// The version of metadata and visibility that a head shows.
fn metadata_version(head: &Head) -> (Series, Body) {
    (Series::Metadata, Body::Article(head.current.clone()))
}

fn head_of(id: ArticleId, current: ArticleVersion, assigned: &Assigned, aliases: Vec<Alias>) -> Head {
    Head {
        id,
        current,
        title: assigned.content.title.clone(),
        lead: assigned.content.lead.clone(),
        manifest: assigned.content.manifest(),
        next_segment: assigned.next_segment,
        aliases,
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
fn next_version(head: &Head, metadata: &Metadata, deleted: bool, now: Timestamp) -> ArticleVersion {
    let number = head.version() + 1;
    let digest = (metadata, head.current.etag.digest, deleted);
    ArticleVersion {
        stamp: Stamp::PENDING,
        etag: Etag::of(number, &digest),
        visibility: Visibility::at(metadata, now),
        metadata: metadata.clone(),
        number,
        ..head.current.clone()
    }
}

/// A commit that gives an article other metadata.
pub(super) fn set_metadata(
    state: &ArticleState,
    metadata: &Metadata,
    kind: Kind,
    actor: &Actor,
    now: Timestamp,
) -> Batch {
    let current = ArticleVersion {
        actor: actor.clone(),
        ..next_version(&state.head, metadata, state.head.current.deleted.is_some(), now)
    };
    let head = Head {
        current,
        aliases: all_aliases(&state.head, metadata),
        ..(*state.head).clone()
    };
    rewrite(state, head, kind)
}

/// A commit that deletes an article or brings it back.
pub(super) fn set_deleted(state: &ArticleState, deleted: bool, actor: &Actor, now: Timestamp) -> Batch {
    let current = ArticleVersion {
        deleted: deleted.then_some(Stamp::PENDING),
        actor: actor.clone(),
        ..next_version(&state.head, &state.head.current.metadata, deleted, now)
    };
    let kind = if deleted {
        Kind::ArticleDeleted
    } else {
        Kind::ArticleUndeleted
    };
    let head = Head {
        current,
        ..(*state.head).clone()
    };
    rewrite(state, head, kind)
}

/// The commit that shows an article whose embargo has ended; `None` if there is nothing to end. Text and metadata stay,
/// and so does the etag, so that a caller that read the article before can still use it.
pub(super) fn lifted(state: &ArticleState, now: Timestamp) -> Option<Batch> {
    let old = &state.head.current;
    let has_ended = old.visibility == Visibility::Embargoed
        && Visibility::at(&old.metadata, now) != Visibility::Embargoed;
    has_ended.then(|| {
        let current = ArticleVersion {
            etag: old.etag,
            actor: Actor::default(),
            ..next_version(&state.head, &old.metadata, old.deleted.is_some(), now)
        };
        let head = Head {
            current,
            ..(*state.head).clone()
        };
        rewrite(state, head, Kind::EmbargoLifted)
    })
}

/// A commit that changes an article without touching its content.
fn rewrite(state: &ArticleState, head: Head, kind: Kind) -> Batch {
    Batch {
        events: events(&head, kind, &state.head),
        bodies: vec![metadata_version(&head)],
        head: Some(head),
        ..Batch::on(state, None)
    }
}

/// What a change of an article comes to: what was asked for, and that its embargo ended, if it did so with it.
fn events(head: &Head, kind: Kind, old: &Head) -> Vec<Event> {
    let appears = old.current.visibility == Visibility::Embargoed
        && head.current.visibility == Visibility::Public
        && kind != Kind::EmbargoLifted;
    let lifted = appears.then(|| Event::about(head, Kind::EmbargoLifted, Some(old)));
    std::iter::once(Event::about(head, kind, Some(old)))
        .chain(lifted)
        .collect()
}

/// A commit that gives an article new content; of `current` counts what the revision does not decide.
pub(super) fn revised(
    state: &ArticleState,
    current: ArticleVersion,
    assigned: Assigned,
    significance: Significance,
    is_proposed: bool,
) -> Batch {
    let old = &state.head;
    let number = old.version() + 1;
    let current = ArticleVersion {
        stamp: Stamp::PENDING,
        etag: Etag::of(number, &(&current.metadata, &assigned.content, false)),
        revision: old.current.revision.next(),
        number,
        ..current
    };
    let aliases = all_aliases(old, &current.metadata);
    let head = head_of(old.id.clone(), current, &assigned, aliases);
    let delta = RevisionDelta::between(&old.manifest, &head.manifest, head.revision(), Some(significance));
    let revision = Revision {
        stamp: Stamp::PENDING,
        content: assigned.content,
        significance: Some(significance),
        is_proposed,
        actor: head.current.actor.clone(),
        number: head.revision(),
    };
    let versions = state
        .slots
        .iter()
        .map(|(language, slot)| (language.clone(), slot.version))
        .collect();
    let mut events = events(&head, Kind::ArticleRevised, old);
    events.extend(
        state
            .slots
            .values()
            .filter_map(|slot| freshness_event(&head, old, slot)),
    );
    Batch {
        expect: vec![Expect::Head(Some(old.version())), Expect::Slots(versions)],
        bodies: vec![
            metadata_version(&head),
            (Series::Content, Body::Revision(revision)),
        ],
        delta: Some(delta),
        events,
        head: Some(head),
        ..Batch::new(old.id.clone())
    }
}

/// What a new revision does to the translation that is served in a language: another segment that is stale is news even
/// where the whole was stale before.
fn freshness_event(head: &Head, old: &Head, slot: &Slot) -> Option<Event> {
    let active = slot.active()?;
    let before = Freshness::of_translation(active, &old.manifest);
    let after = Freshness::of_translation(active, &head.manifest);
    let (from, to) = (before.overall, after.overall);
    (!after.blames_the_same(&before)).then(|| Event {
        language: Some(slot.language.clone()),
        etag: Some(active.etag),
        ..Event::about(head, Kind::TranslationFreshnessChanged { from, to }, Some(old))
    })
}
