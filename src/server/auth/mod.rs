//! Who calls, and whether the call is for them: the layer that every call passes before its handler.
//!
//! A call is made by the principal of its bearer token, or else of the certificate of its connection, or else by nobody in
//! particular. What that principal may do in general is checked here by the table of calls; what depends on the language of
//! a request is checked by the service. No token is ever logged or answered.

use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{Either, Ready, ready};
use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, Request, Response};
use sha2::{Digest, Sha256};
use tokio::time::{MissedTickBehavior, interval};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use self::file::Watched;
use self::jwt::Verifier;
use self::rate::{Each, Single, TooMany};
use self::table::Need;
use self::tokens::{Hash, Tokens};
use super::context::CallContext;
use super::transport::PeerCertificate;
use crate::api::{Caller, refusal};
use crate::clock::Clock;
use crate::domain::access::{Principal, Scopes};
use crate::domain::time::Timestamp;

mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod jwt;
mod rate;
mod table;
#[cfg(test)]
mod tests;
mod tokens;

pub use self::jwt::JwtConfig;
pub use self::rate::Rate;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 16 << 10;

/// Who may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file of tokens.
    pub tokens_file: Option<PathBuf>,
    /// Whose JWTs are taken.
    pub jwt: Option<JwtConfig>,
    /// What callers without credentials may do. If not given: everything but to see hidden articles where no credentials
    /// are known at all, and nothing where some are.
    pub anonymous: Option<Scopes>,
    /// Whether there is reflection, which needs no credentials.
    pub reflection: bool,
    /// How many calls each principal may make.
    pub rate: Option<Rate>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tokens_file: None,
            jwt: None,
            anonymous: None,
            reflection: true,
            rate: None,
        }
    }
}

impl Config {
    /// Whether there are credentials to call with.
    pub fn authenticates(&self) -> bool {
        self.tokens_file.is_some() || self.jwt.is_some()
    }
}

/// A principal that proved its name.
#[derive(Clone)]
struct Known {
    principal: Arc<Principal>,
    /// Until when the proof is good.
    expires: Option<Timestamp>,
    /// Its own limit of calls.
    limit: Option<Arc<Single>>,
}

/// Why credentials prove nothing. What exactly is wrong is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unknown {
    Invalid(&'static str),
    Expired,
}

/// Decides on every call.
pub struct Gate {
    tokens: Option<Watched<Tokens>>,
    jwt: Option<Verifier>,
    anonymous: Known,
    with_reflection: bool,
    rates: Option<Each>,
    clock: Arc<dyn Clock>,
}

