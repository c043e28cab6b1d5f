//! What the API promises, asked over the wire of a real server.
//!
//! Answers are compared whole wherever they can be: what a test does not name must not change either.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics"
)]

use article_store::domain::time::Timestamp;
use article_store::pb;
use prost_types::Timestamp as PbTimestamp;

use crate::harness::Server;

mod admin;
mod answers;
mod articles;
mod bad_input;
mod capacity;
mod coverage;
mod diff;
mod dropped;
mod etags;
mod feed;
mod histories;
mod identity;
mod jobs;
mod layers;
mod listing;
mod ntrex;
mod oracle;
mod past;
mod purge;
mod quality;
mod reading;
mod reasons;
mod retention;
mod retries;
mod standard;
mod story;
mod stream_bytes;
mod streams;
mod translations;
mod visibility;
mod workflow;
mod workflow_histories;
mod workflow_race;

/// A text as a segment.
fn segment(text: &str) -> pb::Segment {
    pb::Segment {
        text: text.into(),
        ..Default::default()
    }
}

/// Texts as a body.
fn body<T: AsRef<str>>(texts: &[T]) -> Vec<pb::Segment> {
    texts.iter().map(|text| segment(text.as_ref())).collect()
}

/// An Arabic article with a title and a body.
fn article(id: &str, texts: &[&str]) -> pb::Article {
    pb::Article {
        article_id: id.into(),
        language: "ar".into(),
        title: Some(segment("عنوان")),
        body: body(texts),
        ..Default::default()
    }
}

/// An article with every field that a caller can set.
fn full_article(id: &str) -> pb::Article {
    let texts = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
    let span = pb::Span {
        start: 0,
        end: 5,
        mark: pb::SpanMark::Link.into(),
        href: "https://example.com/x".into(),
    };
    let mut body = body(&["أعلنت وزارة الخارجية", "وقال المتحدث", "صورة"]);
    body[0].spans = vec![span];
    body[1].role = pb::SegmentRole::Quote.into();
    body[2].role = pb::SegmentRole::Caption.into();
    body[2].translate = Some(false);
    pb::Article {
        article_id: id.into(),
        language: "ar-MA".into(),
        title: Some(segment("كورونا يُغيب بلينكن")),
        lead: Some(segment("غاب الوزير عن المؤتمر")),
        body,
        section: "أخبار".into(),
        publisher: "إرم نيوز".into(),
        canonical_url: format!("https://example.com/{id}"),
        guid: format!("guid-{id}"),
        located: "الرباط".into(),
        dateline: "الرباط - إرم نيوز".into(),
        info_sources: texts(["إرم نيوز", "AFP"]),
        authors: texts(["ليلى", "Omar"]),
        keywords: texts(["داعش", "مراكش"]),
        labels: [("desk".to_owned(), "maghreb".to_owned())].into(),
        published: Some(date(1_652_222_700, 60, "10 مايو 2022 - 23:45")),
        updated: Some(date(1_652_252_520, 60, "11 مايو 2022 - 08:02")),
        ..Default::default()
    }
}

fn date(seconds: i64, utc_offset_minutes: i32, original: &str) -> pb::ArticleDate {
    pb::ArticleDate {
        instant: Some(PbTimestamp { seconds, nanos: 0 }),
        original: original.into(),
        utc_offset_minutes,
        precision: pb::DatePrecision::Minute.into(),
        zone_assumed: false,
    }
}

fn time(time: Timestamp) -> PbTimestamp {
    let (seconds, nanos) = time.to_seconds();
    PbTimestamp { seconds, nanos }
}

/// Only what a caller can set, without the ids that the store gave.
fn settable(article: &pb::Article) -> pb::Article {
    let plain = |segment: &pb::Segment| pb::Segment {
        segment_id: String::new(),
        role: match segment.role() {
            pb::SegmentRole::Unspecified => pb::SegmentRole::Paragraph.into(),
            role => role.into(),
        },
        ..segment.clone()
    };
    pb::Article {
        title: article.title.as_ref().map(plain),
        lead: article.lead.as_ref().map(plain),
        body: article.body.iter().map(plain).collect(),
        direction: 0,
        revision: 0,
        etag: String::new(),
        create_time: None,
        update_time: None,
        revise_time: None,
        delete_time: None,
        translations: vec![],
        translation_count: 0,
        publication_status: 0,
        status_reason: String::new(),
        ..article.clone()
    }
}

fn ids(article: &pb::Article) -> Vec<&str> {
    article
        .body
        .iter()
        .map(|segment| segment.segment_id.as_str())
        .collect()
}

async fn create(server: &Server, article: pb::Article) -> pb::Article {
    let request = pb::CreateArticleRequest {
        article: Some(article),
        ..Default::default()
    };
    let answer = server.articles().create_article(request).await.unwrap();
    answer.into_inner().article.unwrap()
}

