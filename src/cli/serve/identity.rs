//! Authentication flags of `serve`: tokens, JWTs, anonymous scopes, and rate limits.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Args;

use crate::domain::access::Scope;
use crate::server::auth::{Config, JwtConfig, Rate};

/// Where the help lists these options.
const HEADING: &str = "Credentials";

/// See [`Config`].
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = HEADING)]
pub(super) struct IdentityArgs {
    /// The tokens file: JSON objects, one a line, made by `article-store token`. It is read again when it changes; a
    /// wrong file is logged, and the previous one stays in force.
    #[arg(long, value_name = "FILE")]
    tokens_file: Option<PathBuf>,
    /// The public keys (JWKS) of an issuer of JWTs: RS256, ES256 or EdDSA, with the claims `sub` (the name), `scope`
    /// and `agent_kinds`. It is read again when it changes.
    #[arg(long, value_name = "FILE", requires_all = ["jwt_issuer", "jwt_audience"])]
    jwks_file: Option<PathBuf>,
    /// The required claim `iss` of JWTs.
    #[arg(long, value_name = "TEXT", requires = "jwks_file")]
    jwt_issuer: Option<String>,
    /// The required claim `aud` of JWTs, or one of its values.
    #[arg(long, value_name = "TEXT", requires = "jwks_file")]
    jwt_audience: Option<String>,
    /// The scopes of callers without credentials: read, ingest, translate:LANGUAGE, review:LANGUAGE,
    /// publish:LANGUAGE, admin, embargoed, editorial, act_as; LANGUAGE may be *, and * alone is everything [default:
    /// none with tokens or JWTs, else everything but hidden articles].
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', value_parser = scope)]
    anonymous_scopes: Option<Vec<Scope>>,
    /// Turn off server reflection, which shows the schema of the API to every caller.
    #[arg(long)]
    no_reflection: bool,
    /// The rate limit in calls a second, of each principal and of all callers without credentials together [default:
    /// none]. A line of the tokens file may set another `rate`. A stream is one call.
    #[arg(long, value_name = "NUMBER")]
    rate_per_principal: Option<NonZeroU32>,
    /// The burst of the rate limit in calls [default: the calls of one second].
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
