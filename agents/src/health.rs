//! `doctor`: what a person who runs the agent must know, each with a word on what to do.

use crate::capture::folder::FolderHealth;
use crate::courier::OF_THE_GATEWAY;
use crate::courier::ports::LinkState;
use crate::page::PauseView;
use crate::spool::{ReportRow, Spool, SpoolError};
use crate::trust::Device;
use relay_core::clock::{DAY_MS, MINUTE_MS, UtcMs};
use relay_core::codes::{Code, Refusal};
use std::net::SocketAddr;
use std::sync::Arc;

/// A certificate that ends within this time is warned about.
const CERTIFICATE_WARN_MS: i64 = 30 * DAY_MS;
/// A clock that is off by more is warned about; deadlines are corrected all the same.
const CLOCK_WARN_MS: i64 = MINUTE_MS;
/// Reports named one by one that do not verify.
const MAX_FAULTY: u32 = 20;
/// Bytes in a MiB.
const MIB: u64 = 1024 * 1024;
/// The disk is called full at the floor and tight at this multiple of it.
const TIGHT: u64 = 4;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Good,
    /// Somebody should look soon.
    Warning,
    /// Somebody must act now.
    Bad,
}

/// One thing looked at.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Finding {
    /// `agent`, `disk`, `certificate`, `revocation`, `link`, `county`, `clock`, `dicom`, `folder`, `spool`, `database`, `object`, `study`,
    /// `refused`, `report`, `staff`.
    pub check: String,
    /// How bad.
    pub level: Level,
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

impl Finding {
    pub(crate) fn new(check: &str, level: Level, zh: impl Into<String>, en: impl Into<String>) -> Self {
        Self { check: check.to_owned(), level, zh: zh.into(), en: en.into() }
    }
}

impl Finding {
    /// Said by the command when no agent answers it.
    #[must_use]
    pub fn not_running() -> Self {
        Self::new(
            "agent",
            Level::Bad,
            "代理程序未运行：请启动 relay-agent run",
            "the agent does not run: start relay-agent run",
        )
    }
}

/// Facts that do not change while the agent runs.
#[derive(Debug, Clone)]
pub struct Doctor {
    /// The identity.
    pub device: Arc<Device>,
    /// Bound DICOM address, when it listens.
    pub dicom: Option<SocketAddr>,
    /// Watched folders.
    pub folders: Vec<FolderHealth>,
    /// Gateways as configured.
    pub gateways: Vec<String>,
}

impl Doctor {
    /// Looks at everything.
    #[must_use]
    pub async fn examine(&self, spool: &Spool, link: &LinkState) -> Vec<Finding> {
        let mut found = vec![disk(spool), waiting(spool), self.certificate(spool.now()), self.line(link)];
        found.push(self.revocations(spool.now()));
        found.extend(clock(link));
        found.extend(paused(link));
        found.extend(holdings(spool).await);
        found.push(self.dicom.map_or_else(
            || {
                Finding::new(
                    "dicom",
                    Level::Good,
                    "未在接收DICOM（未启用，或代理程序未运行）",
                    "no DICOM port is open (not enabled, or the agent does not run)",
                )
            },
            |a| Finding::new("dicom", Level::Good, format!("DICOM接收端口 {a}"), format!("DICOM port {a}")),
        ));
        found.extend(self.folders.iter().flat_map(folder));
        found
    }

