//! The calls of a worker, with retries: while the server is unavailable, the same call is sent again.

use std::cell::Cell;
use std::future::{Future, pending};
use std::time::Duration;

use tokio::time::timeout;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

use crate::cli::client::{Connection, explain};
use crate::cli::warn;
use crate::pb::translation_job_service_client::TranslationJobServiceClient;

/// The limit of an answer, beyond the time that the call itself waits.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

pub(super) type Client = TranslationJobServiceClient<Connection>;

/// A client, and whether its server was unavailable at the last call.
pub(super) struct Calls {
    client: Client,
    away: Cell<bool>,
}

impl Calls {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            away: Cell::new(false),
        }
    }

    /// Calls once.
    pub(super) async fn once<T, F>(
        &self,
        limit: Duration,
        call: impl FnOnce(Client) -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        match timeout(limit, call(self.client.clone())).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(format!(
                "the server did not answer within {} s",
                limit.as_secs()
            ))),
        }
    }

    /// Calls until the server accepts or refuses. The call must be idempotent.
    pub(super) async fn insist<T, F>(&self, limit: Duration, call: impl Fn(Client) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            match self.once(limit, &call).await {
                Err(status) if passes(&status) => {
                    if !self.away.replace(true) {
                        warn(&format!(
                            "the server cannot help now: {}\ntrying again",
                            explain(&status)
                        ));
                    }
                    pauses.pause().await;
                }
                answer => {
                    if self.away.replace(false) {
                        warn("the server is back");
                    }
                    return answer;
                }
            }
        }
    }
}

/// Exponential backoff.
pub(super) struct Pauses {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Pauses {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    pub(super) async fn pause(&mut self) {
        drop(timeout(self.next, pending::<()>()).await);
        self.next = self.longest.min(self.next * 2);
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Whether a failure is transient, so that the same call may succeed later.
fn passes(status: &Status) -> bool {
    let details = status.get_error_details();
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted | Code::Unknown => true,
        // Without a reason it comes from the connection.
        Code::Internal => details.error_info().is_none(),
        Code::ResourceExhausted => details.retry_info().is_some(),
        _ => false,
    }
}

/// Whether a lease is no longer the caller's.
pub(super) fn is_lost(status: &Status) -> bool {
    let details = status.get_error_details();
    status.code() == Code::NotFound
        || details
            .error_info()
            .is_some_and(|info| info.reason == "LEASE_LOST")
}
