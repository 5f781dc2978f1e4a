//! A county with as many enrolled clinics as a measurement wants, and the load process that plays them.

use crate::load::Told;
use anyhow::{Context as _, ensure};
use relay_tests::lab::clinic::Clinic;
use relay_tests::lab::county::County;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A running county and the homes of its clinics.
#[derive(Debug)]
pub struct Group {
    /// The county.
    pub county: County,
    /// Homes of the enrolled agents; no agent runs.
    pub homes: Vec<PathBuf>,
}

impl Group {
    /// Founds a county in `dir`, starts it and enrols `clinics` agents, whose homes are in `clinics_dir`.
    ///
    /// # Errors
    /// Of any command.
    pub async fn found(dir: &Path, clinics_dir: &Path, clinics: usize) -> anyhow::Result<Self> {
        let mut county = County::at(&dir.join("county"))?;
        county.found("示范县人民医院").await?;
        let addresses = county.start().await?;
        let mut homes = Vec::with_capacity(clinics);
        for number in 0..clinics {
            let id = format!("clinic{number:03}");
            county.add_clinic(&id, &format!("第{number}卫生院")).await?;
            let clinic = Clinic::at(&clinics_dir.join(&id), &id, &id)?;
            let invitation = county.invite(&id).await?;
            clinic.enrol(&county.url()?, &invitation, &addresses).await?;
            homes.push(clinic.home().to_owned());
        }
        Ok(Self { county, homes })
    }

    /// The gateway's process id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.county.addresses()?.pid)
    }
}

/// The load process.
#[derive(Debug)]
pub struct Load {
    child: Child,
    orders: ChildStdin,
    words: Lines<BufReader<ChildStdout>>,
    /// What lies in its spools.
    pub spooled: Told,
}

impl Load {
    /// Starts it for these homes, whose lines carry so many Mbit/s, and waits until their folders are spooled.
    ///
    /// # Errors
    /// When it fails.
    pub async fn start(homes: &[PathBuf], folders: &[PathBuf], line: u64) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("load").arg("--line").arg(line.to_string());
        for home in homes {
            command.arg("--home").arg(home);
        }
        for folder in folders {
            command.arg("--files").arg(folder);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start the load process")?;
        let orders = child.stdin.take().context("no standard input")?;
        let words = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let mut load = Self { child, orders, words, spooled: Told::default() };
        load.spooled = load.hear().await?;
        Ok(load)
    }

    async fn hear(&mut self) -> anyhow::Result<Told> {
        let line = self.words.next_line().await?.context("the load process has ended")?;
        serde_json::from_str(&line).with_context(|| format!("the load process said {line}"))
    }

    /// Connects every clinic; gives the time until everything was receipted.
    ///
    /// # Errors
    /// When it fails.
    pub async fn go(&mut self) -> anyhow::Result<Told> {
        self.orders.write_all(b"go\n").await?;
        self.hear().await
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it does not end cleanly.
    pub async fn end(mut self) -> anyhow::Result<()> {
        drop(self.orders);
        let status = self.child.wait().await?;
        ensure!(status.success(), "the load process ended with {status}");
        Ok(())
    }
}