impl Gate {
    /// Reads the files, which must be there and right. What is wrong is said for the operator.
    pub fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let tokens = config.tokens_file.as_deref();
        let tokens = tokens.map(|path| Watched::open(path, "the file of tokens", Tokens::parse));
        let anonymous = config
            .anonymous
            .clone()
            .unwrap_or_else(|| match config.authenticates() {
                true => Scopes::default(),
                false => Scopes::open(),
            });
        Ok(Self {
            tokens: tokens.transpose()?,
            jwt: config.jwt.as_ref().map(Verifier::open).transpose()?,
            anonymous: Known {
                principal: Arc::new(Principal::anonymous(anonymous)),
                expires: None,
                limit: None,
            },
            with_reflection: config.reflection,
            rates: config.rate.map(Each::new),
            clock,
        })
    }

    /// Keeps what it knows true to the files, for as long as it is polled.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let gate = self.clone();
            // It reads the disk.
            let looked = tokio::task::spawn_blocking(move || gate.look()).await;
            if let Err(panic) = looked {
                tracing::error!(%panic, "the files of tokens and keys could not be looked at");
            }
        }
    }

    fn look(&self) {
        self.tokens.iter().for_each(Watched::look);
        self.jwt.iter().for_each(Verifier::look);
        self.rates.iter().for_each(Each::forget);
    }

    /// Lets a call through with its caller, or says why not.
    fn admit(&self, path: &str, headers: &HeaderMap, extensions: &mut Extensions) -> Result<(), Status> {
        let need = table::need(path, self.with_reflection);
        if need == Need::Nothing {
            return Ok(());
        }
        let known = self
            .identify(headers, extensions)
            .map_err(|unknown| match unknown {
                Unknown::Invalid(problem) => {
                    tracing::debug!(problem, "credentials are refused");
                    refusal::credentials_invalid()
                }
                Unknown::Expired => refusal::credentials_expired(),
            })?;
        let principal = known.principal.clone();
        if principal.actor.verified
            && let Some(context) = extensions.get::<Arc<CallContext>>()
        {
            context.authenticated(principal.actor.principal.as_str().into());
        }
        self.take(&known).map_err(|TooMany { rate, wait }| {
            refusal::rate_limited(&principal.actor.principal, rate.per_second, rate.burst(), wait)
        })?;
        let is_stranger = !principal.actor.verified && self.authenticates();
        match need {
            Need::AnyOf(rights) => match principal.may_any(rights) {
                Err(_) if is_stranger => Err(refusal::credentials_missing()),
                granted => granted.map_err(refusal::denied),
            },
            _ if is_stranger && principal.scopes.is_empty() => Err(refusal::credentials_missing()),
            _ => Err(refusal::unknown_method()),
        }?;
        extensions.insert(Caller(principal));
        Ok(())
    }

    fn authenticates(&self) -> bool {
        self.tokens.is_some() || self.jwt.is_some()
    }

    fn identify(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<Known, Unknown> {
        if !self.authenticates() {
            return Ok(self.anonymous.clone());
        }
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let now = self.clock.now();
        let known = match (given.next(), given.next()) {
            (Some(_), Some(_)) => return Err(Unknown::Invalid("there are several")),
            (Some(credentials), None) => self.by_token(bearer(credentials.as_bytes())?, now)?,
            (None, _) => self.by_certificate(extensions),
        };
        match known.expires.is_some_and(|expires| expires <= now) {
            true => Err(Unknown::Expired),
            false => Ok(known),
        }
    }

    fn by_token(&self, token: &str, now: Timestamp) -> Result<Known, Unknown> {
        let hash: Hash = Sha256::digest(token).into();
        let tokens = self.tokens.as_ref().map(Watched::get);
        if let Some(known) = tokens.as_ref().and_then(|tokens| tokens.by_hash(&hash)) {
            return Ok(known.clone());
        }
        match &self.jwt {
            Some(verifier) => verifier.verify(token, &hash, now),
            None => Err(Unknown::Invalid("it is no token of the file")),
        }
    }

    fn by_certificate(&self, extensions: &Extensions) -> Known {
        let tokens = self.tokens.as_ref().map(Watched::get);
        let known = extensions.get::<Arc<PeerCertificate>>().and_then(|certificate| {
            let known = tokens.as_ref()?.by_certificate(certificate)?;
            Some(known.clone())
        });
        known.unwrap_or_else(|| self.anonymous.clone())
    }

    fn take(&self, known: &Known) -> Result<(), TooMany> {
        match (&known.limit, &self.rates) {
            (Some(own), _) => own.take(),
            (None, Some(rates)) => rates.take(&known.principal.actor.principal),
            (None, None) => Ok(()),
        }
    }
}

/// The token of an `authorization` header (RFC 6750).
fn bearer(credentials: &[u8]) -> Result<&str, Unknown> {
    let credentials = std::str::from_utf8(credentials).map_err(|_| Unknown::Invalid("it is no text"))?;
    match credentials.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && token.len() <= MAX_TOKEN => {
            Ok(token.trim())
        }
        _ => Err(Unknown::Invalid("it is no bearer token")),
    }
}

/// Puts a [`Gate`] before a service.
#[derive(Clone)]
pub struct GateLayer(pub Arc<Gate>);

/// A service behind a [`Gate`].
#[derive(Clone)]
pub struct Gated<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S> Layer<S> for GateLayer {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated {
            inner,
            gate: self.0.clone(),
        }
    }
}

impl<S, B> Service<Request<B>> for Gated<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        match self
            .gate
            .admit(parts.uri.path(), &parts.headers, &mut parts.extensions)
        {
            Ok(()) => Either::Left(self.inner.call(Request::from_parts(parts, body))),
            Err(status) => Either::Right(ready(Ok(status.into_http()))),
        }
    }
}
