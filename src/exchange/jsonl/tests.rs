//! JSON Lines: mappings, kinds of values, and lines that cannot be read.

use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;
use crate::domain::date::Precision;
use crate::exchange::test_data;

fn in_arabic() -> Defaults {
    Defaults {
        language: Some(Language::parse("ar").unwrap()),
        publisher: "Oasis".into(),
        ..Defaults::default()
    }
}

fn all(input: &[u8], map: &str) -> Vec<Result<(u64, Document), LineError>> {
    read(input, map.parse().unwrap(), in_arabic()).collect()
}

/// The only document of an input with the default mapping.
fn one(line: &str) -> Document {
    let mut documents = read(line.as_bytes(), FieldMap::default(), in_arabic());
    let (_, document) = documents.next().unwrap().unwrap();
    assert!(documents.next().is_none());
    document
}

fn error(line: &[u8], map: &FieldMap) -> (usize, String) {
    let error = read(line, map.clone(), in_arabic()).next().unwrap().unwrap_err();
    assert_eq!(error.line, 1);
    (error.column, error.reason)
}

#[test]
fn every_field_is_read_by_its_own_name() {
    let document = one(
        r#"{"id": "a1", "title": " السوق\nيعود ", "lead": "l", "body": "one\r\n\n \ntwo\u2028three", "section": "s",
        "publisher": "p", "canonical_url": "https://x.example/a", "guid": 92, "published": "10/05/2022",
        "updated": "2022-05-11T07:02:00Z", "language": "AR-eg", "authors": ["A", " ", "B"]}"#
            .replace('\n', " ")
            .as_str(),
    );
    assert_eq!((document.id.as_str(), document.guid.as_str()), ("a1", "92"));
    assert_eq!(
        (document.title.as_str(), document.lead.as_str()),
        ("السوق يعود", "l")
    );
    assert_eq!(document.body, ["one", "two", "three"]);
    assert_eq!(
        (document.section.as_str(), document.publisher.as_str()),
        ("s", "p")
    );
    assert_eq!(document.canonical_url, "https://x.example/a");
    assert_eq!(document.language.as_str(), "ar-EG");
    assert_eq!(document.authors, ["A", "B"]);
    assert_eq!(document.published.unwrap().precision, Precision::Day);
    assert_eq!(
        document.updated.unwrap().instant.unwrap().to_string(),
        "2022-05-11T07:02:00Z"
    );
    assert!(document.notes.is_empty());
}

