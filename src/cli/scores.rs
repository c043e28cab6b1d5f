//! `scores`: lists, adds or measures the quality of a translation.

use std::path::PathBuf;

use clap::Args;
use jiff::tz::TimeZone;

use super::attach::read;
use super::choices::AgentKind;
use super::client::without_content;
use super::common_args::CommonArgs;
use super::output::{Output, Printer};
use super::terminal::{Table, terminal_width};
use super::{Failure, format, json};
use crate::pb;

#[derive(Debug, Args)]
#[command(after_help = "\
Without an option the scores and issues of the translation are listed. A file for --add is an AddQualityScoresRequest in \
JSON; the article, the language and the translation are those of the command line:
  {\"agent\": {\"kind\": \"AGENT_KIND_HUMAN\", \"person\": \"Rana Haddad\"},
   \"qualityIssues\": [{\"dimension\": \"Accuracy\", \"subtype\": \"Mistranslation\", \"severity\": \"ISSUE_SEVERITY_MAJOR\",
                      \"segmentId\": \"s2\", \"start\": 4, \"end\": 9, \"comment\": \"…\"}]}

Examples:
  article-store scores harbour --language en
  article-store scores harbour --language en --translation-id t1 --add issues.json
  article-store scores harbour --language en --translation-id t1 --metric COMET --value 0.83 --max 1 --agent rule --tool comet
  article-store scores harbour --language en --translation-id t2 --measure --reference t1")]
pub(crate) struct Scores {
    /// The article's id.
    id: String,
    #[command(flatten)]
    common: CommonArgs,
    /// The language of the translation, a BCP-47 tag.
    #[arg(long, value_name = "TAG")]
    language: String,
    /// The translation [default: the served one]. Required to add.
    #[arg(long, value_name = "ID")]
    translation_id: Option<String>,
    /// Read of an embargoed, withheld or cancelled article too, if the caller may see it.
    #[arg(long)]
    hidden: bool,
    /// Measure the translation instead: machine share, numbers, placeholders, and chrF++ with --reference.
    #[arg(long, conflicts_with_all = ["add", "metric"])]
    measure: bool,
    /// Another translation to compare with.
    #[arg(long, value_name = "ID", requires = "measure")]
    reference: Option<String>,
    /// Add the scores and issues of a file; `-` is standard input.
    #[arg(long, value_name = "PATH", conflicts_with = "metric")]
    add: Option<PathBuf>,
    #[command(flatten)]
    score: ScoreArgs,
    /// The kind of agent that judged. Required to add, unless the file names it.
    #[arg(long, value_enum, value_name = "KIND")]
    agent: Option<AgentKind>,
    /// The person who judged.
    #[arg(long, value_name = "NAME", requires = "agent")]
    person: Option<String>,
    /// The tool that judged.
    #[arg(long, value_name = "NAME", requires = "agent")]
    tool: Option<String>,
    /// The etag that the translation must have to add.
    #[arg(long)]
    etag: Option<String>,
    /// Makes a retry of adding safe: a UUID.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

/// A single score.
#[derive(Debug, Args)]
struct ScoreArgs {
    /// Add a score of this metric.
    #[arg(long, value_name = "NAME", requires_all = ["value", "max"])]
    metric: Option<String>,
    /// The score.
    #[arg(long, requires = "metric", allow_negative_numbers = true)]
    value: Option<f64>,
    /// The lowest possible score [default: 0].
    #[arg(long, requires = "metric", allow_negative_numbers = true)]
    min: Option<f64>,
    /// The highest possible score.
    #[arg(long, requires = "metric", allow_negative_numbers = true)]
    max: Option<f64>,
    /// Say that less is better.
    #[arg(long, requires = "metric")]
    lower_is_better: bool,
    /// The scored segment [default: the whole translation].
    #[arg(long, value_name = "ID", requires = "metric")]
    segment: Option<String>,
    /// The version or signature of the metric.
    #[arg(long, value_name = "VERSION", requires = "metric")]
    metric_version: Option<String>,
    /// The model that computed it.
    #[arg(long, value_name = "NAME", requires = "metric")]
    model: Option<String>,
    /// What it was compared with, such as REFERENCE or NONE.
    #[arg(long, value_name = "KIND", requires = "metric")]
    reference_kind: Option<String>,
}

impl Scores {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if self.measure {
            self.measure().await
        } else if self.add.is_some() || self.score.metric.is_some() {
            self.add().await
        } else {
            self.list().await
        }
    }

    async fn list(self) -> Result<(), Failure> {
        let request = pb::GetTranslationRequest {
            article_id: self.id,
            language: self.language,
            translation_id: self.translation_id.unwrap_or_default(),
            at: None,
            show_hidden: self.hidden,
            evidence_only: true,
        };
        let mut client = self.common.server.translations().await?;
        let answer = client.get_translation(request).await?.into_inner();
        let translation = answer.translation.ok_or_else(without_content)?;
        let mut printer = Printer::new();
        match self.common.output.output {
            Output::Json => {
                for score in &translation.quality_scores {
                    printer.message(score)?;
                }
                for issue in &translation.quality_issues {
                    printer.message(issue)?;
                }
            }
            Output::Table => printer.text(&evidence_page(&translation))?,
        }
        printer.flush()
    }

    async fn add(self) -> Result<(), Failure> {
        let output = self.common.output;
        let mut client = self.common.server.translations().await?;
        let answer = client.add_quality_scores(self.request()?).await?.into_inner();
        output.line(&answer, || {
            let added = if answer.added {
                "added to"
            } else {
                "already known of"
            };
            let translation = answer.translation.as_ref().map(format::translation);
            format!("{added} {}", translation.unwrap_or_default())
        })
    }

    fn request(self) -> Result<pb::AddQualityScoresRequest, Failure> {
        let translation_id = self
            .translation_id
            .ok_or_else(|| Failure::Usage("--translation-id is required to add scores".into()))?;
        let mut request = match &self.add {
            Some(path) => json::parse(&read(path)?)?,
            None => pb::AddQualityScoresRequest {
                quality_scores: vec![pb::QualityScore {
                    scorer: self.tool.clone().or(self.person.clone()).unwrap_or_default(),
                    ..self.score.message()
                }],
                ..pb::AddQualityScoresRequest::default()
            },
        };
        if let Some(kind) = self.agent {
            request.agent = Some(pb::Agent {
                kind: kind.into(),
                person: self.person.unwrap_or_default(),
                tool: self.tool.unwrap_or_default(),
                ..pb::Agent::default()
            });
        } else if request.agent.is_none() {
            return Err(Failure::Usage("--agent is required: who or what judged".into()));
        }
        Ok(pb::AddQualityScoresRequest {
            article_id: self.id,
            language: self.language,
            translation_id,
            etag: self.etag.unwrap_or(request.etag),
            request_id: self.request_id.unwrap_or(request.request_id),
            ..request
        })
    }

    async fn measure(self) -> Result<(), Failure> {
        let request = pb::MeasureTranslationRequest {
            article_id: self.id,
            language: self.language,
            translation_id: self.translation_id.unwrap_or_default(),
            reference_translation_id: self.reference.unwrap_or_default(),
            show_hidden: self.hidden,
        };
        let mut client = self.common.server.translations().await?;
        let answer = client.measure_translation(request).await?.into_inner();
        self.common.output.page(&answer, || measures_page(&answer))
    }
}

impl ScoreArgs {
    fn message(self) -> pb::QualityScore {
        pb::QualityScore {
            metric: self.metric.unwrap_or_default(),
            metric_version: self.metric_version.unwrap_or_default(),
            model: self.model.unwrap_or_default(),
            value: self.value.unwrap_or_default(),
            min: self.min.unwrap_or_default(),
            max: self.max.unwrap_or_default(),
            higher_is_better: !self.lower_is_better,
            segment_id: self.segment.unwrap_or_default(),
            reference_kind: self.reference_kind.unwrap_or_default(),
            ..pb::QualityScore::default()
        }
    }
}

fn evidence_page(translation: &pb::Translation) -> String {
    let width = terminal_width();
    let mut page = String::new();
    let text = |outdated| if outdated { "outdated" } else { "current" };
    if !translation.quality_scores.is_empty() {
        let mut table = Table::new(&["SEGMENT", "METRIC", "VALUE", "RANGE", "STORED", "TEXT", "SCORER"]);
        for score in &translation.quality_scores {
            table.row([
                place(&score.segment_id).to_owned(),
                format!("{} {}", score.metric, score.metric_version),
                score.value.to_string(),
                format!("{} to {}", score.min, score.max),
                format::timestamp_in(score.create_time.as_ref(), &TimeZone::UTC),
                text(score.outdated).to_owned(),
                format!("{} {}", score.scorer, score.model),
            ]);
        }
        page.push_str(&table.take(width));
    }
    if !translation.quality_issues.is_empty() {
        let mut table = Table::new(&["SEGMENT", "SEVERITY", "ISSUE", "MARKED", "TEXT", "COMMENT"]);
        for issue in &translation.quality_issues {
            table.row([
                place(&issue.segment_id).to_owned(),
                format::word(issue.severity().as_str_name(), "ISSUE_SEVERITY_"),
                [issue.dimension.as_str(), issue.subtype.as_str()]
                    .into_iter()
                    .filter(|name| !name.is_empty())
                    .collect::<Vec<_>>()
                    .join("/"),
                marked(issue),
                text(issue.outdated).to_owned(),
                issue.comment.clone(),
            ]);
        }
        page.push_str(&table.take(width));
    }
    if page.is_empty() {
        page.push_str("no scores and no issues\n");
    }
    page
}

fn place(segment_id: &str) -> &str {
    if segment_id.is_empty() { "all" } else { segment_id }
}

/// `target 4..9`, or the side alone where all of it is meant.
fn marked(issue: &pb::QualityIssue) -> String {
    let side = format::word(issue.side().as_str_name(), "ISSUE_SIDE_");
    match (issue.start, issue.end) {
        (Some(start), Some(end)) => format!("{side} {start}..{end}"),
        _ => side,
    }
}

fn measures_page(answer: &pb::MeasureTranslationResponse) -> String {
    let mut page = String::new();
    if let Some(reference) = &answer.reference {
        let score = answer
            .chrf
            .map_or("nothing in common to compare".to_owned(), |chrf| {
                format!("{chrf:.2}")
            });
        let against = format!("{}/{}", reference.language, reference.translation_id);
        page.push_str(&format!("chrF++ against {against}: {score}\n"));
    }
    if let Some(share) = &answer.machine_share {
        page.push_str(&format!(
            "unmodified machine output: {:.1} % of {} segments, {:.1} % of {} code points\n",
            100.0 * share.segment_ratio,
            share.all.map_or(0, |all| all.segments),
            100.0 * share.code_point_ratio,
            share.all.map_or(0, |all| all.code_points),
        ));
    }
    let mut table = Table::new(&["SEGMENT", "CHRF++", "FINDINGS"]);
    for segment in &answer.segments {
        let chrf = segment.chrf.map_or("-".to_owned(), |chrf| format!("{chrf:.2}"));
        table.row([segment.segment_id.clone(), chrf, findings(segment)]);
    }
    page.push_str(&table.take(terminal_width()));
    page
}

fn findings(segment: &pb::SegmentMeasures) -> String {
    let mut findings = Vec::new();
    if segment.unmodified_machine {
        let reviewed = if segment.reviewed { ", reviewed" } else { "" };
        findings.push(format!("unmodified machine output{reviewed}"));
    }
    if segment.source_revision == 0 {
        findings.push("its source was not read".to_owned());
    }
    if segment.equals_source {
        findings.push("equals the source".to_owned());
    }
    let differences = [
        ("numbers", &segment.numbers),
        ("placeholders", &segment.placeholders),
    ];
    for (what, differences) in differences {
        let Some(differences) = differences else { continue };
        for (how, things) in [("missing", &differences.missing), ("added", &differences.added)] {
            if !things.is_empty() {
                findings.push(format!("{how} {what}: {}", things.join(" ")));
            }
        }
    }
    findings.join("; ")
}
