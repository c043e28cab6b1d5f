//! `AdminService`.

use std::future::{Future, ready};
use std::pin::Pin;

use futures::stream::{self, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::convert;
use super::page_token::Page;
use super::{Caller, render};
use crate::pb;
use crate::pb::admin_service_server::AdminService;
use crate::service::coverage::CoveragePlace;
use crate::service::{Error, Service};

/// Messages that are made ahead of a reader: a few chunks of a backup.
const AHEAD: usize = 4;

/// The handlers.
pub struct Admin {
    service: Service,
}

impl Admin {
    /// Handlers over a service.
    pub fn new(service: Service) -> Self {
        Self { service }
    }
}

/// The messages of a call.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AdminService for Admin {
    async fn get_status(
        &self,
        _: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        let status = self.service.status().await?;
        Ok(Response::new(render::status(&status)))
    }

    async fn get_coverage(
        &self,
        request: Request<pb::GetCoverageRequest>,
    ) -> Result<Response<pb::GetCoverageResponse>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let shown = caller.shown(false, request.show_hidden)?;
        let page = Page::of(&request);
        let query = convert::coverage(request, shown, &mut fields);
        let query = fields.finish(query)?;
        let after: Option<CoveragePlace> = page.place()?;
        let (coverage, next) = self.service.get_coverage(&query, after.as_ref()).await?;
        Ok(Response::new(pb::GetCoverageResponse {
            buckets: coverage.tallies.iter().map(render::coverage_bucket).collect(),
            next_page_token: page.next(next.as_ref()),
        }))
    }

    type CheckStoreStream = Answers<pb::CheckStoreResponse>;

    async fn check_store(
        &self,
        _: Request<pb::CheckStoreRequest>,
    ) -> Result<Response<Self::CheckStoreStream>, Status> {
        let service = self.service.clone();
        let work = async move |steps| service.check_store(steps).await;
        Ok(answers(work, render::check_step))
    }

    type BackupStoreStream = Answers<pb::BackupStoreResponse>;

    async fn backup_store(
        &self,
        request: Request<pb::BackupStoreRequest>,
    ) -> Result<Response<Self::BackupStoreStream>, Status> {
        let (caller, ..) = Caller::of(request);
        let service = self.service.clone();
        let work = async move |parts| service.back_up_store(&caller.call(), parts).await;
        Ok(answers(work, render::backup_part))
    }

    type CompactStoreStream = Answers<pb::CompactStoreResponse>;

    async fn compact_store(
        &self,
        _: Request<pb::CompactStoreRequest>,
    ) -> Result<Response<Self::CompactStoreStream>, Status> {
        let service = self.service.clone();
        let work = async move |steps| service.compact_store(steps).await;
        Ok(answers(work, render::compact_step))
    }
}

/// Does long work beside the stream of what it says; an error is the end of the stream.
fn answers<P, T, F>(work: impl FnOnce(mpsc::Sender<P>) -> F, render: fn(P) -> T) -> Response<Answers<T>>
where
    P: Send + 'static,
    T: Send + Sync + 'static,
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (parts, said) = mpsc::channel(AHEAD);
    let work = tokio::spawn(work(parts));
    let end = stream::once(work).filter_map(|done| {
        ready(match done {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Err(Status::from(error))),
            Err(panic) => {
                let panic = format!("a call panicked: {panic}");
                Some(Err(Status::from(Error::internal(&panic))))
            }
        })
    });
    let said = ReceiverStream::new(said).map(move |part| Ok(render(part)));
    Response::new(said.chain(end).boxed())
}
