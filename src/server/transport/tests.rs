//! The extensions of requests: address and certificate of the peer.

use std::net::SocketAddr;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::sync::{mpsc, oneshot};
use tonic::Status;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::service_fn;

use super::*;
use crate::clock::SystemClock;

#[tokio::test]
async fn a_call_carries_the_address_and_the_names_of_its_peer() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "desk");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params.clone(), &key);
    params.is_ca = IsCa::NoCa;
    let of_desk = KeyPair::generate().unwrap();
    let desk = params.signed_by(&of_desk, &issuer).unwrap();
    std::fs::write(path("ca.pem"), ca.pem()).unwrap();
    std::fs::write(path("desk.pem"), desk.pem()).unwrap();
    std::fs::write(path("desk.key"), of_desk.serialize_pem()).unwrap();
    let tls = Tls::load(TlsFiles {
        certificate: path("desk.pem"),
        key: path("desk.key"),
        clients: Some(ClientCertificates {
            ca: path("ca.pem"),
            are_required: false,
        }),
    })
    .unwrap();

    let (told, mut tells) = mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<Body>| {
        let extensions = request.extensions();
        let peer: Option<PeerAddress> = extensions.get().copied();
        let certificate: Option<Arc<PeerCertificate>> = extensions.get().cloned();
        told.send((peer, certificate)).unwrap();
        async { Ok(Status::unimplemented("an echo").into_http()) }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Config {
        tls: Some(tls),
        ..Config::default()
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, service, config, Arc::new(SystemClock), async {
        drop(stopped.await);
    }));
    for identity in [
        Some(Identity::from_pem(desk.pem(), of_desk.serialize_pem())),
        None,
    ] {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca.pem()));
        let expected = identity.is_some().then(|| {
            Arc::new(PeerCertificate {
                common_name: Some("desk".into()),
                dns_names: vec!["localhost".into()],
                uris: vec![],
            })
        });
        let tls = match identity {
            Some(identity) => tls.identity(identity),
            None => tls,
        };
        let endpoint = Endpoint::from_shared(format!("https://localhost:{port}")).unwrap();
        let channel = endpoint.tls_config(tls).unwrap().connect().await.unwrap();
        let answer = HealthClient::new(channel)
            .check(HealthCheckRequest::default())
            .await;
        assert_eq!(answer.unwrap_err().message(), "an echo");
        let (peer, certificate) = tells.recv().await.unwrap();
        let address: SocketAddr = peer.unwrap().0;
        assert!(address.ip().is_loopback() && address.port() != port, "{address}");
        assert_eq!(certificate, expected);
    }
    stop.send(()).unwrap();
    serving.await.unwrap();
}
