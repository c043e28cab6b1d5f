//! Random edits of real news against an oracle that knows no hashes and none of the store's answers: it keeps every
//! revision as texts, names their paragraphs by itself, keeps of every target the text that it was made from, and looks at
//! all of it each time.
//!
//! `ARTICLE_STORE_TEST_ORACLE=all` walks all histories instead of a part.

use std::collections::BTreeMap;

use article_store::pb;
use pb::attach_translation_request::Content;
use pb::{AgentKind, Freshness, Significance};

use super::ntrex::{Document, documents};
use super::workflow::acknowledge;
use super::{agent, body, create, segment, target, target_of, translation};
use crate::harness::{Random, Server};

mod identity;
mod pure;

/// A source segment: its id and its text.
type Paragraph = (String, String);

/// A target: its source segment, the text that it was made from, and the revision.
type Target = (String, String, u32);

struct Oracle {
    revisions: Vec<(Vec<Paragraph>, Significance)>,
    /// The number of the next new paragraph.
    next: u32,
    /// In the order of the revision that was last written at.
    targets: Vec<Target>,
}

/// What is true of a translation.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    freshness: Freshness,
    stale: Vec<String>,
    missing: Vec<String>,
    orphaned: Vec<String>,
    /// How many; which ones need not be decided if there is a tie.
    moved: usize,
    current: usize,
    stale_since: u32,
    significance: Significance,
}

impl Oracle {
    fn new() -> Self {
        Self {
            revisions: Vec::new(),
            next: 1,
            targets: Vec::new(),
        }
    }

    /// Takes in the texts of the next revision, the headline first, and answers the ids of its paragraphs.
    fn revise(&mut self, texts: &[String], significance: Significance) -> Vec<String> {
        // White space is nothing to a translator.
        let plain = |text: &String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let texts: Vec<_> = texts.iter().map(plain).collect();
        let past: Vec<_> = self
            .revisions
            .iter()
            .map(|(revision, _)| revision.as_slice())
            .collect();
        let paragraphs = identity::identify(&past, &texts, &mut self.next);
        let ids = paragraphs.iter().map(|(id, _)| id.clone()).collect();
        self.revisions.push((paragraphs, significance));
        ids
    }

    /// Takes in that these segments were translated from, or declared to hold for, a revision.
    fn write(&mut self, revision: u32, ids: &[String]) {
        let known: BTreeMap<_, _> = self.targets.iter().map(|t| (t.0.clone(), t.clone())).collect();
        let (source, _) = &self.revisions[revision as usize - 1];
        let target = |(id, text): &Paragraph| {
            let new = ids.contains(id).then(|| (id.clone(), text.clone(), revision));
            new.or_else(|| known.get(id).cloned())
        };
        self.targets = source.iter().filter_map(target).collect();
    }

    fn verdict(&self) -> Verdict {
        let (source, _) = self.revisions.last().unwrap();
        let target = |id: &String| self.targets.iter().find(|target| target.0 == *id);
        let ids = |test: &dyn Fn(&Paragraph) -> bool| -> Vec<String> {
            source
                .iter()
                .filter(|p| test(p))
                .map(|(id, _)| id.clone())
                .collect()
        };
        let stale = ids(&|(id, text)| target(id).is_some_and(|target| target.1 != *text));
        let missing = ids(&|(id, _)| target(id).is_none());
        let same = ids(&|(id, text)| target(id).is_some_and(|target| target.1 == *text));
        let is_gone = |target: &&Target| source.iter().all(|(id, _)| *id != target.0);
        let orphaned: Vec<_> = self.targets.iter().filter(is_gone).map(|t| t.0.clone()).collect();
        let places: Vec<_> = same
            .iter()
            .map(|id| self.targets.iter().position(|target| target.0 == *id).unwrap())
            .collect();
        let moved = places.len() - longest_rise(&places);
        let freshness = if !missing.is_empty() {
            Freshness::Incomplete
        } else if !stale.is_empty() {
            Freshness::Stale
        } else if !orphaned.is_empty() {
            Freshness::Orphaned
        } else if moved > 0 {
            Freshness::Moved
        } else {
            Freshness::Current
        };
        let since = stale
            .iter()
            .map(|id| self.last_true(target(id).unwrap()) + 1)
            .min();
        let significances = self.revisions[since.map_or(0, |since| since as usize - 1)..].iter();
        Verdict {
            freshness,
            current: same.len(),
            moved,
            stale_since: since.unwrap_or(0),
            significance: match since {
                Some(_) => significances
                    .map(|(_, significance)| *significance)
                    .max()
                    .unwrap(),
                None => Significance::Unspecified,
            },
            stale,
            missing,
            orphaned,
        }
    }

