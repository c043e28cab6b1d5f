//! Random histories of an article against the rules written down naively: whatever happens to the text, ids stay true
//! to their lineage, and freshness says what a look at all revisions would say.

use std::collections::HashSet;

use proptest::prelude::*;

use super::align::{Aligned, Refusal, align, wanted_texts};
use super::article::{Content, DraftContent, Manifest, Significance};
use super::departures::{Departures, Lookup, RevisionDelta};
use super::etag::Etag;
use super::freshness::{Freshness, Overall, StaleSince};
use super::ids::{SegmentId, TranslationId};
use super::provenance::{Agent, AgentKind};
use super::segment::{DraftSegment, MarkedText, Segment, TextHash};
use super::time::Stamp;
use super::translation::{Binding, Disposition, SegmentOrigin, State, TranslationHead};
use super::version::Version;

mod cases;
pub(super) mod naive;
mod workflow;
use naive::{naive_align, naive_dice};

/// Paragraphs: variants of one base are similar, different bases are not.
fn text(base: usize, variant: usize) -> String {
    let base = [
        "أعلنت وزارة الداخلية اليوم عن نتائج الانتخابات البلدية في تونس",
        "فاز المنتخب الوطني على ضيفه بهدفين دون رد في مباراة ودية",
        "The central bank left its key rate unchanged on Tuesday",
        "***",
    ][base % 4];
    match variant % 3 {
        0 => base.to_owned(),
        1 => format!("{base} وفق بيان"),
        _ => format!("قال {base}"),
    }
}

fn draft(text: &str) -> DraftSegment {
    DraftSegment::paragraph(text.to_owned()).unwrap()
}

#[derive(Debug, Clone)]
enum Edit {
    Insert(usize, usize, usize),
    Vary(usize, usize),
    Delete(usize),
    Move(usize, usize),
    Revert(usize),
    /// Puts a paragraph of an earlier revision back.
    Restore(usize, usize, usize),
    Rewrite(usize),
    Title(usize),
    /// Turns translation of a paragraph on or off.
    Flag(usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let n = 0usize..40;
    prop_oneof![
        3 => (n.clone(), n.clone(), n.clone()).prop_map(|(at, base, variant)| Edit::Insert(at, base, variant)),
        3 => (n.clone(), n.clone()).prop_map(|(at, variant)| Edit::Vary(at, variant)),
        2 => n.clone().prop_map(Edit::Delete),
        2 => (n.clone(), n.clone()).prop_map(|(from, to)| Edit::Move(from, to)),
        2 => n.clone().prop_map(Edit::Revert),
        2 => (n.clone(), n.clone(), n.clone()).prop_map(|(at, revision, index)| Edit::Restore(at, revision, index)),
        1 => n.clone().prop_map(Edit::Rewrite),
        1 => n.clone().prop_map(Edit::Title),
        1 => n.prop_map(Edit::Flag),
    ]
}

fn edits() -> impl Strategy<Value = Vec<Vec<Edit>>> {
    prop::collection::vec(prop::collection::vec(edit(), 1..4), 1..14)
}

fn apply(edit: &Edit, content: &mut DraftContent, earlier: &[DraftContent]) {
    let body = &mut content.body;
    let length = body.len();
    match *edit {
        Edit::Insert(at, base, variant) => body.insert(at % (length + 1), draft(&text(base, variant))),
        Edit::Title(variant) => content.title = draft(&text(0, variant)),
        Edit::Revert(revision) => *content = earlier[revision % earlier.len()].clone(),
        Edit::Restore(at, revision, index) => {
            let old = &earlier[revision % earlier.len()].body;
            if !old.is_empty() {
                body.insert(at % (length + 1), old[index % old.len()].clone());
            }
        }
        Edit::Rewrite(base) => *body = (0..3).map(|i| draft(&text(base + i, base / 4 + i))).collect(),
        _ if length == 0 => {}
        Edit::Vary(at, variant) => {
            let segment = &mut body[at % length];
            let base = (0..4)
                .find(|base| segment.content.text().contains(&text(*base, 0)))
                .unwrap();
            segment.content = MarkedText::new(text(base, variant), vec![]).unwrap();
        }
        Edit::Delete(at) => drop(body.remove(at % length)),
        Edit::Move(from, to) => {
            let segment = body.remove(from % length);
            body.insert(to % length, segment);
        }
        Edit::Flag(at) => body[at % length].translate ^= true,
    }
}

/// An article as the service keeps it, and all its past at hand.
struct Article {
    drafts: Vec<DraftContent>,
    bodies: Vec<Vec<Segment>>,
    manifests: Vec<Manifest>,
    significance: Vec<Option<Significance>>,
    deltas: Vec<RevisionDelta>,
    next: u32,
}

impl Article {
    fn new() -> Self {
        let mut lead = draft("");
        lead.translate = false;
        let empty = DraftContent {
            title: draft(&text(0, 0)),
            lead,
            body: vec![],
        };
        let mut article = Self {
            drafts: vec![],
            bodies: vec![],
            manifests: vec![],
            significance: vec![],
            deltas: vec![],
            next: 1,
        };
        article.push(empty, vec![], None);
        article
    }

