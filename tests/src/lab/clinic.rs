//! A clinic as a process: `relay-agent`, called as the clinic's people and machines call it.

use super::http::Client;
use super::process::{self, Running};
use super::scu::{self, Answer};
use super::wait::{Look, until};
use super::{make_dir, put};
use anyhow::{Context as _, bail, ensure};
use relay_agent::config::{AeRule, Config, Folder, Gateway};
use relay_agent::home::{Endpoint, Home};
use relay_agent::page::Overview;
use relay_core::study::Class;
use relay_gateway::home::Addresses;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// From start to listening.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// Calling AE title whose films are emergencies by rule.
pub const AE_EMERGENCY: &str = "DR-EMERGENCY";
/// Calling AE title of the everyday machine.
pub const AE_ROUTINE: &str = "DR-01";
/// The agent's AE title.
pub const AE_AGENT: &str = "RELAY";

/// What one file became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTaken {
    /// Path as given.
    pub file: PathBuf,
    /// Name of the code.
    pub code: String,
    /// Which field.
    pub field: String,
    /// Why.
    pub reason: String,
}

/// A clinic.
#[derive(Debug)]
pub struct Clinic {
    /// Clinic id.
    pub id: String,
    /// Its name in words.
    pub name: String,
    home: Home,
    agent: PathBuf,
    log: PathBuf,
    process: Option<Running>,
    endpoint: Option<Endpoint>,
}

impl Clinic {
    /// A clinic in this directory; [`Self::enrol`] makes it.
    ///
    /// # Errors
    /// When the program has not been built.
    pub fn at(dir: &Path, id: &str, name: &str) -> anyhow::Result<Self> {
        make_dir(dir)?;
        Ok(Self {
            id: id.to_owned(),
            name: name.to_owned(),
            home: Home::at(dir),
            agent: process::program("relay-agent")?,
            log: dir.join("agent.log"),
            process: None,
            endpoint: None,
        })
    }

