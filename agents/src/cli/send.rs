//! `send` and `mark`.

use super::{At, awake, eprint_line, files, out_line, parse_class, refusal_words};
use crate::client::{Client, ClientError};
use crate::page::LinkView;
use crate::spool::{Admitted, Mark, Marked, Origin, Spool, StudyView};
use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use relay_core::clock::Clock;
use relay_core::codes::Code;
use relay_core::ids::StudyUid;
use relay_core::study::{Class, StudyContext};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Looks at the studies for one look at the line: every 2 s.
const LOOKS_PER_LINE: u32 = 10;
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
        if let Some(client) = awake(at).await? {
            return Ok(Self::Agent(Box::new(client)));
        }
        let spool = at.asleep(clock).await?.spool;
        eprint_line(
            "代理程序未运行：已直接存入本机，运行 relay-agent run 后自动上传 / the agent does not run: stored here, it travels when relay-agent run is started",
        );
        Ok(Self::Spool(spool))
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
    let origin = Origin {
        source: "send".to_owned(),
        name: Some(name),
        class,
        kind: None,
        quiet: false,
        open: false,
        announced: None,
    };
    intake.admit(&origin).await.map_err(|r| ClientError::Refused {
        code: r.code.name().to_owned(),
        zh: r.code.zh().to_owned(),
        field: r.field,
        reason: r.reason,
    })
}

fn bar(length: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}

/// What became of the files.
#[derive(Default)]
struct Outcome {
    studies: BTreeSet<StudyUid>,
    objects: u64,
    fresh: u64,
    refused: Vec<Value>,
    /// Why the rest was not handed over.
    stopped: Option<anyhow::Error>,
}

impl Outcome {
    fn refuse(&mut self, progress: &ProgressBar, file: &Path, refusal: [&str; 4]) {
        let [code, field, reason, zh] = refusal;
        let file = file.display().to_string();
        let why = refusal_words(code, field, reason);
        progress.suspend(|| eprint_line(&format!("{file}：未接收：{zh}（{why}）")));
        self.refused.push(json!({ "file": file, "code": code, "field": field, "reason": reason }));
    }
}

