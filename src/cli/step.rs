//! `review`, `ack`, `select` and `reject`: steps of the workflow on a translation that somebody has read.
//!
//! The etag names the text that was read. Without one the current text is shown and confirmed at a terminal, or taken as it
//! is with `--yes`; its etag goes into the call, so that a change meanwhile is a conflict and not an unseen step.

use std::io::{self, IsTerminal, Write};

use clap::Args;

use super::choices::TranslationState;
use super::client::{Connection, without_content};
use super::common_args::CommonArgs;
use super::page::Page;
use super::step_args::AgentArgs;
use super::{Failure, format, terminal};
use crate::pb;
use crate::pb::translation_service_client::TranslationServiceClient;

/// The options of every step. Names need the kind of agent.
#[derive(Debug, Args)]
#[command(mut_group("AgentArgs", |agent| agent.requires("agent")))]
struct StepArgs {
    /// The article's id.
    id: String,
    #[command(flatten)]
    common: CommonArgs,
    /// The language of the translation, a BCP-47 tag.
    #[arg(long, value_name = "TAG")]
    language: String,
    /// The translation [default: the served one].
    #[arg(long, value_name = "ID")]
    translation_id: Option<String>,
    /// The etag of the translation that was read. Without it the text is shown and confirmed at a terminal.
    #[arg(long, value_name = "ETAG", conflicts_with = "yes")]
    etag: Option<String>,
    /// Take the translation as it is now, without showing it and without an etag.
    #[arg(long)]
    yes: bool,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    agent: AgentArgs,
    /// A UUID that makes a retry safe: the same call again is not a second step.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
    /// Show a translation of an embargoed, withheld or cancelled article too, if the caller may see it.
    #[arg(long)]
    hidden: bool,
}

/// Paragraphs of a translation.
#[derive(Debug, Args)]
struct SegmentArgs {
    /// Only this paragraph (`title`, `lead`, `s1`…); may be repeated [default: all].
    #[arg(long, value_name = "ID")]
    segment: Vec<String>,
}

#[derive(Debug, Args)]
#[command(
    mut_arg("agent", |arg| arg.required(true)),
    mut_arg("reason", |arg| arg.help("Why; required to lower a state")),
    after_help = "\
At a terminal, source and translation are shown side by side and a question is asked. In scripts, give the --etag of the \
text that was read (`get --translation` shows it): a text that has changed since is not reviewed unseen.

Examples:
  article-store review harbour --language en --agent human --person 'Rana Haddad'
  article-store review harbour --language en --etag 2-3b… --segment s3 --segment s4 --agent human --person Omar
  article-store review harbour --language en --etag 3-9c… --state translated --reason 'misses a negation' --agent human"
)]
pub(crate) struct Review {
    #[command(flatten)]
    step: StepArgs,
    #[command(flatten)]
    segments: SegmentArgs,
    /// The state to bring it to.
    #[arg(long, value_enum, default_value_t = TranslationState::Reviewed)]
    state: TranslationState,
}

#[derive(Debug, Args)]
#[command(
    mut_arg("agent", |arg| arg.required(true)),
    mut_arg("reason", |arg| arg.required(true)),
    after_help = "\
Text and state stay; the paragraphs count as made from that revision, until the source changes again.

Examples:
  article-store ack harbour --language en --revision 2 --segment s3 --reason 'only spelling' --agent human
  article-store ack harbour --language en --revision 2 --etag 1-0f… --reason 'only spelling' --agent human"
)]
pub(crate) struct Ack {
    #[command(flatten)]
    step: StepArgs,
    #[command(flatten)]
    segments: SegmentArgs,
    /// The revision of the source that it holds for.
    #[arg(long, value_name = "N")]
    revision: u32,
}

#[derive(Debug, Args)]
#[command(
    mut_arg("translation_id", |arg| arg.required(true).help("The translation to serve")),
    mut_arg("etag", |arg| arg.long("slot-etag").help(
        "The etag that the selection of the language must have. Without it the text is shown and confirmed at a terminal"
    )),
    after_help = "\
The translation that was served until then is superseded and can be selected again.

Examples:
  article-store select harbour --language en --translation-id t2
  article-store select harbour --language en --translation-id t2 --slot-etag 1-0f… --reason 'reads better' --agent human"
)]
pub(crate) struct Select {
    #[command(flatten)]
    step: StepArgs,
}

