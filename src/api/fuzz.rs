//! What the fuzzer feeds to the transport: tokens, update masks and whole requests, and what must hold for any of them.
#![expect(clippy::expect_used, reason = "what only the fuzzer runs may end it")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use prost::bytes::Bytes;
use prost_types::FieldMask;
use tokio::runtime::Runtime;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::ServiceExt;

use super::convert;
use super::page_token::{BoundQuery, DiffPlace, Place};
use super::{Caller, Limits, admin, articles, changes, jobs, translations, watch_token};
use crate::clock::SystemClock;
use crate::domain::access::{Principal, Scope};
use crate::domain::job::JobId;
use crate::domain::query::Position;
use crate::domain::time::Timestamp;
use crate::pb;
use crate::service::Service;
use crate::service::export::ExportPosition;
use crate::service::translations::TranslationPlace;
use crate::store::kv::KvStore;
use crate::store::kv::memory::MemoryEngine;

/// Calls after which the store of [`requests`] begins anew, so that it does not grow without bound.
const CALLS: u32 = 2_000;
/// A call that waits for work or for changes is left at that.
const PATIENCE: Duration = Duration::from_millis(20);

/// Page and resume tokens: the text as it is, and as the place within a token that is otherwise right.
pub(crate) fn page_token(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(Some(place)) = watch_token::decode(&text, 0) {
        let again = watch_token::decode(&watch_token::encode(&place, 0), 0);
        assert_eq!(again.ok().flatten(), Some(place));
    }
    leads_back::<Position>(&text);
    leads_back::<JobId>(&text);
    leads_back::<u32>(&text);
    leads_back::<Timestamp>(&text);
    leads_back::<TranslationPlace>(&text);
    leads_back::<DiffPlace>(&text);
    leads_back::<ExportPosition>(&text);
}

/// A place as it is written.
struct Forged<'a>(&'a str);

impl Place for Forged<'_> {
    fn write(&self) -> String {
        self.0.to_owned()
    }

    fn read(_: &str) -> Option<Self> {
        None
    }
}

/// Whatever place a token leads to, its own token leads there too.
fn leads_back<P: Place + Debug + PartialEq>(text: &str) {
    let query = BoundQuery::of([]);
    for token in [text.to_owned(), query.token(&Forged(text))] {
        if let Ok(Some(place)) = query.place::<P>("page_token", &token) {
            let again = query.place("page_token", &query.token(&place));
            assert_eq!(again.ok().flatten(), Some(place));
        }
    }
}

/// Update masks: a path a line. What is accepted names fields of an article only, each of which then changes or is emptied.
pub(crate) fn mask(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let paths: Vec<String> = text.lines().map(str::to_owned).collect();
    let segment = |text: &str| pb::Segment {
        text: text.to_owned(),
        ..pb::Segment::default()
    };
    let article = pb::Article {
        article_id: "a1".into(),
        language: "en".into(),
        title: Some(segment("The night ferry")),
        body: vec![segment("It left at ten.")],
        ..pb::Article::default()
    };
    let is_whole = paths.iter().any(|path| path == "*");
    let are_fields = paths
        .iter()
        .all(|path| convert::MASK_FIELDS.contains(&path.as_str()));
    let request = pb::UpdateArticleRequest {
        article: Some(article),
        update_mask: Some(FieldMask { paths }),
        ..pb::UpdateArticleRequest::default()
    };
    let mut fields = convert::Fields::default();
    let update = convert::update(request, &Limits::default(), &mut fields);
    let is_accepted = update.is_ok_and(|update| fields.finish(update).is_ok());
    assert!(!is_accepted || is_whole || are_fields, "{text:?} was accepted");
}

/// A service over memory, and how many calls it answered.
struct Served {
    routes: Routes,
    calls: u32,
}

thread_local! {
    static SERVED: RefCell<Option<Served>> = const { RefCell::new(None) };
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .expect("a runtime")
});

/// The paths of the API's methods, by their names.
static METHODS: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let pool = prost_reflect::DescriptorPool::decode(pb::DESCRIPTORS).expect("the descriptor is sound");
    let methods = pool.services().flat_map(|service| {
        let methods = service.methods().map(|method| method.name().to_owned());
        let name = service.full_name().to_owned();
        methods
            .map(|method| (method.clone(), format!("/{name}/{method}")))
            .collect::<Vec<_>>()
    });
    methods.collect()
});

/// Requests of all methods: the first line names the method, the rest is the message. No answer is ever a bug of the server,
/// and every error is one of ours.
pub(crate) fn request(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let method = parts.next().and_then(|name| std::str::from_utf8(name).ok());
    let Some(path) = method.and_then(|name| METHODS.get(name)) else {
        return;
    };
    let message = parts.next().unwrap_or_default();
    SERVED.with_borrow_mut(|served| {
        if served.as_ref().is_none_or(|served| served.calls >= CALLS) {
            *served = Some(Served {
                routes: serve(),
                calls: 0,
            });
        }
        if let Some(served) = served {
            served.calls += 1;
            call(served.routes.clone(), path, message);
        }
    });
}

fn serve() -> Routes {
    let _context = RUNTIME.enter();
    let clock = Arc::new(SystemClock);
    let store = KvStore::open(MemoryEngine::default(), clock.clone(), 1 << 20).expect("memory opens");
    let service = Service::new(Arc::new(store), clock);
    let limits = Limits {
        shortest_lease_micros: 1_000,
        ..Limits::default()
    };
    Routes::new(pb::article_service_server::ArticleServiceServer::new(
        articles::Articles::new(service.clone(), limits),
    ))
    .add_service(pb::translation_service_server::TranslationServiceServer::new(
        translations::Translations::new(service.clone(), limits),
    ))
    .add_service(
        pb::translation_job_service_server::TranslationJobServiceServer::new(jobs::Jobs::new(
            service.clone(),
            limits,
        )),
    )
    .add_service(pb::change_service_server::ChangeServiceServer::new(
        changes::Changes::new(service.clone()),
    ))
    .add_service(pb::admin_service_server::AdminServiceServer::new(
        admin::Admin::new(service),
    ))
}

/// A caller with every right.
fn caller() -> Caller {
    let everything = Scope::parse("*").into_iter().collect();
    Caller(Arc::new(Principal::anonymous(everything)))
}

fn call(routes: Routes, path: &str, message: &[u8]) {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let frame = [&[0], &length[..], message].concat();
    let request = http::Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .extension(caller())
        .body(Body::new(Full::new(Bytes::from(frame))))
        .expect("a request");
    RUNTIME.block_on(async {
        let answer = tokio::time::timeout(PATIENCE, async {
            let response = routes.oneshot(request).await.expect("an answer");
            if let Some(status) = Status::from_header_map(response.headers()) {
                return Some(status);
            }
            let mut body = response.into_body();
            // The trailers end it; what a stream would say behind them, nobody reads.
            while let Some(Ok(frame)) = body.frame().await {
                if let Ok(trailers) = frame.into_trailers() {
                    return Status::from_header_map(&trailers);
                }
            }
            None
        });
        if let Ok(Some(status)) = answer.await {
            let is_ours = status.code() == Code::Ok || status.get_details_error_info().is_some();
            let is_bug = matches!(status.code(), Code::Internal | Code::DataLoss | Code::Unknown);
            assert!(is_ours && !is_bug, "{path}: {status:?}");
        }
    });
}
