//! Proposals for edits by hand, and for random ones against a plain look at what must never pass for a typo.

use proptest::prelude::*;

use super::*;
use crate::domain::ids::SegmentId;
use crate::domain::segment::{DraftSegment, MarkedText, Span};
use Significance::{Major, Minor, Typo};

fn content(body: &[&str]) -> Content {
    let segment = |id, text: &str| DraftSegment::paragraph(text.into()).unwrap().with_id(id);
    Content {
        title: segment(SegmentId::Title, "عنوان"),
        lead: segment(SegmentId::Lead, ""),
        body: (1..)
            .zip(body)
            .map(|(number, text)| segment(SegmentId::Body(number), text))
            .collect(),
    }
}

fn of(old: &str, new: &str) -> Significance {
    // Enough around it that a few words are not much.
    let rest = "قال المتحدث باسم الوزارة إن الاجتماع سيعقد في العاصمة بحضور وفود من دول عربية عدة وإن نتائجه ستعلن لاحقا في بيان رسمي";
    propose(&content(&[old, rest, rest]), &content(&[new, rest, rest]))
}

#[test]
fn spelling_and_punctuation_are_typos() {
    for (old, new) in [
        ("وصل الوزير الى المدينه", "وصل الوزير إلى المدينة"),
        ("كتب المقال أمس", "كَتَبَ المقالَ أمسِ"),
        ("كتـــاب جديد", "كتاب جديد"),
        ("The goverment said so", "The government said so"),
        (
            "The minister siad so today, again",
            "The minister siad so today again.",
        ),
        ("the European Union", "The European union"),
        ("L'ecole est fermée", "L'école est fermée"),
        ("hand book", "handbook"),
        ("He said \"yes\" today", "He said “yes” today"),
        ("في عام ٢٠٢٢", "في عام 2022"),
        ("في عام ۲۰۲۲،", "في عام ٢٠٢٢"),
        ("governmetn", "government"),
    ] {
        assert_eq!(of(old, new), Typo, "{old} -> {new}");
    }
}

#[test]
fn numbers_and_negations_are_facts() {
    for (old, new) in [
        ("قتل 12 شخصا", "قتل 13 شخصا"),
        ("قتل ١٢ شخصا", "قتل ١٣ شخصا"),
        ("قتل ۱۲ شخصا", "قتل ۲۱ شخصا"),
        ("It rose 3.5 per cent", "It rose 35 per cent"),
        ("It rose by 5", "It rose by -5"),
        ("at 10:45", "at 10.45"),
        ("a million people", "a billion people"),
        ("ثمانية أشخاص", "ثمانين أشخاص"),
        ("صوت مليون شخص", "صوت مليار شخص"),
        ("Ils sont deux", "Ils sont dix"),
        ("لا يزال حيا", "يزال حيا"),
        ("سيحضر الوزير", "لن يحضر الوزير"),
        ("ليس صحيحا", "صحيحا"),
        ("He did resign", "He did not resign"),
        ("He does know", "He doesn’t know"),
        ("Il est venu", "Il n’est pas venu"),
        ("ولم يحضر", "وقد يحضر"),
    ] {
        assert_eq!(of(old, new), Major, "{old} -> {new}");
    }
}

#[test]
fn quotations_and_other_words_are_more_than_typos() {
    for (old, new) in [
        ("قال: «سنعود قريبا» ثم غادر", "قال: «سنعود قريباً» ثم غادر"),
        ("He said \"we will win\" then", "He said \"we will wins\" then"),
        ("He said we will win", "He said “we will win”"),
        ("قال ”نعم“ وغادر", "قال ”نعم!“ وغادر"),
        ("It is legal now", "It is illegal now"),
        ("وصل الوزير", "وصل الرئيس"),
        ("The now famous man", "The not so famous man"),
        ("قتل في الحادث", "قبل في الحادث"),
        ("It costs 5", "It costs 5%"),
    ] {
        assert_ne!(of(old, new), Typo, "{old} -> {new}");
    }
    assert_eq!(of("وصل الوزير", "وصل الرئيس"), Minor);
    assert_eq!(of("قال: «سنعود قريبا»", "قال: «سنعود قريباً»"), Minor);
}

