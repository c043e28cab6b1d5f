//! `status`: amounts, sizes, and advice.

use clap::Args;
use jiff::tz::TimeZone;

use super::common_args::CommonArgs;
use super::store_target::{bytes, count, many};
use super::terminal::{Table, line, terminal_width};
use super::{Failure, format};
use crate::pb;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  article-store status
  article-store status --output json | jq .totals.articles")]
pub(crate) struct Status {
    #[command(flatten)]
    common: CommonArgs,
}

impl Status {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut client = self.common.server.admin().await?;
        let status = client.get_status(pb::GetStatusRequest {}).await?.into_inner();
        self.common.output.page(&status, || {
            let facts = facts(&status).into_iter();
            let mut page: String = facts
                .map(|(name, value)| format!("{name:<15}{}\n", line(&value)))
                .collect();
            if !status.languages.is_empty() {
                page.push('\n');
                page.push_str(&languages(&status.languages).take(terminal_width()));
            }
            page
        })
    }
}

/// The facts of a status, each with its name.
fn facts(status: &pb::GetStatusResponse) -> Vec<(&'static str, String)> {
    let totals = status.totals.unwrap_or_default();
    let mut facts = vec![
        (
            "articles",
            format!(
                "{}, and {} deleted",
                count(totals.articles),
                count(totals.deleted_articles)
            ),
        ),
        ("revisions", count(totals.revisions).to_string()),
        ("translations", count(totals.translations).to_string()),
        ("newest commit", count(status.seq).to_string()),
        ("epoch", status.epoch.clone()),
        ("records", bytes(status.live_bytes).to_string()),
    ];
    if status.disk_bytes > 0 {
        let advice = match status.should_compact {
            true => "; `article-store compact` gives most of it back",
            false => "",
        };
        facts.push(("on disk", format!("{}{advice}", bytes(status.disk_bytes))));
        facts.push((
            "free",
            format!(
                "{}; writes are refused below {}",
                bytes(status.available_bytes),
                bytes(status.floor_bytes)
            ),
        ));
    }
    if let Some(compaction) = &status.compaction {
        facts.push(("compaction", compacting(compaction)));
    }
    facts.push(("last check", last_check(status.last_check.as_ref())));
    facts.push((
        "server",
        format!("article-store {} on {}", status.server_version, status.engine),
    ));
    facts
}

/// The progress of a compaction.
pub(crate) fn compacting(progress: &pb::CompactionProgress) -> String {
    format!(
        "{} of about {} copied and compared",
        bytes(progress.done_bytes),
        bytes(progress.total_bytes)
    )
}

fn last_check(check: Option<&pb::CheckSummary>) -> String {
    let Some(check) = check else {
        return "none since the server started".to_owned();
    };
    let time = format::timestamp_in(check.start_time.as_ref(), &TimeZone::UTC);
    format!("{time} UTC: {}", checked(check))
}

/// The result of a check, in a line.
pub(crate) fn checked(check: &pb::CheckSummary) -> String {
    let duration = check.duration.unwrap_or_default();
    let seconds = duration.seconds as f64 + f64::from(duration.nanos) / 1e9;
    let findings = match check.findings {
        0 => "nothing is wrong".to_owned(),
        findings => many(findings, "finding", "findings"),
    };
    format!(
        "{findings}, {} read in {seconds:.1} s, newest commit {}",
        many(check.records, "record", "records"),
        count(check.seq)
    )
}

fn languages(languages: &[pb::LanguageCounts]) -> Table {
    let mut table = Table::new(&["LANGUAGE", "ARTICLES", "DELETED", "REVISIONS", "TRANSLATIONS"]);
    for language in languages {
        let counts = language.counts.unwrap_or_default();
        table.row([
            language.language.clone(),
            count(counts.articles).to_string(),
            count(counts.deleted_articles).to_string(),
            count(counts.revisions).to_string(),
            count(counts.translations).to_string(),
        ]);
    }
    table
}
