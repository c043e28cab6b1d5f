//! The flags of `serve` for TLS, and what it takes to listen where others can reach it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::Failure;
use crate::server::transport::{ClientCertificates, Tls, TlsFiles};

/// The files of TLS, and leave to do without.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "TLS")]
pub(super) struct TlsArgs {
    /// The server's certificate chain as PEM. New connections use changed files within a second or two; files that
    /// cannot be used are logged, and the previous ones stay in force.
    #[arg(long, value_name = "PATH", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate as PEM, not encrypted.
    #[arg(long, value_name = "PATH", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The CAs of client certificates, as PEM [default: no client certificates].
    #[arg(long, value_name = "PATH", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// Whether a client certificate is required.
    #[arg(long, value_enum, default_value_t = ClientAuth::Required, requires = "tls_client_ca")]
    tls_client_auth: ClientAuth,
    /// Allow an address that others can reach without TLS: everything, tokens included, is sent in the clear. For a
    /// private network, or behind a proxy that ends TLS.
    #[arg(long)]
    insecure_no_tls: bool,
    /// Allow an address that others can reach without authentication: everyone may do everything. For a network where
    /// every program is yours.
    #[arg(long)]
    insecure_no_auth: bool,
}

/// See [`TlsArgs::tls_client_auth`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ClientAuth {
    /// Clients without one are refused.
    Required,
    /// Clients without one may call; one with a wrong certificate is refused.
    Optional,
}

impl TlsArgs {
    /// Reads the files. Blocks.
    pub(super) fn load(&self) -> Result<Option<Tls>, Failure> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        let files = TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
            clients: self.tls_client_ca.clone().map(|ca| ClientCertificates {
                ca,
                are_required: self.tls_client_auth == ClientAuth::Required,
            }),
        };
        let tls =
            Tls::load(files).map_err(|error| Failure::failed(format!("TLS cannot be used: {error}")))?;
        Ok(Some(tls))
    }

    /// Whether every caller needs a certificate of the client CA.
    pub(super) fn requires_client_certificates(&self) -> bool {
        self.tls_client_ca.is_some() && self.tls_client_auth == ClientAuth::Required
    }

    /// Refuses to listen where others can reach it without TLS or authentication, unless that is wanted, and warns then.
    pub(super) fn check_exposure(&self, address: SocketAddr, has_auth: bool) -> Result<(), Failure> {
        let bare = exposed(address, self.tls_cert.is_some(), has_auth);
        let unwanted: Vec<_> = bare.iter().filter(|lack| !self.allows(**lack)).collect();
        if unwanted.is_empty() {
            for lack in bare {
                tracing::warn!(%address, "{}", lack.warning());
            }
            return Ok(());
        }
        let mut text = format!("others can reach {address}:");
        for lack in unwanted {
            text.push_str("\n  ");
            text.push_str(lack.remedy());
        }
        text.push_str("\n  or listen on 127.0.0.1 only, which is the default");
        Err(Failure::Usage(text))
    }

    fn allows(&self, lack: Lack) -> bool {
        match lack {
            Lack::Tls => self.insecure_no_tls,
            Lack::Auth => self.insecure_no_auth,
        }
    }
}

/// What a server lacks that others can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    Tls,
    Auth,
}

impl Lack {
    fn remedy(self) -> &'static str {
        match self {
            Self::Tls => "without TLS; give --tls-cert and --tls-key, or allow it with --insecure-no-tls",
            Self::Auth => {
                "without authentication; give --tokens-file or --jwks-file, or allow it with --insecure-no-auth"
            }
        }
    }

    fn warning(self) -> &'static str {
        match self {
            Self::Tls => "others can reach this address, and everything goes over the network in the clear",
            Self::Auth => "others can reach this address, and everyone who does may do everything",
        }
    }
}

/// What a server at an address lacks. One that only this machine can reach lacks nothing.
fn exposed(address: SocketAddr, has_tls: bool, has_auth: bool) -> Vec<Lack> {
    if address.ip().to_canonical().is_loopback() {
        return Vec::new();
    }
    let lacks = [(has_tls, Lack::Tls), (has_auth, Lack::Auth)];
    lacks
        .into_iter()
        .filter_map(|(has, lack)| (!has).then_some(lack))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_can_reach_is_exposed() {
        for (address, expected) in [
            ("127.0.0.1:1", vec![]),
            ("127.9.9.9:1", vec![]),
            ("[::1]:1", vec![]),
            ("[::ffff:127.0.0.1]:1", vec![]),
            ("0.0.0.0:1", vec![Lack::Tls, Lack::Auth]),
            ("[::]:1", vec![Lack::Tls, Lack::Auth]),
            ("10.0.0.7:1", vec![Lack::Tls, Lack::Auth]),
        ] {
            assert_eq!(
                exposed(address.parse().unwrap(), false, false),
                expected,
                "{address}"
            );
        }
        let address = "0.0.0.0:1".parse().unwrap();
        assert_eq!(exposed(address, true, false), [Lack::Auth]);
        assert_eq!(exposed(address, false, true), [Lack::Tls]);
        assert_eq!(exposed(address, true, true), []);
    }
}