    fn revise(&mut self, edits: &[Edit]) {
        let mut content = self.drafts.last().unwrap().clone();
        for edit in edits {
            apply(edit, &mut content, &self.drafts);
        }
        let head = self.bodies.last().unwrap();
        let same = self.align(head, &self.drafts.last().unwrap().body);
        assert_eq!((&same.body, same.next_segment), (head, self.next));
        if &content == self.drafts.last().unwrap() {
            return;
        }

        let hash = content.content_hash();
        let with_content = Lookup {
            contents: [hash].into(),
            ..self.before_the_newest()
        };
        let base = match self.departures(&with_content).contents.get(&hash) {
            Some(revision) => &self.bodies[*revision as usize - 1],
            None => head,
        };
        let aligned = self.align(base, &content.body);
        let ids: Vec<_> = aligned.body.iter().map(|s| s.id.clone()).collect();
        assert_eq!(ids, naive_align(base, &self.bodies, self.next, &content.body));
        self.check_lineage(base, &aligned.body);
        assert!(ids.iter().all(|id| *id < SegmentId::Body(aligned.next_segment)));
        self.next = aligned.next_segment;
        let levels = [Significance::Typo, Significance::Minor, Significance::Major];
        let significance = levels.get(content.body.len() % 4).copied();
        self.push(content, aligned.body, significance);
        assert_eq!(self.manifests.last().unwrap().content_hash(), hash);
    }

    fn push(&mut self, content: DraftContent, body: Vec<Segment>, significance: Option<Significance>) {
        let manifest = Content {
            title: content.title.clone().with_id(SegmentId::Title),
            lead: content.lead.clone().with_id(SegmentId::Lead),
            body: body.clone(),
        }
        .manifest();
        if let Some(old) = self.manifests.last() {
            let revision = self.manifests.len() as u32;
            let delta = RevisionDelta::between(old, &manifest, revision + 1, significance);
            self.deltas.push(delta);
        }
        self.drafts.push(content);
        self.bodies.push(body);
        self.manifests.push(manifest);
        self.significance.push(significance);
    }

    fn before_the_newest(&self) -> Lookup {
        Lookup::before(self.manifests.len() as u32)
    }

    fn departures(&self, lookup: &Lookup) -> Departures {
        Departures::of(&self.deltas, lookup)
    }

    /// With no more than the rules need to know of earlier revisions.
    fn align(&self, base: &[Segment], body: &[DraftSegment]) -> Aligned {
        let wanted = Lookup {
            texts: wanted_texts(base, body),
            ..self.before_the_newest()
        };
        align(base, &self.departures(&wanted), self.next, body.to_vec()).unwrap()
    }

    /// An id is once in a body, and stands for a text that it had before, for a new one, or for an edit of the old.
    fn check_lineage(&self, base: &[Segment], body: &[Segment]) {
        let mut seen = HashSet::new();
        for segment in body {
            assert!(seen.insert(&segment.id), "{} is there twice", segment.id);
            let had = self
                .bodies
                .iter()
                .flatten()
                .any(|s| s.id == segment.id && s.source_hash() == segment.source_hash());
            let edited = base
                .iter()
                .any(|s| s.id == segment.id && naive_dice(s.content.text(), segment.content.text()) >= 0.6);
            assert!(
                had || edited || segment.id >= SegmentId::Body(self.next),
                "{segment:?}"
            );
        }
    }

