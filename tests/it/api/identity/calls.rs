//! Every call of the descriptors: without credentials, with wrong ones, with each scope.

use std::collections::BTreeMap;
use std::fs;

use article_store::domain::access::Scope;
use article_store::pb;
use article_store::server::auth::Config;
use http_body_util::{BodyExt, Full};
use prost::bytes::Bytes;
use prost_reflect::DescriptorPool;
use serde_json::json;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tower::{Service, ServiceExt};

use super::{Desk, line, text, token_of};
use crate::api::article;
use crate::harness::{Failure, LIMIT, Server, Setup, fails, failure, frame};

/// Which scopes open which calls, each by itself.
const OPEN: [(&str, &str); 9] = [
    (
        "read",
        "GetArticle BatchGetArticles LookupArticle ListArticles ListRevisions DiffRevisions ExportArticles GetTranslation \
         ListTranslations ListProvenance MeasureTranslation GetJob ListJobs ListTranslationPolicies WatchChanges GetCoverage",
    ),
    (
        "ingest",
        "CreateArticle UpdateArticle DeleteArticle UndeleteArticle ImportArticles SetPublicationStatus",
    ),
    (
        "translate:fr",
        "AttachTranslation AcknowledgeSource AddQualityScores RequestTranslations ClaimJobs HeartbeatJob CompleteJob FailJob \
         ReleaseJob CancelJob RetryJob",
    ),
    (
        "review:fr",
        "ReviewTranslation RejectTranslation DetachTranslation AddQualityScores RequestTranslations ClaimJobs HeartbeatJob \
         CompleteJob FailJob ReleaseJob CancelJob RetryJob",
    ),
    ("publish:fr", "ReviewTranslation SelectTranslation"),
    (
        "admin",
        "PurgeArticle GetStatus CheckStore BackupStore CompactStore PutTranslationPolicy DeleteTranslationPolicy",
    ),
    ("embargoed", ""),
    ("editorial", "SetPublicationStatus"),
    ("act_as", ""),
];

