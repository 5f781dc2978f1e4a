//! `status`, `reports`, `rejects`, `doctor`.

use super::{Asleep, At, awake, eprint_line, out_line, refusal_words};
use crate::capture::folder::FolderHealth;
use crate::courier::ports::LinkState;
use crate::health::{Doctor, Finding, Level};
use crate::inbox::Inbox;
use crate::page::Overview;
use crate::spool::{CriticalRow, RejectView, ReportRow, Spool, StudyView};
use crate::words::local;
use clap::Args;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use relay_core::clock::Clock;
use serde::Serialize;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    at: At,
    /// JSON on standard output.
    #[arg(long)]
    json: bool,
}

impl Show {
    /// The store itself, where no agent runs.
    async fn asleep(&self, clock: Arc<dyn Clock>) -> anyhow::Result<Asleep> {
        let asleep = self.at.asleep(clock).await?;
        eprint_line(
            "代理程序未运行，直接读取本机存储；运行 relay-agent run 后才会上传和接收 / the agent does not run; read from its store",
        );
        Ok(asleep)
    }

    fn print<T: Serialize + ?Sized>(
        &self,
        value: &T,
        lines: impl FnOnce() -> Vec<String>,
    ) -> anyhow::Result<()> {
        if self.json {
            return out_line(&serde_json::to_string(value)?);
        }
        lines().iter().try_for_each(|line| out_line(line))
    }

    pub(super) async fn status(&self, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
        let Some(client) = awake(&self.at).await? else {
            let inbox = judged(self.asleep(clock).await?).await?;
            let mut studies = all_studies(inbox.spool()).await?;
            studies.iter_mut().for_each(StudyView::without_a_line);
            inbox.spool().close().await;
            self.print(&serde_json::json!({ "running": false, "studies": studies }), || {
                studies.iter().map(study_line).collect()
            })?;
            return Ok(ExitCode::SUCCESS);
        };
        let view = client.whole_overview().await?;
        let page = client.endpoint().page_url.clone();
        let mut value = serde_json::to_value(&view)?;
        value["running"] = true.into();
        value["page_url"] = page.clone().into();
        self.print(&value, || status_lines(&view, &page))?;
        Ok(ExitCode::SUCCESS)
    }

    pub(super) async fn reports(&self, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
        let reports = match awake(&self.at).await? {
            Some(client) => client.whole_overview().await?.reports,
            None => {
                let inbox = judged(self.asleep(clock).await?).await?;
                let reports = all_reports(inbox.spool()).await?;
                inbox.spool().close().await;
                reports
            }
        };
        self.print(&reports, || {
            or_none(reports.iter().map(report_line).collect(), "尚无报告 / no report yet")
        })?;
        Ok(ExitCode::SUCCESS)
    }

    pub(super) async fn rejects(&self, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
        let (rejects, refused) = match awake(&self.at).await? {
            Some(client) => {
                let seen = client.whole_overview().await?;
                (seen.rejects, seen.studies.iter().map(|study| study.refused).sum())
            }
            None => {
                let spool = self.asleep(clock).await?.spool;
                let (rejects, refused) = (spool.rejects().await?, spool.figures().await?.objects_refused);
                spool.close().await;
                (rejects, refused)
            }
        };
        let line = |r: &RejectView| {
            let why = refusal_words(&r.code, &r.field, &r.reason);
            format!("{}  {}（来自 {}）  {}（{why}）", local(r.at), r.file, r.source, r.code_zh)
        };
        self.print(&rejects, || {
            let mut lines = or_none(
                rejects.iter().map(line).collect(),
                "本机没有未接收的文件 / no file was refused here",
            );
            lines.extend(refused_by_the_county(refused));
            lines
        })?;
        Ok(ExitCode::SUCCESS)
    }