    /// Of all that what a person should see without asking: for the page and `status`. Costs two questions to the database.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn troubles(&self, spool: &Spool, link: &LinkState) -> Result<Vec<Finding>, SpoolError> {
        let mut found: Vec<Finding> = self.folders.iter().flat_map(FolderHealth::troubles).collect();
        found.extend(paused(link));
        found.extend(Some(self.revocations(spool.now())).filter(|list| list.level != Level::Good));
        found.extend(studies(spool).await?);
        Ok(found)
    }

    fn certificate(&self, now: UtcMs) -> Finding {
        let (end, left) = (self.device.not_after(), self.device.not_after().since(now));
        let days = left / DAY_MS;
        let level = match left {
            ..=0 => Level::Bad,
            1..=CERTIFICATE_WARN_MS => Level::Warning,
            _ => Level::Good,
        };
        let end = end.to_rfc3339();
        Finding::new(
            "certificate",
            level,
            format!(
                "设备证书有效期至 {end}（剩余 {days} 天）{}",
                if level == Level::Good {
                    ""
                } else {
                    "：请向县级索取新注册码，运行 relay-agent enrol"
                }
            ),
            format!(
                "certificate valid until {end} ({days} days){}",
                if level == Level::Good {
                    ""
                } else {
                    ": ask the county for a new code and run relay-agent enrol"
                }
            ),
        )
    }

    /// Without a list of these days a stolen gateway or signature key counts as good here.
    fn revocations(&self, now: UtcMs) -> Finding {
        let Some(list) = self.device.revocations() else {
            return Finding::new(
                "revocation",
                Level::Warning,
                "本机尚无县级吊销列表：连接县级后自动取得",
                "no revocation list of the county is here yet: it comes with the line",
            );
        };
        let (number, until) = (list.number, list.next_update.to_rfc3339());
        if now <= list.next_update {
            return Finding::new(
                "revocation",
                Level::Good,
                format!("县级吊销列表第 {number} 号，有效期至 {until}"),
                format!("revocation list {number} of the county, valid until {until}"),
            );
        }
        Finding::new(
            "revocation",
            Level::Warning,
            format!(
                "吊销列表已过期（第 {number} 号，有效期至 {until}）：此后的吊销本机可能不知道。请恢复到县级的线路；线路正常时请联系县级管理员"
            ),
            format!(
                "the revocation list is out of date (number {number}, valid until {until}): later revocations may be unknown here. Bring the line back; if it is up, tell the county's administrator"
            ),
        )
    }

    fn line(&self, link: &LinkState) -> Finding {
        if self.gateways.is_empty() {
            return Finding::new(
                "link",
                Level::Bad,
                "未配置县级网关：请在 agent.toml 的 county.gateways 中填写，然后重启代理程序",
                "no gateway configured: set county.gateways in agent.toml, then restart the agent",
            );
        }
        match link {
            LinkState::Up { gateway, rtt_us, .. } => Finding::new(
                "link",
                Level::Good,
                format!("已连接县级网关 {gateway}，往返 {} ms", rtt_us / 1000),
                format!("connected to {gateway}, round trip {} ms", rtt_us / 1000),
            ),
            LinkState::Down { since, refusal: Some(refusal), .. } if of_certificates(refusal.code) => {
                refused_certificate(*since, refusal)
            }
            LinkState::Down { since, reason, refusal } => {
                let zh = refusal.as_ref().map_or(crate::page::NO_ANSWER_ZH, |r| r.code.zh());
                let all = self.gateways.join(", ");
                Finding::new(
                    "link",
                    Level::Bad,
                    format!(
                        "自 {} 起无法连接县级网关（{all}）：{zh}。请检查网络，并确认防火墙放行该地址的UDP端口",
                        since.to_rfc3339()
                    ),
                    format!(
                        "no gateway answers since {} ({all}): {reason}. Check the network, and that UDP to this port is let through",
                        since.to_rfc3339()
                    ),
                )
            }
        }
    }
}

/// A folder that no watcher has troubles with is looked at here: it may have gone since, or no agent runs.
fn folder(health: &FolderHealth) -> Vec<Finding> {
    let troubles = health.troubles();
    if !troubles.is_empty() {
        return troubles;
    }
    let shown = health.root().display();
    let one = match std::fs::read_dir(health.root()) {
        Ok(_) => Finding::new(
            "folder",
            Level::Good,
            format!("监视目录 {shown}"),
            format!("watched folder {shown}"),
        ),
        Err(e) => Finding::new(
            "folder",
            Level::Bad,
            format!("监视目录无法读取 {shown}：{e}；请检查目录是否存在、网络共享是否已挂载、权限是否正确"),
            format!(
                "watched folder {shown} cannot be read: {e}; check that it exists, is mounted and may be read"
            ),
        ),
    };
    vec![one]
}

const fn of_certificates(code: Code) -> bool {
    matches!(
        code,
        Code::CertificateUnknownCa
            | Code::CertificateExpired
            | Code::CertificateRevoked
            | Code::CertificateNoClinic
    )
}

/// The network is well; a certificate is not.
fn refused_certificate(since: UtcMs, refusal: &Refusal) -> Finding {
    let (since, zh, en) = (since.to_rfc3339(), refusal.code.zh(), refusal.code.en());
    if refusal.field == OF_THE_GATEWAY {
        return Finding::new(
            "link",
            Level::Bad,
            format!(
                "自 {since} 起不信任县级网关的证书：{zh}。网络正常；请电话联系县级管理员更换网关证书，切勿绕过"
            ),
            format!(
                "the gateway's certificate is not trusted since {since}: {en}. The network is well: tell the county's administrator to replace the certificate"
            ),
        );
    }
    Finding::new(
        "link",
        Level::Bad,
        format!(
            "自 {since} 起县级不接受本机证书：{zh}。网络正常；请向县级索取新注册码，运行 relay-agent enrol 重新注册，然后重启代理程序"
        ),
        format!(
            "the county refuses this agent's certificate since {since}: {en}. The network is well: ask the county for a new code, run relay-agent enrol, then restart the agent"
        ),
    )
}

