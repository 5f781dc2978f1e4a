//! An HTTP client for the county's and the clinic's API: one connection at a time, TLS by the county CA alone, the
//! session's cookie kept.

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use relay_certs::trust::web_client_config;
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Longest answer: a DICOM file of a demo is 16 MB.
const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;
/// One exchange, signing included.
const DEADLINE: Duration = Duration::from_secs(60);
/// A connection, TLS included.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Where and how to connect.
#[derive(Clone)]
struct Target {
    address: SocketAddr,
    host: String,
    tls: Option<TlsConnector>,
}

/// A client. Clones share cookie and target and have their own connection.
pub struct Client {
    target: Target,
    session: Arc<Mutex<Option<String>>>,
    bearer: Option<String>,
    connection: tokio::sync::Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("address", &self.target.address).finish_non_exhaustive()
    }
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self {
            target: self.target.clone(),
            session: Arc::clone(&self.session),
            bearer: self.bearer.clone(),
            connection: tokio::sync::Mutex::new(None),
        }
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// Body.
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON; an empty one is `null`.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> anyhow::Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).with_context(|| {
            format!("no JSON: {}", String::from_utf8_lossy(&self.body[..self.body.len().min(200)]))
        })
    }

    /// The code of a problem, or nothing.
    #[must_use]
    pub fn code(&self) -> String {
        let problem: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Client {
    /// A client for `https://host:port` that trusts this CA only.
    ///
    /// # Errors
    /// When the CA cannot be read.
    pub fn https(address: SocketAddr, host: &str, ca_file: &Path) -> anyhow::Result<Self> {
        let ca = CertificateDer::from_pem_file(ca_file)
            .map_err(|e| anyhow!("county CA {}: {e}", ca_file.display()))?;
        let config = web_client_config(&ca, &[b"http/1.1"]).context("TLS for the county's API")?;
        Ok(Self::new(address, host, Some(TlsConnector::from(Arc::new(config))), None))
    }

    /// A client for a clinic's local API.
    #[must_use]
    pub fn local(address: SocketAddr, key: &str) -> Self {
        Self::new(address, "localhost", None, Some(format!("Bearer {key}")))
    }

    fn new(address: SocketAddr, host: &str, tls: Option<TlsConnector>, bearer: Option<String>) -> Self {
        let target = Target { address, host: host.to_owned(), tls };
        Self { target, session: Arc::default(), bearer, connection: tokio::sync::Mutex::default() }
    }

    /// The same session at another address.
    #[must_use]
    pub fn moved(&self, address: SocketAddr) -> Self {
        let mut moved = self.clone();
        moved.target.address = address;
        moved
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let Target { address, host, tls } = &self.target;
        let opening = async {
            let stream =
                TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
            stream.set_nodelay(true)?;
            let Some(tls) = tls else { return drive(stream).await };
            let name = ServerName::try_from(host.clone()).context("server name")?;
            drive(tls.connect(name, stream).await.with_context(|| format!("TLS with {address}"))?).await
        };
        tokio::time::timeout(CONNECT_DEADLINE, opening)
            .await
            .with_context(|| format!("{address} does not answer"))?
    }

    /// Sends one request and reads the whole answer. A connection that the server has closed is opened again once.
    ///
    /// # Errors
    /// When nothing answers in time. A refusal is an answer.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Reply> {
        let bytes = body.map_or_else(Bytes::new, |value| Bytes::from(value.to_string()));
        let exchange = async {
            let mut slot = self.connection.lock().await;
            if slot.as_ref().is_some_and(SendRequest::is_closed) {
                *slot = None;
            }
            let reused = slot.is_some();
            let mut connection = match slot.take() {
                Some(open) => open,
                None => self.connect().await?,
            };
            let first = async {
                connection.ready().await?;
                connection.send_request(self.request(&method, path, bytes.clone())).await
            };
            let answer = match first.await {
                // The server ended an idle connection just now: nothing was read of the request.
                Err(error) if reused && (error.is_canceled() || error.is_closed()) => {
                    connection = self.connect().await?;
                    connection.send_request(self.request(&method, path, bytes)).await
                }
                other => other,
            };
            let answer = answer.with_context(|| format!("{method} {path}"))?;
            self.keep_session(answer.headers());
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_BODY_BYTES).collect().await;
            let body = body.map_err(|e| anyhow!("{method} {path}: answer cut off: {e}"))?.to_bytes();
            *slot = Some(connection);
            Ok(Reply { status, body })
        };
        tokio::time::timeout(DEADLINE, exchange)
            .await
            .with_context(|| format!("{method} {path}: no answer after {} s", DEADLINE.as_secs()))?
    }

    fn request(&self, method: &Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.target.host)
            .header("x-relay", "1");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(bearer) = &self.bearer {
            request = request.header(header::AUTHORIZATION, bearer);
        }
        if let Some(cookie) = self.session.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            request = request.header(header::COOKIE, cookie);
        }
        request.body(Full::new(body)).expect("invariant: paths and headers are ASCII")
    }

    fn keep_session(&self, headers: &http::HeaderMap) {
        for cookie in headers.get_all(header::SET_COOKIE) {
            let pair = cookie.to_str().ok().and_then(|c| c.split(';').next());
            if let Some(pair) = pair {
                *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(pair.to_owned());
            }
        }
    }

    /// GET that must succeed.
    ///
    /// # Errors
    /// As [`Self::send`]; a refusal with its words.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.must(Method::GET, path, None).await
    }

    /// A request that must succeed.
    ///
    /// # Errors
    /// As [`Self::send`]; a refusal with its words.
    pub async fn must(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let reply = self.send(method.clone(), path, body).await?;
        if !reply.status.is_success() {
            bail!("{method} {path}: {} {}", reply.status, String::from_utf8_lossy(&reply.body));
        }
        reply.json()
    }
}

async fn drive<S>(stream: S) -> anyhow::Result<SendRequest<Full<Bytes>>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.context("HTTP handshake")?;
    // Ends with the sender; what fails shows at the sender.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}
