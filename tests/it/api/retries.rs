//! Retries: a mutation that is sent again under its request id gives the first answer, byte for byte, and applies
//! nothing twice, whatever others wrote meanwhile.

use article_store::pb;
use pb::attach_translation_request::Content;
use prost::Message;
use prost::bytes::Bytes;
use tonic::{Code, Status};

use super::{
    agent, article, attach, body, by_id, create, full_article, get, rewrite, segment, small_form,
    update_request, workflow,
};
use crate::harness::{Server, failure, frame};

const ARTICLES: &str = "/articlestore.v1.ArticleService";
const TRANSLATIONS: &str = "/articlestore.v1.TranslationService";

/// A mutation as it goes over the wire.
#[derive(Debug, Clone)]
struct Mutation {
    path: String,
    request: Vec<u8>,
    /// The same request with another body.
    other: Vec<u8>,
}

impl Mutation {
    fn new<M: Message + Clone>(path: &str, message: &M, change: impl FnOnce(&mut M)) -> Self {
        let mut other = message.clone();
        change(&mut other);
        Self {
            path: path.into(),
            request: frame(&message.encode_to_vec()),
            other: frame(&other.encode_to_vec()),
        }
    }

    fn create(article: pb::Article) -> Self {
        let request = pb::CreateArticleRequest {
            article: Some(article),
            request_id: request_id(),
        };
        Self::new(&format!("{ARTICLES}/CreateArticle"), &request, |r| {
            r.article.as_mut().unwrap().section.push('x');
        })
    }

    fn update(request: pb::UpdateArticleRequest) -> Self {
        let request = pb::UpdateArticleRequest {
            request_id: request_id(),
            ..request
        };
        Self::new(&format!("{ARTICLES}/UpdateArticle"), &request, |r| {
            r.article.as_mut().unwrap().section.push('x');
        })
    }

    fn delete(id: &str) -> Self {
        let request = pb::DeleteArticleRequest {
            article_id: id.into(),
            request_id: request_id(),
            ..Default::default()
        };
        Self::new(&format!("{ARTICLES}/DeleteArticle"), &request, |r| {
            r.etag.push('x');
        })
    }

    fn undelete(id: &str) -> Self {
        let request = pb::UndeleteArticleRequest {
            article_id: id.into(),
            request_id: request_id(),
            ..Default::default()
        };
        Self::new(&format!("{ARTICLES}/UndeleteArticle"), &request, |r| {
            r.etag.push('x');
        })
    }

    fn attach(request: pb::AttachTranslationRequest) -> Self {
        let request = pb::AttachTranslationRequest {
            request_id: request_id(),
            ..request
        };
        Self::new(&format!("{TRANSLATIONS}/AttachTranslation"), &request, |r| {
            r.agent.as_mut().unwrap().model.push('x');
        })
    }

    fn review(request: pb::ReviewTranslationRequest) -> Self {
        let request = pb::ReviewTranslationRequest {
            request_id: request_id(),
            ..request
        };
        Self::new(&format!("{TRANSLATIONS}/ReviewTranslation"), &request, |r| {
            r.reason.push('x');
        })
    }

    fn select(request: pb::SelectTranslationRequest) -> Self {
        let request = pb::SelectTranslationRequest {
            request_id: request_id(),
            ..request
        };
        Self::new(&format!("{TRANSLATIONS}/SelectTranslation"), &request, |r| {
            r.reason.push('x');
        })
    }

    fn reject(request: pb::RejectTranslationRequest) -> Self {
        let request = pb::RejectTranslationRequest {
            request_id: request_id(),
            ..request
        };
        Self::new(&format!("{TRANSLATIONS}/RejectTranslation"), &request, |r| {
            r.reason.push('x');
        })
    }

    fn acknowledge(request: pb::AcknowledgeSourceRequest) -> Self {
        let request = pb::AcknowledgeSourceRequest {
            request_id: request_id(),
            ..request
        };
        Self::new(&format!("{TRANSLATIONS}/AcknowledgeSource"), &request, |r| {
            r.reason.push('x');
        })
    }

    fn detach(id: &str, language: &str, translation: &str) -> Self {
        let request = pb::DetachTranslationRequest {
            article_id: id.into(),
            language: language.into(),
            translation_id: translation.into(),
            request_id: request_id(),
            ..Default::default()
        };
        Self::new(&format!("{TRANSLATIONS}/DetachTranslation"), &request, |r| {
            r.etag.push('x');
        })
    }