fn disk(spool: &Spool) -> Finding {
    let floor = spool.limits().free_floor_bytes;
    match spool.blobs().free_bytes() {
        Ok(free) => {
            let level = if free <= floor {
                Level::Bad
            } else if free <= floor.saturating_mul(TIGHT) {
                Level::Warning
            } else {
                Level::Good
            };
            let (mib, keep) = (free / MIB, floor / MIB);
            let (zh, en) = match level {
                Level::Good => ("", ""),
                Level::Warning => ("：请尽快清理磁盘", ": make room soon"),
                Level::Bad => {
                    ("：已停止接收新检查，请立即清理磁盘", ": nothing more is taken, make room now")
                }
            };
            Finding::new(
                "disk",
                level,
                format!("磁盘剩余 {mib} MiB，须保留 {keep} MiB{zh}"),
                format!("{mib} MiB free on the disk, {keep} MiB must stay free{en}"),
            )
        }
        Err(error) => Finding::new(
            "disk",
            Level::Bad,
            format!("磁盘无法检查，请联系管理员：{error}"),
            format!("the disk cannot be looked at, ask the administrator: {error}"),
        ),
    }
}

fn waiting(spool: &Spool) -> Finding {
    let (held, most) = (spool.unreceipted_bytes(), spool.limits().max_unreceipted_bytes);
    let level = if held >= most {
        Level::Bad
    } else if held >= most / 2 {
        Level::Warning
    } else {
        Level::Good
    };
    let (mib, most) = (held / MIB, most / MIB);
    let (zh, en) = if level == Level::Good {
        ("", "")
    } else {
        (
            "：请恢复到县级的线路，或调高 agent.toml 的 spool.max_unreceipted_gib",
            ": bring the line back, or raise spool.max_unreceipted_gib in agent.toml",
        )
    };
    Finding::new(
        "spool",
        level,
        format!("等待县级回执 {mib} MiB，上限 {most} MiB{zh}"),
        format!("{mib} MiB wait for the county's receipt, the limit is {most} MiB{en}"),
    )
}

/// What only a person can mend: damaged rows, refused objects, reports that do not verify, nobody enrolled.
async fn holdings(spool: &Spool) -> Vec<Finding> {
    let figures = match spool.figures().await {
        Ok(figures) => figures,
        Err(error) => return vec![unreadable_database(&error)],
    };
    let mut found = match studies(spool).await {
        Ok(found) => found,
        Err(error) => vec![unreadable_database(&error)],
    };
    for row in spool.damaged() {
        found.push(Finding::new(
            "database",
            Level::Bad,
            format!("数据库记录损坏，请检查磁盘并联系管理员恢复：{row}"),
            format!("a damaged row, look at the disk and restore it: {row}"),
        ));
    }
    if figures.objects_refused > 0 {
        let (n, mib) = (figures.objects_refused, figures.refused_bytes.div_ceil(MIB));
        found.push(Finding::new(
            "refused",
            Level::Warning,
            format!("县级拒收 {n} 个文件，占用 {mib} MiB：请按 relay-agent status 所示原因处理；如需自动清理，设置 spool.keep_refused_days"),
            format!("the county refused {n} objects ({mib} MiB): relay-agent status says why; spool.keep_refused_days removes them after so many days"),
        ));
    }
    match spool.faulty_reports(MAX_FAULTY).await {
        Ok(faulty) => found.extend(faulty.iter().map(faulty_report)),
        Err(error) => found.push(unreadable_database(&error)),
    }
    let bad_reports = figures.reports_faulty.saturating_sub(u64::from(MAX_FAULTY)) + figures.letters_refused;
    if bad_reports > 0 {
        found.push(Finding::new(
            "report",
            Level::Bad,
            format!("{bad_reports} 份县级来件未通过校验，不可使用：请联系县级重新发送"),
            format!("{bad_reports} letters of the county do not verify: ask the county to send them again"),
        ));
    }
    if figures.staff == 0 {
        found.push(Finding::new(
            "staff",
            Level::Warning,
            "尚未登记人员，无法打开报告和复述危急值：请运行 relay-agent staff add 姓名",
            "nobody is enrolled, so reports cannot be opened nor critical values read back: run relay-agent staff add NAME",
        ));
    }
    found
}

