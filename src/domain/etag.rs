//! Etags: a version number and a hash of what it names.
//!
//! The hash makes a number that is issued twice (after a crash took back an unacknowledged write) two different etags.

use std::fmt;
use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};

use super::Invalid;

/// The longest etag that a caller may send, in bytes.
const MAX_ETAG: usize = 64;

/// The etag of an article, a slot or a translation, printed as `7-1a2b3c4d5e6f7081`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Etag {
    /// The version that it names.
    pub version: u32,
    /// 64 bits of SHA-256 over what the version holds.
    pub digest: u64,
}

impl Etag {
    /// The etag of a version that holds `value`.
    pub fn of(version: u32, value: &impl Hash) -> Self {
        Self {
            version,
            digest: digest(value),
        }
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.version, self.digest)
    }
}

/// The etag that a caller expects. Any text of sane length is accepted: one that no version ever had is simply not the
/// current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedEtag(String);

impl ExpectedEtag {
    /// Checks the length.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > MAX_ETAG {
            return Err(Invalid::new(format!(
                "an etag of {} bytes is longer than {MAX_ETAG}",
                text.len()
            )));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether this is that etag.
    pub fn matches(&self, etag: Etag) -> bool {
        self.0 == etag.to_string()
    }

    /// The etag as it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// 64 bits of SHA-256 over a value, as its `Hash` feeds it. It need not be stable between builds: it is stored, and never
/// computed again.
fn digest(value: &impl Hash) -> u64 {
    let mut hasher = Sha256Hasher(Sha256::new());
    value.hash(&mut hasher);
    hasher.finish()
}

/// Lets `#[derive(Hash)]` feed SHA-256.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest: [u8; 32] = self.0.clone().finalize().into();
        digest
            .iter()
            .take(8)
            .fold(0, |value, byte| value << 8 | u64::from(*byte))
    }
}
