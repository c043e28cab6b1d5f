//! Plain pages: the sample, its variations, and texts that are no pages.

use proptest::prelude::*;

use super::*;
use crate::domain::date::{ArticleDate, Precision};
use crate::domain::language::Language;
use crate::exchange::test_data;

const ARABIC: &str = include_str!("../../../examples/pages/makers-market-ar.txt");
const ENGLISH: &str = include_str!("../../../examples/pages/night-ferry-en.txt");

fn page(text: &str) -> Document {
    read(text.as_bytes(), &Defaults::default()).unwrap()
}

fn in_arabic() -> Defaults {
    Defaults {
        language: Some(Language::parse("ar").unwrap()),
        ..Defaults::default()
    }
}

/// Instant, offset, precision and original of a date.
fn shown(date: Option<&ArticleDate>) -> (String, i16, Precision, &str) {
    let date = date.unwrap();
    assert!(!date.zone_assumed);
    (
        date.instant.unwrap().to_string(),
        date.utc_offset_minutes,
        date.precision,
        &date.original,
    )
}

#[test]
fn the_page_that_the_project_starts_from() {
    let Some(path) = test_data("erem-2022-05-10.txt") else {
        return;
    };
    let document = read(&std::fs::read(path).unwrap(), &Defaults::default()).unwrap();
    assert_eq!(
        document.title,
        "كورونا يُغيب بلينكن عن مؤتمر التحالف ضد داعش في مراكش"
    );
    assert_eq!(document.section, "أخبار");
    assert_eq!(document.language.as_str(), "ar");
    assert_eq!(
        shown(document.published.as_ref()),
        (
            "2022-05-10T22:45:00Z".into(),
            0,
            Precision::Minute,
            "10 مايو 2022 22:45 GMT"
        )
    );
    assert_eq!(
        shown(document.updated.as_ref()),
        (
            "2022-05-11T07:02:00Z".into(),
            0,
            Precision::Minute,
            "11 مايو 2022 7:02 GMT"
        )
    );
    assert!(document.lead.starts_with("أعلن وزير الخارجية") && document.lead.ends_with("اليوم الأربعاء،"));
    assert_eq!(document.located, "الرباط");
    assert_eq!(document.info_sources, ["إرم نيوز"]);
    assert_eq!(document.body.len(), 11);
    assert!(document.body[0].ends_with("بسبب إصابته بفيروس ”كورونا“."));
    assert!(document.body[10].starts_with("وبالإضافة") && document.body[10].ends_with("الإعلامية للتنظيم."));
    let left_out = ["repeats the headline", "the size of the text", "an advertisement"];
    assert_eq!(document.notes.len(), left_out.len(), "{:?}", document.notes);
    for (note, what) in document.notes.iter().zip(left_out) {
        assert!(note.contains(what), "{note}");
    }
}

#[test]
fn the_example_pages() {
    let document = page(ARABIC);
    assert_eq!(document.language.as_str(), "ar");
    assert_eq!(
        document.title,
        "سوق الحرفيين يعود إلى الساحة القديمة بعد ترميم أروقتها"
    );
    assert_eq!(
        (document.section.as_str(), document.located.as_str()),
        ("ثقافة", "النخيل")
    );
    assert_eq!(document.info_sources, ["وكالة الواحة"]);
    assert_eq!(shown(document.published.as_ref()).0, "2024-09-03T18:30:00Z");
    assert_eq!((document.body.len(), document.notes.len()), (6, 3));

    let document = page(ENGLISH);
    assert_eq!(document.language.as_str(), "en");
    assert_eq!(
        document.title,
        "Harbour town brings back its night ferry after eleven years"
    );
    assert_eq!(
        (document.section.as_str(), document.located.as_str()),
        ("Transport", "Saltmere")
    );
    assert_eq!(document.info_sources, ["Bay News"]);
    assert_eq!(shown(document.updated.as_ref()).0, "2024-06-14T16:40:00Z");
    assert!(
        document
            .lead
            .starts_with("The last boat of the day no longer leaves at dusk:")
    );
    assert_eq!((document.body.len(), document.notes.len()), (5, 3));
}

#[test]
fn a_french_page_with_both_dates_on_one_line_and_a_byline() {
    let document = page(
        "Culture\n\nLe marché des artisans rouvre ses portes sur la vieille place\n\
         Publié le 3 septembre 2024 à 18h30, mis à jour le 4 septembre 2024 à 06h15\nPar Salma Benani, Léa Roche\n\n\
         Le marché a rouvert mardi matin après deux années de travaux dans les galeries de pierre.\n\n\
         Soixante-quatre ateliers ont repris le travail, selon l'association des artisans.\n\n\
         Source : Reuters, AFP\nTéléchargez notre application",
    );
    assert_eq!(document.language.as_str(), "fr");
    assert_eq!(
        document.title,
        "Le marché des artisans rouvre ses portes sur la vieille place"
    );
    assert_eq!(document.section, "Culture");
    assert_eq!(document.published.unwrap().original, "3 septembre 2024 à 18h30");
    assert_eq!(document.updated.unwrap().original, "4 septembre 2024 à 06h15");
    assert_eq!(document.authors, ["Salma Benani", "Léa Roche"]);
    assert_eq!((document.located.as_str(), document.lead.as_str()), ("", ""));
    assert_eq!(document.info_sources, ["Reuters", "AFP"]);
    assert_eq!(document.body.len(), 2);
    assert_eq!(document.notes.len(), 1, "{:?}", document.notes);
}

