//! The commands' way to the running agent: its local API over loopback.

use crate::home::{Endpoint, Home};
use crate::page::Overview;
use crate::spool::{ReportPage, StudyPage};
use bytes::Bytes;
use futures::TryStreamExt as _;
use http::{Method, Request, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use relay_core::ids::{LetterId, StudyUid};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

/// An answer that takes longer means that the agent hangs. Uploads of 4 GiB to a slow disk stay below.
const DEADLINE: Duration = Duration::from_secs(600);
/// Longest answer: a report of 16 MiB in base64, and room.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of a file read at a time.
const READ_BYTES: usize = 256 * 1024;

type Body = BoxBody<Bytes, std::io::Error>;

/// Why a command cannot be carried out by the running agent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No agent runs on this home.
    #[error(
        "{home} 上没有正在运行的代理程序（{reason}）：请先启动 relay-agent run / no agent runs on {home}: start relay-agent run"
    )]
    NotRunning {
        /// Which home.
        home: String,
        /// How that was seen.
        reason: String,
    },
    /// The agent refused.
    #[error("{zh}（{code}: {reason}）")]
    Refused {
        /// Name in the list of codes.
        code: String,
        /// Which field.
        field: String,
        /// Why, English.
        reason: String,
        /// Why, Chinese.
        zh: String,
    },
    /// The agent did not answer, or not in its language.
    #[error("the agent's local API: {0}")]
    Transport(String),
    /// A file cannot be read.
    #[error("{file}: {source}")]
    File {
        /// Which file.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A connection to the running agent.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    http: HttpClient<HttpConnector, Body>,
}

#[derive(serde::Deserialize)]
struct Problem {
    code: String,
    field: String,
    reason: String,
    zh: String,
}

impl Client {
    /// Finds the agent that runs on this home.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`].
    pub async fn find(home: &Home) -> Result<Self, ClientError> {
        let not =
            |reason: String| ClientError::NotRunning { home: home.path().display().to_string(), reason };
        let mut endpoint = home.endpoint().map_err(|e| not(e.to_string()))?;
        if endpoint.page.ip().is_unspecified() {
            endpoint.page.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        tokio::net::TcpStream::connect(endpoint.page)
            .await
            .map_err(|e| not(format!("{}: {e}", endpoint.page)))?;
        Ok(Self { endpoint, http: HttpClient::builder(TokioExecutor::new()).build_http() })
    }

    /// Where the agent listens.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body,
        kind: &str,
    ) -> Result<T, ClientError> {
        let transport = |e: &dyn std::error::Error| ClientError::Transport(crate::spool::chain(e));
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}/api/v1/{path}", self.endpoint.page))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.endpoint.local_key))
            .header(header::CONTENT_TYPE, kind)
            .body(body)
            .map_err(|e| transport(&e))?;
        let answer = async {
            let response = self.http.request(request).await.map_err(|e| transport(&e))?;
            let status = response.status();
            let body = http_body_util::Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            Ok::<_, ClientError>((
                status,
                body.map_err(|e| ClientError::Transport(e.to_string()))?.to_bytes(),
            ))
        };
        let (status, bytes) = tokio::time::timeout(DEADLINE, answer)
            .await
            .map_err(|_| ClientError::Transport("no answer".to_owned()))??;
        if status == StatusCode::OK {
            return serde_json::from_slice(&bytes).map_err(|e| transport(&e));
        }
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(p) => Err(ClientError::Refused { code: p.code, field: p.field, reason: p.reason, zh: p.zh }),
            Err(_) => Err(ClientError::Transport(format!("{status}: {}", String::from_utf8_lossy(&bytes)))),
        }
    }

    /// Reads.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(
            Method::GET,
            path,
            Full::default().map_err(|never| match never {}).boxed(),
            "application/json",
        )
        .await
    }

    /// Acts.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let bytes = serde_json::to_vec(body).map_err(|e| ClientError::Transport(e.to_string()))?;
        let body = Full::from(bytes).map_err(|never| match never {}).boxed();
        self.call(Method::POST, path, body, "application/json").await
    }

    /// The page: what needs a person, and the first page of the long lists.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn overview(&self) -> Result<Overview, ClientError> {
        self.get("overview").await
    }

    /// The page with every study and every report version on it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn whole_overview(&self) -> Result<Overview, ClientError> {
        let mut all = self.overview().await?;
        let mut known: HashSet<StudyUid> = all.studies.iter().map(|s| s.uid.clone()).collect();
        for page in 1..all.studies_pages {
            let more: StudyPage = self.get(&format!("studies?page={page}")).await?;
            // A study may have moved to another page in between.
            all.studies.extend(more.studies.into_iter().filter(|s| known.insert(s.uid.clone())));
        }
        let mut known: HashSet<LetterId> = all.reports.iter().map(|r| r.letter.clone()).collect();
        for page in 1..all.reports_pages {
            let more: ReportPage = self.get(&format!("reports?page={page}")).await?;
            all.reports.extend(more.reports.into_iter().filter(|r| known.insert(r.letter.clone())));
        }
        Ok(all)
    }

    /// Hands over a file, in pieces.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Refused`] when the file is not taken.
    pub async fn upload<T: DeserializeOwned>(
        &self,
        file: &Path,
        query: &[(&str, &str)],
    ) -> Result<T, ClientError> {
        let wrong = |source| ClientError::File { file: file.display().to_string(), source };
        let opened = tokio::fs::File::open(file).await.map_err(wrong)?;
        let pieces = tokio_util::io::ReaderStream::with_capacity(opened, READ_BYTES).map_ok(Frame::data);
        let body = http_body_util::BodyExt::boxed(StreamBody::new(pieces));
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
        self.call(Method::POST, &format!("objects?{}", query.join("&")), body, "application/octet-stream")
            .await
    }
}

/// Percent-encodes everything but RFC 3986 unreserved characters.
#[must_use]
pub fn percent(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_chinese_file_name_travels_in_a_query() {
        assert_eq!(super::percent("王 1&.dcm"), "%E7%8E%8B%201%26.dcm");
    }
}
