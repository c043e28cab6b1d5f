//! Canonical URLs: one spelling for all that name the same article.
//!
//! The WHATWG parser reads what people and feeds write; what is left to do is to make one of the spellings that RFC 3986
//! calls equivalent (section 6.2.2), and to drop what does not tell one article from another.

use ::url::Url;

use super::Invalid;

/// The longest URL, in bytes.
pub const MAX_URL: usize = 2_048;

/// Query parameters that say where a visitor came from, not what is shown: set by newsletters, ads and social networks on
/// links to one and the same page. Short or common names (`ref`, `source`, `s`) are absent, because some sites find
/// articles by them.
const TRACKING: [&str; 18] = [
    "dclid",
    "fbclid",
    "gbraid",
    "gclid",
    "gclsrc",
    "igsh",
    "igshid",
    "li_fat_id",
    "mc_cid",
    "mc_eid",
    "mkt_tok",
    "msclkid",
    "ttclid",
    "twclid",
    "wbraid",
    "yclid",
    "_hsenc",
    "_hsmi",
];

/// The prefix of the parameters of Google Analytics campaigns.
const TRACKING_PREFIX: &str = "utm_";

/// A canonical URL: `http` or `https` with a host, percent-encoded UTF-8 in upper-case hex, without default port,
/// user, fragment and tracking parameters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanonicalUrl(String);

impl CanonicalUrl {
    /// Reads a URL in any spelling. Path case, a trailing slash, `www.` and the scheme are kept: servers tell pages
    /// apart by them. The user is dropped: it names a reader, and may hold a password.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > MAX_URL {
            return Err(too_long(text, "", text.len()));
        }
        let url = Url::parse(text)
            .map_err(|error| Invalid::new(format!("{:?} is not a URL: {error}", start(text))))?;
        let host = match (url.scheme(), url.host_str()) {
            ("http" | "https", Some(host)) => host,
            _ => {
                return Err(Invalid::new(format!(
                    "{:?} is not an http or https URL with a host",
                    start(text)
                )));
            }
        };
        let mut canonical = format!("{}://{host}", url.scheme());
        // The parser leaves out the default port.
        if let Some(port) = url.port() {
            canonical.push_str(&format!(":{port}"));
        }
        push_encoded(&mut canonical, url.path());
        let mut query = String::new();
        push_encoded(&mut query, url.query().unwrap_or_default());
        let kept = query
            .split('&')
            .filter(|parameter| !parameter.is_empty() && !is_tracking(parameter));
        for (index, parameter) in kept.enumerate() {
            canonical.push(if index == 0 { '?' } else { '&' });
            canonical.push_str(parameter);
        }
        if canonical.len() > MAX_URL {
            return Err(too_long(text, " in canonical form", canonical.len()));
        }
        Ok(Self(canonical))
    }

    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes a URL that was made canonical earlier, from a record of this store.
    pub fn from_canonical(url: String) -> Self {
        Self(url)
    }
}

impl std::fmt::Display for CanonicalUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn too_long(text: &str, form: &str, length: usize) -> Invalid {
    Invalid::new(format!(
        "URL {:?} of {length} bytes{form} is longer than {MAX_URL}",
        start(text)
    ))
}

/// As much of a refused value as an error message needs.
fn start(text: &str) -> String {
    text.chars().take(100).collect()
}

fn is_tracking(parameter: &str) -> bool {
    let name = parameter
        .split('=')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    name.starts_with(TRACKING_PREFIX) || TRACKING.contains(&name.as_str())
}