async fn get(server: &Server, id: &str) -> pb::Article {
    let request = pb::GetArticleRequest {
        article_id: id.into(),
        ..Default::default()
    };
    let answer = server.articles().get_article(request).await.unwrap();
    answer.into_inner().article.unwrap()
}

/// Updates the fields of a mask; an empty mask means those that are set.
async fn update(server: &Server, article: pb::Article, mask: &[&str]) -> pb::Article {
    let answer = server
        .articles()
        .update_article(update_request(article, mask))
        .await;
    answer.unwrap().into_inner().article.unwrap()
}

fn update_request(article: pb::Article, mask: &[&str]) -> pb::UpdateArticleRequest {
    pb::UpdateArticleRequest {
        article: Some(article),
        update_mask: Some(prost_types::FieldMask {
            paths: mask.iter().map(|path| (*path).to_owned()).collect(),
        }),
        ..Default::default()
    }
}

/// Replaces the body by texts without ids.
async fn rewrite<T: AsRef<str>>(server: &Server, id: &str, texts: &[T]) -> pb::Article {
    let article = pb::Article {
        article_id: id.into(),
        body: body(texts),
        ..Default::default()
    };
    update(server, article, &["body"]).await
}

fn agent(kind: pb::AgentKind, name: &str) -> Option<pb::Agent> {
    let mut agent = pb::Agent {
        kind: kind.into(),
        ..Default::default()
    };
    match kind {
        pb::AgentKind::Human => agent.person = name.into(),
        _ => agent.engine = name.into(),
    }
    Some(agent)
}

fn target(text: &str) -> pb::TargetSegment {
    pb::TargetSegment {
        text: text.into(),
        ..Default::default()
    }
}

fn target_of(id: &str, text: &str) -> pb::TargetSegment {
    pb::TargetSegment {
        segment_id: id.into(),
        ..target(text)
    }
}

/// The small form: a title and all body texts in order.
fn small_form<T: AsRef<str>>(
    id: &str,
    language: &str,
    revision: u32,
    texts: &[T],
) -> pb::AttachTranslationRequest {
    let text = pb::TargetText {
        title: Some(target("title")),
        lead: None,
        body: texts.iter().map(|text| target(text.as_ref())).collect(),
    };
    pb::AttachTranslationRequest {
        article_id: id.into(),
        language: language.into(),
        source_revision: revision,
        content: Some(pb::attach_translation_request::Content::Text(text)),
        agent: agent(pb::AgentKind::Mt, "engine"),
        ..Default::default()
    }
}

/// Some segments by id.
fn by_id(id: &str, language: &str, revision: u32, texts: &[(&str, &str)]) -> pb::AttachTranslationRequest {
    let text = pb::TargetText {
        body: texts.iter().map(|(id, text)| target_of(id, text)).collect(),
        ..Default::default()
    };
    pb::AttachTranslationRequest {
        content: Some(pb::attach_translation_request::Content::Text(text)),
        ..small_form(id, language, revision, &[""])
    }
}

async fn attach(
    server: &Server,
    request: pb::AttachTranslationRequest,
) -> (pb::TranslationSummary, pb::AttachOutcome) {
    let answer = server.translations().attach_translation(request).await;
    let answer = answer.unwrap().into_inner();
    let outcome = answer.outcome();
    (answer.translation.unwrap(), outcome)
}

/// Makes something of all that metrics count: three articles, translations that hold and that do not, and jobs.
pub(crate) async fn busy(server: &Server) {
    let texts = ["الأولى", "الثانية"];
    for id in ["a", "b"] {
        create(server, article(id, &texts)).await;
        attach(server, small_form(id, "fr", 1, &["un", "deux"])).await;
    }
    let english = pb::Article {
        language: "en".into(),
        ..article("c", &["one"])
    };
    create(server, english).await;
    attach(server, by_id("a", "de", 1, &[("s1", "eins")])).await;
    // French is stale from here on.
    rewrite(server, "a", &["الأولى جدا", "الثانية"]).await;
    let open = async |ids: &[&str], languages: &[&str], kind: pb::JobKind| {
        let request = pb::RequestTranslationsRequest {
            languages: languages.iter().map(|tag| (*tag).to_owned()).collect(),
            kinds: vec![kind.into()],
            ..jobs::request(ids)
        };
        jobs::open(server, request).await;
    };
    open(&["a", "b", "c"], &["es", "it"], pb::JobKind::Mt).await;
    open(&["a"], &["fr"], pb::JobKind::Human).await;
    let missing = pb::GetArticleRequest {
        article_id: "x".into(),
        ..Default::default()
    };
    server.articles().get_article(missing).await.unwrap_err();
}

/// A translation with its texts; the active one without an id.
async fn translation(server: &Server, article: &str, language: &str, id: &str) -> pb::Translation {
    let request = pb::GetTranslationRequest {
        show_hidden: false,
        article_id: article.into(),
        language: language.into(),
        translation_id: id.into(),
        at: None,
        evidence_only: false,
    };
    let answer = server.translations().get_translation(request).await;
    answer.unwrap().into_inner().translation.unwrap()
}
