//! The same without a server, many times.

use std::collections::BTreeMap;

use article_store::domain::align::wanted_texts;
use article_store::domain::article::Significance as Level;
use article_store::domain::article::{ArticleId, Content, DraftContent, Manifest};
use article_store::domain::attach::{self, Attach, Decision, Material, TargetText};
use article_store::domain::departures::{Departures, Lookup, RevisionDelta};
use article_store::domain::draft::assign;
use article_store::domain::freshness::{Freshness as Found, Overall};
use article_store::domain::ids::{SegmentId, TranslationId};
use article_store::domain::language::Language;
use article_store::domain::provenance::{Actor, Agent, AgentKind, Provenance, Step};
use article_store::domain::review::{Acknowledgement, acknowledge};
use article_store::domain::segment::{DraftSegment, MarkedText};
use article_store::domain::translation::{Slot, State, TranslationVersion};
use article_store::domain::workflow::SelfReview;
use article_store::pb::{Freshness, Significance};

use super::{Event, Oracle, Verdict, documents, event, history};
use crate::harness::Random;

/// All pairs of a document and a language, three times.
const HISTORIES: usize = 3 * 123 * 16;
/// The part that is walked if nobody asks for all.
const PART: usize = 13;
const EVENTS: usize = 10;

/// An article and a translation of it, as the service would keep them.
struct Kept {
    contents: Vec<Content>,
    deltas: Vec<RevisionDelta>,
    next_segment: u32,
    slot: Option<Slot>,
    version: Option<TranslationVersion>,
}

impl Kept {
    fn manifest(&self, revision: u32) -> Manifest {
        self.contents[revision as usize - 1].manifest()
    }

    /// The ids of the newest revision's paragraphs.
    fn ids(&self) -> Vec<String> {
        let segments = self.contents.last().unwrap().segments();
        segments.map(|segment| segment.id.to_string()).collect()
    }

    /// Takes in texts, the headline first; says whether they made a revision.
    fn revise(&mut self, texts: &[String], significance: Option<Level>) -> bool {
        let segment = |text: &String| DraftSegment::paragraph(text.clone()).unwrap();
        let draft = DraftContent {
            title: segment(&texts[0]),
            lead: segment(&String::new()),
            body: texts[1..].iter().map(segment).collect(),
        };
        let newest = self.contents.last();
        let mut lookup = Lookup::before(self.contents.len() as u32);
        lookup.contents.insert(draft.content_hash());
        let departures = Departures::of(&self.deltas, &lookup);
        let base = match departures.contents.get(&draft.content_hash()) {
            _ if newest.is_some_and(|newest| newest.manifest().content_hash() == draft.content_hash()) => {
                newest
            }
            Some(revision) => self.contents.get(*revision as usize - 1),
            None => newest,
        };
        let base = base.map_or(&[][..], |content| &content.body);
        lookup.texts = wanted_texts(base, &draft.body);
        let departures = Departures::of(&self.deltas, &lookup);
        let assigned = assign(draft, base, &departures, self.next_segment).unwrap();
        if newest == Some(&assigned.content) {
            return false;
        }
        if let Some(newest) = newest {
            let revision = self.contents.len() as u32;
            let manifest = assigned.content.manifest();
            let delta = RevisionDelta::between(&newest.manifest(), &manifest, revision + 1, significance);
            self.deltas.push(delta);
        }
        self.next_segment = assigned.next_segment;
        self.contents.push(assigned.content);
        true
    }

    fn translate(&mut self, revision: u32, ids: &[SegmentId], words: &str) {
        let texts: Vec<_> = ids
            .iter()
            .map(|id| TargetText {
                content: MarkedText::new(format!("{id} {words}"), vec![]).unwrap(),
                sub_state: String::new(),
            })
            .collect();
        let material = Material::Texts(ids.iter().cloned().zip(&texts).collect());
        let (article, language) = (ArticleId::parse("a").unwrap(), Language::parse("fr").unwrap());
        let provenance = attach::provenance(person(), Actor::default(), revision, None);
        let attach = Attach {
            article: &article,
            language: &language,
            slot: self.slot.as_ref(),
            source_revision: revision,
            source: &self.manifest(revision),
            made_from: &BTreeMap::new(),
            material: &material,
            target: attach::Target::Active,
            state: State::Translated,
            self_review: SelfReview::Refused,
            overwrite_human: false,
            provenance: &provenance,
            scores: &[],
        };
        let plan = attach::plan(&attach).unwrap();
        let bases: Vec<_> = self.version.iter().collect();
        if let Decision::Write(written) = plan.write(&attach, &bases).unwrap() {
            self.slot = Some(written.slot);
            self.version = Some(written.version);
        }
    }

    fn acknowledge(&mut self, revision: u32) {
        let (Some(slot), Some(version)) = (&self.slot, &self.version) else {
            return;
        };
        let wish = Acknowledgement {
            segments: &[],
            source_revision: revision,
            source: &self.manifest(revision),
            provenance: &Provenance::of(Step::Acknowledged, person(), Actor::default()),
        };
        if let Some(revised) = acknowledge(slot, TranslationId(1), &wish).unwrap() {
            let (slot, version) = revised.write(slot, version);
            (self.slot, self.version) = (Some(slot), Some(version));
        }
    }

