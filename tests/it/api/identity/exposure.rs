//! Exposure: every call of the descriptors with every single scope, about articles that are there, hidden, deleted or
//! purged. An answer, an error and its metadata hold nothing that the reads do not show to that scope, and a hidden article
//! cannot be told from one that does not exist.

use std::collections::BTreeSet;

use article_store::pb;
use http_body_util::{BodyExt, Full};
use prost::Message as _;
use prost::bytes::Bytes;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tower::{Service, ServiceExt};

use super::{Desk, line, token_of};
use crate::harness::{LIMIT, frame};

/// In every text and in all metadata of the articles, and in the reason of a purge.
const SECRET: &str = "geheimnis";

/// An etag that nothing has.
const OTHER_ETAG: &str = "9-0000000000000000";

const SCOPES: [&str; 9] = [
    "read",
    "ingest",
    "translate:*",
    "review:*",
    "publish:*",
    "admin",
    "embargoed",
    "editorial",
    "act_as",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Present,
    Withheld,
    Embargoed,
    Deleted,
    Purged,
}

impl State {
    const ALL: [Self; 6] = [
        Self::Absent,
        Self::Present,
        Self::Withheld,
        Self::Embargoed,
        Self::Deleted,
        Self::Purged,
    ];

    fn is_hidden(self) -> bool {
        matches!(self, Self::Withheld | Self::Embargoed)
    }

    /// An id of the same length for all states.
    fn id(self, round: usize) -> String {
        format!("{:-<9}{round:04}", format!("{self:?}").to_lowercase())
    }
}

