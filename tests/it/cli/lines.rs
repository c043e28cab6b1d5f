//! Many articles at once: JSON Lines in and out.

use super::*;

#[test]
fn json_lines_are_answered_one_by_one() {
    let (server, _directory) = server();
    let lines = [
        r#"{"no": 1, "head": "أول", "when": "2024-09-03T10:00:00+01:00", "link": "https://example.com/1"}"#,
        r#"{"no": 2, "head": "ثان", "when": "2024-09-03T106000", "link": "https://example.com/2"}"#,
        r#"{"no": 3, "head": "#,
        "",
        r#"{"no": 5, "head": "خامس", "link": "https://example.com/1"}"#,
        r#"{"no": "a/b", "head": "سادس"}"#,
        r#"{"no": 7, "text": "one\ntwo", "head": "\u001b[2Jred"}"#,
    ]
    .join("\n");
    let import = [
        "import",
        "-",
        "--language",
        "ar",
        "--map",
        "id=no,title=head,body=text,published=when,canonical_url=link",
    ];
    let json = server.feed(&[&import[..], &["--output", "json"]].concat(), &lines);
    assert_eq!(json.code, Some(1));
    assert!(
        json.stderr
            .starts_with("3 created, 0 revised, 0 unchanged, 3 failed, 2 notes"),
        "{}",
        json.stderr
    );
    let answers = objects(&json.stdout);
    let of = |key: &str| {
        answers
            .iter()
            .map(|answer| answer[key].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("item"), ["1", "2", "3", "5", "6", "7"]);
    assert_eq!(of("place"), ["-:1", "-:2", "-:3", "-:5", "-:6", "-:7"]);
    let (created, failed) = ("IMPORT_RESULT_CREATED", "IMPORT_RESULT_FAILED");
    assert_eq!(of("result"), [created, created, failed, failed, failed, created]);
    assert!(
        answers[1]["notes"][0]
            .as_str()
            .unwrap()
            .contains("\"2024-09-03T106000\" is not a date")
    );
    assert!(
        answers[2]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("bad JSON")
    );
    assert_eq!(answers[3]["error"]["reason"], "ERROR_REASON_ALIAS_TAKEN");
    assert_eq!(answers[3]["error"]["metadata"]["holder_article_id"], "1");
    assert_eq!(
        answers[4]["error"]["fieldViolations"][0]["field"],
        "article.article_id"
    );

    let again = server.feed(&import, &lines);
    assert!(
        again
            .stderr
            .starts_with("0 created, 0 revised, 3 unchanged, 3 failed"),
        "{}",
        again.stderr
    );
    assert!(again.stdout.contains(
        "failed -:5 url \"https://example.com/1\" belongs to article \"1\" (ALIAS_TAKEN, ALREADY_EXISTS)"
    ));
    assert!(server.run(&["list", "--undated"]).ok().contains("\n2   undated"));
    let oldest = server.run(&["list", "--order", "oldest", "--limit", "1"]);
    assert!(oldest.stderr.contains("there may be more"));
    assert_eq!(oldest.ok().lines().count(), 2);
    assert_eq!(
        server
            .run(&["list", "--all", "--page-size", "1", "--output", "json"])
            .json()
            .len(),
        3
    );
    let page = server.run(&["get", "7"]).ok();
    assert!(
        page.starts_with("[2Jred\n") && page.contains("s2          two\n"),
        "{page}"
    );
}

#[test]
fn an_export_goes_on_where_it_ended() {
    let (server, _directory) = server();
    let import = [
        "import",
        PAGE,
        "examples/translations/makers-market-en.txt",
        "--id-from-name",
    ];
    server.run(&import).ok();
    let attach = [
        "attach",
        "makers-market-ar",
        "--language",
        "en",
        "--revision",
        "1",
        "--agent",
        "import",
    ];
    server
        .run(&[&attach[..], &["--external-uri", "https://example.com/en"]].concat())
        .ok();
    let export = ["export", "--translations", "--output", "json"];
    let all = server.run(&export).json();
    let name = |item: &Value| match item.get("article") {
        Some(article) => article["articleId"].as_str().unwrap().to_owned(),
        None => item["translation"]["externalUri"].as_str().unwrap().to_owned(),
    };
    let names: Vec<_> = all.iter().map(name).collect();
    assert_eq!(
        names,
        ["makers-market-ar", "https://example.com/en", "makers-market-en"]
    );
    for (index, item) in all.iter().enumerate() {
        let token = item["resumeToken"].as_str().unwrap();
        let rest = server.run(&[&export[..], &["--resume", token]].concat()).json();
        assert_eq!(rest, all[index + 1..]);
        let other = server.run(&["export", "--resume", token]);
        assert_eq!(other.code, Some(1));
        assert!(
            other.stderr.contains("reason BAD_TOKEN (INVALID_ARGUMENT)"),
            "{}",
            other.stderr
        );
    }
}

#[test]
fn ten_thousand_real_articles_come_in_or_say_why_not() {
    let Some(corpus) = real_data("ant-news-ar.jsonl.xz") else {
        return;
    };
    let mut unpack = Command::new("xz")
        .arg("-dc")
        .arg(corpus)
        .stdout(Stdio::piped())
        .spawn()
        .expect("xz is installed");
    let (server, _directory) = server();
    let map = "id=docno,title=title,body=text,section=cat,publisher=src,canonical_url=url,published=time,authors=author,lead=abstract";
    let imported = program(&server.address)
        .args([
            "import",
            "-",
            "--language",
            "ar",
            "--output",
            "json",
            "--map",
            map,
        ])
        .stdin(unpack.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(unpack.wait().unwrap().success());
    println!("{}", String::from_utf8_lossy(&imported.stderr));
    let answers = objects(&String::from_utf8(imported.stdout).unwrap());
    assert_eq!(answers.len(), 10_161);
    let (mut created, mut taken, mut noted) = (0, 0, 0);
    for (answer, line) in answers.iter().zip(1..) {
        assert_eq!(answer["item"], i32::to_string(&line));
        noted += usize::from(answer.get("notes").is_some());
        match answer["result"].as_str().unwrap() {
            "IMPORT_RESULT_CREATED" => created += 1,
            _ => taken += usize::from(answer["error"]["reason"] == "ERROR_REASON_ALIAS_TAKEN"),
        }
    }
    // 20 documents have the very URL of another one, 36 the same one spelled with and without percent-encoding.
    assert_eq!((created, taken), (10_105, 56));
    assert!(noted >= 7, "{noted} malformed times are said");
}
