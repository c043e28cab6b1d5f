//! Articles and translations for the storage bench, each a function of its number.
//!
//! The words are made of Arabic letters and drawn so that few are frequent, as in a language, because zstd and sled must
//! not see the same bytes again and again.

#[path = "../support/random.rs"]
mod random;

use article_store::domain::article::{ArticleId, DraftContent, Metadata, PublicationStatus};
use article_store::domain::attach::{BodyTexts, Target, TargetText, TargetTexts};
use article_store::domain::date::ArticleDate;
use article_store::domain::draft::{ArticleDraft, ArticlePatch};
use article_store::domain::language::Language;
use article_store::domain::provenance::{Actor, Agent, AgentKind, Provenance, Step};
use article_store::domain::segment::{DraftSegment, MarkedText};
use article_store::domain::time::Timestamp;
use article_store::domain::translation::State;
use article_store::service::attach::{Attachment, Sent};
pub(crate) use random::Random;

/// The first instant of publication, in seconds.
const FIRST: i64 = 1_300_000_000;
/// Days that the articles are published on.
const DAYS: u64 = 3_650;
/// Different words.
const WORDS: u64 = 20_000;

/// The words that texts are made of.
pub(crate) struct Texts(Vec<String>);

impl Texts {
    pub(crate) fn new() -> Self {
        let letters: Vec<char> = "اليمنوترهبدسعفحقكجشصطخزثذضغظءةى".chars().collect();
        let word = |number| {
            let random = &mut Random::new(number);
            let article = if random.below(4) == 0 { "ال" } else { "" };
            let stem = (0..2 + random.below(5)).map(|_| {
                let most = 1 + random.below(letters.len() as u64);
                letters[random.below(most) as usize]
            });
            article.chars().chain(stem).collect()
        };
        Self((0..WORDS).map(word).collect())
    }

    /// A text of about this size in bytes.
    fn text(&self, random: &mut Random, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 32);
        while text.len() < bytes {
            // Frequent words come first: three in a row, each below the one before.
            let word = (0..3).fold(WORDS, |most, _| 1 + random.below(most));
            text.push_str(&self.0[word as usize - 1]);
            text.push(' ');
        }
        text.truncate(text.trim_end().len());
        text
    }

    /// An article with this many paragraphs of some 450 bytes each; six make an article of 3 KB.
    pub(crate) fn article(&self, number: usize, paragraphs: usize) -> ArticleDraft {
        let random = &mut Random::new(number as u64 * 0x1_0001);
        let seconds = FIRST + random.below(DAYS * 86_400) as i64;
        let mut segment = |bytes| DraftSegment::paragraph(self.text(random, bytes)).unwrap();
        ArticleDraft {
            id: Some(id(number)),
            content: DraftContent {
                title: segment(70),
                lead: segment(220),
                body: (0..paragraphs).map(|_| segment(450)).collect(),
            },
            metadata: Metadata {
                language: Language::from_canonical("ar"),
                section: "news".into(),
                publisher: format!("publisher-{}", number % 20),
                canonical_url: None,
                guid: format!("guid-{number}"),
                located: String::new(),
                dateline: String::new(),
                info_sources: Vec::new(),
                authors: vec![self.0[number % 500].clone()],
                keywords: vec![self.0[number % 700].clone(), self.0[number % 900].clone()],
                labels: Default::default(),
                published: Some(ArticleDate {
                    instant: Some(Timestamp::from_seconds(seconds, 0).unwrap()),
                    ..ArticleDate::default()
                }),
                updated: None,
                publication_status: PublicationStatus::Usable,
                status_reason: String::new(),
                embargo_time: None,
            },
        }
    }

    /// A whole translation of revision 1 of an article with this many paragraphs.
    pub(crate) fn french(&self, number: usize, paragraphs: usize) -> Attachment {
        let random = &mut Random::new(number as u64 * 0x1_0003);
        let mut segment = |bytes| TargetText {
            content: MarkedText::new(self.text(random, bytes), Vec::new()).unwrap(),
            sub_state: String::new(),
        };
        Attachment {
            article: id(number),
            language: french(),
            source_revision: 1,
            sent: Sent::Texts(TargetTexts {
                title: Some(segment(50)),
                lead: Some(segment(150)),
                body: BodyTexts::InOrder((0..paragraphs).map(|_| segment(300)).collect()),
            }),
            target: Target::Active,
            state: State::Translated,
            provenance: Provenance::of(Step::Attached, Agent::of_kind(AgentKind::Mt), Actor::default()),
            scores: Vec::new(),
            etag: None,
            slot_etag: None,
            overwrite_human: false,
        }
    }

    /// Another section and other keywords.
    pub(crate) fn metadata(&self, round: usize) -> ArticlePatch {
        ArticlePatch {
            section: Some(format!("section-{round}")),
            keywords: Some(vec![self.0[round % 800].clone(), self.0[round % 300].clone()]),
            ..ArticlePatch::default()
        }
    }

    /// Another lead.
    pub(crate) fn lead(&self, round: usize) -> ArticlePatch {
        let text = self.text(&mut Random::new(round as u64), 220);
        ArticlePatch {
            lead: Some(DraftSegment::paragraph(text).unwrap()),
            ..ArticlePatch::default()
        }
    }
}

pub(crate) fn id(number: usize) -> ArticleId {
    ArticleId::parse(&format!("bench-{number:07}")).unwrap()
}

pub(crate) fn french() -> Language {
    Language::from_canonical("fr")
}

/// An instant on one of the days.
pub(crate) fn instant(random: &mut Random) -> Timestamp {
    Timestamp::from_seconds(FIRST + random.below(DAYS * 86_400) as i64, 0).unwrap()
}