/// What is sent for a call about an article. A call that is not here fails the test.
fn requests(method: &str, id: &str) -> Vec<Value> {
    let job = format!("{id}/es/mt/1");
    let about = |more: Value| {
        let mut request = json!({"articleId": id});
        request
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        request
    };
    let step = |more: Value| {
        let mut request = about(json!({
            "language": "fr", "translationId": "t1", "reason": "x",
            "agent": {"kind": "AGENT_KIND_MT", "engine": "judge"},
        }));
        request
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        request
    };
    let lease = |more: Value| {
        let mut request = json!({"jobId": job, "leaseToken": "00000000000000000000000000000000"});
        request
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        request
    };
    let guid = format!("{SECRET}-{id}");
    let taking = json!({"language": "ar", "title": {"text": "x"}, "guid": format!("{SECRET}-{id}")});
    match method {
        "GetArticle" | "ListRevisions" | "ListTranslations" => vec![about(json!({}))],
        "BatchGetArticles" => vec![json!({"articleIds": [id]})],
        "LookupArticle" => vec![json!({"guid": {"guid": guid}})],
        "ListArticles"
        | "GetStatus"
        | "CheckStore"
        | "BackupStore"
        | "CompactStore"
        | "GetCoverage"
        | "ListTranslationPolicies"
        | "WatchChanges" => vec![json!({})],
        "ExportArticles" => vec![json!({"includeTranslations": true})],
        "DiffRevisions" => vec![about(json!({"fromRevision": 1}))],
        "CreateArticle" => vec![
            json!({"article": {"articleId": id, "language": "ar", "title": {"text": "x"}}}),
            json!({"article": taking}),
        ],
        "UpdateArticle" => vec![
            json!({"article": {"articleId": id}}),
            json!({
                "article": {"articleId": id, "labels": {"x": "y"}}, "updateMask": "labels", "etag": OTHER_ETAG,
            }),
            json!({"article": {"articleId": id, "labels": {"x": "y"}}, "updateMask": "labels"}),
        ],
        "DeleteArticle" | "UndeleteArticle" => vec![about(json!({"etag": OTHER_ETAG})), about(json!({}))],
        "ImportArticles" => vec![json!({"item": 1, "article": taking})],
        "SetPublicationStatus" => vec![
            about(json!({"publicationStatus": "PUBLICATION_STATUS_WITHHELD", "etag": OTHER_ETAG})),
            about(json!({"publicationStatus": "PUBLICATION_STATUS_WITHHELD"})),
        ],
        "PurgeArticle" => vec![
            about(json!({"reason": "x", "etag": OTHER_ETAG})),
            about(json!({"reason": "x"})),
        ],
        "GetTranslation" | "MeasureTranslation" | "ListProvenance" => {
            vec![about(json!({"language": "fr", "translationId": "t1"}))]
        }
        "AttachTranslation" => {
            let attach = about(json!({
                "language": "fr", "sourceRevision": 1, "agent": {"kind": "AGENT_KIND_MT", "engine": "x"},
                "text": {"title": {"text": "un"}, "body": [{"text": "deux"}]},
            }));
            let mut other = attach.clone();
            other["etag"] = OTHER_ETAG.into();
            vec![other, attach]
        }
        "AcknowledgeSource" => vec![step(json!({"etag": OTHER_ETAG, "sourceRevision": 1}))],
        "ReviewTranslation" => [OTHER_ETAG, "1-0"]
            .into_iter()
            .flat_map(|etag| {
                ["TRANSLATION_STATE_REVIEWED", "TRANSLATION_STATE_FINAL"]
                    .map(|state| step(json!({"etag": etag, "state": state})))
            })
            .collect(),
        "AddQualityScores" => {
            let mut request = step(json!({
                "qualityIssues": [{"dimension": "Style", "severity": "ISSUE_SEVERITY_MINOR"}],
            }));
            request.as_object_mut().unwrap().remove("reason");
            vec![request]
        }
        "RejectTranslation" | "DetachTranslation" => vec![step(json!({"etag": OTHER_ETAG})), step(json!({}))],
        "SelectTranslation" => vec![step(json!({"slotEtag": OTHER_ETAG})), step(json!({}))],
        "GetJob" | "CancelJob" | "RetryJob" => vec![json!({"jobId": job})],
        "ListJobs" => vec![about(json!({}))],
        "RequestTranslations" => {
            vec![json!({"articles": {"articleIds": [id]}, "languages": ["de"], "kinds": ["JOB_KIND_MT"]})]
        }
        "ClaimJobs" => vec![json!({"jobIds": [job], "maxJobs": 1, "lease": "60s", "wait": "0s"})],
        "HeartbeatJob" => vec![lease(json!({"lease": "60s"}))],
        "FailJob" => vec![lease(json!({"message": "x"}))],
        "ReleaseJob" => vec![lease(json!({}))],
        "CompleteJob" => vec![lease(json!({
            "text": {"title": {"text": "uno"}}, "agent": {"kind": "AGENT_KIND_MT", "engine": "x"},
        }))],
        "PutTranslationPolicy" => vec![json!({"policy": {
            "policyId": "p", "targetLanguages": ["is"], "kinds": ["JOB_KIND_MT"], "publishers": ["nobody"],
        }})],
        "DeleteTranslationPolicy" => vec![json!({"policyId": "p", "allowMissing": true})],
        other => panic!("{other} has no place in this test yet: say what to send for it"),
    }
}

/// Whether a scope shows an article in this state by itself. A worker is handed the text of the jobs that it claims, and an
/// operator the whole store as a backup and the reason of a purge.
fn shows(scope: &str, method: &str, state: State) -> bool {
    scope == "read" && matches!(state, State::Present | State::Deleted)
        || scope == "translate:*" && method == "ClaimJobs" && state == State::Present
        || scope == "admin" && (method == "BackupStore" || method == "PurgeArticle" && state == State::Purged)
}

/// Whether a call writes to hidden articles too, and so tells that there is one: of a feed, of an editor, of an operator.
fn writes_to_hidden(scope: &str, method: &str) -> bool {
    match method {
        "CreateArticle" | "UpdateArticle" | "DeleteArticle" | "UndeleteArticle" | "ImportArticles" => {
            scope == "ingest"
        }
        "SetPublicationStatus" => matches!(scope, "ingest" | "editorial"),
        "PurgeArticle" => scope == "admin",
        _ => false,
    }
}