#[test]
fn missing_pieces_are_absent_and_a_missing_date_is_said() {
    let document = page(
        "Harbour town brings back its night ferry after eleven years\n\n\
         From Friday a small electric ferry crosses the bay until one in the morning.\n\n\
         The town closed the night line because too few people used it.",
    );
    assert_eq!(
        document.title,
        "Harbour town brings back its night ferry after eleven years"
    );
    assert_eq!((document.section.as_str(), document.lead.as_str()), ("", ""));
    assert_eq!(document.body.len(), 2);
    assert_eq!(document.notes, ["no publication date was found"]);
}

#[test]
fn the_headline_stands_above_the_first_label() {
    for (above, section, title, lead) in [
        (
            "Home\nWorld\nThe ferry is back after many years",
            "World",
            "The ferry is back after many years",
            "",
        ),
        (
            "The ferry is back after many years",
            "",
            "The ferry is back after many years",
            "",
        ),
        (
            "Ferry returns\nThe town opened the line on Friday.",
            "",
            "Ferry returns",
            "The town opened the line on Friday.",
        ),
        ("World\nFerry returns", "World", "Ferry returns", ""),
        (
            "The ferry is back after many years\nIt crosses the bay until one in the morning",
            "",
            "The ferry is back after many years",
            "It crosses the bay until one in the morning",
        ),
    ] {
        let body = "The town closed the night line eleven years ago.";
        let document = page(&format!("{above}\nPublished: 14 June 2024\n\n{body}\n\n{body}"));
        assert_eq!(document.section, section, "{above}");
        assert_eq!(document.title, title, "{above}");
        assert_eq!(document.lead, lead, "{above}");
        assert_eq!(document.body, [body, body], "{above}");
    }
}

#[test]
fn what_looks_like_a_label_inside_the_body_is_text() {
    let document = page(
        "The ferry is back after many years\nPublished: 14 June 2024\n\nOne paragraph about the boat.\n\nAnother one about \
         the bay.\n\nA third one about the town.\n\nSource: a chart of the harbour\n\nBy the end of the year it had sailed.",
    );
    assert_eq!(document.body.len(), 5);
    assert!(document.info_sources.is_empty() && document.authors.is_empty() && document.lead.is_empty());
}

#[test]
fn a_headline_that_starts_with_a_label_word_is_a_headline() {
    for title in [
        "تحديث: السوق يعود إلى الساحة القديمة بعد الترميم",
        "Updated: the ferry is back after many years",
    ] {
        let document = read(format!("{title}\n\nBody of the page.").as_bytes(), &in_arabic()).unwrap();
        assert_eq!(document.title, title);
    }
}

#[test]
fn an_unreadable_date_is_kept_and_said() {
    let document = page(&ENGLISH.replace("14 June 2024 09:05 GMT", "31 June 2024 09:05 GMT"));
    let published = document.published.unwrap();
    assert_eq!(
        (published.instant, published.original.as_str()),
        (None, "31 June 2024 09:05 GMT")
    );
    assert!(
        document
            .notes
            .iter()
            .any(|note| note.contains("published") && note.contains("no day 31"))
    );
}

#[test]
fn a_second_value_is_left_out_and_said() {
    let document = page(&ENGLISH.replace("A+ A-", "Published: 1 May 2020"));
    assert_eq!(shown(document.published.as_ref()).0, "2024-06-14T09:05:00Z");
    assert!(
        document.notes.iter().any(|note| note.contains("1 May 2020")),
        "{:?}",
        document.notes
    );
}

#[test]
fn two_paragraphs_before_the_source_are_body() {
    let document = page(&ENGLISH.replace("A+ A-", "A boat with forty seats."));
    assert_eq!((document.lead.as_str(), document.body.len()), ("", 7));
    assert_eq!(document.located, "Saltmere");
}

#[test]
fn a_button_below_the_first_paragraph_does_not_make_it_a_second_lead() {
    let document = page(&ENGLISH.replace("The town closed", "Share\n\nThe town closed"));
    assert!(document.lead.ends_with("until one in the morning."));
    assert_eq!(document.body.len(), 5);
    let note = "line 16: \"Share\" is a button; left out";
    assert!(
        document.notes.iter().any(|said| said == note),
        "{:?}",
        document.notes
    );
}

