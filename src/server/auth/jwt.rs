//! JWTs of an issuer, verified by the keys of a local JWKS file.
//!
//! The algorithm is that of the key, never that of the token: an RSA key verifies RS256, one on P-256 ES256, an Ed25519
//! key EdDSA. Symmetric keys are not accepted, so that no public key can be used as a secret, and `none` is no algorithm.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use quick_cache::sync::Cache;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::tokens::{Hash, agent_kind};
use super::{Known, Parsed, Unknown};
use crate::domain::access::{Principal, Scope};
use crate::domain::time::Timestamp;

/// The tolerated difference between the clocks of issuer and server.
const LEEWAY_MICROS: i64 = 30_000_000;
/// Tokens whose verification is remembered.
const REMEMBERED: usize = 10_000;

/// The issuer whose tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtConfig {
    /// The file with the issuer's public keys (RFC 7517).
    pub jwks_file: PathBuf,
    /// The required `iss`.
    pub issuer: String,
    /// The required `aud`, or one of its values.
    pub audience: String,
}

/// Checks tokens.
pub(super) struct Verifier(Parsed<Keys>);

/// The keys of a file, and what they have verified.
pub(super) struct Keys {
    keys: Vec<Key>,
    verified: Cache<Hash, Known>,
}

struct Key {
    id: Option<String>,
    key: DecodingKey,
    /// With the key's one algorithm.
    validation: Validation,
}

impl Verifier {
    /// Reads the keys.
    pub(super) fn open(config: &JwtConfig) -> Result<Self, String> {
        let (issuer, audience) = (config.issuer.clone(), config.audience.clone());
        let parse = move |text: &str| Keys::parse(text, &issuer, &audience);
        Parsed::open(&config.jwks_file, "the file of JWT keys", parse).map(Self)
    }

    /// Reads them again if they changed.
    pub(super) fn look(&self) -> bool {
        self.0.look()
    }

    /// The principal of a token.
    pub(super) fn verify(&self, token: &str, hash: &Hash, now: Timestamp) -> Result<Known, Unknown> {
        let keys = self.0.get();
        if let Some(known) = keys.verified.get(hash) {
            return Ok(known);
        }
        let known = keys.verify(token, now)?;
        keys.verified.insert(*hash, known.clone());
        Ok(known)
    }
}

