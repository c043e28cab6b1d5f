//! `TranslationService`.

use prost::Message;
use tonic::{Request, Response, Status};

use super::convert::{self, Fields};
use super::page_token::Page;
use super::{Caller, Limits, render, watch_token};
use crate::domain::attach::{self, Target};
use crate::domain::request::Outcome;
use crate::domain::time::Timestamp;
use crate::pb;
use crate::pb::translation_service_server::TranslationService;
use crate::service::attach::{Attachment, Sent};
use crate::service::translations::{ListFilter, Parts};
use crate::service::view::Moment;
use crate::service::{Call, Service};

/// The handlers.
pub struct Translations {
    service: Service,
    limits: Limits,
}

impl Translations {
    /// Handlers over a service.
    pub fn new(service: Service, limits: Limits) -> Self {
        Self { service, limits }
    }
}

#[tonic::async_trait]
impl TranslationService for Translations {
    async fn attach_translation(
        &self,
        request: Request<pb::AttachTranslationRequest>,
    ) -> Result<Response<pb::AttachTranslationResponse>, Status> {
        let (call, request, fields) = Caller::repeatable(request);
        convert::check_size("a translation", request.encoded_len(), &self.limits)?;
        let attachment = attachment(request, &call, &self.limits, fields)?;
        let (translation, outcome) = self.service.attach_translation(&call, &attachment).await?;
        Ok(Response::new(pb::AttachTranslationResponse {
            translation: Some(render::written_summary(&translation)),
            outcome: render::attach_outcome(outcome).into(),
        }))
    }

    async fn get_translation(
        &self,
        request: Request<pb::GetTranslationRequest>,
    ) -> Result<Response<pb::GetTranslationResponse>, Status> {
        use pb::get_translation_request::At;
        let (caller, request, mut fields) = Caller::of(request);
        let shown = caller.shown(false, request.show_hidden)?;
        let name = convert::translation_name!(request, &mut fields);
        let moment = match request.at {
            None => Some(Moment::Now),
            Some(At::Revision(number)) => Some(Moment::Revision(number)),
            Some(At::AsOfTime(time)) => fields.time("as_of_time", &time).map(Moment::Time),
        };
        let (name, moment) = fields.finish(name.zip(moment))?;
        let parts = match request.evidence_only {
            true => Parts::Evidence,
            false => Parts::All,
        };
        let read = self.service.get_translation(&name, moment, shown, parts).await?;
        Ok(Response::new(pb::GetTranslationResponse {
            translation: Some(render::translation_in_part(&read.translation, read.parts)),
            evidence_omitted: read.parts != parts,
        }))
    }

