//! TLS of the client commands: which servers they believe, and how they show who they are.

use std::path::{Path, PathBuf};

use clap::Args;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::{Failure, HEADING};

/// How to speak TLS with the server.
#[derive(Debug, Args)]
pub(crate) struct TlsArgs {
    /// The CAs that the server's certificate may come from, as PEM; those of this system if not given.
    #[arg(long, help_heading = HEADING, value_name = "PATH")]
    tls_ca: Option<PathBuf>,
    /// A certificate to show to the server, as PEM.
    #[arg(long, help_heading = HEADING, value_name = "PATH", requires = "tls_client_key")]
    tls_client_cert: Option<PathBuf>,
    /// Its private key, as PEM.
    #[arg(long, help_heading = HEADING, value_name = "PATH", requires = "tls_client_cert")]
    tls_client_key: Option<PathBuf>,
    /// The name that the server's certificate must have, if not that of its address.
    #[arg(long, help_heading = HEADING, value_name = "NAME")]
    tls_server_name: Option<String>,
}

impl TlsArgs {
    /// Whether something of it was given: it would be of no use without TLS.
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
