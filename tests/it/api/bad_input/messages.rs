//! Messages and connections that are broken.

use article_store::pb::attach_translation_request::Content;

use super::*;
use crate::harness::{LIMIT, frame};

/// A request whose first string holds bytes that are not UTF-8, wherever its first string is.
fn not_utf8(path: &str) -> Vec<u8> {
    let article = [0x0A, 2, 0xC3, 0x28];
    if path.ends_with("CreateArticle") || path.ends_with("UpdateArticle") {
        [&[0x0A, 4][..], &article].concat()
    } else if path.ends_with("ListArticles") {
        vec![0x32, 2, 0xC3, 0x28]
    } else {
        article.to_vec()
    }
}

fn malformed(status: &Status) {
    let failure = failure(status);
    assert_eq!(
        (failure.code, failure.reason.as_str()),
        (Code::InvalidArgument, "MALFORMED_MESSAGE"),
        "{failure:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_messages_and_frames_are_the_callers_fault() {
    let (server, before) = furnished().await;
    for path in UNARY {
        malformed(&server.raw(path, frame(&not_utf8(path))).await.unwrap_err());
        // Garbage: an unknown wire type, a length beyond the end, an endless varint.
        for garbage in [&[0x0F][..], &[0x0A, 100, 1], &[0xFF; 32], &[0x00]] {
            malformed(&server.raw(path, frame(garbage)).await.unwrap_err());
        }
        // Cut frames: inside the message, inside the header, no frame at all.
        malformed(
            &server
                .raw(path, frame(&[0x0A; 40])[..20].to_vec())
                .await
                .unwrap_err(),
        );
        malformed(&server.raw(path, vec![0, 0, 0]).await.unwrap_err());
        malformed(&server.raw(path, vec![]).await.unwrap_err());
        // Unknown compression flags.
        for flag in [1, 2, 255] {
            let mut framed = frame(&[]);
            framed[0] = flag;
            malformed(&server.raw(path, framed).await.unwrap_err());
        }
        // 17 MiB, and a header that promises 4 GiB.
        let large = failure(&server.raw(path, frame(&vec![0; 17 << 20])).await.unwrap_err());
        assert_eq!(
            (large.code, large.reason.as_str()),
            (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
            "{path}"
        );
        assert!(large.message.contains("17825792") && large.message.contains("16777216"));
        let promised = failure(
            &server
                .raw(path, vec![0, 255, 255, 255, 255, 1])
                .await
                .unwrap_err(),
        );
        assert_eq!(promised.reason, "MESSAGE_TOO_LARGE");
    }
    for (path, deep) in [
        (format!("{ARTICLES}/ExportArticles"), vec![0x0A, 2, 0xC3, 0x28]),
        (format!("{TRANSLATIONS}/ListTranslations"), vec![0x0A, 0xFF]),
    ] {
        malformed(&server.raw(&path, frame(&deep)).await.unwrap_err());
    }
    // Two messages where one is expected, and unknown fields, are no harm.
    let request = pb::GetArticleRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    let mut unknown = request.encode_to_vec();
    unknown.extend([0xF8, 0x7F, 1]);
    let path = format!("{ARTICLES}/GetArticle");
    let answer = server.raw(&path, frame(&unknown)).await.unwrap();
    assert_eq!(
        pb::GetArticleResponse::decode(answer).unwrap().article,
        Some(super::super::get(&server, "a").await)
    );
    assert_eq!(server.export().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_harms_nobody_else() {
    let (server, before) = furnished().await;
    for garbage in [
        &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        &[0xFF; 512],
        b"",
    ] {
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        // However it ends, it ends.
        drop(
            tokio::time::timeout(LIMIT, stream.read_to_end(&mut rest))
                .await
                .unwrap(),
        );
    }
    assert_eq!(server.export().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_enum_numbers_of_texts_are_named() {
    let (server, before) = furnished().await;
    let mut translations = server.translations();
    let with = |segment: pb::TargetSegment| {
        let text = pb::TargetText {
            body: vec![segment],
            ..Default::default()
        };
        pb::AttachTranslationRequest {
            content: Some(Content::Text(text)),
            ..by_id("a", "en", 1, &[])
        }
    };
    let base = super::super::target_of("s1", "text");
    let span = |mark, end| pb::TargetSegment {
        spans: vec![pb::Span {
            start: 0,
            end,
            mark,
            href: String::new(),
        }],
        ..base.clone()
    };
    for (segment, path) in [
        (span(99, 1), "text.body[0].spans[0].mark"),
        (span(0, 1), "text.body[0].spans[0].mark"),
        (span(10, 5), "text.body[0].spans"),
        (super::super::target_of("s1", "\u{0}"), "text.body[0].text"),
        (super::super::target_of("sx", "text"), "text.body[0].segment_id"),
        (
            pb::TargetSegment {
                sub_state: "plain".into(),
                ..base.clone()
            },
            "text.body[0].sub_state",
        ),
        (
            pb::TargetSegment {
                sub_state: format!("x:{}", "y".repeat(63)),
                ..base.clone()
            },
            "text.body[0].sub_state",
        ),
        (
            pb::TargetSegment {
                sub_state: "x:\u{0}".into(),
                ..base.clone()
            },
            "text.body[0].sub_state",
        ),
    ] {
        blames(translations.attach_translation(with(segment)).await, &[path]);
    }
    let two = pb::TargetText {
        title: Some(super::super::target_of("lead", "x")),
        body: vec![super::super::target_of("s1", "\u{0}"), span(0, 1)],
        ..Default::default()
    };
    let request = pb::AttachTranslationRequest {
        content: Some(Content::Text(two)),
        ..by_id("a", "en", 1, &[])
    };
    blames(
        translations.attach_translation(request).await,
        &[
            "text.title.segment_id",
            "text.body[0].text",
            "text.body[1].spans[0].mark",
        ],
    );
    let body_of = pb::Article {
        article_id: "a".into(),
        body: body(&["x"]),
        ..Default::default()
    };
    let mut request = update_request(body_of, &[]);
    request.significance = 99;
    blames(server.articles().update_article(request).await, &["significance"]);
    assert_eq!(server.export().await, before);
}