/// What came back: the code, and all bytes of the message, the details and the answers.
async fn ask(desk: &Desk, scope: &str, method: &MethodDescriptor, request: &Value) -> (Code, Vec<u8>) {
    let message = DynamicMessage::deserialize(method.input(), request)
        .unwrap_or_else(|error| panic!("{}: {error}: {request}", method.name()));
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let call = http::Request::post(format!("http://{}{path}", desk.server.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {}", token_of(scope)))
        .body(tonic::body::Body::new(Full::new(Bytes::from(frame(
            &message.encode_to_vec(),
        )))))
        .unwrap();
    let exchange = async {
        let mut channel = desk.server.channel();
        let response = channel.ready().await.unwrap().call(call).await.unwrap();
        let mut status = Status::from_header_map(response.headers());
        let mut answered = Vec::new();
        let mut body = response.into_body();
        while let Some(part) = body.frame().await {
            match part.unwrap().into_data() {
                Ok(data) => answered.extend_from_slice(&data),
                Err(part) => {
                    let trailers = part.into_trailers().unwrap_or_default();
                    status = status.or(Status::from_header_map(&trailers));
                }
            }
            if method.name() == "WatchChanges" {
                break;
            }
        }
        let status = status.unwrap_or_else(|| Status::ok(""));
        answered.extend_from_slice(status.message().as_bytes());
        answered.extend_from_slice(status.details());
        (status.code(), answered)
    };
    tokio::time::timeout(LIMIT, exchange)
        .await
        .expect("an answer in time")
}

fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut replaced = bytes.to_vec();
    let mut at = 0;
    while let Some(found) = find(&replaced[at..], from.as_bytes()) {
        replaced[at + found..at + found + to.len()].copy_from_slice(to.as_bytes());
        at += found + to.len();
    }
    replaced
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// Puts one article into each state, with a translation and an open job, and answers the etag of the newest version of each.
async fn furnish(desk: &Desk, round: usize) -> Vec<(State, String)> {
    let mut etags = Vec::new();
    for state in State::ALL.into_iter().filter(|state| *state != State::Absent) {
        let id = state.id(round);
        let secret = || Some(crate::api::segment(&format!("{SECRET} {id}")));
        let article = pb::Article {
            lead: secret(),
            title: secret(),
            guid: format!("{SECRET}-{id}"),
            section: SECRET.into(),
            authors: vec![SECRET.into()],
            ..crate::api::article(&id, &[SECRET])
        };
        desk.create("all", article).await;
        let attach = json!({
            "articleId": id, "language": "fr", "sourceRevision": 1, "agent": {"kind": "AGENT_KIND_MT", "engine": SECRET},
            "text": {
                "title": {"text": SECRET}, "lead": {"text": SECRET}, "body": [{"text": SECRET}],
            },
        });
        let order = json!({"articles": {"articleIds": [id]}, "languages": ["es"], "kinds": ["JOB_KIND_MT"]});
        let status = |status: &str| json!({"articleId": id, "publicationStatus": status, "reason": SECRET});
        let embargo = json!({
            "articleId": id, "publicationStatus": "PUBLICATION_STATUS_USABLE", "embargoTime": "2999-01-01T00:00:00Z",
        });
        let last = match state {
            State::Absent | State::Present => None,
            State::Withheld => Some(("SetPublicationStatus", status("PUBLICATION_STATUS_WITHHELD"))),
            State::Embargoed => Some(("SetPublicationStatus", embargo)),
            State::Deleted => Some(("DeleteArticle", json!({"articleId": id}))),
            State::Purged => Some(("PurgeArticle", json!({"articleId": id, "reason": SECRET}))),
        };
        let steps = [("AttachTranslation", attach), ("RequestTranslations", order)];
        for (method, request) in steps.into_iter().chain(last) {
            let (code, answer) = ask(desk, "all", &method_of(method), &request).await;
            assert_eq!(code, Code::Ok, "{method}: {}", String::from_utf8_lossy(&answer));
        }
        let get = pb::GetArticleRequest {
            article_id: id,
            show_hidden: true,
            show_deleted: true,
            ..Default::default()
        };
        if let Ok(answer) = desk.articles("all").get_article(get).await {
            etags.push((state, answer.into_inner().article.unwrap().etag));
        }
    }
    etags
}

fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(pb::DESCRIPTORS).unwrap();
    let methods = pool
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>());
    methods.collect()
}