impl Send {
    pub(super) async fn carry_out(self, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
        let mark = self.context.mark(Some(self.class), true)?;
        let found = files::below(&self.paths)?;
        let way = Way::open(&self.at, clock).await?;
        let mut outcome = self.hand_over(&way, &found).await;
        // Also after a stop: what is here is complete as far as it goes, and travels.
        for study in outcome.studies.clone() {
            if let Err(error) = way.mark(&study, &mark).await {
                let context = format!(
                    "{study}: 已存入，但未能标记为完整，请运行 relay-agent mark {study} --finished / stored, but not marked as complete"
                );
                outcome.stopped = Some(error.context(context));
            }
        }
        let safe = match (&way, self.wait) {
            (Way::Agent(client), true) => self.follow(client, &outcome.studies).await?,
            (Way::Spool(_), true) => {
                eprint_line(
                    "无法等待：代理程序未运行，请先启动 relay-agent run / cannot wait: start relay-agent run first",
                );
                false
            }
            (_, false) => true,
        };
        if let Way::Spool(spool) = &way {
            spool.close().await;
        }
        self.report(&outcome, safe)?;
        if let Some(error) = outcome.stopped {
            return Err(error);
        }
        Ok(if outcome.refused.is_empty() && safe { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Each file by itself: one that is refused or cannot be read stops no other.
    async fn hand_over(&self, way: &Way, found: &files::Found) -> Outcome {
        let mut outcome = Outcome::default();
        let progress = bar(found.files.len() as u64, "{spinner} 存入本机 / safe here {pos}/{len} {wide_bar}");
        for odd in &found.odd {
            let refusal = [Code::RefusedFormat.name(), "file", "not a regular file", "不是普通文件，已跳过"];
            outcome.refuse(&progress, odd, refusal);
        }
        for file in &found.files {
            // said first: an ECG can be taken again at once, while the person is there
            for warning in crate::ecg::warnings(file) {
                progress.suspend(|| eprint_line(&warning));
            }
            match way.put(file, self.class).await {
                Ok(admitted) => {
                    outcome.objects += 1;
                    outcome.fresh += u64::from(admitted.fresh);
                    outcome.studies.insert(admitted.study);
                }
                // Without room no further file can be taken.
                Err(ClientError::Refused { code, zh, reason, .. }) if code == Code::StorageFull.name() => {
                    outcome.stopped = Some(anyhow::anyhow!("{}: {code}: {reason}（{zh}）", file.display()));
                    break;
                }
                Err(ClientError::Refused { code, field, reason, zh }) => {
                    outcome.refuse(&progress, file, [&code, &field, &reason, &zh]);
                }
                Err(ClientError::File { source, .. }) => {
                    let reason = source.to_string();
                    let code = Code::RefusedUnparsable.name();
                    outcome.refuse(&progress, file, [code, "file", &reason, "文件无法读取，请检查权限"]);
                }
                Err(error) => {
                    let context =
                        format!("{}: 未能存入，请重新发送 / not stored, send it again", file.display());
                    outcome.stopped = Some(anyhow::Error::new(error).context(context));
                    break;
                }
            }
            progress.inc(1);
        }
        progress.finish_and_clear();
        outcome
    }

    fn report(&self, outcome: &Outcome, safe: bool) -> anyhow::Result<()> {
        let Outcome { studies, objects, fresh, refused, .. } = outcome;
        if self.json {
            let report = json!({ "studies": studies, "objects": objects, "fresh": fresh, "safe_at_county": self.wait && safe, "refused": refused });
            return out_line(&report.to_string());
        }
        studies.iter().try_for_each(|study| out_line(study.as_str()))?;
        let where_now = if self.wait && safe { "已安全到达县级" } else { "已安全存于本机" };
        let known = objects - fresh;
        let known = if known > 0 { format!("（其中 {known} 个本机已有）") } else { String::new() };
        eprint_line(&format!(
            "{} 项检查，{objects} 个文件{where_now}{known}，{} 个未被接收 / {} studies, {objects} files taken, {} refused",
            studies.len(),
            refused.len(),
            studies.len(),
            refused.len()
        ));
        Ok(())
    }

    /// Follows the studies until they are safe at the county; false when one was refused or time ran out.
    async fn follow(&self, client: &Client, studies: &BTreeSet<StudyUid>) -> anyhow::Result<bool> {
        let progress = bar(
            studies.len() as u64 * STEPS,
            "{spinner} 上传县级 / to the county {percent}% {wide_bar} {msg}",
        );
        let following = async {
            let mut told = Told::default();
            loop {
                told.line(client, &progress).await?;
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

/// Whether the line was said to be down, or the county to take nothing.
#[derive(Default)]
struct Told {
    down: bool,
    paused: bool,
    looks: u32,
}

impl Told {
    /// Says once when the line is down or the county takes nothing, and once when that is over.
    async fn line(&mut self, client: &Client, progress: &ProgressBar) -> anyhow::Result<()> {
        self.looks = self.looks.wrapping_add(1);
        if self.looks % LOOKS_PER_LINE != 1 {
            return Ok(());
        }
        let link: LinkView = client.get("link").await?;
        if link.up == self.down {
            self.down = !link.up;
            let why = link.reason_zh.or(link.reason).unwrap_or_default();
            let words = if link.up {
                "线路已恢复，继续上传 / the line is back".to_owned()
            } else {
                format!(
                    "线路中断（{why}）：检查安全存于本机，恢复后自动上传；不想等待可按 Ctrl-C / the line is down, the studies are safe here and travel when it is back"
                )
            };
            progress.suspend(|| eprint_line(&words));
        }
        if link.up && link.pause.is_some() != self.paused {
            self.paused = link.pause.is_some();
            let words = link.pause.map_or_else(
                || "县级已恢复接收，继续上传 / the county takes studies again".to_owned(),
                |pause| {
                    let (zh, code, field, reason) = (pause.zh, pause.code, pause.field, pause.reason);
                    format!(
                        "{zh}（{code}：{field}：{reason}）：检查安全存于本机，县级恢复后自动上传；不想等待可按 Ctrl-C / the county takes nothing just now, the studies are safe here and travel by themselves"
                    )
                },
            );
            progress.suspend(|| eprint_line(&words));
        }
        Ok(())
    }
}

impl MarkArgs {
    pub(super) async fn carry_out(self, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
        let study = StudyUid::parse(&self.study)
            .with_context(|| format!("STUDY {:?}：不是合法的检查UID，可用 relay-agent status 查看 / relay-agent status shows the UIDs", self.study))?;
        let mark = self.context.mark(self.class, self.finished)?;
        if mark == Mark::default() {
            anyhow::bail!(
                "没有要标记的内容：请给出 --class、--complaint、--phone、--doctor 或 --finished / nothing to mark: see relay-agent mark --help"
            );
        }
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
