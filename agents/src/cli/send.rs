//! `send` and `mark`.

use super::{At, eprint_line, out_line, parse_class};
use crate::client::{Client, ClientError};
use crate::config::Config;
use crate::spool::{Admitted, Mark, Marked, Origin, Spool, StudyView};
use crate::trust::Device;
use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use relay_core::clock::Clock;
use relay_core::ids::StudyUid;
use relay_core::study::{Class, StudyContext};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Folders inside folders that are looked into.
const MAX_DEPTH: usize = 32;
/// How often the progress of a study is asked for.
const LOOK: Duration = Duration::from_millis(200);
/// Bytes of a file read at a time.
const READ_BYTES: usize = 256 * 1024;
/// Steps of the progress bar: 100 a study.
const STEPS: u64 = 100;

/// What a person says of the study.
#[derive(Debug, Clone, Args)]
struct Context {
    /// Chief complaint 主诉.
    #[arg(long)]
    complaint: Option<String>,
    /// Telephone to call back.
    #[arg(long)]
    phone: Option<String>,
    /// Requesting doctor.
    #[arg(long)]
    doctor: Option<String>,
    /// Patient name, when the file has none.
    #[arg(long)]
    patient_name: Option<String>,
    /// Patient id, when the file has none.
    #[arg(long)]
    patient_id: Option<String>,
    /// The study that this one repeats.
    #[arg(long)]
    retake_of: Option<String>,
}

impl Context {
    fn mark(&self, class: Option<Class>, finished: bool) -> anyhow::Result<Mark> {
        let retake_of = self.retake_of.as_deref().map(StudyUid::parse).transpose().context("--retake-of")?;
        let context = StudyContext {
            complaint: self.complaint.clone(),
            phone: self.phone.clone(),
            doctor: self.doctor.clone(),
            patient_name: self.patient_name.clone(),
            patient_id: self.patient_id.clone(),
            retake_of,
            ..StudyContext::default()
        };
        let mark = Mark { class, context, finished };
        mark.check().map_err(anyhow::Error::msg)?;
        Ok(mark)
    }
}

