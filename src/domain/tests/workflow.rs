//! Random histories of a slot beside its source: whatever persons and machines do, each axis is written by its own steps
//! only, and nothing of a person's is lost to a machine.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Article, Edit, edit};
use crate::domain::article::{ArticleId, Manifest};
use crate::domain::attach::{self, Attach, Material, Target, TargetText};
use crate::domain::freshness::Freshness;
use crate::domain::ids::{SegmentId, TranslationId};
use crate::domain::language::Language;
use crate::domain::provenance::{Actor, Agent, AgentKind, Provenance, Step as Taken};
use crate::domain::review::{Acknowledgement, Review, acknowledge, review};
use crate::domain::segment::MarkedText;
use crate::domain::selection::Decided;
use crate::domain::translation::{
    Binding, Disposition, Selection, Slot, State, TranslationHead, TranslationVersion,
};
use crate::domain::version::{Series, VersionKey};
use crate::domain::workflow::SelfReview;

#[derive(Debug, Clone)]
enum Step {
    Revise(Vec<Edit>),
    Attach {
        agent: usize,
        /// How many revisions back the text was made from.
        back: usize,
        /// Which translation is meant: none, one by number, or a new one.
        target: usize,
        /// Bits: which segments are sent.
        segments: u32,
        words: usize,
        state: usize,
    },
    Address {
        agent: usize,
        uri: usize,
        state: usize,
    },
    Review {
        agent: usize,
        target: usize,
        segments: u32,
        to: usize,
        explained: bool,
    },
    Acknowledge {
        agent: usize,
        target: usize,
        back: usize,
    },
    Select(usize),
    Reject(usize),
    Detach(usize),
}

const STATES: [State; 4] = [State::Initial, State::Translated, State::Reviewed, State::Final];

fn step() -> impl Strategy<Value = Step> {
    let agent = 0usize..4;
    let target = 0usize..6;
    let segments = any::<u32>();
    // Mostly plain writes of the newest revision.
    let back = prop_oneof![3 => Just(0usize), 1 => 1usize..4];
    let state = prop_oneof![4 => Just(1usize), 1 => 0usize..4];
    prop_oneof![
        6 => prop::collection::vec(edit(), 1..3).prop_map(Step::Revise),
        8 => (agent.clone(), back.clone(), target.clone(), segments, 0usize..3, state.clone()).prop_map(
            |(agent, back, target, segments, words, state)| Step::Attach { agent, back, target, segments, words, state }
        ),
        1 => (agent.clone(), 0usize..2, state).prop_map(|(agent, uri, state)| Step::Address { agent, uri, state }),
        5 => (agent.clone(), target.clone(), prop_oneof![Just(0u32), segments], 0usize..4, any::<bool>()).prop_map(
            |(agent, target, segments, to, explained)| Step::Review { agent, target, segments, to, explained }
        ),
        3 => (agent, target.clone(), back)
            .prop_map(|(agent, target, back)| Step::Acknowledge { agent, target, back }),
        2 => target.clone().prop_map(Step::Select),
        1 => target.clone().prop_map(Step::Reject),
        1 => target.prop_map(Step::Detach),
    ]
}

fn agents() -> [Agent; 4] {
    let person = |name: &str| Agent {
        person: name.into(),
        ..Agent::of_kind(AgentKind::Human)
    };
    let machine = |kind, engine: &str| Agent {
        engine: engine.into(),
        ..Agent::of_kind(kind)
    };
    [
        person("Leïla"),
        person("Omar"),
        machine(AgentKind::Mt, "e"),
        machine(AgentKind::Llm, "m"),
    ]
}

/// What is stored of a slot.
#[derive(Clone, Default)]
struct Stored {
    slot: Option<Slot>,
    versions: BTreeMap<TranslationId, Vec<TranslationVersion>>,
    selections: Vec<Selection>,
}

impl Stored {
    fn translations(&self) -> &[TranslationHead] {
        self.slot.as_ref().map_or(&[], |slot| &slot.translations)
    }

    fn id(&self, target: usize) -> TranslationId {
        TranslationId((target % (self.translations().len() + 1)) as u32 + 1)
    }

