//! The peer: Orthanc as Debian ships it, with its own defaults (SQLite index, files on disk).

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use relay_tests::lab::process::{self, Running};
use relay_tests::lab::wait::{Look, until};
use relay_tests::lab::{make_dir, put};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// From start to answering.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Where Debian puts it.
const PROGRAM: &str = "/usr/sbin/Orthanc";

/// Whether it is installed.
#[must_use]
pub fn installed() -> bool {
    Path::new(PROGRAM).is_file()
}

/// A running Orthanc.
#[derive(Debug)]
pub struct Orthanc {
    running: Running,
    http: SocketAddr,
    dicom: SocketAddr,
}

impl Orthanc {
    /// Starts it on an empty store in `dir`.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn start(dir: &Path) -> anyhow::Result<Self> {
        make_dir(dir)?;
        let (http, dicom) = (free()?, free()?);
        let config = serde_json::json!({
            "StorageDirectory": dir.join("store"), "IndexDirectory": dir.join("store"),
            "HttpPort": http.port(), "DicomPort": dicom.port(), "AuthenticationEnabled": false,
            "RemoteAccessAllowed": false, "DicomAlwaysAllowStore": true, "Plugins": [],
        });
        let file = dir.join("orthanc.json");
        put(&file, config.to_string().as_bytes())?;
        let log = dir.join("orthanc.log");
        let mut running = Running::start("Orthanc", Path::new(PROGRAM), &[&file], &[], &log)?;
        until("Orthanc to answer", START_DEADLINE, async || {
            running.check()?;
            Ok(match tokio::net::TcpStream::connect(http).await.and(std::net::TcpStream::connect(dicom)) {
                Ok(_) => Look::There(()),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })
        .await?;
        Ok(Self { running, http, dicom })
    }

    /// Its peak memory in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        crate::process::peak_memory(self.running.pid().context("Orthanc has ended")?)
    }

    /// Its processor time in seconds.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        crate::process::cpu_seconds(self.running.pid().context("Orthanc has ended")?)
    }

    /// Sends each folder by a `storescu` of its own, all at once.
    ///
    /// # Errors
    /// When one of them fails.
    pub async fn c_store(&self, folders: &[PathBuf]) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        let (host, port) = (self.dicom.ip().to_string(), self.dicom.port().to_string());
        let sending = folders.iter().map(|folder| {
            let folder = folder.display().to_string();
            let (host, port) = (host.clone(), port.clone());
            async move {
                let args = ["-R", "+sd", "-aec", "ORTHANC", &host, &port, &folder];
                process::run(Path::new("/usr/bin/storescu"), &args, "").await?.ok().map(drop)
            }
        });
        for done in futures::future::join_all(sending).await {
            done?;
        }
        Ok(begin.elapsed())
    }

    /// Sends each folder over a connection of its own as `POST /instances`, all at once.
    ///
    /// # Errors
    /// When a request is refused.
    pub async fn rest(&self, folders: &[PathBuf]) -> anyhow::Result<Duration> {
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let uri: http::Uri = format!("http://{}/instances", self.http).parse()?;
        let begin = Instant::now();
        let mut sending = futures::stream::iter(folders)
            .map(|folder| {
                let (client, uri) = (client.clone(), uri.clone());
                async move {
                    for entry in std::fs::read_dir(folder)? {
                        let body = Bytes::from(tokio::fs::read(entry?.path()).await?);
                        let request = http::Request::post(uri.clone()).body(Full::new(body))?;
                        let answer = client.request(request).await?;
                        let status = answer.status();
                        let body = answer.into_body().collect().await?.to_bytes();
                        ensure!(status.is_success(), "Orthanc: {status} {}", String::from_utf8_lossy(&body));
                    }
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(folders.len().max(1));
        while let Some(done) = sending.next().await {
            done?;
        }
        Ok(begin.elapsed())
    }

    /// Ends it.
    ///
    /// # Errors
    /// Of the operating system.
    pub async fn end(self) -> anyhow::Result<()> {
        self.running.kill().await.map(drop)
    }
}

/// Orthanc cannot be told to choose a port itself.
fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}
