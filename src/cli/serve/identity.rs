//! Who may call: tokens, JWTs, what is open to everybody, and how often each may call.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Args;

use crate::domain::access::Scope;
use crate::server::auth::{Config, JwtConfig, Rate};

/// Where the help lists these options.
const HEADING: &str = "Who may call";

/// See [`Config`].
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = HEADING)]
pub(super) struct IdentityArgs {
    /// Who may call with which token: a file of JSON objects, one a line, that `article-store token` makes. It is read again
    /// when it changes; a wrong one is logged, and the one before still holds.
    #[arg(long, value_name = "FILE")]
    tokens_file: Option<PathBuf>,
    /// The public keys (JWKS) of an issuer whose JWTs are taken: RS256, ES256 or EdDSA, with `sub` as the name, `scope`, and
    /// `agent_kinds`. It is read again when it changes.
    #[arg(long, value_name = "FILE", requires_all = ["jwt_issuer", "jwt_audience"])]
    jwks_file: Option<PathBuf>,
    /// What `iss` of a JWT must be.
    #[arg(long, value_name = "TEXT", requires = "jwks_file")]
    jwt_issuer: Option<String>,
    /// What `aud` of a JWT must be or hold.
    #[arg(long, value_name = "TEXT", requires = "jwks_file")]
    jwt_audience: Option<String>,
    /// What callers without credentials may do, a list of scopes: read, ingest, translate:LANGUAGE, review:LANGUAGE,
    /// publish:LANGUAGE, admin, embargoed, editorial, act_as, with * for every language, or for everything. If not given:
    /// nothing where there are tokens or JWTs, and else everything but to see hidden articles.
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', value_parser = scope)]
    anonymous_scopes: Option<Vec<Scope>>,
    /// Do not answer reflection, which tells every caller the schema of the API.
    #[arg(long)]
    no_reflection: bool,
    /// Calls a second that each principal may make, and all callers without credentials together; not limited if not given.
    /// A line of the tokens file may give its principal another `rate`. A stream is one call.
    #[arg(long, value_name = "NUMBER")]
    rate_per_principal: Option<NonZeroU32>,
    /// Calls that a principal may make at once after a pause; as many as in a second if not given.
    #[arg(long, value_name = "NUMBER", requires = "rate_per_principal")]
    burst_per_principal: Option<NonZeroU32>,
}

impl IdentityArgs {
    pub(super) fn config(&self) -> Config {
        let jwt = (self.jwks_file.clone())
            .zip(self.jwt_issuer.clone())
            .zip(self.jwt_audience.clone());
        Config {
            tokens_file: self.tokens_file.clone(),
            jwt: jwt.map(|((jwks_file, issuer), audience)| JwtConfig {
                jwks_file,
                issuer,
                audience,
            }),
            anonymous: self
                .anonymous_scopes
                .as_ref()
                .map(|scopes| scopes.iter().cloned().collect()),
            reflection: !self.no_reflection,
            rate: self.rate_per_principal.map(|per_second| Rate {
                per_second,
                burst: self.burst_per_principal,
            }),
        }
    }
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).map_err(|invalid| invalid.0)
}
