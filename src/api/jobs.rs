//! `TranslationJobService`.

use prost::Message;
use tonic::{Request, Response, Status};

use super::convert::{self, Fields};
use super::page_token::Page;
use super::render::job as render;
use super::{Caller, Limits, watch_token};
use crate::pb;
use crate::pb::translation_job_service_server::TranslationJobService;
use crate::service::Service;
use crate::service::complete_job::Completion;
use crate::service::jobs::JobFilter;
use crate::service::worker_jobs::{FailedAttempt, Fence};

/// The handlers.
pub struct Jobs {
    service: Service,
    limits: Limits,
}

impl Jobs {
    /// Handlers over a service.
    pub fn new(service: Service, limits: Limits) -> Self {
        Self { service, limits }
    }
}

/// What proves a lease, with a digest of the call that names it, so that a retry of that very call is known.
fn fence(token: &str, message: &impl Message, fields: &mut Fields) -> Option<Fence> {
    let token = fields.lease_token(token)?;
    Some(Fence {
        token,
        digest: super::digest(message),
    })
}

#[tonic::async_trait]
impl TranslationJobService for Jobs {
    async fn request_translations(
        &self,
        request: Request<pb::RequestTranslationsRequest>,
    ) -> Result<Response<pb::RequestTranslationsResponse>, Status> {
        use pb::request_translations_request::Selection;
        let (caller, request, mut fields) = Caller::of(request);
        let page = Page::of(&request);
        let call = caller.call();
        let wanted = convert::job_request(
            &request.languages,
            &request.kinds,
            request.options,
            &call.actor().principal,
            &mut fields,
        );
        let (requested, next) = match request.selection {
            None => {
                fields.wrong("selection", "is required: articles or query");
                fields.finish(None)?
            }
            Some(Selection::Articles(selection)) => {
                if !page.is_first() {
                    fields.wrong("page_token", "goes together with a query only");
                }
                let keys = wanted.as_ref().map_or(0, |wanted| wanted.keys.len());
                let ids = convert::article_ids(&selection, keys, &self.limits, &mut fields);
                let wanted = fields.finish(wanted)?;
                let requested = self.service.request_translations(&call, ids, &wanted).await;
                (requested?, None)
            }
            Some(Selection::Query(query)) => {
                convert::no_page(&query, &mut fields);
                let shown = caller.shown(query.show_deleted, query.show_hidden)?;
                let query = convert::query(&query, shown, &mut fields);
                let (query, wanted) = fields.finish(query.zip(wanted))?;
                let after = page.place()?;
                let requested = self
                    .service
                    .request_translations_of(&call, &query, after.as_ref(), &wanted)
                    .await;
                requested?
            }
        };
        Ok(Response::new(pb::RequestTranslationsResponse {
            jobs: requested.iter().map(render::requested).collect(),
            next_page_token: page.next(next.as_ref()),
        }))
    }

    async fn claim_jobs(
        &self,
        request: Request<pb::ClaimJobsRequest>,
    ) -> Result<Response<pb::ClaimJobsResponse>, Status> {
        let (call, request, mut fields) = Caller::repeatable(request);
        let embargoed = call.caller.reach.embargoed;
        let claim = convert::claim(
            &request,
            embargoed,
            self.limits.shortest_lease_micros,
            &mut fields,
        );
        let claim = fields.finish(Some(claim))?;
        let claimed = self.service.claim_jobs(&call, &claim).await?;
        Ok(Response::new(pb::ClaimJobsResponse {
            jobs: claimed.iter().map(render::claimed).collect(),
        }))
    }

