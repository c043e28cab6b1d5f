//! `ArticleService`.

use std::pin::Pin;

use futures::stream::{self, Stream, StreamExt};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::codec::ImportArticlesRequest;
use super::convert;
use super::import::Import;
use super::page_token::{BoundQuery, DiffPlace, Page};
use super::{Caller, Limits, render, watch_token};
use crate::domain::draft::ArticleDraft;
use crate::pb;
use crate::pb::article_service_server::ArticleService;
use crate::service::export::{ExportItem, ExportOptions, ExportPosition};
use crate::service::translations::Parts;
use crate::service::view::Moment;
use crate::service::view::View;
use crate::service::{Error, Service};

/// The handlers.
pub struct Articles {
    service: Service,
    limits: Limits,
}

impl Articles {
    /// Handlers over a service.
    pub fn new(service: Service, limits: Limits) -> Self {
        Self { service, limits }
    }

    fn draft(&self, article: Option<pb::Article>) -> Result<ArticleDraft, Error> {
        let article = convert::required("article", article)?;
        convert::check_size("an article", article.encoded_len(), &self.limits)?;
        convert::article(article, &self.limits)
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ArticleService for Articles {
    async fn create_article(
        &self,
        request: Request<pb::CreateArticleRequest>,
    ) -> Result<Response<pb::CreateArticleResponse>, Status> {
        let (call, request, mut fields) = Caller::repeatable(request);
        let draft = fields.join(self.draft(request.article))?;
        let draft = fields.finish(draft)?;
        let written = self.service.create_article(&call, draft).await?;
        Ok(Response::new(pb::CreateArticleResponse {
            article: Some(render::written_article(&written)),
        }))
    }

    async fn get_article(
        &self,
        request: Request<pb::GetArticleRequest>,
    ) -> Result<Response<pb::GetArticleResponse>, Status> {
        use pb::get_article_request::At;
        let (caller, request, mut fields) = Caller::of(request);
        let shown = caller.shown(request.show_deleted, request.show_hidden)?;
        let id = fields.article_id("article_id", &request.article_id);
        let view = fields.view(request.view, View::Full);
        let moment = match &request.at {
            None => Some(Moment::Now),
            Some(At::Revision(number)) => Some(Moment::Revision(*number)),
            Some(At::AsOfTime(time)) => fields.time("as_of_time", time).map(Moment::Time),
        };
        let reading = convert::reading(&request, &mut fields);
        let (id, moment) = fields.finish(id.zip(moment))?;
        let read = self
            .service
            .get_article(&id, view, moment, shown, &reading)
            .await?;
        let parts = match read.is_evidence_omitted {
            true => Parts::Texts,
            false => Parts::All,
        };
        let mut translation = read
            .translation
            .as_ref()
            .map(|translation| render::translation_in_part(translation, parts));
        if let (View::Basic, Some(translation)) = (view, &mut translation) {
            translation.body.clear();
        }
        Ok(Response::new(pb::GetArticleResponse {
            article: Some(render::article(&read.article)),
            served: Some(render::served(&read)),
            translation,
            body_omitted: read.is_body_omitted,
            evidence_omitted: read.is_evidence_omitted,
        }))
    }

    async fn batch_get_articles(
        &self,
        request: Request<pb::BatchGetArticlesRequest>,
    ) -> Result<Response<pb::BatchGetArticlesResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let shown = caller.shown(request.show_deleted, request.show_hidden)?;
        let view = fields.view(request.view, View::Basic);
        let limit = self.limits.batch;
        fields.limited("article_ids", request.article_ids.len(), limit);
        let ids: Vec<_> = request
            .article_ids
            .iter()
            .take(limit)
            .enumerate()
            .filter_map(|(index, id)| fields.article_id(format_args!("article_ids[{index}]"), id))
            .collect();
        let ids = fields.finish(Some(ids))?;
        let answer = self.service.batch_get_articles(&ids, view, shown).await?;
        Ok(Response::new(pb::BatchGetArticlesResponse {
            articles: answer.articles.iter().map(render::article).collect(),
            missing_ids: answer.missing.iter().map(ToString::to_string).collect(),
            unprocessed_ids: answer.unprocessed.iter().map(ToString::to_string).collect(),
        }))
    }

    async fn lookup_article(
        &self,
        request: Request<pb::LookupArticleRequest>,
    ) -> Result<Response<pb::LookupArticleResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let shown = caller.shown(request.show_deleted, request.show_hidden)?;
        let view = fields.view(request.view, View::Full);
        let alias = fields.join(convert::alias(request.alias))?;
        let alias = fields.finish(alias)?;
        let snapshot = self.service.lookup_article(&alias, view, shown).await?;
        Ok(Response::new(pb::LookupArticleResponse {
            article: Some(render::article(&snapshot)),
        }))
    }

