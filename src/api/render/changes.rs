//! Messages of the change feed.

use std::iter;

use super::{disposition, overall, time};
use crate::api::page_token::BoundQuery;
use crate::domain::change::{Event, JobStep, Kind, Scope};
use crate::domain::feed::{Filter, Topic};
use crate::domain::freshness::Freshness;
use crate::domain::ids::TranslationId;
use crate::domain::job::{JobId, JobKey, JobKind};
use crate::domain::language::Language;
use crate::domain::translation::{Disposition, Slot, TranslationHead};
use crate::pb;
use crate::pb::watch_changes_response::Message as Pb;
use crate::service::changes::{Change, Checkpoint, Message};
use crate::store::ArticleState;

/// What each kind of change is called.
pub(in crate::api) const TOPICS: [(Topic, pb::ChangeKind); 24] = [
    (Topic::ArticleCreated, pb::ChangeKind::ArticleCreated),
    (Topic::ArticleRevised, pb::ChangeKind::ArticleRevised),
    (
        Topic::ArticleMetadataChanged,
        pb::ChangeKind::ArticleMetadataChanged,
    ),
    (Topic::ArticleDeleted, pb::ChangeKind::ArticleDeleted),
    (Topic::ArticleUndeleted, pb::ChangeKind::ArticleUndeleted),
    (
        Topic::PublicationStatusChanged,
        pb::ChangeKind::PublicationStatusChanged,
    ),
    (Topic::EmbargoLifted, pb::ChangeKind::EmbargoLifted),
    (Topic::ArticlePurged, pb::ChangeKind::ArticlePurged),
    (Topic::TranslationAttached, pb::ChangeKind::TranslationAttached),
    (Topic::TranslationSelected, pb::ChangeKind::TranslationSelected),
    (Topic::TranslationDetached, pb::ChangeKind::TranslationDetached),
    (Topic::TranslationScored, pb::ChangeKind::TranslationScored),
    (Topic::TranslationReviewed, pb::ChangeKind::TranslationReviewed),
    (Topic::TranslationRejected, pb::ChangeKind::TranslationRejected),
    (
        Topic::TranslationAcknowledged,
        pb::ChangeKind::TranslationAcknowledged,
    ),
    (
        Topic::TranslationFreshnessChanged,
        pb::ChangeKind::TranslationFreshnessChanged,
    ),
    (Topic::Job(JobStep::Opened), pb::ChangeKind::JobOpened),
    (Topic::Job(JobStep::Claimed), pb::ChangeKind::JobClaimed),
    (Topic::Job(JobStep::Retargeted), pb::ChangeKind::JobRetargeted),
    (Topic::Job(JobStep::Returned), pb::ChangeKind::JobReturned),
    (Topic::Job(JobStep::Done), pb::ChangeKind::JobDone),
    (Topic::Job(JobStep::Dead), pb::ChangeKind::JobDead),
    (Topic::Job(JobStep::Canceled), pb::ChangeKind::JobCanceled),
    (Topic::Job(JobStep::Superseded), pb::ChangeKind::JobSuperseded),
];

fn kind(kind: &Kind) -> pb::ChangeKind {
    let topic = Topic::from(kind);
    let known = TOPICS.into_iter().find(|(known, _)| *known == topic);
    known.map_or(pb::ChangeKind::Unspecified, |(_, kind)| kind)
}

/// The digest of a filter, for tokens: the values of each set behind its name, in their order.
pub(in crate::api) fn filter_digest(filter: &Filter) -> u64 {
    let Filter {
        topics,
        source_languages,
        target_languages,
        sections,
    } = filter;
    let kinds = TOPICS.iter().filter(|(topic, _)| topics.contains(topic));
    let sets: [(&str, Vec<&str>); 4] = [
        ("kinds", kinds.map(|(_, kind)| kind.as_str_name()).collect()),
        (
            "source_languages",
            source_languages.iter().map(Language::as_str).collect(),
        ),
        (
            "target_languages",
            target_languages.iter().map(Language::as_str).collect(),
        ),
        ("sections", sections.iter().map(String::as_str).collect()),
    ];
    let parts = sets
        .iter()
        .flat_map(|(name, values)| iter::once(name).chain(values));
    BoundQuery::of(parts.map(|part| part.as_bytes())).number()
}

/// A message to a follower.
pub(in crate::api) fn feed_message(message: &Message, filter: &Filter) -> Pb {
    match message {
        Message::Change(change) => Pb::Change(self::change(change)),
        Message::Item(state) => Pb::SnapshotItem(item(state, filter)),
        Message::SnapshotEnd(articles) => Pb::SnapshotEnd(pb::SnapshotEnd { articles: *articles }),
        Message::Checkpoint(Checkpoint { seq, time: at }) => Pb::Checkpoint(pb::Checkpoint {
            seq: *seq,
            commit_time: at.and_then(time),
        }),
    }
}