    fn newest(&self, id: TranslationId) -> &TranslationVersion {
        self.versions[&id].last().unwrap()
    }

    fn put(&mut self, slot: Slot, version: Option<TranslationVersion>, selection: Option<Selection>) {
        self.slot = Some(slot);
        if let Some(version) = version {
            self.versions.entry(version.head.id).or_default().push(version);
        }
        self.selections.extend(selection);
    }

    fn records(&self) -> usize {
        let versions: usize = self.versions.values().map(Vec::len).sum();
        let chosen = self
            .selections
            .iter()
            .filter(|selection| selection.choice.step != Taken::Attached);
        versions + chosen.count()
    }

    fn attach(
        &mut self,
        source: (&Manifest, u32),
        agent: &Agent,
        (target, state): (usize, State),
        material: &Material<'_>,
    ) -> bool {
        let article = ArticleId::parse("a").unwrap();
        let language = Language::parse("fr").unwrap();
        let provenance = attach::provenance(agent.clone(), Actor::default(), source.1, None);
        let attach = Attach {
            article: &article,
            language: &language,
            slot: self.slot.as_ref(),
            source_revision: source.1,
            source: source.0,
            made_from: &BTreeMap::new(),
            material,
            target: match target {
                0..3 => Target::Active,
                3 => Target::NewCandidate,
                target => Target::Existing(self.id(target)),
            },
            state,
            self_review: SelfReview::Refused,
            overwrite_human: false,
            provenance: &provenance,
            scores: &[],
        };
        let Ok(plan) = attach::plan(&attach) else {
            return false;
        };
        let versions: Vec<_> = plan.needs(&attach).map(|key| self.newest(id_of(&key))).collect();
        match plan.write(&attach, &versions) {
            Ok(attach::Decision::Write(written)) => {
                self.put(written.slot, Some(written.version), written.selection);
                true
            }
            _ => false,
        }
    }

    /// Takes a step, and says whether anything was written.
    fn take(&mut self, article: &Article, step: &Step) -> bool {
        let newest = article.manifests.len();
        let revision = |back: usize| newest.saturating_sub(back).max(1);
        let source = |revision: usize| (&article.manifests[revision - 1], revision as u32);
        match *step {
            Step::Revise(_) => unreachable!("the article takes it"),
            Step::Attach {
                agent,
                back,
                target,
                segments,
                words,
                state,
            } => {
                let source = source(revision(back));
                let texts: BTreeMap<SegmentId, TargetText> = chosen(source.0, segments)
                    .map(|id| {
                        let content = MarkedText::new(format!("{id} {words}"), vec![]).unwrap();
                        let sub_state = String::new();
                        (id, TargetText { content, sub_state })
                    })
                    .collect();
                let fitted = texts.iter().map(|(id, text)| (id.clone(), text)).collect();
                let material = Material::Texts(fitted);
                !texts.is_empty() && self.attach(source, &agents()[agent], (target, STATES[state]), &material)
            }
            Step::Address { agent, uri, state } => {
                let uri = format!("https://example.com/{uri}");
                let material = Material::External(&uri);
                self.attach(source(newest), &agents()[agent], (3, STATES[state]), &material)
            }
            Step::Review {
                agent,
                target,
                segments,
                to,
                explained,
            } => {
                let Some(slot) = self.slot.clone() else {
                    return false;
                };
                let mut provenance =
                    Provenance::of(Taken::Reviewed, agents()[agent].clone(), Actor::default());
                provenance.reason = if explained {
                    "because".into()
                } else {
                    String::new()
                };
                let id = self.id(target);
                let named: Vec<_> = match slot.translation(id) {
                    Some(head) if segments > 0 => {
                        let ids = head.bindings.iter().map(|binding| binding.id.clone());
                        ids.enumerate()
                            .filter(|(i, _)| segments >> (i % 32) & 1 == 1)
                            .map(|(_, id)| id)
                            .collect()
                    }
                    _ => vec![],
                };
                let wish = Review {
                    segments: &named,
                    to: STATES[to],
                    self_review: SelfReview::Refused,
                    provenance: &provenance,
                };
                let Ok(Some(revised)) = review(&slot, id, &wish) else {
                    return false;
                };
                let (slot, version) = revised.write(&slot, self.newest(id));
                self.put(slot, Some(version), None);
                true
            }
            Step::Acknowledge { agent, target, back } => {
                let Some(slot) = self.slot.clone() else {
                    return false;
                };
                let provenance =
                    Provenance::of(Taken::Acknowledged, agents()[agent].clone(), Actor::default());
                let (manifest, source_revision) = source(revision(back));
                let id = self.id(target);
                let wish = Acknowledgement {
                    segments: &[],
                    source_revision,
                    source: manifest,
                    provenance: &provenance,
                };
                let Ok(Some(revised)) = acknowledge(&slot, id, &wish) else {
                    return false;
                };
                let (slot, version) = revised.write(&slot, self.newest(id));
                self.put(slot, Some(version), None);
                true
            }
            Step::Select(target) | Step::Reject(target) | Step::Detach(target) => {
                let Some(slot) = &self.slot else { return false };
                let (id, decided) = (self.id(target), Decided::default());
                let disposed = match step {
                    Step::Select(_) => slot.select(id, decided),
                    Step::Reject(_) => slot.reject(id, decided),
                    _ => slot.detach(id, decided),
                };
                let Ok(Some((slot, selection))) = disposed else {
                    return false;
                };
                self.put(slot, None, Some(selection));
                true
            }
        }
    }
}