#[derive(Debug, Args)]
#[command(
    mut_arg("translation_id", |arg| arg.required(true).help("The translation")),
    mut_arg("reason", |arg| arg.required(true)),
    after_help = "\
A rejected translation stays readable; it is not edited, reviewed or selected again. If it was served, nothing is served in \
its language until another one is selected or attached.

Examples:
  article-store reject harbour --language en --translation-id t2 --reason 'a libel' --agent human --person Omar
  article-store reject harbour --language en --translation-id t2 --etag 1-0f… --reason 'a libel'"
)]
pub(crate) struct Reject {
    #[command(flatten)]
    step: StepArgs,
}

/// The question that confirms a step on a translation: `bring en/t1 of harbour (s3) to reviewed?`.
#[derive(Default)]
struct Question<'a> {
    /// The words before the translation's name.
    verb: &'a str,
    /// The words after it.
    end: String,
    /// The paragraphs; empty for all.
    segments: &'a [String],
    /// The revision of the source to show; the newest if not given.
    revision: Option<u32>,
    /// Whether the etag is that of the selection.
    of_selection: bool,
}

impl Review {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (state, segment_ids) = (pb::TranslationState::from(self.state), self.segments.segment);
        let question = Question {
            verb: "bring",
            end: format!(" to {}", format::word(state.as_str_name(), "TRANSLATION_STATE_")),
            segments: &segment_ids,
            ..Question::default()
        };
        let (mut client, step) = self.step.settle(&question).await?;
        let request = pb::ReviewTranslationRequest {
            article_id: step.id.clone(),
            language: step.language,
            translation_id: step.translation_id.unwrap_or_default(),
            etag: step.etag.unwrap_or_default(),
            segment_ids,
            state: state.into(),
            reason: step.reason.unwrap_or_default(),
            agent: step.agent.message(),
            effort: None,
            request_id: step.request_id.unwrap_or_default(),
        };
        let answer = client.review_translation(request).await?.into_inner();
        let text = || done("reviewed", &step.id, answer.translation.as_ref());
        step.common.output.line(&answer, text)
    }
}

impl Ack {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (source_revision, segment_ids) = (self.revision, self.segments.segment);
        let question = Question {
            verb: "declare",
            end: format!(" to be still true of revision {source_revision}"),
            segments: &segment_ids,
            revision: Some(source_revision),
            ..Question::default()
        };
        let (mut client, step) = self.step.settle(&question).await?;
        let request = pb::AcknowledgeSourceRequest {
            article_id: step.id.clone(),
            language: step.language,
            translation_id: step.translation_id.unwrap_or_default(),
            etag: step.etag.unwrap_or_default(),
            segment_ids,
            source_revision,
            reason: step.reason.unwrap_or_default(),
            agent: step.agent.message(),
            request_id: step.request_id.unwrap_or_default(),
        };
        let answer = client.acknowledge_source(request).await?.into_inner();
        let text = || done("acknowledged", &step.id, answer.translation.as_ref());
        step.common.output.line(&answer, text)
    }
}

impl Select {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let question = Question {
            verb: "serve",
            of_selection: true,
            ..Question::default()
        };
        let (mut client, step) = self.step.settle(&question).await?;
        let request = pb::SelectTranslationRequest {
            article_id: step.id.clone(),
            language: step.language,
            translation_id: step.translation_id.unwrap_or_default(),
            slot_etag: step.etag.unwrap_or_default(),
            agent: step.agent.message(),
            reason: step.reason.unwrap_or_default(),
            request_id: step.request_id.unwrap_or_default(),
        };
        let answer = client.select_translation(request).await?.into_inner();
        let text = || done("selected for", &step.id, answer.translation.as_ref());
        step.common.output.line(&answer, text)
    }
}

impl Reject {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let question = Question {
            verb: "reject",
            end: " for good".into(),
            ..Question::default()
        };
        let (mut client, step) = self.step.settle(&question).await?;
        let request = pb::RejectTranslationRequest {
            article_id: step.id.clone(),
            language: step.language,
            translation_id: step.translation_id.unwrap_or_default(),
            etag: step.etag.unwrap_or_default(),
            reason: step.reason.unwrap_or_default(),
            agent: step.agent.message(),
            request_id: step.request_id.unwrap_or_default(),
        };
        let answer = client.reject_translation(request).await?.into_inner();
        let text = || done("rejected for", &step.id, answer.translation.as_ref());
        step.common.output.line(&answer, text)
    }
}