    pub(super) async fn doctor(&self, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
        let findings: Vec<Finding> = match awake(&self.at).await? {
            Some(client) => client.get("doctor").await?,
            None => {
                let since = clock.now();
                let Asleep { config, device, spool } = self.asleep(clock).await?;
                let doctor = Doctor {
                    device,
                    dicom: None,
                    folders: config
                        .folder
                        .iter()
                        .map(|f| FolderHealth::of(self.at.home().path().join(&f.path)))
                        .collect(),
                    gateways: config.county.gateways.iter().map(|g| g.address.clone()).collect(),
                };
                let reason = "the agent does not run".to_owned();
                let link = LinkState::Down { since, reason, refusal: None };
                let inbox = Inbox::new(spool.clone(), Arc::clone(&doctor.device), StdRng::from_os_rng());
                inbox.judge_all().await?;
                let mut findings = doctor.examine(&spool, &link).await;
                // Without the agent there is no line to judge.
                findings.retain(|f| !matches!(f.check.as_str(), "link" | "dicom"));
                findings.insert(0, Finding::not_running());
                spool.close().await;
                findings
            }
        };
        let mark = |f: &Finding| match f.level {
            Level::Good => "正常",
            Level::Warning => "注意",
            Level::Bad => "故障",
        };
        self.print(&findings, || {
            findings.iter().map(|f| format!("[{}] {} / {}", mark(f), f.zh, f.en)).collect()
        })?;
        let bad = findings.iter().any(|f| f.level == Level::Bad);
        Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// The inbox of a home where no agent runs, with every report judged from disk.
async fn judged(asleep: Asleep) -> anyhow::Result<Inbox> {
    let inbox = Inbox::new(asleep.spool, asleep.device, StdRng::from_os_rng());
    inbox.judge_all().await?;
    Ok(inbox)
}

async fn all_studies(spool: &Spool) -> anyhow::Result<Vec<StudyView>> {
    let mut first = spool.studies(0).await?;
    for page in 1..first.pages {
        first.studies.append(&mut spool.studies(page).await?.studies);
    }
    Ok(first.studies)
}

async fn all_reports(spool: &Spool) -> anyhow::Result<Vec<ReportRow>> {
    let mut first = spool.reports(0).await?;
    for page in 1..first.pages {
        first.reports.append(&mut spool.reports(page).await?.reports);
    }
    Ok(first.reports)
}

/// What was taken here and the county did not take stands with its study.
fn refused_by_the_county(objects: u64) -> Option<String> {
    (objects > 0).then(|| {
        format!(
            "!! 另有{objects}个文件已由本机接收、但被县级拒收：原因见 relay-agent status / the county refused {objects} objects: relay-agent status says why"
        )
    })
}

/// The lines, or a word that there are none.
fn or_none(lines: Vec<String>, none: &str) -> Vec<String> {
    if lines.is_empty() { vec![none.to_owned()] } else { lines }
}

fn study_line(s: &StudyView) -> String {
    let name = s.patient_name.as_deref().unwrap_or("-");
    let open = if s.complete { "" } else { "  检查未结束" };
    let more = s.refusal.as_deref().map(|r| format!("  {r}")).unwrap_or_default();
    format!(
        "{}  {}  {}  {}  {}  {}/{}{open}{more}",
        s.uid,
        s.class.zh(),
        s.kind.zh(),
        name,
        s.state_zh,
        s.receipted,
        s.objects
    )
}

fn report_line(r: &ReportRow) -> String {
    let state = match (&r.fault, &r.voided, r.superseded) {
        (Some(fault), ..) => fault.clone(),
        (None, Some(void), _) => format!("{} {}", void.zh(), local(void.at)),
        (None, None, _) if !r.checked => "正在核验签名".to_owned(),
        (None, None, old) => {
            let reviewer = r
                .reviewer
                .as_ref()
                .map(|name| format!(" / 审核 {name} {}", r.reviewed_at.map(local).unwrap_or_default()));
            let old = if old { "（旧版）" } else { "" };
            format!("签名有效 · {} {}{}{old}", r.author, local(r.signed_at), reviewer.unwrap_or_default())
        }
    };
    let opened = r.opened_by.as_ref().map_or_else(|| "未打开".to_owned(), |who| format!("{who} 已打开"));
    format!(
        "{}  {} v{} {}  {}  {state}  {opened}",
        r.letter,
        r.report_id,
        r.paper_version,
        r.kind.zh(),
        r.study
    )
}

fn status_lines(view: &Overview, page: &str) -> Vec<String> {
    let link = if view.link.up {
        let paused = view.link.pause.as_ref().map(|pause| format!("，但{}", pause.zh)).unwrap_or_default();
        format!("线路正常：{}{paused}", view.link.gateway.as_deref().unwrap_or("-"))
    } else {
        format!("线路中断：{}", view.link.reason_zh.as_deref().or(view.link.reason.as_deref()).unwrap_or("-"))
    };
    let mut lines = vec![format!("机构 {}  {link}", view.clinic), format!("本机页面 {page}")];
    if let Some(full) = &view.full {
        lines.push(format!("!! 本机存储空间不足，不再接收新检查：{full}"));
    }
    if !view.damaged.is_empty() {
        lines.push(format!(
            "!! 本机数据库有 {} 条记录损坏，请联系管理员（relay-agent doctor）",
            view.damaged.len()
        ));
    }
    lines.extend(
        view.troubles.iter().map(|trouble| {
            format!("{} {}", if trouble.level == Level::Bad { "!!" } else { "! " }, trouble.zh)
        }),
    );
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
    lines.extend(view.alarms.iter().map(|a| format!("!! {} {}：{}", name(&a.patient_name), a.study, a.zh)));
    lines.extend(view.criticals.iter().map(critical_alarm));
    lines.extend(view.retakes.iter().map(|r| {
        let next = format!("查看后运行 relay-agent retake seen {} --as 姓名", r.letter);
        format!("!  退回重拍 {} {}：{}（{next}）", name(&r.patient_name), r.study, r.request.text)
    }));
    lines.push(match view.studies_not_safe {
        0 => format!("检查 {} 项，全部已到达县级", view.studies_total),
        n => format!("检查 {} 项，其中 {n} 项未全部到达县级", view.studies_total),
    });
    lines.extend(view.studies.iter().map(study_line));
    lines.extend(view.reports.iter().map(report_line));
    lines
}

fn critical_alarm(c: &CriticalRow) -> String {
    let (state, next) = match &c.read_back_by {
        None => ("待复述".to_owned(), format!("critical ack {} --as 姓名 --read-back 复述内容", c.letter)),
        Some(who) => {
            (format!("{who}已复述，待处置"), format!("critical action {} --as 姓名 --text 处置", c.letter))
        }
    };
    let notice = &c.notice;
    format!("!! 危急值 {} {} {}（{state}；relay-agent {next}）", c.patient_name, notice.code, notice.finding)
}
