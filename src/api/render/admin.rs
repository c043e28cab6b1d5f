//! Answers about the store itself.

use jiff::civil::Date;

use super::time;
use crate::domain::coverage::Tally;
use crate::domain::freshness::Overall;
use crate::domain::language::Language;
use crate::pb;
use crate::service::admin::{BackupPart, CheckStep, CheckSummary, CompactStep, Status};
use crate::store::{Counts, Progress};

/// Numbers and sizes.
pub(in crate::api) fn status(status: &Status) -> pb::GetStatusResponse {
    let store = &status.store;
    let sizes = store.sizes.unwrap_or_default();
    let (languages, omitted) = status.languages();
    let mut totals = pb::StoreCounts::default();
    for counts in store.counts.values() {
        totals.articles += counts.articles;
        totals.deleted_articles += counts.deleted;
        totals.revisions += counts.revisions;
        totals.translations += counts.translations;
    }
    let language = |(language, of): &(&Language, &Counts)| pb::LanguageCounts {
        language: language.to_string(),
        counts: Some(pb::StoreCounts {
            articles: of.articles,
            deleted_articles: of.deleted,
            revisions: of.revisions,
            translations: of.translations,
        }),
    };
    pb::GetStatusResponse {
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        engine: store.engine.to_owned(),
        epoch: store.epoch.iter().map(|byte| format!("{byte:02x}")).collect(),
        seq: store.seq,
        totals: Some(totals),
        languages: languages.iter().map(language).collect(),
        omitted_languages: omitted as u64,
        live_bytes: sizes.live_bytes,
        disk_bytes: sizes.disk_bytes,
        available_bytes: sizes.available_bytes,
        floor_bytes: sizes.floor_bytes,
        should_compact: sizes.is_bloated(),
        compaction: store.compaction.map(compaction_progress),
        last_check: status.last_check.map(check_summary),
    }
}

fn compaction_progress(progress: Progress) -> pb::CompactionProgress {
    pb::CompactionProgress {
        done_bytes: progress.done_bytes,
        total_bytes: progress.total_bytes,
    }
}

fn check_summary(summary: CheckSummary) -> pb::CheckSummary {
    let micros = summary.duration_micros;
    pb::CheckSummary {
        start_time: time(summary.start),
        duration: Some(prost_types::Duration {
            seconds: i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX),
            nanos: i32::try_from(micros % 1_000_000 * 1_000).unwrap_or_default(),
        }),
        seq: summary.seq,
        records: summary.records,
        findings: summary.findings,
    }
}

/// How the articles of a bucket stand to a language.
pub(in crate::api) fn coverage_bucket(
    ((start, language), tally): (&(Option<Date>, Language), &Tally),
) -> pb::CoverageBucket {
    let standing = |overall| tally.by_freshness.get(&overall).copied().unwrap_or_default();
    pb::CoverageBucket {
        start_date: start.map(|day| day.to_string()).unwrap_or_default(),
        language: language.to_string(),
        articles: tally.articles,
        missing: tally.absent,
        incomplete: standing(Overall::Incomplete),
        stale: standing(Overall::Stale),
        orphaned: standing(Overall::Orphaned),
        moved: standing(Overall::Moved),
        current: standing(Overall::Current),
        by_state: tally
            .by_state
            .iter()
            .map(|(state, articles)| pb::CoverageOfState {
                state: super::state(*state).into(),
                articles: *articles,
            })
            .collect(),
        by_origin: tally
            .by_origin
            .iter()
            .map(|(class, articles)| pb::CoverageOfOrigin {
                origin_class: super::origin_class(*class).into(),
                articles: *articles,
            })
            .collect(),
    }
}

/// What a check says.
pub(in crate::api) fn check_step(step: CheckStep) -> pb::CheckStoreResponse {
    use pb::check_store_response::Step;
    let step = match step {
        CheckStep::Records(records) => Step::Progress(pb::CheckProgress { records }),
        CheckStep::Found(finding) => Step::Finding(pb::CheckFinding {
            record: finding.record,
            problem: finding.problem,
        }),
        CheckStep::Done(summary) => Step::Summary(check_summary(summary)),
    };
    pb::CheckStoreResponse { step: Some(step) }
}

/// A part of a backup.
pub(in crate::api) fn backup_part(part: BackupPart) -> pb::BackupStoreResponse {
    use pb::backup_store_response::Part;
    let part = match part {
        BackupPart::Chunk(chunk) => Part::Chunk(chunk),
        BackupPart::Complete { manifest, size_bytes } => Part::Manifest(pb::BackupManifest {
            seq: manifest.seq,
            commit_time: time(manifest.time).filter(|_| manifest.seq > 0),
            line_counts: manifest.counts,
            size_bytes,
        }),
    };
    pb::BackupStoreResponse { part: Some(part) }
}

/// What a compaction says.
pub(in crate::api) fn compact_step(step: CompactStep) -> pb::CompactStoreResponse {
    use pb::compact_store_response::Step;
    let step = match step {
        CompactStep::Going(progress) => Step::Progress(compaction_progress(progress)),
        CompactStep::Done {
            before_bytes,
            after_bytes,
        } => Step::Summary(pb::CompactionSummary {
            disk_bytes_before: before_bytes,
            disk_bytes_after: after_bytes,
        }),
    };
    pb::CompactStoreResponse { step: Some(step) }
}