impl StepArgs {
    /// Fills in the etag where it is not given: that of the current text, which is confirmed or taken with `--yes`.
    async fn settle(
        mut self,
        question: &Question<'_>,
    ) -> Result<(TranslationServiceClient<Connection>, Self), Failure> {
        let can_ask = io::stdin().is_terminal() && io::stderr().is_terminal();
        if self.etag.is_none() && !self.yes && !can_ask {
            let etag = if question.of_selection {
                "--slot-etag"
            } else {
                "--etag"
            };
            return Err(Failure::Usage(format!(
                "{etag} is required, for there is no terminal to confirm at: `get --translation` shows it; --yes takes the \
                 translation as it is"
            )));
        }
        let mut client = self.common.server.translations().await?;
        if self.etag.is_some() {
            return Ok((client, self));
        }
        let request = pb::GetTranslationRequest {
            article_id: self.id.clone(),
            language: self.language.clone(),
            translation_id: self.translation_id.clone().unwrap_or_default(),
            at: None,
            show_hidden: self.hidden,
            evidence_only: false,
        };
        let answer = client.get_translation(request).await?.into_inner();
        let translation = answer.translation.ok_or_else(without_content)?;
        let summary = translation.summary.clone().ok_or_else(without_content)?;
        if !self.yes {
            let source = self.source(question.revision).await?;
            let named = match question.segments {
                [] => String::new(),
                segments => format!(" ({})", segments.join(", ")),
            };
            let asked = format!(
                "{} {}/{} of {}{named}{}?",
                question.verb, summary.language, summary.translation_id, self.id, question.end
            );
            confirm(side_by_side(&source, &translation, question.segments), asked).await?;
        }
        self.translation_id = Some(summary.translation_id);
        self.etag = Some(if question.of_selection {
            summary.slot_etag
        } else {
            summary.etag
        });
        Ok((client, self))
    }

    async fn source(&self, revision: Option<u32>) -> Result<pb::Article, Failure> {
        let request = pb::GetArticleRequest {
            article_id: self.id.clone(),
            show_hidden: self.hidden,
            at: revision.map(pb::get_article_request::At::Revision),
            ..pb::GetArticleRequest::default()
        };
        let answer = self.common.server.articles().await?.get_article(request).await?;
        answer.into_inner().article.ok_or_else(without_content)
    }
}

/// The paragraphs of a translation, each below its source.
fn side_by_side(source: &pb::Article, translation: &pb::Translation, segments: &[String]) -> String {
    let mut page = Page::new();
    if let Some(summary) = &translation.summary {
        page.labelled("translation", &format::translation(summary));
    }
    if let Some(agent) = &translation.agent {
        page.labelled("writer", &format::agent(agent));
    }
    page.labelled(
        "source",
        &format!("{} revision {}", source.language, source.revision),
    );
    let named = [("title", &source.title), ("lead", &source.lead)];
    let named = named
        .into_iter()
        .filter_map(|(id, text)| Some((id, text.as_ref()?)));
    let sources = named.chain(source.body.iter().map(|text| (text.segment_id.as_str(), text)));
    for (id, source) in sources {
        if !segments.is_empty() && !segments.iter().any(|segment| segment == id) {
            continue;
        }
        let target = match id {
            "title" => translation.title.as_ref(),
            "lead" => translation.lead.as_ref(),
            id => translation.body.iter().find(|target| target.segment_id == id),
        };
        let Some(target) = target else { continue };
        page.blank();
        page.labelled(id, &source.text);
        page.labelled("", &target.text);
        if target.freshness() != pb::Freshness::Current {
            page.labelled("", &format::outdated(target));
        }
    }
    page.blank();
    page.text
}

/// Shows a page and asks; an error unless the answer is yes.
async fn confirm(page: String, question: String) -> Result<(), Failure> {
    // Not on this thread, which serves the connection.
    let asked = tokio::task::spawn_blocking(move || -> io::Result<String> {
        let mut stderr = io::stderr();
        write!(stderr, "{page}{} [y/N] ", terminal::line(&question))?;
        stderr.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(answer)
    });
    let answer = asked
        .await
        .map_err(|error| Failure::failed(error.to_string()))?
        .map_err(|error| Failure::failed(format!("the question cannot be asked: {error}")))?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::failed("nothing was done")),
    }
}

/// The result of a step: `reviewed harbour: en/t1 current; …`.
fn done(done: &str, article: &str, translation: Option<&pb::TranslationSummary>) -> String {
    let translation = translation.map(format::translation).unwrap_or_default();
    format!("{done} {article}: {translation}")
}