/// Writes a path or query with one spelling for every character (RFC 3986, 6.2.2): unreserved characters as they are,
/// reserved ones as they were, raw or encoded, because that may make a difference, all others encoded.
fn push_encoded(out: &mut String, text: &str) {
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let (byte, after, encoded) = match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex_value(*high) << 4 | hex_value(*low), after, true)
            }
            // A lone percent sign stands for itself. Left raw it could take up what follows it.
            (byte, after) => (*byte, after, *byte == b'%'),
        };
        rest = after;
        if is_unreserved(byte) || (is_reserved(byte) && !encoded) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn is_reserved(byte: u8) -> bool {
    b":/?#[]@!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> String {
        CanonicalUrl::parse(text).unwrap().0
    }

    #[test]
    fn raw_and_encoded_arabic_are_one_url() {
        let expected = "https://example.com/ar/%D8%AE%D8%A8%D8%B1/1";
        for text in [
            "https://example.com/ar/خبر/1",
            "https://example.com/ar/%D8%AE%D8%A8%D8%B1/1",
            "https://example.com/ar/%d8%ae%d8%a8%d8%b1/1",
            "HTTPS://EXAMPLE.COM:443/ar/خ%d8%A8ر/1#comments",
            " https://someone:secret@example.com/en/../ar/خبر/1?utm_source=x&UTM_Medium=y&fbclid=1&gclid=2 ",
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn unreserved_characters_are_decoded_and_reserved_ones_left() {
        for (text, expected) in [
            ("http://h/%41%7E%2d", "http://h/A~-"),
            ("http://h/a%2fb/%3f", "http://h/a%2Fb/%3F"),
            ("http://h/a%2541", "http://h/a%2541"),
            ("http://h/100%/%4%31", "http://h/100%25/%2541"),
            ("http://h/a|b^c`d", "http://h/a%7Cb%5Ec%60d"),
            ("http://h/a%7cb%5ec%60d", "http://h/a%7Cb%5Ec%60d"),
            ("http://h", "http://h/"),
            ("http://h:80/", "http://h/"),
            ("http://h:8080/A/", "http://h:8080/A/"),
            ("http://مثال.إختبار/", "http://xn--mgbh0fb.xn--kgbechtv/"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn other_parameters_keep_their_order_and_spelling() {
        for (text, expected) in [
            ("http://h/?b=2&a=1&b=3", "http://h/?b=2&a=1&b=3"),
            ("http://h/?b=2&utm_id=1&a=x%20y+z", "http://h/?b=2&a=x%20y+z"),
            ("http://h/?utm%5Fid=1&&ref=x&", "http://h/?ref=x"),
            ("http://h/?gclid=1", "http://h/"),
            ("http://h/?", "http://h/"),
            ("http://h/?q=خبر", "http://h/?q=%D8%AE%D8%A8%D8%B1"),
            ("http://h/?autm_x=1&gclids=2", "http://h/?autm_x=1&gclids=2"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn refusals_name_the_value() {
        for (text, expected) in [
            ("", "\"\" is not a URL: relative URL without a base"),
            ("/ar/1", "\"/ar/1\" is not a URL"),
            (
                "ftp://h/x",
                "\"ftp://h/x\" is not an http or https URL with a host",
            ),
            ("mailto:a@h", "is not an http or https URL with a host"),
            ("http://", "\"http://\" is not a URL: empty host"),
            ("http://h:99999/", "invalid port number"),
        ] {
            let message = CanonicalUrl::parse(text).unwrap_err().0;
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn the_limit_holds_for_the_input_and_the_result() {
        let url = |letter: &str, count| format!("http://h/{}", letter.repeat(count));
        assert_eq!(canonical(&url("a", MAX_URL - 9)).len(), MAX_URL);
        let message = CanonicalUrl::parse(&url("a", MAX_URL - 8)).unwrap_err().0;
        assert!(message.contains("of 2049 bytes is longer than 2048"), "{message}");
        let message = CanonicalUrl::parse(&url("خ", 400)).unwrap_err().0;
        assert!(
            message.contains("of 2409 bytes in canonical form is longer than 2048"),
            "{message}"
        );
    }

    proptest! {
        #[test]
        fn a_canonical_url_is_its_own_canonical_form(
            rest in r"[a-zA-Zخبر0-9%&=?#/.:;@|\\^`'{}\[\] ~+_-]{0,60}",
        ) {
            if let Ok(once) = CanonicalUrl::parse(&format!("https://example.com/{rest}")) {
                prop_assert_eq!(CanonicalUrl::parse(once.as_str()).unwrap(), once);
            }
        }

        #[test]
        fn hex_case_and_encoding_do_not_matter(path in "[a-zA-Z0-9خبرé~_ |-]{0,30}") {
            let upper: String = path.bytes().map(|b| format!("%{b:02X}")).collect();
            let raw = canonical(&format!("http://h/x{path}y"));
            prop_assert_eq!(&raw, &canonical(&format!("http://h/x{upper}y")));
            prop_assert_eq!(&raw, &canonical(&format!("http://h/x{}y", upper.to_lowercase())));
        }
    }
}
