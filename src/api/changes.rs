//! `ChangeService`.

use futures::stream::{self, StreamExt};
use tonic::{Request, Response, Status};

use super::admin::Answers;
use super::convert;
use super::{Caller, render, watch_token};
use crate::pb;
use crate::pb::change_service_server::ChangeService;
use crate::service::Service;
use crate::service::changes::{FeedToken, Start, WatchOptions};

/// The handlers.
pub struct Changes {
    service: Service,
}

impl Changes {
    /// Handlers over a service.
    pub fn new(service: Service) -> Self {
        Self { service }
    }
}

#[tonic::async_trait]
impl ChangeService for Changes {
    type WatchChangesStream = Answers<pb::WatchChangesResponse>;

    async fn watch_changes(
        &self,
        request: Request<pb::WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        let (caller, request, mut fields) = Caller::of(request);
        let filter = convert::change_filter(&request, &mut fields);
        let start = convert::watch_start(request.start, &mut fields);
        let interval = convert::checkpoint_interval(request.checkpoint_interval.as_ref(), &mut fields);
        let (filter, (start, interval)) = fields.finish(filter.zip(start.zip(interval)))?;
        let digest = render::filter_digest(&filter);
        let resumed = watch_token::decode(&request.resume_token, digest)?;
        let options = WatchOptions {
            start: resumed.map_or(start, Start::After),
            filter,
            caller: caller.call().actor().principal.clone(),
            reach: caller.0.reach,
            checkpoint_interval: interval,
        };
        let watch = self.service.watch_changes(options).await?;
        // One message after the other is made as it is asked for.
        let messages = stream::try_unfold(watch, move |mut watch| async move {
            let (message, place) = watch.next().await?;
            let token = FeedToken {
                epoch: watch.epoch(),
                place,
            };
            let answer = pb::WatchChangesResponse {
                resume_token: watch_token::encode(&token, digest),
                message: Some(render::feed_message(&message, watch.filter())),
            };
            Ok(Some((answer, watch)))
        });
        Ok(Response::new(messages.boxed()))
    }
}