#[test]
fn absent_null_and_blank_are_the_same_and_defaults_fill_in() {
    let document =
        one(r#"{"title": "t", "lead": null, "body": "", "publisher": " ", "authors": "", "published": ""}"#);
    assert_eq!(document, one(r#"{"title": "t"}"#));
    assert_eq!(
        (document.publisher.as_str(), document.language.as_str()),
        ("Oasis", "ar")
    );
    assert_eq!(document.published, None);
}

#[test]
fn an_array_gives_paragraphs_as_they_are() {
    assert_eq!(
        one(r#"{"body": ["one\ntwo", " ", "three "]}"#).body,
        ["one\ntwo", "three"]
    );
}

#[test]
fn the_language_is_detected_where_nobody_names_it() {
    let line = |title: &str| format!("{{\"title\": {title:?}}}");
    let read = |text: &str| {
        read(text.as_bytes(), FieldMap::default(), Defaults::default())
            .next()
            .unwrap()
    };
    let arabic = read(&line(
        "فتح سوق الحرفيين أبوابه من جديد، صباح الثلاثاء، في الساحة القديمة لمدينة النخيل",
    ));
    assert_eq!(arabic.unwrap().1.language.as_str(), "ar");
    assert!(read(&line("OK go")).unwrap_err().reason.contains("--language"));
}

#[test]
fn a_mapping_reads_the_fields_that_it_names_and_no_others() {
    let line = br#"{"head": {"text": "t"}, "dc.date": "10/05/2022", "dc": {"date": "1/1/2000"}, "body": "not asked for"}"#;
    let documents = all(line, "title=head.text, published = dc.date");
    let document = &documents[0].as_ref().unwrap().1;
    assert_eq!(document.title, "t");
    assert_eq!(document.published.as_ref().unwrap().original, "10/05/2022");
    assert!(document.body.is_empty());
}

#[test]
fn bad_mappings_are_refused_with_the_allowed_names() {
    for (map, clause) in [
        ("", "\"\" is not FIELD=KEY"),
        ("title", "\"title\" is not FIELD=KEY"),
        ("title=", "\"title=\" is not FIELD=KEY"),
        ("title=a..b", "\"title=a..b\" is not FIELD=KEY"),
        ("headline=title", "\"headline\" is not a field"),
        ("title=a,title=b", "\"title\" is mapped twice"),
    ] {
        let reason = map.parse::<FieldMap>().unwrap_err().0;
        assert!(reason.contains(clause), "{map}: {reason}");
        assert!(
            reason.contains("id, title, lead, body, section, publisher, canonical_url, guid, published"),
            "{reason}"
        );
    }
    let map = "title=head.text,published=time";
    assert_eq!(map.parse::<FieldMap>().unwrap().to_string(), map);
}

#[test]
fn an_unreadable_date_makes_an_undated_article_that_says_so() {
    for (json, original) in [
        ("\"2017-01-25T143600\"", "2017-01-25T143600"),
        ("1652222700", "1652222700"),
    ] {
        let document = one(&format!("{{\"title\": \"t\", \"published\": {json}}}"));
        let published = document.published.unwrap();
        assert_eq!((published.instant, published.original.as_str()), (None, original));
        assert_eq!(document.notes.len(), 1);
        assert!(document.notes[0].starts_with("published: ") && document.notes[0].contains(original));
    }
}

#[test]
fn a_default_zone_is_used_and_said() {
    let defaults = Defaults {
        zone: crate::domain::date::parse::zone("Africa/Tunis").unwrap(),
        ..in_arabic()
    };
    let line: &[u8] = br#"{"title": "t", "published": "06/01/2017"}"#;
    let (_, document) = read(line, FieldMap::default(), defaults).next().unwrap().unwrap();
    let published = document.published.unwrap();
    assert_eq!(published.instant.unwrap().to_string(), "2017-01-05T23:00:00Z");
    assert!(published.zone_assumed && published.utc_offset_minutes == 60);
}

#[test]
fn control_characters_are_left_out_and_said() {
    let document = one("{\"title\": \"t\\u0000\", \"body\": [\"216\\u008f x\\u200f\"]}");
    assert_eq!(
        (document.title.as_str(), document.body[0].as_str()),
        ("t", "216 x\u{200F}")
    );
    assert_eq!(document.notes.len(), 2);
    assert!(document.notes[1].starts_with("body: ") && document.notes[1].contains("U+008F"));
}

#[test]
fn wrong_lines_name_the_byte_and_the_reason() {
    let plain = FieldMap::default();
    let nested: FieldMap = "title=head.text,body=text".parse().unwrap();
    for (line, map, column, reason) in [
        (
            r#"{"title": "t""#,
            &plain,
            13,
            "bad JSON: EOF while parsing an object",
        ),
        (r#"{"title": t}"#, &plain, 12, "bad JSON: expected ident"),
        (r#"["t"]"#, &plain, 1, "the line is an array, not an object"),
        (r#"{"title": "t"} x"#, &plain, 16, "bad JSON: trailing characters"),
        (
            r#"{"title":5}"#,
            &plain,
            10,
            "title: a number where a string is wanted",
        ),
        (
            r#"{"id": 1.5, "title": "t"}"#,
            &plain,
            8,
            "id: a number where a string or an integer is wanted",
        ),
        (
            r#"{"x": "\"body\": 1", "body": {}}"#,
            &plain,
            30,
            "body: an object where a string or an array of",
        ),
        (
            r#"{"title": "سوق", "authors": ["A", 1]}"#,
            &plain,
            32,
            "authors: a number where",
        ),
        (
            r#"{"title": "t", "published": true}"#,
            &plain,
            29,
            "published: a boolean where a date",
        ),
        (
            r#"{"title": "t", "language": "x-"}"#,
            &plain,
            28,
            "language: \"x-\" is not a BCP-47",
        ),
        (
            r#"{"id": "a", "lead": "l"}"#,
            &plain,
            1,
            "the article has neither title nor body",
        ),
        (
            r#"{"head": {"a": 1, "text": []}}"#,
            &nested,
            27,
            "title (key \"head.text\"): an array where",
        ),
        (
            r#"{"title": "t"}"#,
            &nested,
            1,
            "neither title (key \"head.text\") nor body (key \"text\")",
        ),
    ] {
        let (at, why) = error(line.as_bytes(), map);
        assert!(why.contains(reason), "{line}: {why}");
        assert_eq!(at, column, "{line}: {why}");
    }
    assert_eq!(
        error(b"{\"title\": \"t\xFF\"}", &plain),
        (13, "the line is not UTF-8 from here on".into())
    );
    assert!(
        error("[".repeat(100_000).as_bytes(), &plain)
            .1
            .contains("recursion limit")
    );
}

#[test]
fn a_bad_line_does_not_end_the_file() {
    let mut input = "\u{FEFF}{\"title\": \"one\"}\r\n\n{\"title\": \""
        .as_bytes()
        .to_vec();
    input.extend(b"\xFF\"}\n{bad}\n   \n{\"title\": \"");
    input.extend(vec![b'x'; MAX_LINE]);
    input.extend(b"\"}\n{\"title\": \"last\"}");
    let found: Vec<_> = all(&input, "title=title")
        .into_iter()
        .map(|item| {
            item.map(|(line, document)| (line, document.title))
                .map_err(|e| (e.line, e.column))
        })
        .collect();
    assert_eq!(
        found,
        [
            Ok((1, "one".into())),
            Err((3, 12)),
            Err((4, 2)),
            Err((6, MAX_LINE + 1)),
            Ok((7, "last".into())),
        ]
    );
}

#[test]
fn the_longest_line_is_read_with_and_without_a_line_break() {
    let wrapping = "{\"title\": \"\"}".len();
    let line = format!("{{\"title\": \"{}\"}}", "x".repeat(MAX_LINE - wrapping));
    assert_eq!(line.len(), MAX_LINE);
    for input in [line.clone(), format!("{line}\n"), format!("{line}\n{{}}")] {
        assert!(all(input.as_bytes(), "title=title")[0].is_ok());
    }
    assert!(all(format!("{line} ").as_bytes(), "title=title")[0].is_err());
}

/// Fails after its first line.
struct Broken(bool);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if std::mem::replace(&mut self.0, true) {
            return Err(std::io::Error::other("unplugged"));
        }
        (&b"{\"title\": \"t\"}\n"[..]).read(buffer)
    }
}

#[test]
fn a_broken_input_is_said_once_and_ends() {
    let input = std::io::BufReader::new(Broken(false));
    let items: Vec<_> = read(input, FieldMap::default(), in_arabic()).collect();
    assert_eq!(items.len(), 2);
    let error = items[1].as_ref().unwrap_err();
    assert_eq!((error.line, error.reason.contains("unplugged")), (2, true));
}

#[test]
fn the_arabic_corpus_comes_in_whole() {
    let Some(path) = test_data("ant-news-ar.jsonl.xz") else {
        return;
    };
    let child = Command::new("xz")
        .arg("-dc")
        .arg(path)
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: xz is not installed");
        return;
    };
    let map = "guid=docno,canonical_url=url,publisher=src,section=cat,title=title,published=time,authors=author,\
               lead=abstract,body=text";
    let input = std::io::BufReader::new(child.stdout.take().unwrap());
    let documents: Vec<_> = read(input, map.parse().unwrap(), in_arabic()).collect();
    assert!(child.wait().unwrap().success());

    let failed: Vec<_> = documents.iter().filter_map(|item| item.as_ref().err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let documents: Vec<_> = documents.into_iter().map(|item| item.unwrap().1).collect();
    let count = |test: &dyn Fn(&Document) -> bool| documents.iter().filter(|document| test(document)).count();
    let precision = |wanted| {
        count(&move |d| {
            d.published
                .as_ref()
                .is_some_and(|date| date.instant.is_some() && date.precision == wanted)
        })
    };
    assert_eq!(documents.len(), 10_161);
    assert_eq!(precision(Precision::Day), 5_333);
    assert_eq!(precision(Precision::Second), 4_821);
    let undated = |d: &Document| d.published.as_ref().is_some_and(|date| date.instant.is_none());
    assert_eq!(count(&undated), 7);
    assert_eq!(
        count(&|d| undated(d)
            && d.notes
                .iter()
                .any(|note| note.starts_with("published (key \"time\")"))),
        7
    );
    assert_eq!(
        count(&|d| !d.notes.is_empty()),
        8,
        "the undated ones and one with a control character"
    );
    assert_eq!(count(&|d| d.title.is_empty()), 4);
    assert_eq!(count(&|d| d.body.is_empty()), 23);
    assert_eq!(count(&|d| d.lead.is_empty()), 6_344);
    assert_eq!(count(&|d| d.publisher == "Oasis"), 1, "one names no publisher");
}

proptest! {
    #[test]
    fn no_bytes_panic_and_every_line_is_answered(lines in proptest::collection::vec("[^\\s\u{FEFF}][^\n]{0,40}", 0..8)) {
        let input = lines.join("\n");
        prop_assert_eq!(all(input.as_bytes(), "title=title").len(), lines.len());
    }

    #[test]
    fn what_was_written_is_read(title in "[a-zا-ي\"\\\\ ]{0,20}[a-zا-ي]", body in proptest::collection::vec("[a-zا-ي]{1,20}", 0..5)) {
        let line = serde_json::json!({"title": title, "body": body.join("\n")}).to_string();
        let document = one(&line);
        prop_assert_eq!(document.title, title.trim());
        prop_assert_eq!(document.body, body);
    }

    #[test]
    fn the_column_is_where_the_value_starts(before in "[a-z\"\\\\ :{},ا-ي]{0,20}") {
        let before = serde_json::json!({"x": before, "y": [{"title": 1}]}).to_string();
        let line = format!("{}, \"title\" : 7}}", before.strip_suffix('}').unwrap());
        let (column, _) = error(line.as_bytes(), &FieldMap::default());
        prop_assert_eq!(column, line.len() - 1);
    }
}