fn chosen(manifest: &Manifest, bits: u32) -> impl Iterator<Item = SegmentId> {
    let entries = manifest.0.iter().enumerate();
    entries
        .filter(move |(index, _)| bits >> (index % 32) & 1 == 1)
        .map(|(_, entry)| entry.id.clone())
}

/// The three axes of a translation and its texts.
fn dispositions(stored: &Stored) -> Vec<Disposition> {
    stored.translations().iter().map(|t| t.disposition).collect()
}

fn states(head: &TranslationHead) -> Vec<(SegmentId, State)> {
    let of = |binding: &Binding| (binding.id.clone(), binding.state);
    let external = head
        .is_address()
        .then_some((SegmentId::Title, head.external_state));
    head.bindings.iter().map(of).chain(external).collect()
}

fn texts(stored: &Stored, id: TranslationId) -> Vec<(SegmentId, MarkedText)> {
    let version = stored.newest(id);
    assert_eq!(version.head.bindings.len(), version.texts.len());
    let ids = version.head.bindings.iter().map(|binding| binding.id.clone());
    ids.zip(version.texts.iter().cloned()).collect()
}

fn sources(head: &TranslationHead) -> (Vec<Binding>, crate::domain::segment::TextHash) {
    let of = |binding: &Binding| Binding {
        state: State::Initial,
        reviewed: false,
        copied: false,
        ..binding.clone()
    };
    (head.bindings.iter().map(of).collect(), head.source_content_hash)
}

/// What one step may have done to what was there before it.
fn check(article: &Article, step: &Step, before: &Stored, after: &Stored, wrote: bool) {
    let (old, new) = (dispositions(before), dispositions(after));
    let active = new.iter().filter(|d| **d == Disposition::Active);
    assert!(active.count() <= 1, "{new:?}");
    let records = before.records() + usize::from(wrote);
    assert_eq!(
        after.records(),
        records,
        "one record for every write, and none is lost"
    );
    for (id, versions) in &before.versions {
        assert_eq!(&after.versions[id][..versions.len()], versions);
    }
    if !wrote {
        assert_eq!((after.slot.as_ref(), old), (before.slot.as_ref(), new));
        return;
    }
    let by = match step {
        Step::Attach { agent, .. } | Step::Address { agent, .. } | Step::Review { agent, .. } => *agent,
        Step::Acknowledge { agent, .. } => *agent,
        _ => 0,
    };
    if !matches!(step, Step::Select(_) | Step::Reject(_) | Step::Detach(_)) {
        assert_eq!(
            new[..old.len()],
            old,
            "only decisions on what is served change it"
        );
    }
    for (head, then) in before.translations().iter().zip(after.translations()) {
        let changed = head.etag != then.etag;
        assert_eq!(changed, head.version != then.version);
        match step {
            Step::Review { .. } => {
                assert_eq!(texts(before, head.id), texts(after, head.id));
                assert_eq!(sources(head), sources(then), "a review moves states only");
                assert_eq!(head.agent, then.agent);
            }
            Step::Acknowledge { .. } => {
                let kept: Vec<_> = states(head)
                    .into_iter()
                    .filter(|(id, _)| then.is_address() || then.bindings.iter().any(|b| b.id == *id))
                    .collect();
                let mut now = states(then);
                now.sort();
                let mut kept_sorted = kept;
                kept_sorted.sort();
                assert_eq!(now, kept_sorted);
                let old: BTreeMap<_, _> = texts(before, head.id).into_iter().collect();
                assert!(texts(after, head.id).iter().all(|(id, text)| old[id] == *text));
            }
            Step::Select(_) | Step::Reject(_) | Step::Detach(_) => {
                let disposition = then.disposition;
                assert_eq!(
                    *then,
                    TranslationHead {
                        disposition,
                        ..head.clone()
                    }
                );
            }
            _ => {}
        }
        check_four_eyes(&agents()[by], before, then);
        if agents()[by].kind.is_machine() {
            check_protected(article, step, head, then);
        }
    }
}

