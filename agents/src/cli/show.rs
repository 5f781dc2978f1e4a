//! `status`, `reports`, `rejects`, `doctor`.

use super::{At, eprint_line, out_line, running};
use crate::client::ClientError;
use crate::config::Config;
use crate::courier::ports::LinkState;
use crate::health::{Doctor, Finding, Level};
use crate::page::Overview;
use crate::spool::{RejectView, ReportRow, Spool, StudyView};
use crate::trust::Device;
use clap::Args;
use relay_core::clock::{Clock, UtcMs};
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

/// What can be said without the running agent.
struct Asleep {
    spool: Spool,
    doctor: Doctor,
    link: LinkState,
}

impl Show {
    async fn asleep(&self, clock: Arc<dyn Clock>) -> anyhow::Result<Asleep> {
        let home = self.at.home();
        let config = if home.config().exists() { Config::load(&home.config())? } else { Config::default() };
        let device = Arc::new(Device::load(&home)?);
        let since = clock.now();
        let spool = crate::run::open_spool(&home, &config, &device, clock).await?;
        eprint_line("代理程序未运行，直接读取本机存储 / the agent does not run; read from its store");
        let doctor = Doctor {
            device,
            dicom: None,
            folders: config.folder.iter().map(|f| home.path().join(&f.path)).collect(),
            gateways: config.county.gateways.iter().map(|g| g.address.clone()).collect(),
        };
        let link = LinkState::Down { since, reason: "the agent does not run".to_owned(), refusal: None };
        Ok(Asleep { spool, doctor, link })
    }

    async fn overview(&self) -> anyhow::Result<Option<Overview>> {
        match running(&self.at).await {
            Ok(client) => Ok(Some(client.overview().await?)),
            Err(error) if matches!(error.downcast_ref(), Some(ClientError::NotRunning { .. })) => Ok(None),
            Err(error) => Err(error),
        }
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
        let Some(view) = self.overview().await? else {
            let asleep = self.asleep(clock).await?;
            let studies = asleep.spool.studies().await?;
            asleep.spool.close().await;
            self.print(&serde_json::json!({ "running": false, "studies": studies }), || {
                studies.iter().map(study_line).collect()
            })?;
            return Ok(ExitCode::SUCCESS);
        };
        let page = self.at.home().endpoint()?.page_url;
        let mut value = serde_json::to_value(&view)?;
        value["running"] = true.into();
        value["page_url"] = page.clone().into();
        self.print(&value, || status_lines(&view, &page))?;
        Ok(ExitCode::SUCCESS)
    }

    pub(super) async fn reports(&self, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
        let reports = match self.overview().await? {
            Some(view) => view.reports,
            None => {
                let asleep = self.asleep(clock).await?;
                let reports = asleep.spool.reports(None).await?;
                asleep.spool.close().await;
                reports
            }
        };
        self.print(&reports, || reports.iter().map(report_line).collect())?;
        Ok(ExitCode::SUCCESS)
    }

    pub(super) async fn rejects(&self, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
        let rejects = match self.overview().await? {
            Some(view) => view.rejects,
            None => {
                let asleep = self.asleep(clock).await?;
                let rejects = asleep.spool.rejects().await?;
                asleep.spool.close().await;
                rejects
            }
        };
        let line = |r: &RejectView| {
            format!("{}  {}  {}: {}: {}  ({})", local(r.at), r.file, r.code, r.field, r.reason, r.source)
        };
        self.print(&rejects, || rejects.iter().map(line).collect())?;
        Ok(ExitCode::SUCCESS)
    }

    pub(super) async fn doctor(&self, clock: Arc<dyn Clock>) -> anyhow::Result<ExitCode> {
        let findings: Vec<Finding> = match running(&self.at).await {
            Ok(client) => client.get("doctor").await?,
            Err(error) if matches!(error.downcast_ref(), Some(ClientError::NotRunning { .. })) => {
                let asleep = self.asleep(clock).await?;
                let findings = asleep.doctor.examine(&asleep.spool, &asleep.link);
                asleep.spool.close().await;
                findings
            }
            Err(error) => return Err(error),
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

/// Local time for people.
fn local(at: UtcMs) -> String {
    let stamp = jiff::Timestamp::from_millisecond(at.0);
    stamp.map_or_else(
        |_| at.to_rfc3339(),
        |t| t.to_zoned(jiff::tz::TimeZone::system()).strftime("%m-%d %H:%M:%S").to_string(),
    )
}

fn study_line(s: &StudyView) -> String {
    let name = s.patient_name.as_deref().unwrap_or("-");
    let more = s.refusal.as_deref().map(|r| format!("  {r}")).unwrap_or_default();
    format!(
        "{}  {}  {}  {}  {}  {}/{}{more}",
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
    let state = match (&r.fault, r.superseded) {
        (Some(fault), _) => fault.clone(),
        (None, old) => {
            let reviewer = r
                .reviewer
                .as_ref()
                .map(|name| format!(" / 审核 {name} {}", r.reviewed_at.map(local).unwrap_or_default()));
            let old = if old { "（旧版）" } else { "" };
            format!("签名有效 · {} {}{}{old}", r.author, local(r.signed_at), reviewer.unwrap_or_default())
        }
    };
    let opened = r.opened_by.as_ref().map_or_else(|| "未打开".to_owned(), |who| format!("{who} 已打开"));
    format!("{}  {} v{} {}  {}  {state}  {opened}", r.letter, r.report_id, r.version, r.kind.zh(), r.study)
}

fn status_lines(view: &Overview, page: &str) -> Vec<String> {
    let link = if view.link.up {
        format!("线路正常：{}", view.link.gateway.as_deref().unwrap_or("-"))
    } else {
        format!("线路中断：{}", view.link.reason_zh.as_deref().or(view.link.reason.as_deref()).unwrap_or("-"))
    };
    let mut lines = vec![format!("机构 {}  {link}", view.clinic), format!("本机页面 {page}")];
    lines.extend(view.alarms.iter().map(|a| format!("!! {} {}", a.study, a.zh)));
    lines.extend(
        view.criticals
            .iter()
            .map(|c| format!("!! 危急值 {} {} {}", c.letter, c.notice.code, c.notice.finding)),
    );
    lines.extend(view.retakes.iter().map(|r| format!("!  退回 {} {} {}", r.letter, r.study, r.request.text)));
    lines.extend(view.studies.iter().map(study_line));
    lines.extend(view.reports.iter().map(report_line));
    lines
}
