//! What the writers write. Every text follows from a name and a number, so that one that is read back needs no copy to be
//! compared with.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use article_store::pb;
use article_store::pb::attach_translation_request::Content as Sent;
use uuid::Uuid;

use super::random;
use crate::harness::noise;

const LONG_PARAGRAPH_BYTES: usize = 31_000;
const LANGUAGES: [&str; 3] = ["fr", "de", "sw"];

/// A write, as it is sent and sent again.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Create(pb::CreateArticleRequest),
    Revise(pb::UpdateArticleRequest),
    Attach(pb::AttachTranslationRequest),
    Delete(pb::DeleteArticleRequest),
    Undelete(pb::UndeleteArticleRequest),
}

impl Request {
    /// Whether sending it again is safe.
    pub(super) fn has_id(&self) -> bool {
        let id = match self {
            Self::Create(request) => &request.request_id,
            Self::Revise(request) => &request.request_id,
            Self::Attach(request) => &request.request_id,
            Self::Delete(request) => &request.request_id,
            Self::Undelete(request) => &request.request_id,
        };
        !id.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Article(Box<pb::Article>),
    Translation(Box<pb::TranslationSummary>),
}

/// The parts of a story that the next write depends on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    /// 0: there is no article yet.
    pub(super) revision: u32,
    pub(super) deleted: bool,
    /// Which text each translation has, by language and id.
    pub(super) translations: BTreeMap<(String, String), u32>,
}

impl State {
    fn candidates(&self, language: &str) -> usize {
        let of_language = |(known, _): &&(String, String)| known == language;
        self.translations.keys().filter(of_language).count()
    }

    /// The number of the next translated text.
    fn next_text(&self) -> u32 {
        self.translations.values().max().copied().unwrap_or_default() + 1
    }

    /// What the request, applied once, makes of this.
    pub(super) fn after(&self, request: &Request) -> Self {
        let mut state = self.clone();
        match request {
            Request::Create(_) | Request::Revise(_) => state.revision += 1,
            Request::Delete(_) => state.deleted = true,
            Request::Undelete(_) => state.deleted = false,
            Request::Attach(attach) => {
                let number = match self.candidates(&attach.language) {
                    count if attach.new_candidate => count + 1,
                    _ => 1,
                };
                let name = (attach.language.clone(), format!("t{number}"));
                state.translations.insert(name, self.next_text());
            }
        }
        state
    }
}

/// The state of a story as its writer knows it from answers and reads.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Known {
    pub(super) state: State,
    /// The article without body and translations.
    pub(super) article: pb::Article,
    pub(super) etags: BTreeMap<(String, String), String>,
}

impl Known {
    /// Whether the list of articles shows it.
    pub(super) fn is_listed(&self) -> bool {
        self.state.revision > 0 && !self.state.deleted
    }
}

/// An article of one writer, its translations, and what is not known about them.
#[derive(Debug, Clone)]
pub(super) struct Story {
    pub(super) name: String,
    paragraphs: u32,
    paragraph_bytes: usize,
    pub(super) known: Known,
    pub(super) in_flight: Option<Request>,
}

/// Letters that compression does not make much fewer. Made once, for a debug build takes its time.
static NOISE: LazyLock<String> = LazyLock::new(|| noise(0, 4 << 20));

/// A text that follows from its name, and that compression does not make small.
fn text(name: &str, bytes: usize) -> String {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let from = hasher.finish() as usize % (NOISE.len() - bytes);
    format!("{name} {}", &NOISE[from..from + bytes])
}

fn segment(text: String) -> pb::Segment {
    pb::Segment {
        text,
        ..Default::default()
    }
}

fn target(text: String) -> pb::TargetSegment {
    pb::TargetSegment {
        text,
        ..Default::default()
    }
}

pub(super) fn basic(article: pb::Article) -> pb::Article {
    pb::Article {
        body: Vec::new(),
        translations: Vec::new(),
        translation_count: 0,
        ..article
    }
}

impl Story {
    /// Most are short, some long, and a few as long as a book chapter.
    pub(super) fn new(name: String) -> Self {
        let (paragraphs, paragraph_bytes) = match random(32) {
            0 => (40, 7_500),
            1..8 => (25, 500),
            _ => (3, 120),
        };
        Self::with_paragraphs(name, paragraphs, paragraph_bytes)
    }