#[test]
fn sources_name_a_place_only_with_a_dash_apart() {
    for (value, place, agencies) in [
        ("الرباط- إرم نيوز", "الرباط", vec!["إرم نيوز"]),
        ("القاهرة – رويترز، أ ف ب", "القاهرة", vec!["رويترز", "أ ف ب"]),
        ("رويترز - إرم نيوز", "", vec!["رويترز", "إرم نيوز"]),
        ("Al-Monitor", "", vec!["Al-Monitor"]),
        ("Port-au-Prince - AP", "Port-au-Prince", vec!["AP"]),
        ("إرم نيوز", "", vec!["إرم نيوز"]),
    ] {
        let (located, sources) = source(value);
        assert_eq!(
            (located.as_str(), sources),
            (place, agencies.into_iter().map(String::from).collect()),
            "{value}"
        );
    }
}

#[test]
fn line_ends_and_a_byte_order_mark_do_not_count_and_bidi_controls_stay() {
    let expected = page(ARABIC);
    for text in [
        ARABIC.replace('\n', "\r\n"),
        ARABIC.replace('\n', "\r"),
        format!("\u{FEFF}{ARABIC}"),
        ARABIC.replace('\n', "\n\u{200F}\n"),
    ] {
        assert_eq!(page(&text).body, expected.body);
        assert_eq!(page(&text).published, expected.published);
    }
    let document = page(
        &ARABIC
            .replace("تاريخ", "\u{200F}تاريخ")
            .replace("وقالت", "\u{202B}وقالت\u{202C}"),
    );
    assert_eq!(document.published, expected.published);
    assert!(document.body[1].starts_with("\u{202B}وقالت\u{202C}"));
}

#[test]
fn control_characters_are_left_out_and_said() {
    let document = page(&ENGLISH.replace("The ferry charges", "The \u{0}ferry\u{8F} charges"));
    assert!(document.body[3].starts_with("The ferry charges"));
    assert!(document.notes[0].contains("2 control characters") && document.notes[0].contains("U+0000"));
}

#[test]
fn bad_pages_are_refused_with_the_reason() {
    let refused = |bytes: &[u8]| read(bytes, &in_arabic()).unwrap_err().0;
    assert_eq!(
        refused(
            "سلام\u{0}"
                .as_bytes()
                .split_last()
                .unwrap()
                .1
                .split_last()
                .unwrap()
                .1
        ),
        { "the page is not UTF-8 from byte offset 6 on" }
    );
    assert_eq!(refused(b""), "the page is empty");
    assert_eq!(refused("\u{FEFF}\r\n \u{200F}\n".as_bytes()), "the page is empty");
    assert_eq!(
        refused("+A -A\nتاريخ النشر: 10 مايو 2022".as_bytes()),
        "the page has no headline"
    );
    assert_eq!(
        refused(&vec![b'a'; MAX_PAGE + 1]),
        "a page of 16777217 bytes is larger than 16777216"
    );
}

#[test]
fn a_title_alone_is_an_article_if_its_language_is_known() {
    let document = read("سوق".as_bytes(), &in_arabic()).unwrap();
    assert_eq!((document.title.as_str(), document.body.len()), ("سوق", 0));
    assert!(document.notes.iter().any(|note| note.contains("no paragraphs")));
    let reason = read(b"OK go", &Defaults::default()).unwrap_err().0;
    assert!(reason.contains("--language"), "{reason}");
    assert!(
        read(b"12345", &Defaults::default())
            .unwrap_err()
            .0
            .contains("--language")
    );
}

#[test]
fn five_mebibytes_are_read() {
    let paragraph =
        "The ferry charges its batteries at the old fish market while passengers board. ".repeat(64);
    let body = vec![paragraph.trim(); 5 * 1024 * 1024 / paragraph.len()];
    let document = page(&format!("{ENGLISH}\n\n{}", body.join("\n\n")));
    assert_eq!(document.body.len(), 5 + body.len());
    let lines = "5\n".repeat(100_000);
    assert_eq!(page(&format!("{ENGLISH}\n{lines}")).body.len(), 100_005);
    let furniture = "+A -A\n".repeat(1_000);
    assert_eq!(page(&format!("{ENGLISH}\n{furniture}")).notes.len(), MAX_NOTES);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, &in_arabic());
    }

    #[test]
    fn every_line_is_content_or_said(
        lines in proptest::collection::vec(
            prop::sample::select(vec![
                "", "Section", "The ferry is back after many years", "Published: 14 June 2024", "Updated: yesterday 5",
                "Source: Saltmere - Bay News", "+A -A", "One paragraph about the boat.", "By Nora Whitlock", "Source:",
                "Download our app", "The town closed the night line years ago.",
            ]),
            0..16,
        ),
    ) {
        if let Ok(document) = read(lines.join("\n").as_bytes(), &in_arabic()) {
            let said = format!("{document:?}");
            for line in lines.iter().filter(|line| !line.is_empty()) {
                let value = line.split_once(": ").map_or(*line, |(_, value)| value);
                let value = value.trim_start_matches("By ").trim_start_matches("Saltmere - ");
                prop_assert!(said.contains(value), "{line:?} is lost in {said}");
            }
        }
    }
}