    fn found(&self) -> Verdict {
        let translation = self.slot.as_ref().unwrap().active().unwrap();
        let revision = self.contents.len() as u32;
        let found = Found::of_translation(translation, &self.manifest(revision));
        let mut lookup = Lookup::before(revision);
        found.ask(translation, &mut lookup);
        let since = found.stale_since(translation, revision, &Departures::of(&self.deltas, &lookup));
        let ids = |ids: &[SegmentId]| ids.iter().map(ToString::to_string).collect();
        Verdict {
            freshness: match found.overall {
                Overall::Current => Freshness::Current,
                Overall::Moved => Freshness::Moved,
                Overall::Orphaned => Freshness::Orphaned,
                Overall::Stale => Freshness::Stale,
                Overall::Incomplete => Freshness::Incomplete,
            },
            stale: ids(&found.stale),
            missing: ids(&found.missing),
            orphaned: ids(&found.orphaned),
            // What is not moved stands in order: of that the oracle counts the most that can.
            moved: found.moved.len(),
            current: found.current,
            stale_since: since.map_or(0, |since| since.revision),
            significance: match since.and_then(|since| since.significance) {
                None => Significance::Unspecified,
                Some(Level::Typo) => Significance::Typo,
                Some(Level::Minor) => Significance::Minor,
                Some(Level::Major) => Significance::Major,
                Some(Level::Correction) => Significance::Correction,
                Some(Level::Retraction) => Significance::Retraction,
            },
        }
    }
}

fn person() -> Agent {
    Agent {
        person: "NTREX".into(),
        ..Agent::of_kind(AgentKind::Human)
    }
}

fn level(significance: Significance) -> Option<Level> {
    match significance {
        Significance::Unspecified => None,
        Significance::Typo => Some(Level::Typo),
        Significance::Minor => Some(Level::Minor),
        Significance::Major => Some(Level::Major),
        Significance::Correction => Some(Level::Correction),
        Significance::Retraction => Some(Level::Retraction),
    }
}

/// Walks one history, and counts how often the translation was current after an event.
fn walk(documents: &[super::Document], others: &[String], number: usize) -> usize {
    let mut random = Random::new(number as u64);
    let (document, language) = history(documents, number);
    let translated = document.translations[language].len();
    assert_eq!(
        translated,
        document.segments.len(),
        "every segment has a translation"
    );
    let mut kept = Kept {
        contents: Vec::new(),
        deltas: Vec::new(),
        next_segment: 1,
        slot: None,
        version: None,
    };
    let mut oracle = Oracle::new();
    let mut past = vec![document.segments.clone()];
    assert!(kept.revise(&document.segments, None));
    assert_eq!(oracle.revise(&past[0], Significance::Unspecified), kept.ids());
    let all: Vec<_> = kept.manifest(1).0.into_iter().map(|entry| entry.id).collect();
    kept.translate(1, &all, language);
    oracle.write(1, &all.iter().map(ToString::to_string).collect::<Vec<_>>());
    let mut current = 0;
    for turn in 0..EVENTS {
        let event = event(&mut random, &past, others);
        let told = format!("history {number}, turn {turn}: {event:?}");
        let newest = kept.contents.len() as u32;
        match event {
            Event::Revise(texts, significance) => {
                if kept.revise(&texts, level(significance)) {
                    assert_eq!(oracle.revise(&texts, significance), kept.ids(), "{told}");
                    past.push(texts);
                }
            }
            Event::Translate(back) => {
                let revision = newest.saturating_sub(back as u32).max(1);
                let entries = kept.manifest(revision).0.into_iter();
                let some: Vec<_> = entries
                    .map(|entry| entry.id)
                    .filter(|_| random.below(2) == 0)
                    .collect();
                if !some.is_empty() {
                    kept.translate(revision, &some, &turn.to_string());
                    oracle.write(
                        revision,
                        &some.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    );
                }
            }
            Event::Acknowledge => {
                kept.acknowledge(newest);
                let ids: Vec<_> = oracle.targets.iter().map(|target| target.0.clone()).collect();
                oracle.write(newest, &ids);
            }
        }
        let found = kept.found();
        current += usize::from(found.freshness == Freshness::Current);
        assert_eq!(found, oracle.verdict(), "{told}");
    }
    current
}

#[test]
fn freshness_is_what_an_oracle_says_over_thousands_of_histories() {
    let Some(documents) = documents() else { return };
    let others: Vec<_> = documents
        .iter()
        .map(|document| document.segments[1].clone())
        .collect();
    let all = std::env::var("ARTICLE_STORE_TEST_ORACLE").is_ok_and(|part| part == "all");
    let step = if all { 1 } else { PART };
    let mut walked = 0;
    let mut current = 0;
    for number in (0..HISTORIES).step_by(step) {
        current += walk(&documents, &others, number);
        walked += 1;
    }
    println!(
        "{walked} histories, {} verdicts, {current} of them current",
        walked * EVENTS
    );
    assert!(walked >= if all { 5_000 } else { HISTORIES / PART });
    assert!(current * 20 > walked * EVENTS && current * 2 < walked * EVENTS);
}
