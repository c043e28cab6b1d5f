//! Cases that the histories found or seldom reach.

use super::*;

/// A translation of the text under one id is not one of the same text under another, so only a revert that is known as
/// such heals; the longest common subsequence alone would keep `s2` here.
#[test]
fn a_duplicate_does_not_keep_a_revert_from_healing() {
    let mut article = Article::new();
    article.revise(&[Edit::Insert(0, 0, 0)]);
    article.revise(&[Edit::Vary(0, 1)]);
    article.revise(&[Edit::Insert(1, 0, 0)]);
    assert_eq!(article.bodies[3][1].id, SegmentId::Body(2));
    article.revise(&[Edit::Delete(0)]);
    assert_eq!(article.bodies[4], article.bodies[1]);
}

#[test]
fn a_title_gives_its_id_to_no_paragraph() {
    let mut article = Article::new();
    article.revise(&[Edit::Title(1)]);
    article.revise(&[Edit::Insert(0, 0, 0)]);
    assert_eq!(article.bodies[2][0].id, SegmentId::Body(1));
}

#[test]
fn every_id_that_cannot_be_kept_is_reported() {
    let ids = [
        Some("s1"),
        None,
        Some("s3"),
        Some("title"),
        Some("s1"),
        Some("s2"),
    ];
    let body = ids
        .map(|id| DraftSegment {
            id: id.map(|id| SegmentId::parse(id).unwrap()),
            ..draft("***")
        })
        .to_vec();
    let refused = align(&[], &Departures::default(), 3, body).unwrap_err();
    let reasons: Vec<_> = refused.iter().map(|r| (r.index, r.reason)).collect();
    assert_eq!(
        reasons,
        [
            (2, Refusal::NeverAssigned),
            (3, Refusal::NotBody),
            (4, Refusal::Repeated(0))
        ]
    );
    assert_eq!(
        refused[0].to_string(),
        "segment 2 of the body cannot have the id \"s3\": no segment of this article ever had it"
    );
}

/// Paragraph `number` with `edits` small changes; no two numbers are similar.
fn long_text(number: usize, edits: usize) -> String {
    let letters = |seed: usize| {
        let word = |k: usize| {
            let mut bits = (seed * 8 + k).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            std::iter::repeat_with(|| {
                bits = bits.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                char::from(b'a' + ((bits >> 40) % 26) as u8)
            })
            .take(7)
            .collect::<String>()
        };
        (0..8).map(word).collect::<Vec<_>>().join(" ")
    };
    letters(number) + &" edited".repeat(edits)
}

/// At the limit of a body, every shape that makes some algorithm quadratic.
#[test]
fn bodies_at_the_limit_are_aligned() {
    const N: usize = crate::domain::article::MAX_SEGMENTS;
    let align_texts = |old: &dyn Fn(usize) -> String, new: &dyn Fn(usize) -> String| {
        let head: Vec<_> = (0..N)
            .map(|i| draft(&old(i)).with_id(SegmentId::Body(i as u32 + 1)))
            .collect();
        let body: Vec<_> = (0..N).map(|i| draft(&new(i))).collect();
        let aligned = align(&head, &Departures::default(), N as u32 + 1, body).unwrap();
        let ids: Vec<_> = aligned.body.into_iter().map(|s| s.id).collect();
        (ids, aligned.next_segment as usize - N - 1)
    };
    let in_order: Vec<_> = (1..=N as u32).map(SegmentId::Body).collect();

    assert_eq!(
        align_texts(&|i| long_text(i, 0), &|i| long_text(i, 0)),
        (in_order.clone(), 0)
    );
    assert_eq!(
        align_texts(&|_| "***".into(), &|_| "***".into()),
        (in_order.clone(), 0)
    );
    assert_eq!(align_texts(&|i| long_text(i, 0), &|i| long_text(i + N, 0)).1, N);
    // Every paragraph edited: compared in place.
    assert_eq!(
        align_texts(&|i| long_text(i, 0), &|i| long_text(i, 1)),
        (in_order, 0)
    );
    let (ids, new) = align_texts(&|i| long_text(i, 0), &|i| long_text(N - 1 - i, 0));
    assert!(new == 0 && ids[0] == SegmentId::Body(N as u32));
    let (_, new) = align_texts(&|i| long_text(i % 2, 0), &|i| long_text(i * i % 7 % 2, 0));
    assert!(new < N / 2);
}
