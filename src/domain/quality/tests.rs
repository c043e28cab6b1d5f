//! Evidence and measures of small translations.

use super::evidence::{
    Addition, Evidence as _, MAX_EVIDENCE_BYTES, QualityIssue, Refusal, Severity, Side, Standing, add, bytes,
    make_room,
};
use super::measure::{
    Amount, MAX_CODE_POINTS, MAX_EARLIER_REVISIONS, MachineShare, Measures, Sources, TooLarge,
    earlier_revisions, measure,
};
use crate::domain::article::{Content, Revision};
use crate::domain::attach;
use crate::domain::etag::Etag;
use crate::domain::freshness::Freshness;
use crate::domain::ids::{SegmentId, TranslationId};
use crate::domain::provenance::{Actor, Agent, AgentKind, Provenance};
use crate::domain::segment::{MarkedText, Role, Segment, TextHash};
use crate::domain::time::{Stamp, Timestamp};
use crate::domain::translation::{
    Binding, Disposition, QualityScore, SegmentOrigin, State, TranslationHead, TranslationVersion,
};
use crate::domain::version::Version;

fn text(text: &str) -> MarkedText {
    MarkedText::new(text.into(), Vec::new()).unwrap()
}

fn body(number: u32) -> SegmentId {
    SegmentId::Body(number)
}

/// A revision with these paragraphs; one in brackets is not to be translated.
fn revision(number: u32, paragraphs: &[&str]) -> Revision {
    let segment = |(number, paragraph): (u32, &&str)| Segment {
        id: body(number),
        role: Role::Paragraph,
        content: text(paragraph),
        translate: !paragraph.starts_with('['),
    };
    let empty = |id| Segment {
        id,
        role: Role::Paragraph,
        content: MarkedText::default(),
        translate: true,
    };
    Revision {
        stamp: Stamp::PENDING,
        content: Content {
            title: empty(SegmentId::Title),
            lead: empty(SegmentId::Lead),
            body: (1..).zip(paragraphs).map(segment).collect(),
        },
        significance: None,
        is_proposed: false,
        actor: Actor::default(),
        number,
    }
}

/// A machine's translation of a revision.
fn translation(source: &Revision, targets: &[&str]) -> TranslationVersion {
    let agent = Agent::of_kind(AgentKind::Mt);
    let bind = |(segment, target): (&Segment, &&str)| Binding {
        id: segment.id.clone(),
        source_revision: source.number,
        source_hash: segment.source_hash(),
        translate: true,
        target_hash: TextHash::of_target(&text(target)),
        state: State::Translated,
        sub_state: String::new(),
        writer: AgentKind::Mt,
        author: None,
        origin: SegmentOrigin::Machine,
        reviewed: false,
        copied: false,
    };
    TranslationVersion {
        head: TranslationHead {
            id: TranslationId(1),
            etag: Etag {
                version: 1,
                digest: 1,
            },
            disposition: Disposition::Active,
            agent: agent.clone(),
            source_revision: source.number,
            source_content_hash: source.content.manifest().content_hash(),
            external_uri: String::new(),
            external_state: State::Translated,
            external_reviewed: false,
            bindings: source.content.body.iter().zip(targets).map(bind).collect(),
            scored: false,
            created: Stamp::PENDING,
            updated: Stamp::PENDING,
            version: Version::FIRST,
        },
        texts: targets.iter().map(|target| text(target)).collect(),
        provenance: attach::provenance(agent, Actor::default(), 1, None),
        quality_scores: Vec::new(),
        quality_issues: Vec::new(),
    }
}

fn score(segment: Option<u32>, value: f64) -> QualityScore {
    QualityScore {
        metric: "COMET".into(),
        metric_version: String::new(),
        model: String::new(),
        value,
        min: 0.0,
        max: 1.0,
        higher_is_better: true,
        segment: segment.map(body),
        target_hash: TextHash([0; 16]),
        source_hash: TextHash([0; 16]),
        reference_kind: String::new(),
        scorer: String::new(),
        stamp: Stamp::PENDING,
    }
}

fn issue(segment: u32, side: Side, range: std::ops::Range<u32>) -> QualityIssue {
    QualityIssue {
        dimension: "Accuracy".into(),
        subtype: "Mistranslation".into(),
        severity: Severity::Major,
        side,
        segment: Some(body(segment)),
        range: Some(range),
        comment: String::new(),
        annotator: "Rana".into(),
        target_hash: TextHash([0; 16]),
        source_hash: TextHash([0; 16]),
        stamp: Stamp::PENDING,
    }
}

