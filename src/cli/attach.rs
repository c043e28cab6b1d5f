//! `attach`: a translation of an exact revision of an article.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use super::choices::{self, TranslationState};
use super::client::without_content;
use super::common_args::CommonArgs;
use super::step_args::AgentArgs;
use super::{Failure, format, json};
use crate::pb;
use crate::pb::attach_translation_request::Content;

#[derive(Debug, Args)]
#[command(mut_arg("agent", |arg| arg.required(true)), after_help = "\
The file holds the translation a paragraph a line, in the order of `get`: the headline and the lead, where the source \
has them, then the body; blank lines do not count, and paragraphs that are not to be translated are left out. A file \
that starts with `{` is a TargetText in JSON instead, with which texts of several lines and inline marks are possible:
  {\"title\": {\"text\": \"…\"}, \"body\": [{\"segmentId\": \"s1\", \"text\": \"…\"}]}
--segment writes single paragraphs and leaves the others as they are.

Examples:
  article-store attach harbour --language en --revision 1 --file en.txt --agent human --person 'Rana Haddad'
  translate harbour | article-store attach harbour --language fr --revision 1 --file - --agent mt --engine opus
  article-store attach harbour --language en --revision 2 --segment 's3=The third paragraph.' --agent human
  article-store attach harbour --language es --revision 1 --external-uri https://example.com/es/1 --agent import")]
pub(crate) struct Attach {
    /// The article's id.
    id: String,
    #[command(flatten)]
    common: CommonArgs,
    /// The language of the translation, a BCP-47 tag.
    #[arg(long, value_name = "TAG")]
    language: String,
    /// The revision that was translated.
    #[arg(long, value_name = "N")]
    revision: u32,
    #[command(flatten)]
    content: ContentArgs,
    #[command(flatten)]
    agent: AgentArgs,
    /// The state of the text [default: translated]. A reviewer may attach the same text of another as `reviewed`.
    #[arg(long, value_enum)]
    state: Option<TranslationState>,
    /// Edit this translation instead of the served one.
    #[arg(long, value_name = "ID", conflicts_with = "new_candidate")]
    translation_id: Option<String>,
    /// Make another candidate instead of editing one.
    #[arg(long)]
    new_candidate: bool,
    /// The etag that the edited translation must have.
    #[arg(long)]
    etag: Option<String>,
    /// The etag that the selection of the language must have.
    #[arg(long, value_name = "ETAG")]
    slot_etag: Option<String>,
    /// Let a machine's text replace a person's.
    #[arg(long, requires = "slot_etag")]
    overwrite_human: bool,
    /// Makes a retry safe: a UUID.
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true)]
struct ContentArgs {
    /// A file with the translation; `-` is standard input.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["segment", "external_uri"])]
    file: Option<PathBuf>,
    /// A single paragraph by its id (`title`, `lead`, `s1`…); may be repeated.
    #[arg(long, value_name = "ID=TEXT", conflicts_with = "external_uri", value_parser = segment)]
    segment: Vec<(String, String)>,
    /// The address of a text that is kept elsewhere.
    #[arg(long, value_name = "URI")]
    external_uri: Option<String>,
}

impl Attach {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let output = self.common.output;
        let mut client = self.common.server.translations().await?;
        let request = self.request().await?;
        let place = format!("{} revision {}", request.article_id, request.source_revision);
        let answer = client.attach_translation(request).await?.into_inner();
        let translation = answer.translation.as_ref().ok_or_else(without_content)?;
        output.line(&answer, || {
            let outcome = format::word(answer.outcome().as_str_name(), "ATTACH_OUTCOME_");
            format!("{outcome} for {place}: {}", format::translation(translation))
        })
    }

    async fn request(self) -> Result<pb::AttachTranslationRequest, Failure> {
        let content = match (&self.content.file, &self.content.external_uri) {
            (Some(path), _) => Content::Text(self.file(path).await?),
            (None, Some(uri)) => Content::ExternalUri(uri.clone()),
            (None, None) => Content::Text(by_id(self.content.segment)),
        };
        Ok(pb::AttachTranslationRequest {
            article_id: self.id,
            language: self.language,
            source_revision: self.revision,
            content: Some(content),
            translation_id: self.translation_id.unwrap_or_default(),
            new_candidate: self.new_candidate,
            agent: self.agent.message(),
            state: choices::number(self.state),
            etag: self.etag.unwrap_or_default(),
            overwrite_human: self.overwrite_human,
            slot_etag: self.slot_etag.unwrap_or_default(),
            request_id: self.request_id.unwrap_or_default(),
            ..pb::AttachTranslationRequest::default()
        })
    }

    /// The texts of a file, assigned to the paragraphs of the source revision in order.
    async fn file(&self, path: &Path) -> Result<pb::TargetText, Failure> {
        let text = read(path)?;
        if text.trim_start().starts_with('{') {
            return json::parse(&text);
        }
        let request = pb::GetArticleRequest {
            article_id: self.id.clone(),
            at: Some(pb::get_article_request::At::Revision(self.revision)),
            ..pb::GetArticleRequest::default()
        };
        let answer = self.common.server.articles().await?.get_article(request).await?;
        let source = answer.into_inner().article.ok_or_else(without_content)?;
        in_order(&source, &text).map_err(Failure::Failed)
    }
}