    /// A translation made at a revision, of the segments that `skip` leaves.
    fn translation(&self, revision: u32, skip: usize) -> TranslationHead {
        let bindings = self.manifests[revision as usize - 1]
            .0
            .iter()
            .enumerate()
            .filter(|(index, _)| index + 1 != skip)
            .map(|(_, entry)| binding(&entry.id, revision, entry.hash))
            .collect();
        TranslationHead {
            bindings,
            ..address(revision, self.manifests[revision as usize - 1].content_hash(), "")
        }
    }
}

fn binding(id: &SegmentId, source_revision: u32, source_hash: TextHash) -> Binding {
    Binding {
        id: id.clone(),
        source_revision,
        source_hash,
        translate: true,
        target_hash: TextHash([0; 16]),
        state: State::Translated,
        sub_state: String::new(),
        writer: AgentKind::Human,
        author: None,
        origin: SegmentOrigin::Human,
        reviewed: false,
        copied: false,
    }
}

fn address(source_revision: u32, source_content_hash: TextHash, uri: &str) -> TranslationHead {
    TranslationHead {
        id: TranslationId(1),
        etag: Etag::of(1, &0),
        disposition: Disposition::Active,
        agent: Agent::of_kind(AgentKind::Human),
        source_revision,
        source_content_hash,
        external_uri: uri.to_owned(),
        external_state: State::Translated,
        external_reviewed: false,
        bindings: vec![],
        scored: false,
        created: Stamp::PENDING,
        updated: Stamp::PENDING,
        version: Version::FIRST,
    }
}

fn hash_at(manifest: &Manifest, id: &SegmentId) -> Option<TextHash> {
    manifest.0.iter().find(|e| e.id == *id).map(|e| e.hash)
}

/// Every segment by itself, as the rules say; `moved` is checked by what it must achieve.
fn check_freshness(bindings: &[Binding], source: &Manifest) -> Freshness {
    let freshness = Freshness::of(bindings, source);
    let target = |id: &SegmentId| bindings.iter().find(|b| b.id == *id);
    let (mut current, mut stale, mut missing, mut placed) = (0, vec![], vec![], vec![]);
    for entry in &source.0 {
        match target(&entry.id) {
            _ if !entry.translate => current += 1,
            None => missing.push(entry.id.clone()),
            Some(binding) if binding.source_hash == entry.hash => {
                current += 1;
                placed.push(bindings.iter().position(|b| b.id == entry.id).unwrap());
            }
            Some(_) => stale.push(entry.id.clone()),
        }
    }
    let orphaned: Vec<_> = bindings
        .iter()
        .map(|b| b.id.clone())
        .filter(|id| hash_at(source, id).is_none())
        .collect();

    let mut longest = vec![0; placed.len()];
    for i in 0..placed.len() {
        let before = (0..i)
            .filter(|j| placed[*j] < placed[i])
            .map(|j| longest[j])
            .max();
        longest[i] = before.unwrap_or(0) + 1;
    }
    let in_order = longest.iter().max().copied().unwrap_or(0);
    assert_eq!(freshness.moved.len(), placed.len() - in_order);
    placed.retain(|place| !freshness.moved.contains(&bindings[*place].id));
    assert!(placed.is_sorted());
    assert_eq!(placed.len(), in_order);

    let overall = if !missing.is_empty() {
        Overall::Incomplete
    } else if !stale.is_empty() {
        Overall::Stale
    } else if !orphaned.is_empty() {
        Overall::Orphaned
    } else if !freshness.moved.is_empty() {
        Overall::Moved
    } else {
        Overall::Current
    };
    let moved = freshness.moved.clone();
    let expected = Freshness {
        overall,
        current,
        stale,
        missing,
        orphaned,
        moved,
    };
    assert_eq!(freshness, expected);
    freshness
}

impl Article {
    /// Looks at all revisions up to this one.
    fn naive_since(&self, last_true: Option<usize>, revision: usize) -> Option<StaleSince> {
        let since = last_true? + 1;
        Some(StaleSince {
            revision: since as u32,
            significance: self.significance[since - 1..revision]
                .iter()
                .copied()
                .flatten()
                .max(),
        })
    }