    /// Its directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The folder that the ECG cart writes into.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.home.path().join("ecg")
    }

    /// Whether it has been enrolled.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.home.chain().is_file()
    }

    /// `relay-agent WORDS --home HOME` with this standard input.
    ///
    /// # Errors
    /// When it cannot be started; how it ended is in the answer.
    pub async fn command(&self, words: &[&str], stdin: &str) -> anyhow::Result<process::Done> {
        let home = self.home().display().to_string();
        let mut args = words.to_vec();
        args.extend(["--home", &home]);
        process::run(&self.agent, &args, stdin).await
    }

    /// Enrols the agent with a one-time code and writes its configuration.
    ///
    /// # Errors
    /// With what the command said.
    pub async fn enrol(&self, url: &str, invitation: &str, county: &Addresses) -> anyhow::Result<()> {
        self.command(&["enrol", "--gateway-url", url, "--code", "-"], invitation).await?.ok()?;
        self.configure(county, |config| {
            // A demonstration does not wait a minute to learn that nothing more comes.
            config.quiet_s.xray_routine = 2;
            config.quiet_s.xray_urgent = 1;
        })
    }

    /// Rewrites the configuration: ports free, watched folder, rules, this county, then what `change` wants.
    ///
    /// # Errors
    /// Of the disk.
    pub fn configure(&self, county: &Addresses, change: impl FnOnce(&mut Config)) -> anyhow::Result<()> {
        let path = self.home.config();
        let mut config = if path.exists() { Config::load(&path)? } else { Config::default() };
        let link = SocketAddr::from(([127, 0, 0, 1], county.link.port()));
        config.county.gateways =
            vec![Gateway { name: super::county::HOST.to_owned(), address: link.to_string() }];
        config.dicom.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.dicom.ae_title = AE_AGENT.to_owned();
        config.dicom.rule = vec![AeRule { ae: AE_EMERGENCY.to_owned(), class: Class::Emergency, kind: None }];
        config.page.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.folder = vec![Folder {
            path: self.folder(),
            class: Class::Emergency,
            kind: None,
            stable_s: 1,
            poll_s: 1,
            keep_done_days: 30,
        }];
        make_dir(&self.folder())?;
        if let Some(last) = self.home.endpoint().ok().filter(|_| self.process.is_none()) {
            config.page.listen = free_tcp(last.page);
            config.dicom.listen = last.dicom.map_or(config.dicom.listen, free_tcp);
        }
        change(&mut config);
        put(&path, config.to_toml().as_bytes())
    }

    /// Enrols a person.
    ///
    /// # Errors
    /// With what the command said.
    pub async fn add_staff(&self, name: &str, pin: &str) -> anyhow::Result<()> {
        self.command(&["staff", "add", name], pin).await?.ok().map(drop)
    }

    /// Starts the agent and waits until it listens.
    ///
    /// # Errors
    /// When it ends or does not listen in time, with its log.
    pub async fn start(&mut self) -> anyhow::Result<Endpoint> {
        self.start_with(&[]).await
    }

    /// [`Self::start`] with these environment variables.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(&mut self, env: &[(&str, String)]) -> anyhow::Result<Endpoint> {
        ensure!(self.process.is_none(), "the agent of {} runs already", self.id);
        let home = self.home().display().to_string();
        let name = format!("relay-agent of {}", self.id);
        let mut running = Running::start(&name, &self.agent, &["run", "--home", &home], env, &self.log)?;
        let what = format!("{name} to listen");
        let endpoint = until(&what, START_DEADLINE, async || {
            running.check()?;
            let Ok(told) = self.home.endpoint() else { return Ok(Look::NotYet("no endpoint.json".into())) };
            if Some(told.pid) == running.pid() {
                return Ok(Look::There(told));
            }
            Ok(Look::NotYet(format!("endpoint.json of process {}", told.pid)))
        });
        let endpoint = endpoint.await.with_context(|| process::tail(&self.log))?;
        self.process = Some(running);
        self.endpoint = Some(endpoint.clone());
        Ok(endpoint)
    }

    /// How to reach it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn endpoint(&self) -> anyhow::Result<&Endpoint> {
        self.endpoint.as_ref().with_context(|| format!("the agent of {} does not run", self.id))
    }

    /// Its local API.
    ///
    /// # Errors
    /// When it does not run.
    pub fn api(&self) -> anyhow::Result<Client> {
        let endpoint = self.endpoint()?;
        Ok(Client::local(endpoint.page, &endpoint.local_key))
    }

    /// Everything that its page shows.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub async fn overview(&self) -> anyhow::Result<Overview> {
        overview(&self.api()?).await
    }

    /// How the agent ended when it did so by itself; it can be started again then.
    pub fn ended(&mut self) -> Option<String> {
        let ended = process::ended(&mut self.process);
        if self.process.is_none() {
            self.endpoint = None;
        }
        ended
    }

    /// Writes the ports that it got into its configuration.
    ///
    /// # Errors
    /// Of the disk.
    pub fn keep_ports(&self) -> anyhow::Result<()> {
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        let path = self.home.config();
        let mut config = Config::load(&path)?;
        config.page.listen = endpoint.page;
        config.dicom.listen = endpoint.dicom.unwrap_or(config.dicom.listen);
        put(&path, config.to_toml().as_bytes())
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// When it does not stop cleanly.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.endpoint = None;
        match self.process.take() {
            Some(running) => running.stop().await,
            None => Ok(()),
        }
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// Of the operating system.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.endpoint = None;
        match self.process.take() {
            Some(running) => running.kill().await.map(drop),
            None => Ok(()),
        }
    }

    /// The agent's log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Running::pid)
    }

    /// Sends films by C-STORE in one association, as a machine with this AE title.
    ///
    /// # Errors
    /// When the association fails.
    pub async fn store(&self, calling: &str, files: Vec<Vec<u8>>) -> anyhow::Result<Vec<Answer>> {
        let scp = self.endpoint()?.dicom.context("the agent has no DICOM port")?;
        let calling = calling.to_owned();
        let sending = tokio::task::spawn_blocking(move || {
            let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
            scu::store(scp, &calling, AE_AGENT, &files)
        });
        sending.await.context("the SCU panicked")?
    }

    /// Puts a file into the watched folder as a cart does: written beside, then renamed.
    ///
    /// # Errors
    /// Of the disk.
    pub fn drop_into_folder(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        put(&self.folder().join(name), bytes)
    }

    /// `relay-agent send` of these files; gives those that were not taken.
    ///
    /// # Errors
    /// When the command fails for another reason than refused files.
    pub async fn send(&self, files: &[&Path], class: Class) -> anyhow::Result<Vec<NotTaken>> {
        let paths: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        let mut words = vec!["send", "--json", "--class", class.word()];
        words.extend(paths.iter().map(String::as_str));
        let done = self.command(&words, "").await?;
        let Ok(told) = serde_json::from_str::<Value>(done.stdout.trim()) else {
            bail!("{}: {}\n{}{}", done.command, done.status, done.stderr, done.stdout);
        };
        let refused = told["refused"].as_array().context("send --json names no list of refused files")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(refused
            .iter()
            .map(|r| NotTaken {
                file: PathBuf::from(text(&r["file"])),
                code: text(&r["code"]),
                field: text(&r["field"]),
                reason: text(&r["reason"]),
            })
            .collect())
    }
}

/// Everything that the page of an agent shows.
///
/// # Errors
/// When the agent does not answer.
pub async fn overview(api: &Client) -> anyhow::Result<Overview> {
    let value = api.get("/api/v1/overview").await?;
    serde_json::from_value(value).context("the agent's overview")
}

/// Opens a report version for a named person; gives the PDF.
///
/// # Errors
/// When the agent refuses, with its words.
pub async fn open_report(api: &Client, letter: &str, person: &str, pin: &str) -> anyhow::Result<Vec<u8>> {
    use base64::Engine as _;
    let body = json!({ "person": person, "pin": pin });
    let opened = api.must(http::Method::POST, &format!("/api/v1/reports/{letter}/open"), Some(&body)).await?;
    let pdf = opened["pdf_base64"].as_str().context("the agent's answer has no PDF")?;
    base64::engine::general_purpose::STANDARD.decode(pdf).context("the PDF is no base64")
}

fn free_tcp(address: SocketAddr) -> SocketAddr {
    if std::net::TcpListener::bind(address).is_ok() { address } else { SocketAddr::from(([127, 0, 0, 1], 0)) }
}
