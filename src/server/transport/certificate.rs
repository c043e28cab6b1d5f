//! Names and expiry of an X.509 certificate. Whether to trust it is decided elsewhere.

use std::time::Duration;

use x509_cert::Certificate;
use x509_cert::der::{Decode, Error};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The names in the certificate of a client, which the client CA has vouched for. In the extensions of every request of its
/// connection, as an `Arc`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerCertificate {
    /// The common name of the subject, such as `mt-worker`.
    pub common_name: Option<String>,
    /// The DNS names, such as `worker.example.org`.
    pub dns_names: Vec<String>,
    /// The URIs, such as `spiffe://example.org/worker`.
    pub uris: Vec<String>,
}

impl PeerCertificate {
    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let common = self.common_name.as_deref().into_iter();
        let others = self.dns_names.iter().chain(&self.uris);
        common.chain(others.map(String::as_str))
    }
}

/// The parsed parts of a certificate in DER.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) names: PeerCertificate,
    /// Since 1970.
    pub(super) expires: Duration,
}

pub(super) fn read(der: &[u8]) -> Result<Read, Error> {
    let certificate = Certificate::from_der(der)?;
    let content = certificate.tbs_certificate();
    let mut names = PeerCertificate {
        common_name: content
            .subject()
            .common_name()?
            .map(|name| name.value().into_owned()),
        ..PeerCertificate::default()
    };
    if let Some((_, SubjectAltName(alternatives))) = content.get_extension()? {
        for name in alternatives {
            match name {
                GeneralName::DnsName(name) => names.dns_names.push(name.to_string()),
                GeneralName::UniformResourceIdentifier(uri) => names.uris.push(uri.to_string()),
                _ => {}
            }
        }
    }
    Ok(Read {
        names,
        expires: content.validity().not_after.to_unix_duration(),
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn names_and_the_end_are_read() {
        let mut params =
            CertificateParams::new(vec!["worker.example.org".into(), "10.0.0.7".into()]).unwrap();
        params
            .subject_alt_names
            .push(SanType::URI("spiffe://example.org/worker".try_into().unwrap()));
        params.distinguished_name.push(DnType::CommonName, "mt-worker");
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let read = read(certificate.der()).unwrap();
        assert_eq!(
            read.names,
            PeerCertificate {
                common_name: Some("mt-worker".into()),
                dns_names: vec!["worker.example.org".into()],
                uris: vec!["spiffe://example.org/worker".into()],
            }
        );
        assert_eq!(read.expires, Duration::from_secs(1_927_843_200));
    }

    #[test]
    fn a_certificate_need_not_have_names() {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(read(certificate.der()).unwrap().names, PeerCertificate::default());
    }

    #[test]
    fn what_is_no_certificate_is_an_error() {
        assert!(read(b"").is_err());
        assert!(read(b"\x30\x03\x02\x01\x01").is_err());
    }
}