#[test]
fn paragraphs_that_come_go_or_move_count() {
    let text = "one word after the other makes a paragraph";
    let other = "and another one follows it at once";
    assert_eq!(propose(&content(&[text]), &content(&[text, other])), Major);
    assert_eq!(propose(&content(&[text, other]), &content(&[text])), Major);
    let (old, mut new) = (content(&[text, "It has 5 of them", other]), content(&[]));
    new.body = [2, 0, 1].map(|at| old.body[at].clone()).into();
    assert_eq!(propose(&old, &new), Minor);
    // A paragraph that is split says the same.
    let whole = content(&["It has 5 of them. And more."]);
    assert_eq!(
        propose(&whole, &content(&["It has 5 of them.", "And more."])),
        Minor
    );
    // A line of stars says nothing.
    assert_eq!(propose(&content(&[text]), &content(&[text, "***"])), Minor);
    // So much that nobody looks closer.
    let (old, new) = ("one ".repeat(40_000), "One ".repeat(40_000));
    assert_eq!(propose(&content(&[&old]), &content(&[&new])), Major);
    assert_eq!(propose(&content(&["a b c d"]), &content(&["a x y d"])), Major);
}

#[test]
fn marks_and_roles_count_where_they_say_something() {
    let old = content(&["one two"]);
    let with = |mark| {
        let mut new = old.clone();
        let span = Span {
            start: 0,
            end: 3,
            mark,
        };
        new.body[0].content = MarkedText::new("one two".into(), vec![span]).unwrap();
        new
    };
    assert_eq!(propose(&old, &with(Mark::Bold)), Typo);
    assert_eq!(propose(&old, &with(Mark::Link("https://e.test/".into()))), Minor);
    let mut quote = old.clone();
    quote.body[0].role = Role::Quote;
    assert_eq!(propose(&old, &quote), Minor);
    let mut kept = old.clone();
    kept.body[0].translate = false;
    assert_eq!(propose(&old, &kept), Minor);
}

/// Words that a random text is made of; those with a mark must not change in a typo.
const PLAIN: [&str; 12] = [
    "المدينة",
    "الحكومة",
    "اجتماع",
    "الوزارة",
    "مستشفى",
    "government",
    "parliament",
    "yesterday",
    "économie",
    "hôpital",
    "ministère",
    "القاهرة",
];
const FACTS: [&str; 14] = [
    "12", "3.5", "٤٥", "۷۸", "لا", "لم", "لن", "ليس", "ما", "not", "never", "n'est", "pas", "million",
];

#[derive(Debug, Clone)]
enum Edit {
    Vowel(usize, usize),
    Tatweel(usize, usize),
    Case(usize),
    Comma(usize),
    Space(usize),
    /// Another fact in the place of one, or none.
    Fact(usize, usize),
    Digit(usize, u32),
    /// Quotation marks around a word.
    Quote(usize),
    Word(usize, usize),
    Drop(usize),
    Insert(usize, usize),
}

fn harmless() -> impl Strategy<Value = Edit> {
    let n = 0usize..40;
    prop_oneof![
        (n.clone(), n.clone()).prop_map(|(word, at)| Edit::Vowel(word, at)),
        (n.clone(), n.clone()).prop_map(|(word, at)| Edit::Tatweel(word, at)),
        n.clone().prop_map(Edit::Case),
        n.clone().prop_map(Edit::Comma),
        n.prop_map(Edit::Space),
    ]
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let n = 0usize..40;
    prop_oneof![
        3 => harmless(),
        1 => (n.clone(), n.clone()).prop_map(|(word, to)| Edit::Fact(word, to)),
        1 => (n.clone(), 0u32..10).prop_map(|(word, digit)| Edit::Digit(word, digit)),
        1 => n.clone().prop_map(Edit::Quote),
        1 => (n.clone(), n.clone()).prop_map(|(word, to)| Edit::Word(word, to)),
        1 => n.clone().prop_map(Edit::Drop),
        1 => (n.clone(), n).prop_map(|(at, word)| Edit::Insert(at, word)),
    ]
}

fn text() -> impl Strategy<Value = Vec<String>> {
    let word = prop_oneof![
        5 => prop::sample::select(PLAIN.to_vec()),
        1 => prop::sample::select(FACTS.to_vec()),
    ];
    prop::collection::vec(word.prop_map(str::to_owned), 1..30)
}

