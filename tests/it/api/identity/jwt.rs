//! JWTs: what is taken, and every way to forge one.

use std::fs;
use std::sync::OnceLock;

use article_store::clock::{Clock, SystemClock};
use article_store::pb;
use article_store::pb::article_service_client::ArticleServiceClient;
use article_store::server::auth::{Config, JwtConfig};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PublicKeyData, SignatureAlgorithm};
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::Desk;
use crate::api::article;
use crate::harness::{LIMIT, failure};

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "article-store";

/// A key of the issuer.
struct Issuer {
    algorithm: Algorithm,
    key: EncodingKey,
    public_der: Vec<u8>,
    kid: &'static str,
}

impl Issuer {
    fn new(algorithm: Algorithm, kind: &'static SignatureAlgorithm, kid: &'static str) -> Self {
        let pair = KeyPair::generate_for(kind).unwrap();
        let der = pair.serialize_der();
        let key = match algorithm {
            // The PKCS#1 key inside of the PKCS#8 one.
            Algorithm::RS256 => EncodingKey::from_rsa_der(&der[26..]),
            Algorithm::ES256 => EncodingKey::from_ec_der(&der),
            _ => EncodingKey::from_ed_der(&der),
        };
        Self {
            algorithm,
            key,
            public_der: pair.subject_public_key_info(),
            kid,
        }
    }

    fn jwk(&self) -> Value {
        if self.algorithm == Algorithm::EdDSA {
            // The last 32 bytes are the key.
            let x = URL_SAFE_NO_PAD.encode(&self.public_der[12..]);
            return json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": x, "kid": self.kid});
        }
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.kid.into());
        serde_json::to_value(jwk).unwrap()
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header {
            kid: Some(self.kid.into()),
            ..Header::new(self.algorithm)
        };
        encode(&header, claims, &self.key).unwrap()
    }
}

fn rsa() -> &'static Issuer {
    static KEY: OnceLock<Issuer> = OnceLock::new();
    KEY.get_or_init(|| Issuer::new(Algorithm::RS256, &rcgen::PKCS_RSA_SHA256, "rsa"))
}

fn now() -> i64 {
    SystemClock.now().to_seconds().0
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "nora", "exp": now() + 300,
        "scope": "openid read ingest profile", "agent_kinds": "HUMAN",
    })
}

/// The claims with something else in them; `null` takes one out.
fn but(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(claim)),
        value => claims[claim] = value,
    }
    claims
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

async fn serving(keys: &[Value]) -> (Desk, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let jwks_file = directory.path().join("jwks");
    fs::write(&jwks_file, json!({ "keys": keys }).to_string()).unwrap();
    let desk = Desk::of(&[super::line("static", &["read"], &[])], |config| Config {
        jwt: Some(JwtConfig {
            jwks_file,
            issuer: ISSUER.into(),
            audience: AUDIENCE.into(),
        }),
        ..config
    })
    .await;
    (desk, directory)
}

async fn list(desk: &Desk, token: &str) -> Result<(), Status> {
    let mut client = ArticleServiceClient::new(desk.with_token(token));
    client
        .list_articles(pb::ListArticlesRequest::default())
        .await
        .map(drop)
}