    /// With no more than the rule needs to know of earlier revisions.
    fn stale_since(&self, freshness: &Freshness, of: &TranslationHead, revision: u32) -> Option<StaleSince> {
        let mut lookup = Lookup::before(revision);
        freshness.ask(of, &mut lookup);
        freshness.stale_since(of, revision, &self.departures(&lookup))
    }

    fn check_translation(&self, translation: &TranslationHead, revision: usize) {
        let source = &self.manifests[revision - 1];
        let freshness = check_freshness(&translation.bindings, source);
        assert_eq!(Freshness::of_translation(translation, source), freshness);
        let last_true = freshness
            .stale
            .iter()
            .filter_map(|id| {
                let binding = translation.bindings.iter().find(|b| b.id == *id)?;
                (1..=revision)
                    .rev()
                    .find(|r| hash_at(&self.manifests[r - 1], id) == Some(binding.source_hash))
            })
            .min();
        assert_eq!(
            self.stale_since(&freshness, translation, revision as u32),
            self.naive_since(last_true, revision)
        );
    }

    fn check_address(&self, made: usize, revision: usize) {
        let hash = |r: usize| self.manifests[r - 1].content_hash();
        let translation = address(made as u32, hash(made), "https://example.com/fr/1");
        let source = &self.manifests[revision - 1];
        let freshness = Freshness::of_translation(&translation, source);
        let current = self.drafts[made - 1] == self.drafts[revision - 1];
        let overall = if current { Overall::Current } else { Overall::Stale };
        assert_eq!(freshness.overall, overall);
        assert_eq!(freshness.current, if current { source.0.len() } else { 0 });
        let last_true = (1..=revision).rev().find(|r| hash(*r) == hash(made));
        let since = self.naive_since(last_true, revision).filter(|_| !current);
        assert_eq!(self.stale_since(&freshness, &translation, revision as u32), since);
    }
}

proptest! {
    #[test]
    fn any_history_keeps_its_promises(steps in edits(), skip in 0usize..6) {
        let mut article = Article::new();
        for step in &steps {
            article.revise(step);
        }
        let newest = article.drafts.len();
        for made in 1..=newest {
            for revision in 1..=newest {
                if article.drafts[made - 1] == article.drafts[revision - 1] {
                    let healed = article.translation(made as u32, 0);
                    let freshness = Freshness::of_translation(&healed, &article.manifests[revision - 1]);
                    prop_assert_eq!(freshness.overall, Overall::Current, "made at {}, read at {}", made, revision);
                }
                article.check_translation(&article.translation(made as u32, skip), revision);
                article.check_address(made, revision);
            }
        }
    }

    #[test]
    fn ids_of_the_caller_come_first(
        head in prop::collection::vec((0usize..4, 0usize..3), 0..10),
        body in prop::collection::vec((0usize..4, 0usize..3, prop::option::weighted(0.3, 1u32..14)), 0..12),
    ) {
        let head: Vec<Segment> = (1..)
            .zip(head)
            .map(|(number, (base, variant))| draft(&text(base, variant)).with_id(SegmentId::Body(number)))
            .collect();
        let mut seen = HashSet::new();
        let body: Vec<DraftSegment> = body
            .into_iter()
            .map(|(base, variant, id)| DraftSegment {
                id: id.filter(|id| seen.insert(*id)).map(SegmentId::Body),
                ..draft(&text(base, variant))
            })
            .collect();
        let aligned = align(&head, &Departures::default(), 14, body.clone()).unwrap();
        let ids: Vec<_> = aligned.body.iter().map(|s| s.id.clone()).collect();
        prop_assert_eq!(&ids, &naive_align(&head, &[], 14, &body));
        prop_assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }
}