    async fn list_translations(
        &self,
        request: Request<pb::ListTranslationsRequest>,
    ) -> Result<Response<pb::ListTranslationsResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let page = Page::of(&request);
        let shown = caller.shown(false, request.show_hidden)?;
        let page_size = fields.page_size(request.page_size);
        let article = fields.article_id("article_id", &request.article_id);
        let filter = ListFilter {
            language: (!request.language.is_empty())
                .then(|| fields.language("language", &request.language))
                .flatten(),
            show_withdrawn: request.show_withdrawn,
            as_of: request
                .as_of_time
                .as_ref()
                .and_then(|time| fields.time("as_of_time", time)),
            shown,
        };
        let article = fields.finish(article)?;
        let after = page.place()?;
        let watch_token = watch_token::now(&self.service);
        let (listed, next) = self
            .service
            .list_translations(&article, &filter, after.as_ref(), page_size)
            .await?;
        Ok(Response::new(pb::ListTranslationsResponse {
            translations: listed.iter().map(render::summary).collect(),
            next_page_token: page.next(next.as_ref()),
            watch_token,
        }))
    }

    async fn detach_translation(
        &self,
        request: Request<pb::DetachTranslationRequest>,
    ) -> Result<Response<pb::DetachTranslationResponse>, Status> {
        let (call, request, fields) = Caller::repeatable(request);
        let choice = convert::withdrawal(request, &call, fields)?;
        let translation = self.service.detach_translation(&call, &choice).await?;
        Ok(Response::new(pb::DetachTranslationResponse {
            translation: Some(render::written_summary(&translation)),
        }))
    }

    async fn review_translation(
        &self,
        request: Request<pb::ReviewTranslationRequest>,
    ) -> Result<Response<pb::ReviewTranslationResponse>, Status> {
        let (call, request, fields) = Caller::repeatable(request);
        let review = convert::review(request, &call, fields)?;
        let translation = self.service.review_translation(&call, &review).await?;
        Ok(Response::new(pb::ReviewTranslationResponse {
            translation: Some(render::written_summary(&translation)),
        }))
    }

    async fn select_translation(
        &self,
        request: Request<pb::SelectTranslationRequest>,
    ) -> Result<Response<pb::SelectTranslationResponse>, Status> {
        let (call, request, fields) = Caller::repeatable(request);
        let selection = convert::selection(request, &call, fields)?;
        let translation = self.service.select_translation(&call, &selection).await?;
        Ok(Response::new(pb::SelectTranslationResponse {
            translation: Some(render::written_summary(&translation)),
        }))
    }

    async fn reject_translation(
        &self,
        request: Request<pb::RejectTranslationRequest>,
    ) -> Result<Response<pb::RejectTranslationResponse>, Status> {
        let (call, request, fields) = Caller::repeatable(request);
        let rejection = convert::rejection(request, &call, fields)?;
        let translation = self.service.reject_translation(&call, &rejection).await?;
        Ok(Response::new(pb::RejectTranslationResponse {
            translation: Some(render::written_summary(&translation)),
        }))
    }

    async fn acknowledge_source(
        &self,
        request: Request<pb::AcknowledgeSourceRequest>,
    ) -> Result<Response<pb::AcknowledgeSourceResponse>, Status> {
        let (call, request, fields) = Caller::repeatable(request);
        let acknowledgement = convert::acknowledgement(request, &call, fields)?;
        let translation = self.service.acknowledge_source(&call, &acknowledgement).await?;
        Ok(Response::new(pb::AcknowledgeSourceResponse {
            translation: Some(render::written_summary(&translation)),
        }))
    }

    async fn list_provenance(
        &self,
        request: Request<pb::ListProvenanceRequest>,
    ) -> Result<Response<pb::ListProvenanceResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let shown = caller.shown(false, request.show_hidden)?;
        let page_size = fields.page_size(request.page_size);
        let name = convert::translation_name!(request, &mut fields);
        let name = fields.finish(name)?;
        let page = Page::of(&request);
        let after: Option<Timestamp> = page.place()?;
        let (listed, next) = self
            .service
            .list_provenance(&name, after, page_size, shown)
            .await?;
        Ok(Response::new(pb::ListProvenanceResponse {
            records: listed.iter().map(render::provenance).collect(),
            next_page_token: page.next(next.as_ref()),
        }))
    }

    async fn add_quality_scores(
        &self,
        request: Request<pb::AddQualityScoresRequest>,
    ) -> Result<Response<pb::AddQualityScoresResponse>, Status> {
        let (call, request, mut fields) = Caller::repeatable(request);
        let evidence = convert::evidence(request, &call, &mut fields);
        let evidence = fields.finish(evidence)?;
        let (translation, outcome) = self.service.add_quality_scores(&call, &evidence).await?;
        Ok(Response::new(pb::AddQualityScoresResponse {
            translation: Some(render::written_summary(&translation)),
            added: outcome != Outcome::Unchanged,
        }))
    }

    async fn measure_translation(
        &self,
        request: Request<pb::MeasureTranslationRequest>,
    ) -> Result<Response<pb::MeasureTranslationResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let shown = caller.shown(false, request.show_hidden)?;
        let name = convert::translation_name!(request, &mut fields);
        let reference = fields.translation_id("reference_translation_id", &request.reference_translation_id);
        let name = fields.finish(name)?;
        let measured = self.service.measure_translation(&name, reference, shown).await?;
        Ok(Response::new(render::measured(&measured)))
    }
}

fn attachment(
    request: pb::AttachTranslationRequest,
    call: &Call,
    limits: &Limits,
    mut fields: Fields,
) -> Result<Attachment, Status> {
    use pb::attach_translation_request::Content;
    let article = fields.article_id("article_id", &request.article_id);
    let language = fields.language("language", &request.language);
    if request.source_revision == 0 {
        fields.wrong(
            "source_revision",
            "is required: the revision of the article that the translation was made from",
        );
    }
    let sent = match request.content {
        Some(Content::Text(text)) => convert::target_texts(text, limits, &mut fields).map(Sent::Texts),
        Some(Content::ExternalUri(uri)) => convert::external_uri(uri, &mut fields).map(Sent::External),
        None => {
            fields.wrong("content", "text or external_uri is required");
            None
        }
    };
    let target = match (
        fields.translation_id("translation_id", &request.translation_id),
        request.new_candidate,
    ) {
        (Some(_), true) => {
            fields.wrong("new_candidate", "does not go together with translation_id");
            Target::NewCandidate
        }
        (Some(id), false) => Target::Existing(id),
        (None, true) => Target::NewCandidate,
        (None, false) => Target::Active,
    };
    let agent = convert::agent(request.agent, call, &mut fields);
    let state = convert::attached_state(request.state, &mut fields);
    let scores = convert::quality_scores(request.quality_scores, &mut fields);
    let etag = fields.etag("etag", &request.etag);
    if etag.is_some() && request.new_candidate {
        fields.wrong("etag", "does not go together with new_candidate");
    }
    let slot_etag = fields.etag("slot_etag", &request.slot_etag);
    if request.overwrite_human && request.slot_etag.is_empty() {
        fields.wrong("slot_etag", "is required with overwrite_human");
    }
    let provenance = agent.map(|agent| {
        let request_id = call.request.map(|request| request.id);
        let plain = attach::provenance(agent, call.actor().clone(), request.source_revision, request_id);
        convert::effort(request.effort, plain, &mut fields)
    });
    let parts = article.zip(language).zip(sent).zip(provenance).zip(state);
    let attachment = parts.map(|((((article, language), sent), provenance), state)| Attachment {
        article,
        language,
        source_revision: request.source_revision,
        sent,
        target,
        state,
        provenance,
        scores,
        etag,
        slot_etag,
        overwrite_human: request.overwrite_human,
    });
    Ok(fields.finish(attachment)?)
}
