//! The stream behind `ImportArticles`.

use std::collections::{HashMap, VecDeque};
use std::future::{Ready, ready};

use bytes::Bytes;
use futures::future::{Either, FutureExt};
use futures::stream::{self, Stream};
use prost::Message;
use tokio::task::JoinHandle;
use tonic::{Status, Streaming};

use super::codec::ImportArticlesRequest;
use super::convert::{self, Fields};
use super::{Limits, error, render, status};
use crate::domain::draft::ArticleDraft;
use crate::pb;
use crate::service::byte_budget::HeldBytes;
use crate::service::{Call, Error, Service};

/// Items of an import that are written at the same time.
const WINDOW: usize = 64;

/// An import under way. Items are written side by side and answered in order; an item that has a name in common with one
/// in work waits for it, so that the later one is what stays.
pub(super) struct Import {
    items: Streaming<ImportArticlesRequest>,
    service: Service,
    limits: Limits,
    call: Call,
    in_work: VecDeque<InWork>,
    /// How many items in work have this name.
    names: HashMap<String, usize>,
    waiting: Option<Waiting>,
    ended: Option<Result<(), Status>>,
}

/// An item that is not in work yet.
struct Waiting {
    item: u64,
    draft: Box<ArticleDraft>,
    significance: i32,
    /// Of its message.
    bytes: usize,
}

struct InWork {
    names: Vec<String>,
    answer: Either<JoinHandle<pb::ImportArticlesResponse>, Ready<pb::ImportArticlesResponse>>,
}

impl Import {
    /// An import of these items.
    pub(super) fn new(
        items: Streaming<ImportArticlesRequest>,
        service: Service,
        limits: Limits,
        call: Call,
    ) -> Self {
        Self {
            items,
            service,
            limits,
            call,
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
                    Status::from(Error::Internal(panic.to_string()))
                }),
                Either::Right(ready) => Ok(ready.await),
            });
        }
        self.ended.take().and_then(Result::err).map(Err)
    }

    /// Takes items until the window is full, the stream pauses while there is work, or it ends.
    async fn fill(&mut self) {
        while self.in_work.len() < WINDOW && self.ended.is_none() {
            if let Some(waiting) = self.waiting.take() {
                let names = match self.names_of(&waiting.draft).await {
                    Ok(names) => names,
                    Err(error) => {
                        self.refuse(waiting.item, error::item_error(error));
                        continue;
                    }
                };
                if names.iter().any(|name| self.names.contains_key(name)) {
                    self.waiting = Some(waiting);
                    return;
                }
                let held = match self.service.try_take_import(&self.call, waiting.bytes) {
                    None if !self.in_work.is_empty() => {
                        self.waiting = Some(waiting);
                        return;
                    }
                    None => self.service.take_import(&self.call, waiting.bytes).await,
                    held => held,
                };
                self.start(waiting, names, held);
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
                Err(status) => {
                    let blamed = status::blame_the_caller(status.code(), status.message());
                    self.ended = Some(Err(blamed.unwrap_or(status)));
                }
            }
        }
    }

    /// What an article is found by: its id and aliases, and the ids that its aliases stand for now. An item in work may
    /// name the same article in another way.
    async fn names_of(&self, draft: &ArticleDraft) -> Result<Vec<String>, Error> {
        let aliases = draft.metadata.aliases();
        let holders = match &draft.id {
            Some(id) => vec![id.clone()],
            None => self.service.holders(&aliases).await?,
        };
        let ids = holders.iter().map(|id| format!("id {id}"));
        Ok(ids.chain(aliases.iter().map(ToString::to_string)).collect())
    }

    fn accept(&mut self, request: ImportArticlesRequest) {
        let item = request.item;
        let bytes = request.article.as_ref().map_or(0, Bytes::len);
        match self.draft(request.article) {
            Ok(draft) => {
                self.waiting = Some(Waiting {
                    item,
                    draft: Box::new(draft),
                    significance: request.significance,
                    bytes,
                });
            }
            Err(error) => self.refuse(item, error),
        }
    }

    fn refuse(&mut self, item: u64, error: pb::ItemError) {
        let answer = Either::Right(ready(failed(item, error)));
        self.in_work.push_back(InWork {
            names: Vec::new(),
            answer,
        });
    }

    fn draft(&self, encoded: Option<Bytes>) -> Result<ArticleDraft, pb::ItemError> {
        let encoded = convert::required("article", encoded).map_err(error::item_error)?;
        // Before it is decoded: its segments take more memory than its bytes.
        convert::check_size("an article", encoded.len(), &self.limits).map_err(error::item_error)?;
        let article =
            pb::Article::decode(encoded).map_err(|error| status::malformed_item(&error.to_string()))?;
        convert::article(article, &self.limits).map_err(error::item_error)
    }

    /// Writes an item; the bytes that it holds are given back when it is done, whether its answer is read or not.
    fn start(&mut self, waiting: Waiting, names: Vec<String>, held: Option<HeldBytes>) {
        for name in &names {
            *self.names.entry(name.clone()).or_default() += 1;
        }
        let (service, call) = (self.service.clone(), self.call.clone());
        let task = tokio::spawn(async move {
            let Waiting {
                item,
                draft,
                significance,
                bytes: _,
            } = waiting;
            let answer = import(&service, &call, item, &draft, significance).await;
            drop(held);
            answer
        });
        self.in_work.push_back(InWork {
            names,
            answer: Either::Left(task),
        });
    }
}

async fn import(
    service: &Service,
    call: &Call,
    item: u64,
    draft: &ArticleDraft,
    significance: i32,
) -> pb::ImportArticlesResponse {
    let mut fields = Fields::default();
    let significance = convert::significance(&mut fields, significance);
    let imported = match fields.finish(Some(())) {
        Ok(()) => service.import_article(call, draft, significance).await,
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
            ..failed(item, error::item_error(error))
        },
    }
}

fn failed(item: u64, error: pb::ItemError) -> pb::ImportArticlesResponse {
    pb::ImportArticlesResponse {
        item,
        result: pb::ImportResult::Failed.into(),
        error: Some(error),
        ..Default::default()
    }
}
