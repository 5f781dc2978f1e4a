//! The county and its clinics as processes on one directory, and `demo.json`, which tells a person everything.

use super::cast::{self, CLINICS, Staff};
use crate::lab::clinic::{AE_AGENT, Clinic};
use crate::lab::county::{County, Login};
use crate::lab::put;
use anyhow::{Context as _, bail};
use rand::RngCore;
use relay_agent::config::{Config, QuietSeconds};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The file that tells everything.
pub const DEMO_FILE: &str = "demo.json";

/// What a person needs to play along. Kept 0600: it holds every secret of the demo.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Told {
    /// Address of the reading room.
    pub viewer_url: String,
    /// The county CA, PEM: what the browser is to trust.
    pub ca: PathBuf,
    /// The county's people.
    pub logins: Vec<Login>,
    /// The clinics.
    pub agents: Vec<AgentTold>,
    /// True when the exams of the demo are on their way.
    #[serde(default)]
    pub exams_sent: bool,
}

/// One clinic.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentTold {
    /// Clinic id.
    pub clinic: String,
    /// Its name.
    pub name: String,
    /// Called AE title.
    pub ae_title: String,
    /// DICOM port.
    pub dicom_port: u16,
    /// DICOM address.
    pub dicom: SocketAddr,
    /// Folder that is watched.
    pub watch_folder: PathBuf,
    /// The agent's directory.
    pub home: PathBuf,
    /// The clinic's page, with its key.
    pub page_url: String,
    /// Who opens reports.
    pub staff: Vec<Staff>,
}

/// How long a clinic waits for more of a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As in life: a minute after the last film of a routine study.
    Life,
    /// A day played without a person does not wait a minute to learn that nothing more comes.
    Play,
}

/// Silence that ends a played study, in seconds: routine and urgent films.
const PLAYED_S: (u32, u32) = (2, 1);

impl Pace {
    fn set(self, config: &mut Config) {
        let quiet = &mut config.quiet_s;
        match self {
            Self::Play => (quiet.xray_routine, quiet.xray_urgent) = PLAYED_S,
            // What a person has set stays.
            Self::Life if (quiet.xray_routine, quiet.xray_urgent) == PLAYED_S => {
                *quiet = QuietSeconds::default()
            }
            Self::Life => {}
        }
    }
}

/// Everything that runs.
#[derive(Debug)]
pub struct Town {
    dir: PathBuf,
    /// The county.
    pub county: County,
    /// The clinics, in the order of `CLINICS`.
    pub clinics: Vec<Clinic>,
    /// What is told.
    pub told: Told,
}

impl Town {
    /// Founds the town in `dir`, or starts the one that is there.
    ///
    /// # Errors
    /// When a program fails, with its log.
    pub async fn open(dir: &Path, pace: Pace, rng: &mut dyn RngCore) -> anyhow::Result<Self> {
        let dir = std::path::absolute(dir)?;
        let mut county = County::at(&dir.join("county"))?;
        let clinics = CLINICS
            .iter()
            .map(|(id, name)| Clinic::at(&dir.join(id), id, name))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let path = dir.join(DEMO_FILE);
        if path.is_file() {
            let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
            let told = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
            let mut town = Self { dir, county, clinics, told };
            town.start(pace).await?;
            return Ok(town);
        }
        if county.exists() {
            bail!("{}: a county without {DEMO_FILE}; take another directory", dir.display());
        }
        county.found(cast::HOSPITAL).await?;
        let mut logins = cast::people(rng);
        let ids = CLINICS.map(|(id, _)| id);
        for (id, name) in CLINICS {
            county.add_clinic(id, name).await?;
        }
        for login in &mut logins {
            county.add_account(login, &ids).await?;
        }
        county.start().await?;
        let told = Told {
            viewer_url: county.url()?,
            ca: county.ca_file(),
            logins,
            agents: Vec::new(),
            exams_sent: false,
        };
        let mut town = Self { dir, county, clinics, told };
        for number in 0..town.clinics.len() {
            town.enrol(number, pace, rng).await?;
        }
        town.tell()?;
        Ok(town)
    }

