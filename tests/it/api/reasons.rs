//! Every reason that an error can have, made by a real server, with its code and metadata as `error_reason.proto` says them.
//!
//! A reason that is added to the enum does not compile until [`provoke`] makes it. That its text can be shown to anybody is
//! what [`failure`] asserts, of these errors and of all others that the tests see.

use std::sync::Arc;

use article_store::api::Limits;
use article_store::api::codec::ImportArticlesRequest;
use article_store::clock::SystemClock;
use article_store::domain::access::Right;
use article_store::domain::capacity::Capacity;
use article_store::pb;
use article_store::server::CallLimits;
use article_store::server::store_factory::{StoreLocation, StoreOptions};
use article_store::store::kv::engine::{Engine, Write};
use futures::future::join_all;
use futures::stream;
use pb::attach_translation_request::Content;
use pb::{AgentKind, ErrorReason as Reason, IssueSide, TranslationState};
use prost::Message;
use regex::Regex;
use tonic::{Code, Response, Status};

use super::identity;
use super::jobs::{self, claim_one};
use super::layers::{BrokenClock, CREATE, create_request, get_request, held_write, slow_server};
use super::workflow::{by_person, review};
use super::{
    agent, article, attach, create, feed, full_article, purge, quality, retention, rewrite, small_form,
};
use super::{update_request, workflow};
use crate::harness::{BareCall, Failure, Server, Setup, eventually, failure, frame, refused, within};
use crate::store::disk::Disk;

mod provoke;

use provoke::provoke;

const TEXTS: [&str; 2] = ["الفقرة الأولى", "الفقرة الثانية"];
const ENGLISH: [&str; 2] = ["one", "two"];

/// A server with the article `a` and its translation into English.
async fn furnished() -> Server {
    let server = Server::memory().await;
    create(&server, article("a", &TEXTS)).await;
    attach(&server, small_form("a", "en", 1, &ENGLISH)).await;
    server
}

async fn attaching(server: &Server, request: pb::AttachTranslationRequest) -> Failure {
    refused(server.translations().attach_translation(request).await)
}

async fn getting(server: &Server, id: &str) -> Failure {
    refused(server.articles().get_article(get_request(id)).await)
}

async fn creating(server: &Server, article: pb::Article) -> Failure {
    let request = pb::CreateArticleRequest {
        article: Some(article),
        ..Default::default()
    };
    refused(server.articles().create_article(request).await)
}

/// What the proto file says of each reason.
fn documented() -> Vec<(Reason, String)> {
    let proto = include_str!("../../../proto/articlestore/v1/error_reason.proto");
    let mut found = Vec::new();
    let mut comment = String::new();
    for line in proto.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("// ") {
            comment.push_str(text);
            comment.push(' ');
        } else {
            let name = line.split(" = ").next().unwrap();
            found.extend(Reason::from_str_name(name).map(|reason| (reason, comment.clone())));
            comment.clear();
        }
    }
    found
}

/// Asserts that an error is as its comment says.
async fn is_as_documented(reason: Reason, comment: String) {
    let Some(made) = within(Box::pin(provoke(reason))).await else {
        assert!(comment.starts_with("Never sent"), "{comment}");
        return;
    };
    assert_eq!(format!("ERROR_REASON_{}", made.reason), reason.as_str_name());
    let code = article_store::api::status::code_name(made.code);
    assert!(
        comment.starts_with(&format!("{code}. ")) || comment.starts_with(&format!("{code} with RetryInfo. ")),
        "{made:?}: {comment}"
    );
    assert_eq!(
        made.retry,
        comment.contains("with RetryInfo"),
        "{made:?}: {comment}"
    );
    let quoted = Regex::new("`([a-z_]+)`").unwrap();
    let names: Vec<_> = quoted
        .captures_iter(&comment)
        .map(|name| name[1].to_owned())
        .collect();
    for key in made.metadata.keys() {
        assert!(names.contains(key), "{key} is not documented: {comment}");
    }
    assert_eq!(
        !made.metadata.is_empty(),
        comment.contains("Metadata: "),
        "{made:?}: {comment}"
    );
    assert!(!made.message.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_is_given_as_it_is_documented() {
    let documented = documented();
    assert!(documented.len() > 40, "the file is read");
    let mut wrong = Vec::new();
    for (reason, comment) in documented {
        if tokio::spawn(is_as_documented(reason, comment)).await.is_err() {
            wrong.push(reason);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