    /// The last revision that had the text of a target.
    fn last_true(&self, (id, text, made_from): &Target) -> u32 {
        let had = |(_, (source, _)): &(u32, &(Vec<Paragraph>, Significance))| {
            source.iter().any(|(other, now)| other == id && now == text)
        };
        let last = (1..).zip(&self.revisions).filter(had).last();
        last.map_or(0, |(number, _)| number).max(*made_from)
    }
}

/// The length of the longest rising run that can be picked from numbers.
fn longest_rise(numbers: &[usize]) -> usize {
    let mut longest = vec![1; numbers.len()];
    for end in 0..numbers.len() {
        for start in 0..end {
            if numbers[start] < numbers[end] {
                longest[end] = longest[end].max(longest[start] + 1);
            }
        }
    }
    longest.into_iter().max().unwrap_or(0)
}

/// What happens next to an article and its translation.
#[derive(Debug)]
enum Event {
    /// The source says these texts, the headline first.
    Revise(Vec<String>, Significance),
    /// Some paragraphs are translated from a revision this far back.
    Translate(usize),
    /// Everything is declared to hold for the newest revision.
    Acknowledge,
}

/// A random event. `past` are the texts of all revisions, the newest last; `others` is where new paragraphs come from.
fn event(random: &mut Random, past: &[Vec<String>], others: &[String]) -> Event {
    match random.below(10) {
        0 => return Event::Acknowledge,
        1 | 2 => return Event::Translate(random.below(3)),
        _ => {}
    }
    let levels = [
        Significance::Unspecified,
        Significance::Typo,
        Significance::Minor,
        Significance::Major,
        Significance::Correction,
    ];
    let significance = levels[random.below(levels.len())];
    if random.below(4) == 0 {
        return Event::Revise(past[random.below(past.len())].clone(), significance);
    }
    let mut texts = past.last().unwrap().clone();
    for _ in 0..=random.below(3) {
        edit(random, &mut texts, past, others);
    }
    Event::Revise(texts, significance)
}

fn edit(random: &mut Random, texts: &mut Vec<String>, past: &[Vec<String>], others: &[String]) {
    let at = random.below(texts.len());
    // The headline has no place to move to.
    let place = 1 + random.below(texts.len());
    match random.below(9) {
        0 => typo(random, &mut texts[at]),
        1 => texts[at] = texts[at].replace(' ', "  "),
        2 => texts[at].push_str(" It was not known why."),
        3 => texts.insert(place, others[random.below(others.len())].clone()),
        4 => {
            let then = &past[random.below(past.len())];
            texts.insert(place, then[random.below(then.len())].clone());
        }
        _ if texts.len() < 3 || at == 0 => texts[at].push('!'),
        5 => drop(texts.remove(at)),
        6 => {
            let moved = texts.remove(at);
            texts.insert(1 + random.below(texts.len()), moved);
        }
        7 => {
            let words: Vec<&str> = texts[at].split(' ').collect();
            let (first, second) = words.split_at(words.len() / 2);
            let (first, second) = (first.join(" "), second.join(" "));
            if !first.is_empty() {
                texts[at] = first;
                texts.insert(at + 1, second);
            }
        }
        _ => {
            let next = if at + 1 < texts.len() {
                texts.remove(at + 1)
            } else {
                "And more.".into()
            };
            texts[at] = format!("{} {next}", texts[at]);
        }
    }
}

/// Swaps two letters; the text may stay the same.
fn typo(random: &mut Random, text: &mut String) {
    let mut letters: Vec<char> = text.chars().collect();
    if letters.len() > 1 {
        let at = random.below(letters.len() - 1);
        letters.swap(at, at + 1);
    }
    let changed: String = letters.into_iter().collect();
    if !changed.trim().is_empty() {
        *text = changed;
    }
}

/// A document with one of its translations, as a server holds them.
struct Served<'a> {
    server: &'a Server,
    /// The article's id is `a` in every server of these tests.
    language: &'a str,
    past: Vec<Vec<String>>,
    oracle: Oracle,
}