    async fn heartbeat_job(
        &self,
        request: Request<pb::HeartbeatJobRequest>,
    ) -> Result<Response<pb::HeartbeatJobResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let id = fields.job_id("job_id", &request.job_id);
        let token = fields.lease_token(&request.lease_token);
        let lease = fields.lease(request.lease.as_ref(), self.limits.shortest_lease_micros);
        let (id, token) = fields.finish(id.zip(token))?;
        let beat = self
            .service
            .heartbeat_job(&caller.call(), &id, token, lease)
            .await;
        let (until, head_revision) = beat?;
        Ok(Response::new(pb::HeartbeatJobResponse {
            lease_expire_time: super::render::time(until),
            head_revision,
        }))
    }

    async fn complete_job(
        &self,
        request: Request<pb::CompleteJobRequest>,
    ) -> Result<Response<pb::CompleteJobResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        convert::check_size("a translation", request.encoded_len(), &self.limits)?;
        let call = caller.call();
        let id = fields.job_id("job_id", &request.job_id);
        let fence = fence(&request.lease_token, &request, &mut fields);
        let agent = convert::agent(request.agent, &call, &mut fields);
        let work = convert::work(request.result, &self.limits, &mut fields);
        let provenance = work.as_ref().zip(agent).map(|((work, comment), agent)| {
            let provenance = convert::work_provenance(work, comment.clone(), agent);
            convert::effort(request.effort, provenance, &mut fields)
        });
        let parts = id.zip(fence).zip(work).zip(provenance);
        let completion = parts.map(|(((id, fence), (work, _)), provenance)| Completion {
            id,
            fence,
            work,
            provenance,
        });
        let completion = fields.finish(completion)?;
        let completed = self.service.complete_job(&call, &completion).await?;
        Ok(Response::new(render::completed(&completed)))
    }

    async fn fail_job(
        &self,
        request: Request<pb::FailJobRequest>,
    ) -> Result<Response<pb::FailJobResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let id = fields.job_id("job_id", &request.job_id);
        let fence = fence(&request.lease_token, &request, &mut fields);
        let attempt = FailedAttempt {
            message: convert::failure_message(&request.message, &mut fields),
            is_permanent: request.permanent,
            retry_after_micros: convert::retry_after(request.retry_after.as_ref(), &mut fields),
        };
        let (id, fence) = fields.finish(id.zip(fence))?;
        let job = self
            .service
            .fail_job(&caller.call(), &id, fence, &attempt)
            .await?;
        Ok(Response::new(pb::FailJobResponse {
            job: Some(render::job(&job)),
        }))
    }

    async fn release_job(
        &self,
        request: Request<pb::ReleaseJobRequest>,
    ) -> Result<Response<pb::ReleaseJobResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let id = fields.job_id("job_id", &request.job_id);
        let fence = fence(&request.lease_token, &request, &mut fields);
        let (id, fence) = fields.finish(id.zip(fence))?;
        let job = self.service.release_job(&caller.call(), &id, fence).await?;
        Ok(Response::new(pb::ReleaseJobResponse {
            job: Some(render::job(&job)),
        }))
    }

    async fn get_job(
        &self,
        request: Request<pb::GetJobRequest>,
    ) -> Result<Response<pb::GetJobResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let id = fields.job_id("job_id", &request.job_id);
        let id = fields.finish(id)?;
        let job = self.service.get_job(caller.0.reach, &id).await?;
        Ok(Response::new(pb::GetJobResponse {
            job: Some(render::job(&job)),
        }))
    }

    async fn list_jobs(
        &self,
        request: Request<pb::ListJobsRequest>,
    ) -> Result<Response<pb::ListJobsResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let page_size = fields.page_size(request.page_size);
        let article = match request.article_id.as_str() {
            "" => Some(None),
            id => fields.article_id("article_id", id).map(Some),
        };
        let language = match request.language.as_str() {
            "" => Some(None),
            tag => fields.language("language", tag).map(Some),
        };
        let kind = fields.any_job_kind("kind", request.kind);
        let states = fields.job_states(&request.states);
        let parts = article.zip(language).zip(kind);
        let filter = parts.map(|((article, language), kind)| JobFilter {
            article,
            language,
            kind,
            states,
        });
        let filter = fields.finish(filter)?;
        let page = Page::of(&request);
        let after = page.place()?;
        let watch_token = watch_token::now(&self.service);
        let listed = self
            .service
            .list_jobs(caller.0.reach, &filter, after.as_ref(), page_size)
            .await;
        let (jobs, next) = listed?;
        Ok(Response::new(pb::ListJobsResponse {
            jobs: jobs.iter().map(render::job).collect(),
            next_page_token: page.next(next.as_ref()),
            watch_token,
        }))
    }

    async fn cancel_job(
        &self,
        request: Request<pb::CancelJobRequest>,
    ) -> Result<Response<pb::CancelJobResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let id = fields.job_id("job_id", &request.job_id);
        let id = fields.finish(id)?;
        let job = self.service.cancel_job(&caller.call(), &id).await?;
        Ok(Response::new(pb::CancelJobResponse {
            job: Some(render::job(&job)),
        }))
    }

    async fn retry_job(
        &self,
        request: Request<pb::RetryJobRequest>,
    ) -> Result<Response<pb::RetryJobResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let id = fields.job_id("job_id", &request.job_id);
        let id = fields.finish(id)?;
        let job = self.service.retry_job(&caller.call(), &id).await?;
        Ok(Response::new(pb::RetryJobResponse {
            job: Some(render::job(&job)),
        }))
    }

    async fn put_translation_policy(
        &self,
        request: Request<pb::PutTranslationPolicyRequest>,
    ) -> Result<Response<pb::PutTranslationPolicyResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let etag = fields.etag("etag", &request.etag);
        let policy = convert::policy(request.policy, &mut fields);
        let (id, rule) = fields.finish(policy)?;
        let call = caller.call();
        let put = self.service.put_policy(&call, &id, rule, etag.as_ref()).await;
        let policy = put?;
        Ok(Response::new(pb::PutTranslationPolicyResponse {
            policy: Some(render::policy(&policy)),
        }))
    }

    async fn list_translation_policies(
        &self,
        request: Request<pb::ListTranslationPoliciesRequest>,
    ) -> Result<Response<pb::ListTranslationPoliciesResponse>, Status> {
        let (_, request, mut fields) = Caller::of(request);
        let page_size = fields.page_size(request.page_size);
        let page_size = fields.finish(Some(page_size))?;
        let page = Page::of(&request);
        let after = page.place()?;
        let listed = self.service.list_policies(after.as_ref(), page_size).await;
        let (policies, next) = listed?;
        Ok(Response::new(pb::ListTranslationPoliciesResponse {
            policies: policies.iter().map(render::policy).collect(),
            next_page_token: page.next(next.as_ref()),
        }))
    }

    async fn delete_translation_policy(
        &self,
        request: Request<pb::DeleteTranslationPolicyRequest>,
    ) -> Result<Response<pb::DeleteTranslationPolicyResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let etag = fields.etag("etag", &request.etag);
        let id = fields.policy_id("policy_id", &request.policy_id);
        let id = fields.finish(id)?;
        self.service
            .delete_policy(&caller.call(), &id, etag.as_ref(), request.allow_missing)
            .await?;
        Ok(Response::new(pb::DeleteTranslationPolicyResponse {}))
    }
}
