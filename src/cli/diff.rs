//! `diff`: the changes between two revisions of an article, paragraph by paragraph.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};

use clap::Args;

use super::Failure;
use super::common_args::CommonArgs;
use super::format;
use super::output::{Output, Printer, each_page};
use super::page::{LABEL, page_width};
use super::terminal::{self, Part, wrap_parts};
use crate::pb;

#[derive(Debug, Args)]
#[command(after_help = "\
Only paragraphs that differ are shown. Words that are gone and words that are new are coloured on a terminal (unless \
NO_COLOR is set) and marked [-so-] and {+so+} elsewhere.

Examples:
  article-store diff harbour --from 1
  article-store diff harbour --from 1 --to 3
  article-store diff harbour --from 1 --output json | jq -r .significance")]
pub(crate) struct Diff {
    /// The article's id.
    id: String,
    #[command(flatten)]
    common: CommonArgs,
    /// The revision to compare from.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    from: u32,
    /// The revision to compare with [default: the newest].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    to: Option<u32>,
    /// Read an embargoed, withheld or cancelled article too, if the caller may see it.
    #[arg(long)]
    hidden: bool,
}

impl Diff {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let request = pb::DiffRevisionsRequest {
            article_id: self.id.clone(),
            from_revision: self.from,
            to_revision: self.to.unwrap_or_default(),
            show_hidden: self.hidden,
            page_token: String::new(),
        };
        let coloured =
            io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        let mut client = self.common.server.articles().await?;
        let mut printer = Printer::new();
        let mut is_first = true;
        each_page(async |page_token| {
            let request = pb::DiffRevisionsRequest {
                page_token,
                ..request.clone()
            };
            let page = client.diff_revisions(request).await?.into_inner();
            match self.common.output.output {
                Output::Json => printer.message(&page)?,
                Output::Table => {
                    if std::mem::take(&mut is_first) {
                        printer.line(&heading(&self.id, &page))?;
                    }
                    for segment in &page.segments {
                        printer.text(&paragraph(segment, coloured))?;
                    }
                }
            }
            printer.flush()?;
            Ok(page.next_page_token)
        })
        .await
    }
}

fn heading(id: &str, page: &pb::DiffRevisionsResponse) -> String {
    let mut text = format!("{id}: revision {} to {}", page.from_revision, page.to_revision);
    if page.significance() != pb::Significance::Unspecified {
        let word = format::word(page.significance().as_str_name(), "SIGNIFICANCE_");
        let how = if page.significance_proposed {
            " (proposed)"
        } else {
            ""
        };
        let _ = write!(text, ", {word}{how}");
    }
    terminal::line(&text)
}

/// The lines of a paragraph; none if it is unchanged.
fn paragraph(segment: &pb::SegmentDiff, coloured: bool) -> String {
    let change = segment.change();
    if change == pb::SegmentChange::Unchanged {
        return String::new();
    }
    let mut label = format::word(change.as_str_name(), "SEGMENT_CHANGE_");
    if segment.moved && change != pb::SegmentChange::Moved {
        label.push_str(", moved");
    }
    if segment.texts_omitted {
        label.push_str("; its texts are too long to be shown");
    } else if change == pb::SegmentChange::Changed && segment.text_changes.is_empty() {
        label.push_str("; its words are the same");
    }
    let mut text = format!("\n{:<LABEL$}{label}\n", terminal::line(&segment.segment_id));
    let width = page_width().saturating_sub(LABEL).max(20);
    for line in wrap_parts(&parts(segment), width, coloured) {
        if !line.is_empty() {
            let _ = writeln!(text, "{:LABEL$}{line}", "");
        }
    }
    text
}

/// Both texts in one, the old words before the new ones.
fn parts(segment: &pb::SegmentDiff) -> Vec<(Part, String)> {
    match segment.change() {
        pb::SegmentChange::Added => return vec![(Part::New, segment.new_text.clone())],
        pb::SegmentChange::Removed => return vec![(Part::Old, segment.old_text.clone())],
        _ => {}
    }
    let cut = |text: &str, start: u32, end: u32| -> String {
        let length = end.saturating_sub(start) as usize;
        text.chars().skip(start as usize).take(length).collect()
    };
    let mut parts = Vec::new();
    let mut at = 0;
    for change in &segment.text_changes {
        parts.push((Part::Same, cut(&segment.new_text, at, change.new_start)));
        parts.push((
            Part::Old,
            cut(&segment.old_text, change.old_start, change.old_end),
        ));
        parts.push((
            Part::New,
            cut(&segment.new_text, change.new_start, change.new_end),
        ));
        at = change.new_end;
    }
    parts.push((Part::Same, cut(&segment.new_text, at, u32::MAX)));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_words_stand_before_new_ones_in_the_new_text() {
        let change = |old_start, old_end, new_start, new_end| pb::TextChange {
            old_start,
            old_end,
            new_start,
            new_end,
        };
        let segment = pb::SegmentDiff {
            segment_id: "s1".into(),
            change: pb::SegmentChange::Changed.into(),
            old_text: "وزير قال أمس".into(),
            new_text: "وزيرة قالت أمس شيئا".into(),
            text_changes: vec![change(0, 8, 0, 10), change(12, 12, 15, 19)],
            ..pb::SegmentDiff::default()
        };
        assert_eq!(
            paragraph(&segment, false),
            "\ns1          changed\n            \u{2067}[-وزير قال-]{+وزيرة قالت+} أمس {+شيئا+}\u{2069}\n"
        );
        let unchanged = pb::SegmentDiff {
            change: pb::SegmentChange::Unchanged.into(),
            ..segment
        };
        assert_eq!(paragraph(&unchanged, false), "");
    }
}
