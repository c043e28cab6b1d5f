//! Formats of the command line: dates, enums, agents and translations as text, and times as input.

use jiff::tz::{Offset, TimeZone};
use prost_types::Timestamp;

use crate::domain::date::parse;
use crate::pb;

/// The word for a value of an enum: `FRESHNESS_CURRENT` is `current`.
pub(crate) fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix)
        .unwrap_or(name)
        .replace('_', " ")
        .to_lowercase()
}

pub(crate) fn freshness(value: pb::Freshness) -> String {
    word(value.as_str_name(), "FRESHNESS_")
}

/// Whether an article may be published, in a word.
pub(crate) fn publication_status(article: &pb::Article) -> String {
    word(article.publication_status().as_str_name(), "PUBLICATION_STATUS_")
}

/// An instant of the command line: RFC 3339.
pub(crate) fn instant(text: &str) -> Result<Timestamp, String> {
    let instant: jiff::Timestamp = text
        .parse()
        .map_err(|_| format!("{text:?} is not a time such as 2022-05-10T22:45:00Z"))?;
    // Seconds round down, so that the nanoseconds are never negative.
    let nanos = instant.as_nanosecond();
    let seconds = nanos.div_euclid(1_000_000_000);
    Ok(Timestamp {
        seconds: i64::try_from(seconds).map_err(|error| error.to_string())?,
        nanos: i32::try_from(nanos.rem_euclid(1_000_000_000)).map_err(|error| error.to_string())?,
    })
}

/// A zone of the command line, by its IANA name or offset.
pub(crate) fn zone(name: &str) -> Result<TimeZone, String> {
    parse::zone(name).map_err(|error| error.0)
}

/// A publisher's date in a zone, as precise as it is. A day is the calendar day that was written, whatever the zone.
pub(crate) fn date_in(date: &pb::ArticleDate, zone: &TimeZone) -> String {
    let Some(instant) = date.instant.as_ref().and_then(jiff_instant) else {
        return "undated".to_owned();
    };
    match date.precision() {
        pb::DatePrecision::Day => instant
            .to_zoned_datetime(TimeZone::fixed(offset(date)))
            .strftime("%Y-%m-%d")
            .to_string(),
        pb::DatePrecision::Minute => instant
            .to_zoned_datetime(zone.clone())
            .strftime("%Y-%m-%d %H:%M")
            .to_string(),
        _ => time_in(instant, zone),
    }
}

/// A publisher's date as it was written: in its own offset, with the original text.
pub(crate) fn date_as_written(date: &pb::ArticleDate) -> String {
    let zone = TimeZone::fixed(offset(date));
    let mut text = date_in(date, &zone);
    if date.instant.is_some() && date.precision() != pb::DatePrecision::Day {
        let minutes = date.utc_offset_minutes;
        let sign = if minutes < 0 { '-' } else { '+' };
        let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
        text.push_str(&format!(" {sign}{hours:02}:{minutes:02}"));
    }
    if date.zone_assumed {
        text.push_str(" (zone assumed)");
    }
    text
}

/// A timestamp of the store in a zone.
pub(crate) fn timestamp_in(time: Option<&Timestamp>, zone: &TimeZone) -> String {
    time.and_then(jiff_instant)
        .map_or_else(String::new, |instant| time_in(instant, zone))
}

/// The summary of a translation, in one line:
/// `fr/t1 stale: s3 since revision 2 (major); made from revision 1; active, translated, human`.
pub(crate) fn translation(summary: &pb::TranslationSummary) -> String {
    let freshness = freshness(summary.freshness());
    let mut text = format!("{}/{} {freshness}", summary.language, summary.translation_id);
    let parts = [
        ("stale", &summary.stale_segment_ids),
        ("missing", &summary.missing_segment_ids),
        ("orphaned", &summary.orphaned_segment_ids),
        ("moved", &summary.moved_segment_ids),
    ];
    let mut separator = ": ";
    for (what, ids) in parts.into_iter().filter(|(_, ids)| !ids.is_empty()) {
        text.push_str(separator);
        if what != freshness {
            text.push_str(what);
            text.push(' ');
        }
        text.push_str(&ids.join(" "));
        if what == "stale" && summary.stale_since_revision > 0 {
            text.push_str(&format!(" since revision {}", summary.stale_since_revision));
            if summary.stale_significance() != pb::Significance::Unspecified {
                let significance = word(summary.stale_significance().as_str_name(), "SIGNIFICANCE_");
                text.push_str(&format!(" ({significance})"));
            }
        }
        separator = ", ";
    }
    let disposition = word(summary.disposition().as_str_name(), "DISPOSITION_");
    text.push_str(&format!(
        "; made from revision {}; {disposition}",
        summary.source_revision
    ));
    let more = [
        word(summary.state().as_str_name(), "TRANSLATION_STATE_"),
        word(summary.origin_class().as_str_name(), "ORIGIN_CLASS_"),
    ];
    for word in more.iter().filter(|word| *word != "unspecified") {
        text.push_str(&format!(", {word}"));
    }
    if !summary.external_uri.is_empty() {
        text.push_str(&format!(", at {}", summary.external_uri));
    }
    text
}