/// Nobody brings a text above `Translated` that stood nowhere in the slot as another's.
fn check_four_eyes(agent: &Agent, before: &Stored, then: &TranslationHead) {
    let bindings = || before.translations().iter().flat_map(|head| &head.bindings);
    for now in then.bindings.iter().filter(|b| b.state >= State::Reviewed) {
        let mut same = bindings().filter(|old| old.id == now.id && old.target_hash == now.target_hash);
        let another = |old: &Binding| old.author != Some(agent.identity());
        assert!(
            same.any(|old| old.state >= State::Reviewed || another(old)),
            "{now:?}"
        );
    }
}

/// What a person wrote or somebody reviewed, and is no mere copy, stands as it stood.
fn check_protected(article: &Article, step: &Step, head: &TranslationHead, then: &TranslationHead) {
    let made_at = match step {
        Step::Attach { back, .. } | Step::Acknowledge { back, .. } => {
            article.manifests.len().saturating_sub(*back).max(1)
        }
        _ => article.manifests.len(),
    };
    for binding in head
        .bindings
        .iter()
        .filter(|b| !b.copied && b.standing().is_protected())
    {
        match then.bindings.iter().find(|b| b.id == binding.id) {
            Some(now) => {
                assert_eq!(
                    (now.target_hash, now.source_hash, now.writer),
                    (binding.target_hash, binding.source_hash, binding.writer),
                    "{step:?}"
                );
                assert!(now.state >= binding.state || binding.state < State::Reviewed);
            }
            None => {
                let gone = article.manifests[made_at - 1]
                    .0
                    .iter()
                    .all(|e| e.id != binding.id);
                assert!(gone && binding.source_revision as usize <= made_at, "{step:?}");
            }
        }
    }
    if head.is_address() && head.external_standing().is_protected() {
        assert_eq!(head.external_uri, then.external_uri);
        assert_eq!(head.source_content_hash, then.source_content_hash);
    }
}

proptest! {
    #[test]
    fn every_axis_is_written_by_its_own_steps(steps in prop::collection::vec(step(), 1..40)) {
        let mut article = Article::new();
        article.revise(&[Edit::Rewrite(0)]);
        let mut stored = Stored::default();
        for step in &steps {
            let Step::Revise(edits) = step else {
                let before = stored.clone();
                let wrote = stored.take(&article, step);
                check(&article, step, &before, &stored, wrote);
                continue;
            };
            let revisions = article.manifests.len();
            article.revise(edits);
            let head = article.manifests.last().unwrap();
            for translation in stored.translations() {
                // A source that says again what it said before is as it was.
                let now = Freshness::of_translation(translation, head);
                for then in article.manifests[..revisions].iter().filter(|m| m.content_hash() == head.content_hash()) {
                    prop_assert_eq!(&now, &Freshness::of_translation(translation, then));
                }
            }
        }
    }
}

/// The translation that a version is one of.
fn id_of(version: &VersionKey) -> TranslationId {
    match version.series {
        Series::Translation(_, id) => id,
        _ => panic!("{version} is of no translation"),
    }
}
