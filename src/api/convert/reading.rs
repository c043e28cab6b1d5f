//! Requests that say which translations they mean: reads in a language, and lists by how a translation stands.

use super::Fields;
use crate::domain::article::Significance;
use crate::domain::freshness::Overall;
use crate::domain::provenance::OriginClass;
use crate::domain::query::{Presence, TranslationFilter};
use crate::domain::reading::{MAX_LANGUAGES, Reading};
use crate::domain::translation::State;
use crate::pb;

/// What a reader wants of an article.
pub(in crate::api) fn reading(request: &pb::GetArticleRequest, fields: &mut Fields) -> Reading {
    if request.languages.len() > MAX_LANGUAGES {
        let count = request.languages.len();
        fields.wrong("languages", format!("{count} are more than {MAX_LANGUAGES}"));
    }
    let languages = request.languages.iter().take(MAX_LANGUAGES).enumerate();
    let languages =
        languages.filter_map(|(index, tag)| fields.language(format_args!("languages[{index}]"), tag));
    Reading {
        languages: languages.collect(),
        min_state: least_state("min_state", request.min_state, fields),
        max_freshness: freshness("max_freshness", request.max_freshness, fields),
        ignore_below: ignore_below(request.ignore_below, fields),
        exclude_machine: request.exclude_machine,
    }
}

/// How a translation has to stand; `None` without a filter, or with one that is wrong.
pub(in crate::api) fn translation_filter(
    filter: Option<&pb::TranslationFilter>,
    fields: &mut Fields,
) -> Option<TranslationFilter> {
    use pb::TranslationPresence as Pb;
    let filter = filter?;
    let presence = fields.choice("translation.presence", filter.presence, Pb::try_from);
    let presence = presence.map(|presence| match presence {
        Pb::Unspecified | Pb::Any => Presence::Any,
        Pb::Absent => Presence::Absent,
        Pb::Incomplete => Presence::Incomplete,
        Pb::Stale => Presence::Stale,
        Pb::Current => Presence::Current,
        Pb::NotCurrent => Presence::NotCurrent,
    });
    let language = fields.language("translation.language", &filter.language);
    let min_state = least_state("translation.min_state", filter.min_state, fields);
    let origin_class = origin_class("translation.origin_class", filter.origin_class, fields);
    if presence == Some(Presence::Absent) {
        for (field, given) in [
            ("translation.min_state", min_state.is_some()),
            ("translation.origin_class", origin_class.is_some()),
        ] {
            if given {
                fields.wrong(field, "does not go together with ABSENT");
            }
        }
    }
    Some(TranslationFilter {
        language: language?,
        presence: presence?,
        min_state,
        origin_class,
    })
}

fn least_state(field: &str, number: i32, fields: &mut Fields) -> Option<State> {
    match fields.choice(field, number, pb::TranslationState::try_from)? {
        pb::TranslationState::Unspecified => None,
        pb::TranslationState::Initial => Some(State::Initial),
        pb::TranslationState::Translated => Some(State::Translated),
        pb::TranslationState::Reviewed => Some(State::Reviewed),
        pb::TranslationState::Final => Some(State::Final),
    }
}

fn freshness(field: &str, number: i32, fields: &mut Fields) -> Option<Overall> {
    match fields.choice(field, number, pb::Freshness::try_from)? {
        pb::Freshness::Unspecified => None,
        pb::Freshness::Current => Some(Overall::Current),
        pb::Freshness::Moved => Some(Overall::Moved),
        pb::Freshness::Orphaned => Some(Overall::Orphaned),
        pb::Freshness::Stale => Some(Overall::Stale),
        pb::Freshness::Incomplete => Some(Overall::Incomplete),
    }
}

fn ignore_below(number: i32, fields: &mut Fields) -> Option<Significance> {
    let number = fields.choice("ignore_below", number, pb::Significance::try_from)?;
    super::article::known_significance(number)
}

fn origin_class(field: &str, number: i32, fields: &mut Fields) -> Option<OriginClass> {
    match fields.choice(field, number, pb::OriginClass::try_from)? {
        pb::OriginClass::Unspecified => None,
        pb::OriginClass::MachineUnreviewed => Some(OriginClass::MachineUnreviewed),
        pb::OriginClass::MachineReviewed => Some(OriginClass::MachineReviewed),
        pb::OriginClass::MachinePostedited => Some(OriginClass::MachinePostedited),
        pb::OriginClass::Human => Some(OriginClass::Human),
        pb::OriginClass::Mixed => Some(OriginClass::Mixed),
        pb::OriginClass::Unknown => Some(OriginClass::Unknown),
    }
}
