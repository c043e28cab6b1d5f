//! TLS with real clients: trust on both sides, and certificates that are replaced while the server runs.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use article_store::server::transport::{ClientCertificates, Config, End, Outcome, Reload, Tls, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tokio_rustls::{TlsConnector, rustls};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::peer::Peer;
use super::{brief, ended, eventually};
use crate::harness::{LIMIT, Server, Setup};

/// A CA of a test.
pub(super) struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, as PEM.
pub(super) struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    pub(super) fn write(&self, certificate: &str, key: &str) {
        fs::write(certificate, &self.certificate).unwrap();
        fs::write(key, &self.key).unwrap();
    }
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    pub(super) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(super) fn issue(&self, names: &[&str]) -> Pair {
        self.issue_until(names, 4096)
    }

    fn issue_until(&self, names: &[&str], year: i32) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// The files of a server with TLS.
struct Files(TempDir);

impl Files {
    fn new(pair: &Pair) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.replace(pair);
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn replace(&self, pair: &Pair) {
        pair.write(&self.path("server.pem"), &self.path("server.key"));
    }

    fn tls(&self, clients: Option<(&Authority, bool)>) -> Tls {
        let clients = clients.map(|(authority, are_required)| {
            let ca = self.0.path().join("clients.pem");
            fs::write(&ca, authority.pem()).unwrap();
            ClientCertificates { ca, are_required }
        });
        Tls::load(TlsFiles {
            certificate: Path::new(&self.path("server.pem")).into(),
            key: Path::new(&self.path("server.key")).into(),
            clients,
        })
        .unwrap()
    }
}

async fn server(tls: Tls) -> (Server, Config) {
    let config = Config {
        tls: Some(tls),
        ..brief()
    };
    let server = Setup::memory().transport(config.clone()).start().await;
    (server, config)
}

/// A connection of its own, made at the first call.
fn channel(server: &Server, ca: &Authority, identity: Option<&Pair>) -> Channel {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca.pem()));
    let tls = match identity {
        Some(pair) => tls.identity(Identity::from_pem(&pair.certificate, &pair.key)),
        None => tls,
    };
    let address = format!("https://localhost:{}", server.address.port());
    Endpoint::from_shared(address)
        .unwrap()
        .tls_config(tls)
        .unwrap()
        .connect_lazy()
}

/// Whether a call is answered; the causes of the failure otherwise.
async fn call(channel: Channel) -> Result<(), String> {
    let answer = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await;
    match answer {
        Ok(_) => Ok(()),
        Err(status) => Err(format!("{status:?}")),
    }
}

/// A connection by hand.
async fn shake(
    server: &Server,
    ca: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&str],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate.der().clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    timeout(LIMIT, TlsConnector::from(Arc::new(config)).connect(name, stream))
        .await
        .unwrap()
}

#[tokio::test]
async fn both_versions_speak_http2_and_nothing_else() {
    let ca = Authority::new("CA");
    let files = Files::new(&ca.issue(&["localhost"]));
    let (server, config) = server(files.tls(None)).await;
    for (versions, expected) in [
        ([&version::TLS13], rustls::ProtocolVersion::TLSv1_3),
        ([&version::TLS12], rustls::ProtocolVersion::TLSv1_2),
    ] {
        let stream = shake(&server, &ca, &versions, &["h2", "http/1.1"]).await.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(session.protocol_version(), Some(expected));
        assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
        let refused = shake(&server, &ca, &versions, &["http/1.1"]).await.unwrap_err();
        assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    }
    call(channel(&server, &ca, None)).await.unwrap();
    eventually("the refused are counted", || ended(&config, End::Handshake) == 2).await;
    server.stop().await;
}

#[tokio::test]
async fn only_a_server_with_a_good_certificate_is_believed() {
    let (ca, other) = (Authority::new("CA"), Authority::new("other"));
    for (pair, says) in [
        (other.issue(&["localhost"]), "UnknownIssuer"),
        (ca.issue_until(&["localhost"], 2020), "certificate expired"),
        (ca.issue(&["elsewhere"]), "not valid for name"),
    ] {
        let files = Files::new(&pair);
        let (server, _) = server(files.tls(None)).await;
        let error = call(channel(&server, &ca, None)).await.unwrap_err();
        assert!(error.contains(says), "{says:?} is not in {error}");
        server.stop().await;
    }
}

