//! The rules of attaching, one by one and over random histories.

use proptest::prelude::*;

use super::*;
use crate::domain::Violation;
use crate::domain::article::ManifestEntry;
use crate::domain::ids::SegmentId;
use crate::domain::provenance::{AgentKind, OriginClass};
use crate::domain::segment::Role;
use crate::domain::selection::Decided;
use crate::domain::translation::SegmentOrigin;
use crate::domain::version::{Series, VersionKey};
use crate::domain::workflow::Obstacle;

fn text(text: &str) -> TargetText {
    TargetText {
        content: MarkedText::new(text.into(), Vec::new()).unwrap(),
        sub_state: String::new(),
    }
}

fn manifest(texts: &[&str]) -> Manifest {
    let entry = |(id, source): (SegmentId, &&str)| {
        let content = MarkedText::new((*source).into(), Vec::new()).unwrap();
        ManifestEntry {
            id,
            hash: TextHash::of_source(Role::Paragraph, &content),
            translate: *source != "123",
        }
    };
    let ids = std::iter::once(SegmentId::Title).chain((1..).map(SegmentId::Body));
    Manifest(ids.zip(texts).map(entry).collect())
}

fn agent(kind: AgentKind, engine: &str) -> Agent {
    Agent {
        engine: engine.into(),
        ..Agent::of_kind(kind)
    }
}

/// A slot with its versions, written to as the service does.
#[derive(Default)]
struct Shelf {
    slot: Option<Slot>,
    versions: BTreeMap<TranslationId, TranslationVersion>,
}

