//! A county as a process: `relay-gateway` and `relay-certs`, called as an administrator calls them.

use super::http::Client;
use super::process::{self, Running};
use super::wait::{Look, until};
use super::{make_dir, put};
use anyhow::{Context as _, ensure};
use relay_core::clock::{Clock as _, SystemClock};
use relay_gateway::config::CONFIG_FILE;
use relay_gateway::home::{Addresses, Home};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// From start to listening: migrations, fonts and one password hash.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Host name of the server's certificate.
pub const HOST: &str = "localhost";
/// Site id: part of every report number.
const SITE: &str = "county";
/// The county in the CA's certificate.
const COUNTY: &str = "示范县";

/// A person with an account, as the demo tells it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Login {
    /// Employee id: the login name.
    pub login: String,
    /// Name as printed on reports.
    pub name: String,
    /// Role words.
    pub roles: Vec<String>,
    /// Kinds read.
    pub kinds: Vec<String>,
    /// Password.
    pub password: String,
    /// PIN of the demonstration key, for people who sign.
    pub pin: Option<String>,
    /// TOTP secret in base32, for people who read.
    pub totp_secret: Option<String>,
}

/// A county.
#[derive(Debug)]
pub struct County {
    home: Home,
    gateway: PathBuf,
    certs: PathBuf,
    log: PathBuf,
    process: Option<Running>,
    addresses: Option<Addresses>,
}

impl County {
    /// A county in this directory; [`Self::found`] makes it.
    ///
    /// # Errors
    /// When the programs have not been built.
    pub fn at(dir: &Path) -> anyhow::Result<Self> {
        make_dir(dir)?;
        Ok(Self {
            home: Home(dir.to_owned()),
            gateway: process::program("relay-gateway")?,
            certs: process::program("relay-certs")?,
            log: dir.join("gateway.log"),
            process: None,
            addresses: None,
        })
    }