    /// Nearly as long as a client takes.
    pub(super) fn long(name: String) -> Self {
        Self::with_paragraphs(name, 96, LONG_PARAGRAPH_BYTES)
    }

    pub(super) fn is_long(&self) -> bool {
        self.paragraph_bytes == LONG_PARAGRAPH_BYTES
    }

    fn with_paragraphs(name: String, paragraphs: u32, paragraph_bytes: usize) -> Self {
        Self {
            name,
            paragraphs,
            paragraph_bytes,
            known: Known::default(),
            in_flight: None,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("https://news.example/{}", self.name)
    }

    pub(super) fn title(&self, revision: u32) -> String {
        format!("{} revision {revision}", self.name)
    }

    /// The body of a revision, each of which changes one paragraph of the last.
    pub(super) fn body(&self, revision: u32) -> Vec<String> {
        let count = self.paragraphs;
        let changed_at = |part: u32| revision.saturating_sub((revision + count - part) % count).max(1);
        (0..count)
            .map(|part| {
                text(
                    &format!("{} {part} {}", self.name, changed_at(part)),
                    self.paragraph_bytes,
                )
            })
            .collect()
    }

    /// A translated text by its number; the title comes first.
    pub(super) fn translation(&self, language: &str, number: u32) -> Vec<String> {
        let title = format!("{} {language} {number}", self.name);
        let part = |part| text(&format!("{title} {part}"), self.paragraph_bytes);
        std::iter::once(title.clone())
            .chain((0..self.paragraphs).map(part))
            .collect()
    }

    fn article(&self, revision: u32) -> pb::Article {
        pb::Article {
            article_id: self.name.clone(),
            language: "ar".into(),
            title: Some(segment(self.title(revision))),
            body: self.body(revision).into_iter().map(segment).collect(),
            canonical_url: self.url(),
            ..Default::default()
        }
    }

    /// Something that the writer may do now; half of it can be sent again.
    pub(super) fn next(&self) -> Request {
        let State {
            revision, deleted, ..
        } = self.known.state;
        let article_id = self.name.clone();
        let etag = String::new();
        let request_id = match random(2) {
            0 => Uuid::new_v4().to_string(),
            _ => String::new(),
        };
        match random(10) {
            _ if revision == 0 => Request::Create(pb::CreateArticleRequest {
                article: Some(self.article(1)),
                request_id,
            }),
            _ if deleted => Request::Undelete(pb::UndeleteArticleRequest {
                article_id,
                etag,
                request_id,
            }),
            0 => Request::Delete(pb::DeleteArticleRequest {
                article_id,
                etag,
                request_id,
            }),
            1..5 => Request::Revise(pb::UpdateArticleRequest {
                article: Some(self.article(revision + 1)),
                etag: self.known.article.etag.clone(),
                request_id,
                ..Default::default()
            }),
            choice => Request::Attach(self.attach(choice, request_id)),
        }
    }

    fn attach(&self, choice: u64, request_id: String) -> pb::AttachTranslationRequest {
        let state = &self.known.state;
        let language = LANGUAGES[random(3) as usize];
        let candidates = state.candidates(language);
        let mut texts = self
            .translation(language, state.next_text())
            .into_iter()
            .map(target);
        pb::AttachTranslationRequest {
            article_id: self.name.clone(),
            language: language.into(),
            source_revision: state.revision,
            content: Some(Sent::Text(pb::TargetText {
                title: texts.next(),
                lead: None,
                body: texts.collect(),
            })),
            new_candidate: choice < 7 && (1..5).contains(&candidates),
            agent: Some(pb::Agent {
                kind: pb::AgentKind::Human.into(),
                person: self.name.clone(),
                ..Default::default()
            }),
            request_id,
            ..Default::default()
        }
    }

    /// Takes in what was acknowledged.
    pub(super) fn learn(&mut self, request: &Request, answer: Answer) {
        let known = &mut self.known;
        known.state = known.state.after(request);
        match answer {
            Answer::Article(article) => {
                assert_eq!(article.revision, known.state.revision, "{}", self.name);
                known.article = basic(*article);
            }
            Answer::Translation(summary) => {
                let name = (summary.language, summary.translation_id);
                assert_eq!(
                    known.state.translations.get(&name),
                    Some(&(known.state.next_text() - 1))
                );
                known.etags.insert(name, summary.etag);
            }
        }
    }
}
