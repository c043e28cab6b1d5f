//! `scores`: evidence is added and listed, and a translation measured.

use serde_json::json;

use super::{PAGE, TRANSLATION, server};

const ISSUES: &str = r#"{
    "agent": {"kind": "AGENT_KIND_HUMAN", "person": "Rana Haddad"},
    "qualityScores": [{"metric": "DA", "value": 71, "max": 100, "higherIsBetter": true, "segmentId": "s2"}],
    "qualityIssues": [
        {"dimension": "Accuracy", "subtype": "Omission", "severity": "ISSUE_SEVERITY_CRITICAL", "side": "ISSUE_SIDE_SOURCE",
         "segmentId": "s2", "start": 0, "end": 5, "comment": "اسم الورشة ناقص"},
        {"dimension": "Style", "severity": "ISSUE_SEVERITY_MINOR"}
    ]
}"#;

#[test]
fn evidence_is_added_listed_and_outdated() {
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
        "mt",
    ];
    server.run(&[&attach[..], &["--file", TRANSLATION]].concat()).ok();
    let scores = ["scores", "market", "--language", "en"];
    let first = [&scores[..], &["--translation-id", "t1"]].concat();
    assert_eq!(server.run(&scores).ok(), "no scores and no issues\n");

    let add = [&first[..], &["--add", "-"]].concat();
    let added = server.feed(&add, ISSUES).ok();
    assert!(added.starts_with("added to en/t1 current"), "{added}");
    let again = server.feed(&add, ISSUES).ok();
    assert!(again.starts_with("already known of en/t1 current"), "{again}");
    let metric = [
        "--metric",
        "TER",
        "--value",
        "-0.5",
        "--min",
        "-1",
        "--max",
        "1",
        "--lower-is-better",
    ];
    let by = ["--agent", "rule", "--tool", "scorer", "--output", "json"];
    let one = server.run(&[&first[..], &metric, &by].concat()).json();
    assert_eq!(one[0]["added"], true);
    assert_eq!(one[0]["translation"]["freshness"], "FRESHNESS_CURRENT");

    let json = [&scores[..], &["--output", "json"]].concat();
    let listed = server.run(&json).json();
    let [da, ter, omission, style] = listed.as_slice() else {
        panic!("{listed:?}")
    };
    assert_eq!(
        (&da["metric"], &da["value"], &da["segmentId"]),
        (&json!("DA"), &json!(71.0), &json!("s2"))
    );
    assert_eq!(
        (&ter["value"], &ter["min"], ter.get("higherIsBetter")),
        (&json!(-0.5), &json!(-1.0), None)
    );
    assert_eq!(ter["scorer"], "scorer");
    assert_eq!((&omission["start"], &omission["end"]), (&json!(0), &json!(5)));
    assert_eq!(omission["side"], "ISSUE_SIDE_SOURCE");
    assert_eq!((style.get("segmentId"), style.get("outdated")), (None, None));

    // The text of one paragraph changes: what was said of it, and of the whole, holds no longer.
    let edit = [
        "attach",
        "market",
        "--language",
        "en",
        "--revision",
        "1",
        "--agent",
        "mt",
        "--segment",
        "s2=Other.",
    ];
    server.run(&edit).ok();
    let page = server.run(&scores).ok();
    assert!(page.starts_with("SEGMENT  METRIC"), "{page}");
    assert_eq!(page.matches("outdated").count(), 4, "{page}");
    assert!(
        page.contains("critical  Accuracy/Omission  source 0..5"),
        "{page}"
    );
    assert!(page.contains("ناقص"), "{page}");

    let refused = server.feed(
        &add,
        &ISSUES
            .replace("\"end\": 5", "\"end\": 500")
            .replace("\"value\": 71", "\"value\": 101"),
    );
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("quality_scores[0].value"),
        "{}",
        refused.stderr
    );
    let beyond = server.feed(&add, &ISSUES.replace("\"end\": 5", "\"end\": 500"));
    assert!(beyond.stderr.contains("500 is beyond the"), "{}", beyond.stderr);
    for usage in [
        &[&scores[..], &["--add", "-", "--agent", "human"]].concat()[..],
        &[&first[..], &metric].concat(),
        &[&first[..], &["--metric", "TER", "--value", "1"]].concat(),
        &[&first[..], &["--measure", "--add", "-"]].concat(),
        &[&first[..], &["--reference", "t2"]].concat(),
    ] {
        assert_eq!(server.feed(usage, "{}").code, Some(2), "{usage:?}");
    }
}

#[test]
fn a_translation_is_measured() {
    let (server, _directory) = server();
    server.run(&["import", PAGE, "--id", "market"]).ok();
    let attach = ["attach", "market", "--language", "en", "--revision", "1"];
    server
        .run(&[&attach[..], &["--file", TRANSLATION, "--agent", "human"]].concat())
        .ok();
    let machine = std::fs::read_to_string(TRANSLATION).unwrap().replace("64", "66");
    let file = [&attach[..], &["--file", "-", "--agent", "mt", "--new-candidate"]].concat();
    server.feed(&file, &machine).ok();

    let measure = [
        "scores",
        "market",
        "--language",
        "en",
        "--measure",
        "--translation-id",
        "t2",
        "--reference",
        "t1",
    ];
    let page = server.run(&measure).ok();
    assert!(page.starts_with("chrF++ against en/t1: 9"), "{page}");
    assert!(
        page.contains("unmodified machine output: 100.0 % of 8 segments, 100.0 % of"),
        "{page}"
    );
    assert!(page.contains("missing numbers: 64; added numbers: 66"), "{page}");
    let json = &server.run(&[&measure[..], &["--output", "json"]].concat()).json()[0];
    let different: Vec<_> = json["segments"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|segment| segment.get("numbers").is_some())
        .map(|segment| (&segment["segmentId"], &segment["numbers"]))
        .collect();
    assert_eq!(
        different,
        [(&json!("s2"), &json!({"missing": ["64"], "added": ["66"]}))]
    );
    assert!(json["chrf"].as_f64().unwrap() > 90.0);
    let human = server
        .run(&["scores", "market", "--language", "en", "--measure"])
        .ok();
    assert!(
        human.starts_with("unmodified machine output: 0.0 % of 8 segments"),
        "{human}"
    );
    let missing = server.run(&["scores", "market", "--language", "fr", "--measure"]);
    assert_eq!(missing.code, Some(1));
    assert!(
        missing
            .stderr
            .contains("reason TRANSLATION_NOT_FOUND (NOT_FOUND)"),
        "{}",
        missing.stderr
    );
}
