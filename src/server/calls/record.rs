//! Request ids and the record of calls: how each ended, once, in the metrics, in the log, and in the caller's trace. A
//! stream ends with its trailers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tracing::{Level, Span, event};
use uuid::Uuid;

use crate::api::status::{code_name, reason_name};
use crate::pb::ErrorReason;
use crate::server::context::CallContext;
use crate::server::log_throttle::LogThrottle;
use crate::server::methods::{self, Kind, Method};
use crate::server::telemetry::{AuthFailure, Telemetry, trace};

/// The header with the id of a call, in requests and in answers.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that a caller may choose; a call with a longer one gets an id of the server's.
const MAX_REQUEST_ID: usize = 128;
/// Where the lines about calls are, for filters: `--log info,article_store::rpc=debug` shows those that succeed too.
const LOG: &str = "article_store::rpc";
/// Lines about failed calls that may come at once, and how long it takes until there is room for one more.
const LINES_AT_ONCE: u32 = 1_000;
const ONE_MORE_LINE: Duration = Duration::from_millis(10);

/// Response extension: the refusal is counted and summarised in the log, and has no line of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unlogged;

/// Records the calls of a server.
pub(super) struct Recorder {
    telemetry: Arc<Telemetry>,
    lines: LogThrottle,
}

impl Recorder {
    pub(super) fn new(telemetry: Arc<Telemetry>) -> Self {
        Self {
            telemetry,
            lines: LogThrottle::new(LINES_AT_ONCE, ONE_MORE_LINE),
        }
    }

    /// Begins to record a call, and puts its context into the extensions of the request.
    pub(super) fn begin(self: &Arc<Self>, request: &mut Request<Body>) -> Call {
        let method = methods::at(request.uri().path());
        let context = Arc::new(CallContext::new(request_id(request.headers())));
        request.extensions_mut().insert(context.clone());
        self.telemetry.rpc.began(method);
        Call {
            span: trace::span(method, request.headers(), &context.request_id),
            trace_id: trace::trace_id(request.headers()),
            recorder: self.clone(),
            context,
            method,
            started: Instant::now(),
            is_over: false,
        }
    }
}

/// A call in progress. Dropped before its end, it was cancelled by its caller.
pub(super) struct Call {
    recorder: Arc<Recorder>,
    pub(super) context: Arc<CallContext>,
    pub(super) method: &'static Method,
    started: Instant,
    pub(super) span: Span,
    trace_id: Option<Box<str>>,
    is_over: bool,
}

impl Call {
    /// Records the headers of the answer. They are its end where they hold a status.
    pub(super) fn answered<B>(&mut self, response: &mut Response<B>, is_empty: bool) {
        let is_unlogged = response.extensions().get::<Unlogged>().is_some();
        let headers = response.headers_mut();
        self.name(headers);
        match code(headers) {
            Some(code) if is_unlogged => self.end_quietly(code),
            Some(code) => self.end(code, headers),
            // An answer that is none of gRPC's.
            None if is_empty => self.end(Code::Unknown, &HeaderMap::new()),
            None => {}
        }
    }

    /// Records the trailers of the answer.
    pub(super) fn end_with(&mut self, trailers: &mut HeaderMap) {
        let code = code(trailers).unwrap_or(Code::Unknown);
        if code != Code::Ok {
            self.name(trailers);
        }
        self.end(code, trailers);
    }

    /// Puts the call's id into an answer.
    fn name(&self, headers: &mut HeaderMap) {
        if let Ok(id) = HeaderValue::from_str(&self.context.request_id) {
            headers.insert(REQUEST_ID, id);
        }
    }

    /// The call ended, with these headers or trailers.
    pub(super) fn end(&mut self, code: Code, headers: &HeaderMap) {
        if self.is_over {
            return;
        }
        self.end_quietly(code);
        let status = (code != Code::Ok)
            .then(|| Status::from_header_map(headers))
            .flatten();
        self.count_refusal(code, status.as_ref());
        self.log(code, status.as_ref());
    }

    fn end_quietly(&mut self, code: Code) {
        self.is_over = true;
        let took = self.started.elapsed();
        self.recorder.telemetry.rpc.ended(self.method, code, took);
        trace::end(&self.span, code);
    }

    fn count_refusal(&self, code: Code, status: Option<&Status>) {
        let counters = &self.recorder.telemetry.counters;
        match code {
            Code::Unauthenticated => counters.auth_failed(AuthFailure::Unauthenticated),
            Code::PermissionDenied => counters.auth_failed(AuthFailure::Forbidden),
            Code::ResourceExhausted => {
                let limited = reason_name(ErrorReason::RateLimited);
                if status.and_then(reason).is_some_and(|reason| reason == limited) {
                    counters.rate_limited();
                }
            }
            _ => {}
        }
    }

    fn log(&self, code: Code, status: Option<&Status>) {
        let is_expected = match code {
            Code::Ok => true,
            // That is how a watch ends.
            Code::Cancelled => self.method.kind != Kind::Short,
            _ => false,
        };
        if !is_expected {
            match self.recorder.lines.admit() {
                None => return,
                Some(1) => {}
                Some(times) => {
                    event!(target: LOG, Level::WARN, left_out = times - 1, "too many calls failed for a line each");
                }
            }
        }
        macro_rules! line {
            ($level:expr, $text:literal) => {
                event!(
                    target: LOG,
                    $level,
                    request_id = &*self.context.request_id,
                    trace_id = self.trace_id.as_deref(),
                    principal = self.context.principal(),
                    method = self.method.label,
                    code = code_name(code),
                    reason = status.and_then(reason),
                    error = status.map(Status::message),
                    seconds = self.started.elapsed().as_secs_f64(),
                    $text
                )
            };
        }
        match code {
            Code::Ok => line!(Level::DEBUG, "served"),
            Code::Cancelled if is_expected => line!(Level::DEBUG, "given up by the caller"),
            Code::Cancelled => line!(Level::INFO, "given up by the caller"),
            Code::Unknown | Code::Internal | Code::DataLoss => line!(Level::ERROR, "the server failed"),
            Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => {
                line!(Level::WARN, "not served");
            }
            _ => line!(Level::INFO, "refused"),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // The caller went away, or its connection broke.
        self.end(Code::Cancelled, &HeaderMap::new());
    }
}

/// The caller's id of a call, if it is one that can be printed; else a new one.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let is_sane = |id: &&str| {
        (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    match given.filter(is_sane) {
        Some(id) => id.into(),
        None => (&*Uuid::new_v4()
            .hyphenated()
            .encode_lower(&mut Uuid::encode_buffer()))
            .into(),
    }
}

fn code(headers: &HeaderMap) -> Option<Code> {
    let code = headers.get(Status::GRPC_STATUS)?;
    Some(Code::from_bytes(code.as_bytes()))
}

fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_can_be_printed_is_kept() {
        let id = |given: Option<&[u8]>| {
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert(REQUEST_ID, HeaderValue::from_bytes(given).unwrap());
            }
            request_id(&headers)
        };
        for sane in ["1", "a-b_c:d/e=~", &"x".repeat(MAX_REQUEST_ID)] {
            assert_eq!(&*id(Some(sane.as_bytes())), sane);
        }
        let too_long = "x".repeat(MAX_REQUEST_ID + 1);
        let unfit: [&[u8]; 5] = [b"", b"a b", b"a\tb", "é".as_bytes(), too_long.as_bytes()];
        for given in unfit.into_iter().map(Some).chain([None]) {
            let made = id(given);
            assert!(Uuid::parse_str(&made).is_ok(), "{given:?} became {made}");
        }
    }
}