    async fn send(&self, server: &Server) -> Result<Bytes, Status> {
        server.raw(&self.path, self.request.clone()).await
    }
}

fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Every mutation, with and without an effect, on articles `a` and `b` and on new ones.
async fn mutations(server: &Server) -> Vec<Mutation> {
    create(server, full_article("a")).await;
    create(server, article("b", &["نص"])).await;
    let english = |text: &str| small_form("a", "en", 1, &[text, "two", "three"]);
    let mut human = by_id("a", "en", 1, &[("s1", "By a person")]);
    human.agent = agent(pb::AgentKind::Human, "Omar");
    let mut candidate = english("candidate");
    candidate.new_candidate = true;
    let mut address = english("");
    address.language = "fr".into();
    address.content = Some(Content::ExternalUri("https://example.com/fr".into()));
    let section = pb::Article {
        article_id: "a".into(),
        section: "جديد".into(),
        ..Default::default()
    };
    let text = pb::Article {
        article_id: "a".into(),
        body: body(&["نص جديد", "وقال المتحدث"]),
        title: Some(segment("عنوان جديد")),
        ..Default::default()
    };
    let mut missing = update_request(full_article("new-1"), &[]);
    missing.allow_missing = true;
    vec![
        Mutation::create(full_article("new-2")),
        Mutation::create(article("", &["بلا معرف"])),
        Mutation::update(missing),
        Mutation::attach(english("one")),
        Mutation::attach(english("one")),
        Mutation::attach(english("ONE")),
        Mutation::attach(human),
        Mutation::attach(english("diverted")),
        Mutation::attach(english("diverted again")),
        Mutation::attach(english("diverted again")),
        Mutation::attach(candidate),
        Mutation::attach(address),
        Mutation::update(update_request(section.clone(), &[])),
        Mutation::update(update_request(section, &[])),
        Mutation::update(update_request(text.clone(), &[])),
        Mutation::update(update_request(text, &[])),
        Mutation::detach("a", "en", "t1"),
        Mutation::detach("a", "en", "t1"),
        Mutation::delete("b"),
        Mutation::delete("b"),
        Mutation::undelete("b"),
        Mutation::undelete("b"),
    ]
}

