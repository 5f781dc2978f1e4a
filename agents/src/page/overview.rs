//! Everything the page shows, in one answer.

use super::Page;
use crate::courier::ports::LinkState;
use crate::spool::{CriticalRow, RejectView, ReportRow, RetakeRow, SpoolError, StudyView};
use relay_core::clock::{MINUTE_MS, UtcMs};
use relay_core::ids::{ClinicId, StudyUid};

/// An emergency that is not safe at the county after this long is called in by telephone.
const CALL_AFTER_MS: i64 = 2 * MINUTE_MS;

/// The line, in words.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct LinkView {
    /// Whether a gateway has answered.
    pub up: bool,
    /// Since when.
    pub since: UtcMs,
    /// Which gateway.
    pub gateway: Option<String>,
    /// Round trip in milliseconds.
    pub rtt_ms: Option<f64>,
    /// County clock minus agent clock, ms.
    pub clock_offset_ms: Option<i64>,
    /// Last answer heard.
    pub heard_at: Option<UtcMs>,
    /// Why it is down, English.
    pub reason: Option<String>,
    /// Why it is down, Chinese, when the county gave a code.
    pub reason_zh: Option<String>,
    /// Wire bytes sent since start.
    pub wire_bytes_sent: u64,
}

/// What needs the telephone.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Alarm {
    /// The study.
    pub study: StudyUid,
    /// What to do.
    pub zh: String,
    /// What to do.
    pub en: String,
}

/// The whole page.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Overview {
    /// Whose page it is.
    pub clinic: ClinicId,
    /// The agent's clock.
    pub now: UtcMs,
    /// The line.
    pub link: LinkView,
    /// Telephone of the duty reader.
    pub duty_phone: Option<String>,
    /// Emergencies to call in.
    pub alarms: Vec<Alarm>,
    /// Today's studies and everything that has not arrived.
    pub studies: Vec<StudyView>,
    /// Report versions.
    pub reports: Vec<ReportRow>,
    /// Critical notices whose action is not recorded.
    pub criticals: Vec<CriticalRow>,
    /// Retake requests not seen.
    pub retakes: Vec<RetakeRow>,
    /// Files that were not taken.
    pub rejects: Vec<RejectView>,
    /// Names for the PIN dialogue.
    pub staff: Vec<String>,
    /// Bytes that have no receipt.
    pub unreceipted_bytes: u64,
}

impl LinkView {
    /// From the courier's word.
    #[must_use]
    pub fn of(state: &LinkState) -> Self {
        match state {
            LinkState::Down { since, reason, refusal } => Self {
                up: false,
                since: *since,
                gateway: None,
                rtt_ms: None,
                clock_offset_ms: None,
                heard_at: None,
                reason: Some(refusal.as_ref().map_or_else(|| reason.clone(), |r| format!("{r}"))),
                reason_zh: refusal.as_ref().map(|r| r.code.zh().to_owned()),
                wire_bytes_sent: 0,
            },
            LinkState::Up { since, gateway, rtt_us, clock_offset_ms, heard_at, wire_bytes_sent, .. } => {
                Self {
                    up: true,
                    since: *since,
                    gateway: Some(gateway.clone()),
                    rtt_ms: Some(u32::try_from(*rtt_us).map_or(f64::from(u32::MAX), f64::from) / 1000.0),
                    clock_offset_ms: Some(*clock_offset_ms),
                    heard_at: Some(*heard_at),
                    reason: None,
                    reason_zh: None,
                    wire_bytes_sent: *wire_bytes_sent,
                }
            }
        }
    }
}

impl Page {
    /// The whole page as it stands.
    ///
    /// # Errors
    /// [`SpoolError`] of the database.
    pub async fn overview(&self) -> Result<Overview, SpoolError> {
        let spool = self.spool();
        let (link, told) = {
            let state = self.link.borrow();
            let told = match &*state {
                LinkState::Up { duty_phone, .. } => duty_phone.clone(),
                LinkState::Down { .. } => None,
            };
            (LinkView::of(&state), told)
        };
        let duty_phone = told.or_else(|| self.duty_phone.clone());
        let (now, studies) = (spool.now(), spool.studies().await?);
        let alarms = alarms(&studies, now, duty_phone.as_deref());
        Ok(Overview {
            clinic: spool.clinic().clone(),
            now,
            link,
            duty_phone,
            alarms,
            studies,
            reports: spool.reports(None).await?,
            criticals: spool.criticals(false).await?,
            retakes: spool.retakes(false).await?,
            rejects: spool.rejects().await?,
            staff: spool.staff().await?.into_iter().map(|s| s.name).collect(),
            unreceipted_bytes: spool.unreceipted_bytes(),
        })
    }
}

fn alarms(studies: &[StudyView], now: UtcMs, phone: Option<&str>) -> Vec<Alarm> {
    let late = |s: &&StudyView| {
        s.class.is_urgent()
            && s.safe_at.is_none()
            && s.reports == 0
            && now.since(s.first_object_at) > CALL_AFTER_MS
    };
    studies
        .iter()
        .filter(late)
        .map(|s| Alarm {
            study: s.uid.clone(),
            zh: phone.map_or_else(
                || "急诊检查超过2分钟未到达县级，请电话联系值班医师".to_owned(),
                |p| format!("急诊检查超过2分钟未到达县级，请立即拨打值班电话 {p}"),
            ),
            en: phone.map_or_else(
                || "an emergency has not reached the county for 2 minutes: call the duty reader".to_owned(),
                |p| format!("an emergency has not reached the county for 2 minutes: call {p}"),
            ),
        })
        .collect()
}
