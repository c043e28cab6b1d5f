//! The file of tokens: one JSON object a line, each a way for a principal to prove its name.
//!
//! It holds SHA-256 of tokens and no token. A plain hash is enough, for tokens are long random strings, unlike passwords: a
//! slow hash would only slow down every call. Lines that begin with `#` are comments.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use super::Known;
use super::rate::{Rate, Single};
use crate::domain::access::{Principal, Scope, Scopes};
use crate::domain::provenance::AgentKind;
use crate::domain::time::Timestamp;
use crate::server::transport::PeerCertificate;

/// SHA-256 of a token.
pub(super) type Hash = [u8; 32];

/// The first bytes of the hash of a token, for the look-up. They reveal nothing of the token.
type HashStart = [u8; 8];

/// The tokens and certificates that are known.
#[derive(Default)]
pub(super) struct Tokens {
    entries: Vec<Entry>,
    names: HashSet<String>,
    /// The positions of the entries by the beginning of their hashes.
    by_start: HashMap<HashStart, Vec<usize>>,
}

struct Entry {
    hash: Option<Hash>,
    certificate: Option<String>,
    known: Known,
}

impl Tokens {
    /// Reads a file.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err(
                "it is empty, as a file is that is just being written; for no token leave a comment in it"
                    .into(),
            );
        }
        let (mut entries, mut by_start) = (Vec::<Entry>::new(), HashMap::<_, Vec<_>>::new());
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry = entry(line).map_err(|problem| format!("line {number}: {problem}"))?;
            let is_twice = entries.iter().any(|other| {
                entry.hash.is_some() && entry.hash == other.hash
                    || entry.certificate.is_some() && entry.certificate == other.certificate
            });
            if is_twice {
                return Err(format!("line {number}: the token or certificate is in it twice"));
            }
            if let Some(hash) = &entry.hash {
                by_start.entry(start(hash)).or_default().push(entries.len());
            }
            entries.push(entry);
        }
        let name = |entry: &Entry| entry.known.principal.actor.principal.clone();
        Ok(Self {
            names: entries.iter().map(name).collect(),
            entries,
            by_start,
        })
    }

    /// Whether a principal has this name.
    pub(super) fn names(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The principal of a token. Its timing reveals nothing: hashes are compared, in constant time.
    pub(super) fn by_hash(&self, hash: &Hash) -> Option<&Known> {
        let places = self.by_start.get(&start(hash))?;
        let mut entries = places.iter().filter_map(|place| self.entries.get(*place));
        let found = entries.find(|entry| entry.hash.is_some_and(|known| known.ct_eq(hash).into()));
        found.map(|entry| &entry.known)
    }

    /// The principal of a certificate with one of these names.
    pub(super) fn by_certificate(&self, certificate: &PeerCertificate) -> Option<&Known> {
        let is_named = |entry: &&Entry| {
            let named = entry.certificate.as_deref();
            named.is_some_and(|named| certificate.names().any(|name| name == named))
        };
        self.entries.iter().find(is_named).map(|entry| &entry.known)
    }
}

fn start(hash: &Hash) -> HashStart {
    let mut start = HashStart::default();
    start.iter_mut().zip(hash).for_each(|(to, from)| *to = *from);
    start
}

fn entry(line: &str) -> Result<Entry, String> {
    let mut fields: Map<String, Value> =
        serde_json::from_str(line).map_err(|error| format!("it is no JSON object: {error}"))?;
    let name = text(&mut fields, "name")?.ok_or("\"name\" is required")?;
    let hash = text(&mut fields, "sha256")?.map(|hex| digest(&hex)).transpose()?;
    let certificate = text(&mut fields, "certificate")?;
    if hash.is_none() && certificate.is_none() {
        return Err("\"sha256\" or \"certificate\" is required".into());
    }
    let scopes: Scopes = texts(&mut fields, "scopes")?
        .iter()
        .map(|scope| Scope::parse(scope).map_err(|invalid| format!("\"scopes\": {}", invalid.0)))
        .collect::<Result<_, _>>()?;
    let kinds = texts(&mut fields, "agent_kinds")?
        .iter()
        .map(|name| {
            agent_kind(name).ok_or_else(|| format!("\"agent_kinds\": {name:?} is not a kind of agent"))
        })
        .collect::<Result<_, _>>()?;
    let expires = text(&mut fields, "expires")?
        .map(|time| instant(&time))
        .transpose()?;
    let rate = number(&mut fields, "rate")?;
    let burst = number(&mut fields, "burst")?;
    if rate.is_none() && burst.is_some() {
        return Err("\"burst\" needs a \"rate\"".into());
    }
    if let Some(unknown) = fields.keys().next() {
        return Err(format!("{unknown:?} is not a field"));
    }
    let principal = Principal::verified(&name, scopes, kinds).map_err(|invalid| invalid.0)?;
    Ok(Entry {
        hash,
        certificate,
        known: Known {
            principal: Arc::new(principal),
            expires,
            limit: rate.map(|per_second| Arc::new(Single::new(Rate { per_second, burst }))),
        },
    })
}

/// A kind of agent by its name, whatever its case.
pub(super) fn agent_kind(name: &str) -> Option<AgentKind> {
    AgentKind::ALL
        .into_iter()
        .find(|kind| kind.name().eq_ignore_ascii_case(name))
}