fn faulty_report(row: &ReportRow) -> Finding {
    let (letter, id, version) = (&row.letter, &row.report_id, row.version);
    let fault = row.fault.as_deref().unwrap_or_default();
    Finding::new(
        "report",
        Level::Bad,
        format!("报告 {id} v{}（{letter}）：{fault}", row.paper_version),
        format!(
            "DO NOT USE report {id} version {version} ({letter}): it does not verify from this disk; ask the county to send it again"
        ),
    )
}

fn unreadable_database(error: &SpoolError) -> Finding {
    let why = crate::spool::chain(error);
    Finding::new(
        "database",
        Level::Bad,
        format!("本机数据库无法读取，请检查磁盘并联系管理员：{why}"),
        format!("the database cannot be read, look at the disk: {why}"),
    )
}

/// Studies that need a person: with bytes that this disk has lost, or that nobody has ended.
async fn studies(spool: &Spool) -> Result<Vec<Finding>, SpoolError> {
    let name = |name: Option<String>| name.unwrap_or_else(|| "无姓名".to_owned());
    let lost = spool.lost_objects().await?.into_iter().map(|lost| {
        let (who, uid, n) = (name(lost.patient_name), lost.study, lost.objects);
        Finding::new(
            "object",
            Level::Bad,
            format!("{who}（{uid}）有 {n} 个文件在本机磁盘上丢失或损坏，且未到达县级：请立即从设备重新发送该检查，并检查磁盘"),
            format!("{n} objects of study {uid} are lost or damaged on this disk and not at the county: send the study from the device again, and look at the disk"),
        )
    });
    let mut found: Vec<Finding> = lost.collect();
    found.extend(spool.unfinished().await?.into_iter().map(|open| {
        let (who, uid, since) = (name(open.patient_name), open.study, crate::words::local(open.last_activity_at));
        Finding::new(
            "study",
            Level::Warning,
            format!("{who}（{uid}）自 {since} 起再无新文件，但检查未结束：如已发完，请点“检查完成”或运行 relay-agent mark {uid} --finished；静默10分钟后自动结束"),
            format!("nothing has come for study {uid} since {since}, and nobody has said that it is complete: relay-agent mark {uid} --finished; ten minutes of silence complete it"),
        )
    }));
    Ok(found)
}

/// The county takes nothing just now.
fn paused(link: &LinkState) -> Option<Finding> {
    let LinkState::Up { pause: Some(pause), .. } = link else { return None };
    let said = PauseView::of(pause);
    let (since, until) = (crate::words::local(said.since), crate::words::local(said.until));
    let level = if pause.refusal.code == Code::Busy { Level::Warning } else { Level::Bad };
    Some(Finding::new(
        "county",
        level,
        format!(
            "{}（自 {since} 起，{until} 再试）：检查已安全存于本机，县级恢复后自动上传；急诊请电话联系县级值班医师，并请县级管理员处理",
            said.zh
        ),
        format!(
            "the county takes nothing since {since} ({}: {}: {}), the next try is at {until}: the studies are safe here and travel by themselves; call in emergencies, and tell the county's administrator",
            said.code, said.field, said.reason
        ),
    ))
}

fn clock(link: &LinkState) -> Option<Finding> {
    let LinkState::Up { clock_offset_ms, .. } = link else { return None };
    let level = if clock_offset_ms.abs() > CLOCK_WARN_MS { Level::Warning } else { Level::Good };
    let off = clock_offset_ms;
    Some(Finding::new(
        "clock",
        level,
        format!(
            "本机时钟与县级相差 {off} ms{}",
            if level == Level::Good { "" } else { "：请启用时间同步（NTP）" }
        ),
        format!(
            "this clock differs from the county's by {off} ms{}",
            if level == Level::Good { "" } else { ": switch time synchronisation (NTP) on" }
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_certificate_is_answered_with_enrolment_not_with_the_network() {
        let of = |field: &str| {
            let refusal = Refusal::new(Code::CertificateRevoked, field, "aborted by peer");
            refused_certificate(UtcMs(0), &refusal)
        };
        let mine = of("certificate of this agent");
        assert!(mine.zh.contains("relay-agent enrol") && !mine.zh.contains("防火墙"), "{}", mine.zh);
        let theirs = of(OF_THE_GATEWAY);
        assert!(
            theirs.zh.contains("网关的证书") && !theirs.zh.contains("relay-agent enrol"),
            "{}",
            theirs.zh
        );
    }
}
