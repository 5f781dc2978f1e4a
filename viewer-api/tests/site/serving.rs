//! The accept loop over real sockets.

use crate::common::Site;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use viewer_api::serve;

fn certificate() -> (Arc<ServerConfig>, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["county.test".to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(vec![der.clone()], key).unwrap();
    config.alpn_protocols = serve::alpn();
    (Arc::new(config), der)
}

struct Running {
    address: SocketAddr,
    tls: watch::Sender<Arc<ServerConfig>>,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

async fn run(config: Arc<ServerConfig>) -> Running {
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tls, reload) = watch::channel(config);
    let stop = site.stop.clone();
    let task =
        tokio::spawn(
            async move { serve::serve(listener, reload, site.router.clone(), site.stop.clone()).await },
        );
    Running { address, tls, stop, task }
}

async fn ask(address: SocketAddr, root: &CertificateDer<'static>) -> Result<String, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("county.test").unwrap();
    let stream = TcpStream::connect(address).await?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream
        .write_all(b"GET /api/v1/session HTTP/1.1\r\nHost: county.test\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_request_is_answered_over_tls_and_a_new_certificate_needs_no_restart() {
    let (first, first_root) = certificate();
    let (second, second_root) = certificate();
    let running = run(first).await;
    let answer = ask(running.address, &first_root).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("UNAUTHENTICATED"), "{answer}");
    running.tls.send(second).unwrap();
    assert!(ask(running.address, &first_root).await.is_err());
    assert!(ask(running.address, &second_root).await.unwrap().starts_with("HTTP/1.1 401 "));
    running.stop.cancel();
    running.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_handshakes_at_once() {
    let (config, _) = certificate();
    let running = run(config).await;
    let silent = TcpStream::connect(running.address).await.unwrap();
    running.stop.cancel();
    running.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
    drop(silent);
}

#[tokio::test]
async fn one_address_has_a_limited_number_of_connections() {
    let (config, root) = certificate();
    let running = run(config).await;
    let mut open = Vec::new();
    for _ in 0..viewer_api::limits::MAX_CONNECTIONS_PER_IP {
        open.push(TcpStream::connect(running.address).await.unwrap());
    }
    assert!(ask(running.address, &root).await.is_err());
    running.stop.cancel();
    running.task.await.unwrap().unwrap();
}