impl Served<'_> {
    fn taken(&mut self, article: &pb::Article, texts: Vec<String>, significance: Significance) {
        let segments = || article.title.iter().chain(&article.body);
        assert!(segments().map(|segment| &segment.text).eq(&texts));
        let ids = self.oracle.revise(&texts, significance);
        assert!(segments().map(|segment| &segment.segment_id).eq(&ids));
        self.past.push(texts);
    }

    async fn happen(&mut self, event: Event, random: &mut Random) {
        let newest = self.oracle.revisions.len();
        match event {
            Event::Revise(texts, significance) => {
                // Where nobody says it the store proposes one, which has tests of its own.
                let significance = match significance {
                    Significance::Unspecified => Significance::Minor,
                    given => given,
                };
                let article = pb::Article {
                    article_id: "a".into(),
                    title: Some(segment(&texts[0])),
                    body: body(&texts[1..]),
                    ..Default::default()
                };
                let request = pb::UpdateArticleRequest {
                    significance: significance.into(),
                    ..super::update_request(article, &["title", "body"])
                };
                let answer = self.server.articles().update_article(request).await.unwrap();
                let article = answer.into_inner().article.unwrap();
                if article.revision as usize > newest {
                    self.taken(&article, texts, significance);
                }
            }
            Event::Translate(back) => {
                let revision = newest.saturating_sub(back).max(1) as u32;
                let (source, _) = &self.oracle.revisions[revision as usize - 1];
                let some: Vec<_> = source.iter().filter(|_| random.below(2) == 0).collect();
                let Some((first, _)) = some.first() else { return };
                let words = |id: &str| target_of(id, &format!("{id} at {newest}"));
                let text = pb::TargetText {
                    title: (first == "title").then(|| words("title")),
                    lead: None,
                    body: some
                        .iter()
                        .filter(|(id, _)| id != "title")
                        .map(|(id, _)| words(id))
                        .collect(),
                };
                let ids: Vec<_> = some.iter().map(|(id, _)| id.clone()).collect();
                let request = pb::AttachTranslationRequest {
                    source_revision: revision,
                    content: Some(Content::Text(text)),
                    agent: agent(AgentKind::Human, "NTREX"),
                    ..super::by_id("a", self.language, 1, &[])
                };
                self.server
                    .translations()
                    .attach_translation(request)
                    .await
                    .unwrap();
                self.oracle.write(revision, &ids);
            }
            Event::Acknowledge => {
                let etag = self.summary().await.etag;
                let request = pb::AcknowledgeSourceRequest {
                    language: self.language.into(),
                    ..acknowledge("NTREX", &etag, newest as u32)
                };
                self.server
                    .translations()
                    .acknowledge_source(request)
                    .await
                    .unwrap();
                let ids: Vec<_> = self
                    .oracle
                    .targets
                    .iter()
                    .map(|target| target.0.clone())
                    .collect();
                self.oracle.write(newest as u32, &ids);
            }
        }
    }

    async fn summary(&self) -> pb::TranslationSummary {
        translation(self.server, "a", self.language, "")
            .await
            .summary
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_agrees_with_the_oracle() {
    let Some(documents) = documents() else { return };
    let others: Vec<_> = documents
        .iter()
        .map(|document| document.segments[1].clone())
        .collect();
    for (number, document) in documents.iter().enumerate().step_by(4) {
        let server = Server::memory().await;
        let mut random = Random::new(number as u64);
        let (language, texts) = document.translations.iter().nth(number % 16).unwrap();
        let mut served = Served {
            server: &server,
            language,
            past: Vec::new(),
            oracle: Oracle::new(),
        };
        let article = pb::Article {
            article_id: "a".into(),
            language: "en".into(),
            title: Some(segment(&document.segments[0])),
            body: body(&document.segments[1..]),
            ..Default::default()
        };
        let created = create(&server, article).await;
        served.taken(&created, document.segments.clone(), Significance::Unspecified);
        let text = pb::TargetText {
            title: Some(target(&texts[0])),
            lead: None,
            body: texts[1..].iter().map(|text| target(text)).collect(),
        };
        let request = pb::AttachTranslationRequest {
            content: Some(Content::Text(text)),
            agent: agent(AgentKind::Human, "NTREX"),
            ..super::by_id("a", language, 1, &[])
        };
        super::attach(&server, request).await;
        let all: Vec<_> = served.oracle.revisions[0]
            .0
            .iter()
            .map(|(id, _)| id.clone())
            .collect();
        served.oracle.write(1, &all);
        for _ in 0..12 {
            let event = event(&mut random, &served.past, &others);
            let told = format!("document {number}: {event:?}");
            served.happen(event, &mut random).await;
            let summary = served.summary().await;
            let found = Verdict {
                freshness: summary.freshness(),
                moved: summary.moved_segment_ids.len(),
                current: summary.current_segments as usize,
                stale_since: summary.stale_since_revision,
                significance: summary.stale_significance(),
                stale: summary.stale_segment_ids,
                missing: summary.missing_segment_ids,
                orphaned: summary.orphaned_segment_ids,
            };
            assert_eq!(found, served.oracle.verdict(), "{told}");
        }
    }
}

/// The texts of a document and one of its translations, for a history.
fn history(documents: &[Document], number: usize) -> (&Document, &str) {
    let document = &documents[number / 16 % documents.len()];
    (document, document.translations.keys().nth(number % 16).unwrap())
}
