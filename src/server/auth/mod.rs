//! Authentication and authorization: the layer that every call passes before its handler.
//!
//! A call is made by the principal of its bearer token, or else of the certificate of its connection, or else
//! anonymously. Its rights to the method are checked here by the table of methods; rights that depend on the language
//! of a request are checked by the service. The credentials of open streams and waiting claims are checked again while
//! they last. No token is ever logged or answered.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use self::jwt::Verifier;
use self::rate::{Each, Single, TooMany};
use self::tokens::{Hash, Tokens};
use super::context::CallContext;
use super::file_watch::Watched;
use super::methods::{HEALTH, Kind, Method};
use super::transport::PeerCertificate;
use crate::api::{Caller, refusal};
use crate::clock::Clock;
use crate::domain::access::{Principal, Scopes};
use crate::domain::time::Timestamp;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod jwt;
mod rate;
#[cfg(test)]
mod tests;
mod tokens;

pub use self::jwt::JwtConfig;
pub use self::rate::Rate;

/// How often the credentials of a stream are checked again at least: the clock may have been set.
const CHECK_AGAIN: Duration = Duration::from_secs(60);
/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 16 << 10;

/// Callers and their credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file of tokens.
    pub tokens_file: Option<PathBuf>,
    /// The issuer whose JWTs are accepted.
    pub jwt: Option<JwtConfig>,
    /// The scopes of callers without credentials. Default: everything but hidden articles if the server knows no
    /// credentials, else nothing.
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

/// A text file and what was parsed from it, read again when it changes.
struct Parsed<T> {
    path: PathBuf,
    /// Its name in the log.
    what: &'static str,
    file: Watched<T, String>,
}

impl<T> Parsed<T> {
    /// Reads it for the first time; it must be right.
    fn open(
        path: &Path,
        what: &'static str,
        parse: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let path = path.to_owned();
        let read = path.clone();
        let load = move || parse(&fs::read_to_string(&read).map_err(|error| error.to_string())?);
        let file = Watched::open(vec![path.clone()], load)
            .map_err(|problem| format!("{what} {}: {problem}", path.display()))?;
        Ok(Self { path, what, file })
    }

    fn get(&self) -> Arc<T> {
        self.file.get()
    }

    /// Reads it again if it changed; whether there is something new that is right.
    fn look(&self) -> bool {
        let Some(read) = self.file.look() else {
            return false;
        };
        let path = self.path.display();
        match &read {
            Ok(()) => tracing::info!(%path, "{} was read again", self.what),
            Err(problem) => {
                tracing::error!(%path, problem, "{} is wrong; what was read before still holds", self.what);
            }
        }
        read.is_ok()
    }
}

/// A principal that proved its name.
#[derive(Clone)]
struct Known {
    principal: Arc<Principal>,
    /// The end of the credentials.
    expires: Option<Timestamp>,
    /// Its own limit of calls.
    limit: Option<Arc<Single>>,
}

/// The refusal of credentials. The exact problem is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unknown {
    Invalid(&'static str),
    Expired,
}

impl Unknown {
    fn refuse(self) -> Status {
        match self {
            Self::Invalid(problem) => {
                tracing::debug!(problem, "credentials are refused");
                refusal::credentials_invalid()
            }
            Self::Expired => refusal::credentials_expired(),
        }
    }
}

/// The credentials of a call.
#[derive(Clone, Default)]
struct Credentials {
    authorization: Vec<HeaderValue>,
    certificate: Option<Arc<PeerCertificate>>,
}

impl Credentials {
    fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        Self {
            authorization: headers.get_all(AUTHORIZATION).iter().cloned().collect(),
            certificate: extensions.get::<Arc<PeerCertificate>>().cloned(),
        }
    }
}

/// An admitted call.
pub struct Admitted {
    credentials: Credentials,
    known: Known,
}

impl Admitted {
    /// Whether the caller proved its name.
    pub(super) fn is_verified(&self) -> bool {
        self.known.principal.actor.verified
    }
}

/// Authenticates and authorizes every call.
pub struct Gate {
    tokens: Option<Parsed<Tokens>>,
    jwt: Option<Verifier>,
    anonymous: Known,
    with_reflection: bool,
    rates: Option<Each>,
    clock: Arc<dyn Clock>,
    /// Changes when a file was read again.
    reloads: watch::Sender<()>,
}

