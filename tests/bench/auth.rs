//! The cost of authentication: the check of the credentials of a call. Run by `cargo bench --bench auth`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on panics, and prints"
)]

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use article_store::clock::SystemClock;
use article_store::server::auth::{Config, Gate, JwtConfig};
use article_store::server::methods;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::json;
use sha2::{Digest, Sha256};

const CALLS: usize = 100_000;
/// Verified once each.
const TOKENS: usize = 2_000;

fn main() {
    measure("no authentication", &Config::default(), &[None], CALLS);
    let directory = tempfile::tempdir().unwrap();
    for count in [1, 100, 1_000] {
        let tokens_file = directory.path().join(format!("tokens-{count}"));
        let lines: String = (0..count)
            .map(|number| line(&format!("token-{number}")))
            .collect();
        fs::write(&tokens_file, lines).unwrap();
        let config = Config {
            tokens_file: Some(tokens_file),
            ..Config::default()
        };
        let token = [Some("token-0".to_owned())];
        measure(&format!("a token, one of {count}"), &config, &token, CALLS);
    }
    let kinds = [
        (Algorithm::RS256, &rcgen::PKCS_RSA_SHA256),
        (Algorithm::ES256, &rcgen::PKCS_ECDSA_P256_SHA256),
        (Algorithm::EdDSA, &rcgen::PKCS_ED25519),
    ];
    for (algorithm, kind) in kinds {
        let pair = KeyPair::generate_for(kind).unwrap();
        let der = pair.serialize_der();
        let key = match algorithm {
            // The PKCS#1 key inside of the PKCS#8 one.
            Algorithm::RS256 => EncodingKey::from_rsa_der(der.get(26..).unwrap()),
            Algorithm::ES256 => EncodingKey::from_ec_der(&der),
            _ => EncodingKey::from_ed_der(&der),
        };
        let jwks_file = directory.path().join(format!("jwks-{algorithm:?}"));
        let jwk = match algorithm {
            // The library only takes an Ed25519 key in an older form than this one.
            Algorithm::EdDSA => {
                let x = URL_SAFE_NO_PAD.encode(pair.subject_public_key_info().get(12..).unwrap());
                json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": x})
            }
            _ => json!(Jwk::from_encoding_key(&key, algorithm).unwrap()),
        };
        fs::write(&jwks_file, json!({ "keys": [jwk] }).to_string()).unwrap();
        let config = Config {
            jwt: Some(JwtConfig {
                jwks_file,
                issuer: "issuer".into(),
                audience: "audience".into(),
            }),
            ..Config::default()
        };
        let token = |number: usize| {
            let claims = json!({
                "iss": "issuer", "aud": "audience", "sub": "nora", "exp": 4_000_000_000_u32, "scope": "read",
                "jti": number,
            });
            Some(encode(&Header::new(algorithm), &claims, &key).unwrap())
        };
        let tokens: Vec<_> = (0..TOKENS).map(token).collect();
        measure(&format!("a new JWT, {algorithm:?}"), &config, &tokens, TOKENS);
        measure(
            &format!("a known JWT, {algorithm:?}"),
            &config,
            tokens.get(..1).unwrap(),
            CALLS,
        );
    }
}

fn line(token: &str) -> String {
    let hash: String = Sha256::digest(token)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(
        "{}\n",
        json!({ "name": "nora", "sha256": hash, "scopes": ["read"] })
    )
}

/// Prints the time that the check of a call takes.
fn measure(what: &str, config: &Config, tokens: &[Option<String>], calls: usize) {
    let gate = Gate::open(config, Arc::new(SystemClock)).unwrap();
    let method = methods::at("/articlestore.v1.ArticleService/GetArticle");
    let headers = tokens.iter().map(|token| {
        let token = token
            .as_ref()
            .map(|token| format!("Bearer {token}").parse().unwrap());
        token.map(|token| (AUTHORIZATION, token)).into_iter().collect()
    });
    let headers: Vec<HeaderMap> = headers.collect();
    let start = Instant::now();
    for headers in headers.iter().cycle().take(calls) {
        assert!(gate.admit(method, headers, &mut Extensions::new()).is_ok());
    }
    let micros = start.elapsed().as_secs_f64() * 1e6 / calls as f64;
    println!("{what}: {micros:.2} µs");
}