fn method_of(name: &str) -> MethodDescriptor {
    methods()
        .into_iter()
        .find(|method| method.name() == name)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_tells_what_the_reads_do_not_show() {
    let lines: Vec<_> = SCOPES
        .iter()
        .map(|scope| line(scope, &[scope], &["mt", "human"]))
        .collect();
    let desk = Desk::with(&[lines, vec![line("all", &["*"], &["mt", "human"])]].concat()).await;
    let (mut round, mut reached) = (0, BTreeSet::new());
    let mut etags = furnish(&desk, round).await;
    for method in methods() {
        for scope in SCOPES {
            let name = method.name();
            let mut is_open = false;
            for number in 0..requests(name, "x").len() {
                let mut absent = None;
                for state in State::ALL {
                    let id = state.id(round);
                    let request = &requests(name, &id)[number];
                    let (code, answer) = ask(&desk, scope, &method, request).await;
                    let said = String::from_utf8_lossy(&answer).into_owned();
                    let case = format!("{name} with {scope} of {state:?}, {request}: {code:?} {said}");
                    is_open |= code != Code::PermissionDenied;
                    if code == Code::Ok {
                        reached.insert(name.to_owned());
                    }
                    // What the caller has sent itself is no secret.
                    let sent = request.to_string();
                    let hidden = said.replace(&format!("{SECRET}-{id}"), "");
                    let hidden = if sent.contains(SECRET) { &hidden } else { &said };
                    let is_list = !sent.contains(&id);
                    assert!(
                        shows(scope, name, state) || is_list && scope == "read" || !hidden.contains(SECRET),
                        "{case}"
                    );
                    if code != Code::Ok && !shows(scope, name, state) {
                        for (_, etag) in etags.iter().filter(|(of, _)| *of == state) {
                            assert!(!said.contains(etag.as_str()), "{case}");
                        }
                        // An article that the caller has not named stays unnamed, as the holder of an alias.
                        let is_named = sent.replace(&format!("{SECRET}-{id}"), "").contains(&id);
                        assert!(is_named || !hidden.contains(&id), "{case}");
                    }
                    match (
                        &absent,
                        state.is_hidden() && !is_list && !writes_to_hidden(scope, name),
                    ) {
                        (None, _) => absent = Some((code, answer, id)),
                        (Some((without, other, as_id)), true) => {
                            assert_eq!(code, *without, "{case}");
                            // The metadata of an error comes in any order.
                            let sorted = |mut bytes: Vec<u8>| {
                                bytes.sort_unstable();
                                bytes
                            };
                            let as_absent = replace(&answer, &id, as_id);
                            let (told, untold) = (sorted(as_absent), sorted(other.clone()));
                            assert_eq!(
                                told,
                                untold,
                                "{case} instead of {}",
                                String::from_utf8_lossy(other)
                            );
                        }
                        (Some(_), false) => {}
                    }
                }
            }
            if is_open && !matches!(scope, "read") {
                round += 1;
                etags = furnish(&desk, round).await;
            }
        }
    }
    // A test that reaches nothing shows nothing.
    let reading = [
        "GetArticle",
        "ExportArticles",
        "GetTranslation",
        "GetJob",
        "ListProvenance",
    ];
    let writing = [
        "UpdateArticle",
        "DeleteArticle",
        "UndeleteArticle",
        "SetPublicationStatus",
        "ImportArticles",
        "PurgeArticle",
        "AttachTranslation",
        "RejectTranslation",
        "SelectTranslation",
        "AddQualityScores",
        "ClaimJobs",
        "CancelJob",
    ];
    for name in reading.into_iter().chain(writing) {
        assert!(reached.contains(name), "{name} was never answered: {reached:?}");
    }
}