#[tokio::test]
async fn who_speaks_in_the_clear_is_closed_and_who_says_nothing_too() {
    let ca = Authority::new("CA");
    let files = Files::new(&ca.issue(&["localhost"]));
    let (server, config) = server(files.tls(None)).await;
    let clear = Peer::new(server.address).await;
    // An alert of TLS, which is no frame.
    drop(
        timeout(LIMIT, clear.split().0.read_to_end(&mut Vec::new()))
            .await
            .unwrap(),
    );
    eventually("it is counted", || ended(&config, End::Handshake) == 1).await;
    let silent = Peer::silent(server.address).await.rest().await;
    assert_eq!(silent, []);
    // Nor after the handshake.
    let mut stream = shake(&server, &ca, &[&version::TLS13], &["h2"]).await.unwrap();
    drop(timeout(LIMIT, stream.read_to_end(&mut Vec::new())).await.unwrap());
    eventually("both are counted", || ended(&config, End::HandshakeTimeout) == 2).await;
    call(channel(&server, &ca, None)).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn clients_show_a_certificate_where_it_is_required() {
    let (ca, clients, other) = (
        Authority::new("CA"),
        Authority::new("clients"),
        Authority::new("other"),
    );
    let files = Files::new(&ca.issue(&["localhost"]));
    let good = clients.issue(&["desk"]);
    let expired = clients.issue_until(&["desk"], 2020);
    let wrong = other.issue(&["desk"]);
    for required in [true, false] {
        let (server, config) = server(files.tls(Some((&clients, required)))).await;
        call(channel(&server, &ca, Some(&good))).await.unwrap();
        for refused in [&expired, &wrong] {
            call(channel(&server, &ca, Some(refused))).await.unwrap_err();
        }
        let nobody = call(channel(&server, &ca, None)).await;
        assert_eq!(nobody.is_ok(), !required, "{nobody:?}");
        let refused = if required { 3 } else { 2 };
        // The client's library may try again.
        eventually("they are counted", || ended(&config, End::Handshake) >= refused).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_while_old_ones_go_on() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = Files::new(&old.issue(&["localhost"]));
    let (server, config) = server(files.tls(None)).await;
    let reloads = |outcome| config.metrics.reloads.get_or_create(&Reload { outcome }).get();
    let open = channel(&server, &old, None);
    call(open.clone()).await.unwrap();

    // A key that is not of the certificate.
    let pair = new.issue(&["localhost"]);
    fs::write(files.path("server.key"), &pair.key).unwrap();
    eventually("it is refused", || reloads(Outcome::Refused) == 1).await;
    call(channel(&server, &old, None)).await.unwrap();
    fs::remove_file(files.path("server.pem")).unwrap();
    eventually("it is refused", || reloads(Outcome::Refused) == 2).await;
    call(channel(&server, &old, None)).await.unwrap();

    files.replace(&pair);
    eventually("it is taken", || reloads(Outcome::Taken) == 1).await;
    call(channel(&server, &new, None)).await.unwrap();
    call(channel(&server, &old, None)).await.unwrap_err();
    call(open).await.unwrap();
    assert_eq!(ended(&config, End::Keepalive) + ended(&config, End::Idle), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_new_client_ca_lets_other_clients_in() {
    let (ca, old, new) = (Authority::new("CA"), Authority::new("old"), Authority::new("new"));
    let files = Files::new(&ca.issue(&["localhost"]));
    let (server, config) = server(files.tls(Some((&old, true)))).await;
    let (was, is) = (old.issue(&["desk"]), new.issue(&["desk"]));
    call(channel(&server, &ca, Some(&was))).await.unwrap();
    call(channel(&server, &ca, Some(&is))).await.unwrap_err();
    fs::write(files.path("clients.pem"), new.pem()).unwrap();
    let taken = Reload {
        outcome: Outcome::Taken,
    };
    eventually("it is taken", || {
        config.metrics.reloads.get_or_create(&taken).get() == 1
    })
    .await;
    call(channel(&server, &ca, Some(&is))).await.unwrap();
    call(channel(&server, &ca, Some(&was))).await.unwrap_err();
    server.stop().await;
}