fn text(fields: &mut Map<String, Value>, field: &str) -> Result<Option<String>, String> {
    match fields.remove(field) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(format!("\"{field}\" is not a text")),
    }
}

fn texts(fields: &mut Map<String, Value>, field: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("\"{field}\" is not a list of texts");
    match fields.remove(field) {
        None => Ok(Vec::new()),
        Some(Value::Array(values)) => values
            .into_iter()
            .map(|value| match value {
                Value::String(text) => Ok(text),
                _ => Err(wrong()),
            })
            .collect(),
        Some(_) => Err(wrong()),
    }
}

fn number(fields: &mut Map<String, Value>, field: &str) -> Result<Option<NonZeroU32>, String> {
    let Some(value) = fields.remove(field) else {
        return Ok(None);
    };
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    let number = number.and_then(NonZeroU32::new);
    number
        .map(Some)
        .ok_or_else(|| format!("\"{field}\" is not a whole number from 1 on"))
}

fn instant(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("\"expires\": {text:?} is not a time such as \"2027-01-31T00:00:00Z\"");
    let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
    Timestamp::from_micros(time.as_microsecond()).map_err(|_| wrong())
}

fn digest(hex: &str) -> Result<Hash, String> {
    let wrong = || "\"sha256\" is not 64 hexadecimal digits; `article-store token` makes it".to_owned();
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_line_says_who_may_do_what_and_until_when() {
        let text = format!(
            "# the desk\n\n{{\"name\":\"desk\",\"sha256\":\"{HEX}\",\"scopes\":[\"read\",\"review:pt\"],\
             \"agent_kinds\":[\"HUMAN\",\"mt\"],\"expires\":\"2027-01-31T00:00:00Z\",\"rate\":5}}\n\
             {{\"name\":\"worker\",\"certificate\":\"worker.internal\"}}\n"
        );
        let tokens = Tokens::parse(&text).unwrap();
        let mut hash = digest(&HEX.to_uppercase()).unwrap();
        let desk = tokens.by_hash(&hash).unwrap();
        assert_eq!(desk.principal.actor.principal, "desk");
        assert_eq!(desk.principal.scopes.to_string(), "read,review:pt");
        assert_eq!(desk.principal.kinds, [AgentKind::Human, AgentKind::Mt]);
        assert_eq!(desk.expires, Timestamp::from_micros(1_801_353_600_000_000).ok());
        assert!(desk.limit.is_some());
        hash[31] ^= 1;
        assert!(tokens.by_hash(&hash).is_none());
        let names = |name: &str| PeerCertificate {
            common_name: Some("other".to_owned()),
            uris: vec![name.to_owned()],
            ..PeerCertificate::default()
        };
        let worker = tokens.by_certificate(&names("worker.internal")).unwrap();
        assert_eq!(worker.principal.actor.principal, "worker");
        assert!(tokens.by_certificate(&names("worker")).is_none());
        assert!(Tokens::parse("# nobody\n").unwrap().entries.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_never_a_secret() {
        let good = format!("\"name\":\"a\",\"sha256\":\"{HEX}\"");
        for (line, problem) in [
            ("name = desk".to_owned(), "it is no JSON object"),
            ("[]".to_owned(), "it is no JSON object"),
            (format!("{{\"sha256\":\"{HEX}\"}}"), "\"name\" is required"),
            (
                format!("{{\"name\":7,\"sha256\":\"{HEX}\"}}"),
                "\"name\" is not a text",
            ),
            (
                "{\"name\":\"a\"}".to_owned(),
                "\"sha256\" or \"certificate\" is required",
            ),
            (
                "{\"name\":\"a\",\"sha256\":\"as_secret\"}".to_owned(),
                "\"sha256\" is not 64 hexadecimal digits",
            ),
            (
                format!("{{{good},\"scopes\":\"read\"}}"),
                "\"scopes\" is not a list",
            ),
            (
                format!("{{{good},\"scopes\":[\"write\"]}}"),
                "\"scopes\": \"write\" is not one of",
            ),
            (
                format!("{{{good},\"agent_kinds\":[\"ROBOT\"]}}"),
                "\"ROBOT\" is not a kind of agent",
            ),
            (
                format!("{{{good},\"expires\":\"tomorrow\"}}"),
                "\"tomorrow\" is not a time",
            ),
            (
                format!("{{{good},\"rate\":0}}"),
                "\"rate\" is not a whole number from 1 on",
            ),
            (format!("{{{good},\"burst\":9}}"), "\"burst\" needs a \"rate\""),
            (format!("{{{good},\"scope\":[]}}"), "\"scope\" is not a field"),
            (
                format!("{{\"name\":\" \",\"sha256\":\"{HEX}\"}}"),
                "the name of a principal is empty",
            ),
        ] {
            let error = Tokens::parse(&format!("# first\n{line}\n")).err().unwrap();
            assert!(
                error.starts_with("line 2: ") && error.contains(problem),
                "{line}: {error}"
            );
            assert!(!error.contains(HEX) && !error.contains("as_secret"), "{error}");
        }
        let twice = format!("{{{good}}}\n{{{good}}}\n");
        assert!(
            Tokens::parse(&twice)
                .err()
                .unwrap()
                .contains("line 2: the token or certificate is in it twice")
        );
        for blank in ["", "\n", " \r\n\t\n"] {
            assert!(Tokens::parse(blank).is_err(), "{blank:?}");
        }
    }
}