impl Shelf {
    fn attach(
        &mut self,
        agent: Agent,
        revision: u32,
        source: &Manifest,
        texts: &[(SegmentId, &str)],
        change: impl FnOnce(&mut Attach<'_>),
    ) -> Result<(TranslationId, Outcome), Refusal> {
        let owned: Vec<_> = texts.iter().map(|(id, t)| (id.clone(), text(t))).collect();
        let material = Material::Texts(owned.iter().map(|(id, t)| (id.clone(), t)).collect());
        let article = ArticleId::parse("a").unwrap();
        let language = Language::parse("fr").unwrap();
        let provenance = provenance(agent, Actor::default(), revision, None);
        let mut attach = Attach {
            article: &article,
            language: &language,
            slot: self.slot.as_ref(),
            source_revision: revision,
            source,
            made_from: &BTreeMap::new(),
            material: &material,
            target: Target::Active,
            state: State::Translated,
            self_review: SelfReview::Refused,
            overwrite_human: false,
            provenance: &provenance,
            scores: &[],
        };
        change(&mut attach);
        let plan = plan(&attach)?;
        let versions: Vec<_> = plan
            .needs(&attach)
            .map(|key| &self.versions[&id_of(&key)])
            .collect();
        match plan.write(&attach, &versions)? {
            Decision::Unchanged(id) => Ok((id, Outcome::Unchanged)),
            Decision::Write(written) => {
                let answer = (written.id, written.outcome);
                self.versions.insert(written.id, written.version);
                self.slot = Some(written.slot);
                Ok(answer)
            }
        }
    }

    fn texts(&self, id: TranslationId) -> Vec<(String, String)> {
        let version = &self.versions[&id];
        let ids = version.head.bindings.iter().map(|binding| binding.id.to_string());
        ids.zip(version.texts.iter().map(|text| text.text().to_owned()))
            .collect()
    }

    fn head(&self, id: TranslationId) -> &TranslationHead {
        self.slot.as_ref().unwrap().translation(id).unwrap()
    }
}

const T: SegmentId = SegmentId::Title;
const S1: SegmentId = SegmentId::Body(1);
const S2: SegmentId = SegmentId::Body(2);

#[test]
fn the_first_translation_is_served_and_the_same_machine_edits_it() {
    let source = manifest(&["t", "one", "two"]);
    let mut slot = Shelf::default();
    let all = [(T, "T"), (S1, "un"), (S2, "deux")];
    let mt = || agent(AgentKind::Mt, "e");
    assert_eq!(
        slot.attach(mt(), 1, &source, &all, |_| {}),
        Ok((TranslationId(1), Outcome::Created))
    );
    assert_eq!(slot.head(TranslationId(1)).disposition, Disposition::Active);
    assert_eq!(
        slot.attach(mt(), 1, &source, &all, |_| {}),
        Ok((TranslationId(1), Outcome::Unchanged))
    );
    let edit = slot.attach(mt(), 1, &source, &[(S2, "DEUX")], |_| {});
    assert_eq!(edit, Ok((TranslationId(1), Outcome::Changed)));
    assert_eq!(slot.texts(TranslationId(1))[2].1, "DEUX");
    assert_eq!(slot.versions[&TranslationId(1)].provenance.segments, [S2]);
    assert_eq!(slot.head(TranslationId(1)).etag.version, 2);
}

#[test]
fn a_machine_never_replaces_a_person_but_gets_one_candidate() {
    let source = manifest(&["t", "one", "two"]);
    let mut slot = Shelf::default();
    let person = agent(AgentKind::Human, "");
    slot.attach(person.clone(), 1, &source, &[(T, "T"), (S1, "un")], |_| {})
        .unwrap();
    // A segment that the person did not write is free.
    let mt = || agent(AgentKind::Mt, "e");
    assert_eq!(
        slot.attach(mt(), 1, &source, &[(S2, "deux")], |_| {}),
        Ok((TranslationId(1), Outcome::Changed))
    );
    // One that she wrote is not: the whole write goes to the candidate, with the rest copied.
    let diverted = slot.attach(mt(), 1, &source, &[(S1, "UN"), (S2, "DEUX")], |_| {});
    assert_eq!(diverted, Ok((TranslationId(2), Outcome::Diverted)));
    assert_eq!(slot.texts(TranslationId(1))[1].1, "un");
    let copied: Vec<_> = slot
        .texts(TranslationId(2))
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    assert_eq!(copied, ["T", "UN", "DEUX"]);
    assert_eq!(slot.head(TranslationId(2)).disposition, Disposition::Candidate);
    assert_eq!(slot.head(TranslationId(2)).bindings[0].writer, AgentKind::Human);
    // Again: the same candidate. Another engine: another one.
    let again = slot.attach(mt(), 1, &source, &[(S1, "Un")], |_| {});
    assert_eq!(again, Ok((TranslationId(2), Outcome::Diverted)));
    let other = slot.attach(agent(AgentKind::Llm, "m"), 1, &source, &[(S1, "uno")], |_| {});
    assert_eq!(other, Ok((TranslationId(3), Outcome::Diverted)));
    // Unless it is told to.
    let forced = slot.attach(mt(), 1, &source, &[(S1, "UN")], |attach| {
        attach.overwrite_human = true;
    });
    assert_eq!(forced, Ok((TranslationId(1), Outcome::Changed)));
    // A person may edit anything, and a machine's text that she changed is post-edited.
    slot.attach(person, 1, &source, &[(S1, "un!")], |_| {}).unwrap();
    assert_eq!(
        slot.head(TranslationId(1)).bindings[1].origin,
        SegmentOrigin::Postedited
    );
}

#[test]
fn a_write_at_a_revision_drops_targets_that_left_it_and_keeps_its_order() {
    let first = manifest(&["t", "one", "two"]);
    let mut slot = Shelf::default();
    let mt = || agent(AgentKind::Mt, "e");
    slot.attach(mt(), 1, &first, &[(T, "T"), (S1, "un"), (S2, "deux")], |_| {})
        .unwrap();
    let Manifest(mut entries) = manifest(&["t", "one", "TWO"]);
    entries.remove(1);
    slot.attach(mt(), 2, &Manifest(entries), &[(S2, "DEUX")], |_| {})
        .unwrap();
    let ids: Vec<_> = slot
        .texts(TranslationId(1))
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    assert_eq!(ids, ["title", "s2"]);
    let bindings = &slot.head(TranslationId(1)).bindings;
    assert_eq!((bindings[0].source_revision, bindings[1].source_revision), (1, 2));
}

#[test]
fn the_same_text_for_another_source_is_a_new_binding_and_keeps_its_origin() {
    let mut slot = Shelf::default();
    slot.attach(
        agent(AgentKind::Mt, "e"),
        1,
        &manifest(&["t", "one"]),
        &[(S1, "un")],
        |_| {},
    )
    .unwrap();
    let person = agent(AgentKind::Human, "");
    let source = manifest(&["t", "ONE"]);
    let confirmed = slot.attach(person, 2, &source, &[(S1, "un")], |_| {});
    assert_eq!(confirmed, Ok((TranslationId(1), Outcome::Changed)));
    let binding = &slot.head(TranslationId(1)).bindings[0];
    assert_eq!(binding.source_hash, source.0[1].hash);
    assert_eq!(
        (binding.origin, binding.writer),
        (SegmentOrigin::Machine, AgentKind::Human)
    );
}

fn person(name: &str) -> Agent {
    Agent {
        person: name.into(),
        ..Agent::of_kind(AgentKind::Human)
    }
}

#[test]
fn a_reviewer_may_attach_the_very_text_of_another_and_nothing_else() {
    let source = manifest(&["t", "one", "two"]);
    let mut slot = Shelf::default();
    let mt = || agent(AgentKind::Mt, "e");
    let as_reviewed = |attach: &mut Attach<'_>| attach.state = State::Reviewed;
    let own = |id, segments: &[SegmentId]| {
        let refusal = workflow::Refusal::Obstacle(id, Obstacle::OwnText, segments.to_vec());
        Err(Refusal::Step(refusal))
    };
    assert_eq!(
        slot.attach(mt(), 1, &source, &[(S1, "un")], as_reviewed),
        own(None, &[S1])
    );
    slot.attach(mt(), 1, &source, &[(T, "T"), (S1, "un"), (S2, "deux")], |_| {})
        .unwrap();
    // The author, sending it again; another one, changing one of two texts on the way.
    let id = Some(TranslationId(1));
    assert_eq!(
        slot.attach(mt(), 1, &source, &[(S1, "un")], as_reviewed),
        own(id, &[S1])
    );
    let mixed = [(S1, "un"), (S2, "DEUX")];
    assert_eq!(
        slot.attach(person("Leïla"), 1, &source, &mixed, as_reviewed),
        own(id, &[S2])
    );
    let reviewed = slot.attach(person("Leïla"), 1, &source, &[(S1, "un")], as_reviewed);
    assert_eq!(reviewed, Ok((TranslationId(1), Outcome::Changed)));
    let head = slot.head(TranslationId(1));
    assert_eq!(
        (head.state(), head.origin_class()),
        (State::Translated, OriginClass::Mixed)
    );
    let binding = &head.bindings[1];
    assert_eq!((binding.state, binding.reviewed), (State::Reviewed, true));
    assert_eq!(
        binding.author,
        Some(mt().identity()),
        "the text is still the machine's"
    );
    let provenance = &slot.versions[&TranslationId(1)].provenance;
    assert_eq!(
        (provenance.step, provenance.state),
        (Step::Attached, Some(State::Reviewed))
    );
    // Neither the same text again nor an edit beside it lowers it; an edit of it does.
    slot.attach(person("Omar"), 1, &source, &[(S1, "un"), (S2, "Deux")], |_| {})
        .unwrap();
    assert_eq!(slot.head(TranslationId(1)).bindings[1].state, State::Reviewed);
    slot.attach(person("Omar"), 1, &source, &[(S1, "Un")], |_| {})
        .unwrap();
    let binding = &slot.head(TranslationId(1)).bindings[1];
    assert_eq!(
        (binding.state, binding.reviewed, binding.origin),
        (State::Translated, false, SegmentOrigin::Postedited)
    );
}

#[test]
fn a_review_of_the_text_at_an_address_follows_the_same_rules() {
    let source = manifest(&["t", "one"]);
    let mut slot = Shelf::default();
    let attach = |slot: &mut Shelf, agent: Agent, state| {
        slot.attach(agent, 1, &source, &[], |attach| {
            attach.material = &Material::External("https://e.example/1");
            attach.state = state;
        })
    };
    let refusal = workflow::Refusal::Obstacle(None, Obstacle::OwnText, vec![]);
    assert_eq!(
        attach(&mut slot, person("Leïla"), State::Final),
        Err(Refusal::Step(refusal))
    );
    attach(&mut slot, agent(AgentKind::Mt, "e"), State::Initial).unwrap();
    assert_eq!(slot.head(TranslationId(1)).state(), State::Initial);
    attach(&mut slot, person("Leïla"), State::Final).unwrap();
    assert_eq!(slot.head(TranslationId(1)).state(), State::Final);
    // From then on no machine replaces it.
    let diverted = slot.attach(agent(AgentKind::Llm, "m"), 1, &source, &[(S1, "un")], |_| {});
    assert_eq!(diverted, Ok((TranslationId(2), Outcome::Diverted)));
}

#[test]
fn what_was_reviewed_in_a_machines_candidate_is_no_longer_its_own() {
    let source = manifest(&["t", "one", "two"]);
    let mut slot = Shelf::default();
    let mt = || agent(AgentKind::Mt, "e");
    slot.attach(
        person("Leïla"),
        1,
        &source,
        &[(T, "T"), (S1, "un"), (S2, "deux")],
        |_| {},
    )
    .unwrap();
    // Copies of her text may be replaced in the candidate, one after the other.
    for (text, words) in [(S1, "UN"), (S2, "DEUX"), (T, "t")] {
        let diverted = slot.attach(mt(), 1, &source, &[(text, words)], |_| {});
        assert_eq!(diverted, Ok((TranslationId(2), Outcome::Diverted)));
    }
    let reviewed = slot.attach(person("Leïla"), 1, &source, &[(S1, "UN")], |attach| {
        attach.target = Target::Existing(TranslationId(2));
        attach.state = State::Reviewed;
    });
    assert_eq!(reviewed, Ok((TranslationId(2), Outcome::Changed)));
    // She wrote there last, so it is hers; and where only the state moved, the review stands in the way.
    let mut heads = slot.slot.clone().unwrap();
    heads.translations[1].agent = mt();
    slot.slot = Some(heads);
    let next = slot.attach(mt(), 1, &source, &[(S1, "uno")], |_| {});
    assert_eq!(next, Ok((TranslationId(3), Outcome::Diverted)));
    let beside = slot.attach(mt(), 1, &source, &[(S2, "dos")], |_| {});
    assert_eq!(beside, Ok((TranslationId(2), Outcome::Diverted)));
}

#[test]
fn a_late_result_of_a_machine_drops_no_newer_text_of_a_person() {
    let old = manifest(&["t", "one"]);
    let new = manifest(&["t", "one", "two"]);
    let mut slot = Shelf::default();
    let mt = || agent(AgentKind::Mt, "e");
    slot.attach(mt(), 1, &old, &[(T, "T"), (S1, "un")], |_| {})
        .unwrap();
    slot.attach(person("Leïla"), 2, &new, &[(S2, "deux")], |_| {})
        .unwrap();
    let late = slot.attach(mt(), 1, &old, &[(S1, "UN")], |_| {});
    assert_eq!(late, Ok((TranslationId(2), Outcome::Diverted)));
    assert_eq!(slot.texts(TranslationId(1)).len(), 3);
    // What left the source for good goes with any write made since.
    let Manifest(mut entries) = new;
    entries.pop();
    let after = slot.attach(mt(), 3, &Manifest(entries), &[(S1, "UN")], |_| {});
    assert_eq!(after, Ok((TranslationId(1), Outcome::Changed)));
    assert_eq!(slot.texts(TranslationId(1)).len(), 2);
}

#[test]
fn a_closed_text_is_not_edited() {
    let source = manifest(&["t", "one"]);
    let person = || agent(AgentKind::Human, "");
    let edit = |attach: &mut Attach<'_>| attach.target = Target::Existing(TranslationId(1));
    for rejected in [false, true] {
        let mut slot = Shelf::default();
        slot.attach(person(), 1, &source, &[(S1, "un")], |_| {}).unwrap();
        let before = slot.slot.as_ref().unwrap();
        let dispose = |slot: &Slot| match rejected {
            true => slot.reject(TranslationId(1), Decided::default()),
            false => slot.detach(TranslationId(1), Decided::default()),
        };
        let (closed, selection) = dispose(before).unwrap().unwrap();
        let disposition = match rejected {
            true => Disposition::Rejected,
            false => Disposition::Withdrawn,
        };
        assert_eq!(selection.dispositions, [(TranslationId(1), disposition)]);
        assert_ne!(closed.etag, before.etag);
        assert_eq!(dispose(&closed), Ok(None));
        let refusal = workflow::Refusal::Closed(TranslationId(1), disposition);
        assert_eq!(
            closed.select(TranslationId(1), Decided::default()),
            Err(refusal.clone())
        );
        slot.slot = Some(closed);
        let refused = slot.attach(person(), 1, &source, &[(S1, "deux")], edit);
        assert_eq!(refused, Err(Refusal::Step(refusal)));
        // The next plain write makes a new one, which is served.
        let next = slot.attach(person(), 1, &source, &[(S1, "deux")], |_| {});
        assert_eq!(next, Ok((TranslationId(2), Outcome::Created)));
        assert_eq!(slot.slot.unwrap().active().unwrap().id, TranslationId(2));
    }
}

#[test]
fn texts_that_do_not_fit_are_named_one_by_one() {
    let source = manifest(&["t", "one", "123", "three"]);
    let texts = |body| TargetTexts {
        title: Some(text("T")),
        lead: Some(text("L")),
        body,
    };
    let in_order = |body: &[&str]| BodyTexts::InOrder(body.iter().map(|t| text(t)).collect());
    let fields = |violations: Vec<Violation>| violations.into_iter().map(|v| v.field).collect::<Vec<_>>();
    let sent = texts(in_order(&["un", "", ""]));
    assert_eq!(
        fields(fit(&sent, &source, 1).unwrap_err()),
        ["text.lead", "text.body[2].text"]
    );
    let sent = texts(in_order(&["un"]));
    let violations = fit(&sent, &source, 1).unwrap_err();
    assert!(
        violations[1]
            .description
            .contains("1 texts without segment_id do not fit the 3 body segments")
    );
    assert!(violations[1].description.contains("s1, s2, s3"), "{violations:?}");
    let by_id = vec![
        (S1, text("un")),
        (SegmentId::Body(9), text("x")),
        (S1, text("UN")),
        (S2, text(" ")),
    ];
    let sent = TargetTexts {
        lead: None,
        ..texts(BodyTexts::ById(by_id))
    };
    let expected = [
        "text.body[1].segment_id",
        "text.body[2].segment_id",
        "text.body[3].text",
    ];
    assert_eq!(fields(fit(&sent, &source, 1).unwrap_err()), expected);
    let sent = TargetTexts {
        title: None,
        lead: None,
        body: in_order(&[]),
    };
    assert_eq!(fields(fit(&sent, &source, 1).unwrap_err()), ["text"]);
}

#[test]
fn a_slot_has_a_limit() {
    let source = manifest(&["t", "one"]);
    let mut slot = Shelf::default();
    let another = |attach: &mut Attach<'_>| attach.target = Target::NewCandidate;
    for _ in 0..MAX_CANDIDATES {
        slot.attach(agent(AgentKind::Mt, "e"), 1, &source, &[(S1, "un")], another)
            .unwrap();
    }
    let refused = slot.attach(agent(AgentKind::Mt, "e"), 1, &source, &[(S1, "un")], another);
    assert_eq!(refused, Err(Refusal::TooManyCandidates));
}

proptest! {
    /// Whatever machines write, unless told so: a segment that a person wrote last keeps its text where she wrote it.
    #[test]
    fn no_history_of_writes_lets_a_machine_replace_a_person(
        writes in proptest::collection::vec((any::<bool>(), 0u32..3, 0u32..4, 1u32..3), 1..24),
    ) {
        let sources = [manifest(&["t", "one", "two", "three"]), manifest(&["t", "one", "TWO", "three"])];
        let mut slot = Shelf::default();
        for (human, engine, segment, revision) in writes {
            let kind = if human { AgentKind::Human } else { AgentKind::Mt };
            let id = if segment == 0 { T } else { SegmentId::Body(segment) };
            let source = &sources[revision as usize - 1];
            let before = slot.slot.clone();
            let words = format!("{human}{engine}{segment}{revision}");
            slot.attach(agent(kind, &engine.to_string()), revision, source, &[(id.clone(), &words)], |_| {}).unwrap();
            let after = slot.slot.as_ref().unwrap();
            prop_assert!(after.translations.iter().filter(|t| t.disposition == Disposition::Active).count() == 1);
            let Some(before) = before.filter(|_| !human) else { continue };
            let active = before.active().unwrap();
            for old in active.bindings.iter().filter(|binding| binding.writer == AgentKind::Human) {
                let now = after.translation(active.id).unwrap().bindings.iter().find(|b| b.id == old.id).unwrap();
                prop_assert_eq!(now, old);
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