    async fn update_article(
        &self,
        request: Request<pb::UpdateArticleRequest>,
    ) -> Result<Response<pb::UpdateArticleResponse>, Status> {
        let (call, request, mut fields) = Caller::repeatable(request);
        let etag = fields.etag("etag", &request.etag);
        let significance = convert::significance(&mut fields, request.significance);
        let update = convert::update(request, &self.limits, &mut fields)?;
        let convert::Update { id, patch, missing } = fields.finish(update)?;
        let written = self
            .service
            .update_article(&call, &id, &patch, missing, etag.as_ref(), significance)
            .await?;
        Ok(Response::new(pb::UpdateArticleResponse {
            article: Some(render::written_article(&written)),
        }))
    }

    async fn delete_article(
        &self,
        request: Request<pb::DeleteArticleRequest>,
    ) -> Result<Response<pb::DeleteArticleResponse>, Status> {
        let (call, request, mut fields) = Caller::repeatable(request);
        let etag = fields.etag("etag", &request.etag);
        let id = fields.article_id("article_id", &request.article_id);
        let id = fields.finish(id)?;
        let written = self.service.delete_article(&call, &id, etag.as_ref()).await?;
        Ok(Response::new(pb::DeleteArticleResponse {
            article: Some(render::written_article(&written)),
        }))
    }

    async fn undelete_article(
        &self,
        request: Request<pb::UndeleteArticleRequest>,
    ) -> Result<Response<pb::UndeleteArticleResponse>, Status> {
        let (call, request, mut fields) = Caller::repeatable(request);
        let etag = fields.etag("etag", &request.etag);
        let id = fields.article_id("article_id", &request.article_id);
        let id = fields.finish(id)?;
        let written = self.service.undelete_article(&call, &id, etag.as_ref()).await?;
        Ok(Response::new(pb::UndeleteArticleResponse {
            article: Some(render::written_article(&written)),
        }))
    }

    async fn set_publication_status(
        &self,
        request: Request<pb::SetPublicationStatusRequest>,
    ) -> Result<Response<pb::SetPublicationStatusResponse>, Status> {
        let (call, request, mut fields) = Caller::repeatable(request);
        let etag = fields.etag("etag", &request.etag);
        let id = fields.article_id("article_id", &request.article_id);
        let change = convert::status_change(request, &mut fields);
        let (id, change) = fields.finish(id.zip(change))?;
        let written = self
            .service
            .set_publication_status(&call, &id, &change, etag.as_ref())
            .await?;
        Ok(Response::new(pb::SetPublicationStatusResponse {
            article: Some(render::written_article(&written)),
        }))
    }

    async fn purge_article(
        &self,
        request: Request<pb::PurgeArticleRequest>,
    ) -> Result<Response<pb::PurgeArticleResponse>, Status> {
        let (call, request, mut fields) = Caller::repeatable(request);
        let etag = fields.etag("etag", &request.etag);
        let id = fields.article_id("article_id", &request.article_id);
        let reason = fields.required_text("reason", request.reason);
        let (id, reason) = fields.finish(id.zip(reason))?;
        let tombstone = self
            .service
            .purge_article(&call, &id, &reason, etag.as_ref())
            .await?;
        Ok(Response::new(render::tombstone(tombstone)))
    }