/// Sends an empty message with these headers, and answers the first thing that comes back.
async fn call(server: &Server, path: &str, headers: &[(&str, &str)]) -> Result<(), Status> {
    let mut request = http::Request::post(format!("http://{}{path}", server.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = tonic::body::Body::new(Full::new(Bytes::from(frame(&[]))));
    let mut channel = server.channel();
    let sent = channel.ready().await.unwrap().call(request.body(body).unwrap());
    let response = tokio::time::timeout(LIMIT, sent).await.unwrap().unwrap();
    if let Some(status) = Status::from_header_map(response.headers()) {
        return Err(status);
    }
    let mut body = response.into_body();
    let first = tokio::time::timeout(LIMIT, body.frame()).await.unwrap();
    let trailers = first.and_then(|frame| frame.unwrap().into_trailers().ok());
    match trailers.as_ref().and_then(Status::from_header_map) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(()),
    }
}

async fn refused(server: &Server, path: &str, headers: &[(&str, &str)]) -> Failure {
    failure(&call(server, path, headers).await.expect_err(path))
}

/// All calls of the API, as paths by method.
fn paths() -> BTreeMap<String, String> {
    let pool = DescriptorPool::decode(pb::DESCRIPTORS).unwrap();
    let methods = pool
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>());
    methods
        .map(|method| {
            let service = method.parent_service().full_name().to_owned();
            (method.name().to_owned(), format!("/{service}/{}", method.name()))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_needs_credentials_with_a_scope_for_it() {
    let lines: Vec<_> = OPEN.iter().map(|(scope, _)| line(scope, &[scope], &[])).collect();
    let desk = Desk::with(&[lines, vec![line("all", &["*"], &[])]].concat()).await;
    let server = &desk.server;
    let paths = paths();
    assert!(paths.len() >= 44);
    let bearer = |token: &str| format!("Bearer {token}");
    let all = bearer(&token_of("all"));
    for (method, path) in &paths {
        let missing = refused(server, path, &[]).await;
        assert_eq!(
            (missing.code, missing.reason.as_str()),
            (Code::Unauthenticated, "CREDENTIALS_MISSING"),
            "{path}"
        );
        let unknown = refused(server, path, &[("authorization", "Bearer as_nobody")]).await;
        assert_eq!(
            (unknown.code, unknown.reason.as_str()),
            (Code::Unauthenticated, "CREDENTIALS_INVALID"),
            "{path}"
        );
        for (scope, opened) in OPEN {
            let token = bearer(&token_of(scope));
            let answer = call(server, path, &[("authorization", &token)]).await;
            let denied = answer
                .err()
                .map(|status| failure(&status))
                .filter(|failure| matches!(failure.code, Code::PermissionDenied | Code::Unauthenticated))
                // What an empty claim asks for is every language: that is no matter of the table.
                .filter(|failure| {
                    failure
                        .metadata
                        .get("scope")
                        .is_none_or(|scope| scope != "translate:*")
                });
            if opened.split(' ').any(|open| open == method) {
                assert_eq!(denied, None, "{path} with {scope}");
                continue;
            }
            let denied = denied.unwrap_or_else(|| panic!("{path} with {scope}"));
            assert_eq!(
                (denied.code, denied.reason.as_str()),
                (Code::PermissionDenied, "MISSING_SCOPE")
            );
            for needed in denied.metadata["scope"].split(',') {
                assert!(
                    denied.message.contains(&format!("\"{needed}\"")),
                    "{}",
                    denied.message
                );
                let needed = needed.replace("<language>", "fr");
                assert!(Scope::parse(&needed).is_ok(), "{needed}");
                let (_, opened) = OPEN.iter().find(|(scope, _)| *scope == needed).unwrap();
                assert!(
                    opened.split(' ').any(|open| open == method),
                    "{path} needs {needed}"
                );
            }
            assert!(!format!("{denied:?}").contains("-token"), "{denied:?}");
        }
        let allowed = call(server, path, &[("authorization", &all)]).await.err();
        let code = allowed.map(|status| status.code());
        assert!(
            !matches!(code, Some(Code::PermissionDenied | Code::Unauthenticated)),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_one_bearer_token_and_nothing_else() {
    let expired = json!({
        "name": "old", "sha256": super::sha256("old-token"), "scopes": ["*"], "expires": "2020-01-01T00:00:00Z",
    });
    let desk = Desk::with(&[line("nora", &["read"], &[]), expired]).await;
    let (server, path) = (&desk.server, "/articlestore.v1.ArticleService/ListArticles");
    for good in ["Bearer nora-token", "bearer nora-token", "BEARER  nora-token "] {
        call(server, path, &[("authorization", good)]).await.unwrap();
    }
    let long = format!("Bearer {}", "x".repeat(4_096));
    for bad in [
        "nora-token",
        "Basic nora-token",
        "Bearer",
        "Bearer ",
        "Bearer nora-toke",
        "Bearer nora-token2",
        "Bearer a.b.c",
        &long,
    ] {
        let failure = refused(server, path, &[("authorization", bad)]).await;
        assert_eq!(failure.reason, "CREDENTIALS_INVALID", "{bad}");
        assert_eq!(failure.message, "the credentials are not valid");
    }
    let twice = [
        ("authorization", "Bearer nora-token"),
        ("authorization", "Bearer nora-token"),
    ];
    assert_eq!(refused(server, path, &twice).await.reason, "CREDENTIALS_INVALID");
    let old = refused(server, path, &[("authorization", "Bearer old-token")]).await;
    assert_eq!(
        (old.code, old.reason.as_str()),
        (Code::Unauthenticated, "CREDENTIALS_EXPIRED")
    );
    // A hash that leaked is no token.
    let hash = format!("Bearer {}", super::sha256("nora-token"));
    assert_eq!(
        refused(server, path, &[("authorization", &hash)]).await.reason,
        "CREDENTIALS_INVALID"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_there_are_not_are_refused_to_everybody() {
    let desk = Desk::with(&[line("all", &["*"], &[])]).await;
    let all = [("authorization", "Bearer all-token")];
    for path in [
        "/articlestore.v1.ArticleService/DropAll",
        "/articlestore.v1.ArticleService/getarticle",
        "/articlestore.v2.ArticleService/GetArticle",
        "/other.Service/Method",
        "/",
    ] {
        let known = refused(&desk.server, path, &all).await;
        assert_eq!(
            (known.code, known.reason.as_str()),
            (Code::Unimplemented, "UNKNOWN_METHOD"),
            "{path}"
        );
        let stranger = refused(&desk.server, path, &[]).await;
        assert_eq!(stranger.reason, "CREDENTIALS_MISSING", "{path}");
    }
    let open = Server::memory().await;
    let unknown = refused(&open, "/articlestore.v1.ArticleService/DropAll", &[]).await;
    assert_eq!(
        (unknown.code, unknown.reason.as_str()),
        (Code::Unimplemented, "UNKNOWN_METHOD")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_credentials_and_reflection_is_a_choice() {
    let lines = [line("all", &["*"], &[])];
    for with_reflection in [true, false] {
        let desk = Desk::of(&lines, |config| Config {
            reflection: with_reflection,
            ..config
        })
        .await;
        let channel = desk.server.channel();
        let health = HealthClient::new(channel.clone())
            .check(HealthCheckRequest::default())
            .await;
        assert!(health.is_ok(), "{health:?}");
        let request = futures::stream::iter([tonic_reflection::pb::v1::ServerReflectionRequest::default()]);
        let asked = ServerReflectionClient::new(channel)
            .server_reflection_info(request.clone())
            .await;
        let known = ServerReflectionClient::new(desk.with_token("all-token"));
        let known = { known }.server_reflection_info(request).await;
        match with_reflection {
            true => assert!(asked.is_ok() && known.is_ok()),
            false => {
                fails(
                    asked.map(|answer| answer.map(drop)),
                    Code::Unauthenticated,
                    "CREDENTIALS_MISSING",
                );
                fails(
                    known.map(|answer| answer.map(drop)),
                    Code::Unimplemented,
                    "UNKNOWN_METHOD",
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_to_everybody_is_said_and_bad_credentials_are_not_nobody() {
    let anonymous = ["read"].map(|scope| Scope::parse(scope).unwrap());
    let lines = [line("feed", &["ingest"], &[])];
    let desk = Desk::of(&lines, |config| Config {
        anonymous: Some(anonymous.into_iter().collect()),
        ..config
    })
    .await;
    desk.create("feed", article("a", &["نص"])).await;
    let get = || pb::GetArticleRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    assert!(desk.server.articles().get_article(get()).await.is_ok());
    let create = pb::CreateArticleRequest::default();
    let refused = desk.server.articles().create_article(create.clone()).await;
    fails(refused, Code::Unauthenticated, "CREDENTIALS_MISSING");
    let refused = desk.articles("nobody").get_article(get()).await;
    fails(refused, Code::Unauthenticated, "CREDENTIALS_INVALID");
    // The feed may write, and is not everybody.
    fails(
        desk.articles("feed").get_article(get()).await,
        Code::PermissionDenied,
        "MISSING_SCOPE",
    );
    // Without any credentials that could be had, a credential is not looked at, and a missing scope is what it is.
    let server = Setup::sled()
        .auth(Config {
            anonymous: Some([Scope::parse("read").unwrap()].into_iter().collect()),
            ..Config::default()
        })
        .start()
        .await;
    fails(
        server.articles().create_article(create).await,
        Code::PermissionDenied,
        "MISSING_SCOPE",
    );
    let path = "/articlestore.v1.ArticleService/ListArticles";
    call(&server, path, &[("authorization", "Basic eDp5")])
        .await
        .unwrap();
}

/// Asks until the answer is as expected.
async fn until(desk: &Desk, token: &str, expected: Result<(), &str>) {
    let path = "/articlestore.v1.ArticleService/ListArticles";
    let header = format!("Bearer {token}");
    let end = tokio::time::Instant::now() + LIMIT;
    loop {
        let answer = call(&desk.server, path, &[("authorization", &header)]).await;
        let reason = answer.map_err(|status| failure(&status).reason);
        if reason.as_ref().map_err(String::as_str) == expected.as_ref().map_err(|reason| *reason).map(|_| &())
        {
            return;
        }
        assert!(
            tokio::time::Instant::now() < end,
            "{token}: {reason:?} instead of {expected:?}"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_come_and_go_without_a_restart() {
    let (nora, idris) = (line("nora", &["read"], &[]), line("idris", &["read"], &[]));
    let desk = Desk::with(std::slice::from_ref(&nora)).await;
    until(&desk, "nora-token", Ok(())).await;
    until(&desk, "idris-token", Err("CREDENTIALS_INVALID")).await;
    desk.replace(&text(&[nora.clone(), idris.clone()]));
    until(&desk, "idris-token", Ok(())).await;
    until(&desk, "nora-token", Ok(())).await;
    // One is taken away, another loses its scope.
    let less = json!({ "name": "nora", "sha256": nora["sha256"], "scopes": ["ingest"] });
    desk.replace(&text(std::slice::from_ref(&less)));
    until(&desk, "idris-token", Err("CREDENTIALS_INVALID")).await;
    until(&desk, "nora-token", Err("MISSING_SCOPE")).await;
    // A broken file changes nothing, and the next good one does.
    for broken in ["", "{", "{\"name\":\"nora\"}\n"] {
        desk.replace(broken);
        // The file is looked at every second: two looks at another file after it prove that this one was seen.
        assert_eq!(fs::read_to_string(desk.file()).unwrap(), broken);
        until(&desk, "nora-token", Err("MISSING_SCOPE")).await;
    }
    fs::write(desk.file(), text(&[nora])).unwrap();
    until(&desk, "nora-token", Ok(())).await;
}
