//! Which paragraph of a revision is which, from the texts alone: the rules of `domain::align` once more, without hashes,
//! bits or limits.

use std::collections::BTreeMap;

use super::Paragraph;

/// The least similarity of an edited text.
const SIMILAR: f64 = 0.6;

/// Names the paragraphs of a revision, given all earlier ones; everywhere the headline comes first. `next` is the number of
/// the next new paragraph.
pub(super) fn identify(past: &[&[Paragraph]], texts: &[String], next: &mut u32) -> Vec<Paragraph> {
    let is_the_same = |revision: &&&[Paragraph]| revision.iter().map(|(_, text)| text).eq(texts);
    if let Some(same) = past.iter().rev().find(is_the_same) {
        return same.to_vec();
    }
    let bodies: Vec<_> = past.iter().map(|revision| &revision[1..]).collect();
    let head = bodies.last().copied().unwrap_or_default();
    let earlier = bodies.iter().rev().skip(1).copied().flatten();
    let new = &texts[1..];
    let mut ids: Vec<Option<&String>> = vec![None; new.len()];
    let anchors = common(head, new);
    for (old, place) in &anchors {
        ids[*place] = Some(&head[*old].0);
    }
    // Moved within the head, then returned, from the newest revision on.
    for (id, text) in head.iter().chain(earlier) {
        let wanting = (0..new.len()).find(|place| ids[*place].is_none() && new[*place] == *text);
        if let Some(place) = wanting.filter(|_| !ids.contains(&Some(id))) {
            ids[place] = Some(id);
        }
    }
    // Edited, between what stayed.
    let mut start = (0, 0);
    for (old_end, new_end) in anchors.into_iter().chain([(head.len(), new.len())]) {
        for place in start.1..new_end {
            if ids[place].is_some() {
                continue;
            }
            let mut best: Option<(&String, f64)> = None;
            for (id, text) in &head[start.0..old_end] {
                let likeness = likeness(text, &new[place]);
                let is_better = best.is_none_or(|(_, most)| likeness > most);
                if likeness >= SIMILAR && is_better && !ids.contains(&Some(id)) {
                    best = Some((id, likeness));
                }
            }
            ids[place] = best.map(|(id, _)| id);
        }
        start = (old_end + 1, new_end + 1);
    }
    let mut name = |id: Option<&String>| {
        id.cloned().unwrap_or_else(|| {
            *next += 1;
            format!("s{}", *next - 1)
        })
    };
    let body = ids.into_iter().map(&mut name).zip(new.iter().cloned());
    [("title".to_owned(), texts[0].clone())]
        .into_iter()
        .chain(body)
        .collect()
}

/// The longest common subsequence, of several the one of the earliest old paragraphs, as pairs of places.
fn common(old: &[Paragraph], new: &[String]) -> Vec<(usize, usize)> {
    let mut longest = vec![vec![0; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i][j] = if old[i].1 == new[j] {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }
    let mut pairs = Vec::new();
    let mut start = 0;
    for (i, (_, text)) in old.iter().enumerate() {
        let found = (start..new.len()).find(|j| new[*j] == *text);
        if let Some(j) = found.filter(|j| longest[i + 1][j + 1] + 1 == longest[i][start]) {
            pairs.push((i, j));
            start = j + 1;
        }
    }
    pairs
}

/// Twice the trigrams that two texts share over those that they have.
fn likeness(a: &str, b: &str) -> f64 {
    let trigrams = |text: &str| {
        let padded: Vec<char> = format!(" {text} ").chars().collect();
        let mut counts: BTreeMap<Vec<char>, usize> = BTreeMap::new();
        for trigram in padded.windows(3) {
            *counts.entry(trigram.to_vec()).or_default() += 1;
        }
        counts
    };
    let (a, b) = (trigrams(a), trigrams(b));
    let all = a.values().sum::<usize>() + b.values().sum::<usize>();
    let both = |(trigram, count): (&Vec<char>, &usize)| b.get(trigram).map_or(0, |other| *count.min(other));
    let shared = a.iter().map(both).sum::<usize>();
    2.0 * shared as f64 / all as f64
}