    async fn enrol(&mut self, number: usize, pace: Pace, rng: &mut dyn RngCore) -> anyhow::Result<()> {
        let staff = cast::staff(number, rng);
        let clinic = &mut self.clinics[number];
        let invitation = self.county.invite(&clinic.id).await?;
        clinic.enrol(&self.county.url()?, &invitation, self.county.addresses()?).await?;
        clinic.configure(self.county.addresses()?, |config| pace.set(config))?;
        clinic.add_staff(&staff.name, &staff.pin).await?;
        clinic.start().await?;
        let told = told_of(clinic, vec![staff])?;
        self.told.agents.push(told);
        Ok(())
    }

    /// Starts everything that does not run, on its old addresses where they are free.
    ///
    /// # Errors
    /// When a program fails, with its log.
    async fn start(&mut self, pace: Pace) -> anyhow::Result<()> {
        self.county.start().await?;
        self.told.viewer_url = self.county.url()?;
        self.told.ca = self.county.ca_file();
        for (clinic, told) in self.clinics.iter_mut().zip(&mut self.told.agents) {
            clinic.configure(self.county.addresses()?, |config| pace.set(config))?;
            clinic.start().await?;
            *told = told_of(clinic, std::mem::take(&mut told.staff))?;
        }
        self.tell()
    }

    /// Writes `demo.json`; the ports that are told also stand in the configurations, so that a person can start each program
    /// from its home.
    ///
    /// # Errors
    /// Of the disk.
    pub fn tell(&self) -> anyhow::Result<()> {
        self.county.keep_ports()?;
        self.clinics.iter().try_for_each(Clinic::keep_ports)?;
        put(&self.file(), (serde_json::to_string_pretty(&self.told)? + "\n").as_bytes())
    }

    /// Where `demo.json` is.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.dir.join(DEMO_FILE)
    }

    /// The person with this login.
    ///
    /// # Errors
    /// When there is none.
    pub fn login(&self, login: &str) -> anyhow::Result<&Login> {
        self.told.logins.iter().find(|l| l.login == login).with_context(|| format!("no login {login}"))
    }

    /// An error when a program has ended by itself.
    ///
    /// # Errors
    /// That one, with its log.
    pub fn check(&mut self) -> anyhow::Result<()> {
        let ended = self.county.ended().or_else(|| self.clinics.iter_mut().find_map(Clinic::ended));
        ended.map_or(Ok(()), |ended| bail!("{ended}"))
    }

    /// Starts again what has ended by itself, as a service manager would; says how each ended. What cannot be started is tried
    /// again at the next call.
    pub async fn mend(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        said.extend(self.county.ended());
        if !self.county.runs() {
            said.extend(self.county.start().await.err().map(|error| format!("{error:#}")));
        }
        for clinic in &mut self.clinics {
            said.extend(clinic.ended());
            if clinic.pid().is_none() {
                said.extend(clinic.start().await.err().map(|error| format!("{error:#}")));
            }
        }
        said
    }

    /// Stops the clinics, then the county.
    ///
    /// # Errors
    /// The first program that does not stop cleanly; the others are stopped all the same.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let mut first = Ok(());
        for clinic in &mut self.clinics {
            let stopped = clinic.stop().await;
            first = first.and(stopped);
        }
        let stopped = self.county.stop().await;
        first.and(stopped)
    }
}

fn told_of(clinic: &Clinic, staff: Vec<Staff>) -> anyhow::Result<AgentTold> {
    let endpoint = clinic.endpoint()?;
    let dicom = endpoint.dicom.context("the agent has no DICOM port")?;
    Ok(AgentTold {
        clinic: clinic.id.clone(),
        name: clinic.name.clone(),
        ae_title: AE_AGENT.to_owned(),
        dicom_port: dicom.port(),
        dicom,
        watch_folder: clinic.folder(),
        home: clinic.home().to_owned(),
        page_url: endpoint.page_url.clone(),
        staff,
    })
}
