//! TLS of the client commands: trusted CAs, and the client certificate.

use std::path::{Path, PathBuf};

use clap::Args;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::{Failure, HEADING};

/// The TLS options.
#[derive(Debug, Args)]
pub(crate) struct TlsArgs {
    /// The trusted CAs for the server's certificate, as PEM [default: those of the system].
    #[arg(long, help_heading = HEADING, value_name = "PATH")]
    tls_ca: Option<PathBuf>,
    /// The client certificate, as PEM.
    #[arg(long, help_heading = HEADING, value_name = "PATH", requires = "tls_client_key")]
    tls_client_cert: Option<PathBuf>,
    /// Its private key, as PEM.
    #[arg(long, help_heading = HEADING, value_name = "PATH", requires = "tls_client_cert")]
    tls_client_key: Option<PathBuf>,
    /// The name in the server's certificate [default: the host of its address].
    #[arg(long, help_heading = HEADING, value_name = "NAME")]
    tls_server_name: Option<String>,
}

impl TlsArgs {
    /// Whether any option is given, all of which need TLS.
    pub(super) fn is_wanted(&self) -> bool {
        self.tls_ca.is_some() || self.tls_client_cert.is_some() || self.tls_server_name.is_some()
    }

    pub(super) fn config(&self) -> Result<ClientTlsConfig, Failure> {
        let config = match &self.tls_ca {
            Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        let config = match (&self.tls_client_cert, &self.tls_client_key) {
            (Some(certificate), Some(key)) => {
                config.identity(Identity::from_pem(read(certificate)?, read(key)?))
            }
            _ => config,
        };
        Ok(match &self.tls_server_name {
            Some(name) => config.domain_name(name),
            None => config,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|error| Failure::failed(format!("{} cannot be read: {error}", path.display())))
}