/// The text of a file; `-` is standard input.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    Ok(text.trim_start_matches('\u{FEFF}').to_owned())
}

fn segment(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(id, text)| (id.to_owned(), text.to_owned()))
        .ok_or_else(|| format!("{text:?} is not ID=TEXT"))
}

fn by_id(segments: Vec<(String, String)>) -> pb::TargetText {
    let mut target = pb::TargetText::default();
    for (id, text) in segments {
        put(&mut target, id, text);
    }
    target
}

/// Puts the text of a segment into its place.
pub(crate) fn put(target: &mut pb::TargetText, id: String, text: String) {
    let segment = pb::TargetSegment {
        text,
        ..pb::TargetSegment::default()
    };
    match id.as_str() {
        "title" => target.title = Some(segment),
        "lead" => target.lead = Some(segment),
        _ => target.body.push(pb::TargetSegment {
            segment_id: id,
            ..segment
        }),
    }
}

/// The lines of a text as the translation of a source, a line for each paragraph that is to be translated.
fn in_order(source: &pb::Article, text: &str) -> Result<pb::TargetText, String> {
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let wanted = |segment: &&pb::Segment| segment.translate != Some(false);
    let named = [&source.title, &source.lead].into_iter().flatten();
    let paragraphs = named.chain(&source.body).filter(wanted).count();
    if lines.len() != paragraphs {
        let (title, lead) = (
            source.title.iter().filter(wanted).count(),
            source.lead.iter().filter(wanted).count(),
        );
        return Err(format!(
            "the file has {} paragraphs, and revision {} of {} has {paragraphs} to translate: {title} headline, {lead} lead, \
             {} of the body",
            lines.len(),
            source.revision,
            source.article_id,
            paragraphs - title - lead
        ));
    }
    let mut lines = lines.into_iter();
    let mut target = |segment: &pb::Segment| pb::TargetSegment {
        text: if wanted(&segment) {
            lines.next().unwrap_or_default().to_owned()
        } else {
            String::new()
        },
        ..pb::TargetSegment::default()
    };
    Ok(pb::TargetText {
        title: source.title.as_ref().filter(wanted).map(&mut target),
        lead: source.lead.as_ref().filter(wanted).map(&mut target),
        body: source.body.iter().map(target).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(body: &[Option<bool>]) -> pb::Article {
        let segment = |translate: &Option<bool>| pb::Segment {
            text: "x".into(),
            translate: *translate,
            ..pb::Segment::default()
        };
        pb::Article {
            article_id: "a1".into(),
            revision: 2,
            title: Some(segment(&None)),
            body: body.iter().map(segment).collect(),
            ..pb::Article::default()
        }
    }

    #[test]
    fn lines_are_paragraphs_in_order() {
        let target = in_order(&source(&[None, Some(false), Some(true)]), "T\r\n\n one \nthree").unwrap();
        let body: Vec<_> = target.body.iter().map(|segment| segment.text.as_str()).collect();
        assert_eq!(target.title.unwrap().text, "T");
        assert_eq!(target.lead, None);
        assert_eq!(body, ["one", "", "three"]);
        assert_eq!(
            in_order(&source(&[None, None]), "T\none").unwrap_err(),
            "the file has 2 paragraphs, and revision 2 of a1 has 3 to translate: 1 headline, 0 lead, 2 of the body"
        );
    }

    #[test]
    fn single_paragraphs_go_by_id() {
        let segments = ["title=T", "s3=a=b"].map(|text| segment(text).unwrap());
        let target = by_id(segments.into());
        assert_eq!(target.title.unwrap().text, "T");
        assert_eq!(
            (target.body[0].segment_id.as_str(), target.body[0].text.as_str()),
            ("s3", "a=b")
        );
        assert!(segment("s3").is_err());
    }
}
