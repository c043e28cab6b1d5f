//! Pages from their import to their comparison by the command line.

use std::fs;

use serde_json::Value;

use super::{PAGE, TRANSLATION, server};
use crate::harness::real_data;

#[test]
fn a_real_page_comes_in_is_listed_by_its_day_and_reads_back() {
    let Some(page) = real_data("erem-2022-05-10.txt") else {
        return;
    };
    let (server, _directory) = server();
    let page = page.to_str().unwrap();
    let imported = server.run(&["import", page, "--id", "erem"]);
    assert!(
        imported.stdout.starts_with("created erem revision 1"),
        "{}",
        imported.stdout
    );
    assert!(
        imported.stdout.contains("note: line 11: \"+A -A\""),
        "{}",
        imported.stdout
    );
    assert!(
        imported
            .stderr
            .starts_with("1 created, 0 revised, 0 unchanged, 0 failed")
    );
    imported.ok();

    let article = server.run(&["get", "erem", "--output", "json"]).ok();
    assert!(article.contains("\"كورونا يُغيب بلينكن عن مؤتمر التحالف ضد داعش في مراكش\""));
    assert!(!article.contains('\u{2067}'));
    let article: Value = serde_json::from_str(&article).unwrap();
    assert_eq!(
        article["title"]["text"],
        "كورونا يُغيب بلينكن عن مؤتمر التحالف ضد داعش في مراكش"
    );
    assert_eq!(article["section"], "أخبار");
    assert_eq!(article["located"], "الرباط");
    assert_eq!(article["infoSources"], serde_json::json!(["إرم نيوز"]));
    assert_eq!(article["language"], "ar");
    assert_eq!(article["direction"], "DIRECTION_RTL");
    assert_eq!(article["published"]["instant"], "2022-05-10T22:45:00Z");
    assert_eq!(article["published"]["original"], "10 مايو 2022 22:45 GMT");
    assert_eq!(article["updated"]["instant"], "2022-05-11T07:02:00Z");
    assert_eq!(article["updated"]["original"], "11 مايو 2022 7:02 GMT");
    // An offset of zero is the default, which the mapping leaves out.
    assert_eq!(article["published"].get("utcOffsetMinutes"), None);
    let lead = article["lead"]["text"].as_str().unwrap();
    assert!(
        lead.starts_with("أعلن وزير الخارجية الأمريكي أنتوني بلينكن، مساء الثلاثاء،"),
        "{lead}"
    );
    let body = article["body"].as_array().unwrap();
    assert_eq!(body.len(), 11);
    for text in body.iter().map(|segment| segment["text"].as_str().unwrap()) {
        assert!(!text.contains("+A -A") && !text.contains("حمل تطبيق"), "{text}");
    }

    let day = |from, to, zone| {
        server
            .run(&["list", "--from", from, "--to", to, "--zone", zone])
            .ok()
    };
    let listed = day("2022-05-10", "2022-05-11", "Africa/Casablanca");
    assert!(listed.contains("erem  2022-05-10 23:45  ar"), "{listed}");
    assert!(listed.contains("\u{2067}كورونا يُغيب بلينكن عن مؤتمر التحالف ضد داعش في مراكش\u{2069}"));
    assert_eq!(
        day("2022-05-11", "2022-05-12", "Africa/Casablanca")
            .lines()
            .count(),
        1
    );
    assert!(day("2022-05-11", "2022-05-12", "Asia/Riyadh").contains("2022-05-11 01:45"));
}

