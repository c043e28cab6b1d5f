//! Requests that were carried out: the same id again gives the first answer, and nothing is applied twice.

use super::{Call, Error, Result, Service};
use crate::domain::article::ArticleId;
use crate::domain::ids::TranslationId;
use crate::domain::language::Language;
use crate::domain::request::{Outcome, RequestKey, RequestRecord};
use crate::domain::time::Stamp;

impl Call {
    /// Names the call among the recorded requests, if it has a request id.
    pub(super) fn key(&self, rpc: &str) -> Option<RequestKey> {
        let request = self.request?;
        Some(RequestKey {
            principal: self.actor().principal.clone(),
            rpc: rpc.to_owned(),
            id: request.id,
        })
    }

    /// What to record of the call, if it has a request id.
    pub(super) fn record(
        &self,
        rpc: &str,
        article: &ArticleId,
        translation: Option<(Language, TranslationId)>,
        outcome: Outcome,
    ) -> Option<RequestRecord> {
        Some(RequestRecord {
            key: self.key(rpc)?,
            digest: self.request?.digest,
            stamp: Stamp::PENDING,
            article: article.clone(),
            translation,
            jobs: Vec::new(),
            outcome,
        })
    }
}

impl Service {
    /// The record of an earlier call with this request id, if there was one with the same body.
    pub(super) async fn earlier(&self, call: &Call, rpc: &str) -> Result<Option<RequestRecord>> {
        let (Some(key), Some(request)) = (call.key(rpc), call.request) else {
            return Ok(None);
        };
        match self.store.request(&key).await? {
            Some(record) if record.digest == request.digest => Ok(Some(record)),
            Some(_) => Err(Error::RequestIdReused(request.id)),
            None => Ok(None),
        }
    }
}