impl Keys {
    pub(super) fn parse(text: &str, issuer: &str, audience: &str) -> Result<Self, String> {
        let set: JwkSet = serde_json::from_str(text).map_err(|error| format!("it is no JWKS: {error}"))?;
        let count = set.keys.len();
        let mut keys: Vec<Key> = Vec::new();
        for (number, jwk) in (1..).zip(&set.keys) {
            let id = jwk.common.key_id.clone();
            let key = match usable(jwk) {
                Ok((algorithm, key)) if id.is_some() || count == 1 => Key {
                    id,
                    key,
                    validation: validation(algorithm, issuer, audience),
                },
                Ok(_) => return Err(format!("key {number} of {count} has no \"kid\"")),
                Err(why) => {
                    tracing::warn!(number, kid = id, why, "a JWT key is left out");
                    continue;
                }
            };
            if keys.iter().any(|other| other.id == key.id) {
                return Err(format!("key {number} has the \"kid\" of another one"));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err("it holds no key for RS256, ES256 or EdDSA".into());
        }
        let verified = Cache::new(REMEMBERED);
        Ok(Self { keys, verified })
    }

    pub(super) fn verify(&self, token: &str, now: Timestamp) -> Result<Known, Unknown> {
        let header = decode_header(token).map_err(|_| Unknown::Invalid("its header cannot be read"))?;
        if header.crit.is_some() {
            return Err(Unknown::Invalid("its header has critical extensions"));
        }
        let key = match (self.keys.as_slice(), &header.kid) {
            ([only], None) => only,
            ([only], Some(_)) if only.id.is_none() => only,
            (keys, kid) => keys
                .iter()
                .find(|key| kid.is_some() && key.id == *kid)
                .ok_or(Unknown::Invalid("its key is not known"))?,
        };
        let Claims(claims) = decode::<Claims>(token, &key.key, &key.validation)
            .map_err(|error| Unknown::Invalid(problem(&error)))?
            .claims;
        known(&claims, now)
    }
}

/// Claims, each given once. Of two with one name some readers take the first and some the last.
pub(super) struct Claims(pub(super) Map<String, Value>);

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Claims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of claims")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Claims, A::Error> {
                let mut claims = Map::new();
                while let Some((name, value)) = entries.next_entry::<String, Value>()? {
                    if claims.insert(name, value).is_some() {
                        return Err(A::Error::custom("a claim is given twice"));
                    }
                }
                Ok(Claims(claims))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

/// The principal of the claims of a verified token.
pub(super) fn known(claims: &Map<String, Value>, now: Timestamp) -> Result<Known, Unknown> {
    let expires = instant(claims, "exp")?.ok_or(Unknown::Invalid("it has no exp"))?;
    let expires = expires.saturating_add_micros(LEEWAY_MICROS);
    if instant(claims, "nbf")?.is_some_and(|begin| begin.saturating_add_micros(-LEEWAY_MICROS) > now) {
        return Err(Unknown::Invalid("it is not valid yet"));
    }
    Ok(Known {
        principal: Arc::new(principal(claims)?),
        expires: Some(expires),
        limit: None,
    })
}

/// The algorithm and the key of a JWK, or why it is not used.
fn usable(jwk: &Jwk) -> Result<(Algorithm, DecodingKey), &'static str> {
    if jwk
        .common
        .public_key_use
        .as_ref()
        .is_some_and(|purpose| *purpose != PublicKeyUse::Signature)
    {
        return Err("it is not for signatures");
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return Err("it is not for RS256, ES256 or EdDSA"),
    };
    if jwk
        .common
        .key_algorithm
        .as_ref()
        .is_some_and(|named| *named != KeyAlgorithm::from(algorithm))
    {
        return Err("its \"alg\" is another one than RS256, ES256 or EdDSA");
    }
    let key = DecodingKey::from_jwk(jwk).map_err(|_| "it cannot be read")?;
    Ok((algorithm, key))
}

fn validation(algorithm: Algorithm, issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // By the server's own clock, with the claims at hand.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

/// The subject of a verified token. Unknown scopes belong to other services and are ignored.
fn principal(claims: &Map<String, Value>) -> Result<Principal, Unknown> {
    let words = |claim: &str| match claims.get(claim) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(text
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()),
        Some(Value::Array(values)) => Ok(values
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()),
        Some(_) => Err(Unknown::Invalid("scope or agent_kinds is not a text")),
    };
    let scopes = words("scope")?
        .iter()
        .filter_map(|scope| Scope::parse(scope).ok())
        .collect();
    let kinds = words("agent_kinds")?
        .iter()
        .filter_map(|kind| agent_kind(kind))
        .collect();
    let name = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
    Principal::verified(name, scopes, kinds)
        .map_err(|_| Unknown::Invalid("its sub is not the name of a principal"))
}

/// A time in seconds, which may have decimals.
fn instant(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<Timestamp>, Unknown> {
    let Some(value) = claims.get(claim) else {
        return Ok(None);
    };
    // A cast to an integer saturates.
    let micros = value.as_f64().map(|seconds| (seconds * 1e6) as i64);
    let time = micros.and_then(|micros| Timestamp::from_micros(micros).ok());
    time.map(Some).ok_or(Unknown::Invalid("exp or nbf is not a time"))
}

/// The problem, for the log.
fn problem(error: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::InvalidAlgorithm => "its algorithm is not that of its key",
        ErrorKind::InvalidIssuer => "it is of another issuer",
        ErrorKind::InvalidAudience => "it is for another audience",
        ErrorKind::MissingRequiredClaim(_) => "it lacks exp, iss, aud or sub",
        _ => "it cannot be read",
    }
}