/// Carries out an edit on the words of a text; the words keep their white space.
fn apply(words: &mut Vec<String>, edit: &Edit) {
    let count = words.len();
    let with_char = |word: &mut String, at: usize, c: char| {
        let letters: Vec<char> = word.chars().collect();
        // After a letter, so that it belongs to the word.
        if letters.iter().all(|c| c.is_alphabetic()) && !letters.is_empty() {
            let at = 1 + at % letters.len();
            *word = letters[..at].iter().chain([&c]).chain(&letters[at..]).collect();
        }
    };
    match *edit {
        _ if count == 0 => {}
        Edit::Vowel(word, at) => with_char(&mut words[word % count], at, '\u{64e}'),
        Edit::Tatweel(word, at) => with_char(&mut words[word % count], at, '\u{640}'),
        Edit::Case(word) => words[word % count] = words[word % count].to_uppercase(),
        Edit::Comma(word) => words[word % count].push('،'),
        Edit::Space(word) => words[word % count].push(' '),
        Edit::Fact(word, to) => words[word % count] = FACTS[to % FACTS.len()].into(),
        Edit::Digit(word, digit) => {
            let word = &mut words[word % count];
            let digit = char::from_digit(digit, 10).unwrap();
            *word = word
                .chars()
                .map(|c| if c.is_numeric() { digit } else { c })
                .collect();
        }
        Edit::Quote(word) => words[word % count] = format!("«{}»", words[word % count]),
        Edit::Word(word, to) => words[word % count] = PLAIN[to % PLAIN.len()].into(),
        Edit::Drop(word) => drop(words.remove(word % count)),
        Edit::Insert(at, word) => words.insert(at % count, PLAIN[word % PLAIN.len()].into()),
    }
}

/// What must be the same in a typo, by the plainest look: all digits, all negations, and what stands between marks.
fn facts(words: &[String]) -> (Vec<u32>, Vec<String>, Vec<String>) {
    let digit = |c: char| match c {
        '0'..='9' => Some(u32::from(c) - u32::from('0')),
        '٠'..='٩' => Some(u32::from(c) - u32::from('٠')),
        '۰'..='۹' => Some(u32::from(c) - u32::from('۰')),
        _ => None,
    };
    let plain = |word: &String| -> String {
        word.chars()
            .filter(|c| !matches!(c, '\u{64e}' | '\u{640}' | '،' | ' ' | '«' | '»'))
            .flat_map(char::to_lowercase)
            .collect()
    };
    let negations = ["لا", "لم", "لن", "ليس", "ما", "not", "never", "n'est", "pas"];
    let quoted = words.join(" ");
    let quoted = quoted.split(['«', '»']).skip(1).step_by(2);
    (
        words
            .iter()
            .flat_map(|word| word.chars())
            .filter_map(digit)
            .collect(),
        words
            .iter()
            .map(plain)
            .filter(|word| negations.contains(&word.as_str()))
            .collect(),
        quoted
            .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect(),
    )
}

proptest! {
    #[test]
    fn harmless_edits_are_typos(words in text(), edits in prop::collection::vec(harmless(), 1..8)) {
        let mut edited = words.clone();
        edits.iter().for_each(|edit| apply(&mut edited, edit));
        let (old, new) = (content(&[&words.join(" ")]), content(&[&edited.join(" ")]));
        prop_assert_eq!(propose(&old, &new), Typo, "{:?}", edited);
    }

    #[test]
    fn no_number_negation_or_quotation_changes_in_a_typo(
        words in text(),
        edits in prop::collection::vec(any_edit(), 1..6),
        rest in text(),
    ) {
        let mut edited = words.clone();
        edits.iter().for_each(|edit| apply(&mut edited, edit));
        let rest = rest.join(" ");
        let (old, new) = (content(&[&words.join(" "), &rest]), content(&[&edited.join(" "), &rest]));
        let proposed = propose(&old, &new);
        if facts(&words) != facts(&edited) {
            prop_assert_ne!(proposed, Typo, "{:?}", edited);
        }
        // What differs in one direction differs in the other.
        prop_assert_eq!(propose(&new, &old) == Typo, proposed == Typo);
    }
}
