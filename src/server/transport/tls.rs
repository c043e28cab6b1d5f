//! TLS of the server: certificate, key and client CA from PEM files, reloaded when they change.
//!
//! New files that cannot be used are logged and change nothing else. Open connections keep what they began with.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig, version};

use super::certificate;
use super::metrics::{Metrics, Outcome};
use crate::clock::Clock;
use crate::domain::time::Timestamp;
use crate::server::file_watch::Watched;

/// The polling interval of the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A certificate that expires sooner is warned about, every day.
const WARN_BEFORE: Duration = Duration::from_secs(14 * DAY.as_secs());
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Where the certificates are, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, followed by those that lead to its CA.
    pub certificate: PathBuf,
    /// Its private key: PKCS #8, SEC 1 or PKCS #1, not encrypted.
    pub key: PathBuf,
    /// Client certificates that may connect; `None`: any client.
    pub clients: Option<ClientCertificates>,
}

/// Which clients may connect, by their certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// The CAs that issue them.
    pub ca: PathBuf,
    /// Whether a client without one is turned away.
    pub are_required: bool,
}

/// The error of unusable files. For the operator: it names them.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TlsError {
    /// A file could not be read.
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// The error of the system.
        error: String,
    },
    /// A file has not what it should have.
    #[error("{} has no usable {what}: {error}", path.display())]
    Unusable {
        /// Which one.
        path: PathBuf,
        /// The missing content.
        what: &'static str,
        /// Why there is none.
        error: String,
    },
    /// Certificate and key are not a pair, or of a kind that is not supported.
    #[error("{} and {} do not serve together: {error}", certificate.display(), key.display())]
    Unpaired {
        /// Where the certificate is.
        certificate: PathBuf,
        /// Where the key is.
        key: PathBuf,
        /// The error.
        error: String,
    },
}

/// TLS that is ready to serve.
#[derive(Clone)]
pub struct Tls {
    files: TlsFiles,
    watched: Arc<Watched<Ready, TlsError>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the contents: one of the files is the key.
        f.debug_tuple("Tls").field(&self.files).finish()
    }
}

impl Tls {
    /// Reads the files. Blocks.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let mut paths = vec![files.certificate.clone(), files.key.clone()];
        paths.extend(files.clients.iter().map(|clients| clients.ca.clone()));
        let reading = files.clone();
        Ok(Self {
            files,
            watched: Arc::new(Watched::open(paths, move || reading.read())?),
        })
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.watched.get().config.clone()
    }

    /// Sends what new connections are to use whenever the files change, until it is dropped.
    pub(super) async fn follow(
        self,
        configs: watch::Sender<Arc<ServerConfig>>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) {
        let announce = || self.watched.get().announce(clock.now(), &metrics);
        announce();
        let mut announced = Instant::now();
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let watched = self.watched.clone();
            let looked = tokio::task::spawn_blocking(move || watched.look()).await;
            let is_new = match looked.unwrap_or_default() {
                None => announced.elapsed() >= DAY,
                Some(Ok(())) => {
                    metrics.reloaded(Outcome::Taken);
                    configs.send_replace(self.config());
                    true
                }
                Some(Err(error)) => {
                    metrics.reloaded(Outcome::Refused);
                    tracing::warn!(
                        %error,
                        "changed TLS files cannot be used; what was there before is used on"
                    );
                    false
                }
            };
            if is_new {
                announce();
                announced = Instant::now();
            }
        }
    }
}

/// The parsed files.
struct Ready {
    config: Arc<ServerConfig>,
    names: certificate::PeerCertificate,
    /// Since 1970.
    expires: Duration,
}

impl Ready {
    /// Logs the certificate, and warns if it expires soon.
    fn announce(&self, now: Timestamp, metrics: &Metrics) {
        let (seconds, _) = now.to_seconds();
        let left = i64::try_from(self.expires.as_secs()).unwrap_or(i64::MAX) - seconds;
        let days = left.div_euclid(DAY.as_secs().cast_signed());
        let names = self.names.dns_names.join(",");
        metrics.certificate_expires.set(left + seconds);
        if left <= 0 {
            tracing::error!(names, "the server's certificate has expired; clients refuse it");
        } else if left < WARN_BEFORE.as_secs().cast_signed() {
            tracing::warn!(names, days, "the server's certificate expires soon");
        } else {
            tracing::info!(names, days, "the server's certificate is loaded");
        }
    }
}

impl TlsFiles {
    fn read(&self) -> Result<Ready, TlsError> {
        let chain = certificates(&self.certificate)?;
        let read = chain.first().map(|first| certificate::read(first));
        let read = read.transpose().map_err(|error| TlsError::Unusable {
            path: self.certificate.clone(),
            what: "certificate",
            error: error.to_string(),
        })?;
        let key =
            PrivateKeyDer::from_pem_slice(&read_file(&self.key)?).map_err(|error| TlsError::Unusable {
                path: self.key.clone(),
                what: "private key",
                error: pem_error(&error),
            })?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let unpaired = |error: rustls::Error| TlsError::Unpaired {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            error: error.to_string(),
        };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(unpaired)?;
        let builder = match &self.clients {
            Some(clients) => {
                let unusable = |error: String| TlsError::Unusable {
                    path: clients.ca.clone(),
                    what: "CA certificate",
                    error,
                };
                let mut roots = RootCertStore::empty();
                for root in certificates(&clients.ca)? {
                    roots.add(root).map_err(|error| unusable(error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                let verifier = if clients.are_required {
                    verifier
                } else {
                    verifier.allow_unauthenticated()
                };
                let verifier = verifier
                    .build()
                    .map_err(|error: VerifierBuilderError| unusable(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unpaired)?;
        // A client of HTTP/1.1 fails in the handshake.
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (names, expires) = read.map(|read| (read.names, read.expires)).unwrap_or_default();
        Ok(Ready {
            config: Arc::new(config),
            names,
            expires,
        })
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Unreadable {
        path: path.to_path_buf(),
        error: error.to_string(),
    })
}

/// All certificates of a PEM file: one at least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |error: &pem::Error| TlsError::Unusable {
        path: path.to_path_buf(),
        what: "certificate",
        error: pem_error(error),
    };
    let certificates = CertificateDer::pem_slice_iter(&read_file(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(&error))?;
    if certificates.is_empty() {
        return Err(unusable(&pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

/// The error without cited lines, one of which could be of a key.
fn pem_error(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "no such section in PEM (encrypted keys are not supported)".into(),
        pem::Error::IllegalSectionStart { .. } => "a section of PEM begins wrongly".into(),
        pem::Error::MissingSectionEnd { .. } => "a section of PEM does not end".into(),
        pem::Error::Base64Decode(_) => "a section of PEM is not Base64".into(),
        error => error.to_string(),
    }
}