impl Gate {
    /// Reads the files. The error is for the operator.
    pub fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let tokens = config.tokens_file.as_deref();
        let tokens = tokens.map(|path| Parsed::open(path, "the file of tokens", Tokens::parse));
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
            reloads: watch::Sender::new(()),
        })
    }

    /// Reads changed files again. Reads the disk.
    pub(super) fn look(&self) {
        let tokens = self.tokens.as_ref().is_some_and(Parsed::look);
        let keys = self.jwt.as_ref().is_some_and(Verifier::look);
        if tokens || keys {
            self.reloads.send_replace(());
        }
        self.rates.iter().for_each(Each::forget);
    }

    /// Admits a call and puts its caller into the extensions. `None` if it needs no caller.
    pub fn admit(
        &self,
        method: &Method,
        headers: &HeaderMap,
        extensions: &mut Extensions,
    ) -> Result<Option<Admitted>, Status> {
        if method.kind == Kind::Exempt && (self.with_reflection || method.service == HEALTH) {
            return Ok(None);
        }
        let credentials = Credentials::of(headers, extensions);
        let known = self.identify(&credentials).map_err(Unknown::refuse)?;
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
        match method.rights {
            [] if is_stranger && principal.scopes.is_empty() => Err(refusal::credentials_missing()),
            [] => Err(refusal::unknown_method()),
            any => match principal.may_any(any) {
                Err(_) if is_stranger => Err(refusal::credentials_missing()),
                granted => granted.map_err(refusal::denied),
            },
        }?;
        extensions.insert(Caller(principal));
        Ok(Some(Admitted { credentials, known }))
    }

    /// Returns when the credentials of a call are revoked, with the status to end it with. They are
    /// checked when they expire, when a file was read again, and once a minute.
    pub(super) async fn revoked(self: Arc<Self>, admitted: Admitted) -> Status {
        let Admitted {
            credentials,
            mut known,
        } = admitted;
        let mut reloads = self.reloads.subscribe();
        loop {
            let left = known.expires.map_or(i64::MAX, |expires| {
                expires.as_micros() - self.clock.now().as_micros()
            });
            let left = Duration::from_micros(u64::try_from(left).unwrap_or_default());
            tokio::select! {
                // The sender is this gate's.
                _ = reloads.changed() => {}
                () = sleep_until(Instant::now() + left.min(CHECK_AGAIN)) => {}
            }
            known = match self.identify(&credentials) {
                Err(unknown) => return unknown.refuse(),
                Ok(again) if again.principal != known.principal => return refusal::credentials_changed(),
                Ok(again) => again,
            };
        }
    }

    fn authenticates(&self) -> bool {
        self.tokens.is_some() || self.jwt.is_some()
    }

    fn identify(&self, credentials: &Credentials) -> Result<Known, Unknown> {
        if !self.authenticates() {
            return Ok(self.anonymous.clone());
        }
        let now = self.clock.now();
        let known = match credentials.authorization.as_slice() {
            [] => self.by_certificate(credentials.certificate.as_deref()),
            [token] => self.by_token(bearer(token.as_bytes())?, now)?,
            _ => return Err(Unknown::Invalid("there are several")),
        };
        match known.expires.is_some_and(|expires| expires <= now) {
            true => Err(Unknown::Expired),
            false => Ok(known),
        }
    }

    fn by_token(&self, token: &str, now: Timestamp) -> Result<Known, Unknown> {
        let hash: Hash = Sha256::digest(token).into();
        let tokens = self.tokens.as_ref().map(Parsed::get);
        if let Some(known) = tokens.as_ref().and_then(|tokens| tokens.by_hash(&hash)) {
            return Ok(known.clone());
        }
        match &self.jwt {
            Some(verifier) => {
                let known = verifier.verify(token, &hash, now)?;
                let name = &known.principal.actor.principal;
                match tokens.is_some_and(|tokens| tokens.names(name)) {
                    // Else the issuer could impersonate a principal of the file.
                    true => Err(Unknown::Invalid("its sub is a name of the file of tokens")),
                    false => Ok(known),
                }
            }
            None => Err(Unknown::Invalid("it is no token of the file")),
        }
    }

    fn by_certificate(&self, certificate: Option<&PeerCertificate>) -> Known {
        let tokens = self.tokens.as_ref().map(Parsed::get);
        let known = certificate
            .zip(tokens.as_ref())
            .and_then(|(certificate, tokens)| tokens.by_certificate(certificate));
        known.unwrap_or(&self.anonymous).clone()
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
