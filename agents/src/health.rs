//! `doctor`: what a person who runs the agent must know, each with a word on what to do.

use crate::courier::ports::LinkState;
use crate::spool::Spool;
use crate::trust::Device;
use relay_core::clock::{DAY_MS, MINUTE_MS, UtcMs};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// A certificate that ends within this time is warned about.
const CERTIFICATE_WARN_MS: i64 = 30 * DAY_MS;
/// A clock that is off by more is warned about; deadlines are corrected all the same.
const CLOCK_WARN_MS: i64 = MINUTE_MS;
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
    /// `disk`, `certificate`, `link`, `clock`, `dicom`, `folder`, `spool`.
    pub check: String,
    /// How bad.
    pub level: Level,
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

impl Finding {
    fn new(check: &str, level: Level, zh: impl Into<String>, en: impl Into<String>) -> Self {
        Self { check: check.to_owned(), level, zh: zh.into(), en: en.into() }
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
    pub folders: Vec<PathBuf>,
    /// Gateways as configured.
    pub gateways: Vec<String>,
}

impl Doctor {
    /// Looks at everything.
    #[must_use]
    pub fn examine(&self, spool: &Spool, link: &LinkState) -> Vec<Finding> {
        let mut found = vec![disk(spool), waiting(spool), self.certificate(spool.now()), self.line(link)];
        found.extend(clock(link));
        found.push(self.dicom.map_or_else(
            || Finding::new("dicom", Level::Good, "DICOM接收未启用", "the DICOM port is not enabled"),
            |a| Finding::new("dicom", Level::Good, format!("DICOM接收端口 {a}"), format!("DICOM port {a}")),
        ));
        found.extend(self.folders.iter().map(|path| {
            let shown = path.display();
            match std::fs::read_dir(path) {
                Ok(_) => Finding::new(
                    "folder",
                    Level::Good,
                    format!("监视目录 {shown}"),
                    format!("watched folder {shown}"),
                ),
                Err(e) => Finding::new(
                    "folder",
                    Level::Bad,
                    format!("监视目录无法读取 {shown}：{e}"),
                    format!("watched folder {shown} cannot be read: {e}"),
                ),
            }
        }));
        found
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
            format!("设备证书有效期至 {end}（剩余 {days} 天）"),
            format!("certificate valid until {end} ({days} days)"),
        )
    }

    fn line(&self, link: &LinkState) -> Finding {
        if self.gateways.is_empty() {
            return Finding::new(
                "link",
                Level::Bad,
                "未配置县级网关（agent.toml county.gateways）",
                "no gateway configured (agent.toml county.gateways)",
            );
        }
        match link {
            LinkState::Up { gateway, rtt_us, .. } => Finding::new(
                "link",
                Level::Good,
                format!("已连接县级网关 {gateway}，往返 {} ms", rtt_us / 1000),
                format!("connected to {gateway}, round trip {} ms", rtt_us / 1000),
            ),
            LinkState::Down { since, reason, refusal } => {
                let zh = refusal.as_ref().map_or(reason.as_str(), |r| r.code.zh());
                let all = self.gateways.join(", ");
                Finding::new(
                    "link",
                    Level::Bad,
                    format!("自 {} 起无法连接县级网关（{all}）：{zh}", since.to_rfc3339()),
                    format!("no gateway answers since {} ({all}): {reason}", since.to_rfc3339()),
                )
            }
        }
    }
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
            let mib = free / (1024 * 1024);
            Finding::new("disk", level, format!("磁盘剩余 {mib} MiB"), format!("{mib} MiB free on the disk"))
        }
        Err(error) => Finding::new(
            "disk",
            Level::Bad,
            format!("磁盘无法检查：{error}"),
            format!("the disk cannot be looked at: {error}"),
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
    let mib = held / (1024 * 1024);
    Finding::new(
        "spool",
        level,
        format!("等待县级回执 {mib} MiB"),
        format!("{mib} MiB wait for the county's receipt"),
    )
}

fn clock(link: &LinkState) -> Option<Finding> {
    let LinkState::Up { clock_offset_ms, .. } = link else { return None };
    let level = if clock_offset_ms.abs() > CLOCK_WARN_MS { Level::Warning } else { Level::Good };
    let off = clock_offset_ms;
    Some(Finding::new(
        "clock",
        level,
        format!("本机时钟与县级相差 {off} ms"),
        format!("this clock differs from the county's by {off} ms"),
    ))
}
