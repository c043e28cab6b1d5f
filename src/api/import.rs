//! The stream behind `ImportArticles`.

use std::collections::{HashMap, VecDeque};
use std::future::{Ready, ready};

use futures::future::{Either, FutureExt};
use futures::stream::{self, Stream};
use prost::Message;
use tokio::task::JoinHandle;
use tonic::{Status, Streaming};

use super::codec::ImportArticlesRequest;
use super::convert::{self, Fields};
use super::{Limits, error, render};
use crate::domain::draft::ArticleDraft;
use crate::pb;
use crate::service::{Call, Error, Service};

/// Items of an import that are written at the same time.
const WINDOW: usize = 64;

/// An import under way. Items are written side by side and answered in order; an item that has a name in common with one
/// in work waits for it, so that the later one is what stays.
pub(super) struct Import {
    items: Streaming<ImportArticlesRequest>,
    service: Service,
    limits: Limits,
    in_work: VecDeque<InWork>,
    /// How many items in work have this name.
    names: HashMap<String, usize>,
    waiting: Option<(u64, Box<ArticleDraft>, i32)>,
    ended: Option<Result<(), Status>>,
}

struct InWork {
    names: Vec<String>,
    answer: Either<JoinHandle<pb::ImportArticlesResponse>, Ready<pb::ImportArticlesResponse>>,
}

impl Import {
    /// An import of these items.
    pub(super) fn new(items: Streaming<ImportArticlesRequest>, service: Service, limits: Limits) -> Self {
        Self {
            items,
            service,
            limits,
            in_work: VecDeque::new(),
            names: HashMap::new(),
            waiting: None,
            ended: None,
        }
    }

    /// An answer for each item, in order. It is worked on only as fast as the answers are read.
    pub(super) fn answers(self) -> impl Stream<Item = Result<pb::ImportArticlesResponse, Status>> {
        stream::unfold(self, |mut import| async {
            import.next().await.map(|answer| (answer, import))
        })
    }

    /// The next answer; `None` at the end.
    async fn next(&mut self) -> Option<Result<pb::ImportArticlesResponse, Status>> {
        self.fill().await;
        if let Some(work) = self.in_work.pop_front() {
            for name in work.names {
                if let Some(count) = self.names.get_mut(&name) {
                    *count -= 1;
                    if *count == 0 {
                        self.names.remove(&name);
                    }
                }
            }
            return Some(match work.answer {
                Either::Left(task) => task.await.map_err(|panic| {
                    tracing::error!(%panic, "an import failed unexpectedly");
                    error::status(Error::Internal(panic.to_string()))
                }),
                Either::Right(ready) => Ok(ready.await),
            });
        }
        self.ended.take().and_then(Result::err).map(Err)
    }

    /// Takes items until the window is full, the stream pauses while there is work, or it ends.
    async fn fill(&mut self) {
        while self.in_work.len() < WINDOW && self.ended.is_none() {
            if let Some((item, draft, significance)) = self.waiting.take() {
                if names(&draft).iter().any(|name| self.names.contains_key(name)) {
                    self.waiting = Some((item, draft, significance));
                    return;
                }
                self.start(item, draft, significance);
                continue;
            }
            let received = if self.in_work.is_empty() {
                self.items.message().await
            } else {
                match self.items.message().now_or_never() {
                    Some(received) => received,
                    None => return,
                }
            };
            match received {
                Ok(Some(request)) => self.accept(request),
                Ok(None) => self.ended = Some(Ok(())),
                Err(status) => self.ended = Some(Err(status)),
            }
        }
    }

    fn accept(&mut self, request: ImportArticlesRequest) {
        let item = request.item;
        let draft = || -> Result<ArticleDraft, Error> {
            let encoded = convert::required("article", request.article)?;
            let (size_bytes, limit_bytes) = (encoded.len(), self.limits.article_bytes);
            if size_bytes > limit_bytes {
                return Err(Error::TooLarge {
                    what: "an article",
                    size_bytes,
                    limit_bytes,
                });
            }
            let article = pb::Article::decode(encoded)
                .map_err(|error| Error::invalid("article", format!("cannot be decoded: {error}")))?;
            convert::article(article)
        };
        match draft() {
            Ok(draft) => self.waiting = Some((item, Box::new(draft), request.significance)),
            Err(error) => {
                let answer = Either::Right(ready(failed(item, error)));
                self.in_work.push_back(InWork {
                    names: Vec::new(),
                    answer,
                });
            }
        }
    }

    fn start(&mut self, item: u64, draft: Box<ArticleDraft>, significance: i32) {
        let names = names(&draft);
        for name in &names {
            *self.names.entry(name.clone()).or_default() += 1;
        }
        let service = self.service.clone();
        let task = tokio::spawn(async move { import(&service, item, &draft, significance).await });
        self.in_work.push_back(InWork {
            names,
            answer: Either::Left(task),
        });
    }
}

/// What an article is found by.
fn names(draft: &ArticleDraft) -> Vec<String> {
    let id = draft.id.iter().map(|id| format!("id {id}"));
    id.chain(draft.metadata.aliases().iter().map(ToString::to_string))
        .collect()
}

async fn import(
    service: &Service,
    item: u64,
    draft: &ArticleDraft,
    significance: i32,
) -> pb::ImportArticlesResponse {
    let mut fields = Fields::default();
    let significance = convert::significance(&mut fields, significance);
    let imported = match fields.finish(Some(())) {
        Ok(()) => {
            service
                .import_article(&Call::default(), draft, significance)
                .await
        }
        Err(error) => Err(error),
    };
    match imported {
        Ok((snapshot, outcome)) => pb::ImportArticlesResponse {
            item,
            result: render::import_result(outcome).into(),
            article_id: snapshot.state.head.id.to_string(),
            revision: snapshot.state.head.revision(),
            etag: snapshot.state.head.current.etag.to_string(),
            error: None,
        },
        Err(error) => pb::ImportArticlesResponse {
            article_id: draft.id.as_ref().map(ToString::to_string).unwrap_or_default(),
            ..failed(item, error)
        },
    }
}

fn failed(item: u64, error: Error) -> pb::ImportArticlesResponse {
    pb::ImportArticlesResponse {
        item,
        result: pb::ImportResult::Failed.into(),
        error: Some(error::item_error(error)),
        ..Default::default()
    }
}
