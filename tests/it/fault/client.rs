//! The calls of a writer, and the reads that compare.

use std::collections::BTreeMap;

use article_store::pb;
use article_store::pb::admin_service_client::AdminServiceClient;
use article_store::pb::article_service_client::ArticleServiceClient;
use article_store::pb::translation_service_client::TranslationServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::story::{Answer, Known, Request, State, Story, basic};

#[derive(Clone)]
pub(super) struct Client {
    articles: ArticleServiceClient<Channel>,
    translations: TranslationServiceClient<Channel>,
    admin: AdminServiceClient<Channel>,
}

impl Client {
    pub(super) async fn connect(address: String) -> Self {
        let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
        Self {
            articles: ArticleServiceClient::new(channel.clone()),
            translations: TranslationServiceClient::new(channel.clone()),
            admin: AdminServiceClient::new(channel),
        }
    }

    /// Compacts the store, and waits for the end of it.
    pub(super) async fn compact(&mut self) -> Result<(), Status> {
        let steps = self.admin.compact_store(pb::CompactStoreRequest {}).await?;
        let mut steps = steps.into_inner();
        while steps.message().await?.is_some() {}
        Ok(())
    }

    pub(super) async fn send(&mut self, request: &Request) -> Result<Answer, Status> {
        let articles = &mut self.articles;
        let article = match request.clone() {
            Request::Create(request) => articles.create_article(request).await?.into_inner().article,
            Request::Revise(request) => articles.update_article(request).await?.into_inner().article,
            Request::Delete(request) => articles.delete_article(request).await?.into_inner().article,
            Request::Undelete(request) => articles.undelete_article(request).await?.into_inner().article,
            Request::Attach(request) => {
                let answer = self.translations.attach_translation(request).await?;
                let summary = answer.into_inner().translation.unwrap();
                return Ok(Answer::Translation(Box::new(summary)));
            }
        };
        Ok(Answer::Article(Box::new(article.unwrap())))
    }

    /// Reads all that there is of a story; its texts must be whole. A deleted article does not show its translations,
    /// which are then taken to be what is known of them.
    pub(super) async fn read(&mut self, story: &Story) -> Result<Known, Status> {
        let Some(article) = self.revision(story, None).await? else {
            return Ok(Known::default());
        };
        for revision in 1..article.revision {
            let earlier = self.revision(story, Some(revision)).await?;
            assert!(earlier.is_some(), "{} has no revision {revision}", story.name);
        }
        let lookup = pb::LookupArticleRequest {
            show_hidden: false,
            alias: Some(pb::lookup_article_request::Alias::CanonicalUrl(story.url())),
            view: pb::ArticleView::Basic.into(),
            show_deleted: true,
        };
        let looked_up = self.articles.lookup_article(lookup).await?.into_inner();
        let article = basic(article);
        assert_eq!(looked_up.article.map(basic).as_ref(), Some(&article));
        let mut known = Known {
            state: State {
                revision: article.revision,
                deleted: article.delete_time.is_some(),
                translations: BTreeMap::new(),
            },
            article,
            etags: BTreeMap::new(),
        };
        if known.state.deleted {
            known.state.translations = story.known.state.translations.clone();
            known.etags = story.known.etags.clone();
        } else {
            self.read_translations(story, &mut known).await?;
        }
        Ok(known)
    }

    /// An article in a revision, or as it is.
    async fn revision(
        &mut self,
        story: &Story,
        revision: Option<u32>,
    ) -> Result<Option<pb::Article>, Status> {
        let request = pb::GetArticleRequest {
            article_id: story.name.clone(),
            at: revision.map(pb::get_article_request::At::Revision),
            show_deleted: true,
            ..Default::default()
        };
        let article = match self.articles.get_article(request).await {
            Ok(answer) => answer.into_inner().article.unwrap(),
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(status),
        };
        if let Some(revision) = revision {
            assert_eq!(article.revision, revision);
        }
        let title = article.title.as_ref().map(|title| title.text.clone());
        let body = article.body.iter().map(|segment| &segment.text);
        assert!(
            title == Some(story.title(article.revision)) && body.eq(&story.body(article.revision)),
            "{} is torn at revision {}",
            story.name,
            article.revision
        );
        Ok(Some(article))
    }

    async fn read_translations(&mut self, story: &Story, known: &mut Known) -> Result<(), Status> {
        let request = pb::ListTranslationsRequest {
            article_id: story.name.clone(),
            ..Default::default()
        };
        let listed = self.translations.list_translations(request).await?;
        for summary in listed.into_inner().translations {
            let request = pb::GetTranslationRequest {
                show_hidden: false,
                article_id: story.name.clone(),
                language: summary.language.clone(),
                translation_id: summary.translation_id.clone(),
                at: None,
                evidence_only: false,
            };
            let answer = self.translations.get_translation(request).await?;
            let translation = answer.into_inner().translation.unwrap();
            let title = translation.title.unwrap().text;
            let number = title.rsplit(' ').next().unwrap().parse().unwrap();
            let texts =
                std::iter::once(title).chain(translation.body.into_iter().map(|segment| segment.text));
            assert!(
                texts.eq(story.translation(&summary.language, number)),
                "{} is torn in {}",
                story.name,
                summary.language
            );
            let name = (summary.language, summary.translation_id);
            known.state.translations.insert(name.clone(), number);
            known.etags.insert(name, summary.etag);
        }
        Ok(())
    }

    /// The ids of all articles that are not deleted, sorted, from the list by date of receipt.
    pub(super) async fn list(&mut self) -> Result<Vec<String>, Status> {
        let mut names = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListArticlesRequest {
                axis: pb::DateAxis::Ingested.into(),
                page_size: 500,
                page_token,
                ..Default::default()
            };
            let page = self.articles.list_articles(request).await?.into_inner();
            names.extend(page.articles.into_iter().map(|article| article.article_id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                names.sort();
                return Ok(names);
            }
        }
    }
}