#[derive(Debug, Args)]
pub(super) struct Send {
    #[command(flatten)]
    at: At,
    /// Files and folders.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// green, emergency, routine, complex, screening.
    #[arg(long, value_parser = parse_class, default_value = "routine")]
    class: Class,
    #[command(flatten)]
    context: Context,
    /// Follows the studies until they are safe at the county.
    #[arg(long)]
    wait: bool,
    /// Gives up waiting after so many seconds; 0 = never.
    #[arg(long, default_value_t = 0)]
    timeout_s: u64,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct MarkArgs {
    #[command(flatten)]
    at: At,
    /// StudyInstanceUID.
    study: String,
    /// Raise to this class.
    #[arg(long, value_parser = parse_class)]
    class: Option<Class>,
    #[command(flatten)]
    context: Context,
    /// The exam is finished: nothing more is to come.
    #[arg(long)]
    finished: bool,
}

/// The running agent, or its spool when it does not run.
enum Way {
    Agent(Box<Client>),
    Spool(Spool),
}

impl Way {
    async fn open(at: &At, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let home = at.home();
        match Client::find(&home).await {
            Ok(client) => Ok(Self::Agent(Box::new(client))),
            Err(ClientError::NotRunning { .. }) => {
                let config =
                    if home.config().exists() { Config::load(&home.config())? } else { Config::default() };
                let device = Device::load(&home)?;
                let spool = crate::run::open_spool(&home, &config, &device, clock).await?;
                eprint_line(
                    "代理程序未运行：先安全存于本机，启动后上传 / the agent does not run: stored here, it travels when the agent runs",
                );
                Ok(Self::Spool(spool))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn put(&self, file: &Path, class: Class) -> Result<Admitted, ClientError> {
        let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        match self {
            Self::Agent(client) => {
                let query = [
                    ("name", name.as_str()),
                    ("class", class.word()),
                    ("source", "send"),
                    ("explicit", "true"),
                ];
                client.upload(file, &query).await
            }
            Self::Spool(spool) => put(spool, file, name, class).await,
        }
    }

    async fn mark(&self, study: &StudyUid, mark: &Mark) -> anyhow::Result<Marked> {
        Ok(match self {
            Self::Agent(client) => client.post(&format!("studies/{study}/mark"), mark).await?,
            Self::Spool(spool) => spool.mark(study, mark).await?,
        })
    }
}

async fn put(spool: &Spool, file: &Path, name: String, class: Class) -> Result<Admitted, ClientError> {
    use tokio::io::AsyncReadExt as _;
    let wrong = |source| ClientError::File { file: file.display().to_string(), source };
    let mut source = tokio::fs::File::open(file).await.map_err(wrong)?;
    let mut intake = spool.intake(Vec::new());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = source.read(&mut buffer).await.map_err(wrong)?;
        if read == 0 {
            break;
        }
        intake.push(bytes::Bytes::copy_from_slice(&buffer[..read])).await;
    }
    let origin =
        Origin { source: "send".to_owned(), name: Some(name), class, kind: None, quiet: false, open: false };
    intake.admit(&origin).await.map_err(|r| ClientError::Refused {
        code: r.code.name().to_owned(),
        zh: r.code.zh().to_owned(),
        field: r.field,
        reason: r.reason,
    })
}

/// Files below the paths, in a fixed order.
fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        let mut below = Vec::new();
        walk(path, 0, &mut below)?;
        below.sort();
        found.extend(below);
    }
    Ok(found)
}

fn walk(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let shown = || path.display().to_string();
    if !std::fs::metadata(path).with_context(shown)?.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    if depth < MAX_DEPTH {
        for entry in std::fs::read_dir(path).with_context(shown)? {
            walk(&entry.with_context(shown)?.path(), depth + 1, found)?;
        }
    }
    Ok(())
}

fn bar(length: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}

impl Send {
    pub(super) async fn carry_out(self, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
        let mark = self.context.mark(Some(self.class), true)?;
        let files = files(&self.paths)?;
        let way = Way::open(&self.at, clock).await?;
        let (mut studies, mut objects, mut fresh, mut refused) = (BTreeSet::new(), 0_u64, 0_u64, Vec::new());
        let progress = bar(files.len() as u64, "{spinner} 存入本机 / safe here {pos}/{len} {wide_bar}");
        for file in &files {
            match way.put(file, self.class).await {
                Ok(admitted) => {
                    objects += 1;
                    fresh += u64::from(admitted.fresh);
                    studies.insert(admitted.study);
                }
                Err(ClientError::Refused { code, field, reason, zh }) => {
                    progress.suspend(|| {
                        eprint_line(&format!("{}: {code}: {field}: {reason}（{zh}）", file.display()))
                    });
                    refused.push(json!({ "file": file.display().to_string(), "code": code, "field": field, "reason": reason }));
                }
                Err(error) => return Err(error.into()),
            }
            progress.inc(1);
        }
        progress.finish_and_clear();
        for study in &studies {
            way.mark(study, &mark).await?;
        }
        let safe = match (&way, self.wait) {
            (Way::Agent(client), true) => self.follow(client, &studies).await?,
            (Way::Spool(_), true) => {
                eprint_line("无法等待：代理程序未运行 / cannot wait: the agent does not run");
                false
            }
            (_, false) => true,
        };
        if let Way::Spool(spool) = &way {
            spool.close().await;
        }
        let report = json!({ "studies": studies, "objects": objects, "fresh": fresh, "safe_at_county": self.wait && safe, "refused": refused });
        if self.json {
            out_line(&report.to_string())?;
        } else {
            for study in &studies {
                out_line(study.as_str())?;
            }
        }
        Ok(if refused.is_empty() && safe { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Follows the studies until they are safe at the county; false when one was refused or time ran out.
    async fn follow(&self, client: &Client, studies: &BTreeSet<StudyUid>) -> anyhow::Result<bool> {
        let progress = bar(
            studies.len() as u64 * STEPS,
            "{spinner} 上传县级 / to the county {percent}% {wide_bar} {msg}",
        );
        let following = async {
            loop {
                let (mut done, mut settled, mut all_safe) = (0, 0, true);
                for study in studies {
                    let view: StudyView = client.get(&format!("studies/{study}")).await?;
                    let at_county = view.safe_at.is_some();
                    done += if at_county { STEPS } else { u64::from(view.percent).min(STEPS - 1) };
                    settled += usize::from(at_county || view.state == "refused");
                    all_safe &= at_county && view.refused == 0;
                    if let Some(refusal) = view.refusal.filter(|_| at_county || view.state == "refused") {
                        progress.set_message(refusal);
                    }
                }
                progress.set_position(done);
                if settled == studies.len() {
                    return Ok(all_safe);
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let outcome = if self.timeout_s == 0 {
            following.await
        } else {
            match tokio::time::timeout(Duration::from_secs(self.timeout_s), following).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    eprint_line("等待超时：检查安全存于本机，将继续上传 / still travelling; it is safe here");
                    Ok(false)
                }
            }
        };
        progress.finish_and_clear();
        outcome
    }
}

impl MarkArgs {
    pub(super) async fn carry_out(self, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
        let study = StudyUid::parse(&self.study)?;
        let mark = self.context.mark(self.class, self.finished)?;
        let way = Way::open(&self.at, clock).await?;
        let marked = way.mark(&study, &mark).await?;
        if !marked.known {
            eprint_line(
                "本机尚无此检查：标记将用于其第一个文件 / not here yet: the mark waits for its first object",
            );
        }
        if self.class.is_some() && self.class != marked.class {
            let stands = marked.class.map_or("-", Class::zh);
            eprint_line(&format!("级别只升不降，现为 {stands} / a class is never lowered"));
        }
        if let Way::Spool(spool) = &way {
            spool.close().await;
        }
        out_line(&serde_json::to_string(&marked)?)?;
        Ok(ExitCode::SUCCESS)
    }
}
