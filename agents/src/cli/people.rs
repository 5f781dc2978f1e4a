//! `report`, `staff`, `critical`, `retake`: what named people do.

use super::{At, Who, awake, eprint_line, out_line, pin, running};
use crate::spool::CriticalRow;
use anyhow::Context as _;
use base64::Engine as _;
use clap::Subcommand;
use rand::{RngCore as _, SeedableRng as _};
use relay_core::clock::Clock;
use relay_core::durable::{Disk as _, RealDisk};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Debug, Subcommand)]
pub(super) enum Report {
    /// Opens a report for a named person: verified from disk, noted for the county, written as PDF.
    Open {
        #[command(flatten)]
        at: At,
        /// Id as `reports` shows it.
        id: String,
        #[command(flatten)]
        who: Who,
        /// Where the PDF goes.
        #[arg(long)]
        pdf: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Staff {
    /// Enrols a person, or gives a person a new PIN.
    Add {
        #[command(flatten)]
        at: At,
        /// Name as it shall appear in acknowledgements.
        name: String,
        /// File with the PIN; standard input when absent.
        #[arg(long)]
        pin_file: Option<PathBuf>,
    },
    /// Everybody enrolled.
    List {
        #[command(flatten)]
        at: At,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Critical {
    /// Every critical notice.
    List {
        #[command(flatten)]
        at: At,
        /// JSON on standard output.
        #[arg(long)]
        json: bool,
    },
    /// A named medical person reads the notice back.
    Ack {
        #[command(flatten)]
        at: At,
        /// Id as `critical list` shows it.
        id: String,
        #[command(flatten)]
        who: Who,
        /// What was understood.
        #[arg(long)]
        read_back: String,
    },
    /// The treating doctor records what was done.
    Action {
        #[command(flatten)]
        at: At,
        /// Id as `critical list` shows it.
        id: String,
        #[command(flatten)]
        who: Who,
        /// What was done.
        #[arg(long)]
        text: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Retake {
    /// A named person has seen the request.
    Seen {
        #[command(flatten)]
        at: At,
        /// Id as `status` shows it.
        id: String,
        #[command(flatten)]
        who: Who,
    },
}

async fn act(at: &At, path: String, who: &Who, text: Option<&str>) -> anyhow::Result<Value> {
    let client = running(at).await?;
    let body = json!({ "person": who.name, "pin": who.pin()?, "text": text.unwrap_or_default() });
    Ok(client.post(&path, &body).await?)
}

impl Report {
    pub(super) async fn carry_out(self) -> anyhow::Result<ExitCode> {
        let Self::Open { at, id, who, pdf } = self;
        // A report counts as opened by the agent's answer: what could keep it from the reader is found before.
        let target = Target::prepare(&pdf).with_context(|| {
            format!(
                "--pdf {}：无法写入，报告未打开 / cannot be written, the report was not opened",
                pdf.display()
            )
        })?;
        let opened = act(&at, format!("reports/{}/open", crate::client::percent(&id)), &who, None).await?;
        let base64 = opened["pdf_base64"].as_str().context("the agent's answer has no PDF")?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(base64)?;
        target.fill(&bytes).with_context(|| pdf.display().to_string())?;
        for sentence in ["sentence_zh", "sentence_en"] {
            eprint_line(opened[sentence].as_str().unwrap_or_default());
        }
        let done = json!({ "report": opened["report"], "signature": "valid", "sentence": opened["sentence_zh"], "pdf": pdf });
        out_line(&done.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Where a PDF goes: made, as an empty file under another name, before the report is opened.
struct Target {
    dir: PathBuf,
    path: PathBuf,
    file: tempfile::NamedTempFile,
}

impl Target {
    fn prepare(pdf: &Path) -> std::io::Result<Self> {
        let path = if pdf.is_absolute() { pdf.to_owned() } else { Path::new(".").join(pdf) };
        if path.is_dir() || path.file_name().is_none() {
            return Err(std::io::Error::new(std::io::ErrorKind::IsADirectory, "names no file"));
        }
        let dir = path.parent().unwrap_or_else(|| Path::new(".")).to_owned();
        // Private from its first byte (0600).
        let file = tempfile::Builder::new().prefix(".relay-").suffix(".pdf").tempfile_in(&dir)?;
        Ok(Self { dir, path, file })
    }

    fn fill(mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.as_file().sync_all()?;
        self.file.persist(&self.path).map_err(|error| error.error)?;
        RealDisk.sync_dir(&self.dir)
    }
}

impl Staff {
    pub(super) async fn carry_out(self, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add { at, name, pin_file } => {
                let pin = pin(pin_file.as_deref())?;
                let mut salt = [0; 16];
                rand::rngs::StdRng::from_os_rng().fill_bytes(&mut salt);
                if let Some(client) = awake(&at).await? {
                    let body = json!({ "name": name, "pin": pin, "salt": hex::encode(salt) });
                    let _: Value = client.post("staff", &body).await?;
                } else {
                    let spool = at.asleep(clock).await?.spool;
                    spool.add_staff(&name, &pin, salt).await?;
                    spool.close().await;
                }
                eprint_line(&format!("已登记 {name} / enrolled"));
            }
            Self::List { at } => {
                let names = if let Some(client) = awake(&at).await? {
                    client.overview().await?.staff
                } else {
                    let spool = at.asleep(clock).await?.spool;
                    let names = spool.staff().await?.into_iter().map(|s| s.name).collect();
                    spool.close().await;
                    names
                };
                names.iter().try_for_each(|name| out_line(name))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Critical {
    pub(super) async fn carry_out(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List { at, json } => {
                let client = running(&at).await?;
                let rows: Vec<CriticalRow> = client.get("criticals").await?;
                if json {
                    out_line(&serde_json::to_string(&rows)?)?;
                } else {
                    rows.iter().try_for_each(|row| out_line(&critical_line(row)))?;
                    if rows.is_empty() {
                        out_line("没有危急值通知 / no critical notice")?;
                    }
                }
            }
            Self::Ack { at, id, who, read_back } => {
                act(
                    &at,
                    format!("criticals/{}/read-back", crate::client::percent(&id)),
                    &who,
                    Some(&read_back),
                )
                .await?;
                eprint_line("已复述 / read back");
            }
            Self::Action { at, id, who, text } => {
                act(&at, format!("criticals/{}/action", crate::client::percent(&id)), &who, Some(&text))
                    .await?;
                eprint_line("处置已记录 / action recorded");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn critical_line(row: &CriticalRow) -> String {
    let state = match (&row.read_back_by, &row.action_by) {
        (_, Some(who)) => format!("{who} 已处置"),
        (Some(who), None) => format!("{who} 已复述，待处置"),
        (None, None) => "待复述".to_owned(),
    };
    format!(
        "{}  {}  {} {}  {}  {state}",
        row.letter, row.study, row.notice.code, row.notice.finding, row.patient_name
    )
}

impl Retake {
    pub(super) async fn carry_out(self) -> anyhow::Result<ExitCode> {
        let Self::Seen { at, id, who } = self;
        act(&at, format!("retakes/{}/seen", crate::client::percent(&id)), &who, None).await?;
        eprint_line("已查看 / seen");
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_cannot_be_written_is_found_before_anything_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Target::prepare(Path::new("/nonexistent/o.pdf")).is_err());
        assert!(Target::prepare(dir.path()).is_err());
        let pdf = dir.path().join("o.pdf");
        drop(Target::prepare(&pdf).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "what is not filled leaves nothing");
        Target::prepare(&pdf).unwrap().fill(b"%PDF-").unwrap();
        assert_eq!(std::fs::read(&pdf).unwrap(), b"%PDF-");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