/// What another client does meanwhile.
async fn interfere(server: &Server, round: usize) {
    let texts = [format!("كتب آخر {round}"), "وقال المتحدث".to_owned()];
    let revised = rewrite(server, "a", &texts).await;
    let mut request = by_id(
        "a",
        "de",
        revised.revision,
        &[(&revised.body[0].segment_id, "anderes")],
    );
    request.new_candidate = true;
    attach(server, request).await;
    let mut other = by_id("a", "en", 1, &[("s2", &format!("interfering {round}"))]);
    other.agent = agent(pb::AgentKind::Tm, &format!("memory {round}"));
    other.new_candidate = round.is_multiple_of(2);
    attach(server, other).await;
    let published = pb::Article {
        article_id: "b".into(),
        dateline: format!("الرباط {round}"),
        ..Default::default()
    };
    let answer = server
        .articles()
        .update_article(update_request(published, &[]))
        .await;
    if answer.is_err() {
        assert!((19..=20).contains(&round), "only while it is deleted");
    }
    create(server, article("", &["مقال آخر"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_gives_the_first_answer_and_applies_nothing_twice() {
    let server = Server::sled().await;
    let mutations = mutations(&server).await;
    let mut first_answers = Vec::new();
    for (index, mutation) in mutations.iter().enumerate() {
        let first = mutation.send(&server).await.unwrap();
        interfere(&server, index + 1).await;
        let (before, seq) = (server.export().await, server.seq().await);
        let second = mutation.send(&server).await.unwrap();
        assert_eq!(second, first, "{} {index}", mutation.path);
        let refused = failure(
            &server
                .raw(&mutation.path, mutation.other.clone())
                .await
                .unwrap_err(),
        );
        assert_eq!(
            (refused.code, refused.reason.as_str()),
            (Code::InvalidArgument, "REQUEST_ID_REUSED"),
            "{} {index}",
            mutation.path
        );
        assert!(refused.metadata.contains_key("request_id"));
        assert_eq!(server.seq().await, seq, "{} {index}", mutation.path);
        assert_eq!(server.export().await, before, "{} {index}", mutation.path);
        first_answers.push(first);
    }
    let before = server.export().await;
    let server = server.restart().await;
    for (index, (mutation, first)) in mutations.iter().zip(&first_answers).enumerate() {
        assert_eq!(
            mutation.send(&server).await.unwrap(),
            *first,
            "{} {index}",
            mutation.path
        );
    }
    assert_eq!(server.export().await, before);
    server.check().await;
}

/// Steps of the workflow are judgements of a text that was read, so that each is made when its turn comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_retried_step_gives_the_first_answer_too() {
    let server = Server::sled().await;
    create(&server, article("a", &["الأولى", "الثانية"])).await;
    attach(&server, small_form("a", "en", 1, &["one", "two"])).await;
    let mut candidate = small_form("a", "en", 1, &["1", "2"]);
    candidate.new_candidate = true;
    attach(&server, candidate).await;
    let mut sent: Vec<(Mutation, Bytes)> = Vec::new();
    for turn in 0..10 {
        let (mine, head) = {
            let read = super::translation(&server, "a", "en", "t1").await;
            (read.summary.unwrap(), get(&server, "a").await.revision)
        };
        let review = |state: pb::TranslationState| pb::ReviewTranslationRequest {
            state: state.into(),
            reason: "because".into(),
            ..workflow::review("Leïla", &mine.etag)
        };
        let mutation = match turn {
            // Every second one finds its work done.
            0 | 1 => Mutation::review(review(pb::TranslationState::Reviewed)),
            2 => Mutation::review(review(pb::TranslationState::Initial)),
            3 => Mutation::select(workflow::select("t2", &mine.slot_etag)),
            4 => Mutation::select(workflow::select("t2", "")),
            5 => Mutation::select(workflow::select("t1", &mine.slot_etag)),
            6 | 7 => Mutation::acknowledge(workflow::acknowledge("Omar", &mine.etag, head)),
            _ => Mutation::reject(workflow::reject("t2", "no")),
        };
        let first = mutation.send(&server).await.unwrap();
        let (before, seq) = (server.export().await, server.seq().await);
        assert_eq!(mutation.send(&server).await.unwrap(), first, "turn {turn}");
        let refused = failure(
            &server
                .raw(&mutation.path, mutation.other.clone())
                .await
                .unwrap_err(),
        );
        assert_eq!(refused.reason, "REQUEST_ID_REUSED", "turn {turn}");
        assert_eq!((server.export().await, server.seq().await), (before, seq));
        if turn % 2 == 1 {
            let texts = [format!("كتب آخر {turn}"), "الثانية".to_owned()];
            rewrite(&server, "a", &texts).await;
            let mut other = by_id("a", "en", 1, &[("s2", &format!("interfering {turn}"))]);
            other.translation_id = "t1".into();
            other.agent = agent(pb::AgentKind::Human, "Nora");
            attach(&server, other).await;
        }
        sent.push((mutation, first));
    }
    let before = server.export().await;
    let server = server.restart().await;
    for (mutation, first) in &sent {
        assert_eq!(mutation.send(&server).await.unwrap(), *first, "{}", mutation.path);
    }
    assert_eq!(server.export().await, before);
    for round in 0..10 {
        let mine = super::translation(&server, "a", "en", "t1")
            .await
            .summary
            .unwrap();
        let to = [pb::TranslationState::Final, pb::TranslationState::Initial][round % 2];
        let again = pb::ReviewTranslationRequest {
            state: to.into(),
            reason: "because".into(),
            ..workflow::review("Leïla", &mine.etag)
        };
        race(&server, &Mutation::review(again), false).await;
    }
    server.check().await;
}

/// Sends the mutation from several clients at once, with others writing, and asserts one answer and one effect.
async fn race(server: &Server, mutation: &Mutation, disturb: bool) -> Bytes {
    let sends = (0..8).map(|_| mutation.send(server));
    let noise = async {
        if disturb {
            attach(server, by_id("a", "sw", 1, &[("s1", &request_id())])).await;
            let noise = pb::Article {
                article_id: "a".into(),
                located: request_id(),
                ..Default::default()
            };
            drop(super::update(server, noise, &["located"]).await);
        }
    };
    let (answers, ()) = futures::join!(futures::future::join_all(sends), noise);
    let mut answers = answers
        .into_iter()
        .map(|answer| answer.expect("a retry is never refused"));
    let first = answers.next().unwrap();
    for answer in answers {
        assert!(answer == first, "{}: two answers to one request", mutation.path);
    }
    assert_eq!(mutation.send(server).await.unwrap(), first);
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_retries_are_one_request() {
    let server = Server::memory().await;
    create(&server, full_article("a")).await;
    for round in 0..25 {
        // With an id, without one, and with an alias that the first to come takes.
        let seq = server.seq().await;
        let id = format!("with-id-{round}");
        race(&server, &Mutation::create(full_article(&id)), false).await;
        let mut aliased = full_article("");
        aliased.canonical_url = format!("https://example.com/race/{round}");
        aliased.guid = format!("race-{round}");
        race(&server, &Mutation::create(aliased), false).await;
        race(&server, &Mutation::create(article("", &["بلا معرف"])), false).await;
        assert_eq!(server.events_after(seq).await.len(), 3, "each was created once");

        // Under an etag that is used up by the first to come.
        let current = get(&server, "a").await;
        let mut guarded = update_request(full_article("a"), &["dateline"]);
        guarded.article.as_mut().unwrap().dateline = format!("الرباط {round}");
        guarded.etag = current.etag;
        race(&server, &Mutation::update(guarded), false).await;

        let mut plain = update_request(full_article("a"), &["body", "dateline"]);
        plain.article.as_mut().unwrap().body[0].text = format!("نص رقم {round}");
        race(&server, &Mutation::update(plain.clone()), true).await;
        race(&server, &Mutation::update(plain), true).await;
        let mut metadata = update_request(full_article("a"), &["section"]);
        metadata.article.as_mut().unwrap().section = format!("قسم {round}");
        race(&server, &Mutation::update(metadata), true).await;

        let revision = get(&server, "a").await.revision;
        let mut candidate = small_form("a", "en", 1, &["one", "two", "three"]);
        candidate.new_candidate = true;
        if round < 10 {
            race(&server, &Mutation::attach(candidate), true).await;
            let listed = get(&server, "a").await.translations;
            assert_eq!(listed.iter().filter(|t| t.language == "en").count(), round + 1);
        }
        let edit = by_id("a", "it", 1, &[("s1", &format!("uno {round}"))]);
        race(&server, &Mutation::attach(edit), true).await;
        let mut guarded = by_id("a", "it", 1, &[("s1", &format!("due {round}"))]);
        guarded.etag = super::translation(&server, "a", "it", "")
            .await
            .summary
            .unwrap()
            .etag;
        race(&server, &Mutation::attach(guarded), false).await;
        assert!(revision >= 1);

        race(&server, &Mutation::delete(&id), false).await;
        race(&server, &Mutation::undelete(&id), false).await;
    }
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_are_uuids_of_one_rpc() {
    let server = Server::memory().await;
    create(&server, article("a", &["نص"])).await;
    let mut client = server.articles();
    for id in [
        "x",
        "00000000-0000-0000-0000-000000000000",
        "0192d3c4-0000-7000-8000",
        &"a".repeat(10_000),
    ] {
        let request = pb::DeleteArticleRequest {
            article_id: "a".into(),
            request_id: id.into(),
            ..Default::default()
        };
        crate::harness::blames(client.delete_article(request).await, &["request_id"]);
    }
    // Another RPC under the same id is another request; another spelling of the id is the same one.
    let id = request_id();
    let delete = |id: &str| pb::DeleteArticleRequest {
        article_id: "a".into(),
        request_id: id.into(),
        ..Default::default()
    };
    let undelete = pb::UndeleteArticleRequest {
        article_id: "a".into(),
        request_id: id.clone(),
        ..Default::default()
    };
    let first = client.delete_article(delete(&id)).await.unwrap().into_inner();
    client.undelete_article(undelete).await.unwrap();
    let again = client
        .delete_article(delete(&id.to_uppercase()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, first);
    assert_eq!(get(&server, "a").await.delete_time, None);
    // What failed was not carried out, and may be sent again.
    let id = request_id();
    let create = |etag: &str| pb::UpdateArticleRequest {
        etag: etag.into(),
        request_id: id.clone(),
        ..update_request(article("a", &["آخر"]), &["body"])
    };
    client.update_article(create("1-0")).await.unwrap_err();
    client.update_article(create("")).await.unwrap();
}