fn scorer() -> Provenance {
    attach::provenance(Agent::of_kind(AgentKind::Rule), Actor::default(), 7, None)
}

fn try_add(
    version: &TranslationVersion,
    scores: &[QualityScore],
    issues: &[QualityIssue],
    source: &Revision,
) -> Result<Option<TranslationVersion>, Refusal> {
    let addition = Addition {
        scores,
        issues,
        provenance: &scorer(),
    };
    add(&version.head, version, &addition, &Sources::new([source]))
}

#[test]
fn evidence_is_bound_to_exact_texts_and_moves_nothing_else() {
    let source = revision(3, &["واحد", "اثنان"]);
    let before = translation(&source, &["one", "two"]);
    let (scores, issues) = (
        [score(None, 0.5), score(Some(2), 0.25)],
        [issue(1, Side::Source, 0..4)],
    );
    let after = try_add(&before, &scores, &issues, &source).unwrap().unwrap();
    let bound = [&after.head.bindings[1]].map(|binding| (binding.target_hash, binding.source_hash));
    assert_eq!(after.quality_scores[1].hashes(), bound[0]);
    assert_eq!(after.quality_scores[0].hashes(), after.head.scored_hashes(None));
    assert_eq!(
        after.quality_issues[0].hashes().0,
        after.head.bindings[0].target_hash
    );
    assert_eq!(after.provenance.agent.kind, AgentKind::Rule);
    assert_eq!(
        (after.provenance.source_revision, &after.provenance.segments[..]),
        (3, &[][..])
    );
    assert_eq!(after.texts, before.texts);
    let expected = TranslationHead {
        scored: true,
        version: before.head.version.next(),
        ..before.head.clone()
    };
    assert_eq!(
        after.head, expected,
        "etag, state, agent and times are as they were"
    );
}

#[test]
fn the_same_evidence_again_is_no_evidence() {
    let source = revision(1, &["واحد"]);
    let first = translation(&source, &["one"]);
    let (scores, issues) = (
        [score(Some(1), 0.5), score(Some(1), 0.5)],
        [issue(1, Side::Target, 0..3)],
    );
    let mut stored = try_add(&first, &scores, &issues, &source).unwrap().unwrap();
    assert_eq!(stored.quality_scores.len(), 1, "twice in one call is once");
    stored.resolve(Stamp {
        seq: 5,
        time: Timestamp::MIN,
    });
    assert_eq!(try_add(&stored, &scores, &issues, &source), Ok(None));
    let more = try_add(&stored, &[score(Some(1), 0.75)], &issues, &source)
        .unwrap()
        .unwrap();
    assert_eq!(more.quality_scores.len(), 2, "another value is other evidence");
    assert_eq!(more.quality_scores[0], stored.quality_scores[0]);
    assert!(more.quality_scores[1].stamp.is_pending());
    // The same judgement on another text is new.
    let mut edited = translation(&source, &["ONE"]);
    edited.quality_scores = stored.quality_scores.clone();
    assert_eq!(
        try_add(&edited, &scores, &[], &source)
            .unwrap()
            .unwrap()
            .quality_scores
            .len(),
        2
    );
}

#[test]
fn evidence_that_does_not_fit_the_texts_is_refused() {
    let source = revision(1, &["ثلاثة", "اثنان"]);
    let version = translation(&source, &["drei\u{1F600}", "zwei"]);
    let issues = [
        issue(1, Side::Target, 5..5),
        issue(1, Side::Target, 0..6),
        issue(1, Side::Source, 0..5),
        issue(1, Side::Source, 0..6),
        issue(9, Side::Target, 0..1),
    ];
    let Err(Refusal::Invalid(violations)) = try_add(&version, &[score(Some(3), 0.5)], &issues, &source)
    else {
        panic!("refused");
    };
    let fields: Vec<_> = violations
        .iter()
        .map(|violation| violation.field.as_str())
        .collect();
    let expected = [
        "quality_scores[0].segment_id",
        "quality_issues[1].end",
        "quality_issues[3].end",
        "quality_issues[4].segment_id",
    ];
    assert_eq!(fields, expected);
    assert_eq!(
        violations[1].description,
        "6 is beyond the 5 code points of the target text"
    );
    assert_eq!(
        violations[2].description,
        "6 is beyond the 5 code points of the source text"
    );
    // A source text that is not at hand is not guessed.
    let other = revision(2, &["أربعة"]);
    let refused = try_add(&version, &[], &[issue(1, Side::Source, 0..1)], &other);
    assert!(matches!(refused, Err(Refusal::Invalid(_))), "{refused:?}");
}

