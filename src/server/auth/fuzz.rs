//! Fuzz targets of the check of credentials: a JWT as a caller sends it, its claims as an issuer would sign them, and the
//! files of tokens and keys.

use std::sync::LazyLock;

use super::jwt::{self, Claims};
use super::tokens::Tokens;
use crate::domain::time::Timestamp;

/// The public key of RFC 8037. The fuzzer has no signature of it.
const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

static VERIFIER: LazyLock<Option<jwt::Keys>> =
    LazyLock::new(|| jwt::Keys::parse(KEYS, "issuer", "audience").ok());

/// No token is accepted; claims and files are read or refused, without a panic.
pub(crate) fn jwt(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(now) = Timestamp::from_micros(1_800_000_000_000_000) else {
        return;
    };
    let keys = VERIFIER.as_ref();
    assert!(
        keys.is_some_and(|keys| keys.verify(&text, now).is_err()),
        "{text:?} was taken"
    );
    if let Ok(Claims(claims)) = serde_json::from_str(&text) {
        let _ = jwt::known(&claims, now);
    }
    let _ = jwt::Keys::parse(&text, "issuer", "audience");
    let _ = Tokens::parse(&text);
}