fn change(change: &Change) -> pb::Change {
    let (stamp, event) = (change.stamp, &change.event);
    let told = pb::Change {
        seq: stamp.seq,
        ordinal: change.ordinal,
        commit_time: time(stamp.time),
        kind: kind(&event.kind).into(),
        article_id: event.article.to_string(),
        hidden: change.hidden,
        ..pb::Change::default()
    };
    if change.hidden {
        return told;
    }
    let (from, to) = match &event.kind {
        Kind::TranslationFreshnessChanged { from, to } => (Some(overall(*from)), Some(overall(*to))),
        _ => (None, None),
    };
    let (job_id, job_kind) = job(event).unzip();
    pb::Change {
        language: event
            .language
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        translation_id: translation(&event.kind)
            .map(|id| id.to_string())
            .unwrap_or_default(),
        job_id: job_id.map(|id| id.to_string()).unwrap_or_default(),
        revision: event.revision,
        etag: event.etag.map(|etag| etag.to_string()).unwrap_or_default(),
        scope: Some(scope(&event.scope)),
        previous_scope: event.previous.as_ref().map(scope),
        from_freshness: from.unwrap_or_default().into(),
        to_freshness: to.unwrap_or_default().into(),
        job_kind: job_kind.unwrap_or_default().into(),
        principal: change.principal.clone(),
        ..told
    }
}

fn translation(kind: &Kind) -> Option<TranslationId> {
    match kind {
        Kind::TranslationAttached(id)
        | Kind::TranslationDetached(id)
        | Kind::TranslationScored(id)
        | Kind::TranslationReviewed(id)
        | Kind::TranslationRejected(id)
        | Kind::TranslationAcknowledged(id) => Some(*id),
        Kind::TranslationSelected(id) => *id,
        _ => None,
    }
}

/// The job that an event is about.
fn job(event: &Event) -> Option<(JobId, pb::JobKind)> {
    let Kind::Job { kind, number, .. } = event.kind else {
        return None;
    };
    let key = JobKey {
        language: event.language.clone()?,
        kind,
    };
    let id = JobId {
        article: event.article.clone(),
        key,
        number,
    };
    let kind = match kind {
        JobKind::Mt => pb::JobKind::Mt,
        JobKind::Llm => pb::JobKind::Llm,
        JobKind::Human => pb::JobKind::Human,
        JobKind::Review => pb::JobKind::Review,
        JobKind::Score => pb::JobKind::Score,
    };
    Some((id, kind))
}

fn scope(scope: &Scope) -> pb::ChangeScope {
    pb::ChangeScope {
        source_language: scope.language.to_string(),
        section: scope.section.clone(),
        publisher: scope.publisher.clone(),
    }
}

fn item(state: &ArticleState, filter: &Filter) -> pb::SnapshotItem {
    let (head, current) = (&state.head, &state.head.current);
    let slots = state
        .slots
        .values()
        .filter(|slot| filter.wants_into(&slot.language));
    let told = |translation: &&TranslationHead| translation.disposition != Disposition::Withdrawn;
    let translations = slots.flat_map(|slot| {
        let all = slot.translations.iter().filter(told);
        all.map(|translation| snapshot_translation(state, slot, translation))
    });
    pb::SnapshotItem {
        article_id: head.id.to_string(),
        seq: current.stamp.seq,
        etag: current.etag.to_string(),
        revision: head.revision(),
        scope: Some(scope(&Scope::from(&current.metadata))),
        deleted: current.deleted.is_some(),
        translations: translations.collect(),
    }
}

fn snapshot_translation(
    state: &ArticleState,
    slot: &Slot,
    translation: &TranslationHead,
) -> pb::SnapshotTranslation {
    let freshness = Freshness::of_translation(translation, &state.head.manifest);
    pb::SnapshotTranslation {
        language: slot.language.to_string(),
        translation_id: translation.id.to_string(),
        seq: translation.updated.seq.max(slot.selection.stamp.seq),
        etag: translation.etag.to_string(),
        disposition: disposition(translation.disposition).into(),
        freshness: overall(freshness.overall).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_change_has_a_name() {
        let numbers = (1..1_000).filter_map(|number| pb::ChangeKind::try_from(number).ok());
        assert!(TOPICS.into_iter().map(|(_, kind)| kind).eq(numbers));
    }

    #[test]
    fn the_digest_of_a_filter_is_the_same_in_every_build() {
        let filter = Filter {
            topics: [Topic::Job(JobStep::Done), Topic::ArticleCreated].into(),
            sections: ["sport".to_owned()].into(),
            ..Filter::default()
        };
        assert_eq!(
            [filter_digest(&filter), filter_digest(&Filter::default())],
            [4_511_443_524_475_135_579, 15_844_066_000_620_292_380]
        );
    }
}