    async fn list_articles(
        &self,
        request: Request<pb::ListArticlesRequest>,
    ) -> Result<Response<pb::ListArticlesResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let page_size = fields.page_size(request.page_size);
        let view = fields.view(request.view, View::Basic);
        let shown = caller.shown(request.show_deleted, request.show_hidden)?;
        let query = convert::query(&request, shown, &mut fields);
        let query = fields.finish(query)?;
        let page = Page::of(&request);
        let after = page.place()?;
        let watch_token = watch_token::now(&self.service);
        let listed = self
            .service
            .list_articles(&query, after.as_ref(), page_size, view)
            .await?;
        Ok(Response::new(pb::ListArticlesResponse {
            articles: listed.articles.iter().map(render::article).collect(),
            next_page_token: page.next(listed.next.as_ref()),
            watch_token,
        }))
    }

    async fn list_revisions(
        &self,
        request: Request<pb::ListRevisionsRequest>,
    ) -> Result<Response<pb::ListRevisionsResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let page_size = fields.page_size(request.page_size);
        let id = fields.article_id("article_id", &request.article_id);
        let id = fields.finish(id)?;
        let shown = caller.shown(false, request.show_hidden)?;
        let page = Page::of(&request);
        let before = page.place()?;
        let watch_token = watch_token::now(&self.service);
        let (revisions, next) = self.service.list_revisions(&id, shown, before, page_size).await?;
        Ok(Response::new(pb::ListRevisionsResponse {
            revisions: revisions.iter().map(render::revision).collect(),
            next_page_token: page.next(next.as_ref()),
            watch_token,
        }))
    }

    async fn diff_revisions(
        &self,
        request: Request<pb::DiffRevisionsRequest>,
    ) -> Result<Response<pb::DiffRevisionsResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let shown = caller.shown(false, request.show_hidden)?;
        let id = fields.article_id("article_id", &request.article_id);
        if request.from_revision == 0 {
            fields.wrong("from_revision", "is required");
        }
        let id = fields.finish(id)?;
        let page = Page::of(&request);
        let after: Option<DiffPlace> = page.place()?;
        let wanted = (request.to_revision > 0).then_some(request.to_revision);
        let to = after.map_or(wanted, |place| Some(place.to));
        let comparison = self
            .service
            .diff_revisions(&id, request.from_revision, to, shown)
            .await?;
        let start = after.map_or(0, |place| place.segment);
        Ok(Response::new(render::comparison(&comparison, start, &page)))
    }

    type ImportArticlesStream = Answers<pb::ImportArticlesResponse>;

    async fn import_articles(
        &self,
        request: Request<Streaming<ImportArticlesRequest>>,
    ) -> Result<Response<Self::ImportArticlesStream>, Status> {
        let (caller, items, _) = Caller::of(request);
        let import = Import::new(items, self.service.clone(), self.limits, caller.call());
        Ok(Response::new(import.answers().boxed()))
    }

    type ExportArticlesStream = Answers<pb::ExportArticlesResponse>;

    async fn export_articles(
        &self,
        request: Request<pb::ExportArticlesRequest>,
    ) -> Result<Response<Self::ExportArticlesStream>, Status> {
        let (caller, request, _) = Caller::of(request);
        let options = ExportOptions {
            translations: request.include_translations,
            shown: caller.shown(request.show_deleted, request.show_hidden)?,
        };
        let page = Page::of(&request);
        let start: Option<ExportPosition> = page.place()?;
        let export = self.service.export_articles(&caller.call(), options, start);
        let query = page.query;
        let answers = stream::try_unfold(export, move |mut export| async move {
            let next = export.next().await?;
            Ok::<_, Status>(next.map(|(item, position)| (export_item(&item, &position, query), export)))
        });
        Ok(Response::new(answers.boxed()))
    }
}

fn export_item(
    item: &ExportItem,
    position: &ExportPosition,
    query: BoundQuery,
) -> pb::ExportArticlesResponse {
    use pb::export_articles_response::Item;
    let item = match item {
        ExportItem::Article(snapshot) => Item::Article(render::article(snapshot)),
        ExportItem::Translation(snapshot) => Item::Translation(render::translation(snapshot)),
    };
    pb::ExportArticlesResponse {
        item: Some(item),
        resume_token: query.token(position),
    }
}