#[test]
fn a_corrected_source_makes_exactly_its_paragraph_stale() {
    let (server, _directory) = server();
    server.run(&["import", PAGE, "--id", "market"]).ok();
    let attach = [
        "attach",
        "market",
        "--language",
        "en",
        "--revision",
        "1",
        "--agent",
        "human",
    ];
    let attached = server.run(&[&attach[..], &["--file", TRANSLATION, "--person", "Nora Whitlock"]].concat());
    assert_eq!(
        attached.ok(),
        "created for market revision 1: en/t1 current; made from revision 1; active, translated, human\n"
    );

    let corrected = fs::read_to_string(PAGE).unwrap().replace("64 ورشة", "66 ورشة");
    let revised = server.feed(&["import", "-", "--id", "market"], &corrected).ok();
    assert!(revised.starts_with("revised market revision 2 -\n"), "{revised}");
    let page = server.run(&["get", "market", "--translation", "en"]).ok();
    assert_eq!(page.matches("^ stale: made from revision 1").count(), 1, "{page}");
    let translation = &server
        .run(&["get", "market", "--translation", "en/t1", "--output", "json"])
        .json()[0];
    assert_eq!(
        translation["summary"]["staleSegmentIds"],
        serde_json::json!(["s2"])
    );
    assert_eq!(translation["summary"]["staleSinceRevision"], 2);
    assert_eq!(translation["agent"]["person"], "Nora Whitlock");
    assert!(server.run(&["list"]).ok().contains("en stale"));

    let mended = server.run(&[
        "attach",
        "market",
        "--language",
        "en",
        "--revision",
        "2",
        "--agent",
        "human",
        "--output",
        "json",
        "--segment",
        "s2=Salma al-Banna said that 66 of 70 workshops were back at work.",
    ]);
    let mended = &mended.json()[0];
    assert_eq!(mended["outcome"], "ATTACH_OUTCOME_UPDATED");
    assert_eq!(mended["translation"]["freshness"], "FRESHNESS_CURRENT");

    // What the reader was given before can still be read.
    let before = server.run(&["get", "market", "--revision", "1"]).ok();
    assert!(
        before.contains("64 ورشة") && !before.contains("66 ورشة"),
        "{before}"
    );

    let short = server.feed(&[&attach[..], &["--file", "-"]].concat(), "Only a headline\n");
    assert_eq!(short.code, Some(1));
    assert!(
        short
            .stderr
            .contains("the file has 1 paragraphs, and revision 1 of market has 8 to translate"),
        "{}",
        short.stderr
    );
    let json = r#"{"title": {"text": "Der Markt"}, "body": [{"segmentId": "s1", "text": "…"}, {"segmentId": "s99", "text": "…"}]}"#;
    let german = [
        "attach",
        "market",
        "--language",
        "de",
        "--revision",
        "2",
        "--agent",
        "llm",
        "--file",
        "-",
    ];
    let unknown = server.feed(&german, json);
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown.stderr.contains("s99") && unknown.stderr.contains("reason BAD_FIELD (INVALID_ARGUMENT)"),
        "{}",
        unknown.stderr
    );
    let partial = server.feed(&german, &json.replace("s99", "s3")).ok();
    assert!(
        partial.contains("de/t1 incomplete: missing lead s2 s4 s5 s6"),
        "{partial}"
    );
}

#[test]
fn revisions_are_compared_word_by_word() {
    let (server, _directory) = server();
    server.run(&["import", PAGE, "--id", "market"]).ok();
    let corrected = fs::read_to_string(PAGE).unwrap().replace("64 ورشة", "66 ورشة");
    server.feed(&["import", "-", "--id", "market"], &corrected).ok();
    let shown = server.run(&["diff", "market", "--from", "1"]).ok();
    let mut lines = shown.lines();
    assert_eq!(lines.next(), Some("market: revision 1 to 2, major (proposed)"));
    assert_eq!(lines.nth(1), Some("s2          changed"));
    assert_eq!(shown.matches("[-").count(), 1, "{shown}");
    assert!(shown.contains("[-64-]{+66+} ورشة"), "{shown}");
    // Right-to-left lines stand in isolates of their own.
    let text: Vec<_> = lines.collect();
    assert!(!text.is_empty());
    for line in text {
        assert!(
            line.starts_with("            \u{2067}") && line.ends_with('\u{2069}'),
            "{line:?}"
        );
    }
    let json = &server
        .run(&["diff", "market", "--from", "1", "--to", "2", "--output", "json"])
        .json()[0];
    assert_eq!(json["significance"], "SIGNIFICANCE_MAJOR");
    assert_eq!(json["significanceProposed"], true);
    let changed: Vec<_> = json["segments"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|segment| segment["change"] != "SEGMENT_CHANGE_UNCHANGED")
        .collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0]["textChanges"].as_array().unwrap().len(), 1);
    let same = server.run(&["diff", "market", "--from", "2"]).ok();
    assert_eq!(same, "market: revision 2 to 2\n");
    let missing = server.run(&["diff", "market", "--from", "9"]);
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.stderr.contains("REVISION_NOT_FOUND"),
        "{}",
        missing.stderr
    );
    assert_eq!(server.run(&["diff", "market"]).code, Some(2));
}