    /// Its directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The CA's certificate, PEM.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.home.ca().join("ca.pem")
    }

    /// Whether it has been founded.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.home.path().join(CONFIG_FILE).is_file()
    }

    /// `relay-gateway WORDS --home HOME` with this standard input.
    ///
    /// # Errors
    /// With what the command said when it failed.
    pub async fn gateway(&self, words: &[&str], stdin: &str) -> anyhow::Result<String> {
        let home = self.home().display().to_string();
        let mut args = words.to_vec();
        args.extend(["--home", &home]);
        process::run(&self.gateway, &args, stdin).await?.ok()
    }

    /// `relay-certs WORDS --dir HOME/ca` with this standard input.
    ///
    /// # Errors
    /// With what the command said when it failed.
    pub async fn certs(&self, words: &[&str], stdin: &str) -> anyhow::Result<String> {
        let ca = self.home.ca().display().to_string();
        let mut args = words.to_vec();
        args.extend(["--dir", &ca]);
        process::run(&self.certs, &args, stdin).await?.ok()
    }

    /// Makes CA, server certificate and configuration; every port is a free one.
    ///
    /// # Errors
    /// With what the command said.
    pub async fn found(&self, hospital: &str) -> anyhow::Result<()> {
        let words = [
            "init",
            "--id",
            SITE,
            "--county",
            COUNTY,
            "--hospital",
            hospital,
            "--name",
            HOST,
            "--name",
            "127.0.0.1",
        ];
        self.gateway(&words, "").await?;
        self.listen_on(&free(), &free(), Some(&free()))
    }

    /// Writes where to listen into the configuration; everything else that a person wrote there stays.
    fn listen_on(
        &self,
        link: &SocketAddr,
        web: &SocketAddr,
        metrics: Option<&SocketAddr>,
    ) -> anyhow::Result<()> {
        let path = self.home.path().join(CONFIG_FILE);
        let old = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let (mut section, mut new) = (String::new(), String::new());
        for line in old.lines() {
            if line.starts_with('[') {
                section = line.chars().take_while(|c| *c != ']').skip(1).collect();
            }
            let address = match section.as_str() {
                "link" => Some(link),
                "web" => Some(web),
                "metrics" => metrics,
                _ => None,
            };
            match address.filter(|_| line.starts_with("listen =")) {
                Some(address) => new += &format!("listen = \"{address}\"\n"),
                None => new += &format!("{line}\n"),
            }
        }
        put(&path, new.as_bytes())
    }

    /// Writes the ports that it got into its configuration.
    ///
    /// # Errors
    /// Of the disk.
    pub fn keep_ports(&self) -> anyhow::Result<()> {
        self.addresses.as_ref().map_or(Ok(()), |told| self.listen_on(&told.link, &told.web, None))
    }

    /// Adds a clinic.
    ///
    /// # Errors
    /// With what the command said.
    pub async fn add_clinic(&self, id: &str, name: &str) -> anyhow::Result<()> {
        self.gateway(&["clinic", "add", id, "--name", name, "--code-hours", "0"], "").await.map(drop)
    }

    /// A one-time invitation for a clinic's agent.
    ///
    /// # Errors
    /// With what the command said.
    pub async fn invite(&self, clinic: &str) -> anyhow::Result<String> {
        let out = self.certs(&["code", "--clinic", clinic, "--json"], "").await?;
        let value: Value = serde_json::from_str(&out).context("relay-certs code --json")?;
        Ok(value["invitation"].as_str().context("no invitation in the answer")?.to_owned())
    }

    /// Adds an account, with key and second factor where the role needs them; fills in the TOTP secret.
    ///
    /// # Errors
    /// With what the command said.
    pub async fn add_account(&self, login: &mut Login, clinics: &[&str]) -> anyhow::Result<()> {
        let mut words = vec!["account", "add", &login.login, "--name", &login.name];
        for (flag, values) in [("--role", &login.roles), ("--kind", &login.kinds)] {
            for value in values {
                words.extend([flag, value]);
            }
        }
        for clinic in clinics {
            words.extend(["--clinic", clinic]);
        }
        let stdin = format!("{}\n{}\n", login.password, login.pin.as_deref().unwrap_or_default());
        let out = self.gateway(&words, &stdin).await?;
        let told: Value = serde_json::from_str(out.trim()).with_context(|| format!("account add: {out}"))?;
        login.totp_secret = told["totp_secret"].as_str().map(str::to_owned);
        Ok(())
    }

    /// Starts the gateway and waits until it listens. The addresses of the last run are taken again when they are free.
    ///
    /// # Errors
    /// When it ends or does not listen in time, with its log.
    pub async fn start(&mut self) -> anyhow::Result<Addresses> {
        self.start_with(&[]).await
    }

    /// [`Self::start`] with these environment variables.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(&mut self, env: &[(&str, String)]) -> anyhow::Result<Addresses> {
        ensure!(self.process.is_none(), "the gateway runs already");
        if let Ok(text) = std::fs::read(self.home.addresses()) {
            let old: Addresses = serde_json::from_slice(&text).context("addresses.json")?;
            self.listen_on(&free_udp(old.link), &free_tcp(old.web), None)?;
        }
        let home = self.home().display().to_string();
        let mut running =
            Running::start("relay-gateway", &self.gateway, &["run", "--home", &home], env, &self.log)?;
        let path = self.home.addresses();
        let addresses = until("the gateway to listen", START_DEADLINE, async || {
            running.check()?;
            let Ok(text) = std::fs::read(&path) else { return Ok(Look::NotYet("no addresses.json".into())) };
            let told: Addresses = serde_json::from_slice(&text).context("addresses.json")?;
            if Some(told.pid) == running.pid() {
                return Ok(Look::There(told));
            }
            Ok(Look::NotYet(format!("addresses.json of process {}", told.pid)))
        });
        let addresses = addresses.await.with_context(|| process::tail(&self.log))?;
        self.process = Some(running);
        self.addresses = Some(addresses.clone());
        Ok(addresses)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When it does not run.
    pub fn addresses(&self) -> anyhow::Result<&Addresses> {
        self.addresses.as_ref().context("the gateway does not run")
    }

    /// The page's address.
    ///
    /// # Errors
    /// When it does not run.
    pub fn url(&self) -> anyhow::Result<String> {
        Ok(format!("https://{HOST}:{}", self.addresses()?.web.port()))
    }

    /// Whether it was started and has not been seen to end.
    #[must_use]
    pub const fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// How the gateway ended when it did so by itself; it can be started again then.
    pub fn ended(&mut self) -> Option<String> {
        let ended = process::ended(&mut self.process);
        if self.process.is_none() {
            self.addresses = None;
        }
        ended
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// When it does not stop cleanly.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.addresses = None;
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
        self.addresses = None;
        match self.process.take() {
            Some(running) => running.kill().await.map(drop),
            None => Ok(()),
        }
    }

    /// The gateway's log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Logs a person in: password, and the code of the moment where a second factor is set.
    ///
    /// # Errors
    /// When the county refuses.
    pub async fn log_in(&self, login: &Login) -> anyhow::Result<Client> {
        let client = Client::https(self.addresses()?.web, HOST, &self.ca_file())?;
        let code = match &login.totp_secret {
            Some(secret) => Some(
                viewer_api::auth::totp::code(secret, SystemClock.now())
                    .map_err(|problem| anyhow::anyhow!("TOTP of {}: {problem:?}", login.login))?,
            ),
            None => None,
        };
        let body = json!({ "login": login.login, "password": login.password, "totp": code });
        client.must(http::Method::POST, "/api/v1/session", Some(&body)).await?;
        Ok(client)
    }
}

fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The address when it can be bound, else any free one.
fn free_udp(address: SocketAddr) -> SocketAddr {
    if std::net::UdpSocket::bind(address).is_ok() { address } else { free() }
}

fn free_tcp(address: SocketAddr) -> SocketAddr {
    if std::net::TcpListener::bind(address).is_ok() { address } else { free() }
}