/// The freshness of a paragraph: `^ stale: made from revision 1`.
pub(crate) fn outdated(segment: &pb::TargetSegment) -> String {
    let freshness = freshness(segment.freshness());
    format!("^ {freshness}: made from revision {}", segment.source_revision)
}

/// An agent: `mt, opus, ar-en`.
pub(crate) fn agent(agent: &pb::Agent) -> String {
    let kind = word(agent.kind().as_str_name(), "AGENT_KIND_");
    let names = [
        &kind,
        &agent.person,
        &agent.organization,
        &agent.tool,
        &agent.engine,
        &agent.model,
        &agent.model_version,
    ];
    let names: Vec<_> = names
        .into_iter()
        .filter(|name| !name.is_empty())
        .map(String::as_str)
        .collect();
    names.join(", ")
}

/// The translations of an article at a glance: the active ones with their freshness, and how many others can be selected or
/// were left out of the answer.
pub(crate) fn glance(article: &pb::Article) -> String {
    let translations = article.translations.as_slice();
    let is_active = |summary: &&pb::TranslationSummary| summary.disposition() == pb::Disposition::Active;
    let mut words: Vec<_> = translations
        .iter()
        .filter(is_active)
        .map(|summary| format!("{} {}", summary.language, freshness(summary.freshness())))
        .collect();
    let may_be_selected = |summary: &&pb::TranslationSummary| {
        matches!(
            summary.disposition(),
            pb::Disposition::Candidate | pb::Disposition::Superseded
        )
    };
    let unlisted = (article.translation_count as usize).saturating_sub(translations.len());
    let others = translations.iter().filter(may_be_selected).count() + unlisted;
    if others > 0 {
        words.push(format!("+{others}"));
    }
    words.join(", ")
}

fn time_in(instant: jiff::Timestamp, zone: &TimeZone) -> String {
    instant
        .to_zoned_datetime(zone.clone())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

fn jiff_instant(time: &Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::new(time.seconds, time.nanos).ok()
}

fn offset(date: &pb::ArticleDate) -> Offset {
    Offset::from_seconds(date.utc_offset_minutes.saturating_mul(60)).unwrap_or(Offset::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str, precision: pb::DatePrecision, minutes: i32) -> pb::ArticleDate {
        pb::ArticleDate {
            instant: Some(instant(text).unwrap()),
            original: "10 مايو".into(),
            utc_offset_minutes: minutes,
            precision: precision.into(),
            zone_assumed: false,
        }
    }

    fn listed(summary: &pb::TranslationSummary, count: u32) -> pb::Article {
        pb::Article {
            translations: vec![summary.clone()],
            translation_count: count,
            ..Default::default()
        }
    }

    #[test]
    fn dates_show_in_a_zone_as_precise_as_they_are() {
        let casablanca = zone("Africa/Casablanca").unwrap();
        let minute = date("2022-05-10T23:45:00Z", pb::DatePrecision::Minute, 0);
        assert_eq!(date_in(&minute, &casablanca), "2022-05-11 00:45");
        assert_eq!(date_as_written(&minute), "2022-05-10 23:45 +00:00");
        let day = date("2022-05-09T22:00:00Z", pb::DatePrecision::Day, 120);
        assert_eq!(date_in(&day, &zone("America/New_York").unwrap()), "2022-05-10");
        assert_eq!(date_as_written(&day), "2022-05-10");
        let second = date("2022-05-10T23:45:01.5Z", pb::DatePrecision::Second, -210);
        assert_eq!(date_as_written(&second), "2022-05-10 20:15:01 -03:30");
        assert_eq!(date_in(&pb::ArticleDate::default(), &casablanca), "undated");
    }

    #[test]
    fn translations_say_what_holds_and_what_does_not() {
        let mut summary = pb::TranslationSummary {
            language: "fr".into(),
            translation_id: "t1".into(),
            source_revision: 1,
            freshness: pb::Freshness::Stale.into(),
            stale_segment_ids: vec!["s3".into(), "s5".into()],
            stale_since_revision: 2,
            stale_significance: pb::Significance::Correction.into(),
            moved_segment_ids: vec!["s1".into()],
            disposition: pb::Disposition::Active.into(),
            origin_class: pb::OriginClass::MachineUnreviewed.into(),
            ..pb::TranslationSummary::default()
        };
        assert_eq!(
            translation(&summary),
            "fr/t1 stale: s3 s5 since revision 2 (correction), moved s1; made from revision 1; active, machine unreviewed"
        );
        assert_eq!(glance(&listed(&summary, 1)), "fr stale");
        summary.disposition = pb::Disposition::Candidate.into();
        assert_eq!(glance(&listed(&summary, 1)), "+1");
        summary.disposition = pb::Disposition::Rejected.into();
        assert_eq!(glance(&listed(&summary, 1)), "");
        // The answer left some out.
        assert_eq!(glance(&listed(&summary, 4)), "+3");
    }

    #[test]
    fn instants_before_1970_keep_their_fraction() {
        let time = instant("1969-12-31T23:59:59.25Z").unwrap();
        assert_eq!((time.seconds, time.nanos), (-1, 250_000_000));
        assert!(instant("2022-05-10").is_err());
    }
}
