//! Measures on real news: the chrF++ of the store is sacreBLEU's number for the same texts (`scripts/chrf-expected`
//! computed those), and numbers are reported where they differ and not where they are only written in another way.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;

use article_store::domain::quality::chrf::{Overlap, SIGNATURE};
use article_store::domain::quality::placeholders::Parts;
use article_store::domain::quality::{numbers, placeholders};
use serde_json::Value;

use crate::harness::shared_lines;

/// Far below the four decimals that count: what floating point and JSON may lose.
const TOLERANCE: f64 = 1e-9;

fn expected() -> Value {
    serde_json::from_str(include_str!("quality/expected.json")).unwrap()
}

fn rows<'a>(expected: &'a Value, name: &str) -> &'a Vec<Value> {
    expected[name].as_array().unwrap()
}

#[track_caller]
fn assert_score(overlap: &Overlap, expected: &Value) {
    let (score, wanted) = (overlap.score(), expected.as_f64().unwrap());
    assert!((score - wanted).abs() < TOLERANCE, "{score} instead of {wanted}");
}

#[test]
fn chrf_of_own_texts_is_that_of_sacrebleu() {
    let expected = expected();
    assert!(expected["signature"].as_str().unwrap().starts_with(SIGNATURE));
    let mut corpus = Overlap::default();
    for row in rows(&expected, "own") {
        let overlap = Overlap::of(row[0].as_str().unwrap(), row[1].as_str().unwrap());
        println!("{row}");
        assert_score(&overlap, &row[2]);
        corpus += &overlap;
    }
    assert_score(&corpus, &expected["own_corpus"]);
}

#[test]
fn chrf_of_real_news_is_that_of_sacrebleu() {
    let Some(lines) = shared_lines("ntrex-news.jsonl.xz") else {
        return;
    };
    let documents: BTreeMap<String, Value> = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|document| (document["id"].as_str().unwrap().to_owned(), document))
        .collect();
    let texts = |document: &Value, language: &Value| -> Vec<String> {
        let language = language.as_str().unwrap();
        let texts = &documents[document.as_str().unwrap()]["translations"][language.trim_end_matches('~')];
        let texts = texts
            .as_array()
            .unwrap()
            .iter()
            .map(|text| text.as_str().unwrap());
        // A tilde stands for the text without every fourth word.
        let thin = |text: &str| {
            let words = text.split_whitespace().zip(1..);
            let kept: Vec<_> = words
                .filter(|(_, place)| place % 4 != 0)
                .map(|(word, _)| word)
                .collect();
            kept.join(" ")
        };
        if language.ends_with('~') {
            texts.map(thin).collect()
        } else {
            texts.map(str::to_owned).collect()
        }
    };
    let expected = expected();
    assert_eq!(rows(&expected, "segments").len(), 50);
    for row in rows(&expected, "segments") {
        let index = usize::try_from(row[1].as_u64().unwrap()).unwrap();
        println!("{row}");
        let (hypothesis, reference) = (texts(&row[0], &row[2]), texts(&row[0], &row[3]));
        assert_score(&Overlap::of(&hypothesis[index], &reference[index]), &row[4]);
    }
    for row in rows(&expected, "documents") {
        let mut corpus = Overlap::default();
        for (hypothesis, reference) in texts(&row[0], &row[1]).iter().zip(texts(&row[0], &row[2])) {
            corpus += &Overlap::of(hypothesis, &reference);
        }
        assert_score(&corpus, &row[3]);
    }
}

#[test]
fn numbers_of_human_translations_differ_only_where_they_do() {
    let Some(lines) = shared_lines("ntrex-news.jsonl.xz") else {
        return;
    };
    let mut reported: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut with_digits = 0;
    for line in &lines {
        let document: Value = serde_json::from_str(line).unwrap();
        let sources = document["segments"].as_array().unwrap();
        let sources: Vec<_> = sources.iter().map(|text| text.as_str().unwrap()).collect();
        with_digits += sources
            .iter()
            .filter(|text| text.contains(|c: char| c.is_ascii_digit()))
            .count();
        for (language, targets) in document["translations"].as_object().unwrap() {
            let (numbers, placeholders) = reported.entry(language.clone()).or_default();
            for (source, target) in sources.iter().zip(targets.as_array().unwrap()) {
                let (source, target) = (Parts::of(source), Parts::of(target.as_str().unwrap()));
                *numbers += usize::from(!numbers::differences(&source, &target).is_empty());
                *placeholders += usize::from(!placeholders::differences(&source, &target).is_empty());
            }
        }
    }
    println!("{reported:?}");
    assert_eq!(with_digits, 447);
    // Read one by one: numbers in words, converted units, mistakes (1967 became 1976), and one telephone number in
    // Arabic and one in Persian whose groups are written in another way.
    for (language, numbers) in [("ar", 55), ("fa", 58), ("hi", 4)] {
        assert_eq!(reported[language].0, numbers, "{language}");
    }
    // A tag of the tool that the translator worked with stands in one Arabic text.
    assert!(
        reported
            .iter()
            .all(|(language, (_, placeholders))| *placeholders == usize::from(language == "ar"))
    );
}