#[test]
fn evidence_on_texts_that_are_gone_makes_room_and_the_rest_is_limited() {
    let source = revision(1, &["واحد"]);
    let mut version = translation(&source, &["one"]);
    let large = |number: usize| QualityIssue {
        comment: number.to_string().repeat(100_000),
        ..issue(1, Side::Target, 0..1)
    };
    let issues: Vec<_> = (0..10).map(large).collect();
    version = try_add(&version, &[], &issues, &source).unwrap().unwrap();
    assert!((1_000_000..MAX_EVIDENCE_BYTES).contains(&bytes(&version)));
    let Err(Refusal::TooMuch(bytes)) = try_add(&version, &[], &[large(10)], &source) else {
        panic!("refused");
    };
    assert!(bytes > MAX_EVIDENCE_BYTES);
    let mut edited = translation(&source, &["ONE"]);
    edited.quality_issues = version.quality_issues.clone();
    let edited = try_add(&edited, &[], &[large(10)], &source).unwrap().unwrap();
    assert_eq!(edited.quality_issues.len(), 1);
    // Below the limit nothing is left out.
    let mut small = version.clone();
    small.quality_issues.truncate(1);
    small.head.bindings[0].target_hash = TextHash([1; 16]);
    make_room(&mut small);
    assert_eq!(small.quality_issues.len(), 1);
}

#[test]
fn evidence_is_outdated_when_target_or_source_moved_on_and_holds_again_when_they_return() {
    let source = revision(1, &["واحد", "اثنان"]);
    let version = translation(&source, &["one", "two"]);
    let scores = [score(None, 0.5), score(Some(1), 0.5), score(Some(2), 0.5)];
    let version = try_add(&version, &scores, &[issue(1, Side::Source, 0..1)], &source)
        .unwrap()
        .unwrap();
    let outdated = |head: &TranslationHead, newest: &Revision| {
        let freshness = Freshness::of_translation(head, &newest.content.manifest());
        let standing = Standing::of(head, &freshness);
        let scores = version
            .quality_scores
            .iter()
            .map(|score| standing.is_outdated(score));
        scores
            .chain([standing.is_outdated(&version.quality_issues[0])])
            .collect::<Vec<_>>()
    };
    assert_eq!(outdated(&version.head, &source), [false; 4]);
    assert_eq!(
        outdated(&version.head, &revision(2, &["واحد!", "اثنان"])),
        [true, true, false, true]
    );
    assert_eq!(
        outdated(&version.head, &revision(3, &["واحد", "اثنان"])),
        [false; 4]
    );
    let edited = translation(&source, &["one", "TWO"]);
    assert_eq!(outdated(&edited.head, &source), [true, false, true, false]);
    let shorter = translation(&source, &["one"]);
    assert_eq!(
        outdated(&shorter.head, &source),
        [true, false, true, false],
        "its segment is gone"
    );
}

fn of(
    version: &TranslationVersion,
    sources: &[&Revision],
    reference: Option<&TranslationVersion>,
) -> Measures {
    measure(version, &Sources::new(sources.iter().copied()), reference).unwrap()
}

#[test]
fn targets_are_compared_with_the_source_that_they_were_made_from() {
    let old = revision(
        1,
        &["Pay {0} by 5 May", "Same  cafe\u{301}", "[Photo 7]", "Gone 3"],
    );
    let new = revision(2, &["Pay {0} by 9 May", "Same  cafe\u{301}", "[Photo 7]"]);
    let version = translation(
        &old,
        &["ادفع {1} قبل ٩ مايو", "Same caf\u{e9}", "[Photo 7]", "ذهب 3"],
    );
    let measures = of(&version, &[&new, &old], None);
    let ids: Vec<_> = measures
        .segments
        .iter()
        .map(|segment| segment.id.clone())
        .collect();
    assert_eq!(
        ids,
        [1, 2, 4].map(body),
        "what is not to be translated is left out"
    );
    let [first, second, gone] = measures.segments.as_slice() else {
        panic!()
    };
    assert_eq!(
        first.source_revision,
        Some(1),
        "the newest text is not the one that was translated"
    );
    assert_eq!(
        (&first.numbers.missing, &first.numbers.added),
        (&vec!["5".to_owned()], &vec!["٩".to_owned()])
    );
    assert_eq!(
        (&first.placeholders.missing, &first.placeholders.added),
        (&vec!["{0}".to_owned()], &vec!["{1}".to_owned()])
    );
    assert!(!first.equals_source && second.equals_source);
    assert_eq!((second.source_revision, gone.source_revision), (Some(2), Some(1)));
    assert!(gone.numbers.is_empty());
    assert_eq!(measures.chrf, None);
    // Without the old text nothing is said about it.
    let blind = of(&version, &[&new], None);
    assert_eq!(blind.segments[0].source_revision, None);
    assert!(blind.segments[0].numbers.is_empty());
    assert_eq!(
        earlier_revisions(&version.head.bindings, &new.content.manifest()),
        [1]
    );
    assert!(earlier_revisions(&version.head.bindings, &old.content.manifest()).is_empty());
}

