//! `provenance`: every step that was ever taken on the translations of an article into a language.

use clap::Args;
use jiff::tz::TimeZone;

use super::common_args::CommonArgs;
use super::output::Limit;
use super::{Failure, format};
use crate::pb;

/// Segments that a row names; the rest is counted. JSON has all.
const NAMED_SEGMENTS: usize = 8;

#[derive(Debug, Args)]
#[command(after_help = "\
Oldest first. With `--output json` every record comes with all that is known of it, one object a line.

Examples:
  article-store provenance harbour --language en
  article-store provenance harbour --language en --translation-id t2 --output json")]
pub(crate) struct Provenance {
    /// The article's id.
    id: String,
    #[command(flatten)]
    common: CommonArgs,
    /// The language of the translations, a BCP-47 tag.
    #[arg(long, value_name = "TAG")]
    language: String,
    /// Only the steps on this translation.
    #[arg(long, value_name = "ID")]
    translation_id: Option<String>,
    /// Read of an embargoed, withheld or cancelled article too, if the caller may see it.
    #[arg(long)]
    hidden: bool,
    /// The zone to show times in: an IANA name or an offset.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = format::zone)]
    zone: TimeZone,
}

impl Provenance {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut client = self.common.server.translations().await?;
        let translation_id = self.translation_id.unwrap_or_default();
        let header = [
            "time",
            "step",
            "translation",
            "state",
            "revision",
            "by",
            "segments",
            "reason",
        ];
        let row = |record: &_| row(record, &self.zone);
        let list = self
            .common
            .output
            .list(Limit::NONE, header, row, async |page_token, page_size| {
                let request = pb::ListProvenanceRequest {
                    article_id: self.id.clone(),
                    language: self.language.clone(),
                    translation_id: translation_id.clone(),
                    page_size,
                    page_token,
                    show_hidden: self.hidden,
                };
                let page = client.list_provenance(request).await?.into_inner();
                Ok((page.records, page.next_page_token))
            });
        list.await
    }
}

fn row(record: &pb::ProvenanceRecord, zone: &TimeZone) -> [String; 8] {
    let translation = match record.replaced_translation_id.as_str() {
        "" => record.translation_id.clone(),
        replaced => format!("{} for {replaced}", record.translation_id),
    };
    let state = match record.state() {
        pb::TranslationState::Unspecified => String::new(),
        state => format::word(state.as_str_name(), "TRANSLATION_STATE_"),
    };
    let revision = match record.source_revision {
        0 => String::new(),
        revision => revision.to_string(),
    };
    let named: Vec<_> = record
        .segment_ids
        .iter()
        .take(NAMED_SEGMENTS)
        .map(String::as_str)
        .collect();
    let more = match record.segment_ids.len().saturating_sub(NAMED_SEGMENTS) {
        0 => String::new(),
        more => format!(" +{more}"),
    };
    [
        format::timestamp_in(record.time.as_ref(), zone),
        format::word(record.step().as_str_name(), "PROVENANCE_STEP_"),
        translation,
        state,
        revision,
        record.agent.as_ref().map(format::agent).unwrap_or_default(),
        format!("{}{more}", named.join(" ")),
        record.reason.clone(),
    ]
}