async fn reason(desk: &Desk, token: &str) -> Result<(), String> {
    list(desk, token).await.map_err(|status| {
        let failure = failure(&status);
        assert!(token.is_empty() || !failure.message.contains(token));
        let is_refused = failure.code == Code::Unauthenticated;
        assert!(!is_refused || failure.metadata.is_empty(), "{failure:?}");
        failure.reason
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_the_issuer_say_who_calls_and_what_for() {
    let ec = Issuer::new(Algorithm::ES256, &rcgen::PKCS_ECDSA_P256_SHA256, "ec");
    let ed = Issuer::new(Algorithm::EdDSA, &rcgen::PKCS_ED25519, "ed");
    let issuers = [rsa(), &ec, &ed];
    let (desk, _directory) = serving(&issuers.map(Issuer::jwk)).await;
    for issuer in issuers {
        for good in [
            claims(),
            but("aud", json!(["other", AUDIENCE])),
            but("nbf", json!(now() - 5)),
            // Clocks differ a little.
            but("nbf", json!(now() + 10)),
            but("exp", json!(now() - 10)),
            but("exp", json!(now() as f64 + 100.5)),
        ] {
            let token = issuer.sign(&good);
            // The second time it is remembered.
            for _ in 0..2 {
                assert_eq!(reason(&desk, &token).await, Ok(()), "{} {good}", issuer.kid);
            }
        }
    }
    let token = rsa().sign(&claims());
    let mut client = ArticleServiceClient::new(desk.with_token(&token));
    let request = pb::CreateArticleRequest {
        article: Some(article("a", &["نص"])),
        ..Default::default()
    };
    client.create_article(request).await.unwrap();
    let request = pb::ListRevisionsRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    let revisions = client.list_revisions(request).await.unwrap().into_inner();
    assert_eq!(revisions.revisions[0].principal, "nora");
    // Scopes are those that it names, and no token of the file is taken for another.
    let denied = client
        .purge_article(pb::PurgeArticleRequest::default())
        .await
        .unwrap_err();
    assert_eq!(failure(&denied).metadata["scope"], "admin");
    assert_eq!(reason(&desk, "static-token").await, Ok(()));
    let none = rsa().sign(&but("scope", Value::Null));
    assert_eq!(reason(&desk, &none).await, Err("MISSING_SCOPE".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_forgery_is_taken() {
    let other = Issuer::new(Algorithm::ES256, &rcgen::PKCS_ECDSA_P256_SHA256, "other");
    // A symmetric key in the file is not used, whoever put it there.
    let octets = json!({ "kty": "oct", "kid": "oct", "k": URL_SAFE_NO_PAD.encode("secret"), "alg": "HS256" });
    let (desk, _directory) = serving(&[rsa().jwk(), other.jwk(), octets]).await;
    let good = rsa().sign(&claims());
    assert_eq!(reason(&desk, &good).await, Ok(()));
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!()
    };
    let symmetric = |secret: &[u8], kid: &str| {
        let header = Header {
            kid: Some(kid.into()),
            ..Header::new(Algorithm::HS256)
        };
        encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap()
    };
    let jwk = rsa().jwk();
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    let headed = |header: Value| format!("{}.{payload}.{signature}", encoded(&header));
    let signed_as = |header: Header| encode(&header, &claims(), &rsa().key).unwrap();
    let named = |kid: Option<&str>| Header {
        kid: kid.map(str::to_owned),
        ..Header::new(Algorithm::RS256)
    };
    let admin = encoded(&but("scope", json!("*")));
    let critical = Header {
        crit: Some(vec!["exp".into()]),
        ..named(Some("rsa"))
    };
    let forged = [
        (
            "none",
            format!("{}.{payload}.", encoded(&json!({ "alg": "none", "kid": "rsa" }))),
        ),
        ("None", headed(json!({ "alg": "None", "kid": "rsa" }))),
        ("no alg", headed(json!({ "kid": "rsa" }))),
        ("HS256 with the public key", symmetric(&rsa().public_der, "rsa")),
        ("HS256 with the modulus", symmetric(&modulus, "rsa")),
        ("HS256 with the JWK", symmetric(jwk.to_string().as_bytes(), "rsa")),
        (
            "HS256 with the symmetric key of the file",
            symmetric(b"secret", "oct"),
        ),
        (
            "RS512 with the same key",
            signed_as(Header {
                alg: Algorithm::RS512,
                ..named(Some("rsa"))
            }),
        ),
        ("the key of another", signed_as(named(Some("other")))),
        ("an unknown key", signed_as(named(Some("rsa2")))),
        ("an empty kid", signed_as(named(Some("")))),
        ("no kid", signed_as(named(None))),
        ("critical", signed_as(critical)),
        (
            "its own key",
            headed(json!({ "alg": "RS256", "jwk": other.jwk() })),
        ),
        ("tampered", format!("{header}.{admin}.{signature}")),
        ("unsigned", format!("{header}.{payload}.")),
        ("cut", good[..good.len() - 4].to_owned()),
        ("two parts", format!("{header}.{payload}")),
        ("four parts", format!("{good}.{signature}")),
        ("empty parts", "..".to_owned()),
        ("not base64", "a.b.c".to_owned()),
        ("another signature", {
            let foreign = other.sign(&claims());
            format!("{header}.{payload}.{}", foreign.rsplit('.').next().unwrap())
        }),
    ];
    for (name, token) in &forged {
        assert_eq!(
            reason(&desk, token).await,
            Err("CREDENTIALS_INVALID".into()),
            "{name}"
        );
    }
    for wrong in [
        but("iss", json!("https://other.example")),
        but("iss", Value::Null),
        but("aud", json!("other")),
        but("aud", json!([])),
        but("aud", Value::Null),
        but("exp", Value::Null),
        but("exp", json!("tomorrow")),
        but("exp", json!(1e300)),
        but("nbf", json!(now() + 3_600)),
        but("nbf", json!("now")),
        but("sub", Value::Null),
        but("sub", json!("")),
        but("sub", json!("n".repeat(300))),
        but("scope", json!(7)),
    ] {
        let token = rsa().sign(&wrong);
        assert_eq!(
            reason(&desk, &token).await,
            Err("CREDENTIALS_INVALID".into()),
            "{wrong}"
        );
    }
    let expired = rsa().sign(&but("exp", json!(now() - 60)));
    for _ in 0..2 {
        assert_eq!(reason(&desk, &expired).await, Err("CREDENTIALS_EXPIRED".into()));
    }
    // After all of that the good one is still good.
    assert_eq!(reason(&desk, &good).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_key_needs_no_id_and_keys_are_replaced_without_a_restart() {
    let mut anonymous = rsa().jwk();
    anonymous.as_object_mut().unwrap().remove("kid");
    let (desk, directory) = serving(&[anonymous]).await;
    let token = encode(&Header::new(Algorithm::RS256), &claims(), &rsa().key).unwrap();
    assert_eq!(reason(&desk, &token).await, Ok(()));
    let ed = Issuer::new(Algorithm::EdDSA, &rcgen::PKCS_ED25519, "ed");
    let new = directory.path().join("new");
    fs::write(&new, json!({ "keys": [ed.jwk()] }).to_string()).unwrap();
    fs::rename(&new, directory.path().join("jwks")).unwrap();
    // What the old key has verified is forgotten with it.
    let gone = async {
        while reason(&desk, &token).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.unwrap();
    assert_eq!(reason(&desk, &token).await, Err("CREDENTIALS_INVALID".into()));
    assert_eq!(reason(&desk, &ed.sign(&claims())).await, Ok(()));
}

/// Claims as they are written, however often each.
struct Raw(Vec<(&'static str, Value)>);

impl serde::Serialize for Raw {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_given_twice_and_a_name_of_the_tokens_file_are_refused() {
    let (desk, _directory) = serving(&[rsa().jwk()]).await;
    let header = Header {
        kid: Some("rsa".into()),
        ..Header::new(Algorithm::RS256)
    };
    let once = vec![
        ("iss", json!(ISSUER)),
        ("aud", json!(AUDIENCE)),
        ("sub", json!("nora")),
        ("exp", json!(now() + 3_600)),
        ("scope", json!("read")),
    ];
    let sign = |claims: Vec<_>| encode(&header, &Raw(claims), &rsa().key).unwrap();
    assert_eq!(reason(&desk, &sign(once.clone())).await, Ok(()));
    for (name, value) in &once {
        let twice = [once.clone(), vec![(*name, value.clone())]].concat();
        assert_eq!(
            reason(&desk, &sign(twice)).await,
            Err("CREDENTIALS_INVALID".into()),
            "{name}"
        );
    }
    // The issuer cannot make anybody a principal of the file.
    let refused = rsa().sign(&but("sub", json!("static")));
    assert_eq!(reason(&desk, &refused).await, Err("CREDENTIALS_INVALID".into()));
    assert_eq!(reason(&desk, "static-token").await, Ok(()));
    desk.replace("# nobody\n");
    let freed = async {
        while reason(&desk, &refused).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, freed).await.unwrap();
}