#[test]
fn only_so_many_earlier_revisions_are_read_the_newest_first() {
    let old = revision(1, &vec!["old"; 40]);
    let mut version = translation(&old, &vec!["alt"; 40]);
    for (binding, revision) in version.head.bindings.iter_mut().zip(1..) {
        binding.source_revision = revision;
    }
    let wanted = earlier_revisions(&version.head.bindings, &revision(50, &["new"]).content.manifest());
    assert_eq!(wanted.len(), MAX_EARLIER_REVISIONS);
    assert!(wanted.into_iter().eq((25..=40).rev()));
}

#[test]
fn a_reference_counts_where_it_was_made_from_the_same_text() {
    let source = revision(1, &["واحد اثنان", "ثلاثة أربعة"]);
    let version = translation(&source, &["one two", "three four"]);
    let reference = translation(&source, &["one two", "three five"]);
    let measures = of(&version, &[&source], Some(&reference));
    let [first, second] = measures.segments.as_slice() else {
        panic!()
    };
    assert_eq!(first.chrf, Some(100.0));
    let (whole, second) = (measures.chrf.unwrap(), second.chrf.unwrap());
    assert!(
        second > 0.0 && second < whole && whole < 100.0,
        "{second} {whole}"
    );
    assert!(
        (whole - (100.0 + second) / 2.0).abs() > 0.01,
        "counts are summed, scores are not averaged"
    );
    let other = revision(2, &["واحد اثنان", "ثلاثة خمسة"]);
    let reference = translation(&other, &["one two", "three five"]);
    let measures = of(&version, &[&source], Some(&reference));
    assert_eq!(measures.segments[1].chrf, None);
    assert_eq!(measures.chrf, Some(100.0));
}

#[test]
fn the_machine_share_says_what_nobody_changed() {
    let source = revision(1, &["أ", "ب", "ج", "د", "[ه]"]);
    let mut version = translation(&source, &["a", "bb", "ccc", "dddd", "e"]);
    let origins = [
        SegmentOrigin::Machine,
        SegmentOrigin::Machine,
        SegmentOrigin::Postedited,
        SegmentOrigin::Imported,
    ];
    for (binding, origin) in version.head.bindings.iter_mut().zip(origins) {
        binding.origin = origin;
    }
    version.head.bindings[1].reviewed = true;
    let measures = of(&version, &[&source], None);
    let amount = |segments, code_points| Amount {
        segments,
        code_points,
    };
    assert_eq!(measures.machine.all, amount(4, 10));
    assert_eq!(measures.machine.unmodified, amount(2, 3));
    assert_eq!(measures.machine.reviewed, amount(1, 2));
    assert_eq!(measures.machine.unknown, amount(1, 4));
    assert_eq!(
        (
            measures.machine.segment_ratio(),
            measures.machine.code_point_ratio()
        ),
        (0.5, 0.3)
    );
    assert_eq!(MachineShare::default().segment_ratio(), 0.0);
    let unmodified: Vec<_> = measures
        .segments
        .iter()
        .map(|segment| segment.unmodified_machine)
        .collect();
    assert_eq!(unmodified, [true, true, false, false]);
}

#[test]
fn more_text_than_is_measured_is_refused_with_its_size() {
    let source = revision(1, &["أ"]);
    let half = "x".repeat(MAX_CODE_POINTS - 1);
    let version = translation(&source, &[&half]);
    assert!(measure(&version, &Sources::new([&source]), None).is_ok());
    let refused = measure(
        &version,
        &Sources::new([&source]),
        Some(&translation(&source, &["xy"])),
    );
    assert_eq!(refused, Err(TooLarge(MAX_CODE_POINTS + 2)));
}
